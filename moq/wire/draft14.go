package wire

import (
	"slices"

	"github.com/freshet-live/freshet/moq"
)

// The tables of draft 14: as draft 16, but types of Key-Value-Pairs are whole,
// what later drafts made parameters of are fixed fields, Tracks have no
// Properties, and every request has an answer and a refusal of its own.

// Code points of draft 14 that are not the value of the message's type.
const (
	codeSubscribeError          = uint64(TypeRequestError)
	codePublishNamespaceOK      = 0x7
	codePublishNamespaceError   = 0x8
	codeTrackStatusOK           = 0xE
	codeTrackStatusError        = 0xF
	codeSubscribeNamespaceOK    = 0x12
	codeSubscribeNamespaceError = 0x13
	codeFetchError              = 0x19
	codePublishError            = 0x1F
)

// paramMaxCacheDuration is MAX_CACHE_DURATION of draft 14. Its number has
// another meaning as a parameter of later drafts.
const paramMaxCacheDuration ParamType = 0x04

var rules14 = &rules{
	form: form{quic: true, absolute: true},
	dialect: Dialect{
		ControlStream: true, RequestLimit: true, VersionInSetup: true, WholeUpdates: true, ExplicitOrder: true,
		ExplicitPriority: true, AnnouncedNamespaces: true, Joining: true,
	},
	namespaceNeedsField: true,
	misplacedIgnored:    true,
	unknownIgnored:      true,
	messages: map[uint64]messageCodec{
		codeClientSetup:                    codecOf(appendClientSetup14, parseClientSetup14).of(TypeSetup),
		codeServerSetup:                    codecOf(appendServerSetup14, parseServerSetup14).of(TypeSetup),
		uint64(TypeGoAway):                 codecOf(appendGoAway16, parseGoAway16).of(TypeGoAway),
		uint64(TypeMaxRequestID):           codecOf(appendMaxRequestID, parseMaxRequestID).of(TypeMaxRequestID),
		uint64(TypeRequestsBlocked):        codecOf(appendRequestsBlocked, parseRequestsBlocked).of(TypeRequestsBlocked),
		uint64(TypeSubscribe):              codecOf(appendSubscribe14, parseSubscribe14).of(TypeSubscribe),
		uint64(TypeSubscribeOK):            codecOf(appendSubscribeOK14, parseSubscribeOK14).of(TypeSubscribeOK),
		codeSubscribeError:                 error14(TypeSubscribe),
		uint64(TypeRequestUpdate):          codecOf(appendRequestUpdate14, parseRequestUpdate14).of(TypeRequestUpdate),
		uint64(TypeUnsubscribe):            codecOf(appendUnsubscribe, parseUnsubscribe).of(TypeUnsubscribe),
		uint64(TypePublishDone):            codecOf(appendPublishDone16, parsePublishDone16).of(TypePublishDone),
		uint64(TypePublish):                codecOf(appendPublish14, parsePublish14).of(TypePublish),
		codePublishOK:                      codecOf(appendPublishOK14, parsePublishOK14).of(TypeRequestOK),
		codePublishError:                   error14(TypePublish),
		uint64(TypeFetch):                  codecOf(appendFetch14, parseFetch14).of(TypeFetch),
		uint64(TypeFetchOK):                codecOf(appendFetchOK14, parseFetchOK14).of(TypeFetchOK),
		codeFetchError:                     error14(TypeFetch),
		uint64(TypeFetchCancel):            codecOf(appendFetchCancel, parseFetchCancel).of(TypeFetchCancel),
		uint64(TypeTrackStatus):            codecOf(appendTrackStatus14, parseTrackStatus14).of(TypeTrackStatus),
		codeTrackStatusOK:                  codecOf(appendTrackStatusOK14, parseTrackStatusOK14).of(TypeRequestOK),
		codeTrackStatusError:               error14(TypeTrackStatus),
		uint64(TypePublishNamespace):       codecOf(appendPublishNamespace, parsePublishNamespace).of(TypePublishNamespace),
		codePublishNamespaceOK:             plainOK14(TypePublishNamespace),
		codePublishNamespaceError:          error14(TypePublishNamespace),
		uint64(TypePublishNamespaceDone):   codecOf(appendPublishNamespaceDone14, parsePublishNamespaceDone14).of(TypePublishNamespaceDone),
		uint64(TypePublishNamespaceCancel): codecOf(appendPublishNamespaceCancel14, parsePublishNamespaceCancel14).of(TypePublishNamespaceCancel),
		codeSubscribeNamespace:             codecOf(appendSubscribeNamespace14, parseSubscribeNamespace14).of(TypeSubscribeNamespace),
		codeSubscribeNamespaceOK:           plainOK14(TypeSubscribeNamespace),
		codeSubscribeNamespaceError:        error14(TypeSubscribeNamespace),
		uint64(TypeUnsubscribeNamespace):   codecOf(appendUnsubscribeNamespace, parseUnsubscribeNamespace).of(TypeUnsubscribeNamespace),
	},
	code:    code14,
	missing: without(params22, params14[:2]),
	params:  params14,
	options: options14,
	allowed: map[MessageType]paramSet{
		TypeSubscribe:          setOf(ParamObjectDeliveryTimeout, ParamAuthorizationToken),
		TypeSubscribeOK:        setOf(ParamObjectDeliveryTimeout, paramMaxCacheDuration),
		TypeRequestUpdate:      setOf(ParamObjectDeliveryTimeout, ParamAuthorizationToken),
		TypePublish:            setOf(ParamObjectDeliveryTimeout, ParamAuthorizationToken, paramMaxCacheDuration),
		typePublishOK:          setOf(ParamObjectDeliveryTimeout),
		TypeFetch:              setOf(ParamAuthorizationToken),
		TypeFetchOK:            setOf(paramMaxCacheDuration),
		TypeTrackStatus:        setOf(ParamObjectDeliveryTimeout, ParamAuthorizationToken),
		TypePublishNamespace:   setOf(ParamAuthorizationToken),
		TypeSubscribeNamespace: setOf(ParamAuthorizationToken),
	},
	fields: map[MessageType]paramSet{
		TypeSubscribe:     setOf(ParamSubscriberPriority, ParamGroupOrder, ParamForward, ParamFilter),
		TypeTrackStatus:   setOf(ParamSubscriberPriority, ParamGroupOrder, ParamForward, ParamFilter),
		TypeSubscribeOK:   setOf(ParamExpires, ParamGroupOrder, ParamLargestObject),
		TypeRequestUpdate: setOf(ParamFilter, ParamSubscriberPriority, ParamForward),
		TypePublish:       setOf(ParamGroupOrder, ParamLargestObject, ParamForward),
		typePublishOK:     setOf(ParamForward, ParamSubscriberPriority, ParamGroupOrder, ParamFilter),
		TypeFetch:         setOf(ParamSubscriberPriority, ParamGroupOrder),
		TypeFetchOK:       setOf(ParamGroupOrder),
	},
	trackProperties: map[MessageType][]uint64{
		TypeSubscribeOK: {moq.PropertyObjectDeliveryTimeout, moq.PropertyMaxCacheDuration, moq.PropertyDefaultGroupOrder},
		TypePublish:     {moq.PropertyObjectDeliveryTimeout, moq.PropertyMaxCacheDuration, moq.PropertyDefaultGroupOrder},
		TypeFetchOK:     {moq.PropertyMaxCacheDuration},
	},
	answerProperties: true,
	allowedIn: map[replyKey]paramSet{
		// What SUBSCRIBE_UPDATE has as fields is there in every one.
		{TypeSubscribe, TypeRequestUpdate}: setOf(ParamObjectDeliveryTimeout, ParamAuthorizationToken),
		{TypePublish, TypeRequestUpdate}:   setOf(ParamObjectDeliveryTimeout, ParamAuthorizationToken),
	},
	doneCodes:  doneCodes14,
	resetCodes: resetCodes14,
	data: dataRules{
		subgroupBits:       subgroupProperties | subgroupModeMask | subgroupEndOfGroup | subgroupAlways,
		datagramBits:       datagramProperties | datagramEndOfGroup | datagramZeroObject | datagramStatus,
		statusNeedsID:      true,
		statusProperties:   true,
		statusDoesNotExist: true,
		fetch:              fetchFields,
	},
}

