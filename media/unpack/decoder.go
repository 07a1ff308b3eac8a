package unpack

import (
	"bytes"
	"cmp"
	"errors"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/loc"
)

// decoder brings what publishers send into the form that media.Frame
// promises.
type decoder struct {
	codec media.Codec
	kind  media.Kind

	format *media.Format // in force; nil while unknown
	config []byte        // the configuration record it was made of, if any

	// assembler is set for bitstreams that carry their own parameter sets.
	assembler codec.Assembler
}

// frame makes a frame. hint is what the catalog says, first tells that the
// Object is the first of its Group.
func (d *decoder) frame(hint *media.Format, h loc.Header, data []byte, first bool) (media.Frame, error) {
	if len(data) == 0 {
		return media.Frame{}, errEmpty
	}
	if d.kind == media.Text {
		return d.cue(hint, h, data)
	}
	if config := h.Config(d.kind); len(config) > 0 {
		d.setConfig(config)
	} else if d.config == nil && first && len(hint.Description) > 0 {
		d.setConfig(hint.Description)
	}
	if d.kind == media.Audio {
		if err := d.describeAudio(hint); err != nil {
			return media.Frame{}, err
		}
		return media.Frame{PTS: h.Time, Key: true, Data: data, Format: d.format}, nil
	}
	if d.config == nil || d.startCodes(data) {
		return d.assemble(hint, h, data, first)
	}
	if first || d.format == nil {
		if err := d.describe(hint); err != nil {
			return media.Frame{}, err
		}
	}
	f := media.Frame{PTS: h.Time, Key: first, Data: data}
	if d.codec == media.AV1 {
		f.Data = trimTemporalDelimiter(data)
	}
	if first {
		f.Format = d.format
	}
	return f, nil
}

// cue makes a frame of a cue, which has to be one.
func (d *decoder) cue(hint *media.Format, h loc.Header, data []byte) (media.Frame, error) {
	if _, err := codec.ParseCue(data); err != nil {
		return media.Frame{}, err
	}
	if d.format == nil {
		f := codec.WebVTTFormat(hint.Language, hint.Label)
		d.format = &f
	}
	return media.Frame{PTS: h.Time, Key: true, Data: data, Format: d.format}, nil
}

// setConfig takes a configuration record; formats are rebuilt when it is new.
func (d *decoder) setConfig(config []byte) {
	if bytes.Equal(config, d.config) {
		return
	}
	d.config = bytes.Clone(config)
	d.format, d.assembler = nil, nil
}

// describe builds the Format of the configuration record. What only the
// catalog knows is taken from there once: a better estimate of the bitrate is
// no new format.
func (d *decoder) describe(hint *media.Format) error {
	if d.format != nil {
		return nil
	}
	f, err := codec.ParseDescription(d.codec, d.config)
	if err != nil {
		return err
	}
	d.set(f, hint)
	return nil
}

func (d *decoder) set(f media.Format, hint *media.Format) {
	f.FrameRate = cmp.Or(f.FrameRate, hint.FrameRate)
	f.Bitrate = cmp.Or(f.Bitrate, hint.Bitrate)
	d.format = &f
}

// describeAudio does the same for sound, where Opus needs no record.
func (d *decoder) describeAudio(hint *media.Format) error {
	if d.config != nil {
		return d.describe(hint)
	}
	if d.codec != media.Opus {
		return codec.ErrNoFormat
	}
	// The last catalog of a broadcast has no tracks, and may come before the
	// last frames: then it tells nothing.
	if d.format != nil && (hint.Channels == 0 || d.format.Channels == hint.Channels) {
		return nil
	}
	f, err := codec.OpusFormat(cmp.Or(hint.Channels, 2))
	if err != nil {
		return err
	}
	d.set(f, hint)
	return nil
}

// assemble handles bitstreams that carry their parameter sets themselves.
func (d *decoder) assemble(hint *media.Format, h loc.Header, data []byte, first bool) (media.Frame, error) {
	if d.assembler == nil {
		a, err := codec.NewAssembler(media.Format{
			Codec: d.codec, Description: d.config, FrameRate: hint.FrameRate, Bitrate: hint.Bitrate,
		})
		if err != nil {
			return media.Frame{}, err
		}
		d.assembler = a
	}
	unit, err := d.split(data)
	if err != nil {
		return media.Frame{}, err
	}
	f, err := d.assembler.Assemble(h.Time, unit)
	if err != nil {
		return media.Frame{}, err
	}
	if first && !f.Key {
		// Groups begin with a key frame; this one cannot be decoded.
		return media.Frame{}, codec.ErrNoFormat
	}
	if f.Key {
		d.format = f.Format
	}
	return f, nil
}

// split returns the parts of an access unit.
func (d *decoder) split(data []byte) ([][]byte, error) {
	switch d.codec {
	case media.H264, media.H265:
		if d.startCodes(data) {
			return codec.SplitAnnexB(data)
		}
		return codec.SplitLengthPrefixed(data)
	case media.AV1:
		return codec.SplitOBUs(data)
	}
	return [][]byte{data}, nil
}

// startCodes tells Annex B from length prefixes: "A length value of 1 SHOULD
// be interpreted as a start code rather than a length" (draft-ietf-moq-loc-04,
// section "Length Prefixes in Payload"). Three bytes are allowed where there
// is no configuration record; a NAL unit of 256…511 bytes whose length starts
// the same way is told apart by having to fill the frame.
func (d *decoder) startCodes(data []byte) bool {
	if d.codec != media.H264 && d.codec != media.H265 {
		return false
	}
	if bytes.HasPrefix(data, []byte{0, 0, 0, 1}) {
		return true
	}
	if d.config != nil || !bytes.HasPrefix(data, []byte{0, 0, 1}) {
		return false
	}
	_, err := codec.SplitLengthPrefixed(data)
	return errors.Is(err, codec.ErrMalformed)
}

// trimTemporalDelimiter removes the OBU that encoders put in front of every
// temporal unit and that containers leave out.
func trimTemporalDelimiter(data []byte) []byte {
	// obu_type 2 with size field and without extension, size 0
	if len(data) >= 2 && data[0] == 0x12 && data[1] == 0 {
		return data[2:]
	}
	return data
}
