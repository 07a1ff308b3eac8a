package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

// SubscribeOptions say what to receive of a Track.
type SubscribeOptions struct {
	// Filter selects the Objects. The zero value is the Largest Object filter:
	// all that follow the newest one.
	Filter wire.Filter
	// Join also fetches the Group that is current at the publisher, so that
	// the Track starts with that Group's first Object. Streams of that Group
	// wait, in flow control, until what precedes them is there; when it cannot
	// be fetched they go on without. It needs the zero Filter. Where there are
	// no Joining FETCHes, since draft 20, a fill takes their place.
	Join bool
	// Priority is the Subscriber Priority, lower is more urgent; 0 means
	// moq.DefaultPriority.
	Priority uint8
	// Order is the Group Order; by default the publisher's.
	Order moq.GroupOrder
	// Paused begins with Forward State 0: no Objects come until an Update.
	Paused bool
	// NewGroup asks the publisher to begin a new Group, if the Track can.
	NewGroup bool
	// DeliveryTimeout is the OBJECT_DELIVERY_TIMEOUT, SubgroupTimeout the
	// SUBGROUP_DELIVERY_TIMEOUT; 0 is none.
	DeliveryTimeout time.Duration
	SubgroupTimeout time.Duration
	// RendezvousTimeout is how long a relay may wait for a publisher to
	// appear.
	RendezvousTimeout time.Duration
	// Token authorises the request.
	Token string
	// Into returns the writer that is to be filled, once the peer has said
	// what the Track Properties are. Its owner ends it. Without it the session
	// makes the Track, and ends it with the subscription.
	Into func(moq.Properties) (*moq.TrackWriter, error)
}

// Update changes a subscription. What is nil or 0 stays as it is.
type Update struct {
	Filter   *wire.Filter
	Forward  *bool
	Priority uint8
	// NewGroup asks for a Group with an ID of at least this; 0 does not ask.
	NewGroup        uint64
	DeliveryTimeout *time.Duration
	Token           string
}

// Subscription fills a Track with what the peer publishes.
type Subscription struct {
	track   *moq.Track
	own     bool // the session ends the Track
	largest *moq.Location
	in      *inbound
	r       *requestStream
	done    chan struct{}
	err     error // set before done is closed
}

// Track returns the Track that is filled.
func (p *Subscription) Track() *moq.Track { return p.track }

// Largest returns the largest Location that the publisher had when it accepted
// the subscription; false when the Track had no Objects.
func (p *Subscription) Largest() (moq.Location, bool) {
	if p.largest == nil {
		return moq.Location{}, false
	}
	return *p.largest, true
}

// Done is closed when the subscription has ended.
func (p *Subscription) Done() <-chan struct{} { return p.done }

// Err returns nil while the subscription goes on. Afterwards it is a
// *PublishDoneError when the publisher is done (with wire.DoneTrackEnded when
// all is well), ErrCancelled after Close or when the publisher gave up, a
// *wire.MalformedTrackError, or the reason why the session ended.
func (p *Subscription) Err() error {
	select {
	case <-p.done:
		return p.err
	default:
		return nil
	}
}

// Close cancels the subscription. It does not wait for Done.
func (p *Subscription) Close() { p.in.cancel(ErrCancelled) }

// Update sends REQUEST_UPDATE and waits for the answer. A refusal is a
// *RequestError, and the publisher then ends the subscription.
func (p *Subscription) Update(ctx context.Context, u Update) error {
	params := wire.Params{Filter: u.Filter, Forward: u.Forward, Tokens: tokenOf(u.Token)}
	if u.Priority != 0 {
		params.SubscriberPriority = &u.Priority
	}
	if u.NewGroup != 0 {
		params.NewGroupRequest = &u.NewGroup
	}
	if u.DeliveryTimeout != nil {
		ms := wire.MillisecondsOf(*u.DeliveryTimeout)
		params.ObjectDeliveryTimeout = &ms
	}
	return p.in.updates.send(ctx, params)
}

