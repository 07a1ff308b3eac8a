package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// Role is the side of the connection that an endpoint is on. It decides the
// parity of Request IDs and what SETUP may hold, nothing else: both roles
// publish and subscribe.
type Role uint8

const (
	RoleClient Role = iota + 1
	RoleServer
)

// String returns the name that logs use.
func (r Role) String() string {
	if r == RoleServer {
		return "server"
	}
	return "client"
}

// Config describes one end of a session. Everything is optional.
type Config struct {
	// Handler answers the peer's requests. Without one all are refused.
	Handler Handler
	// Token authorises the session: it goes into SETUP as an
	// AUTHORIZATION_TOKEN with the alias type USE_VALUE and token type 0.
	Token string
	// Path and Authority are what a client over native QUIC sends in SETUP. By
	// default they come from the URL of the connection. Path may have a query.
	Path, Authority string
	// Implementation names this software and its version to the peer. The
	// default is "freshet".
	Implementation string
	// GoAway is called, on a goroutine of the session, when the peer announces
	// that it will close the session. The owner then makes a new session and
	// closes this one.
	GoAway func(GoAway)
	// Limits bound what the peer can make this session hold.
	Limits Limits
	// Logger gets the start, the end and the state changes of the session. The
	// default discards them.
	Logger *slog.Logger
}

// GoAway is what a peer says when it is about to close a session.
type GoAway struct {
	// URI is where to go on; empty means the present one.
	URI string
	// Timeout is how long the peer will wait; 0 when it does not say.
	Timeout time.Duration
}

// Handler answers the requests of a peer. Every method runs on the request's
// own goroutine. Its ctx is cancelled when the request ends, in whatever way:
// cancelled by either end, done, or with its session. What a method reserves
// for a request is released then, with context.AfterFunc.
//
// A method that returns a *RequestError chooses what the peer is told; any
// other error is an INTERNAL_ERROR for the peer.
type Handler interface {
	// Setup authorises the session before any request of the peer is looked
	// at. It is called at both ends, once; its ctx lives as long as the
	// session. A *LocalError closes the session with its code, any other error
	// with UNAUTHORIZED.
	Setup(ctx context.Context, peer PeerSetup) error
	// Track returns the Track that the peer wants to read. It may wait for the
	// Track to appear: no longer than RendezvousTimeout where that is set, and
	// not at all otherwise, except for its own upstream.
	Track(ctx context.Context, r *TrackRequest) (*moq.Track, error)
	// Publish returns the writer of the Track that the peer wants to write. The
	// session fills it, and ends it when the peer is done.
	Publish(ctx context.Context, r *PublishRequest) (*moq.TrackWriter, error)
	// PublishNamespace takes note that the peer has Tracks under ns. The
	// Namespace is withdrawn when ctx is done.
	PublishNamespace(ctx context.Context, ns moq.Namespace) error
	// SubscribeNamespace begins to tell sink of the Namespaces under prefix,
	// those that exist and those to come, until ctx is done. It returns at
	// once; sink keeps what it is told before the peer has been answered.
	SubscribeNamespace(ctx context.Context, prefix moq.Namespace, sink NamespaceSink) error
}

// RequestKind says what a peer wants of a Track.
type RequestKind uint8

const (
	Subscribe RequestKind = iota + 1
	Fetch
	TrackStatus
)

// String returns the name that logs and metrics use.
func (k RequestKind) String() string {
	switch k {
	case Subscribe:
		return "subscribe"
	case Fetch:
		return "fetch"
	case TrackStatus:
		return "track_status"
	}
	return "unknown"
}

// TrackRequest is a peer's wish to read a Track.
type TrackRequest struct {
	Kind RequestKind
	Name moq.FullTrackName
	// Token is the request's own authorization token, if it has one.
	Token string
	// Forward tells that the peer wants Objects now. Without it the Track need
	// not be pulled yet.
	Forward bool
	// RendezvousTimeout is how long the peer is willing to wait for a publisher
	// to appear.
	RendezvousTimeout time.Duration
}

// PublishRequest is a peer's wish to write a Track.
type PublishRequest struct {
	Name       moq.FullTrackName
	Properties moq.Properties
	Token      string
	// Largest is the largest Location that exists at the publisher, nil when
	// there is none.
	Largest *moq.Location
	// Join is for the Handler to set: it also fetches the Group that is current
	// at the publisher, as SubscribeOptions.Join does.
	Join bool
}

