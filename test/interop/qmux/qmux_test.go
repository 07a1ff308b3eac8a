package qmux

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet-live/freshet/moq/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds a run of the foreign end.
const patience = 60 * time.Second

// need finds Node and the package, or skips; under CI it fails.
func need(t *testing.T) (node string) {
	t.Helper()
	missing := func(what string, err error) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is needed under CI: %v", what, err)
		}
		t.Skipf("without %s there is no foreign end: %v", what, err)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("node", err)
	}
	if _, err := os.Stat("node_modules/@moq/qmux/package.json"); err != nil {
		out, err := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error").CombinedOutput()
		if err != nil {
			missing("npm @moq/qmux", errors.Join(err, errors.New(string(out))))
		}
	}
	return node
}

// seen is what the foreign end prints.
type seen struct {
	Protocol   string
	Echo       bool
	Down       int
	DownIntact bool
	Reset      any
	Stop       any
	Datagram   string
	Closed     struct {
		CloseCode int
		Reason    string
	}
}

func TestForeignClient(t *testing.T) {
	node := need(t)
	certs, err := transport.NewCertificates(transport.CertificateConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"qmux-02", "qmux-01", "qmux-00"} {
		for _, closer := range []string{"you close", "I close"} {
			t.Run(version+" "+closer, func(t *testing.T) {
				ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("the foreign end took too long"))
				defer cancel()
				l, err := transport.Listen(transport.ListenConfig{
					Addr: "127.0.0.1:0", TLS: certs.TLSConfig(), Protocols: []string{"moqt-18"}, MaxStreams: 100, MaxUniStreams: 100,
				})
				if err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- l.Run(ctx) }()
				web := httptest.NewServer(l.WebSocket(http.NotFoundHandler()))
				defer func() {
					l.Close()
					if err := <-ended; err != nil {
						t.Errorf("Run: %v", err)
					}
					web.Close()
				}()

				cmd := exec.CommandContext(ctx, node, "--no-warnings", "--experimental-websocket", "client.mjs", web.URL+"/?x=1", version)
				var out, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &stderr
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				done := make(chan error, 1)
				go func() { done <- cmd.Wait() }()
				defer func() {
					cancel()
					<-done
				}()
				if err := serve(ctx, l, version, closer); err != nil {
					cancel()
					t.Fatalf("%v\n%s", err, stderr.String())
				}
				err = <-done
				done <- err
				if err != nil {
					t.Fatalf("%v\n%s", err, stderr.String())
				}
				var got seen
				if err := json.Unmarshal(out.Bytes(), &got); err != nil {
					t.Fatalf("%s: %v", out.Bytes(), err)
				}
				want := seen{Protocol: "moqt-18", Echo: true, Down: 1 << 20, DownIntact: true, Reset: 27.0, Stop: 28.0, Datagram: "pong"}
				want.Closed.CloseCode, want.Closed.Reason = 31, "done"
				if closer == "I close" {
					want.Closed.CloseCode, want.Closed.Reason = 30, "enough"
				}
				if version == "qmux-00" {
					want.Datagram = ""
				}
				if got != want {
					t.Errorf("the foreign end saw %+v, want %+v", got, want)
				}
			})
		}
	}
}

// check collects what went wrong in a sequence of steps.
type check struct{ err error }

func (c *check) that(ok bool, what string) {
	if !ok && c.err == nil {
		c.err = errors.New(what)
	}
}

func (c *check) no(err error, what string) {
	if err != nil && c.err == nil {
		c.err = errors.Join(errors.New(what), err)
	}
}

// code is the code of the peer in err.
func code(err error) uint64 {
	if e, ok := errors.AsType[*transport.StreamError](err); ok && e.Remote {
		return e.Code
	}
	return 0
}