func code14(m Message) uint64 {
	const none = 1 << 63
	switch m := m.(type) {
	case *Setup:
		if m.Server {
			return codeServerSetup
		}
		return codeClientSetup
	case *SubscribeNamespace:
		return codeSubscribeNamespace
	case *RequestOK:
		switch m.Request {
		case TypePublish:
			return codePublishOK
		case TypeTrackStatus:
			return codeTrackStatusOK
		case TypePublishNamespace:
			return codePublishNamespaceOK
		case TypeSubscribeNamespace:
			return codeSubscribeNamespaceOK
		}
		return none
	case *RequestError:
		switch m.Request {
		case TypeSubscribe:
			return codeSubscribeError
		case TypePublish:
			return codePublishError
		case TypeFetch:
			return codeFetchError
		case TypeTrackStatus:
			return codeTrackStatusError
		case TypePublishNamespace:
			return codePublishNamespaceError
		case TypeSubscribeNamespace:
			return codeSubscribeNamespaceError
		}
		return none
	case *Namespace, *NamespaceDone, *PublishSkipped, *SubscribeTracks:
		return none // their types are code points of other messages here, or of none
	}
	return uint64(m.Type())
}

var doneCodes14 = codeTable{
	{0x0, uint64(DoneInternalError)},
	{0x1, uint64(DoneUnauthorized)},
	{0x2, uint64(DoneTrackEnded)},
	{0x3, uint64(DoneSubscriptionEnded)},
	{0x4, uint64(DoneGoingAway)},
	{0x5, uint64(DoneExpired)},
	{0x6, uint64(DoneTooFarBehind)},
	{0x7, uint64(DoneMalformedTrack)},
}

