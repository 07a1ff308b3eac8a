package wire

import "fmt"

// SessionCode says why a session was closed: the application error code of
// CONNECTION_CLOSE or of CLOSE_WEBTRANSPORT_SESSION
// (draft-ietf-moq-transport-18, section "Session Termination Error Codes").
// An unknown code is to be treated as InternalError.
type SessionCode uint64

// The session codes.
const (
	NoError                  SessionCode = 0x0
	InternalError            SessionCode = 0x1
	Unauthorized             SessionCode = 0x2
	ProtocolViolation        SessionCode = 0x3
	InvalidRequestID         SessionCode = 0x4
	DuplicateTrackAlias      SessionCode = 0x5
	KeyValueFormattingError  SessionCode = 0x6
	TooManyRequests          SessionCode = 0x7 // up to draft 16
	InvalidPath              SessionCode = 0x8
	MalformedPath            SessionCode = 0x9
	GoAwayTimeout            SessionCode = 0x10
	ControlMessageTimeout    SessionCode = 0x11
	DataStreamTimeout        SessionCode = 0x12
	AuthTokenCacheOverflow   SessionCode = 0x13
	DuplicateAuthTokenAlias  SessionCode = 0x14
	VersionNegotiationFailed SessionCode = 0x15
	MalformedAuthToken       SessionCode = 0x16
	UnknownAuthTokenAlias    SessionCode = 0x17
	ExpiredAuthToken         SessionCode = 0x18
	InvalidAuthority         SessionCode = 0x19
	MalformedAuthority       SessionCode = 0x1A
	TooManyRequestUpdates    SessionCode = 0x1B // since draft 19
)

// String returns the draft's name of the code.
func (c SessionCode) String() string {
	switch c {
	case NoError:
		return "NO_ERROR"
	case InternalError:
		return "INTERNAL_ERROR"
	case Unauthorized:
		return "UNAUTHORIZED"
	case ProtocolViolation:
		return "PROTOCOL_VIOLATION"
	case InvalidRequestID:
		return "INVALID_REQUEST_ID"
	case DuplicateTrackAlias:
		return "DUPLICATE_TRACK_ALIAS"
	case KeyValueFormattingError:
		return "KEY_VALUE_FORMATTING_ERROR"
	case TooManyRequests:
		return "TOO_MANY_REQUESTS"
	case InvalidPath:
		return "INVALID_PATH"
	case MalformedPath:
		return "MALFORMED_PATH"
	case GoAwayTimeout:
		return "GOAWAY_TIMEOUT"
	case ControlMessageTimeout:
		return "CONTROL_MESSAGE_TIMEOUT"
	case DataStreamTimeout:
		return "DATA_STREAM_TIMEOUT"
	case AuthTokenCacheOverflow:
		return "AUTH_TOKEN_CACHE_OVERFLOW"
	case DuplicateAuthTokenAlias:
		return "DUPLICATE_AUTH_TOKEN_ALIAS"
	case VersionNegotiationFailed:
		return "VERSION_NEGOTIATION_FAILED"
	case MalformedAuthToken:
		return "MALFORMED_AUTH_TOKEN"
	case UnknownAuthTokenAlias:
		return "UNKNOWN_AUTH_TOKEN_ALIAS"
	case ExpiredAuthToken:
		return "EXPIRED_AUTH_TOKEN"
	case InvalidAuthority:
		return "INVALID_AUTHORITY"
	case MalformedAuthority:
		return "MALFORMED_AUTHORITY"
	case TooManyRequestUpdates:
		return "TOO_MANY_REQUEST_UPDATES"
	}
	return fmt.Sprintf("SessionCode(%#x)", uint64(c))
}

// RequestCode says why a request was refused: the Error Code of
// REQUEST_ERROR (draft-ietf-moq-transport-18, section "REQUEST_ERROR
// Codes"). An unknown code is to be treated as RequestInternalError.
type RequestCode uint64

// The request codes. The values are the numbers of drafts 15 to 22; those of
// draft 14 are translated, and the two that it alone has are beyond what a
// draft of its time can send.
const (
	RequestInternalError           RequestCode = 0x0
	RequestUnauthorized            RequestCode = 0x1
	RequestTimeout                 RequestCode = 0x2
	RequestNotSupported            RequestCode = 0x3
	RequestMalformedAuthToken      RequestCode = 0x4
	RequestExpiredAuthToken        RequestCode = 0x5
	RequestGoingAway               RequestCode = 0x6
	RequestExcessiveLoad           RequestCode = 0x9
	RequestDoesNotExist            RequestCode = 0x10
	RequestInvalidRange            RequestCode = 0x11
	RequestMalformedTrack          RequestCode = 0x12
	RequestDuplicateSubscription   RequestCode = 0x19 // up to draft 18
	RequestUninterested            RequestCode = 0x20
	RequestPrefixOverlap           RequestCode = 0x30
	RequestNamespaceTooLarge       RequestCode = 0x31
	RequestInvalidJoiningRequestID RequestCode = 0x32
	RequestUnsupportedExtension    RequestCode = 0x33
	RequestRedirect                RequestCode = 0x34
	RequestConflictingFilters      RequestCode = 0x35 // since draft 19
	RequestInvalidFilter           RequestCode = 0x36 // since draft 19

	// RequestNoObjects is NO_OBJECTS of draft 14: a FETCH asks for a range
	// without Objects. Later drafts answer with an empty stream.
	RequestNoObjects RequestCode = foreign | 1<<32
	// RequestUnknownStatusInRange is UNKNOWN_STATUS_IN_RANGE of draft 14.
	// Later drafts have FetchUnknown.
	RequestUnknownStatusInRange RequestCode = foreign | 2<<32
)

