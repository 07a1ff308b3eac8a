package session

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// messageReader reads control messages from a stream. It is used by one
// goroutine at a time.
type messageReader struct {
	draft  wire.Draft
	stream transport.ReceiveStream
	// patience is how long a message may take from its first byte on.
	patience time.Duration

	buf   []byte // what has been read and not yet parsed
	timed bool   // a read deadline is set
}

// readChunk is what one read asks for. Most messages are smaller, and there is
// one reader per request.
const readChunk = 512

// next returns the next message: io.EOF at a FIN between messages, a
// *transport.StreamError after a reset, a *LocalError or *wire.Error for what
// ends the session, else the end of the connection.
func (r *messageReader) next() (wire.Message, error) {
	for {
		m, n, err := r.draft.ParseMessage(r.buf)
		if err == nil {
			r.buf = append(r.buf[:0], r.buf[n:]...)
			if r.timed {
				r.timed = false
				r.stream.SetReadDeadline(time.Time{})
			}
			return m, nil
		}
		if !errors.Is(err, wire.ErrShort) {
			return nil, err
		}
		if len(r.buf) > 0 && !r.timed {
			r.deadline(r.patience)
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// deadline bounds the next message.
func (r *messageReader) deadline(d time.Duration) {
	r.timed = true
	r.stream.SetReadDeadline(time.Now().Add(d))
}

// fill adds at least one byte to buf. What buf can grow to is bounded by
// wire.MaxMessageSize, since a complete message is parsed; it grows with what
// really comes and not with what a length announces.
func (r *messageReader) fill() error {
	if cap(r.buf)-len(r.buf) < readChunk/2 {
		grown := make([]byte, len(r.buf), 2*cap(r.buf)+readChunk)
		copy(grown, r.buf)
		r.buf = grown
	}
	n, err := r.stream.Read(r.buf[len(r.buf):cap(r.buf)])
	r.buf = r.buf[:len(r.buf)+n]
	switch {
	case n > 0:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &LocalError{Code: wire.ControlMessageTimeout, Reason: "message is not complete"}
	case errors.Is(err, io.EOF) && len(r.buf) > 0:
		return violation("stream ends inside a message")
	}
	return err
}
