package hls

import (
	"slices"
	"time"

	"github.com/freshet-live/freshet/media"
)

// plan is where the segments of a broadcast's pictures begin, and their
// numbers: whichever video track comes to a key frame first when a segment
// is due sets a cut, and the others cut at the same key frame. So the layers
// of a simulcast are cut alike even after one of them has lost media, and a
// player that changes between them finds segments of one number in one place.
//
// A track that has lost its place finds it again: behind the numbers of the
// plan it cuts at any key frame, and ahead of them it leaves out a cut while
// its segment can grow.
type plan struct {
	cuts []cut // rising; a discontinuity empties it

	gops [16]time.Duration // how far key frames were apart of late
	gop  int               // the next of gops to be replaced
}

type cut struct {
	at  media.Time // presentation time of the first picture
	msn uint64
}

const (
	// segmentFloor is what segments last at least where the publisher's key
	// frames are irregular and up to seven seconds apart.
	segmentFloor = 3 * time.Second
	// maxCuts bounds the memory of a plan: minutes more than tracks are apart.
	maxCuts = 64
	// sameCut is how far key frames may be apart that count as one: less than
	// a frame at 60 per second and more than rounding in 90 kHz or
	// milliseconds.
	sameCut = 10 * time.Millisecond
)

// reset forgets the cuts: times start anew, or tracks break apart.
func (p *plan) reset() { p.cuts = nil }

// before returns the index of the last cut at or before t, -1 for none.
func (p *plan) before(t media.Time) int {
	for i := len(p.cuts) - 1; i >= 0; i-- {
		if p.cuts[i].at <= t.Add(sameCut) {
			return i
		}
	}
	return -1
}

// number returns which segment the picture at t belongs to; ok is false when
// the plan does not reach back to it.
func (p *plan) number(t media.Time) (msn uint64, ok bool) {
	i := p.before(t)
	if i < 0 {
		return 0, false
	}
	return p.cuts[i].msn, true
}

// begin takes note that a segment of the given number begins at t.
func (p *plan) begin(t media.Time, msn uint64) {
	i := p.before(t)
	switch {
	case len(p.cuts) == 0:
		p.cuts = append(p.cuts, cut{t, msn})
	case i < 0:
		// Older than all that is known: no longer of interest to anybody.
	case t.Sub(p.cuts[i].at) <= sameCut:
		if i == len(p.cuts)-1 {
			p.cuts[i].msn = max(p.cuts[i].msn, msn) // that track could not wait
		}
	case i == len(p.cuts)-1 && t.Sub(p.cuts[i].at) >= p.least(firstSegmentMin)-sameCut:
		p.cuts = append(p.cuts, cut{t, max(p.cuts[i].msn+1, msn)})
		if len(p.cuts) > maxCuts {
			p.cuts = slices.Delete(p.cuts, 0, 1)
		}
	}
}

// keyAfter takes note of how far apart two key frames of a track are. What is
// more than a target duration can be helped by no plan.
func (p *plan) keyAfter(d time.Duration) {
	if d <= targetDuration {
		p.gops[p.gop] = d
		p.gop = (p.gop + 1) % len(p.gops)
	}
}

// least is how far apart cuts are: less counts for the first two only. Where
// key frames are so far apart that one just before would make the segment
// too long, it is down to what media sequence numbers count on.
func (p *plan) least(least time.Duration) time.Duration {
	if len(p.cuts) > 1 {
		least = segmentMin
	}
	return min(least, max(targetDuration-slices.Max(p.gops[:]), segmentFloor))
}

// due tells whether the segment of the given number, which lasts lasts so
// far, ends before a key frame at t.
func (p *plan) due(t media.Time, msn uint64, lasts, least time.Duration) bool {
	i := p.before(t)
	if i < 0 {
		return lasts >= p.least(least)-sameCut
	}
	c := p.cuts[i]
	want := c.msn // number of the segment that begins at t, or has begun before
	on := t.Sub(c.at) <= sameCut
	if i == len(p.cuts)-1 && t.Sub(c.at) >= p.least(least)-sameCut {
		want, on = c.msn+1, true
	}
	if msn < want {
		return on || lasts >= firstSegmentMin
	}
	// Ahead: wait for the next cut if it can be expected in time.
	interval := segmentMin
	if i > 0 {
		interval = max(interval, c.at.Sub(p.cuts[i-1].at))
	}
	return on && lasts+interval > targetDuration-partTarget
}

// planned implements segmentSink.
func (r *rendition) planned(at, lasts, least int64) bool {
	t := r.clock.Time(at + r.offset)
	return r.m.plan.due(t, r.nextMSN, r.seconds(lasts), r.seconds(least))
}

// enterPlan is called before a segment whose first picture is shown at t is
// opened.
func (r *rendition) enterPlan(t media.Time) {
	if r.seg.audio {
		return
	}
	if r.empty() {
		if msn, ok := r.m.plan.number(t); ok {
			r.startMSN, r.nextMSN = msn, msn
		}
	}
	r.m.plan.begin(t, r.nextMSN)
}
