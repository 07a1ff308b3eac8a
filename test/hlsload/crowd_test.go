package hlsload

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media/hls"
)

// crowd has viewers watch for d; halfway as for follow.
func crowd(tb testing.TB, viewers []*viewer, d time.Duration, halfway func()) {
	tb.Helper()
	failed := 0
	for i, err := range follow(viewers, d, halfway) {
		if err == nil {
			continue
		}
		if failed++; failed <= 5 {
			tb.Errorf("viewer %d: %v", i, err)
		}
	}
	if failed > 5 {
		tb.Errorf("%d viewers failed", failed)
	}
}

// patience is for viewers with a goal. It is never waited for when all is well;
// a machine may be busy.
const patience = 3 * time.Minute

// follow has viewers watch for d, or until each has reached its goal, and
// returns how each of them ended. They come one after the other, spread over a
// fifth of d, as a handshake costs more than a minute of playing. halfway,
// unless nil, is called when all are there.
func follow(viewers []*viewer, d time.Duration, halfway func()) []error {
	limit := d
	if viewers[0].goal > 0 {
		limit = patience
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(viewers))
	pace := time.NewTicker(max(d/5/time.Duration(len(viewers)), time.Microsecond))
	defer pace.Stop()
	for i, v := range viewers {
		wg.Go(func() {
			errs[i] = v.watch(ctx)
			v.client.CloseIdleConnections()
		})
		<-pace.C
	}
	if halfway != nil {
		halfway()
	}
	wg.Wait()
	return errs
}

// towards gives all viewers a goal.
func towards(goal int, viewers []*viewer) []*viewer {
	for _, v := range viewers {
		v.goal = goal
	}
	return viewers
}

// trackOf spreads viewers over the layers.
func trackOf(i int) string { return fmt.Sprintf("video%d", i%len(layers)) }

// secure serves an origin over TLS and HTTP/2, with the timeouts of a node.
// wrap, unless nil, stands between the listener and TLS.
func secure(tb testing.TB, o *origin, wrap func(net.Listener) net.Listener) *httptest.Server {
	srv := httptest.NewUnstartedServer(o)
	srv.EnableHTTP2 = true
	srv.Config.ReadHeaderTimeout = 10 * time.Second
	srv.Config.IdleTimeout = 2 * time.Minute
	if wrap != nil {
		srv.Listener = wrap(srv.Listener)
	}
	srv.StartTLS()
	tb.Cleanup(srv.Close)
	return srv
}

// overHTTP2 returns viewers with a connection each.
func overHTTP2(base string, ca *x509.Certificate, n int, parts bool) []*viewer {
	viewers := make([]*viewer, n)
	for i := range viewers {
		v := &viewer{index: base + hls.Prefix + room + "/index.m3u8", track: trackOf(i), media: parts}
		v.client = &http.Client{Transport: secureTransport(ca, func(a net.Addr) { v.address.Store(a) })}
		viewers[i] = v
	}
	return viewers
}

// result is what a crowd saw.
type result struct {
	viewers, updates, parts int
	bytes                   int64
	waits                   []time.Duration // from the wake-up to the last byte, sorted
	late                    int             // requests that came after the wake-up
}

func sum(o *origin, viewers []*viewer) result {
	r := result{viewers: len(viewers)}
	for _, v := range viewers {
		r.updates += v.updates
		r.parts += v.parts
		r.bytes += v.bytes.Load()
		for _, w := range v.waits {
			woken, ok := o.woken(w.At)
			switch {
			case !ok || w.Start.After(woken):
				r.late++
			default:
				r.waits = append(r.waits, w.End.Sub(woken))
			}
		}
	}
	slices.Sort(r.waits)
	return r
}

// percentile returns the p-th of 100 of the waits.
func (r *result) percentile(p int) time.Duration {
	if len(r.waits) == 0 {
		return 0
	}
	return r.waits[min(len(r.waits)*p/100, len(r.waits)-1)]
}

