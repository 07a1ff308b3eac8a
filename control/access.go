package control

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"
)

// KeyDigest is the SHA-256 of a stream key. A key has 130 random bits, so a
// plain digest cannot be searched.
type KeyDigest [sha256.Size]byte

// DigestKey returns the digest of a stream key.
func DigestKey(key string) KeyDigest { return sha256.Sum256([]byte(key)) }

// NewStreamKey makes a stream key of 26 characters.
func NewStreamKey() string { return rand.Text() }

// Permission is what a member may do in a room, as Namespaces whose fields
// are joined with "/". A Namespace includes all that begin with its fields.
type Permission struct {
	Put, Get []string
	// Lifetime is how long it may be used before it must be asked for anew.
	Lifetime time.Duration
}

const (
	// viewerLifetime bounds how long a viewer that has lost the right to
	// watch keeps watching. Nothing takes that right away yet but closing the
	// room, and an ended session costs a viewer half a second of picture.
	viewerLifetime = 6 * time.Hour
	// streamerLifetime is longer than a viewer's since a broadcast that is
	// cut costs more; the key itself can be revoked.
	streamerLifetime = 12 * time.Hour
)

// Access decides who may publish and watch.
type Access struct{ store Store }

// NewAccess makes an Access over a Store.
func NewAccess(store Store) *Access { return &Access{store: store} }

// Admit decides whether the bearer of a stream key may publish to a room as
// a member; the empty member is the room's own broadcast. A room that does
// not exist and a wrong key are both ErrUnauthorized, so that rooms cannot be
// probed.
func (a *Access) Admit(ctx context.Context, room, member, key string) error {
	if !ValidName(room) || member != "" && !ValidName(member) {
		return fmt.Errorf("%w: no such room or wrong stream key", ErrUnauthorized)
	}
	keys, err := a.store.Keys(ctx, room)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("looking up the keys of room %s: %w", room, err)
	}
	digest := DigestKey(key)
	match := 0
	for _, k := range keys {
		match |= subtle.ConstantTimeCompare(k[:], digest[:])
	}
	if key == "" || match == 0 {
		return fmt.Errorf("%w: no such room or wrong stream key", ErrUnauthorized)
	}
	return nil
}

// Streamer returns what the bearer of a stream key may do in a room.
func (a *Access) Streamer(ctx context.Context, room, key string) (Permission, error) {
	if err := a.Admit(ctx, room, "", key); err != nil {
		return Permission{}, err
	}
	return Permission{
		Put: []string{"live/" + room}, Get: []string{"live/" + room, "room/" + room}, Lifetime: streamerLifetime,
	}, nil
}

// Viewer returns what somebody who is not known may do in a room. A room that
// is not open does not exist for him.
func (a *Access) Viewer(ctx context.Context, room string) (Permission, error) {
	r, err := a.store.Room(ctx, room)
	if err != nil {
		return Permission{}, err
	}
	if !r.Open {
		return Permission{}, fmt.Errorf("room %s: %w", room, ErrNotFound)
	}
	return Permission{Get: []string{"live/" + room, "room/" + room}, Lifetime: viewerLifetime}, nil
}

// Anonymous returns what a session without a token may do: watch the rooms
// that are open now.
func (a *Access) Anonymous(ctx context.Context) (Permission, error) {
	rooms, err := a.store.Rooms(ctx)
	if err != nil {
		return Permission{}, err
	}
	var p Permission
	for _, r := range rooms {
		if r.Open {
			p.Get = append(p.Get, "live/"+r.Name, "room/"+r.Name)
		}
	}
	return p, nil
}
