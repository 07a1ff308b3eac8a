package wire

import "fmt"

// StreamType is the kind of a unidirectional stream, from the varint at its
// start (draft-ietf-moq-transport-18, section "Unidirectional Stream Types").
type StreamType uint64

// The stream types.
const (
	StreamFetch    StreamType = 0x05
	StreamSubgroup StreamType = 0x10       // stands for every type of a subgroup header
	StreamSetup    StreamType = 0x2F00     // since draft 17
	StreamPadding  StreamType = 0x132B3E28 // since draft 18
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
	r := d.rules()
	if r == nil {
		return 0, 0, ErrDraft
	}
	c := r.decoder(b)
	v := c.varint()
	if c.err != nil {
		return 0, 0, c.err
	}
	switch t = StreamType(v); {
	case t == StreamFetch, t == StreamSetup && r.data.setupStream, t == StreamPadding && r.data.padding:
		return t, c.off, nil
	case r.data.validSubgroupType(v):
		return StreamSubgroup, c.off, nil
	}
	return 0, 0, violation("stream type %#x", v)
}

// AppendPadding appends what a padding stream, or a padding datagram, starts
// with; any number of zero bytes may follow
// (draft-ietf-moq-transport-18, section "Padding"). The error wraps
// ErrInvalid in drafts before 18, which have none.
func (d Draft) AppendPadding(b []byte, datagram bool) ([]byte, error) {
	r := d.rules()
	if r == nil {
		return b, ErrDraft
	}
	if !r.data.padding {
		return b, invalid("padding in %v", d)
	}
	if datagram {
		return AppendVarint(b, datagramPadding), nil
	}
	return AppendVarint(b, uint64(StreamPadding)), nil
}
