package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/session"
	"github.com/freshet-live/freshet/moq/token"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

var demo = moq.Namespace{"live", "demo"}

func video(ns moq.Namespace) moq.FullTrackName {
	return moq.FullTrackName{Namespace: ns, Track: "video0"}
}

// grants is an Authorizer that knows tokens by name.
type grants map[string]token.Grant

func (g grants) Authorize(_ context.Context, tok string) (token.Grant, error) {
	if grant, ok := g[tok]; ok {
		return grant, nil
	}
	return token.Grant{}, errors.New("unknown token")
}

var anyone = grants{"": {Put: []string{""}, Get: []string{""}}}

// speaking is the draft that the connections of a rig speak. Only bubble sets
// it, and its tests run one after the other.
var speaking wire.Draft

// bubble runs f in virtual time for each draft.
func bubble(t *testing.T, f func(t *testing.T)) {
	for _, d := range wire.Drafts() {
		t.Run(d.String(), func(t *testing.T) {
			speaking = d
			synctest.Test(t, f)
		})
	}
}

// rig runs nodes and sessions until the test ends.
type rig struct {
	t      *testing.T
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t}
	r.ctx, r.cancel = context.WithCancel(t.Context())
	return r
}

func (r *rig) stop() {
	r.cancel()
	r.wg.Wait()
}

func (r *rig) node(cfg Config) *Node {
	if cfg.Authorizer == nil {
		cfg.Authorizer = anyone
	}
	n := New(cfg)
	return n
}

func (r *rig) run(n *Node) *Node {
	r.wg.Go(func() { n.Run(r.ctx) })
	synctest.Wait()
	return n
}

// connect makes a session to n and returns it with the connection under it.
func (r *rig) connect(n *Node, cfg session.Config) (*session.Session, transport.Conn) {
	r.t.Helper()
	client, server := moqtest.NewPipe(moqtest.PipeConfig{Protocol: speaking.ALPN()})
	r.wg.Go(func() { n.Serve(r.ctx, server) })
	s := session.New(client, session.RoleClient, cfg)
	r.wg.Go(func() { s.Run(r.ctx) })
	synctest.Wait()
	return s, client
}

// links are connections between nodes.
type links struct {
	mu    sync.Mutex
	conns []transport.Conn
}

func (l *links) take() []transport.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	conns := l.conns
	l.conns = nil
	return conns
}

// dialInto makes dials of n reach target.
func (r *rig) dialInto(n *Node, target *atomic.Pointer[Node]) *links {
	l := new(links)
	n.dial = func(ctx context.Context, _ string, cfg transport.DialConfig) (transport.Conn, error) {
		t := target.Load()
		if t == nil {
			return nil, errors.New("connection refused")
		}
		client, server := moqtest.NewPipe(moqtest.PipeConfig{Kind: transport.WebTransport, Protocol: speaking.ALPN()})
		r.wg.Go(func() { t.Serve(r.ctx, server) })
		l.mu.Lock()
		l.conns = append(l.conns, client)
		l.mu.Unlock()
		return client, nil
	}
	return l
}

// broadcaster serves one Broadcast to the node that it is connected to.
type broadcaster struct {
	b         *moq.Broadcast
	subscribe atomic.Int64 // SUBSCRIBEs ever
	open      atomic.Int64 // of which are open now
}

func (p *broadcaster) Setup(context.Context, session.PeerSetup) error { return nil }
func (p *broadcaster) Track(ctx context.Context, req *session.TrackRequest) (*moq.Track, error) {
	t, ok := p.b.Track(req.Name.Track)
	if !ok {
		return nil, &session.RequestError{Code: wire.RequestDoesNotExist}
	}
	if req.Kind == session.Subscribe {
		p.subscribe.Add(1)
		p.open.Add(1)
		context.AfterFunc(ctx, func() { p.open.Add(-1) })
	}
	return t, nil
}
func (p *broadcaster) Publish(context.Context, *session.PublishRequest) (*moq.TrackWriter, error) {
	return nil, errors.New("not wanted")
}
func (p *broadcaster) PublishNamespace(context.Context, moq.Namespace) error { return nil }
func (p *broadcaster) SubscribeNamespace(context.Context, moq.Namespace, session.NamespaceSink) error {
	return nil
}

// source writes Groups of ten Objects into a Track.
type source struct {
	t     *testing.T
	w     *moq.TrackWriter
	group uint64
	sub   *moq.SubgroupWriter
	next  uint64
}

