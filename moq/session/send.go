package session

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// sender serves one subscription of the peer from a Track: it opens a stream
// for each Subgroup that passes the filter.
type sender struct {
	s     *Session
	track *moq.Track
	alias uint64
	lane  *lane
	slots chan struct{} // one per stream that may be open

	// ctx ends with the subscription; a *PublishDoneError as the cause is what
	// the subscriber is told.
	ctx    context.Context
	cancel context.CancelCauseFunc

	wg sync.WaitGroup // of the goroutines that send a Subgroup

	mu     sync.Mutex
	epoch  *epoch
	params subscriptionParams
	active map[*outgoing]struct{}
	opened uint64 // streams, for PUBLISH_DONE
	fills  int    // fill fetch streams that are being sent
	ended  bool   // no stream may be opened any more
}

// subscriptionParams are what the subscriber has chosen so far.
type subscriptionParams struct {
	forward bool
	filter  *wire.Filter
	order   moq.GroupOrder // as the SUBSCRIBE says
	// objectTimeout and subgroupTimeout are the subscriber's delivery
	// timeouts; 0 is none.
	objectTimeout, subgroupTimeout time.Duration
}

// epoch is the time between two changes of what a subscription passes.
type epoch struct {
	ctx    context.Context // done when the next epoch begins
	cancel context.CancelCauseFunc
	reader *moq.TrackReader // nil while the Forward State is 0
	end    *uint64          // the last Group, if there is one
	last   *uint64          // the last Object of that Group, if there is one
	// empty is how many more Subgroups of the first Group get a stream though
	// none of their Objects is left to send: its FIN tells a subscriber that
	// fetches the rest of the Group that they are complete.
	empty int
}

// emptyStreams is the empty of the first epoch. It covers Groups with a
// Subgroup per temporal layer; with one per frame, the subscriber has to find
// out for itself.
const emptyStreams = 8

// newSender makes the publisher's end of a subscription. It fails with a
// *RequestError when nothing passes the filter.
func (s *Session) newSender(ctx context.Context, track *moq.Track, alias uint64, p *wire.Params) (*sender, error) {
	d := &sender{
		s: s, track: track, alias: alias,
		lane:   &lane{subscriber: moq.DefaultPriority, order: groupOrder(track, p.GroupOrder)},
		slots:  make(chan struct{}, s.cfg.Limits.OpenSubgroups),
		params: subscriptionParams{forward: true, order: p.GroupOrder},
		active: make(map[*outgoing]struct{}),
	}
	d.ctx, d.cancel = context.WithCancelCause(ctx)
	d.params.apply(p)
	if p.SubscriberPriority != nil {
		d.lane.subscriber = *p.SubscriberPriority
	}
	e, err := d.newEpoch(d.params)
	if err != nil {
		d.cancel(nil)
		return nil, err
	}
	e.empty = emptyStreams
	d.epoch = e
	requestNewGroup(track, p.NewGroupRequest)
	return d, nil
}

func (c *subscriptionParams) apply(p *wire.Params) {
	if p.Forward != nil {
		c.forward = *p.Forward
	}
	if p.Filter != nil {
		c.filter = p.Filter
	}
	if p.ObjectDeliveryTimeout != nil {
		c.objectTimeout = p.ObjectDeliveryTimeout.Duration()
	}
	if p.SubgroupDeliveryTimeout != nil {
		c.subgroupTimeout = p.SubgroupDeliveryTimeout.Duration()
	}
}

// groupOrder returns the order in which Groups of a subscription are sent. The
// draft's default for a Track that names none is ascending; the rule is a
// recommendation, and for a live Track it would let a slow viewer fall behind
// until Groups are evicted, so it is the newest first here unless one of the
// two sides asks for something else.
func groupOrder(track *moq.Track, wanted moq.GroupOrder) moq.GroupOrder {
	if wanted != moq.GroupOrderPublisher {
		return wanted
	}
	if p, ok := wire.FindProperty(track.Properties(), moq.PropertyDefaultGroupOrder); ok {
		return moq.GroupOrder(p.Value)
	}
	return moq.GroupOrderDescending
}

