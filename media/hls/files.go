package hls

import (
	"sync"

	"github.com/freshet-live/freshet/media/cmaf"
)

// files holds the media of a rendition by name. Content under a name never
// changes; a name that went does not come back.
type files struct {
	mu sync.RWMutex
	m  map[string]cmaf.Buffer
}

func (f *files) get(name string) (cmaf.Buffer, bool) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	b, ok := f.m[name]
	return b, ok
}

func (f *files) add(name string, b cmaf.Buffer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.m[name] = b
}

func (f *files) remove(names ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range names {
		delete(f.m, n)
	}
}