// Subscribe asks the peer for a Track and waits for SUBSCRIBE_OK. A refusal is
// a *RequestError. The subscription then goes on until the publisher is done
// or Close is called; ctx is for the wait only.
func (s *Session) Subscribe(ctx context.Context, name moq.FullTrackName, opts SubscribeOptions) (*Subscription, error) {
	if opts.Join && opts.Filter.Type != 0 {
		return nil, errors.New("session: Join needs the Largest Object filter")
	}
	release, err := s.claim(ctx, s.inbound.claims, name, false)
	if err != nil {
		return nil, err
	}
	p, err := s.subscribe(ctx, name, opts, release)
	if err != nil {
		release()
		return nil, err
	}
	return p, nil
}

func (o *SubscribeOptions) params() wire.Params {
	priority, forward := cmp.Or(o.Priority, moq.DefaultPriority), !o.Paused
	filter := o.Filter
	filter.Type = cmp.Or(filter.Type, wire.FilterLargestObject)
	p := wire.Params{
		Filter: &filter, SubscriberPriority: &priority, GroupOrder: o.Order,
		Forward: &forward, Tokens: tokenOf(o.Token),
	}
	if o.NewGroup {
		p.NewGroupRequest = new(uint64)
	}
	timeout := func(d time.Duration) *wire.Milliseconds {
		if d <= 0 {
			return nil
		}
		ms := wire.MillisecondsOf(d)
		return &ms
	}
	p.ObjectDeliveryTimeout = timeout(o.DeliveryTimeout)
	p.SubgroupDeliveryTimeout = timeout(o.SubgroupTimeout)
	p.RendezvousTimeout = timeout(o.RendezvousTimeout)
	return p
}

func (s *Session) subscribe(ctx context.Context, name moq.FullTrackName, opts SubscribeOptions, release func()) (*Subscription, error) {
	joining := opts.Join && !opts.Paused
	params := opts.params()
	var f *fetch
	if joining && s.dialect.Fill {
		f = s.newFetch(moq.GroupOrderAscending)
		params.Fill = &wire.Params{
			Filter: &wire.Filter{Type: wire.FilterRelativeStart, Groups: 1}, GroupOrder: moq.GroupOrderAscending,
		}
	}
	r, err := s.openRequest(ctx, func(id uint64) wire.Message {
		if f != nil {
			f.expect(id)
		}
		return &wire.Subscribe{RequestID: id, Name: name, Params: params}
	})
	if err != nil {
		if f != nil {
			f.end(err)
		}
		return nil, err
	}
	fail := func(err error) (*Subscription, error) {
		if f != nil {
			f.end(err)
		}
		r.cancel(wire.ResetCancelled)
		r.release()
		return nil, err
	}
	if joining && f == nil {
		// It goes out at once: "Because Joining Fetch references an existing
		// subscription, if that subscription has not yet been established, the
		// Publisher receiving the Joining Fetch buffers" it.
		if f, err = s.openJoiningFetch(ctx, r.id, opts.Priority); err != nil {
			return fail(err)
		}
	}
	m, err := r.answer(ctx)
	if err != nil {
		return fail(err)
	}
	ok, isOK := m.(*wire.SubscribeOK)
	if !isOK {
		r.unexpected(m)
		return fail(context.Cause(s.ctx))
	}
	// "For SUBSCRIBE_OK messages: the subscriber MUST cancel the subscription".
	if err := s.supported(ok.Properties); err != nil {
		return fail(err)
	}
	p := &Subscription{r: r, own: opts.Into == nil, largest: ok.Params.LargestObject, done: make(chan struct{})}
	var w *moq.TrackWriter
	if opts.Into != nil {
		if w, err = opts.Into(ok.Properties); err != nil {
			return fail(err)
		}
	} else {
		w = moq.NewTrack(name, moq.TrackConfig{Properties: ok.Properties})
	}
	p.track = w.Track()
	var j *join
	if f != nil {
		j = newJoin(s.ctx, ok.Params.LargestObject)
	}
	if p.in, err = s.newInbound(s.ctx, r, name, ok.Alias, w, j); err != nil {
		s.fail(err)
		return fail(err)
	}
	p.in.release = release
	if j != nil {
		j.start(p.in, f)
	}
	if !s.spawn(func() { s.subscribed(p) }) {
		p.in.remove(context.Cause(s.ctx))
		r.release()
		return nil, context.Cause(s.ctx)
	}
	return p, nil
}

