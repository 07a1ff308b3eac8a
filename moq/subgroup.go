package moq

import (
	"context"
	"fmt"
	"io"
	"time"
)

const (
	// wakeBytes and wakeDelay bound how long bytes of an unfinished Object
	// stay unnoticed. Waking every reader for every packet of a frame would
	// cost each viewer a flush of its own, which is most of what a viewer
	// costs; a relay hop stays well under the 2 ms that a viewer can notice.
	wakeBytes = 16 << 10
	wakeDelay = time.Millisecond
)

// SubgroupWriter appends Objects to one Subgroup. It is not safe for
// concurrent use.
type SubgroupWriter struct {
	s   *subgroup
	cur *Object // begun and incomplete
}

// Last returns the ID of the last Object begun, by this or by an earlier
// writer.
func (w *SubgroupWriter) Last() (id uint64, ok bool) {
	w.s.group.mu.Lock()
	defer w.s.group.mu.Unlock()
	if n := len(w.s.objects); n > 0 {
		return w.s.objects[n-1].ID, true
	}
	return 0, false
}

// WriteObject appends a whole Object with status Normal. The payload is
// copied.
func (w *SubgroupWriter) WriteObject(id uint64, props Properties, payload []byte) error {
	if err := w.begin(id, StatusNormal, props, uint64(len(payload)), payload); err != nil {
		return err
	}
	return nil
}

// BeginObject appends an Object of size payload bytes, which Write adds.
// Readers see it at once. IDs must increase within a Subgroup.
func (w *SubgroupWriter) BeginObject(id uint64, status ObjectStatus, props Properties, size uint64) error {
	return w.begin(id, status, props, size, nil)
}

func (w *SubgroupWriter) begin(id uint64, status ObjectStatus, props Properties, size uint64, payload []byte) error {
	s := w.s
	g, t := s.group, s.group.track
	if w.cur != nil {
		return fmt.Errorf("%w: object %d is not complete", ErrObjectSize, w.cur.ID)
	}
	if size > uint64(t.cfg.MaxObjectSize) {
		return fmt.Errorf("%w: %d bytes announced, at most %d are allowed", ErrObjectSize, size, t.cfg.MaxObjectSize)
	}
	o := newObject(s, id, status, props, size)
	o.buf = append(o.buf, payload...)

	t.mu.Lock()
	defer func() { t.unlockAndEvict() }()
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := s.writableLocked(); err != nil {
		return err
	}
	if n := len(s.objects); n > 0 && id <= s.objects[n-1].ID {
		return fmt.Errorf("%w: object %d after %d", ErrObjectOrder, id, s.objects[n-1].ID)
	}
	if g.ended && id > g.end {
		return fmt.Errorf("%w: object %d after the end of the group at %d", ErrObjectOrder, id, g.end)
	}
	switch status {
	case StatusEndOfGroup, StatusEndOfTrack:
		g.ended, g.end = true, id
	}
	s.objects = append(s.objects, o)
	cost := int64(size) + int64(props.size()) + objectOverhead
	g.bytes += cost
	t.bytes += cost
	if l := (Location{g.id, id}); !t.begun || t.largest.Less(l) {
		t.largest, t.begun = l, true
	}
	if o.completeLocked() {
		s.wakeLocked()
	} else {
		w.cur = o
		s.quietLocked(1) // a header is worth waking for, soon
	}
	return nil
}

// Write appends payload bytes to the Object begun last and returns
// ErrObjectSize when that makes it longer than announced.
func (w *SubgroupWriter) Write(p []byte) (int, error) {
	s := w.s
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if err := s.writableLocked(); err != nil {
		return 0, err
	}
	o := w.cur
	if o == nil || uint64(len(o.buf)-o.head+len(p)) > o.Size {
		return 0, fmt.Errorf("%w: more payload than announced", ErrObjectSize)
	}
	if len(o.buf)+len(p) > cap(o.buf) {
		grown := make([]byte, len(o.buf), min(2*cap(o.buf)+len(p), o.head+int(o.Size)))
		copy(grown, o.buf)
		o.buf = grown
	}
	o.buf = append(o.buf, p...)
	if o.completeLocked() {
		w.cur = nil
		s.wakeLocked()
	} else {
		s.quietLocked(len(p))
	}
	return len(p), nil
}

// Release leaves the Subgroup open for another writer, see
// GroupWriter.Subgroup. An incomplete Object makes it a Reset.
func (w *SubgroupWriter) Release() {
	if w.cur != nil {
		w.Reset(0)
		return
	}
	w.s.group.mu.Lock()
	defer w.s.group.mu.Unlock()
	w.s.owned = false
}

