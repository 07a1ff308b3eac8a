package wire

import (
	"fmt"
	"slices"

	"github.com/freshet-live/freshet/moq"
)

// Fit changes m so that the draft can express it, where that leaves a message
// with the same sense: it takes out parameters and Track Properties that the
// draft does not have in this message, and replaces codes it does not have by
// INTERNAL_ERROR. It returns what was lost, in words for a log. What it cannot
// help with, such as a number that is too large, AppendMessage refuses.
//
// m belongs to the caller; slices in it are not changed but replaced.
func (d Draft) Fit(m Message) (lost []string) {
	r := d.rules()
	if r == nil {
		return nil
	}
	f := fitter{r: r}
	switch m := m.(type) {
	case *Subscribe:
		f.params(TypeSubscribe, &m.Params)
	case *SubscribeOK:
		f.params(TypeSubscribeOK, &m.Params)
		f.trackProperties(TypeSubscribeOK, &m.Properties)
	case *TrackStatus:
		f.params(TypeTrackStatus, &m.Params)
	case *Publish:
		f.params(TypePublish, &m.Params)
		f.trackProperties(TypePublish, &m.Properties)
	case *PublishDone:
		f.code((*uint64)(&m.Code), r.doneCodes, uint64(DoneInternalError), m.Code)
	case *Fetch:
		filter := m.Params.Filter
		f.params(TypeFetch, &m.Params)
		m.Params.Filter = filter // it is the range, and not to be lost
		if r.quic && m.Last.Group > maxQUICVarint {
			m.Last.Group = maxQUICVarint // no Group is larger there
		}
	case *FetchOK:
		f.params(TypeFetchOK, &m.Params)
		f.trackProperties(TypeFetchOK, &m.Properties)
	case *PublishNamespace:
		f.params(TypePublishNamespace, &m.Params)
	case *SubscribeNamespace:
		f.params(TypeSubscribeNamespace, &m.Params)
		switch {
		case r.dialect.AnnouncedNamespaces && !m.Tracks:
			f.lose("namespaces alone")
			m.Tracks = true
		case !r.dialect.ControlStream && m.Tracks:
			f.lose("tracks")
			m.Tracks = false
		}
	case *SubscribeTracks:
		f.params(r.tracksType(), &m.Params)
	case *RequestUpdate:
		f.params(TypeRequestUpdate, &m.Params)
	case *PublishStateNotify:
		f.params(TypePublishStateNotify, &m.Params)
	case *RequestOK:
		f.params(r.answerType(m.Request), &m.Params)
		if len(m.Properties) > 0 && (!r.answerProperties || m.Request != TypeTrackStatus && m.Request != 0) {
			f.lose("track properties")
			m.Properties = nil
		}
		f.trackProperties(f.r.answerType(m.Request), &m.Properties)
	case *RequestError:
		f.requestError(m)
	case *PublishNamespaceCancel:
		f.requestCode(TypePublishNamespace, &m.Code)
	}
	return f.lost
}

type fitter struct {
	r    *rules
	lost []string
}

func (f *fitter) lose(format string, args ...any) {
	f.lost = append(f.lost, fmt.Sprintf(format, args...))
}

// tracksType is the type under which a SubscribeTracks has its parameters.
func (r *rules) tracksType() MessageType {
	if r.dialect.ControlStream {
		return TypeSubscribeNamespace
	}
	return TypeSubscribeTracks
}

// answerType is the type under which the answer to a request has its
// parameters.
func (r *rules) answerType(request MessageType) MessageType {
	switch {
	case !r.dialect.ControlStream:
		return TypeRequestOK
	case request == TypePublish:
		return typePublishOK
	case request == TypeTrackStatus && r.fields != nil:
		return TypeSubscribeOK
	}
	return TypeRequestOK
}

