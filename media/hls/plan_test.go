package hls

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media/hls/playlist"
)

// layersOf makes n layers of one simulcast.
func layersOf(n int, make func(i int, track string) script) []script {
	var out []script
	for i := range n {
		out = append(out, make(i, []string{"video0", "video1", "video2"}[i]))
	}
	return out
}

// byNumber returns the closed segments of a track by media sequence number.
func byNumber(o *observer, track string) map[uint64]playlist.Segment {
	out := make(map[uint64]playlist.Segment)
	for msn, s := range o.segments[track] {
		if !s.Open() {
			out[msn] = s
		}
	}
	return out
}

// TestPlan checks that the layers of a simulcast are cut at the same key
// frames and number their segments alike, also after one has lost media.
func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(i int, track string) script
		apart time.Duration // beyond this from the start, all segments agree
		off   time.Duration // how far apart starts of one number may be
	}{
		{name: "one layer loses a Group in the middle of a segment", apart: 30 * time.Second, make: func(i int, track string) script {
			s := video(track, &vp9, wall(), gops(39, 60, 30)...)
			if i == 1 {
				s.frames = append(s.frames[:420:420], s.frames[480:]...)
				s.lost[420] = true
			}
			return s
		}},
		{name: "one layer loses eleven seconds", apart: 50 * time.Second, make: func(i int, track string) script {
			s := video(track, &vp9, wall(), gops(39, 60, 30)...)
			if i == 0 {
				s.frames = append(s.frames[:570:570], s.frames[900:]...)
				s.lost[570] = true
			}
			return s
		}},
		{name: "GOPs of 3 s, one layer comes late", apart: 30 * time.Second, make: func(i int, track string) script {
			s := video(track, &vp9, wall(), gops(26, 90, 30)...)
			if i == 2 {
				s.frames = s.frames[360+17:]
				for !s.frames[0].Key {
					s.frames = s.frames[1:]
				}
			}
			return s
		}},
		{name: "key frames that never coincide", apart: 20 * time.Second, off: 2 * time.Second, make: func(i int, track string) script {
			return video(track, &vp9, wall().Add(time.Duration(i)*600*time.Millisecond), gops(39, 60, 30)...)
		}},
		{name: "GOPs of 2, 2.5 and 3 s", apart: 20 * time.Second, off: 3 * time.Second, make: func(i int, track string) script {
			return video(track, &vp9, wall(), gops(78*30/(60+15*i), 60+15*i, 30)...)
		}},
		{name: "GOPs longer than a segment may be", apart: 60 * time.Second, make: func(i int, track string) script {
			return video(track, &vp9, wall(), gops(3, 30*26, 30)...)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMuxer(Config{Window: 30 * time.Second})
				o := observe(t, m, "first-part")
				layers := layersOf(3, c.make)
				m.Start(tracks(layers...))
				play(t, m, layers...)
				m.Close()
				start := wall().Wall()
				for _, l := range layers {
					o.checkMedia(l.track)
				}
				a := byNumber(o, "video0")
				agree := 0
				for _, track := range []string{"video1", "video2"} {
					for msn, s := range byNumber(o, track) {
						at := s.Time.Sub(start)
						if at < c.apart || at > 70*time.Second {
							continue
						}
						other, ok := a[msn]
						if !ok {
							continue // the last one
						}
						// Times are printed in milliseconds.
						if d := s.Time.Sub(other.Time); d.Abs() > c.off+time.Millisecond {
							t.Errorf("%s: segment %d begins %v apart", track, msn, d)
						}
						agree++
					}
				}
				if agree < 2 {
					t.Errorf("only %d segments compared", agree)
				}
				if t.Failed() {
					for _, l := range layers {
						t.Log(l.track + "\n" + o.describe(l.track))
					}
				}
			})
		})
	}
}
