package hls

import (
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
)

// TestClips muxes what real encoders make and has ffmpeg judge the segments.
func TestClips(t *testing.T) {
	source := func(args ...string) []string {
		return append(slices.Clone(cmaftest.TestSource), append([]string{"-t", "9"}, args...)...)
	}
	for name, args := range map[string][]string{
		"H264 with B-frames":     source("-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "60", "-pix_fmt", "yuv420p"),
		"H265 with B-frames":     source("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:bframes=3:keyint=60:open-gop=0", "-tag:v", "hvc1", "-pix_fmt", "yuv420p"),
		"H264 of a still screen": {"-f", "lavfi", "-i", "testsrc2=size=192x108:rate=1", "-t", "20", "-c:v", "libx264", "-tune", "zerolatency", "-g", "5", "-pix_fmt", "yuv420p"},
		"AV1":                    source("-c:v", "libsvtav1", "-preset", "12", "-g", "60", "-pix_fmt", "yuv420p"),
		"AAC":                    append(slices.Clone(cmaftest.Tone), "-t", "9", "-c:a", "aac"),
		"Opus":                   append(slices.Clone(cmaftest.Tone), "-t", "9", "-c:a", "libopus"),
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

// TestFFmpegPlays has ffmpeg play a whole broadcast over HTTP, from the
// multivariant playlist on. Its publisher restarts in the middle with the
// same encoder settings; Debian 12's ffmpeg skips a second initialization
// segment, so other settings cannot be shown to it.
func TestFFmpegPlays(t *testing.T) {
	picture := cmaftest.Clip(t, append(slices.Clone(cmaftest.TestSource), "-t", "6", "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "60", "-pix_fmt", "yuv420p")...)[0]
	sound := cmaftest.Clip(t, append(slices.Clone(cmaftest.Tone), "-t", "6", "-c:a", "aac")...)[0]
	m := NewMuxer(Config{})
	frames := 0
	for round := range 2 {
		m.Start([]Track{{"video0", picture.Format}, {"audio0", sound.Format}})
		start := wall().Add(time.Duration(round) * 8 * time.Second)
		shift := func(track string, tr cmaftest.Track) script {
			s := script{track: track, frames: slices.Clone(tr.Frames)}
			for i := range s.frames {
				s.frames[i].PTS += start
			}
			return s
		}
		play(t, m, shift("video0", picture), shift("audio0", sound))
		m.Stop()
		frames += len(picture.Frames)
	}
	m.Close()
	srv := httptest.NewServer(m)
	defer srv.Close()
	if n := cmaftest.DecodeInput(t, srv.URL+"/index.m3u8", "-copyts"); n != frames {
		t.Errorf("ffmpeg decodes %d frames of the first stream, want %d", n, frames)
	}
}