func (f *fitter) params(t MessageType, p *Params) {
	if p.Filter != nil && !f.r.dialect.Fill {
		p.Filter = f.filter(t, *p.Filter)
	}
	have := f.r.allowed[t] | f.r.fields[t]
	if f.r.trackProperties[t] != nil {
		have &^= setOf(ParamObjectDeliveryTimeout) // the publisher's is a Track Property in memory
	}
	for i := range params22 {
		c := &params22[i]
		if c.count(p) == 0 {
			continue
		}
		known := f.r.param(c.typ) != nil || f.r.fields[t].has(c.typ)
		if c.typ == paramMaxCacheDuration && f.r.absolute {
			known = false // RENDEZVOUS_TIMEOUT, and not what draft 14 has there
		}
		zero := c.typ == ParamObjectDeliveryTimeout && *p.ObjectDeliveryTimeout == 0 && f.r.timeoutNotZero
		if !known || !have.has(c.typ) || zero {
			f.lose("%v", c.typ)
			c.clear(p)
		}
	}
	if len(p.Unknown) > 0 && !f.r.unknownIgnored {
		f.lose("unknown parameters")
		p.Unknown = nil
	}
}

// filter returns what comes closest to a filter in drafts before 20.
func (f *fitter) filter(t MessageType, v Filter) *Filter {
	switch v.Type {
	case FilterNone:
		if t != TypeRequestUpdate {
			return nil
		}
		// "An AbsoluteStart filter with Start = {0, 0} is equivalent to an
		// unfiltered subscription." (draft-ietf-moq-transport-16, section
		// "Subscription Filters")
		v = Filter{Type: FilterAbsoluteStart}
	case FilterRelativeStart:
		f.lose("start of the filter")
		v = Filter{Type: FilterLargestObject}
	case FilterObjectRange:
		f.lose("last object of the filter")
		v = Filter{Type: FilterAbsoluteRange, Start: v.Start, EndGroup: v.EndGroup}
	}
	return &v
}

func (f *fitter) trackProperties(t MessageType, props *moq.Properties) {
	fits := func(v moq.Property) bool {
		// A value for which the peer would close the session, such as a
		// delivery timeout of 0 in draft 16, inside Immutable Properties too.
		if f.r.checkTrackProperties(moq.Properties{v}) != nil {
			return false
		}
		return f.r.trackProperties == nil || slices.Contains(f.r.trackProperties[t], v.Type)
	}
	// What is a parameter there cannot repeat.
	repeats := func(before moq.Properties, v moq.Property) bool {
		_, ok := before.Get(v.Type)
		return ok && f.r.trackProperties != nil
	}
	var rest moq.Properties
	for _, v := range *props {
		if fits(v) && !repeats(rest, v) {
			rest = append(rest, v)
		} else {
			f.lose("track property %#x", v.Type)
		}
	}
	if len(rest) < len(*props) {
		*props = rest
	}
}

func (f *fitter) requestError(m *RequestError) {
	if m.Redirect != nil && f.r.dialect.ControlStream {
		f.lose("redirect")
		m.Redirect, m.Code = nil, RequestInternalError
	}
	if m.Code == RequestRedirect && m.Redirect == nil && !f.r.dialect.ControlStream {
		// Draft 16 can carry the number, and no Redirect with it.
		f.lose("code %v", m.Code)
		m.Code = RequestInternalError
	}
	if m.RetryAfter != nil && f.r.absolute {
		f.lose("retry interval")
		m.RetryAfter = nil
	}
	f.requestCode(m.Request, &m.Code)
}

// requestCode replaces a code that the refusal of a request cannot have.
func (f *fitter) requestCode(request MessageType, c *RequestCode) {
	if f.r.absolute {
		f.code((*uint64)(c), requestCodes14[request], uint64(RequestInternalError), *c)
		return
	}
	switch {
	case *c == RequestNoObjects:
		f.lose("code %v", *c)
		*c = RequestInvalidRange
	case *c&foreign != 0:
		f.lose("code %v", *c)
		*c = RequestInternalError
	}
}

// code replaces a code that is not in the table.
func (f *fitter) code(c *uint64, t codeTable, instead uint64, name fmt.Stringer) {
	n, ok := t.number(*c)
	if ok && n&foreign == 0 {
		return
	}
	f.lose("code %v", name)
	*c = instead
}
