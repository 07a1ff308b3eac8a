package wire

import "math/bits"

// MaxVarintLen is the length in bytes of the longest varint.
const MaxVarintLen = 9

// VarintLen returns how many bytes AppendVarint adds for v.
func VarintLen(v uint64) int {
	// A varint of n bytes, n up to 8, holds 7n bits.
	if n := (bits.Len64(v|1) + 6) / 7; n < 9 {
		return n
	}
	return 9
}

// AppendVarint appends v in the shortest form: as many leading one bits as
// bytes follow the first (draft-ietf-moq-transport-18, section
// "Variable-Length Integers").
func AppendVarint(b []byte, v uint64) []byte {
	if v < 0x80 {
		return append(b, byte(v))
	}
	n := VarintLen(v)
	if n == 9 {
		b = append(b, 0xff)
		n = 8
	} else {
		// n-1 leading ones, then a zero, in front of the value's 7n bits.
		v |= (0xff << (9 - n) & 0xff) << (8 * (n - 1))
	}
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(v>>(8*i)))
	}
	return b
}

// ParseVarint reads the varint at the start of b and returns its value and
// its length in bytes. Forms longer than needed are valid. The only error is
// ErrShort.
func ParseVarint(b []byte) (v uint64, n int, err error) {
	if len(b) == 0 {
		return 0, 0, ErrShort
	}
	first := b[0]
	if first < 0x80 {
		return uint64(first), 1, nil
	}
	n = bits.LeadingZeros8(^first) + 1 // 9 for 0xff
	if len(b) < n {
		return 0, 0, ErrShort
	}
	v = uint64(first) & (0xff >> n)
	for _, c := range b[1:n] {
		v = v<<8 | uint64(c)
	}
	return v, n, nil
}
