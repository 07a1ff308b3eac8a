package transport

import (
	"fmt"
	"time"

	"github.com/freshet-live/freshet/moq/transport/qmux"
)

// read takes messages in until the WebSocket ends. After the end of the
// connection it reads on without looking, so that the peer's end of the closing
// handshake is seen.
func (c *mux) read() {
	b := make([]byte, maxMessage+1)
	for {
		n, err := c.m.receive(b)
		c.mu.Lock()
		switch {
		case err == errText:
			c.faultLocked(&qmux.Error{Code: qmux.ProtocolViolation, Reason: "text message"})
		case err != nil:
			c.failLocked(receiveError(err), nil)
			c.mu.Unlock()
			return
		case c.err == nil:
			if err := c.messageLocked(b[:n]); err != nil {
				c.faultLocked(err)
			}
		}
		c.mu.Unlock()
	}
}

// messageLocked takes the frames of a message in.
func (c *mux) messageLocked(b []byte) error {
	c.stats.PacketsReceived++
	c.stats.BytesReceived += uint64(len(b))
	limit := qmux.MaxFrame00
	if c.cfg.version.Records() {
		limit = qmux.DefaultMaxRecord
	}
	if len(b) > limit {
		return &qmux.Error{Code: qmux.FrameEncodingError, Reason: fmt.Sprintf("a message of more than %d bytes", limit)}
	}
	for len(b) > 0 && c.err == nil {
		f, n, err := qmux.Parse(b, c.cfg.version)
		if err != nil {
			return err
		}
		b = b[n:]
		if err := c.frameLocked(f, uint64(n)); err != nil {
			return err
		}
	}
	// "endpoints reset the idle timer each time a QMux record is completely
	// received" (section "Idle Timeout").
	c.lastReceived = time.Now()
	return nil
}

// frameLocked takes one frame of the given size in.
func (c *mux) frameLocked(f qmux.Frame, size uint64) error {
	if f.Type == qmux.Padding {
		return nil
	}
	// "If the first frame being received by an endpoint is not a
	// QX_TRANSPORT_PARAMETERS frame, or if a QX_TRANSPORT_PARAMETERS frame is
	// received other than as the first frame, the endpoint MUST close the
	// connection with an error of type PROTOCOL_VIOLATION." Draft 00 had not
	// the second half.
	if isParams := f.Type == qmux.TransportParams; isParams == c.hasPeer {
		if isParams && c.cfg.version == qmux.Draft00 {
			return nil
		}
		if f.Type != qmux.ConnectionClose && f.Type != qmux.ApplicationClose {
			return &qmux.Error{Code: qmux.ProtocolViolation, Reason: "transport parameters must come first, once"}
		}
	}
	switch f.Type {
	case qmux.TransportParams:
		return c.paramsLocked(f.Data)
	case qmux.Stream:
		s, err := c.receiverLocked(f.ID)
		if s == nil {
			return err
		}
		return s.dataLocked(f)
	case qmux.ResetStream:
		s, err := c.receiverLocked(f.ID)
		if s == nil {
			return err
		}
		return s.peerResetLocked(f)
	case qmux.StopSending:
		s, err := c.senderLocked(f.ID)
		if s == nil {
			return err
		}
		s.resetLocked(f.Code, &StreamError{Code: f.Code, Remote: true})
	case qmux.MaxStreamData:
		s, err := c.senderLocked(f.ID)
		if s == nil {
			return err
		}
		if f.Value > s.maxSent {
			s.maxSent = f.Value
			c.queueLocked(s)
		}
	case qmux.MaxData:
		if f.Value > c.maxSent {
			c.maxSent = f.Value
			c.work.Signal()
		}
	case qmux.MaxStreamsBidi, qmux.MaxStreamsUni:
		out := &c.outgoing[f.Type-qmux.MaxStreamsBidi]
		if f.Value > out.max {
			out.max = f.Value
			c.changed.Broadcast()
		}
	case qmux.Datagram:
		// RFC 9221, section 3: the limit is on the whole frame.
		if size > qmux.DefaultMaxRecord {
			return &qmux.Error{Code: qmux.ProtocolViolation, Reason: "datagram larger than allowed"}
		}
		if len(c.datagrams) < muxDatagrams {
			c.datagrams = append(c.datagrams, append([]byte{}, f.Data...))
			c.changed.Broadcast()
		}
	case qmux.Ping:
		if c.cfg.version >= qmux.Draft02 && f.Value < c.pingSeen {
			return &qmux.Error{Code: qmux.ProtocolViolation, Reason: "sequence numbers of pings must increase"}
		}
		c.pingSeen = f.Value + 1
		// One answer, to the latest, serves for all.
		c.pongDue, c.pong = true, f.Value
		c.work.Signal()
	case qmux.Pong:
		if f.Value >= c.pingSent {
			return &qmux.Error{Code: qmux.ProtocolViolation, Reason: "answer to a ping that was not sent"}
		}
		if f.Value+1 == c.pingSent && c.pingTimed {
			c.pingTimed = false
			c.sampleLocked(time.Since(c.pingSentAt))
		}
	case qmux.ApplicationClose:
		c.failLocked(&CloseError{Code: f.Code, Reason: peerReason(f.Data), Remote: true}, nil)
	case qmux.ConnectionClose:
		c.failLocked(fmt.Errorf("transport: %w",
			&qmux.Error{Code: qmux.Code(f.Code), Reason: peerReason(f.Data), Remote: true}), nil)
	case qmux.DataBlocked, qmux.StreamDataBlocked, qmux.StreamsBlockedBidi, qmux.StreamsBlockedUni:
		// Windows follow the readers; that a peer waits does not make them
		// faster.
	}
	return nil
}

