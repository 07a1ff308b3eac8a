package wire

import (
	"fmt"

	"github.com/freshet-live/freshet/moq"
)

// SubgroupMode says how a SubgroupHeader tells its Subgroup ID.
type SubgroupMode uint8

// The modes and their code points.
const (
	SubgroupZero        SubgroupMode = 0b00 // the Subgroup ID is 0
	SubgroupFirstObject SubgroupMode = 0b01 // it is the ID of the first Object on the stream
	SubgroupExplicit    SubgroupMode = 0b10 // it is in the header
)

// Bits of the type of a subgroup header.
const (
	subgroupProperties      = 0x01
	subgroupModeShift       = 1
	subgroupModeMask        = 0x06
	subgroupEndOfGroup      = 0x08
	subgroupAlways          = 0x10
	subgroupDefaultPriority = 0x20
	subgroupFirstObjectBit  = 0x40
)

// validSubgroupType reports whether v has the bit that all subgroup headers
// have, no flag that the draft does not have, and a mode that is not reserved.
func (r *dataRules) validSubgroupType(v uint64) bool {
	return v&^r.subgroupBits == 0 && v&subgroupAlways != 0 && v&subgroupModeMask != subgroupModeMask
}

// SubgroupHeader is SUBGROUP_HEADER, at the start of a stream that carries
// Objects of one Subgroup (draft-ietf-moq-transport-18, section "Subgroup
// Header").
type SubgroupHeader struct {
	Alias uint64 // Track Alias
	Group uint64
	// Subgroup is the Subgroup ID. With SubgroupZero it is 0; with
	// SubgroupFirstObject it is 0 until ParseObjectHeader has read the first
	// Object, and AppendSubgroupHeader ignores it.
	Subgroup uint64
	Mode     SubgroupMode
	// Priority is the Publisher Priority. With DefaultPriority it is that of
	// the Track instead and Priority is 0. Draft 14 has no DefaultPriority.
	Priority        uint8
	DefaultPriority bool
	// EndOfGroup tells that the last Object on the stream is the last of the
	// Group, if the stream ends with a FIN.
	EndOfGroup bool
	// FirstObject tells that the first Object on the stream is the first of
	// the Subgroup. Drafts before 18 cannot tell, and there it is not sent.
	FirstObject bool
	// Properties tells that every Object on the stream has a Properties
	// block, which may be empty. Without it no Object has any.
	Properties bool
}

// AppendSubgroupHeader appends h. The error wraps ErrInvalid when the Mode
// does not fit the Subgroup, and when h has a DefaultPriority that the draft
// cannot tell.
func (d Draft) AppendSubgroupHeader(b []byte, h SubgroupHeader) ([]byte, error) {
	r := d.rules()
	if r == nil {
		return b, ErrDraft
	}
	if h.Mode > SubgroupExplicit {
		return b, invalid("subgroup mode %d", h.Mode)
	}
	if h.Mode == SubgroupZero && h.Subgroup != 0 {
		return b, invalid("subgroup %d in the mode for subgroup 0", h.Subgroup)
	}
	t := byte(subgroupAlways) | byte(h.Mode)<<subgroupModeShift
	for _, f := range [...]struct {
		set bool
		bit byte
	}{
		{h.Properties, subgroupProperties},
		{h.EndOfGroup, subgroupEndOfGroup},
		{h.DefaultPriority, subgroupDefaultPriority},
		{h.FirstObject, subgroupFirstObjectBit},
	} {
		if f.set {
			t |= f.bit
		}
	}
	switch unknown := uint64(t) &^ r.data.subgroupBits; {
	case unknown&subgroupDefaultPriority != 0:
		return b, invalid("subgroup header with the default priority in %v", d)
	case unknown != 0:
		t &^= byte(unknown)
	}
	e := r.encoder(b)
	e.varint(uint64(t))
	e.varint(h.Alias)
	e.varint(h.Group)
	if h.Mode == SubgroupExplicit {
		e.varint(h.Subgroup)
	}
	if !h.DefaultPriority {
		e.uint8(h.Priority)
	}
	if e.err != nil {
		return b, e.err
	}
	return e.b, nil
}

// ParseSubgroupHeader reads the header at the start of a stream and returns
// its length in bytes. An invalid type is a PROTOCOL_VIOLATION.
func (d Draft) ParseSubgroupHeader(b []byte) (h SubgroupHeader, n int, err error) {
	r := d.rules()
	if r == nil {
		return h, 0, ErrDraft
	}
	c := r.decoder(b)
	t := c.varint()
	if c.err == nil && !r.data.validSubgroupType(t) {
		return h, 0, violation("subgroup header type %#x", t)
	}
	h = SubgroupHeader{
		Mode:            SubgroupMode(t & subgroupModeMask >> subgroupModeShift),
		Properties:      t&subgroupProperties != 0,
		EndOfGroup:      t&subgroupEndOfGroup != 0,
		DefaultPriority: t&subgroupDefaultPriority != 0,
		FirstObject:     t&subgroupFirstObjectBit != 0,
	}
	h.Alias = c.varint()
	h.Group = c.varint()
	if h.Mode == SubgroupExplicit {
		h.Subgroup = c.varint()
	}
	if !h.DefaultPriority {
		h.Priority = c.uint8()
	}
	if c.err != nil {
		return SubgroupHeader{}, 0, c.err
	}
	return h, c.off, nil
}

