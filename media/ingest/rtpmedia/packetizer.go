package rtpmedia

import (
	"errors"
	"fmt"

	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpac3"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpav1"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpmpeg4audio"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpsimpleaudio"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpvp8"
	"github.com/bluenviron/gortsplib/v5/pkg/format/rtpvp9"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"
	"github.com/pion/rtp"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
)

// maxPayload keeps packets below the smallest path MTU of the internet (1280)
// with room for SRTP, TURN and IPv6 headers; OBS and browsers send the same.
const maxPayload = 1180

// Packetizer cuts the frames of one track into RTP packets. It is not safe for
// concurrent use.
type Packetizer struct {
	payloadType uint8
	rate        int64
	format      *media.Format
	encode      func(media.Frame) ([]*rtp.Packet, error)
}

// NewPacketizer returns a packetizer for frames of format f. AAC is packed
// in mode AAC-hbr.
func NewPacketizer(f *media.Format, payloadType uint8) (*Packetizer, error) {
	p := &Packetizer{payloadType: payloadType, format: f, rate: int64(clockRate(f, *f))}
	if p.rate <= 0 {
		return nil, fmt.Errorf("rtpmedia: %v without sample rate", f.Codec)
	}
	var err error
	switch f.Codec {
	case media.H264:
		e := &rtph264.Encoder{PacketizationMode: 1, PayloadMaxSize: maxPayload}
		err, p.encode = e.Init(), p.nalus(e.Encode)
	case media.H265:
		e := &rtph265.Encoder{PayloadMaxSize: maxPayload}
		err, p.encode = e.Init(), p.nalus(e.Encode)
	case media.AV1:
		e := &rtpav1.Encoder{PayloadMaxSize: maxPayload}
		err, p.encode = e.Init(), func(f media.Frame) ([]*rtp.Packet, error) {
			// On the wire OBUs have no size field (RTP Payload Format For
			// AV1, section 5).
			var obus av1.Bitstream
			if err := obus.Unmarshal(f.Data); err != nil {
				return nil, err
			}
			if len(obus) == 0 {
				return nil, errEmpty
			}
			return e.Encode(obus)
		}
	case media.VP8:
		e := &rtpvp8.Encoder{PayloadMaxSize: maxPayload}
		err, p.encode = e.Init(), func(f media.Frame) ([]*rtp.Packet, error) { return e.Encode(f.Data) }
	case media.VP9:
		e := &rtpvp9.Encoder{PayloadMaxSize: maxPayload}
		err, p.encode = e.Init(), func(f media.Frame) ([]*rtp.Packet, error) { return e.Encode(f.Data) }
	case media.Opus:
		e := &rtpsimpleaudio.Encoder{PayloadMaxSize: maxPayload}
		err, p.encode = e.Init(), func(f media.Frame) ([]*rtp.Packet, error) {
			pkt, err := e.Encode(f.Data)
			return []*rtp.Packet{pkt}, err
		}
	case media.AAC:
		e := &rtpmpeg4audio.Encoder{
			SizeLength: HBR.SizeLength, IndexLength: HBR.IndexLength, IndexDeltaLength: HBR.IndexDeltaLength,
			PayloadMaxSize: maxPayload,
		}
		err, p.encode = e.Init(), func(f media.Frame) ([]*rtp.Packet, error) { return e.Encode([][]byte{f.Data}) }
	case media.AC3:
		e := &rtpac3.Encoder{PayloadMaxSize: maxPayload}
		err, p.encode = e.Init(), func(f media.Frame) ([]*rtp.Packet, error) { return e.Encode([][]byte{f.Data}) }
	default:
		err = fmt.Errorf("rtpmedia: no RTP payload format for %v", f.Codec)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// nalus encodes access units. Parameter sets go before every key frame, in
// band, as receivers that join late need them.
func (p *Packetizer) nalus(encode func([][]byte) ([]*rtp.Packet, error)) func(media.Frame) ([]*rtp.Packet, error) {
	return func(f media.Frame) ([]*rtp.Packet, error) {
		unit, err := codec.SplitLengthPrefixed(f.Data)
		if err != nil {
			return nil, err
		}
		if len(unit) == 0 {
			return nil, errEmpty
		}
		if f.Key {
			sets, err := codec.ParameterSets(p.format)
			if err != nil {
				return nil, err
			}
			unit = append(sets[:len(sets):len(sets)], unit...)
		}
		return encode(unit)
	}
}

var errEmpty = errors.New("rtpmedia: empty frame")

// Packets returns the packets of the next frame. Timestamps are the frame's
// PTS in ticks since the Unix epoch, modulo 2³², so that tracks of the same
// source need no other agreement to be in sync. The packets may share the
// frame's memory.
func (p *Packetizer) Packets(f media.Frame) ([]*rtp.Packet, error) {
	if len(f.Data) == 0 {
		return nil, errEmpty
	}
	if f.Format != nil {
		p.format = f.Format
	}
	pkts, err := p.encode(f)
	if err != nil {
		return nil, err
	}
	ts := p.timestamp(f.PTS)
	for _, pkt := range pkts {
		pkt.PayloadType = p.payloadType
		pkt.Timestamp = ts
	}
	return pkts, nil
}

// timestamp rounds to the nearest tick: truncating would make the steps of an
// exact frame rate uneven.
func (p *Packetizer) timestamp(t media.Time) uint32 {
	const second = 1e6
	whole, micros := int64(t)/second, int64(t)%second
	return uint32(whole*p.rate + (micros*p.rate+second/2)/second)
}
