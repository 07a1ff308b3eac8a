package hlsload

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet-live/freshet/control"
	"github.com/freshet-live/freshet/control/store"
	"github.com/freshet-live/freshet/media/hls"
)

// node is `freshet up` with a room that asks for a token, in which somebody is
// live.
type node struct {
	bin, data string
	ready     struct {
		HTTP, Metrics, RTSP string

		StreamKey string `json:"stream_key"`
	}
}

// run starts a program for the test's time.
func run(t *testing.T, cmd *exec.Cmd) (ended <-chan struct{}, log *bytes.Buffer) {
	t.Helper()
	log = new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // its log tells why
	}()
	t.Cleanup(func() {
		for _, sig := range []os.Signal{os.Interrupt, os.Kill} {
			_ = cmd.Process.Signal(sig)
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				continue
			}
			break
		}
		if t.Failed() {
			b := log.Bytes()
			t.Logf("%s: %s", filepath.Base(cmd.Path), b[max(0, len(b)-2000):])
		}
	})
	return done, log
}

func startNode(t *testing.T) *node {
	t.Helper()
	dir := t.TempDir()
	n := &node{bin: filepath.Join(dir, "freshet"), data: filepath.Join(dir, "data")}
	if out, err := exec.Command("go", "build", "-o", n.bin, "github.com/freshet-live/freshet/cmd/freshet").CombinedOutput(); err != nil {
		t.Fatalf("building freshet: %v\n%s", err, out)
	}
	if err := os.Mkdir(n.data, 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := store.OpenSQLite(t.Context(), filepath.Join(n.data, "freshet.db"))
	if err != nil {
		t.Fatal(err)
	}
	err = db.CreateRoom(t.Context(), control.Room{Name: room, Title: room, Created: time.Now().UTC()}, control.DigestKey(control.NewStreamKey()))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	const free = "127.0.0.1:0"
	file := filepath.Join(dir, "ready.json")
	cmd := exec.Command(n.bin, "up", "--quic-addr", free, "--https-addr", free, "--http-addr", free, "--webrtc-addr", free,
		"--rtsp-addr", free, "--metrics-addr", free, "--data-dir", n.data, "--ready-file", file)
	// Variables named FRESHET_ are settings, and it refuses unknown ones.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "FRESHET_") })
	ended, log := run(t, cmd)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 1500 {
		if b, err := os.ReadFile(file); err == nil {
			if err := json.Unmarshal(b, &n.ready); err != nil {
				t.Fatal(err)
			}
			run(t, exec.Command("ffmpeg", "-hide_banner", "-nostdin", "-loglevel", "error", "-re",
				"-f", "lavfi", "-i", "testsrc2=size=160x90:rate=30", "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p",
				"-g", "30", "-b:v", "100k", "-t", "120", "-f", "rtsp", "-rtsp_transport", "tcp",
				fmt.Sprintf("rtsp://%s:%s@%s/%s", room, n.ready.StreamKey, n.ready.RTSP, room)))
			return n
		}
		select {
		case <-tick.C:
		case <-ended:
			t.Fatalf("freshet up ended:\n%s", log)
		}
	}
	t.Fatal("freshet up does not get ready")
	return nil
}

// mint has the command make a token for a room.
func (n *node) mint(t *testing.T, room string) string {
	t.Helper()
	out, err := exec.Command(n.bin, "token", "mint", "--key", filepath.Join(n.data, "token.key"), "--get", "live/"+room).Output()
	if err != nil {
		t.Fatalf("freshet token mint: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// answered returns how many requests of a kind the node's metrics count with
// status 200.
func (n *node) answered(t *testing.T, kind string) (count int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + n.ready.Metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf(`freshet_hls_requests_total{kind=%q,status="200"} `, kind)
	for line := range strings.Lines(string(b)) {
		if s, ok := strings.CutPrefix(line, name); ok {
			if _, err := fmt.Sscan(s, &count); err != nil {
				t.Fatal(err)
			}
		}
	}
	return count
}

// TestNginxBeforeFreshet has viewers with tokens of `freshet token mint` watch
// a private room of `freshet up` through nginx. They have different passes and
// share its cache, by the node's own count; who has no token gets nothing.
func TestNginxBeforeFreshet(t *testing.T) {
	if testing.Short() {
		t.Skip("watches for ten seconds")
	}
	n := startNode(t)
	base := startNginx(t, n.ready.HTTP)
	index := base + hls.Prefix + room + "/index.m3u8"
	tokens := []string{n.mint(t, room), n.mint(t, room)}
	var viewers []*viewer
	for i := range 20 {
		viewers = append(viewers, &viewer{
			client: &http.Client{Transport: &http.Transport{}}, index: index + "?jwt=" + tokens[i%len(tokens)], track: trackOf(0), media: true,
		})
	}
	status := func(u string) int {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Get(u)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	// The room is muxed once somebody is live, which an encoder takes its time for.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for status(viewers[0].index) != http.StatusOK {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("nobody is live")
		}
	}
	at, err := viewers[0].find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	playlists, media := n.answered(t, "playlist"), n.answered(t, "media")
	crowd(t, viewers, 10*time.Second, nil)
	playlists, media = n.answered(t, "playlist")-playlists, n.answered(t, "media")-media
	updates, parts, made := 0, 0, 0
	for i, v := range viewers {
		if v.updates == 0 || v.parts == 0 {
			t.Errorf("viewer %d: %d playlists, %d parts", i, v.updates, v.parts)
		}
		updates, parts, made = updates+v.updates, parts+v.parts, max(made, v.updates)
	}
	t.Logf("%d viewers got %d playlists and %d parts; the node answered with %d and %d", len(viewers), updates, parts, playlists, media)
	// The first playlist of each second is asked for too: it is none that waits.
	if all := playlists + media; all > 3*made+20 {
		t.Errorf("the node was asked %d times for %d parts of one rendition", all, made)
	}
	if got := status(at.String()); got != http.StatusOK {
		t.Errorf("with its pass: status %d", got)
	}
	pass := strings.Split(at.Path, "/")[4]
	for name, u := range map[string]string{
		"no token":            index,
		"a token of its own":  index + "?jwt=made-up",
		"another room's":      index + "?jwt=" + n.mint(t, "other"),
		"no pass":             strings.Replace(at.String(), pass, "open", 1),
		"a pass of its own":   strings.Replace(at.String(), pass, strings.Repeat("A", len(pass)), 1),
		"a pass for the room": strings.Replace(at.String(), "/"+room+"/", "/other/", 1),
	} {
		if got := status(u); got != http.StatusForbidden {
			t.Errorf("%s: status %d", name, got)
		}
	}
}
