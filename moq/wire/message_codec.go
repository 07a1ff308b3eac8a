package wire

import (
	"github.com/freshet-live/freshet/moq"
)

// The bodies of messages in drafts 18 and 19, field by field in the order of
// the drafts' figures. Draft 16 has some of them too.

// goAway18 has a Request ID on the control stream; its presence is known from
// the length.
var goAway18 = codecOf(
	func(e *encoder, m *GoAway) {
		appendGoAway(e, m)
		if m.RequestID != nil {
			e.varint(*m.RequestID)
		}
	},
	func(d *decoder) *GoAway {
		m := parseGoAway(d)
		if d.err == nil && d.remaining() > 0 {
			id := d.varint()
			m.RequestID = &id
		}
		return m
	})

var goAway19 = codecOf(appendGoAway, parseGoAway)

func appendGoAway(e *encoder, m *GoAway) {
	e.text("URI", m.URI, MaxURILength)
	e.varint(uint64(m.Timeout))
}

func parseGoAway(d *decoder) *GoAway {
	return &GoAway{URI: d.text("URI", MaxURILength), Timeout: Milliseconds(d.varint())}
}

func appendRequestOK(e *encoder, m *RequestOK) {
	e.params(m.Type(), &m.Params)
	e.trackProperties(m.Properties)
}

func parseRequestOK(d *decoder) *RequestOK {
	return &RequestOK{Params: d.params(TypeRequestOK), Properties: d.trackProperties()}
}

func appendRequestError(e *encoder, m *RequestError) {
	e.varint(uint64(m.Code))
	e.retryAfter(m.RetryAfter)
	e.text("reason", m.Reason, MaxReasonLength)
	if (m.Redirect != nil) != (m.Code == RequestRedirect) {
		e.fail("code %v with redirect: %t", m.Code, m.Redirect != nil)
		return
	}
	if r := m.Redirect; r != nil {
		e.text("URI", r.URI, maxBody)
		e.fullTrackName(r.Name)
	}
}

func parseRequestError(d *decoder) *RequestError {
	m := &RequestError{Code: RequestCode(d.varint()), RetryAfter: d.retryAfter(), Reason: d.text("reason", MaxReasonLength)}
	if m.Code == RequestRedirect {
		m.Redirect = &Redirect{URI: d.text("URI", maxBody), Name: d.fullTrackName()}
	}
	return m
}

// retryAfter appends a Retry Interval: milliseconds plus one, or 0 for never.
func (e *encoder) retryAfter(after *Milliseconds) {
	var interval uint64
	if after != nil {
		if interval = uint64(*after) + 1; interval == 0 {
			e.fail("retry after 2^64-1 milliseconds")
		}
	}
	e.varint(interval)
}

func (d *decoder) retryAfter() *Milliseconds {
	interval := d.varint()
	if interval == 0 {
		return nil
	}
	after := Milliseconds(interval - 1)
	return &after
}

func appendRequestUpdate(e *encoder, m *RequestUpdate) {
	e.varint(m.RequestID)
	e.params(m.Type(), &m.Params)
}

func parseRequestUpdate(d *decoder) *RequestUpdate {
	return &RequestUpdate{RequestID: d.varint(), Params: d.params(TypeRequestUpdate)}
}

func appendSubscribe(e *encoder, m *Subscribe) {
	e.varint(m.RequestID)
	e.fullTrackName(m.Name)
	e.params(m.Type(), &m.Params)
}

func parseSubscribe(d *decoder) *Subscribe {
	return &Subscribe{RequestID: d.varint(), Name: d.fullTrackName(), Params: d.params(TypeSubscribe)}
}

func appendSubscribeOK(e *encoder, m *SubscribeOK) {
	e.varint(m.Alias)
	e.params(m.Type(), &m.Params)
	e.trackProperties(m.Properties)
}

func parseSubscribeOK(d *decoder) *SubscribeOK {
	return &SubscribeOK{Alias: d.varint(), Params: d.params(TypeSubscribeOK), Properties: d.trackProperties()}
}

func appendTrackStatus(e *encoder, m *TrackStatus) {
	e.varint(m.RequestID)
	e.fullTrackName(m.Name)
	e.params(m.Type(), &m.Params)
}

func parseTrackStatus(d *decoder) *TrackStatus {
	return &TrackStatus{RequestID: d.varint(), Name: d.fullTrackName(), Params: d.params(TypeTrackStatus)}
}

func appendPublish(e *encoder, m *Publish) {
	e.varint(m.RequestID)
	e.fullTrackName(m.Name)
	e.varint(m.Alias)
	e.params(m.Type(), &m.Params)
	e.trackProperties(m.Properties)
}

func parsePublish(d *decoder) *Publish {
	return &Publish{
		RequestID:  d.varint(),
		Name:       d.fullTrackName(),
		Alias:      d.varint(),
		Params:     d.params(TypePublish),
		Properties: d.trackProperties(),
	}
}

// unknownStreamCount18 stands for UnknownStreamCount on the wire.
const unknownStreamCount18 = 1<<62 - 1

