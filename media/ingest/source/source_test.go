package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/ingest/ingesttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// record reads n frames into a recorder, which checks them.
func record(t *testing.T, ctx context.Context, r *Reader, n int) (*ingesttest.Recorder, error) {
	t.Helper()
	rec := ingesttest.NewRecorder()
	var writers []media.TrackWriter
	for _, f := range r.Formats() {
		w, err := rec.AddTrack(f)
		if err != nil {
			t.Fatal(err)
		}
		writers = append(writers, w)
	}
	for range n {
		i, f, err := r.Next(ctx)
		if err != nil {
			return rec, err
		}
		if err := writers[i].WriteFrame(f); err != nil {
			t.Fatal(err)
		}
	}
	return rec, rec.Faults()
}

func TestTestSourceInEveryCodec(t *testing.T) {
	for _, c := range []struct {
		o    Options
		mime string
	}{
		{Options{}, "avc1.42"},
		{Options{BFrames: 2, Audio: media.AAC}, "avc1.64"},
		{Options{Video: media.H265}, "hvc1."},
		{Options{Video: media.AV1}, "av01."},
		{Options{Video: media.VP9}, "vp09."},
		{Options{Video: media.VP8}, "vp8"},
		{Options{Video: media.VP8, NoAudio: true}, "vp8"},
		{Options{NoVideo: true, Audio: media.AAC}, ""},
	} {
		t.Run(fmt.Sprintf("%v+%v", c.o.Video, c.o.Audio), func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			c.o.Width, c.o.Height, c.o.GOP = 160, 90, 500*time.Millisecond
			r, err := Open(ctx, TestSource, c.o)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			started := time.Now()
			rec, err := record(t, ctx, r, 100)
			if err != nil {
				t.Fatal(err)
			}
			if !c.o.NoVideo {
				f := r.Formats()[0]
				if !strings.HasPrefix(f.MIME, c.mime) || f.Width != 160 || f.Height != 90 {
					t.Errorf("format %+v, want %s 160x90", f, c.mime)
				}
				track := rec.Track(t, ctx, f.Codec, 20)
				if track.Keys() < 2 {
					t.Errorf("%d key frames in %d frames", track.Keys(), len(track.Frames()))
				}
			}
			// 100 frames are at least 1.2 s of media (30 + 50 per second): the
			// pace is kept, give or take what was ready at the start.
			if d := time.Since(started); d < 300*time.Millisecond {
				t.Errorf("100 frames in %v: no pacing", d)
			}
		})
	}
}

// clip makes a short file.
func clip(t *testing.T, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "clip.mkv")
	args = append(append([]string{"-loglevel", "error", "-nostdin"}, args...), path)
	if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, out)
	}
	return path
}

func TestFileOnce(t *testing.T) {
	ctx := testContext(t)
	path := clip(t, "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25", "-t", "0.4", "-c:v", "mpeg4")
	r, err := Open(ctx, path, Options{Once: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	rec, err := record(t, ctx, r, 1000)
	if !errors.Is(err, io.EOF) {
		t.Fatalf("at the end: %v", err)
	}
	if n := len(rec.Track(t, ctx, media.H264, 1).Frames()); n != 10 {
		t.Errorf("%d frames of a clip of 10", n)
	}
	if n := len(r.Formats()); n != 1 {
		t.Errorf("%d tracks of a silent clip", n)
	}
}

func TestFileLoops(t *testing.T) {
	ctx := testContext(t)
	path := clip(t, "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25", "-f", "lavfi", "-i", "sine", "-t", "0.4", "-c:v", "mpeg4", "-c:a", "pcm_s16le")
	r, err := Open(ctx, path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := record(t, ctx, r, 100); err != nil {
		t.Fatalf("a clip of 30 frames ends before 100: %v", err)
	}
}

func TestErrors(t *testing.T) {
	ctx := testContext(t)
	t.Run("no ffmpeg", func(t *testing.T) {
		_, err := Open(ctx, TestSource, Options{FFmpeg: "no-such-program"})
		if !errors.Is(err, ErrNoFFmpeg) {
			t.Errorf("%v", err)
		}
	})
	t.Run("no file", func(t *testing.T) {
		_, err := Open(ctx, filepath.Join(t.TempDir(), "none"), Options{})
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v", err)
		}
	})
	t.Run("no media", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "text")
		if err := os.WriteFile(path, []byte("not a video\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(ctx, path, Options{})
		if err == nil || !strings.Contains(err.Error(), "Invalid data") {
			t.Errorf("does not say what ffmpeg said: %v", err)
		}
	})
	t.Run("nothing wanted", func(t *testing.T) {
		if _, err := Open(ctx, TestSource, Options{NoVideo: true, NoAudio: true}); err == nil {
			t.Error("no error")
		}
	})
}
