package wire

import "github.com/freshet-live/freshet/moq"

// form is how numbers are written. The zero form is that of drafts from 17 on.
type form struct {
	quic     bool // integers are those of RFC 9000, section 16
	absolute bool // Key-Value-Pairs have whole types and not deltas; they may come in any order
}

// decoder is a cursor over bytes that remembers the first failure. After it,
// every read returns zero. Running out of bytes is ErrShort.
type decoder struct {
	b   []byte
	off int
	err error
	form
	rules *rules // of the draft; nil where no read needs it
}

// sub returns a decoder for b with the same form.
func (d *decoder) sub(b []byte) decoder { return decoder{b: b, form: d.form, rules: d.rules} }

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

func (d *decoder) remaining() int { return len(d.b) - d.off }

func (d *decoder) varint() uint64 {
	// Most numbers are one byte, which is the same in both forms below 0x40.
	if d.err == nil && d.off < len(d.b) {
		if first := d.b[d.off]; first < 0x40 || first < 0x80 && !d.quic {
			d.off++
			return uint64(first)
		}
	}
	return d.longVarint()
}

func (d *decoder) longVarint() uint64 {
	if d.err != nil {
		return 0
	}
	var v uint64
	var n int
	var err error
	if d.quic {
		v, n, err = parseQUICVarint(d.b[d.off:])
	} else {
		v, n, err = ParseVarint(d.b[d.off:])
	}
	if err != nil {
		d.err = err
		return 0
	}
	d.off += n
	return v
}

func (d *decoder) uint8() uint8 {
	if d.err != nil {
		return 0
	}
	if d.remaining() < 1 {
		d.err = ErrShort
		return 0
	}
	d.off++
	return d.b[d.off-1]
}

// take returns the next n bytes without a copy, or nil.
func (d *decoder) take(n uint64) []byte {
	if d.err != nil {
		return nil
	}
	if n > uint64(d.remaining()) {
		d.err = ErrShort
		return nil
	}
	b := d.b[d.off : d.off+int(n)]
	d.off += int(n)
	return b
}

// text reads a length, of which limit is the largest allowed, and as many
// bytes.
func (d *decoder) text(what string, limit uint64) string {
	n := d.varint()
	if n > limit {
		d.fail(violation("%s of %d bytes, at most %d are allowed", what, n, limit))
	}
	return string(d.take(n))
}

func (d *decoder) location() moq.Location {
	return moq.Location{Group: d.varint(), Object: d.varint()}
}

// namespace reads a Track Namespace and returns the length of its fields too.
func (d *decoder) namespace() (ns moq.Namespace, length int) {
	count := d.varint()
	if count > moq.MaxNamespaceFields {
		d.fail(violation("namespace of %d fields, at most %d are allowed", count, moq.MaxNamespaceFields))
	}
	if d.err != nil || count == 0 {
		return nil, 0
	}
	ns = make(moq.Namespace, 0, count)
	for range count {
		n := d.varint()
		if d.err == nil && n == 0 {
			d.fail(violation("namespace field without bytes"))
		}
		if n > uint64(moq.MaxFullNameLength-length) {
			d.fail(violation("namespace of more than %d bytes", moq.MaxFullNameLength))
		}
		f := d.take(n)
		if d.err != nil {
			return nil, 0
		}
		length += len(f)
		ns = append(ns, string(f))
	}
	return ns, length
}

// trackNamespace reads the Namespace of a Track, which some drafts want to
// have a field.
func (d *decoder) trackNamespace() (ns moq.Namespace, length int) {
	ns, length = d.namespace()
	if d.err == nil && len(ns) == 0 && d.rules.namespaceNeedsField {
		d.fail(violation("namespace without fields"))
	}
	return ns, length
}

func (d *decoder) fullTrackName() moq.FullTrackName {
	ns, length := d.trackNamespace()
	n := d.varint()
	if n > uint64(moq.MaxFullNameLength-length) {
		d.fail(violation("full track name of more than %d bytes", moq.MaxFullNameLength))
	}
	return moq.FullTrackName{Namespace: ns, Track: string(d.take(n))}
}

// trackProperties reads Track Properties, which fill the rest of a message.
func (d *decoder) trackProperties() moq.Properties {
	if d.err != nil {
		return nil
	}
	p, err := parseProperties(d.take(uint64(d.remaining())), d.form)
	if err == nil {
		err = d.rules.checkTrackProperties(p)
	}
	if err != nil {
		d.fail(err)
		return nil
	}
	return p
}

// encoder appends to b and remembers the first failure.
type encoder struct {
	b   []byte
	err error
	form
	rules *rules // of the draft; nil where no write needs it
}

// sub returns an encoder with the same form that has nothing yet.
func (e *encoder) sub() encoder { return encoder{form: e.form, rules: e.rules} }

func (e *encoder) fail(format string, args ...any) {
	if e.err == nil {
		e.err = invalid(format, args...)
	}
}

func (e *encoder) varint(v uint64) {
	if v < 0x40 {
		e.b = append(e.b, byte(v)) // the same in both forms
		return
	}
	if !e.quic {
		e.b = AppendVarint(e.b, v)
		return
	}
	if v > maxQUICVarint {
		e.fail("%d exceeds 2^62-1", v)
		return
	}
	e.b = appendQUICVarint(e.b, v)
}

func (e *encoder) uint8(v uint8) { e.b = append(e.b, v) }

func (e *encoder) text(what, s string, limit int) {
	if len(s) > limit {
		e.fail("%s of %d bytes, at most %d are allowed", what, len(s), limit)
	}
	e.varint(uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) location(l moq.Location) {
	e.varint(l.Group)
	e.varint(l.Object)
}

func (e *encoder) namespace(ns moq.Namespace) {
	if err := ns.Validate(); err != nil {
		e.fail("%v", err)
	}
	e.varint(uint64(len(ns)))
	for _, f := range ns {
		e.varint(uint64(len(f)))
		e.b = append(e.b, f...)
	}
}

// trackNamespace appends the Namespace of a Track, which some drafts want to
// have a field.
func (e *encoder) trackNamespace(ns moq.Namespace) {
	if len(ns) == 0 && e.rules.namespaceNeedsField {
		e.fail("namespace without fields")
	}
	e.namespace(ns)
}

func (e *encoder) fullTrackName(n moq.FullTrackName) {
	if err := n.Validate(); err != nil {
		e.fail("%v", err)
	}
	e.trackNamespace(n.Namespace)
	e.varint(uint64(len(n.Track)))
	e.b = append(e.b, n.Track...)
}

// trackProperties appends Track Properties, which fill the rest of a message.
func (e *encoder) trackProperties(p moq.Properties) {
	if err := e.rules.checkTrackProperties(p); err != nil {
		e.fail("%v", err)
	}
	e.properties(p)
}

func validGroupOrder(v uint64) bool {
	return v == uint64(moq.GroupOrderAscending) || v == uint64(moq.GroupOrderDescending)
}
