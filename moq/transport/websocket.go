package transport

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/freshet-live/freshet/moq/transport/qmux"
)

// unsentBytes is how many bytes the kernel holds of a WebSocket that it has not
// sent once, where it can be told. What is there can no longer be overtaken by
// something more urgent; less would leave the path idle now and then.
const unsentBytes = 32 << 10

// legacyFraming is the subprotocol of the framing that @moq/qmux spoke before it
// spoke QMux. It has no flow control, so that what a peer makes us hold has no
// bound, and names no protocol: it is refused.
const legacyFraming = "webtransport"

// webSocket implements messages.
type webSocket struct {
	ws *websocket.Conn
	// raw is what ws reads and writes, or lies below that.
	raw net.Conn
}

func (w *webSocket) receive(b []byte) (int, error) {
	kind, r, err := w.ws.Reader(context.Background())
	if err != nil {
		if code := websocket.CloseStatus(err); code == websocket.StatusNormalClosure || code == websocket.StatusGoingAway || code == websocket.StatusNoStatusRcvd {
			return 0, errClosedSocket
		}
		return 0, err
	}
	n, err := io.ReadFull(r, b)
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		// The end of the message, which a full buffer cuts off.
	case err != nil:
		return 0, err
	default:
		// The rest must be read before the next message; it is not kept.
		if _, err := io.Copy(io.Discard, r); err != nil {
			return 0, err
		}
	}
	if kind != websocket.MessageBinary {
		return 0, errText
	}
	return n, nil
}

func (w *webSocket) send(b []byte) error {
	return w.ws.Write(context.Background(), websocket.MessageBinary, b)
}

// deadline implements messages. Errors are those of a connection that is gone,
// which its users meet themselves.
func (w *webSocket) deadline(t time.Time, all bool) {
	if all {
		_ = w.raw.SetDeadline(t)
	} else {
		_ = w.raw.SetWriteDeadline(t)
	}
}

func (w *webSocket) ping(ctx context.Context) error { return w.ws.Ping(ctx) }

func (w *webSocket) close() { _ = w.ws.Close(websocket.StatusNormalClosure, "") }

// hijacked keeps the connection that is taken from an HTTP server, and gives
// the WebSocket a buffer that a whole message fits into, with its header: each
// is then one write, and one TLS record.
type hijacked struct {
	http.ResponseWriter
	conn net.Conn
}

// Hijack implements http.Hijacker.
func (h *hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = conn
	return conn, bufio.NewReadWriter(rw.Reader, bufio.NewWriterSize(conn, maxMessage+16)), nil
}

// WebSocket returns a handler for HTTP/1.1 servers over TCP. It makes MoQ
// connections of requests for a WebSocket that offer a subprotocol of QMux, at
// any path, which Accept returns like the others; all other requests go to next.
//
// A request is served until its connection has ended, and counts among
// MaxConns. Run closes it like the others and waits for it. CheckOrigin,
// Fallback and ?draft= in the URL apply as to WebTransport; of several
// subprotocols, the client's order of protocols decides, then the newest draft
// of QMux.
func (l *Listener) WebSocket(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if offers := offeredSubprotocols(r); len(offers) > 0 {
			l.upgradeWebSocket(w, r, offers)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// offeredSubprotocols are those that are for us.
func offeredSubprotocols(r *http.Request) []string {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return nil
	}
	var offers []string
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		for s := range strings.SplitSeq(header, ",") {
			s = strings.TrimSpace(s)
			if s == legacyFraming || strings.HasPrefix(s, "qmux-") {
				offers = append(offers, s)
			}
		}
	}
	return offers
}

// chooseSubprotocol finds what to speak.
func (l *Listener) chooseSubprotocol(r *http.Request, offers []string) (v qmux.Version, protocol, subprotocol string, err error) {
	versions := make(map[string]qmux.Version) // newest offered for each protocol
	var order []string
	named := false
	for _, s := range offers {
		v, p, ok := qmux.ParseSubprotocol(s)
		if !ok {
			continue
		}
		if old, seen := versions[p]; !seen {
			order = append(order, p)
		} else {
			v = max(v, old)
		}
		versions[p] = v
		named = named || p != ""
	}
	for _, p := range order {
		if slices.Contains(l.cfg.Protocols, p) {
			return versions[p], p, versions[p].Subprotocol(p), nil
		}
	}
	if v, ok := versions[""]; ok {
		p, err := l.unnamedProtocol(r, "offer "+v.Subprotocol(l.cfg.Protocols[0]))
		if err == nil {
			return v, p, v.String(), nil
		}
		if !named {
			return 0, "", "", err
		}
	}
	if !named {
		return 0, "", "", fmt.Errorf("the framing %q is not spoken here; offer %s", offers[0], qmux.Versions[0].Subprotocol(l.cfg.Protocols[0]))
	}
	return 0, "", "", fmt.Errorf("none of the offered protocols is spoken here; these are: %s", strings.Join(l.cfg.Protocols, ", "))
}

