package control

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Errors of the rules. They are wrapped with what was being done.
var (
	// ErrNotFound tells that a room does not exist, or that the caller may
	// not know that it does.
	ErrNotFound = errors.New("not found")
	// ErrExists tells that a name is taken.
	ErrExists = errors.New("exists already")
	// ErrUnauthorized tells that a secret is missing or wrong.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrInvalid tells that an argument breaks a rule that its text names.
	ErrInvalid = errors.New("invalid")
)

var roomName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// ValidName reports whether s may name a room or a member: 1 to 63 of a-z,
// 0-9, "_" and "-", beginning with a letter or digit.
func ValidName(s string) bool { return roomName.MatchString(s) }

// Room is a place to broadcast to and to watch.
type Room struct {
	Name string
	// Title is for people; at most MaxTitle characters.
	Title string
	// Open tells that anybody may watch.
	Open    bool
	Created time.Time
}

// MaxTitle is the longest title of a room, in bytes.
const MaxTitle = 200

// Validate checks name and title.
func (r Room) Validate() error {
	if !ValidName(r.Name) {
		return fmt.Errorf("%w: room name %q: 1 to 63 of a-z, 0-9, _ and -, beginning with a letter or digit", ErrInvalid, r.Name)
	}
	if len(r.Title) > MaxTitle {
		return fmt.Errorf("%w: a title has at most %d bytes", ErrInvalid, MaxTitle)
	}
	return nil
}

// Store keeps rooms and the digests of their stream keys. Its methods return
// ErrNotFound and ErrExists.
type Store interface {
	Room(ctx context.Context, name string) (Room, error)
	Rooms(ctx context.Context) ([]Room, error)
	CreateRoom(ctx context.Context, room Room, key KeyDigest) error
	// ReplaceKeys makes key the only stream key of the room.
	ReplaceKeys(ctx context.Context, room string, key KeyDigest) error
	// Keys returns the digests of the room's stream keys.
	Keys(ctx context.Context, room string) ([]KeyDigest, error)
}
