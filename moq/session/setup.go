package session

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// PeerSetup is what a peer says of itself at the start of a session. Logging
// one hides what may be secret.
type PeerSetup struct {
	// Path is the path of the URL that a client has connected to, "/" when it
	// names none. Empty when the peer is a server.
	Path string
	// Query is the query of that URL. It may hold a token.
	Query url.Values
	// Authority is the host, with a port if there is one, that a client
	// believes to be connected to.
	Authority string
	// Token is the first AUTHORIZATION_TOKEN of SETUP, empty when there is
	// none.
	Token string
	// Implementation is the peer's MOQT_IMPLEMENTATION.
	Implementation string
}

// LogValue hides the token and the values of the query.
func (p PeerSetup) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("path", p.Path), slog.String("authority", p.Authority),
		slog.String("implementation", p.Implementation), slog.Bool("token", p.Token != ""),
	)
}

// controlStream is the control stream of this end. Whoever holds the turn may
// write; the turn is given for the first time after SETUP.
type controlStream struct {
	turn   turn
	stream transport.SendStream
}

// goaway is the state of GOAWAY in both directions, guarded by Session.mu.
type goaway struct {
	control  bool // the peer's control stream has come
	sent     bool
	received bool
	timer    *time.Timer // closes the session after GOAWAY
}

// sendSetup opens the control stream of this end.
func (s *Session) sendSetup() {
	m := &wire.Setup{
		Implementation:        s.cfg.Implementation,
		MaxAuthTokenCacheSize: uint64(s.cfg.Limits.TokenCache),
		MaxRequestUpdates:     uint64(s.cfg.Limits.RequestUpdates),
	}
	if s.cfg.Token != "" {
		m.Tokens = []wire.Token{{AliasType: wire.TokenUseValue, Value: []byte(s.cfg.Token)}}
	}
	if s.role == RoleClient && s.conn.Kind() == transport.QUIC {
		path, authority := s.cfg.Path, s.cfg.Authority
		if u := s.conn.URL(); u != nil {
			fromURL := u.EscapedPath()
			if u.RawQuery != "" {
				fromURL += "?" + u.RawQuery
			}
			path, authority = cmp.Or(path, fromURL), cmp.Or(authority, u.Host)
		}
		if !strings.HasPrefix(path, "/") {
			path = "/" + path // "" or "?query"
		}
		m.Path = &path
		if authority != "" {
			m.Authority = &authority
		}
	}
	b, err := s.draft.AppendMessage(nil, m)
	if err != nil {
		s.fail(&LocalError{Code: wire.InternalError, Reason: "cannot encode SETUP"})
		s.log.Error("cannot encode SETUP", "error", err)
		return
	}
	st, err := s.conn.OpenUniStream(s.ctx)
	if err != nil {
		return // the connection has ended
	}
	st.SetPriority(urgencyControl, false)
	if _, err := st.Write(b); err != nil {
		if s.ctx.Err() == nil && s.conn.Context().Err() == nil {
			s.fail(violation("control stream was stopped"))
		}
		return
	}
	s.control.stream = st
	s.control.turn.give()
}

// receiveControl reads the peer's control stream.
func (s *Session) receiveControl(r *messageReader) {
	s.mu.Lock()
	second := s.goaway.control
	s.goaway.control = true
	s.mu.Unlock()
	if second {
		s.fail(violation("second control stream"))
		return
	}
	if err := s.receiveSetup(r); err != nil {
		s.controlEnded(err)
		return
	}
	for {
		m, err := r.next()
		if err != nil {
			s.controlEnded(err)
			return
		}
		g, ok := m.(*wire.GoAway)
		if !ok {
			s.fail(violation("%v on the control stream", m.Type()))
			return
		}
		if err := s.receiveGoAway(g); err != nil {
			s.fail(err)
			return
		}
	}
}

// controlEnded closes the session after the end of the peer's control stream,
// or over what came on it. The end of the connection is for Run to tell.
func (s *Session) controlEnded(err error) {
	var end *transport.StreamError
	var local *LocalError
	var breach *wire.Error
	switch {
	case errors.Is(err, io.EOF), errors.As(err, &end):
		s.fail(violation("control stream was closed"))
	case errors.As(err, &local), errors.As(err, &breach):
		s.fail(err)
	}
}

