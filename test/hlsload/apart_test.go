package hlsload

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media/hls"
)

// Players of a benchmark are a process of their own, which the kernel lets run
// when the server has nothing to do: in the world they are other machines.

// apartVariable is the environment variable that makes this test binary such a
// process. It has an order as JSON.
const apartVariable = "HLSLOAD_VIEWERS"

type order struct {
	URL     string
	CA      []byte // PEM
	Viewers int
	Watch   time.Duration
	Parts   bool
}

// seen is what one viewer has to tell.
type seen struct {
	Updates, Parts int
	Bytes          int64
	Local          string // address of its connection
	Waits          []wait
	Error          string
}

// viewersApart is the life of the process.
func viewersApart(text string) error {
	var o order
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return err
	}
	// The least of priorities is a hint; without the right to it all goes on.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 19)
	block, _ := pem.Decode(o.CA)
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	viewers := overHTTP2(o.URL, ca, o.Viewers, o.Parts)
	out := make([]seen, len(viewers))
	errs := follow(viewers, o.Watch, nil)
	for i, v := range viewers {
		out[i] = seen{Updates: v.updates, Parts: v.parts, Bytes: v.bytes.Load(), Local: v.local(), Waits: v.waits}
		if errs[i] != nil {
			out[i].Error = errs[i].Error()
		}
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// crowdApart has viewers in a process of their own watch a server.
func crowdApart(tb testing.TB, srv *httptest.Server, o order) []seen {
	tb.Helper()
	o.URL = srv.URL
	o.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	text, err := json.Marshal(o)
	if err != nil {
		tb.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.Watch+time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), apartVariable+"="+string(text))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		tb.Fatalf("the viewers: %v\n%s", err, &stderr)
	}
	var all []seen
	if err := json.Unmarshal(b, &all); err != nil {
		tb.Fatal(err)
	}
	failed := 0
	for _, s := range all {
		if s.Error != "" {
			if failed++; failed < 5 {
				tb.Error(s.Error)
			}
		}
	}
	if failed > 0 {
		tb.Errorf("%d of %d viewers failed", failed, len(all))
	}
	return all
}

// clock is a listener that notes when bytes left for each of its peers.
type clock struct {
	net.Listener
	mu     sync.Mutex
	writes map[string][]time.Time // by the peer's address
}

// Accept implements net.Listener.
func (c *clock) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &clockConn{Conn: conn, clock: c, peer: conn.RemoteAddr().String()}, nil
}

type clockConn struct {
	net.Conn
	clock *clock
	peer  string
}

// Write implements net.Conn.
func (c *clockConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	now := time.Now()
	c.clock.mu.Lock()
	c.clock.writes[c.peer] = append(c.clock.writes[c.peer], now)
	c.clock.mu.Unlock()
	return n, err
}

// last returns when the last bytes left for a peer from one time to another.
func (c *clock) last(peer string, from, to time.Time) (last time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, at := range slices.Backward(c.writes[peer]) {
		if at.Before(from) {
			break
		}
		if !at.After(to) {
			return at, true
		}
	}
	return last, false
}

// sumApart is sum for viewers apart. Their times are those of the wall clock,
// which both processes share.
func sumApart(o *origin, c *clock, all []seen) (left, arrived result) {
	left.viewers, arrived.viewers = len(all), len(all)
	for _, s := range all {
		arrived.updates += s.Updates
		arrived.parts += s.Parts
		arrived.bytes += s.Bytes
		for _, w := range s.Waits {
			woken, ok := o.woken(w.At)
			if woken = woken.Round(0); !ok || w.Start.After(woken) {
				arrived.late++
				continue
			}
			arrived.waits = append(arrived.waits, w.End.Sub(woken))
			if at, ok := c.last(s.Local, woken, w.End); ok {
				left.waits = append(left.waits, at.Round(0).Sub(woken))
			}
		}
	}
	left.updates, left.parts, left.bytes, left.late = arrived.updates, arrived.parts, arrived.bytes, arrived.late
	slices.Sort(left.waits)
	slices.Sort(arrived.waits)
	return left, arrived
}

// BenchmarkCrowd prints how long -viewers wait, from the wake-up until the
// last byte of the playlist has left the server: playlists alone, with clients
// beside them that read nothing, and with parts, which are due in the same
// moment.
func BenchmarkCrowd(b *testing.B) {
	for _, k := range []struct {
		name  string
		parts bool
		deaf  int
	}{{"playlists", false, 0}, {"playlists+deaf", false, 100}, {"parts", true, 0}} {
		b.Run(k.name, func(b *testing.B) {
			o := startOrigin(b, hls.ServerConfig{})
			var c *clock
			srv := secure(b, o, func(ln net.Listener) net.Listener {
				c = &clock{Listener: ln, writes: make(map[string][]time.Time)}
				return c
			})
			// The broadcast has to have begun before those can ask who hear nothing.
			one := towards(1, overHTTP2(srv.URL, srv.Certificate(), 1, false))
			crowd(b, one, time.Second, nil)
			for i := range k.deaf {
				defer hearNothing(b, srv, one[0].last, trackOf(i)).conn.Close()
			}
			before := cpuTime(b)
			b.ResetTimer()
			for range b.N {
				all := crowdApart(b, srv, order{Viewers: *flagViewers, Watch: *flagWatch, Parts: k.parts})
				left, arrived := sumApart(o, c, all)
				b.ReportMetric(ms(left.percentile(50)), "p50-ms")
				b.ReportMetric(ms(left.percentile(99)), "p99-ms")
				b.ReportMetric(ms(arrived.percentile(99)), "p99-at-player-ms")
				b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(max(1, left.updates+left.parts)), "cpu-us/answer")
				b.ReportMetric(0, "ns/op")
				b.Logf("left the server: %v", left)
				b.Logf("came to the players: %v", arrived)
			}
		})
	}
}

// cpuTime is what this process, the server, has used.
func cpuTime(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// secureTransport is one connection's, over HTTP/2, whose address it notes.
func secureTransport(ca *x509.Certificate, local func(net.Addr)) *http.Transport {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	dialer := new(net.Dialer)
	return &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: ca.DNSNames[0]},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err == nil {
				local(conn.LocalAddr())
			}
			return conn, err
		},
	}
}
