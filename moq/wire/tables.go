package wire

// rules is what one draft says.
type rules struct {
	form
	dialect Dialect
	// namespaceNeedsField tells that the Namespace of a Track has at least
	// one field.
	namespaceNeedsField bool
	// timeoutNotZero tells that a delivery timeout of 0 breaks the protocol.
	timeoutNotZero bool
	// messages are the codecs by their code points. code chooses one for a
	// message of memory; nil stands for the value of its Type.
	messages map[uint64]messageCodec
	code     func(Message) uint64
	// misplacedIgnored tells that a parameter in a message that may not have
	// it is skipped, and unknownIgnored the same of an unknown one. Otherwise
	// either closes the session.
	misplacedIgnored, unknownIgnored bool
	// missing are the parameters that other drafts have and this one has not.
	missing []paramCodec
	// params are the codecs of the draft's Message Parameters in ascending
	// order of types.
	params []paramCodec
	// allowed says which Message Parameters a message may carry.
	// allowedIn narrows that where the request decides to which the message
	// belongs.
	allowed   map[MessageType]paramSet
	allowedIn map[replyKey]paramSet
	// fields are the parameters that are fixed fields of a message, and in no
	// other table.
	fields map[MessageType]paramSet
	// trackProperties are the Track Properties that a message can have where
	// that is not any; nil stands for all in all messages. answerProperties tells that the answer to TRACK_STATUS has them.
	trackProperties  map[MessageType][]uint64
	answerProperties bool
	// options are the Setup Options that the draft defines.
	options []optionCodec
	// namespaceScoped are the requests about Namespaces, whose Redirect has
	// no Track Name.
	namespaceScoped map[MessageType]bool
	// doneCodes and resetCodes are nil where the numbers are those in memory.
	doneCodes, resetCodes codeTable
	data                  dataRules
}

// dataRules is what one draft says about streams of Objects and datagrams.
type dataRules struct {
	subgroupBits uint64 // flags that the type of a subgroup header may have
	datagramBits uint64 // flags that the type of a datagram may have
	padding      bool   // there are padding streams and padding datagrams
	setupStream  bool   // SETUP comes on a unidirectional stream
	fetch        fetchLayout
	timedOut     bool // a fetch stream can have ends of ranges that timed out
	// statusNeedsID tells that a status datagram always has an Object ID.
	statusNeedsID bool
	// statusProperties tells that an Object with a status that exists may
	// have Properties, and statusDoesNotExist that Objects can be said not to
	// exist.
	statusProperties, statusDoesNotExist bool
}

// fetchLayout is how Objects on fetch streams are written.
type fetchLayout uint8

const (
	fetchDelta  fetchLayout = iota // Serialization Flags; IDs are relative to the item before
	fetchFlags                     // Serialization Flags; IDs are whole
	fetchFields                    // every field is there
)

func (r *rules) decoder(b []byte) decoder { return decoder{b: b, form: r.form, rules: r} }

func (r *rules) encoder(b []byte) encoder { return encoder{b: b, form: r.form, rules: r} }

// data18 is what drafts 18 to 22 say about streams and datagrams.
var data18 = dataRules{
	subgroupBits: subgroupProperties | subgroupModeMask | subgroupEndOfGroup | subgroupAlways | subgroupDefaultPriority | subgroupFirstObjectBit,
	datagramBits: datagramProperties | datagramEndOfGroup | datagramZeroObject | datagramDefaultPriority | datagramStatus,
	padding:      true,
	setupStream:  true,
	fetch:        fetchDelta,
}

// replyKey is a message on the stream of a request.
type replyKey struct{ request, message MessageType }

func (d Draft) rules() *rules {
	switch d {
	case Draft14:
		return rules14
	case Draft16:
		return rules16
	case Draft18:
		return rules18
	case Draft20, Draft21:
		return rules20
	case Draft22:
		return rules22
	case Draft19:
		return rules19
	}
	return nil
}

