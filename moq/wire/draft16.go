package wire

import (
	"math"
	"slices"

	"github.com/freshet-live/freshet/moq"
)

// The tables of draft 16: integers of RFC 9000, parameters that are
// Key-Value-Pairs, one control stream, and a Request ID in every answer.

// typePublishOK stands for the answer to PUBLISH in tables of parameters. It
// is its code point up to draft 16.
const typePublishOK MessageType = 0x1E

// Code points of draft 16 that are not the value of the message's type.
const (
	codeClientSetup        = 0x20
	codeServerSetup        = 0x21
	codePublishOK          = uint64(typePublishOK)
	codeSubscribeNamespace = 0x11
)

// Subscribe Options of SUBSCRIBE_NAMESPACE.
const (
	subscribeTracksOnly     = 0x0
	subscribeNamespacesOnly = 0x1
	subscribeBoth           = 0x2
)

var rules16 = &rules{
	form:                form{quic: true},
	dialect:             Dialect{ControlStream: true, RequestLimit: true, Joining: true},
	namespaceNeedsField: true,
	timeoutNotZero:      true,
	misplacedIgnored:    true,
	messages: map[uint64]messageCodec{
		codeClientSetup:                    codecOf(appendSetup16, parseClientSetup16).of(TypeSetup),
		codeServerSetup:                    codecOf(appendSetup16, parseServerSetup16).of(TypeSetup),
		uint64(TypeGoAway):                 codecOf(appendGoAway16, parseGoAway16).of(TypeGoAway),
		uint64(TypeMaxRequestID):           codecOf(appendMaxRequestID, parseMaxRequestID).of(TypeMaxRequestID),
		uint64(TypeRequestsBlocked):        codecOf(appendRequestsBlocked, parseRequestsBlocked).of(TypeRequestsBlocked),
		uint64(TypeRequestOK):              codecOf(appendRequestOK16, parseRequestOK16).of(TypeRequestOK),
		codePublishOK:                      codecOf(appendRequestOK16, parsePublishOK16).of(TypeRequestOK),
		uint64(TypeRequestError):           codecOf(appendRequestError16, parseRequestError16).of(TypeRequestError),
		uint64(TypeRequestUpdate):          codecOf(appendRequestUpdate16, parseRequestUpdate16).of(TypeRequestUpdate),
		uint64(TypeSubscribe):              codecOf(appendSubscribe, parseSubscribe).of(TypeSubscribe),
		uint64(TypeSubscribeOK):            codecOf(appendSubscribeOK16, parseSubscribeOK16).of(TypeSubscribeOK),
		uint64(TypeUnsubscribe):            codecOf(appendUnsubscribe, parseUnsubscribe).of(TypeUnsubscribe),
		uint64(TypePublish):                codecOf(appendPublish, parsePublish).of(TypePublish),
		uint64(TypePublishDone):            codecOf(appendPublishDone16, parsePublishDone16).of(TypePublishDone),
		uint64(TypeFetch):                  codecOf(appendFetch, parseFetch).of(TypeFetch),
		uint64(TypeFetchOK):                codecOf(appendFetchOK16, parseFetchOK16).of(TypeFetchOK),
		uint64(TypeFetchCancel):            codecOf(appendFetchCancel, parseFetchCancel).of(TypeFetchCancel),
		uint64(TypeTrackStatus):            codecOf(appendTrackStatus, parseTrackStatus).of(TypeTrackStatus),
		uint64(TypePublishNamespace):       codecOf(appendPublishNamespace, parsePublishNamespace).of(TypePublishNamespace),
		uint64(TypePublishNamespaceDone):   codecOf(appendPublishNamespaceDone16, parsePublishNamespaceDone16).of(TypePublishNamespaceDone),
		uint64(TypePublishNamespaceCancel): codecOf(appendPublishNamespaceCancel16, parsePublishNamespaceCancel16).of(TypePublishNamespaceCancel),
		uint64(TypeNamespace):              codecOf(appendNamespace, parseNamespace).of(TypeNamespace),
		uint64(TypeNamespaceDone):          codecOf(appendNamespaceDone, parseNamespaceDone).of(TypeNamespaceDone),
		codeSubscribeNamespace:             {typ: TypeSubscribeNamespace, append: appendSubscribeNamespace16, parse: parseSubscribeNamespace16},
	},
	code: func(m Message) uint64 {
		switch m := m.(type) {
		case *Setup:
			if m.Server {
				return codeServerSetup
			}
			return codeClientSetup
		case *RequestOK:
			if m.Request == TypePublish {
				return codePublishOK
			}
		case *SubscribeNamespace, *SubscribeTracks:
			return codeSubscribeNamespace
		}
		return uint64(m.Type())
	},
	missing: without(params22, params16),
	params:  params16,
	options: options16,
	allowed: map[MessageType]paramSet{
		TypeSubscribe:          setOf(ParamAuthorizationToken, ParamGroupOrder) | subscription16,
		TypeSubscribeOK:        setOf(ParamExpires, ParamLargestObject),
		TypePublish:            setOf(ParamAuthorizationToken, ParamExpires, ParamLargestObject, ParamForward),
		typePublishOK:          setOf(ParamExpires, ParamGroupOrder) | subscription16,
		TypeFetch:              setOf(ParamAuthorizationToken, ParamSubscriberPriority, ParamGroupOrder),
		TypeFetchOK:            0,
		TypeTrackStatus:        setOf(ParamAuthorizationToken),
		TypePublishNamespace:   setOf(ParamAuthorizationToken),
		TypeSubscribeNamespace: setOf(ParamAuthorizationToken, ParamForward),
		TypeRequestUpdate:      setOf(ParamAuthorizationToken) | subscription16,
		// EXPIRES: "(TODO: or REQUEST_OK)", and "with the same parameters it
		// would have set in a SUBSCRIBE_OK" (section "TRACK_STATUS").
		TypeRequestOK: setOf(ParamExpires, ParamLargestObject),
	},
	allowedIn: map[replyKey]paramSet{
		{TypeSubscribe, TypeRequestUpdate}:          setOf(ParamAuthorizationToken) | subscription16,
		{TypePublish, TypeRequestUpdate}:            setOf(ParamAuthorizationToken) | subscription16,
		{TypeFetch, TypeRequestUpdate}:              setOf(ParamAuthorizationToken, ParamSubscriberPriority),
		{TypePublishNamespace, TypeRequestUpdate}:   setOf(ParamAuthorizationToken),
		{TypeSubscribeNamespace, TypeRequestUpdate}: setOf(ParamAuthorizationToken),
		{TypeSubscribeTracks, TypeRequestUpdate}:    setOf(ParamAuthorizationToken),
	},
	doneCodes:  doneCodes16,
	resetCodes: resetCodes16,
	data: dataRules{
		subgroupBits: subgroupProperties | subgroupModeMask | subgroupEndOfGroup | subgroupAlways | subgroupDefaultPriority,
		datagramBits: data18.datagramBits,
		fetch:        fetchFlags,
	},
}

