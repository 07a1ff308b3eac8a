package transport

import (
	"bytes"
	"context"
	"io"
	"os"
	"sync"
	"time"

	"github.com/freshet-live/freshet/moq/transport/qmux"
)

// smallWrite is how many bytes of a stream are queued without waiting for their
// turn, so that a header and the little that follows it become one frame.
const smallWrite = 4 << 10

// maxIdleBuffer is the capacity that an empty receive buffer keeps.
const maxIdleBuffer = 16 << 10

// defaultUrgency is that of RFC 9218, section 4.1.
const defaultUrgency = 3

// muxStream is a stream of a mux; one that is unidirectional lacks a side. mu of
// the mux guards everything.
type muxStream struct {
	c                *mux
	id               uint64
	sends, receives  bool
	controlQueued    bool // among those with a control frame to send
	stopDue, moreDue bool // STOP_SENDING, MAX_STREAM_DATA is to be sent

	// The sending side.

	writable    sync.Cond
	buffered    []byte // small writes
	pending     []byte // what is left of the Write that waits
	sent        uint64 // bytes, which is the offset of the next
	maxSent     uint64 // what the peer allows
	fin         bool   // Close was called
	sendDone    bool   // FIN or RESET_STREAM was sent
	resetDue    bool
	resetCode   uint64
	writeErr    error // set when nothing more can be written
	urgency     int8
	incremental bool
	queued      bool   // among the ready streams of its urgency
	age         uint64 // those opened earlier have less
	sendCtx     context.Context
	endSend     context.CancelCauseFunc

	// The receiving side.

	readable    sync.Cond
	buf         bytes.Buffer
	received    uint64 // bytes, which is the offset of the next
	maxReceived uint64 // what we allow
	consumed    uint64 // what has been read
	finished    bool   // FIN has come
	final       bool   // FIN or RESET_STREAM has come
	readErr     error
	readDone    bool // the reader has seen the end, or stopped
	stopCode    uint64
	deadline    time.Time
	timer       *time.Timer
}

// addStreamLocked makes a stream of either end.
func (c *mux) addStreamLocked(id uint64) *muxStream {
	own := id&1 == 1 == c.cfg.server
	isUni := id&2 != 0
	s := &muxStream{c: c, id: id, sends: !isUni || own, receives: !isUni || !own, urgency: defaultUrgency, age: c.age}
	c.age++
	s.writable.L, s.readable.L = &c.mu, &c.mu
	if s.receives {
		s.maxReceived = muxStreamWindow
	}
	switch {
	case !s.sends:
	case isUni:
		s.maxSent = c.peer.InitialMaxStreamDataUni
	case own:
		s.maxSent = c.peer.InitialMaxStreamDataBidiRemote
	default:
		s.maxSent = c.peer.InitialMaxStreamDataBidiLocal
	}
	c.streams[id] = s
	return s
}

// wakeLocked wakes those who wait on the stream, which look why.
func (s *muxStream) wakeLocked() {
	s.writable.Broadcast()
	s.readable.Broadcast()
	if s.timer != nil && s.c.err != nil {
		s.timer.Stop()
	}
}

// settleLocked lets go of a stream on which nothing can happen any more, and
// gives the peer its place back.
func (s *muxStream) settleLocked() {
	if s.sends && !s.sendDone || s.receives && !(s.final && s.readDone) {
		return
	}
	c := s.c
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.id&1 == 1 != c.cfg.server {
		c.incoming[s.id>>1&1].finished++
		c.work.Signal()
	}
}

// Write implements SendStream.
func (s *muxStream) Write(b []byte) (int, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.writeErrorLocked(); err != nil {
		return 0, err
	}
	if len(b) == 0 {
		return 0, nil
	}
	if len(s.buffered)+len(b) <= smallWrite {
		s.buffered = append(s.buffered, b...)
		c.queueLocked(s)
		return len(b), nil
	}
	s.pending = b
	c.queueLocked(s)
	for len(s.pending) > 0 && s.writeErrorLocked() == nil {
		s.writable.Wait()
	}
	left := len(s.pending)
	s.pending = nil
	if left > 0 {
		return len(b) - left, s.writeErrorLocked()
	}
	return len(b), nil
}

func (s *muxStream) writeErrorLocked() error {
	if s.c.err != nil {
		return s.c.err
	}
	return s.writeErr
}

// Close implements SendStream.
func (s *muxStream) Close() error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.writeErrorLocked() != nil {
		return nil
	}
	s.fin = true
	s.endSendLocked(ErrStreamClosed)
	c.queueLocked(s)
	return nil
}

// Reset implements SendStream.
func (s *muxStream) Reset(code uint64) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	code = min(code, maxQUICCode)
	s.resetLocked(code, &StreamError{Code: code})
}

// resetLocked gives up what has not been sent.
func (s *muxStream) resetLocked(code uint64, err error) {
	if s.c.err != nil || s.sendDone || s.resetDue {
		return
	}
	s.resetDue, s.resetCode = true, code
	s.buffered = nil
	s.c.unqueueLocked(s)
	s.c.controlLocked(s)
	s.endSendLocked(err)
	s.writable.Broadcast()
}

func (s *muxStream) endSendLocked(err error) {
	s.writeErr = err
	if s.endSend != nil {
		s.endSend(err)
	}
}

