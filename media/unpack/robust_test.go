package unpack_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/loc"
	"github.com/freshet-live/freshet/media/packager"
	"github.com/freshet-live/freshet/media/unpack"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/testdata/clips"
)

var live = moq.Namespace{"live", "demo"}

// node is a Subscriber whose broadcast can be replaced, as at a node where a
// publisher comes and goes. Releases are counted.
type node struct {
	mu   sync.Mutex
	b    *moq.Broadcast
	open int
}

func (n *node) Subscribe(_ context.Context, name moq.FullTrackName) (*moq.Track, func(), error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.b == nil {
		return nil, nil, errors.New("does not exist")
	}
	t, ok := n.b.Track(name.Track)
	if !ok {
		return nil, nil, errors.New("does not exist")
	}
	n.open++
	return t, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.open--
	}, nil
}

func (n *node) publish(b *moq.Broadcast) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.b = b
}

// foreign is a broadcast written by hand, as another implementation would.
type foreign struct {
	t *testing.T
	b *moq.Broadcast
	w map[string]*moq.TrackWriter
}

func newForeign(t *testing.T) *foreign {
	return &foreign{t: t, b: moq.NewBroadcast(live), w: make(map[string]*moq.TrackWriter)}
}

func (f *foreign) track(name string, cfg moq.TrackConfig) *moq.TrackWriter {
	f.t.Helper()
	if w, ok := f.w[name]; ok {
		return w
	}
	w, err := f.b.CreateTrack(name, cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	f.w[name] = w
	return w
}

// subgroup begins Subgroup 0 of a Group.
func (f *foreign) subgroup(track string, group uint64) *moq.SubgroupWriter {
	f.t.Helper()
	g, err := f.track(track, moq.TrackConfig{}).Group(group)
	if err != nil {
		f.t.Fatal(err)
	}
	s, err := g.Subgroup(0, moq.SubgroupConfig{InheritPriority: true, EndOfGroup: true})
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// object writes an Object; a nil s is a Group of its own.
func (f *foreign) object(s *moq.SubgroupWriter, id uint64, props moq.Properties, payload []byte) {
	f.t.Helper()
	if err := s.WriteObject(id, props, payload); err != nil {
		f.t.Fatal(err)
	}
}

func (f *foreign) catalog(track string, group uint64, objects ...string) {
	f.t.Helper()
	s := f.subgroup(track, group)
	for i, o := range objects {
		f.object(s, uint64(i), nil, []byte(o))
	}
	if err := s.Close(); err != nil {
		f.t.Fatal(err)
	}
}

const vp8Catalog = `{"version":"draft-01","tracks":[{"name":"v","packaging":"loc","isLive":true,"role":"video","codec":"vp8","bitrate":1000}]}`

func stamp(us media.Time) moq.Properties {
	return moq.Properties{{Type: loc.PropertyTimestamp, Value: uint64(us)}}
}

// vp8 returns the clip's frames: a key frame every 30.
func vp8(t testing.TB) []clips.Sample {
	return clips.Video(clips.VP8).Samples
}

func open(t *testing.T, sub unpack.Subscriber, name string) (*unpack.Broadcast, *unpack.FrameReader) {
	t.Helper()
	b, err := unpack.Open(t.Context(), sub, live)
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Frames(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return b, r
}

func next(t *testing.T, r *unpack.FrameReader) unpack.Frame {
	t.Helper()
	f, err := r.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestHoles: after a loss reading goes on with the next Group, and the first
// frame behind the hole says so.
func TestHoles(t *testing.T) {
	samples := vp8(t)
	const perGroup = 4
	for name, c := range map[string]struct {
		// hole damages Group 2 of 1…4; it writes the Group itself.
		hole func(f *foreign, write func(s *moq.SubgroupWriter, id uint64))
		want []string // group/object that come before and after
		stat func(unpack.Stats) bool
	}{
		"none": {
			func(f *foreign, write func(*moq.SubgroupWriter, uint64)) {
				s := f.subgroup("v", 2)
				for id := range uint64(perGroup) {
					write(s, id)
				}
				_ = s.Close()
			},
			[]string{"1 1 1 1", "2 2 2 2", "3 3 3 3", "4 4 4 4"},
			func(s unpack.Stats) bool { return s.LostObjects+s.MissingGroups == 0 },
		},
		"group missing": {
			func(*foreign, func(*moq.SubgroupWriter, uint64)) {},
			[]string{"1 1 1 1", "3! 3 3 3", "4 4 4 4"},
			func(s unpack.Stats) bool { return s.MissingGroups == 1 },
		},
		"object missing": {
			func(f *foreign, write func(*moq.SubgroupWriter, uint64)) {
				s := f.subgroup("v", 2)
				write(s, 0)
				write(s, 1)
				write(s, 3)
				_ = s.Close()
			},
			[]string{"1 1 1 1", "2 2", "3! 3 3 3", "4 4 4 4"},
			func(s unpack.Stats) bool { return s.LostObjects == 1 },
		},
		"first object missing": {
			func(f *foreign, write func(*moq.SubgroupWriter, uint64)) {
				s := f.subgroup("v", 2)
				write(s, 1)
				write(s, 2)
				_ = s.Close()
			},
			[]string{"1 1 1 1", "3! 3 3 3", "4 4 4 4"},
			func(s unpack.Stats) bool { return s.LostObjects == 1 },
		},
		"reset": {
			func(f *foreign, write func(*moq.SubgroupWriter, uint64)) {
				s := f.subgroup("v", 2)
				write(s, 0)
				if err := s.BeginObject(1, moq.StatusNormal, stamp(1), 100); err != nil {
					f.t.Fatal(err)
				}
				s.Reset(2)
			},
			[]string{"1 1 1 1", "2", "3! 3 3 3", "4 4 4 4"},
			func(s unpack.Stats) bool { return s.LostObjects == 1 },
		},
		"stalled between objects": {
			func(f *foreign, write func(*moq.SubgroupWriter, uint64)) {
				s := f.subgroup("v", 2)
				write(s, 0)
				s.Release()
			},
			[]string{"1 1 1 1", "2", "3! 3 3 3", "4 4 4 4"},
			func(s unpack.Stats) bool { return s.Stalls == 1 },
		},
		"stalled inside an object": {
			func(f *foreign, write func(*moq.SubgroupWriter, uint64)) {
				s := f.subgroup("v", 2)
				write(s, 0)
				if err := s.BeginObject(1, moq.StatusNormal, stamp(1), 100); err != nil {
					f.t.Fatal(err)
				}
				if _, err := s.Write([]byte{1}); err != nil {
					f.t.Fatal(err)
				}
			},
			[]string{"1 1 1 1", "2", "3! 3 3 3", "4 4 4 4"},
			func(s unpack.Stats) bool { return s.Stalls == 1 },
		},
		"malformed": {
			func(f *foreign, write func(*moq.SubgroupWriter, uint64)) {
				s := f.subgroup("v", 2)
				write(s, 0)
				f.object(s, 1, moq.Properties{{Type: loc.PropertyTimescale}}, []byte{1})
				write(s, 2)
				_ = s.Close()
			},
			[]string{"1 1 1 1", "2", "3! 3 3 3", "4 4 4 4"},
			func(s unpack.Stats) bool { return s.Malformed == 1 },
		},
		"group without key frame": {
			func(f *foreign, _ func(*moq.SubgroupWriter, uint64)) {
				s := f.subgroup("v", 2)
				f.object(s, 0, stamp(1), samples[1].Data)
				f.object(s, 1, stamp(1), samples[2].Data)
				_ = s.Close()
			},
			[]string{"1 1 1 1", "3! 3 3 3", "4 4 4 4"},
			func(s unpack.Stats) bool { return s.Malformed == 1 },
		},
		"gap on purpose": {
			func(f *foreign, write func(*moq.SubgroupWriter, uint64)) {
				s := f.subgroup("v", 2)
				write(s, 0)
				f.object(s, 5, append(stamp(1), moq.Property{Type: moq.PropertyPriorObjectIDGap, Value: 4}), samples[1].Data)
				_ = s.Close()
			},
			[]string{"1 1 1 1", "2 2", "3 3 3 3", "4 4 4 4"},
			func(s unpack.Stats) bool { return s.LostObjects == 0 },
		},
		"markers": {
			func(f *foreign, write func(*moq.SubgroupWriter, uint64)) {
				s := f.subgroup("v", 2)
				write(s, 0)
				f.object(s, 1, stamp(1), nil)
				if err := s.BeginObject(2, moq.StatusEndOfGroup, nil, 0); err != nil {
					f.t.Fatal(err)
				}
				_ = s.Close()
			},
			[]string{"1 1 1 1", "2", "3 3 3 3", "4 4 4 4"},
			func(s unpack.Stats) bool { return s.Malformed+s.LostObjects == 0 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newForeign(t)
				f.catalog(catalog.TrackMSF, 1, vp8Catalog)
				write := func(s *moq.SubgroupWriter, id uint64) { f.object(s, id, stamp(1000), samples[id].Data) }
				whole := func(group uint64) {
					s := f.subgroup("v", group)
					for id := range uint64(perGroup) {
						write(s, id)
					}
					_ = s.Close()
				}
				f.track("v", moq.TrackConfig{})
				n := &node{b: f.b}
				b, r := open(t, n, "v")
				whole(1)
				c.hole(f, write)
				whole(3)
				whole(4)

				total := 0
				for _, line := range c.want {
					total += len(bytes.Fields([]byte(line)))
				}
				var got []string
				last := uint64(0)
				for range total {
					fr := next(t, r)
					if fr.Key != (fr.Group != last) || fr.Key != (fr.Format != nil) {
						t.Fatalf("group %d: key %v, format %v", fr.Group, fr.Key, fr.Format)
					}
					word := fmt.Sprint(fr.Group)
					if fr.Discontinuity {
						word += "!"
					}
					if fr.Group == last {
						got[len(got)-1] += " " + word
					} else {
						got = append(got, word)
					}
					last = fr.Group
				}
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("got %q, want %q", got, c.want)
				}
				if !c.stat(r.Stats()) {
					t.Errorf("stats %+v", r.Stats())
				}
				f.b.Close(nil)
				if fr, err := r.Next(t.Context()); err != io.EOF {
					t.Errorf("after the end: %+v, %v", fr, err)
				}
				r.Close()
				b.Close()
				if n.open != 0 {
					t.Errorf("%d subscriptions left", n.open)
				}
			})
		})
	}
}

// TestTooFarBehind: a reader that sleeps longer than the Track retains goes on
// with what is there.
func TestTooFarBehind(t *testing.T) {
	samples := vp8(t)
	synctest.Test(t, func(t *testing.T) {
		f := newForeign(t)
		f.catalog(catalog.TrackMSF, 1, vp8Catalog)
		f.track("v", moq.TrackConfig{Retention: moq.Retention{Groups: 2}})
		_, r := open(t, &node{b: f.b}, "v")
		for group := range uint64(10) {
			s := f.subgroup("v", group)
			f.object(s, 0, stamp(1), samples[0].Data)
			f.object(s, 1, stamp(2), samples[1].Data)
			_ = s.Close()
			if group == 0 {
				next(t, r)
			}
		}
		fr := next(t, r)
		if fr.Group != 8 || !fr.Discontinuity || !fr.Key || r.Stats().TooFarBehind == 0 {
			t.Errorf("group %d, discontinuity %v, stats %+v", fr.Group, fr.Discontinuity, r.Stats())
		}
		r.Close()
		if _, err := r.Next(t.Context()); err != io.EOF {
			t.Errorf("after Close: %v", err)
		}
	})
}

// TestRestart: a publisher that is lost and comes back is followed; one that
// stays away ends the broadcast.
func TestRestart(t *testing.T) {
	tracks := loadClip(t, clips.VP9Opus)
	video := tracks[0]
	lost := errors.New("connection lost")
	start := func(t *testing.T, n *node) (*packager.Broadcast, media.TrackWriter) {
		p := packager.New(live, packager.Config{})
		w, err := p.AddTrack(video.format)
		if err != nil {
			t.Fatal(err)
		}
		n.publish(p.Broadcast())
		return p, w
	}
	write := func(t *testing.T, w media.TrackWriter, frames []media.Frame) {
		for _, f := range frames {
			f.PTS += media.TimeOf(time.Now())
			if err := w.WriteFrame(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	synctest.Test(t, func(t *testing.T) {
		n := new(node)
		p, w := start(t, n)
		write(t, w, video.frames[:5])
		b, r := open(t, n, "video0")
		for range 5 {
			next(t, r)
		}
		p.Close(lost)
		// For a while the node still has the Track that has ended, then none.
		go func() {
			time.Sleep(3 * time.Second)
			n.publish(nil)
			time.Sleep(3 * time.Second)
			p, w = start(t, n)
			write(t, w, video.frames[:5])
		}()
		fr := next(t, r)
		if !fr.Discontinuity || !fr.Key || r.Stats().Returns != 1 {
			t.Errorf("%+v, stats %+v", fr, r.Stats())
		}
		c, err := b.Next(t.Context())
		if err != nil || len(c.Tracks) != 2 { // as LOC and as CMAF
			t.Errorf("catalog after the return: %+v, %v", c, err)
		}
		for range 4 {
			if fr := next(t, r); fr.Discontinuity {
				t.Error("a second discontinuity")
			}
		}

		p.Close(lost)
		n.publish(nil)
		began := time.Now()
		if _, err := r.Next(t.Context()); err != io.EOF {
			t.Errorf("publisher gone for good: %v", err)
		}
		if waited := time.Since(began); waited < unpack.ReturnWindow || waited > unpack.ReturnWindow+time.Second {
			t.Errorf("gave up after %v", waited)
		}
		if _, err := b.Next(t.Context()); err != io.EOF {
			t.Errorf("catalog, publisher gone for good: %v", err)
		}
		r.Close()
		b.Close()
		if n.open != 0 {
			t.Errorf("%d subscriptions left", n.open)
		}
	})
}

// TestOutOfReach: when the way to a publisher breaks and is found again, a node
// has the same Groups anew. No frame comes twice, and none is missing.
func TestOutOfReach(t *testing.T) {
	samples := vp8(t)
	for name, numbering := range map[string]uint64{"same groups": 0, "numbering begins anew": 100} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := 100 - numbering
				write := func(f *foreign, group uint64, from, to int) *moq.SubgroupWriter {
					s := f.subgroup("v", base+group)
					for id := from; id < to; id++ {
						f.object(s, uint64(id), stamp(media.Time(100*group)+media.Time(id)), samples[id].Data)
					}
					return s
				}
				f := newForeign(t)
				base += numbering
				f.catalog(catalog.TrackMSF, 1, vp8Catalog)
				_ = write(f, 1, 0, 5).Close()
				broken := write(f, 2, 0, 3)
				// One that never becomes whole is read again as well.
				if err := broken.BeginObject(3, moq.StatusNormal, stamp(203), 1000); err != nil {
					t.Fatal(err)
				}
				base -= numbering
				n := &node{b: f.b}
				_, r := open(t, n, "v")
				var got []media.Time
				for range 3 {
					got = append(got, next(t, r).PTS)
				}
				f.b.Close(errors.New("upstream lost"))

				again := newForeign(t)
				_ = write(again, 1, 0, 5).Close()
				_ = write(again, 2, 0, 6).Close()
				_ = write(again, 3, 0, 2).Close()
				n.publish(again.b)
				want := []media.Time{200, 201, 202, 203, 204, 205, 300, 301}
				if numbering > 0 {
					// Whatever comes then is new.
					want = []media.Time{200, 201, 202, 300, 301}
				}
				for len(got) < len(want) {
					fr := next(t, r)
					if fr.Discontinuity != (numbering > 0 && len(got) == 3) {
						t.Errorf("frame %d: discontinuity %v", fr.PTS, fr.Discontinuity)
					}
					got = append(got, fr.PTS)
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("got %v, want %v", got, want)
				}
				if s := r.Stats(); s.LostObjects+s.MissingGroups+s.Malformed > 0 || s.Returns != 1 {
					t.Errorf("stats %+v", s)
				}
				r.Close()
			})
		})
	}
}

