package hls

import (
	"context"
	"io"
	"sync/atomic"

	"github.com/freshet-live/freshet/media/cmaf"
)

// openPart is the part that comes next: the file behind EXT-X-PRELOAD-HINT.
// It is empty until its first chunk exists, grows chunk by chunk, and is
// completed, or given up when the playlist ends before it began.
//
// Each state is immutable; the writer swaps it and closes the channel of the
// one before, so a reader holds nothing while it writes to its client.
type openPart struct {
	begun chan struct{}
	state atomic.Pointer[partState]
}

type partState struct {
	chunks []cmaf.Buffer // shared with later states, which only append
	size   int64
	err    error         // io.EOF: complete; errGivenUp; nil: growing
	next   chan struct{} // closed when a newer state is current
}

func newOpenPart() *openPart {
	p := &openPart{begun: make(chan struct{})}
	p.state.Store(&partState{next: make(chan struct{})})
	return p
}

// append adds a chunk. There is one writer.
func (p *openPart) append(b cmaf.Buffer) {
	s := p.state.Load()
	p.swap(s, &partState{chunks: append(s.chunks, b), size: s.size + b.Len()})
}

// complete ends the part and returns it as one buffer.
func (p *openPart) complete() cmaf.Buffer {
	s := p.state.Load()
	p.swap(s, &partState{chunks: s.chunks, size: s.size, err: io.EOF})
	return cmaf.Join(s.chunks...)
}

// giveUp ends the part without its rest.
func (p *openPart) giveUp() {
	s := p.state.Load()
	p.swap(s, &partState{chunks: s.chunks, size: s.size, err: errGivenUp})
}

func (p *openPart) swap(old, s *partState) {
	s.next = make(chan struct{})
	p.state.Store(s)
	close(old.next)
	if old.size == 0 && old.err == nil && (s.size > 0 || s.err != nil) {
		close(p.begun)
	}
}

// Len implements body.
func (p *openPart) Len() (int64, bool) {
	s := p.state.Load()
	return s.size, s.err == io.EOF
}

// Open implements body.
func (p *openPart) Open() bodyReader { return cmaf.Join(p.state.Load().chunks...).Reader() }

// Begun implements follower.
func (p *openPart) Begun() <-chan struct{} { return p.begun }

// Next implements follower.
func (p *openPart) Next(ctx context.Context, n int64) (cmaf.Buffer, error) {
	for {
		s := p.state.Load()
		at := int64(0)
		for i, c := range s.chunks {
			if at == n {
				return cmaf.Join(s.chunks[i:]...), nil
			}
			at += c.Len()
		}
		if s.err != nil {
			return cmaf.Buffer{}, s.err
		}
		select {
		case <-s.next:
		case <-ctx.Done():
			return cmaf.Buffer{}, context.Cause(ctx)
		}
	}
}