// NamespaceSink takes what a peer that has sent SUBSCRIBE_NAMESPACE is to be
// told. Its methods never block and may be called from any goroutine, also
// after the request has ended. Announcing a Namespace twice, or withdrawing
// one that was not announced, does nothing. Namespaces are full ones, not
// suffixes.
type NamespaceSink interface {
	Announce(ns moq.Namespace)
	Withdraw(ns moq.Namespace)
}

// Session is one endpoint of a MoQ connection. Its methods may be called from
// any goroutine.
type Session struct {
	conn  transport.Conn
	role  Role
	cfg   Config
	log   *slog.Logger
	draft wire.Draft
	// dialect is that of the draft.
	dialect wire.Dialect

	// ctx ends with the session; its cause is the error of Run.
	ctx     context.Context
	cancel  context.CancelCauseFunc
	failing sync.Once

	// ready is closed once SETUP has come and was accepted; peer and setup do
	// not change afterwards.
	ready chan struct{}
	peer  PeerSetup
	setup *wire.Setup

	setupTimer *time.Timer // ends a session whose peer sends no SETUP

	control controlStream
	sched   scheduler

	mu      sync.Mutex
	stopped bool // no goroutine may be started any more
	wg      sync.WaitGroup
	goaway  goaway

	nextID  uint64 // the next Request ID of this end
	alias   uint64 // the next Track Alias of this end
	peerIDs idWindow
	tokens  tokenCache

	open      int // requests of the peer
	outgoing  int // requests of this end
	served    served
	inbound   inboundTable
	prefixes  []moq.Namespace // of the peer's SUBSCRIBE_NAMESPACEs
	pending   int             // data streams that wait for an alias or a fetch
	tableMove chan struct{}   // closed when served or inbound have changed
}