// TestCancel: a call returns when its context ends, and the reader can go on.
func TestCancel(t *testing.T) {
	samples := vp8(t)
	synctest.Test(t, func(t *testing.T) {
		f := newForeign(t)
		f.catalog(catalog.TrackMSF, 1, vp8Catalog)
		f.track("v", moq.TrackConfig{})
		b, r := open(t, &node{b: f.b}, "v")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := r.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("frames: %v", err)
		}
		if _, err := b.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("catalog: %v", err)
		}
		s := f.subgroup("v", 1)
		f.object(s, 0, stamp(5), samples[0].Data)
		if fr := next(t, r); fr.PTS != 5 {
			t.Errorf("%+v", fr)
		}
		f.catalog(catalog.TrackMSF, 2, `{"version":"draft-01","tracks":[]}`)
		if c, err := b.Next(t.Context()); err != nil || len(c.Tracks) != 0 {
			t.Errorf("%+v, %v", c, err)
		}
		if _, err := unpack.Open(ctx, &node{}, live); err == nil {
			t.Error("opened nothing")
		}
	})
}

// TestCatalogForms: delta updates, compression, versions that are passed over,
// and the fall back to hang.
func TestCatalogForms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForeign(t)
		f.catalog(catalog.TrackMSF, 1, vp8Catalog,
			`{"generatedAt":1,"deltaUpdate":[{"op":"add","tracks":[{"name":"w","packaging":"loc","isLive":true,"codec":"vp8"}]}]}`,
			`{"deltaUpdate":[{"op":"remove","tracks":[{"name":"nobody"}]}]}`)
		b, err := unpack.Open(t.Context(), &node{b: f.b}, live)
		if err != nil {
			t.Fatal(err)
		}
		if c := b.Catalog(); len(c.Tracks) != 1 {
			t.Errorf("first: %+v", c)
		}
		if c, err := b.Next(t.Context()); err != nil || len(c.Tracks) != 2 {
			t.Errorf("delta: %+v, %v", c, err)
		}
		// The removal does not apply and is passed over, as is a version of
		// the future.
		f.catalog(catalog.TrackMSF, 2, `{"version":"draft-77","tracks":[]}`)
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = io.WriteString(w, `{"version":"draft-01","isComplete":true,"tracks":[]}`)
		_ = w.Close()
		s := f.subgroup(catalog.TrackMSF, 3)
		f.object(s, 0, moq.Properties{{Type: 0x78, Value: 1}}, z.Bytes())
		_ = s.Close()
		if c, err := b.Next(t.Context()); err != nil || !c.Complete {
			t.Errorf("compressed: %+v, %v", c, err)
		}
		if _, err := b.Next(t.Context()); err != io.EOF {
			t.Errorf("after a complete catalog: %v", err)
		}
		b.Close()
	})
	// A small Object that inflates without end.
	synctest.Test(t, func(t *testing.T) {
		f := newForeign(t)
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		_, _ = w.Write(make([]byte, 2*catalog.MaxSize))
		_ = w.Close()
		s := f.subgroup(catalog.TrackMSF, 3)
		f.object(s, 0, moq.Properties{{Type: 0x78, Value: 1}}, z.Bytes())
		_ = s.Close()
		if _, err := unpack.Open(t.Context(), &node{b: f.b}, live); !errors.Is(err, catalog.ErrTooLarge) {
			t.Errorf("bomb: %v", err)
		}
	})
	for name, msf := range map[string]string{"no MSF": "", "MSF of the future": `{"version":"draft-77","tracks":[]}`} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newForeign(t)
				if msf != "" {
					f.catalog(catalog.TrackMSF, 1, msf)
				}
				f.catalog(catalog.TrackHang, 1, `{"video":{"renditions":{"v":{"codec":"vp8","container":{"kind":"loc"}}}}}`)
				b, err := unpack.Open(t.Context(), &node{b: f.b}, live)
				if err != nil || len(b.Catalog().Tracks) != 1 {
					t.Fatalf("%+v, %v", b, err)
				}
				f.b.Close(nil)
				if _, err := b.Next(t.Context()); err != io.EOF {
					t.Errorf("end: %v", err)
				}
				b.Close()
			})
		})
	}
}

