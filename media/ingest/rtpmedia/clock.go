package rtpmedia

import (
	"math"
	"sync"
	"time"

	"github.com/freshet-live/freshet/media"
)

const (
	// maxJump is how far RTP time may depart from arrival time between two
	// packets before the timestamps are taken for a new timeline. Both servers
	// give a silent publisher up sooner, so no stall is mistaken for one.
	maxJump = 10 * time.Second
	// maxSkew is how far a sender report may move a track. What lies beyond
	// is not the same wall clock.
	maxSkew = 10 * time.Second
	// syncTolerance is the lip-sync error that is left alone, so that the
	// timestamps of a well-behaved publisher stay exactly regular.
	syncTolerance = 10 * time.Millisecond
	// slewRatio: a correction moves a track by at most 1/slewRatio of the
	// media time that passes, so timestamps never run backwards.
	slewRatio = 16
	// leadTolerance is how far a whole second of frames may be ahead of its
	// arrival. The first packets of a publisher are often late, for its encoder
	// and its connection are only starting; what follows in time is then ahead
	// of the wall clock, and viewers would see a delay below zero. A single
	// frame says nothing: reordered pictures and packets with several audio
	// frames are ahead by nature.
	leadTolerance = 20 * time.Millisecond
)

// Clock puts the RTP timestamps of one publisher's tracks on one media
// timeline.
//
// A track starts at the wall-clock time at which its first packet arrived and
// from there follows its own RTP clock. RTCP sender reports, which tie the RTP
// clocks to the publisher's wall clock (RFC 3550, section 6.4.1), bring the
// tracks in line with each other. The publisher's wall clock is used for
// differences only: it may be wrong by years.
//
// When frames come before the time that the first packet has given them, the
// whole timeline moves back to where the earliest of them is on time, all
// tracks alike.
type Clock struct {
	mu sync.Mutex
	// ntp is set by the first sender report of any track: microseconds to add
	// to the publisher's wall clock to get media.Time.
	ntp    int64
	hasNT  bool
	tracks []*TrackClock
}

// NewClock returns the clock of one publisher.
func NewClock() *Clock { return new(Clock) }

// Track returns the clock of one track whose RTP timestamps tick at rate Hz.
func (c *Clock) Track(rate int) *TrackClock {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &TrackClock{clock: c, rate: int64(max(rate, 1))}
	c.tracks = append(c.tracks, t)
	return t
}

// moveLocked moves the timeline of all tracks by so many microseconds; they
// get there by slewing.
func (c *Clock) moveLocked(by int64) {
	c.ntp += by
	for _, t := range c.tracks {
		t.want += by
		if t.lead != math.MaxInt64 {
			t.lead += by
		}
	}
}

// TrackClock converts the RTP timestamps of one track.
// It is safe for concurrent use.
type TrackClock struct {
	clock *Clock
	rate  int64

	// Everything below is guarded by clock.mu.
	started bool
	last    uint32 // RTP timestamp seen last
	ticks   int64  // last, extended past 32 bits; starts at 0
	peak    int64  // highest ticks so far
	arrived time.Time
	offset  int64 // microseconds to add to ticks to get media.Time
	want    int64 // where sender reports and leads put offset
	// lead is by how many microseconds the frames since leadFrom, in ticks,
	// were ahead of their arrival at least, or would have been with want.
	lead     int64
	leadFrom int64

	// A sender report that came before the first packet.
	early    bool
	earlyNTP int64
	earlyRTP uint32
}

// Time returns the presentation time of RTP timestamp ts, seen in a packet
// that arrived at the given time. Packets come in decode order; with B-frames
// timestamps go back and forth, which is not mistaken for a jump.
func (t *TrackClock) Time(ts uint32, arrived time.Time) media.Time {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()

	if !t.started {
		t.start(ts, arrived)
		return media.Time(t.offset)
	}
	step := int64(int32(ts - t.last))
	t.ticks += step
	t.last = ts

	strayed := t.micros(step) - arrived.Sub(t.arrived).Microseconds()
	t.arrived = arrived
	if max(strayed, -strayed) > maxJump.Microseconds() {
		// A new timeline: it starts now. Sender reports bring the tracks
		// together again.
		t.offset = arrived.UnixMicro() - t.micros(t.ticks)
		t.want, t.peak = t.offset, t.ticks
	} else if t.ticks > t.peak {
		t.slew(t.micros(t.ticks - t.peak))
		t.peak = t.ticks
	}
	t.watchLead(arrived)
	return media.Time(t.micros(t.ticks) + t.offset)
}

// watchLead moves the timeline when for a second no frame came late enough.
func (t *TrackClock) watchLead(arrived time.Time) {
	t.lead = min(t.lead, t.micros(t.ticks)+t.want-arrived.UnixMicro())
	if t.ticks-t.leadFrom < t.rate {
		return
	}
	if t.lead > leadTolerance.Microseconds() {
		t.clock.moveLocked(-t.lead)
	}
	t.lead, t.leadFrom = math.MaxInt64, t.ticks
}

// start anchors the track at its first packet.
func (t *TrackClock) start(ts uint32, arrived time.Time) {
	t.started, t.last, t.arrived = true, ts, arrived
	t.offset = arrived.UnixMicro()
	t.want = t.offset
	if !t.early {
		return
	}
	// The publisher's wall clock at this packet.
	wall := t.earlyNTP + t.micros(int64(int32(ts-t.earlyRTP)))
	if !t.clock.hasNT {
		t.clock.hasNT, t.clock.ntp = true, t.offset-wall
		return
	}
	if at := wall + t.clock.ntp; within(at-t.offset, maxSkew) {
		t.offset, t.want = at, at
	}
}

// SenderReport takes the pair of times of an RTCP sender report: ntp is its
// 64-bit NTP timestamp, ts the RTP timestamp of the same instant. It returns
// false when the report contradicts what is known by more than 10 s and has
// been ignored.
func (t *TrackClock) SenderReport(ntp uint64, ts uint32) bool {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()

	wall := ntpMicros(ntp)
	if !t.started {
		t.early, t.earlyNTP, t.earlyRTP = true, wall, ts
		return true
	}
	at := t.ticks + int64(int32(ts-t.last)) // the report's instant, extended
	if !c.hasNT {
		c.hasNT, c.ntp = true, t.micros(at)+t.offset-wall
		return true
	}
	want := wall + c.ntp - t.micros(at)
	if !within(want-t.offset, maxSkew) {
		return false
	}
	if within(want-t.offset, syncTolerance) {
		want = t.offset
	}
	t.want = want
	return true
}

// slew moves offset toward want as passed microseconds of media go by.
func (t *TrackClock) slew(passed int64) {
	most := passed / slewRatio
	t.offset += min(max(t.want-t.offset, -most), most)
}

// micros converts ticks to microseconds without overflow.
func (t *TrackClock) micros(ticks int64) int64 {
	return ticks/t.rate*1e6 + ticks%t.rate*1e6/t.rate
}

// ntpMicros converts an NTP timestamp, 32.32 fixed-point seconds, to
// microseconds of the same epoch.
func ntpMicros(ntp uint64) int64 {
	return int64(ntp>>32)*1e6 + int64((ntp&0xffffffff)*1e6>>32)
}

func within(micros int64, d time.Duration) bool {
	return max(micros, -micros) <= d.Microseconds()
}
