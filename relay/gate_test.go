package relay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/session"
	"github.com/freshet-live/freshet/moq/wire"
)

// oneEach is a Gate that lets one publisher at a time into a Namespace.
type oneEach struct {
	mu      sync.Mutex
	inside  map[string]bool
	entered int
}

func (g *oneEach) Enter(ctx context.Context, ns moq.Namespace, _ Publisher) error {
	time.Sleep(10 * time.Millisecond) // it may have to ask
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside[ns.Key()] {
		return &session.RequestError{Code: wire.RequestUninterested, Reason: "taken"}
	}
	g.inside[ns.Key()] = true
	g.entered++
	context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.inside, ns.Key())
	})
	return nil
}

func (g *oneEach) count() (inside, entered int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.inside), g.entered
}

func TestTracksOfOneSessionEnterTheGateTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		gate := &oneEach{inside: make(map[string]bool)}
		n := r.run(r.node(Config{Gate: gate}))
		s, _ := r.connect(n, session.Config{})
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				w := moq.NewTrack(moq.FullTrackName{Namespace: demo, Track: fmt.Sprint(i)}, moq.TrackConfig{})
				if _, err := s.Publish(r.ctx, w.Track()); err != nil {
					t.Errorf("track %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if inside, entered := gate.count(); inside != 1 || entered != 1 {
			t.Errorf("the gate was asked %d times and has %d inside", entered, inside)
		}
	})
}

// openGate lets everybody in and keeps who came last.
type openGate struct{ last Publisher }

func (g *openGate) Enter(_ context.Context, _ moq.Namespace, p Publisher) error {
	g.last = p
	return nil
}

func TestWhatAGateSeesOfAPublisher(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		gate := new(openGate)
		n := r.run(r.node(Config{Gate: gate}))
		b := moq.NewBroadcast(demo)
		newSource(t, b, 1).write(1)
		s, conn := r.connect(n, session.Config{Handler: &broadcaster{b: b}})
		if _, err := s.PublishNamespace(r.ctx, demo); err != nil {
			t.Fatal(err)
		}
		p := gate.last
		if got := p.Pulled(); len(got) != 0 {
			t.Errorf("%v is pulled, and nobody watches", got)
		}
		_, release, err := n.Subscribe(r.ctx, video(demo))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Pulled(); fmt.Sprint(got) != "[video0]" {
			t.Errorf("%v is pulled", got)
		}
		release()
		time.Sleep(6 * time.Second) // it lingers for 5 s
		if got := p.Pulled(); len(got) != 0 {
			t.Errorf("%v is still pulled", got)
		}
		w := moq.NewTrack(moq.FullTrackName{Namespace: demo, Track: "offered"}, moq.TrackConfig{})
		if _, err := s.Publish(r.ctx, w.Track()); err != nil {
			t.Fatal(err)
		}
		if got := p.Pulled(); fmt.Sprint(got) != "[offered]" {
			t.Errorf("%v comes by PUBLISH", got)
		}
		for _, track := range []string{"video0", "none"} {
			if err := p.Ask(r.ctx, track); err != nil {
				t.Errorf("asked for %s, the publisher answered, and Ask says %v", track, err)
			}
		}
		conn.CloseWithError(0, "")
		synctest.Wait()
		if err := p.Ask(r.ctx, "video0"); err == nil {
			t.Error("a publisher that is gone has answered")
		}
	})
}

func TestTokenAndTakeoverInTheURL(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		gate := new(openGate)
		n := r.run(r.node(Config{Gate: gate, Authorizer: grants{"streamer": {Put: []string{"live/demo"}}}}))
		// Native QUIC, where the URL travels in SETUP.
		s, _ := r.connect(n, session.Config{Path: "/?jwt=streamer&takeover=1", Handler: &broadcaster{b: moq.NewBroadcast(demo)}})
		if _, err := s.PublishNamespace(r.ctx, demo); err != nil {
			t.Fatal(err)
		}
		if !gate.last.Takeover() {
			t.Error("?takeover=1 was not seen")
		}
		elsewhere, _ := r.connect(n, session.Config{Path: "/live?jwt=streamer"})
		var peer *session.PeerError
		if <-elsewhere.Done(); !errors.As(elsewhere.Err(), &peer) || peer.Code != wire.InvalidPath {
			t.Errorf("a path that is not /: %v", elsewhere.Err())
		}
	})
}

func TestASessionLeavesTheGateWithItsLastPublication(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		gate := &oneEach{inside: make(map[string]bool)}
		n := r.run(r.node(Config{Gate: gate}))
		s, _ := r.connect(n, session.Config{Handler: &broadcaster{b: moq.NewBroadcast(demo)}})
		for range 3 {
			ns, err := s.PublishNamespace(r.ctx, demo)
			if err != nil {
				t.Fatal(err)
			}
			w := moq.NewTrack(video(demo), moq.TrackConfig{})
			if _, err := s.Publish(r.ctx, w.Track()); err != nil {
				t.Fatal(err)
			}
			ns.Close()
			settle()
			if inside, _ := gate.count(); inside != 1 {
				t.Fatal("the session was put out while it publishes a track")
			}
			w.End(nil)
			settle()
			if inside, _ := gate.count(); inside != 0 {
				t.Fatal("a session that publishes nothing keeps its place")
			}
		}
	})
}

// takenFor is a Gate whose only place is taken until a time.
type takenFor struct{ until time.Time }

func (g takenFor) Enter(context.Context, moq.Namespace, Publisher) error {
	if time.Now().Before(g.until) {
		return &session.RequestError{Code: wire.RequestUninterested, Reason: "taken"}
	}
	return nil
}

func TestWhatAnUpstreamRefusesIsOfferedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		origin := r.run(r.node(Config{Gate: takenFor{time.Now().Add(5 * time.Second)}}))
		edge := r.below(origin)
		b := moq.NewBroadcast(demo)
		newSource(t, b, 1).write(1)
		withdraw := edge.Publish(b)
		time.Sleep(8 * time.Second)
		track, release, err := origin.Subscribe(r.ctx, video(demo))
		if err != nil {
			t.Fatalf("the place has been free for 3 s: %v", err)
		}
		defer release()
		if _, ok := track.Largest(); !ok {
			t.Error("nothing came")
		}
		withdraw()
		other := moq.NewBroadcast(moq.Namespace{"live", "other"})
		defer edge.Publish(other)()
		time.Sleep(8 * time.Second)
		if _, _, err := origin.Subscribe(r.ctx, video(moq.Namespace{"live", "other"})); err == nil {
			t.Error("a track that does not exist")
		}
		if found, _ := origin.namespaces.match(demo); len(found) != 0 {
			t.Error("what was withdrawn is offered still")
		}
	})
}
