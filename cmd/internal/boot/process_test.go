package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// settings are those of a process whose every port is free.
func settings(t *testing.T, role Role, args ...string) *Config {
	t.Helper()
	fs := flag.NewFlagSet(role.Name, flag.ContinueOnError)
	c := Flags(fs, role)
	all := []string{"--data-dir", filepath.Join(t.TempDir(), "data")}
	for _, name := range []string{"quic-addr", "https-addr", "http-addr", "webrtc-addr", "rtsp-addr", "metrics-addr"} {
		if fs.Lookup(name) != nil {
			all = append(all, "--"+name, "127.0.0.1:0")
		}
	}
	if err := Load(fs, append(all, args...), nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// printed is closed with the first Write, which Run makes once it serves.
type printed chan struct{}

func (p printed) Write(b []byte) (int, error) {
	select {
	case <-p:
	default:
		close(p)
	}
	return len(b), nil
}

func TestRunServesAndStops(t *testing.T) {
	for _, role := range []Role{Up, Origin, Relay, API} {
		t.Run(role.Name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "ready.json")
			cfg := settings(t, role, "--ready-file", file, "--bench")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ready, ended := make(printed), make(chan error, 1)
			var logs bytes.Buffer
			go func() { ended <- Run(ctx, cfg, ready, &logs) }()
			select {
			case <-ready:
			case err := <-ended:
				t.Fatal(err)
			}
			info, err := os.Stat(file)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Fatalf("ready file %v, %v", info, err)
			}
			b, err := os.ReadFile(file)
			var r Ready
			if err == nil {
				err = json.Unmarshal(b, &r)
			}
			if err != nil || r.PID != os.Getpid() || r.BenchToken == "" {
				t.Fatalf("%s: %v", b, err)
			}
			client := &http.Client{Transport: new(http.Transport), Timeout: 5 * time.Second}
			defer client.CloseIdleConnections()
			for url, want := range map[string]int{
				"http://" + r.Metrics + "/healthz": 200,
				"http://" + r.Metrics + "/readyz":  200,
				"http://" + r.HTTP + "/v1/nothing": 404,
			} {
				resp, err := client.Get(url)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("%s: %s", url, resp.Status)
				}
			}
			// A client that never finishes its request does not hold up the end.
			slow, err := net.Dial("tcp", r.HTTP)
			if err != nil {
				t.Fatal(err)
			}
			defer slow.Close()
			if _, err := io.WriteString(slow, "POST /v1/rooms/demo/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"); err != nil {
				t.Fatal(err)
			}
			begun := time.Now()
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("ended with %v", err)
			}
			if d := time.Since(begun); d > 4*time.Second {
				t.Errorf("it took %v to end", d)
			}
			if _, err := os.Stat(file); !os.IsNotExist(err) {
				t.Errorf("the ready file is still there: %v", err)
			}
			for _, secret := range []string{r.BenchToken, r.StreamKey} {
				if secret != "" && strings.Contains(logs.String(), secret) {
					t.Error("a secret was logged")
				}
			}
		})
	}
}

// A port that is taken is told with the flag that names it, and what was
// opened before is closed again.
func TestRunWithAPortThatIsTaken(t *testing.T) {
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	for _, name := range []string{"quic-addr", "https-addr", "http-addr", "webrtc-addr", "rtsp-addr", "metrics-addr"} {
		t.Run(name, func(t *testing.T) {
			taken := tcp.Addr().String()
			if name == "quic-addr" || name == "webrtc-addr" {
				taken = udp.LocalAddr().String()
			}
			// A port for the part that is opened first, to see it closed.
			free, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			free.Close()
			args := []string{"--" + name, taken}
			if name != "quic-addr" {
				args = append(args, "--quic-addr", free.LocalAddr().String())
			}
			file := filepath.Join(t.TempDir(), "ready.json")
			var out bytes.Buffer
			err = Run(t.Context(), settings(t, Up, append(args, "--ready-file", file)...), &out, io.Discard)
			if err == nil || !strings.Contains(err.Error(), "--"+name) || !strings.Contains(err.Error(), "in use") {
				t.Errorf("told %v", err)
			}
			if _, err := os.Stat(file); !os.IsNotExist(err) || out.Len() > 0 {
				t.Error("it said that it serves")
			}
			again, err := net.ListenPacket("udp", free.LocalAddr().String())
			if err != nil {
				t.Errorf("the QUIC port was not closed: %v", err)
			} else {
				again.Close()
			}
		})
	}
}

func TestRunThatCannotWriteItsReadyFile(t *testing.T) {
	cfg := settings(t, Up, "--ready-file", filepath.Join(t.TempDir(), "no", "such", "folder", "ready.json"))
	var out bytes.Buffer
	if err := Run(t.Context(), cfg, &out, io.Discard); err == nil {
		t.Error("no error")
	}
	if out.Len() > 0 {
		t.Errorf("it said that it serves: %s", out.String())
	}
	// What was started has ended: TestMain looks for what is left.
}
