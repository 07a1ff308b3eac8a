package source

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

// maxBox bounds a box or frame that ffmpeg writes, in bytes.
const maxBox = 16 << 20

// readMP4 reads fragmented MP4.
func readMP4(r io.Reader, o Options, emit func(event) bool) error {
	in := bufio.NewReaderSize(r, 64<<10)
	var head, fragment bytes.Buffer
	byID := map[int]*track{}
	for {
		box, kind, err := readBox(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch kind {
		case "ftyp":
			head.Write(box)
		case "moov":
			head.Write(box)
			var init fmp4.Init
			if err := init.Unmarshal(bytes.NewReader(head.Bytes())); err != nil {
				return err
			}
			var tracks []*track
			for _, it := range init.Tracks {
				t, err := newTrack(it, o)
				if err != nil {
					return err
				}
				byID[t.id] = t
				tracks = append(tracks, t)
			}
			if !emit(event{tracks: tracks}) {
				return nil
			}
		case "moof":
			fragment.Reset()
			fragment.Write(box)
		case "mdat":
			fragment.Write(box)
			var parts fmp4.Parts
			if err := parts.Unmarshal(fragment.Bytes()); err != nil {
				return err
			}
			for _, part := range parts {
				for _, pt := range part.Tracks {
					if ok, err := emitSamples(pt, byID[pt.ID], emit); !ok || err != nil {
						return err
					}
				}
			}
		}
	}
}

// readBox reads one box of the top level.
func readBox(in *bufio.Reader) (box []byte, kind string, err error) {
	header, err := in.Peek(8)
	if err != nil {
		return nil, "", err
	}
	size := binary.BigEndian.Uint32(header)
	kind = string(header[4:])
	if size < 8 || size > maxBox {
		return nil, "", fmt.Errorf("MP4 box %q of %d bytes", kind, size)
	}
	box = make([]byte, size)
	_, err = io.ReadFull(in, box)
	return box, kind, err
}

// newTrack makes a track of its description in the MP4 header.
func newTrack(it *fmp4.InitTrack, o Options) (*track, error) {
	t := &track{id: it.ID, timeScale: int64(it.TimeScale)}
	if t.timeScale == 0 {
		return nil, errors.New("MP4 track without time scale")
	}
	whole := func(b []byte) ([][]byte, error) { return [][]byte{b}, nil }
	var f media.Format
	var sets [][]byte
	switch c := it.Codec.(type) {
	case *codecs.H264:
		f.Codec, sets, t.split = media.H264, [][]byte{c.SPS, c.PPS}, codec.SplitLengthPrefixed
	case *codecs.H265:
		f.Codec, sets, t.split = media.H265, [][]byte{c.VPS, c.SPS, c.PPS}, codec.SplitLengthPrefixed
	case *codecs.AV1:
		f.Codec, sets, t.split = media.AV1, [][]byte{c.SequenceHeader}, codec.SplitOBUs
	case *codecs.VP9:
		f.Codec, t.split = media.VP9, whole
	case *codecs.Opus:
		f = media.Format{Codec: media.Opus, Channels: c.ChannelCount}
		t.split, t.step = whole, t.timeScale*opusFrame/1000
	case *codecs.MPEG4Audio:
		config, err := c.Config.Marshal()
		if err != nil {
			return nil, err
		}
		f = media.Format{Codec: media.AAC, Description: config}
		t.split, t.step = whole, t.timeScale*1024/audioRate
	case *codecs.AC3:
		f.Codec, t.split, t.step = media.AC3, whole, t.timeScale*codec.AC3Samples/audioRate
	case *codecs.EAC3:
		f.Codec, t.split, t.step = media.EC3, whole, t.timeScale*codec.AC3Samples/audioRate
	default:
		return nil, fmt.Errorf("MP4 track of unknown codec %T", c)
	}
	if f.Codec.Kind() == media.Video {
		f.Bitrate, f.FrameRate = o.VideoBitrate, float64(o.FrameRate)
	}
	var err error
	if t.assembler, err = codec.NewAssembler(f); err != nil {
		return nil, err
	}
	if len(sets) > 0 {
		if _, err := t.assembler.Assemble(0, sets); err != nil && !errors.Is(err, codec.ErrNoPicture) {
			return nil, err
		}
	}
	return t, nil
}

// emitSamples emits the frames of one track in one fragment.
func emitSamples(pt *fmp4.PartTrack, t *track, emit func(event) bool) (bool, error) {
	if t == nil {
		return false, errors.New("MP4 fragment of an unknown track")
	}
	at := int64(pt.BaseTime)
	for _, s := range pt.Samples {
		pts := at + int64(s.PTSOffset)
		at += int64(s.Duration)
		ok, err := t.emit(pts, s.Payload, emit)
		if !ok || err != nil {
			return ok, err
		}
	}
	return true, nil
}

// emit emits one frame, whose pts is in units of the time scale.
func (t *track) emit(pts int64, data []byte, emit func(event) bool) (bool, error) {
	if t.step > 0 {
		if off := pts - t.next; max(off, -off) <= 2*t.step {
			pts = t.next
		}
		t.next = pts + t.step
	}
	unit, err := t.split(data)
	if err != nil {
		return false, err
	}
	f, err := t.assembler.Assemble(media.Time(pts/t.timeScale*1e6+pts%t.timeScale*1e6/t.timeScale), unit)
	if errors.Is(err, codec.ErrNoPicture) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return emit(event{track: t, frame: f}), nil
}

// readIVF reads an IVF file of VP8.
func readIVF(r io.Reader, o Options, emit func(event) bool) error {
	in := bufio.NewReaderSize(r, 64<<10)
	// "DKIF", version, header size, codec, width, height, rate, scale, …
	var header [32]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	rate := int64(binary.LittleEndian.Uint32(header[16:]))
	scale := int64(binary.LittleEndian.Uint32(header[20:]))
	if string(header[:4]) != "DKIF" || string(header[8:12]) != "VP80" || rate == 0 || scale == 0 {
		return fmt.Errorf("IVF header %x", header)
	}
	asm, err := codec.NewAssembler(media.Format{Codec: media.VP8, FrameRate: float64(o.FrameRate), Bitrate: o.VideoBitrate})
	if err != nil {
		return err
	}
	t := &track{
		timeScale: rate,
		assembler: asm,
		split:     func(b []byte) ([][]byte, error) { return [][]byte{b}, nil },
	}
	if !emit(event{tracks: []*track{t}}) {
		return nil
	}
	for {
		var head [12]byte // size, then presentation time in units of scale/rate
		if _, err := io.ReadFull(in, head[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		size := binary.LittleEndian.Uint32(head[:])
		if size > maxBox {
			return fmt.Errorf("IVF frame of %d bytes", size)
		}
		data := make([]byte, size)
		if _, err := io.ReadFull(in, data); err != nil {
			return err
		}
		pts := int64(binary.LittleEndian.Uint64(head[4:])) * scale
		if ok, err := t.emit(pts, data, emit); !ok || err != nil {
			return err
		}
	}
}
