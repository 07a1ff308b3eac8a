package session

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"sync"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// streamReader reads headers and payload from a unidirectional stream through
// one buffer.
type streamReader struct {
	stream transport.ReceiveStream
	pooled *[]byte
	buf    []byte
	r, w   int // what is between has been read and not used
}

// readSize is the size of that buffer: several packets, so that a burst is
// taken in one call, and little enough for a stream per Track to keep one.
const readSize = 16 << 10

// maxHeaderSize bounds what is buffered of one header. The largest one holds
// wire.MaxPropertiesSize bytes of Properties and some numbers.
const maxHeaderSize = wire.MaxPropertiesSize + 64

var readBuffers = sync.Pool{New: func() any {
	b := make([]byte, readSize)
	return &b
}}

func newStreamReader(st transport.ReceiveStream) *streamReader {
	r := &streamReader{stream: st, pooled: readBuffers.Get().(*[]byte)}
	r.buf = *r.pooled
	return r
}

// release gives the buffer back. It may be called twice.
func (r *streamReader) release() {
	if r.pooled != nil {
		readBuffers.Put(r.pooled)
		r.pooled, r.buf = nil, nil
	}
}

// bytes returns what has been read and not used.
func (r *streamReader) bytes() []byte { return r.buf[r.r:r.w] }

// use marks n bytes as used.
func (r *streamReader) use(n int) {
	if r.r += n; r.r == r.w {
		r.r, r.w = 0, 0
	}
}

// fill reads at least one more byte. It returns io.EOF at the FIN.
func (r *streamReader) fill() error {
	if r.w == len(r.buf) {
		if r.r == 0 {
			if len(r.buf) > maxHeaderSize {
				// Parsers refuse lengths beyond their limits, so this is a
				// header that pads its numbers.
				return violation("header of more than %d bytes", maxHeaderSize)
			}
			grown := make([]byte, 2*len(r.buf))
			copy(grown, r.buf)
			r.buf = grown
		} else {
			r.w = copy(r.buf, r.bytes())
			r.r = 0
		}
	}
	n, err := r.stream.Read(r.buf[r.w:])
	r.w += n
	if n > 0 {
		return nil
	}
	return err
}

// header calls parse with more and more bytes until it succeeds, and uses what
// it has parsed. It returns io.EOF when the stream ends with a FIN before the
// first byte.
func (r *streamReader) header(parse func(b []byte) (n int, err error)) error {
	for {
		if len(r.bytes()) > 0 {
			n, err := parse(r.bytes())
			if err == nil {
				r.use(n)
				return nil
			}
			if !errors.Is(err, wire.ErrShort) {
				return err
			}
		}
		if err := r.fill(); err != nil {
			if errors.Is(err, io.EOF) && len(r.bytes()) > 0 {
				return violation("stream ends inside a header")
			}
			return err
		}
	}
}

// payload calls write with the next size bytes as they come.
func (r *streamReader) payload(size uint64, write func([]byte) (int, error)) error {
	for size > 0 {
		if len(r.bytes()) == 0 {
			if err := r.fill(); err != nil {
				if errors.Is(err, io.EOF) {
					return violation("stream ends inside an object")
				}
				return err
			}
		}
		b := r.bytes()
		if uint64(len(b)) > size {
			b = b[:size]
		}
		if _, err := write(b); err != nil {
			return err
		}
		r.use(len(b))
		size -= uint64(len(b))
	}
	return nil
}

// receiveUni reads a unidirectional stream of the peer to its end.
func (s *Session) receiveUni(st transport.ReceiveStream) {
	r := newStreamReader(st)
	defer r.release()
	st.SetReadDeadline(time.Now().Add(s.cfg.Limits.SetupTimeout))
	var typ wire.StreamType
	err := r.header(func(b []byte) (_ int, err error) {
		typ, _, err = s.draft.ParseStreamType(b)
		return 0, err
	})
	if err != nil {
		s.dataStreamEnded(r, err)
		return
	}
	switch typ {
	case wire.StreamSetup:
		st.SetReadDeadline(time.Time{})
		m := &messageReader{
			draft: s.draft, stream: st, patience: s.cfg.Limits.MessageTimeout,
			buf: append(make([]byte, 0, readChunk), r.bytes()...),
		}
		r.release() // a control stream lives long and says little
		s.receiveControl(m)
	case wire.StreamPadding:
		st.SetReadDeadline(time.Time{})
		// "The receiver MUST discard all data received on a padding stream to
		// prevent exhausting flow control", or "cancel a padding stream at any
		// time": stopping it discards what is under way too.
		st.Stop(s.draft.ResetNumber(wire.ResetCancelled))
	case wire.StreamFetch:
		var h wire.FetchHeader
		err := r.header(func(b []byte) (n int, err error) {
			h, n, err = s.draft.ParseFetchHeader(b)
			return n, err
		})
		if err == nil {
			st.SetReadDeadline(time.Time{})
			err = s.receiveFetch(r, h)
		}
		s.dataStreamEnded(r, err)
	default:
		var h wire.SubgroupHeader
		err := r.header(func(b []byte) (n int, err error) {
			h, n, err = s.draft.ParseSubgroupHeader(b)
			return n, err
		})
		if err == nil {
			st.SetReadDeadline(time.Time{})
			err = s.receiveSubgroup(r, &h)
		}
		s.dataStreamEnded(r, err)
	}
}