// paramSet is a set of ParamTypes, all of which are below 64.
type paramSet uint64

func setOf(types ...ParamType) paramSet {
	var s paramSet
	for _, t := range types {
		s |= 1 << t
	}
	return s
}

func (s paramSet) has(t ParamType) bool { return t < 64 && s&(1<<t) != 0 }

// Parameters of a subscription that its subscriber chooses.
var subscriptionParams = setOf(ParamObjectDeliveryTimeout, ParamSubgroupDeliveryTimeout,
	ParamSubscriberPriority, ParamFilter, ParamForward, ParamNewGroupRequest)

// objectFilters select Objects; with ParamTrackPropertyFilter they are the
// Range Filters.
var objectFilters = setOf(ParamSubgroupFilter, ParamObjectIDFilter, ParamPriorityFilter, ParamObjectPropertyFilter)

var rules18 = &rules{
	dialect:  Dialect{Joining: true, RequestGoAway: true, MandatoryProperties: true},
	messages: messages(goAway18),
	params:   params18,
	options:  options18,
	allowed: map[MessageType]paramSet{
		TypeSubscribe:          setOf(ParamAuthorizationToken, ParamRendezvousTimeout, ParamGroupOrder) | subscriptionParams,
		TypeSubscribeOK:        setOf(ParamExpires, ParamLargestObject),
		TypePublish:            setOf(ParamAuthorizationToken, ParamExpires, ParamLargestObject, ParamForward),
		TypeFetch:              setOf(ParamAuthorizationToken, ParamFillTimeout, ParamSubscriberPriority, ParamGroupOrder),
		TypeFetchOK:            0,
		TypeTrackStatus:        setOf(ParamAuthorizationToken),
		TypePublishNamespace:   setOf(ParamAuthorizationToken),
		TypeSubscribeNamespace: setOf(ParamAuthorizationToken),
		TypeSubscribeTracks:    setOf(ParamAuthorizationToken, ParamForward),
		TypeRequestUpdate:      setOf(ParamAuthorizationToken, ParamTrackNamespacePrefix) | subscriptionParams,
		TypeRequestOK:          setOf(ParamExpires, ParamLargestObject, ParamGroupOrder) | subscriptionParams,
	},
	allowedIn: map[replyKey]paramSet{
		// PUBLISH_OK carries what SUBSCRIBE would have; REQUEST_UPDATE_OK is
		// also a REQUEST_OK, and on a stream that PUBLISH opened either can
		// come, so both are allowed there.
		{TypePublish, TypeRequestOK}:            setOf(ParamExpires, ParamLargestObject, ParamGroupOrder) | subscriptionParams,
		{TypeSubscribe, TypeRequestOK}:          setOf(ParamExpires, ParamLargestObject),
		{TypeFetch, TypeRequestOK}:              setOf(ParamExpires, ParamLargestObject),
		{TypeTrackStatus, TypeRequestOK}:        setOf(ParamExpires, ParamLargestObject),
		{TypePublishNamespace, TypeRequestOK}:   setOf(ParamExpires, ParamLargestObject),
		{TypeSubscribeNamespace, TypeRequestOK}: setOf(ParamExpires, ParamLargestObject),
		{TypeSubscribeTracks, TypeRequestOK}:    setOf(ParamExpires, ParamLargestObject),

		{TypeSubscribe, TypeRequestUpdate}:          setOf(ParamAuthorizationToken) | subscriptionParams,
		{TypePublish, TypeRequestUpdate}:            setOf(ParamAuthorizationToken) | subscriptionParams,
		{TypeFetch, TypeRequestUpdate}:              setOf(ParamAuthorizationToken, ParamSubscriberPriority),
		{TypePublishNamespace, TypeRequestUpdate}:   setOf(ParamAuthorizationToken),
		{TypeSubscribeNamespace, TypeRequestUpdate}: setOf(ParamAuthorizationToken, ParamTrackNamespacePrefix),
		{TypeSubscribeTracks, TypeRequestUpdate}:    setOf(ParamAuthorizationToken, ParamTrackNamespacePrefix, ParamForward),
	},
	namespaceScoped:  map[MessageType]bool{TypeSubscribeNamespace: true, TypePublishNamespace: true},
	missing:          without(params22, params18),
	answerProperties: true,
	data:             data18,
}

