package wire

import "github.com/freshet-live/freshet/moq"

// Bits of the type of an object datagram, and the type of a padding datagram.
const (
	datagramProperties      = 0x01
	datagramEndOfGroup      = 0x02
	datagramZeroObject      = 0x04
	datagramDefaultPriority = 0x08
	datagramStatus          = 0x20
	datagramPadding         = 0x132B3E29
)

// Datagram is OBJECT_DATAGRAM: one whole Object
// (draft-ietf-moq-transport-18, section "Object Datagram").
type Datagram struct {
	Alias    uint64 // Track Alias
	Location moq.Location
	// Priority is the Publisher Priority. With DefaultPriority it is that of
	// the Track instead and Priority is 0. Draft 14 has no DefaultPriority.
	Priority        uint8
	DefaultPriority bool
	// EndOfGroup tells that no Object of the Group comes after this one.
	EndOfGroup bool
	Properties moq.Properties
	// Status is StatusNormal unless Payload is empty; an Object with another
	// status has no EndOfGroup and, after draft 14, no Properties either.
	Status  moq.ObjectStatus
	Payload []byte
}

// validDatagramType reports whether t is the type of an object datagram.
func (r *dataRules) validDatagramType(t uint64) bool {
	if t&^r.datagramBits != 0 {
		return false
	}
	if t&datagramStatus == 0 {
		return true
	}
	return t&datagramEndOfGroup == 0 && (t&datagramZeroObject == 0 || !r.statusNeedsID)
}

// AppendDatagram appends g. The error wraps ErrInvalid when g has a Status
// and also what an Object with a status cannot have, when its Properties
// exceed the limits of ParseObjectHeader, or when it has a DefaultPriority
// that the draft cannot tell.
func (d Draft) AppendDatagram(b []byte, g Datagram) ([]byte, error) {
	r := d.rules()
	if r == nil {
		return b, ErrDraft
	}
	status := g.Status != moq.StatusNormal
	if status && (len(g.Payload) > 0 || len(g.Properties) > 0 && !r.data.propertiesWith(g.Status) || g.EndOfGroup) {
		return b, invalid("object with status %v has a payload, properties or an end of group", g.Status)
	}
	var t byte
	for _, f := range [...]struct {
		set bool
		bit byte
	}{
		{len(g.Properties) > 0, datagramProperties},
		{g.EndOfGroup, datagramEndOfGroup},
		{g.Location.Object == 0, datagramZeroObject},
		{g.DefaultPriority, datagramDefaultPriority},
		{status, datagramStatus},
	} {
		if f.set {
			t |= f.bit
		}
	}
	if !r.data.validDatagramType(uint64(t)) {
		// Draft 14 has no status datagram without an Object ID.
		t &^= datagramZeroObject
	}
	if !r.data.validDatagramType(uint64(t)) {
		return b, invalid("datagram of type %#x in %v", t, d)
	}
	e := r.encoder(b)
	e.varint(uint64(t))
	e.varint(g.Alias)
	e.varint(g.Location.Group)
	if t&datagramZeroObject == 0 {
		e.varint(g.Location.Object)
	}
	if !g.DefaultPriority {
		e.uint8(g.Priority)
	}
	if len(g.Properties) > 0 {
		e.objectProperties(g.Properties)
	}
	if status {
		e.status(g.Status)
	} else {
		e.b = append(e.b, g.Payload...)
	}
	if e.err != nil {
		return b, e.err
	}
	return e.b, nil
}

// ParseDatagram reads a whole datagram. padding tells that it is a padding
// datagram, which is to be discarded; g is zero then. g.Payload is the end of
// b and not a copy.
//
// A datagram comes whole, so one that ends too early is a PROTOCOL_VIOLATION
// and never ErrShort. So are an invalid type, an empty Properties block, an
// unknown status, and Properties with a status; malformed Properties are a
// KEY_VALUE_FORMATTING_ERROR.
func (d Draft) ParseDatagram(b []byte) (g Datagram, padding bool, err error) {
	r := d.rules()
	if r == nil {
		return g, false, ErrDraft
	}
	c := r.decoder(b)
	t := c.varint()
	switch {
	case c.err != nil:
	case t == datagramPadding && r.data.padding:
		return Datagram{}, true, nil
	case !r.data.validDatagramType(t):
		return Datagram{}, false, violation("datagram type %#x", t)
	}
	g.Alias = c.varint()
	g.Location.Group = c.varint()
	if t&datagramZeroObject == 0 {
		g.Location.Object = c.varint()
	}
	g.DefaultPriority = t&datagramDefaultPriority != 0
	if !g.DefaultPriority {
		g.Priority = c.uint8()
	}
	g.EndOfGroup = t&datagramEndOfGroup != 0
	if t&datagramProperties != 0 {
		block := c.propertiesBlock()
		if c.err == nil && len(block) == 0 {
			c.fail(violation("datagram with an empty properties block"))
		}
		if c.err == nil {
			g.Properties, c.err = parseProperties(block, c.form)
		}
	}
	if t&datagramStatus != 0 {
		g.Status = c.status()
		if g.Status != moq.StatusNormal && len(g.Properties) > 0 && !r.data.propertiesWith(g.Status) {
			c.fail(violation("properties on an object with status %v", g.Status))
		}
		if c.err == nil && c.remaining() > 0 {
			c.fail(violation("%d bytes after the status of a datagram", c.remaining()))
		}
	} else if rest := c.take(uint64(c.remaining())); len(rest) > 0 {
		g.Payload = rest
	}
	if c.err == ErrShort {
		c.err = violation("datagram ends in its header")
	}
	if c.err != nil {
		return Datagram{}, false, c.err
	}
	return g, false, nil
}