// errStop ends the reading of a data stream with a code for the peer.
type errStop struct{ code wire.ResetCode }

func (e errStop) Error() string { return "session: data stream stopped with " + e.code.String() }

// dataStreamEnded deals with the end of a data stream: nil after its FIN, a
// breach of the protocol, a timeout, a limit, or the peer's reset.
func (s *Session) dataStreamEnded(r *streamReader, err error) {
	var local *LocalError
	var breach *wire.Error
	var stop errStop
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.fail(&LocalError{Code: wire.DataStreamTimeout, Reason: "no stream header"})
	case errors.As(err, &local), errors.As(err, &breach):
		s.fail(err)
	case errors.As(err, &stop):
		r.stream.Stop(s.draft.ResetNumber(stop.code))
	default:
		r.stream.Stop(s.draft.ResetNumber(wire.ResetCancelled))
	}
}

// inbound is the subscriber's end of a subscription, whether SUBSCRIBE or
// PUBLISH began it: where the data streams with its alias go.
type inbound struct {
	s      *Session
	name   moq.FullTrackName
	alias  uint64
	writer *moq.TrackWriter
	join   *join // nil when there is no Joining FETCH

	updates updates
	release func() // ends the claim of the Track

	// ctx ends with the subscription.
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu      sync.Mutex
	seen    uint64        // data streams that have come
	reading int           // those that have not ended
	moved   chan struct{} // closed when either changes
	end     *moq.Location // of an END_OF_TRACK Object
}

// join is a Joining FETCH beside a subscription: streams of the Group that
// both deliver wait until it is done.
type join struct {
	group uint64
	done  chan struct{} // closed when the fetch has ended
	empty bool          // there was nothing to join
	// ctx ends with the fetch; cancel gives it up, and done is closed soon
	// after.
	ctx    context.Context
	cancel context.CancelCauseFunc

	// Guarded by inbound.mu.
	complete bool                           // everything before the live part came
	open     map[uint64]*moq.SubgroupWriter // Subgroups that no live stream has taken over
	timer    *time.Timer                    // ends those that none takes over
}

// inboundTable finds inbounds by Track Alias. Session.mu guards it.
type inboundTable struct {
	byAlias map[uint64][]*inbound
	// cancelled remembers the last aliases that are no longer in use.
	cancelled []uint64
	// fetches are this end's FETCHes whose data stream may still come.
	fetches map[uint64]*fetch
	claims  claims
}

func (t *inboundTable) init() {
	t.byAlias = make(map[uint64][]*inbound)
	t.fetches = make(map[uint64]*fetch)
	t.claims = make(claims)
}

// newInbound makes the subscriber's end of a subscription, which streams can
// find from now on. The error ends the session.
func (s *Session) newInbound(ctx context.Context, r *requestStream, name moq.FullTrackName, alias uint64, w *moq.TrackWriter, j *join) (*inbound, error) {
	in := &inbound{s: s, name: name, alias: alias, writer: w, join: j, moved: make(chan struct{})}
	in.ctx, in.cancel = context.WithCancelCause(ctx)
	in.updates = updates{r: r, turn: newTurn(), done: in.ctx.Done()}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.inbound.byAlias[alias] {
		if other.name.Key() != name.Key() {
			in.cancel(nil)
			return nil, &LocalError{Code: wire.DuplicateTrackAlias, Reason: "track alias is in use for another track"}
		}
	}
	s.inbound.byAlias[alias] = append(s.inbound.byAlias[alias], in)
	s.changedLocked()
	return in, nil
}

