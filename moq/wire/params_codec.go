package wire

import (
	"fmt"
	"slices"

	"github.com/freshet-live/freshet/moq"
)

// paramCodec is how drafts encode and decode one Message Parameter.
type paramCodec struct {
	typ ParamType
	// repeats tells that a message may carry it more than once.
	repeats bool
	// count returns how often it is present.
	count func(*Params) int
	// clear makes it absent.
	clear func(*Params)
	// append appends the value of the i-th.
	append func(e *encoder, p *Params, i int)
	parse  func(*decoder, *Params)
}

// optional makes the codec of a parameter with its own pointer field.
func optional[T any](typ ParamType, field func(*Params) **T, appendValue func(*encoder, T), parseValue func(*decoder) T) paramCodec {
	return paramCodec{
		typ: typ,
		count: func(p *Params) int {
			if *field(p) == nil {
				return 0
			}
			return 1
		},
		clear:  func(p *Params) { *field(p) = nil },
		append: func(e *encoder, p *Params, _ int) { appendValue(e, **field(p)) },
		parse: func(d *decoder, p *Params) {
			v := parseValue(d)
			*field(p) = &v
		},
	}
}

func milliseconds(typ ParamType, field func(*Params) **Milliseconds) paramCodec {
	return optional(typ, field,
		func(e *encoder, v Milliseconds) { e.varint(uint64(v)) },
		func(d *decoder) Milliseconds { return Milliseconds(d.varint()) })
}

// rangeFilter makes the codec of one type of range filter. Those of all types
// share a field.
func rangeFilter(typ ParamType) paramCodec {
	return paramCodec{
		typ:     typ,
		repeats: true,
		count: func(p *Params) (n int) {
			for i := range p.RangeFilters {
				if p.RangeFilters[i].Type == typ {
					n++
				}
			}
			return n
		},
		clear: func(p *Params) {
			p.RangeFilters = slices.DeleteFunc(slices.Clone(p.RangeFilters), func(f RawRangeFilter) bool { return f.Type == typ })
		},
		append: func(e *encoder, p *Params, i int) {
			for _, f := range p.RangeFilters {
				if f.Type != typ {
					continue
				}
				if i == 0 {
					e.varint(uint64(len(f.Value)))
					e.b = append(e.b, f.Value...)
					return
				}
				i--
			}
		},
		parse: func(d *decoder, p *Params) {
			v := d.take(d.varint())
			p.RangeFilters = append(p.RangeFilters, RawRangeFilter{Type: typ, Value: slices.Clone(v)})
		},
	}
}

var tokensParam = paramCodec{
	typ:     ParamAuthorizationToken,
	repeats: true,
	count:   func(p *Params) int { return len(p.Tokens) },
	clear:   func(p *Params) { p.Tokens = nil },
	append:  func(e *encoder, p *Params, i int) { e.sizedToken(p.Tokens[i]) },
	parse:   func(d *decoder, p *Params) { p.Tokens = append(p.Tokens, d.token(d.take(d.varint()))) },
}

// groupOrderParam makes the codec of GROUP_ORDER, whose field has no pointer.
func groupOrderParam(appendValue func(*encoder, moq.GroupOrder), parseValue func(*decoder) uint64) paramCodec {
	return paramCodec{
		typ: ParamGroupOrder,
		count: func(p *Params) int {
			if p.GroupOrder == moq.GroupOrderPublisher {
				return 0
			}
			return 1
		},
		clear: func(p *Params) { p.GroupOrder = moq.GroupOrderPublisher },
		append: func(e *encoder, p *Params, _ int) {
			if !validGroupOrder(uint64(p.GroupOrder)) {
				e.fail("group order %d", p.GroupOrder)
			}
			appendValue(e, p.GroupOrder)
		},
		parse: func(d *decoder, p *Params) {
			v := parseValue(d)
			if d.err == nil && !validGroupOrder(v) {
				d.fail(violation("GROUP_ORDER is %d", v))
			}
			p.GroupOrder = moq.GroupOrder(v)
		},
	}
}

