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

// The filter types and their code points in drafts 18 and 19
// (draft-ietf-moq-transport-18, section "Subscription Filters").
const (
	// FilterNextGroup starts at the Group after the largest Object.
	FilterNextGroup FilterType = 0x1
	// FilterLargestObject starts directly after the largest Object.
	FilterLargestObject FilterType = 0x2
	// FilterAbsoluteStart starts at Start.
	FilterAbsoluteStart FilterType = 0x3
	// FilterAbsoluteRange starts at Start and ends with EndGroup.
	FilterAbsoluteRange FilterType = 0x4
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
	}
	return fmt.Sprintf("FilterType(%#x)", uint64(t))
}

// Filter selects the Objects of a subscription by Location. It is called a
// Subscription Filter in draft 18 and a Location Filter since draft 19.
type Filter struct {
	Type FilterType
	// Start is the first Location; of the Absolute types only.
	Start moq.Location
	// EndGroup is the last Group; of FilterAbsoluteRange only. It is not less
	// than Start.Group, except that drafts 14 and 16 can carry such a filter:
	// the publisher answers INVALID_RANGE.
	EndGroup uint64
}
