package qmux

import "fmt"

// Code is a transport error code of QUIC (RFC 9000, section 20.1).
type Code uint64

// The codes that QMux has a use for.
const (
	NoError                 Code = 0x0
	InternalError           Code = 0x1
	FlowControlError        Code = 0x3
	StreamLimitError        Code = 0x4
	StreamStateError        Code = 0x5
	FinalSizeError          Code = 0x6
	FrameEncodingError      Code = 0x7
	TransportParameterError Code = 0x8
	ProtocolViolation       Code = 0xa
)

// String returns the name of the RFC.
func (c Code) String() string {
	switch c {
	case NoError:
		return "NO_ERROR"
	case InternalError:
		return "INTERNAL_ERROR"
	case FlowControlError:
		return "FLOW_CONTROL_ERROR"
	case StreamLimitError:
		return "STREAM_LIMIT_ERROR"
	case StreamStateError:
		return "STREAM_STATE_ERROR"
	case FinalSizeError:
		return "FINAL_SIZE_ERROR"
	case FrameEncodingError:
		return "FRAME_ENCODING_ERROR"
	case TransportParameterError:
		return "TRANSPORT_PARAMETER_ERROR"
	case ProtocolViolation:
		return "PROTOCOL_VIOLATION"
	}
	return fmt.Sprintf("transport error %#x", uint64(c))
}

// Error ends a connection: a CONNECTION_CLOSE frame of type 0x1c.
type Error struct {
	Code Code
	// Reason is meant for people.
	Reason string
	// Remote says that the peer found the fault, with us.
	Remote bool
}

// Error implements error.
func (e *Error) Error() string {
	who := "the peer broke QMux"
	if e.Remote {
		who = "the peer closed the connection"
	}
	return fmt.Sprintf("%s: %v: %q", who, e.Code, e.Reason)
}

func fault(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Reason: fmt.Sprintf(format, args...)}
}
