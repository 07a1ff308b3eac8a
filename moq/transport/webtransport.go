package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"
)

// sessionGoodbye is how long the end that closes a WebTransport session waits
// for its peer to close the connection. The peer does that when it has read
// WT_CLOSE_SESSION; a CONNECTION_CLOSE of ours would overtake that.
const sessionGoodbye = time.Second

// datagramOverhead is what an HTTP datagram adds at most: the Quarter Stream ID
// (RFC 9297, section 2.1).
const datagramOverhead = 8

// wtConn is a WebTransport session that has an HTTP/3 connection for itself:
// they end together.
type wtConn struct {
	sess     *webtransport.Session
	qc       *quic.Conn
	protocol string
	url      *url.URL
	ctx      context.Context
	end      context.CancelCauseFunc
}

func newWTConn(sess *webtransport.Session, qc *quic.Conn, protocol string, u *url.URL) *wtConn {
	c := &wtConn{sess: sess, qc: qc, protocol: protocol, url: u}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	context.AfterFunc(sess.Context(), c.finish)
	return c
}

// finish runs when the session has ended: it finds out why and sees to the end
// of the connection.
func (c *wtConn) finish() {
	err := c.sessionError()
	closed, ok := errors.AsType[*webtransport.SessionError](err)
	if ok {
		c.end(&CloseError{Code: uint64(closed.ErrorCode), Reason: closed.Message, Remote: closed.Remote})
	}
	if ok && !closed.Remote {
		goodbye := time.NewTimer(sessionGoodbye)
		defer goodbye.Stop()
		select {
		case <-c.qc.Context().Done():
		case <-goodbye.C:
		}
	}
	c.qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
	if !ok {
		c.end(brokenSession(context.Cause(c.qc.Context()), err))
	}
}

// sessionError returns why the session ended. The library tells it only to
// those who accept streams.
func (c *wtConn) sessionError() error {
	for {
		s, err := c.sess.AcceptStream(context.Background())
		if err != nil {
			return err
		}
		s.CancelRead(0)
		s.CancelWrite(0)
	}
}

// brokenSession says why a session ended without WT_CLOSE_SESSION, from the end
// of its connection and from what the library says of the CONNECT stream.
func brokenSession(conn, session error) error {
	app, ok := errors.AsType[*quic.ApplicationError](conn)
	if !ok {
		return connError(conn)
	}
	if app.Remote {
		// Its code is one of HTTP/3, not of the application.
		if app.ErrorCode == quic.ApplicationErrorCode(http3.ErrCodeNoError) || app.ErrorCode == 0 {
			return &CloseError{Remote: true}
		}
		return fmt.Errorf("transport: %w", conn)
	}
	// The connection was in order until finish closed it. "Cleanly terminating a
	// CONNECT stream without a WT_CLOSE_SESSION capsule SHALL be semantically
	// equivalent to terminating it with a WT_CLOSE_SESSION capsule that has an
	// error code of 0 and an empty error string" (draft-ietf-webtrans-http3-16,
	// section 6). Of the error, the library keeps only the text.
	if h3, ok := errors.AsType[*http3.Error](session); ok && h3.ErrorMessage == io.EOF.Error() {
		return &CloseError{Remote: true}
	}
	return fmt.Errorf("transport: WebTransport session broke: %w", session)
}

// cause waits for the end of the session, which is near when a call on it has
// failed, and returns why.
func (c *wtConn) cause() error {
	<-c.ctx.Done()
	return context.Cause(c.ctx)
}

// callError is the error of a call that waited with ctx.
func (c *wtConn) callError(ctx context.Context, err error) error {
	if c.ctx.Err() == nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.streamError(err)
}

