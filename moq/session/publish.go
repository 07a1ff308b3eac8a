package session

import (
	"context"
	"errors"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

// served holds the subscriptions that this end serves, by Request ID: those
// that the peer's SUBSCRIBE began and those that PUBLISH began. Session.mu
// guards it.
type served struct {
	// byID has a nil sender for a request that has not been answered.
	byID   map[uint64]*sender
	claims claims
}

func (t *served) init() {
	t.byID = make(map[uint64]*sender)
	t.claims = make(claims)
}

// setServed makes a subscription known to Joining FETCHes: first with a nil
// sender, while it is pending, then with its own.
func (s *Session) setServed(id uint64, d *sender) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served.byID[id] = d
	s.changedLocked()
}

// unsetServed ends a subscription for Joining FETCHes.
func (s *Session) unsetServed(id uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.served.byID, id)
	s.changedLocked()
}

// takeAlias returns a Track Alias that this end has not used before.
func (s *Session) takeAlias() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alias++
	return s.alias - 1
}

// trackFor asks the Handler for a Track.
func (s *Session) trackFor(ctx context.Context, kind RequestKind, name moq.FullTrackName, p *wire.Params, token string) (*moq.Track, error) {
	q := &TrackRequest{Kind: kind, Name: name, Token: token, Forward: p.Forward == nil || *p.Forward}
	if p.RendezvousTimeout != nil {
		q.RendezvousTimeout = p.RendezvousTimeout.Duration()
	}
	track, err := s.cfg.Handler.Track(ctx, q)
	if err == nil && track == nil {
		err = &RequestError{Code: wire.RequestDoesNotExist}
	}
	if err != nil && ctx.Err() == nil {
		s.log.Debug("request refused", "kind", kind, "track", name, "error", err)
	}
	return track, err
}

// serveSubscribe serves a SUBSCRIBE of the peer until it ends.
func (s *Session) serveSubscribe(ctx context.Context, cancel context.CancelCauseFunc, r *requestStream, m *wire.Subscribe, token string) {
	release, err := s.claim(ctx, s.served.claims, m.Name, true)
	if err != nil {
		r.refuse(err)
		return
	}
	defer release()

	var d *sender
	answered := make(chan struct{})
	watched := make(chan struct{})
	if !s.spawn(func() {
		defer close(watched)
		r.watch(cancel, func(u *wire.RequestUpdate) {
			select {
			case <-answered:
				r.applyUpdate(ctx, d, u)
			case <-ctx.Done():
			}
		})
	}) {
		return
	}
	track, err := s.trackFor(ctx, Subscribe, m.Name, &m.Params, token)
	if err == nil {
		d, err = s.newSender(ctx, track, s.takeAlias(), &m.Params)
	}
	var largest *moq.Location
	if err == nil {
		largest = d.largest()
		err = r.send(ctx, &wire.SubscribeOK{
			Alias: d.alias, Params: wire.Params{LargestObject: largest}, Properties: included(track, &m.Params),
		})
		if err != nil {
			d.drop()
		}
	}
	if r.unanswered(ctx, cancel, err) {
		<-watched
		return
	}
	s.setServed(r.id, d)
	d.fill(r.id, m.Params.Fill, largest)
	close(answered)
	code, err := d.run()
	_ = s.endPublishing(ctx, r, d, code, err) // nobody is left to be told
	release()
	r.awaitEnd(watched)
}

// endPublishing sends PUBLISH_DONE after all streams have been closed, unless
// the subscriber has cancelled; then it returns why.
func (s *Session) endPublishing(ctx context.Context, r *requestStream, d *sender, code wire.PublishDoneCode, err error) error {
	if ctx.Err() != nil {
		r.cancel(wire.ResetCancelled)
		return context.Cause(ctx)
	}
	m := &wire.PublishDone{Code: code, StreamCount: d.opened}
	var done *PublishDoneError
	if errors.As(err, &done) && len(done.Reason) <= wire.MaxReasonLength {
		m.Reason = done.Reason
	}
	if err := r.send(ctx, m); err != nil {
		r.cancel(wire.ResetCancelled)
		return s.failed(err)
	}
	r.stream.Close()
	return nil
}

// awaitEnd waits until the peer has ended its direction too, and stops it when
// it does not.
func (r *requestStream) awaitEnd(watched <-chan struct{}) {
	t := time.NewTimer(r.s.cfg.Limits.DoneTimeout)
	defer t.Stop()
	select {
	case <-watched:
	case <-t.C:
		r.stream.Stop(r.s.draft.ResetNumber(wire.ResetCancelled))
		<-watched
	}
}

// applyUpdate answers a REQUEST_UPDATE of a subscriber. One that fails ends
// the subscription.
func (r *requestStream) applyUpdate(ctx context.Context, d *sender, u *wire.RequestUpdate) {
	largest, err := d.update(&u.Params)
	if err != nil {
		if r.send(ctx, refusal(err)) == nil {
			d.cancel(&PublishDoneError{Code: wire.DoneUpdateFailed})
		}
		return
	}
	// An error is the end of the stream, which ends the subscription by itself.
	_ = r.send(ctx, &wire.RequestOK{Params: wire.Params{LargestObject: largest}})
	d.fill(u.RequestID, u.Params.Fill, largest)
}

