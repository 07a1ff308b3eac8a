package wire

import (
	"fmt"
	"math"

	"github.com/freshet-live/freshet/moq"
)

// FetchHeader is FETCH_HEADER, at the start of the stream that answers a
// Fetch (draft-ietf-moq-transport-18, section "Fetch Header").
type FetchHeader struct {
	RequestID uint64 // of the Fetch
}

// AppendFetchHeader appends h.
func (d Draft) AppendFetchHeader(b []byte, h FetchHeader) ([]byte, error) {
	r := d.rules()
	if r == nil {
		return b, ErrDraft
	}
	e := r.encoder(b)
	e.varint(uint64(StreamFetch))
	e.varint(h.RequestID)
	if e.err != nil {
		return b, e.err
	}
	return e.b, nil
}

// ParseFetchHeader reads the header at the start of a stream and returns its
// length in bytes. Another stream type is a PROTOCOL_VIOLATION.
func (d Draft) ParseFetchHeader(b []byte) (h FetchHeader, n int, err error) {
	r := d.rules()
	if r == nil {
		return h, 0, ErrDraft
	}
	c := r.decoder(b)
	if t := c.varint(); c.err == nil && t != uint64(StreamFetch) {
		return h, 0, violation("fetch header type %#x", t)
	}
	h.RequestID = c.varint()
	if c.err != nil {
		return FetchHeader{}, 0, c.err
	}
	return h, c.off, nil
}

// FetchKind is the kind of a FetchItem.
type FetchKind uint8

// The kinds of items on a fetch stream.
const (
	// FetchObject is an Object; its payload follows.
	FetchObject FetchKind = iota
	// FetchNonExistent ends a range of Objects that do not exist.
	FetchNonExistent
	// FetchUnknown ends a range of which the publisher does not know whether
	// its Objects exist.
	FetchUnknown
	// FetchTimedOut ends a range that the publisher did not get in time.
	// Since draft 20.
	FetchTimedOut
)

// String returns the kind in the draft's words.
func (k FetchKind) String() string {
	switch k {
	case FetchObject:
		return "Object"
	case FetchNonExistent:
		return "End of Non-Existent Range"
	case FetchUnknown:
		return "End of Unknown Range"
	case FetchTimedOut:
		return "End of Timed-Out Range"
	}
	return fmt.Sprintf("FetchKind(%d)", uint8(k))
}

// FetchItem is the header of an Object on a fetch stream, or the mark at the
// end of a range that is left out.
type FetchItem struct {
	Kind FetchKind
	// Location is that of the Object, or the last one of the range. The
	// range starts directly after the item before it.
	Location moq.Location

	// The following are those of an Object.

	Subgroup   uint64
	Datagram   bool // the Object's forwarding preference; then there is no Subgroup
	Priority   uint8
	Properties moq.Properties
	Size       uint64 // length of the payload in bytes
	// Status is StatusNormal but for ends of Groups and of the Track in draft
	// 14. Since then Objects on fetch streams have no status.
	Status moq.ObjectStatus
}

// FetchCursor keeps what the items of a fetch stream so far mean for the next
// one. The zero value, with Order set, is for the start of a stream. One
// cursor belongs to one direction of one stream.
type FetchCursor struct {
	// Order is the order of Groups of the Fetch. GroupOrderPublisher counts
	// as ascending, which is what a Fetch without GroupOrder asks for.
	Order moq.GroupOrder

	started      bool // there was an item
	location     moq.Location
	itemIsObject bool // the last item is an Object
	hasObject    bool // there was an Object
	priority     uint8
	hasSubgroup  bool // the last Object has a Subgroup
	subgroup     uint64
}

// Serialization Flags of an item on a fetch stream.
const (
	fetchSubgroupMask  = 0x03
	fetchSubgroupZero  = 0x00
	fetchSubgroupPrior = 0x01
	fetchSubgroupNext  = 0x02
	fetchSubgroupField = 0x03
	fetchObjectID      = 0x04
	fetchGroupID       = 0x08
	fetchPriority      = 0x10
	fetchProperties    = 0x20
	fetchDatagram      = 0x40
	fetchFlagsEnd      = 0x80 // flags are below it
	fetchNonExistent   = 0x8C
	fetchUnknown       = 0x10C
	fetchTimedOut      = 0x20C // since draft 20
)

