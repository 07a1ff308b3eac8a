package relay

import (
	"context"
	"fmt"
	"net/url"
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

	d := &downstream{node: n, url: conn.URL()}
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
	url    *url.URL
	remote *remote

	mu      sync.Mutex
	ctx     context.Context // of the session, from Setup on
	grant   token.Grant
	valid   bool
	entered map[string]bool // Namespaces that the Gate has let it publish
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

// Setup authorises the session. Where the path of moqt names nothing, other
// than "/" it is refused.
func (d *downstream) Setup(ctx context.Context, peer session.PeerSetup) error {
	path, tok := peer.Path, peer.Token
	if d.url != nil {
		path = d.url.Path
		if tok == "" {
			tok = d.url.Query().Get("jwt")
		}
	} else if u, err := url.Parse(path); err == nil && path != "" {
		path = u.Path
		if tok == "" {
			tok = u.Query().Get("jwt")
		}
	}
	if path != "" && path != "/" {
		d.node.refused.Add(1)
		return &session.LocalError{Code: wire.InvalidPath, Reason: "the path of a moqt session is /"}
	}
	grant, err := d.node.cfg.Authorizer.Authorize(ctx, tok)
	if err != nil {
		d.node.refused.Add(1)
		d.node.log.Debug("session refused", "peer", d.remote.id, "error", err)
		return &session.LocalError{Code: wire.Unauthorized, Reason: "the token does not allow this session"}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx, d.grant, d.valid = ctx, grant, true
	d.entered = make(map[string]bool)
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
	if err := d.enter(ns); err != nil {
		return err
	}
	context.AfterFunc(ctx, d.node.namespaces.announce(ns, d.remote))
	return nil
}

// enter asks the Gate once for each Namespace and session.
func (d *downstream) enter(ns moq.Namespace) error {
	gate := d.node.cfg.Gate
	if gate == nil {
		return nil
	}
	key := ns.Key()
	d.mu.Lock()
	ctx, entered := d.ctx, d.entered[key]
	d.mu.Unlock()
	if entered {
		return nil
	}
	if err := gate.Enter(ctx, ns, (*publisher)(d)); err != nil {
		return err
	}
	d.mu.Lock()
	d.entered[key] = true
	d.mu.Unlock()
	return nil
}

// publisher is how a Gate sees a session.
type publisher downstream

func (p *publisher) ReceivedBytes() uint64 { return p.remote.session.Conn().Stats().BytesReceived }

func (p *publisher) Takeover() bool { return p.url != nil && p.url.Query().Get("takeover") == "1" }

func (p *publisher) Close(reason string) { p.remote.session.Close(wire.NoError, reason) }

// Publish takes a Track that the session offers.
func (d *downstream) Publish(ctx context.Context, req *session.PublishRequest) (*moq.TrackWriter, error) {
	if !d.mayPut(req.Name.Namespace) {
		return nil, unauthorized("put", req.Name.Namespace)
	}
	if err := d.enter(req.Name.Namespace); err != nil {
		return nil, err
	}
	return d.node.takePublished(ctx, req)
}

func (n *Node) takePublished(ctx context.Context, req *session.PublishRequest) (*moq.TrackWriter, error) {
	w := moq.NewTrack(req.Name, moq.TrackConfig{Properties: req.Properties, Retention: n.cfg.Retention})
	key := req.Name.Key()
	n.mu.Lock()
	n.published[key] = w.Track()
	n.mu.Unlock()
	context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.published[key] == w.Track() {
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