// TestUnsupported: what cannot be unpacked is refused before a subscription.
func TestUnsupported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForeign(t)
		tracks := []map[string]any{
			{"name": "cmaf", "packaging": "cmaf", "codec": "vp8"},
			{"name": "flac", "packaging": "loc", "codec": "flac", "role": "audio"},
			{"name": "timeline", "packaging": "mediatimeline"},
			{"name": "secret", "packaging": "loc", "codec": "vp8", "encryptionScheme": "moq-secure-objects"},
			{"name": "elsewhere", "packaging": "loc", "codec": "vp8", "namespace": "other"},
		}
		c, err := json.Marshal(map[string]any{"version": "draft-01", "tracks": tracks})
		if err != nil {
			t.Fatal(err)
		}
		f.catalog(catalog.TrackMSF, 1, string(c))
		n := &node{b: f.b}
		b, err := unpack.Open(t.Context(), n, live)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		for name, want := range map[string]error{
			"cmaf": unpack.ErrUnsupported, "flac": unpack.ErrUnsupported, "timeline": unpack.ErrUnsupported,
			"secret": unpack.ErrUnsupported, "elsewhere": unpack.ErrNoTrack, "nothing": unpack.ErrNoTrack,
		} {
			if _, err := b.Frames(t.Context(), name); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
		if n.open != 1 {
			t.Errorf("%d subscriptions", n.open)
		}
	})
}

