package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// ErrGoingAway is returned for new requests after the peer's GOAWAY: they
// belong on a new session (draft-ietf-moq-transport-18, section "GOAWAY").
var ErrGoingAway = errors.New("session: the peer is going away")

// ErrCancelled is the end of a request that one end gave up without a
// message: its stream was reset or stopped.
var ErrCancelled = errors.New("session: request was cancelled")

// LocalError is the end of a session that this end closed. A Handler returns
// one from Setup to choose the code.
type LocalError struct {
	Code   wire.SessionCode
	Reason string // sent to the peer; must not hold secrets
}

// Error returns the code and the reason.
func (e *LocalError) Error() string {
	return "session: closed with " + e.Code.String() + reason(e.Reason)
}

// PeerError is the end of a session that the peer closed.
type PeerError struct {
	Code   wire.SessionCode
	Reason string // whatever the peer wrote
}

// Error returns the code and the reason.
func (e *PeerError) Error() string {
	return "session: closed by the peer with " + e.Code.String() + quoted(e.Reason)
}

// RequestError is the refusal of a request. A Handler returns one to choose
// the code; what it returns otherwise is sent as INTERNAL_ERROR without text.
type RequestError struct {
	Code   wire.RequestCode
	Reason string // sent to the peer; must not hold secrets
	// RetryAfter is how long to wait before the same request is worth sending
	// again. 0 means that it is not, except where Retry is set.
	RetryAfter time.Duration
	// Retry tells that the same request may be sent again, after RetryAfter.
	Retry bool
	// Redirect is where to ask instead. It is set by the peer only, with the
	// code wire.RequestRedirect.
	Redirect *wire.Redirect
}

// Error returns the code and the reason.
func (e *RequestError) Error() string {
	return "session: request refused with " + e.Code.String() + quoted(e.Reason)
}

// PublishDoneError is the end of a subscription by its publisher. A Track
// that ends with one passes its code on to its own subscribers.
type PublishDoneError struct {
	Code   wire.PublishDoneCode
	Reason string
}

// Error returns the code and the reason.
func (e *PublishDoneError) Error() string {
	return "session: publisher is done with " + e.Code.String() + quoted(e.Reason)
}

func reason(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

// quoted is reason for text of the peer, which may hold anything.
func quoted(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf(": %q", s)
}

// violation is a breach of the protocol by the peer.
func violation(format string, args ...any) error {
	return &LocalError{Code: wire.ProtocolViolation, Reason: fmt.Sprintf(format, args...)}
}

// ended turns the end of a connection into the error of its session.
func ended(err error) error {
	var closed *transport.CloseError
	if !errors.As(err, &closed) {
		return fmt.Errorf("session: connection lost: %w", err)
	}
	if closed.Remote {
		return &PeerError{Code: wire.SessionCode(closed.Code), Reason: closed.Reason}
	}
	return &LocalError{Code: wire.SessionCode(closed.Code), Reason: closed.Reason}
}

// refusal turns what a Handler returned into the message for the peer.
func refusal(err error) *wire.RequestError {
	var re *RequestError
	if !errors.As(err, &re) {
		code := wire.RequestInternalError
		if errors.Is(err, context.DeadlineExceeded) {
			code = wire.RequestTimeout
		}
		return &wire.RequestError{Code: code}
	}
	m := &wire.RequestError{Code: re.Code, Reason: re.Reason}
	if len(m.Reason) > wire.MaxReasonLength {
		m.Reason = m.Reason[:wire.MaxReasonLength]
	}
	if m.Code == wire.RequestRedirect {
		// Not sent: see the package documentation.
		m.Code = wire.RequestDoesNotExist
	}
	if re.RetryAfter > 0 || re.Retry {
		after := wire.MillisecondsOf(re.RetryAfter)
		m.RetryAfter = &after
	}
	return m
}

// refused turns the peer's message into an error.
func refused(m *wire.RequestError) *RequestError {
	e := &RequestError{Code: m.Code, Reason: m.Reason, Redirect: m.Redirect}
	if m.RetryAfter != nil {
		e.Retry, e.RetryAfter = true, m.RetryAfter.Duration()
	}
	return e
}

// doneCode returns what PUBLISH_DONE says of a Track that ended with err.
func doneCode(err error) wire.PublishDoneCode {
	var done *PublishDoneError
	var malformed *wire.MalformedTrackError
	switch {
	case errors.As(err, &done):
		return done.Code
	case errors.As(err, &malformed):
		return wire.DoneMalformedTrack
	case errors.Is(err, moq.ErrTooFarBehind):
		return wire.DoneTooFarBehind
	}
	return wire.DoneInternalError
}

// resetCode returns the code for a data stream whose Subgroup ended with err.
func resetCode(err error) wire.ResetCode {
	var reset *moq.ResetError
	switch {
	case errors.As(err, &reset):
		return wire.ResetCode(reset.Code)
	case errors.Is(err, moq.ErrTooFarBehind):
		return wire.ResetTooFarBehind
	case errors.Is(err, errTooLate):
		return wire.ResetDeliveryTimeout
	}
	return wire.ResetCancelled
}

// errTooLate ends a data stream that is later than its delivery timeout.
var errTooLate = errors.New("session: delivery timeout")

// errUpdated ends one wait of a sender whose subscription was changed.
var errUpdated = errors.New("session: subscription was updated")