var resetCodes14 = codeTable{
	{0x0, uint64(ResetInternalError)},
	{0x1, uint64(ResetCancelled)},
	{0x2, uint64(ResetDeliveryTimeout)},
	{0x3, uint64(ResetSessionClosed)},
}

// Request codes that several refusals of draft 14 share.
var (
	commonCodes14 = codeTable{
		{0x0, uint64(RequestInternalError)},
		{0x1, uint64(RequestUnauthorized)},
		{0x2, uint64(RequestTimeout)},
		{0x3, uint64(RequestNotSupported)},
	}
	tokenCodes14 = codeTable{
		{0x10, uint64(RequestMalformedAuthToken)},
		{0x12, uint64(RequestExpiredAuthToken)},
	}
)

func codesOf(parts ...codeTable) (t codeTable) {
	for _, p := range parts {
		t = append(t, p...)
	}
	return t
}

// requestCodes14 are the codes of the refusal of each request.
var requestCodes14 = map[MessageType]codeTable{
	TypeSubscribe:   subscribeCodes14,
	TypeTrackStatus: subscribeCodes14,
	TypePublish:     codesOf(commonCodes14, codeTable{{0x4, uint64(RequestUninterested)}}),
	TypeFetch: codesOf(commonCodes14, tokenCodes14, codeTable{
		{0x4, uint64(RequestDoesNotExist)},
		{0x5, uint64(RequestInvalidRange)},
		{0x6, uint64(RequestNoObjects)},
		{0x7, uint64(RequestInvalidJoiningRequestID)},
		{0x8, uint64(RequestUnknownStatusInRange)},
		{0x9, uint64(RequestMalformedTrack)},
	}),
	TypePublishNamespace: codesOf(commonCodes14, tokenCodes14, codeTable{{0x4, uint64(RequestUninterested)}}),
	TypeSubscribeNamespace: codesOf(commonCodes14, tokenCodes14, codeTable{
		{0x4, uint64(RequestDoesNotExist)},
		{0x5, uint64(RequestPrefixOverlap)},
	}),
}