// subscription16 are the parameters of a subscription that its subscriber
// chooses.
var subscription16 = setOf(ParamObjectDeliveryTimeout, ParamSubscriberPriority, ParamFilter, ParamForward, ParamNewGroupRequest)

// params16 are in ascending order of types. DELIVERY_TIMEOUT is what later
// drafts call OBJECT_DELIVERY_TIMEOUT.
var params16 = []paramCodec{
	optional(ParamObjectDeliveryTimeout, func(p *Params) **Milliseconds { return &p.ObjectDeliveryTimeout },
		func(e *encoder, v Milliseconds) {
			if v == 0 {
				e.fail("DELIVERY_TIMEOUT is 0")
			}
			e.varint(uint64(v))
		},
		func(d *decoder) Milliseconds {
			v := d.varint()
			if d.err == nil && v == 0 {
				d.fail(violation("DELIVERY_TIMEOUT is 0"))
			}
			return Milliseconds(v)
		}),
	tokensParam,
	milliseconds(ParamExpires, func(p *Params) **Milliseconds { return &p.Expires }),
	optional(ParamLargestObject, func(p *Params) **moq.Location { return &p.LargestObject },
		func(e *encoder, l moq.Location) {
			e.sized(maxBody, "LARGEST_OBJECT", func() { e.location(l) })
		},
		func(d *decoder) moq.Location {
			c := d.sub(d.take(d.varint()))
			l := c.location()
			if d.err == nil && (c.err != nil || c.remaining() > 0) {
				d.fail(&Error{Code: KeyValueFormattingError, Reason: "LARGEST_OBJECT is not a location"})
			}
			return l
		}),
	optional(ParamForward, func(p *Params) **bool { return &p.Forward },
		func(e *encoder, v bool) { e.flag(v) }, // a number below 64 is one byte
		func(d *decoder) bool { return d.smallVarint("FORWARD", 1) == 1 }),
	optional(ParamSubscriberPriority, func(p *Params) **uint8 { return &p.SubscriberPriority },
		func(e *encoder, v uint8) { e.varint(uint64(v)) },
		func(d *decoder) uint8 { return uint8(d.smallVarint("SUBSCRIBER_PRIORITY", math.MaxUint8)) }),
	optional(ParamFilter, func(p *Params) **Filter { return &p.Filter },
		func(e *encoder, f Filter) {
			e.sized(maxBody, "SUBSCRIPTION_FILTER", func() { e.wholeFilter(f) })
		},
		func(d *decoder) Filter {
			c := d.sub(d.take(d.varint()))
			f := c.wholeFilter()
			switch {
			case d.err != nil:
			case c.err == ErrShort || c.err == nil && c.remaining() > 0:
				d.fail(violation("length of SUBSCRIPTION_FILTER does not match its fields"))
			case c.err != nil:
				d.fail(c.err)
			}
			return f
		}),
	groupOrderParam(
		func(e *encoder, v moq.GroupOrder) { e.varint(uint64(v)) },
		func(d *decoder) uint64 { return d.varint() }),
	optional(ParamNewGroupRequest, func(p *Params) **uint64 { return &p.NewGroupRequest },
		(*encoder).varint, (*decoder).varint),
}