var rules19 = &rules{
	dialect:  Dialect{Joining: true, RequestGoAway: true, MandatoryProperties: true},
	messages: messages(goAway19),
	params:   params19,
	options:  options19,
	missing:  without(params22, params19),
	allowed: map[MessageType]paramSet{
		TypeSubscribe:   rules18.allowed[TypeSubscribe] | objectFilters,
		TypeSubscribeOK: rules18.allowed[TypeSubscribeOK],
		// The definition of GROUP_ORDER does not list PUBLISH, but the
		// section "Parameters on SUBSCRIBE_TRACKS" has it sent there.
		TypePublish:            rules18.allowed[TypePublish] | setOf(ParamGroupOrder),
		TypeFetch:              rules18.allowed[TypeFetch] | objectFilters,
		TypeFetchOK:            0,
		TypeTrackStatus:        rules18.allowed[TypeTrackStatus],
		TypePublishNamespace:   setOf(ParamAuthorizationToken),
		TypeSubscribeNamespace: setOf(ParamAuthorizationToken),
		TypeSubscribeTracks:    rules18.allowed[TypeSubscribe] | objectFilters | setOf(ParamTrackPropertyFilter),
		TypeRequestUpdate:      rules18.allowed[TypeRequestUpdate] | objectFilters | setOf(ParamTrackPropertyFilter),
		TypeRequestOK:          setOf(ParamExpires, ParamLargestObject) | subscriptionParams | objectFilters,
	},
	allowedIn: map[replyKey]paramSet{
		{TypePublish, TypeRequestOK}:            setOf(ParamExpires, ParamLargestObject) | subscriptionParams | objectFilters,
		{TypeSubscribe, TypeRequestOK}:          setOf(ParamExpires, ParamLargestObject),
		{TypeFetch, TypeRequestOK}:              setOf(ParamExpires, ParamLargestObject),
		{TypeTrackStatus, TypeRequestOK}:        setOf(ParamExpires, ParamLargestObject),
		{TypePublishNamespace, TypeRequestOK}:   setOf(ParamExpires, ParamLargestObject),
		{TypeSubscribeNamespace, TypeRequestOK}: setOf(ParamExpires, ParamLargestObject),
		{TypeSubscribeTracks, TypeRequestOK}:    setOf(ParamExpires, ParamLargestObject),

		{TypeSubscribe, TypeRequestUpdate}:          setOf(ParamAuthorizationToken) | subscriptionParams | objectFilters,
		{TypePublish, TypeRequestUpdate}:            setOf(ParamAuthorizationToken) | subscriptionParams | objectFilters,
		{TypeFetch, TypeRequestUpdate}:              setOf(ParamAuthorizationToken, ParamSubscriberPriority),
		{TypePublishNamespace, TypeRequestUpdate}:   setOf(ParamAuthorizationToken),
		{TypeSubscribeNamespace, TypeRequestUpdate}: setOf(ParamAuthorizationToken, ParamTrackNamespacePrefix),
		{TypeSubscribeTracks, TypeRequestUpdate}: setOf(ParamAuthorizationToken, ParamTrackNamespacePrefix, ParamTrackPropertyFilter) |
			subscriptionParams | objectFilters,
	},
	namespaceScoped:  map[MessageType]bool{TypeSubscribeNamespace: true, TypePublishNamespace: true, TypeSubscribeTracks: true},
	answerProperties: true,
	data:             data18,
}

