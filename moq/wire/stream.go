package wire

import "fmt"

// StreamType is the kind of a unidirectional stream, from the varint at its
// start (draft-ietf-moq-transport-18, section "Unidirectional Stream Types").
type StreamType uint64

// The stream types of drafts 18 and 19.
const (
	StreamFetch    StreamType = 0x05
	StreamSubgroup StreamType = 0x10 // stands for every type of a subgroup header
	StreamSetup    StreamType = 0x2F00
	StreamPadding  StreamType = 0x132B3E28
)

// String returns the draft's name of the stream type.
func (t StreamType) String() string {
	switch t {
	case StreamFetch:
		return "FETCH_HEADER"
	case StreamSubgroup:
		return "SUBGROUP_HEADER"
	case StreamSetup:
		return "SETUP"
	case StreamPadding:
		return "PADDING"
	}
	return fmt.Sprintf("StreamType(%#x)", uint64(t))
}

// ParseStreamType reads the type at the start of a unidirectional stream and
// returns its length in bytes. What follows depends on it: ParseMessage for
// StreamSetup, ParseSubgroupHeader, ParseFetchHeader, or, for StreamPadding,
// bytes to be discarded. Those parsers start with the type, so give them b
// and not b[n:].
//
// A type the draft does not know, or forbids, is a PROTOCOL_VIOLATION.
func (d Draft) ParseStreamType(b []byte) (t StreamType, n int, err error) {
	if !d.Supported() {
		return 0, 0, ErrDraft
	}
	v, n, err := ParseVarint(b)
	if err != nil {
		return 0, 0, err
	}
	switch t := StreamType(v); t {
	case StreamFetch, StreamSetup, StreamPadding:
		return t, n, nil
	}
	if validSubgroupType(v) {
		return StreamSubgroup, n, nil
	}
	return 0, 0, violation("stream type %#x", v)
}

// AppendPadding appends what a padding stream, or a padding datagram, starts
// with; any number of zero bytes may follow
// (draft-ietf-moq-transport-18, section "Padding").
func (d Draft) AppendPadding(b []byte, datagram bool) ([]byte, error) {
	if !d.Supported() {
		return b, ErrDraft
	}
	if datagram {
		return AppendVarint(b, datagramPadding), nil
	}
	return AppendVarint(b, uint64(StreamPadding)), nil
}