// TestForeignForms reads frames in every form that publishers use, and expects
// the canonical one.
func TestForeignForms(t *testing.T) {
	h264 := clips.Video(clips.H264AAC)
	canonical := h264.Samples[:2]
	mp4 := media.Format{Codec: media.H264, Description: h264.Config}
	sets, err := codec.ParameterSets(&mp4)
	if err != nil {
		t.Fatal(err)
	}
	units := make([][][]byte, len(canonical))
	for i, s := range canonical {
		if units[i], err = codec.SplitLengthPrefixed(s.Data); err != nil {
			t.Fatal(err)
		}
	}
	withSets := append(append([][]byte{{9, 0xf0}}, sets...), units[0]...)
	av1 := clips.Video(clips.AV1Opus)
	config := moq.Property{Type: loc.PropertyVideoConfig, Bytes: h264.Config}
	msf := func(track string) (string, string) {
		return catalog.TrackMSF, `{"version":"draft-01","tracks":[{"name":"v","packaging":"loc","isLive":true,"role":"video",` + track + `}]}`
	}
	hang := func(kind, rest string) (string, string) {
		return catalog.TrackHang, `{"video":{"renditions":{"v":{"container":{"kind":"` + kind + `"},` + rest + `}}}}`
	}
	type form struct {
		track, catalog string
		props          moq.Properties // of the Track
		objects        []moq.Property // beside the timestamp, of the key frame
		payloads       [][]byte
		relative       bool
		want           []clips.Sample
	}
	build := func(catalogOf func() (string, string), f form) form {
		f.track, f.catalog = catalogOf()
		return f
	}
	cases := map[string]form{
		"config in properties": build(func() (string, string) { return msf(`"codec":"avc1.64000d"`) },
			form{objects: []moq.Property{config}, payloads: [][]byte{canonical[0].Data, canonical[1].Data}, want: canonical}),
		"config of the track": build(func() (string, string) { return msf(`"codec":"avc1.64000d"`) },
			form{props: moq.Properties{config}, payloads: [][]byte{canonical[0].Data, canonical[1].Data}, want: canonical}),
		"config in the catalog": build(func() (string, string) {
			return catalog.TrackHang, fmt.Sprintf(`{"video":{"renditions":{"v":{"container":{"kind":"loc"},"codec":"avc1.64000d","description":"%x"}}}}`, h264.Config)
		}, form{payloads: [][]byte{canonical[0].Data, canonical[1].Data}, want: canonical}),
		"sets in band": build(func() (string, string) { return msf(`"codec":"avc3.64000d"`) },
			form{payloads: [][]byte{codec.AppendLengthPrefixed(nil, withSets...), canonical[1].Data}, want: canonical}),
		"annex B": build(func() (string, string) { return msf(`"codec":"avc3.64000d"`) },
			form{payloads: [][]byte{codec.AppendAnnexB(nil, withSets...), codec.AppendAnnexB(nil, units[1]...)}, want: canonical}),
		"annex B, three bytes": build(func() (string, string) { return msf(`"codec":"avc3.64000d"`) },
			form{payloads: [][]byte{codec.AppendAnnexB(nil, withSets...)[1:], codec.AppendAnnexB(nil, units[1]...)[1:]}, want: canonical}),
		"annex B with config": build(func() (string, string) { return msf(`"codec":"avc1.64000d"`) },
			form{objects: []moq.Property{config}, payloads: [][]byte{codec.AppendAnnexB(nil, units[0]...), codec.AppendAnnexB(nil, units[1]...)}, want: canonical}),
		"AV1 of WebCodecs": build(func() (string, string) { return msf(`"codec":"av01.0.00M.08"`) },
			form{payloads: [][]byte{append([]byte{0x12, 0}, av1.Samples[0].Data...), append([]byte{0x12, 0}, av1.Samples[1].Data...)}, want: av1.Samples[:2]}),
		"AV1 with config": build(func() (string, string) { return msf(`"codec":"av01.0.00M.08"`) },
			form{
				objects:  []moq.Property{{Type: loc.PropertyVideoConfig, Bytes: av1.Config}},
				payloads: [][]byte{append([]byte{0x12, 0}, av1.Samples[0].Data...), av1.Samples[1].Data}, want: av1.Samples[:2],
			}),
		// draft-lcurley-moq-hang: a property block, or a timestamp, in front.
		"loc block": build(func() (string, string) { return hang("loc", `"codec":"avc3.64000d"`) },
			form{payloads: [][]byte{
				append([]byte{3, 0x10, 0x40, 50}, codec.AppendLengthPrefixed(nil, withSets...)...),
				append([]byte{3, 0x10, 0x40, 60}, canonical[1].Data...),
			}, want: canonical}),
		"legacy": build(func() (string, string) { return hang("legacy", `"codec":"avc3.64000d"`) },
			form{relative: true, payloads: [][]byte{
				append([]byte{0x40, 50}, codec.AppendAnnexB(nil, withSets...)...),
				append([]byte{0x40, 60}, codec.AppendAnnexB(nil, units[1]...)...),
			}, want: canonical}),
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newForeign(t)
				f.catalog(c.track, 1, c.catalog)
				f.track("v", moq.TrackConfig{Properties: c.props})
				b, r := open(t, &node{b: f.b}, "v")
				defer b.Close()
				defer r.Close()
				s := f.subgroup("v", 7)
				inFront := name == "loc block" || name == "legacy"
				for i, p := range c.payloads {
					var props moq.Properties
					if !inFront {
						if i == 0 {
							props = append(props, c.objects...)
						}
						props = append(props, stamp(media.Time(50+10*i))...)
					}
					f.object(s, uint64(i), props, p)
				}
				var first media.Time
				for i, want := range c.want {
					fr := next(t, r)
					if !bytes.Equal(fr.Data, want.Data) || fr.Key != (i == 0) {
						t.Fatalf("frame %d: key %v, %d bytes; want %d", i, fr.Key, len(fr.Data), len(want.Data))
					}
					switch {
					case i == 0:
						first = fr.PTS
						if fr.Format.Width != 320 || fr.Format.Height != 180 || len(fr.Format.Description) == 0 {
							t.Errorf("format %+v", fr.Format)
						}
						if now := media.TimeOf(time.Now()); c.relative && fr.PTS != now || !c.relative && fr.PTS != 50 {
							t.Errorf("time %d", fr.PTS)
						}
					case fr.PTS-first != 10:
						t.Errorf("frame %d is %d µs after the first", i, fr.PTS-first)
					}
				}
			})
		})
	}
}

