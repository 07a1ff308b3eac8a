package moqtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/freshet-live/freshet/moq/transport"
)

// suitePatience bounds a test of the suite that hangs.
const suitePatience = 20 * time.Second

// TestConn runs the suite that each kind of transport.Conn has to pass. connect
// makes a new pair of ends that see to their own clean-up.
func TestConn(t *testing.T, connect func(t *testing.T) (client, server transport.Conn)) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, a, b transport.Conn)
	}{
		{"bidirectional stream", testStream},
		{"unidirectional stream", testUniStream},
		{"many streams at once", testManyStreams},
		{"stream credit comes back", testCredit},
		{"large write waits for the reader", testLargeWrite},
		{"write after close", testWriteAfterClose},
		{"reset", testReset},
		{"reset before the first byte", testEarlyReset},
		{"reset frees a waiting write", testResetWaitingWrite},
		{"stop", testStop},
		{"stop frees a waiting write", testStopWaitingWrite},
		{"stop frees a waiting read", testStopWaitingRead},
		{"codes", testCodes},
		{"read deadline", testReadDeadline},
		{"context of a call", testCallContext},
		{"datagrams", testDatagrams},
		{"close", testClose},
		{"close frees waiting calls", testCloseWaitingCalls},
		{"close twice", testCloseTwice},
		{"long reason", testLongReason},
		{"stats", testStats},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Run("client", func(t *testing.T) {
				client, server := connect(t)
				test.run(t, client, server)
			})
			t.Run("server", func(t *testing.T) {
				client, server := connect(t)
				test.run(t, server, client)
			})
		})
	}
	t.Run("description", func(t *testing.T) {
		client, server := connect(t)
		testDescription(t, client, server)
	})
}

// patience is the context of calls that are expected to succeed.
func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), suitePatience, errors.New("the suite lost patience"))
	t.Cleanup(cancel)
	return ctx
}

// openUni opens a stream at a, sends hello, and accepts it at b.
func openUni(t *testing.T, a, b transport.Conn, hello string) (transport.SendStream, transport.ReceiveStream) {
	t.Helper()
	s, err := a.OpenUniStream(patience(t))
	must(t, "open", err)
	mustWrite(t, s, hello)
	r, err := b.AcceptUniStream(patience(t))
	must(t, "accept", err)
	mustRead(t, r, hello)
	return s, r
}

// open opens a stream at a, sends hello, and accepts it at b.
func open(t *testing.T, a, b transport.Conn, hello string) (local, remote transport.Stream) {
	t.Helper()
	local, err := a.OpenStream(patience(t))
	must(t, "open", err)
	mustWrite(t, local, hello)
	remote, err = b.AcceptStream(patience(t))
	must(t, "accept", err)
	mustRead(t, remote, hello)
	return local, remote
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func mustWrite(t *testing.T, w io.Writer, data string) {
	t.Helper()
	if n, err := io.WriteString(w, data); err != nil || n != len(data) {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(data), err)
	}
}

func mustRead(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatalf("read: %v", err)
	}
	if string(got) != want {
		t.Fatalf("read %q, want %q", got, want)
	}
}

// mustEnd reads the FIN.
func mustEnd(t *testing.T, r io.Reader) {
	t.Helper()
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("read %d bytes and %v at the end, want io.EOF", n, err)
	}
}

// wantStreamError checks that err is a StreamError and equals want.
func wantStreamError(t *testing.T, what string, err error, want transport.StreamError) {
	t.Helper()
	if got, ok := errors.AsType[*transport.StreamError](err); !ok || *got != want {
		t.Fatalf("%s: %.200v, want %.200v", what, err, &want)
	}
}

// wantCloseError checks that err is a CloseError and equals want.
func wantCloseError(t *testing.T, what string, err error, want transport.CloseError) {
	t.Helper()
	if got, ok := errors.AsType[*transport.CloseError](err); !ok || *got != want {
		t.Fatalf("%s: %.200v, want %.200v", what, err, &want)
	}
}

// writeUntilError writes until that fails.
func writeUntilError(w io.Writer) error {
	block := make([]byte, 32<<10)
	for {
		if _, err := w.Write(block); err != nil {
			return err
		}
	}
}

// await returns what comes from c.
func await[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	ctx := patience(t)
	select {
	case v := <-c:
		return v
	case <-ctx.Done():
		t.Fatalf("%s: %v", what, context.Cause(ctx))
		panic("unreachable")
	}
}

