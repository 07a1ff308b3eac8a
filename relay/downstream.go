package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/session"
	"github.com/freshet-live/freshet/moq/token"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// setupTimeout bounds the time from the connection to the end of SETUP.
const setupTimeout = 5 * time.Second

// Serve runs a session over a connection that a peer has opened, until it
// ends. It returns the reason, nil for an orderly end.
func (n *Node) Serve(ctx context.Context, conn transport.Conn) error {
	n.mu.Lock()
	if n.ctx == nil || n.stopped {
		n.mu.Unlock()
		return conn.CloseWithError(uint64(wire.NoError), "this node is not running")
	}
	n.wg.Add(1)
	n.mu.Unlock()
	defer n.wg.Done()
	if n.sessions.Add(1) > int64(n.cfg.MaxSessions) {
		n.sessions.Add(-1)
		n.refused.Add(1)
		return conn.CloseWithError(uint64(wire.InternalError), "too many sessions")
	}
	defer n.sessions.Add(-1)
	n.sessionsTotal.Add(1)

	d := &downstream{node: n}
	s := session.New(conn, session.RoleServer, session.Config{
		Handler: d, Limits: n.cfg.Limits, Implementation: n.cfg.Implementation, Logger: n.log,
	})
	d.remote = &remote{session: s, id: fmt.Sprintf("%s %s", conn.Kind(), conn.RemoteAddr())}
	log := n.log.With("transport", conn.Kind().String(), "protocol", conn.Protocol(), "peer", conn.RemoteAddr().String())

	begun := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var watch sync.WaitGroup
	watch.Go(func() { d.guard(ctx, s) })
	err := s.Run(ctx)
	cancel()
	watch.Wait()
	log.Debug("session ended", "duration", time.Since(begun).Round(time.Millisecond), "error", err)
	return err
}

// downstream answers the requests of one session.
type downstream struct {
	node   *Node
	remote *remote

	mu       sync.Mutex
	ctx      context.Context // of the session, from Setup on
	grant    token.Grant
	valid    bool
	takeover bool              // the session asks to replace its predecessor
	entered  map[string]*entry // by key of the Namespace that it publishes under
}

// guard closes the session when SETUP takes too long and when its grant
// expires.
func (d *downstream) guard(ctx context.Context, s *session.Session) {
	timer := time.NewTimer(setupTimeout)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
		s.Close(wire.ControlMessageTimeout, "no SETUP in time")
		return
	case <-s.Ready():
	}
	d.mu.Lock()
	expires := d.grant.Expires
	d.mu.Unlock()
	if expires.IsZero() {
		return
	}
	timer.Reset(time.Until(expires))
	select {
	case <-ctx.Done():
	case <-timer.C:
		s.Close(wire.ExpiredAuthToken, "the token has expired")
	}
}

// Setup authorises the session, by the token of SETUP or that of the URL. In
// moqt the path names nothing: other than "/" it is refused.
func (d *downstream) Setup(ctx context.Context, peer session.PeerSetup) error {
	if peer.Path != "/" {
		d.node.refused.Add(1)
		return &session.LocalError{Code: wire.InvalidPath, Reason: "the path of a moqt session is /"}
	}
	tok := cmp.Or(peer.Token, peer.Query.Get("jwt"))
	grant, err := d.node.cfg.Authorizer.Authorize(ctx, tok)
	if err != nil {
		d.node.refused.Add(1)
		d.node.log.Debug("session refused", "peer", d.remote.id, "error", err)
		if errors.Is(err, token.ErrKeys) {
			// The token may be good: the peer should come again.
			return &session.LocalError{Code: wire.InternalError, Reason: "this node cannot verify tokens now"}
		}
		return &session.LocalError{Code: wire.Unauthorized, Reason: "the token does not allow this session"}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx, d.grant, d.valid = ctx, grant, true
	d.takeover = peer.Query.Get("takeover") == "1"
	d.entered = make(map[string]*entry)
	return nil
}

func (d *downstream) mayGet(ns moq.Namespace) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.valid && d.grant.AllowGet(ns)
}

func (d *downstream) mayPut(ns moq.Namespace) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.valid && d.grant.AllowPut(ns)
}

func unauthorized(verb string, ns moq.Namespace) error {
	return &session.RequestError{Code: wire.RequestUnauthorized, Reason: fmt.Sprintf("the token does not allow to %s %s", verb, ns)}
}

// Track serves SUBSCRIBE, FETCH and TRACK_STATUS.
func (d *downstream) Track(ctx context.Context, req *session.TrackRequest) (*moq.Track, error) {
	if !d.mayGet(req.Name.Namespace) {
		return nil, unauthorized("get", req.Name.Namespace)
	}
	t, err := d.node.trackFor(ctx, req, d.remote)
	if err == nil && req.Kind == session.Subscribe {
		context.AfterFunc(ctx, d.node.countViewer(req.Name.Namespace, d.remote))
	}
	return t, err
}

// trackFor serves a Track until ctx ends.
func (n *Node) trackFor(ctx context.Context, req *session.TrackRequest, from *remote) (*moq.Track, error) {
	t, release, err := n.acquire(ctx, req.Name, from, min(req.RendezvousTimeout, maxRendezvous))
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, release)
	return t, nil
}

