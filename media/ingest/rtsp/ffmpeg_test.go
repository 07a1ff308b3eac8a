package rtsp

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/media/ingest/ingesttest"
)

const streamKey = "s3cret"

// bench is a running server and what it received.
type bench struct {
	server *Server
	made   chan *ingesttest.Recorder
	drops  ingest.Drops
}

// serve runs a server for the time of the test.
func serve(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	b := &bench{made: make(chan *ingesttest.Recorder, 16)}
	cfg := Config{
		Addr:      "127.0.0.1:0",
		Admission: ingesttest.Key(streamKey),
		Opener:    ingesttest.Registry(b.made),
		Drops:     &b.drops,
		Logger:    slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.server = s
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return b
}

func (b *bench) url(userinfo, rest string) string {
	return fmt.Sprintf("rtsp://%s%s%s", userinfo, b.server.Addr(), rest)
}

// recorder is the next broadcast that was opened.
func (b *bench) recorder(t *testing.T, ctx context.Context) *ingesttest.Recorder {
	t.Helper()
	select {
	case r := <-b.made:
		return r
	case <-ctx.Done():
		t.Fatal("no broadcast was opened")
		return nil
	}
}

// testContext bounds a test that waits for real programs.
func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// ffmpeg runs ffmpeg until the test ends and returns what it says.
func ffmpeg(t *testing.T, args ...string) (cmd *exec.Cmd, said *bytes.Buffer) {
	t.Helper()
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatalf("this test needs ffmpeg: %v", err)
	}
	said = new(bytes.Buffer)
	cmd = exec.Command(path, append([]string{"-hide_banner", "-nostdin", "-loglevel", "warning"}, args...)...)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("ffmpeg said:\n%s", said)
		}
	})
	return cmd, said
}

var testSources = strings.Fields(`-re -f lavfi -i testsrc2=size=320x180:rate=30 -re -f lavfi -i sine=frequency=440:sample_rate=48000`)

func publishArgs(codecs, transport, url string) []string {
	args := append([]string{}, testSources...)
	args = append(args, strings.Fields(codecs)...)
	return append(args, "-f", "rtsp", "-rtsp_transport", transport, url)
}

// "H.264 with B-frames from ffmpeg must work": x264's medium preset makes
// three between references.
const h264AAC = `-c:v libx264 -preset veryfast -bf 3 -g 30 -pix_fmt yuv420p -c:a aac -ac 2 -b:a 96k`

const h265Opus = `-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=30:bframes=2 -pix_fmt yuv420p -c:a libopus -ac 2`

func TestFFmpegPublishes(t *testing.T) {
	for _, c := range []struct {
		name, codecs string
		video, audio media.Codec
		mime         string
	}{
		{"H264+AAC", h264AAC, media.H264, media.AAC, "avc1."},
		{"H265+Opus", h265Opus, media.H265, media.Opus, "hvc1."},
	} {
		for _, transport := range []string{"tcp", "udp"} {
			t.Run(c.name+"/"+transport, func(t *testing.T) {
				t.Parallel()
				ctx := testContext(t)
				b := serve(t, nil)
				ffmpeg(t, publishArgs(c.codecs, transport, b.url("demo:"+streamKey+"@", "/demo"))...)

				r := b.recorder(t, ctx)
				video := r.Track(t, ctx, c.video, 75)
				audio := r.Track(t, ctx, c.audio, 60)

				if f := video.Format(); !strings.HasPrefix(f.MIME, c.mime) || f.Width != 320 || f.Height != 180 || len(f.Description) == 0 {
					t.Errorf("video format %+v", f)
				}
				if f := audio.Format(); f.SampleRate != 48000 || f.Channels != 2 {
					t.Errorf("audio format %+v", f)
				}
				if n := video.Keys(); n < 2 {
					t.Errorf("%d key frames in %d frames of a GOP of 30", n, len(video.Frames()))
				}
				reordered := false
				frames := video.Frames()
				for i := 1; i < len(frames); i++ {
					reordered = reordered || frames[i].PTS < frames[i-1].PTS
				}
				if !reordered {
					t.Error("no B-frames came through")
				}
				// ffmpeg reads both sources in step and its sender reports
				// share a clock.
				if d := frames[0].PTS.Sub(audio.Frames()[0].PTS).Abs(); d > 300*time.Millisecond {
					t.Errorf("tracks start %v apart", d)
				}
				if d := time.Since(frames[len(frames)-1].PTS.Wall()).Abs(); d > 5*time.Second {
					t.Errorf("last frame is %v off the wall clock", d)
				}
				for _, reason := range ingest.Reasons() {
					if n := b.drops.Count(reason); n > 0 {
						t.Errorf("%d × %v", n, reason)
					}
				}
			})
		}
	}
}