func testStream(t *testing.T, a, b transport.Conn) {
	local, remote := open(t, a, b, "ping")
	must(t, "close", local.Close())
	mustEnd(t, remote)
	mustWrite(t, remote, "pong") // the other direction is still open
	must(t, "close", remote.Close())
	mustRead(t, local, "pong")
	mustEnd(t, local)
	mustEnd(t, local) // the end stays
}

func testUniStream(t *testing.T, a, b transport.Conn) {
	s, r := openUni(t, a, b, "one way")
	mustWrite(t, s, " only")
	must(t, "close", s.Close())
	mustRead(t, r, " only")
	mustEnd(t, r)
	await(t, "context after close", s.Context().Done())
	if err := context.Cause(s.Context()); !errors.Is(err, transport.ErrStreamClosed) {
		t.Errorf("cause after close: %v", err)
	}
}

func testManyStreams(t *testing.T, a, b transport.Conn) {
	const streams = 40
	ctx := patience(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range streams {
			s, err := b.AcceptStream(ctx)
			if err != nil {
				t.Errorf("accept: %v", err)
				return
			}
			wg.Go(func() {
				if _, err := io.Copy(s, s); err != nil {
					t.Errorf("echo: %v", err)
				}
				s.Close()
			})
		}
	})
	for i := range streams {
		wg.Go(func() {
			s, err := a.OpenStream(ctx)
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			sent := bytes.Repeat(fmt.Appendf(nil, "%3d ", i), 4<<10)
			wg.Go(func() {
				if _, err := s.Write(sent); err != nil {
					t.Errorf("write: %v", err)
				}
				s.Close()
			})
			if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("stream %d: %d of %d bytes came back, or others: %v", i, len(got), len(sent), err)
			}
		})
	}
	wg.Wait()
}

// testCredit uses more streams than any limit allows at one time, ending them in
// every way there is.
func testCredit(t *testing.T, a, b transport.Conn) {
	for i := range 300 {
		s, r := openUni(t, a, b, "x")
		switch i % 3 {
		case 0:
			must(t, "close", s.Close())
			mustEnd(t, r)
		case 1:
			s.Reset(1)
			_, err := io.Copy(io.Discard, r)
			wantStreamError(t, "read", err, transport.StreamError{Code: 1, Remote: true})
		case 2:
			r.Stop(2)
			wantStreamError(t, "write", writeUntilError(s), transport.StreamError{Code: 2, Remote: true})
		}
	}
	for i := range 300 {
		local, remote := open(t, a, b, "x")
		switch i % 3 {
		case 0:
			must(t, "close", local.Close())
			mustEnd(t, remote)
			must(t, "close", remote.Close())
			mustEnd(t, local)
		case 1:
			local.Reset(1)
			_, err := io.Copy(io.Discard, remote)
			wantStreamError(t, "read", err, transport.StreamError{Code: 1, Remote: true})
			remote.Stop(9) // nothing to stop any more
			remote.Reset(3)
			_, err = io.Copy(io.Discard, local)
			wantStreamError(t, "read", err, transport.StreamError{Code: 3, Remote: true})
		case 2:
			remote.Stop(2)
			wantStreamError(t, "write", writeUntilError(local), transport.StreamError{Code: 2, Remote: true})
			must(t, "close", remote.Close())
			mustEnd(t, local)
		}
	}
}

func testLargeWrite(t *testing.T, a, b transport.Conn) {
	s, r := openUni(t, a, b, "x")
	sent := make([]byte, 4<<20)
	for i := range sent {
		sent[i] = byte(i ^ i>>8 ^ i>>16)
	}
	done := make(chan error, 1)
	go func() {
		n, err := s.Write(sent)
		if n != len(sent) && err == nil {
			err = fmt.Errorf("wrote %d of %d bytes", n, len(sent))
		}
		s.Close()
		done <- err
	}()
	got := make([]byte, 1000)
	if _, err := io.ReadFull(r, got); err != nil {
		t.Fatalf("read: %v", err)
	}
	select {
	case err := <-done:
		t.Fatalf("4 MiB were taken while 1000 bytes were read: %v", err)
	default:
	}
	rest, err := io.ReadAll(r)
	must(t, "read", err)
	must(t, "write", await(t, "write", done))
	if !bytes.Equal(append(got, rest...), sent) {
		t.Error("other bytes came than were sent")
	}
}

