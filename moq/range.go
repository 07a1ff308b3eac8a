package moq

import (
	"cmp"
	"errors"
	"io"
	"math"
	"slices"
)

// RangeReader reads what a Track retains between two Locations, as FETCH
// asks for it. It never waits for Objects that have not begun. It is not
// safe for concurrent use.
type RangeReader struct {
	t          *Track
	start, end Location
	order      GroupOrder

	pending []RangeObject
	group   uint64 // next Group to look at
	done    bool
	gapDone bool
}

// RangeObject is one item of a range.
type RangeObject struct {
	Group    uint64
	Subgroup uint64
	Priority uint8
	// Object may be incomplete; see Object.More. It is nil for a gap.
	Object *Object
	// Until is, for a gap, its last Location. Whether there are Objects in a
	// gap is not known: they have been evicted, their Subgroup was reset
	// before them, or the publisher of it was joined after them. What is
	// neither in a gap nor returned does not exist, or has not begun yet.
	Until Location
}

// Range returns a reader of all Objects from start to end, both included.
// Groups come in the given order, ascending by default; the Objects of a
// Group always come with ascending IDs.
func (t *Track) Range(start, end Location, order GroupOrder) *RangeReader {
	r := &RangeReader{t: t, start: start, end: end, order: order, group: start.Group}
	if order == GroupOrderDescending {
		r.group = end.Group
	}
	r.done = end.Less(start)
	return r
}

// Next returns the next Object or gap, and io.EOF at the end.
func (r *RangeReader) Next() (RangeObject, error) {
	for {
		if len(r.pending) > 0 {
			o := r.pending[0]
			r.pending = r.pending[1:]
			return o, nil
		}
		if r.done {
			return RangeObject{}, io.EOF
		}
		r.advance()
	}
}

// advance fills pending from the next Group that is retained.
func (r *RangeReader) advance() {
	t := r.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.order == GroupOrderDescending {
		r.descendLocked()
		return
	}
	if !r.gapDone && r.group < t.floor {
		r.gapDone = true
		r.pending = append(r.pending, r.gapLocked(r.group))
		r.group = t.floor
	}
	i, _ := slices.BinarySearchFunc(t.groups, r.group, func(g *group, id uint64) int { return cmp.Compare(g.id, id) })
	if i == len(t.groups) || t.groups[i].id > r.end.Group {
		r.done = true
		return
	}
	g := t.groups[i]
	r.takeLocked(g)
	if g.id == math.MaxUint64 {
		r.done = true
		return
	}
	r.group = g.id + 1
}

func (r *RangeReader) descendLocked() {
	t := r.t
	i, found := slices.BinarySearchFunc(t.groups, r.group, func(g *group, id uint64) int { return cmp.Compare(g.id, id) })
	if !found {
		i--
	}
	if i < 0 || t.groups[i].id < r.start.Group {
		if r.start.Group < t.floor {
			r.pending = append(r.pending, r.gapLocked(r.start.Group))
		}
		r.done = true
		return
	}
	g := t.groups[i]
	r.takeLocked(g)
	if g.id == 0 {
		r.done = true
		return
	}
	r.group = g.id - 1
}

// gapLocked describes the evicted part of the range, from a Group that is
// below the floor.
func (r *RangeReader) gapLocked(from uint64) RangeObject {
	until := Location{Group: r.t.floor - 1, Object: math.MaxUint64}
	if r.end.Less(until) {
		until = r.end
	}
	return RangeObject{Group: from, Until: until}
}

// takeLocked queues the Objects of a Group and the gaps between them.
func (r *RangeReader) takeLocked(g *group) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var objects []RangeObject
	for _, s := range g.subgroups {
		for _, o := range s.objects {
			l := Location{g.id, o.ID}
			if l.Less(r.start) || r.end.Less(l) {
				continue
			}
			objects = append(objects, RangeObject{Group: g.id, Subgroup: s.id, Priority: s.cfg.Priority, Object: o})
		}
	}
	slices.SortStableFunc(objects, func(a, b RangeObject) int { return cmp.Compare(a.Object.ID, b.Object.ID) })
	first, last := uint64(0), uint64(math.MaxUint64)
	if g.id == r.start.Group {
		first = r.start.Object
	}
	if g.id == r.end.Group {
		last = r.end.Object
	}
	if g.ended {
		last = min(last, g.end)
	}
	for _, o := range objects {
		if id := o.Object.ID; first < id && g.unknownLocked(first, id-1) {
			r.pending = append(r.pending, RangeObject{Group: g.id, Until: Location{g.id, id - 1}})
		}
		r.pending = append(r.pending, o)
		if first = o.Object.ID + 1; first == 0 {
			return // there is no larger ID
		}
	}
	if first <= last && g.unknownLocked(first, last) {
		r.pending = append(r.pending, RangeObject{Group: g.id, Until: Location{g.id, last}})
	}
}

// unknownLocked reports whether Objects from first to last, of which there is
// none here, may exist all the same.
func (g *group) unknownLocked(first, last uint64) bool {
	for i, s := range g.subgroups {
		n := len(s.objects)
		if s.cfg.Partial && (n == 0 || s.objects[0].ID > first) {
			return true
		}
		var reset *ResetError
		if !errors.As(s.err, &reset) || n > 0 && s.objects[n-1].ID > last {
			continue
		}
		// One that was begun again tells what came after.
		if !slices.ContainsFunc(g.subgroups[i+1:], func(o *subgroup) bool { return o.id == s.id }) {
			return true
		}
	}
	return false
}
