package session

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

// FetchOptions say which Objects of a Track to fetch, and how.
type FetchOptions struct {
	// Start and End are the first and the last Location wanted. With the
	// Object math.MaxUint64, End is the end of its Group.
	Start, End moq.Location
	// Order is the order of Groups; ascending by default.
	Order moq.GroupOrder
	// Priority is the Subscriber Priority; 0 means moq.DefaultPriority.
	Priority uint8
	// Token authorises the request.
	Token string
	// Into is the Track to fill. Objects that it has, or no longer retains,
	// are left out. Without it the session makes a Track that retains all, and
	// ends it with the fetch.
	Into *moq.TrackWriter
}

// FetchResult is a FETCH that the peer has accepted.
type FetchResult struct {
	f          *fetch
	track      *moq.Track
	last       moq.Location
	endOfTrack bool
}

// Track returns the Track that is filled.
func (r *FetchResult) Track() *moq.Track { return r.track }

// Last returns the last Location that the answer covers; it is less than what
// was asked for when the Track ends before.
func (r *FetchResult) Last() moq.Location { return r.last }

// EndOfTrack reports whether Last is the last Object that the Track will ever
// have.
func (r *FetchResult) EndOfTrack() bool { return r.endOfTrack }

// Done is closed when the last Object has come, or no more will.
func (r *FetchResult) Done() <-chan struct{} { return r.f.done }

// Err returns nil while Objects come and after all have; else why they do not.
func (r *FetchResult) Err() error {
	select {
	case <-r.f.done:
		return r.f.err
	default:
		return nil
	}
}

// Close cancels the fetch, unless it is done.
func (r *FetchResult) Close() { r.f.cancel(ErrCancelled) }

// Fetch asks the peer for Objects that exist already, and waits for FETCH_OK.
// A refusal is a *RequestError, and so is an End before the Start, without
// asking. ctx is for the wait only.
func (s *Session) Fetch(ctx context.Context, name moq.FullTrackName, opts FetchOptions) (*FetchResult, error) {
	if opts.End.Less(opts.Start) {
		return nil, &RequestError{Code: wire.RequestInvalidRange, Reason: "end before start"}
	}
	priority := cmp.Or(opts.Priority, moq.DefaultPriority)
	f, err := s.openFetch(ctx, opts.Order, func(id uint64) *wire.Fetch {
		m := &wire.Fetch{
			RequestID: id, FetchType: wire.FetchStandalone, Name: name, Start: opts.Start, Last: opts.End,
			Params: wire.Params{SubscriberPriority: &priority, GroupOrder: opts.Order, Tokens: tokenOf(opts.Token)},
		}
		return m
	})
	if err != nil {
		return nil, err
	}
	ok, err := f.answer(ctx, opts.Start)
	if err != nil {
		f.end(err)
		return nil, err
	}
	res := &FetchResult{f: f, last: ok.Last, endOfTrack: ok.EndOfTrack}
	w := opts.Into
	if w == nil {
		// What a peer sends is bounded by MaxObjectSize and Bytes.
		w = moq.NewTrack(name, moq.TrackConfig{Properties: ok.Properties, Retention: moq.Retention{
			Groups: math.MaxInt, Age: math.MaxInt64,
		}})
	}
	res.track = w.Track()
	f.into(s.newFetchSink(w, opts.Start))
	if !s.spawn(func() {
		err := f.await()
		if opts.Into == nil {
			w.End(err)
		}
		f.end(err)
	}) {
		f.end(context.Cause(s.ctx))
		return nil, context.Cause(s.ctx)
	}
	return res, nil
}

// tokenOf returns a token as a parameter.
func tokenOf(token string) []wire.Token {
	if token == "" {
		return nil
	}
	return []wire.Token{{AliasType: wire.TokenUseValue, Value: []byte(token)}}
}