// serve is our end of what client.mjs does.
func serve(ctx context.Context, l *transport.Listener, version, closer string) error {
	conn, err := l.Accept(ctx)
	if err != nil {
		return err
	}
	defer conn.CloseWithError(1, "the test is over")
	var c check
	c.that(conn.Kind() == transport.WebSocket && conn.Protocol() == "moqt-18" && conn.URL().RawQuery == "x=1", "description")

	accept := func(what string) transport.ReceiveStream {
		s, err := conn.AcceptUniStream(ctx)
		c.no(err, what)
		return s
	}
	open := func(what string) transport.SendStream {
		s, err := conn.OpenUniStream(ctx)
		c.no(err, what)
		return s
	}

	echo, err := conn.AcceptStream(ctx)
	if err != nil {
		return err
	}
	_, err = io.Copy(echo, echo)
	c.no(err, "echo")
	echo.Close()

	up := accept("a large stream")
	if c.err != nil {
		return c.err
	}
	n := 0
	block := make([]byte, 64<<10)
	for i := range 48 {
		_, err := io.ReadFull(up, block)
		c.no(err, "reading a large stream")
		c.that(len(bytes.Trim(block, string([]byte{byte(i)}))) == 0, "other bytes than were sent")
		n += len(block)
	}
	rest, err := io.ReadAll(up)
	c.no(err, "the end of a large stream")
	c.that(n+len(rest) == 3<<20, "the size of a large stream")
	down := open("down")
	if c.err != nil {
		return c.err
	}
	for i := range 16 {
		_, err := down.Write(bytes.Repeat([]byte{byte(i)}, 64<<10))
		c.no(err, "writing down")
	}
	down.Close()

	reset := accept("a stream that is reset")
	if c.err != nil {
		return c.err
	}
	_, err = io.Copy(io.Discard, reset)
	c.that(code(err) == 26, "the code of a reset")
	ours := open("reset")
	if c.err != nil {
		return c.err
	}
	// So much that it is sent before the reset: the package does not tell of
	// streams of which the reset is the first that comes.
	_, err = ours.Write(make([]byte, 8<<10))
	c.no(err, "writing before a reset")
	ours.Reset(27)

	stopped := accept("a stream to stop")
	if c.err != nil {
		return c.err
	}
	stopped.Stop(28)
	refused := open("a stream that is stopped")
	if c.err != nil {
		return c.err
	}
	_, err = refused.Write([]byte("x"))
	c.no(err, "writing before a stop")
	select {
	case <-refused.Context().Done():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c.that(code(context.Cause(refused.Context())) == 29, "the code of a stop")

	for i := range 300 {
		s := accept("one of many")
		if c.err != nil {
			return c.err
		}
		b, err := io.ReadAll(s)
		c.no(err, "reading one of many")
		c.that(len(b) == 1 && b[0] == byte(i), "what one of many says")
	}

	talk, err := conn.OpenStream(ctx)
	if err != nil {
		return err
	}
	_, err = talk.Write([]byte("from the server"))
	c.no(err, "talking")
	talk.Close()
	answer, err := io.ReadAll(talk)
	c.no(err, "the answer")
	c.that(string(answer) == "FROM THE SERVER", "what the answer says")

	if version != "qmux-00" {
		d, err := conn.ReceiveDatagram(ctx)
		c.no(err, "a datagram")
		c.that(string(d) == "ping", "what a datagram says")
		c.no(conn.SendDatagram([]byte("pong")), "sending a datagram")
		c.that(conn.Stats().SmoothedRTT > 0, "no round-trip time was measured")
	}

	last := open("the last")
	if c.err != nil {
		return c.err
	}
	_, err = last.Write([]byte(closer))
	c.no(err, "the last word")
	last.Close()
	if closer == "I close" {
		// The stream is lost with the connection unless it has been read.
		echo, err := conn.AcceptStream(ctx)
		if err == nil {
			_, err = io.Copy(io.Discard, echo)
		}
		c.no(err, "the sign that the last word was read")
		conn.CloseWithError(30, "enough")
		return c.err
	}
	select {
	case <-conn.Context().Done():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	closed, ok := errors.AsType[*transport.CloseError](context.Cause(conn.Context()))
	c.that(ok && *closed == transport.CloseError{Code: 31, Reason: "done", Remote: true}, "how the foreign end closed")
	return c.err
}
