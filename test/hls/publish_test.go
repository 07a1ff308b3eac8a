package hls

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
	"github.com/freshet-live/freshet/media/packager"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/token"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/relay"
)

// Encoder settings, small enough that two cores encode all clips in seconds.
var (
	tone = []string{"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"}
	aac  = []string{"-c:a", "aac", "-ac", "2", "-b:a", "96k"}
	opus = []string{"-c:a", "libopus", "-ac", "2", "-b:a", "96k"}
	x264 = []string{"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-b:v", "300k", "-maxrate", "300k", "-bufsize", "300k", "-sc_threshold", "0"}
)

func picture(size string, rate int) []string {
	return []string{"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%s:rate=%d", size, rate)}
}

func join(lists ...[]string) []string { return slices.Concat(lists...) }

// encode makes a clip of so many seconds.
func encode(t *testing.T, seconds int, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clip.mp4")
	cmd := exec.CommandContext(t.Context(), "ffmpeg", join([]string{"-hide_banner", "-nostdin", "-loglevel", "error"}, args, []string{"-t", fmt.Sprint(seconds), file})...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("ffmpeg %v: %v\n%s", args, err, out)
	}
	return file
}

// byRTSP publishes a clip over and over, as an encoder would, until ctx is
// done.
func byRTSP(ctx context.Context, room, file string) error {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", file,
		"-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", fmt.Sprintf("rtsp://%s:%s@%s/%s", room, streamKey(room), server.ready.RTSP, room))
	cmd.Stderr = &out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("ffmpeg ended: %w\n%s", err, &out)
}

// nobody refuses all sessions: a publisher's node is nobody's server.
type nobody struct{}

func (nobody) Authorize(context.Context, string) (token.Grant, error) {
	return token.Grant{}, errors.New("this is not a server")
}

// publishToken trades the stream key in.
func publishToken(ctx context.Context, room string) (string, error) {
	body, _ := json.Marshal(map[string]string{"stream_key": streamKey(room)})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+server.ready.HTTP+"/v1/rooms/"+room+"/tokens", bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var out struct{ Token string }
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || out.Token == "" {
		return "", fmt.Errorf("no token for %s: status %d, %w", room, resp.StatusCode, err)
	}
	return out.Token, nil
}

// byMoQ publishes tracks over and over, in real time, until ctx is done.
func byMoQ(ctx context.Context, room string, tracks []cmaftest.Track) error {
	tok, err := publishToken(ctx, room)
	if err != nil {
		return err
	}
	node := relay.New(relay.Config{
		Authorizer: nobody{}, Implementation: "freshet-conformance", Logger: slog.New(slog.DiscardHandler),
		Upstreams: []relay.Upstream{{
			URL: "moqt://" + server.ready.QUIC, Token: tok, Protocols: []string{"moqt-19"},
			Trust: transport.Trust{FingerprintSHA256: server.ready.CertificateSHA256},
		}},
	})
	nodeCtx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = node.Run(nodeCtx) // it ends with its context only
	}()
	defer func() { cancel(); <-ended }()
	b := packager.New(moq.Namespace{"live", room}, packager.Config{})
	defer b.Close(nil)
	writers := make([]media.TrackWriter, len(tracks))
	for i, tr := range tracks {
		if writers[i], err = b.AddTrack(tr.Format); err != nil {
			return err
		}
	}
	defer node.Publish(b.Broadcast())()
	return replay(ctx, tracks, func(i int, f media.Frame) error { return writers[i].WriteFrame(f) })
}

// replay writes the frames of all tracks when they are due, over and over.
func replay(ctx context.Context, tracks []cmaftest.Track, write func(int, media.Frame) error) error {
	type due struct {
		at    media.Time
		track int
		frame int
	}
	var order []due
	var length media.Time
	for i, tr := range tracks {
		for k := range tr.Frames {
			order = append(order, due{tr.DTS[k], i, k})
		}
		// All tracks have this length in common: a round ends with the video.
		if n := len(tr.Frames); i == 0 && n > 1 {
			length = (tr.DTS[n-1] - tr.DTS[0]) * media.Time(n) / media.Time(n-1)
		}
	}
	slices.SortStableFunc(order, func(a, b due) int { return int(a.at - b.at) })
	start := media.TimeOf(time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for round := media.Time(0); ; round++ {
		for _, d := range order {
			if d.at-order[0].at >= length {
				continue // sound beyond the picture's end
			}
			at := start + round*length + d.at - order[0].at
			timer.Reset(time.Until(at.Wall()))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return nil
			}
			f := tracks[d.track].Frames[d.frame]
			f.PTS += start + round*length - order[0].at
			if err := write(d.track, f); err != nil {
				return err
			}
		}
	}
}

// after is a context that ends with ctx or after d.
func after(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

// pause waits.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
