package wire

import "github.com/freshet-live/freshet/moq"

// MaxReasonLength is the largest Reason Phrase in bytes
// (draft-ietf-moq-transport-18, section "Reason Phrase Structure").
const MaxReasonLength = 1024

// RequestOK is REQUEST_OK, the answer to PUBLISH, REQUEST_UPDATE,
// TRACK_STATUS, SUBSCRIBE_NAMESPACE, SUBSCRIBE_TRACKS and PUBLISH_NAMESPACE
// (draft-ietf-moq-transport-18, section "REQUEST_OK"). CheckReply checks it
// against the request that it answers.
//
// In drafts up to 16 the answer to PUBLISH is PUBLISH_OK, and in draft 14
// every request has an answer of its own; Request tells them apart.
type RequestOK struct {
	// Request is the type of the request that is answered. Where the message
	// tells, a parser sets it: TypePublish in draft 16, every one in draft 14.
	// A sender sets it for those drafts; others do not need it.
	Request MessageType
	// RequestID is that of the request, in drafts up to 16. Later ones answer
	// on the stream of the request and do not send it.
	RequestID uint64
	Params    Params
	// Properties are Track Properties, in the answer to TRACK_STATUS only.
	Properties moq.Properties
}

// Type returns TypeRequestOK.
func (*RequestOK) Type() MessageType { return TypeRequestOK }

// RequestError is REQUEST_ERROR, the refusal of any request
// (draft-ietf-moq-transport-18, section "REQUEST_ERROR"). In draft 14 every
// request has a refusal of its own; Request tells them apart.
type RequestError struct {
	// Request and RequestID are as in RequestOK. Only draft 14 needs Request.
	Request   MessageType
	RequestID uint64
	Code      RequestCode
	// RetryAfter is how long to wait before the same request is worth
	// sending again; nil when it is not to be sent again, or when the draft
	// cannot say so, as draft 14.
	RetryAfter *Milliseconds
	// Reason is text of at most MaxReasonLength bytes for people.
	Reason string
	// Redirect is present when, and only when, Code is RequestRedirect. Drafts
	// before 18 have none.
	Redirect *Redirect
}

// Type returns TypeRequestError.
func (*RequestError) Type() MessageType { return TypeRequestError }

// Redirect says where a request is to be sent instead
// (draft-ietf-moq-transport-18, section "Redirect Structure").
type Redirect struct {
	// URI is where to connect to; empty means the present URI. A server that
	// receives a URI that is not empty closes the session with
	// PROTOCOL_VIOLATION. The draft bounds it by the message only.
	URI string
	// Name is the name to ask for; without fields and Track, it is that of
	// the original request. Track is empty for requests about Namespaces.
	Name moq.FullTrackName
}

// RequestUpdate is REQUEST_UPDATE, which changes parameters of the request on
// whose stream it travels (draft-ietf-moq-transport-18, section
// "REQUEST_UPDATE"). CheckReply checks it against that request.
//
// In draft 14 it is SUBSCRIBE_UPDATE, which updates subscriptions only, has no
// answer, and names all of Filter, SubscriberPriority and Forward; the Filter
// is absolute.
type RequestUpdate struct {
	RequestID uint64
	// Existing is the Request ID of the request to be changed, in drafts up
	// to 16. Later ones send the update on the stream of that request.
	Existing uint64
	Params   Params
}

// Type returns TypeRequestUpdate.
func (*RequestUpdate) Type() MessageType { return TypeRequestUpdate }