func (e *encoder) groupOrder(v moq.GroupOrder) { e.uint8(uint8(v)) }

// params18 and params19 are in ascending order of types, which is the order
// on the wire.
var params18 = []paramCodec{
	milliseconds(ParamObjectDeliveryTimeout, func(p *Params) **Milliseconds { return &p.ObjectDeliveryTimeout }),
	tokensParam,
	milliseconds(ParamRendezvousTimeout, func(p *Params) **Milliseconds { return &p.RendezvousTimeout }),
	milliseconds(ParamSubgroupDeliveryTimeout, func(p *Params) **Milliseconds { return &p.SubgroupDeliveryTimeout }),
	milliseconds(ParamExpires, func(p *Params) **Milliseconds { return &p.Expires }),
	optional(ParamLargestObject, func(p *Params) **moq.Location { return &p.LargestObject },
		(*encoder).location, (*decoder).location),
	milliseconds(ParamFillTimeout, func(p *Params) **Milliseconds { return &p.FillTimeout }),
	optional(ParamForward, func(p *Params) **bool { return &p.Forward },
		func(e *encoder, v bool) { e.flag(v) },
		func(d *decoder) bool { return d.flag("FORWARD") }),
	optional(ParamSubscriberPriority, func(p *Params) **uint8 { return &p.SubscriberPriority },
		(*encoder).uint8, (*decoder).uint8),
	optional(ParamFilter, func(p *Params) **Filter { return &p.Filter },
		(*encoder).filter, (*decoder).filter),
	groupOrderParam((*encoder).groupOrder, func(d *decoder) uint64 { return uint64(d.uint8()) }),
	optional(ParamNewGroupRequest, func(p *Params) **uint64 { return &p.NewGroupRequest },
		(*encoder).varint, (*decoder).varint),
	optional(ParamTrackNamespacePrefix, func(p *Params) **moq.Namespace { return &p.TrackNamespacePrefix },
		(*encoder).namespace, func(d *decoder) moq.Namespace { ns, _ := d.namespace(); return ns }),
}

var params19 = slices.SortedFunc(slices.Values(append(slices.Clone(params18),
	rangeFilter(ParamSubgroupFilter),
	rangeFilter(ParamObjectIDFilter),
	rangeFilter(ParamPriorityFilter),
	rangeFilter(ParamObjectPropertyFilter),
	rangeFilter(ParamTrackPropertyFilter),
)), func(a, b paramCodec) int { return int(a.typ) - int(b.typ) })

// params appends the parameters of a message of type t: their number, then
// each with its type as a delta.
func (e *encoder) params(t MessageType, p *Params) {
	total := 0
	for i := range e.rules.params {
		total += e.rules.params[i].count(p)
	}
	e.varint(uint64(total + len(p.Unknown)))
	e.paramList(t, e.rules.allowed[t], p)
}

// paramList appends parameters, each with its type as a delta.
func (e *encoder) paramList(where fmt.Stringer, allowed paramSet, p *Params) {
	for i := range e.rules.missing {
		if c := &e.rules.missing[i]; c.count(p) > 0 {
			e.fail("parameter %v", c.typ)
		}
	}
	var prior ParamType
	for i := range e.rules.params {
		c := &e.rules.params[i]
		n := c.count(p)
		if n > 0 && !allowed.has(c.typ) {
			e.fail("parameter %v in %v", c.typ, where)
		}
		for j := range n {
			e.varint(uint64(c.typ - prior))
			if !e.absolute {
				prior = c.typ
			}
			c.append(e, p, j)
		}
	}
	if len(p.Unknown) > 0 {
		e.unknownParams(p.Unknown)
	}
	// A range filter of a type that the draft does not have is in no codec.
	for _, f := range p.RangeFilters {
		if e.rules.param(f.Type) == nil {
			e.fail("range filter %v", f.Type)
		}
	}
}

