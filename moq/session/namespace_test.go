package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/wire"
)

// What a slow subscriber of Namespaces has not been told yet is kept as state:
// it is never told of an end before a beginning, and a Namespace that came and
// went unseen is not mentioned.
func TestNamespaceQueue(t *testing.T) {
	ns := func(f string) moq.Namespace { return moq.Namespace{"live", f} }
	var cancelled error
	q := &namespaceQueue{
		prefix: moq.Namespace{"live"}, limit: 3, cancel: func(err error) { cancelled = err },
		state: make(map[string]announced), wake: make(chan struct{}, 1),
	}
	said := func() string {
		var all []string
		for m := q.next(); m != nil; m = q.next() {
			switch m := m.(type) {
			case *wire.Namespace:
				all = append(all, "+"+m.Suffix.String())
			case *wire.NamespaceDone:
				all = append(all, "-"+m.Suffix.String())
			}
		}
		return strings.Join(all, " ")
	}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() { q.Announce(ns("a")); q.Announce(ns("b")); q.Announce(ns("a")) }, "+a +b"},
		{func() { q.Withdraw(ns("a")) }, "-a"},
		{func() { q.Withdraw(ns("a")); q.Withdraw(ns("x")) }, ""},
		{func() { q.Announce(ns("c")); q.Withdraw(ns("c")) }, ""},
		{func() { q.Withdraw(ns("b")); q.Announce(ns("b")) }, "-b +b"},
		{func() { q.Withdraw(ns("b")); q.Announce(ns("b")); q.Withdraw(ns("b")) }, "-b"},
		{func() { q.Announce(moq.Namespace{"other"}) }, ""},
		{func() { q.Announce(moq.Namespace{"live"}) }, "+"},
		{func() { q.Announce(ns("a")); q.Announce(ns("b")) }, "+a +b"},
	} {
		step.do()
		if got := said(); got != step.want {
			t.Errorf("said %q, want %q", got, step.want)
		}
	}
	if cancelled != nil {
		t.Errorf("cancelled with %v", cancelled)
	}
	if q.Announce(ns("d")); !errors.Is(cancelled, errTooManyNamespaces) {
		t.Error("one namespace too many was taken")
	}
}

// A subscriber of Namespaces does not let the peer fill its memory.
func TestTooManyNamespaces(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleClient, Config{Limits: Limits{Namespaces: 2}})
		result := make(chan *NamespaceSubscription, 1)
		go func() {
			n, err := p.s.SubscribeNamespace(t.Context(), moq.Namespace{"p"})
			if err != nil {
				t.Error(err)
			}
			result <- n
		}()
		e, _ := p.accept()
		e.send(&wire.RequestOK{})
		n := <-result
		for i := range 3 {
			e.send(&wire.Namespace{Suffix: moq.Namespace{fmt.Sprint(i)}})
		}
		live := 0
		for range 4 {
			ev := must[NamespaceEvent](t)(n.Next(t.Context()))
			if ev.Live {
				live++
			} else {
				live--
			}
		}
		if _, err := n.Next(t.Context()); !errors.Is(err, errTooManyNamespaces) || live != 0 {
			t.Errorf("ended with %v, %d live", err, live)
		}
		e.wantReset()
		p.wantOpen()
	})
}

func TestNamespaceSubscriptionEnds(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		relay := newNode()
		p := connect(t, pipe, Config{}, Config{Handler: relay})
		sub := must[*NamespaceSubscription](t)(p.client.SubscribeNamespace(t.Context(), nil))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if _, err := sub.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting ended with %v", err)
		}
		cancel()
		sub.Close()
		if _, err := sub.Next(t.Context()); !errors.Is(err, ErrCancelled) {
			t.Errorf("ended with %v", err)
		}
		synctest.Wait()
		if len(relay.sinks) != 0 {
			t.Error("the peer still tells of namespaces")
		}
		// The prefix is free again.
		sub = must[*NamespaceSubscription](t)(p.client.SubscribeNamespace(t.Context(), nil))
		p.close()
		if _, err := sub.Next(t.Context()); err == nil {
			t.Error("no error after the end of the session")
		}
	})
}

// A FIN of the publisher of a Namespace withdraws it in draft 18 ("Termination
// of a bidi request stream terminates the [...] Publish Namespace [...]
// request", Stream Cancellation) and not in draft 19 ("it is not a request
// cancellation", Graceful Request Stream Closure); a reset does in both.
func TestNamespaceFIN(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n := newNode()
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		publish := func() *exchange {
			e := p.request(func(id uint64) wire.Message {
				return &wire.PublishNamespace{RequestID: id, Namespace: moq.Namespace{"a"}}
			})
			next[*wire.RequestOK](e)
			return e
		}
		e := publish()
		check(t, e.st.Close())
		synctest.Wait()
		if left := len(n.namespaces); (left == 1) != (p.draft > wire.Draft18) {
			t.Errorf("%d namespaces after a FIN", left)
		}
		e.st.Stop(uint64(wire.ResetCancelled))
		synctest.Wait()
		e = publish()
		e.send(&wire.RequestUpdate{RequestID: p.nextID()})
		next[*wire.RequestOK](e)
		e.st.Reset(uint64(wire.ResetCancelled))
		synctest.Wait()
		if left := len(n.namespaces); left != 0 {
			t.Errorf("%d namespaces after a reset", left)
		}
	})
}

// A subscriber that takes back its acceptance ends the publication.
func TestNamespaceRevoked(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleClient, Config{})
		result := make(chan *NamespacePublication, 1)
		go func() {
			n, err := p.s.PublishNamespace(t.Context(), moq.Namespace{"a"})
			if err != nil {
				t.Error(err)
			}
			result <- n
		}()
		e, _ := p.accept()
		e.send(&wire.RequestOK{})
		n := <-result
		if n.Err() != nil {
			t.Errorf("error %v while it is announced", n.Err())
		}
		e.st.Stop(uint64(wire.ResetCancelled))
		e.st.Reset(uint64(wire.ResetCancelled))
		<-n.Done()
		if !errors.Is(n.Err(), ErrCancelled) {
			t.Errorf("ended with %v", n.Err())
		}
	})
}