func appendPublishDone(e *encoder, m *PublishDone) {
	code, ok := e.rules.doneCodes.number(uint64(m.Code))
	if !ok {
		e.fail("code %v", m.Code)
	}
	e.varint(code)
	count := m.StreamCount
	switch {
	case count == UnknownStreamCount:
		count = unknownStreamCount18
	case count >= unknownStreamCount18:
		e.fail("stream count %d", count)
	}
	e.varint(count)
	e.text("reason", m.Reason, MaxReasonLength)
}

func parsePublishDone(d *decoder) *PublishDone {
	m := &PublishDone{Code: PublishDoneCode(d.rules.doneCodes.parse(d.varint())), StreamCount: d.varint(), Reason: d.text("reason", MaxReasonLength)}
	if m.StreamCount >= unknownStreamCount18 {
		m.StreamCount = UnknownStreamCount
	}
	return m
}

func appendPublishSkipped(e *encoder, m *PublishSkipped) {
	e.fullTrackName(moq.FullTrackName{Namespace: m.Suffix, Track: m.Track})
}

func parsePublishSkipped(d *decoder) *PublishSkipped {
	n := d.fullTrackName()
	return &PublishSkipped{Suffix: n.Namespace, Track: n.Track}
}

func appendFetch(e *encoder, m *Fetch) {
	e.varint(m.RequestID)
	e.fetchRange(m)
	e.params(m.Type(), &m.Params)
}

func parseFetch(d *decoder) *Fetch {
	m := &Fetch{RequestID: d.varint()}
	d.fetchRange(m)
	m.Params = d.params(TypeFetch)
	return m
}

// fetchRange appends the Fetch Type and the fields that depend on it.
func (e *encoder) fetchRange(m *Fetch) {
	e.varint(uint64(m.FetchType))
	switch m.FetchType {
	case FetchStandalone:
		e.fullTrackName(m.Name)
		e.location(m.Start)
		e.last(m.Last)
	case FetchRelativeJoining, FetchAbsoluteJoining:
		e.varint(m.JoiningRequestID)
		e.varint(m.JoiningStart)
	default:
		e.fail("fetch of type %v", m.FetchType)
	}
}

func (d *decoder) fetchRange(m *Fetch) {
	m.FetchType = FetchType(d.varint())
	switch m.FetchType {
	case FetchStandalone:
		m.Name = d.fullTrackName()
		m.Start = d.location()
		m.Last = d.last()
	case FetchRelativeJoining, FetchAbsoluteJoining:
		m.JoiningRequestID = d.varint()
		m.JoiningStart = d.varint()
	default:
		if d.err == nil {
			d.fail(violation("fetch of type %v", m.FetchType))
		}
	}
}

func appendFetchOK(e *encoder, m *FetchOK) {
	e.flag(m.EndOfTrack)
	e.last(m.Last)
	e.params(m.Type(), &m.Params)
	e.trackProperties(m.Properties)
}

func parseFetchOK(d *decoder) *FetchOK {
	return &FetchOK{
		EndOfTrack: d.flag("End Of Track"),
		Last:       d.last(),
		Params:     d.params(TypeFetchOK),
		Properties: d.trackProperties(),
	}
}

// last appends an End Location: the last Object plus one, where 0 stands for
// the whole Group. In memory that is the largest Object ID, and adding one to
// it gives 0.
func (e *encoder) last(l moq.Location) {
	l.Object++
	e.location(l)
}

// last reads an End Location.
func (d *decoder) last() moq.Location {
	l := d.location()
	l.Object--
	return l
}

func appendPublishNamespace(e *encoder, m *PublishNamespace) {
	e.varint(m.RequestID)
	e.trackNamespace(m.Namespace)
	e.params(m.Type(), &m.Params)
}

func parsePublishNamespace(d *decoder) *PublishNamespace {
	m := &PublishNamespace{RequestID: d.varint()}
	m.Namespace, _ = d.trackNamespace()
	m.Params = d.params(TypePublishNamespace)
	return m
}

func appendSubscribeNamespace(e *encoder, m *SubscribeNamespace) {
	if m.Tracks {
		e.fail("it asks for tracks too")
	}
	e.varint(m.RequestID)
	e.namespace(m.Prefix)
	e.params(m.Type(), &m.Params)
}

func parseSubscribeNamespace(d *decoder) *SubscribeNamespace {
	m := &SubscribeNamespace{RequestID: d.varint()}
	m.Prefix, _ = d.namespace()
	m.Params = d.params(TypeSubscribeNamespace)
	return m
}

func appendSubscribeTracks(e *encoder, m *SubscribeTracks) {
	e.varint(m.RequestID)
	e.namespace(m.Prefix)
	e.params(m.Type(), &m.Params)
}

func parseSubscribeTracks(d *decoder) *SubscribeTracks {
	m := &SubscribeTracks{RequestID: d.varint()}
	m.Prefix, _ = d.namespace()
	m.Params = d.params(TypeSubscribeTracks)
	return m
}

func appendNamespace(e *encoder, m *Namespace) { e.namespace(m.Suffix) }

func parseNamespace(d *decoder) *Namespace {
	ns, _ := d.namespace()
	return &Namespace{Suffix: ns}
}

func appendNamespaceDone(e *encoder, m *NamespaceDone) { e.namespace(m.Suffix) }

func parseNamespaceDone(d *decoder) *NamespaceDone {
	ns, _ := d.namespace()
	return &NamespaceDone{Suffix: ns}
}
