// Package ingest decides who may publish a room's broadcast and hands the
// publisher the writer for it.
//
// The protocols live below: ingest/whip (WebRTC) and ingest/rtsp receive,
// ingest/rtpmedia turns their RTP packets into Frames and back, ingest/source
// makes Frames from files for the clients. What all of them share is here:
// Admission (may this key publish?), Registry (is the room free, or may its
// publisher be replaced?) and Drops (what was thrown away, by reason).
package ingest

import (
	"context"
	"errors"

	"github.com/freshet-live/freshet/media"
)

// Errors that Admission and Opener return. Protocols answer them with a
// status of their own: 401, 404 and 409 in HTTP and RTSP alike (RFC 2326,
// section 11, lets RTSP reuse HTTP status codes where they apply).
var (
	// ErrUnauthorized means that the stream key is missing or wrong.
	ErrUnauthorized = errors.New("ingest: stream key missing or wrong")
	// ErrNotFound means that there is no such room.
	ErrNotFound = errors.New("ingest: no such room")
	// ErrRoomTaken means that somebody else publishes in the room.
	ErrRoomTaken = errors.New("ingest: the room has a publisher")
	// ErrTakenOver ends a broadcast whose place a newer publisher took.
	ErrTakenOver = errors.New("ingest: taken over by a newer publisher")
	// ErrPublisherGone ends a broadcast whose publisher fell silent or lost
	// its connection.
	ErrPublisherGone = errors.New("ingest: the publisher is gone")
	// ErrClosed is returned by a broadcast that has been closed.
	ErrClosed = errors.New("ingest: the broadcast is closed")
)

// Protocol names, as they appear in AdmissionRequest, logs and metrics.
const (
	WHIP = "whip"
	RTSP = "rtsp"
)

// AdmissionRequest is what is known about a publisher before it may send.
type AdmissionRequest struct {
	Room   string // valid by ValidName
	Member string // a co-host's name, valid by ValidName; empty for the room's own broadcast
	// Key is the stream key as presented, empty when there was none. It is a
	// secret: never log it.
	Key        string
	Protocol   string // WHIP, RTSP, …
	Takeover   bool   // the publisher asked to replace a predecessor
	RemoteAddr string // host:port of the publisher
}

// AdmissionDecision says how an admitted publisher is known.
type AdmissionDecision struct {
	// KeyID names the key without giving it away; it appears in logs.
	KeyID string
}

// Admission decides whether a publisher may send. Refusals are
// ErrUnauthorized and ErrNotFound; any other error means that the question
// could not be answered (503).
type Admission interface {
	Admit(ctx context.Context, req AdmissionRequest) (AdmissionDecision, error)
}

// AdmissionFunc makes an Admission of a function.
type AdmissionFunc func(ctx context.Context, req AdmissionRequest) (AdmissionDecision, error)

// Admit calls f.
func (f AdmissionFunc) Admit(ctx context.Context, req AdmissionRequest) (AdmissionDecision, error) {
	return f(ctx, req)
}

// Broadcast is a publisher's hold on its room.
type Broadcast interface {
	media.BroadcastWriter
	// Done is closed when the hold is over: after Close, or when a newer
	// publisher took over. The protocol then ends its session.
	Done() <-chan struct{}
	// Err tells why, once Done is closed: nil after Close(nil).
	Err() error
}

// Opener gives an admitted publisher its place. It fails with ErrRoomTaken
// when the place is held and the holder may not be replaced.
type Opener interface {
	Open(ctx context.Context, room, member, protocol string, takeover bool) (Broadcast, error)
}

// ValidName tells whether s can name a room or a member:
// [a-z0-9][a-z0-9_-]{0,62}.
func ValidName(s string) bool {
	if len(s) == 0 || len(s) > 63 || s[0] == '_' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}
