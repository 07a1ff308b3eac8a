package qmux

import (
	"github.com/quic-go/quic-go/quicvarint"
)

// FrameType is the type of a frame (RFC 9000, section 19; QMux, sections
// "QX_TRANSPORT_PARAMETERS Frames" and "QX_PING Frames").
type FrameType uint64

// The frames that QMux allows. Stream and Datagram stand for all types of their
// kind, whatever fields these have.
const (
	Padding            FrameType = 0x00
	ResetStream        FrameType = 0x04
	StopSending        FrameType = 0x05
	Stream             FrameType = 0x08
	MaxData            FrameType = 0x10
	MaxStreamData      FrameType = 0x11
	MaxStreamsBidi     FrameType = 0x12
	MaxStreamsUni      FrameType = 0x13
	DataBlocked        FrameType = 0x14
	StreamDataBlocked  FrameType = 0x15
	StreamsBlockedBidi FrameType = 0x16
	StreamsBlockedUni  FrameType = 0x17
	ConnectionClose    FrameType = 0x1c
	ApplicationClose   FrameType = 0x1d
	Datagram           FrameType = 0x30
	TransportParams    FrameType = 0x3f5153300d0a0d0a
	Ping               FrameType = 0x348c67529ef8c7bd
	Pong               FrameType = 0x348c67529ef8c7be
)

// The bits of the type of a STREAM frame.
const (
	bitFin    = 0x01
	bitLength = 0x02
	bitOffset = 0x04
)

const (
	// DefaultMaxRecord is the least that max_record_size may say, in bytes of
	// frames, and what it says when it is absent.
	DefaultMaxRecord = 16382
	// MaxFrame00 is the size of a frame of draft 00, header included.
	MaxFrame00 = 16384
	// MaxStreamPayload is the most that is sent in one STREAM frame: earlier
	// releases of @moq/qmux take no more.
	MaxStreamPayload = MaxFrame00 - 32
	// MaxStreamHeader and MaxControl are the greatest sizes, in bytes, of what
	// AppendStream puts before the payload, and of a frame that Append makes of
	// any type but ConnectionClose, ApplicationClose and Datagram.
	MaxStreamHeader = 1 + 8 + 8 + 2
	MaxControl      = 4 * 8
	// MaxStreams is the largest count of streams (RFC 9000, section 19.11).
	MaxStreams = 1 << 60
)

// Frame is one frame. Which fields mean something depends on Type.
type Frame struct {
	Type FrameType
	// ID is the stream of ResetStream, StopSending, Stream, MaxStreamData and
	// StreamDataBlocked.
	ID uint64
	// Offset and Fin belong to Stream.
	Offset uint64
	Fin    bool
	// Code is the error code of ResetStream, StopSending, ConnectionClose and
	// ApplicationClose.
	Code uint64
	// Value is the final size of ResetStream, the limit of MaxData to
	// StreamsBlockedUni, and the sequence number of Ping and Pong.
	Value uint64
	// Data is the payload of Stream, Datagram and TransportParams, and the
	// reason of ConnectionClose and ApplicationClose. Parse returns a part of
	// its input.
	Data []byte
}

// cursor reads fields and remembers that they ran out.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) varint() uint64 {
	if c.short {
		return 0
	}
	v, n, err := quicvarint.Parse(c.b)
	if err != nil {
		c.short = true
		return 0
	}
	c.b = c.b[n:]
	return v
}

func (c *cursor) bytes(n uint64) []byte {
	if c.short || n > uint64(len(c.b)) {
		c.short = true
		return nil
	}
	b := c.b[:n:n]
	c.b = c.b[n:]
	return b
}