// TestFormatChange: a new configuration record is a new format, a new bitrate
// in the catalog is not.
func TestFormatChange(t *testing.T) {
	h264 := clips.Video(clips.H264AAC)
	other := bytes.Clone(h264.Config)
	other[3]++ // AVCLevelIndication
	other[11]++
	synctest.Test(t, func(t *testing.T) {
		f := newForeign(t)
		cat := func(group uint64, bps int) {
			f.catalog(catalog.TrackMSF, group, fmt.Sprintf(
				`{"version":"draft-01","tracks":[{"name":"v","packaging":"loc","isLive":true,"role":"video","codec":"avc1.64000d","bitrate":%d}]}`, bps))
		}
		cat(1, 1000)
		f.track("v", moq.TrackConfig{})
		b, r := open(t, &node{b: f.b}, "v")
		key := func(group uint64, config []byte) *media.Format {
			s := f.subgroup("v", group)
			f.object(s, 0, append(moq.Properties{{Type: loc.PropertyVideoConfig, Bytes: config}}, stamp(1)...), h264.Samples[0].Data)
			_ = s.Close()
			return next(t, r).Format
		}
		first := key(1, h264.Config)
		if first.Bitrate != 1000 || first.FrameRate != 30 {
			t.Errorf("%+v", first)
		}
		cat(2, 2000)
		if _, err := b.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		if again := key(2, h264.Config); again != first {
			t.Errorf("a new bitrate made a new format: %+v", again)
		}
		if changed := key(3, other); changed == first || !bytes.Equal(changed.Description, other) {
			t.Errorf("after the change: %+v", changed)
		}
	})
}