// AppendFetchItem appends the next item of a stream and moves c past it. The
// error wraps ErrInvalid when the item does not come after the last one in
// the order of c, or when its Properties exceed the limits of ParseFetchItem;
// c has not moved then.
func (d Draft) AppendFetchItem(b []byte, c *FetchCursor, it FetchItem) ([]byte, error) {
	r := d.rules()
	if r == nil {
		return b, ErrDraft
	}
	if c.started && !c.follows(it.Location) {
		return b, invalid("fetch item at %v after %v", it.Location, c.location)
	}
	if it.Status != moq.StatusNormal && (r.data.fetch != fetchFields || it.Kind != FetchObject || it.Size > 0) {
		return b, invalid("fetch item of kind %v with status %v", it.Kind, it.Status)
	}
	e := r.encoder(b)
	switch {
	case r.data.fetch == fetchFields:
		e.fetchFields(it)
	case it.Kind == FetchObject:
		c.appendObject(&e, it)
	case it.Kind == FetchNonExistent:
		e.varint(fetchNonExistent)
		e.location(it.Location)
	case it.Kind == FetchUnknown:
		e.varint(fetchUnknown)
		e.location(it.Location)
	case it.Kind == FetchTimedOut && r.data.timedOut:
		e.varint(fetchTimedOut)
		e.location(it.Location)
	default:
		e.fail("fetch item of kind %v", it.Kind)
	}
	if e.err != nil {
		return b, e.err
	}
	c.advance(it)
	return e.b, nil
}

// follows reports whether l may come after the last item: Groups in c.Order,
// Objects ascending.
func (c *FetchCursor) follows(l moq.Location) bool {
	if l.Group == c.location.Group {
		return l.Object > c.location.Object
	}
	return (l.Group < c.location.Group) == (c.Order == moq.GroupOrderDescending)
}

func (c *FetchCursor) appendObject(e *encoder, it FetchItem) {
	var flags uint64
	var group, object uint64 // the fields
	switch {
	case !c.started || e.rules.data.fetch == fetchFlags && !c.itemIsObject:
		flags = fetchGroupID | fetchObjectID
		group, object = it.Location.Group, it.Location.Object
	case e.rules.data.fetch == fetchFlags:
		group, object = it.Location.Group, it.Location.Object
		if group != c.location.Group {
			flags = fetchGroupID | fetchObjectID
		} else if object != c.location.Object+1 {
			flags = fetchObjectID
		}
	case it.Location.Group != c.location.Group:
		flags = fetchGroupID | fetchObjectID
		group, object = it.Location.Group-c.location.Group-1, it.Location.Object
		if c.Order == moq.GroupOrderDescending {
			group = c.location.Group - it.Location.Group - 1
		}
	case it.Location.Object != c.location.Object+1:
		flags = fetchObjectID
		object = it.Location.Object - c.location.Object
	}
	switch {
	case it.Datagram:
		flags |= fetchDatagram
	case it.Subgroup == 0:
		flags |= fetchSubgroupZero
	case c.hasSubgroup && it.Subgroup == c.subgroup:
		flags |= fetchSubgroupPrior
	case c.hasSubgroup && it.Subgroup == c.subgroup+1:
		flags |= fetchSubgroupNext
	default:
		flags |= fetchSubgroupField
	}
	if !c.hasObject || it.Priority != c.priority {
		flags |= fetchPriority
	}
	if len(it.Properties) > 0 {
		flags |= fetchProperties
	}
	e.varint(flags)
	if flags&fetchGroupID != 0 {
		e.varint(group)
	}
	if flags&fetchSubgroupMask == fetchSubgroupField {
		e.varint(it.Subgroup)
	}
	if flags&fetchObjectID != 0 {
		e.varint(object)
	}
	if flags&fetchPriority != 0 {
		e.uint8(it.Priority)
	}
	if flags&fetchProperties != 0 {
		e.objectProperties(it.Properties)
	}
	e.varint(it.Size)
}