func testWriteAfterClose(t *testing.T, a, b transport.Conn) {
	s, r := openUni(t, a, b, "x")
	must(t, "close", s.Close())
	if n, err := s.Write([]byte("y")); n != 0 || !errors.Is(err, transport.ErrStreamClosed) {
		t.Errorf("write after close: %d, %v", n, err)
	}
	must(t, "close again", s.Close())
	mustEnd(t, r)

	s, r = openUni(t, a, b, "x")
	s.Reset(5)
	must(t, "close after reset", s.Close())
	_, err := io.Copy(io.Discard, r)
	wantStreamError(t, "read", err, transport.StreamError{Code: 5, Remote: true})
}

func testReset(t *testing.T, a, b transport.Conn) {
	s, r := openUni(t, a, b, "x")
	s.Reset(0x42)
	s.Reset(0x43) // too late
	_, err := io.Copy(io.Discard, r)
	wantStreamError(t, "read", err, transport.StreamError{Code: 0x42, Remote: true})
	_, err = r.Read(make([]byte, 1))
	wantStreamError(t, "read again", err, transport.StreamError{Code: 0x42, Remote: true})
	_, err = s.Write([]byte("y"))
	wantStreamError(t, "write", err, transport.StreamError{Code: 0x42})
	await(t, "context after reset", s.Context().Done())
	wantStreamError(t, "cause", context.Cause(s.Context()), transport.StreamError{Code: 0x42})
}

func testEarlyReset(t *testing.T, a, b transport.Conn) {
	s, err := a.OpenUniStream(patience(t))
	must(t, "open", err)
	s.Reset(7)
	r, err := b.AcceptUniStream(patience(t))
	must(t, "accept", err)
	_, err = io.Copy(io.Discard, r)
	wantStreamError(t, "read", err, transport.StreamError{Code: 7, Remote: true})
}

func testResetWaitingWrite(t *testing.T, a, b transport.Conn) {
	s, r := openUni(t, a, b, "x")
	done := make(chan error, 1)
	go func() { done <- writeUntilError(s) }()
	mustRead(t, r, string(make([]byte, 1000)))
	s.Reset(3)
	wantStreamError(t, "write", await(t, "write", done), transport.StreamError{Code: 3})
	_, err := io.Copy(io.Discard, r)
	wantStreamError(t, "read", err, transport.StreamError{Code: 3, Remote: true})
}

func testStop(t *testing.T, a, b transport.Conn) {
	s, r := openUni(t, a, b, "x")
	r.Stop(0x17)
	await(t, "context after stop", s.Context().Done())
	wantStreamError(t, "cause", context.Cause(s.Context()), transport.StreamError{Code: 0x17, Remote: true})
	_, err := s.Write([]byte("y"))
	wantStreamError(t, "write", err, transport.StreamError{Code: 0x17, Remote: true})
	_, err = r.Read(make([]byte, 1))
	wantStreamError(t, "read", err, transport.StreamError{Code: 0x17})

	// One direction of a bidirectional stream stops alone.
	local, remote := open(t, a, b, "x")
	remote.Stop(1)
	await(t, "context after stop", local.Context().Done())
	mustWrite(t, remote, "still here")
	mustRead(t, local, "still here")
}

func testStopWaitingWrite(t *testing.T, a, b transport.Conn) {
	s, r := openUni(t, a, b, "x")
	done := make(chan error, 1)
	go func() { done <- writeUntilError(s) }()
	mustRead(t, r, string(make([]byte, 1000)))
	r.Stop(4)
	wantStreamError(t, "write", await(t, "write", done), transport.StreamError{Code: 4, Remote: true})
}

func testStopWaitingRead(t *testing.T, a, b transport.Conn) {
	_, r := openUni(t, a, b, "x")
	started, done := make(chan struct{}), make(chan error, 1)
	go func() {
		close(started)
		_, err := r.Read(make([]byte, 1))
		done <- err
	}()
	<-started
	r.Stop(6)
	wantStreamError(t, "read", await(t, "read", done), transport.StreamError{Code: 6})
}

