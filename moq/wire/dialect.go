package wire

// Dialect is how a session of a draft works where drafts differ in more than
// bytes. Where nothing is set, it is as in the newest: every request has its
// own bidirectional stream, on which its answer, its updates and its end
// travel too, each end has a unidirectional control stream that begins with
// SETUP, and the number of requests is limited by QUIC streams alone.
//
// In every draft the end that makes a request chooses its Request ID: even
// numbers for the client and odd ones for the server, each two more than the
// one before.
type Dialect struct {
	// ControlStream tells that there is one bidirectional control stream,
	// which the client opens and which begins with SETUP in both directions,
	// and that requests, answers and updates travel on it; see
	// Draft.OwnStream for the exception. Answers name the request in their
	// RequestID, updates in Existing, and requests end by Unsubscribe,
	// FetchCancel, PublishNamespaceDone, PublishNamespaceCancel and
	// PublishDone and not by the end of a stream. Up to draft 16.
	ControlStream bool
	// RequestLimit tells that requests are limited by Setup.MaxRequestID and
	// MaxRequestID messages. Without them a peer may make none. Up to draft
	// 16.
	RequestLimit bool
	// VersionInSetup tells that Setup.Versions negotiates the draft. Draft 14.
	VersionInSetup bool
	// WholeUpdates tells that a RequestUpdate changes subscriptions only, says
	// all of Filter, SubscriberPriority and Forward, can only narrow the
	// Filter, and is not answered. Draft 14.
	WholeUpdates bool
	// ExplicitOrder tells that SubscribeOK, FetchOK, Publish and its answer
	// carry a Params.GroupOrder, which is ascending where the first three
	// leave it out; the answer to Publish must have it. Draft 14.
	ExplicitOrder bool
	// ExplicitPriority tells that subgroup headers and datagrams always name
	// their priority: DefaultPriority cannot be sent. Draft 14.
	ExplicitPriority bool
	// AnnouncedNamespaces tells that a SubscribeNamespace is answered by
	// PublishNamespace requests of the publisher and not by Namespace
	// messages, and always asks for Publish requests as well. Draft 14.
	AnnouncedNamespaces bool
	// Joining tells that there are joining Fetches. Up to draft 19.
	Joining bool
	// Fill tells that a subscription asks for what was before by Params.Fill,
	// which is answered on a fetch stream with the Request ID of the Subscribe
	// or RequestUpdate; that filters can have all forms; and that the
	// subscriber accepts a Publish without parameters and says what it wants
	// by a RequestUpdate. Since draft 20.
	Fill bool
	// RequestGoAway tells that GoAway can be sent on the stream of a request.
	// Since draft 18.
	RequestGoAway bool
	// MandatoryProperties tells that there are Mandatory Track Properties.
	// Since draft 18.
	MandatoryProperties bool
}

// Dialect returns the dialect of the draft, the zero value for one that is not
// Supported.
func (d Draft) Dialect() Dialect {
	if r := d.rules(); r != nil {
		return r.dialect
	}
	return Dialect{}
}

// OwnStream reports whether a request of type t opens a bidirectional stream
// of its own. Since draft 17 every request does; in draft 16 those about
// Namespaces do whose answers go on (draft-ietf-moq-transport-16, section
// "Session initialization"), and in draft 14 none.
func (d Draft) OwnStream(t MessageType) bool {
	r := d.rules()
	switch {
	case r == nil || !t.OpensRequest():
		return false
	case !r.dialect.ControlStream:
		return true
	}
	return d == Draft16 && (t == TypeSubscribeNamespace || t == TypeSubscribeTracks)
}

// HeaderFamily returns a number that is equal for two drafts when, and only
// when, AppendObjectHeader gives the same bytes in both, so that they can be
// kept for both. It is not 0.
func (d Draft) HeaderFamily() uint64 {
	switch r := d.rules(); {
	case r == nil || !r.quic:
		return 18
	case r.absolute:
		return 14
	default:
		return 16
	}
}
