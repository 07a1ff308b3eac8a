package moq

import (
	"maps"
	"slices"
	"sync"
)

// Broadcast is all that one publisher offers under one Namespace: a set of
// Tracks that can grow. It is safe for concurrent use.
type Broadcast struct {
	namespace Namespace

	mu     sync.Mutex
	tracks map[string]*TrackWriter
	err    error
	done   chan struct{}
}

// NewBroadcast makes an empty Broadcast.
func NewBroadcast(ns Namespace) *Broadcast {
	return &Broadcast{namespace: ns, tracks: make(map[string]*TrackWriter), done: make(chan struct{})}
}

// Namespace returns the Broadcast's Namespace.
func (b *Broadcast) Namespace() Namespace { return b.namespace }

// CreateTrack adds a Track. It fails with ErrDuplicate or, after Close, with
// ErrEnded.
func (b *Broadcast) CreateTrack(name string, cfg TrackConfig) (*TrackWriter, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil, ErrEnded
	}
	if _, ok := b.tracks[name]; ok {
		return nil, ErrDuplicate
	}
	w := NewTrack(FullTrackName{b.namespace, name}, cfg)
	b.tracks[name] = w
	return w, nil
}

// Track returns the Track of that name.
func (b *Broadcast) Track(name string) (*Track, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if w, ok := b.tracks[name]; ok {
		return w.t, true
	}
	return nil, false
}

// Tracks returns the names of all Tracks, sorted.
func (b *Broadcast) Tracks() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.tracks))
}

// Done is closed when the Broadcast has ended.
func (b *Broadcast) Done() <-chan struct{} { return b.done }

// Close ends the Broadcast and all its Tracks with err, see TrackWriter.End.
// Only the first call counts.
func (b *Broadcast) Close(err error) {
	b.mu.Lock()
	if b.err != nil {
		b.mu.Unlock()
		return
	}
	if b.err = err; err == nil {
		b.err = ErrEnded
	}
	writers := slices.Collect(maps.Values(b.tracks))
	close(b.done)
	b.mu.Unlock()
	for _, w := range writers {
		w.End(err)
	}
}
