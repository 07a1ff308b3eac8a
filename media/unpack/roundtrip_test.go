package unpack_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/packager"
	"github.com/freshet-live/freshet/media/unpack"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/testdata/clips"
)

var entryCodecs = map[string]media.Codec{
	"avc1": media.H264, "hvc1": media.H265, "av01": media.AV1, "vp09": media.VP9, "VP80": media.VP8,
	"mp4a": media.AAC, "Opus": media.Opus, "ac-3": media.AC3, "ec-3": media.EC3,
}

// clipTrack is a track of a clip, ready to be published.
type clipTrack struct {
	format media.Format // what signalling would tell
	frames []media.Frame
}

// loadTrack assembles a clip's track as an ingest would. Times start at 0.
func loadTrack(t testing.TB, track clips.Track) clipTrack {
	t.Helper()
	c := entryCodecs[track.Entry]
	hint := media.Format{Codec: c}
	switch c {
	case media.H264, media.H265:
		hint.Description = track.Config
	case media.AAC:
		hint.Description = []byte{0x11, 0x90} // AAC-LC, 48 kHz, stereo
	case media.Opus:
		hint.Channels = int(track.Config[1])
	}
	a, err := codec.NewAssembler(hint)
	if err != nil {
		t.Fatal(err)
	}
	out := clipTrack{format: media.Format{Codec: c}}
	if f := a.Format(); f != nil && c.Kind() == media.Audio {
		out.format = *f
	}
	for _, s := range track.Samples {
		unit := [][]byte{s.Data}
		switch c {
		case media.H264, media.H265:
			unit, err = codec.SplitLengthPrefixed(s.Data)
		case media.AV1:
			unit, err = codec.SplitOBUs(s.Data)
		}
		if err != nil {
			t.Fatal(err)
		}
		f, err := a.Assemble(media.Time(s.PTS.Microseconds()), unit)
		if err != nil {
			t.Fatal(err)
		}
		out.frames = append(out.frames, f)
	}
	return out
}

// loadClip returns all tracks of a clip, video first.
func loadClip(t testing.TB, name string) []clipTrack {
	var tracks []clipTrack
	for _, track := range clips.Open(name) {
		tracks = append(tracks, loadTrack(t, track))
	}
	slices.SortStableFunc(tracks, func(a, b clipTrack) int { return int(a.format.Kind()) - int(b.format.Kind()) })
	return tracks
}

// publish writes the tracks interleaved by time, in real time, and returns
// the time that corresponds to the clip's zero.
func publish(t testing.TB, b *packager.Broadcast, tracks []clipTrack) media.Time {
	t.Helper()
	type item struct {
		w   media.TrackWriter
		f   media.Frame
		due media.Time
	}
	var items []item
	for _, track := range tracks {
		w, err := b.AddTrack(track.format)
		if err != nil {
			t.Fatal(err)
		}
		due := media.Time(0)
		for _, f := range track.frames {
			due = max(due, f.PTS)
			items = append(items, item{w, f, due})
		}
	}
	// Stable, so that frames keep their order of decoding; B-frames make
	// their times go back and forth, which a real publisher's clock does not.
	slices.SortStableFunc(items, func(a, b item) int { return cmp.Compare(a.due, b.due) })
	start := media.TimeOf(time.Now())
	for _, it := range items {
		if wait := time.Until(start.Add(time.Duration(it.due) * time.Microsecond).Wall()); wait > 0 {
			time.Sleep(wait)
		}
		it.f.PTS += start
		if err := it.w.WriteFrame(it.f); err != nil {
			t.Fatal(err)
		}
	}
	return start
}

// local serves a moq.Broadcast as a node would.
type local struct{ b *moq.Broadcast }

func (l local) Subscribe(_ context.Context, name moq.FullTrackName) (*moq.Track, func(), error) {
	t, ok := l.b.Track(name.Track)
	if !ok || !name.Namespace.Equal(l.b.Namespace()) {
		return nil, nil, errors.New("does not exist")
	}
	return t, func() {}, nil
}

// TestRoundTrip carries real clips through the object model and compares
// every byte, time and flag.
func TestRoundTrip(t *testing.T) {
	for _, name := range clips.All {
		tracks := loadClip(t, name)
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { roundTrip(t, tracks) })
		})
	}
}

func roundTrip(t *testing.T, tracks []clipTrack) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ns := moq.Namespace{"live", "demo"}
	b := packager.New(ns, packager.Config{})
	got := make(map[string][]unpack.Frame)
	catalogs := 0
	done := make(chan error, 1)
	go func() { done <- collect(ctx, local{b.Broadcast()}, ns, got, &catalogs) }()
	synctest.Wait()

	start := publish(t, b, tracks)
	b.Close(nil)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	numbers := make(map[media.Kind]int)
	for _, track := range tracks {
		kind := track.format.Kind()
		name := fmt.Sprintf("%v%d", kind, numbers[kind])
		numbers[kind]++
		compare(t, name, got[name], track.frames, start)
	}
	if catalogs < 1 {
		t.Error("no catalog")
	}
}

// collect reads all tracks to their end.
func collect(ctx context.Context, sub unpack.Subscriber, ns moq.Namespace, got map[string][]unpack.Frame, catalogs *int) error {
	b, err := unpack.Open(ctx, sub, ns)
	if err != nil {
		return err
	}
	defer b.Close()
	type result struct {
		name   string
		frames []unpack.Frame
		err    error
	}
	results := make(chan result)
	started := make(map[string]bool)
	running := 0
	for c := b.Catalog(); ; {
		*catalogs++
		for _, track := range c.Tracks {
			if started[track.Name] || track.Packaging == catalog.CMAF {
				continue // the latter is the same again, in boxes
			}
			started[track.Name] = true
			r, err := b.Frames(ctx, track.Name)
			if err != nil {
				return err
			}
			running++
			go func() {
				defer r.Close()
				var frames []unpack.Frame
				for {
					f, err := r.Next(ctx)
					if err != nil {
						results <- result{track.Name, frames, err}
						return
					}
					frames = append(frames, f)
				}
			}()
		}
		if c, err = b.Next(ctx); err != nil {
			break
		}
	}
	if err != io.EOF {
		return err
	}
	for range running {
		r := <-results
		if r.err != io.EOF {
			return r.err
		}
		got[r.name] = r.frames
	}
	return nil
}

func compare(t *testing.T, name string, got []unpack.Frame, want []media.Frame, start media.Time) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d frames, want %d", name, len(got), len(want))
	}
	var format *media.Format
	for i, g := range got {
		w := want[i]
		if !bytes.Equal(g.Data, w.Data) || g.PTS != w.PTS+start || g.Key != w.Key || g.Discontinuity {
			t.Fatalf("%s frame %d: pts %d key %v discontinuity %v, %d bytes; want %d %v false, %d bytes", name, i,
				g.PTS-start, g.Key, g.Discontinuity, len(g.Data), w.PTS, w.Key, len(w.Data))
		}
		if g.Key {
			if format == nil {
				format = g.Format
			}
			if g.Format != format {
				t.Fatalf("%s frame %d: the format's pointer changed although nothing did", name, i)
			}
		}
	}
	w := want[0].Format
	if format.MIME != w.MIME || !bytes.Equal(format.Description, w.Description) || format.Width != w.Width ||
		format.Height != w.Height || format.SampleRate != w.SampleRate || format.Channels != w.Channels {
		t.Errorf("%s: format %+v, want %+v", name, format, w)
	}
}
