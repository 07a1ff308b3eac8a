package wire

import (
	"fmt"

	"github.com/freshet-live/freshet/moq"
)

// FetchType is the kind of a Fetch.
type FetchType uint64

// The fetch types (draft-ietf-moq-transport-18, section "FETCH").
const (
	FetchStandalone      FetchType = 0x1 // a range of Locations of a named Track
	FetchRelativeJoining FetchType = 0x2 // from some Groups before where a subscription started
	FetchAbsoluteJoining FetchType = 0x3 // from a Group up to where a subscription started
)

// String returns the draft's name of the fetch type.
func (t FetchType) String() string {
	switch t {
	case FetchStandalone:
		return "Standalone Fetch"
	case FetchRelativeJoining:
		return "Relative Joining Fetch"
	case FetchAbsoluteJoining:
		return "Absolute Joining Fetch"
	}
	return fmt.Sprintf("FetchType(%#x)", uint64(t))
}

// Fetch is FETCH: it asks for Objects that exist already
// (draft-ietf-moq-transport-18, section "FETCH").
type Fetch struct {
	RequestID uint64
	FetchType FetchType

	// Name, Start and Last are those of FetchStandalone. Last is the last
	// Location that is asked for; with Object math.MaxUint64 it asks for the
	// whole of its Group, and with Group math.MaxUint64 too for everything up
	// to the largest Object. (Drafts up to 19 send the Object plus one; the
	// codec adds and subtracts it.) That Last is not before Start is for the
	// publisher to check: it answers INVALID_RANGE.
	//
	// Since draft 20 the range is a filter parameter, and the codec translates
	// it. Params.Filter then holds only what has no absolute range:
	// FilterRelativeStart, FilterNextGroup and FilterLargestObject, with Start
	// and Last zero. Drafts up to 19 have no Filter in a Fetch.
	Name        moq.FullTrackName
	Start, Last moq.Location

	// JoiningRequestID and JoiningStart are those of the joining types: the
	// Request ID of a subscription, and how many Groups before its largest
	// Object (relative) or which Group (absolute) the range starts. Drafts
	// from 20 on have no joining types; see Params.Fill.
	JoiningRequestID uint64
	JoiningStart     uint64

	Params Params
}

// Type returns TypeFetch.
func (*Fetch) Type() MessageType { return TypeFetch }

// FetchOK is FETCH_OK (draft-ietf-moq-transport-18, section "FETCH_OK").
type FetchOK struct {
	RequestID uint64 // of the Fetch, in drafts up to 16; not sent in later ones
	// EndOfTrack is true when Last is the final Object of the Track.
	EndOfTrack bool
	// Last is the last Location that the response covers, as Fetch.Last. A
	// Last before the Start of the request is a PROTOCOL_VIOLATION, for the
	// receiver to check.
	Last       moq.Location
	Params     Params
	Properties moq.Properties // Track Properties
}

// Type returns TypeFetchOK.
func (*FetchOK) Type() MessageType { return TypeFetchOK }