// requestNewGroup passes a NEW_GROUP_REQUEST on to the writer of the Track.
func requestNewGroup(track *moq.Track, value *uint64) {
	if value == nil || !dynamicGroups(track.Properties()) {
		return
	}
	if largest, ok := track.Largest(); *value != 0 && ok && *value <= largest.Group {
		// "If a relay receives a NEW_GROUP_REQUEST with a non-zero value less
		// than or equal to the Largest Group, it does not send a
		// NEW_GROUP_REQUEST upstream."
		return
	}
	track.RequestNewGroup(*value)
}

// dynamicGroups reports whether a Track with these Properties begins Groups on
// demand.
func dynamicGroups(p moq.Properties) bool {
	d, ok := wire.FindProperty(p, moq.PropertyDynamicGroups)
	return ok && d.Value == 1
}

// newEpoch begins to read the Track as params want it.
func (d *sender) newEpoch(params subscriptionParams) (*epoch, error) {
	e := &epoch{}
	cfg := moq.ReaderConfig{Start: moq.StartNextObject}
	if f := params.filter; f != nil {
		largest, begun := d.track.Largest()
		switch f.Type {
		case wire.FilterNextGroup:
			cfg.Start = moq.StartNextGroup
		case wire.FilterAbsoluteStart, wire.FilterAbsoluteRange, wire.FilterObjectRange:
			// A subscription passes what is published from now on, so a start
			// in the past is one at the next Object.
			if !begun || largest.Less(f.Start) {
				cfg.Start, cfg.At = moq.StartAt, f.Start
			}
		}
		if f.Type == wire.FilterAbsoluteRange || f.Type == wire.FilterObjectRange {
			if begun && f.EndGroup < largest.Group && !d.s.dialect.Fill {
				return nil, &RequestError{Code: wire.RequestInvalidRange, Reason: "end group has been published"}
			}
			cfg.End, e.end = &f.EndGroup, &f.EndGroup
			if f.Type == wire.FilterObjectRange {
				e.last = &f.EndObject
			}
		}
	}
	e.ctx, e.cancel = context.WithCancelCause(d.ctx)
	if params.forward {
		e.reader = d.track.NewReader(cfg)
	}
	return e, nil
}

// largest is the LARGEST_OBJECT of an answer to the subscriber: the Joining
// Location when Objects are forwarded.
func (d *sender) largest() *moq.Location {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.largestLocked()
}

func (d *sender) largestLocked() *moq.Location {
	l, ok := d.track.Largest()
	if r := d.epoch.reader; r != nil {
		l, ok = r.Joining()
	}
	if !ok {
		return nil
	}
	return &l
}

// joining returns the Joining Location, for a Joining FETCH.
func (d *sender) joining() (moq.Location, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.epoch.reader == nil {
		return moq.Location{}, &RequestError{Code: wire.RequestInvalidRange, Reason: "subscription is not forwarding"}
	}
	l, ok := d.epoch.reader.Joining()
	if !ok {
		return moq.Location{}, &RequestError{Code: wire.RequestInvalidRange, Reason: "no object has been published"}
	}
	return l, nil
}

