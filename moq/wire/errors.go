package wire

import (
	"errors"
	"fmt"
	"io"
)

// ErrShort is returned by parsers when the bytes end before the value does:
// read more and parse again from the start. It wraps io.ErrUnexpectedEOF, so
// it can also be reported as it is when no more bytes will come.
var ErrShort = fmt.Errorf("wire: more bytes are needed: %w", io.ErrUnexpectedEOF)

// ErrInvalid is wrapped by the errors of Append functions for values that
// cannot be encoded. Nothing was received from the peer.
var ErrInvalid = errors.New("wire: value cannot be encoded")

// ErrDraft is returned by the methods of a Draft that this package does not
// implement.
var ErrDraft = errors.New("wire: unknown draft")

// Error is a breach of the protocol by the peer. The draft wants the session
// closed with Code.
type Error struct {
	Code   SessionCode
	Reason string // for logs and for the CONNECTION_CLOSE reason; never holds tokens
}

// Error returns the code and the reason.
func (e *Error) Error() string { return "wire: " + e.Code.String() + ": " + e.Reason }

func violation(format string, args ...any) error {
	return &Error{Code: ProtocolViolation, Reason: fmt.Sprintf(format, args...)}
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}
