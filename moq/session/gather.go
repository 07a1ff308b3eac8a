package session

import (
	"io"
	"sync"
)

// batchSize is how many bytes of small Objects are gathered for one Write:
// about what QUIC hands to the kernel at once.
const batchSize = 16 << 10

// batches holds buffers of batchSize. A stream has one only while it gathers,
// so idle streams hold none.
var batches = sync.Pool{New: func() any {
	b := make([]byte, 0, batchSize)
	return &b
}}

// gatherer joins small writes that come together into one.
type gatherer struct {
	w     io.Writer
	batch *[]byte // nil while nothing is gathered
}

// put writes b or, when more follows at once, gathers it. What does not fit
// into a batch goes out straight from where it is, so that large Objects are
// not copied.
func (g *gatherer) put(b []byte, more bool) error {
	if g.batch == nil {
		if !more {
			_, err := g.w.Write(b)
			return err
		}
		g.batch = batches.Get().(*[]byte)
	}
	buf := *g.batch
	n := copy(buf[len(buf):cap(buf)], b)
	*g.batch, b = buf[:len(buf)+n], b[n:]
	if more && len(b) == 0 {
		return nil
	}
	if err := g.flush(); err != nil || len(b) == 0 {
		return err
	}
	if more && len(b) < batchSize/4 {
		return g.put(b, more) // the end of a small Object begins the next batch
	}
	_, err := g.w.Write(b)
	return err
}

// flush writes what has been gathered.
func (g *gatherer) flush() error {
	if g.batch == nil {
		return nil
	}
	defer g.drop()
	_, err := g.w.Write(*g.batch)
	return err
}

// drop forgets what has been gathered.
func (g *gatherer) drop() {
	if g.batch != nil {
		*g.batch = (*g.batch)[:0]
		batches.Put(g.batch)
		g.batch = nil
	}
}