// update applies a REQUEST_UPDATE and returns the LARGEST_OBJECT for its
// answer.
func (d *sender) update(p *wire.Params) (*moq.Location, error) {
	if hasRangeFilters(p) {
		return nil, &RequestError{Code: wire.RequestInvalidFilter, Reason: "range filters are not supported"}
	}
	if p.SubscriberPriority != nil {
		d.s.sched.setPriority(d.lane, *p.SubscriberPriority)
	}
	requestNewGroup(d.track, p.NewGroupRequest)
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.params
	d.params.apply(p)
	if p.Fill != nil && d.fills >= maxFills {
		return nil, &RequestError{Code: wire.RequestExcessiveLoad, Reason: "too many fills"}
	}
	if p.Filter == nil && d.params.forward == before.forward {
		if l, ok := d.track.Largest(); ok && p.Fill != nil {
			return &l, nil // up to which it is filled
		}
		return d.largestLocked(), nil
	}
	next, err := d.newEpoch(d.params)
	if err != nil {
		return nil, err
	}
	last := d.epoch
	d.epoch = next
	last.cancel(errUpdated)
	for o := range d.active {
		if !next.passes(o.sr.Group()) {
			// "A REQUEST_UPDATE moving the subscription's End Group to a
			// smaller Group or the Start Location to a larger Location",
			// "Omitting a Subgroup Object due to the subscriber's Forward
			// State": both reset.
			o.cancel(errUpdated)
		}
	}
	return d.largestLocked(), nil
}

// passes reports whether streams of a Group that are open may stay.
func (e *epoch) passes(group uint64) bool {
	if e.reader == nil || e.end != nil && group > *e.end {
		return false
	}
	if l, ok := e.reader.Joining(); ok && e.reader.Start() == l.Next() {
		return true // it goes on where it is
	}
	return group >= e.reader.Start().Group
}

func (d *sender) current() *epoch {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.epoch
}

// run sends until the subscription or the Track ends, and returns what
// PUBLISH_DONE is to say. It returns after every stream has been closed.
func (d *sender) run() (wire.PublishDoneCode, error) {
	e := d.current()
	defer func() {
		if e.reader != nil {
			e.reader.Close()
		}
		d.settle()
	}()
	for {
		err := d.runEpoch(e)
		if errors.Is(err, errUpdated) {
			if e.reader != nil {
				e.reader.Close()
			}
			e = d.current()
			continue
		}
		if d.ctx.Err() != nil {
			err = context.Cause(d.ctx)
			var done *PublishDoneError
			if errors.As(err, &done) {
				return done.Code, err
			}
			return 0, err
		}
		d.settle()
		if errors.Is(err, io.EOF) {
			if d.track.Err() == nil {
				return wire.DoneSubscriptionEnded, nil
			}
			return wire.DoneTrackEnded, nil
		}
		return doneCode(err), err
	}
}

// settle waits for the streams that are open; none is opened any more.
func (d *sender) settle() {
	d.mu.Lock()
	d.ended = true
	d.mu.Unlock()
	d.wg.Wait()
}

// drop ends a sender that never ran, and lets go of the Track.
func (d *sender) drop() {
	d.cancel(ErrCancelled)
	if r := d.current().reader; r != nil {
		r.Close()
	}
}

// runEpoch starts a goroutine per Subgroup until the epoch ends with
// errUpdated, or the Track or the subscription with their reason.
func (d *sender) runEpoch(e *epoch) error {
	idle := func() error {
		select {
		case <-e.ctx.Done():
			return context.Cause(e.ctx)
		case <-d.track.Done():
			return d.track.Err()
		}
	}
	if e.reader == nil {
		return idle()
	}
	for {
		sr, err := e.reader.NextSubgroup(e.ctx)
		if errors.Is(err, moq.ErrTooFarBehind) {
			continue // what was missed is gone; what is retained follows
		}
		if errors.Is(err, io.EOF) && d.s.dialect.Fill && d.track.Err() == nil {
			// "A publisher does not end a subscription solely because the
			// Largest Object advances past the end of the current Location
			// Filter."
			return idle()
		}
		if err != nil {
			return err
		}
		select {
		case d.slots <- struct{}{}:
		case <-e.ctx.Done():
			return context.Cause(e.ctx)
		}
		d.start(e, sr)
	}
}

