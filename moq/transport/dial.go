package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"
)

// attemptDelay is how long one address of a name has before the next is tried
// beside it (RFC 8305, section 5, "Connection Attempt Delay").
const attemptDelay = 250 * time.Millisecond

// Dial connects to a URL. With https it asks for WebTransport at the URL's path
// and query. With moqt it offers native QUIC and HTTP/3, and asks for
// WebTransport only if the server chooses that
// (draft-ietf-moq-transport-18, section "The moqt URI Scheme"). A fragment is not
// sent. With wss, and with ws for what needs no TLS, it asks for a WebSocket, which
// gets through where UDP does not. Names with several addresses are tried side
// by side.
//
// Errors never hold the query. A refusal by HTTP status is a *RefusedError, one
// by a close code a *CloseError.
func Dial(ctx context.Context, rawURL string, cfg DialConfig) (Conn, error) {
	d, err := newDialer(rawURL, cfg)
	if err != nil {
		if cfg.PacketConn != nil {
			cfg.PacketConn.Close()
		}
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx,
		orDefault(cfg.HandshakeTimeout, 2*DefaultHandshakeTimeout), ErrHandshakeTimeout)
	defer cancel()
	c, err := d.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", d.url.Host, err)
	}
	return c, nil
}

// Dialable says whether Dial knows a URL scheme.
func Dialable(scheme string) bool {
	switch scheme {
	case "https", "moqt", "wss", "ws":
		return true
	}
	return false
}

// dialer is one Dial.
type dialer struct {
	cfg  DialConfig
	url  *url.URL // without fragment
	host string
	port uint16
	tls  *tls.Config
	quic *quic.Config
}

func newDialer(rawURL string, cfg DialConfig) (*dialer, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error of url.Parse quotes the URL, which may hold a token.
		return nil, errors.New("transport: malformed URL")
	}
	if !Dialable(u.Scheme) {
		return nil, fmt.Errorf("transport: cannot dial scheme %q, only https, moqt, wss and ws", u.Scheme)
	}
	if cfg.PacketConn != nil && strings.HasPrefix(u.Scheme, "ws") {
		return nil, errors.New("transport: WebSocket does not use a packet connection")
	}
	if u.Hostname() == "" || u.User != nil {
		return nil, errors.New("transport: the URL must have a host and no user")
	}
	if err := checkProtocols(cfg.Protocols); err != nil {
		return nil, err
	}
	u.Fragment, u.RawFragment = "", ""
	d := &dialer{cfg: cfg, url: u, host: u.Hostname(), port: 443}
	if p := u.Port(); p != "" {
		port, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("transport: port %q is out of range", p)
		}
		d.port = uint16(port)
	}
	if cfg.TLS != nil {
		d.tls = cfg.TLS.Clone()
	} else if d.tls, err = cfg.Trust.TLSConfig(); err != nil {
		return nil, err
	}
	if d.tls.ServerName == "" {
		d.tls.ServerName = d.host
	}
	d.tls.NextProtos = []string{http3.NextProtoH3}
	if u.Scheme == "moqt" {
		d.tls.NextProtos = append(slices.Clone(cfg.Protocols), http3.NextProtoH3)
	}
	// The context bounds the handshake; this only has to be longer.
	handshake := 2 * orDefault(cfg.HandshakeTimeout, 2*DefaultHandshakeTimeout)
	d.quic = quicConfig(cfg.IdleTimeout, cfg.KeepAlive, handshake, cfg.MaxStreams, cfg.MaxUniStreams, clientWindow)
	return d, nil
}

func (d *dialer) dial(ctx context.Context) (Conn, error) {
	if strings.HasPrefix(d.url.Scheme, "ws") {
		return d.dialWebSocket(ctx)
	}
	qc, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	switch protocol := qc.ConnectionState().TLS.NegotiatedProtocol; {
	case protocol == http3.NextProtoH3:
		return d.webTransport(ctx, qc)
	case slices.Contains(d.cfg.Protocols, protocol):
		return newQUICConn(qc, d.url), nil
	}
	// Without ALPN of the server, TLS does not fail, but there is nothing that
	// both ends know they speak.
	qc.CloseWithError(noApplicationProtocol, "no protocol negotiated")
	return nil, ErrNoProtocol
}

// connect finds an address that answers and completes the handshake there.
func (d *dialer) connect(ctx context.Context) (*quic.Conn, error) {
	addrs, err := d.resolve(ctx)
	if err != nil {
		if d.cfg.PacketConn != nil {
			d.cfg.PacketConn.Close()
		}
		return nil, err
	}
	if d.cfg.PacketConn != nil {
		return d.handshake(ctx, d.cfg.PacketConn, addrs[0])
	}
	return race(ctx, addrs, func(ctx context.Context, addr netip.AddrPort) (*quic.Conn, error) {
		network := "udp6"
		if addr.Addr().Is4() {
			network = "udp4"
		}
		pc, err := net.ListenPacket(network, ":0")
		if err != nil {
			return nil, fmt.Errorf("transport: %w", err)
		}
		return d.handshake(ctx, pc, addr)
	})
}

