package relay

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/session"
	"github.com/freshet-live/freshet/moq/token"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// Authorizer tells what the bearer of a token may do. The token is empty for
// a session that brought none. An error refuses the session.
type Authorizer interface {
	Authorize(ctx context.Context, token string) (token.Grant, error)
}

// Gate decides whether a session that may publish under a Namespace gets its
// place now, which may be taken. It is asked when the session begins to
// publish there; ctx ends when the last of what it publishes there has ended.
// A *session.RequestError is told to the peer.
type Gate interface {
	Enter(ctx context.Context, ns moq.Namespace, p Publisher) error
}

// Publisher is a session as a Gate sees it.
type Publisher interface {
	// ReceivedBytes counts what the session's connection has received; it
	// stands still, but for a few bytes a second, when nothing is published.
	ReceivedBytes() uint64
	// Pulled returns the names of the Tracks that the node gets from the
	// session under the Namespace now.
	Pulled() []string
	// Ask asks the session about a Track under the Namespace and waits for the
	// answer. Any answer will do; an error tells that there was none before
	// ctx ended.
	Ask(ctx context.Context, track string) error
	// Takeover tells that the session asks to replace whoever is there.
	Takeover() bool
	// Close ends the session.
	Close(reason string)
}

// Config describes a Node.
type Config struct {
	// Authorizer is asked once for each session. It is required.
	Authorizer Authorizer
	// Gate, when not nil, is asked before a session becomes a publisher.
	Gate Gate
	// Upstreams are the nodes that are asked for what this node does not
	// have, and that learn what is published here.
	Upstreams []Upstream
	// Linger is how long a Track is still pulled after its last subscriber
	// has left; 5 s by default.
	Linger time.Duration
	// Orphan is how long the subscribers of a Track are kept when the way to
	// its publisher is lost; 30 s by default.
	Orphan time.Duration
	// Retention bounds what is kept of each Track that is pulled.
	Retention moq.Retention
	// MaxSessions bounds the sessions at one time; 10,000 by default. Each
	// idle one takes about 130 KiB.
	MaxSessions int
	// Limits bound what one session may ask for.
	Limits session.Limits
	// Implementation is told to peers in SETUP.
	Implementation string
	Logger         *slog.Logger
}

// Node is one relay. Make it with New and call Run.
type Node struct {
	cfg        Config
	log        *slog.Logger
	namespaces *namespaceTable
	// dial connects to an upstream; tests put a connection in memory here.
	dial func(ctx context.Context, rawURL string, cfg transport.DialConfig) (transport.Conn, error)

	ready chan struct{} // closed by Run

	mu        sync.Mutex
	ctx       context.Context // of Run; nil before
	stopped   bool
	pulls     map[string]*pull
	published map[string]published // by PUBLISH, by key of the name
	// viewers counts, by key of the Namespace, the subscriptions of each
	// session from below.
	viewers map[string]map[*remote]int
	wg      sync.WaitGroup

	sessions      atomic.Int64
	sessionsTotal atomic.Uint64
	refused       atomic.Uint64
	upstreams     atomic.Int64
}

// New makes a Node.
func New(cfg Config) *Node {
	cfg.Linger = cmp.Or(cfg.Linger, 5*time.Second)
	cfg.Orphan = cmp.Or(cfg.Orphan, 30*time.Second)
	cfg.MaxSessions = cmp.Or(cfg.MaxSessions, 10_000)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	return &Node{
		cfg: cfg, log: cfg.Logger,
		namespaces: newNamespaceTable(), dial: transport.Dial, ready: make(chan struct{}),
		pulls:     make(map[string]*pull),
		published: make(map[string]published),
		viewers:   make(map[string]map[*remote]int),
	}
}

// Run keeps the sessions to the upstream nodes. It owns a goroutine for each
// upstream and each Track that is pulled, and returns after the last of
// them, and the last Serve, has ended. Subscribe and Serve work from when
// Run has been called.
func (n *Node) Run(ctx context.Context) error {
	n.mu.Lock()
	if n.ctx != nil {
		n.mu.Unlock()
		return errors.New("relay: Run was called twice")
	}
	n.ctx = ctx
	close(n.ready)
	n.mu.Unlock()
	for _, u := range n.cfg.Upstreams {
		n.wg.Go(func() { n.keepUpstream(ctx, u) })
	}
	<-ctx.Done()
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
	n.wg.Wait()
	return context.Cause(ctx)
}

// Ready is closed once Run has been called, from when on Subscribe and Serve
// work.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Publish offers a Broadcast of this process until withdraw is called. A
// Broadcast that is published later under the same Namespace is preferred.
func (n *Node) Publish(b *moq.Broadcast) (withdraw func()) {
	return n.namespaces.announce(b.Namespace(), &local{b})
}

// Namespaces follows the Namespaces under a prefix that can be had here.
func (n *Node) Namespaces(prefix moq.Namespace) *NamespaceWatch {
	return n.namespaces.watch(prefix, nil)
}

// Subscribe returns a Track for readers of this process, which call release
// when they are done. Errors are those that a peer would get.
func (n *Node) Subscribe(ctx context.Context, name moq.FullTrackName) (t *moq.Track, release func(), err error) {
	return n.acquire(ctx, name, nil, 0)
}

// provider is somebody from whom Tracks can be had: *local or *remote.
type provider interface{ provider() }

// local is a Broadcast of this process.
type local struct{ b *moq.Broadcast }

// remote is a session.
type remote struct {
	session  *session.Session
	upstream bool
	id       string // for logs
}

// published is a Track that a session has offered by PUBLISH.
type published struct {
	track *moq.Track
	from  *remote
}

func (*local) provider()  {}
func (*remote) provider() {}

