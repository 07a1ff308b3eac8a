package wire

import (
	"maps"
	"math"
	"slices"

	"github.com/freshet-live/freshet/moq"
)

// The tables of drafts 20 to 22. What a FETCH asks for is a filter there, a
// subscription can ask for what was before it, and draft 22 writes filters in
// another way than draft 20.

var rules20 = newRules20(params20)

var rules22 = newRules20(params22)

// subscription20 are the parameters that the subscriber of a subscription can
// change.
var subscription20 = setOf(ParamObjectDeliveryTimeout, ParamSubgroupDeliveryTimeout, ParamForward, ParamSubscriberPriority,
	ParamFilter, ParamFillParameters, ParamNewGroupRequest) | objectFilters

// fillParams are the parameters inside FILL_PARAMETERS.
var fillParams = setOf(ParamFillTimeout, ParamSubscriberPriority, ParamFilter, ParamGroupOrder) | objectFilters

func newRules20(params []paramCodec) *rules {
	answer := setOf(ParamExpires, ParamLargestObject)
	subscribe := setOf(ParamAuthorizationToken, ParamRendezvousTimeout, ParamGroupOrder, ParamIncludeProperties) | subscription20
	data := data18
	data.timedOut = true
	table := messages(goAway19)
	maps.Copy(table, byType(map[MessageType]messageCodec{
		TypeFetch:              codecOf(appendFetch20, parseFetch20),
		TypeFetchOK:            codecOf(appendFetchOK20, parseFetchOK20),
		TypePublishDone:        codecOf(appendPublishDone20, parsePublishDone20),
		TypePublishStateNotify: codecOf(appendPublishStateNotify, parsePublishStateNotify),
	}))
	return &rules{
		dialect:  Dialect{Fill: true, RequestGoAway: true, MandatoryProperties: true},
		messages: table,
		params:   params,
		options:  options19,
		allowed: map[MessageType]paramSet{
			TypeSubscribe:   subscribe,
			TypeSubscribeOK: answer,
			TypePublish: setOf(ParamObjectDeliveryTimeout, ParamAuthorizationToken, ParamSubgroupDeliveryTimeout, ParamExpires,
				ParamLargestObject, ParamForward, ParamSubscriberPriority, ParamFilter, ParamGroupOrder),
			TypePublishStateNotify: setOf(ParamLargestObject, ParamForward, ParamFilter),
			TypeFetch: setOf(ParamAuthorizationToken, ParamFillTimeout, ParamSubscriberPriority, ParamFilter, ParamGroupOrder,
				ParamIncludeProperties) | objectFilters,
			TypeFetchOK:            0,
			TypeTrackStatus:        setOf(ParamAuthorizationToken, ParamIncludeProperties),
			TypePublishNamespace:   setOf(ParamAuthorizationToken),
			TypeSubscribeNamespace: setOf(ParamAuthorizationToken),
			// "Any Parameter that can be specified on a Subscription (ie: in
			// SUBSCRIBE) is valid in SUBSCRIBE_TRACKS" (section "Parameters on
			// SUBSCRIBE_TRACKS"), although the list in draft 22 is shorter.
			TypeSubscribeTracks: subscribe | setOf(ParamTrackPropertyFilter),
			TypeRequestUpdate:   subscription20 | setOf(ParamAuthorizationToken, ParamTrackNamespacePrefix, ParamTrackPropertyFilter),
			TypeRequestOK:       answer,
		},
		allowedIn: map[replyKey]paramSet{
			{TypePublish, TypeRequestOK}:            answer,
			{TypeSubscribe, TypeRequestOK}:          answer,
			{TypeFetch, TypeRequestOK}:              answer,
			{TypeTrackStatus, TypeRequestOK}:        answer,
			{TypePublishNamespace, TypeRequestOK}:   answer,
			{TypeSubscribeNamespace, TypeRequestOK}: answer,
			{TypeSubscribeTracks, TypeRequestOK}:    answer,

			{TypeSubscribe, TypeRequestUpdate}:          subscription20 | setOf(ParamAuthorizationToken),
			{TypePublish, TypeRequestUpdate}:            subscription20 | setOf(ParamAuthorizationToken),
			{TypeFetch, TypeRequestUpdate}:              setOf(ParamAuthorizationToken, ParamSubscriberPriority),
			{TypePublishNamespace, TypeRequestUpdate}:   setOf(ParamAuthorizationToken),
			{TypeSubscribeNamespace, TypeRequestUpdate}: setOf(ParamAuthorizationToken, ParamTrackNamespacePrefix),
			{TypeSubscribeTracks, TypeRequestUpdate}: setOf(ParamAuthorizationToken, ParamForward, ParamTrackPropertyFilter,
				ParamTrackNamespacePrefix),
		},
		namespaceScoped:  rules19.namespaceScoped,
		answerProperties: true,
		data:             data,
	}
}

var (
	params20 = newParams20((*encoder).filter20, (*decoder).filter20)
	params22 = newParams20((*encoder).filter22, (*decoder).filter22)
)