// messages returns the table of drafts 18 and 19, which differ in GOAWAY.
func messages(goAway messageCodec) map[uint64]messageCodec {
	return byType(map[MessageType]messageCodec{
		TypeSetup:              codecOf(appendSetup, parseSetup),
		TypeGoAway:             goAway,
		TypeRequestOK:          codecOf(appendRequestOK, parseRequestOK),
		TypeRequestError:       codecOf(appendRequestError, parseRequestError),
		TypeRequestUpdate:      codecOf(appendRequestUpdate, parseRequestUpdate),
		TypeSubscribe:          codecOf(appendSubscribe, parseSubscribe),
		TypeSubscribeOK:        codecOf(appendSubscribeOK, parseSubscribeOK),
		TypeTrackStatus:        codecOf(appendTrackStatus, parseTrackStatus),
		TypePublish:            codecOf(appendPublish, parsePublish),
		TypePublishDone:        codecOf(appendPublishDone, parsePublishDone),
		TypePublishSkipped:     codecOf(appendPublishSkipped, parsePublishSkipped),
		TypeFetch:              codecOf(appendFetch, parseFetch),
		TypeFetchOK:            codecOf(appendFetchOK, parseFetchOK),
		TypePublishNamespace:   codecOf(appendPublishNamespace, parsePublishNamespace),
		TypeSubscribeNamespace: codecOf(appendSubscribeNamespace, parseSubscribeNamespace),
		TypeSubscribeTracks:    codecOf(appendSubscribeTracks, parseSubscribeTracks),
		TypeNamespace:          codecOf(appendNamespace, parseNamespace),
		TypeNamespaceDone:      codecOf(appendNamespaceDone, parseNamespaceDone),
	})
}

// byType makes the table of a draft whose code points are the values of the
// types.
func byType(codecs map[MessageType]messageCodec) map[uint64]messageCodec {
	m := make(map[uint64]messageCodec, len(codecs))
	for t, c := range codecs {
		m[uint64(t)] = c.of(t)
	}
	return m
}

// CheckReply checks what ParseMessage cannot know of a message on the stream
// of a request: whether its parameters may appear in answer to, or in an
// update of, a request of that type, that only the answer to TRACK_STATUS has
// Track Properties, that PUBLISH_STATE_NOTIFY is about a subscription, and that a Redirect of a request about a Namespace has no
// Track Name. request is the type of the message that opened the stream. Any
// breach is a PROTOCOL_VIOLATION.
//
// On a stream that PUBLISH opened, REQUEST_OK can be the answer to it and to
// a later REQUEST_UPDATE; both are allowed. Drafts up to 16 want a parameter
// that an answer may not have to be ignored, and there it is no breach.
func (d Draft) CheckReply(request MessageType, m Message) error {
	r := d.rules()
	if r == nil {
		return ErrDraft
	}
	switch m := m.(type) {
	case *RequestOK:
		if request != TypeTrackStatus && len(m.Properties) > 0 {
			return violation("track properties in REQUEST_OK for %v", request)
		}
		if r.misplacedIgnored {
			return nil
		}
		return r.checkParams(request, m.Type(), &m.Params)
	case *RequestUpdate:
		if request == TypeTrackStatus || r.dialect.WholeUpdates && request != TypeSubscribe && request != TypePublish {
			return violation("REQUEST_UPDATE for %v", request)
		}
		return r.checkParams(request, m.Type(), &m.Params)
	case *PublishStateNotify:
		if request != TypeSubscribe && request != TypePublish {
			return violation("PUBLISH_STATE_NOTIFY for %v", request)
		}
	case *RequestError:
		if m.Redirect != nil && m.Redirect.Name.Track != "" && r.namespaceScoped[request] {
			return violation("track name in the redirect of %v", request)
		}
	}
	return nil
}

func (r *rules) checkParams(request, message MessageType, p *Params) error {
	allowed := r.allowedIn[replyKey{request, message}]
	for i := range r.params {
		c := &r.params[i]
		if c.count(p) > 0 && !allowed.has(c.typ) {
			return violation("parameter %v in %v on a stream of %v", c.typ, message, request)
		}
	}
	return nil
}