// fetch is a FETCH of this end.
type fetch struct {
	s     *Session
	id    uint64         // the Request ID that its data stream names
	r     *requestStream // nil for a fill, which has no request of its own
	order moq.GroupOrder
	// in is the subscription that a fill belongs to, to whose streams that of
	// the fill counts. ask requests a fill whose request has not been sent yet.
	in  *inbound
	ask func() error

	// ctx ends with the request, or before when it is cancelled.
	ctx    context.Context
	cancel context.CancelCauseFunc

	ready  chan struct{} // closed once sink is set
	sink   *fetchSink
	stream chan error // what the data stream ended with; nil after its FIN

	// taken tells that the data stream has come; Session.mu guards it.
	taken bool

	done chan struct{}
	err  error // set before done is closed
}

// openFetch sends a FETCH. Its data stream may come before the answer.
func (s *Session) openFetch(ctx context.Context, order moq.GroupOrder, build func(id uint64) *wire.Fetch) (*fetch, error) {
	f := s.newFetch(order)
	r, err := s.openRequest(ctx, func(id uint64) wire.Message {
		f.expect(id)
		return build(id)
	})
	if err != nil {
		f.drop()
		f.cancel(err)
		return nil, err
	}
	f.r = r
	return f, nil
}

func (s *Session) newFetch(order moq.GroupOrder) *fetch {
	f := &fetch{
		s: s, order: order,
		ready: make(chan struct{}), stream: make(chan error, 1), done: make(chan struct{}),
	}
	f.ctx, f.cancel = context.WithCancelCause(s.ctx)
	return f
}

// expect makes the fetch known under its Request ID, drop ends that.
func (f *fetch) expect(id uint64) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.id = id
	f.s.inbound.fetches[id] = f
}

func (f *fetch) drop() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if f.s.inbound.fetches[f.id] == f {
		delete(f.s.inbound.fetches, f.id)
	}
}

// answer waits for FETCH_OK.
func (f *fetch) answer(ctx context.Context, start moq.Location) (*wire.FetchOK, error) {
	m, err := f.r.answer(ctx)
	if err != nil {
		return nil, err
	}
	ok, isOK := m.(*wire.FetchOK)
	if !isOK {
		f.r.unexpected(m)
		return nil, context.Cause(f.s.ctx)
	}
	if ok.Last.Less(start) {
		f.s.fail(violation("FETCH_OK ends before the start of the fetch"))
		return nil, context.Cause(f.s.ctx)
	}
	if err := f.s.supported(ok.Properties); err != nil {
		return nil, err
	}
	return ok, nil
}

// into tells where the Objects go.
func (f *fetch) into(sink *fetchSink) {
	f.sink = sink
	close(f.ready)
}

// await waits for the end of the data stream or of ctx; after it the sink is no
// longer in use.
func (f *fetch) await() error {
	select {
	case err := <-f.stream:
		return err
	case <-f.ctx.Done():
	}
	cause := context.Cause(f.ctx)
	f.s.mu.Lock()
	taken := f.taken
	f.taken = true // one that comes now is too late
	f.s.mu.Unlock()
	if taken {
		<-f.stream // the sink is no longer in use
	}
	return cause
}

// end ends the request.
func (f *fetch) end(err error) {
	f.cancel(err)
	f.drop()
	if f.r != nil {
		f.r.release()
		if err != nil {
			f.r.cancel(wire.ResetCancelled)
		} else {
			f.r.finish()
		}
	}
	f.err = err
	close(f.done)
}

// receiveFetch reads a fetch stream after its header.
func (s *Session) receiveFetch(r *streamReader, h wire.FetchHeader) error {
	s.mu.Lock()
	f := s.inbound.fetches[h.RequestID]
	if f == nil || f.taken {
		s.mu.Unlock()
		return errStop{wire.ResetCancelled} // cancelled, or never asked for
	}
	f.taken = true
	s.mu.Unlock()
	defer context.AfterFunc(f.ctx, func() { r.stream.Stop(s.draft.ResetNumber(wire.ResetCancelled)) })()
	var err error
	select {
	case <-f.ready:
		if f.in != nil {
			f.in.begin()
			defer f.in.finish()
		}
		err = f.read(r)
	case <-f.ctx.Done():
		err = context.Cause(f.ctx)
	}
	f.stream <- err
	return err
}

