package ladder

import (
	"sync"

	"github.com/freshet-live/freshet/media"
)

// mark is where a Group of a source begins.
type mark struct {
	pts media.Time
	id  uint64
	gap uint64 // IDs before it that the source leaves out
}

// maxMarks is how many Groups of a source are remembered: what is on its way
// through ffmpeg, many times over.
const maxMarks = 256

// marks are the Groups of a source that ffmpeg has been given, in order. It is
// safe for concurrent use.
type marks struct {
	mu   sync.Mutex
	list []mark
}

func (m *marks) add(k mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.list) == maxMarks {
		m.list = append(m.list[:0], m.list[1:]...)
	}
	m.list = append(m.list, k)
}

// at returns the Group that begins within tolerance of pts.
func (m *marks) at(pts, tolerance media.Time) (mark, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.list {
		if d := k.pts - pts; -tolerance <= d && d <= tolerance {
			return k, true
		}
	}
	return mark{}, false
}

// before returns the newest Group that begins at pts or before.
func (m *marks) before(pts media.Time) (mark, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := len(m.list) - 1; i >= 0; i-- {
		if m.list[i].pts <= pts {
			return m.list[i], true
		}
	}
	return mark{}, false
}
