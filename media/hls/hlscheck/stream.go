package hlscheck

import (
	"sync"
	"time"
)

// stream is one media playlist that is watched. The watcher's goroutine
// writes it, the loader's adds what it measured, and both are read by the
// watchers of the other renditions: everything below mu is shared.
type stream struct {
	run  *run
	url  string
	role role
	// independent: the multivariant playlist has EXT-X-INDEPENDENT-SEGMENTS.
	independent bool

	mu        sync.Mutex
	first     *mediaText
	latest    *mediaText
	positions []position // oldest first, the last maxPositions
	starts    map[uint64]time.Time
	seen      Stream
	measured  measured
}

// position is how far a playlist reached when it was received.
type position struct {
	at   time.Time
	msn  uint64
	part int
	open bool
}

// maxPositions bounds what is remembered of the live edge: a minute of parts
// of a quarter second.
const maxPositions = 256

// maxSequences bounds the discontinuities that are compared.
const maxSequences = 256

// measured is what the media itself says.
type measured struct {
	codecs     map[string]bool
	sizes      map[[2]int]bool
	frameRate  float64 // the highest average of a segment
	offsets    map[uint64]time.Duration
	peak       float64 // bits per second
	bits       float64
	seconds    float64
	complete   bool // every segment of a VOD was loaded
	encrypted  bool
	unreadable bool
}

func newStream(r *run, url string, role role) *stream {
	return &stream{
		run: r, url: url, role: role, starts: make(map[uint64]time.Time), seen: Stream{URL: url, Kind: role.String()},
		measured: measured{codecs: make(map[string]bool), sizes: make(map[[2]int]bool), offsets: make(map[uint64]time.Duration)},
	}
}

func (s *stream) at(tag string, line int) site { return site{s.url, tag, line} }

// advance notes a new version of the playlist.
func (s *stream) advance(m *mediaText, delta bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.Versions++
	if delta {
		s.seen.Deltas++
	}
	if s.first == nil {
		s.first = m
	}
	s.latest = m
	if n := len(m.segments); n > 0 {
		l := &m.segments[n-1]
		s.positions = append(s.positions, position{time.Now(), l.msn, len(l.parts) - 1, l.open()})
		if len(s.positions) > maxPositions {
			s.positions = append(s.positions[:0], s.positions[1:]...)
		}
	}
	// A segment at the front may have lost its discontinuity's tag, so only
	// those that are seen with it count.
	for i := range m.segments {
		g := &m.segments[i]
		if _, ok := s.starts[g.sequence]; !ok && g.discontinuity && !g.date.IsZero() && len(s.starts) < maxSequences {
			s.starts[g.sequence] = g.date
		}
	}
}

// known returns the latest version.
func (s *stream) known() *mediaText {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

// reached returns the position that had been received by then.
func (s *stream) reached(then time.Time) (position, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.positions) - 1; i >= 0; i-- {
		if !s.positions[i].at.After(then) {
			return s.positions[i], true
		}
	}
	return position{}, false
}
