package loc

import (
	"encoding/binary"
	"fmt"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/moq"
)

// maxBlockProperties bounds what is kept of one block.
const maxBlockProperties = 32

// SplitBlock reads a frame that carries its LOC properties itself: the length
// of the property block, the properties with delta-coded types, then the data
// (draft-lcurley-moq-hang, section "loc"). Publishers of the moq-dev family
// send it on transports whose Objects have no Properties. Integers are those
// of RFC 9000, section 16. The results share b's memory.
func SplitBlock(b []byte) (Header, []byte, error) {
	size, n := varint(b)
	if n == 0 || size > uint64(len(b)-n) {
		return Header{}, nil, fmt.Errorf("%w: property block", ErrMalformed)
	}
	block, data := b[n:n+int(size)], b[n+int(size):]
	var props moq.Properties
	var typ uint64
	for len(block) > 0 {
		delta, n := varint(block)
		if n == 0 || typ+delta < typ || len(props) == maxBlockProperties {
			return Header{}, nil, fmt.Errorf("%w: property block", ErrMalformed)
		}
		typ += delta
		block = block[n:]
		value, n := varint(block)
		if n == 0 {
			return Header{}, nil, fmt.Errorf("%w: property block", ErrMalformed)
		}
		block = block[n:]
		p := moq.Property{Type: typ}
		if typ%2 == 0 {
			p.Value = value
		} else {
			if value > uint64(len(block)) {
				return Header{}, nil, fmt.Errorf("%w: property block", ErrMalformed)
			}
			p.Bytes = block[:value:value]
			block = block[value:]
		}
		props = append(props, p)
	}
	h, err := Parse(props, nil)
	if err != nil {
		return Header{}, nil, err
	}
	return h, data, nil
}

// SplitLegacy reads a frame of hang's own container: a timestamp in
// microseconds as an integer of RFC 9000, section 16, then the data
// (draft-lcurley-moq-hang, section "legacy"). The time is Relative: the
// container does not tell its epoch.
func SplitLegacy(b []byte) (Header, []byte, error) {
	us, n := varint(b)
	if n == 0 {
		return Header{}, nil, fmt.Errorf("%w: legacy timestamp", ErrMalformed)
	}
	return Header{Time: media.Time(us), Relative: true}, b[n:], nil
}

// varint reads an integer of RFC 9000, section 16; n is 0 when b is too short.
func varint(b []byte) (v uint64, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	n = 1 << (b[0] >> 6)
	if len(b) < n {
		return 0, 0
	}
	var buf [8]byte
	copy(buf[8-n:], b[:n])
	buf[8-n] &= 0x3f
	return binary.BigEndian.Uint64(buf[:]), n
}