// advance makes it the prior item.
func (c *FetchCursor) advance(it FetchItem) {
	c.started = true
	c.location = it.Location
	c.itemIsObject = it.Kind == FetchObject
	if it.Kind != FetchObject {
		return // the prior Subgroup and priority stay those of the last Object
	}
	c.hasObject = true
	c.priority = it.Priority
	c.hasSubgroup = !it.Datagram
	c.subgroup = it.Subgroup
}

// ParseFetchItem reads the next item of a stream and moves c past it, unless
// there is an error. n is its length in bytes; it.Size bytes of payload
// follow.
//
// Undefined flags, an ID below 0 or beyond 2^64-1, and a reference to a field
// that no earlier item has are a PROTOCOL_VIOLATION; malformed Properties a
// KEY_VALUE_FORMATTING_ERROR. Properties beyond MaxPropertiesSize or
// MaxProperties give INTERNAL_ERROR. That Objects ascend within a Group is
// for the caller to check: a breach makes the Track malformed.
//
// The Group and Object of an end of a range are absolute and no payload
// length follows. The draft leaves both open; this is what implementations
// agree on, and a delta could not name the prior Object's own Group.
func (d Draft) ParseFetchItem(b []byte, c *FetchCursor) (it FetchItem, n int, err error) {
	r := d.rules()
	if r == nil {
		return it, 0, ErrDraft
	}
	dec := r.decoder(b)
	if r.data.fetch == fetchFields {
		if it = dec.fetchFields(); dec.err != nil {
			return FetchItem{}, 0, dec.err
		}
		c.advance(it)
		return it, dec.off, nil
	}
	switch flags := dec.varint(); {
	case dec.err != nil:
	case flags < fetchFlagsEnd && r.data.fetch == fetchFlags:
		it = c.parseWhole(&dec, flags)
	case flags < fetchFlagsEnd:
		it = c.parseObject(&dec, flags)
	case flags == fetchNonExistent:
		it = FetchItem{Kind: FetchNonExistent, Location: dec.location()}
	case flags == fetchUnknown:
		it = FetchItem{Kind: FetchUnknown, Location: dec.location()}
	case flags == fetchTimedOut && r.data.timedOut:
		it = FetchItem{Kind: FetchTimedOut, Location: dec.location()}
	default:
		dec.fail(violation("serialization flags %#x", flags))
	}
	if dec.err != nil {
		return FetchItem{}, 0, dec.err
	}
	c.advance(it)
	return it, dec.off, nil
}

func (c *FetchCursor) parseObject(d *decoder, flags uint64) (it FetchItem) {
	it.Kind = FetchObject
	it.Datagram = flags&fetchDatagram != 0
	subgroup := flags & fetchSubgroupMask
	if it.Datagram {
		subgroup = fetchSubgroupZero // to be ignored
	}
	refers := func(have bool, what string) {
		if !have {
			d.fail(violation("object on a fetch stream refers to a prior %s and there is none", what))
		}
	}

	newGroup := flags&fetchGroupID != 0
	if newGroup {
		it.Location.Group = c.group(d, d.varint())
	} else {
		refers(c.started, "group")
		it.Location.Group = c.location.Group
	}
	switch subgroup {
	case fetchSubgroupPrior:
		refers(c.hasSubgroup, "subgroup")
		it.Subgroup = c.subgroup
	case fetchSubgroupNext:
		refers(c.hasSubgroup, "subgroup")
		if it.Subgroup = c.subgroup + 1; it.Subgroup == 0 && c.hasSubgroup {
			d.fail(violation("subgroup ID exceeds 2^64-1"))
		}
	case fetchSubgroupField:
		it.Subgroup = d.varint()
	}
	delta := uint64(1)
	if flags&fetchObjectID != 0 {
		delta = d.varint()
	} else {
		refers(c.started, "object")
	}
	if newGroup && flags&fetchObjectID != 0 {
		it.Location.Object = delta
	} else {
		if delta > math.MaxUint64-c.location.Object {
			d.fail(violation("object ID exceeds 2^64-1"))
		}
		it.Location.Object = c.location.Object + delta
		refers(c.started, "object")
	}
	c.parseTail(d, flags, &it, refers)
	return it
}

