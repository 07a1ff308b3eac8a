// Package moq is the object model of Media over QUIC: Namespaces and Tracks
// that consist of Groups, Subgroups and Objects
// (draft-ietf-moq-transport-18, section "Object Data Model").
//
// A Track is shared state with two kinds of handles. A TrackWriter fills it:
// TrackWriter → GroupWriter → SubgroupWriter. Any number of TrackReaders
// follow it: TrackReader → SubgroupReader (stream by stream, as a session
// forwards them) or TrackReader → GroupReader (Object by Object in order, as
// a decoder wants them). A RangeReader reads what is retained of a span of
// Locations, as FETCH asks for it.
//
// Three rules hold everywhere:
//
//   - Writers never wait. What readers have not read in time is evicted by
//     the Track's Retention, and they get ErrTooFarBehind and go on with a
//     newer Group.
//   - Bytes are immutable once written and shared by all readers. An Object
//     is visible from its first byte on, so a relay can forward it before its
//     last byte has arrived.
//   - Readers hold no locks and own no goroutines; dropping one without
//     Close only leaves it counted in the Track's Demand.
//
// The package knows no wire format, no network and no media, and it imports
// nothing else of freshet.
package moq