var subscribeCodes14 = codesOf(commonCodes14, tokenCodes14, codeTable{
	{0x4, uint64(RequestDoesNotExist)},
	{0x5, uint64(RequestInvalidRange)},
})

// params14 are in ascending order of types.
var params14 = []paramCodec{
	milliseconds(ParamObjectDeliveryTimeout, func(p *Params) **Milliseconds { return &p.ObjectDeliveryTimeout }),
	tokensParam,
	milliseconds(paramMaxCacheDuration, func(p *Params) **Milliseconds { return &p.maxCacheDuration }),
}

// options14 has no MOQT_IMPLEMENTATION: the draft gives it the number of
// AUTHORITY.
var options14 = without14(options16)

func without14(all []optionCodec) (rest []optionCodec) {
	for _, o := range all {
		if o.typ != OptionImplementation {
			rest = append(rest, o)
		}
	}
	return rest
}

func appendClientSetup14(e *encoder, m *Setup) {
	versions := m.Versions
	if len(versions) == 0 {
		versions = []uint64{Draft14.Version()}
	}
	e.varint(uint64(len(versions)))
	for _, v := range versions {
		e.varint(v)
	}
	appendSetup16(e, m)
}

func appendServerSetup14(e *encoder, m *Setup) {
	switch len(m.Versions) {
	case 0:
		e.varint(Draft14.Version())
	case 1:
		e.varint(m.Versions[0])
	default:
		e.fail("a server selects one version and not %d", len(m.Versions))
	}
	appendSetup16(e, m)
}

func parseClientSetup14(d *decoder) *Setup {
	m := new(Setup)
	count := d.varint()
	if d.err == nil && count == 0 {
		d.fail(&Error{Code: VersionNegotiationFailed, Reason: "no version is offered"})
	}
	for ; count > 0 && d.err == nil; count-- {
		if len(m.Versions) == MaxProperties {
			d.fail(&Error{Code: InternalError, Reason: "too many versions"})
		}
		m.Versions = append(m.Versions, d.varint())
	}
	return d.countedOptions(m)
}

// parseServerSetup14 takes what a server sends as 0x05 for
// MOQT_IMPLEMENTATION, since AUTHORITY cannot come from there.
func parseServerSetup14(d *decoder) *Setup {
	m := d.countedOptions(&Setup{Server: true, Versions: []uint64{d.varint()}})
	m.Authority = nil
	return m
}

// priority appends a Subscriber Priority, which is always there.
func (e *encoder) priority(p *uint8) {
	v := moq.DefaultPriority
	if p != nil {
		v = *p
	}
	e.uint8(v)
}

// subscriberOrder appends a Group Order that may be the publisher's.
func (e *encoder) subscriberOrder(o moq.GroupOrder) {
	if o > moq.GroupOrderDescending {
		e.fail("group order %d", o)
	}
	e.uint8(uint8(o))
}

func (d *decoder) subscriberOrder() moq.GroupOrder {
	v := d.uint8()
	if v > uint8(moq.GroupOrderDescending) {
		d.fail(violation("Group Order is %d", v))
	}
	return moq.GroupOrder(v)
}

// publisherOrder appends the Group Order of a publisher, which is ascending
// unless the parameter or else the Track Property says otherwise.
func (e *encoder) publisherOrder(o moq.GroupOrder, props moq.Properties) {
	if o == moq.GroupOrderPublisher {
		o = moq.GroupOrderAscending
		if v, ok := props.Get(moq.PropertyDefaultGroupOrder); ok && v.Value == uint64(moq.GroupOrderDescending) {
			o = moq.GroupOrderDescending
		}
	}
	e.explicitOrder(o)
}

