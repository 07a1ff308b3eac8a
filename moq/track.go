package moq

import (
	"cmp"
	"context"
	"io"
	"slices"
	"sync"
	"time"
)

// Retention bounds what a Track keeps for readers that join or lag. The
// newest Group is kept whatever its age; the oldest ones go first. A zero
// field means its default.
type Retention struct {
	// Groups is the largest number of Groups; 32 by default.
	Groups int
	// Age is how long a Group stays after a newer one began; 10 s by
	// default. It is applied when something is written.
	Age time.Duration
	// Bytes bounds payload and properties of all Groups together, with a
	// fixed cost per Object; 64 MiB by default. A newest Group that exceeds
	// it alone is evicted too, and its writer gets ErrEvicted.
	Bytes int64
}

// TrackConfig is fixed for the life of a Track.
type TrackConfig struct {
	// Properties are the Track Properties.
	Properties Properties
	Retention  Retention
	// MaxObjectSize bounds one payload in bytes; 16 MiB by default, several
	// times the largest key frame of a 4K stream.
	MaxObjectSize int64
}

func (c TrackConfig) withDefaults() TrackConfig {
	c.Retention.Groups = cmp.Or(c.Retention.Groups, 32)
	c.Retention.Age = cmp.Or(c.Retention.Age, 10*time.Second)
	c.Retention.Bytes = cmp.Or(c.Retention.Bytes, 64<<20)
	c.MaxObjectSize = cmp.Or(c.MaxObjectSize, 16<<20)
	return c
}

// Track is the shared state of one Track.
type Track struct {
	name     FullTrackName
	cfg      TrackConfig
	priority uint8

	mu      sync.Mutex
	groups  []*group    // ascending IDs
	floor   uint64      // Groups below it have been evicted
	log     []*subgroup // in the order in which they began
	logBase uint64      // index of log[0]
	largest Location
	begun   bool // largest is valid
	bytes   int64
	err     error // io.EOF or the reason; nil while the Track goes on
	done    chan struct{}
	changed notifier

	demand        Demand
	demandChanged notifier
}

// TrackWriter fills a Track. It is safe for concurrent use.
type TrackWriter struct{ t *Track }

// NewTrack makes an empty Track.
func NewTrack(name FullTrackName, cfg TrackConfig) *TrackWriter {
	t := &Track{name: name, cfg: cfg.withDefaults(), priority: DefaultPriority, done: make(chan struct{})}
	if p, ok := cfg.Properties.Get(PropertyDefaultPublisherPriority); ok && p.Value <= 255 {
		t.priority = uint8(p.Value)
	}
	return &TrackWriter{t: t}
}

// Track returns the readers' side.
func (w *TrackWriter) Track() *Track { return w.t }

// Group returns the writer of a Group and begins the Group if needed. Groups
// may be written in any order. It fails with ErrEvicted below what is
// retained and with ErrEnded after End.
func (w *TrackWriter) Group(id uint64) (*GroupWriter, error) {
	t := w.t
	t.mu.Lock()
	defer t.unlockAndEvict()
	if t.err != nil {
		return nil, ErrEnded
	}
	i, found := slices.BinarySearchFunc(t.groups, id, func(g *group, id uint64) int { return cmp.Compare(g.id, id) })
	if found {
		return &GroupWriter{g: t.groups[i]}, nil
	}
	if id < t.floor || i == 0 && len(t.groups) >= t.cfg.Retention.Groups {
		return nil, ErrEvicted
	}
	now := time.Now()
	g := &group{track: t, id: id, begun: now}
	if i < len(t.groups) {
		g.superseded = now
	} else if i > 0 {
		t.groups[i-1].superseded = now
	}
	t.groups = slices.Insert(t.groups, i, g)
	t.changed.notifyLocked()
	return &GroupWriter{g: g}, nil
}

