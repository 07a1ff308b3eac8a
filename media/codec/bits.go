package codec

// bitReader reads the syntax elements of ITU-T H.264 and H.265 from a raw
// byte sequence payload. It remembers the first read past the end and then
// returns zeros, so callers check ok once.
type bitReader struct {
	b   []byte
	pos int // in bits
	bad bool
}

func (r *bitReader) ok() bool { return !r.bad }

// u reads n bits, n ≤ 32.
func (r *bitReader) u(n int) uint32 {
	if r.bad || n > len(r.b)*8-r.pos {
		r.bad = true
		return 0
	}
	var v uint32
	for n > 0 {
		free := 8 - r.pos&7
		take := min(free, n)
		chunk := uint32(r.b[r.pos>>3]) >> (free - take) & (1<<take - 1)
		v = v<<take | chunk
		r.pos += take
		n -= take
	}
	return v
}

func (r *bitReader) flag() bool { return r.u(1) == 1 }

func (r *bitReader) skip(n int) {
	if r.bad || n > len(r.b)*8-r.pos {
		r.bad = true
		return
	}
	r.pos += n
}

// ue reads an unsigned Exp-Golomb code.
func (r *bitReader) ue() uint32 {
	zeros := 0
	for !r.flag() {
		if zeros++; r.bad || zeros > 31 {
			r.bad = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.u(zeros)
}

// se reads a signed Exp-Golomb code.
func (r *bitReader) se() int32 {
	k := r.ue()
	if k&1 == 1 {
		return int32(k>>1) + 1
	}
	return -int32(k >> 1)
}

// rbsp removes the emulation prevention bytes of a NAL unit's payload.
func rbsp(b []byte) []byte {
	out := make([]byte, 0, len(b))
	zeros := 0
	for _, c := range b {
		if zeros >= 2 && c == 3 {
			zeros = 0
			continue
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		out = append(out, c)
	}
	return out
}