func (e *encoder) explicitOrder(o moq.GroupOrder) {
	if !validGroupOrder(uint64(o)) {
		e.fail("group order %d", o)
	}
	e.uint8(uint8(o))
}

func (d *decoder) explicitOrder() moq.GroupOrder {
	v := d.uint8()
	if d.err == nil && !validGroupOrder(uint64(v)) {
		d.fail(violation("Group Order is %d", v))
	}
	return moq.GroupOrder(v)
}

func (e *encoder) forward(v *bool) { e.flag(v == nil || *v) }

func (d *decoder) forward() *bool {
	v := d.flag("Forward")
	return &v
}

// filterField appends a filter that is always there. None is one from the
// first Location on.
func (e *encoder) filterField(f *Filter) {
	if f == nil {
		f = &Filter{Type: FilterAbsoluteStart}
	}
	e.wholeFilter(*f)
}

func (d *decoder) filterField() *Filter {
	f := d.wholeFilter()
	return &f
}

func (d *decoder) uint8Pointer() *uint8 {
	v := d.uint8()
	return &v
}

// largest appends Content Exists and the Largest Location.
func (e *encoder) largest(l *moq.Location) {
	e.flag(l != nil)
	if l != nil {
		e.location(*l)
	}
}

func (d *decoder) largest() *moq.Location {
	if !d.flag("Content Exists") {
		return nil
	}
	l := d.location()
	return &l
}

// publisherParams appends parameters together with the Track Properties that
// this draft has as parameters.
func (e *encoder) publisherParams(t MessageType, p Params, props moq.Properties) {
	if p.ObjectDeliveryTimeout != nil {
		e.fail("parameter %v", ParamObjectDeliveryTimeout) // it is a Track Property in memory
	}
	for _, v := range props {
		ms := Milliseconds(v.Value)
		switch {
		case !slices.Contains(e.rules.trackProperties[t], v.Type):
			e.fail("track property %#x", v.Type)
		case v.Type == moq.PropertyObjectDeliveryTimeout && p.ObjectDeliveryTimeout == nil:
			p.ObjectDeliveryTimeout = &ms
		case v.Type == moq.PropertyMaxCacheDuration && p.maxCacheDuration == nil:
			p.maxCacheDuration = &ms
		case v.Type == moq.PropertyDefaultGroupOrder:
			// It is the Group Order, unless there is another.
		default:
			e.fail("track property %#x repeats", v.Type)
		}
	}
	e.params(t, &p)
}

func (d *decoder) publisherParams(t MessageType) (Params, moq.Properties) {
	p := d.params(t)
	var props moq.Properties
	if p.ObjectDeliveryTimeout != nil {
		props = append(props, moq.Property{Type: moq.PropertyObjectDeliveryTimeout, Value: uint64(*p.ObjectDeliveryTimeout)})
	}
	if p.maxCacheDuration != nil {
		props = append(props, moq.Property{Type: moq.PropertyMaxCacheDuration, Value: uint64(*p.maxCacheDuration)})
	}
	p.ObjectDeliveryTimeout, p.maxCacheDuration = nil, nil
	return p, props
}

// subscribeFields appends what SUBSCRIBE and TRACK_STATUS have in common.
func (e *encoder) subscribeFields(t MessageType, id uint64, name moq.FullTrackName, p Params) {
	e.varint(id)
	e.fullTrackName(name)
	e.priority(p.SubscriberPriority)
	e.subscriberOrder(p.GroupOrder)
	e.forward(p.Forward)
	e.filterField(p.Filter)
	p.SubscriberPriority, p.GroupOrder, p.Forward, p.Filter = nil, 0, nil, nil
	e.params(t, &p)
}

