package hls

import (
	"bytes"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

// TestIFrames checks the I-frame playlist of what real encoders make: it
// agrees with the playlist proper, and each of its byte ranges, behind the
// initialization segment, decodes to one picture.
func TestIFrames(t *testing.T) {
	for name, args := range map[string][]string{
		"H264": {"-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "60", "-pix_fmt", "yuv420p"},
		"AV1":  {"-c:v", "libsvtav1", "-preset", "12", "-g", "60", "-pix_fmt", "yuv420p"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := cmaftest.Clip(t, append(append(slices.Clone(cmaftest.TestSource), "-t", "13"), args...)...)[0]
			var files [][]byte
			synctest.Test(t, func(t *testing.T) {
				m := NewMuxer(Config{})
				o := observe(t, m)
				var lists []*playlist.Media
				m.observeIFrames = func(_ *rendition, v *version) {
					p, err := playlist.ParseMedia(v.full.plain())
					if err != nil {
						t.Fatalf("%v in\n%s", err, v.full.plain())
					}
					lists = append(lists, p)
				}
				m.Start([]Track{{Name: "video0", Format: tr.Format}})
				for _, f := range tr.Frames {
					f.PTS += wall()
					if err := m.WriteFrame("video0", f, false); err != nil {
						t.Fatal(err)
					}
				}
				p := checkMultivariant(t, m)
				if len(p.IFrames) != 1 || p.IFrames[0].URI != "p/open/video0.iframes.m3u8" || p.IFrames[0].Bandwidth < 2 || p.IFrames[0].Bandwidth > p.Variants[0].Bandwidth {
					t.Errorf("I-frame playlists %+v beside %+v", p.IFrames, p.Variants)
				}
				m.Close()
				w := httptest.NewRecorder()
				m.ServeHTTP(w, httptest.NewRequest("GET", "/p/open/video0.iframes.m3u8?_HLS_msn=1", nil))
				if !bytes.Equal(w.Body.Bytes(), lists[len(lists)-1].Append(nil)) {
					t.Errorf("answer %d %s", w.Code, w.Body)
				}
				all := o.ordered("video0")
				last := lists[len(lists)-1]
				if len(last.Segments) != len(all) || len(all) < 4 || !last.EndList || !last.IFramesOnly || last.PartTarget != 0 || last.Hint != "" {
					t.Fatalf("of %d segments:\n%s", len(all), last.Append(nil))
				}
				for i, s := range last.Segments {
					a := all[i]
					if s.Duration != a.Duration || !s.Time.Equal(a.Time) || s.URI != a.URI || s.Map != a.Map || s.Gap || s.Offset != 0 {
						t.Errorf("segment %d is %+v, want the key frame of %+v", i, s, a)
					}
					files = append(files, slices.Concat(o.bodies["video0/"+s.Map], o.bodies["video0/"+s.URI][:s.Length]))
				}
				if u := lists[0].CheckUpdate(last); len(u) > 0 {
					t.Error(u)
				}
			})
			for i, f := range files {
				if n := cmaftest.Decode(t, f); n != 1 {
					t.Errorf("range %d decodes to %d pictures", i, n)
				}
			}
		})
	}
}

// TestIFramesDelta merges delta updates of the I-frame playlist for two
// minutes, and compares its control with that of the playlist proper.
func TestIFramesDelta(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{})
		merged, deltas := (*playlist.Media)(nil), 0
		m.observeIFrames = func(r *rendition, v *version) {
			full, err := playlist.ParseMedia(v.full.plain())
			if err != nil {
				t.Fatalf("%v in\n%s", err, v.full.plain())
			}
			if proper := r.current.Load(); proper.full != nil {
				p, err := playlist.ParseMedia(proper.full.plain())
				if err != nil || p.Control != full.Control || p.Version != full.Version {
					t.Fatalf("%v; control %+v, version %d beside %+v, %d", err, full.Control, full.Version, p.Control, p.Version)
				}
			}
			for _, d := range []*rendered{v.delta, v.delta2} {
				if d == nil {
					continue
				}
				deltas++
				p, err := playlist.ParseMedia(d.plain())
				if err != nil {
					t.Fatalf("%v in\n%s", err, d.plain())
				}
				got, err := merged.Apply(p)
				if err != nil || !bytes.Equal(got.Append(nil), full.Append(nil)) {
					t.Fatalf("%v; merged is\n%s\nfull is\n%s", err, got.Append(nil), full.Append(nil))
				}
				var kept time.Duration
				for _, s := range p.Segments {
					kept += s.Duration
				}
				if kept < control.CanSkipUntil {
					t.Errorf("a delta update lists %v", kept)
				}
			}
			merged = full
		}
		v := video("video0", &h264, wall(), gops(60, 60, 30)...)
		m.Start(tracks(v))
		play(t, m, v)
		if deltas < 20 {
			t.Errorf("%d delta updates in two minutes", deltas)
		}
		w := get(t.Context(), m, "/p/open/video0.iframes.m3u8?_HLS_skip=YES")
		if !bytes.Contains(w.Body.Bytes(), []byte("#EXT-X-SKIP:SKIPPED-SEGMENTS=")) {
			t.Errorf("answer %d %s", w.Code, w.Body)
		}
		m.Close()
	})
}

