package codec

import (
	"encoding/binary"
	"fmt"
)

// byteReader reads big-endian fields. It remembers the first read past the
// end and then returns zeros.
type byteReader struct {
	b   []byte
	bad bool
}

// bytes returns the next n bytes without copying, nil past the end.
func (r *byteReader) bytes(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *byteReader) u8() uint8 {
	if v := r.bytes(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *byteReader) u16() uint16 {
	if v := r.bytes(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

// appendSets16 appends parameter sets, each behind a 16-bit length.
func appendSets16(b []byte, sets [][]byte) ([]byte, error) {
	for _, s := range sets {
		if len(s) > 0xffff {
			return nil, fmt.Errorf("%w: parameter set of %d bytes", ErrUnsupported, len(s))
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return b, nil
}
