package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/quic-go/quic-go"
)

// quicConn is a native QUIC connection.
type quicConn struct {
	qc       *quic.Conn
	protocol string
	url      *url.URL // nil at the server
	ctx      context.Context
}

// newQUICConn wraps a connection whose handshake is complete.
func newQUICConn(qc *quic.Conn, u *url.URL) *quicConn {
	return &quicConn{
		qc:       qc,
		protocol: qc.ConnectionState().TLS.NegotiatedProtocol,
		url:      u,
		ctx:      translated(qc.Context(), connError),
	}
}

// translated returns a context that is done when parent is, with its cause put
// into the words of this package.
func translated(parent context.Context, translate func(error) error) context.Context {
	ctx, end := context.WithCancelCause(context.WithoutCancel(parent))
	context.AfterFunc(parent, func() { end(translate(context.Cause(parent))) })
	return ctx
}

// OpenStream implements Conn.
func (c *quicConn) OpenStream(ctx context.Context) (Stream, error) {
	s, err := c.qc.OpenStreamSync(ctx)
	if err != nil {
		return nil, callError(ctx, err)
	}
	return newQUICStream(s), nil
}

// OpenUniStream implements Conn.
func (c *quicConn) OpenUniStream(ctx context.Context) (SendStream, error) {
	s, err := c.qc.OpenUniStreamSync(ctx)
	if err != nil {
		return nil, callError(ctx, err)
	}
	return &quicSendStream{s: s}, nil
}

// AcceptStream implements Conn.
func (c *quicConn) AcceptStream(ctx context.Context) (Stream, error) {
	s, err := c.qc.AcceptStream(ctx)
	if err != nil {
		return nil, callError(ctx, err)
	}
	return newQUICStream(s), nil
}

// AcceptUniStream implements Conn.
func (c *quicConn) AcceptUniStream(ctx context.Context) (ReceiveStream, error) {
	s, err := c.qc.AcceptUniStream(ctx)
	if err != nil {
		return nil, callError(ctx, err)
	}
	return &quicReceiveStream{s: s}, nil
}

// SendDatagram implements Conn.
func (c *quicConn) SendDatagram(b []byte) error {
	err := c.qc.SendDatagram(b)
	if tooLarge, ok := errors.AsType[*quic.DatagramTooLargeError](err); ok {
		return &DatagramTooLargeError{Max: int(tooLarge.MaxDatagramPayloadSize)}
	}
	return connError(err)
}

// ReceiveDatagram implements Conn.
func (c *quicConn) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	b, err := c.qc.ReceiveDatagram(ctx)
	if err != nil {
		return nil, callError(ctx, err)
	}
	return b, nil
}

// CloseWithError implements Conn.
func (c *quicConn) CloseWithError(code uint64, reason string) error {
	return c.qc.CloseWithError(quic.ApplicationErrorCode(min(code, maxQUICCode)), CutReason(reason))
}

// Context implements Conn.
func (c *quicConn) Context() context.Context { return c.ctx }

// Protocol implements Conn.
func (c *quicConn) Protocol() string { return c.protocol }

// Kind implements Conn.
func (c *quicConn) Kind() Kind { return QUIC }

// URL implements Conn.
func (c *quicConn) URL() *url.URL { return c.url }

// LocalAddr implements Conn.
func (c *quicConn) LocalAddr() net.Addr { return c.qc.LocalAddr() }

// RemoteAddr implements Conn.
func (c *quicConn) RemoteAddr() net.Addr { return c.qc.RemoteAddr() }

// Stats implements Conn.
func (c *quicConn) Stats() Stats { return quicStats(c.qc) }

func quicStats(qc *quic.Conn) Stats {
	s := qc.ConnectionStats()
	return Stats{
		MinRTT:           s.MinRTT,
		LatestRTT:        s.LatestRTT,
		SmoothedRTT:      s.SmoothedRTT,
		CongestionWindow: uint64(s.CongestionWindow),
		BytesSent:        s.BytesSent,
		BytesReceived:    s.BytesReceived,
		BytesLost:        s.BytesLost,
		PacketsSent:      s.PacketsSent,
		PacketsReceived:  s.PacketsReceived,
		PacketsLost:      s.PacketsLost,
	}
}

// quicSender is the sending side of both kinds of streams of quic-go.
type quicSender interface {
	io.WriteCloser
	CancelWrite(quic.StreamErrorCode)
	SetPriority(urgency int8, incremental bool)
	Context() context.Context
}

// quicSendStream is the sending side of a stream.
type quicSendStream struct {
	s quicSender

	once sync.Once // makes ctx when it is first asked for
	ctx  context.Context
}

