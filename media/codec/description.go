package codec

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/freshet-live/freshet/media"
)

// ParseDescription builds the Format that a configuration record describes:
// avcC, hvcC, av1C, OpusHead, AudioSpecificConfig, dac3 or dec3. Description is a copy of
// desc. VP8 and VP9 have none, and Opus may come without; for these and for an
// empty desc it fails with ErrNoFormat.
func ParseDescription(c media.Codec, desc []byte) (media.Format, error) {
	if len(desc) == 0 {
		return media.Format{}, fmt.Errorf("%w: no %v description", ErrNoFormat, c)
	}
	var f media.Format
	var err error
	switch c {
	case media.H264:
		var a AVCConfig
		if a, err = ParseAVCConfig(desc); err == nil {
			f, err = H264Format(a.SPS, a.PPS)
		}
	case media.H265:
		var h HEVCConfig
		if h, err = ParseHEVCConfig(desc); err == nil {
			f, err = H265Format(h.VPS, h.SPS, h.PPS)
		}
	case media.AV1:
		var a AV1Config
		if a, err = ParseAV1Config(desc); err == nil {
			f, err = a.format()
		}
	case media.Opus:
		f, err = opusFormatOf(desc)
	case media.AAC:
		f, err = AACFormat(desc)
	case media.AC3:
		var a AC3Config
		if a, err = ParseAC3Config(desc); err == nil {
			f = a.format()
		}
	case media.EC3:
		var e EC3Config
		if e, err = ParseEC3Config(desc); err == nil {
			f = e.format()
		}
	case media.VP8, media.VP9:
		err = fmt.Errorf("%w: %v has no description", ErrNoFormat, c)
	default:
		err = fmt.Errorf("%w: %v", ErrUnsupported, c)
	}
	if err != nil {
		return media.Format{}, err
	}
	f.Description = bytes.Clone(desc)
	return f, nil
}

// ParameterSets returns what f.Description holds for the decoder: the SPS and
// PPS of H.264, the VPS, SPS and PPS of H.265 as NAL units without start code,
// the sequence header OBU of AV1. They share its memory.
func ParameterSets(f *media.Format) ([][]byte, error) {
	switch f.Codec {
	case media.H264:
		c, err := ParseAVCConfig(f.Description)
		return slices.Concat(c.SPS, c.PPS), err
	case media.H265:
		c, err := ParseHEVCConfig(f.Description)
		return slices.Concat(c.VPS, c.SPS, c.PPS), err
	case media.AV1:
		c, err := ParseAV1Config(f.Description)
		if err != nil {
			return nil, err
		}
		return SplitOBUs(c.OBUs)
	}
	return nil, fmt.Errorf("%w: %v has no parameter sets", ErrUnsupported, f.Codec)
}