func (d *decoder) subscribeFields(t MessageType) (id uint64, name moq.FullTrackName, p Params) {
	id = d.varint()
	name = d.fullTrackName()
	priority, order, forward, filter := d.uint8Pointer(), d.subscriberOrder(), d.forward(), d.filterField()
	p = d.params(t)
	p.SubscriberPriority, p.GroupOrder, p.Forward, p.Filter = priority, order, forward, filter
	return id, name, p
}

func appendSubscribe14(e *encoder, m *Subscribe) {
	e.subscribeFields(TypeSubscribe, m.RequestID, m.Name, m.Params)
}

func parseSubscribe14(d *decoder) *Subscribe {
	m := new(Subscribe)
	m.RequestID, m.Name, m.Params = d.subscribeFields(TypeSubscribe)
	return m
}

func appendTrackStatus14(e *encoder, m *TrackStatus) {
	e.subscribeFields(TypeTrackStatus, m.RequestID, m.Name, m.Params)
}

func parseTrackStatus14(d *decoder) *TrackStatus {
	m := new(TrackStatus)
	m.RequestID, m.Name, m.Params = d.subscribeFields(TypeTrackStatus)
	return m
}

// subscribeOKFields appends what SUBSCRIBE_OK and TRACK_STATUS_OK have in
// common.
func (e *encoder) subscribeOKFields(id, alias uint64, p Params, props moq.Properties) {
	e.varint(id)
	e.varint(alias)
	var expires Milliseconds
	if p.Expires != nil {
		expires = *p.Expires
	}
	e.varint(uint64(expires))
	e.publisherOrder(p.GroupOrder, props)
	e.largest(p.LargestObject)
	p.Expires, p.GroupOrder, p.LargestObject = nil, 0, nil
	e.publisherParams(TypeSubscribeOK, p, props)
}

func (d *decoder) subscribeOKFields() (id, alias uint64, p Params, props moq.Properties) {
	id, alias = d.varint(), d.varint()
	expires, order, largest := Milliseconds(d.varint()), d.explicitOrder(), d.largest()
	p, props = d.publisherParams(TypeSubscribeOK)
	if expires > 0 {
		p.Expires = &expires
	}
	p.GroupOrder, p.LargestObject = order, largest
	return id, alias, p, props
}

func appendSubscribeOK14(e *encoder, m *SubscribeOK) {
	e.subscribeOKFields(m.RequestID, m.Alias, m.Params, m.Properties)
}

func parseSubscribeOK14(d *decoder) *SubscribeOK {
	m := new(SubscribeOK)
	m.RequestID, m.Alias, m.Params, m.Properties = d.subscribeOKFields()
	return m
}

func appendTrackStatusOK14(e *encoder, m *RequestOK) {
	e.subscribeOKFields(m.RequestID, 0, m.Params, m.Properties)
}

// parseTrackStatusOK14 drops the Track Alias, which is 0 and has no meaning.
func parseTrackStatusOK14(d *decoder) *RequestOK {
	m := &RequestOK{Request: TypeTrackStatus}
	m.RequestID, _, m.Params, m.Properties = d.subscribeOKFields()
	return m
}

// appendRequestUpdate14 appends a SUBSCRIBE_UPDATE. Its End Group is one more
// than the last Group, or 0 for none.
func appendRequestUpdate14(e *encoder, m *RequestUpdate) {
	p := m.Params
	if p.Filter == nil || p.SubscriberPriority == nil || p.Forward == nil {
		e.fail("an update leaves something unchanged")
		return
	}
	e.varint(m.RequestID)
	e.varint(m.Existing)
	e.location(p.Filter.Start)
	switch p.Filter.Type {
	case FilterAbsoluteStart:
		e.varint(0)
	case FilterAbsoluteRange:
		if p.Filter.EndGroup < p.Filter.Start.Group || p.Filter.EndGroup >= maxQUICVarint {
			e.fail("filter from group %d to group %d", p.Filter.Start.Group, p.Filter.EndGroup)
		}
		e.varint(p.Filter.EndGroup + 1)
	default:
		e.fail("update with filter %v", p.Filter.Type)
	}
	e.uint8(*p.SubscriberPriority)
	e.flag(*p.Forward)
	p.Filter, p.SubscriberPriority, p.Forward = nil, nil, nil
	e.params(TypeRequestUpdate, &p)
}

