package relay

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/session"
	"github.com/freshet-live/freshet/moq/wire"
)

// below makes a node whose only upstream is the node above.
func (r *rig) below(above *Node) *Node {
	n := r.node(Config{Upstreams: []Upstream{{URL: "moqt://above"}}})
	var target atomic.Pointer[Node]
	target.Store(above)
	r.dialInto(n, &target)
	r.run(n)
	settle()
	return n
}

func wantRefused(t *testing.T, err error, code wire.RequestCode) {
	t.Helper()
	var refused *session.RequestError
	if !errors.As(err, &refused) || refused.Code != code {
		t.Errorf("refused with %v, want %v", err, code)
	}
}

func TestNodesDoNotAskEachOtherInACircle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		origin := r.run(r.node(Config{}))
		edges := []*Node{r.below(origin), r.below(origin)}
		// A publisher of the same Namespace at each edge; none has the Track
		// that is asked for, so every node asks all others.
		for _, edge := range edges {
			s, _ := r.connect(edge, session.Config{Handler: &broadcaster{b: moq.NewBroadcast(demo)}})
			if _, err := s.PublishNamespace(r.ctx, demo); err != nil {
				t.Fatal(err)
			}
		}
		settle()
		for i, n := range append(edges, origin) {
			viewer, _ := r.connect(n, session.Config{})
			ctx, cancel := context.WithTimeout(r.ctx, time.Second)
			_, err := viewer.Subscribe(ctx, video(demo), session.SubscribeOptions{})
			cancel()
			if wantRefused(t, err, wire.RequestDoesNotExist); t.Failed() {
				t.Fatalf("node %d", i)
			}
		}
	})
}

func TestAProviderThatDoesNotAnswerIsPassedOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t)
		defer r.stop()
		n := r.run(r.node(Config{}))
		b := moq.NewBroadcast(demo)
		newSource(t, b, 1).write(1)
		good, _ := r.connect(n, session.Config{Handler: &broadcaster{b: b}})
		if _, err := good.PublishNamespace(r.ctx, demo); err != nil {
			t.Fatal(err)
		}
		silent, _ := r.connect(n, session.Config{Handler: &speechless{broadcaster{b: b}}})
		if _, err := silent.PublishNamespace(r.ctx, demo); err != nil {
			t.Fatal(err)
		}
		viewer, _ := r.connect(n, session.Config{})
		ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
		defer cancel()
		if _, err := viewer.Subscribe(ctx, video(demo), session.SubscribeOptions{}); err != nil {
			t.Errorf("behind a provider that does not answer: %v", err)
		}
	})
}

// speechless leaves every SUBSCRIBE unanswered.
type speechless struct{ broadcaster }

func (*speechless) Track(ctx context.Context, _ *session.TrackRequest) (*moq.Track, error) {
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func TestRendezvousBelowAnUpstream(t *testing.T) {
	publish := map[string]func(*rig, *Node, *moq.Broadcast){
		"in this process": func(_ *rig, n *Node, b *moq.Broadcast) { n.Publish(b) },
		"by PUBLISH": func(r *rig, n *Node, b *moq.Broadcast) {
			s, _ := r.connect(n, session.Config{})
			track, _ := b.Track("video0")
			if _, err := s.Publish(r.ctx, track); err != nil {
				r.t.Error(err)
			}
		},
		"by PUBLISH_NAMESPACE": func(r *rig, n *Node, b *moq.Broadcast) {
			s, _ := r.connect(n, session.Config{Handler: &broadcaster{b: b}})
			if _, err := s.PublishNamespace(r.ctx, demo); err != nil {
				r.t.Error(err)
			}
		},
	}
	for name, publish := range publish {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t)
				defer r.stop()
				n := r.below(r.run(r.node(Config{})))
				begun := time.Now()
				var publishing sync.WaitGroup
				publishing.Go(func() {
					time.Sleep(3 * time.Second)
					b := moq.NewBroadcast(demo)
					newSource(t, b, 1).write(1)
					publish(r, n, b)
				})
				defer publishing.Wait()
				viewer, _ := r.connect(n, session.Config{})
				if _, err := viewer.Subscribe(r.ctx, video(demo), session.SubscribeOptions{RendezvousTimeout: 20 * time.Second}); err != nil {
					t.Fatal(err)
				}
				if d := time.Since(begun); d > 4*time.Second {
					t.Errorf("answered after %v, the publisher came after 3 s", d)
				}
			})
		})
	}
}
