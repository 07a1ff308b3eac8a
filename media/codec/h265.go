package codec

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"github.com/freshet-live/freshet/media"
)

// H265Format builds the Format of parameter sets, given as NAL units without
// start code: at least one of each. The first SPS names the profile, level
// and picture size.
func H265Format(vps, sps, pps [][]byte) (media.Format, error) {
	if len(vps) == 0 || len(sps) == 0 || len(pps) == 0 {
		return media.Format{}, fmt.Errorf("%w: %d VPS, %d SPS, %d PPS", ErrNoFormat, len(vps), len(sps), len(pps))
	}
	s, err := parseH265SPS(sps[0])
	if err != nil {
		return media.Format{}, err
	}
	c := HEVCConfig{
		Profile:          s.profile,
		ChromaFormat:     s.chromaFormat,
		BitDepthLuma:     s.bitDepthLuma,
		BitDepthChroma:   s.bitDepthChroma,
		TemporalLayers:   s.temporalLayers,
		TemporalIDNested: s.temporalIDNested,
		VPS:              vps,
		SPS:              sps,
		PPS:              pps,
	}
	desc, err := c.Marshal()
	if err != nil {
		return media.Format{}, err
	}
	return media.Format{
		Codec:       media.H265,
		MIME:        c.MIME(),
		Description: desc,
		Width:       s.width,
		Height:      s.height,
		FrameRate:   s.frameRate,
	}, nil
}

// HEVCProfile is the general part of profile_tier_level (ITU-T H.265,
// 7.3.3).
type HEVCProfile struct {
	Space         uint8 // general_profile_space, 0…3
	HighTier      bool
	IDC           uint8 // general_profile_idc
	Compatibility uint32
	Constraints   [6]byte // from general_progressive_source_flag on
	Level         uint8   // thirty times the level
}

// HEVCConfig is an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1)
// with NAL unit lengths of four bytes and complete arrays: "hvcC" of a sample
// entry hvc1. Segmentation, parallelism and frame rate are written as
// unknown.
type HEVCConfig struct {
	Profile                                    HEVCProfile
	ChromaFormat, BitDepthLuma, BitDepthChroma uint8
	TemporalLayers                             uint8 // 0 means unknown
	TemporalIDNested                           bool
	VPS, SPS, PPS                              [][]byte
}

// MIME returns the codec string of ISO/IEC 14496-15, annex E, such as
// hvc1.1.6.L93.B0.
func (c *HEVCConfig) MIME() string {
	var b strings.Builder
	b.WriteString("hvc1.")
	if c.Profile.Space > 0 {
		b.WriteByte('A' + c.Profile.Space - 1)
	}
	tier := 'L'
	if c.Profile.HighTier {
		tier = 'H'
	}
	fmt.Fprintf(&b, "%d.%X.%c%d", c.Profile.IDC, bits.Reverse32(c.Profile.Compatibility), tier, c.Profile.Level)
	n := len(c.Profile.Constraints)
	for n > 0 && c.Profile.Constraints[n-1] == 0 {
		n--
	}
	for _, v := range c.Profile.Constraints[:n] {
		fmt.Fprintf(&b, ".%X", v)
	}
	return b.String()
}