// smallVarint reads a varint of which limit is the largest allowed.
func (d *decoder) smallVarint(what string, limit uint64) uint64 {
	v := d.varint()
	if v > limit {
		d.fail(violation("%s is %d", what, v))
	}
	return v
}

// wholeFilter appends the fields of a filter; its End Group is whole and not
// a delta.
func (e *encoder) wholeFilter(f Filter) {
	if f != f.only() {
		e.fail("filter %v has fields of another type", f.Type)
	}
	e.varint(uint64(f.Type))
	switch f.Type {
	case FilterNextGroup, FilterLargestObject:
	case FilterAbsoluteStart:
		e.location(f.Start)
	case FilterAbsoluteRange:
		e.location(f.Start)
		e.varint(f.EndGroup)
	default:
		e.fail("filter %v", f.Type)
	}
}

func (d *decoder) wholeFilter() (f Filter) {
	f.Type = FilterType(d.varint())
	switch f.Type {
	case FilterNextGroup, FilterLargestObject:
	case FilterAbsoluteStart:
		f.Start = d.location()
	case FilterAbsoluteRange:
		f.Start = d.location()
		f.EndGroup = d.varint()
	default:
		if d.err == nil {
			d.fail(violation("filter of type %v", f.Type))
		}
	}
	return f
}

// options16 has MAX_REQUEST_ID beside what draft 18 has.
var options16 = append([]optionCodec{{
	typ: OptionMaxRequestID,
	append: func(_ *encoder, m *Setup) []moq.Property {
		if m.MaxRequestID == nil {
			return nil
		}
		return []moq.Property{{Value: *m.MaxRequestID}}
	},
	parse: func(_ *decoder, m *Setup, v moq.Property) { m.MaxRequestID = &v.Value },
}}, options18...)

// appendSetup16 appends the number of options and the options.
func appendSetup16(e *encoder, m *Setup) {
	options := e.options(m)
	e.varint(uint64(len(options)))
	e.pairs(options, false)
}

func parseClientSetup16(d *decoder) *Setup { return d.countedOptions(new(Setup)) }

func parseServerSetup16(d *decoder) *Setup { return d.countedOptions(&Setup{Server: true}) }

// countedOptions reads options with their number in front.
func (d *decoder) countedOptions(m *Setup) *Setup {
	var pairs moq.Properties
	var prior uint64
	for count := d.varint(); count > 0 && d.err == nil; count-- {
		if len(pairs) == MaxProperties {
			d.fail(&Error{Code: InternalError, Reason: "too many setup parameters"})
			break
		}
		if d.remaining() == 0 {
			d.fail(ErrShort)
			break
		}
		p := d.pair(prior)
		if d.err == ErrShort {
			d.err = &Error{Code: KeyValueFormattingError, Reason: "key-value pair is longer than its message"}
		}
		prior = p.Type
		p.Bytes = slices.Clone(p.Bytes)
		pairs = append(pairs, p)
	}
	if d.err == nil {
		d.options(m, pairs)
	}
	return m
}

func appendGoAway16(e *encoder, m *GoAway) { e.text("URI", m.URI, MaxURILength) }

func parseGoAway16(d *decoder) *GoAway { return &GoAway{URI: d.text("URI", MaxURILength)} }

func appendMaxRequestID(e *encoder, m *MaxRequestID) { e.varint(m.Limit) }

func parseMaxRequestID(d *decoder) *MaxRequestID { return &MaxRequestID{Limit: d.varint()} }

func appendRequestsBlocked(e *encoder, m *RequestsBlocked) { e.varint(m.Limit) }

func parseRequestsBlocked(d *decoder) *RequestsBlocked { return &RequestsBlocked{Limit: d.varint()} }

func appendRequestOK16(e *encoder, m *RequestOK) {
	if len(m.Properties) > 0 {
		e.fail("track properties")
	}
	t := TypeRequestOK
	if m.Request == TypePublish {
		t = typePublishOK
	}
	e.varint(m.RequestID)
	e.params(t, &m.Params)
}