func testCodes(t *testing.T, a, b transport.Conn) {
	for _, code := range []uint64{0, 1, 0x1d, 0x1e, 0x1f, 0xff, 0x100, math.MaxUint32} {
		s, r := openUni(t, a, b, "x")
		s.Reset(code)
		_, err := io.Copy(io.Discard, r)
		wantStreamError(t, "read", err, transport.StreamError{Code: code, Remote: true})

		s, r = openUni(t, a, b, "x")
		r.Stop(code)
		await(t, "context after stop", s.Context().Done())
		wantStreamError(t, "cause", context.Cause(s.Context()), transport.StreamError{Code: code, Remote: true})
	}
}

func testReadDeadline(t *testing.T, a, b transport.Conn) {
	s, r := openUni(t, a, b, "x")
	must(t, "deadline", r.SetReadDeadline(time.Now().Add(-time.Second)))
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read after the deadline: %v", err)
	}
	must(t, "deadline", r.SetReadDeadline(time.Now().Add(5*time.Millisecond)))
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read until the deadline: %v", err)
	}
	must(t, "deadline", r.SetReadDeadline(time.Time{}))
	mustWrite(t, s, "in time")
	mustRead(t, r, "in time")

	// A deadline reaches the Read that waits.
	started, done := make(chan struct{}), make(chan error, 1)
	go func() {
		close(started)
		_, err := r.Read(make([]byte, 1))
		done <- err
	}()
	<-started
	must(t, "deadline", r.SetReadDeadline(time.Now().Add(-time.Second)))
	if err := await(t, "read", done); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read when the deadline came: %v", err)
	}
}

func testCallContext(t *testing.T, a, _ transport.Conn) {
	gaveUp := errors.New("gave up")
	for name, call := range waitingCalls(a) {
		ctx, cancel := context.WithCancelCause(t.Context())
		started, done := make(chan struct{}), make(chan error, 1)
		go func() {
			close(started)
			done <- call(ctx)
		}()
		<-started
		cancel(gaveUp)
		if err := await(t, name, done); !errors.Is(err, gaveUp) {
			t.Errorf("%s: %v, want the cause of the context", name, err)
		}
	}
}

// waitingCalls are the calls of c that wait for the peer.
func waitingCalls(c transport.Conn) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"AcceptStream": func(ctx context.Context) error {
			_, err := c.AcceptStream(ctx)
			return err
		},
		"AcceptUniStream": func(ctx context.Context) error {
			_, err := c.AcceptUniStream(ctx)
			return err
		},
		"ReceiveDatagram": func(ctx context.Context) error {
			_, err := c.ReceiveDatagram(ctx)
			return err
		},
	}
}

func testDatagrams(t *testing.T, a, b transport.Conn) {
	var tooLarge *transport.DatagramTooLargeError
	if err := a.SendDatagram(make([]byte, 64<<10)); !errors.As(err, &tooLarge) {
		t.Fatalf("sending 64 KiB: %v", err)
	}
	if tooLarge.Max < 1000 {
		t.Fatalf("datagrams of %d bytes at most", tooLarge.Max)
	}
	b2 := make([]byte, tooLarge.Max)
	must(t, "send the largest", a.SendDatagram(b2))
	got, err := b.ReceiveDatagram(patience(t))
	must(t, "receive", err)
	if !bytes.Equal(got, b2) {
		t.Errorf("received %d bytes, sent %d zeros", len(got), len(b2))
	}
	buf := []byte("first")
	must(t, "send", a.SendDatagram(buf))
	copy(buf, "xxxxx") // ours again
	got, err = b.ReceiveDatagram(patience(t))
	must(t, "receive", err)
	if string(got) != "first" {
		t.Errorf("received %q", got)
	}
}

