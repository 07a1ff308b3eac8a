package transport

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Defaults of ListenConfig and DialConfig.
const (
	// DefaultIdleTimeout is long enough for a phone that changes networks and
	// short enough that a dead relay is noticed.
	DefaultIdleTimeout = 15 * time.Second
	// DefaultHandshakeTimeout bounds what a half-open connection costs.
	DefaultHandshakeTimeout = 5 * time.Second
	// DefaultMaxStreams and DefaultMaxUniStreams bound the streams that a peer
	// may have open at one time. A MoQ request is one bidirectional stream, so
	// the first is how many Tracks a neighbouring relay can subscribe to on one
	// session. A Subgroup is one unidirectional stream: two for each of those
	// Tracks, since Groups overlap, is what the second leaves room for.
	DefaultMaxStreams    = 2048
	DefaultMaxUniStreams = 4096
	// DefaultMaxConns bounds the connections of a listener; idle WebTransport
	// sessions of that number take about 1.3 GiB.
	DefaultMaxConns = 10_000
)

// ListenConfig describes a Listener. TLS and Protocols are required.
type ListenConfig struct {
	// Addr is the UDP address to listen at, such as ":4443". It is not used
	// when PacketConn is set.
	Addr string
	// PacketConn is a socket to use instead of one at Addr. The Listener closes
	// it.
	PacketConn net.PacketConn
	// TLS holds the certificate, usually [Certificates.TLSConfig]. Its
	// NextProtos are replaced.
	TLS *tls.Config
	// Protocols are the MoQ protocols spoken here, such as "moqt-18", the
	// preferred first. They are ALPNs of native QUIC, where this order decides,
	// and subprotocols of WebTransport, where the client's does.
	Protocols []string
	// Fallback is the protocol of WebTransport clients that offer none and do
	// not name one with ?draft= in the URL, as Firefox 153 does. When empty,
	// such clients are refused.
	Fallback string
	// HTTP serves HTTP/3 requests that are not WebTransport. The default
	// answers 404.
	HTTP http.Handler
	// CheckOrigin says whether a WebTransport request may come from the web
	// page that its Origin header names. The default allows all: players are
	// embedded anywhere, and authority comes from a token, never from a cookie.
	CheckOrigin func(*http.Request) bool
	// StatelessResetKey makes the tokens by which a restarted listener tells
	// the peers of its predecessor that their connections are gone, instead of
	// leaving them to time out. Keep it secret and stable. Without it a random
	// one is used.
	StatelessResetKey *[32]byte
	// IdleTimeout ends connections on which nothing arrives, and HTTP/3
	// connections without a request. The default is DefaultIdleTimeout.
	IdleTimeout time.Duration
	// KeepAlive is the interval of PINGs on idle connections. The default is a
	// third of IdleTimeout; negative disables them.
	KeepAlive time.Duration
	// HandshakeTimeout bounds the QUIC handshake. The default is
	// DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// MaxConns bounds the connections open at one time, those in their
	// handshake included; further ones are refused. The default is
	// DefaultMaxConns.
	MaxConns int
	// MaxStreams and MaxUniStreams bound the streams that the peer may have
	// open at one time. The defaults are DefaultMaxStreams and
	// DefaultMaxUniStreams.
	MaxStreams, MaxUniStreams int64
	// Logger gets what operators should know. The default discards it.
	Logger *slog.Logger
}

// DialConfig describes how to Dial. Protocols is required.
type DialConfig struct {
	// TLS is the configuration to start from. Trust is not used when it is set.
	TLS *tls.Config
	// Trust says which servers to believe. The zero value uses the system's
	// authorities.
	Trust Trust
	// Protocols are offered in this order of preference.
	Protocols []string
	// Fallback is the protocol to assume when a WebTransport server answers
	// without naming one. When empty, such servers are refused.
	Fallback string
	// IdleTimeout, KeepAlive, MaxStreams and MaxUniStreams are as in
	// ListenConfig.
	IdleTimeout               time.Duration
	KeepAlive                 time.Duration
	MaxStreams, MaxUniStreams int64
	// HandshakeTimeout bounds Dial as a whole, from the look-up of the name to
	// the server's answer. The default is twice DefaultHandshakeTimeout.
	HandshakeTimeout time.Duration
	// Header is sent with the request for WebTransport, for example Origin.
	Header http.Header
	// PacketConn is a socket to dial from instead of a new one. It is closed
	// with the connection, or when Dial fails.
	PacketConn net.PacketConn
}

// Trust says how a client recognises the server that it wants. At most one field
// may be set; the zero value believes the system's authorities.
type Trust struct {
	// FingerprintSHA256 pins the leaf certificate: its SHA-256 in hex, with or
	// without colons, upper or lower case. Names and authorities are then not
	// looked at, the validity period is.
	FingerprintSHA256 string
	// CAFile names a PEM file of authorities to believe instead of the
	// system's.
	CAFile string
	// Insecure believes any certificate.
	Insecure bool
}
