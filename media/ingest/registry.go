package ingest

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-live/freshet/media"
)

// DefaultSilence is how long a publisher may send nothing before a publisher
// with the same stream key takes its place without asking.
const DefaultSilence = 2 * time.Second

// Factory makes the writer behind a broadcast. It is called once the room is
// free: a predecessor's writer has been closed before.
type Factory func(ctx context.Context, room, member string) (media.BroadcastWriter, error)

// Registry knows who publishes where and implements the takeover rule: an
// admitted publisher takes its room over when the predecessor has been silent
// for a while or when it asks to; otherwise it gets ErrRoomTaken. The
// predecessor is told through its Broadcast's Done.
//
// It starts no goroutine.
type Registry struct {
	factory Factory
	silence time.Duration
	start   time.Time // origin of Claim.active, so that it fits an atomic

	mu    sync.Mutex
	slots map[place]*slot
}

type place struct{ room, member string }

// slot orders the claims on one place: holder is the newest of them, sem is
// held by the one whose writer is open. refs counts claims that have not left;
// the slot goes with the last.
type slot struct {
	sem    chan struct{}
	holder *Claim
	refs   int
}

// NewRegistry returns an empty registry. silence is how long a publisher may
// be silent before it can be replaced unasked; 0 means DefaultSilence.
func NewRegistry(factory Factory, silence time.Duration) *Registry {
	if silence <= 0 {
		silence = DefaultSilence
	}
	return &Registry{
		factory: factory,
		silence: silence,
		start:   time.Now(),
		slots:   make(map[place]*slot),
	}
}

// Claim is one publisher's hold on a place. WHIP and RTSP have one inside the
// Broadcast that Open returns. A protocol that brings Tracks instead of Frames
// (MoQ) takes one by itself, calls Touch as its media arrives and Release at
// its end, so that the same rule holds for all.
type Claim struct {
	// Room, Member and Protocol are as given to Registry.Claim; Since is when.
	Room, Member, Protocol string
	Since                  time.Time

	registry *Registry
	slot     *slot
	active   atomic.Int64 // when media came last, ns since registry.start
	done     chan struct{}
	leave    sync.Once

	mu    sync.Mutex
	ended bool
	err   error
	onEnd func(error)
}

// Claim takes the place of (room, member), replacing a predecessor if the
// rule allows, and waits until the predecessor has let go. It fails with
// ErrRoomTaken, with ErrTakenOver when an even newer publisher came while it
// waited, or with ctx's error.
func (r *Registry) Claim(ctx context.Context, room, member, protocol string, takeover bool) (*Claim, error) {
	c := &Claim{
		Room: room, Member: member, Protocol: protocol,
		Since:    time.Now(),
		registry: r,
		done:     make(chan struct{}),
	}
	c.Touch()

	at := place{room, member}
	r.mu.Lock()
	s := r.slots[at]
	if s == nil {
		s = &slot{sem: make(chan struct{}, 1)}
		r.slots[at] = s
	}
	old := s.holder
	if old != nil && !takeover && !old.over() && old.Silence() < r.silence {
		r.mu.Unlock()
		return nil, ErrRoomTaken
	}
	c.slot, s.holder = s, c
	s.refs++
	r.mu.Unlock()

	if old != nil {
		old.end(ErrTakenOver)
	}
	select {
	case s.sem <- struct{}{}:
		if !c.over() {
			return c, nil
		}
		<-s.sem
	case <-c.done:
	case <-ctx.Done():
		c.end(ctx.Err())
	}
	r.forget(c)
	return nil, c.Err()
}

// Open takes the place as Claim does and makes the broadcast's writer.
func (r *Registry) Open(ctx context.Context, room, member, protocol string, takeover bool) (Broadcast, error) {
	c, err := r.Claim(ctx, room, member, protocol, takeover)
	if err != nil {
		return nil, err
	}
	w, err := r.factory(ctx, room, member)
	if err != nil {
		c.Release(err)
		return nil, err
	}
	b := &broadcast{claim: c, writer: w}
	if !c.setOnEnd(b.close) { // replaced while the factory worked
		b.close(c.Err())
		return nil, c.Err()
	}
	return b, nil
}