// read copies the Objects of a fetch stream.
func (f *fetch) read(r *streamReader) error {
	cursor := wire.FetchCursor{Order: f.order}
	var last *moq.Location
	for {
		var it wire.FetchItem
		err := r.header(func(b []byte) (n int, err error) {
			it, n, err = f.s.draft.ParseFetchItem(b, &cursor)
			return n, err
		})
		if errors.Is(err, io.EOF) {
			f.sink.endGroup()
			return nil
		}
		if err == nil && it.Kind == wire.FetchObject {
			if last != nil && last.Group == it.Location.Group && last.Object >= it.Location.Object {
				err = &wire.MalformedTrackError{Reason: "objects of a fetch do not ascend"}
			} else {
				err = f.sink.object(r, it)
			}
			last = &it.Location
		}
		if err != nil {
			f.sink.fail(err)
			return err
		}
	}
}

// fetchSink writes fetched Objects into a Track.
type fetchSink struct {
	draft wire.Draft
	w     *moq.TrackWriter
	from  moq.Location // the start of the fetch
	// keep is the Group whose Subgroups stay open at the end, for live streams
	// to go on with; nil when there is none.
	keep *uint64

	group *moq.GroupWriter // nil when the present Group is not retained
	id    uint64
	begun bool
	// have is the largest Location that the Track had before; what comes
	// before it is there already.
	have *moq.Location
	// open holds the Subgroups of the present Group, nil for one that cannot
	// be written.
	open map[uint64]*moq.SubgroupWriter
}

// newFetchSink makes a sink for a fetch that starts at from.
func (s *Session) newFetchSink(w *moq.TrackWriter, from moq.Location) *fetchSink {
	k := &fetchSink{draft: s.draft, w: w, from: from}
	if l, ok := w.Track().Largest(); ok {
		// The largest itself may be half there, left by a session that broke.
		if o, err := w.Track().Range(l, l, moq.GroupOrderAscending).Next(); err == nil && o.Object != nil && o.Object.Complete() {
			l = l.Next()
		}
		k.have = &l
	}
	return k
}

func (k *fetchSink) object(r *streamReader, it wire.FetchItem) error {
	if err := k.draft.CheckObjectProperties(it.Location, it.Properties); err != nil {
		return err
	}
	if !k.begun || k.id != it.Location.Group {
		k.endGroup()
		k.begun, k.id, k.open = true, it.Location.Group, make(map[uint64]*moq.SubgroupWriter)
		k.group, _ = k.w.Group(k.id) // not retained: left out
	}
	skip := func(b []byte) (int, error) { return len(b), nil }
	if k.have != nil && it.Location.Group == k.have.Group && it.Location.Less(*k.have) {
		return r.payload(it.Size, skip)
	}
	w := k.subgroup(it)
	if w == nil {
		return r.payload(it.Size, skip)
	}
	if last, ok := w.Last(); ok && it.Location.Object <= last {
		return r.payload(it.Size, skip)
	}
	err := w.BeginObject(it.Location.Object, moq.StatusNormal, it.Properties, it.Size)
	var written error
	if err == nil {
		err = r.payload(it.Size, func(b []byte) (n int, err error) {
			n, written = w.Write(b)
			return n, written
		})
	} else {
		written = err
	}
	if written != nil {
		return writeError(written)
	}
	return err
}

// subgroup returns the writer for an Object.
func (k *fetchSink) subgroup(it wire.FetchItem) *moq.SubgroupWriter {
	if k.group == nil {
		return nil
	}
	id := it.Subgroup
	if it.Datagram {
		// It has no Subgroup; in this model each gets one of its own.
		id = it.Location.Object
	}
	w, ok := k.open[id]
	if !ok && len(k.open) < moq.MaxSubgroups {
		w, _ = k.group.Subgroup(id, moq.SubgroupConfig{
			Priority: it.Priority, InheritPriority: it.Priority == k.w.Track().Priority(),
			Partial: k.id == k.from.Group && k.from.Object > 0 || k.have != nil && k.id == k.have.Group,
		})
		k.open[id] = w
	}
	return w
}

