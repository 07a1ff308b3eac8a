package moq

import (
	"cmp"
	"fmt"
	"math"
)

// Location is the place of an Object in its Track. Locations are ordered by
// Group, then by Object.
type Location struct {
	Group  uint64
	Object uint64
}

// Compare returns -1, 0 or +1.
func (l Location) Compare(o Location) int {
	return cmp.Or(cmp.Compare(l.Group, o.Group), cmp.Compare(l.Object, o.Object))
}

// Less reports whether l comes before o.
func (l Location) Less(o Location) bool { return l.Compare(o) < 0 }

// Next returns the Location directly after l in the same Group; after the
// largest possible Object it is the start of the next Group. The largest
// possible Location is its own Next.
func (l Location) Next() Location {
	switch {
	case l.Object < math.MaxUint64:
		return Location{Group: l.Group, Object: l.Object + 1}
	case l.Group < math.MaxUint64:
		return Location{Group: l.Group + 1}
	}
	return l
}

// groupAfter returns the smallest larger Group ID; the largest possible one
// has none and is returned itself.
func groupAfter(id uint64) uint64 {
	if id == math.MaxUint64 {
		return id
	}
	return id + 1
}

// String returns "group/object".
func (l Location) String() string { return fmt.Sprintf("%d/%d", l.Group, l.Object) }

// GroupOrder is the order in which a subscriber wants Groups when not all
// can be sent at once.
type GroupOrder uint8

// The group orders and their code points
// (draft-ietf-moq-transport-18, section "GROUP ORDER Parameter").
const (
	GroupOrderPublisher  GroupOrder = 0 // whatever the original publisher prefers
	GroupOrderAscending  GroupOrder = 1 // oldest first
	GroupOrderDescending GroupOrder = 2 // newest first
)

// DefaultPriority is the Publisher Priority of a Track that names none
// (draft-ietf-moq-transport-18, section "DEFAULT PUBLISHER PRIORITY") and the
// Subscriber Priority of a subscription that names none. Lower values are
// more urgent.
const DefaultPriority uint8 = 128
