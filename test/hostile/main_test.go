package hostile

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/token"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/relay"
)

// patience bounds every wait for the server. It is never waited for when all
// is well.
const patience = 20 * time.Second

// server is the process under attack, shared by all tests.
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
	// Most of the time is spent waiting for the server to lose its patience.
	flag.Parse()
	if err := flag.Set("test.parallel", "16"); err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp("", "freshet-hostile-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "freshet")
	build := exec.Command("go", "build", "-race", "-o", bin, "github.com/freshet-live/freshet/cmd/freshet")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building freshet with the race detector: %w\n%s", err, out)
	}
	if server, err = startProcess(bin, dir); err != nil {
		return 0, err
	}
	stopBystander, err := server.admitBystander()
	if err != nil {
		server.stop()
		return 0, err
	}
	code = m.Run()
	stopBystander()
	server.stop()
	if err := server.trouble(); err != nil {
		return 0, err
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			return 0, err
		}
	}
	return code, nil
}

// process is `freshet up` on free ports of the loopback.
type process struct {
	cmd   *exec.Cmd
	log   logBuffer
	ended chan struct{}
	ready struct {
		QUIC, HTTPS, HTTP, WebRTC, RTSP, Metrics string

		StreamKey         string `json:"stream_key"`
		BenchToken        string `json:"bench_token"`
		CertificateSHA256 string `json:"certificate_sha256"`
	}

	bystander bystander
}

func startProcess(bin, dir string) (*process, error) {
	const free = "127.0.0.1:0"
	file := filepath.Join(dir, "ready.json")
	p := &process{ended: make(chan struct{}), cmd: exec.Command(bin, "up", "--bench", "--log-level", "debug",
		"--quic-addr", free, "--https-addr", free, "--http-addr", free, "--webrtc-addr", free,
		"--rtsp-addr", free, "--metrics-addr", free, "--data-dir", filepath.Join(dir, "data"), "--ready-file", file,
		"--hls-client-requests", strconv.Itoa(clientRequests))}
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // trouble tells why
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

// stop ends the process. One that does not end in order is made to say what
// its goroutines do, which trouble finds.
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

// trouble tells what the process has written about itself that it must not.
func (p *process) trouble() error {
	log := p.log.String()
	for _, sign := range []string{"panic", "DATA RACE", "fatal error", "SIGQUIT"} {
		at := strings.Index(log, sign)
		if at < 0 {
			continue
		}
		begin := strings.LastIndexByte(log[:at], '\n') + 1
		return fmt.Errorf("the server wrote %q:\n%s", sign, log[begin:min(begin+64<<10, len(log))])
	}
	return nil
}

// logBuffer is what the process has written.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// bystander publishes, properly, while others attack.
type bystander struct {
	mu    sync.Mutex
	w     *moq.TrackWriter
	group uint64
}

// bystanderTrack is what it publishes: Groups of one Object.
var bystanderTrack = moq.FullTrackName{Namespace: moq.Namespace{"bench", "bystander"}, Track: "t"}

// write publishes one more Object and returns its Group.
func (b *bystander) write() (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.group++
	g, err := b.w.Group(b.group)
	if err != nil {
		return 0, err
	}
	s, err := g.Subgroup(0, moq.SubgroupConfig{EndOfGroup: true})
	if err != nil {
		return 0, err
	}
	if err := s.WriteObject(0, nil, []byte("here")); err != nil {
		return 0, err
	}
	return b.group, s.Close()
}

// nobody lets nobody in: the bystander's node is no server.
type nobody struct{}

func (nobody) Authorize(context.Context, string) (token.Grant, error) {
	return token.Grant{}, errors.New("this is not a server")
}

// admitBystander publishes to the server until stop has returned.
func (p *process) admitBystander() (stop func(), err error) {
	node := relay.New(relay.Config{
		Authorizer: nobody{}, Logger: slog.New(slog.DiscardHandler),
		Upstreams: []relay.Upstream{{
			URL: "moqt://" + p.ready.QUIC, Token: p.ready.BenchToken, Protocols: []string{"moqt-19"},
			Trust: transport.Trust{FingerprintSHA256: p.ready.CertificateSHA256},
		}},
	})
	b := moq.NewBroadcast(bystanderTrack.Namespace)
	w, err := b.CreateTrack(bystanderTrack.Track, moq.TrackConfig{})
	if err != nil {
		return nil, err
	}
	p.bystander.w = w
	withdraw := node.Publish(b)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = node.Run(ctx) // ends with ctx
	}()
	return func() {
		cancel()
		<-ended
		withdraw()
		b.Close(nil)
	}, nil
}