func parseRequestUpdate14(d *decoder) *RequestUpdate {
	m := &RequestUpdate{RequestID: d.varint(), Existing: d.varint()}
	f := &Filter{Type: FilterAbsoluteStart, Start: d.location()}
	if end := d.varint(); end > 0 {
		f.Type, f.EndGroup = FilterAbsoluteRange, end-1
		if f.EndGroup < f.Start.Group {
			d.fail(violation("update ends at group %d and starts at group %d", f.EndGroup, f.Start.Group))
		}
	}
	priority, forward := d.uint8Pointer(), d.forward()
	m.Params = d.params(TypeRequestUpdate)
	m.Params.Filter, m.Params.SubscriberPriority, m.Params.Forward = f, priority, forward
	return m
}

func appendPublish14(e *encoder, m *Publish) {
	p := m.Params
	e.varint(m.RequestID)
	e.fullTrackName(m.Name)
	e.varint(m.Alias)
	e.publisherOrder(p.GroupOrder, m.Properties)
	e.largest(p.LargestObject)
	e.forward(p.Forward)
	p.GroupOrder, p.LargestObject, p.Forward = 0, nil, nil
	e.publisherParams(TypePublish, p, m.Properties)
}

func parsePublish14(d *decoder) *Publish {
	m := &Publish{RequestID: d.varint(), Name: d.fullTrackName(), Alias: d.varint()}
	order, largest, forward := d.explicitOrder(), d.largest(), d.forward()
	m.Params, m.Properties = d.publisherParams(TypePublish)
	m.Params.GroupOrder, m.Params.LargestObject, m.Params.Forward = order, largest, forward
	return m
}

func appendPublishOK14(e *encoder, m *RequestOK) {
	if len(m.Properties) > 0 {
		e.fail("track properties")
	}
	p := m.Params
	e.varint(m.RequestID)
	e.forward(p.Forward)
	e.priority(p.SubscriberPriority)
	e.explicitOrder(p.GroupOrder)
	e.filterField(p.Filter)
	p.Forward, p.SubscriberPriority, p.GroupOrder, p.Filter = nil, nil, 0, nil
	e.params(typePublishOK, &p)
}

func parsePublishOK14(d *decoder) *RequestOK {
	m := &RequestOK{Request: TypePublish, RequestID: d.varint()}
	forward, priority, order, filter := d.forward(), d.uint8Pointer(), d.explicitOrder(), d.filterField()
	m.Params = d.params(typePublishOK)
	m.Params.Forward, m.Params.SubscriberPriority, m.Params.GroupOrder, m.Params.Filter = forward, priority, order, filter
	return m
}

func appendFetch14(e *encoder, m *Fetch) {
	p := m.Params
	e.varint(m.RequestID)
	e.priority(p.SubscriberPriority)
	e.subscriberOrder(p.GroupOrder)
	e.fetchRange(m)
	p.SubscriberPriority, p.GroupOrder = nil, 0
	e.params(TypeFetch, &p)
}

func parseFetch14(d *decoder) *Fetch {
	m := &Fetch{RequestID: d.varint()}
	priority, order := d.uint8Pointer(), d.subscriberOrder()
	d.fetchRange(m)
	m.Params = d.params(TypeFetch)
	m.Params.SubscriberPriority, m.Params.GroupOrder = priority, order
	return m
}

func appendFetchOK14(e *encoder, m *FetchOK) {
	p := m.Params
	e.varint(m.RequestID)
	e.publisherOrder(p.GroupOrder, nil)
	e.flag(m.EndOfTrack)
	e.last(m.Last)
	p.GroupOrder = 0
	e.publisherParams(TypeFetchOK, p, m.Properties)
}

