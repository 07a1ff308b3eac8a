package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/wire"
)

// node is a small real Handler: it serves the Tracks it has been given, takes
// what peers publish, and tells them of Namespaces.
type node struct {
	mu         sync.Mutex
	tracks     map[string]*moq.Track
	published  map[string]*moq.TrackWriter
	namespaces map[string]moq.Namespace
	sinks      map[NamespaceSink]moq.Namespace
	requests   []TrackRequest
	setup      func(PeerSetup) error
	join       bool // for what is published
	limit      moq.Retention
	ended      []string // requests whose context has ended
}

func newNode() *node {
	return &node{
		tracks: make(map[string]*moq.Track), published: make(map[string]*moq.TrackWriter),
		namespaces: make(map[string]moq.Namespace), sinks: make(map[NamespaceSink]moq.Namespace),
	}
}

func (n *node) add(t *moq.Track) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tracks[t.Name().Key()] = t
}

func (n *node) Setup(_ context.Context, p PeerSetup) error {
	if n.setup != nil {
		return n.setup(p)
	}
	return nil
}

func (n *node) Track(ctx context.Context, r *TrackRequest) (*moq.Track, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.requests = append(n.requests, *r)
	t, ok := n.tracks[r.Name.Key()]
	if !ok {
		return nil, &RequestError{Code: wire.RequestDoesNotExist, Reason: "no such track"}
	}
	n.watchLocked(ctx, r.Kind.String())
	return t, nil
}

func (n *node) watchLocked(ctx context.Context, what string) {
	context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.ended = append(n.ended, what)
	})
}

func (n *node) Publish(ctx context.Context, r *PublishRequest) (*moq.TrackWriter, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	r.Join = n.join
	w := moq.NewTrack(r.Name, moq.TrackConfig{Properties: r.Properties, Retention: n.limit})
	n.published[r.Name.Key()] = w
	n.watchLocked(ctx, "publish")
	return w, nil
}

func (n *node) PublishNamespace(ctx context.Context, ns moq.Namespace) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.namespaces[ns.Key()] = ns
	for sink, prefix := range n.sinks {
		if ns.HasPrefix(prefix) {
			sink.Announce(ns)
		}
	}
	context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.namespaces, ns.Key())
		for sink := range n.sinks {
			sink.Withdraw(ns)
		}
	})
	return nil
}

func (n *node) SubscribeNamespace(ctx context.Context, prefix moq.Namespace, sink NamespaceSink) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sinks[sink] = prefix
	for _, ns := range n.namespaces {
		sink.Announce(ns)
	}
	context.AfterFunc(ctx, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.sinks, sink)
	})
	return nil
}

// pair is two sessions on one in-memory connection.
type pair struct {
	t              *testing.T
	client, server *Session
	errs           [2]chan error
}

// connect runs two sessions until the end of the test.
func connect(t *testing.T, pipe moqtest.PipeConfig, client, server Config) *pair {
	t.Helper()
	c, s := moqtest.NewPipe(pipe)
	if testing.Verbose() {
		client.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
		server.Logger = client.Logger
	}
	p := &pair{t: t, client: New(c, RoleClient, client), server: New(s, RoleServer, server)}
	for i, end := range []*Session{p.client, p.server} {
		p.errs[i] = make(chan error, 1)
		go func() { p.errs[i] <- end.Run(context.Background()) }()
	}
	t.Cleanup(func() {
		p.client.Close(wire.NoError, "")
		p.server.Close(wire.NoError, "")
	})
	return p
}

// close ends both sessions, and fails the test when they had not ended well.
func (p *pair) close() {
	p.t.Helper()
	p.client.Close(wire.NoError, "")
	for i := range p.errs {
		if err := <-p.errs[i]; err != nil {
			p.t.Errorf("session %d: %v", i, err)
		}
	}
}

// bubble runs f in virtual time for each draft.
func bubble(t *testing.T, f func(t *testing.T, pipe moqtest.PipeConfig)) {
	for _, d := range wire.Drafts() {
		t.Run(d.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, moqtest.PipeConfig{Protocol: d.ALPN()}) })
		})
	}
}

var trackName = moq.FullTrackName{Namespace: moq.Namespace{"live", "demo"}, Track: "video0"}

func newTrack() *moq.TrackWriter { return moq.NewTrack(trackName, moq.TrackConfig{}) }

// must returns v and ends the test on an error.
func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// subgroup begins Subgroup 0 of a Group.
func subgroup(t *testing.T, w *moq.TrackWriter, group uint64) *moq.SubgroupWriter {
	t.Helper()
	g := must[*moq.GroupWriter](t)(w.Group(group))
	return must[*moq.SubgroupWriter](t)(g.Subgroup(0, moq.SubgroupConfig{InheritPriority: true}))
}

// readObject reads the next Object of a Subgroup completely.
func readObject(t *testing.T, r *moq.SubgroupReader) (id uint64, payload string) {
	t.Helper()
	o, err := r.Next(t.Context())
	check(t, err)
	b, err := o.ReadAll(t.Context())
	check(t, err)
	return o.ID, string(b)
}

// wantObject reads the next Object and compares it.
func wantObject(t *testing.T, r *moq.SubgroupReader, id uint64, payload string) {
	t.Helper()
	gotID, got := readObject(t, r)
	if gotID != id || got != payload {
		t.Fatalf("got object %d %q, want %d %q", gotID, got, id, payload)
	}
}

// wantEnd reads the end of a Subgroup.
func wantEnd(t *testing.T, r *moq.SubgroupReader, want error) {
	t.Helper()
	if o, err := r.Next(t.Context()); !errors.Is(err, want) {
		t.Fatalf("got object %v, error %v, want %v", o, err, want)
	}
}
