package codec

import (
	"fmt"
	"math"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"github.com/freshet-live/freshet/media"
)

// H264Format builds the Format of parameter sets, given as NAL units without
// start code: at least one SPS and one PPS. The first SPS names the profile,
// level and picture size.
func H264Format(sps, pps [][]byte) (media.Format, error) {
	if len(sps) == 0 || len(pps) == 0 {
		return media.Format{}, fmt.Errorf("%w: %d SPS, %d PPS", ErrNoFormat, len(sps), len(pps))
	}
	c, err := newAVCConfig(sps, pps)
	if err != nil {
		return media.Format{}, err
	}
	desc, err := c.Marshal()
	if err != nil {
		return media.Format{}, err
	}
	var s h264.SPS
	if err := s.Unmarshal(sps[0]); err != nil {
		return media.Format{}, fmt.Errorf("%w: H.264 SPS: %w", ErrMalformed, err)
	}
	f := media.Format{
		Codec:       media.H264,
		MIME:        c.MIME(),
		Description: desc,
		Width:       s.Width(),
		Height:      s.Height(),
	}
	if s.VUI != nil && s.VUI.TimingInfo != nil {
		// Two ticks per frame, field coding or not (ITU-T H.264, E.2.1).
		f.FrameRate = frameRate(float64(s.VUI.TimingInfo.TimeScale), 2*float64(s.VUI.TimingInfo.NumUnitsInTick))
	}
	if err := checkSize(f.Width, f.Height); err != nil {
		return media.Format{}, err
	}
	return f, nil
}

// maxFrameRate is the highest frame rate believed, in frames per second.
// Encoders without a fixed rate write their clock rate into the timing
// information, which says nothing.
const maxFrameRate = 480

// frameRate returns num/den rounded to a thousandth, 0 when it is not a
// plausible frame rate.
func frameRate(num, den float64) float64 {
	if den == 0 {
		return 0
	}
	r := math.Round(num/den*1000) / 1000
	if r > maxFrameRate {
		return 0
	}
	return r
}

// maxDimension bounds a picture's width and height in pixels: twice what the
// largest H.265 level allows.
const maxDimension = 1 << 15

func checkSize(w, h int) error {
	if w <= 0 || h <= 0 || w > maxDimension || h > maxDimension {
		return fmt.Errorf("%w: picture of %d×%d", ErrMalformed, w, h)
	}
	return nil
}

// AVCConfig is an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3.1)
// with NAL unit lengths of four bytes: "avcC".
type AVCConfig struct {
	Profile, Compatibility, Level uint8
	// Of the first SPS; present in the record for profiles that may differ
	// from 4:2:0 of 8 bits.
	ChromaFormat, BitDepthLuma, BitDepthChroma uint8
	SPS, PPS                                   [][]byte
}

// newAVCConfig fills the record's fields from the first SPS.
func newAVCConfig(sps, pps [][]byte) (AVCConfig, error) {
	c := AVCConfig{ChromaFormat: 1, BitDepthLuma: 8, BitDepthChroma: 8, SPS: sps, PPS: pps}
	if len(sps[0]) < 4 {
		return c, fmt.Errorf("%w: H.264 SPS of %d bytes", ErrMalformed, len(sps[0]))
	}
	c.Profile, c.Compatibility, c.Level = sps[0][1], sps[0][2], sps[0][3]
	if c.high() {
		r := bitReader{b: rbsp(sps[0][4:])}
		r.ue() // seq_parameter_set_id
		chroma := r.ue()
		if chroma == 3 {
			r.flag() // separate_colour_plane_flag
		}
		luma, chromaDepth := r.ue(), r.ue()
		if !r.ok() || chroma > 3 || luma > 6 || chromaDepth > 6 {
			return c, fmt.Errorf("%w: H.264 SPS", ErrMalformed)
		}
		c.ChromaFormat, c.BitDepthLuma, c.BitDepthChroma = uint8(chroma), uint8(luma)+8, uint8(chromaDepth)+8
	}
	return c, nil
}

// high tells whether the profile has chroma format and bit depth: all but
// Baseline (66), Main (77) and Extended (88).
func (c *AVCConfig) high() bool {
	return c.Profile != 66 && c.Profile != 77 && c.Profile != 88
}

// MIME returns the codec string of RFC 6381, section 3.3, such as
// avc1.64001f.
func (c *AVCConfig) MIME() string {
	return fmt.Sprintf("avc1.%02x%02x%02x", c.Profile, c.Compatibility, c.Level)
}

