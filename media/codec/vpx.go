package codec

import (
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/vp9"

	"github.com/freshet-live/freshet/media"
)

// VP8Format builds the Format of a key frame (RFC 6386, section 9.1).
func VP8Format(keyFrame []byte) (media.Format, error) {
	key, f, err := parseVP8(keyFrame)
	if err == nil && !key {
		err = fmt.Errorf("%w: VP8 interframe has no size", ErrNoFormat)
	}
	return f, err
}

// VP9Format builds the Format of a key frame or of a superframe that starts
// with one. Its level, which the bitstream does not tell, is the lowest that
// allows the picture size at 30 frames per second.
func VP9Format(keyFrame []byte) (media.Format, error) {
	key, f, err := parseVP9(keyFrame)
	if err == nil && !key {
		err = fmt.Errorf("%w: VP9 interframe has no size", ErrNoFormat)
	}
	return f, err
}

func vp8IsKey(b []byte) bool {
	return len(b) >= 10 && b[0]&1 == 0 && b[3] == 0x9d && b[4] == 0x01 && b[5] == 0x2a
}

func parseVP8(b []byte) (key bool, f media.Format, err error) {
	if len(b) < 3 {
		return false, f, fmt.Errorf("%w: VP8 frame of %d bytes", ErrMalformed, len(b))
	}
	if b[0]&1 == 1 {
		return false, f, nil
	}
	if !vp8IsKey(b) {
		return false, f, fmt.Errorf("%w: VP8 start code", ErrMalformed)
	}
	// The upper two bits of each are a scaling hint.
	f = media.Format{
		Codec:  media.VP8,
		MIME:   "vp8",
		Width:  int(b[6]) | int(b[7]&0x3f)<<8,
		Height: int(b[8]) | int(b[9]&0x3f)<<8,
	}
	return true, f, checkSize(f.Width, f.Height)
}

func vp9IsKey(b []byte) bool {
	var h vp9.Header
	return h.Unmarshal(b) == nil && !h.ShowExistingFrame && !h.NonKeyFrame
}

func parseVP9(b []byte) (key bool, f media.Format, err error) {
	var h vp9.Header
	if err := h.Unmarshal(b); err != nil {
		return false, f, fmt.Errorf("%w: VP9 frame header: %w", ErrMalformed, err)
	}
	if h.ShowExistingFrame || h.NonKeyFrame {
		return false, f, nil
	}
	f = media.Format{Codec: media.VP9, Width: h.Width(), Height: h.Height()}
	f.MIME = fmt.Sprintf("vp09.%02d.%02d.%02d", h.Profile, vp9Level(f.Width, f.Height), h.ColorConfig.BitDepth)
	if chroma := h.ChromaSubsampling(); chroma != 1 {
		// The optional part must be written as a whole to reach the
		// chroma field; colours stay those of BT.709.
		f.MIME += fmt.Sprintf(".%02d.01.01.01.%02d", chroma, bit(h.ColorConfig.ColorRange))
	}
	return true, f, checkSize(f.Width, f.Height)
}

// vp9Levels are the picture size and luma sample rate limits of the VP9
// levels (VP9 Levels, webmproject.org); level 10 is 1.0.
var vp9Levels = []struct {
	level   int
	picture int
	rate    int // luma samples per second
}{
	{10, 36864, 829440},
	{11, 73728, 2764800},
	{20, 122880, 4608000},
	{21, 245760, 9216000},
	{30, 552960, 20736000},
	{31, 983040, 36864000},
	{40, 2228224, 83558400},
	{41, 2228224, 160432128},
	{50, 8912896, 311951360},
	{51, 8912896, 588251136},
	{52, 8912896, 1176502272},
	{60, 35651584, 1176502272},
	{61, 35651584, 2353004544},
	{62, 35651584, 4706009088},
}

func vp9Level(w, h int) int {
	for _, l := range vp9Levels {
		if w*h <= l.picture && w*h*30 <= l.rate {
			return l.level
		}
	}
	return 62
}

// vpxAssembler is the Assembler of VP8 and VP9, whose frames are canonical
// already.
type vpxAssembler struct {
	signalled
	parse  func([]byte) (key bool, f media.Format, err error)
	format *media.Format
}

func (a *vpxAssembler) Format() *media.Format { return a.format }

func (a *vpxAssembler) Assemble(pts media.Time, unit [][]byte) (media.Frame, error) {
	b, err := single(unit)
	if err != nil {
		return media.Frame{}, err
	}
	key, f, err := a.parse(b)
	if err != nil {
		return media.Frame{}, err
	}
	if !key && a.format == nil {
		return media.Frame{}, ErrNoFormat
	}
	frame := media.Frame{PTS: pts, Key: key, Data: append([]byte(nil), b...)}
	if key {
		a.complete(&f)
		if a.format == nil || !sameFormat(a.format, &f) {
			a.format = &f
		}
		frame.Format = a.format
	}
	return frame, nil
}
