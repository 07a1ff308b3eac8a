package wire

// MaxRequestID is MAX_REQUEST_ID, on the control stream of drafts up to 16: it
// raises the limit that Setup.MaxRequestID began with
// (draft-ietf-moq-transport-16, section "MAX_REQUEST_ID"). A receiver closes
// the session with PROTOCOL_VIOLATION when the limit does not grow, and with
// TOO_MANY_REQUESTS over a request whose ID reaches it.
type MaxRequestID struct {
	// Limit is one more than the largest Request ID that the receiver of the
	// message may use.
	Limit uint64
}

// Type returns TypeMaxRequestID.
func (*MaxRequestID) Type() MessageType { return TypeMaxRequestID }

// RequestsBlocked is REQUESTS_BLOCKED, on the control stream of drafts up to
// 16: the sender would make another request if it might
// (draft-ietf-moq-transport-16, section "REQUESTS_BLOCKED").
type RequestsBlocked struct {
	Limit uint64 // the MaxRequestID at which the sender is blocked
}

// Type returns TypeRequestsBlocked.
func (*RequestsBlocked) Type() MessageType { return TypeRequestsBlocked }
