package wire

import (
	"fmt"

	"github.com/freshet-live/freshet/moq"
)

// Limits of a block of Properties, of this package and not of the draft.
const (
	// MaxPropertiesSize is the largest encoded block of Object Properties in
	// bytes. A receiver has to hold the whole block before it can read it; a
	// block as large as a control message, which bounds Track Properties, is
	// more than any Object is known to need.
	MaxPropertiesSize = 1<<16 - 1
	// MaxProperties is the largest number of Properties of one Track or
	// Object. A Property that takes 2 bytes to send takes 40 to keep; this
	// number keeps that below 10 KiB.
	MaxProperties = 256
)

// maxValueLength is the largest value of an odd type in bytes
// (draft-ietf-moq-transport-18, section "Key-Value-Pair Structure").
const maxValueLength = 1<<16 - 1

// Types of Mandatory Track Properties: an endpoint that does not understand
// one must not use the Track (draft-ietf-moq-transport-18, section
// "Mandatory Track Properties").
const (
	mandatoryFirst = 0x4000
	mandatoryLast  = 0x7FFF
)

// MalformedTrackError tells that a Track breaks a rule of the model. It ends
// the subscription or fetch, with MALFORMED_TRACK where a code is sent, and
// not the session (draft-ietf-moq-transport-18, section "Malformed Tracks").
type MalformedTrackError struct{ Reason string }

// Error returns the reason.
func (e *MalformedTrackError) Error() string { return "wire: malformed track: " + e.Reason }

// ParseImmutable reads the Properties inside an Immutable Properties value.
// The error is a *MalformedTrackError: a value that cannot be read, or that
// contains Immutable Properties itself
// (draft-ietf-moq-transport-18, section "Immutable Properties").
func ParseImmutable(value []byte) (moq.Properties, error) {
	p, err := parseProperties(value, form{})
	if err != nil {
		return nil, &MalformedTrackError{"immutable properties: " + err.Error()}
	}
	if _, ok := p.Get(moq.PropertyImmutable); ok {
		return nil, &MalformedTrackError{"immutable properties inside immutable properties"}
	}
	return p, nil
}

// AppendImmutable appends p as the value of an Immutable Properties property.
func AppendImmutable(b []byte, p moq.Properties) ([]byte, error) {
	if _, ok := p.Get(moq.PropertyImmutable); ok {
		return b, invalid("immutable properties inside immutable properties")
	}
	e := encoder{b: b}
	e.properties(p)
	if e.err != nil {
		return b, e.err
	}
	return e.b, nil
}

// FindProperty returns the first Property of the given type, looking in p and
// then in its Immutable Properties.
func FindProperty(p moq.Properties, typ uint64) (moq.Property, bool) {
	if v, ok := p.Get(typ); ok {
		return v, true
	}
	if im, ok := p.Get(moq.PropertyImmutable); ok && typ != moq.PropertyImmutable {
		if inner, err := ParseImmutable(im.Bytes); err == nil {
			return inner.Get(typ)
		}
	}
	return moq.Property{}, false
}

// UnknownMandatory returns the type of a Mandatory Track Property in p that
// this package does not understand, which is any. A PUBLISH with one is
// answered with UNSUPPORTED_EXTENSION; a subscription or fetch whose answer
// has one is cancelled.
func UnknownMandatory(p moq.Properties) (typ uint64, ok bool) {
	for _, v := range p {
		if isMandatory(v.Type) {
			return v.Type, true
		}
		if v.Type == moq.PropertyImmutable {
			inner, _ := ParseImmutable(v.Bytes)
			for _, v := range inner {
				if isMandatory(v.Type) {
					return v.Type, true
				}
			}
		}
	}
	return 0, false
}

func isMandatory(t uint64) bool { return mandatoryFirst <= t && t <= mandatoryLast }

// CheckObjectProperties checks the Properties of the Object at l against the
// rules whose breach makes its Track malformed, as far as one Object shows
// them. The error is a *MalformedTrackError.
func CheckObjectProperties(l moq.Location, p moq.Properties) error {
	var c objectPropertyCheck
	return c.check(l, p)
}

