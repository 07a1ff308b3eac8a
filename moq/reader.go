package moq

import (
	"cmp"
	"context"
	"io"
	"math"
	"slices"
	"time"
)

// Start tells where a TrackReader begins.
type Start uint8

const (
	// StartNextObject begins after the largest Object that exists, like the
	// Largest Object filter.
	StartNextObject Start = iota
	// StartNextGroup begins with the first Object of the next Group.
	StartNextGroup
	// StartCurrentGroup begins with the newest Group that is retained from
	// its first Object on; without one, with the next Group.
	StartCurrentGroup
	// StartAt begins at ReaderConfig.At, as far as it is retained.
	StartAt
)

// ReaderConfig tells what a TrackReader wants.
type ReaderConfig struct {
	Start Start
	At    Location // for StartAt
	// End is the last Group wanted, when not nil.
	End *uint64
}

// TrackReader follows a Track. It is not safe for concurrent use.
type TrackReader struct {
	t       *Track
	start   Location
	joining Location
	joined  bool
	end     *uint64
	next    uint64 // index into the log, for NextSubgroup
	group   uint64 // smallest Group for NextGroup
	entered bool   // NextGroup has returned a Group
	last    bool   // and it was the last one that can be
	closed  bool
}

// reorderWait is how long readers wait for a Group that may have been overtaken
// by a newer one: Groups travel on streams of their own, and a lost packet can
// hold up the first bytes of one. It is some round trips within a region, and
// less than a player's buffer.
const reorderWait = 100 * time.Millisecond

// reorderHole is the largest number of missing Groups that are waited for. A
// publisher that counts in larger steps, or has begun anew, is not held up.
const reorderHole = 2

// NewReader begins to follow the Track; it counts in the Track's Demand
// until Close.
func (t *Track) NewReader(cfg ReaderConfig) *TrackReader {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &TrackReader{t: t, joining: t.largest, joined: t.begun, end: cfg.End, next: t.logBase}
	switch cfg.Start {
	case StartNextObject:
		if t.begun {
			r.start = t.largest.Next()
		}
	case StartNextGroup:
		if t.begun {
			r.start = Location{Group: groupAfter(t.largest.Group)}
		}
	case StartCurrentGroup:
		if id, ok := t.currentLocked(); ok {
			r.start = Location{Group: id}
		} else if t.begun {
			r.start = Location{Group: groupAfter(t.largest.Group)}
		}
	case StartAt:
		r.start = cfg.At
	}
	r.group = max(r.start.Group, t.floor)
	t.demand.Readers++
	t.demand.Joined++
	t.demandChanged.notifyLocked()
	return r
}

// currentLocked returns the newest Group that begins with its first Object.
func (t *Track) currentLocked() (uint64, bool) {
	for _, g := range slices.Backward(t.groups) {
		g.mu.Lock()
		whole := slices.ContainsFunc(g.subgroups, func(s *subgroup) bool {
			return !s.cfg.Partial && len(s.objects) > 0 && s.objects[0].ID == 0
		})
		g.mu.Unlock()
		if whole {
			return g.id, true
		}
	}
	return 0, false
}

// Start returns the first Location that the reader wants.
func (r *TrackReader) Start() Location { return r.start }

// Joining returns the largest Location at the moment the reader was made,
// the draft's Joining Location; false when the Track had no Object.
func (r *TrackReader) Joining() (Location, bool) { return r.joining, r.joined }

// Close ends the reader's part in the Track's Demand.
func (r *TrackReader) Close() {
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	if r.closed {
		return
	}
	r.closed = true
	r.t.demand.Readers--
	r.t.demandChanged.notifyLocked()
}

// NextSubgroup waits for the next Subgroup in the order in which they began.
// When Subgroups that it had not returned were evicted it returns
// ErrTooFarBehind once and goes on with what is retained. At the end of the
// Track it returns the Track's Err, which is io.EOF for a regular end.
//
// It also returns io.EOF when no Subgroup up to the reader's End is expected
// any more: a Group beyond End began 100 ms ago, and every Group up to End that
// is retained has Subgroups, all of which have ended.
func (r *TrackReader) NextSubgroup(ctx context.Context) (*SubgroupReader, error) {
	t := r.t
	for {
		t.mu.Lock()
		if r.next < t.logBase {
			r.next = t.logBase
			t.mu.Unlock()
			return nil, ErrTooFarBehind
		}
		for r.next < t.logBase+uint64(len(t.log)) {
			s := t.log[r.next-t.logBase]
			r.next++
			// One of an evicted Group can stand behind a Subgroup that is
			// still retained, since Groups may begin out of order.
			if id := s.group.id; id < t.floor || id < r.start.Group || r.end != nil && id > *r.end {
				continue
			}
			sr := &SubgroupReader{s: s}
			if s.group.id == r.start.Group {
				sr.from = r.start.Object
			}
			t.mu.Unlock()
			return sr, nil
		}
		if t.err != nil {
			err := t.err
			t.mu.Unlock()
			return nil, err
		}
		over, wait, ended := r.overLocked()
		if over {
			t.mu.Unlock()
			return nil, io.EOF
		}
		changed := t.changed.waitLocked()
		t.mu.Unlock()
		if err := awaitAny(ctx, changed, ended, wait); err != nil {
			return nil, err
		}
	}
}

