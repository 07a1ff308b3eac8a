package hls

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestReportsOutliveTheCatalog: the last catalog of a broadcast is empty, and
// what is completed afterwards still reports on the other renditions, as
// every version of a playlist must.
func TestReportsOutliveTheCatalog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{})
		m.Start([]Track{{"video0", h264}, {"audio0", opus}})
		play(t, m, video("video0", &h264, wall(), gops(8, 60, 30)...), audio("audio0", &opus, wall(), 20*time.Millisecond, 800))
		m.Start(nil)
		m.Stop()
		for _, r := range m.renditions {
			if text := string(r.current.Load().full.plain()); !strings.Contains(text, "\n#EXT-X-RENDITION-REPORT:") {
				t.Errorf("%s reports on nothing:\n%s", r.track, text)
			}
		}
		if text := string(m.multivariant.Load().plain()); !strings.Contains(text, "video0.m3u8") || !strings.Contains(text, "audio0.m3u8") {
			t.Errorf("renditions have gone:\n%s", text)
		}
		m.Close()
	})
}

// TestLatePicture: sound alone is not offered while a picture with key frames
// seven seconds apart is on its way.
func TestLatePicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{})
		v := video("video0", &h264, wall(), gops(3, 210, 30)...)
		a := audio("audio0", &opus, wall(), 20*time.Millisecond, 1050)
		m.Start(tracks(v, a))
		early, late := v, v
		early.frames, late.frames = v.frames[:180], v.frames[180:]
		sound, rest := a, a
		sound.frames, rest.frames = a.frames[:300], a.frames[300:]
		play(t, m, early, sound)
		select {
		case <-m.Ready():
			t.Error("the sound is offered alone")
		default:
		}
		play(t, m, late, rest)
		if p := checkMultivariant(t, m); p.Variants[0].Width == 0 || p.Variants[0].Audio == "" {
			t.Errorf("not all is offered: %+v", p)
		}
		m.Close()
	})
}

// TestNoPicture: a picture that never comes does not hold the sound for ever.
func TestNoPicture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{})
		a := audio("audio0", &opus, wall(), 20*time.Millisecond, 900)
		m.Start([]Track{{"video0", h264}, {"audio0", opus}})
		play(t, m, a)
		if p := checkMultivariant(t, m); p.Variants[0].Width != 0 {
			t.Errorf("a picture without media is offered: %+v", p)
		}
		m.Close()
	})
}
