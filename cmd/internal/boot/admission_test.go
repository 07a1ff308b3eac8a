package boot

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/control"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/session"
)

func TestAdmitByHTTP(t *testing.T) {
	status := http.StatusOK
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
	defer s.Close()
	a := admitByHTTP(s.Client(), s.URL)
	req := ingest.AdmissionRequest{Room: "demo", Key: "k"}
	for _, tt := range []struct {
		status int
		want   error
	}{{200, nil}, {401, ingest.ErrUnauthorized}, {403, ingest.ErrUnauthorized}, {404, ingest.ErrNotFound}} {
		status = tt.status
		if _, err := a.Admit(t.Context(), req); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%d: %v", tt.status, err)
		}
	}
	for _, status = range []int{204, 302, 500, 503} {
		_, err := a.Admit(t.Context(), req)
		if err == nil || errors.Is(err, ingest.ErrUnauthorized) {
			t.Errorf("%d is neither yes nor no, got %v", status, err)
		}
	}
	s.Close()
	if _, err := a.Admit(t.Context(), req); err == nil {
		t.Error("a control plane that is gone admits")
	}
}

func TestAdmitByKeys(t *testing.T) {
	a := admitByKeys(map[string]control.KeyDigest{"demo": control.DigestKey("k")})
	for _, tt := range []struct {
		room, key string
		ok        bool
	}{{"demo", "k", true}, {"demo", "", false}, {"demo", "x", false}, {"other", "k", false}, {"other", "", false}} {
		if _, err := a.Admit(t.Context(), ingest.AdmissionRequest{Room: tt.room, Key: tt.key}); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

// moqPublisher is a relay.Publisher whose traffic the test makes.
type moqPublisher struct {
	bytes    atomic.Uint64
	closed   atomic.Bool
	dead     atomic.Bool // it does not answer
	media    atomic.Bool // its video is pulled, not only its catalog
	takeover bool
}

func (p *moqPublisher) ReceivedBytes() uint64 { return p.bytes.Load() }
func (p *moqPublisher) Takeover() bool        { return p.takeover }
func (p *moqPublisher) Close(string)          { p.closed.Store(true) }

func (p *moqPublisher) Pulled() []string {
	if p.media.Load() {
		return []string{"catalog", "video0"}
	}
	return []string{"catalog"}
}

func (p *moqPublisher) Ask(ctx context.Context, _ string) error {
	if p.dead.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	time.Sleep(300 * time.Millisecond) // the round trip
	p.bytes.Add(100)
	return nil
}

func TestGateAsksAPublisherThatNobodyWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer func() { cancel(); synctest.Wait() }()
		g := &gate{ingest.NewRegistry(nil, 0)}
		ns := moq.Namespace{"live", "demo"}
		first := new(moqPublisher)
		if err := g.Enter(ctx, ns, first); err != nil {
			t.Fatal(err)
		}
		for range 60 {
			time.Sleep(time.Second)
			var refused *session.RequestError
			if err := g.Enter(ctx, ns, new(moqPublisher)); !errors.As(err, &refused) {
				t.Fatalf("a publisher that is there and has no viewers lost its room: %v", err)
			}
		}
		first.dead.Store(true)
		time.Sleep(ingest.DefaultSilence + 300*time.Millisecond)
		second := new(moqPublisher)
		if err := g.Enter(ctx, ns, second); err != nil {
			t.Fatalf("a publisher that was killed keeps its room: %v", err)
		}
		// Its encoder has stopped, though its page answers.
		second.media.Store(true)
		time.Sleep(ingest.DefaultSilence + 300*time.Millisecond)
		if err := g.Enter(ctx, ns, new(moqPublisher)); err != nil {
			t.Errorf("a publisher that sends nothing of what is pulled keeps its room: %v", err)
		}
	})
}

func TestGateAppliesTheTakeoverRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer func() { cancel(); synctest.Wait() }()
		g := &gate{ingest.NewRegistry(nil, 0)}
		ns := moq.Namespace{"live", "demo"}
		first := new(moqPublisher)
		first.media.Store(true)
		firstCtx, endFirst := context.WithCancel(ctx)
		if err := g.Enter(firstCtx, ns, first); err != nil {
			t.Fatal(err)
		}
		for range 10 {
			first.bytes.Add(10_000)
			time.Sleep(500 * time.Millisecond)
		}
		var refused *session.RequestError
		if err := g.Enter(ctx, ns, new(moqPublisher)); !errors.As(err, &refused) {
			t.Fatalf("a room with a lively publisher: %v", err)
		}
		// Silent but for PINGs.
		for range 8 {
			first.bytes.Add(40)
			time.Sleep(500 * time.Millisecond)
		}
		second := new(moqPublisher)
		if err := g.Enter(ctx, ns, second); err != nil {
			t.Fatalf("after 4 s of silence: %v", err)
		}
		endFirst()
		if !first.closed.Load() {
			t.Error("the predecessor was not closed")
		}
		third := &moqPublisher{takeover: true}
		if err := g.Enter(ctx, ns, third); err != nil {
			t.Errorf("on request: %v", err)
		}
		synctest.Wait()
		if !second.closed.Load() || third.closed.Load() {
			t.Errorf("closed: second %v, third %v", second.closed.Load(), third.closed.Load())
		}
		if err := g.Enter(ctx, moq.Namespace{"live", "Bad Name"}, new(moqPublisher)); err == nil {
			t.Error("a name that no room can have was let in")
		}
		if err := g.Enter(ctx, moq.Namespace{"bench", "1"}, new(moqPublisher)); err != nil {
			t.Errorf("not a broadcast: %v", err)
		}
	})
}