// objectPropertyCheck counts what may appear once, in p and in its Immutable
// Properties together.
type objectPropertyCheck struct {
	immutable, groupGap, objectGap bool
	anyType                        bool // no type is mandatory
}

func (c *objectPropertyCheck) check(l moq.Location, p moq.Properties) error {
	once := func(seen *bool, name string) error {
		if *seen {
			return &MalformedTrackError{name + " repeats"}
		}
		*seen = true
		return nil
	}
	for _, v := range p {
		switch {
		case v.Type == moq.PropertyImmutable:
			if err := once(&c.immutable, "immutable properties"); err != nil {
				return err
			}
			inner, err := ParseImmutable(v.Bytes)
			if err == nil {
				err = c.check(l, inner)
			}
			if err != nil {
				return err
			}
		case v.Type == moq.PropertyPriorGroupIDGap:
			if err := once(&c.groupGap, "prior group ID gap"); err != nil {
				return err
			}
			if v.Value > l.Group {
				return &MalformedTrackError{fmt.Sprintf("prior group ID gap of %d in group %d", v.Value, l.Group)}
			}
		case v.Type == moq.PropertyPriorObjectIDGap:
			if err := once(&c.objectGap, "prior object ID gap"); err != nil {
				return err
			}
			if v.Value > l.Object {
				return &MalformedTrackError{fmt.Sprintf("prior object ID gap of %d at object %d", v.Value, l.Object)}
			}
		case isMandatory(v.Type) && !c.anyType:
			return &MalformedTrackError{fmt.Sprintf("mandatory track property %#x on an object", v.Type)}
		}
	}
	return nil
}

// checkTrackProperties checks the values of Track Properties that the draft
// wants the session closed over.
func (r *rules) checkTrackProperties(p moq.Properties) error {
	for _, v := range p {
		ok := true
		switch v.Type {
		case moq.PropertyObjectDeliveryTimeout:
			ok = v.Value > 0 || !r.timeoutNotZero
		case moq.PropertyDefaultPublisherPriority:
			ok = v.Value <= 255
		case moq.PropertyDefaultGroupOrder:
			ok = validGroupOrder(v.Value)
		case moq.PropertyDynamicGroups:
			ok = v.Value <= 1
		case moq.PropertyImmutable:
			// A value that cannot be read makes the track malformed, which
			// is for its reader to find.
			if inner, err := ParseImmutable(v.Bytes); err == nil {
				if err := r.checkTrackProperties(inner); err != nil {
					return err
				}
			}
		}
		if !ok {
			return violation("track property %#x has the value %d", v.Type, v.Value)
		}
	}
	return nil
}

// parseProperties reads a whole block of Properties. Nothing it returns
// shares memory with the block.
func parseProperties(block []byte, f form) (moq.Properties, error) {
	if len(block) == 0 {
		return nil, nil
	}
	// Count first, so that at most two allocations are made, of the right
	// size and within the limits. Most blocks have few, which are kept from
	// the count.
	var few [4]moq.Property
	count, size := 0, 0
	c := decoder{b: block, form: f}
	for typ := uint64(0); c.remaining() > 0; count++ {
		if count == MaxProperties {
			return nil, &Error{Code: InternalError, Reason: fmt.Sprintf("more than %d properties", MaxProperties)}
		}
		p := c.pair(typ)
		if c.err == ErrShort {
			return nil, &Error{Code: KeyValueFormattingError, Reason: "key-value pair is longer than its block"}
		}
		if c.err != nil {
			return nil, c.err
		}
		typ = p.Type
		size += len(p.Bytes)
		if count < len(few) {
			few[count] = p
		}
	}
	props := make(moq.Properties, count)
	if copy(props, few[:]) < count {
		c = decoder{b: block, form: f}
		for i, typ := 0, uint64(0); i < count; i++ {
			props[i] = c.pair(typ)
			typ = props[i].Type
		}
	}
	if size == 0 && f == (form{}) {
		return props, nil
	}
	own(props, size, f)
	return props, nil
}

