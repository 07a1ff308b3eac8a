package relay

import (
	"context"
	"slices"
	"sync"

	"github.com/freshet-live/freshet/moq"
)

// NamespaceEvent tells that a Namespace can, or can no longer, be had.
type NamespaceEvent struct {
	Namespace moq.Namespace
	Live      bool
}

// namespaceTable knows which providers offer which Namespaces.
type namespaceTable struct {
	mu      sync.Mutex
	byKey   map[string]*announcement
	last    uint64 // offer.id
	changed chan struct{}
}

// announcement is one Namespace with all who offer it, the latest last. The
// slice is replaced, never changed.
type announcement struct {
	namespace moq.Namespace
	offers    []offer
}

// offer is one provider's. Its id is never used again, so that a watcher
// notices a publisher that went and came back between two looks.
type offer struct {
	provider
	id uint64
}

func newNamespaceTable() *namespaceTable {
	return &namespaceTable{byKey: make(map[string]*announcement), changed: make(chan struct{})}
}

// wake lets everybody who waits for a change look again.
func (t *namespaceTable) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wakeLocked()
}

func (t *namespaceTable) wakeLocked() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// announce adds p as a provider of ns until withdraw is called.
func (t *namespaceTable) announce(ns moq.Namespace, p provider) (withdraw func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := ns.Key()
	a := t.byKey[key]
	if a == nil {
		a = &announcement{namespace: ns}
		t.byKey[key] = a
	}
	t.last++
	id := t.last
	a.offers = append(slices.Clone(a.offers), offer{p, id})
	t.wakeLocked()
	return sync.OnceFunc(func() { t.withdraw(key, id) })
}

func (t *namespaceTable) withdraw(key string, id uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.byKey[key]
	a.offers = slices.DeleteFunc(slices.Clone(a.offers), func(o offer) bool { return o.id == id })
	if len(a.offers) == 0 {
		delete(t.byKey, key)
	}
	t.wakeLocked()
}

// match returns who offers ns or a prefix of it, longest prefix and latest
// announcement first, and a channel that is closed when that may change.
func (t *namespaceTable) match(ns moq.Namespace) (found []provider, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := len(ns); n >= 0; n-- {
		if a := t.byKey[ns[:n].Key()]; a != nil {
			for _, o := range slices.Backward(a.offers) {
				found = append(found, o.provider)
			}
		}
	}
	return found, t.changed
}

// NamespaceWatch follows the Namespaces under a prefix. It is not safe for
// concurrent use.
type NamespaceWatch struct {
	t       *namespaceTable
	prefix  moq.Namespace
	wanted  func(provider) bool
	seen    map[string]seenNamespace
	pending []NamespaceEvent
}

// seenNamespace is a Namespace with the latest offer of it that a watcher
// wants. Offers that it does not want make no event: two nodes that each have
// a publisher of the same Namespace would otherwise tell one another of it
// for ever.
type seenNamespace struct {
	namespace moq.Namespace
	offer     uint64
}

// latest returns the id of the latest offer that the watcher wants, 0 for
// none.
func (w *NamespaceWatch) latest(a *announcement) uint64 {
	for _, o := range slices.Backward(a.offers) {
		if w.wanted(o.provider) {
			return o.id
		}
	}
	return 0
}

// watch follows what others than one provider offer; nil leaves none out.
func (t *namespaceTable) watch(prefix moq.Namespace, except *remote) *NamespaceWatch {
	return t.watchWanted(prefix, func(p provider) bool { return except == nil || p != provider(except) })
}

// watchNearer follows what is offered by this process and by sessions from
// below, which is what an upstream must be told.
func (t *namespaceTable) watchNearer() *NamespaceWatch {
	return t.watchWanted(nil, func(p provider) bool {
		r, ok := p.(*remote)
		return !ok || !r.upstream
	})
}

func (t *namespaceTable) watchWanted(prefix moq.Namespace, wanted func(provider) bool) *NamespaceWatch {
	return &NamespaceWatch{t: t, prefix: prefix, wanted: wanted, seen: make(map[string]seenNamespace)}
}

// Next waits for the next change; at first it returns one event for each
// Namespace that is there. A Namespace whose publisher was replaced since the
// last look is withdrawn and announced again.
func (w *NamespaceWatch) Next(ctx context.Context) (NamespaceEvent, error) {
	for {
		if len(w.pending) > 0 {
			e := w.pending[0]
			w.pending = w.pending[1:]
			return e, nil
		}
		changed := w.look()
		if len(w.pending) > 0 {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return NamespaceEvent{}, context.Cause(ctx)
		}
	}
}

// look queues the differences between the table and what was seen.
func (w *NamespaceWatch) look() (changed <-chan struct{}) {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	for key, s := range w.seen {
		if a := w.t.byKey[key]; a == nil || w.latest(a) != s.offer {
			delete(w.seen, key)
			w.pending = append(w.pending, NamespaceEvent{Namespace: s.namespace})
		}
	}
	for key, a := range w.t.byKey {
		if _, ok := w.seen[key]; ok || !a.namespace.HasPrefix(w.prefix) {
			continue
		}
		id := w.latest(a)
		if id == 0 {
			continue
		}
		w.seen[key] = seenNamespace{a.namespace, id}
		w.pending = append(w.pending, NamespaceEvent{Namespace: a.namespace, Live: true})
	}
	return w.t.changed
}