func (r result) String() string {
	return fmt.Sprintf("%d viewers: %d playlists, %d parts, %.1f MB; wake-up to last byte p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, worst %.1f ms of %d; %d came later than the wake-up",
		r.viewers, r.updates, r.parts, float64(r.bytes)/1e6, ms(r.percentile(50)), ms(r.percentile(90)), ms(r.percentile(99)), ms(r.percentile(100)), len(r.waits), r.late)
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// TestCrowd has viewers follow the live edge over HTTP/2 while others ask for
// the same and read nothing. All of those who read get on.
func TestCrowd(t *testing.T) {
	if testing.Short() {
		t.Skip("watches for ten seconds")
	}
	o := startOrigin(t, hls.ServerConfig{})
	srv := secure(t, o, nil)
	viewers := towards(16, overHTTP2(srv.URL, srv.Certificate(), 200, true))
	var deaf []*deafClient
	crowd(t, viewers, 10*time.Second, func() {
		one := towards(1, overHTTP2(srv.URL, srv.Certificate(), 1, false))
		crowd(t, one, time.Second, nil) // to learn where the live edge is
		for i := range 30 {
			deaf = append(deaf, hearNothing(t, srv, one[0].last, trackOf(i)))
		}
	})
	for _, c := range deaf {
		c.conn.Close()
	}
	t.Log(sum(o, viewers))
	for i, v := range viewers {
		if v.parts < v.updates {
			t.Errorf("viewer %d of %s: %d playlists, %d parts", i, v.track, v.updates, v.parts)
		}
	}
}

// deafClient speaks HTTP/2 and lets the server send nothing but headers: the
// window of its streams is 0 (RFC 9113, section 6.9.2).
type deafClient struct{ conn net.Conn }

// hearNothing asks for the next version of a playlist, and for the one there
// is, and never lets the answers come.
func hearNothing(tb testing.TB, srv *httptest.Server, at position, track string) *deafClient {
	tb.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	conn, err := tls.Dial("tcp", srv.Listener.Addr().String(), &tls.Config{
		RootCAs: roots, ServerName: "example.com", NextProtos: []string{"h2"},
	})
	if err != nil {
		tb.Error(err)
		return &deafClient{}
	}
	path := hls.Prefix + room + "/p/open/" + track + ".m3u8"
	blocking := fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d", path, at.msn, at.part+1)
	out := []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	out = appendFrame(out, frameSettings, 0, 0, []byte{0, 4, 0, 0, 0, 0}) // SETTINGS_INITIAL_WINDOW_SIZE
	for i, p := range []string{path, blocking} {
		out = appendFrame(out, frameHeaders, endStream|endHeaders, uint32(1+2*i), headers(srv.Listener.Addr().String(), p))
	}
	if _, err := conn.Write(out); err != nil {
		tb.Error(err)
	}
	return &deafClient{conn}
}

// Of RFC 9113, sections 6.2 and 6.5.
const (
	frameHeaders  = 1
	frameSettings = 4
	endStream     = 1
	endHeaders    = 4
)

func appendFrame(b []byte, typ, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	b = append(b, byte(n>>16), byte(n>>8), byte(n), typ, flags, byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
	return append(b, payload...)
}

// headers are those of a GET request, literally but for what the static table
// of RFC 7541 has.
func headers(authority, path string) []byte {
	b := []byte{0x82, 0x87, 0x01, byte(len(authority))} // :method GET, :scheme https, :authority
	b = append(append(b, authority...), 0x04, byte(len(path)))
	return append(b, path...)
}

// TestDeafClients checks that a client that reads nothing is given up, over
// HTTP/1.1 with its buffers full and over HTTP/2 with a window of nothing.
func TestDeafClients(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a broadcast to begin")
	}
	o := startOrigin(t, hls.ServerConfig{WriteTimeout: time.Second})
	srv := secure(t, o, nil)
	one := towards(4, overHTTP2(srv.URL, srv.Certificate(), 1, true))
	crowd(t, one, 4*time.Second, nil)

	c := hearNothing(t, srv, one[0].last, one[0].track)
	defer c.conn.Close()
	// It hears that its streams are reset: RST_STREAM is not held back by a
	// window.
	resets := 0
	_ = c.conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(c.conn)
	for resets < 1 {
		var head [9]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			t.Fatalf("after %d resets: %v", resets, err)
		}
		if head[3] == 3 { // RST_STREAM
			resets++
		}
		if _, err := in.Discard(int(head[0])<<16 | int(head[1])<<8 | int(head[2])); err != nil {
			t.Fatal(err)
		}
	}

	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	conn, err := tls.Dial("tcp", srv.Listener.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// Requests one after the other, with no end and no reading, until the
	// server has nowhere to write to and says so by closing.
	req := []byte(strings.Repeat("GET "+hls.Prefix+room+"/p/open/"+one[0].track+".m3u8 HTTP/1.1\r\nHost: x\r\n\r\n", 100))
	_ = conn.SetWriteDeadline(time.Now().Add(60 * time.Second))
	for {
		if _, err = conn.Write(req); err != nil {
			break
		}
	}
	if nerr := net.Error(nil); errors.As(err, &nerr) && nerr.Timeout() {
		t.Error("the server waits for a client that reads nothing")
	}
}