// start sends a Subgroup on a goroutine of its own, which holds a slot.
func (d *sender) start(e *epoch, sr *moq.SubgroupReader) {
	o := &outgoing{d: d, sr: sr, first: true}
	o.ctx, o.cancel = context.WithCancelCause(d.ctx)
	d.mu.Lock()
	// An earlier epoch may be sending it still; that stream goes on.
	sending := false
	for a := range d.active {
		if a.sr.Group() == sr.Group() && a.sr.ID() == sr.ID() && a.sr.Abandoned() == sr.Abandoned() && a.ctx.Err() == nil {
			sending = true
		}
	}
	if !sending {
		d.active[o] = struct{}{}
	}
	o.objectTimeout, o.subgroupTimeout = d.params.objectTimeout, d.params.subgroupTimeout
	d.mu.Unlock()
	if e.last != nil && sr.Group() == *e.end {
		o.last = e.last
	}
	if e.empty > 0 && sr.Group() == e.reader.Start().Group {
		o.empty = true
		e.empty--
	}
	d.wg.Add(1)
	if sending || !d.s.spawn(func() {
		defer d.stop(o)
		o.run()
	}) {
		d.stop(o)
	}
}

func (d *sender) stop(o *outgoing) {
	o.cancel(nil)
	d.mu.Lock()
	delete(d.active, o)
	d.mu.Unlock()
	<-d.slots
	d.wg.Done()
}

// outgoing sends one Subgroup on one stream.
type outgoing struct {
	d  *sender
	sr *moq.SubgroupReader
	// ctx ends when the stream is to be given up; the cause tells the code.
	ctx    context.Context
	cancel context.CancelCauseFunc

	objectTimeout, subgroupTimeout time.Duration // as they were when it began
	empty                          bool          // a stream is worth opening without Objects
	last                           *uint64       // the last Object that passes the filter, if not all do

	stream  transport.SendStream
	out     gatherer
	yields  *scheduled // where the transport knows no priorities
	header  wire.SubgroupHeader
	prev    uint64 // the ID of the last Object
	first   bool   // there was none yet
	scratch []byte
	begun   time.Time   // of the Object that is being sent; zero before the first
	watch   *time.Timer // fires when a Write takes until the Object is older than objectTimeout
}

// resetGrace is how long a stream whose Subgroup was reset upstream may take
// to send what came before.
const resetGrace = time.Second

// run sends the Subgroup to its end.
func (o *outgoing) run() {
	stopAbandon := context.AfterFunc(o.sr.Abandoned(), o.abandoned)
	defer stopAbandon()
	obj, err := o.sr.Next(o.ctx)
	if err != nil && !(o.empty && errors.Is(err, io.EOF)) {
		return // nothing was sent, so nothing is reset
	}
	if obj != nil && o.filtered(obj) {
		return
	}
	if o.open() != nil {
		return
	}
	e := o.d.s.sched.add(o.d.lane, o.stream, o.sr.Config().Priority, o.sr.Group(), o.sr.ID())
	defer o.d.s.sched.remove(e)
	if o.d.s.conn.Kind() != transport.QUIC {
		o.yields = e
	}
	stopReset := context.AfterFunc(o.ctx, func() { o.stream.Reset(o.number(resetCode(context.Cause(o.ctx)))) })
	defer stopReset()

	err = o.send(obj)
	o.out.drop()
	if o.watch != nil {
		o.watch.Stop()
	}
	switch {
	case !stopReset():
		// The stream has been reset, with the code that the cause has.
	case errors.Is(err, io.EOF):
		o.stream.Close()
		if o.subgroupTimeout > 0 {
			// What has not reached the subscriber by then is given up; the
			// call does nothing when all has.
			st := o.stream
			time.AfterFunc(o.subgroupTimeout, func() { st.Reset(o.number(wire.ResetDeliveryTimeout)) })
		}
	default:
		o.stream.Reset(o.number(resetCode(err)))
	}
}

// number returns the draft's number of a reset code.
func (o *outgoing) number(c wire.ResetCode) uint64 { return o.d.s.draft.ResetNumber(c) }