// endGroup ends the Subgroups of the present Group, all of which has come.
func (k *fetchSink) endGroup() {
	if !k.begun || k.keep != nil && k.id == *k.keep {
		return
	}
	for _, w := range k.open {
		if w != nil {
			w.Close()
		}
	}
	k.open = nil
}

// fail ends the Subgroups of the present Group, of which more may exist.
func (k *fetchSink) fail(err error) {
	if k.keep != nil && k.id == *k.keep {
		return
	}
	code := wire.ResetUnknownObjectStatus
	var malformed *wire.MalformedTrackError
	if errors.As(err, &malformed) {
		code = wire.ResetMalformedTrack
	}
	for _, w := range k.open {
		if w != nil {
			w.Reset(uint64(code))
		}
	}
	k.open = nil
}

// serveFetch serves a FETCH of the peer.
func (s *Session) serveFetch(ctx context.Context, cancel context.CancelCauseFunc, r *requestStream, m *wire.Fetch, token string) {
	l := &lane{fetch: true, subscriber: moq.DefaultPriority}
	if m.Params.SubscriberPriority != nil {
		l.subscriber = *m.Params.SubscriberPriority
	}
	watched := make(chan struct{})
	if !s.spawn(func() {
		defer close(watched)
		r.watch(cancel, func(u *wire.RequestUpdate) {
			if u.Params.SubscriberPriority != nil {
				s.sched.setPriority(l, *u.Params.SubscriberPriority)
			}
			_ = r.send(ctx, &wire.RequestOK{}) // an error ends the request by itself
		})
	}) {
		return
	}
	track, start, last, err := s.fetchRange(ctx, m, token)
	if err == nil {
		largest, _ := track.Largest()
		err = r.send(ctx, &wire.FetchOK{
			EndOfTrack: errors.Is(track.Err(), io.EOF) && !last.Less(largest),
			Last:       last, Properties: included(track, &m.Params),
		})
	}
	if r.unanswered(ctx, cancel, err) {
		<-watched
		return
	}
	if err := s.sendFetch(ctx, r.id, l, track.Range(start, last, m.Params.GroupOrder), m.Params.GroupOrder, nil); err != nil {
		// "The Publisher can destroy fetch state as soon as it has received a
		// STOP_SENDING. It MUST reset the bidi request stream and
		// unidirectional data stream".
		r.cancel(wire.ResetCancelled)
		<-watched
		return
	}
	r.stream.Close()
	r.awaitEnd(watched)
}

// fetchRange returns the Track and the Locations that a FETCH asks for.
func (s *Session) fetchRange(ctx context.Context, m *wire.Fetch, token string) (track *moq.Track, start, last moq.Location, err error) {
	invalid := func(reason string) (*moq.Track, moq.Location, moq.Location, error) {
		return nil, moq.Location{}, moq.Location{}, &RequestError{Code: wire.RequestInvalidRange, Reason: reason}
	}
	if m.FetchType == wire.FetchStandalone {
		if m.Params.Filter == nil && m.Last.Less(m.Start) {
			return invalid("end before start")
		}
		track, err = s.trackFor(ctx, Fetch, m.Name, &m.Params, token)
		if err != nil {
			return nil, start, last, err
		}
		start, last = m.Start, m.Last
	} else {
		d, err := s.awaitServed(ctx, m.JoiningRequestID)
		if err != nil {
			return nil, start, last, err
		}
		if last, err = d.joining(); err != nil {
			return nil, start, last, err
		}
		track = d.track
		start = moq.Location{Group: m.JoiningStart}
		if m.FetchType == wire.FetchRelativeJoining {
			start.Group = last.Group - min(m.JoiningStart, last.Group)
		}
	}
	largest, ok := track.Largest()
	switch {
	case !ok:
		return invalid("no object has been published")
	case m.Params.Filter != nil:
		// A start relative to the largest Object.
		if start, last, ok = rangeOf(m.Params.Filter, largest); !ok {
			return invalid("start after the largest object")
		}
	case largest.Less(start) || last.Less(start):
		return invalid("start after the largest object")
	case largest.Less(last):
		last = largest
	}
	return track, start, last, nil
}

