package session

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

// NamespacePublication is a Namespace that this end has announced and that the
// peer has accepted.
type NamespacePublication struct {
	cancel context.CancelCauseFunc
	done   chan struct{}
	err    error // set before done is closed
}

// Done is closed when the Namespace is withdrawn, by either end.
func (p *NamespacePublication) Done() <-chan struct{} { return p.done }

// Err returns nil until Done is closed. Afterwards it is ErrCancelled, or the
// reason why the session ended.
func (p *NamespacePublication) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Close withdraws the Namespace. It does not wait for Done.
func (p *NamespacePublication) Close() { p.cancel(ErrCancelled) }

// PublishNamespace tells the peer that there are Tracks under ns, and waits
// for the answer. A refusal is a *RequestError. The Namespace stays announced
// until Close, or until the peer revokes it; ctx is for the wait only.
func (s *Session) PublishNamespace(ctx context.Context, ns moq.Namespace) (*NamespacePublication, error) {
	r, err := s.openRequest(ctx, func(id uint64) wire.Message {
		return &wire.PublishNamespace{RequestID: id, Namespace: ns}
	})
	if err != nil {
		return nil, err
	}
	if err := r.expectOK(ctx); err != nil {
		r.release()
		return nil, err
	}
	p := &NamespacePublication{done: make(chan struct{})}
	reqCtx, cancel := context.WithCancelCause(s.ctx)
	p.cancel = cancel
	if !s.spawn(func() {
		defer r.release()
		p.err = r.hold(reqCtx)
		cancel(p.err)
		close(p.done)
	}) {
		cancel(nil)
		r.release()
		return nil, context.Cause(s.ctx)
	}
	return p, nil
}

// expectOK waits for REQUEST_OK.
func (r *requestStream) expectOK(ctx context.Context) error {
	m, err := r.answer(ctx)
	if err != nil {
		return err
	}
	if _, ok := m.(*wire.RequestOK); !ok {
		r.unexpected(m)
		return context.Cause(r.s.ctx)
	}
	return nil
}

// hold keeps a request of this end, on which the peer has nothing to say any
// more, until ctx ends or the peer cancels it, and returns why.
func (r *requestStream) hold(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { r.cancel(wire.ResetCancelled) })()
	m, err := r.receive()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err == nil:
		r.unexpected(m)
		return context.Cause(r.s.ctx)
	}
	r.cancel(wire.ResetCancelled)
	if errors.Is(err, io.EOF) {
		return ErrCancelled // nothing more will be said of it
	}
	return r.s.failed(err)
}

// servePublishNamespace takes note of a Namespace of the peer until it is
// withdrawn.
func (s *Session) servePublishNamespace(ctx context.Context, cancel context.CancelCauseFunc, r *requestStream, m *wire.PublishNamespace) {
	if err := s.cfg.Handler.PublishNamespace(ctx, m.Namespace); err != nil {
		s.log.Debug("request refused", "kind", "publish_namespace", "namespace", m.Namespace, "error", err)
		r.refuse(err)
		return
	}
	if r.send(ctx, &wire.RequestOK{}) != nil {
		r.cancel(wire.ResetCancelled)
		return
	}
	r.remain(ctx, cancel, func(*wire.RequestUpdate) {
		_ = r.send(ctx, &wire.RequestOK{}) // an error ends the request by itself
	})
}

// remain keeps a request of the peer until it is cancelled.
func (r *requestStream) remain(ctx context.Context, cancel context.CancelCauseFunc, update func(*wire.RequestUpdate)) {
	defer context.AfterFunc(ctx, func() { r.cancel(wire.ResetCancelled) })()
	if r.watch(cancel, update) && r.s.draft > wire.Draft18 {
		// "A FIN only indicates that an endpoint will send no further messages
		// in that direction; it is not a request cancellation." In draft 18 it
		// is: "Termination of a bidi request stream terminates the [...]
		// request."
		<-ctx.Done()
	}
}

// NamespaceEvent tells that a Namespace has been announced, or withdrawn.
type NamespaceEvent struct {
	Namespace moq.Namespace // the full one
	Live      bool          // false when it is withdrawn
}

// NamespaceSubscription follows the Namespaces that a peer knows under a
// prefix.
type NamespaceSubscription struct {
	s      *Session
	r      *requestStream
	prefix moq.Namespace
	ctx    context.Context
	cancel context.CancelCauseFunc

	// events has no room, so that what is not read waits at the peer. It is
	// closed when the request has ended.
	events chan NamespaceEvent
	live   map[string]moq.Namespace // of the reading goroutine, until then
	err    error                    // set before events is closed

	mu sync.Mutex // guards live after events has been closed
}

