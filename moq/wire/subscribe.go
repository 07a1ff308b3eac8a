package wire

import (
	"fmt"

	"github.com/freshet-live/freshet/moq"
)

// Subscribe is SUBSCRIBE: it asks for the Objects of a Track that are
// published from now on (draft-ietf-moq-transport-18, section "SUBSCRIBE").
type Subscribe struct {
	RequestID uint64
	Name      moq.FullTrackName
	Params    Params
}

// Type returns TypeSubscribe.
func (*Subscribe) Type() MessageType { return TypeSubscribe }

// SubscribeOK is SUBSCRIBE_OK (draft-ietf-moq-transport-18, section
// "SUBSCRIBE_OK").
type SubscribeOK struct {
	RequestID  uint64 // of the Subscribe, in drafts up to 16; not sent in later ones
	Alias      uint64 // Track Alias, by which subgroups and datagrams name the Track
	Params     Params
	Properties moq.Properties // Track Properties
}

// Type returns TypeSubscribeOK.
func (*SubscribeOK) Type() MessageType { return TypeSubscribeOK }

// TrackStatus is TRACK_STATUS: it asks what a Subscribe would be answered,
// without a subscription (draft-ietf-moq-transport-18, section
// "TRACK_STATUS").
type TrackStatus struct {
	RequestID uint64
	Name      moq.FullTrackName
	Params    Params
}

// Type returns TypeTrackStatus.
func (*TrackStatus) Type() MessageType { return TypeTrackStatus }

// FilterType is the kind of a Filter.
type FilterType uint64

// The filter types. The first four have the code points of drafts up to 19
// (draft-ietf-moq-transport-18, section "Subscription Filters"); the others
// came with draft 20, and their values are in memory only. A filter that
// starts before the largest Object passes no Object that is older than the
// subscription; that is for Params.Fill.
const (
	// FilterNextGroup starts at the Group after the largest Object.
	FilterNextGroup FilterType = 0x1
	// FilterLargestObject starts directly after the largest Object. Since
	// draft 20 it is called Next Object.
	FilterLargestObject FilterType = 0x2
	// FilterAbsoluteStart starts at Start.
	FilterAbsoluteStart FilterType = 0x3
	// FilterAbsoluteRange starts at Start and ends with EndGroup.
	FilterAbsoluteRange FilterType = 0x4

	// FilterNone passes everything, and in an update removes the filter.
	FilterNone FilterType = 0x10
	// FilterRelativeStart starts at the Group which is Groups before the one
	// after the largest Object: 1 is the present one.
	FilterRelativeStart FilterType = 0x11
	// FilterObjectRange starts at Start and ends with the Object EndObject of
	// EndGroup.
	FilterObjectRange FilterType = 0x12
)

// String returns the draft's name of the filter type.
func (t FilterType) String() string {
	switch t {
	case FilterNextGroup:
		return "Next Group Start"
	case FilterLargestObject:
		return "Largest Object"
	case FilterAbsoluteStart:
		return "AbsoluteStart"
	case FilterAbsoluteRange:
		return "AbsoluteRange"
	case FilterNone:
		return "None"
	case FilterRelativeStart:
		return "Relative Start"
	case FilterObjectRange:
		return "Absolute Range of Objects"
	}
	return fmt.Sprintf("FilterType(%#x)", uint64(t))
}

// Filter selects the Objects of a subscription by Location. It is called a
// Subscription Filter up to draft 18 and a Location Filter since draft 19.
type Filter struct {
	Type FilterType
	// Start is the first Location; of FilterAbsoluteStart and of the ranges.
	Start moq.Location
	// EndGroup is the last Group; of the ranges only. It is not less than
	// Start.Group, except that drafts 14 and 16 can carry such a filter: the
	// publisher answers INVALID_RANGE.
	EndGroup uint64
	// EndObject is the last Object of EndGroup; of FilterObjectRange only.
	EndObject uint64
	// Groups is at least 1; of FilterRelativeStart only.
	Groups uint64
}

// only returns the filter with nothing but the fields of its type.
func (f Filter) only() Filter {
	g := Filter{Type: f.Type}
	switch f.Type {
	case FilterAbsoluteStart:
		g.Start = f.Start
	case FilterAbsoluteRange:
		g.Start, g.EndGroup = f.Start, f.EndGroup
	case FilterObjectRange:
		g.Start, g.EndGroup, g.EndObject = f.Start, f.EndGroup, f.EndObject
	case FilterRelativeStart:
		g.Groups = f.Groups
	}
	return g
}
