package relay

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/session"
	"github.com/freshet-live/freshet/moq/transport"
)

// Upstream is a node nearer to the publishers.
type Upstream struct {
	// URL is where it serves: https:// for WebTransport, moqt:// for QUIC.
	URL   string
	Trust transport.Trust
	// Token is presented to it; empty for none.
	Token string
	// Protocols are the drafts to offer, best first.
	Protocols []string
}

const (
	// An upstream that dies without a word is noticed after upstreamIdle. One
	// that is restarted answers with a stateless reset only to packets larger
	// than a PING, so a node that has nothing to send notices no sooner. Three
	// PINGs must be lost in a row to end a session by mistake, and its viewers
	// would only see a join.
	upstreamIdle      = 3 * time.Second
	upstreamKeepAlive = time.Second
	// The pause between attempts to connect grows from firstRedial to
	// lastRedial, with jitter so that a region does not dial in step.
	firstRedial = 200 * time.Millisecond
	lastRedial  = 5 * time.Second
)

// keepUpstream keeps a session to an upstream node until ctx ends.
func (n *Node) keepUpstream(ctx context.Context, u Upstream) {
	log := n.log.With("upstream", withoutQuery(u.URL))
	pause := firstRedial
	for ctx.Err() == nil {
		begun := time.Now()
		err := n.runUpstream(ctx, u)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begun) > lastRedial {
			pause = firstRedial
		}
		log.Warn("upstream session ended, dialling again", "error", err, "pause", pause)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
		}
		pause = min(2*pause, lastRedial)
	}
}

func withoutQuery(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "invalid URL"
	}
	u.RawQuery = ""
	u.User = nil
	return u.String()
}

// runUpstream runs one session to an upstream. It owns the session's
// goroutine and those that tell each side what the other publishes.
func (n *Node) runUpstream(ctx context.Context, u Upstream) error {
	conn, err := n.dial(ctx, u.URL, transport.DialConfig{
		Trust: u.Trust, Protocols: u.Protocols, IdleTimeout: upstreamIdle, KeepAlive: upstreamKeepAlive,
	})
	if err != nil {
		return err
	}
	h := &upstream{node: n}
	s := session.New(conn, session.RoleClient, session.Config{
		Handler: h, Token: u.Token, Limits: n.cfg.Limits, Implementation: n.cfg.Implementation, Logger: n.log,
	})
	h.remote = &remote{session: s, upstream: true, id: "upstream " + withoutQuery(u.URL)}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { cancel(cmp.Or(s.Run(ctx), errUpstreamEnded)) })
	defer wg.Wait()
	select {
	case <-s.Ready():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	n.log.Info("upstream connected", "upstream", withoutQuery(u.URL), "protocol", conn.Protocol())
	n.upstreams.Add(1)
	defer n.upstreams.Add(-1)
	// As the provider of the Namespace without fields it is asked for all
	// that nobody nearer has.
	defer n.namespaces.announce(nil, h.remote)()
	wg.Go(func() { n.learnNamespaces(ctx, h.remote) })
	wg.Go(func() { n.offerNamespaces(ctx, h.remote) })
	<-ctx.Done()
	return context.Cause(ctx)
}

// errUpstreamEnded stands for an orderly end.
var errUpstreamEnded = errors.New("relay: the upstream ended the session")

// learnNamespaces keeps the table of what the upstream offers.
func (n *Node) learnNamespaces(ctx context.Context, r *remote) {
	withdraw := make(map[string]func())
	defer func() {
		for _, f := range withdraw {
			f()
		}
	}()
	sub, err := r.session.SubscribeNamespace(ctx, nil)
	if err != nil {
		// It is asked for Tracks all the same.
		n.log.Info("upstream does not tell its namespaces", "upstream", r.id, "error", err)
		return
	}
	defer sub.Close()
	for {
		e, err := sub.Next(ctx)
		if err != nil {
			if ctx.Err() == nil && !errors.Is(err, io.EOF) {
				n.log.Info("upstream stopped telling its namespaces", "upstream", r.id, "error", err)
			}
			return
		}
		key := e.Namespace.Key()
		if f, ok := withdraw[key]; ok {
			delete(withdraw, key)
			f()
		}
		if e.Live {
			withdraw[key] = n.namespaces.announce(e.Namespace, r)
		}
	}
}

// offerRetry is how long a Namespace that the upstream has refused is not
// offered again: its place may be held by a publisher that is gone, which takes
// that long to notice.
const offerRetry = 2 * time.Second

// offerNamespaces tells the upstream what is published here and below.
func (n *Node) offerNamespaces(ctx context.Context, r *remote) {
	offered := make(map[string]*session.NamespacePublication)
	refused := make(map[string]moq.Namespace)
	var again time.Time // when those are offered again
	offer := func(ns moq.Namespace) {
		key := ns.Key()
		p, err := r.session.PublishNamespace(ctx, ns)
		if err == nil {
			delete(refused, key)
			offered[key] = p
			return
		}
		if ctx.Err() != nil {
			return
		}
		if _, told := refused[key]; !told {
			n.log.Warn("upstream does not take a namespace", "upstream", r.id, "namespace", ns.String(), "error", err)
		}
		if len(refused) == 0 {
			again = time.Now().Add(offerRetry)
		}
		refused[key] = ns
	}
	watch := n.namespaces.watchNearer()
	for {
		wait, cancel := ctx, context.CancelFunc(func() {})
		if len(refused) > 0 {
			wait, cancel = context.WithDeadline(ctx, again)
		}
		e, err := watch.Next(wait)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			again = time.Now().Add(offerRetry)
			for _, ns := range refused {
				offer(ns)
			}
			continue
		case len(e.Namespace) == 0:
			continue
		}
		key := e.Namespace.Key()
		delete(refused, key)
		if p := offered[key]; p != nil {
			delete(offered, key)
			p.Close()
		}
		if e.Live {
			offer(e.Namespace)
		}
	}
}

// upstream answers the requests of an upstream node, which is trusted with
// all that is published here.
type upstream struct {
	node   *Node
	remote *remote
}

func (u *upstream) Setup(context.Context, session.PeerSetup) error { return nil }

func (u *upstream) Track(ctx context.Context, req *session.TrackRequest) (*moq.Track, error) {
	return u.node.trackFor(ctx, req, u.remote)
}

func (u *upstream) Publish(ctx context.Context, req *session.PublishRequest) (*moq.TrackWriter, error) {
	return u.node.takePublished(ctx, req, u.remote)
}

func (u *upstream) PublishNamespace(ctx context.Context, ns moq.Namespace) error {
	context.AfterFunc(ctx, u.node.namespaces.announce(ns, u.remote))
	return nil
}

func (u *upstream) SubscribeNamespace(ctx context.Context, prefix moq.Namespace, sink session.NamespaceSink) error {
	u.node.tellNamespaces(ctx, prefix, u.remote, func(moq.Namespace) bool { return true }, sink)
	return nil
}