// Marshal returns the record. It fails with ErrUnsupported when there are more
// parameter sets, or longer ones, than the record can count.
func (c *AVCConfig) Marshal() ([]byte, error) {
	if len(c.SPS) > 31 || len(c.PPS) > 255 {
		return nil, fmt.Errorf("%w: %d SPS and %d PPS in one avcC", ErrUnsupported, len(c.SPS), len(c.PPS))
	}
	b := []byte{1, c.Profile, c.Compatibility, c.Level, 0xfc | 3, 0xe0 | uint8(len(c.SPS))}
	b, err := appendSets16(b, c.SPS)
	if err != nil {
		return nil, err
	}
	b = append(b, uint8(len(c.PPS)))
	if b, err = appendSets16(b, c.PPS); err != nil {
		return nil, err
	}
	if c.high() {
		b = append(b, 0xfc|c.ChromaFormat, 0xf8|(c.BitDepthLuma-8), 0xf8|(c.BitDepthChroma-8), 0)
	}
	return b, nil
}

// ParseAVCConfig parses an avcC record. NAL unit lengths of fewer than four
// bytes are refused with ErrUnsupported, because frame data would be read
// wrongly. SPS extensions are skipped. The result shares b's memory.
func ParseAVCConfig(b []byte) (AVCConfig, error) {
	r := byteReader{b: b}
	version := r.u8()
	c := AVCConfig{Profile: r.u8(), Compatibility: r.u8(), Level: r.u8(), ChromaFormat: 1, BitDepthLuma: 8, BitDepthChroma: 8}
	lengthSize := r.u8()&3 + 1
	for range r.u8() & 31 {
		c.SPS = append(c.SPS, r.bytes(int(r.u16())))
	}
	for range r.u8() {
		c.PPS = append(c.PPS, r.bytes(int(r.u16())))
	}
	switch {
	case r.bad || version != 1:
		return AVCConfig{}, fmt.Errorf("%w: avcC", ErrMalformed)
	case lengthSize != 4:
		return AVCConfig{}, fmt.Errorf("%w: avcC with NAL unit lengths of %d bytes", ErrUnsupported, lengthSize)
	}
	if c.high() && len(r.b) >= 4 { // older writers leave it out
		c.ChromaFormat, c.BitDepthLuma, c.BitDepthChroma = r.u8()&3, r.u8()&7+8, r.u8()&7+8
	}
	return c, nil
}

// h264Syntax implements nalSyntax (ITU-T H.264, table 7-1).
type h264Syntax struct{}

func (h264Syntax) class(n []byte) nalClass {
	if len(n) == 0 {
		return nalDrop
	}
	if n[0]&0x80 != 0 { // forbidden_zero_bit
		return nalBroken
	}
	switch h264.NALUType(n[0] & 0x1f) {
	case h264.NALUTypeNonIDR, h264.NALUTypeDataPartitionA, h264.NALUTypeDataPartitionB, h264.NALUTypeDataPartitionC:
		return nalSlice
	case h264.NALUTypeIDR:
		return nalKey
	case h264.NALUTypeSEI:
		return nalInfo
	case h264.NALUTypeSPS, h264.NALUTypePPS:
		return nalSet
	}
	// Delimiters and filler carry nothing. Alpha planes, SVC and MVC layers
	// are left out: the base layer decodes without them.
	return nalDrop
}

func (h264Syntax) set(n []byte) (paramSet, error) {
	s := paramSet{kind: 1, nalu: n}
	if h264.NALUType(n[0]&0x1f) == h264.NALUTypeSPS {
		if len(n) < 5 {
			return s, fmt.Errorf("%w: H.264 SPS of %d bytes", ErrMalformed, len(n))
		}
		r := bitReader{b: rbsp(n[4:min(len(n), 4+idBytes)])}
		if s.id = r.ue(); !r.ok() || s.id > 31 {
			return s, fmt.Errorf("%w: H.264 SPS id", ErrMalformed)
		}
		return s, nil
	}
	s.kind = 2
	r := bitReader{b: rbsp(n[1:min(len(n), 1+idBytes)])}
	s.id, s.parent = r.ue(), r.ue()
	if !r.ok() || s.id > 255 || s.parent > 31 {
		return s, fmt.Errorf("%w: H.264 PPS id", ErrMalformed)
	}
	return s, nil
}

// idBytes is enough of a parameter set to read the ids it starts with.
const idBytes = 16

func (h264Syntax) format(sets []paramSet) (media.Format, error) {
	return H264Format(ofKind(sets, 1), ofKind(sets, 2))
}

func ofKind(sets []paramSet, kind uint8) [][]byte {
	var nalus [][]byte
	for _, s := range sets {
		if s.kind == kind {
			nalus = append(nalus, s.nalu)
		}
	}
	return nalus
}
