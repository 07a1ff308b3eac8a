package packager

import (
	"time"

	"github.com/freshet-live/freshet/moq"
)

const (
	// lateJoin is how old the current Group may be before a new reader is
	// worth a key frame: with an older one, decoding up to the live edge
	// takes a viewer longer than waiting for the next.
	lateJoin = 1500 * time.Millisecond
	// minAskInterval keeps readers that come and go from filling the
	// stream with key frames, which cost several times a usual frame.
	minAskInterval = 500 * time.Millisecond
	// maxKeyInterval is how long readers go without a key frame before one is
	// asked for. Browsers make none by themselves over WebRTC.
	maxKeyInterval = 4 * time.Second
	// firstKeyInterval is how often a track without any key frame asks.
	firstKeyInterval = time.Second
)

// asker decides when a key frame is asked for.
type asker struct {
	last      time.Time // of the newest request
	keyAt     time.Time // when the current Group began
	joined    uint64    // Demand.Joined that has been served
	newGroup  uint64    // Demand.NewGroup that has been served
	everAsked bool
	asked     uint64
}

// begun notes a key frame: it serves all that readers wanted until now.
func (a *asker) begun(now time.Time, d moq.Demand) {
	a.keyAt, a.joined, a.newGroup = now, d.Joined, d.NewGroup
}

// wants reports whether to ask now. next is the ID of the next Group, open
// tells whether there is a current one to join.
func (a *asker) wants(now time.Time, d moq.Demand, next uint64, open bool) bool {
	age := now.Sub(a.keyAt)
	waited := now.Sub(a.last)
	late := d.Joined > a.joined && age > lateJoin
	a.joined = d.Joined
	var want bool
	switch {
	case !open:
		// Nothing can be watched, whether or not somebody does yet.
		want = waited >= firstKeyInterval
	case late, d.NewGroup > a.newGroup && d.NewGroup >= next:
		// Until the key frame comes, a NEW_GROUP_REQUEST asks again.
		want = true
	case d.Readers > 0:
		want = age >= maxKeyInterval && waited >= maxKeyInterval
	}
	if !want || a.everAsked && waited < minAskInterval {
		return false
	}
	a.last, a.everAsked = now, true
	a.asked++
	return true
}
