package rtsp

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/media/ingest/ingesttest"
	"github.com/freshet-live/freshet/media/ingest/source"
)

// testSource opens a small test picture that ends with the test.
func testSource(t *testing.T, ctx context.Context, o source.Options) *source.Reader {
	t.Helper()
	o.Width, o.Height, o.GOP = 160, 90, 500*time.Millisecond
	src, err := source.Open(ctx, source.TestSource, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { src.Close() })
	return src
}

// start publishes until the test ends or stop is called.
func (b *bench) start(t *testing.T, ctx context.Context, c *Client, rest string, src ingest.Source) (stop func() error) {
	t.Helper()
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- c.Publish(run, b.url("demo:"+streamKey+"@", rest), src) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { stop() })
	return stop
}

func TestClientPublishesEveryCodec(t *testing.T) {
	for _, c := range []struct {
		name      string
		o         source.Options
		transport Transport
		mime      string
	}{
		{"AV1+Opus/tcp", source.Options{Video: media.AV1, Audio: media.Opus}, TCP, "av01."},
		{"AV1+Opus/udp", source.Options{Video: media.AV1, Audio: media.Opus}, UDP, "av01."},
		{"H264+AAC/tcp", source.Options{Video: media.H264, Audio: media.AAC, BFrames: 2}, TCP, "avc1."},
		{"H265+AAC/udp", source.Options{Video: media.H265, Audio: media.AAC}, UDP, "hvc1."},
		{"VP9+Opus/tcp", source.Options{Video: media.VP9, Audio: media.Opus}, TCP, "vp09."},
		{"VP8+Opus/tcp", source.Options{Video: media.VP8, Audio: media.Opus}, TCP, "vp8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			b := serve(t, nil)
			src := testSource(t, ctx, c.o)
			stop := b.start(t, ctx, &Client{Transport: c.transport}, "/demo/guest", src)

			r := b.recorder(t, ctx)
			video := r.Track(t, ctx, c.o.Video, 40)
			audio := r.Track(t, ctx, c.o.Audio, 50)
			if f := video.Format(); !strings.HasPrefix(f.MIME, c.mime) || f.Width != 160 || f.Height != 90 {
				t.Errorf("video format %+v", f)
			}
			if f := audio.Format(); f.SampleRate != 48000 || f.Channels != 2 {
				t.Errorf("audio format %+v", f)
			}
			if video.Keys() < 2 {
				t.Error("one key frame only")
			}
			// The sender reports tell the times of the source, which started
			// both tracks within a moment.
			if d := video.Frames()[0].PTS.Sub(audio.Frames()[0].PTS).Abs(); d > 150*time.Millisecond {
				t.Errorf("tracks start %v apart", d)
			}
			if err := stop(); err != nil {
				t.Errorf("Publish: %v", err)
			}
			if err := r.Closed(t, ctx); err != nil {
				t.Errorf("broadcast ended with %v after TEARDOWN", err)
			}
		})
	}
}

// TestClientPublishesAC3 sends what ffmpeg's encoder makes: ffmpeg itself has
// AC-3 over RTP for receiving only.
func TestClientPublishesAC3(t *testing.T) {
	for name, transport := range map[string]Transport{"tcp": TCP, "udp": UDP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			b := serve(t, nil)
			b.start(t, ctx, &Client{Transport: transport}, "/demo", testSource(t, ctx, source.Options{NoVideo: true, Audio: media.AC3}))
			audio := b.recorder(t, ctx).Track(t, ctx, media.AC3, 30)
			if f := audio.Format(); f.MIME != "ac-3" || f.SampleRate != 48000 || f.Channels != 2 || f.Bitrate != 192_000 || len(f.Description) != 3 {
				t.Errorf("format %+v", f)
			}
			frames := audio.Frames()
			for i := 1; i < len(frames); i++ {
				if d := frames[i].PTS.Sub(frames[i-1].PTS); (d - 32*time.Millisecond).Abs() > 2*time.Millisecond {
					t.Errorf("frame %d is %v after the one before", i, d)
				}
			}
		})
	}
}

// finite is a source that ends.
type finite struct {
	*source.Reader
	left int
}

func (f *finite) Next(ctx context.Context) (int, media.Frame, error) {
	if f.left == 0 {
		return 0, media.Frame{}, io.EOF
	}
	f.left--
	return f.Reader.Next(ctx)
}

func TestClientEndsWithItsSource(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, nil)
	src := &finite{testSource(t, ctx, source.Options{NoAudio: true}), 10}
	if err := Publish(ctx, b.url("demo:"+streamKey+"@", "/demo"), src); err != nil {
		t.Errorf("Publish: %v", err)
	}
	if err := b.recorder(t, ctx).Closed(t, ctx); err != nil {
		t.Errorf("broadcast ended with %v", err)
	}
}

func TestClientIsRefused(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, func(c *Config) {
		c.Admission = ingest.AdmissionFunc(func(ctx context.Context, r ingest.AdmissionRequest) (ingest.AdmissionDecision, error) {
			switch r.Room {
			case "nowhere":
				return ingest.AdmissionDecision{}, ingest.ErrNotFound
			case "broken":
				return ingest.AdmissionDecision{}, io.ErrUnexpectedEOF
			}
			return ingesttest.Key(streamKey).Admit(ctx, r)
		})
	})
	src := testSource(t, ctx, source.Options{NoAudio: true})
	stop := b.start(t, ctx, new(Client), "/demo", src)
	b.recorder(t, ctx).Track(t, ctx, media.H264, 1)

	other := testSource(t, ctx, source.Options{NoAudio: true})
	for _, c := range []struct {
		name, user, rest string
		want             int
	}{
		{"no key", "", "/demo", 401},
		{"wrong key", "demo:wrong@", "/demo", 401},
		{"wrong user", "other:" + streamKey + "@", "/demo", 401},
		{"wrong key in the query", "", "/demo?key=wrong", 401},
		{"room taken", "demo:" + streamKey + "@", "/demo", 409},
		{"room taken, key in the query", "", "/demo?key=" + streamKey, 409},
		{"no room", "nowhere:x@", "/nowhere", 404},
		{"no name", "", "/", 404},
		{"not a name", "", "/Demo", 404},
		{"too deep", "", "/a/b/c", 404},
		{"admission fails", "broken:x@", "/broken", 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Publish(ctx, b.url(c.user, c.rest), other)
			var status *StatusError
			if !errors.As(err, &status) || status.Code != c.want {
				t.Errorf("%v, want %d", err, c.want)
			}
		})
	}
	if err := stop(); err != nil {
		t.Errorf("the first publisher: %v", err)
	}
}

func TestTakeover(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, nil)
	done := make(chan error, 1)
	first := testSource(t, ctx, source.Options{NoAudio: true})
	go func() { done <- Publish(ctx, b.url("demo:"+streamKey+"@", "/demo"), first) }()
	old := b.recorder(t, ctx)
	old.Track(t, ctx, media.H264, 5)

	b.start(t, ctx, new(Client), "/demo?takeover=1", testSource(t, ctx, source.Options{NoAudio: true}))
	b.recorder(t, ctx).Track(t, ctx, media.H264, 5)
	if err := old.Closed(t, ctx); !errors.Is(err, ingest.ErrTakenOver) {
		t.Errorf("old broadcast ended with %v", err)
	}
	if err := <-done; err == nil {
		t.Error("the old publisher was not told")
	}
}