// ObjectHeader is what precedes the payload of an Object on a subgroup
// stream.
type ObjectHeader struct {
	ID         uint64
	Properties moq.Properties
	Size       uint64           // length of the payload in bytes
	Status     moq.ObjectStatus // StatusNormal unless Size is 0
}

// AppendObjectHeader appends o as the next Object of the stream that started
// with h. prev is the ID of the Object before it, unless o is the first.
//
// The error wraps ErrInvalid when o does not come after prev, when it has
// Properties and h says there are none, when its Properties exceed the limits
// of ParseObjectHeader, or when it has a Status and also a payload or, after
// draft 14, Properties.
func (d Draft) AppendObjectHeader(b []byte, h *SubgroupHeader, prev uint64, first bool, o ObjectHeader) ([]byte, error) {
	r := d.rules()
	if r == nil {
		return b, ErrDraft
	}
	delta := o.ID
	if !first {
		if o.ID <= prev {
			return b, invalid("object %d after object %d", o.ID, prev)
		}
		delta = o.ID - prev - 1
	}
	if o.Status != moq.StatusNormal && (o.Size > 0 || len(o.Properties) > 0 && !r.data.propertiesWith(o.Status)) {
		return b, invalid("object with status %v has a payload or properties", o.Status)
	}
	if len(o.Properties) > 0 && !h.Properties {
		return b, invalid("object has properties on a stream without")
	}
	e := r.encoder(b)
	e.varint(delta)
	if h.Properties {
		e.objectProperties(o.Properties)
	}
	e.varint(o.Size)
	if o.Size == 0 {
		e.status(o.Status)
	}
	if e.err != nil {
		return b, e.err
	}
	return e.b, nil
}

// ParseObjectHeader reads the header of the next Object on the stream that
// started with h and returns its length in bytes; o.Size bytes of payload
// follow. prev is the ID of the Object before it, unless it is the first. The
// first Object sets h.Subgroup when h.Mode is SubgroupFirstObject.
//
// An Object ID beyond what the draft's integers hold, an unknown status, and Properties of an Object
// with a status are a PROTOCOL_VIOLATION; malformed Properties a
// KEY_VALUE_FORMATTING_ERROR. Properties of more than MaxPropertiesSize bytes
// or MaxProperties in number give INTERNAL_ERROR, as that is a limit of this
// endpoint.
func (d Draft) ParseObjectHeader(b []byte, h *SubgroupHeader, prev uint64, first bool) (o ObjectHeader, n int, err error) {
	r := d.rules()
	if r == nil {
		return o, 0, ErrDraft
	}
	c := r.decoder(b)
	o.ID = c.varint()
	if !first {
		if o.ID++; o.ID == 0 || o.ID+prev < prev {
			c.fail(violation("object ID exceeds 2^64-1"))
		}
		o.ID += prev
	}
	if c.quic && o.ID > maxQUICVarint {
		c.fail(violation("object ID exceeds 2^62-1"))
	}
	var block []byte
	if h.Properties {
		block = c.propertiesBlock()
	}
	o.Size = c.varint()
	if o.Size == 0 && c.err == nil {
		o.Status = c.status()
		if o.Status != moq.StatusNormal && len(block) > 0 && !r.data.propertiesWith(o.Status) {
			c.fail(violation("properties on an object with status %v", o.Status))
		}
	}
	// The properties are read last so that a header that has not arrived
	// completely allocates nothing.
	if c.err == nil {
		o.Properties, c.err = parseProperties(block, c.form)
	}
	if c.err != nil {
		return ObjectHeader{}, 0, c.err
	}
	if first && h.Mode == SubgroupFirstObject {
		h.Subgroup = o.ID
	}
	return o, c.off, nil
}

// StatusDoesNotExist is the status of an Object that draft 14 says does not
// exist. No other draft can say that, nor has the model an Object for it: a
// missing Object is a gap.
const StatusDoesNotExist moq.ObjectStatus = 0x1

// propertiesWith reports whether an Object with the status s, which is not
// StatusNormal, may have Properties.
func (r *dataRules) propertiesWith(s moq.ObjectStatus) bool {
	return r.statusProperties && s != StatusDoesNotExist
}

func (e *encoder) status(s moq.ObjectStatus) {
	if !e.rules.data.validStatus(uint64(s)) {
		e.fail("object status %v", s)
	}
	e.varint(uint64(s))
}

// status reads an Object Status. The draft names the values and wants the
// session closed over any other.
func (d *decoder) status() moq.ObjectStatus {
	v := d.varint()
	if d.err == nil && !d.rules.data.validStatus(v) {
		d.fail(violation("object status %#x", v))
	}
	return moq.ObjectStatus(v)
}

func (r *dataRules) validStatus(v uint64) bool {
	switch v {
	case uint64(StatusDoesNotExist):
		return r.statusDoesNotExist
	case uint64(moq.StatusNormal), uint64(moq.StatusEndOfGroup), uint64(moq.StatusEndOfTrack):
		return true
	}
	return false
}

// String returns the mode in words.
func (m SubgroupMode) String() string {
	switch m {
	case SubgroupZero:
		return "zero"
	case SubgroupFirstObject:
		return "first object"
	case SubgroupExplicit:
		return "explicit"
	}
	return fmt.Sprintf("SubgroupMode(%#b)", uint8(m))
}