// serveTrackStatus answers a TRACK_STATUS.
func (s *Session) serveTrackStatus(ctx context.Context, r *requestStream, m *wire.TrackStatus, token string) {
	track, err := s.trackFor(ctx, TrackStatus, m.Name, &m.Params, token)
	if err != nil {
		r.refuse(err)
		return
	}
	ok := &wire.RequestOK{Properties: included(track, &m.Params)}
	if l, begun := track.Largest(); begun {
		ok.Params.LargestObject = &l
	}
	if r.send(ctx, ok) != nil {
		r.cancel(wire.ResetCancelled)
		return
	}
	r.finish()
}

// Status is what a publisher says of a Track.
type Status struct {
	// Largest is the largest Location, nil when the Track has no Objects yet.
	Largest    *moq.Location
	Properties moq.Properties
}

// TrackStatus asks the peer for the status of a Track. A refusal is a
// *RequestError.
func (s *Session) TrackStatus(ctx context.Context, name moq.FullTrackName, token string) (Status, error) {
	r, err := s.openRequest(ctx, func(id uint64) wire.Message {
		return &wire.TrackStatus{RequestID: id, Name: name, Params: wire.Params{Tokens: tokenOf(token)}}
	})
	if err != nil {
		return Status{}, err
	}
	defer r.release()
	m, err := r.answer(ctx)
	if err != nil {
		return Status{}, err
	}
	ok, isOK := m.(*wire.RequestOK)
	if !isOK {
		r.unexpected(m)
		return Status{}, context.Cause(s.ctx)
	}
	r.finish()
	if err := s.supported(ok.Properties); err != nil {
		return Status{}, err
	}
	return Status{Largest: ok.Params.LargestObject, Properties: ok.Properties}, nil
}

// Publication is a Track that this end has offered with PUBLISH and that the
// peer has accepted.
type Publication struct {
	d    *sender
	done chan struct{}
	err  error // set before done is closed
}

// Done is closed when the publication has ended.
func (p *Publication) Done() <-chan struct{} { return p.done }

// Err returns why the publication ended, once Done is closed: nil after the
// end of the Track or Close, ErrCancelled when the peer gave it up, or the
// reason why the session ended.
func (p *Publication) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Close ends the publication with PUBLISH_DONE. Streams that are open are
// reset. It does not wait for Done.
func (p *Publication) Close() {
	p.d.cancel(&PublishDoneError{Code: wire.DoneTrackEnded})
}

// Publish offers a Track to the peer with PUBLISH and waits for the answer. A
// refusal is a *RequestError. Objects that are published from now on are sent;
// the peer can FETCH earlier ones. The publication then goes on until the
// Track ends, Close is called or the peer cancels; ctx is for the wait only.
func (s *Session) Publish(ctx context.Context, track *moq.Track) (*Publication, error) {
	release, err := s.claim(ctx, s.served.claims, track.Name(), false)
	if err != nil {
		return nil, err
	}
	p, err := s.startPublishing(ctx, track, release)
	if err != nil {
		release()
	}
	return p, err
}

func (s *Session) startPublishing(ctx context.Context, track *moq.Track, release func()) (*Publication, error) {
	d, err := s.newSender(s.ctx, track, s.takeAlias(), &wire.Params{})
	if err != nil {
		return nil, err
	}
	r, err := s.offer(ctx, d)
	if err != nil {
		d.drop()
		return nil, err
	}
	p := &Publication{d: d, done: make(chan struct{})}
	s.setServed(r.id, d)
	if !s.spawn(func() { s.publish(p, r, release) }) {
		s.unsetServed(r.id)
		r.release()
		d.drop()
		return nil, context.Cause(s.ctx)
	}
	return p, nil
}

// offer sends PUBLISH and applies what PUBLISH_OK says.
func (s *Session) offer(ctx context.Context, d *sender) (*requestStream, error) {
	r, err := s.openRequest(ctx, func(id uint64) wire.Message {
		s.setServed(id, nil)
		return &wire.Publish{
			RequestID: id, Name: d.track.Name(), Alias: d.alias,
			Params: wire.Params{LargestObject: d.largest()}, Properties: d.track.Properties(),
		}
	})
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*requestStream, error) {
		s.unsetServed(r.id)
		r.release()
		return nil, err
	}
	m, err := r.answer(ctx)
	if err != nil {
		return fail(err)
	}
	ok, isOK := m.(*wire.RequestOK)
	if !isOK {
		r.unexpected(m)
		return fail(context.Cause(s.ctx))
	}
	if ok.Params.GroupOrder != moq.GroupOrderPublisher {
		d.lane.order = ok.Params.GroupOrder
	}
	if _, err := d.update(&ok.Params); err != nil {
		r.cancel(wire.ResetCancelled)
		return fail(err)
	}
	return r, nil
}

// publish serves a PUBLISH of this end until it ends.
func (s *Session) publish(p *Publication, r *requestStream, release func()) {
	defer r.release()
	defer s.unsetServed(r.id)
	ctx, cancel := context.WithCancelCause(s.ctx)
	defer cancel(nil)
	defer r.onStop(cancel)()
	defer context.AfterFunc(ctx, func() { p.d.cancel(context.Cause(ctx)) })()
	watched := make(chan struct{})
	if !s.spawn(func() {
		defer close(watched)
		r.watch(cancel, func(u *wire.RequestUpdate) { r.applyUpdate(ctx, p.d, u) })
	}) {
		close(watched)
	}
	code, err := p.d.run()
	p.err = s.endPublishing(ctx, r, p.d, code, err)
	var done *PublishDoneError
	if p.err == nil && code != wire.DoneTrackEnded {
		p.err = err // how the Track or the subscription ended
	}
	if errors.As(p.err, &done) && done.Code == wire.DoneTrackEnded {
		p.err = nil
	}
	release()
	close(p.done)
	r.awaitEnd(watched)
}