// SetPriority implements SendStream.
func (s *muxStream) SetPriority(urgency int8, incremental bool) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	urgency = max(0, min(urgency, urgencies-1))
	if s.urgency == urgency && s.incremental == incremental {
		return
	}
	queued := s.queued
	c.unqueueLocked(s)
	s.urgency, s.incremental = urgency, incremental
	if queued {
		c.queueLocked(s)
	}
}

// Context implements SendStream.
func (s *muxStream) Context() context.Context {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.sendCtx == nil {
		s.sendCtx, s.endSend = context.WithCancelCause(s.c.ctx)
		if s.writeErr != nil {
			s.endSend(s.writeErr)
		}
	}
	return s.sendCtx
}

// Read implements ReceiveStream.
func (s *muxStream) Read(b []byte) (int, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.err != nil && !s.readDone:
			return 0, c.err
		case s.readErr != nil:
			s.readDoneLocked()
			return 0, s.readErr
		case s.finished && s.buf.Len() == 0:
			s.readDoneLocked()
			return 0, io.EOF
		case !s.deadline.IsZero() && !time.Now().Before(s.deadline):
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		case s.buf.Len() > 0:
			n, _ := s.buf.Read(b)
			if s.buf.Len() == 0 && s.buf.Cap() > maxIdleBuffer {
				s.buf = bytes.Buffer{}
			}
			s.consumedLocked(n)
			return n, nil
		}
		s.readable.Wait()
	}
}

func (s *muxStream) readDoneLocked() {
	if !s.readDone {
		s.readDone = true
		s.settleLocked()
	}
}

// consumedLocked opens the windows for n bytes that have left our memory. The
// peer hears of it when half of a window is used up.
func (s *muxStream) consumedLocked(n int) {
	s.consumed += uint64(n)
	if !s.final && !s.readDone && s.maxReceived-s.consumed <= muxStreamWindow/2 {
		s.maxReceived = s.consumed + muxStreamWindow
		s.moreDue = true
		s.c.controlLocked(s)
	}
	s.c.consumedLocked(uint64(n))
}

func (c *mux) consumedLocked(n uint64) {
	c.consumed += n
	if c.maxReceived-c.consumed <= muxConnWindow/2 {
		c.maxReceived = c.consumed + muxConnWindow
		c.dataDue = true
		c.work.Signal()
	}
}

// discardLocked drops what has not been read.
func (s *muxStream) discardLocked() {
	n := s.buf.Len()
	s.buf = bytes.Buffer{}
	if n > 0 {
		s.consumedLocked(n)
	}
}

// Stop implements ReceiveStream.
func (s *muxStream) Stop(code uint64) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.readDone || s.readErr != nil || c.err != nil {
		return
	}
	code = min(code, maxQUICCode)
	s.readErr, s.readDone = &StreamError{Code: code}, true
	s.discardLocked()
	if !s.final {
		s.stopDue, s.stopCode = true, code
		c.controlLocked(s)
	}
	s.readable.Broadcast()
	s.settleLocked()
}

// SetReadDeadline implements ReceiveStream.
func (s *muxStream) SetReadDeadline(t time.Time) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	s.deadline = t
	if s.readDone || c.err != nil {
		return nil
	}
	if !t.IsZero() {
		s.timer = time.AfterFunc(time.Until(t), func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			s.readable.Broadcast()
		})
	}
	s.readable.Broadcast()
	return nil
}

// dataLocked takes a STREAM frame in.
func (s *muxStream) dataLocked(f qmux.Frame) error {
	n := uint64(len(f.Data))
	switch c := s.c; {
	case s.final:
		return &qmux.Error{Code: qmux.FinalSizeError, Reason: "data after the end of a stream"}
	case f.Offset != s.received:
		return &qmux.Error{Code: qmux.ProtocolViolation, Reason: "data of a stream out of order"}
	case n > s.maxReceived-s.received:
		return &qmux.Error{Code: qmux.FlowControlError, Reason: "more data than the stream's window"}
	case n > c.maxReceived-c.received:
		return &qmux.Error{Code: qmux.FlowControlError, Reason: "more data than the connection's window"}
	}
	s.received += n
	s.c.received += n
	if s.readDone {
		s.c.consumedLocked(n)
	} else {
		s.buf.Write(f.Data)
	}
	if f.Fin {
		s.finished, s.final = true, true
	}
	s.readable.Broadcast()
	s.settleLocked()
	return nil
}

// peerResetLocked takes a RESET_STREAM frame in. Earlier releases of
// @moq/qmux send a final size of zero, so one that is too small counts as the
// size that has come.
func (s *muxStream) peerResetLocked(f qmux.Frame) error {
	if s.final {
		return nil
	}
	gap := max(f.Value, s.received) - s.received
	if gap > s.maxReceived-s.received || gap > s.c.maxReceived-s.c.received {
		return &qmux.Error{Code: qmux.FlowControlError, Reason: "final size beyond the window"}
	}
	s.received += gap
	s.c.received += gap
	s.final = true
	s.discardLocked()
	s.c.consumedLocked(gap)
	if s.readErr == nil {
		s.readErr = &StreamError{Code: f.Code, Remote: true}
	}
	s.readable.Broadcast()
	s.settleLocked()
	return nil
}
