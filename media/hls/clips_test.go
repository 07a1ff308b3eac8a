package hls

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
)

// TestClips muxes what real encoders make and has ffmpeg judge the segments.
func TestClips(t *testing.T) {
	source := func(args ...string) []string {
		return append(slices.Clone(cmaftest.TestSource), append([]string{"-t", "9"}, args...)...)
	}
	for name, args := range map[string][]string{
		"H264 with B-frames": source("-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "60", "-pix_fmt", "yuv420p"),
		"H265 with B-frames": source("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:bframes=3:keyint=60:open-gop=0", "-tag:v", "hvc1", "-pix_fmt", "yuv420p"),
		"AV1":                source("-c:v", "libsvtav1", "-preset", "12", "-g", "60", "-pix_fmt", "yuv420p"),
		"AAC":                append(slices.Clone(cmaftest.Tone), "-t", "9", "-c:a", "aac"),
		"Opus":               append(slices.Clone(cmaftest.Tone), "-t", "9", "-c:a", "libopus"),
	} {
		t.Run(name, func(t *testing.T) {
			tr := cmaftest.Clip(t, args...)[0]
			var file []byte
			synctest.Test(t, func(t *testing.T) {
				m := NewMuxer(Config{})
				o := observe(t, m)
				m.Start([]Track{{Name: "track", Format: tr.Format}})
				for _, f := range tr.Frames {
					f.PTS += wall()
					if err := m.WriteFrame("track", f, false); err != nil {
						t.Fatal(err)
					}
				}
				m.Close()
				if n := o.checkMedia("track"); n != len(tr.Frames) {
					t.Errorf("%d samples of %d frames", n, len(tr.Frames))
				}
				file = o.file("track")
			})
			if n := len(cmaftest.Packets(t, file)); n != len(tr.Frames) {
				t.Errorf("ffprobe sees %d packets, want %d", n, len(tr.Frames))
			}
			if n := cmaftest.Decode(t, file); tr.Format.Kind() == media.Video && n != len(tr.Frames) {
				t.Errorf("ffmpeg decodes %d frames, want %d", n, len(tr.Frames))
			}
		})
	}
}