// supported returns an UNSUPPORTED_EXTENSION error for Mandatory Track
// Properties, none of which is understood here.
func (s *Session) supported(p moq.Properties) error {
	if typ, unknown := s.draft.UnknownMandatory(p); unknown {
		return &RequestError{Code: wire.RequestUnsupportedExtension, Reason: fmt.Sprintf("track property %#x", typ)}
	}
	return nil
}

// subscribed receives a subscription until it ends.
func (s *Session) subscribed(p *Subscription) {
	defer p.r.release()
	err := p.in.follow(nil)
	p.in.remove(err)
	p.err = err
	if p.own {
		p.in.writer.End(trackEnd(err))
	}
	close(p.done)
}

// trackEnd returns what a Track ends with when its subscription ended with
// err: nil when the publisher has nothing more to say.
func trackEnd(err error) error {
	var done *PublishDoneError
	if errors.As(err, &done) && (done.Code == wire.DoneTrackEnded || done.Code == wire.DoneSubscriptionEnded) {
		return nil
	}
	return err
}

// updates sends REQUEST_UPDATEs, one at a time, so that answers need no
// matching and every MAX_REQUEST_UPDATES is kept.
type updates struct {
	r    *requestStream
	turn turn            // whoever has it has an unanswered update
	done <-chan struct{} // closed when no answer will come any more

	mu     sync.Mutex
	waiter chan wire.Message // of the unanswered update
}

// send sends an update and waits for its answer.
func (u *updates) send(ctx context.Context, params wire.Params) error {
	return u.sendWith(ctx, params, nil)
}

// sendWith is send that tells before, unless that is nil, the Request ID.
func (u *updates) sendWith(ctx context.Context, params wire.Params, before func(id uint64)) error {
	if err := u.turn.take(ctx, u.done); err != nil {
		return u.r.s.failed(err)
	}
	waiter := make(chan wire.Message, 1)
	u.mu.Lock()
	u.waiter = waiter
	u.mu.Unlock()
	if err := u.r.update(ctx, params, before); err != nil {
		if u.take() != nil {
			u.turn.give()
		}
		return u.r.s.failed(err)
	}
	select {
	case m := <-waiter:
		if e, ok := m.(*wire.RequestError); ok {
			return refused(e)
		}
		return nil
	case <-u.done:
		return u.r.s.failed(ErrCancelled)
	case <-ctx.Done():
		return context.Cause(ctx) // the answer will give the turn back
	}
}

// take returns who waits for an answer, if anybody does.
func (u *updates) take() chan wire.Message {
	u.mu.Lock()
	defer u.mu.Unlock()
	w := u.waiter
	u.waiter = nil
	return w
}

// answer passes an answer on. It returns false when there was none to come.
func (u *updates) answer(m wire.Message) bool {
	w := u.take()
	if w == nil {
		return false
	}
	w <- m
	u.turn.give()
	return true
}

// follow reads what the publisher says on the stream of a subscription until
// that ends, and returns why: a *PublishDoneError after the last data stream
// has ended, else what ended it early. update answers a REQUEST_UPDATE of the
// publisher; it is nil where there may be none.
func (in *inbound) follow(update func(*wire.RequestUpdate)) error {
	r := in.updates.r
	stop := context.AfterFunc(in.ctx, func() { r.cancel(wire.ResetCancelled) })
	defer stop()
	if dynamicGroups(in.writer.Track().Properties()) {
		in.s.spawn(in.passDemand)
	}
	for {
		m, err := r.receive()
		if in.ctx.Err() != nil {
			return context.Cause(in.ctx)
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			// "An endpoint that receives a FIN before all required messages
			// have arrived treats the request as failed."
			r.cancel(wire.ResetCancelled)
			return ErrCancelled
		default:
			r.cancel(wire.ResetCancelled)
			return in.s.failed(err)
		}
		switch m := m.(type) {
		case *wire.PublishDone:
			in.release() // only late streams are still to come
			in.awaitLate(m.StreamCount)
			if in.ctx.Err() != nil {
				return context.Cause(in.ctx)
			}
			if stop() {
				r.finish()
			}
			return &PublishDoneError{Code: m.Code, Reason: m.Reason}
		case *wire.RequestOK, *wire.RequestError:
			if !in.updates.answer(m) {
				r.unexpected(m)
			}
		case *wire.RequestUpdate:
			if update == nil {
				// "An endpoint that receives a REQUEST_UPDATE other than in the
				// two cases above MUST close the session".
				r.unexpected(m)
				continue
			}
			update(m)
		case *wire.PublishStateNotify:
			// What it says of the subscription, its Objects show.
		default:
			r.unexpected(m)
		}
	}
}

