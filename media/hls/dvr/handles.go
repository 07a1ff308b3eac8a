package dvr

import (
	"container/list"
	"io"
	"os"
	"sync"
)

// handles keeps a bounded number of files open for reading. A file in use is
// not closed, and it is in use only while one read lasts, so that beyond the
// bound there are no more files than reads under way.
type handles struct {
	mu   sync.Mutex
	most int
	m    map[string]*list.Element
	lru  list.List // of *handle, used last in front
}

type handle struct {
	path string
	file *os.File
	uses int
	gone bool // no longer in m: close it with the last use
}

func newHandles(most int) *handles { return &handles{most: most, m: make(map[string]*list.Element)} }

// readAt reads len(p) bytes of a file, opening it if need be.
func (h *handles) readAt(path string, p []byte, off int64) (int, error) {
	f, err := h.acquire(path)
	if err != nil {
		return 0, err
	}
	defer h.release(f)
	return f.file.ReadAt(p, off)
}

func (h *handles) acquire(path string) (*handle, error) {
	if f := h.known(path); f != nil {
		return f, nil
	}
	file, err := os.Open(path) // without the lock: a disk may be slow
	if err != nil {
		return nil, err
	}
	f := &handle{path: path, file: file, uses: 1}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m[path] != nil { // somebody else was as fast; each closes its own
		f.gone = true
		return f, nil
	}
	h.m[path] = h.lru.PushFront(f)
	for h.lru.Len() > h.most {
		h.dropLocked(h.lru.Back())
	}
	return f, nil
}

func (h *handles) known(path string) *handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.m[path]
	if e == nil {
		return nil
	}
	h.lru.MoveToFront(e)
	f := e.Value.(*handle)
	f.uses++
	return f
}

func (h *handles) release(f *handle) {
	h.mu.Lock()
	f.uses--
	last := f.gone && f.uses == 0
	h.mu.Unlock()
	if last {
		_ = f.file.Close() // it was read only
	}
}

// dropLocked takes a file out of the cache. h.mu is held; closing what was
// only read from does not wait for a disk.
func (h *handles) dropLocked(e *list.Element) {
	f := e.Value.(*handle)
	h.lru.Remove(e)
	delete(h.m, f.path)
	f.gone = true
	if f.uses == 0 {
		_ = f.file.Close()
	}
}

// forget closes a file that is about to be removed.
func (h *handles) forget(path string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.m[path]; e != nil {
		h.dropLocked(e)
	}
}

// close closes all that is open.
func (h *handles) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.lru.Len() > 0 {
		h.dropLocked(h.lru.Back())
	}
}

// open is how many files are open for reading and not in use.
func (h *handles) open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lru.Len()
}

// File is a range of a file that is being served.
type File struct {
	store *Store
	path  string
	off   int64
	size  int64
}

// Size is the number of bytes.
func (f *File) Size() int64 { return f.size }

// Section returns a part of f.
func (f *File) Section(off, size int64) *File {
	off = min(max(off, 0), f.size)
	return &File{store: f.store, path: f.path, off: f.off + off, size: min(max(size, 0), f.size-off)}
}

// ReadAt implements io.ReaderAt. The file's descriptor is held while it reads
// only.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= f.size {
		return 0, io.EOF
	}
	short := int64(len(p)) > f.size-off
	if short {
		p = p[:f.size-off]
	}
	n, err := f.store.handles.readAt(f.path, p, f.off+off)
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}