// Evict ends whoever publishes at (room, member), who sees err as its
// Broadcast's Err. It tells whether there was somebody.
func (r *Registry) Evict(room, member string, err error) bool {
	c := r.Holder(room, member)
	return c != nil && c.end(err)
}

// Holder returns the claim of whoever publishes at (room, member), or nil.
func (r *Registry) Holder(room, member string) *Claim {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.slots[place{room, member}]
	if s == nil || s.holder == nil || s.holder.over() {
		return nil
	}
	return s.holder
}

// Holders returns the claims of all who publish now, in no order.
func (r *Registry) Holders() []*Claim {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*Claim, 0, len(r.slots))
	for _, s := range r.slots {
		if s.holder != nil && !s.holder.over() {
			list = append(list, s.holder)
		}
	}
	return list
}

func (r *Registry) forget(c *Claim) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := c.slot
	if s.holder == c {
		s.holder = nil
	}
	if s.refs--; s.refs == 0 {
		delete(r.slots, place{c.Room, c.Member})
	}
}

// Touch notes that media has just arrived.
func (c *Claim) Touch() { c.active.Store(int64(time.Since(c.registry.start))) }

// Silence is how long ago media arrived last (or the claim was made).
func (c *Claim) Silence() time.Duration {
	return time.Since(c.registry.start) - time.Duration(c.active.Load())
}

// Done is closed when the hold is over. The holder must then close what it
// has published and call Release, for which its successor waits.
func (c *Claim) Done() <-chan struct{} { return c.done }

// Err tells why the hold is over, once Done is closed.
func (c *Claim) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Release ends the hold, if it has not ended, and lets the place go. Only the
// first call counts.
func (c *Claim) Release(err error) {
	c.end(err)
	c.leave.Do(func() {
		<-c.slot.sem
		c.registry.forget(c)
	})
}

func (c *Claim) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// end marks the hold as over and tells its holder. Only the first call counts.
func (c *Claim) end(err error) bool {
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return false
	}
	c.ended, c.err = true, err
	onEnd := c.onEnd
	c.mu.Unlock()

	close(c.done)
	if onEnd != nil {
		onEnd(err)
	}
	return true
}

// setOnEnd has f called when the hold ends; false means that it has ended.
func (c *Claim) setOnEnd(f func(error)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return false
	}
	c.onEnd = f
	return true
}

// broadcast is a claim together with the writer that it protects.
type broadcast struct {
	claim *Claim

	// mu lets the tracks write side by side (read-locked) and keeps them out
	// once the writer is closed. Nothing under it waits: writers never do.
	mu     sync.RWMutex
	closed bool
	writer media.BroadcastWriter
}

func (b *broadcast) AddTrack(f media.Format) (media.TrackWriter, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return nil, b.overErr()
	}
	w, err := b.writer.AddTrack(f)
	if err != nil {
		return nil, err
	}
	return &track{broadcast: b, writer: w}, nil
}

func (b *broadcast) Close(err error) { b.claim.end(err) }

func (b *broadcast) Done() <-chan struct{} { return b.claim.Done() }

func (b *broadcast) Err() error { return b.claim.Err() }

// close runs once, when the claim has ended.
func (b *broadcast) close(err error) {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.writer.Close(err)
	b.claim.Release(err)
}

func (b *broadcast) overErr() error {
	if err := b.claim.Err(); err != nil {
		return err
	}
	return ErrClosed
}

type track struct {
	broadcast *broadcast
	writer    media.TrackWriter
}

func (t *track) WriteFrame(f media.Frame) error {
	b := t.broadcast
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return b.overErr()
	}
	b.claim.Touch()
	return t.writer.WriteFrame(f)
}

func (t *track) KeyFrameRequests() <-chan struct{} { return t.writer.KeyFrameRequests() }