func newSource(t *testing.T, b *moq.Broadcast, first uint64) *source {
	t.Helper()
	w, err := b.CreateTrack("video0", moq.TrackConfig{})
	if err != nil {
		t.Fatal(err)
	}
	s := &source{t: t, w: w, group: first - 1}
	s.begin()
	return s
}

func (s *source) begin() {
	s.t.Helper()
	if s.sub != nil {
		if err := s.sub.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	s.group, s.next = s.group+1, 0
	g, err := s.w.Group(s.group)
	if err != nil {
		s.t.Fatal(err)
	}
	if s.sub, err = g.Subgroup(0, moq.SubgroupConfig{InheritPriority: true, EndOfGroup: true}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *source) write(n int) {
	s.t.Helper()
	for range n {
		if err := s.sub.WriteObject(s.next, nil, fmt.Appendf(nil, "%d/%d", s.group, s.next)); err != nil {
			s.t.Fatal(err)
		}
		s.next++
	}
}

// viewerLog collects the payloads that a subscription gives.
type viewerLog struct {
	sub *session.Subscription
	mu  sync.Mutex
	got []string
}

func (v *viewerLog) payloads() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]string(nil), v.got...)
}

func (v *viewerLog) has(payload string) bool {
	for _, p := range v.payloads() {
		if p == payload {
			return true
		}
	}
	return false
}

func (r *rig) watch(s *session.Session, name moq.FullTrackName) *viewerLog {
	r.t.Helper()
	sub, err := s.Subscribe(r.ctx, name, session.SubscribeOptions{Join: true})
	if err != nil {
		r.t.Fatalf("subscribe %s: %v", name, err)
	}
	v := &viewerLog{sub: sub}
	reader := sub.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
	r.wg.Go(func() {
		defer reader.Close()
		for {
			g, err := reader.NextGroup(r.ctx)
			if errors.Is(err, moq.ErrTooFarBehind) {
				continue
			}
			if err != nil {
				return
			}
			for {
				o, err := g.Next(r.ctx)
				if err != nil {
					break
				}
				p, err := o.ReadAll(r.ctx)
				if err != nil {
					break
				}
				v.mu.Lock()
				v.got = append(v.got, string(p))
				v.mu.Unlock()
			}
		}
	})
	synctest.Wait()
	return v
}

// settle lets the model's deferred wake-ups happen.
func settle() {
	time.Sleep(10 * time.Millisecond)
	synctest.Wait()
}

func TestTrackIsPulledOnceAndLingers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		n := r.run(r.node(Config{}))
		p := &broadcaster{b: moq.NewBroadcast(demo)}
		src := newSource(t, p.b, 100)
		src.write(10)
		src.begin()
		src.write(3)
		ps, _ := r.connect(n, session.Config{Handler: p})
		if _, err := ps.PublishNamespace(r.ctx, demo); err != nil {
			t.Fatal(err)
		}
		var viewers []*viewerLog
		for range 3 {
			s, _ := r.connect(n, session.Config{})
			viewers = append(viewers, r.watch(s, video(demo)))
		}
		src.write(1)
		settle()
		for i, v := range viewers {
			if got := v.payloads(); fmt.Sprint(got) != "[101/0 101/1 101/2 101/3]" {
				t.Errorf("viewer %d got %v: he starts at the current group's first object", i, got)
			}
		}
		if p.subscribe.Load() != 1 {
			t.Errorf("%d upstream subscriptions for three viewers", p.subscribe.Load())
		}
		if s := n.Stats(); s.Pulls != 1 || s.Sessions != 4 || s.CacheBytes == 0 {
			t.Errorf("stats %+v", s)
		}
		if got := n.Viewers(demo); got != 3 {
			t.Errorf("%d viewers are counted, want 3", got)
		}
		for _, v := range viewers {
			v.sub.Close()
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if p.open.Load() != 1 {
			t.Error("the pull has ended before its 5 s of linger")
		}
		s, _ := r.connect(n, session.Config{})
		again := r.watch(s, video(demo))
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if p.open.Load() != 1 || p.subscribe.Load() != 1 {
			t.Error("a viewer that returned in time did not find the track warm")
		}
		again.sub.Close()
		time.Sleep(6 * time.Second)
		synctest.Wait()
		if got := n.Viewers(demo); got != 0 {
			t.Errorf("%d viewers are counted after the last has left", got)
		}
		if p.open.Load() != 0 || n.Stats().Pulls != 0 {
			t.Errorf("%d subscriptions, %d pulls long after the last viewer", p.open.Load(), n.Stats().Pulls)
		}
	})
}

