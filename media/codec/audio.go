package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"

	"github.com/freshet-live/freshet/media"
)

// OpusRate is the sample rate of all Opus tracks, in Hz: the decoder's, not
// that of the source (RFC 7845, section 5.1).
const OpusRate = 48000

// OpusHead is the identification header of an Opus track (RFC 7845, section
// 5.1).
type OpusHead struct {
	Channels        int // 1…255
	PreSkip         int // samples at 48 kHz
	InputSampleRate int // Hz; informative
	OutputGain      int // 1/256 dB
	MappingFamily   int
	// Mapping is empty for family 0, else stream count, coupled count and
	// one index for each channel.
	Mapping []byte
}

// Marshal returns the header's bytes.
func (h *OpusHead) Marshal() []byte {
	b := append(make([]byte, 0, 19+len(h.Mapping)), "OpusHead"...)
	b = append(b, 1, uint8(h.Channels))
	b = binary.LittleEndian.AppendUint16(b, uint16(h.PreSkip))
	b = binary.LittleEndian.AppendUint32(b, uint32(h.InputSampleRate))
	b = binary.LittleEndian.AppendUint16(b, uint16(int16(h.OutputGain)))
	b = append(b, uint8(h.MappingFamily))
	return append(b, h.Mapping...)
}

// ParseOpusHead parses an identification header. Mapping shares b's memory.
func ParseOpusHead(b []byte) (OpusHead, error) {
	if len(b) < 19 || !bytes.HasPrefix(b, []byte("OpusHead")) || b[8]>>4 != 0 {
		return OpusHead{}, fmt.Errorf("%w: OpusHead", ErrMalformed)
	}
	h := OpusHead{
		Channels:        int(b[9]),
		PreSkip:         int(binary.LittleEndian.Uint16(b[10:])),
		InputSampleRate: int(binary.LittleEndian.Uint32(b[12:])),
		OutputGain:      int(int16(binary.LittleEndian.Uint16(b[16:]))),
		MappingFamily:   int(b[18]),
	}
	switch {
	case h.Channels == 0, h.MappingFamily == 0 && h.Channels > 2:
		return OpusHead{}, fmt.Errorf("%w: OpusHead with %d channels in family %d", ErrMalformed, h.Channels, h.MappingFamily)
	case h.MappingFamily == 0:
		return h, nil
	case len(b) < 21+h.Channels:
		return OpusHead{}, fmt.Errorf("%w: OpusHead channel mapping", ErrMalformed)
	}
	h.Mapping = b[19 : 21+h.Channels]
	return h, nil
}

// vorbisMappings are the channel mappings of family 1 for 3 to 8 channels in
// the order that libopus encodes them (RFC 7845, section 5.1.1.2): stream
// count, coupled stream count, index of each channel.
var vorbisMappings = [...][]byte{
	3: {2, 1, 0, 2, 1},
	4: {2, 2, 0, 1, 2, 3},
	5: {3, 2, 0, 4, 1, 2, 3},
	6: {4, 2, 0, 4, 1, 2, 3, 5},
	7: {4, 3, 0, 4, 1, 2, 3, 5, 6},
	8: {5, 3, 0, 6, 1, 2, 3, 4, 5, 7},
}

// OpusFormat builds the Format of an Opus track of 1 to 8 channels. Mono and
// stereo need no Description; more channels get an OpusHead of family 1.
func OpusFormat(channels int) (media.Format, error) {
	f := media.Format{Codec: media.Opus, MIME: "opus", SampleRate: OpusRate, Channels: channels}
	switch {
	case channels < 1 || channels >= len(vorbisMappings):
		return media.Format{}, fmt.Errorf("%w: Opus with %d channels", ErrUnsupported, channels)
	case channels > 2:
		h := OpusHead{Channels: channels, InputSampleRate: OpusRate, MappingFamily: 1, Mapping: vorbisMappings[channels]}
		f.Description = h.Marshal()
	}
	return f, nil
}