// unknownParams appends the parameters of Params.Unknown, where a draft has
// them ignored.
func (e *encoder) unknownParams(unknown moq.Properties) {
	if !e.rules.unknownIgnored {
		e.fail("unknown parameters")
		return
	}
	for _, v := range unknown {
		if e.rules.param(ParamType(v.Type)) != nil {
			e.fail("parameter %#x is not unknown", v.Type)
		}
		e.varint(v.Type)
		if v.Type%2 == 0 {
			e.varint(v.Value)
			continue
		}
		e.varint(uint64(len(v.Bytes)))
		e.b = append(e.b, v.Bytes...)
	}
}

// params reads the parameters of a message of type t.
func (d *decoder) params(t MessageType) (p Params) {
	r := paramReader{allowed: d.rules.allowed[t]}
	for count := d.varint(); count > 0 && d.err == nil; count-- {
		r.read(d, &p)
	}
	return p
}

// paramReader reads parameters one after the other.
type paramReader struct {
	allowed, seen paramSet
	prior         ParamType
}

func (r *paramReader) read(d *decoder, p *Params) {
	typ := ParamType(d.varint())
	if !d.absolute {
		if typ+r.prior < typ {
			d.fail(violation("type of a parameter exceeds 2^64-1"))
		}
		typ += r.prior
		r.prior = typ
	}
	c := d.rules.param(typ)
	switch {
	case d.err != nil:
	case c == nil && d.rules.unknownIgnored:
		d.unknownParam(p, typ)
	case c == nil:
		d.fail(violation("unknown parameter %#x", uint64(typ)))
	case !r.allowed.has(typ) && d.rules.misplacedIgnored:
		d.skipParam(typ)
	case !r.allowed.has(typ):
		d.fail(violation("parameter %v may not appear", typ))
	case r.seen.has(typ) && !c.repeats:
		d.fail(violation("parameter %v repeats", typ))
	default:
		r.seen |= setOf(typ)
		c.parse(d, p)
	}
}

// skipParam skips the value of a parameter that is a Key-Value-Pair.
func (d *decoder) skipParam(typ ParamType) {
	if v := d.varint(); typ%2 != 0 {
		d.take(v)
	}
}

// unknownParam keeps a parameter that is to be ignored, up to a number that
// bounds the memory for it.
func (d *decoder) unknownParam(p *Params, typ ParamType) {
	v := moq.Property{Type: uint64(typ)}
	if size := d.varint(); typ%2 == 0 {
		v.Value = size
	} else {
		v.Bytes = slices.Clone(d.take(size))
	}
	if d.err == nil && len(p.Unknown) < MaxProperties {
		p.Unknown = append(p.Unknown, v)
	}
}

// without returns what is in all and not in some.
func without(all, some []paramCodec) (rest []paramCodec) {
	for _, c := range all {
		if !slices.ContainsFunc(some, func(s paramCodec) bool { return s.typ == c.typ }) {
			rest = append(rest, c)
		}
	}
	return rest
}

// param returns the codec of a parameter, or nil when the draft has none.
func (r *rules) param(t ParamType) *paramCodec {
	i, ok := slices.BinarySearchFunc(r.params, t, func(c paramCodec, t ParamType) int {
		switch {
		case c.typ < t:
			return -1
		case c.typ > t:
			return 1
		}
		return 0
	})
	if !ok {
		return nil
	}
	return &r.params[i]
}

func (e *encoder) flag(v bool) {
	if v {
		e.uint8(1)
	} else {
		e.uint8(0)
	}
}

// flag reads a byte that is 0 or 1.
func (d *decoder) flag(what string) bool {
	v := d.uint8()
	if v > 1 {
		d.fail(violation("%s is %d", what, v))
	}
	return v == 1
}

// sizedToken appends a Token with its length in front.
func (e *encoder) sizedToken(t Token) {
	v := e.token(t)
	e.varint(uint64(len(v)))
	e.b = append(e.b, v...)
}