// overLocked reports whether no Subgroup up to End is expected any more. Until
// then it is worth another look after wait, if that is not 0, or when ended is
// closed.
func (r *TrackReader) overLocked() (over bool, wait time.Duration, ended <-chan struct{}) {
	t := r.t
	if r.end == nil {
		return false, 0, nil
	}
	if t.floor > *r.end {
		return true, 0, nil
	}
	i, found := slices.BinarySearchFunc(t.groups, *r.end, func(g *group, id uint64) int { return cmp.Compare(g.id, id) })
	if found {
		i++
	}
	if i == len(t.groups) {
		return false, 0, nil // none beyond End
	}
	for _, g := range t.groups[:i] {
		if g.id < r.start.Group {
			continue
		}
		g.mu.Lock()
		if !g.finishedLocked(true) {
			ended = g.changed.waitLocked()
		}
		g.mu.Unlock()
		if ended != nil {
			return false, 0, ended
		}
	}
	if wait = reorderWait - time.Since(t.groups[i].begun); wait > 0 {
		return false, wait, nil
	}
	return true, 0, nil
}

// awaitAny waits for one of two changes, or for wait if that is not 0.
func awaitAny(ctx context.Context, a, b <-chan struct{}, wait time.Duration) error {
	var expired <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-a:
	case <-b:
	case <-expired:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// NextGroup waits for the Group with the next larger ID. When Groups that it
// had not returned were evicted it returns ErrTooFarBehind once. At the end of
// the Track it returns the Track's Err, and io.EOF after the reader's End.
//
// When one or two Groups are missing between the last and the next, they may
// have been overtaken: it waits for them until the next one is 100 ms old or a newer one
// has begun, unless the next one's PRIOR_GROUP_ID_GAP says that they do not
// exist. A Group that begins later than that is passed over.
func (r *TrackReader) NextGroup(ctx context.Context) (*GroupReader, error) {
	t := r.t
	for {
		t.mu.Lock()
		if r.last || r.end != nil && r.group > *r.end {
			t.mu.Unlock()
			return nil, io.EOF
		}
		if r.group < t.floor {
			r.group = t.floor
			t.mu.Unlock()
			return nil, ErrTooFarBehind
		}
		var wait time.Duration
		var written <-chan struct{}
		i, _ := slices.BinarySearchFunc(t.groups, r.group, func(g *group, id uint64) int { return cmp.Compare(g.id, id) })
		if i < len(t.groups) {
			g := t.groups[i]
			if wait, written = r.overtakenLocked(g, i == len(t.groups)-1); wait <= 0 {
				if r.end != nil && g.id > *r.end {
					t.mu.Unlock()
					return nil, io.EOF
				}
				r.group, r.entered, r.last = groupAfter(g.id), true, g.id == math.MaxUint64
				gr := &GroupReader{g: g}
				if g.id == r.start.Group {
					gr.from, gr.next = r.start.Object, r.start.Object
				}
				t.mu.Unlock()
				return gr, nil
			}
		}
		if t.err != nil {
			err := t.err
			t.mu.Unlock()
			return nil, err
		}
		changed := t.changed.waitLocked()
		t.mu.Unlock()
		if err := awaitAny(ctx, changed, written, wait); err != nil {
			return nil, err
		}
	}
}

// overtakenLocked returns how long to wait for Groups that are missing before
// g, 0 or less for not at all, and a channel that is closed when something is
// written to g, which may end the wait.
func (r *TrackReader) overtakenLocked(g *group, newest bool) (wait time.Duration, written <-chan struct{}) {
	missing := g.id - r.group
	if !r.entered || missing == 0 || missing > reorderHole || !newest || r.t.err != nil {
		return 0, nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.subgroups {
		if len(s.objects) == 0 {
			continue
		}
		if p, ok := s.objects[0].Properties.Get(PropertyPriorGroupIDGap); ok && p.Value >= missing {
			return 0, nil
		}
	}
	return reorderWait - time.Since(g.begun), g.changed.waitLocked()
}
