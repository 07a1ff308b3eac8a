package transport

import (
	"errors"
	"os"
	"slices"
	"time"

	"github.com/freshet-live/freshet/moq/transport/qmux"
)

const (
	// urgencies is how many there are (RFC 9218, section 4.1).
	urgencies = 8
	// minChunk is the least room in a message that another stream's data is
	// put into, so that streams do not end up in crumbs.
	minChunk = 128
)

// sendQueue is what waits to be sent. A message holds qmux.DefaultMaxRecord
// bytes of it at most, and what it holds is decided when the WebSocket takes it:
// control frames first, then datagrams, then the most urgent streams. So a stream
// that becomes urgent waits for one message and for what the kernel has of
// others, never for a Write that is under way.
type sendQueue struct {
	paramsSent       bool
	dataDue          bool // MAX_DATA
	pingDue, pongDue bool
	pong             uint64
	pingSentAt       time.Time
	control          []*muxStream // those with a control frame to send
	outDatagrams     [][]byte
	byUrgency        [urgencies][]*muxStream
	sent, maxSent    uint64 // connection flow control, bytes
	age              uint64 // of the next stream
}

// write sends messages until the connection has ended, then the last one, and
// ends the WebSocket.
func (c *mux) write() {
	b := make([]byte, 0, maxMessage)
	broken := false // nothing more can be sent
	for {
		c.mu.Lock()
		for c.err == nil {
			if b = c.messageToSendLocked(b[:0]); len(b) > 0 {
				break
			}
			c.work.Wait()
		}
		ended := c.err != nil
		if ended {
			b = c.goodbyeLocked(b[:0])
		} else {
			// "endpoints MUST continue reading": who does not is gone.
			c.m.deadline(time.Now().Add(c.idleLocked()), false)
		}
		c.mu.Unlock()
		var err error
		if len(b) > 0 && !broken {
			err = c.m.send(b)
		}
		if ended {
			c.m.close()
			return
		}
		c.mu.Lock()
		c.lastSent = time.Now()
		c.stats.PacketsSent++
		c.stats.BytesSent += uint64(len(b))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.failLocked(ErrIdleTimeout, nil)
		} else if err != nil {
			// The peer may have said why, and not waited for us: read gets
			// there.
			broken = true
			c.m.deadline(time.Now().Add(muxGoodbye), true)
			for c.err == nil {
				c.work.Wait()
			}
		}
		c.mu.Unlock()
	}
}

// goodbyeLocked is the last message, which may be empty.
func (c *mux) goodbyeLocked(b []byte) []byte {
	if len(c.goodbye) > 0 && !c.paramsSent && c.cfg.version.Records() {
		b = c.appendParamsLocked(b)
	}
	return append(b, c.goodbye...)
}

func (c *mux) appendParamsLocked(b []byte) []byte {
	c.paramsSent = true
	return qmux.Append(b, qmux.Frame{Type: qmux.TransportParams, Data: c.params().Append(nil)})
}

// messageToSendLocked takes from the queue what fits into a message. It is empty
// when there is nothing to send, or nothing that may be.
func (c *mux) messageToSendLocked(b []byte) []byte {
	single := !c.cfg.version.Records() // one frame in each message
	const limit = qmux.DefaultMaxRecord
	if !c.paramsSent {
		if b = c.appendParamsLocked(b); single {
			return b
		}
	}
	if !c.hasPeer {
		return b
	}
	for limit-len(b) >= qmux.MaxControl {
		before := len(b)
		if b = c.appendControlLocked(b); len(b) == before {
			break
		} else if single {
			return b
		}
	}
	for len(c.outDatagrams) > 0 {
		d := c.outDatagrams[0]
		if len(b) > 0 && limit-len(b) < len(d)+3 {
			return b
		}
		c.outDatagrams[0] = nil
		c.outDatagrams = c.outDatagrams[1:]
		b = qmux.Append(b, qmux.Frame{Type: qmux.Datagram, Data: d})
	}
	for limit-len(b) >= qmux.MaxStreamHeader+minChunk {
		s := c.nextLocked()
		if s == nil {
			break
		}
		if b = s.appendDataLocked(b, limit-len(b)); single {
			break
		}
	}
	return b
}