// SubscribeNamespace asks the peer for the Namespaces under prefix, those that
// exist and those to come, and waits for the answer. A refusal is a
// *RequestError. ctx is for the wait only. The caller reads with Next, and
// ends it with Close.
func (s *Session) SubscribeNamespace(ctx context.Context, prefix moq.Namespace) (*NamespaceSubscription, error) {
	r, err := s.openRequest(ctx, func(id uint64) wire.Message {
		return &wire.SubscribeNamespace{RequestID: id, Prefix: prefix}
	})
	if err != nil {
		return nil, err
	}
	if err := r.expectOK(ctx); err != nil {
		r.release()
		return nil, err
	}
	n := &NamespaceSubscription{
		s: s, r: r, prefix: prefix,
		events: make(chan NamespaceEvent), live: make(map[string]moq.Namespace),
	}
	n.ctx, n.cancel = context.WithCancelCause(s.ctx)
	if !s.spawn(n.run) {
		n.cancel(nil)
		r.release()
		return nil, context.Cause(s.ctx)
	}
	return n, nil
}

// Close ends the subscription. A Next that waits returns ErrCancelled.
func (n *NamespaceSubscription) Close() { n.cancel(ErrCancelled) }

// Next waits for the next event. Events that nobody reads wait at the peer.
// When the subscription ends, every Namespace that was live is withdrawn, and
// then Next returns why: io.EOF when the peer has no more to say, ErrCancelled
// after Close or when the peer gave it up, or the reason why the session
// ended.
func (n *NamespaceSubscription) Next(ctx context.Context) (NamespaceEvent, error) {
	select {
	case e, ok := <-n.events:
		if ok {
			return e, nil
		}
	case <-ctx.Done():
		return NamespaceEvent{}, context.Cause(ctx)
	}
	// "it SHOULD treat this as though each active namespace received a
	// NAMESPACE_DONE".
	n.mu.Lock()
	defer n.mu.Unlock()
	for key, ns := range n.live {
		delete(n.live, key)
		return NamespaceEvent{Namespace: ns}, nil
	}
	return NamespaceEvent{}, n.err
}

// errTooManyNamespaces ends a subscription that Limits.Namespaces bounds.
var errTooManyNamespaces = errors.New("session: too many namespaces under one prefix")

// run reads events until the request ends.
func (n *NamespaceSubscription) run() {
	defer n.r.release()
	defer close(n.events)
	defer context.AfterFunc(n.ctx, func() { n.r.cancel(wire.ResetCancelled) })()
	err := n.read()
	switch {
	case n.ctx.Err() != nil:
		err = context.Cause(n.ctx)
	case errors.Is(err, io.EOF), errors.Is(err, errTooManyNamespaces):
	default:
		err = n.s.failed(err)
	}
	n.err = err
	n.cancel(err)
}

func (n *NamespaceSubscription) read() error {
	for {
		m, err := n.r.receive()
		if err != nil {
			return err
		}
		var e NamespaceEvent
		switch m := m.(type) {
		case *wire.Namespace:
			e = NamespaceEvent{Namespace: n.prefix.Append(m.Suffix...), Live: true}
		case *wire.NamespaceDone:
			e = NamespaceEvent{Namespace: n.prefix.Append(m.Suffix...)}
		default:
			n.r.unexpected(m)
			return ErrCancelled
		}
		key := e.Namespace.Key()
		_, known := n.live[key]
		switch {
		case !e.Live && !known:
			// "If a subscriber receives a NAMESPACE_DONE before the
			// corresponding NAMESPACE, it MUST close the session".
			n.s.fail(violation("NAMESPACE_DONE for a namespace that was not announced"))
			return ErrCancelled
		case e.Live && known:
			continue // it is told a second time
		case e.Live && len(n.live) >= n.s.cfg.Limits.Namespaces:
			return errTooManyNamespaces
		}
		select {
		case n.events <- e:
		case <-n.ctx.Done():
			return context.Cause(n.ctx)
		}
		// From here on the reader of Next knows it.
		if e.Live {
			n.live[key] = e.Namespace
		} else {
			delete(n.live, key)
		}
	}
}