// maxRendezvous bounds how long a SUBSCRIBE may wait for its publisher.
const maxRendezvous = 30 * time.Second

// PublishNamespace makes the session a provider until ctx ends.
func (d *downstream) PublishNamespace(ctx context.Context, ns moq.Namespace) error {
	if !d.mayPut(ns) {
		return unauthorized("put", ns)
	}
	if err := d.enter(ctx, ns); err != nil {
		return err
	}
	context.AfterFunc(ctx, d.node.namespaces.announce(ns, d.remote))
	return nil
}

// entry is a session's place under a Namespace, from the first request that
// publishes there to the end of the last.
type entry struct {
	asked  chan struct{} // closed when the Gate has answered
	err    error         // its answer
	cancel context.CancelFunc
	refs   int // guarded by downstream.mu
}

// enter asks the Gate for the session's place under a Namespace, or joins the
// requests that have it; ctx is the request's.
func (d *downstream) enter(ctx context.Context, ns moq.Namespace) error {
	gate := d.node.cfg.Gate
	if gate == nil {
		return nil
	}
	key := ns.Key()
	d.mu.Lock()
	e := d.entered[key]
	first := e == nil
	var life context.Context
	if first {
		e = &entry{asked: make(chan struct{})}
		life, e.cancel = context.WithCancel(d.ctx)
		d.entered[key] = e
	}
	e.refs++
	d.mu.Unlock()
	context.AfterFunc(ctx, func() { d.leave(key, e) })
	if first {
		e.err = gate.Enter(life, ns, &publisher{d, ns})
		close(e.asked)
		return e.err
	}
	select {
	case <-e.asked:
		return e.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (d *downstream) leave(key string, e *entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.refs--; e.refs > 0 {
		return
	}
	e.cancel()
	if d.entered[key] == e {
		delete(d.entered, key)
	}
}

// publisher is how a Gate sees a session that publishes under a Namespace.
type publisher struct {
	d  *downstream
	ns moq.Namespace
}

func (p *publisher) ReceivedBytes() uint64 { return p.d.remote.session.Conn().Stats().BytesReceived }

func (p *publisher) Pulled() []string { return p.d.node.tracksOf(p.d.remote, p.ns) }

func (p *publisher) Ask(ctx context.Context, track string) error {
	_, err := p.d.remote.session.TrackStatus(ctx, moq.FullTrackName{Namespace: p.ns, Track: track}, "")
	var refused *session.RequestError
	if errors.As(err, &refused) {
		return nil // a refusal is an answer
	}
	return err
}

func (p *publisher) Takeover() bool {
	p.d.mu.Lock()
	defer p.d.mu.Unlock()
	return p.d.takeover
}

func (p *publisher) Close(reason string) { p.d.remote.session.Close(wire.NoError, reason) }

// tracksOf returns the names of the Tracks under ns that r serves to the node.
func (n *Node) tracksOf(r *remote, ns moq.Namespace) (names []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.pulls {
		if p.name.Namespace.Equal(ns) && p.servedBy(r) {
			names = append(names, p.name.Track)
		}
	}
	for _, p := range n.published {
		if name := p.track.Name(); p.from == r && name.Namespace.Equal(ns) {
			names = append(names, name.Track)
		}
	}
	return names
}

// Publish takes a Track that the session offers.
func (d *downstream) Publish(ctx context.Context, req *session.PublishRequest) (*moq.TrackWriter, error) {
	if !d.mayPut(req.Name.Namespace) {
		return nil, unauthorized("put", req.Name.Namespace)
	}
	if err := d.enter(ctx, req.Name.Namespace); err != nil {
		return nil, err
	}
	return d.node.takePublished(ctx, req, d.remote)
}

func (n *Node) takePublished(ctx context.Context, req *session.PublishRequest, from *remote) (*moq.TrackWriter, error) {
	w := moq.NewTrack(req.Name, moq.TrackConfig{Properties: req.Properties, Retention: n.cfg.Retention})
	key, p := req.Name.Key(), published{w.Track(), from}
	n.mu.Lock()
	n.published[key] = p
	n.mu.Unlock()
	n.namespaces.wake() // for those who wait for it
	context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.published[key] == p {
			delete(n.published, key)
		}
	})
	return w, nil
}

// SubscribeNamespace tells the session of all Namespaces under a prefix that
// it may get.
func (d *downstream) SubscribeNamespace(ctx context.Context, prefix moq.Namespace, sink session.NamespaceSink) error {
	d.node.tellNamespaces(ctx, prefix, d.remote, d.mayGet, sink)
	return nil
}

// tellNamespaces follows the table until ctx ends.
func (n *Node) tellNamespaces(ctx context.Context, prefix moq.Namespace, except *remote, may func(moq.Namespace) bool, sink session.NamespaceSink) {
	watch := n.namespaces.watch(prefix, except)
	n.wg.Go(func() {
		for {
			e, err := watch.Next(ctx)
			if err != nil {
				return
			}
			switch {
			case len(e.Namespace) == 0 || !may(e.Namespace):
			case e.Live:
				sink.Announce(e.Namespace)
			default:
				sink.Withdraw(e.Namespace)
			}
		}
	})
}
