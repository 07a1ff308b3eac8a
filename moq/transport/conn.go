package transport

import (
	"context"
	"io"
	"net"
	"net/url"
	"time"
)

// Kind says what carries a Conn.
type Kind uint8

const (
	// QUIC is a native QUIC connection: the ALPN names the draft.
	QUIC Kind = iota + 1
	// WebTransport is a WebTransport session over HTTP/3: a subprotocol names
	// the draft.
	WebTransport
	// WebSocket is QMux over a WebSocket: a subprotocol names the draft.
	WebSocket
)

// String returns the name that logs and metrics use.
func (k Kind) String() string {
	switch k {
	case QUIC:
		return "quic"
	case WebTransport:
		return "webtransport"
	case WebSocket:
		return "websocket"
	}
	return "unknown"
}

// Conn is one connection to a peer. Its methods may be called from any
// goroutine.
//
// Once the connection has ended, every method that returns an error returns the
// cause of Context.
type Conn interface {
	// OpenStream opens a bidirectional stream. It waits while the peer's limit
	// of concurrent streams is reached.
	OpenStream(ctx context.Context) (Stream, error)
	// OpenUniStream opens a unidirectional stream. It waits while the peer's
	// limit of concurrent streams is reached.
	OpenUniStream(ctx context.Context) (SendStream, error)
	// AcceptStream waits for the next bidirectional stream of the peer.
	AcceptStream(ctx context.Context) (Stream, error)
	// AcceptUniStream waits for the next unidirectional stream of the peer.
	AcceptUniStream(ctx context.Context) (ReceiveStream, error)

	// SendDatagram queues a datagram and may wait shortly for room in the
	// queue. Delivery is not guaranteed, and b may be used again at once. One
	// that does not fit into a packet is refused with *DatagramTooLargeError.
	SendDatagram(b []byte) error
	// ReceiveDatagram waits for the next datagram. Those that come faster than
	// they are received are dropped.
	ReceiveDatagram(ctx context.Context) ([]byte, error)

	// CloseWithError ends the connection with an application error code and a
	// reason, both of which the peer sees. Codes above 2^62-1 (QUIC) or 2^32-1
	// (WebTransport) are clipped, reasons are cut to what the transport can
	// carry: 1024 bytes. Only the first call has an effect. It returns when the
	// peer has been told, after a second at most.
	CloseWithError(code uint64, reason string) error
	// Context is done when the connection has ended. Its cause is a
	// *CloseError when one end closed it with a code, else the error that
	// broke it, such as ErrIdleTimeout.
	Context() context.Context

	// Protocol is the negotiated protocol, such as "moqt-18": the ALPN of
	// QUIC, the subprotocol of WebTransport, and of WebSocket without the name
	// of the framing.
	Protocol() string
	// Kind says what carries the connection.
	Kind() Kind
	// URL is the requested URL with its path and query, for WebTransport and
	// WebSocket at both ends and for QUIC at the client. It is nil at the server of a native
	// QUIC connection, where a MoQ session learns it from SETUP. The caller
	// must not modify it. It may hold a token: do not log its query.
	URL() *url.URL

	// LocalAddr is the address of this end.
	LocalAddr() net.Addr
	// RemoteAddr is the current address of the peer; it may change when the
	// peer migrates.
	RemoteAddr() net.Addr
	// Stats reads the counters of the connection.
	Stats() Stats
}

// SendStream is the sending side of a stream. It keeps its place among the
// concurrent streams until Close or Reset, even if the peer has stopped it.
type SendStream interface {
	// Write sends b, waiting for flow and congestion control. It does not keep
	// or modify b. After the peer's STOP_SENDING or a Reset it returns a
	// *StreamError, after the end of the connection that one's cause.
	io.Writer
	// Close ends the stream with a FIN after the bytes written so far. It does
	// not wait until they have been delivered. Closing again, or after a reset,
	// does nothing.
	Close() error
	// Reset gives the stream up with an application error code: a waiting Write
	// returns, and bytes not yet delivered may be lost. It does nothing on a
	// stream that was reset before, or of which all bytes are delivered.
	Reset(code uint64)
	// SetPriority says how urgent the stream is beside others of its connection
	// (RFC 9218): urgency 0 goes first and 7 last; incremental streams of one
	// urgency share the bandwidth, others go oldest first. WebTransport does
	// not reach this, there it does nothing.
	SetPriority(urgency int8, incremental bool)
	// Context is done when nothing more can be written: after Close, Reset, the
	// peer's STOP_SENDING or the end of the connection. The cause is what Write
	// returns from then on.
	Context() context.Context
}

// ReceiveStream is the receiving side of a stream. It keeps its place among the
// concurrent streams until Read has returned its end or Stop was called.
type ReceiveStream interface {
	// Read returns io.EOF after the FIN, a *StreamError after the peer's reset
	// or a Stop, and an error that is os.ErrDeadlineExceeded after the
	// deadline; the stream then remains usable.
	io.Reader
	// Stop asks the peer to send no more on this stream (STOP_SENDING), with an
	// application error code. It does nothing after the end of the stream.
	Stop(code uint64)
	// SetReadDeadline bounds the present and later calls of Read; the zero time
	// removes the bound.
	SetReadDeadline(t time.Time) error
}

// Stream is a bidirectional stream.
type Stream interface {
	SendStream
	ReceiveStream
}

// Stats are counters of one connection since its start. Sizes are in bytes and
// count UDP payloads, headers and encryption included. On WebSocket, where TCP
// hides the rest, packets are messages and sizes their payloads; nothing is
// lost, and there is no congestion window.
type Stats struct {
	// MinRTT, LatestRTT and SmoothedRTT are round-trip times (RFC 9002,
	// section 5); zero before the first sample.
	MinRTT, LatestRTT, SmoothedRTT time.Duration
	// CongestionWindow is the number of bytes that may be in flight.
	CongestionWindow uint64
	BytesSent        uint64
	BytesReceived    uint64
	BytesLost        uint64
	PacketsSent      uint64
	PacketsReceived  uint64
	PacketsLost      uint64
}