func parseFetchOK14(d *decoder) *FetchOK {
	m := &FetchOK{RequestID: d.varint()}
	order := d.explicitOrder()
	m.EndOfTrack, m.Last = d.flag("End Of Track"), d.last()
	m.Params, m.Properties = d.publisherParams(TypeFetchOK)
	m.Params.GroupOrder = order
	return m
}

// plainOK14 is the codec of an answer that has nothing but a Request ID.
func plainOK14(request MessageType) messageCodec {
	return codecOf(
		func(e *encoder, m *RequestOK) {
			for i := range params22 {
				if params22[i].count(&m.Params) > 0 {
					e.fail("parameter %v", params22[i].typ)
				}
			}
			if len(m.Properties) > 0 || len(m.Params.Unknown) > 0 {
				e.fail("properties or parameters")
			}
			e.varint(m.RequestID)
		},
		func(d *decoder) *RequestOK { return &RequestOK{Request: request, RequestID: d.varint()} },
	).of(TypeRequestOK)
}

// error14 is the codec of the refusal of a request.
func error14(request MessageType) messageCodec {
	return codecOf(
		func(e *encoder, m *RequestError) {
			if m.RetryAfter != nil || m.Redirect != nil {
				e.fail("retry or redirect")
			}
			e.varint(m.RequestID)
			e.requestCode(request, m.Code)
			e.text("reason", m.Reason, MaxReasonLength)
		},
		func(d *decoder) *RequestError {
			return &RequestError{
				Request:   request,
				RequestID: d.varint(),
				Code:      RequestCode(requestCodes14[request].parse(d.varint())),
				Reason:    d.text("reason", MaxReasonLength),
			}
		},
	).of(TypeRequestError)
}

func (e *encoder) requestCode(request MessageType, code RequestCode) {
	n, ok := requestCodes14[request].number(uint64(code))
	if !ok {
		e.fail("code %v in the refusal of %v", code, request)
	}
	e.varint(n)
}

func appendPublishNamespaceDone14(e *encoder, m *PublishNamespaceDone) { e.trackNamespace(m.Namespace) }

func parsePublishNamespaceDone14(d *decoder) *PublishNamespaceDone {
	ns, _ := d.trackNamespace()
	return &PublishNamespaceDone{Namespace: ns}
}

func appendPublishNamespaceCancel14(e *encoder, m *PublishNamespaceCancel) {
	e.trackNamespace(m.Namespace)
	e.requestCode(TypePublishNamespace, m.Code)
	e.text("reason", m.Reason, MaxReasonLength)
}

func parsePublishNamespaceCancel14(d *decoder) *PublishNamespaceCancel {
	ns, _ := d.trackNamespace()
	return &PublishNamespaceCancel{
		Namespace: ns,
		Code:      RequestCode(requestCodes14[TypePublishNamespace].parse(d.varint())),
		Reason:    d.text("reason", MaxReasonLength),
	}
}

// appendSubscribeNamespace14 appends a prefix that, other than in later
// drafts, has a field.
func appendSubscribeNamespace14(e *encoder, m *SubscribeNamespace) {
	if !m.Tracks {
		e.fail("it asks for namespaces alone")
	}
	e.varint(m.RequestID)
	e.trackNamespace(m.Prefix)
	e.params(m.Type(), &m.Params)
}

func parseSubscribeNamespace14(d *decoder) *SubscribeNamespace {
	m := &SubscribeNamespace{RequestID: d.varint(), Tracks: true}
	m.Prefix, _ = d.trackNamespace()
	m.Params = d.params(TypeSubscribeNamespace)
	return m
}

func appendUnsubscribeNamespace(e *encoder, m *UnsubscribeNamespace) { e.trackNamespace(m.Prefix) }

func parseUnsubscribeNamespace(d *decoder) *UnsubscribeNamespace {
	ns, _ := d.trackNamespace()
	return &UnsubscribeNamespace{Prefix: ns}
}