// String returns the draft's name of the code.
func (c RequestCode) String() string {
	switch c {
	case RequestInternalError:
		return "INTERNAL_ERROR"
	case RequestUnauthorized:
		return "UNAUTHORIZED"
	case RequestTimeout:
		return "TIMEOUT"
	case RequestNotSupported:
		return "NOT_SUPPORTED"
	case RequestMalformedAuthToken:
		return "MALFORMED_AUTH_TOKEN"
	case RequestExpiredAuthToken:
		return "EXPIRED_AUTH_TOKEN"
	case RequestGoingAway:
		return "GOING_AWAY"
	case RequestExcessiveLoad:
		return "EXCESSIVE_LOAD"
	case RequestDoesNotExist:
		return "DOES_NOT_EXIST"
	case RequestInvalidRange:
		return "INVALID_RANGE"
	case RequestMalformedTrack:
		return "MALFORMED_TRACK"
	case RequestDuplicateSubscription:
		return "DUPLICATE_SUBSCRIPTION"
	case RequestUninterested:
		return "UNINTERESTED"
	case RequestPrefixOverlap:
		return "PREFIX_OVERLAP"
	case RequestNamespaceTooLarge:
		return "NAMESPACE_TOO_LARGE"
	case RequestInvalidJoiningRequestID:
		return "INVALID_JOINING_REQUEST_ID"
	case RequestUnsupportedExtension:
		return "UNSUPPORTED_EXTENSION"
	case RequestRedirect:
		return "REDIRECT"
	case RequestConflictingFilters:
		return "CONFLICTING_FILTERS"
	case RequestInvalidFilter:
		return "INVALID_FILTER"
	case RequestNoObjects:
		return "NO_OBJECTS"
	case RequestUnknownStatusInRange:
		return "UNKNOWN_STATUS_IN_RANGE"
	}
	return fmt.Sprintf("RequestCode(%#x)", uint64(c))
}

// PublishDoneCode says why a publisher ended a subscription: the Status Code
// of PUBLISH_DONE (draft-ietf-moq-transport-18, section "PUBLISH_DONE
// Codes"). An unknown code is to be treated as DoneInternalError.
type PublishDoneCode uint64

// The PUBLISH_DONE codes. The values are the numbers of draft 18; those of
// earlier drafts are translated.
const (
	DoneInternalError     PublishDoneCode = 0x0
	DoneUnauthorized      PublishDoneCode = 0x1
	DoneTrackEnded        PublishDoneCode = 0x2
	DoneSubscriptionEnded PublishDoneCode = 0x3
	DoneGoingAway         PublishDoneCode = 0x4
	DoneTooFarBehind      PublishDoneCode = 0x5
	DoneExpired           PublishDoneCode = 0x6
	DoneUpdateFailed      PublishDoneCode = 0x8
	DoneExcessiveLoad     PublishDoneCode = 0x9
	DoneMalformedTrack    PublishDoneCode = 0x12
)

// String returns the draft's name of the code.
func (c PublishDoneCode) String() string {
	switch c {
	case DoneInternalError:
		return "INTERNAL_ERROR"
	case DoneUnauthorized:
		return "UNAUTHORIZED"
	case DoneTrackEnded:
		return "TRACK_ENDED"
	case DoneSubscriptionEnded:
		return "SUBSCRIPTION_ENDED"
	case DoneGoingAway:
		return "GOING_AWAY"
	case DoneTooFarBehind:
		return "TOO_FAR_BEHIND"
	case DoneExpired:
		return "EXPIRED"
	case DoneUpdateFailed:
		return "UPDATE_FAILED"
	case DoneExcessiveLoad:
		return "EXCESSIVE_LOAD"
	case DoneMalformedTrack:
		return "MALFORMED_TRACK"
	}
	return fmt.Sprintf("PublishDoneCode(%#x)", uint64(c))
}

// ResetCode is the application error code of RESET_STREAM and STOP_SENDING
// (draft-ietf-moq-transport-18, section "Stream Reset Error Codes"). An
// unknown code is to be treated as ResetInternalError.
type ResetCode uint64

// The stream reset codes. The values are the numbers of draft 18; see
// Draft.ResetNumber.
const (
	ResetInternalError       ResetCode = 0x0
	ResetCancelled           ResetCode = 0x1
	ResetDeliveryTimeout     ResetCode = 0x2
	ResetSessionClosed       ResetCode = 0x3
	ResetGoingAway           ResetCode = 0x4
	ResetTooFarBehind        ResetCode = 0x5
	ResetUnknownObjectStatus ResetCode = 0x6
	ResetExpiredAuthToken    ResetCode = 0x7
	ResetExcessiveLoad       ResetCode = 0x9
	ResetMalformedTrack      ResetCode = 0x12
)

// String returns the draft's name of the code.
func (c ResetCode) String() string {
	switch c {
	case ResetInternalError:
		return "INTERNAL_ERROR"
	case ResetCancelled:
		return "CANCELLED"
	case ResetDeliveryTimeout:
		return "DELIVERY_TIMEOUT"
	case ResetSessionClosed:
		return "SESSION_CLOSED"
	case ResetGoingAway:
		return "GOING_AWAY"
	case ResetTooFarBehind:
		return "TOO_FAR_BEHIND"
	case ResetUnknownObjectStatus:
		return "UNKNOWN_OBJECT_STATUS"
	case ResetExpiredAuthToken:
		return "EXPIRED_AUTH_TOKEN"
	case ResetExcessiveLoad:
		return "EXCESSIVE_LOAD"
	case ResetMalformedTrack:
		return "MALFORMED_TRACK"
	}
	return fmt.Sprintf("ResetCode(%#x)", uint64(c))
}
