package hls

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Viewer is what is known of somebody who may watch a room.
type Viewer struct {
	// ID names the credential, for Server.Revoke. It is empty for those who
	// need none: the room is open to everybody.
	ID string
	// Expires is when the credential ends; zero: never.
	Expires time.Time
}

// DefaultKeyPeriod is how long media is made under one key.
const DefaultKeyPeriod = 2 * time.Minute

const (
	// openFor is how long a room that everybody may watch is believed to be
	// one.
	openFor = 2 * time.Second
	// What a gate remembers is bounded: rooms that were found open, and
	// viewers that were revoked in a room. Where more are revoked, all passes
	// of the room are, and its viewers have to ask anew.
	maxOpen    = 4096
	maxRevoked = 4096
)

// errRevoked is the cause of the end of a request whose viewer was revoked.
var errRevoked = errors.New("the viewer was revoked")

// gate decides who may read playlists, and under which key media lies.
type gate struct {
	authorize func(r *http.Request, room string) (Viewer, error)
	secret    []byte // what is hashed with it says what for
	period    time.Duration

	mu    sync.Mutex
	open  map[string]time.Time // until when a room is believed to be open
	rooms map[string]*admitted
}

// admitted is what a gate keeps of a room that was muxed or revoked in.
type admitted struct {
	revoked map[viewerID]time.Time // when
	before  time.Time              // passes issued by then are void
	waiting map[*waiter]struct{}   // requests that block

	epoch  int64 // of the last revocation, in Unix nanoseconds; part of the key
	period int64 // of key
	key    string
}

// waiter is a blocking request that a revocation ends.
type waiter struct {
	pass *pass // nil: it needed none
	end  context.CancelCauseFunc
}

func newGate(authorize func(*http.Request, string) (Viewer, error), secret []byte, period time.Duration) *gate {
	return &gate{
		authorize: authorize, secret: secret, period: period,
		open: make(map[string]time.Time), rooms: make(map[string]*admitted),
	}
}

func (g *gate) roomLocked(name string) *admitted {
	a := g.rooms[name]
	if a == nil {
		a = &admitted{revoked: make(map[viewerID]time.Time), waiting: make(map[*waiter]struct{})}
		g.rooms[name] = a
	}
	return a
}

// forget lets go of a room that is muxed no longer, unless there is something
// to remember.
func (g *gate) forget(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if a := g.rooms[name]; a != nil && len(a.waiting) == 0 && a.epoch == 0 {
		delete(g.rooms, name)
	}
}

// mediaKey returns the key under which media of a room is made now: 96 bits
// that tell nothing of the key before or after. The same secret gives the
// same keys, at another edge and after a restart.
func (g *gate) mediaKey(room string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.roomLocked(room)
	if n := time.Now().UnixNano() / int64(g.period); a.key == "" || n != a.period {
		a.period = n
		h := hmac.New(sha256.New, g.secret)
		h.Write([]byte("media\x00" + room + "\x00"))
		_ = binary.Write(h, binary.BigEndian, [2]int64{n, a.epoch}) // a hash does not fail
		a.key = base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
	}
	return a.key
}

// credential tells whether a request brings one of its own.
func credential(r *http.Request) bool {
	return r.Header.Get("Authorization") != "" || strings.Contains(r.URL.RawQuery, "jwt=")
}

// isOpen tells whether everybody may watch a room.
func (g *gate) isOpen(r *http.Request, room string) bool {
	if g.authorize == nil {
		return true
	}
	now := time.Now()
	g.mu.Lock()
	until := g.open[room]
	g.mu.Unlock()
	if now.Before(until) {
		return true
	}
	bare := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: r.URL.Path}, Host: r.Host, Header: http.Header{}, RemoteAddr: r.RemoteAddr}
	if v, err := g.authorize(bare.WithContext(r.Context()), room); err != nil || v.ID != "" {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.open) >= maxOpen {
		clear(g.open)
	}
	g.open[room] = now.Add(openFor)
	return true
}

// errNotAllowed is all that a viewer learns who is refused.
var errNotAllowed = errors.New("not allowed to watch this room")

// enter decides about a request for the multivariant playlist. It returns the
// pass for its media playlists; nil where none is needed.
func (g *gate) enter(r *http.Request, room string) (*pass, error) {
	if !credential(r) {
		if g.isOpen(r, room) {
			return nil, nil
		}
		return nil, errNotAllowed
	}
	if g.authorize == nil {
		return nil, nil
	}
	v, err := g.authorize(r, room)
	switch {
	case err != nil:
		return nil, errNotAllowed
	case v.ID == "" || g.isOpen(r, room):
		return nil, nil
	}
	now := time.Now()
	p := &pass{issued: now, expires: now.Add(passLife), viewer: viewerOf(v.ID)}
	if !v.Expires.IsZero() && v.Expires.Before(p.expires) {
		p.expires = v.Expires
	}
	if !g.valid(room, p) || !now.Before(p.expires) {
		return nil, errNotAllowed
	}
	p.text = p.sign(g.secret, room)
	return p, nil
}

// read decides about a request for a media playlist under the given pass. It
// returns the pass that lets it in; nil where none is needed.
func (g *gate) read(r *http.Request, room, s string) (*pass, error) {
	if s == openPass {
		return g.enter(r, room)
	}
	p, err := openPassOf(g.secret, room, s, time.Now())
	if err != nil || !g.valid(room, &p) {
		return nil, errNotAllowed
	}
	p.text = s
	return &p, nil
}

// valid tells whether a pass was not revoked.
func (g *gate) valid(room string, p *pass) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.rooms[room]
	return a == nil || a.validLocked(p)
}

func (a *admitted) validLocked(p *pass) bool {
	_, revoked := a.revoked[p.viewer]
	return !revoked && p.issued.After(a.before)
}

// wait lets a revocation end a blocking request. The caller calls done.
func (g *gate) wait(r *http.Request, room string, p *pass) (_ *http.Request, done func()) {
	ctx, end := context.WithCancelCause(r.Context())
	w := &waiter{pass: p, end: end}
	g.mu.Lock()
	a := g.roomLocked(room)
	a.waiting[w] = struct{}{}
	if p != nil && !a.validLocked(p) {
		end(errRevoked) // between the decision and now
	}
	g.mu.Unlock()
	return r.WithContext(ctx), func() {
		g.mu.Lock()
		delete(a.waiting, w)
		g.mu.Unlock()
		end(nil)
	}
}

// revoke voids the passes of a viewer, or of all with an empty id.
func (g *gate) revoke(room, id string) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	a := g.roomLocked(room)
	a.epoch, a.key = now.UnixNano(), ""
	delete(g.open, room)
	for v, at := range a.revoked {
		if now.Sub(at) > passLife {
			delete(a.revoked, v)
		}
	}
	if id == "" || len(a.revoked) >= maxRevoked {
		clear(a.revoked)
		a.before = now
	}
	if id != "" {
		a.revoked[viewerOf(id)] = now
	}
	for w := range a.waiting {
		if w.pass == nil && id == "" || w.pass != nil && !a.validLocked(w.pass) {
			w.end(errRevoked)
		}
	}
}
