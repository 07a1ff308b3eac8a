package packager

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
	"github.com/freshet-live/freshet/media/loc"
	"github.com/freshet-live/freshet/moq"
)

// TestTwin: the Objects of a CMAF Track behind its initialization segment are
// a file, in which other people's parsers find the frames of the LOC Track.
func TestTwin(t *testing.T) {
	video := []string{"-t", "2", "-pix_fmt", "yuv420p", "-g", "15"}
	for name, args := range map[string][]string{
		"H264": append(append([]string{}, cmaftest.TestSource...), append(video, "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-sc_threshold", "0")...),
		"VP9":  append(append([]string{}, cmaftest.TestSource...), append(video, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8")...),
		"Opus": append(append([]string{}, cmaftest.Tone...), "-t", "2", "-c:a", "libopus", "-ac", "2"),
		"AAC":  append(append([]string{}, cmaftest.Tone...), "-t", "2", "-c:a", "aac", "-ac", "2"),
	} {
		t.Run(name, func(t *testing.T) {
			tr := cmaftest.Clip(t, args...)[0]
			var ids []uint64
			var groups [][]*moq.Object
			var plain map[uint64][]*moq.Object
			var entry catalog.Track
			synctest.Test(t, func(t *testing.T) {
				b := New(ns, Config{})
				w, err := b.AddTrack(tr.Format)
				if err != nil {
					t.Fatal(err)
				}
				kind := tr.Format.Kind().String() + "0"
				twin := trackOf(t, b, kind+".cmaf")
				// The reader comes in the middle of a Group.
				start := media.TimeOf(time.Now()) - tr.Frames[0].PTS
				write := func(frames []media.Frame) {
					for _, f := range frames {
						f.PTS += start
						if err := w.WriteFrame(f); err != nil {
							t.Fatal(err)
						}
					}
				}
				const middle = 20
				write(tr.Frames[:middle])
				if largest, ok := twin.Largest(); ok {
					t.Errorf("%v was made for nobody", largest)
				}
				r := twin.NewReader(moq.ReaderConfig{})
				write(tr.Frames[middle:])
				ids, groups = read(t, twin)
				c := whole(t, b)
				e, ok := c.Track(kind + ".cmaf")
				if !ok {
					t.Fatalf("the catalog has no %s.cmaf", kind)
				}
				entry = *e
				if l, _ := c.Track(kind); l.AltGroup == nil || e.AltGroup == nil || *l.AltGroup != *e.AltGroup {
					t.Error("the two packagings are no alternatives")
				}
				plain = make(map[uint64][]*moq.Object)
				plainIDs, plainGroups := read(t, trackOf(t, b, kind))
				for i, id := range plainIDs {
					plain[id] = plainGroups[i]
				}
				r.Close()
				b.Close(nil)
			})
			if entry.Packaging != catalog.CMAF || entry.Format.MIME != tr.Format.MIME {
				t.Errorf("catalog: %+v", entry)
			}

			var init fmp4.Init
			if err := init.Unmarshal(bytes.NewReader(entry.Init)); err != nil || len(init.Tracks) != 1 {
				t.Fatalf("initialization segment: %v", err)
			}
			scale := int64(init.Tracks[0].TimeScale)
			file := bytes.Clone(entry.Init)
			samples := 0
			for i, objects := range groups {
				of := plain[ids[i]]
				if of == nil {
					t.Fatalf("group %d is none of the LOC Track", ids[i])
				}
				n := 0
				for j, o := range objects {
					b := o.Payload()
					file = append(file, b...)
					// "MUST contain at least one Movie Fragment Box (moof) followed by a Media Data Box (mdat)."
					var parts fmp4.Parts
					at := bytes.Index(b, []byte("moof")) - 4
					if at < 0 || j > 0 && at != 0 {
						t.Fatalf("object %d begins with %q", o.ID, b[4:8])
					}
					if err := parts.Unmarshal(b[at:]); err != nil || len(parts) != 1 || len(parts[0].Tracks) != 1 {
						t.Fatalf("object %d: %v", o.ID, err)
					}
					track := parts[0].Tracks[0]
					if track.ID != init.Tracks[0].ID {
						t.Errorf("track_ID %d", track.ID)
					}
					dts := int64(track.BaseTime)
					for k, s := range track.Samples {
						if n >= len(of) {
							t.Fatalf("group %d has more samples than the LOC Track", ids[i])
						}
						// "MUST begin with an Object containing a stream access point (SAP) type 1 or 2."
						if first := j == 0 && k == 0; first && s.IsNonSyncSample {
							t.Error("a Group begins without a sync sample")
						}
						h, err := loc.Parse(of[n].Properties, nil)
						if err != nil {
							t.Fatal(err)
						}
						if !bytes.Equal(s.Payload, of[n].Payload()) {
							t.Fatalf("group %d sample %d differs from the LOC Object", ids[i], n)
						}
						pts := (dts + int64(s.PTSOffset)) / scale * 1e6
						pts += (dts + int64(s.PTSOffset)) % scale * 1e6 / scale
						if d := pts - int64(h.Time); d < -50 || d > 50 {
							t.Errorf("group %d sample %d is %d µs off", ids[i], n, d)
						}
						dts += int64(s.Duration)
						n++
						samples++
					}
				}
				// The last frame is still held back when the Track is read.
				if last := i == len(groups)-1; n != len(of) && !last {
					t.Errorf("group %d: %d samples of %d", ids[i], n, len(of))
				}
			}
			if len(ids) < 2 {
				t.Fatalf("%d groups", len(ids))
			}
			if tr.Format.Kind() == media.Video {
				if n := cmaftest.Decode(t, file); n != samples {
					t.Errorf("%d pictures of %d samples", n, samples)
				}
			} else {
				cmaftest.Decode(t, file)
			}
			cmaftest.Packets(t, file)
		})
	}
}

// TestTwinOnDemand: a Group is made when somebody reads, from its beginning
// and to its end, and then no more.
func TestTwinOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(ns, Config{})
		w, err := b.AddTrack(*opus)
		if err != nil {
			t.Fatal(err)
		}
		twin := trackOf(t, b, "audio0.cmaf")
		pts := media.TimeOf(time.Now())
		packets := func(n int) {
			for range n {
				if err := w.WriteFrame(media.Frame{PTS: pts, Key: true, Data: []byte{0xfc, 1}, Format: opus}); err != nil {
					t.Fatal(err)
				}
				pts = pts.Add(20 * time.Millisecond)
			}
		}
		packets(75)
		r := twin.NewReader(moq.ReaderConfig{Start: moq.StartCurrentGroup})
		packets(1)
		g, err := r.NextGroup(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := trackOf(t, b, "audio0").Largest(); g.ID() != want.Group {
			t.Errorf("group %d is made first, %d is current", g.ID(), want.Group)
		}
		if o, err := g.Next(t.Context()); err != nil || o.ID != 0 {
			t.Errorf("first object: %v, %v", o, err)
		}
		r.Close()
		packets(200)
		if largest, _ := twin.Largest(); largest.Group != g.ID() {
			t.Errorf("group %d is made for nobody", largest.Group)
		}
		if n := twin.Bytes(); n != 0 {
			t.Errorf("%d bytes wait for the next reader", n)
		}
		again := twin.NewReader(moq.ReaderConfig{Start: moq.StartCurrentGroup})
		defer again.Close()
		packets(1)
		next, err := again.NextGroup(t.Context())
		if want, _ := trackOf(t, b, "audio0").Largest(); err != nil || next.ID() != want.Group {
			t.Errorf("the next reader gets %v, %v", next, err)
		}
		b.Close(nil)
		for {
			if _, err := next.Next(t.Context()); err != nil {
				if err != io.EOF {
					t.Errorf("the last group ends with %v", err)
				}
				break
			}
		}
	})
}