// acquire finds a Track for a subscriber. from is the session that asks, nil
// for this process; patience is how long to wait for a publisher.
func (n *Node) acquire(ctx context.Context, name moq.FullTrackName, from *remote, patience time.Duration) (*moq.Track, func(), error) {
	var expired <-chan time.Time
	if patience > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		expired = timer.C
	}
	var p *pull // this subscriber is counted there while it is not nil
	var since uint64
	defer func() {
		if p != nil {
			p.release()
		}
	}()
	for {
		t, pullable, changed := n.lookup(name, from)
		if t != nil {
			return t, func() {}, nil
		}
		if p == nil && pullable {
			var err error
			if p, since, err = n.pullFor(name); err != nil {
				return nil, nil, err
			}
			if p == nil {
				continue // given up at this moment
			}
		}
		if p != nil {
			t, err := p.wait(ctx, pullWait{from: from, since: since, changed: changed, expired: expired})
			switch {
			case errors.Is(err, errLookAgain):
				continue
			case errors.Is(err, errGivenUp):
				p = nil
				continue
			case err != nil:
				return nil, nil, err
			}
			release := sync.OnceFunc(p.release)
			p = nil
			return t, release, nil
		}
		if expired == nil && len(n.cfg.Upstreams) > 0 && n.upstreams.Load() == 0 && (from == nil || !from.upstream) {
			// The upstream is being dialled: that is no reason to say that
			// nothing exists.
			timer := time.NewTimer(upstreamPatience)
			defer timer.Stop()
			expired = timer.C
		}
		if expired == nil {
			return nil, nil, notFound(name, nil)
		}
		select {
		case <-changed:
		case <-expired:
			return nil, nil, notFound(name, nil)
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// lookup returns the Track if it is here, by Publish or by PUBLISH. Else it
// tells whether there is a session to pull it from, and returns a channel that
// is closed when another look may find more.
func (n *Node) lookup(name moq.FullTrackName, from *remote) (t *moq.Track, pullable bool, changed <-chan struct{}) {
	providers, changed := n.namespaces.match(name.Namespace)
	for _, p := range providers {
		switch p := p.(type) {
		case *local:
			if t, ok := p.b.Track(name.Track); ok && t.Err() == nil {
				return t, false, changed
			}
		case *remote:
			// What a session asks for is not asked of itself, and what an
			// upstream asks for is not asked of an upstream.
			if from == nil || p != from && !(from.upstream && p.upstream) {
				pullable = true
			}
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if p, ok := n.published[name.Key()]; ok {
		return p.track, false, changed
	}
	return nil, pullable, changed
}

// upstreamPatience is how long a subscriber waits for an upstream that is not
// connected: a few attempts to dial.
const upstreamPatience = 3 * time.Second

// pullFor returns the pull of a Track with one more subscriber counted, and
// how often it has searched in vain so far; nil when it was given up at this
// moment.
func (n *Node) pullFor(name moq.FullTrackName) (p *pull, searches uint64, err error) {
	key := name.Key()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ctx == nil || n.stopped {
		return nil, 0, &session.RequestError{Code: wire.RequestGoingAway, Reason: "this node is not running"}
	}
	if p := n.pulls[key]; p != nil {
		if searches, ok := p.acquire(); ok {
			return p, searches, nil
		}
		delete(n.pulls, key)
		return nil, 0, nil
	}
	ctx, cancel := context.WithCancel(n.ctx)
	p = newPull(n, name, key, cancel)
	p.acquire()
	n.pulls[key] = p
	n.wg.Go(func() {
		defer cancel()
		p.run(ctx)
	})
	return p, 0, nil
}

func (n *Node) dropPull(p *pull) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.pulls[p.key] == p {
		delete(n.pulls, p.key)
	}
}

// Viewers counts the sessions from below that subscribe to a Track of the
// Namespace now. A relay below counts as one.
func (n *Node) Viewers(ns moq.Namespace) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.viewers[ns.Key()])
}

// countViewer counts a subscription of r until done is called.
func (n *Node) countViewer(ns moq.Namespace, r *remote) (done func()) {
	key := ns.Key()
	n.mu.Lock()
	defer n.mu.Unlock()
	of := n.viewers[key]
	if of == nil {
		of = make(map[*remote]int)
		n.viewers[key] = of
	}
	of[r]++
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if of[r]--; of[r] > 0 {
			return
		}
		delete(of, r)
		if len(of) == 0 {
			delete(n.viewers, key)
		}
	}
}

// Stats are counts of a Node at one moment.
type Stats struct {
	Sessions      int64  // sessions now, without those to upstreams
	SessionsTotal uint64 // sessions since the start
	Refused       uint64 // sessions refused
	Upstreams     int64  // upstreams connected now
	Viewers       int64  // sessions from below that subscribe now, counted in each Namespace
	Pulls         int    // Tracks pulled now
	CacheBytes    int64  // bytes retained of pulled Tracks
}

// Stats reads the counts.
func (n *Node) Stats() Stats {
	n.mu.Lock()
	pulls := make([]*pull, 0, len(n.pulls))
	for _, p := range n.pulls {
		pulls = append(pulls, p)
	}
	var viewers int64
	for _, of := range n.viewers {
		viewers += int64(len(of))
	}
	n.mu.Unlock()
	s := Stats{
		Viewers:  viewers,
		Sessions: n.sessions.Load(), SessionsTotal: n.sessionsTotal.Load(), Refused: n.refused.Load(),
		Upstreams: n.upstreams.Load(), Pulls: len(pulls),
	}
	for _, p := range pulls {
		p.mu.Lock()
		w := p.writer
		p.mu.Unlock()
		if w != nil {
			s.CacheBytes += w.Track().Bytes()
		}
	}
	return s
}
