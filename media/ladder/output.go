package ladder

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
)

// maxBox bounds a box of ffmpeg's output, in bytes: it holds one frame.
const maxBox = 16 << 20

// errOutput: what ffmpeg wrote is not what it was told to write.
var errOutput = errors.New("ladder: unexpected output of ffmpeg")

// output reads the fragmented MP4 of one rendition.
type output struct {
	r     *bufio.Reader
	start media.Time // time 0 of the file
	want  media.Format

	scale  uint32 // ticks per second
	format *media.Format
	buf    []byte // from moof on
}

// next returns the frames of the next fragment, and io.EOF at the end. Their
// Data is theirs.
func (o *output) next() ([]media.Frame, error) {
	for {
		typ, err := o.box()
		if err != nil {
			return nil, err
		}
		switch typ {
		case "moov":
			if err := o.describe(); err != nil {
				return nil, err
			}
			o.buf = nil
		case "moof", "ftyp":
			// What follows belongs to it.
		case "mdat":
			frames, err := o.frames()
			o.buf = nil
			return frames, err
		default:
			o.buf = nil
		}
	}
}

// box appends the next box to buf.
func (o *output) box() (typ string, err error) {
	var head [8]byte
	if _, err := io.ReadFull(o.r, head[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = io.EOF // it was killed
		}
		return "", err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size < 8 || size > maxBox || len(o.buf) > maxBox {
		return "", fmt.Errorf("%w: box %q of %d bytes", errOutput, head[4:], size)
	}
	o.buf = append(o.buf, head[:]...)
	at := len(o.buf)
	o.buf = append(o.buf, make([]byte, size-8)...)
	if _, err := io.ReadFull(o.r, o.buf[at:]); err != nil {
		return "", io.EOF
	}
	return string(head[4:]), nil
}

// describe reads ftyp and moov.
func (o *output) describe() error {
	var init fmp4.Init
	if err := init.Unmarshal(bytes.NewReader(o.buf)); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	if len(init.Tracks) != 1 || init.Tracks[0].TimeScale == 0 {
		return fmt.Errorf("%w: %d tracks", errOutput, len(init.Tracks))
	}
	var f media.Format
	var err error
	switch c := init.Tracks[0].Codec.(type) {
	case *codecs.H264:
		f, err = codec.H264Format([][]byte{c.SPS}, [][]byte{c.PPS})
	case *codecs.MPEG4Audio:
		var config []byte
		if config, err = c.Config.Marshal(); err == nil {
			f, err = codec.AACFormat(config)
		}
	default:
		err = fmt.Errorf("codec %T", c)
	}
	if err == nil && f.Codec != o.want.Codec {
		err = fmt.Errorf("codec %v", f.Codec)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	f.FrameRate, f.Bitrate = o.want.FrameRate, o.want.Bitrate
	o.format, o.scale = &f, init.Tracks[0].TimeScale
	return nil
}

// frames reads moof and mdat.
func (o *output) frames() ([]media.Frame, error) {
	var parts fmp4.Parts
	if o.format == nil {
		return nil, fmt.Errorf("%w: media before its description", errOutput)
	}
	if err := parts.Unmarshal(o.buf); err != nil {
		return nil, fmt.Errorf("%w: %w", errOutput, err)
	}
	var frames []media.Frame
	for _, p := range parts {
		for _, t := range p.Tracks {
			dts := int64(t.BaseTime)
			for _, s := range t.Samples {
				f := media.Frame{PTS: o.time(dts + int64(s.PTSOffset)), Key: true, Data: s.Payload, Format: o.format}
				if o.format.Codec == media.H264 {
					// The flags of a fragment's first sample are where the
					// library does not look.
					nalus, err := codec.SplitLengthPrefixed(s.Payload)
					if err != nil {
						return nil, fmt.Errorf("%w: %w", errOutput, err)
					}
					f.Key = codec.IsKey(media.H264, nalus)
				}
				frames = append(frames, f)
				dts += int64(s.Duration)
			}
		}
	}
	return frames, nil
}

// time converts ticks of the file.
func (o *output) time(ticks int64) media.Time {
	scale := int64(o.scale)
	// In two steps, which a file of years does not overflow.
	return o.start + media.Time(ticks/scale*matroskaTicks+(ticks%scale*matroskaTicks+scale/2)/scale)
}