// TestNoTwin: there are no VP8 tracks in ISO BMFF files.
func TestNoTwin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(ns, Config{})
		if _, err := b.AddTrack(media.Format{Codec: media.VP8, MIME: "vp8", Width: 320, Height: 180}); err != nil {
			t.Fatal(err)
		}
		for _, name := range b.Broadcast().Tracks() {
			if strings.HasSuffix(name, ".cmaf") {
				t.Errorf("track %s", name)
			}
		}
		b.Close(nil)
	})
}

// BenchmarkTwin is what a frame costs the packager when nobody reads CMAF and
// when somebody does.
func BenchmarkTwin(b *testing.B) {
	for _, read := range []bool{false, true} {
		b.Run(map[bool]string{false: "unread", true: "read"}[read], func(b *testing.B) {
			broadcast := New(ns, Config{})
			w, err := broadcast.AddTrack(*opus)
			if err != nil {
				b.Fatal(err)
			}
			if read {
				twin, _ := broadcast.Broadcast().Track("audio0" + twinSuffix)
				defer twin.NewReader(moq.ReaderConfig{}).Close()
			}
			f := media.Frame{PTS: media.TimeOf(time.Now()), Key: true, Data: make([]byte, 160), Format: opus}
			f.Data[0] = 0xfc // one frame of 20 ms
			b.ReportAllocs()
			for b.Loop() {
				if err := w.WriteFrame(f); err != nil {
					b.Fatal(err)
				}
				f.PTS = f.PTS.Add(20 * time.Millisecond)
			}
			broadcast.Close(nil)
		})
	}
}