// Parse reads the first frame of the rest of a message, which must not be
// empty, and returns its size. The error is an *Error.
//
// Types that are prohibited or unknown are refused: "An endpoint MUST treat the
// receipt of a frame of unknown type as a connection error of type
// FRAME_ENCODING_ERROR" (RFC 9000, section 12.4). We offer no extension but
// datagrams.
func Parse(b []byte, v Version) (f Frame, n int, err error) {
	c := cursor{b: b}
	t := FrameType(c.varint())
	f.Type = t
	switch {
	case c.short:
	case t == Padding:
	case t == ResetStream:
		f.ID, f.Code, f.Value = c.varint(), c.varint(), c.varint()
	case t == StopSending:
		f.ID, f.Code = c.varint(), c.varint()
	case t >= Stream && t <= Stream|bitFin|bitLength|bitOffset:
		f.Type, f.Fin = Stream, t&bitFin != 0
		f.ID = c.varint()
		if t&bitOffset != 0 {
			f.Offset = c.varint()
		}
		size := uint64(len(c.b))
		if t&bitLength != 0 {
			size = c.varint()
		}
		f.Data = c.bytes(size)
	case t == MaxData, t == MaxStreamsBidi, t == MaxStreamsUni, t == DataBlocked, t == StreamsBlockedBidi, t == StreamsBlockedUni:
		f.Value = c.varint()
	case t == MaxStreamData, t == StreamDataBlocked:
		f.ID, f.Value = c.varint(), c.varint()
	case t == ConnectionClose, t == ApplicationClose:
		f.Code = c.varint()
		if t == ConnectionClose {
			c.varint() // the type of the frame at fault
		}
		f.Data = c.bytes(c.varint())
	case t == TransportParams:
		f.Data = c.bytes(c.varint())
	case v.Records() && (t == Ping || t == Pong):
		f.Value = c.varint()
	case v.Records() && (t == Datagram || t == Datagram|1):
		f.Type = Datagram
		size := uint64(len(c.b))
		if t != Datagram {
			size = c.varint()
		}
		f.Data = c.bytes(size)
	default:
		return Frame{}, 0, fault(FrameEncodingError, "frames of type %#x are not allowed", uint64(t))
	}
	if c.short {
		return Frame{}, 0, fault(FrameEncodingError, "a frame of type %#x ends too early", uint64(t))
	}
	if (t == MaxStreamsBidi || t == MaxStreamsUni) && f.Value > MaxStreams {
		return Frame{}, 0, fault(FrameEncodingError, "a limit of %d streams", f.Value)
	}
	return f, len(b) - len(c.b), nil
}

// Append appends a frame. STREAM frames carry their offset and length, DATAGRAM
// frames their length, so that others may follow in the record. Values beyond
// those of a variable-length integer, 2^62-1, panic.
func Append(b []byte, f Frame) []byte {
	switch f.Type {
	case Stream:
		return append(AppendStream(b, f.ID, f.Offset, len(f.Data), f.Fin), f.Data...)
	case Datagram:
		b = quicvarint.Append(b, uint64(Datagram|1))
		b = quicvarint.Append(b, uint64(len(f.Data)))
		return append(b, f.Data...)
	}
	b = quicvarint.Append(b, uint64(f.Type))
	switch f.Type {
	case ResetStream:
		b = quicvarint.Append(b, f.ID)
		b = quicvarint.Append(b, f.Code)
		b = quicvarint.Append(b, f.Value)
	case StopSending:
		b = quicvarint.Append(b, f.ID)
		b = quicvarint.Append(b, f.Code)
	case MaxStreamData, StreamDataBlocked:
		b = quicvarint.Append(b, f.ID)
		b = quicvarint.Append(b, f.Value)
	case ConnectionClose, ApplicationClose:
		b = quicvarint.Append(b, f.Code)
		if f.Type == ConnectionClose {
			b = quicvarint.Append(b, 0) // not the fault of one type of frame
		}
		b = quicvarint.Append(b, uint64(len(f.Data)))
		b = append(b, f.Data...)
	case TransportParams:
		b = quicvarint.Append(b, uint64(len(f.Data)))
		b = append(b, f.Data...)
	case Padding:
	default:
		b = quicvarint.Append(b, f.Value)
	}
	return b
}

// AppendStream appends a STREAM frame up to its payload of size bytes,
// MaxStreamPayload at most, which the caller appends.
func AppendStream(b []byte, id, offset uint64, size int, fin bool) []byte {
	t := Stream | bitLength | bitOffset
	if fin {
		t |= bitFin
	}
	b = append(b, byte(t))
	b = quicvarint.Append(b, id)
	b = quicvarint.Append(b, offset)
	return quicvarint.Append(b, uint64(size))
}

// DatagramSize returns the size of the largest payload whose DATAGRAM frame, as
// Append makes it, has limit bytes at most; zero when none has.
func DatagramSize(limit uint64) int {
	// A record of DefaultMaxRecord bytes is the most that is ever sent.
	limit = min(limit, DefaultMaxRecord)
	for overhead := uint64(2); overhead <= 3; overhead++ {
		if limit >= overhead && 1+uint64(quicvarint.Len(limit-overhead)) <= overhead {
			return int(limit - overhead)
		}
	}
	return 0
}