// End ends the Track; nil means that the publisher has nothing more to say,
// and readers get io.EOF after what is retained. Subgroups that are open are
// reset. Only the first call counts.
func (w *TrackWriter) End(err error) {
	t := w.t
	t.mu.Lock()
	if t.err != nil {
		t.mu.Unlock()
		return
	}
	if t.err = err; err == nil {
		t.err = io.EOF
	}
	open := slices.Clone(t.log)
	close(t.done)
	t.changed.notifyLocked()
	t.demandChanged.notifyLocked()
	for _, g := range t.groups {
		g.mu.Lock()
		g.closed = true
		g.changed.notifyLocked()
		g.mu.Unlock()
	}
	t.mu.Unlock()
	for _, s := range open {
		s.reset(&ResetError{Code: resetCancelled})
	}
}

// resetCancelled is the draft's CANCELLED: the Subgroup was not finished
// when its Track ended.
const resetCancelled = 0x1

// Name returns the Full Track Name.
func (t *Track) Name() FullTrackName { return t.name }

// Properties returns the Track Properties.
func (t *Track) Properties() Properties { return t.cfg.Properties }

// Priority returns the Track's default Publisher Priority.
func (t *Track) Priority() uint8 { return t.priority }

// Done is closed when the Track has ended.
func (t *Track) Done() <-chan struct{} { return t.done }

// Err returns nil while the Track goes on, io.EOF after a regular end, else
// what End was given.
func (t *Track) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Largest returns the largest Location that has begun; false when nothing
// has.
func (t *Track) Largest() (Location, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.largest, t.begun
}

// Oldest returns the oldest Group that is retained.
func (t *Track) Oldest() (uint64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.groups) == 0 {
		return 0, false
	}
	return t.groups[0].id, true
}

// Bytes returns what is retained, in bytes as Retention counts them.
func (t *Track) Bytes() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bytes
}

func (t *Track) hasNewer(id uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newerLocked(id)
}

func (t *Track) newerLocked(id uint64) bool {
	return t.err != nil || len(t.groups) > 0 && t.groups[len(t.groups)-1].id > id
}

// awaitNewer waits until a Group newer than id exists, other is closed or
// ctx ends.
func (t *Track) awaitNewer(ctx context.Context, id uint64, other <-chan struct{}) error {
	for {
		t.mu.Lock()
		if t.newerLocked(id) {
			t.mu.Unlock()
			return nil
		}
		changed := t.changed.waitLocked()
		t.mu.Unlock()
		select {
		case <-changed:
		case <-other:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// unlockAndEvict applies Retention, releases mu and then tells the readers
// of what was evicted.
func (t *Track) unlockAndEvict() { t.unlockAndEvictWhile(t.overLocked) }

// unlockAndEvictWhile does so with the oldest Groups for as long as over says.
func (t *Track) unlockAndEvictWhile(over func() bool) {
	var gone []*subgroup
	for len(t.groups) > 0 && over() {
		g := t.groups[0]
		t.groups[0] = nil
		t.groups = t.groups[1:]
		t.floor = max(t.floor, g.id+1)
		g.mu.Lock()
		t.bytes -= g.bytes
		g.mu.Unlock()
		gone = append(gone, g.evictLocked()...)
	}
	if len(gone) > 0 {
		trim := 0
		for trim < len(t.log) && t.log[trim].group.id < t.floor {
			t.log[trim] = nil
			trim++
		}
		t.log = t.log[trim:]
		t.logBase += uint64(trim)
		t.changed.notifyLocked()
	}
	t.mu.Unlock()
	for _, s := range gone {
		s.abandon(ErrTooFarBehind)
	}
}

func (t *Track) overLocked() bool {
	r := t.cfg.Retention
	if t.bytes > r.Bytes {
		return true
	}
	if len(t.groups) == 1 {
		return false
	}
	return len(t.groups) > r.Groups || time.Since(t.groups[0].superseded) > r.Age
}