// newParams20 returns the parameters in ascending order of types.
func newParams20(appendFilter func(*encoder, Filter), parseFilter func(*decoder) Filter) []paramCodec {
	filter := optional(ParamFilter, func(p *Params) **Filter { return &p.Filter }, appendFilter, parseFilter)
	list := append(slices.DeleteFunc(slices.Clone(params19), func(c paramCodec) bool { return c.typ == ParamFilter }),
		filter,
		optional(ParamFillParameters, func(p *Params) **Params { return &p.Fill },
			func(e *encoder, fill Params) {
				e.sized(maxBody, "FILL_PARAMETERS", func() { e.paramList(ParamFillParameters, fillParams, &fill) })
			},
			func(d *decoder) (fill Params) {
				c := d.sub(d.take(d.varint()))
				r := paramReader{allowed: fillParams}
				for c.err == nil && c.remaining() > 0 {
					r.read(&c, &fill)
				}
				d.failIn("FILL_PARAMETERS", c.err)
				return fill
			}),
		optional(ParamIncludeProperties, func(p *Params) **bool { return &p.IncludeProperties },
			(*encoder).flag, func(d *decoder) bool { return d.flag("INCLUDE_PROPERTIES") }),
	)
	slices.SortFunc(list, func(a, b paramCodec) int { return int(a.typ) - int(b.typ) })
	return list
}

// failIn takes over what went wrong inside a value that has a length: bytes
// that are missing there will not come.
func (d *decoder) failIn(what string, err error) {
	switch {
	case err == ErrShort:
		d.fail(violation("%s is too short for its fields", what))
	case err != nil:
		d.fail(err)
	}
}

// filter20 appends the numbers of a filter with their length in front; how
// many there are tells what they mean
// (draft-ietf-moq-transport-20, section "Location Filters").
func (e *encoder) filter20(f Filter) {
	e.sized(maxBody, "LOCATION_FILTER", func() {
		switch f {
		case Filter{Type: FilterAbsoluteStart}:
			// "An open-ended filter that starts at absolute Location {0, 0} is
			// equivalent to unfiltered", and its numbers say Next Object.
		case Filter{Type: FilterLargestObject}:
			e.location(moq.Location{})
		default:
			e.filterFields(f)
		}
	})
}

// filterFields appends the numbers of a filter; Next Object has none.
func (e *encoder) filterFields(f Filter) {
	if f != f.only() {
		e.fail("filter %v has fields of another type", f.Type)
	}
	switch f.Type {
	case FilterNone, FilterLargestObject:
	case FilterNextGroup:
		e.varint(0)
	case FilterRelativeStart:
		if f.Groups == 0 {
			e.fail("filter %v of 0 groups", f.Type)
		}
		e.varint(f.Groups)
	case FilterAbsoluteStart:
		e.location(f.Start)
	case FilterAbsoluteRange:
		e.location(f.Start)
		e.endGroup(f)
	case FilterObjectRange:
		e.location(f.Start)
		e.endGroup(f)
		e.varint(f.EndObject)
	default:
		e.fail("filter %v", f.Type)
	}
}

func (d *decoder) filter20() Filter {
	c := d.sub(d.take(d.varint()))
	var v []uint64
	for c.err == nil && c.remaining() > 0 && len(v) < 4 {
		v = append(v, c.varint())
	}
	if c.err == nil && c.remaining() > 0 {
		c.fail(violation("LOCATION_FILTER has more than four numbers"))
	}
	d.failIn("LOCATION_FILTER", c.err)
	if d.err != nil {
		return Filter{}
	}
	f := Filter{Type: FilterNone}
	switch len(v) {
	case 1:
		f = relativeStart(v[0])
	case 2:
		if f = (Filter{Type: FilterAbsoluteStart, Start: moq.Location{Group: v[0], Object: v[1]}}); f.Start == (moq.Location{}) {
			f.Type = FilterLargestObject
		}
	case 3, 4:
		f = Filter{Type: FilterAbsoluteRange, Start: moq.Location{Group: v[0], Object: v[1]}, EndGroup: v[0] + v[2]}
		if f.EndGroup < v[0] {
			d.fail(violation("end group of a filter exceeds 2^64-1"))
		}
		if len(v) == 4 {
			f.Type, f.EndObject = FilterObjectRange, v[3]
		}
	}
	return f
}

// relativeStart returns the filter that starts n Groups before the next one.
func relativeStart(n uint64) Filter {
	if n == 0 {
		return Filter{Type: FilterNextGroup}
	}
	return Filter{Type: FilterRelativeStart, Groups: n}
}

// Location Filter Types of draft 22.
const (
	locationNone          = 0x00
	locationRelativeStart = 0x01
	locationStart         = 0x02
	locationGroupEnd      = 0x03
	locationRange         = 0x04
	locationNextObject    = 0x05
)