// filtered reports whether obj follows the last one that passes the filter.
func (o *outgoing) filtered(obj *moq.Object) bool { return o.last != nil && obj.ID > *o.last }

// abandoned is called when the rest of the Subgroup will not come.
func (o *outgoing) abandoned() {
	cause := context.Cause(o.sr.Abandoned())
	if errors.Is(cause, moq.ErrTooFarBehind) {
		o.cancel(cause) // a waiting Write ends
		return
	}
	// What came before the reset is still worth sending, if that does not
	// take long.
	t := time.AfterFunc(resetGrace, func() { o.cancel(cause) })
	context.AfterFunc(o.ctx, func() { t.Stop() })
}

// open opens the stream. The header goes out with the first Object.
func (o *outgoing) open() error {
	s := o.d.s
	st, err := s.conn.OpenUniStream(o.ctx)
	if err != nil {
		return err
	}
	o.stream, o.out.w = st, o
	o.d.mu.Lock()
	o.d.opened++
	o.d.mu.Unlock()
	cfg := o.sr.Config()
	o.header = wire.SubgroupHeader{
		Alias: o.d.alias, Group: o.sr.Group(), Subgroup: o.sr.ID(), Mode: wire.SubgroupExplicit,
		Priority: cfg.Priority, DefaultPriority: cfg.InheritPriority,
		EndOfGroup: cfg.EndOfGroup && o.last == nil, Properties: true,
		FirstObject: o.sr.Passed() == 1 && !cfg.Partial,
	}
	if o.header.Subgroup == 0 {
		o.header.Mode = wire.SubgroupZero
	}
	if cfg.InheritPriority {
		o.header.Priority = 0
	}
	track := o.d.track.Properties()
	o.objectTimeout = deliveryTimeout(track, moq.PropertyObjectDeliveryTimeout, o.objectTimeout)
	o.subgroupTimeout = deliveryTimeout(track, moq.PropertySubgroupDeliveryTimeout, o.subgroupTimeout)
	return nil
}

// deliveryTimeout returns the smaller one of the subscriber's timeout and the
// publisher's, where 0 is none.
func deliveryTimeout(publisher moq.Properties, typ uint64, subscriber time.Duration) time.Duration {
	p, ok := wire.FindProperty(publisher, typ)
	d := wire.Milliseconds(p.Value).Duration()
	if !ok || d == 0 || subscriber != 0 && subscriber < d {
		return subscriber
	}
	return d
}

// send sends obj and all that follow it; it returns io.EOF after the last one.
// Without obj it sends the header only.
func (o *outgoing) send(obj *moq.Object) error {
	if obj == nil {
		// With the bit set, a subscriber would take the Object before this
		// stream, which it does not see here, for the last of the Group.
		o.header.EndOfGroup = false
	} else {
		o.firstTimeouts(obj.Properties)
	}
	b, err := o.d.s.draft.AppendSubgroupHeader(o.scratch[:0], o.header)
	if err != nil {
		return err
	}
	o.scratch = b
	if err := o.out.put(b, obj != nil); err != nil {
		return err
	}
	if obj == nil {
		return io.EOF
	}
	for {
		if obj, err = o.sendObject(obj); err != nil {
			return err
		}
		if o.filtered(obj) {
			// A FIN, since a reset could take along what did pass.
			if err := o.out.flush(); err != nil {
				return err
			}
			return io.EOF
		}
	}
}

// firstTimeouts applies the delivery timeouts that the first Object of a
// Subgroup may carry (draft-ietf-moq-transport-19, section "Delivery Timeouts
// and Data Reliability").
func (o *outgoing) firstTimeouts(p moq.Properties) {
	if o.header.FirstObject && o.d.s.draft >= wire.Draft19 {
		o.d.mu.Lock()
		params := o.d.params
		o.d.mu.Unlock()
		if _, ok := wire.FindProperty(p, moq.PropertyObjectDeliveryTimeout); ok {
			o.objectTimeout = deliveryTimeout(p, moq.PropertyObjectDeliveryTimeout, params.objectTimeout)
		}
		if _, ok := wire.FindProperty(p, moq.PropertySubgroupDeliveryTimeout); ok {
			o.subgroupTimeout = deliveryTimeout(p, moq.PropertySubgroupDeliveryTimeout, params.subgroupTimeout)
		}
	}
}