func (c *mux) paramsLocked(b []byte) error {
	p, err := qmux.ParseParams(b)
	if err != nil {
		return err
	}
	c.peer, c.hasPeer = p, true
	c.maxSent = p.InitialMaxData
	c.outgoing[bidi].max, c.outgoing[uni].max = p.InitialMaxStreamsBidi, p.InitialMaxStreamsUni
	c.pingDue = c.cfg.version.Records() // the first sample of the round-trip time
	c.changed.Broadcast()
	c.work.Signal()
	close(c.ready)
	return nil
}

// receiverLocked finds the stream that a frame of its sender names. It is nil
// without an error when the stream has ended.
func (c *mux) receiverLocked(id uint64) (*muxStream, error) {
	if own := id&1 == 1 == c.cfg.server; own && id&2 != 0 {
		return nil, &qmux.Error{Code: qmux.StreamStateError, Reason: "data on a stream that only we send on"}
	}
	return c.streamLocked(id)
}

// senderLocked is the same for a frame of its receiver.
func (c *mux) senderLocked(id uint64) (*muxStream, error) {
	if own := id&1 == 1 == c.cfg.server; !own && id&2 != 0 {
		return nil, &qmux.Error{Code: qmux.StreamStateError, Reason: "answer to a stream that only the peer sends on"}
	}
	return c.streamLocked(id)
}

// streamLocked finds a stream, and opens it if the peer may.
func (c *mux) streamLocked(id uint64) (*muxStream, error) {
	if s := c.streams[id]; s != nil {
		return s, nil
	}
	index, dir := id>>2, id>>1&1
	if id&1 == 1 == c.cfg.server {
		if index >= c.outgoing[dir].next {
			return nil, &qmux.Error{Code: qmux.StreamStateError, Reason: "a stream of ours that is not open"}
		}
		return nil, nil
	}
	in := &c.incoming[dir]
	switch _, unseen := in.unseen[index]; {
	case unseen:
		delete(in.unseen, index)
	case index < in.next:
		return nil, nil
	case index >= in.max:
		return nil, &qmux.Error{Code: qmux.StreamLimitError, Reason: "more streams than allowed"}
	default:
		// "Opening a stream causes all lower-numbered streams of the same type
		// to open" (RFC 9000, section 3.2); here they are only remembered.
		for lower := in.next; lower < index; lower++ {
			in.unseen[lower] = struct{}{}
		}
		in.next = index + 1
	}
	s := c.addStreamLocked(id)
	in.accept = append(in.accept, s)
	c.changed.Broadcast()
	return s, nil
}
