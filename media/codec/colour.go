package codec

import (
	"strconv"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"github.com/freshet-live/freshet/media"
)

// Colour says how a picture's sample values map to light, by the code points
// of ITU-T H.273.
type Colour struct {
	Primaries, Transfer, Matrix uint8
	FullRange                   bool
}

// Transfer characteristics of H.273, table 3, that make a picture one of high
// dynamic range.
const (
	TransferPQ  = 16 // SMPTE ST 2084, also ITU-R BT.2100 PQ
	TransferHLG = 18 // ARIB STD-B67, ITU-R BT.2100 HLG
)

// ColourOf reads what the configuration of f, or for VP9 its codec string,
// says of colours. ok is false when it says nothing.
func ColourOf(f *media.Format) (c Colour, ok bool) {
	switch f.Codec {
	case media.H264:
		return colourH264(f)
	case media.H265:
		return colourH265(f)
	case media.AV1:
		return colourAV1(f)
	case media.VP9:
		return colourVP9(f.MIME)
	}
	return Colour{}, false
}

func colourH264(f *media.Format) (c Colour, ok bool) {
	sets, err := ParameterSets(f)
	if err != nil || len(sets) == 0 {
		return c, false
	}
	var s h264.SPS
	if s.Unmarshal(sets[0]) != nil || s.VUI == nil || !s.VUI.ColourDescriptionPresentFlag {
		return c, false
	}
	v := s.VUI
	return Colour{v.ColourPrimaries, v.TransferCharacteristics, v.MatrixCoefficients, v.VideoFullRangeFlag}, true
}

func colourH265(f *media.Format) (c Colour, ok bool) {
	const typeSPS = 33
	sets, err := ParameterSets(f)
	if err != nil {
		return c, false
	}
	for _, raw := range sets {
		if len(raw) == 0 || raw[0]>>1&0x3f != typeSPS {
			continue
		}
		var s h265.SPS
		if s.Unmarshal(raw) != nil || s.VUI == nil || !s.VUI.ColourDescriptionPresentFlag {
			return c, false
		}
		v := s.VUI
		return Colour{v.ColourPrimaries, v.TransferCharacteristics, v.MatrixCoefficients, v.VideoFullRangeFlag}, true
	}
	return c, false
}

func colourAV1(f *media.Format) (c Colour, ok bool) {
	config, err := ParseAV1Config(f.Description)
	if err != nil {
		return c, false
	}
	o, _, err := parseOBU(config.OBUs)
	if err != nil || o.typ != obuSequenceHeader {
		return c, false
	}
	h, err := parseSequenceHeader(o)
	if err != nil || !h.ColorConfig.ColorDescriptionPresentFlag {
		return c, false
	}
	cc := h.ColorConfig
	return Colour{uint8(cc.ColorPrimaries), uint8(cc.TransferCharacteristics), uint8(cc.MatrixCoefficients), cc.ColorRange}, true
}

// colourVP9 reads the optional fields of a VP9 codec string (VP Codec ISO
// Media File Format Binding, section "Codecs Parameter String").
func colourVP9(mime string) (c Colour, ok bool) {
	fields := strings.Split(mime, ".")
	if len(fields) < 8 || fields[0] != "vp09" {
		return c, false
	}
	var v [4]uint8 // primaries, transfer, matrix, range
	for i, s := range fields[5:min(len(fields), 9)] {
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil {
			return c, false
		}
		v[i] = uint8(n)
	}
	return Colour{v[0], v[1], v[2], v[3] == 1}, true
}
