package moq

import (
	"context"
	"fmt"
	"io"
	"time"
)

// ObjectStatus tells what an Object without payload means.
type ObjectStatus uint8

// The statuses and their code points (draft-ietf-moq-transport-18, section
// "Object Status").
const (
	StatusNormal     ObjectStatus = 0x0
	StatusEndOfGroup ObjectStatus = 0x3
	StatusEndOfTrack ObjectStatus = 0x4
)

// String returns the draft's name.
func (s ObjectStatus) String() string {
	switch s {
	case StatusNormal:
		return "Normal"
	case StatusEndOfGroup:
		return "End of Group"
	case StatusEndOfTrack:
		return "End of Track"
	}
	return fmt.Sprintf("ObjectStatus(%#x)", uint8(s))
}

const (
	// eagerAllocation is the largest announced payload that is allocated at
	// once; beyond it the buffer grows with what really arrives, so that a
	// peer cannot reserve memory with a header alone.
	eagerAllocation = 256 << 10
	// objectOverhead is what an Object costs beside its payload and
	// properties, counted against Retention.Bytes so that a flood of empty
	// Objects is bounded too.
	objectOverhead = 256
	// headerRoom is kept free in front of a payload for an encoded header:
	// Object ID delta, payload length and the length of the properties take
	// at most 9 bytes each in any draft.
	headerRoom = 32
	// maxHeaderRoom bounds the room for a header with large properties.
	maxHeaderRoom = 4096
)

// Object is one addressable unit of a Track. Its exported fields and the
// bytes it returns are immutable. It can be read while it is still being
// written.
type Object struct {
	ID         uint64
	Status     ObjectStatus
	Properties Properties
	// Size is the length of the whole payload in bytes.
	Size uint64

	group *group
	owner *subgroup
	begun time.Time

	// guarded by group.mu
	buf      []byte // header room, then payload
	head     int    // length of the header room
	frameKey uint64 // which encoding the header room holds; 0 when none
	frameLen int    // length of the encoded header
}

func newObject(o *subgroup, id uint64, status ObjectStatus, props Properties, size uint64) *Object {
	room := min(headerRoom+props.size(), maxHeaderRoom)
	return &Object{
		ID: id, Status: status, Properties: props, Size: size,
		group: o.group, owner: o, begun: time.Now(),
		buf: make([]byte, room, room+int(min(size, eagerAllocation))), head: room,
	}
}

// Begun is when the Object was begun here: received from the upstream, or
// provided by the application. The age of an Object for
// OBJECT_DELIVERY_TIMEOUT counts from then
// (draft-ietf-moq-transport-18, section "Delivery Timeouts and Data
// Reliability").
func (o *Object) Begun() time.Time { return o.begun }

// Payload returns the payload bytes written so far, without a copy.
func (o *Object) Payload() []byte {
	o.group.mu.Lock()
	defer o.group.mu.Unlock()
	return o.payloadLocked()
}

func (o *Object) payloadLocked() []byte { return o.buf[o.head:len(o.buf):len(o.buf)] }

func (o *Object) completeLocked() bool { return uint64(len(o.buf)-o.head) == o.Size }

// Complete reports whether the whole payload has been written.
func (o *Object) Complete() bool {
	o.group.mu.Lock()
	defer o.group.mu.Unlock()
	return o.completeLocked()
}

// More waits until the payload is longer than have bytes and returns the
// bytes after have. It returns io.EOF when the payload is complete and no
// longer than have. When the rest will not come it returns *ResetError or
// ErrTooFarBehind.
func (o *Object) More(ctx context.Context, have int) ([]byte, error) {
	g := o.group
	for {
		g.mu.Lock()
		if p := o.payloadLocked(); len(p) > have {
			g.mu.Unlock()
			return p[have:], nil
		}
		if o.completeLocked() {
			g.mu.Unlock()
			return nil, io.EOF
		}
		if o.owner.err != nil {
			err := o.owner.err
			g.mu.Unlock()
			return nil, err
		}
		changed := g.changed.waitLocked()
		g.mu.Unlock()
		if err := await(ctx, changed); err != nil {
			return nil, err
		}
	}
}

// ReadAll waits for the whole payload and returns it without a copy.
func (o *Object) ReadAll(ctx context.Context) ([]byte, error) {
	for have := 0; ; {
		p, err := o.More(ctx, have)
		if err == io.EOF {
			return o.Payload(), nil
		}
		if err != nil {
			return nil, err
		}
		have += len(p)
	}
}

// Framed returns the payload so far with its encoded header in front, in one
// slice, when the header was kept by Frame under the same key. headerLen is
// the length of the header. The bytes are shared by all readers.
//
// It lets every viewer of a relay send the same bytes: the header of an
// Object is the same for all viewers that speak one family of drafts.
func (o *Object) Framed(key uint64) (b []byte, headerLen int, ok bool) {
	o.group.mu.Lock()
	defer o.group.mu.Unlock()
	if o.frameKey != key || key == 0 {
		return nil, 0, false
	}
	return o.buf[o.head-o.frameLen : len(o.buf) : len(o.buf)], o.frameLen, true
}

// Frame offers an encoded header to be kept in front of the payload under a
// key that is not 0. The first header wins; Frame reports whether the room
// now holds the header of this key.
func (o *Object) Frame(key uint64, header []byte) bool {
	o.group.mu.Lock()
	defer o.group.mu.Unlock()
	if o.frameKey == 0 && key != 0 && len(header) <= o.head {
		// Readers only ever see the bytes behind head or, once frameKey is
		// set, these; so writing here races with nobody.
		copy(o.buf[o.head-len(header):o.head], header)
		o.frameKey, o.frameLen = key, len(header)
	}
	return o.frameKey == key && key != 0
}
