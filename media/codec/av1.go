package codec

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/av1"

	"github.com/freshet-live/freshet/media"
)

// OBU types (AV1 Bitstream & Decoding Process Specification, 6.2.2).
const (
	obuSequenceHeader       = 1
	obuTemporalDelimiter    = 2
	obuFrameHeader          = 3
	obuTileGroup            = 4
	obuMetadata             = 5
	obuFrame                = 6
	obuRedundantFrameHeader = 7
	obuTileList             = 8
	obuPadding              = 15
)

// obu is one open bitstream unit.
type obu struct {
	typ     uint8
	ext     []byte // the extension byte, when there is one
	payload []byte
}

// parseOBU parses the OBU at the start of b and returns how many bytes it
// takes: all of b when it has no size field (5.3.1).
func parseOBU(b []byte) (o obu, n int, err error) {
	if len(b) == 0 || b[0]&0x80 != 0 { // obu_forbidden_bit
		return o, 0, fmt.Errorf("%w: OBU header", ErrMalformed)
	}
	o.typ = b[0] >> 3 & 15
	head := 1
	if b[0]&4 != 0 { // obu_extension_flag
		if len(b) < 2 {
			return o, 0, fmt.Errorf("%w: OBU extension", ErrMalformed)
		}
		o.ext = b[1:2:2]
		head = 2
	}
	if b[0]&2 == 0 { // obu_has_size_field
		o.payload = b[head:]
		return o, len(b), nil
	}
	size, sizeLen := leb128(b[head:])
	if sizeLen == 0 || size > uint64(len(b)-head-sizeLen) {
		return o, 0, fmt.Errorf("%w: OBU size", ErrMalformed)
	}
	head += sizeLen
	n = head + int(size)
	o.payload = b[head:n:n]
	return o, n, nil
}

// append appends the OBU with size field.
func (o obu) append(b []byte) []byte {
	head := o.typ<<3 | 2
	if o.ext != nil {
		head |= 4
	}
	b = append(b, head)
	b = append(b, o.ext...)
	b = appendLEB128(b, uint64(len(o.payload)))
	return append(b, o.payload...)
}

// leb128 parses a value of at most eight bytes (4.10.5); n is 0 when b does
// not hold one.
func leb128(b []byte) (v uint64, n int) {
	for i := range min(len(b), 8) {
		v |= uint64(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return v, i + 1
		}
	}
	return 0, 0
}

func appendLEB128(b []byte, v uint64) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// SplitOBUs returns the OBUs of a temporal unit in the low-overhead bitstream
// format (section 5.2), each with its header. They share b's memory.
func SplitOBUs(b []byte) ([][]byte, error) {
	var obus [][]byte
	for len(b) > 0 {
		_, n, err := parseOBU(b)
		if err != nil {
			return nil, err
		}
		if len(obus) == MaxUnitParts {
			return nil, fmt.Errorf("%w: over %d OBUs", ErrTooLarge, MaxUnitParts)
		}
		obus = append(obus, b[:n:n])
		b = b[n:]
	}
	return obus, nil
}

// AV1Format builds the Format of a sequence header OBU, with or without size
// field.
func AV1Format(sequenceHeader []byte) (media.Format, error) {
	o, _, err := parseOBU(sequenceHeader)
	if err != nil {
		return media.Format{}, err
	}
	if o.typ != obuSequenceHeader {
		return media.Format{}, fmt.Errorf("%w: OBU of type %d where a sequence header belongs", ErrMalformed, o.typ)
	}
	h, err := parseSequenceHeader(o)
	if err != nil {
		return media.Format{}, err
	}
	c := AV1Config{
		Profile:      h.SeqProfile,
		Level:        h.SeqLevelIdx[0],
		HighTier:     h.SeqTier[0],
		HighBitDepth: h.ColorConfig.HighBitDepth,
		TwelveBit:    h.ColorConfig.TwelveBit,
		Monochrome:   h.ColorConfig.MonoChrome,
		SubsamplingX: h.ColorConfig.SubsamplingX,
		SubsamplingY: h.ColorConfig.SubsamplingY,
		OBUs:         obu{typ: o.typ, payload: o.payload}.append(nil),
	}
	if c.SubsamplingX && c.SubsamplingY {
		c.ChromaSamplePosition = uint8(h.ColorConfig.ChromaSamplePosition)
	}
	f := media.Format{
		Codec:       media.AV1,
		MIME:        av1MIME(&c, h),
		Description: c.Marshal(),
		Width:       h.Width(),
		Height:      h.Height(),
	}
	if t := h.TimingInfo; t != nil && t.EqualPictureInterval {
		f.FrameRate = frameRate(float64(t.TimeScale), float64(t.NumUnitsInDisplayTick)*float64(t.NumTicksPerPictureMinus1+1))
	}
	return f, checkSize(f.Width, f.Height)
}

