package ingest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
)

// ledger is a Factory that notes in which order writers open and close.
type ledger struct {
	mu     sync.Mutex
	events []string
	open   int
	delay  time.Duration // of the factory
	fail   error
}

func (l *ledger) factory(_ context.Context, room, member string) (media.BroadcastWriter, error) {
	time.Sleep(l.delay)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return nil, l.fail
	}
	if l.open > 0 {
		l.events = append(l.events, "BOTH OPEN")
	}
	l.open++
	l.events = append(l.events, "open "+room)
	return &written{ledger: l}, nil
}

func (l *ledger) log() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.events, ", ")
}

// written is a writer that takes everything.
type written struct {
	ledger *ledger
	frames int
	cause  error
}

func (w *written) AddTrack(media.Format) (media.TrackWriter, error) { return w, nil }
func (w *written) WriteFrame(media.Frame) error                     { w.frames++; return nil }
func (w *written) KeyFrameRequests() <-chan struct{}                { return nil }
func (w *written) Close(err error) {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	w.ledger.open--
	w.cause = err
	w.ledger.events = append(w.ledger.events, "close")
}

func over(b Broadcast) bool {
	select {
	case <-b.Done():
		return true
	default:
		return false
	}
}

// open opens the room or fails the test.
func open(t *testing.T, r *Registry, takeover bool) (Broadcast, media.TrackWriter) {
	t.Helper()
	b, err := r.Open(t.Context(), "demo", "", WHIP, takeover)
	if err != nil {
		t.Fatal(err)
	}
	w, err := b.AddTrack(media.Format{Codec: media.H264})
	if err != nil {
		t.Fatal(err)
	}
	return b, w
}

func TestRoomIsTakenWhileMediaFlows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		r := NewRegistry(l.factory, 0)
		b, w := open(t, r, false)
		for range 100 {
			time.Sleep(DefaultSilence - time.Millisecond)
			if err := w.WriteFrame(media.Frame{}); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Open(t.Context(), "demo", "", RTSP, false); !errors.Is(err, ErrRoomTaken) {
				t.Fatalf("second publisher: %v", err)
			}
		}
		if _, err := r.Open(t.Context(), "demo", "guest", RTSP, false); err != nil {
			t.Errorf("a co-host has a place of its own: %v", err)
		}
		if over(b) {
			t.Error("the first publisher was disturbed")
		}
	})
}

func TestSilentPublisherIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		r := NewRegistry(l.factory, 0)
		old, w := open(t, r, false)
		w.WriteFrame(media.Frame{})
		time.Sleep(DefaultSilence)
		next, _ := open(t, r, false)
		if !over(old) || !errors.Is(old.Err(), ErrTakenOver) {
			t.Errorf("old publisher: over %v, %v", over(old), old.Err())
		}
		if err := w.WriteFrame(media.Frame{}); !errors.Is(err, ErrTakenOver) {
			t.Errorf("old publisher writes on: %v", err)
		}
		old.Close(nil) // must not end the new one
		if over(next) {
			t.Error("the new publisher ended with the old")
		}
		if got := l.log(); got != "open demo, close, open demo" {
			t.Error(got)
		}
	})
}

func TestTakeoverOnRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		r := NewRegistry(l.factory, 0)
		old, w := open(t, r, false)
		w.WriteFrame(media.Frame{})
		open(t, r, true)
		if !errors.Is(old.Err(), ErrTakenOver) {
			t.Errorf("old publisher: %v", old.Err())
		}
	})
}

func TestRoomIsFreeAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		r := NewRegistry(l.factory, 0)
		b, w := open(t, r, false)
		b.Close(nil)
		b.Close(errors.New("again"))
		if !over(b) || b.Err() != nil {
			t.Errorf("over %v, %v", over(b), b.Err())
		}
		if err := w.WriteFrame(media.Frame{}); !errors.Is(err, ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
		if _, err := b.AddTrack(media.Format{}); !errors.Is(err, ErrClosed) {
			t.Errorf("track after close: %v", err)
		}
		if n := len(r.slots); n != 0 {
			t.Errorf("%d slots are kept", n)
		}
		open(t, r, false)
	})
}

func TestFailingFactoryFreesTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger{fail: errors.New("no disk")}
		r := NewRegistry(l.factory, 0)
		if _, err := r.Open(t.Context(), "demo", "", WHIP, false); !errors.Is(err, l.fail) {
			t.Fatalf("%v", err)
		}
		l.fail = nil
		open(t, r, false)
	})
}

// Whoever comes last wins, whatever the factory takes, and never are two
// writers of the same room open.
func TestStampedeOfTakeovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledger{delay: 10 * time.Millisecond}
		r := NewRegistry(l.factory, 0)
		var mu sync.Mutex
		var held []Broadcast
		var last Broadcast
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 3 * time.Millisecond)
				b, err := r.Open(t.Context(), "demo", "", WHIP, true)
				if err != nil {
					if !errors.Is(err, ErrTakenOver) {
						t.Errorf("publisher %d: %v", i, err)
					}
					return
				}
				mu.Lock()
				defer mu.Unlock()
				held = append(held, b)
				if i == 19 {
					last = b
				}
			})
		}
		wg.Wait()
		if last == nil || over(last) {
			t.Fatal("the last publisher has no room")
		}
		for _, b := range held {
			if b != last && !over(b) {
				t.Error("an earlier publisher is still there")
			}
		}
		if got := l.log(); strings.Contains(got, "BOTH") {
			t.Error(got)
		}
		last.Close(nil)
		if n := len(r.slots); n != 0 {
			t.Errorf("%d slots are kept", n)
		}
	})
}

// A protocol with a teardown of its own holds its successor up until it is
// done, but not for ever.
func TestSuccessorWaitsForRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		r := NewRegistry(l.factory, 0)
		c, err := r.Claim(t.Context(), "demo", "", "moq", false)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			<-c.Done()
			time.Sleep(time.Second)
			c.Release(nil)
		}()
		started := time.Now()
		b, _ := open(t, r, true)
		if d := time.Since(started); d != time.Second {
			t.Errorf("successor came after %v", d)
		}
		if !errors.Is(c.Err(), ErrTakenOver) {
			t.Errorf("%v", c.Err())
		}
		b.Close(nil)

		stuck, err := r.Claim(t.Context(), "demo", "", "moq", false)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Open(ctx, "demo", "", WHIP, true); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("behind a stuck predecessor: %v", err)
		}
		stuck.Release(nil)
		open(t, r, false)
	})
}

func TestEvict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l ledger
		r := NewRegistry(l.factory, 0)
		b, _ := open(t, r, false)
		if h := r.Holder("demo", ""); h == nil || h.Protocol != WHIP || len(r.Holders()) != 1 {
			t.Errorf("holder %+v of %d", h, len(r.Holders()))
		}
		banned := errors.New("banned")
		if !r.Evict("demo", "", banned) || !errors.Is(b.Err(), banned) {
			t.Errorf("evicted publisher: %v", b.Err())
		}
		if r.Evict("demo", "", banned) || r.Holder("demo", "") != nil || len(r.Holders()) != 0 {
			t.Error("somebody is left")
		}
	})
}

func TestValidName(t *testing.T) {
	for _, s := range []string{"a", "0", "demo", "my-room_2", strings.Repeat("x", 63)} {
		if !ValidName(s) {
			t.Errorf("%q refused", s)
		}
	}
	for _, s := range []string{"", "-a", "_a", "A", "a b", "a/b", "ä", "~a", "a.b", strings.Repeat("x", 64)} {
		if ValidName(s) {
			t.Errorf("%q taken", s)
		}
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := []string{}
	var d Drops
	for _, r := range Reasons() {
		if r.String() == "" || slices.Contains(seen, r.String()) {
			t.Errorf("reason %d is called %q", r, r)
		}
		seen = append(seen, r.String())
		d.Add(r, 2)
		if d.Count(r) != 2 {
			t.Errorf("%v: %d", r, d.Count(r))
		}
	}
	var none *Drops
	none.Add(PacketLost, 1)
	if none.Count(PacketLost) != 0 || reasonCount.String() != "unknown" {
		t.Error("out of range")
	}
}
