package wire

// maxQUICVarint is the largest integer that RFC 9000 can encode.
const maxQUICVarint = 1<<62 - 1

// appendQUICVarint appends v, which is at most maxQUICVarint, in the shortest
// form of RFC 9000, section 16: the two highest bits tell the length. Drafts
// before 17 use these integers.
func appendQUICVarint(b []byte, v uint64) []byte {
	return appendQUICVarintClass(b, v, quicVarintClass(v))
}

// appendQUICVarintClass appends v in 1<<class bytes, which must be enough.
func appendQUICVarintClass(b []byte, v uint64, class int) []byte {
	n := 1 << class
	v |= uint64(class) << (8*n - 2)
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(v>>(8*i)))
	}
	return b
}

// quicVarintClass returns the binary logarithm of the length of the shortest
// form of v.
func quicVarintClass(v uint64) int {
	switch {
	case v < 1<<6:
		return 0
	case v < 1<<14:
		return 1
	case v < 1<<30:
		return 2
	}
	return 3
}

// parseQUICVarint is ParseVarint for the integers of RFC 9000.
func parseQUICVarint(b []byte) (v uint64, n int, err error) {
	if len(b) == 0 {
		return 0, 0, ErrShort
	}
	n = 1 << (b[0] >> 6)
	if len(b) < n {
		return 0, 0, ErrShort
	}
	v = uint64(b[0] & 0x3f)
	for _, c := range b[1:n] {
		v = v<<8 | uint64(c)
	}
	return v, n, nil
}

// AppendVarint appends v in the shortest form of the draft's integers. The
// error wraps ErrInvalid when v is too large for them, which are those of
// RFC 9000 up to draft 16 and have 62 bits.
func (d Draft) AppendVarint(b []byte, v uint64) ([]byte, error) {
	r := d.rules()
	if r == nil {
		return b, ErrDraft
	}
	e := r.encoder(b)
	e.varint(v)
	if e.err != nil {
		return b, e.err
	}
	return e.b, nil
}

// ParseVarint reads one of the draft's integers at the start of b and returns
// its value and its length in bytes. Forms longer than needed are valid.
func (d Draft) ParseVarint(b []byte) (v uint64, n int, err error) {
	r := d.rules()
	if r == nil {
		return 0, 0, ErrDraft
	}
	c := r.decoder(b)
	if v = c.varint(); c.err != nil {
		return 0, 0, c.err
	}
	return v, c.off, nil
}