// streamError translates the error of a call.
func (c *wtConn) streamError(err error) error {
	if err == io.EOF {
		return io.EOF
	}
	if stream, ok := errors.AsType[*webtransport.StreamError](err); ok {
		return &StreamError{Code: uint64(stream.ErrorCode), Remote: stream.Remote}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	if errors.Is(err, quic.ErrStreamClosed) {
		return ErrStreamClosed
	}
	if endsSession(err) {
		return c.cause()
	}
	// What is left is a reset whose code is not one of WebTransport.
	return &StreamError{Remote: true}
}

// endsSession says whether err comes from the end of the session or of its
// connection.
func endsSession(err error) bool {
	if _, ok := errors.AsType[*webtransport.SessionError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*http3.Error](err); ok {
		return true
	}
	// The errors of quic-go that end a connection are net.ErrClosed.
	return errors.Is(err, net.ErrClosed)
}

// OpenStream implements Conn.
func (c *wtConn) OpenStream(ctx context.Context) (Stream, error) {
	s, err := c.sess.OpenStreamSync(ctx)
	if err != nil {
		return nil, c.callError(ctx, err)
	}
	return newWTStream(c, s), nil
}

// OpenUniStream implements Conn.
func (c *wtConn) OpenUniStream(ctx context.Context) (SendStream, error) {
	s, err := c.sess.OpenUniStreamSync(ctx)
	if err != nil {
		return nil, c.callError(ctx, err)
	}
	return &wtSendStream{c: c, s: s}, nil
}

// AcceptStream implements Conn.
func (c *wtConn) AcceptStream(ctx context.Context) (Stream, error) {
	s, err := c.sess.AcceptStream(ctx)
	if err != nil {
		return nil, c.callError(ctx, err)
	}
	return newWTStream(c, s), nil
}

// AcceptUniStream implements Conn.
func (c *wtConn) AcceptUniStream(ctx context.Context) (ReceiveStream, error) {
	s, err := c.sess.AcceptUniStream(ctx)
	if err != nil {
		return nil, c.callError(ctx, err)
	}
	return &wtReceiveStream{c: c, s: s}, nil
}

// SendDatagram implements Conn.
func (c *wtConn) SendDatagram(b []byte) error {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	err := c.sess.SendDatagram(b)
	if err == nil {
		return nil
	}
	if tooLarge, ok := errors.AsType[*quic.DatagramTooLargeError](err); ok {
		return &DatagramTooLargeError{Max: max(0, int(tooLarge.MaxDatagramPayloadSize)-datagramOverhead)}
	}
	return c.cause()
}

// ReceiveDatagram implements Conn.
func (c *wtConn) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	b, err := c.sess.ReceiveDatagram(ctx)
	if err == nil {
		return b, nil
	}
	if c.ctx.Err() == nil && ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, c.cause()
}

// CloseWithError implements Conn.
func (c *wtConn) CloseWithError(code uint64, reason string) error {
	err := c.sess.CloseWithError(webtransport.SessionErrorCode(min(code, math.MaxUint32)), CutReason(reason))
	<-c.qc.Context().Done() // finish sees to it
	return err
}

// Context implements Conn.
func (c *wtConn) Context() context.Context { return c.ctx }

// Protocol implements Conn.
func (c *wtConn) Protocol() string { return c.protocol }

// Kind implements Conn.
func (c *wtConn) Kind() Kind { return WebTransport }

// URL implements Conn.
func (c *wtConn) URL() *url.URL { return c.url }

// LocalAddr implements Conn.
func (c *wtConn) LocalAddr() net.Addr { return c.qc.LocalAddr() }

// RemoteAddr implements Conn.
func (c *wtConn) RemoteAddr() net.Addr { return c.qc.RemoteAddr() }

// Stats implements Conn.
func (c *wtConn) Stats() Stats { return quicStats(c.qc) }

// wtSender is the sending side of both kinds of streams of webtransport-go.
type wtSender interface {
	io.WriteCloser
	CancelWrite(webtransport.StreamErrorCode)
	SetWriteDeadline(time.Time) error
	Context() context.Context
}

// wtSendStream is the sending side of a stream.
type wtSendStream struct {
	c      *wtConn
	s      wtSender
	closed atomic.Bool
	reset  atomic.Pointer[StreamError] // set by Reset

	once sync.Once // makes ctx when it is first asked for
	ctx  context.Context
}