// New makes a session on a connection, whose protocol decides the draft. It
// does nothing before Run.
func New(conn transport.Conn, role Role, cfg Config) *Session {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Implementation == "" {
		cfg.Implementation = "freshet"
	}
	cfg.Limits = cfg.Limits.withDefaults()
	s := &Session{
		conn: conn, role: role, cfg: cfg, log: cfg.Logger,
		ready:     make(chan struct{}),
		tableMove: make(chan struct{}),
		tokens:    tokenCache{limit: uint64(cfg.Limits.TokenCache)},
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	draft, err := wire.ParseDraft(conn.Protocol())
	if err != nil {
		s.fail(&LocalError{Code: wire.VersionNegotiationFailed, Reason: "unknown protocol"})
	}
	s.draft, s.dialect = draft, draft.Dialect()
	s.control.turn = make(turn, 1)
	s.inbound.init()
	s.served.init()
	if role == RoleServer {
		s.nextID = 1
	}
	return s
}

// Run speaks for this end until the session ends, and closes the connection.
// It owns every goroutine of the session: one that reads the peer's control
// stream, two that accept streams, one that receives datagrams, one or two per
// request, one per data stream. It returns after the last has ended.
//
// The error is nil when either end closed with NO_ERROR or ctx ended; else a
// *LocalError, a *PeerError, or the loss of the connection.
func (s *Session) Run(ctx context.Context) error {
	stopCtx := context.AfterFunc(ctx, func() { s.Close(wire.NoError, "") })
	defer stopCtx()
	stopConn := context.AfterFunc(s.conn.Context(), func() { s.fail(ended(context.Cause(s.conn.Context()))) })
	defer stopConn()

	s.setupTimer = time.AfterFunc(s.cfg.Limits.SetupTimeout, func() {
		s.fail(&LocalError{Code: wire.ControlMessageTimeout, Reason: "no SETUP"})
	})
	defer s.setupTimer.Stop()
	if s.ctx.Err() == nil {
		s.spawn(s.sendSetup)
		s.spawn(s.acceptUniStreams)
		s.spawn(s.acceptStreams)
		s.spawn(s.receiveDatagrams)
	}
	<-s.ctx.Done()
	err := context.Cause(s.ctx)
	s.mu.Lock()
	s.stopped = true
	if s.goaway.timer != nil {
		s.goaway.timer.Stop()
	}
	s.mu.Unlock()
	s.wg.Wait()
	s.log.Info("session ended", "role", s.role, "remote", s.conn.RemoteAddr(), "error", err)
	return quiet(err)
}

// quiet drops an error that only says that all is well.
func quiet(err error) error {
	var local *LocalError
	var peer *PeerError
	if errors.As(err, &local) && local.Code == wire.NoError || errors.As(err, &peer) && peer.Code == wire.NoError {
		return nil
	}
	return err
}

// Ready is closed once the peer's SETUP has come and was accepted. A session
// that ends before never becomes ready.
func (s *Session) Ready() <-chan struct{} { return s.ready }

// Done is closed when the session has ended; Err then tells why. Run may still
// be waiting for goroutines.
func (s *Session) Done() <-chan struct{} { return s.ctx.Done() }

// Err returns nil while the session goes on, and afterwards why it ended: a
// *LocalError, a *PeerError, or the loss of the connection.
func (s *Session) Err() error { return context.Cause(s.ctx) }

// Peer returns what the peer said in SETUP. It waits for nothing: before Ready
// it is empty.
func (s *Session) Peer() PeerSetup {
	select {
	case <-s.ready:
		return s.peer
	default:
		return PeerSetup{}
	}
}

// Conn returns the connection, for its addresses and counters.
func (s *Session) Conn() transport.Conn { return s.conn }

// Close ends the session with a code and a reason that the peer sees. It does
// not wait for Run to return.
func (s *Session) Close(code wire.SessionCode, reason string) {
	s.fail(&LocalError{Code: code, Reason: reason})
}

// fail ends the session. Only the first call counts. The connection is closed
// first: requests that end with the session must not be taken for cancelled by
// the peer.
func (s *Session) fail(err error) {
	s.failing.Do(func() {
		var breach *wire.Error
		if errors.As(err, &breach) {
			err = &LocalError{Code: breach.Code, Reason: breach.Reason}
		}
		code, reason := wire.NoError, ""
		var local *LocalError
		if errors.As(err, &local) {
			code, reason = local.Code, local.Reason
		}
		s.conn.CloseWithError(uint64(code), reason)
		s.cancel(err)
	})
}

// failed turns an error of a stream, or of a wait for one, into the error for
// the caller of a method: why the session has ended, if it has, and
// ErrCancelled when the peer gave the stream up.
func (s *Session) failed(err error) error {
	var closed *transport.CloseError
	var end *transport.StreamError
	switch {
	case s.ctx.Err() != nil:
	case errors.As(err, &closed):
		// The connection has just ended, and this stream is the first to know.
		s.fail(ended(err))
	case s.conn.Context().Err() != nil:
		s.fail(ended(context.Cause(s.conn.Context())))
	case errors.As(err, &end):
		return ErrCancelled
	default:
		return err
	}
	return context.Cause(s.ctx)
}

// spawn starts a goroutine that Run waits for, unless Run is past that.
func (s *Session) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.wg.Go(f)
	return true
}

// awaitReady waits until requests may be sent.
func (s *Session) awaitReady(ctx context.Context) error {
	select {
	case <-s.ready:
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return nil
}

// changedLocked wakes those who wait for a change of the tables.
func (s *Session) changedLocked() {
	close(s.tableMove)
	s.tableMove = make(chan struct{})
}

// acceptStreams serves the peer's requests.
func (s *Session) acceptStreams() {
	for {
		st, err := s.conn.AcceptStream(s.ctx)
		if err != nil {
			return
		}
		s.spawn(func() { s.serve(st) })
	}
}

// acceptUniStreams reads the peer's control stream and data streams.
func (s *Session) acceptUniStreams() {
	for {
		st, err := s.conn.AcceptUniStream(s.ctx)
		if err != nil {
			return
		}
		s.spawn(func() { s.receiveUni(st) })
	}
}

// receiveDatagrams checks datagrams and drops them, see the package
// documentation.
func (s *Session) receiveDatagrams() {
	for {
		b, err := s.conn.ReceiveDatagram(s.ctx)
		if err != nil {
			return
		}
		if _, _, err := s.draft.ParseDatagram(b); err != nil {
			s.fail(err)
			return
		}
	}
}

// turn is the right to write to a stream: it holds one token, and whoever has
// taken it may write. Unlike with a mutex, the wait ends with the context.
type turn chan struct{}

func newTurn() turn {
	t := make(turn, 1)
	t <- struct{}{}
	return t
}

// take waits for the token. It gives up when ctx ends, or done, after which
// nobody gives the token back.
func (t turn) take(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-t:
		return nil
	case <-done:
		return ErrCancelled
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) give() { t <- struct{}{} }