// Write implements SendStream.
func (s *quicSendStream) Write(b []byte) (int, error) {
	n, err := s.s.Write(b)
	if err != nil {
		return n, streamError(err)
	}
	return n, nil
}

// Close implements SendStream. The error of quic-go says that the stream was
// reset before, by either end, which is no news to the caller.
func (s *quicSendStream) Close() error {
	_ = s.s.Close()
	return nil
}

// Reset implements SendStream.
func (s *quicSendStream) Reset(code uint64) {
	s.s.CancelWrite(quic.StreamErrorCode(min(code, maxQUICCode)))
}

// SetPriority implements SendStream.
func (s *quicSendStream) SetPriority(urgency int8, incremental bool) {
	s.s.SetPriority(urgency, incremental)
}

// Context implements SendStream.
func (s *quicSendStream) Context() context.Context {
	s.once.Do(func() { s.ctx = translated(s.s.Context(), streamError) })
	return s.ctx
}

// quicReceiver is the receiving side of both kinds of streams of quic-go.
type quicReceiver interface {
	io.Reader
	CancelRead(quic.StreamErrorCode)
	SetReadDeadline(time.Time) error
}

// quicReceiveStream is the receiving side of a stream.
type quicReceiveStream struct{ s quicReceiver }

// Read implements ReceiveStream.
func (s *quicReceiveStream) Read(b []byte) (int, error) {
	n, err := s.s.Read(b)
	if err != nil {
		return n, streamError(err)
	}
	return n, nil
}

// Stop implements ReceiveStream.
func (s *quicReceiveStream) Stop(code uint64) {
	s.s.CancelRead(quic.StreamErrorCode(min(code, maxQUICCode)))
}

// SetReadDeadline implements ReceiveStream.
func (s *quicReceiveStream) SetReadDeadline(t time.Time) error {
	return s.s.SetReadDeadline(t)
}

// quicStream is a bidirectional stream.
type quicStream struct {
	quicSendStream
	quicReceiveStream
}

func newQUICStream(s *quic.Stream) *quicStream {
	return &quicStream{quicSendStream{s: s}, quicReceiveStream{s: s}}
}

const (
	// maxQUICCode is the largest application error code of QUIC (RFC 9000,
	// section 20.2): a variable-length integer.
	maxQUICCode = 1<<62 - 1
	// maxReason is how many bytes of a reason are sent: WT_CLOSE_SESSION
	// carries 1024 (draft-ietf-webtrans-http3, section 6), and with them a
	// CONNECTION_CLOSE still fits into the smallest packet.
	maxReason = 1024
	// noApplicationProtocol is the QUIC error code of the TLS alert
	// no_application_protocol (RFC 9001, section 8.1).
	noApplicationProtocol = 0x100 + 120
)

// CutReason makes a reason fit to be sent: valid UTF-8 of 1024 bytes at most.
// Every Conn applies it.
func CutReason(reason string) string {
	reason = strings.ToValidUTF8(reason, "\uFFFD")
	if len(reason) <= maxReason {
		return reason
	}
	n := maxReason
	for !utf8.RuneStart(reason[n]) {
		n--
	}
	return reason[:n]
}

// callError is the error of a call that waited with ctx.
func callError(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)) {
		return context.Cause(ctx)
	}
	return connError(err)
}

// connError translates the error that ended a connection.
func connError(err error) error {
	if err == nil {
		return nil
	}
	if app, ok := errors.AsType[*quic.ApplicationError](err); ok {
		return &CloseError{Code: uint64(app.ErrorCode), Reason: app.ErrorMessage, Remote: app.Remote}
	}
	if _, ok := errors.AsType[*quic.IdleTimeoutError](err); ok {
		return ErrIdleTimeout
	}
	if _, ok := errors.AsType[*quic.HandshakeTimeoutError](err); ok {
		return ErrHandshakeTimeout
	}
	if _, ok := errors.AsType[*quic.StatelessResetError](err); ok {
		return ErrStatelessReset
	}
	if transport, ok := errors.AsType[*quic.TransportError](err); ok {
		switch {
		case transport.ErrorCode == quic.ConnectionRefused && transport.Remote:
			return ErrRefused
		case transport.ErrorCode == noApplicationProtocol:
			return ErrNoProtocol
		}
	}
	return fmt.Errorf("transport: %w", err)
}

// streamError translates the error of a stream.
func streamError(err error) error {
	if err == io.EOF {
		return io.EOF
	}
	if stream, ok := errors.AsType[*quic.StreamError](err); ok {
		return &StreamError{Code: uint64(stream.ErrorCode), Remote: stream.Remote}
	}
	if errors.Is(err, quic.ErrStreamClosed) {
		return ErrStreamClosed
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	return connError(err)
}
