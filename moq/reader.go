package moq

import (
	"cmp"
	"context"
	"io"
	"slices"
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
	closed  bool
}

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
			r.start = Location{Group: t.largest.Group + 1}
		}
	case StartCurrentGroup:
		if id, ok := t.currentLocked(); ok {
			r.start = Location{Group: id}
		} else if t.begun {
			r.start = Location{Group: t.largest.Group + 1}
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
// Track it returns the Track's Err, with io.EOF for a regular end or when
// no Subgroup up to the reader's End can come any more.
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
		changed := t.changed.waitLocked()
		t.mu.Unlock()
		if err := await(ctx, changed); err != nil {
			return nil, err
		}
	}
}

// NextGroup waits for the Group with the next larger ID. When Groups that it
// had not returned were evicted it returns ErrTooFarBehind once. Its end is
// that of NextSubgroup. A Group that begins after one with a larger ID was
// returned is passed over.
func (r *TrackReader) NextGroup(ctx context.Context) (*GroupReader, error) {
	t := r.t
	for {
		t.mu.Lock()
		if r.group < t.floor {
			r.group = t.floor
			t.mu.Unlock()
			return nil, ErrTooFarBehind
		}
		i, _ := slices.BinarySearchFunc(t.groups, r.group, func(g *group, id uint64) int { return cmp.Compare(g.id, id) })
		if i < len(t.groups) {
			g := t.groups[i]
			if r.end != nil && g.id > *r.end {
				t.mu.Unlock()
				return nil, io.EOF
			}
			r.group = g.id + 1
			gr := &GroupReader{g: g}
			if g.id == r.start.Group {
				gr.from, gr.next = r.start.Object, r.start.Object
			}
			t.mu.Unlock()
			return gr, nil
		}
		if t.err != nil {
			err := t.err
			t.mu.Unlock()
			return nil, err
		}
		changed := t.changed.waitLocked()
		t.mu.Unlock()
		if err := await(ctx, changed); err != nil {
			return nil, err
		}
	}
}