// Marshal returns the record. It fails with ErrUnsupported when there are more
// parameter sets, or longer ones, than the record can count.
func (c *HEVCConfig) Marshal() ([]byte, error) {
	p := &c.Profile
	b := []byte{1, p.Space<<6 | bit(p.HighTier)<<5 | p.IDC}
	b = binary.BigEndian.AppendUint32(b, p.Compatibility)
	b = append(b, p.Constraints[:]...)
	b = append(b,
		p.Level,
		0xf0, 0, // min_spatial_segmentation_idc
		0xfc, // parallelismType
		0xfc|c.ChromaFormat,
		0xf8|(c.BitDepthLuma-8),
		0xf8|(c.BitDepthChroma-8),
		0, 0, // avgFrameRate
		c.TemporalLayers<<3|bit(c.TemporalIDNested)<<2|3,
		3, // numOfArrays
	)
	for _, a := range []struct {
		typ  h265.NALUType
		sets [][]byte
	}{{h265.NALUType_VPS_NUT, c.VPS}, {h265.NALUType_SPS_NUT, c.SPS}, {h265.NALUType_PPS_NUT, c.PPS}} {
		b = append(b, 0x80|uint8(a.typ))
		b = binary.BigEndian.AppendUint16(b, uint16(len(a.sets)))
		var err error
		if b, err = appendSets16(b, a.sets); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func bit(v bool) uint8 {
	if v {
		return 1
	}
	return 0
}

// ParseHEVCConfig parses an hvcC record. NAL unit lengths of fewer than four
// bytes are refused with ErrUnsupported. Arrays other than VPS, SPS and PPS
// (SEI) are skipped. The result shares b's memory.
func ParseHEVCConfig(b []byte) (HEVCConfig, error) {
	r := byteReader{b: b}
	version := r.u8()
	var c HEVCConfig
	v := r.u8()
	c.Profile.Space, c.Profile.HighTier, c.Profile.IDC = v>>6, v>>5&1 == 1, v&31
	c.Profile.Compatibility = uint32(r.u16())<<16 | uint32(r.u16())
	copy(c.Profile.Constraints[:], r.bytes(6))
	c.Profile.Level = r.u8()
	r.bytes(3) // min_spatial_segmentation_idc, parallelismType
	c.ChromaFormat, c.BitDepthLuma, c.BitDepthChroma = r.u8()&3, r.u8()&7+8, r.u8()&7+8
	r.bytes(2) // avgFrameRate
	v = r.u8()
	c.TemporalLayers, c.TemporalIDNested = v>>3&7, v>>2&1 == 1
	lengthSize := v&3 + 1
	for range r.u8() {
		typ := h265.NALUType(r.u8() & 63)
		for range r.u16() {
			n := r.bytes(int(r.u16()))
			if r.bad {
				break // up to 65535 absent units would follow
			}
			switch typ {
			case h265.NALUType_VPS_NUT:
				c.VPS = append(c.VPS, n)
			case h265.NALUType_SPS_NUT:
				c.SPS = append(c.SPS, n)
			case h265.NALUType_PPS_NUT:
				c.PPS = append(c.PPS, n)
			}
		}
	}
	switch {
	case r.bad || version != 1:
		return HEVCConfig{}, fmt.Errorf("%w: hvcC", ErrMalformed)
	case lengthSize != 4:
		return HEVCConfig{}, fmt.Errorf("%w: hvcC with NAL unit lengths of %d bytes", ErrUnsupported, lengthSize)
	}
	return c, nil
}

// h265Syntax implements nalSyntax (ITU-T H.265, table 7-1).
type h265Syntax struct{}

func (h265Syntax) class(n []byte) nalClass {
	if len(n) == 0 {
		return nalDrop
	}
	if len(n) < 2 || n[0]&0x80 != 0 || n[1]&7 == 0 { // forbidden_zero_bit, nuh_temporal_id_plus1
		return nalBroken
	}
	if n[0]&1 != 0 || n[1]>>3 != 0 {
		return nalDrop // nuh_layer_id > 0: enhancement layers, alpha, other views
	}
	switch t := h265.NALUType(n[0] >> 1); {
	case t <= h265.NALUType_RASL_R:
		return nalSlice
	case t >= h265.NALUType_BLA_W_LP && t <= h265.NALUType_CRA_NUT:
		return nalKey
	case t >= h265.NALUType_VPS_NUT && t <= h265.NALUType_PPS_NUT:
		return nalSet
	case t == h265.NALUType_PREFIX_SEI_NUT, t == h265.NALUType_SUFFIX_SEI_NUT:
		return nalInfo
	case t == h265.NALUType_EOS_NUT:
		// It makes decoders skip the leading pictures of the next CRA.
		return nalInfo
	}
	return nalDrop
}

func (h265Syntax) set(n []byte) (paramSet, error) {
	s := paramSet{nalu: n}
	if len(n) < 4 {
		return s, fmt.Errorf("%w: H.265 parameter set of %d bytes", ErrMalformed, len(n))
	}
	switch h265.NALUType(n[0] >> 1) {
	case h265.NALUType_VPS_NUT:
		s.kind, s.id = 0, uint32(n[2]>>4)
	case h265.NALUType_SPS_NUT:
		sps, err := parseH265SPS(n)
		if err != nil {
			return s, err
		}
		s.kind, s.id, s.parent = 1, sps.id, sps.vps
	default:
		r := bitReader{b: rbsp(n[2:min(len(n), 2+idBytes)])}
		s.kind, s.id, s.parent = 2, r.ue(), r.ue()
		if !r.ok() || s.id > 63 || s.parent > 15 {
			return s, fmt.Errorf("%w: H.265 PPS id", ErrMalformed)
		}
	}
	return s, nil
}

func (h265Syntax) format(sets []paramSet) (media.Format, error) {
	return H265Format(ofKind(sets, 0), ofKind(sets, 1), ofKind(sets, 2))
}
