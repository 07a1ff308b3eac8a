package packager

import (
	"github.com/freshet-live/freshet/media"
)

const (
	// samePicture is how far the times of two key frames may differ to be of
	// the same picture. Layers of one publisher come with clocks of their own
	// that are brought onto one by way of other clocks; frames of one layer are
	// never this near to each other.
	samePicture = media.Time(4000)
	// recentKeys is how many key frames are remembered: enough for a layer
	// that arrives seconds after another.
	recentKeys = 64
)

// groupIDs numbers the Groups of all video tracks of a broadcast together, so
// that those that begin with the same picture have the same ID: a viewer who
// changes layers goes on with the next Group of the other one ("The MOQT Group
// numbers within these switching set tracks MUST be media time-aligned",
// draft-ietf-moq-cmsf, section "Switching sets and tracks").
//
// A layer that has key frames of its own takes IDs in between, which the
// others then leave out.
type groupIDs struct {
	next   uint64
	recent [recentKeys]struct {
		pts media.Time
		id  uint64 // 0: unused
	}
	at int
}

// id returns the ID of the Group that begins with a key frame at pts; from is
// the smallest that its track may use.
func (g *groupIDs) id(pts media.Time, from uint64) uint64 {
	for i := range g.recent {
		k := &g.recent[i]
		if d := k.pts - pts; k.id >= from && k.id > 0 && -samePicture <= d && d <= samePicture {
			return k.id
		}
	}
	id := max(g.next, from)
	g.next = id + 1
	g.recent[g.at].pts, g.recent[g.at].id = pts, id
	g.at = (g.at + 1) % recentKeys
	return id
}
