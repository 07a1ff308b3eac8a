package moq

import (
	"context"
	"io"
	"math"
	"slices"
	"sync"
	"time"
)

// MaxSubgroups bounds the Subgroups of one Group. Publishers use one, or one
// per temporal layer or frame; the bound keeps a peer from growing the index
// of a Group without end.
const MaxSubgroups = 1024

// group is the shared state of one Group.
type group struct {
	track *Track
	id    uint64
	begun time.Time

	// superseded is when a newer Group began; guarded by track.mu.
	superseded time.Time

	mu        sync.Mutex
	subgroups []*subgroup
	closed    bool   // no further Subgroups
	end       uint64 // the largest Object ID, when ended
	ended     bool   // end is known
	evicted   bool
	bytes     int64 // retained payload, properties and overhead
	changed   notifier
}

// subgroup is the shared state of one Subgroup, guarded by group.mu.
type subgroup struct {
	group   *group
	id      uint64
	cfg     SubgroupConfig
	objects []*Object
	owned   bool  // a SubgroupWriter is in use
	err     error // io.EOF after Close, *ResetError, ErrTooFarBehind; nil while open

	abandoned context.Context // done when err is set and is not io.EOF
	abandon   context.CancelCauseFunc

	quiet int         // payload bytes written since readers were last woken
	timer *time.Timer // wakes readers for quiet bytes
	armed bool
}

// SubgroupConfig tells what a publisher says of a Subgroup before its first
// Object.
type SubgroupConfig struct {
	// Priority is the Publisher Priority; lower is more urgent.
	Priority uint8
	// InheritPriority tells that Priority is the Track's own, so that the
	// byte can be left out on the wire. With it set, the Priority given here
	// is replaced by the Track's.
	InheritPriority bool
	// EndOfGroup tells that this Subgroup contains the Group's largest
	// Object.
	EndOfGroup bool
	// Partial tells that the first Object written is not known to be the
	// first Object of the Subgroup: the publisher joined it in the middle.
	Partial bool
}

// GroupWriter fills one Group.
type GroupWriter struct{ g *group }

// ID returns the Group ID.
func (w *GroupWriter) ID() uint64 { return w.g.id }

// Subgroup begins a Subgroup, or takes over one whose writer has Released
// it; then only cfg.EndOfGroup is added to what was said before. After a
// Reset a Subgroup can be begun again; readers get it as a new stream.
//
// It fails with ErrDuplicate when the Subgroup has a writer or is complete,
// with ErrEvicted, ErrEnded or ErrTooManySubgroups.
func (w *GroupWriter) Subgroup(id uint64, cfg SubgroupConfig) (*SubgroupWriter, error) {
	g, t := w.g, w.g.track
	if cfg.InheritPriority {
		cfg.Priority = t.priority
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return nil, ErrEnded
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.evicted {
		return nil, ErrEvicted
	}
	for _, s := range slices.Backward(g.subgroups) {
		if s.id != id {
			continue
		}
		if s.owned || s.err == io.EOF {
			return nil, ErrDuplicate
		}
		if s.err == nil {
			s.owned = true
			s.cfg.EndOfGroup = s.cfg.EndOfGroup || cfg.EndOfGroup
			return &SubgroupWriter{s: s}, nil
		}
		break
	}
	if g.closed {
		return nil, ErrEnded
	}
	if len(g.subgroups) >= MaxSubgroups {
		return nil, ErrTooManySubgroups
	}
	s := &subgroup{group: g, id: id, cfg: cfg, owned: true}
	s.abandoned, s.abandon = context.WithCancelCause(context.Background())
	g.subgroups = append(g.subgroups, s)
	t.log = append(t.log, s)
	g.changed.notifyLocked()
	t.changed.notifyLocked()
	return &SubgroupWriter{s: s}, nil
}

// Close tells that no further Subgroup of the Group will begin. Subgroups
// that are open go on.
func (w *GroupWriter) Close() {
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	w.g.closed = true
	w.g.changed.notifyLocked()
}

// finishedLocked reports whether nothing more will come: every Subgroup has
// ended and no further one can begin. newer tells that a newer Group exists,
// which says nothing of a Group that has only just begun, out of order.
func (g *group) finishedLocked(newer bool) bool {
	for _, s := range g.subgroups {
		if s.err == nil {
			return false
		}
	}
	return g.closed || g.ended || newer && len(g.subgroups) > 0
}

// evictLocked drops the Group's Objects. It is called with track.mu held and
// returns the Subgroups to abandon once no lock is held.
func (g *group) evictLocked() []*subgroup {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.evicted = true
	var open []*subgroup
	for _, s := range g.subgroups {
		s.stopTimerLocked()
		// Complete Subgroups are too late for their readers just the same.
		s.err = ErrTooFarBehind
		s.objects = nil
		open = append(open, s)
	}
	g.bytes = 0
	g.changed.notifyLocked()
	return open
}

// GroupReader reads the Objects of one Group in the order of their IDs,
// across its Subgroups. It is not safe for concurrent use.
type GroupReader struct {
	g    *group
	from uint64
	next uint64
	pos  []int // per Subgroup: Objects passed
}

// ID returns the Group ID.
func (r *GroupReader) ID() uint64 { return r.g.id }

// Next waits for the Object with the next ID. Where IDs are missing it goes
// on with a larger one once the missing one cannot come any more. It
// returns io.EOF at the end of the Group, ErrTooFarBehind when the Group has
// been evicted. Objects may be incomplete: see Object.ReadAll.
func (r *GroupReader) Next(ctx context.Context) (*Object, error) {
	for {
		newer := r.g.track.hasNewer(r.g.id)
		r.g.mu.Lock()
		if r.g.evicted {
			r.g.mu.Unlock()
			return nil, ErrTooFarBehind
		}
		o, from := r.peekLocked()
		finished := r.g.finishedLocked(newer)
		if o != nil && (o.ID == r.next || finished) {
			r.pos[from]++
			if o.ID == math.MaxUint64 {
				r.from = math.MaxUint64
			}
			r.next = o.ID + 1
			r.g.mu.Unlock()
			return o, nil
		}
		if finished {
			r.g.mu.Unlock()
			return nil, io.EOF
		}
		changed := r.g.changed.waitLocked()
		r.g.mu.Unlock()
		if newer {
			if err := await(ctx, changed); err != nil {
				return nil, err
			}
			continue
		}
		// A newer Group can end this one.
		if err := r.g.track.awaitNewer(ctx, r.g.id, changed); err != nil {
			return nil, err
		}
	}
}

// peekLocked returns the unread Object with the smallest ID and the index of
// its Subgroup.
func (r *GroupReader) peekLocked() (*Object, int) {
	var best *Object
	at := 0
	for i, s := range r.g.subgroups {
		if i == len(r.pos) {
			r.pos = append(r.pos, 0)
		}
		for r.pos[i] < len(s.objects) && s.objects[r.pos[i]].ID < r.from {
			r.pos[i]++
		}
		if r.pos[i] < len(s.objects) {
			if o := s.objects[r.pos[i]]; best == nil || o.ID < best.ID {
				best, at = o, i
			}
		}
	}
	return best, at
}