// resolve returns the addresses of the host, at least one, with IPv6 and IPv4
// alternating (RFC 8305, section 4).
func (d *dialer) resolve(ctx context.Context) ([]netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(d.host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(ip.Unmap(), d.port)}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", d.host)
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	var same, other []netip.AddrPort // the family of the first, and the other
	for _, ip := range ips {
		addr := netip.AddrPortFrom(ip.Unmap(), d.port)
		if addr.Addr().Is4() == ips[0].Unmap().Is4() {
			same = append(same, addr)
		} else {
			other = append(other, addr)
		}
	}
	addrs := make([]netip.AddrPort, 0, len(ips))
	for i := range max(len(same), len(other)) {
		if i < len(same) {
			addrs = append(addrs, same[i])
		}
		if i < len(other) {
			addrs = append(addrs, other[i])
		}
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("transport: %s has no address", d.host)
	}
	return addrs, nil
}

// race tries addresses one after the other, attemptDelay apart or as soon as one
// fails, and returns the first connection that is made.
func race(ctx context.Context, addrs []netip.AddrPort, try func(context.Context, netip.AddrPort) (*quic.Conn, error)) (*quic.Conn, error) {
	type result struct {
		qc  *quic.Conn
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	results := make(chan result)
	var errs []error
	next, running := 0, 0
	start := func() {
		if next < len(addrs) && ctx.Err() == nil {
			addr := addrs[next]
			next++
			running++
			go func() {
				qc, err := try(ctx, addr)
				results <- result{qc, err}
			}()
		}
	}
	start()
	delay := time.NewTicker(attemptDelay)
	defer delay.Stop()
	var won *quic.Conn
	for running > 0 {
		select {
		case <-delay.C:
			if won == nil {
				start()
			}
		case r := <-results:
			running--
			switch {
			case r.err == nil && won == nil:
				won = r.qc
				cancel()
			case r.err == nil:
				r.qc.CloseWithError(codeNoError, "another address answered first")
			case won == nil:
				errs = append(errs, r.err)
				start()
			}
		}
	}
	cancel()
	if won == nil {
		return nil, errors.Join(errs...)
	}
	return won, nil
}

// handshake makes a connection over pc, which it closes with the connection.
func (d *dialer) handshake(ctx context.Context, pc net.PacketConn, addr netip.AddrPort) (*quic.Conn, error) {
	tr := &quic.Transport{Conn: pc, ConnectionIDLength: connectionIDLength}
	release := func() {
		tr.Close()
		pc.Close()
	}
	qc, err := tr.Dial(ctx, net.UDPAddrFromAddrPort(addr), d.tls, d.quic)
	if err != nil {
		release()
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, connError(err)
	}
	context.AfterFunc(qc.Context(), release)
	return qc, nil
}

// webTransport asks for a session on a connection with HTTP/3.
func (d *dialer) webTransport(ctx context.Context, qc *quic.Conn) (Conn, error) {
	tr := &webtransport.Transport{ApplicationProtocols: d.cfg.Protocols}
	cc, err := tr.NewClientConn(qc)
	if err != nil {
		qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeInternalError), "")
		return nil, fmt.Errorf("transport: %w", err)
	}
	// Waiting for the answer does not heed the context, but the connection.
	stop := context.AfterFunc(ctx, func() {
		qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeRequestCanceled), "")
	})
	u := *d.url
	u.Scheme = "https"
	rsp, sess, err := cc.Dial(ctx, u.String(), d.cfg.Header)
	if err != nil {
		if rsp != nil && (rsp.StatusCode < 200 || rsp.StatusCode > 299) {
			err = &RefusedError{Status: rsp.StatusCode, Reason: firstLine(rsp.Body)}
		} else if ctx.Err() != nil {
			err = context.Cause(ctx)
		} else if _, ok := errors.AsType[*webtransport.SessionError](err); ok {
			err = fmt.Errorf("%w: %w", ErrNoProtocol, err)
		} else {
			err = connError(err)
		}
		stop()
		qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
		return nil, err
	}
	protocol := sess.SessionState().ApplicationProtocol
	if protocol == "" {
		protocol = d.cfg.Fallback
	}
	c := newWTConn(sess, qc, protocol, &u)
	if !stop() {
		c.CloseWithError(codeNoError, "")
		return nil, context.Cause(ctx)
	}
	if protocol == "" {
		c.CloseWithError(codeNoError, "no protocol negotiated")
		return nil, ErrNoProtocol
	}
	return c, nil
}

// firstLine returns the start of a refusal's body.
func firstLine(body io.Reader) string {
	if body == nil {
		return ""
	}
	line, _ := bufio.NewReader(io.LimitReader(body, 256)).ReadString('\n')
	return strings.ToValidUTF8(strings.TrimSpace(line), "\uFFFD")
}
