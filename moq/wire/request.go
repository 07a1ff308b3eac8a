package wire

import "github.com/freshet-live/freshet/moq"

// MaxReasonLength is the largest Reason Phrase in bytes
// (draft-ietf-moq-transport-18, section "Reason Phrase Structure").
const MaxReasonLength = 1024

// RequestOK is REQUEST_OK, the answer to PUBLISH, REQUEST_UPDATE,
// TRACK_STATUS, SUBSCRIBE_NAMESPACE, SUBSCRIBE_TRACKS and PUBLISH_NAMESPACE
// (draft-ietf-moq-transport-18, section "REQUEST_OK"). CheckReply checks it
// against the request that it answers.
type RequestOK struct {
	Params Params
	// Properties are Track Properties, in the answer to TRACK_STATUS only.
	Properties moq.Properties
}

// Type returns TypeRequestOK.
func (*RequestOK) Type() MessageType { return TypeRequestOK }

// RequestError is REQUEST_ERROR, the refusal of any request
// (draft-ietf-moq-transport-18, section "REQUEST_ERROR").
type RequestError struct {
	Code RequestCode
	// RetryAfter is how long to wait before the same request is worth
	// sending again; nil when it is not to be sent again.
	RetryAfter *Milliseconds
	// Reason is text of at most MaxReasonLength bytes for people.
	Reason string
	// Redirect is present when, and only when, Code is RequestRedirect.
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
type RequestUpdate struct {
	RequestID uint64
	Params    Params
}

// Type returns TypeRequestUpdate.
func (*RequestUpdate) Type() MessageType { return TypeRequestUpdate }