func parseSequenceHeader(o obu) (*av1.SequenceHeader, error) {
	// The parser wants a header without extension, which a sequence header
	// has no use for: it belongs to all layers.
	var h av1.SequenceHeader
	if err := h.Unmarshal(obu{typ: o.typ, payload: o.payload}.append(nil)); err != nil {
		return nil, fmt.Errorf("%w: AV1 sequence header: %w", ErrMalformed, err)
	}
	if len(h.SeqLevelIdx) == 0 || len(h.SeqTier) == 0 {
		return nil, fmt.Errorf("%w: AV1 sequence header without operating point", ErrMalformed)
	}
	return &h, nil
}

// av1MIME returns the codec string of the AV1 mapping to ISO BMFF, section 5.
// The optional part is written when the picture is not plain 4:2:0 in the
// colours of BT.709 or unspecified ones.
func av1MIME(c *AV1Config, h *av1.SequenceHeader) string {
	tier := 'M'
	if c.HighTier {
		tier = 'H'
	}
	depth := 8
	switch {
	case c.TwelveBit:
		depth = 12
	case c.HighBitDepth:
		depth = 10
	}
	var b strings.Builder
	fmt.Fprintf(&b, "av01.%d.%02d%c.%02d", c.Profile, c.Level, tier, depth)
	cc := h.ColorConfig
	primaries, transfer, matrix := uint8(2), uint8(2), uint8(2)
	if cc.ColorDescriptionPresentFlag {
		primaries, transfer, matrix = uint8(cc.ColorPrimaries), uint8(cc.TransferCharacteristics), uint8(cc.MatrixCoefficients)
	}
	plain := func(v uint8) bool { return v == 1 || v == 2 }
	if plain(primaries) && plain(transfer) && plain(matrix) && !cc.ColorRange && !cc.MonoChrome && cc.SubsamplingX && cc.SubsamplingY {
		return b.String()
	}
	fmt.Fprintf(&b, ".%d.%d%d%d.%02d.%02d.%02d.%d", bit(cc.MonoChrome), bit(cc.SubsamplingX), bit(cc.SubsamplingY),
		c.ChromaSamplePosition, primaries, transfer, matrix, bit(cc.ColorRange))
	return b.String()
}

// AV1Config is an AV1CodecConfigurationRecord (AV1 mapping to ISO BMFF,
// section 2.3): "av1C".
type AV1Config struct {
	Profile, Level             uint8 // seq_profile, seq_level_idx_0
	HighTier                   bool
	HighBitDepth, TwelveBit    bool
	Monochrome                 bool
	SubsamplingX, SubsamplingY bool
	ChromaSamplePosition       uint8
	OBUs                       []byte // the sequence header, with size field
}

// Marshal returns the record.
func (c *AV1Config) Marshal() []byte {
	return append([]byte{
		0x81, // marker, version 1
		c.Profile<<5 | c.Level,
		bit(c.HighTier)<<7 | bit(c.HighBitDepth)<<6 | bit(c.TwelveBit)<<5 | bit(c.Monochrome)<<4 |
			bit(c.SubsamplingX)<<3 | bit(c.SubsamplingY)<<2 | c.ChromaSamplePosition,
		0, // no initial_presentation_delay
	}, c.OBUs...)
}

// ParseAV1Config parses an av1C record. OBUs shares b's memory.
func ParseAV1Config(b []byte) (AV1Config, error) {
	if len(b) < 4 || b[0] != 0x81 {
		return AV1Config{}, fmt.Errorf("%w: av1C", ErrMalformed)
	}
	flag := func(n int) bool { return b[2]>>n&1 == 1 }
	return AV1Config{
		Profile: b[1] >> 5, Level: b[1] & 31,
		HighTier: flag(7), HighBitDepth: flag(6), TwelveBit: flag(5), Monochrome: flag(4),
		SubsamplingX: flag(3), SubsamplingY: flag(2), ChromaSamplePosition: b[2] & 3,
		OBUs: b[4:],
	}, nil
}