// parseWhole reads an Object of draft 16, whose IDs are whole. Fields that are
// left out are those of "the prior Object". After the end of a range the Group
// and Object are those of its end, as draft 17 made clear: no Object that may
// come there is named otherwise.
func (c *FetchCursor) parseWhole(d *decoder, flags uint64) (it FetchItem) {
	it.Datagram = flags&fetchDatagram != 0
	subgroup := flags & fetchSubgroupMask
	if it.Datagram {
		subgroup = fetchSubgroupZero // to be ignored
	}
	refers := func(have bool, what string) {
		if !have {
			d.fail(violation("object on a fetch stream refers to a prior %s and there is none", what))
		}
	}
	if flags&fetchGroupID != 0 {
		it.Location.Group = d.varint()
	} else {
		refers(c.started, "group")
		it.Location.Group = c.location.Group
	}
	switch subgroup {
	case fetchSubgroupPrior:
		refers(c.hasSubgroup, "subgroup")
		it.Subgroup = c.subgroup
	case fetchSubgroupNext:
		refers(c.hasSubgroup, "subgroup")
		it.Subgroup = c.subgroup + 1
	case fetchSubgroupField:
		it.Subgroup = d.varint()
	}
	if flags&fetchObjectID != 0 {
		it.Location.Object = d.varint()
	} else {
		refers(c.started, "object")
		it.Location.Object = c.location.Object + 1
	}
	if it.Subgroup > maxQUICVarint || it.Location.Object > maxQUICVarint {
		d.fail(violation("ID of an object on a fetch stream exceeds 2^62-1"))
	}
	c.parseTail(d, flags, &it, refers)
	return it
}

// parseTail reads what follows the IDs of an Object: priority, properties and
// payload length. refers notes that a field is that of the Object before.
func (c *FetchCursor) parseTail(d *decoder, flags uint64, it *FetchItem, refers func(have bool, what string)) {
	if flags&fetchPriority != 0 {
		it.Priority = d.uint8()
	} else {
		refers(c.hasObject, "priority")
		it.Priority = c.priority
	}
	var block []byte
	if flags&fetchProperties != 0 {
		block = d.propertiesBlock()
	}
	it.Size = d.varint()
	if d.err == nil {
		it.Properties, d.err = parseProperties(block, d.form)
	}
}

// fetchFields appends an item of draft 14, which has every field.
func (e *encoder) fetchFields(it FetchItem) {
	switch {
	case it.Kind == FetchNonExistent:
		// "Object Does Not Exist"; the Objects before it are a gap, which
		// says the same.
		it = FetchItem{Location: it.Location, Priority: moq.DefaultPriority, Status: StatusDoesNotExist}
	case it.Kind != FetchObject:
		e.fail("fetch item of kind %v", it.Kind)
	case it.Status == StatusDoesNotExist:
		e.fail("object with status %v", it.Status)
	}
	if it.Datagram {
		it.Subgroup = it.Location.Object
	}
	e.varint(it.Location.Group)
	e.varint(it.Subgroup)
	e.varint(it.Location.Object)
	e.uint8(it.Priority)
	e.objectProperties(it.Properties)
	e.varint(it.Size)
	if it.Size == 0 {
		e.status(it.Status)
	}
}

func (d *decoder) fetchFields() (it FetchItem) {
	it.Location.Group = d.varint()
	it.Subgroup = d.varint()
	it.Location.Object = d.varint()
	it.Priority = d.uint8()
	block := d.propertiesBlock()
	it.Size = d.varint()
	if it.Size == 0 && d.err == nil {
		it.Status = d.status()
	}
	if it.Status == StatusDoesNotExist {
		if len(block) > 0 {
			d.fail(violation("properties on an object that does not exist"))
		}
		return FetchItem{Kind: FetchNonExistent, Location: it.Location}
	}
	if d.err == nil {
		it.Properties, d.err = parseProperties(block, d.form)
	}
	return it
}

// group returns the Group ID for the value of a Group ID Delta field.
func (c *FetchCursor) group(d *decoder, delta uint64) uint64 {
	switch {
	case !c.started:
		return delta
	case c.Order == moq.GroupOrderDescending:
		if delta >= c.location.Group {
			d.fail(violation("group ID below 0"))
		}
		return c.location.Group - delta - 1
	default:
		if delta >= math.MaxUint64-c.location.Group {
			d.fail(violation("group ID exceeds 2^64-1"))
		}
		return c.location.Group + delta + 1
	}
}
