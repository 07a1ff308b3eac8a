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
	epoch   uint64
	changed chan struct{}
}

// announcement is one Namespace with all who offer it, the latest last.
type announcement struct {
	namespace moq.Namespace
	providers []provider
	// epoch changes whenever the set of providers does, so that a watcher
	// notices a publisher that went and came back between two looks.
	epoch uint64
}

func newNamespaceTable() *namespaceTable {
	return &namespaceTable{byKey: make(map[string]*announcement), changed: make(chan struct{})}
}

func (t *namespaceTable) changeLocked(a *announcement) {
	t.epoch++
	a.epoch = t.epoch
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
	a.providers = append(slices.Clone(a.providers), p)
	t.changeLocked(a)
	return sync.OnceFunc(func() { t.withdraw(key, p) })
}

func (t *namespaceTable) withdraw(key string, p provider) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.byKey[key]
	if a == nil {
		return
	}
	if i := slices.Index(a.providers, p); i >= 0 {
		a.providers = slices.Delete(slices.Clone(a.providers), i, i+1)
	}
	t.changeLocked(a)
	if len(a.providers) == 0 {
		delete(t.byKey, key)
	}
}

// match returns who offers ns or a prefix of it, longest prefix and latest
// announcement first, and a channel that is closed when that may change.
func (t *namespaceTable) match(ns moq.Namespace) (found []provider, changed <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := len(ns); n >= 0; n-- {
		if a := t.byKey[ns[:n].Key()]; a != nil {
			for _, p := range slices.Backward(a.providers) {
				found = append(found, p)
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

type seenNamespace struct {
	namespace moq.Namespace
	epoch     uint64
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
		if a := w.t.byKey[key]; a == nil || a.epoch != s.epoch || !slices.ContainsFunc(a.providers, w.wanted) {
			delete(w.seen, key)
			w.pending = append(w.pending, NamespaceEvent{Namespace: s.namespace})
		}
	}
	for key, a := range w.t.byKey {
		if _, ok := w.seen[key]; ok || !a.namespace.HasPrefix(w.prefix) || !slices.ContainsFunc(a.providers, w.wanted) {
			continue
		}
		w.seen[key] = seenNamespace{a.namespace, a.epoch}
		w.pending = append(w.pending, NamespaceEvent{Namespace: a.namespace, Live: true})
	}
	return w.t.changed
}