// Write implements SendStream.
func (s *wtSendStream) Write(b []byte) (int, error) {
	if s.closed.Load() {
		return 0, ErrStreamClosed
	}
	if len(b) == 0 {
		// The library would send the stream's header, which announces it.
		return 0, nil
	}
	n, err := s.s.Write(b)
	if err != nil {
		if reset := s.reset.Load(); reset != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			return n, reset
		}
		return n, s.c.streamError(err)
	}
	return n, nil
}

// Close implements SendStream.
func (s *wtSendStream) Close() error {
	s.closed.Store(true)
	_ = s.s.Close() // fails when the stream was reset before
	return nil
}

// Reset implements SendStream. When the peer has stopped the stream because
// the session is gone, the library lets Write wait for the end of the session,
// of which it does not tell streams that were reset. The deadline ends that
// wait.
func (s *wtSendStream) Reset(code uint64) {
	s.reset.CompareAndSwap(nil, &StreamError{Code: uint64(wtCode(code))})
	s.s.CancelWrite(wtCode(code))
	_ = s.s.SetWriteDeadline(longAgo) // of a stream that has ended
}

// SetPriority implements SendStream; the library does not reach it.
func (s *wtSendStream) SetPriority(int8, bool) {}

// Context implements SendStream.
func (s *wtSendStream) Context() context.Context {
	s.once.Do(func() { s.ctx = translated(s.s.Context(), s.contextError) })
	return s.ctx
}

// contextError translates the cause of the library's context of a stream, which
// has the codes of HTTP/3.
func (s *wtSendStream) contextError(err error) error {
	stream, ok := errors.AsType[*quic.StreamError](err)
	switch {
	case !ok:
		return s.c.streamError(err)
	case stream.ErrorCode == webtransport.WTSessionGoneErrorCode:
		return s.c.cause()
	}
	return &StreamError{Code: fromHTTP3Code(uint64(stream.ErrorCode)), Remote: stream.Remote}
}

// wtReceiver is the receiving side of both kinds of streams of webtransport-go.
type wtReceiver interface {
	io.Reader
	CancelRead(webtransport.StreamErrorCode)
	SetReadDeadline(time.Time) error
}

// wtReceiveStream is the receiving side of a stream.
type wtReceiveStream struct {
	c *wtConn
	s wtReceiver

	mu      sync.Mutex // held while the library is told a deadline
	stopped *StreamError
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// Read implements ReceiveStream.
func (s *wtReceiveStream) Read(b []byte) (int, error) {
	n, err := s.s.Read(b)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.stopped != nil {
				return n, s.stopped
			}
		}
		return n, s.c.streamError(err)
	}
	return n, nil
}

// Stop implements ReceiveStream. A Read may wait for the end of the session as
// a Write may, see wtSendStream.Reset.
func (s *wtReceiveStream) Stop(code uint64) {
	s.s.CancelRead(wtCode(code))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped == nil {
		s.stopped = &StreamError{Code: uint64(wtCode(code))}
		_ = s.s.SetReadDeadline(longAgo) // of a stream that has ended
	}
}

// SetReadDeadline implements ReceiveStream.
func (s *wtReceiveStream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped != nil {
		return nil
	}
	return s.s.SetReadDeadline(t)
}

// wtStream is a bidirectional stream.
type wtStream struct {
	wtSendStream
	wtReceiveStream
}

func newWTStream(c *wtConn, s *webtransport.Stream) *wtStream {
	return &wtStream{wtSendStream{c: c, s: s}, wtReceiveStream{c: c, s: s}}
}

func wtCode(code uint64) webtransport.StreamErrorCode {
	return webtransport.StreamErrorCode(min(code, math.MaxUint32))
}

// fromHTTP3Code is the WebTransport code that an HTTP/3 code stands for, or
// zero when it stands for none (draft-ietf-webtrans-http3, section 4.4: the
// codes that HTTP/3 reserves, of the form 0x1f*N+0x21, are left out).
func fromHTTP3Code(code uint64) uint64 {
	const first, last = 0x52e4a40fa8db, 0x52e5ac983162
	if code < first || code > last || (code-0x21)%0x1f == 0 {
		return 0
	}
	return code - first - (code-first)/0x1f
}