// own makes props independent of the block they were parsed from, which has
// size bytes of values.
func own(props moq.Properties, size int, f form) {
	values := make([]byte, 0, size)
	for i := range props {
		p := &props[i]
		switch {
		case p.Type == moq.PropertyImmutable && f != (form{}):
			p.Bytes = immutableFrom(f, p.Bytes)
		case len(p.Bytes) == 0:
			p.Bytes = nil
		default:
			at := len(values)
			values = append(values, p.Bytes...)
			p.Bytes = values[at:len(values):len(values)]
		}
	}
}

// pair reads one Key-Value-Pair after one of type prior. Bytes of the result
// are those of the input.
func (d *decoder) pair(prior uint64) moq.Property {
	p := moq.Property{Type: d.varint()}
	if !d.absolute {
		if p.Type+prior < prior {
			d.fail(violation("type of a key-value pair exceeds 2^64-1"))
		}
		p.Type += prior
	}
	if p.Type%2 == 0 {
		p.Value = d.varint()
		return p
	}
	size := d.varint()
	if size > maxValueLength {
		d.fail(violation("value of %d bytes in a key-value pair", size))
	}
	if size > 0 {
		p.Bytes = d.take(size)
	}
	return p
}

// propertiesBlock reads Object Properties without decoding them.
func (d *decoder) propertiesBlock() []byte {
	size := d.varint()
	if size > MaxPropertiesSize {
		d.fail(&Error{Code: InternalError, Reason: fmt.Sprintf("object properties of %d bytes, at most %d are accepted", size, MaxPropertiesSize)})
	}
	return d.take(size)
}

// properties appends a sequence of Key-Value-Pairs, in the order of types
// where those are deltas.
func (e *encoder) properties(p moq.Properties) { e.pairs(p, true) }

// pairs appends Key-Value-Pairs. translate tells that Immutable Properties may
// be among them.
func (e *encoder) pairs(p moq.Properties, translate bool) {
	if len(p) > MaxProperties {
		e.fail("%d properties, at most %d are allowed", len(p), MaxProperties)
		return
	}
	if !e.absolute {
		p = p.Sorted()
	}
	var prior uint64
	for _, v := range p {
		e.varint(v.Type - prior)
		if !e.absolute {
			prior = v.Type
		}
		if v.Type%2 == 0 {
			if v.Bytes != nil {
				e.fail("property %#x has bytes", v.Type)
			}
			e.varint(v.Value)
			continue
		}
		if translate && v.Type == moq.PropertyImmutable && e.form != (form{}) {
			var err error
			if v.Bytes, err = immutableTo(e.form, v.Bytes); err != nil {
				e.fail("%v", err)
			}
		}
		if len(v.Bytes) > maxValueLength {
			e.fail("property %#x of %d bytes", v.Type, len(v.Bytes))
		}
		e.varint(uint64(len(v.Bytes)))
		e.b = append(e.b, v.Bytes...)
	}
}

// objectProperties appends Properties with the length of the block in front.
func (e *encoder) objectProperties(p moq.Properties) {
	at := e.open()
	e.properties(p)
	e.close(at, MaxPropertiesSize, "object properties")
}

// open keeps room for a length of one byte, which is what most have, and
// returns where that ends.
func (e *encoder) open() int {
	e.b = append(e.b, 0)
	return len(e.b)
}

// close puts the length of what was appended since open in front of it.
func (e *encoder) close(at, limit int, what string) {
	size := len(e.b) - at
	if size < 0x40 {
		e.b[at-1] = byte(size)
		return
	}
	if size > limit {
		e.fail("%s of %d bytes", what, size)
		return
	}
	// What was appended moves to make room for a longer length.
	e.varint(uint64(size))
	head := len(e.b) - at - size
	var length [MaxVarintLen]byte
	copy(length[:head], e.b[at+size:])
	e.b = e.b[:at+size+head-1]
	copy(e.b[at-1+head:], e.b[at:at+size])
	copy(e.b[at-1:], length[:head])
}

// sized appends what f appends with its length in front.
func (e *encoder) sized(limit int, what string, f func()) {
	at := e.open()
	f()
	e.close(at, limit, what)
}