func TestBytesAreForwardedBeforeAnObjectIsComplete(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		n := r.run(r.node(Config{}))
		p := &broadcaster{b: moq.NewBroadcast(demo)}
		src := newSource(t, p.b, 1)
		src.write(1)
		ps, _ := r.connect(n, session.Config{Handler: p})
		if _, err := ps.PublishNamespace(r.ctx, demo); err != nil {
			t.Fatal(err)
		}
		s, _ := r.connect(n, session.Config{})
		sub, err := s.Subscribe(r.ctx, video(demo), session.SubscribeOptions{Join: true})
		if err != nil {
			t.Fatal(err)
		}
		reader := sub.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt, At: moq.Location{Group: 1, Object: 1}})
		defer reader.Close()
		if err := src.sub.BeginObject(1, moq.StatusNormal, nil, 100_000); err != nil {
			t.Fatal(err)
		}
		if _, err := src.sub.Write(make([]byte, 20_000)); err != nil {
			t.Fatal(err)
		}
		settle()
		g, err := reader.NextSubgroup(r.ctx)
		if err != nil {
			t.Fatal(err)
		}
		o, err := g.Next(r.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(o.Payload()); got != 20_000 || o.Complete() {
			t.Errorf("%d bytes of the unfinished object have come through, want the 20000 written", got)
		}
	})
}

func TestViewersSurviveTheLossOfTheUpstream(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		origin := r.run(r.node(Config{}))
		b := moq.NewBroadcast(demo)
		src := newSource(t, b, 10)
		src.write(2)
		withdraw := origin.Publish(b)
		var target atomic.Pointer[Node]
		target.Store(origin)
		edge := r.node(Config{Upstreams: []Upstream{{URL: "https://origin:4443"}}})
		links := r.dialInto(edge, &target)
		r.run(edge)
		settle()
		s, _ := r.connect(edge, session.Config{})
		v := r.watch(s, video(demo))
		if !v.has("10/1") {
			t.Fatalf("got %v", v.payloads())
		}

		// The origin's process is gone, and another comes back after 8 s.
		target.Store(nil)
		for _, c := range links.take() {
			c.CloseWithError(0, "killed")
		}
		withdraw()
		b.Close(errors.New("killed"))
		time.Sleep(8 * time.Second)
		second := r.run(r.node(Config{}))
		b2 := moq.NewBroadcast(demo)
		src2 := newSource(t, b2, 5000)
		src2.write(2)
		second.Publish(b2)
		target.Store(second)
		time.Sleep(15 * time.Second)
		src2.write(1)
		settle()
		if err := v.sub.Err(); err != nil {
			t.Errorf("the viewer's subscription ended: %v", err)
		}
		if !v.has("5000/0") || !v.has("5000/2") {
			t.Errorf("after the restart the viewer got %v", v.payloads())
		}
	})
}

func TestEndOfTrackReachesViewers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		n := r.run(r.node(Config{}))
		p := &broadcaster{b: moq.NewBroadcast(demo)}
		src := newSource(t, p.b, 1)
		src.write(1)
		ps, _ := r.connect(n, session.Config{Handler: p})
		if _, err := ps.PublishNamespace(r.ctx, demo); err != nil {
			t.Fatal(err)
		}
		s, _ := r.connect(n, session.Config{})
		v := r.watch(s, video(demo))
		src.sub.Close()
		src.w.End(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		var done *session.PublishDoneError
		if err := v.sub.Err(); !errors.As(err, &done) || done.Code != wire.DoneTrackEnded {
			t.Errorf("the viewer's subscription ended with %v, want TRACK_ENDED", err)
		}
	})
}

