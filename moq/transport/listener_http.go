package transport

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"
)

// maxHeaderBytes bounds the header of one request. Browsers send some 2 KiB and
// a token in the query adds as much at worst.
const maxHeaderBytes = 32 << 10

// quicConnKey is the context key of the connection of a request.
type quicConnKey struct{}

// webTransportServer makes the server for connections with HTTP/3.
func (l *Listener) webTransportServer() *webtransport.Server {
	var server *webtransport.Server
	server = &webtransport.Server{
		H3: &http3.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodConnect && (r.Proto == "webtransport" || r.Proto == "webtransport-h3") {
					l.upgrade(server, w, r)
					return
				}
				l.cfg.HTTP.ServeHTTP(w, r)
			}),
			EnableDatagrams: true,
			MaxHeaderBytes:  maxHeaderBytes,
			// Keep-alives keep the connection, this ends it when it is not used.
			IdleTimeout: orDefault(l.cfg.IdleTimeout, DefaultIdleTimeout),
			ConnContext: func(ctx context.Context, qc *quic.Conn) context.Context {
				return context.WithValue(ctx, quicConnKey{}, qc)
			},
			// No Logger: it would write URLs, in which tokens are.
		},
		// Safari 26 connects only to servers that state these. Chromium and
		// Firefox take no notice, and the limits of QUIC are the ones that
		// count there.
		Config: &webtransport.Config{
			MaxIncomingStreams:    orDefault(l.cfg.MaxStreams, DefaultMaxStreams),
			MaxIncomingUniStreams: orDefault(l.cfg.MaxUniStreams, DefaultMaxUniStreams),
			MaxIncomingData:       maxConnectionWindow,
		},
		ApplicationProtocols: l.cfg.Protocols,
		ReorderingTimeout:    orDefault(l.cfg.HandshakeTimeout, DefaultHandshakeTimeout),
		CheckOrigin:          func(*http.Request) bool { return true }, // upgrade has
	}
	return server
}

// upgrade makes a WebTransport session of a request, or refuses it.
func (l *Listener) upgrade(server *webtransport.Server, w http.ResponseWriter, r *http.Request) {
	if l.cfg.CheckOrigin != nil && !l.cfg.CheckOrigin(r) {
		http.Error(w, "origin not allowed", http.StatusForbidden)
		return
	}
	protocol, err := l.chooseProtocol(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	qc, _ := r.Context().Value(quicConnKey{}).(*quic.Conn)
	s := l.take(qc)
	if s == nil {
		http.Error(w, "one WebTransport session for each connection", http.StatusConflict)
		return
	}
	sess, err := server.Upgrade(w, r)
	if err != nil {
		l.log.Debug("WebTransport refused", "remote", r.RemoteAddr, "error", err)
		http.Error(w, "WebTransport: "+err.Error(), http.StatusBadRequest)
		return
	}
	u := *r.URL
	u.Scheme, u.Host = "https", r.Host
	l.deliver(s, newWTConn(sess, qc, protocol, &u))
}

// take claims a connection for a session. It returns nil when it has one.
func (l *Listener) take(qc *quic.Conn) *served {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.conns[qc]
	if s == nil || s.taken {
		return nil
	}
	s.taken = true
	return s
}

// chooseProtocol finds the protocol of a WebTransport session: the first that
// the client offers and we speak; without an offer, what the URL names, or the
// fallback.
func (l *Listener) chooseProtocol(r *http.Request) (string, error) {
	spoken := strings.Join(l.cfg.Protocols, ", ")
	if offers := offeredProtocols(r.Header); len(offers) > 0 {
		for _, p := range offers {
			if slices.Contains(l.cfg.Protocols, p) {
				return p, nil
			}
		}
		return "", fmt.Errorf("none of the offered protocols is spoken here; these are: %s", spoken)
	}
	return l.unnamedProtocol(r, "send WT-Available-Protocols")
}

// unnamedProtocol finds the protocol of a request that names none: what the URL
// says, or the fallback. The hint says in an error how to name one.
func (l *Listener) unnamedProtocol(r *http.Request, hint string) (string, error) {
	spoken := strings.Join(l.cfg.Protocols, ", ")
	if draft := r.URL.Query().Get("draft"); draft != "" {
		for _, p := range []string{draft, "moqt-" + draft} {
			if slices.Contains(l.cfg.Protocols, p) {
				return p, nil
			}
		}
		return "", fmt.Errorf("the draft that the URL names is not spoken here; these are: %s", spoken)
	}
	if l.cfg.Fallback != "" {
		return l.cfg.Fallback, nil
	}
	return "", fmt.Errorf("no protocol offered: %s, or name one with ?draft= in the URL: %s", hint, spoken)
}

// offeredProtocols reads WT-Available-Protocols, a list of strings. One that is
// malformed counts as absent (draft-ietf-webtrans-http3-16, section 3.3).
func offeredProtocols(h http.Header) []string {
	list, err := httpsfv.UnmarshalList(h.Values("WT-Available-Protocols"))
	if err != nil {
		return nil
	}
	var offers []string
	for _, member := range list {
		item, ok := member.(httpsfv.Item)
		if !ok {
			return nil
		}
		p, ok := item.Value.(string)
		if !ok {
			return nil
		}
		offers = append(offers, p)
	}
	return offers
}