// sendObject sends obj and returns the next Object.
func (o *outgoing) sendObject(obj *moq.Object) (*moq.Object, error) {
	if o.begun = obj.Begun(); o.objectTimeout > 0 && o.left() <= 0 {
		return nil, errTooLate
	}
	head, payload, have, err := o.frame(obj)
	if err != nil {
		return nil, err
	}
	o.prev, o.first = obj.ID, false
	if uint64(have) < obj.Size {
		// Its bytes go out as they come.
		if err := o.putObject(head, payload, false); err != nil {
			return nil, err
		}
		for {
			more, err := obj.More(o.ctx, have)
			if errors.Is(err, io.EOF) {
				return o.sr.Next(o.ctx)
			}
			if err != nil {
				return nil, err
			}
			if _, err := o.Write(more); err != nil {
				return nil, err
			}
			have += len(more)
		}
	}
	next, after := o.sr.TryNext()
	if err := o.putObject(head, payload, next != nil); err != nil {
		return nil, err
	}
	if next != nil || after != nil {
		return next, after
	}
	return o.sr.Next(o.ctx)
}

// frame returns the encoded header of obj and the have bytes that there are of
// its payload: in one piece of shared memory as head, else apart.
func (o *outgoing) frame(obj *moq.Object) (head, payload []byte, have int, err error) {
	// The header depends on the Object before it, which is the same for all
	// subscribers, except on a stream that begins in the middle of the
	// Subgroup.
	shared := !o.first || o.sr.Passed() == 1
	key := o.d.s.draft.HeaderFamily() // drafts with the same bytes share them
	if shared {
		if b, n, ok := obj.Framed(key); ok {
			return b, nil, len(b) - n, nil
		}
	}
	o.scratch, err = o.d.s.draft.AppendObjectHeader(o.scratch[:0], &o.header, o.prev, o.first,
		wire.ObjectHeader{ID: obj.ID, Properties: obj.Properties, Size: obj.Size, Status: obj.Status})
	if err != nil {
		return nil, nil, 0, err
	}
	if shared && obj.Frame(key, o.scratch) {
		if b, n, ok := obj.Framed(key); ok {
			return b, nil, len(b) - n, nil
		}
	}
	payload = obj.Payload()
	return o.scratch, payload, len(payload), nil
}

// putObject queues what frame returned.
func (o *outgoing) putObject(head, payload []byte, more bool) error {
	if len(payload) == 0 {
		return o.out.put(head, more)
	}
	if err := o.out.put(head, true); err != nil {
		return err
	}
	return o.out.put(payload, more)
}

// Write passes b to the transport, which waits for flow and congestion
// control. With an OBJECT_DELIVERY_TIMEOUT it ends once the Object is older
// than that.
func (o *outgoing) Write(b []byte) (int, error) {
	if o.yields != nil {
		o.d.s.sched.enter(o.ctx, o.yields)
		defer o.d.s.sched.leave(o.yields)
	}
	if o.objectTimeout <= 0 {
		return o.stream.Write(b)
	}
	left := o.left()
	if left <= 0 {
		return 0, errTooLate
	}
	if o.watch == nil {
		o.watch = time.AfterFunc(left, func() { o.cancel(errTooLate) })
	} else {
		o.watch.Reset(left)
	}
	n, err := o.stream.Write(b)
	o.watch.Stop()
	return n, err
}

// left returns how long the present Object may still take to be sent.
func (o *outgoing) left() time.Duration {
	if o.begun.IsZero() {
		return o.objectTimeout // a header without Objects
	}
	return o.objectTimeout - time.Since(o.begun)
}
