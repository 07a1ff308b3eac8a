package transport

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"
)

// acceptQueue is how many established connections wait for Accept. One that
// accepts does little more than to start a goroutine, so that a full queue means
// a node that cannot serve the newcomers anyway.
const acceptQueue = 256

// Session error codes of moq-transport (draft-ietf-moq-transport-18, section
// 15, "Session Termination Error Codes") that a Listener itself sends.
const (
	codeNoError       = 0x0
	codeInternalError = 0x1
)

// Listener accepts connections on one UDP socket, and WebSockets from HTTP
// servers that use its handler.
type Listener struct {
	cfg      ListenConfig
	log      *slog.Logger
	pc       net.PacketConn
	resetKey quic.StatelessResetKey
	tokenKey quic.TokenGeneratorKey
	gate     gate

	accepted chan Conn
	ctx      context.Context // done after Close
	stop     context.CancelFunc

	serving sync.WaitGroup // the goroutines of connections

	mu       sync.Mutex
	running  bool // Run was called, and closes the socket
	stopping bool // no further connection may start
	conns    map[*quic.Conn]*served
	sockets  map[*mux]struct{} // connections over WebSocket
}

// served is a connection of the listener.
type served struct {
	protocol string // the ALPN
	// taken says that the connection belongs to a session, or is about to: an
	// HTTP/3 connection carries one at most. Guarded by mu of the Listener, as
	// is conn.
	taken bool
	conn  Conn // nil until the session is there
}