func testClose(t *testing.T, a, b transport.Conn) {
	local, remote := open(t, a, b, "x")
	must(t, "close", a.CloseWithError(0x1234, "enough"))
	here := transport.CloseError{Code: 0x1234, Reason: "enough"}
	there := transport.CloseError{Code: 0x1234, Reason: "enough", Remote: true}

	await(t, "context here", a.Context().Done())
	wantCloseError(t, "cause here", context.Cause(a.Context()), here)
	await(t, "context there", b.Context().Done())
	wantCloseError(t, "cause there", context.Cause(b.Context()), there)

	for _, end := range []struct {
		where string
		conn  transport.Conn
		s     transport.Stream
		want  transport.CloseError
	}{{"here", a, local, here}, {"there", b, remote, there}} {
		_, err := end.s.Read(make([]byte, 1))
		wantCloseError(t, "Read "+end.where, err, end.want)
		_, err = end.s.Write([]byte("y"))
		wantCloseError(t, "Write "+end.where, err, end.want)
		_, err = end.conn.OpenStream(patience(t))
		wantCloseError(t, "OpenStream "+end.where, err, end.want)
		_, err = end.conn.OpenUniStream(patience(t))
		wantCloseError(t, "OpenUniStream "+end.where, err, end.want)
		wantCloseError(t, "SendDatagram "+end.where, end.conn.SendDatagram([]byte("y")), end.want)
		for name, call := range waitingCalls(end.conn) {
			wantCloseError(t, name+" "+end.where, call(patience(t)), end.want)
		}
		await(t, "stream context "+end.where, end.s.Context().Done())
		wantCloseError(t, "cause of the stream "+end.where, context.Cause(end.s.Context()), end.want)
		// None of these may do harm now.
		end.s.Reset(1)
		end.s.Stop(1)
		must(t, "close a stream "+end.where, end.s.Close())
	}
}

func testCloseWaitingCalls(t *testing.T, a, b transport.Conn) {
	local, remote := open(t, a, b, "x")
	type result struct {
		name string
		err  error
	}
	results := make(chan result, 5)
	calls := waitingCalls(b)
	calls["Read"] = func(context.Context) error {
		_, err := remote.Read(make([]byte, 1))
		return err
	}
	calls["Write"] = func(context.Context) error { return writeUntilError(remote) }
	ctx := patience(t)
	for name, call := range calls {
		go func() { results <- result{name, call(ctx)} }()
	}
	mustRead(t, local, string(make([]byte, 1000))) // Write is on its way
	must(t, "close", a.CloseWithError(1, ""))
	for range len(calls) {
		r := await(t, "calls", results)
		wantCloseError(t, r.name, r.err, transport.CloseError{Code: 1, Remote: true})
	}
}

func testCloseTwice(t *testing.T, a, b transport.Conn) {
	must(t, "close", a.CloseWithError(1, "first"))
	must(t, "close again", a.CloseWithError(2, "second"))
	await(t, "context there", b.Context().Done())
	must(t, "close there", b.CloseWithError(3, "third"))
	wantCloseError(t, "cause here", context.Cause(a.Context()), transport.CloseError{Code: 1, Reason: "first"})
	wantCloseError(t, "cause there", context.Cause(b.Context()), transport.CloseError{Code: 1, Reason: "first", Remote: true})
}

func testLongReason(t *testing.T, a, b transport.Conn) {
	must(t, "close", a.CloseWithError(1, string(bytes.Repeat([]byte("ä"), 4000))))
	await(t, "context there", b.Context().Done())
	wantCloseError(t, "cause there", context.Cause(b.Context()),
		transport.CloseError{Code: 1, Reason: string(bytes.Repeat([]byte("ä"), 512)), Remote: true})
}

func testStats(t *testing.T, a, b transport.Conn) {
	s, r := openUni(t, a, b, "x")
	go func() {
		s.Write(make([]byte, 100_000))
		s.Close()
	}()
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatalf("read: %v", err)
	}
	if got := a.Stats(); got.BytesSent < 100_000 || got.PacketsSent == 0 {
		t.Errorf("sender: %+v", got)
	}
	if got := b.Stats(); got.BytesReceived < 100_000 || got.PacketsReceived == 0 {
		t.Errorf("receiver: %+v", got)
	}
}

func testDescription(t *testing.T, client, server transport.Conn) {
	if client.Protocol() == "" || client.Protocol() != server.Protocol() {
		t.Errorf("protocols %q and %q", client.Protocol(), server.Protocol())
	}
	if client.Kind().String() == "unknown" || client.Kind() != server.Kind() {
		t.Errorf("kinds %v and %v", client.Kind(), server.Kind())
	}
	for _, c := range []transport.Conn{client, server} {
		if c.LocalAddr().String() == "" || c.RemoteAddr().String() == "" {
			t.Errorf("addresses %v and %v", c.LocalAddr(), c.RemoteAddr())
		}
	}
	if server.Kind() == transport.QUIC && server.URL() != nil {
		t.Errorf("a native QUIC server knows the URL %v before SETUP", server.URL())
	}
	if client.Context().Err() != nil || server.Context().Err() != nil {
		t.Error("a context is done while the connection is open")
	}
}