// remove ends the inbound: its streams are stopped, and those to come are
// refused.
func (in *inbound) remove(cause error) {
	in.cancel(cause)
	in.release()
	if j := in.join; j != nil {
		<-j.done // its fetch ends with ctx
		in.mu.Lock()
		if j.timer != nil {
			j.timer.Stop()
		}
		in.mu.Unlock()
		in.settle()
	}
	s := in.s
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.inbound
	list := t.byAlias[in.alias]
	for i, other := range list {
		if other == in {
			list = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(list) > 0 {
		t.byAlias[in.alias] = list
		return
	}
	delete(t.byAlias, in.alias)
	if len(t.cancelled) == cancelledAliases {
		t.cancelled = append(t.cancelled[:0], t.cancelled[1:]...)
	}
	t.cancelled = append(t.cancelled, in.alias)
	s.changedLocked()
}

// findLocked returns the inbound for a new stream with an alias. dead tells
// that the alias was in use and is no longer.
func (t *inboundTable) findLocked(alias uint64) (in *inbound, dead bool) {
	list := t.byAlias[alias]
	if len(list) > 0 {
		// Subscriptions to one Track may share an alias; each Object then
		// comes once for each of them, so the one that has had the fewest
		// streams is next.
		in = list[0]
		for _, other := range list[1:] {
			if other.streams() < in.streams() {
				in = other
			}
		}
		return in, false
	}
	for _, a := range t.cancelled {
		if a == alias {
			return nil, true
		}
	}
	return nil, false
}

func (in *inbound) streams() uint64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.seen
}

// awaitTable calls look, with Session.mu held, until it returns true, and
// waits for changes of the tables between. It gives up after PendingTimeout,
// and at once when too many streams are waiting.
func (s *Session) awaitTable(look func() bool) error {
	s.mu.Lock()
	if look() {
		s.mu.Unlock()
		return nil
	}
	if s.pending >= s.cfg.Limits.PendingStreams {
		s.mu.Unlock()
		return errStop{wire.ResetExcessiveLoad}
	}
	s.pending++
	defer func() {
		s.pending--
		s.mu.Unlock()
	}()
	t := time.NewTimer(s.cfg.Limits.PendingTimeout)
	defer t.Stop()
	for !look() {
		moved := s.tableMove
		s.mu.Unlock()
		var err error
		select {
		case <-moved:
		case <-t.C:
			err = errStop{wire.ResetCancelled}
		case <-s.ctx.Done():
			err = context.Cause(s.ctx)
		}
		s.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

// begin counts a stream of the subscription, end its end.
func (in *inbound) begin() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.seen++
	in.reading++
	in.movedLocked()
}

func (in *inbound) finish() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.reading--
	in.movedLocked()
}

func (in *inbound) movedLocked() {
	close(in.moved)
	in.moved = make(chan struct{})
}

// awaitStreams waits until count streams have come and ended.
func (in *inbound) awaitStreams(ctx context.Context, count uint64) {
	for {
		in.mu.Lock()
		done := in.seen >= count && in.reading == 0
		moved := in.moved
		in.mu.Unlock()
		if done {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// receiveSubgroup reads a subgroup stream after its header.
func (s *Session) receiveSubgroup(r *streamReader, h *wire.SubgroupHeader) error {
	var in *inbound
	var dead bool
	err := s.awaitTable(func() bool {
		in, dead = s.inbound.findLocked(h.Alias)
		return in != nil || dead
	})
	if err != nil {
		return err
	}
	if dead {
		return errStop{wire.ResetCancelled}
	}
	in.begin()
	defer in.finish()
	defer context.AfterFunc(in.ctx, func() { r.stream.Stop(s.draft.ResetNumber(wire.ResetCancelled)) })()
	if err := in.awaitJoin(h.Group); err != nil {
		return err
	}
	g := &subgroupStream{in: in, r: r, h: h}
	err = g.read()
	var malformed *wire.MalformedTrackError
	if errors.As(err, &malformed) {
		// "When a subscriber detects a Malformed Track, it MUST cancel any
		// corresponding subscription".
		in.cancel(malformed)
		return errStop{wire.ResetMalformedTrack}
	}
	return err
}

// awaitJoin waits for the Joining FETCH when the Group is the joined one.
func (in *inbound) awaitJoin(group uint64) error {
	j := in.join
	if j == nil || group != j.group {
		in.settleAfter(group)
		return nil
	}
	t := time.NewTimer(in.s.cfg.Limits.JoinTimeout)
	defer t.Stop()
	select {
	case <-j.done:
	case <-t.C:
		j.cancel(ErrCancelled)
		<-j.done
	case <-in.ctx.Done():
		return context.Cause(in.ctx)
	}
	return nil
}

// subgroupStream copies one subgroup stream into its Track.
type subgroupStream struct {
	in *inbound
	r  *streamReader
	h  *wire.SubgroupHeader
	w  *moq.SubgroupWriter
	// from is the smallest Object ID that the Subgroup does not have yet.
	from  uint64
	prev  uint64
	first bool
}

// read reads Objects until the end of the stream.
func (g *subgroupStream) read() error {
	g.first = true
	draft := g.in.s.draft
	for {
		var o wire.ObjectHeader
		err := g.r.header(func(b []byte) (n int, err error) {
			o, n, err = draft.ParseObjectHeader(b, g.h, g.prev, g.first)
			return n, err
		})
		if errors.Is(err, io.EOF) {
			return g.close()
		}
		if err == nil && g.first {
			err = g.begin(o.ID)
		}
		if err == nil {
			err = g.object(o)
		}
		if err != nil {
			g.reset(err)
			return err
		}
		g.prev, g.first = o.ID, false
	}
}

// begin opens the Subgroup in the Track, once its ID is known.
func (g *subgroupStream) begin(first uint64) error {
	gw, err := g.in.writer.Group(g.h.Group)
	if err != nil {
		return writeError(err)
	}
	cfg := moq.SubgroupConfig{
		Priority: g.h.Priority, InheritPriority: g.h.DefaultPriority,
		EndOfGroup: g.h.EndOfGroup, Partial: !g.h.FirstObject,
	}
	g.in.takeOver(g.h.Group, g.h.Subgroup, first)
	g.w, err = gw.Subgroup(g.h.Subgroup, cfg)
	if err != nil {
		return writeError(err)
	}
	if last, ok := g.w.Last(); ok {
		g.from = last + 1
	}
	return nil
}

// takeOver leaves a Subgroup that a Joining FETCH has begun to the live
// stream. When the fetch has failed and left a gap, what it brought is ended:
// an Object must not follow another one on a stream unless it is the next.
func (in *inbound) takeOver(group, subgroup, first uint64) {
	j := in.join
	if j == nil || group != j.group {
		return
	}
	in.mu.Lock()
	w := j.open[subgroup]
	delete(j.open, subgroup)
	gap := !j.complete
	in.mu.Unlock()
	if w == nil {
		return
	}
	if last, ok := w.Last(); gap && (!ok || last+1 < first) {
		w.Reset(uint64(wire.ResetUnknownObjectStatus))
		return
	}
	w.Release()
}

// object copies one Object.
func (g *subgroupStream) object(o wire.ObjectHeader) error {
	l := moq.Location{Group: g.h.Group, Object: o.ID}
	if err := g.in.s.draft.CheckObjectProperties(l, o.Properties); err != nil {
		return err
	}
	if err := g.in.checkEnd(l, o.Status); err != nil {
		return err
	}
	if o.ID < g.from {
		// It came by another way already.
		return g.r.payload(o.Size, func(b []byte) (int, error) { return len(b), nil })
	}
	if err := g.w.BeginObject(o.ID, o.Status, o.Properties, o.Size); err != nil {
		return writeError(err)
	}
	var written error
	err := g.r.payload(o.Size, func(b []byte) (n int, err error) {
		n, written = g.w.Write(b)
		return n, written
	})
	if written != nil {
		return writeError(written)
	}
	return err
}

// checkEnd keeps the end of the Track.
func (in *inbound) checkEnd(l moq.Location, status moq.ObjectStatus) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.end != nil && in.end.Less(l) {
		return &wire.MalformedTrackError{Reason: "object after the end of the track"}
	}
	if status == moq.StatusEndOfTrack {
		in.end = &l
	}
	return nil
}

// close ends the Subgroup after a FIN.
func (g *subgroupStream) close() error {
	if g.w == nil {
		if g.h.Mode == wire.SubgroupFirstObject {
			return nil // a Subgroup without Objects has no ID
		}
		// The publisher had nothing to add to what came before.
		if err := g.begin(math.MaxUint64); err != nil {
			var stop errStop
			if errors.As(err, &stop) {
				return nil
			}
			return err
		}
	}
	if err := g.w.Close(); err != nil && !errors.Is(err, moq.ErrEvicted) && !errors.Is(err, moq.ErrEnded) {
		return writeError(err)
	}
	return nil
}

// reset ends the Subgroup early, with the peer's code if that reset it.
func (g *subgroupStream) reset(err error) {
	if g.w == nil {
		return
	}
	code := wire.ResetCancelled
	var end *transport.StreamError
	var malformed *wire.MalformedTrackError
	switch {
	case errors.As(err, &malformed):
		code = wire.ResetMalformedTrack
	case errors.As(err, &end) && end.Remote:
		code = g.in.s.draft.ResetCode(end.Code)
	}
	g.w.Reset(uint64(code))
}

// writeError turns what a moq writer refuses into the end of a data stream.
func writeError(err error) error {
	switch {
	case errors.Is(err, moq.ErrObjectOrder):
		return &wire.MalformedTrackError{Reason: err.Error()}
	case errors.Is(err, moq.ErrObjectSize), errors.Is(err, moq.ErrTooManySubgroups):
		return errStop{wire.ResetExcessiveLoad}
	case errors.Is(err, moq.ErrEvicted):
		return errStop{wire.ResetTooFarBehind}
	}
	// ErrDuplicate: it came by another way; ErrEnded: nobody wants it.
	return errStop{wire.ResetCancelled}
}