func (s *Session) receiveSetup(r *messageReader) error {
	m, err := r.next()
	if err != nil {
		return err
	}
	m0, ok := m.(*wire.Setup)
	if !ok {
		return violation("control stream begins with %v", m.Type())
	}
	if err := s.draft.CheckSetup(m0, s.role == RoleClient, s.conn.Kind() != transport.QUIC); err != nil {
		return err
	}
	s.setupTimer.Stop()
	peer := PeerSetup{Implementation: m0.Implementation}
	if s.role == RoleServer {
		peer.Path = "/"
		if u := s.conn.URL(); u != nil {
			peer.Path, peer.Query, peer.Authority = cmp.Or(u.Path, "/"), u.Query(), u.Host
		} else {
			if m0.Path != nil {
				path, query, _ := strings.Cut(*m0.Path, "?")
				if path, err = url.PathUnescape(path); err != nil {
					return &LocalError{Code: wire.MalformedPath, Reason: "PATH is malformed"}
				}
				peer.Path = cmp.Or(path, "/")
				// What cannot be parsed is left out, as net/http does.
				peer.Query, _ = url.ParseQuery(query)
			}
			if m0.Authority != nil {
				peer.Authority = *m0.Authority
			}
		}
	}
	s.mu.Lock()
	peer.Token, err = s.tokens.resolve(m0.Tokens, true)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if h := s.cfg.Handler; h != nil {
		if err := h.Setup(s.ctx, peer); err != nil {
			var local *LocalError
			if errors.As(err, &local) {
				return local
			}
			return &LocalError{Code: wire.Unauthorized}
		}
	}
	s.peer, s.setup = peer, m0
	close(s.ready)
	s.log.Info("session started", "role", s.role, "draft", s.draft, "kind", s.conn.Kind(), "remote", s.conn.RemoteAddr(), "peer", peer)
	return nil
}

// checkGoAway checks a GOAWAY on any stream.
func (s *Session) checkGoAway(g *wire.GoAway) error {
	if s.role == RoleServer && g.URI != "" {
		return violation("GOAWAY of a client with a URI")
	}
	if g.RequestID != nil && *g.RequestID%2 != s.parity() {
		return &LocalError{Code: wire.InvalidRequestID, Reason: "request ID of GOAWAY is not one of the receiver"}
	}
	return nil
}

// parity is the lowest bit of the Request IDs of this end.
func (s *Session) parity() uint64 {
	if s.role == RoleServer {
		return 1
	}
	return 0
}

func (s *Session) receiveGoAway(g *wire.GoAway) error {
	if err := s.checkGoAway(g); err != nil {
		return err
	}
	s.mu.Lock()
	again := s.goaway.received
	s.goaway.received = true
	s.mu.Unlock()
	if again {
		return violation("second GOAWAY")
	}
	s.log.Info("peer is going away", "remote", s.conn.RemoteAddr(), "uri", g.URI, "timeout", g.Timeout.Duration())
	if f := s.cfg.GoAway; f != nil {
		s.spawn(func() { f(GoAway{URI: g.URI, Timeout: g.Timeout.Duration()}) })
	}
	return nil
}

// errGoAwaySent is returned by a second GoAway.
var errGoAwaySent = errors.New("session: GOAWAY was sent before")

// GoAway tells the peer that this end will close the session after timeout,
// and that it should go on at uri, or with the present URI when that is empty;
// a client must leave it empty. New requests of the peer are refused from now
// on. After timeout the session is closed with GOAWAY_TIMEOUT if requests are
// still open, else with NO_ERROR; a timeout of 0 leaves it to the peer to
// close.
func (s *Session) GoAway(ctx context.Context, uri string, timeout time.Duration) error {
	if s.role == RoleClient && uri != "" {
		return errors.New("session: a client cannot name a URI in GOAWAY")
	}
	if err := s.awaitReady(ctx); err != nil {
		return err
	}
	m := &wire.GoAway{URI: uri, Timeout: wire.MillisecondsOf(timeout)}
	s.mu.Lock()
	if s.goaway.sent {
		s.mu.Unlock()
		return errGoAwaySent
	}
	s.goaway.sent = true
	next := 2*s.peerIDs.next + 1 - s.parity()
	if s.draft == wire.Draft18 {
		m.RequestID = &next
	}
	s.mu.Unlock()

	b, err := s.draft.AppendMessage(nil, m)
	if err != nil {
		return err
	}
	if err := s.control.turn.take(ctx, s.ctx.Done()); err != nil {
		return s.failed(err)
	}
	defer s.control.turn.give()
	if _, err := s.control.stream.Write(b); err != nil {
		return s.failed(err)
	}
	s.log.Info("going away", "remote", s.conn.RemoteAddr(), "uri", uri, "timeout", timeout)
	if timeout > 0 {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.goaway.timer = time.AfterFunc(timeout, s.goAwayTimeout)
	}
	return nil
}

func (s *Session) goAwayTimeout() {
	s.mu.Lock()
	open := s.open + s.outgoing
	s.mu.Unlock()
	if open > 0 {
		s.Close(wire.GoAwayTimeout, "")
		return
	}
	s.Close(wire.NoError, "")
}

// goingAway returns ErrGoingAway after the peer's GOAWAY.
func (s *Session) goingAway() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.goaway.received {
		return ErrGoingAway
	}
	return nil
}
