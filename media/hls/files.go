package hls

import (
	"maps"
	"sync"

	"github.com/freshet-live/freshet/media/cmaf"
)

// files holds the media of a rendition by name, "key/file". What was read
// under a name never changes, though it may move from memory to disk; a name
// that went does not come back.
type files struct {
	mu sync.RWMutex
	m  map[string]body
}

func (f *files) get(name string) (body, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	b, ok := f.m[name]
	return b, ok
}

// add stores b under name, in the place of what was there.
func (f *files) add(name string, b body) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.m[name] = b
}

// addBuffer stores a complete file in memory.
func (f *files) addBuffer(name string, b cmaf.Buffer) { f.add(name, memory{b}) }

// addAll stores several at once.
func (f *files) addAll(all map[string]body) {
	f.mu.Lock()
	defer f.mu.Unlock()
	maps.Copy(f.m, all)
}

func (f *files) remove(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range names {
		delete(f.m, n)
	}
}
