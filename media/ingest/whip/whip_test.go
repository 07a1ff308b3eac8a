package whip

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/media/ingest/ingesttest"
	"github.com/freshet-live/freshet/media/ingest/source"
)

const streamKey = "s3cret"

// bench is a running server and what it received.
type bench struct {
	server *Server
	http   *httptest.Server
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
	b.http = httptest.NewServer(s)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		b.http.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return b
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

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// publish runs a client with a small test picture until the test ends.
func (b *bench) publish(t *testing.T, ctx context.Context, c *Client, path string, o source.Options) (stop func() error) {
	t.Helper()
	o.Width, o.Height, o.GOP = 160, 90, 500*time.Millisecond
	src, err := source.Open(ctx, source.TestSource, o)
	if err != nil {
		t.Fatal(err)
	}
	run, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- c.Publish(run, b.http.URL+path, streamKey, src) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		err := <-done
		src.Close()
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Publish: %v", err)
		}
	})
	return stop
}

func TestClientPublishesEveryCodec(t *testing.T) {
	for _, c := range []struct {
		video media.Codec
		mime  string
	}{
		{media.H264, "avc1.42"},
		{media.H265, "hvc1."},
		{media.AV1, "av01."},
		{media.VP9, "vp09."},
		{media.VP8, "vp8"},
	} {
		t.Run(c.video.String(), func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			b := serve(t, nil)
			stop := b.publish(t, ctx, new(Client), "/whip/demo", source.Options{Video: c.video})
			r := b.recorder(t, ctx)
			video := r.Track(t, ctx, c.video, 40)
			audio := r.Track(t, ctx, media.Opus, 60)
			if f := video.Format(); !strings.HasPrefix(f.MIME, c.mime) || f.Width != 160 || f.Height != 90 {
				t.Errorf("video format %+v", f)
			}
			if f := audio.Format(); f.SampleRate != 48000 || f.Channels != 2 {
				t.Errorf("audio format %+v", f)
			}
			if video.Keys() < 2 {
				t.Error("one key frame only")
			}
			if d := video.Frames()[0].PTS.Sub(audio.Frames()[0].PTS).Abs(); d > 500*time.Millisecond {
				t.Errorf("tracks start %v apart", d)
			}
			if err := stop(); err != nil {
				t.Fatalf("Publish: %v", err)
			}
			if err := r.Closed(t, ctx); err != nil {
				t.Errorf("broadcast ended with %v after DELETE", err)
			}
			for _, reason := range ingest.Reasons() {
				if n := b.drops.Count(reason); n > 0 {
					t.Logf("%d × %v", n, reason)
				}
			}
		})
	}
}
