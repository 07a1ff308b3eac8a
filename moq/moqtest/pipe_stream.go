package moqtest

import (
	"context"
	"io"
	"os"
	"sync"
	"time"

	"github.com/freshet-live/freshet/moq/transport"
)

// half is one direction of a stream. The pipe's mu guards it.
type half struct {
	from, to *pipeConn
	changed  *sync.Cond

	buf      []byte
	fin      bool  // Close was called
	writeErr error // set once no more can be written
	readErr  error // set once buf is lost to the reader
	readDone bool  // the reader has seen the end, or stopped

	deadline time.Time
	timer    *time.Timer

	ctx    context.Context // the writer's
	cancel context.CancelCauseFunc

	announceLocked     func() // tells the peer of the stream, if writing may
	stopAnnounceLocked func() // the same, if stopping may
	freeLocked         func() // gives the stream's credit back once it is finished
}

func newHalf(from, to *pipeConn) *half {
	h := &half{from: from, to: to, changed: sync.NewCond(&from.p.mu)}
	h.ctx, h.cancel = context.WithCancelCause(from.ctx)
	h.announceLocked, h.stopAnnounceLocked, h.freeLocked = func() {}, func() {}, func() {}
	from.p.halves[h] = struct{}{}
	return h
}

// settleLocked lets go of a half on which nothing can happen any more.
func (h *half) settleLocked() {
	h.freeLocked()
	if h.writeErr != nil && h.readDone {
		h.endLocked()
		delete(h.from.p.halves, h)
	}
}

// endLocked wakes those who wait, which find why in the state of the half or of
// the connection.
func (h *half) endLocked() {
	if h.timer != nil {
		h.timer.Stop()
	}
	h.changed.Broadcast()
}

// sendStream is the writer's view.
type sendStream struct{ h *half }

// Write implements transport.SendStream.
func (s *sendStream) Write(b []byte) (n int, err error) {
	h := s.h
	mu := &h.from.p.mu
	mu.Lock()
	defer mu.Unlock()
	for {
		if h.from.err != nil {
			return n, h.from.err
		}
		if h.writeErr != nil {
			return n, h.writeErr
		}
		if n == len(b) {
			return n, nil
		}
		if room := h.from.p.cfg.StreamWindow - len(h.buf); room > 0 {
			part := b[n:min(len(b), n+room)]
			h.buf = append(h.buf, part...)
			n += len(part)
			h.from.countLocked(len(part))
			h.announceLocked()
			h.changed.Broadcast()
			continue
		}
		h.changed.Wait()
	}
}

// Close implements transport.SendStream.
func (s *sendStream) Close() error {
	h := s.h
	mu := &h.from.p.mu
	mu.Lock()
	defer mu.Unlock()
	if h.writeErr != nil || h.from.err != nil {
		return nil
	}
	h.fin, h.writeErr = true, transport.ErrStreamClosed
	h.announceLocked()
	h.changed.Broadcast()
	h.cancel(transport.ErrStreamClosed)
	h.settleLocked()
	return nil
}

// Reset implements transport.SendStream.
func (s *sendStream) Reset(code uint64) {
	h := s.h
	mu := &h.from.p.mu
	mu.Lock()
	defer mu.Unlock()
	if h.readDone || h.readErr != nil || h.from.err != nil {
		return
	}
	h.resetLocked(&transport.StreamError{Code: code}, &transport.StreamError{Code: code, Remote: true})
}

// resetLocked ends the half with one error for each end.
func (h *half) resetLocked(write, read *transport.StreamError) {
	h.writeErr, h.readErr = write, read
	h.buf = nil
	h.announceLocked()
	h.changed.Broadcast()
	h.cancel(write)
	h.settleLocked()
}

// SetPriority implements transport.SendStream; bytes do not queue here.
func (s *sendStream) SetPriority(int8, bool) {}

// Context implements transport.SendStream.
func (s *sendStream) Context() context.Context { return s.h.ctx }

// receiveStream is the reader's view.
type receiveStream struct{ h *half }

// Read implements transport.ReceiveStream.
func (s *receiveStream) Read(b []byte) (int, error) {
	h := s.h
	mu := &h.from.p.mu
	mu.Lock()
	defer mu.Unlock()
	for {
		if h.to.err != nil && !h.readDone {
			return 0, h.to.err
		}
		if h.readErr != nil {
			h.doneLocked()
			return 0, h.readErr
		}
		if h.fin && len(h.buf) == 0 {
			h.doneLocked()
			return 0, io.EOF
		}
		if !h.deadline.IsZero() && !time.Now().Before(h.deadline) {
			return 0, os.ErrDeadlineExceeded
		}
		if len(b) == 0 {
			return 0, nil
		}
		if len(h.buf) > 0 {
			n := copy(b, h.buf)
			h.buf = h.buf[n:]
			h.changed.Broadcast()
			return n, nil
		}
		h.changed.Wait()
	}
}

// doneLocked notes that the reader has seen the end.
func (h *half) doneLocked() {
	if !h.readDone {
		h.readDone = true
		h.settleLocked()
	}
}

// Stop implements transport.ReceiveStream.
func (s *receiveStream) Stop(code uint64) {
	h := s.h
	mu := &h.from.p.mu
	mu.Lock()
	defer mu.Unlock()
	if h.readDone || h.readErr != nil || h.to.err != nil {
		return
	}
	h.stopAnnounceLocked()
	h.readDone = true
	if h.fin {
		// Everything has been sent: the writer does not hear of the stop.
		h.readErr, h.buf = &transport.StreamError{Code: code}, nil
		h.changed.Broadcast()
		h.settleLocked()
		return
	}
	h.resetLocked(&transport.StreamError{Code: code, Remote: true}, &transport.StreamError{Code: code})
}

// SetReadDeadline implements transport.ReceiveStream.
func (s *receiveStream) SetReadDeadline(t time.Time) error {
	h := s.h
	mu := &h.from.p.mu
	mu.Lock()
	defer mu.Unlock()
	if h.timer != nil {
		h.timer.Stop()
		h.timer = nil
	}
	h.deadline = t
	if h.readDone || h.to.err != nil {
		return nil
	}
	if !t.IsZero() {
		h.timer = time.AfterFunc(time.Until(t), func() {
			mu.Lock()
			defer mu.Unlock()
			h.changed.Broadcast()
		})
	}
	h.changed.Broadcast()
	return nil
}

// pipeStream is one end's view of a bidirectional stream.
type pipeStream struct {
	receiveStream
	sendStream
}
