package session

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/transport"
)

// Urgencies of a transport run from 0, the first, to 7.
const (
	// urgencyControl is for control and request streams: small, and everything
	// waits for them (draft-ietf-moq-transport-18, section "Scheduling
	// Algorithm").
	urgencyControl int8 = 0
	urgencyFirst   int8 = 1 // of data streams
	urgencyLast    int8 = 7
)

// scheduler maps the priorities of the draft to the few urgencies of a
// transport. It ranks the open data streams of a session by subscriber
// priority, then publisher priority, then Group order and Subgroup, and gives
// each distinct rank an urgency; what does not fit shares the last one. So the
// order is exact while there are no more than seven ranks, which is more than
// a viewer of one room has.
type scheduler struct {
	// mu is also held while a stream is told its urgency, which only stores a
	// number, so that two changes cannot overtake each other.
	mu      sync.Mutex
	entries []*scheduled
	ranks   []rank // scratch
}

// rank orders data streams; the smallest goes first.
type rank struct {
	subscriber, publisher uint8
	// group counts the streams' Groups of one subscription in its order; 0
	// goes first. A FETCH has -1: what it brings precedes what is live.
	group int
	// subgroup counts the open Subgroups of one Group.
	subgroup int
}

func (a rank) compare(b rank) int {
	return cmp.Or(cmp.Compare(a.subscriber, b.subscriber), cmp.Compare(a.publisher, b.publisher),
		cmp.Compare(a.group, b.group), cmp.Compare(a.subgroup, b.subgroup))
}

// scheduled is one data stream in a scheduler.
type scheduled struct {
	lane            *lane
	stream          transport.SendStream
	publisher       uint8
	group, subgroup uint64
	rank            rank
	urgency         int8
	writing         bool // it is between enter and leave
}

// lane is one request whose data streams compete by Group order.
type lane struct {
	subscriber uint8
	order      moq.GroupOrder
	fetch      bool
	streams    []*scheduled  // in the order in which they are to be sent
	left       chan struct{} // closed at the next leave; nil while nobody waits
}

// add begins to schedule a stream.
func (s *scheduler) add(l *lane, st transport.SendStream, publisher uint8, group, subgroup uint64) *scheduled {
	e := &scheduled{lane: l, stream: st, publisher: publisher, group: group, subgroup: subgroup, urgency: -1}
	s.mu.Lock()
	defer s.mu.Unlock()
	at, _ := slices.BinarySearchFunc(l.streams, e, l.compare)
	l.streams = slices.Insert(l.streams, at, e)
	s.entries = append(s.entries, e)
	s.updateLocked(l)
	return e
}

// remove ends the schedule of a stream.
func (s *scheduler) remove(e *scheduled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := e.lane
	if i := slices.Index(l.streams, e); i >= 0 {
		l.streams = slices.Delete(l.streams, i, i+1)
	}
	if i := slices.Index(s.entries, e); i >= 0 {
		s.entries = slices.Delete(s.entries, i, i+1)
	}
	s.updateLocked(l)
}

// setPriority changes the subscriber priority of a request.
func (s *scheduler) setPriority(l *lane, subscriber uint8) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l.subscriber = subscriber
	s.updateLocked(l)
}

// priority returns the subscriber priority of a request.
func (s *scheduler) priority(l *lane) uint8 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.subscriber
}

// compare is the order within a lane.
func (l *lane) compare(a, b *scheduled) int {
	byGroup := cmp.Compare(a.group, b.group)
	if l.order != moq.GroupOrderAscending {
		byGroup = -byGroup
	}
	return cmp.Or(byGroup, cmp.Compare(a.subgroup, b.subgroup))
}

// updateLocked ranks the streams of a changed lane, and tells all streams
// whose urgency has changed with that.
func (s *scheduler) updateLocked(l *lane) {
	group, subgroup := 0, 0
	for i, e := range l.streams {
		if i > 0 {
			if e.group != l.streams[i-1].group {
				group, subgroup = group+1, 0
			} else {
				subgroup++
			}
		}
		e.rank = rank{subscriber: l.subscriber, publisher: e.publisher, group: group, subgroup: subgroup}
		if l.fetch {
			e.rank.group = -1
		}
	}
	s.ranks = s.ranks[:0]
	for _, e := range s.entries {
		s.ranks = append(s.ranks, e.rank)
	}
	slices.SortFunc(s.ranks, rank.compare)
	s.ranks = slices.Compact(s.ranks)
	for _, e := range s.entries {
		i, _ := slices.BinarySearchFunc(s.ranks, e.rank, rank.compare)
		if u := urgencyFirst + int8(min(i, int(urgencyLast-urgencyFirst))); u != e.urgency {
			e.urgency = u
			// Streams of one urgency share the bandwidth: between requests of
			// equal priority all are to get some.
			e.stream.SetPriority(u, true)
		}
	}
}

// yieldDelay bounds how long a stream gives way to a more urgent one. The more
// urgent one may wait for flow control, which a peer that reads one Group
// after the other opens only when it has read the older one.
const yieldDelay = 100 * time.Millisecond

// enter and leave stand around a Write where the transport knows no
// priorities, as WebTransport does not: a stream gives way while a more urgent
// one of its request has bytes waiting, so that a slow viewer gets the newest
// Group first all the same.
func (s *scheduler) enter(ctx context.Context, e *scheduled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var timeout <-chan time.Time
	for e.lane.busyBeforeLocked(e) {
		if e.lane.left == nil {
			e.lane.left = make(chan struct{})
		}
		left := e.lane.left
		if timeout == nil {
			timeout = time.After(yieldDelay)
		}
		s.mu.Unlock()
		expired := false
		select {
		case <-left:
		case <-timeout:
			expired = true
		case <-ctx.Done():
			expired = true // the Write will fail
		}
		s.mu.Lock()
		if expired {
			break
		}
	}
	e.writing = true
}

func (s *scheduler) leave(e *scheduled) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.writing = false
	if l := e.lane; l.left != nil {
		close(l.left)
		l.left = nil
	}
}

// busyBeforeLocked reports whether a stream that is to be sent before e is
// inside a Write.
func (l *lane) busyBeforeLocked(e *scheduled) bool {
	for _, other := range l.streams {
		if other == e {
			return false
		}
		if other.writing {
			return true
		}
	}
	return false
}