func TestSubscribersWaitForTheirPublisher(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		n := r.run(r.node(Config{}))
		s, _ := r.connect(n, session.Config{})
		var refused *session.RequestError
		if _, err := s.Subscribe(r.ctx, video(demo), session.SubscribeOptions{}); !errors.As(err, &refused) || refused.Code != wire.RequestDoesNotExist {
			t.Fatalf("nobody publishes: %v", err)
		}
		begun := time.Now()
		r.wg.Go(func() {
			time.Sleep(3 * time.Second)
			b := moq.NewBroadcast(demo)
			newSource(t, b, 1).write(1)
			n.Publish(b)
		})
		if _, err := s.Subscribe(r.ctx, video(demo), session.SubscribeOptions{RendezvousTimeout: 5 * time.Second}); err != nil {
			t.Fatalf("with a rendezvous timeout: %v", err)
		}
		if d := time.Since(begun); d < 3*time.Second || d > 3100*time.Millisecond {
			t.Errorf("the subscription was answered after %v", d)
		}
		if _, err := s.Subscribe(r.ctx, video(moq.Namespace{"live", "none"}), session.SubscribeOptions{RendezvousTimeout: time.Second}); err == nil {
			t.Error("a publisher that never comes was found")
		}
	})
}

func TestGrants(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		n := r.run(r.node(Config{Authorizer: grants{
			"viewer":   {Get: []string{"live/demo"}},
			"streamer": {Put: []string{"live/demo"}},
			"short":    {Get: []string{"live"}, Expires: time.Now().Add(time.Minute)},
		}}))
		for _, ns := range []moq.Namespace{demo, {"live", "secret"}} {
			b := moq.NewBroadcast(ns)
			newSource(t, b, 1).write(1)
			n.Publish(b)
		}
		viewer, _ := r.connect(n, session.Config{Token: "viewer"})
		code := func(err error) wire.RequestCode {
			var refused *session.RequestError
			if !errors.As(err, &refused) {
				t.Fatalf("not refused: %v", err)
			}
			return refused.Code
		}
		if _, err := viewer.Subscribe(r.ctx, video(moq.Namespace{"live", "secret"}), session.SubscribeOptions{}); code(err) != wire.RequestUnauthorized {
			t.Errorf("watching without a grant: %v", err)
		}
		if _, err := viewer.PublishNamespace(r.ctx, demo); code(err) != wire.RequestUnauthorized {
			t.Errorf("publishing without a grant: %v", err)
		}
		sub, err := viewer.SubscribeNamespace(r.ctx, moq.Namespace{"live"})
		if err != nil {
			t.Fatal(err)
		}
		if e, err := sub.Next(r.ctx); err != nil || !e.Namespace.Equal(demo) || !e.Live {
			t.Errorf("namespace %+v, %v", e, err)
		}
		ctx, cancel := context.WithTimeout(r.ctx, time.Second)
		if e, err := sub.Next(ctx); err == nil {
			t.Errorf("a namespace beyond the grant was told: %+v", e)
		}
		cancel()
		streamer, _ := r.connect(n, session.Config{Token: "streamer", Handler: &broadcaster{b: moq.NewBroadcast(demo)}})
		if _, err := streamer.Subscribe(r.ctx, video(demo), session.SubscribeOptions{}); code(err) != wire.RequestUnauthorized {
			t.Errorf("a streamer that may only put: %v", err)
		}
		unknown, _ := r.connect(n, session.Config{Token: "wrong"})
		var peer *session.PeerError
		if <-unknown.Done(); !errors.As(unknown.Err(), &peer) || peer.Code != wire.Unauthorized {
			t.Errorf("unknown token: %v", unknown.Err())
		}
		short, _ := r.connect(n, session.Config{Token: "short"})
		time.Sleep(61 * time.Second)
		synctest.Wait()
		if !errors.As(short.Err(), &peer) || peer.Code != wire.ExpiredAuthToken {
			t.Errorf("a minute after its token expired: %v", short.Err())
		}
	})
}

// closedRoom is a Gate that lets nobody in.
type closedRoom struct{}

func (closedRoom) Enter(_ context.Context, ns moq.Namespace, p Publisher) error {
	return &session.RequestError{Code: wire.RequestUninterested, Reason: "taken"}
}

func TestGate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		n := r.run(r.node(Config{Gate: closedRoom{}}))
		s, _ := r.connect(n, session.Config{Handler: &broadcaster{b: moq.NewBroadcast(demo)}})
		var refused *session.RequestError
		if _, err := s.PublishNamespace(r.ctx, demo); !errors.As(err, &refused) || refused.Code != wire.RequestUninterested {
			t.Errorf("a room that is taken: %v", err)
		}
	})
}

func TestSessionsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		n := r.run(r.node(Config{MaxSessions: 2}))
		r.connect(n, session.Config{})
		r.connect(n, session.Config{})
		third, _ := r.connect(n, session.Config{})
		if <-third.Done(); third.Err() == nil {
			t.Error("a session beyond the limit was taken")
		}
		if s := n.Stats(); s.Sessions != 2 || s.Refused != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestNamespacesTravelUpAndDown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		origin := r.run(r.node(Config{}))
		var target atomic.Pointer[Node]
		target.Store(origin)
		edge := r.node(Config{Upstreams: []Upstream{{URL: "https://origin:4443"}}})
		r.dialInto(edge, &target)
		r.run(edge)
		settle()

		next := func(w *NamespaceWatch, live bool, ns moq.Namespace) {
			t.Helper()
			ctx, cancel := context.WithTimeout(r.ctx, time.Second)
			defer cancel()
			e, err := w.Next(ctx)
			if err != nil || e.Live != live || !e.Namespace.Equal(ns) {
				t.Fatalf("event %+v, %v, want %v live %v", e, err, ns, live)
			}
		}
		down := edge.Namespaces(moq.Namespace{"live"})
		withdraw := origin.Publish(moq.NewBroadcast(demo))
		next(down, true, demo)
		// A publisher that is replaced between two looks is told as both.
		withdraw2 := origin.Publish(moq.NewBroadcast(demo))
		withdraw()
		next(down, false, demo)
		next(down, true, demo)

		up := origin.Namespaces(moq.Namespace{"live"})
		next(up, true, demo)
		other := moq.Namespace{"live", "other"}
		p := &broadcaster{b: moq.NewBroadcast(other)}
		newSource(t, p.b, 7).write(1)
		ps, _ := r.connect(edge, session.Config{Handler: p})
		publication, err := ps.PublishNamespace(r.ctx, other)
		if err != nil {
			t.Fatal(err)
		}
		next(up, true, other)
		track, release, err := origin.Subscribe(r.ctx, video(other))
		if err != nil {
			t.Fatalf("what is published at the edge cannot be had at the origin: %v", err)
		}
		if l, ok := track.Largest(); !ok || l.Group != 7 {
			t.Errorf("largest %v %v", l, ok)
		}
		release()
		publication.Close()
		next(up, false, other)
		withdraw2()
	})
}

func TestSubscribeOfThisProcess(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		n := r.run(r.node(Config{}))
		b := moq.NewBroadcast(demo)
		newSource(t, b, 1).write(1)
		n.Publish(b)
		track, release, err := n.Subscribe(r.ctx, video(demo))
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if own, _ := b.Track("video0"); track != own {
			t.Error("a track of this process is copied")
		}
		b.Close(nil)
		if track.Err() != io.EOF {
			t.Errorf("track ended with %v", track.Err())
		}
		if _, _, err := n.Subscribe(r.ctx, video(demo)); err == nil {
			t.Error("a track that has ended was given")
		}
	})
}

func TestNobodyJoinsATrackWhosePublisherIsGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		n := r.run(r.node(Config{}))
		publish := func(first uint64) (*broadcaster, transport.Conn) {
			p := &broadcaster{b: moq.NewBroadcast(demo)}
			newSource(t, p.b, first).write(2)
			s, conn := r.connect(n, session.Config{Handler: p})
			if _, err := s.PublishNamespace(r.ctx, demo); err != nil {
				t.Fatal(err)
			}
			return p, conn
		}
		_, conn := publish(100)
		early, _ := r.connect(n, session.Config{})
		v := r.watch(early, video(demo))
		conn.CloseWithError(0, "killed")
		settle()
		late, _ := r.connect(n, session.Config{})
		var refused *session.RequestError
		if _, err := late.Subscribe(r.ctx, video(demo), session.SubscribeOptions{Join: true}); !errors.As(err, &refused) || refused.Code != wire.RequestDoesNotExist {
			t.Fatalf("a viewer was let in to what a gone publisher has left: %v", err)
		}
		publish(500)
		w := r.watch(late, video(demo))
		settle()
		if got := fmt.Sprint(w.payloads()); got != "[500/0 500/1]" {
			t.Errorf("the late viewer got %v", got)
		}
		if got := fmt.Sprint(v.payloads()); got != "[100/0 100/1 500/0 500/1]" || v.sub.Err() != nil {
			t.Errorf("the early viewer got %v, %v", got, v.sub.Err())
		}
	})
}