// filter22 appends a filter with its type in front and no length
// (draft-ietf-moq-transport-22, section "LOCATION FILTER Parameter").
func (e *encoder) filter22(f Filter) {
	switch f.Type {
	case FilterNone:
		e.varint(locationNone)
	case FilterNextGroup, FilterRelativeStart:
		e.varint(locationRelativeStart)
	case FilterAbsoluteStart:
		e.varint(locationStart)
	case FilterAbsoluteRange:
		e.varint(locationGroupEnd)
	case FilterObjectRange:
		e.varint(locationRange)
	case FilterLargestObject:
		e.varint(locationNextObject)
	}
	e.filterFields(f)
}

func (d *decoder) filter22() (f Filter) {
	switch t := d.varint(); t {
	case locationNone:
		f.Type = FilterNone
	case locationRelativeStart:
		f = relativeStart(d.varint())
	case locationStart:
		f = Filter{Type: FilterAbsoluteStart, Start: d.location()}
	case locationGroupEnd, locationRange:
		f = Filter{Type: FilterAbsoluteRange, Start: d.location()}
		f.EndGroup = d.endGroup(f.Start.Group)
		if t == locationRange {
			f.Type, f.EndObject = FilterObjectRange, d.varint()
		}
	case locationNextObject:
		f.Type = FilterLargestObject
	default:
		d.fail(violation("location filter of type %#x", t))
	}
	return f
}

// everything is the last Location of a Fetch that is open-ended.
var everything = moq.Location{Group: math.MaxUint64, Object: math.MaxUint64}

// fetchFilter returns the filter for the range of a Fetch, nil for all.
func fetchFilter(e *encoder, m *Fetch) *Filter {
	if f := m.Params.Filter; f != nil {
		switch f.Type {
		case FilterRelativeStart, FilterNextGroup, FilterLargestObject:
		default:
			e.fail("fetch with filter %v", f.Type)
		}
		if m.Start != (moq.Location{}) || m.Last != (moq.Location{}) {
			e.fail("fetch with a filter and a range")
		}
		return f
	}
	switch {
	case m.Last == everything && m.Start == (moq.Location{}):
		return nil
	case m.Last == everything:
		return &Filter{Type: FilterAbsoluteStart, Start: m.Start}
	case m.Last.Object == math.MaxUint64:
		return &Filter{Type: FilterAbsoluteRange, Start: m.Start, EndGroup: m.Last.Group}
	}
	return &Filter{Type: FilterObjectRange, Start: m.Start, EndGroup: m.Last.Group, EndObject: m.Last.Object}
}

func appendFetch20(e *encoder, m *Fetch) {
	if m.FetchType != FetchStandalone {
		e.fail("fetch of type %v", m.FetchType)
	}
	e.varint(m.RequestID)
	e.fullTrackName(m.Name)
	p := m.Params
	p.Filter = fetchFilter(e, m)
	e.params(TypeFetch, &p)
}

func parseFetch20(d *decoder) *Fetch {
	m := &Fetch{FetchType: FetchStandalone, RequestID: d.varint(), Name: d.fullTrackName(), Params: d.params(TypeFetch)}
	f := m.Params.Filter
	if f == nil {
		m.Last = everything
		return m
	}
	switch f.Type {
	case FilterNone:
		m.Last = everything
	case FilterAbsoluteStart:
		m.Start, m.Last = f.Start, everything
	case FilterAbsoluteRange:
		m.Start, m.Last = f.Start, moq.Location{Group: f.EndGroup, Object: math.MaxUint64}
	case FilterObjectRange:
		m.Start, m.Last = f.Start, moq.Location{Group: f.EndGroup, Object: f.EndObject}
	default:
		return m
	}
	m.Params.Filter = nil
	return m
}

// appendFetchOK20 appends an End Location that is the last one, and not one
// more.
func appendFetchOK20(e *encoder, m *FetchOK) {
	e.flag(m.EndOfTrack)
	e.location(m.Last)
	e.params(m.Type(), &m.Params)
	e.trackProperties(m.Properties)
}

func parseFetchOK20(d *decoder) *FetchOK {
	return &FetchOK{
		EndOfTrack: d.flag("End Of Track"),
		Last:       d.location(),
		Params:     d.params(TypeFetchOK),
		Properties: d.trackProperties(),
	}
}

// appendPublishDone20 appends a Stream Count whose largest value is that of
// UnknownStreamCount.
func appendPublishDone20(e *encoder, m *PublishDone) {
	e.varint(uint64(m.Code))
	e.varint(m.StreamCount)
	e.text("reason", m.Reason, MaxReasonLength)
}

func parsePublishDone20(d *decoder) *PublishDone {
	return &PublishDone{Code: PublishDoneCode(d.varint()), StreamCount: d.varint(), Reason: d.text("reason", MaxReasonLength)}
}

func appendPublishStateNotify(e *encoder, m *PublishStateNotify) { e.params(m.Type(), &m.Params) }

func parsePublishStateNotify(d *decoder) *PublishStateNotify {
	return &PublishStateNotify{Params: d.params(TypePublishStateNotify)}
}