// serveSubscribeNamespace tells the peer of Namespaces until it cancels.
func (s *Session) serveSubscribeNamespace(ctx context.Context, cancel context.CancelCauseFunc, r *requestStream, m *wire.SubscribeNamespace) {
	if err := s.claimPrefix(m.Prefix); err != nil {
		r.refuse(err)
		return
	}
	q := &namespaceQueue{
		prefix: m.Prefix, limit: s.cfg.Limits.Namespaces, cancel: cancel,
		state: make(map[string]announced), wake: make(chan struct{}, 1),
	}
	defer s.dropPrefix(m.Prefix)
	if err := s.cfg.Handler.SubscribeNamespace(ctx, m.Prefix, q); err != nil {
		s.log.Debug("request refused", "kind", "subscribe_namespace", "namespace", m.Prefix, "error", err)
		r.refuse(err)
		return
	}
	if r.send(ctx, &wire.RequestOK{}) != nil {
		r.cancel(wire.ResetCancelled)
		return
	}
	sent := make(chan struct{})
	if !s.spawn(func() {
		defer close(sent)
		s.sendNamespaces(ctx, cancel, r, q)
	}) {
		return
	}
	r.remain(ctx, cancel, func(u *wire.RequestUpdate) {
		if u.Params.TrackNamespacePrefix != nil {
			// The Handler watches one prefix; a subscriber that wants another
			// one can ask anew. "the responder MUST close the bidi stream".
			if r.send(ctx, refusal(&RequestError{Code: wire.RequestNotSupported})) == nil {
				r.stream.Close()
			}
			cancel(ErrCancelled)
			return
		}
		_ = r.send(ctx, &wire.RequestOK{}) // an error ends the request by itself
	})
	cancel(ErrCancelled)
	<-sent
}

// sendNamespaces writes what the queue has until the request ends.
func (s *Session) sendNamespaces(ctx context.Context, cancel context.CancelCauseFunc, r *requestStream, q *namespaceQueue) {
	for {
		for m := q.next(); m != nil; m = q.next() {
			if r.send(ctx, m) != nil {
				cancel(ErrCancelled)
				return
			}
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return
		}
	}
}

// claimPrefix notes the prefix of a SUBSCRIBE_NAMESPACE. It fails when one
// that is in use is a prefix of it, or the other way round.
func (s *Session) claimPrefix(prefix moq.Namespace) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.prefixes {
		if p.HasPrefix(prefix) || prefix.HasPrefix(p) {
			return &RequestError{Code: wire.RequestPrefixOverlap}
		}
	}
	s.prefixes = append(s.prefixes, prefix)
	return nil
}

func (s *Session) dropPrefix(prefix moq.Namespace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range s.prefixes {
		if p.Equal(prefix) {
			s.prefixes = append(s.prefixes[:i:i], s.prefixes[i+1:]...)
			return
		}
	}
}

// namespaceQueue is the NamespaceSink of one SUBSCRIBE_NAMESPACE. It keeps the
// state of each Namespace and not a list of changes, so what a slow peer has
// not read yet is bounded by the number of Namespaces.
type namespaceQueue struct {
	prefix moq.Namespace
	limit  int
	cancel context.CancelCauseFunc
	wake   chan struct{} // has room for one

	mu    sync.Mutex
	state map[string]announced
	// changes holds the keys whose state the peer does not know, in the order
	// of their first change.
	changes []string
}

// announced is what is true of a Namespace and what the peer has been told.
type announced struct {
	ns           moq.Namespace
	live, told   bool
	queued       bool
	interruption bool // withdrawn and announced again since it was told
}

// Announce implements NamespaceSink.
func (q *namespaceQueue) Announce(ns moq.Namespace) { q.set(ns, true) }

// Withdraw implements NamespaceSink.
func (q *namespaceQueue) Withdraw(ns moq.Namespace) { q.set(ns, false) }

func (q *namespaceQueue) set(ns moq.Namespace, live bool) {
	if !ns.HasPrefix(q.prefix) {
		return
	}
	key := ns.Key()
	q.mu.Lock()
	defer q.mu.Unlock()
	a, known := q.state[key]
	if a.live == live {
		return
	}
	if !known && len(q.state) >= q.limit {
		q.cancel(errTooManyNamespaces)
		return
	}
	a.ns, a.live = ns, live
	if live && a.told {
		a.interruption = true
	}
	if !a.queued {
		a.queued = true
		q.changes = append(q.changes, key)
	}
	q.state[key] = a
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// next returns the next message for the peer, nil when it knows everything.
func (q *namespaceQueue) next() wire.Message {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.changes) > 0 {
		key := q.changes[0]
		a := q.state[key]
		suffix := a.ns[len(q.prefix):]
		if a.told && (a.interruption || !a.live) {
			// It is told of the end first, also when the Namespace is back.
			a.told, a.interruption = false, false
			if a.live {
				q.state[key] = a
				return &wire.NamespaceDone{Suffix: suffix}
			}
			delete(q.state, key)
			q.changes = q.changes[1:]
			return &wire.NamespaceDone{Suffix: suffix}
		}
		q.changes = q.changes[1:]
		a.queued, a.interruption = false, false
		if !a.live {
			delete(q.state, key) // it came and went unseen
			continue
		}
		tell := !a.told
		a.told = true
		q.state[key] = a
		if tell {
			return &wire.Namespace{Suffix: suffix}
		}
	}
	return nil
}