func parseRequestOK16(d *decoder) *RequestOK {
	return &RequestOK{RequestID: d.varint(), Params: d.params(TypeRequestOK)}
}

func parsePublishOK16(d *decoder) *RequestOK {
	return &RequestOK{Request: TypePublish, RequestID: d.varint(), Params: d.params(typePublishOK)}
}

func appendRequestError16(e *encoder, m *RequestError) {
	if m.Redirect != nil {
		e.fail("redirect")
	}
	e.varint(m.RequestID)
	e.varint(uint64(m.Code))
	e.retryAfter(m.RetryAfter)
	e.text("reason", m.Reason, MaxReasonLength)
}

func parseRequestError16(d *decoder) *RequestError {
	return &RequestError{
		RequestID:  d.varint(),
		Code:       RequestCode(d.varint()),
		RetryAfter: d.retryAfter(),
		Reason:     d.text("reason", MaxReasonLength),
	}
}

func appendRequestUpdate16(e *encoder, m *RequestUpdate) {
	e.varint(m.RequestID)
	e.varint(m.Existing)
	e.params(m.Type(), &m.Params)
}

func parseRequestUpdate16(d *decoder) *RequestUpdate {
	return &RequestUpdate{RequestID: d.varint(), Existing: d.varint(), Params: d.params(TypeRequestUpdate)}
}

func appendSubscribeOK16(e *encoder, m *SubscribeOK) {
	e.varint(m.RequestID)
	appendSubscribeOK(e, m)
}

func parseSubscribeOK16(d *decoder) *SubscribeOK {
	id := d.varint()
	m := parseSubscribeOK(d)
	m.RequestID = id
	return m
}

func appendUnsubscribe(e *encoder, m *Unsubscribe) { e.varint(m.RequestID) }

func parseUnsubscribe(d *decoder) *Unsubscribe { return &Unsubscribe{RequestID: d.varint()} }

func appendPublishDone16(e *encoder, m *PublishDone) {
	e.varint(m.RequestID)
	appendPublishDone(e, m)
}

func parsePublishDone16(d *decoder) *PublishDone {
	id := d.varint()
	m := parsePublishDone(d)
	m.RequestID = id
	return m
}

func appendFetchOK16(e *encoder, m *FetchOK) {
	e.varint(m.RequestID)
	appendFetchOK(e, m)
}

func parseFetchOK16(d *decoder) *FetchOK {
	id := d.varint()
	m := parseFetchOK(d)
	m.RequestID = id
	return m
}

func appendFetchCancel(e *encoder, m *FetchCancel) { e.varint(m.RequestID) }

func parseFetchCancel(d *decoder) *FetchCancel { return &FetchCancel{RequestID: d.varint()} }

func appendPublishNamespaceDone16(e *encoder, m *PublishNamespaceDone) { e.varint(m.RequestID) }

func parsePublishNamespaceDone16(d *decoder) *PublishNamespaceDone {
	return &PublishNamespaceDone{RequestID: d.varint()}
}

func appendPublishNamespaceCancel16(e *encoder, m *PublishNamespaceCancel) {
	e.varint(m.RequestID)
	e.varint(uint64(m.Code))
	e.text("reason", m.Reason, MaxReasonLength)
}

func parsePublishNamespaceCancel16(d *decoder) *PublishNamespaceCancel {
	return &PublishNamespaceCancel{
		RequestID: d.varint(),
		Code:      RequestCode(d.varint()),
		Reason:    d.text("reason", MaxReasonLength),
	}
}

// appendSubscribeNamespace16 appends one of the two messages that draft 16
// has in one.
func appendSubscribeNamespace16(e *encoder, m Message) {
	var id uint64
	var prefix moq.Namespace
	var options uint64
	var params *Params
	switch m := m.(type) {
	case *SubscribeTracks:
		id, prefix, options, params = m.RequestID, m.Prefix, subscribeTracksOnly, &m.Params
	case *SubscribeNamespace:
		id, prefix, options, params = m.RequestID, m.Prefix, subscribeNamespacesOnly, &m.Params
		if m.Tracks {
			options = subscribeBoth
		}
	default:
		e.fail("%T is not a %v of this package", m, m.Type())
		return
	}
	e.varint(id)
	e.namespace(prefix)
	e.varint(options)
	e.params(TypeSubscribeNamespace, params)
}

func parseSubscribeNamespace16(d *decoder) Message {
	id := d.varint()
	prefix, _ := d.namespace()
	options := d.smallVarint("Subscribe Options", subscribeBoth)
	params := d.params(TypeSubscribeNamespace)
	if options == subscribeTracksOnly {
		return &SubscribeTracks{RequestID: id, Prefix: prefix, Params: params}
	}
	return &SubscribeNamespace{RequestID: id, Prefix: prefix, Tracks: options == subscribeBoth, Params: params}
}
