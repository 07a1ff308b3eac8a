package ladder

import (
	"context"
	"errors"
	"time"

	"github.com/freshet-live/freshet/moq"
)

const (
	// glance is how often the layers of a publisher are looked at. Browsers
	// pause the largest ones while their uplink is too thin for them.
	glance = time.Second
	// quietGlances is how long nothing may come of a layer that is in use, and
	// how long another one has to be the better choice before it is taken.
	quietGlances = 3
)

// errSource: another layer of the publisher is the better source now.
var errSource = errors.New("ladder: another layer has become the source")

// choose returns the name of the track that renditions of video are made of
// now: the largest layer of which something came lately, else the largest of
// all; empty when there is none. Layers are numbered together, so that Group
// IDs go on rising when the source changes.
func (s *staircase) choose() string {
	c := s.in.Catalog()
	rungs := make(map[string]bool)
	for _, r := range s.made() {
		rungs[r.name] = true
	}
	best := tallest(&c, rungs)
	if best == nil {
		return ""
	}
	name := best.Name
	for best != nil {
		if t, ok := s.b.Broadcast().Track(best.Name); ok && time.Since(lastCame(t)) < quietGlances*s.cfg.glance {
			return best.Name
		}
		rungs[best.Name] = true // out of the choice
		best = tallest(&c, rungs)
	}
	return name
}

// lastCame returns when the newest Object of a Track came.
func lastCame(t *moq.Track) time.Time {
	l, ok := t.Largest()
	if !ok {
		return time.Time{}
	}
	o, err := t.Range(l, l, moq.GroupOrderAscending).Next()
	if err != nil || o.Object == nil {
		return time.Time{}
	}
	return o.Object.Begun()
}

// awaitSource waits until another layer than current has been the choice for
// some glances in a row, and returns errSource.
func (s *staircase) awaitSource(ctx context.Context, current string) error {
	tick := time.NewTicker(s.cfg.glance)
	defer tick.Stop()
	for other := 0; other < quietGlances; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if other++; s.choose() == current {
			other = 0
		}
	}
	return errSource
}