// opusFormatOf builds the Format of an OpusHead.
func opusFormatOf(head []byte) (media.Format, error) {
	h, err := ParseOpusHead(head)
	if err != nil {
		return media.Format{}, err
	}
	return media.Format{
		Codec: media.Opus, MIME: "opus", Description: bytes.Clone(head),
		SampleRate: OpusRate, Channels: h.Channels,
	}, nil
}

// AACFormat builds the Format of an AudioSpecificConfig (ISO/IEC 14496-3,
// 1.6.2.1). SampleRate is the decoder's output rate, which with signalled SBR
// is twice the core's.
func AACFormat(audioSpecificConfig []byte) (media.Format, error) {
	c, err := parseASC(audioSpecificConfig)
	if err != nil {
		return media.Format{}, err
	}
	f := media.Format{
		Codec:       media.AAC,
		Description: bytes.Clone(audioSpecificConfig),
		SampleRate:  c.SampleRate,
		Channels:    int(c.ChannelConfig),
	}
	typ := c.Type
	if c.ExtensionType != 0 {
		typ = c.ExtensionType
		f.SampleRate = c.ExtensionSampleRate
	}
	f.MIME = fmt.Sprintf("mp4a.40.%d", typ)
	switch {
	case c.ExtensionType == mpeg4audio.ObjectTypePS:
		f.Channels = 2
	case c.ChannelConfig == 7:
		f.Channels = 8
	case c.ChannelConfig == 0:
		// A program config element would tell; decoders read it
		// themselves. Stereo is what encoders that write one mean.
		f.Channels = 2
	}
	return f, nil
}

func parseASC(b []byte) (*mpeg4audio.AudioSpecificConfig, error) {
	var c mpeg4audio.AudioSpecificConfig
	if err := c.Unmarshal(b); err != nil {
		return nil, fmt.Errorf("%w: AudioSpecificConfig: %w", ErrMalformed, err)
	}
	if c.SampleRate <= 0 || c.ChannelConfig > 7 {
		return nil, fmt.Errorf("%w: AudioSpecificConfig: %d Hz, channel configuration %d", ErrMalformed, c.SampleRate, c.ChannelConfig)
	}
	return &c, nil
}

// Duration returns how long one audio frame of format f sounds; 0 when f is
// not an audio format or the frame cannot be parsed.
func Duration(f *media.Format, data []byte) time.Duration {
	switch f.Codec {
	case media.Opus:
		if len(data) == 0 {
			return 0
		}
		return time.Duration(opus.PacketDuration2(data)) * time.Second / OpusRate
	case media.AAC:
		c, err := parseASC(f.Description)
		if err != nil {
			return 0
		}
		samples := mpeg4audio.SamplesPerAccessUnit
		if c.FrameLengthFlag {
			samples = 960
		}
		return time.Duration(samples) * time.Second / time.Duration(c.SampleRate)
	case media.AC3, media.EC3:
		return dolbyDuration(f.Codec, data)
	}
	return 0
}

// audioAssembler is the Assembler of Opus and AAC.
type audioAssembler struct {
	format *media.Format
}

func newOpusAssembler(s media.Format) (Assembler, error) {
	var f media.Format
	var err error
	if len(s.Description) > 0 {
		f, err = opusFormatOf(s.Description)
	} else {
		channels := s.Channels
		if channels == 0 {
			channels = 2
		}
		f, err = OpusFormat(channels)
	}
	if err != nil {
		return nil, err
	}
	f.Bitrate = s.Bitrate
	return &audioAssembler{&f}, nil
}

func newAACAssembler(s media.Format) (Assembler, error) {
	f, err := AACFormat(s.Description)
	if err != nil {
		return nil, err
	}
	f.Bitrate = s.Bitrate
	return &audioAssembler{&f}, nil
}

func (a *audioAssembler) Format() *media.Format { return a.format }

func (a *audioAssembler) Assemble(pts media.Time, unit [][]byte) (media.Frame, error) {
	b, err := single(unit)
	if err != nil {
		return media.Frame{}, err
	}
	return media.Frame{PTS: pts, Key: true, Data: bytes.Clone(b), Format: a.format}, nil
}
