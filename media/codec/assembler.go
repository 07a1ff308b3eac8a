package codec

import (
	"errors"
	"fmt"
	"slices"

	"github.com/freshet-live/freshet/media"
)

// Errors that Assemble and the parsers of this package wrap.
var (
	// ErrNoPicture: the unit holds parameter sets, delimiters or
	// supplemental information only. What it told has been kept; there is
	// no frame to pass on. This is normal.
	ErrNoPicture = errors.New("codec: no picture in the access unit")
	// ErrNoFormat: the unit is a picture, but no key frame with complete
	// parameter sets has been seen yet, so nobody could decode it. This is
	// normal until the first key frame.
	ErrNoFormat = errors.New("codec: picture before the first decodable key frame")
	// ErrMalformed: the bytes do not follow the codec's syntax.
	ErrMalformed = errors.New("codec: malformed")
	// ErrTooLarge: the unit is larger than MaxUnitSize or has more than
	// MaxUnitParts NAL units or OBUs.
	ErrTooLarge = errors.New("codec: access unit too large")
	// ErrUnsupported: the codec, or a tool of it, is not one of ours.
	ErrUnsupported = errors.New("codec: unsupported")
)

const (
	// MaxUnitSize bounds one access unit, in bytes. An intra picture of
	// 2160p60 at 50 Mbit/s stays well below it.
	MaxUnitSize = 8 << 20
	// MaxUnitParts bounds the NAL units or OBUs of one access unit. H.264
	// level 6.2 allows fewer slices than this in one picture at 60 Hz.
	MaxUnitParts = 1024
)

// Assembler turns the access units of one track, in decode order, into
// canonical frames. It is not safe for concurrent use.
type Assembler interface {
	// Assemble makes a Frame of one access unit: NAL units without start
	// code or length (H.264, H.265), OBUs with or without size field (AV1),
	// or exactly one element (VP8 and VP9 frame, Opus packet, raw AAC
	// access unit, AC-3 frame, E-AC-3 access unit). It copies what it keeps: unit may be reused.
	//
	// The Frame's Format is set on every key frame. Its pointer stays the
	// same while the format does, so that a new pointer is a new format.
	//
	// Errors wrap ErrNoPicture, ErrNoFormat, ErrMalformed or ErrTooLarge.
	// After any of them the next unit may be fed; a picture was lost only
	// with the last two.
	Assemble(pts media.Time, unit [][]byte) (media.Frame, error)
	// Format is the format in force, nil while it is not known. Video
	// codecs whose parameters came by signalling know it before the first
	// frame, VP8, VP9 and AV1 usually not.
	Format() *media.Format
}

// NewAssembler returns an Assembler for a track of which signalling already
// told f. Codec is required. AAC needs Description (AudioSpecificConfig), Opus
// takes Channels (2 when zero) or Description (OpusHead). For video,
// Description (avcC, hvcC, av1C) seeds the parameter sets, and FrameRate is
// used where the bitstream does not tell it. Bitrate is passed through.
//
// Parameter sets that came as separate NAL units, as in SDP, are best fed to
// Assemble as a unit of their own, which answers ErrNoPicture.
func NewAssembler(f media.Format) (Assembler, error) {
	var a Assembler
	switch f.Codec {
	case media.H264:
		a = newNALAssembler(f, h264Syntax{})
	case media.H265:
		a = newNALAssembler(f, h265Syntax{})
	case media.AV1:
		a = &av1Assembler{signalled: signalled{f}}
	case media.VP8:
		a = &vpxAssembler{signalled: signalled{f}, parse: parseVP8}
	case media.VP9:
		a = &vpxAssembler{signalled: signalled{f}, parse: parseVP9}
	case media.Opus:
		return newOpusAssembler(f)
	case media.AAC:
		return newAACAssembler(f)
	case media.AC3, media.EC3:
		return newDolbyAssembler(f)
	default:
		return nil, fmt.Errorf("%w: %v", ErrUnsupported, f.Codec)
	}
	if len(f.Description) > 0 {
		if err := seed(a, f); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// seed feeds the parameter sets of f.Description to a video assembler.
func seed(a Assembler, f media.Format) error {
	if f.Codec == media.VP8 || f.Codec == media.VP9 {
		return nil // they have no out-of-band configuration
	}
	sets, err := ParameterSets(&f)
	if err != nil {
		return err
	}
	if _, err := a.Assemble(0, sets); err != nil && !errors.Is(err, ErrNoPicture) {
		return err
	}
	return nil
}

// signalled is what the session description told about a track.
type signalled struct{ media.Format }

// complete fills what the bitstream left open in f.
func (s *signalled) complete(f *media.Format) {
	if f.FrameRate == 0 {
		f.FrameRate = s.FrameRate
	}
	f.Bitrate = s.Bitrate
}

// sameFormat tells whether a decoder set up for a can go on with b.
func sameFormat(a, b *media.Format) bool {
	return a.Codec == b.Codec && a.MIME == b.MIME &&
		a.Width == b.Width && a.Height == b.Height && a.FrameRate == b.FrameRate &&
		a.SampleRate == b.SampleRate && a.Channels == b.Channels &&
		a.Bitrate == b.Bitrate && slices.Equal(a.Description, b.Description)
}

// checkUnit enforces the bounds on one access unit.
func checkUnit(unit [][]byte) error {
	if len(unit) > MaxUnitParts {
		return fmt.Errorf("%w: %d parts", ErrTooLarge, len(unit))
	}
	n := 0
	for _, p := range unit {
		if n += len(p); n > MaxUnitSize {
			return fmt.Errorf("%w: over %d bytes", ErrTooLarge, MaxUnitSize)
		}
	}
	return nil
}

// single returns the one element of a unit of a codec that has no parts.
func single(unit [][]byte) ([]byte, error) {
	if err := checkUnit(unit); err != nil {
		return nil, err
	}
	if len(unit) != 1 || len(unit[0]) == 0 {
		return nil, fmt.Errorf("%w: want one non-empty frame, got %d", ErrMalformed, len(unit))
	}
	return unit[0], nil
}

// IsKey tells whether decoding can start at the access unit, which is given
// as for Assembler.Assemble:
//
//   - H.264: an IDR picture.
//   - H.265: any IRAP picture. With open GOPs that is a CRA picture, whose
//     RASL pictures a decoder that starts here skips (ITU-T H.265, 8.1.3).
//   - AV1: a shown key frame. Whether a sequence header is present does not
//     matter; an Assembler adds it.
//   - VP8, VP9: a key frame. Audio: always.
//
// It is false for what cannot be parsed.
func IsKey(c media.Codec, unit [][]byte) bool {
	switch c {
	case media.H264:
		return slices.ContainsFunc(unit, func(n []byte) bool { return h264Syntax{}.class(n) == nalKey })
	case media.H265:
		return slices.ContainsFunc(unit, func(n []byte) bool { return h265Syntax{}.class(n) == nalKey })
	case media.AV1:
		return av1IsKey(unit)
	case media.VP8:
		return len(unit) == 1 && vp8IsKey(unit[0])
	case media.VP9:
		return len(unit) == 1 && vp9IsKey(unit[0])
	}
	return c.Kind() == media.Audio && len(unit) > 0
}
