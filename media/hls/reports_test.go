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
