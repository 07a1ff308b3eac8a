package wire

import (
	"math/bits"
	"slices"

	"github.com/freshet-live/freshet/moq"
)

// The value of an Immutable Properties property is a sequence of
// Key-Value-Pairs, which every draft writes in its own form. In memory it is
// in the zero form, so that a Track can cross from one draft to another and
// ParseImmutable needs to know no version.
//
// "This extension MUST NOT be modified or removed"
// (draft-ietf-moq-transport-16, section "Immutable Extensions"): what came in
// one form and leaves in the same has the same bytes. An integer that was
// longer than needed keeps its length for that. The one exception is draft
// 14 when its types do not ascend, which delta-coded types cannot say.

// unreadable stands in memory for a value that cannot be read, which makes
// the Track malformed: no form can read it.
var unreadable = []byte{0xff}

// immutablePair is a Key-Value-Pair with the length classes of its integers:
// the binary logarithm of the length in RFC 9000.
type immutablePair struct {
	moq.Property
	typeClass, sizeClass int // sizeClass is that of the value or of its length
}

// immutableFrom returns the value for memory.
func immutableFrom(f form, value []byte) []byte {
	pairs, ok := readImmutable(f, value)
	if !ok {
		return slices.Clone(unreadable)
	}
	if f.absolute {
		slices.SortStableFunc(pairs, func(a, b immutablePair) int {
			switch {
			case a.Type < b.Type:
				return -1
			case a.Type > b.Type:
				return 1
			}
			return 0
		})
	}
	var b []byte
	var prior uint64
	for _, p := range pairs {
		b = appendVarintClass(b, p.Type-prior, p.typeClass)
		prior = p.Type
		if p.Type%2 == 0 {
			b = appendVarintClass(b, p.Value, p.sizeClass)
			continue
		}
		b = appendVarintClass(b, uint64(len(p.Bytes)), p.sizeClass)
		b = append(b, p.Bytes...)
	}
	if len(b) > maxValueLength {
		return slices.Clone(unreadable)
	}
	return b
}

// immutableTo returns the value for the wire in the form f. A value that
// cannot be read is passed on as it is.
func immutableTo(f form, value []byte) ([]byte, error) {
	pairs, ok := readImmutable(form{}, value)
	if !ok {
		return value, nil
	}
	var b []byte
	var prior uint64
	put := func(v uint64, class int) error {
		if v > maxQUICVarint {
			return invalid("%d in immutable properties exceeds 2^62-1", v)
		}
		b = appendQUICVarintClass(b, v, max(class, quicVarintClass(v)))
		return nil
	}
	for _, p := range pairs {
		typ, size := p.Type-prior, p.Value
		if f.absolute {
			typ = p.Type
		}
		prior = p.Type
		if p.Type%2 != 0 {
			size = uint64(len(p.Bytes))
		}
		if err := put(typ, p.typeClass); err != nil {
			return nil, err
		}
		if err := put(size, p.sizeClass); err != nil {
			return nil, err
		}
		b = append(b, p.Bytes...)
	}
	return b, nil
}

func readImmutable(f form, value []byte) ([]immutablePair, bool) {
	var pairs []immutablePair
	c := decoder{b: value, form: f}
	// integer reads one and returns its class.
	integer := func() (uint64, int) {
		at := c.off
		v := c.varint()
		n := c.off - at
		if f.quic {
			return v, bits.Len(uint(n)) - 1
		}
		// 5 and 9 bytes are what appendVarintClass writes for a class.
		class := quicVarintClass(v)
		switch n {
		case 2:
			class = max(class, 1)
		case 5:
			class = max(class, 2)
		case 9:
			class = max(class, 3)
		}
		return v, class
	}
	for prior := uint64(0); c.remaining() > 0; {
		if len(pairs) == MaxProperties {
			return nil, false
		}
		var p immutablePair
		p.Type, p.typeClass = integer()
		if !f.absolute {
			if p.Type+prior < prior {
				return nil, false
			}
			p.Type += prior
			prior = p.Type
		}
		size, class := integer()
		p.sizeClass = class
		if p.Type%2 == 0 {
			p.Value = size
		} else if size <= maxValueLength {
			p.Bytes = c.take(size)
		} else {
			return nil, false
		}
		if c.err != nil {
			return nil, false
		}
		pairs = append(pairs, p)
	}
	return pairs, true
}

// appendVarintClass appends v so that its length tells the class: in 1, 2, 5
// or 9 bytes.
func appendVarintClass(b []byte, v uint64, class int) []byte {
	switch n := [...]int{1, 2, 5, 9}[class]; n {
	case 1:
		return AppendVarint(b, v) // below 2^6
	case 9:
		b = append(b, 0xff)
		for i := 7; i >= 0; i-- {
			b = append(b, byte(v>>(8*i)))
		}
		return b
	default:
		v |= (0xff << (9 - n) & 0xff) << (8 * (n - 1))
		for i := n - 1; i >= 0; i-- {
			b = append(b, byte(v>>(8*i)))
		}
		return b
	}
}