// TestIFramesOverHoles checks that segments without a key frame at their
// start are gaps there, and that the window and discontinuities are those of
// the playlist proper.
func TestIFramesOverHoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{Window: 40 * time.Second})
		o := observe(t, m, "first-part")
		var last *playlist.Media
		m.observeIFrames = func(r *rendition, v *version) {
			p, err := playlist.ParseMedia(v.full.plain())
			if err != nil {
				t.Fatal(err)
			}
			if last != nil {
				for _, f := range last.CheckUpdate(p) {
					t.Errorf("%v", f)
				}
			}
			last = p
		}
		at := wall()
		v := video("video0", &vp9, at, append(gops(4, 60, 30), gop{26 * 30, 30}, gop{60, 30}, gop{60, 30}, gop{60, 30}, gop{60, 30})...)
		m.Start(tracks(v))
		play(t, m, v)
		m.Stop()
		again := video("video0", &vp9, at.Add(50*time.Second), gops(8, 60, 30)...)
		m.Start(tracks(again))
		play(t, m, again)
		m.Close()
		full := o.last["video0"]
		if last.MediaSequence != full.MediaSequence || len(last.Segments) != len(full.Segments) || last.Discontinuities != full.Discontinuities {
			t.Fatalf("%d segments from %d on, want %d from %d on", len(last.Segments), last.MediaSequence, len(full.Segments), full.MediaSequence)
		}
		gaps, discs := 0, 0
		for i, s := range last.Segments {
			key := len(o.ordered("video0")[int(last.MediaSequence-m.firstMSN)+i].Parts) == 0 || o.ordered("video0")[int(last.MediaSequence-m.firstMSN)+i].Parts[0].Independent
			if s.Gap == key {
				t.Errorf("segment %d: gap %v", i, s.Gap)
			}
			if s.Gap {
				gaps++
			}
			if s.Discontinuity {
				discs++
			}
		}
		if gaps == 0 || discs != 1 {
			t.Errorf("%d gaps and %d discontinuities:\n%s", gaps, discs, last.Append(nil))
		}
	})
}

// TestMultivariantAttributes checks what tells players how to choose.
func TestMultivariantAttributes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{})
		hdr, german, english := vp9, opus, opus
		hdr.MIME, hdr.FrameRate = "vp09.02.31.10.01.09.16.09.00", 59.94
		german.Language, german.Label = "de", "Deutsch"
		english.Language = "en"
		m.Start([]Track{{"video0", hdr}, {"audio0", german}, {"audio1", english}})
		v := video("video0", &hdr, wall(), gops(12, 60, 30)...)
		for i := range v.frames {
			v.frames[i].Data = make([]byte, 1000) // 240 kbit/s
		}
		for i := 120; i < 480; i++ {
			v.frames[i].Data = make([]byte, 2000)
		}
		a := audio("audio0", &german, wall(), 20*time.Millisecond, 1200)
		b := audio("audio1", &english, wall(), 20*time.Millisecond, 1200)
		var bandwidths []int
		for i := range v.frames {
			play(t, m, script{track: v.track, frames: v.frames[i : i+1]})
			for j := range a.frames {
				if a.frames[j].PTS >= v.frames[i].PTS && (i+1 == len(v.frames) || a.frames[j].PTS < v.frames[i+1].PTS) {
					play(t, m, script{track: a.track, frames: a.frames[j : j+1]}, script{track: b.track, frames: b.frames[j : j+1]})
				}
			}
			if p := m.multivariant.Load(); p != nil {
				mv, err := playlist.ParseMultivariant(p.plain())
				if err != nil {
					t.Fatal(err)
				}
				bandwidths = append(bandwidths, mv.Variants[0].Bandwidth)
			}
		}
		if !slices.IsSorted(bandwidths) {
			t.Errorf("BANDWIDTH fell: %v", slices.Compact(bandwidths))
		}
		if got := bandwidths[len(bandwidths)-1]; got < 440_000 || got > 560_000 {
			t.Errorf("BANDWIDTH %d of a peak of about 480 kbit/s with sound", got)
		}
		text := string(m.multivariant.Load().plain())
		for _, want := range []string{"FRAME-RATE=59.940", "VIDEO-RANGE=PQ", `NAME="Deutsch",LANGUAGE="de"`, `NAME="audio 2",LANGUAGE="en"`, `CHANNELS="2"`, `CODECS="vp09.02.31.10.01.09.16.09.00,opus"`, "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH="} {
			if !strings.Contains(text, want) {
				t.Errorf("no %s in\n%s", want, text)
			}
		}
		if strings.Contains(text, "FRAME-RATE=59.940,VIDEO-RANGE=PQ,URI") {
			t.Error("FRAME-RATE in EXT-X-I-FRAME-STREAM-INF")
		}
		m.Close()
	})
}
