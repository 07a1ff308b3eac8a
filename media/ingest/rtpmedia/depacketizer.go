package rtpmedia

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpac3"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpav1"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpsimpleaudio"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpvp8"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpvp9"
	"github.com/pion/rtp"

	"github.com/freshet-live/freshet/media"
)

// maxUnitPackets bounds the packets of one access unit. The decoders bound
// its bytes, but a packet may add none and still hold its buffer: 8 MiB in
// packets of 512 bytes is beyond any real access unit.
const maxUnitPackets = 16384

// errMore: the packet is part of a unit that has not ended.
var errMore = errors.New("rtpmedia: more packets needed")

// depacketizer puts the payloads of one RTP stream together to access units.
type depacketizer struct {
	codec media.Codec
	aac   AACPacking
	don   int // H.265: sprop-max-don-diff

	decode  func(*rtp.Packet) ([][]byte, error)
	packets int    // since the last unit
	pending bool   // a unit has been begun
	ts      uint32 // RTP timestamp of the unit begun
}

func newDepacketizer(c media.Codec, aac AACPacking, don int) (*depacketizer, error) {
	d := &depacketizer{codec: c, aac: aac, don: don}
	if c == media.AAC {
		if err := aac.validate(); err != nil {
			return nil, err
		}
	}
	if err := d.reset(); err != nil {
		return nil, err
	}
	return d, nil
}

// reset forgets the unit begun. The decoders keep parts of a unit in ways that
// a gap in the stream can confuse, so they are made anew.
func (d *depacketizer) reset() error {
	d.packets, d.pending = 0, false
	var err error
	switch d.codec {
	case media.H264:
		dec := &rtph264.Decoder{PacketizationMode: 1}
		err, d.decode = dec.Init(), decodeWith(dec.Decode, rtph264.ErrMorePacketsNeeded, rtph264.ErrNonStartingPacketAndNoPrevious)
	case media.H265:
		dec := &rtph265.Decoder{MaxDONDiff: d.don}
		err, d.decode = dec.Init(), decodeWith(dec.Decode, rtph265.ErrMorePacketsNeeded, rtph265.ErrNonStartingPacketAndNoPrevious)
	case media.AV1:
		dec := &rtpav1.Decoder{}
		err, d.decode = dec.Init(), decodeWith(dec.Decode, rtpav1.ErrMorePacketsNeeded, rtpav1.ErrNonStartingPacketAndNoPrevious)
	case media.VP8:
		dec := &rtpvp8.Decoder{}
		err, d.decode = dec.Init(), decodeWith(one(dec.Decode), rtpvp8.ErrMorePacketsNeeded, rtpvp8.ErrNonStartingPacketAndNoPrevious)
	case media.VP9:
		dec := &rtpvp9.Decoder{}
		err, d.decode = dec.Init(), decodeWith(one(dec.Decode), rtpvp9.ErrMorePacketsNeeded, rtpvp9.ErrNonStartingPacketAndNoPrevious)
	case media.Opus:
		dec := &rtpsimpleaudio.Decoder{}
		err, d.decode = dec.Init(), one(dec.Decode)
	case media.AAC:
		dec := &aacDecoder{AACPacking: d.aac}
		d.decode = dec.Decode
	case media.AC3:
		dec := &rtpac3.Decoder{}
		err, d.decode = dec.Init(), decodeWith(dec.Decode, rtpac3.ErrMorePacketsNeeded, rtpac3.ErrNonStartingPacketAndNoPrevious)
	default:
		err = fmt.Errorf("rtpmedia: no RTP payload format for %v", d.codec)
	}
	return err
}

// decodeWith gives the decoders' "not yet" errors one name. A fragment of a
// unit whose start was never seen is not an error either: publishers are
// joined in the middle.
func decodeWith(decode func(*rtp.Packet) ([][]byte, error), more, noStart error) func(*rtp.Packet) ([][]byte, error) {
	return func(pkt *rtp.Packet) ([][]byte, error) {
		unit, err := decode(pkt)
		if errors.Is(err, more) || errors.Is(err, noStart) {
			return nil, errMore
		}
		return unit, err
	}
}

// one makes a decoder of frames in one piece look like one of units in parts.
func one(decode func(*rtp.Packet) ([]byte, error)) func(*rtp.Packet) ([][]byte, error) {
	return func(pkt *rtp.Packet) ([][]byte, error) {
		frame, err := decode(pkt)
		if err != nil {
			return nil, err
		}
		return [][]byte{frame}, nil
	}
}

// push takes the next packet. It returns the parts of the unit that the packet
// completed and the unit's RTP timestamp, errMore, or what is wrong with the
// payload. For AAC and AC-3 the parts are access units that follow each other.
//
// H.264 and H.265 units also end where the timestamp changes, for cameras that
// never set the marker bit; the unit returned is then the one before the
// packet's.
func (d *depacketizer) push(pkt *rtp.Packet) (unit [][]byte, ts uint32, err error) {
	if d.packets++; d.packets > maxUnitPackets {
		return nil, 0, fmt.Errorf("rtpmedia: access unit of more than %d packets", maxUnitPackets)
	}
	unit, err = d.decode(pkt)
	if err != nil {
		if errors.Is(err, errMore) && !d.pending {
			d.pending, d.ts = true, pkt.Timestamp
		}
		return nil, 0, err
	}
	d.packets = 0
	if d.pending && d.ts != pkt.Timestamp && (d.codec == media.H264 || d.codec == media.H265) {
		ts, d.ts = d.ts, pkt.Timestamp
		return unit, ts, nil
	}
	d.pending = false
	return unit, pkt.Timestamp, nil
}

// begins tells whether a packet is surely the first of a unit that decoding
// can start at. After a loss it saves a key frame whose first packet was the
// first to arrive. False means "not known".
func begins(c media.Codec, p []byte) bool {
	if len(p) == 0 {
		return false
	}
	switch c {
	case media.H264:
		t := p[0] & 0x1f
		if t == 24 && len(p) > 3 { // STAP-A: type of the first NAL unit in it
			t = p[3] & 0x1f
		}
		return t == 7 || t == 9 // SPS, AUD
	case media.H265:
		t := p[0] >> 1 & 0x3f
		if t == 48 && len(p) > 4 { // aggregation packet
			t = p[4] >> 1 & 0x3f
		}
		return t == 32 || t == 33 || t == 35 // VPS, SPS, AUD
	case media.AV1:
		return p[0]&0x88 == 0x08 // N set, Z clear: a new coded video sequence
	case media.VP8:
		return p[0]&0x17 == 0x10 // S set, PID 0
	case media.VP9:
		return p[0]&0x48 == 0x08 // B set, P clear: not predicted
	}
	return false
}
