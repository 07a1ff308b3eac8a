package transport

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"time"
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
	// Protocols are the MoQ protocols spoken here, such as "moqt-18". They are
	// ALPNs of native QUIC and subprotocols of WebTransport; among those a
	// client offers, its own order decides.
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
	// IdleTimeout ends connections that are silent. The default is 15 s.
	IdleTimeout time.Duration
	// KeepAlive is the interval of PINGs on idle connections. The default is a
	// third of IdleTimeout; negative disables them.
	KeepAlive time.Duration
	// HandshakeTimeout bounds the handshake, and for WebTransport also the time
	// from there to the request. The default is 5 s.
	HandshakeTimeout time.Duration
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
	// IdleTimeout, KeepAlive and HandshakeTimeout are as in ListenConfig.
	IdleTimeout      time.Duration
	KeepAlive        time.Duration
	HandshakeTimeout time.Duration
	// Header is sent with the request for WebTransport, for example Origin.
	Header http.Header
	// PacketConn is a socket to dial from instead of a new one. It is closed
	// with the connection.
	PacketConn net.PacketConn
}

// Trust says how a client recognises the server that it wants.
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