// awaitServed returns the subscription that a Joining FETCH joins. It waits
// while the subscription is pending, and for a SUBSCRIBE that the FETCH may
// have overtaken.
func (s *Session) awaitServed(ctx context.Context, id uint64) (*sender, error) {
	unknown := &RequestError{Code: wire.RequestInvalidJoiningRequestID}
	t := time.NewTimer(s.cfg.Limits.PendingTimeout)
	defer t.Stop()
	for {
		s.mu.Lock()
		d, known := s.served.byID[id]
		coming := !known && id%2 != s.parity() && !s.peerIDs.seen(id/2)
		moved := s.tableMove
		s.mu.Unlock()
		if d != nil {
			return d, nil
		}
		if !known && !coming {
			return nil, unknown
		}
		timeout := t.C
		if known {
			timeout = nil // its own answer decides
		}
		select {
		case <-moved:
		case <-timeout:
			return nil, unknown
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// sendFetch sends a range on a stream of its own. It calls opened, unless that
// is nil, when there is one.
func (s *Session) sendFetch(ctx context.Context, id uint64, l *lane, objects *moq.RangeReader, order moq.GroupOrder, opened func()) error {
	st, err := s.conn.OpenUniStream(ctx)
	if err != nil {
		return err
	}
	if opened != nil {
		opened()
	}
	e := s.sched.add(l, st, moq.DefaultPriority, 0, 0)
	defer s.sched.remove(e)
	stop := context.AfterFunc(ctx, func() { st.Reset(s.draft.ResetNumber(wire.ResetCancelled)) })
	defer stop()
	out := gatherer{w: st}
	defer out.drop()
	b, err := s.draft.AppendFetchHeader(nil, wire.FetchHeader{RequestID: id})
	if err == nil {
		err = out.put(b, true)
	}
	cursor := wire.FetchCursor{Order: order}
	for err == nil {
		var o moq.RangeObject
		if o, err = objects.Next(); err == nil {
			b, err = s.sendFetched(ctx, &out, b[:0], &cursor, o)
		}
	}
	if errors.Is(err, io.EOF) {
		err = out.flush()
	}
	if err != nil {
		code := wire.ResetCancelled
		var reset *moq.ResetError
		if errors.As(err, &reset) || errors.Is(err, moq.ErrTooFarBehind) {
			// It cannot be told any more whether the rest exists.
			code = wire.ResetUnknownObjectStatus
		}
		st.Reset(s.draft.ResetNumber(code))
		return err
	}
	return st.Close()
}

// sendFetched sends one Object or gap; b is scratch space.
func (s *Session) sendFetched(ctx context.Context, out *gatherer, b []byte, cursor *wire.FetchCursor, o moq.RangeObject) ([]byte, error) {
	it := wire.FetchItem{Kind: wire.FetchUnknown, Location: o.Until}
	if o.Object == nil && cursor.Order == moq.GroupOrderDescending {
		it.Location.Group = o.Group // the range goes down to it
	}
	if obj := o.Object; obj != nil {
		if obj.Status != moq.StatusNormal {
			return b, nil // "absent in Objects delivered via a FETCH"
		}
		it = wire.FetchItem{
			Location: moq.Location{Group: o.Group, Object: obj.ID}, Subgroup: o.Subgroup,
			Priority: o.Priority, Properties: obj.Properties, Size: obj.Size,
		}
	}
	b, err := s.draft.AppendFetchItem(b, cursor, it)
	if err != nil {
		return b, err
	}
	if err := out.put(b, true); err != nil || o.Object == nil {
		return b, err
	}
	for have := 0; ; {
		if !o.Object.Complete() {
			// More may wait; what is there already may not.
			if err := out.flush(); err != nil {
				return b, err
			}
		}
		more, err := o.Object.More(ctx, have)
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			return b, err
		}
		have += len(more)
		if err := out.put(more, uint64(have) == o.Object.Size); err != nil {
			return b, err
		}
	}
}