// appendControlLocked appends one control frame, if one is due.
func (c *mux) appendControlLocked(b []byte) []byte {
	switch {
	case c.pongDue:
		c.pongDue = false
		return qmux.Append(b, qmux.Frame{Type: qmux.Pong, Value: c.pong})
	case c.pingDue:
		c.pingDue, c.pingTimed, c.pingSentAt = false, true, time.Now()
		c.lastPing = c.pingSentAt
		c.pingSent++
		return qmux.Append(b, qmux.Frame{Type: qmux.Ping, Value: c.pingSent - 1})
	case c.dataDue:
		c.dataDue = false
		return qmux.Append(b, qmux.Frame{Type: qmux.MaxData, Value: c.maxReceived})
	}
	for dir := range c.incoming {
		// A quarter of the limit makes the frame worth it.
		if in := &c.incoming[dir]; (in.finished+in.limit-in.max)*4 >= max(in.limit, 1) {
			in.max = in.finished + in.limit
			return qmux.Append(b, qmux.Frame{Type: qmux.MaxStreamsBidi + qmux.FrameType(dir), Value: in.max})
		}
	}
	for len(c.control) > 0 {
		s := c.control[0]
		switch {
		case s.stopDue:
			if s.stopDue = false; !s.final {
				return qmux.Append(b, qmux.Frame{Type: qmux.StopSending, ID: s.id, Code: s.stopCode})
			}
		case s.resetDue && !s.sendDone:
			s.sendDone = true
			s.settleLocked()
			return qmux.Append(b, qmux.Frame{Type: qmux.ResetStream, ID: s.id, Code: s.resetCode, Value: s.sent})
		case s.moreDue:
			if s.moreDue = false; !s.final && !s.readDone {
				return qmux.Append(b, qmux.Frame{Type: qmux.MaxStreamData, ID: s.id, Value: s.maxReceived})
			}
		default:
			s.controlQueued = false
			c.control[0] = nil
			c.control = c.control[1:]
		}
	}
	return b
}

// controlLocked notes that a stream has a control frame to send.
func (c *mux) controlLocked(s *muxStream) {
	if !s.controlQueued {
		s.controlQueued = true
		c.control = append(c.control, s)
	}
	c.work.Signal()
}

// unsent is how many bytes wait to be sent.
func (s *muxStream) unsent() int { return len(s.buffered) + len(s.pending) }

// wantsLocked says whether the stream has something to send that its own window
// allows.
func (s *muxStream) wantsLocked() bool {
	if s.sendDone || s.resetDue || s.c.err != nil {
		return false
	}
	if s.unsent() > 0 {
		return s.sent < s.maxSent
	}
	return s.fin
}

// queueLocked puts a stream among those that are ready, if it is. Of one urgency
// those that are not incremental go oldest first.
func (c *mux) queueLocked(s *muxStream) {
	if s.queued || !s.wantsLocked() {
		return
	}
	s.queued = true
	ready := &c.byUrgency[s.urgency]
	at := len(*ready)
	if !s.incremental {
		if i := slices.IndexFunc(*ready, func(r *muxStream) bool { return !r.incremental && r.age > s.age }); i >= 0 {
			at = i
		}
	}
	*ready = slices.Insert(*ready, at, s)
	c.work.Signal()
}

func (c *mux) unqueueLocked(s *muxStream) {
	if !s.queued {
		return
	}
	s.queued = false
	ready := &c.byUrgency[s.urgency]
	i := slices.Index(*ready, s)
	*ready = slices.Delete(*ready, i, i+1)
}

// nextLocked is the stream whose turn it is. When the window of the connection
// is used up, only a FIN can go.
func (c *mux) nextLocked() *muxStream {
	for _, ready := range c.byUrgency {
		for _, s := range ready {
			if s.unsent() == 0 || c.sent < c.maxSent {
				return s
			}
		}
	}
	return nil
}

// appendDataLocked appends a STREAM frame with what the windows and the room
// allow, and gives the next stream its turn.
func (s *muxStream) appendDataLocked(b []byte, room int) []byte {
	c := s.c
	n := min(s.unsent(), room-qmux.MaxStreamHeader, qmux.MaxStreamPayload)
	n = int(min(uint64(n), s.maxSent-s.sent, c.maxSent-c.sent))
	fin := s.fin && n == s.unsent()
	b = qmux.AppendStream(b, s.id, s.sent, n, fin)
	part := min(n, len(s.buffered))
	b = append(b, s.buffered[:part]...)
	b = append(b, s.pending[:n-part]...)
	if s.buffered = s.buffered[part:]; len(s.buffered) == 0 {
		s.buffered = nil
	}
	if s.pending = s.pending[n-part:]; len(s.pending) == 0 {
		s.writable.Broadcast()
	}
	s.sent += uint64(n)
	c.sent += uint64(n)
	if fin {
		s.sendDone = true
	}
	if !s.wantsLocked() {
		c.unqueueLocked(s)
	} else if s.incremental {
		c.unqueueLocked(s)
		c.queueLocked(s)
	}
	if fin {
		s.settleLocked()
	}
	return b
}
