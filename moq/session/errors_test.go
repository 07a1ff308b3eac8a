package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// Tokens do not get into logs.
func TestLogsHideTokens(t *testing.T) {
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, nil))
	log.Info("x", "peer", PeerSetup{Path: "/p", Token: "secret", Query: map[string][]string{"jwt": {"secret"}}})
	if s := b.String(); strings.Contains(s, "secret") || !strings.Contains(s, "/p") {
		t.Errorf("logged %q", s)
	}
}

func TestErrorTexts(t *testing.T) {
	for err, want := range map[error]string{
		&LocalError{Code: wire.ProtocolViolation, Reason: "why"}: "session: closed with PROTOCOL_VIOLATION: why",
		&LocalError{}:                                "session: closed with NO_ERROR",
		&PeerError{Code: 2, Reason: "a\nb"}:          `session: closed by the peer with UNAUTHORIZED: "a\nb"`,
		&RequestError{Code: wire.RequestTimeout}:     "session: request refused with TIMEOUT",
		&PublishDoneError{Code: wire.DoneTrackEnded}: "session: publisher is done with TRACK_ENDED",
		errStop{wire.ResetExcessiveLoad}:             "session: data stream stopped with EXCESSIVE_LOAD",
		ended(transport.ErrIdleTimeout):              "session: connection lost: " + transport.ErrIdleTimeout.Error(),
	} {
		if got := err.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for _, tc := range []struct {
		err   error
		code  wire.RequestCode
		retry bool
	}{
		{errors.New("internal detail"), wire.RequestInternalError, false},
		{context.DeadlineExceeded, wire.RequestTimeout, false},
		{fmt.Errorf("wrapped: %w", &RequestError{Code: wire.RequestUnauthorized}), wire.RequestUnauthorized, false},
		{&RequestError{Code: wire.RequestExcessiveLoad, RetryAfter: time.Second}, wire.RequestExcessiveLoad, true},
		{&RequestError{Code: wire.RequestRedirect}, wire.RequestDoesNotExist, false},
	} {
		m := refusal(tc.err)
		if m.Code != tc.code || (m.RetryAfter != nil) != tc.retry || m.Reason != "" {
			t.Errorf("%v is told as %+v", tc.err, m)
		}
	}
	for err, want := range map[error]wire.PublishDoneCode{
		&wire.MalformedTrackError{}:               wire.DoneMalformedTrack,
		moq.ErrTooFarBehind:                       wire.DoneTooFarBehind,
		io.ErrUnexpectedEOF:                       wire.DoneInternalError,
		&PublishDoneError{Code: wire.DoneExpired}: wire.DoneExpired,
	} {
		if got := doneCode(err); got != want {
			t.Errorf("%v is told as %v, want %v", err, got, want)
		}
	}
}