func (l *Listener) upgradeWebSocket(w http.ResponseWriter, r *http.Request, offers []string) {
	if l.cfg.CheckOrigin != nil && !l.cfg.CheckOrigin(r) {
		http.Error(w, "origin not allowed", http.StatusForbidden)
		return
	}
	version, protocol, subprotocol, err := l.chooseSubprotocol(r, offers)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	l.mu.Lock()
	stopping := l.stopping || l.ctx.Err() != nil
	if !stopping {
		l.serving.Add(1)
	}
	l.mu.Unlock()
	if stopping {
		http.Error(w, reasonClosing, http.StatusServiceUnavailable)
		return
	}
	defer l.serving.Done()
	place, err := l.gate.enter()
	if err != nil {
		http.Error(w, "too many connections", http.StatusServiceUnavailable)
		return
	}
	defer place.leave()
	h := &hijacked{ResponseWriter: w}
	ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{
		Subprotocols:       []string{subprotocol},
		InsecureSkipVerify: true, // CheckOrigin has
	})
	if err != nil {
		l.log.Debug("WebSocket refused", "remote", r.RemoteAddr, "error", err)
		return
	}
	u := *r.URL
	u.Scheme, u.Host = "ws", r.Host
	if r.TLS != nil {
		u.Scheme = "wss"
	}
	cfg := l.cfg
	c := newWebSocketConn(ws, h.conn, muxConfig{
		version: version, server: true, protocol: protocol, url: &u,
		idle: cfg.IdleTimeout, keepAlive: cfg.KeepAlive,
		maxStreams:    uint64(max(0, orDefault(cfg.MaxStreams, DefaultMaxStreams))),
		maxUniStreams: uint64(max(0, orDefault(cfg.MaxUniStreams, DefaultMaxUniStreams))),
	})
	l.serveWebSocket(c, place)
}

// serveWebSocket brings a connection to where Accept can return it, and returns
// after its end.
func (l *Listener) serveWebSocket(c *mux, place *admission) {
	var running sync.WaitGroup
	running.Go(c.run)
	defer running.Wait()
	l.mu.Lock()
	l.sockets[c] = struct{}{}
	stopping := l.stopping
	l.mu.Unlock()
	if stopping { // too late for closeConns to have seen it
		c.CloseWithError(codeNoError, reasonClosing)
	}
	defer func() {
		<-c.done
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.sockets, c)
	}()
	ctx, cancel := context.WithTimeoutCause(l.ctx, orDefault(l.cfg.HandshakeTimeout, DefaultHandshakeTimeout), ErrHandshakeTimeout)
	defer cancel()
	if err := c.handshake(ctx); err != nil {
		l.log.Debug("WebSocket without QMux", "remote", c.RemoteAddr(), "error", err)
		return
	}
	place.handshakeDone()
	l.queue(c)
}

// newWebSocketConn makes the connection of a WebSocket; run serves it.
func newWebSocketConn(ws *websocket.Conn, raw net.Conn, cfg muxConfig) *mux {
	cfg.idle = orDefault(cfg.idle, DefaultIdleTimeout)
	cfg.keepAlive = max(0, orDefault(cfg.keepAlive, cfg.idle/3))
	cfg.local, cfg.remote = raw.LocalAddr(), raw.RemoteAddr()
	ws.SetReadLimit(-1) // receive has its own, with the code that QMux wants
	limitUnsent(raw, unsentBytes)
	return newMux(&webSocket{ws: ws, raw: raw}, cfg)
}

// limitUnsent tells the kernel how much of a TCP connection it may hold unsent.
// It is a matter of latency alone, so that failing is no error.
func limitUnsent(conn net.Conn, n int) {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = t.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		if rc, err := tcp.SyscallConn(); err == nil {
			_ = rc.Control(func(fd uintptr) { setUnsentLimit(fd, n) })
		}
	}
}

// dialWebSocket connects by WebSocket.
func (d *dialer) dialWebSocket(ctx context.Context) (Conn, error) {
	var mu sync.Mutex
	var raw net.Conn // of the request, which is the only one
	tlsConf := d.tls.Clone()
	tlsConf.NextProtos = []string{"http/1.1"}
	tr := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: tlsConf, DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var nd net.Dialer
			conn, err := nd.DialContext(ctx, network, addr)
			if err == nil {
				mu.Lock()
				raw = conn
				mu.Unlock()
			}
			return conn, err
		},
	}
	defer tr.CloseIdleConnections()
	var offers []string
	for _, p := range d.cfg.Protocols {
		for _, v := range qmux.Versions {
			offers = append(offers, v.Subprotocol(p))
		}
	}
	ws, rsp, err := websocket.Dial(ctx, d.url.String(), &websocket.DialOptions{
		HTTPClient: &http.Client{
			Transport:     tr,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		HTTPHeader: d.cfg.Header, Subprotocols: offers,
	})
	if err != nil {
		if rsp != nil && rsp.StatusCode != http.StatusSwitchingProtocols {
			return nil, &RefusedError{Status: rsp.StatusCode, Reason: firstLine(rsp.Body)}
		}
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		// What is around it quotes the URL, which may hold a token.
		if inner, ok := errors.AsType[*url.Error](err); ok {
			err = inner.Err
		}
		return nil, fmt.Errorf("transport: %w", err)
	}
	version, protocol, ok := qmux.ParseSubprotocol(ws.Subprotocol())
	if !ok || !slices.Contains(d.cfg.Protocols, protocol) {
		_ = ws.CloseNow()
		return nil, ErrNoProtocol
	}
	mu.Lock()
	conn := raw
	mu.Unlock()
	c := newWebSocketConn(ws, conn, muxConfig{
		version: version, protocol: protocol, url: d.url,
		idle: d.cfg.IdleTimeout, keepAlive: d.cfg.KeepAlive,
		maxStreams:    uint64(max(0, orDefault(d.cfg.MaxStreams, DefaultMaxStreams))),
		maxUniStreams: uint64(max(0, orDefault(d.cfg.MaxUniStreams, DefaultMaxUniStreams))),
	})
	go c.run() // until the connection ends
	if err := c.handshake(ctx); err != nil {
		<-c.done
		return nil, err
	}
	return c, nil
}
