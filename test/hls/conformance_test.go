package hls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
	"github.com/freshet-live/freshet/media/hls/hlscheck"
	"github.com/freshet-live/freshet/moq/transport"
)

// profile is one way to publish. prepare makes its clips and returns what
// publishes them until its context is done.
type profile struct {
	room    string
	streams int // media playlists that must come of it
	prepare func(t *testing.T) func(ctx context.Context, room string, watch time.Duration) error
}

// rtsp prepares one clip that goes out by RTSP.
func rtsp(seconds int, args ...string) func(*testing.T) func(context.Context, string, time.Duration) error {
	return func(t *testing.T) func(context.Context, string, time.Duration) error {
		file := encode(t, seconds, args...)
		return func(ctx context.Context, room string, _ time.Duration) error { return byRTSP(ctx, room, file) }
	}
}

var profiles = []profile{
	{room: "constant-gop", streams: 2, prepare: rtsp(20, join(picture("320x180", 30), tone, x264, []string{"-g", "60"}, aac)...)},
	{room: "irregular-gop", streams: 2, prepare: rtsp(28, join(picture("320x180", 30), tone, x264,
		// Key frames 1 to 7 s apart.
		[]string{"-g", "900", "-force_key_frames", "0,1,3,10,14,15,20,21,23"}, aac)...)},
	{room: "rate-switch", streams: 2, prepare: func(t *testing.T) func(context.Context, string, time.Duration) error {
		film := encode(t, 20, join(picture("320x180", 24), tone, x264, []string{"-g", "48"}, aac)...)
		game := encode(t, 20, join(picture("320x180", 60), tone, x264, []string{"-g", "120"}, aac)...)
		return inTurn(0, film, game)
	}},
	{room: "audio-only", streams: 1, prepare: rtsp(20, join(tone, aac)...)},
	{room: "simulcast", streams: 4, prepare: func(t *testing.T) func(context.Context, string, time.Duration) error {
		var tracks []cmaftest.Track
		for _, size := range []string{"320x180", "240x136", "160x90"} {
			tracks = append(tracks, cmaftest.Clip(t, join(picture(size, 30), []string{"-t", "20"}, x264, []string{"-g", "60"})...)...)
		}
		tracks = append(tracks, cmaftest.Clip(t, join(tone, []string{"-t", "20"}, opus)...)...)
		return func(ctx context.Context, room string, _ time.Duration) error { return byMoQ(ctx, room, tracks) }
	}},
	{room: "restart", streams: 2, prepare: func(t *testing.T) func(context.Context, string, time.Duration) error {
		file := encode(t, 20, join(picture("320x180", 30), tone, x264, []string{"-g", "60"}, aac)...)
		return inTurn(3*time.Second, file, file)
	}},
	{room: "av1-opus", streams: 2, prepare: func(t *testing.T) func(context.Context, string, time.Duration) error {
		tracks := cmaftest.Clip(t, join(picture("320x180", 30), tone, []string{"-t", "12"},
			[]string{"-c:v", "libsvtav1", "-preset", "12", "-g", "60", "-b:v", "300k", "-pix_fmt", "yuv420p"}, opus)...)
		return func(ctx context.Context, room string, _ time.Duration) error { return byMoQ(ctx, room, tracks) }
	}},
	{room: "hevc-aac", streams: 2, prepare: rtsp(20, join(picture("320x180", 30), tone,
		[]string{"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:bframes=3:keyint=60:open-gop=0", "-b:v", "300k", "-tag:v", "hvc1", "-pix_fmt", "yuv420p"}, aac)...)},
}

// inTurn publishes the first clip for half the time, and after a pause the
// second in a session of its own.
func inTurn(silence time.Duration, first, second string) func(context.Context, string, time.Duration) error {
	return func(ctx context.Context, room string, watch time.Duration) error {
		half, cancel := after(ctx, watch/2)
		defer cancel()
		if err := byRTSP(half, room, first); err != nil {
			return err
		}
		pause(ctx, silence)
		if ctx.Err() != nil {
			return nil
		}
		return byRTSP(ctx, room, second)
	}
}

// watchTime is how long each profile is watched.
func watchTime(t *testing.T) (d time.Duration, soak bool) {
	t.Helper()
	s := os.Getenv("FRESHET_SOAK")
	if s == "" {
		// A minute, and what it takes beyond the skip boundary of 60 s for
		// delta updates to begin.
		return 80 * time.Second, false
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("FRESHET_SOAK: %v", err)
	}
	return d, true
}

// TestConformance publishes all profiles at once and wants no findings.
func TestConformance(t *testing.T) {
	if testing.Short() {
		t.Skip("watches for a minute")
	}
	watch, soak := watchTime(t)
	for _, p := range profiles {
		t.Run(p.room, func(t *testing.T) {
			publish := p.prepare(t)
			t.Parallel() // all clips are there before the first goes out
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			defer wg.Wait()
			defer cancel()
			wg.Go(func() {
				if err := publish(ctx, p.room, watch); err != nil {
					t.Errorf("publishing: %v", err)
				}
			})
			rep := check(t, p.room, watch)
			for _, f := range rep.Findings {
				t.Error(f)
			}
			if len(rep.Streams) < p.streams || rep.Kind != "low-latency" {
				t.Errorf("%s, %d streams", rep.Kind, len(rep.Streams))
			}
			for _, s := range rep.Streams {
				// Half of what there is to see: a machine under load is slow.
				if s.Kind != "i-frame" && s.Kind != "subtitles" && (s.Seconds < watch.Seconds()/2 || s.Parts < int(watch.Seconds()/2)) {
					t.Errorf("hardly looked at: %+v", s)
				}
				if s.Deltas == 0 && s.Kind != "i-frame" && s.Kind != "subtitles" {
					t.Errorf("no delta update of %s", s.URL)
				}
				t.Logf("%+v", s)
			}
			for _, f := range append(rep.Ignored, rep.Notes...) {
				t.Log(f)
			}
			if soak {
				record(t, p.room, rep)
			}
		})
	}
}

// check watches a room, once it is live.
func check(t *testing.T, room string, watch time.Duration) *hlscheck.Report {
	t.Helper()
	tls, err := transport.Trust{FingerprintSHA256: server.ready.CertificateSHA256}.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	cfg := hlscheck.Config{Duration: watch, TLS: tls}
	end := time.Now().Add(patience)
	for {
		rep, err := hlscheck.Run(t.Context(), "https://"+server.ready.HTTPS+"/hls/"+room+"/index.m3u8", cfg)
		if err == nil {
			return rep
		}
		if !errors.Is(err, hlscheck.ErrUnreachable) || time.Now().After(end) {
			t.Fatalf("%v\n%s", err, server.log.String())
		}
		pause(t.Context(), 200*time.Millisecond)
	}
}

var recording sync.Mutex

// record adds the outcome to docs/soak.md.
func record(t *testing.T, room string, rep *hlscheck.Report) {
	t.Helper()
	recording.Lock()
	defer recording.Unlock()
	const file = "../../docs/soak.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	segments, parts := 0, 0
	for _, s := range rep.Streams {
		segments, parts = segments+s.Segments, parts+s.Parts
	}
	line := fmt.Sprintf("| %s | %s | %.0f s | %d | %d | %d | %d |\n", rep.Started.UTC().Format("2006-01-02 15:04"), room, rep.Seconds, len(rep.Streams), segments, parts, len(rep.Findings))
	if !bytes.HasSuffix(text, []byte("\n")) {
		line = "\n" + line
	}
	if err := os.WriteFile(file, append(text, line...), 0o644); err != nil {
		t.Fatal(err)
	}
}