// Close tells that the Subgroup is complete. It fails, and resets the
// Subgroup, when the last Object is incomplete.
func (w *SubgroupWriter) Close() error {
	if w.cur != nil {
		w.Reset(0)
		return fmt.Errorf("%w: object %d is not complete", ErrObjectSize, w.cur.ID)
	}
	s, g := w.s, w.s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := s.writableLocked(); err != nil {
		return err
	}
	s.owned = false
	s.err = io.EOF
	if n := len(s.objects); s.cfg.EndOfGroup && n > 0 && !g.ended {
		g.ended, g.end = true, s.objects[n-1].ID
	}
	s.wakeLocked()
	return nil
}

// Reset gives up on the Subgroup with a stream reset code. Readers can still
// read the Objects that are complete. It does nothing after Close.
func (w *SubgroupWriter) Reset(code uint64) {
	w.s.reset(&ResetError{Code: code})
}

func (s *subgroup) reset(err error) {
	s.group.mu.Lock()
	if s.err != nil {
		s.group.mu.Unlock()
		return
	}
	s.owned = false
	s.err = err
	s.wakeLocked()
	s.group.mu.Unlock()
	s.abandon(err)
}

func (s *subgroup) writableLocked() error {
	switch {
	case s.group.evicted:
		return ErrEvicted
	case s.err != nil:
		return ErrEnded
	}
	return nil
}

// wakeLocked wakes readers for a finished Object or the end.
func (s *subgroup) wakeLocked() {
	s.stopTimerLocked()
	s.group.changed.notifyLocked()
}

// quietLocked accounts n bytes of an unfinished Object.
func (s *subgroup) quietLocked(n int) {
	if s.quiet += n; s.quiet >= wakeBytes {
		s.wakeLocked()
		return
	}
	if s.armed {
		return
	}
	s.armed = true
	if s.timer == nil {
		s.timer = time.AfterFunc(wakeDelay, func() {
			s.group.mu.Lock()
			defer s.group.mu.Unlock()
			if s.armed {
				s.wakeLocked()
			}
		})
		return
	}
	s.timer.Reset(wakeDelay)
}

func (s *subgroup) stopTimerLocked() {
	s.quiet = 0
	if s.armed {
		s.armed = false
		s.timer.Stop()
	}
}

// SubgroupReader reads the Objects of one Subgroup in order. It is not safe
// for concurrent use.
type SubgroupReader struct {
	s    *subgroup
	from uint64
	pos  int
}

// Group returns the Group ID.
func (r *SubgroupReader) Group() uint64 { return r.s.group.id }

// ID returns the Subgroup ID.
func (r *SubgroupReader) ID() uint64 { return r.s.id }

// Config returns what the publisher said of the Subgroup.
func (r *SubgroupReader) Config() SubgroupConfig {
	r.s.group.mu.Lock()
	defer r.s.group.mu.Unlock()
	return r.s.cfg
}

// Whole reports whether the next Object is the first one that the original
// publisher put into the Subgroup.
func (r *SubgroupReader) Whole() bool {
	r.s.group.mu.Lock()
	defer r.s.group.mu.Unlock()
	r.skipLocked()
	return r.pos == 0 && !r.s.cfg.Partial
}

// Abandoned is done when the rest of the Subgroup will not come: it was
// evicted or reset. The cause is ErrTooFarBehind or *ResetError. It lets a
// session unblock a write with context.AfterFunc.
func (r *SubgroupReader) Abandoned() context.Context { return r.s.abandoned }

func (r *SubgroupReader) skipLocked() {
	for r.pos < len(r.s.objects) && r.s.objects[r.pos].ID < r.from {
		r.pos++
	}
}

// Next waits for the next Object. It returns io.EOF when the Subgroup is
// complete, *ResetError when the publisher gave up on it and all that came
// before has been read, ErrTooFarBehind when it has been evicted.
func (r *SubgroupReader) Next(ctx context.Context) (*Object, error) {
	g := r.s.group
	for {
		g.mu.Lock()
		o, err := r.nextLocked()
		if o != nil || err != nil {
			g.mu.Unlock()
			return o, err
		}
		changed := g.changed.waitLocked()
		g.mu.Unlock()
		if err := await(ctx, changed); err != nil {
			return nil, err
		}
	}
}

// TryNext returns the next Object if it is there, else nil and nil. Its
// errors are those of Next. It lets a sender gather what is ready before it
// writes.
func (r *SubgroupReader) TryNext() (*Object, error) {
	r.s.group.mu.Lock()
	defer r.s.group.mu.Unlock()
	return r.nextLocked()
}

func (r *SubgroupReader) nextLocked() (*Object, error) {
	if r.skipLocked(); r.pos < len(r.s.objects) {
		r.pos++
		return r.s.objects[r.pos-1], nil
	}
	return nil, r.s.err
}
