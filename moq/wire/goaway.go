package wire

// MaxURILength is the largest New Session URI in bytes
// (draft-ietf-moq-transport-18, section "GOAWAY").
const MaxURILength = 8192

// GoAway is GOAWAY: the sender will soon close the session (on the control
// stream) or the request (on a request stream)
// (draft-ietf-moq-transport-18, section "GOAWAY").
type GoAway struct {
	// URI is where a client goes on; empty means the present URI. Always
	// empty from a client; a server that receives another closes the session
	// with PROTOCOL_VIOLATION.
	URI string
	// Timeout is how long the sender will wait; 0 when it does not say. Drafts
	// up to 16 cannot say it, and there it is not sent.
	Timeout Milliseconds
	// RequestID is the smallest Request ID of the peer that might not have
	// been processed. Draft 18 has it on the control stream and only there;
	// other drafts not at all, and there it is not sent.
	RequestID *uint64
}

// Type returns TypeGoAway.
func (*GoAway) Type() MessageType { return TypeGoAway }