// Listen opens the socket, so that Addr is known. Nothing is served before Run.
func Listen(cfg ListenConfig) (*Listener, error) {
	if cfg.TLS == nil {
		return nil, errors.New("transport: listening needs a TLS configuration")
	}
	if err := checkProtocols(cfg.Protocols); err != nil {
		return nil, err
	}
	if cfg.HTTP == nil {
		cfg.HTTP = http.NotFoundHandler()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Listener{
		cfg:      cfg,
		log:      cfg.Logger,
		pc:       cfg.PacketConn,
		gate:     gate{maxConns: orDefault(cfg.MaxConns, DefaultMaxConns)},
		accepted: make(chan Conn, acceptQueue),
		conns:    make(map[*quic.Conn]*served),
		sockets:  make(map[*mux]struct{}),
	}
	if cfg.StatelessResetKey != nil {
		l.resetKey = *cfg.StatelessResetKey
	} else {
		rand.Read(l.resetKey[:])
	}
	// The tokens that spare returning clients the proof of their address remain
	// good over a restart for the same reason as the reset tokens.
	key, err := hkdf.Key(sha256.New, l.resetKey[:], nil, "freshet address validation token", len(l.tokenKey))
	if err != nil {
		return nil, fmt.Errorf("transport: derive token key: %w", err)
	}
	copy(l.tokenKey[:], key)
	if l.pc == nil {
		if l.pc, err = net.ListenPacket("udp", cfg.Addr); err != nil {
			return nil, fmt.Errorf("transport: %w", err)
		}
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l, nil
}

// checkProtocols refuses lists that would leave nothing to negotiate or take
// HTTP/3's own name.
func checkProtocols(protocols []string) error {
	if len(protocols) == 0 {
		return errors.New("transport: no protocols to speak")
	}
	for _, p := range protocols {
		if p == "" || p == http3.NextProtoH3 {
			return fmt.Errorf("transport: %q cannot be among the protocols", p)
		}
	}
	return nil
}

// Addr is the address of the socket.
func (l *Listener) Addr() net.Addr { return l.pc.LocalAddr() }

// Accept waits for the next connection. It fails with ErrListenerClosed after
// Close. When acceptQueue connections wait already, further ones are closed.
func (l *Listener) Accept(ctx context.Context) (Conn, error) {
	select {
	case <-l.ctx.Done():
		return nil, ErrListenerClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case c := <-l.accepted:
		return c, nil
	}
}

// Close makes Run close every connection and end. It does not wait for that.
func (l *Listener) Close() error {
	l.mu.Lock()
	running := l.running
	l.mu.Unlock()
	l.stop()
	if running {
		return nil
	}
	return l.pc.Close()
}

// Run serves until ctx is done or Close is called, then closes every connection
// with code 0. It owns the goroutines of the QUIC endpoint, of its connections
// and of HTTP requests, and returns after the last has ended; it waits for those
// of the HTTP servers that have a connection over WebSocket. It may be called
// once. The error is nil unless the socket fails.
func (l *Listener) Run(ctx context.Context) error {
	l.mu.Lock()
	if l.running || l.ctx.Err() != nil {
		l.mu.Unlock()
		return ErrListenerClosed
	}
	l.running = true
	l.mu.Unlock()
	defer l.pc.Close()
	defer context.AfterFunc(ctx, l.stop)()
	defer l.stop()

	tr := &quic.Transport{
		Conn:                l.pc,
		ConnectionIDLength:  connectionIDLength,
		StatelessResetKey:   &l.resetKey,
		TokenGeneratorKey:   &l.tokenKey,
		VerifySourceAddress: l.gate.needsRetry,
		ConnContext:         l.gate.admit,
	}
	defer tr.Close()
	tlsConf := l.cfg.TLS.Clone()
	// Here the server's order decides. A client that offers MoQ as well as
	// HTTP/3 gets MoQ, without the layer between; browsers offer only HTTP/3.
	tlsConf.NextProtos = append(slices.Clone(l.cfg.Protocols), http3.NextProtoH3)
	// Early: an HTTP/3 client cannot ask before it has our SETTINGS, and these
	// then come with the handshake instead of a round trip later.
	ln, err := tr.ListenEarly(tlsConf, quicConfig(l.cfg.IdleTimeout, l.cfg.KeepAlive,
		orDefault(l.cfg.HandshakeTimeout, DefaultHandshakeTimeout), l.cfg.MaxStreams, l.cfg.MaxUniStreams, serverWindow))
	if err != nil {
		return fmt.Errorf("transport: listen: %w", err)
	}
	server := l.webTransportServer()
	for {
		qc, acceptErr := ln.Accept(l.ctx)
		if acceptErr != nil {
			if l.ctx.Err() == nil {
				err = fmt.Errorf("transport: accept: %w", acceptErr)
			}
			break
		}
		s := &served{protocol: qc.ConnectionState().TLS.NegotiatedProtocol}
		l.mu.Lock()
		l.conns[qc] = s
		l.mu.Unlock()
		context.AfterFunc(qc.Context(), func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			delete(l.conns, qc)
		})
		l.serving.Go(func() { l.serve(qc, s, server) })
	}
	ln.Close()
	l.closeConns()
	l.serving.Wait()
	server.Close()
	return err
}

// serve brings one connection to where Accept can return it, and serves the
// requests of one with HTTP/3.
func (l *Listener) serve(qc *quic.Conn, s *served, server *webtransport.Server) {
	established := func() bool {
		select {
		case <-qc.HandshakeComplete():
		case <-qc.Context().Done():
			return false
		}
		if a, ok := qc.Context().Value(gateKey{}).(*admission); ok {
			a.handshakeDone()
		}
		return true
	}
	if s.protocol == http3.NextProtoH3 {
		l.serving.Go(func() { established() })
		if err := server.ServeQUICConn(qc); err != nil {
			l.log.Debug("HTTP/3 connection", "remote", qc.RemoteAddr(), "error", err)
		}
		return
	}
	if !established() {
		return
	}
	l.mu.Lock()
	s.taken = true
	l.mu.Unlock()
	l.deliver(s, newQUICConn(qc, nil))
}

// deliver brings a connection to where Accept can return it, or closes it.
func (l *Listener) deliver(s *served, c Conn) {
	l.mu.Lock()
	s.conn = c
	stopping := l.stopping
	l.mu.Unlock()
	if stopping {
		c.CloseWithError(codeNoError, reasonClosing)
		return
	}
	l.queue(c)
}

// queue lets Accept return a connection, or closes it.
func (l *Listener) queue(c Conn) {
	select {
	case l.accepted <- c:
	default:
		l.log.Warn("connection closed: too many wait to be accepted", "remote", c.RemoteAddr())
		c.CloseWithError(codeInternalError, "too many connections wait to be accepted")
	}
}

// reasonClosing is sent with codeNoError.
const reasonClosing = "server is closing"

// closeConns closes all connections and returns when their peers have been told.
func (l *Listener) closeConns() {
	l.mu.Lock()
	l.stopping = true
	conns, sockets := maps.Clone(l.conns), maps.Clone(l.sockets)
	l.mu.Unlock()
	var closing sync.WaitGroup
	for c := range sockets {
		closing.Go(func() { c.CloseWithError(codeNoError, reasonClosing) })
	}
	for qc, s := range conns {
		closing.Go(func() { l.closeConn(qc, s) })
	}
	closing.Wait()
}

func (l *Listener) closeConn(qc *quic.Conn, s *served) {
	l.mu.Lock()
	c := s.conn
	l.mu.Unlock()
	switch {
	case c != nil:
		c.CloseWithError(codeNoError, reasonClosing)
	case s.protocol == http3.NextProtoH3:
		qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
	default:
		qc.CloseWithError(codeNoError, reasonClosing)
	}
}
