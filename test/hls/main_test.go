package hls

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet-live/freshet/control"
	"github.com/freshet-live/freshet/control/store"
)

// patience bounds every wait for the server. It is never waited for when all
// is well.
const patience = 30 * time.Second

// streamKey publishes to a room.
func streamKey(room string) string { return "conformance-stream-key-" + room }

// server is the process under test; nil without ffmpeg.
var server *process

func TestMain(m *testing.M) {
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func testMain(m *testing.M) (code int, err error) {
	// Watching is waiting: all profiles run at once.
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		return 0, err
	}
	if testing.Short() {
		return m.Run(), nil // each test skips itself
	}
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		if os.Getenv("CI") == "true" {
			return 0, errors.New("ffmpeg is missing, and must not be under CI=true")
		}
		fmt.Println("skipping test/hls: ffmpeg is missing")
		return 0, nil
	}
	dir, err := os.MkdirTemp("", "freshet-hls-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "freshet")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/freshet-live/freshet/cmd/freshet").CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building freshet: %w\n%s", err, out)
	}
	if server, err = startProcess(bin, dir); err != nil {
		return 0, err
	}
	code = m.Run()
	server.stop()
	if strings.Contains(server.log.String(), "panic:") {
		return 0, fmt.Errorf("the server panicked:\n%s", server.log.String())
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			return 0, err
		}
	}
	return code, nil
}

// process is `freshet up` on free ports of the loopback, with a room for each
// profile.
type process struct {
	cmd   *exec.Cmd
	log   logBuffer
	ended chan struct{}
	ready struct {
		QUIC, HTTPS, HTTP, RTSP string

		CertificateSHA256 string `json:"certificate_sha256"`
	}
}

// makeRooms fills the control plane's store before the process opens it.
func makeRooms(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	db, err := store.OpenSQLite(ctx, path)
	if err != nil {
		return err
	}
	defer db.Close()
	for _, p := range profiles {
		room := control.Room{Name: p.room, Title: p.room, Open: true, Created: time.Now().UTC()}
		if err := db.CreateRoom(ctx, room, control.DigestKey(streamKey(p.room))); err != nil {
			return err
		}
	}
	return nil
}

func startProcess(bin, dir string) (*process, error) {
	const free = "127.0.0.1:0"
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "ready.json")
	if err := makeRooms(filepath.Join(data, "freshet.db")); err != nil {
		return nil, err
	}
	p := &process{ended: make(chan struct{}), cmd: exec.Command(bin, "up", "--quic-addr", free, "--https-addr", free, "--http-addr", free,
		"--webrtc-addr", free, "--rtsp-addr", free, "--metrics-addr", free, "--data-dir", data, "--ready-file", file)}
	p.cmd.Stderr = &p.log
	// Variables named FRESHET_ are settings, and it refuses unknown ones.
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "FRESHET_") })
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // its log tells why
	}()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range int(patience / (20 * time.Millisecond)) {
		if b, err := os.ReadFile(file); err == nil {
			return p, json.Unmarshal(b, &p.ready)
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return nil, fmt.Errorf("freshet up ended:\n%s", p.log.String())
		}
	}
	p.stop()
	return nil, fmt.Errorf("freshet up does not get ready:\n%s", p.log.String())
}

func (p *process) stop() {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGQUIT, os.Kill} {
		_ = p.cmd.Process.Signal(sig)
		select {
		case <-p.ended:
			return
		case <-time.After(patience):
		}
	}
}

// logBuffer keeps the last of what a process writes.
type logBuffer struct {
	mu sync.Mutex
	b  []byte
}

func (l *logBuffer) Write(p []byte) (int, error) {
	const most = 256 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, p...)
	if n := len(l.b) - most; n > 0 {
		l.b = append(l.b[:0], l.b[n:]...)
	}
	return len(p), nil
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}