// awaitLate waits for the streams that a PUBLISH_DONE has overtaken.
func (in *inbound) awaitLate(count uint64) {
	limit := in.s.cfg.Limits.DoneTimeout
	for _, typ := range []uint64{moq.PropertyObjectDeliveryTimeout, moq.PropertySubgroupDeliveryTimeout} {
		// "SHOULD set a timer of at least the larger of
		// SUBGROUP_DELIVERY_TIMEOUT or OBJECT_DELIVERY_TIMEOUT", within reason.
		limit = max(limit, min(deliveryTimeout(in.writer.Track().Properties(), typ, 0), time.Minute))
	}
	ctx, cancel := context.WithTimeout(in.ctx, limit)
	defer cancel()
	in.awaitStreams(ctx, count)
}

// passDemand tells the publisher when a reader of the Track asks for a new
// Group. "After sending a NEW_GROUP_REQUEST upstream, the request is
// considered outstanding until the Largest Group increases", and one that is
// not greater is not sent again.
func (in *inbound) passDemand() {
	var sent uint64
	for in.ctx.Err() == nil {
		changed := in.writer.DemandChanged()
		if want := in.writer.Demand().NewGroup; want > sent {
			sent = want
			if l, ok := in.writer.Track().Largest(); !ok || want > l.Group {
				if in.updates.send(in.ctx, wire.Params{NewGroupRequest: &want}) != nil {
					return
				}
				continue
			}
		}
		select {
		case <-changed:
		case <-in.ctx.Done():
		case <-in.writer.Track().Done():
			return
		}
	}
}

// openJoiningFetch asks for the current Group of a subscription of this end.
func (s *Session) openJoiningFetch(ctx context.Context, joined uint64, priority uint8) (*fetch, error) {
	priority = cmp.Or(priority, moq.DefaultPriority)
	return s.openFetch(ctx, moq.GroupOrderAscending, func(id uint64) *wire.Fetch {
		return &wire.Fetch{
			RequestID: id, FetchType: wire.FetchRelativeJoining, JoiningRequestID: joined,
			Params: wire.Params{SubscriberPriority: &priority},
		}
	})
}

// newJoin makes the state of a Joining FETCH. largest is the Joining Location,
// nil when the Track has no Objects.
func newJoin(ctx context.Context, largest *moq.Location) *join {
	j := &join{done: make(chan struct{}), empty: largest == nil}
	j.ctx, j.cancel = context.WithCancelCause(ctx)
	if j.empty {
		j.cancel(ErrCancelled)
	} else {
		j.group = largest.Group
	}
	return j
}

// start lets the fetch fill the Track.
func (j *join) start(in *inbound, f *fetch) {
	stopWithIn := context.AfterFunc(in.ctx, func() { j.cancel(context.Cause(in.ctx)) })
	stop := context.AfterFunc(j.ctx, func() { f.cancel(context.Cause(j.ctx)) })
	f.in = in
	if f.r != nil {
		f.in = nil // its stream is not one of the subscription
	}
	sink := in.s.newFetchSink(in.writer, moq.Location{Group: j.group})
	sink.keep = &j.group
	f.into(sink)
	if !in.s.spawn(func() {
		defer j.cancel(nil)
		defer stop()
		defer stopWithIn()
		err := f.accepted(sink.from)
		if err != nil {
			f.cancel(err) // Objects may be coming all the same
		}
		err = cmp.Or(f.await(), err)
		f.end(err)
		in.mu.Lock()
		j.open, j.complete = sink.open, err == nil
		in.mu.Unlock()
		close(j.done)
		if err != nil && in.ctx.Err() == nil && !j.empty {
			in.s.log.Debug("join failed", "track", in.name, "error", err)
		}
	}) {
		stop()
		stopWithIn()
		f.end(context.Cause(in.s.ctx))
		j.abandon()
	}
}

