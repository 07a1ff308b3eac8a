package rtpmedia

import (
	"time"

	"github.com/pion/rtp"
)

const (
	// reorderWindow is how many packets may wait behind a missing one: at
	// 20 Mbit/s in packets of 1200 bytes, a quarter of a second.
	reorderWindow = 512 // a power of two
	// reorderWait is how long they may wait. The NACK generator asks every
	// 100 ms, so a packet gets two chances on a usual round trip.
	reorderWait = 250 * time.Millisecond
	// reorderReset: after this many packets in a row from before the window
	// the publisher has started its sequence numbers anew.
	reorderReset = 64
)

// Reorderer restores the order of one track's RTP packets, waiting a moment
// for what is missing, and throws duplicates away. Its zero value is ready.
//
// It has no timer: a wait ends with the first packet that arrives after it.
type Reorderer struct {
	started bool
	next    uint16 // sequence number to emit next
	waiting int    // packets in ring
	behind  int    // packets in a row from before next
	since   time.Time
	ring    [reorderWindow]*rtp.Packet
}

// Push takes a packet and calls emit, in order, for each that is ready. Gaps
// show in the sequence numbers. It returns how many packets it threw away.
func (r *Reorderer) Push(pkt *rtp.Packet, now time.Time, emit func(*rtp.Packet)) (dropped int) {
	if !r.started {
		r.started, r.next = true, pkt.SequenceNumber
	}
	ahead := int16(pkt.SequenceNumber - r.next)
	switch {
	case ahead < 0:
		if r.behind++; r.behind < reorderReset {
			return 1
		}
		dropped = r.waiting
		*r = Reorderer{started: true, next: pkt.SequenceNumber}
	case int(ahead) >= reorderWindow:
		r.flush(emit)
		r.next = pkt.SequenceNumber
	}
	r.behind = 0

	at := &r.ring[pkt.SequenceNumber%reorderWindow]
	if *at != nil {
		return dropped + 1 // a duplicate of one that waits
	}
	if r.waiting == 0 {
		r.since = now
	}
	*at = pkt
	r.waiting++

	r.advance(now, emit)
	if r.waiting > 0 && now.Sub(r.since) > reorderWait {
		r.skip()
		r.advance(now, emit)
	}
	return dropped
}

// advance emits what follows without a gap.
func (r *Reorderer) advance(now time.Time, emit func(*rtp.Packet)) {
	moved := false
	for r.waiting > 0 {
		at := &r.ring[r.next%reorderWindow]
		if *at == nil {
			break
		}
		pkt := *at
		*at = nil
		r.waiting--
		r.next++
		moved = true
		emit(pkt)
	}
	if moved {
		r.since = now // what is missing now is missing since now
	}
}

// skip gives up on the packets before the first that waits.
func (r *Reorderer) skip() {
	for r.ring[r.next%reorderWindow] == nil {
		r.next++
	}
}

// flush emits all that waits.
func (r *Reorderer) flush(emit func(*rtp.Packet)) {
	for r.waiting > 0 {
		r.skip()
		at := &r.ring[r.next%reorderWindow]
		pkt := *at
		*at = nil
		r.waiting--
		r.next++
		emit(pkt)
	}
}