// format builds the Format of the record's OBUs, of which the sequence header
// has to be the first (section 2.3.4).
func (c *AV1Config) format() (media.Format, error) {
	obus, err := SplitOBUs(c.OBUs)
	if err != nil {
		return media.Format{}, err
	}
	if len(obus) == 0 {
		return media.Format{}, fmt.Errorf("%w: av1C without sequence header", ErrNoFormat)
	}
	return AV1Format(obus[0])
}

// startsWithKey tells whether the OBU is a frame header of a key frame that
// is shown at once. One that is shown later (5.9.2) is followed by frames
// that need earlier ones.
func (o obu) startsWithKey() bool {
	if o.typ != obuFrame && o.typ != obuFrameHeader || len(o.payload) == 0 {
		return false
	}
	// show_existing_frame 0, frame_type 00 KEY_FRAME, show_frame 1
	return o.payload[0]>>4 == 0b0001
}

func (o obu) isFrame() bool {
	return o.typ == obuFrame || o.typ == obuFrameHeader
}

func av1IsKey(unit [][]byte) bool {
	for _, b := range unit {
		o, _, err := parseOBU(b)
		if err != nil {
			return false
		}
		if o.isFrame() {
			return o.startsWithKey()
		}
	}
	return false
}

// av1Assembler is the Assembler of AV1.
type av1Assembler struct {
	signalled
	sequence []byte // payload of the sequence header in force
	next     []byte // payload of a newer one, in force from the next key frame
	format   *media.Format
}

func (a *av1Assembler) Format() *media.Format { return a.format }

func (a *av1Assembler) Assemble(pts media.Time, unit [][]byte) (media.Frame, error) {
	if err := checkUnit(unit); err != nil {
		return media.Frame{}, err
	}
	var (
		obus         []obu
		size         int
		picture, key bool
		hasSequence  bool
	)
	for _, b := range unit {
		if len(b) == 0 {
			continue
		}
		// An OBU with a size field may be followed by others in the same
		// element: some payloaders pass whole temporal units.
		for len(b) > 0 {
			o, n, err := parseOBU(b)
			if err != nil {
				return media.Frame{}, err
			}
			b = b[n:]
			if len(obus) == MaxUnitParts {
				return media.Frame{}, fmt.Errorf("%w: over %d OBUs", ErrTooLarge, MaxUnitParts)
			}
			switch {
			case o.typ == obuSequenceHeader:
				hasSequence = true
				a.next = bytes.Clone(o.payload)
			case o.isFrame() && !picture:
				picture = true
				key = o.startsWithKey()
			case o.typ == obuTileGroup, o.typ == obuMetadata, o.typ == obuRedundantFrameHeader, o.isFrame():
			default:
				// Temporal delimiters end no unit here, padding says
				// nothing, tile lists are for large-scale decoding, and
				// decoders ignore reserved types.
				continue
			}
			obus = append(obus, o)
			size += len(o.payload) + 10
		}
	}
	if !picture {
		return media.Frame{}, ErrNoPicture
	}
	if key {
		if err := a.rebuild(); err != nil {
			return media.Frame{}, err
		}
	} else if a.format == nil {
		return media.Frame{}, ErrNoFormat
	}
	f := media.Frame{PTS: pts, Key: key}
	if key {
		f.Format = a.format
		size += len(a.sequence) + 10
	}
	f.Data = make([]byte, 0, size)
	if key && !hasSequence {
		// Decoders start at a key frame only behind its sequence header
		// (7.6.1), which some encoders send once.
		f.Data = obu{typ: obuSequenceHeader, payload: a.sequence}.append(f.Data)
	}
	for _, o := range obus {
		f.Data = o.append(f.Data)
	}
	return f, nil
}

// rebuild puts the newest sequence header in force. On failure there is no
// format until the next key frame: what follows refers to the lost one.
func (a *av1Assembler) rebuild() error {
	if a.next == nil {
		if a.format == nil {
			return ErrNoFormat
		}
		return nil
	}
	next := a.next
	a.next = nil
	f, err := AV1Format(obu{typ: obuSequenceHeader, payload: next}.append(nil))
	if err != nil {
		a.format, a.sequence = nil, nil
		return err
	}
	a.complete(&f)
	a.sequence = next
	if a.format == nil || !sameFormat(a.format, &f) {
		a.format = &f
	}
	return nil
}