// abandon ends a join that has not started.
func (j *join) abandon() {
	j.cancel(ErrCancelled)
	close(j.done)
}

// settleDelay is how long a live stream may take to go on with a Subgroup that
// a Joining FETCH has begun, after a newer Group has begun.
const settleDelay = 2 * time.Second

// settle ends the Subgroups that a Joining FETCH has begun and that no live
// stream goes on with: a publisher need not open a stream for a Subgroup of
// which the fetch brought the last Object.
func (in *inbound) settle() {
	j := in.join
	in.mu.Lock()
	open, complete := j.open, j.complete
	j.open = nil
	in.mu.Unlock()
	for _, w := range open {
		switch {
		case w == nil:
		case complete:
			// Close fails when an Object is incomplete, and then resets.
			_ = w.Close()
		default:
			w.Reset(uint64(wire.ResetUnknownObjectStatus))
		}
	}
}

// settleAfter plans to settle when a Group newer than the joined one begins.
func (in *inbound) settleAfter(group uint64) {
	j := in.join
	if j == nil || group <= j.group {
		return
	}
	select {
	case <-j.done:
	default:
		return // the next Group comes back here
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if j.timer == nil {
		j.timer = time.AfterFunc(settleDelay, in.settle)
	}
}

// servePublish receives a Track that the peer publishes with PUBLISH.
func (s *Session) servePublish(ctx context.Context, cancel context.CancelCauseFunc, r *requestStream, m *wire.Publish, token string) {
	if err := s.supported(m.Properties); err != nil {
		r.refuse(err)
		return
	}
	release, err := s.claim(ctx, s.inbound.claims, m.Name, true)
	if err != nil {
		r.refuse(err)
		return
	}
	defer release()
	q := &PublishRequest{Name: m.Name, Properties: m.Properties, Token: token, Largest: m.Params.LargestObject}
	w, err := s.cfg.Handler.Publish(ctx, q)
	if err == nil && w == nil {
		err = &RequestError{Code: wire.RequestUninterested}
	}
	if err != nil {
		s.log.Debug("request refused", "kind", "publish", "track", m.Name, "error", err)
		r.refuse(err)
		return
	}
	err = s.receivePublished(ctx, r, m, q.Join, w, release)
	cancel(err)
	w.End(trackEnd(err))
}

// receivePublished accepts a PUBLISH and fills w until the publisher is done.
func (s *Session) receivePublished(ctx context.Context, r *requestStream, m *wire.Publish, withJoin bool, w *moq.TrackWriter, release func()) error {
	var j *join
	if withJoin && m.Params.LargestObject != nil && (m.Params.Forward == nil || *m.Params.Forward) {
		j = newJoin(ctx, m.Params.LargestObject)
	}
	in, err := s.newInbound(ctx, r, m.Name, m.Alias, w, j)
	if err != nil {
		s.fail(err)
		return err
	}
	in.release = release
	forward := true
	ok := &wire.RequestOK{Request: wire.TypePublish}
	if !s.dialect.Fill {
		ok.Params.Forward = &forward // later a REQUEST_UPDATE says so
	}
	err = r.send(ctx, ok)
	switch {
	case j != nil && err == nil:
		s.joinPublished(in, r)
	case j != nil:
		j.abandon()
	case err == nil && s.dialect.Fill && m.Params.Forward != nil && !*m.Params.Forward:
		s.spawn(func() { _ = in.updates.send(in.ctx, wire.Params{Forward: &forward}) }) // follow sees why it fails
	}
	if err != nil {
		in.remove(err)
		return s.failed(err)
	}
	err = in.follow(func(u *wire.RequestUpdate) {
		if _, err := s.admit(u.Type(), u.RequestID, u.Params.Tokens); err != nil {
			s.fail(err)
			return
		}
		// Nothing that a publisher can say of its PUBLISH changes what this
		// end does.
		_ = r.send(ctx, &wire.RequestOK{}) // an error ends the stream
	})
	in.remove(err)
	return err
}