// token returns the encoding of a Token.
func (e *encoder) token(t Token) []byte {
	c := e.sub()
	c.varint(uint64(t.AliasType))
	switch t.AliasType {
	case TokenDelete, TokenUseAlias:
		if t.Type != 0 || t.Value != nil {
			e.fail("token with alias type %v has a type or a value", t.AliasType)
		}
		c.varint(t.Alias)
		return e.join(&c)
	case TokenRegister:
		c.varint(t.Alias)
	case TokenUseValue:
		if t.Alias != 0 {
			e.fail("token with alias type %v has an alias", t.AliasType)
		}
	default:
		e.fail("token with alias type %v", t.AliasType)
	}
	c.varint(t.Type)
	c.b = append(c.b, t.Value...)
	return e.join(&c)
}

// join takes over the failure of a sub-encoder and returns its bytes.
func (e *encoder) join(c *encoder) []byte {
	if e.err == nil {
		e.err = c.err
	}
	return c.b
}

// token reads a Token that fills v. "If the Token structure cannot be
// decoded, the receiver MUST close the Session with
// KEY_VALUE_FORMATTING_ERROR."
func (d *decoder) token(v []byte) (t Token) {
	if d.err != nil {
		return t
	}
	c := d.sub(v)
	t.AliasType = AliasType(c.varint())
	switch t.AliasType {
	case TokenDelete, TokenUseAlias:
		t.Alias = c.varint()
		if c.err == nil && c.remaining() > 0 {
			c.err = ErrShort
		}
	case TokenRegister, TokenUseValue:
		if t.AliasType == TokenRegister {
			t.Alias = c.varint()
		}
		t.Type = c.varint()
		t.Value = slices.Clone(c.take(uint64(c.remaining())))
	default:
		c.err = ErrShort
	}
	if c.err != nil {
		d.fail(&Error{Code: KeyValueFormattingError, Reason: "token cannot be decoded"})
		return Token{}
	}
	return t
}

// filter appends a Filter with its length in front.
func (e *encoder) filter(f Filter) {
	if f != f.only() {
		e.fail("filter %v has fields of another type", f.Type)
	}
	e.sized(maxBody, "filter", func() {
		e.varint(uint64(f.Type))
		switch f.Type {
		case FilterNextGroup, FilterLargestObject:
		case FilterAbsoluteStart:
			e.location(f.Start)
		case FilterAbsoluteRange:
			e.location(f.Start)
			e.endGroup(f)
		default:
			e.fail("filter %v", f.Type)
		}
	})
}

// endGroup appends the last Group of a range as a delta from its first.
func (e *encoder) endGroup(f Filter) {
	if f.EndGroup < f.Start.Group {
		e.fail("filter from group %d to group %d", f.Start.Group, f.EndGroup)
	}
	e.varint(f.EndGroup - f.Start.Group)
}

// endGroup reads the last Group of a range that starts in the Group start.
func (d *decoder) endGroup(start uint64) uint64 {
	delta := d.varint()
	if start+delta < delta {
		d.fail(violation("end group of a filter exceeds 2^64-1"))
	}
	return start + delta
}

// filter reads a Filter with its length in front.
func (d *decoder) filter() (f Filter) {
	c := decoder{b: d.take(d.varint())}
	if d.err != nil {
		return f
	}
	f.Type = FilterType(c.varint())
	switch f.Type {
	case FilterNextGroup, FilterLargestObject:
	case FilterAbsoluteStart:
		f.Start = c.location()
	case FilterAbsoluteRange:
		f.Start = c.location()
		f.EndGroup = c.endGroup(f.Start.Group)
	default:
		c.fail(violation("filter of type %v", f.Type))
	}
	switch {
	case c.err == ErrShort:
		d.fail(violation("filter %v is too short", f.Type))
	case c.err != nil:
		d.fail(c.err)
	case c.remaining() > 0:
		d.fail(violation("%d bytes after the end of filter %v", c.remaining(), f.Type))
	}
	return f
}
