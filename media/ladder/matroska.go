package ladder

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
)

// Element IDs of EBML (RFC 8794) and Matroska (RFC 9559).
const (
	idEBML               = 0x1A45DFA3
	idEBMLVersion        = 0x4286
	idEBMLReadVersion    = 0x42F7
	idEBMLMaxIDLength    = 0x42F2
	idEBMLMaxSizeLength  = 0x42F3
	idDocType            = 0x4282
	idDocTypeVersion     = 0x4287
	idDocTypeReadVersion = 0x4285

	idSegment        = 0x18538067
	idInfo           = 0x1549A966
	idTimestampScale = 0x2AD7B1
	idMuxingApp      = 0x4D80
	idWritingApp     = 0x5741

	idTracks            = 0x1654AE6B
	idTrackEntry        = 0xAE
	idTrackNumber       = 0xD7
	idTrackUID          = 0x73C5
	idTrackType         = 0x83
	idFlagLacing        = 0x9C
	idCodecID           = 0x86
	idCodecPrivate      = 0x63A2
	idDefaultDuration   = 0x23E383
	idVideo             = 0xE0
	idPixelWidth        = 0xB0
	idPixelHeight       = 0xBA
	idAudio             = 0xE1
	idSamplingFrequency = 0xB5
	idChannels          = 0x9F

	idCluster     = 0x1F43B675
	idTimestamp   = 0xE7
	idSimpleBlock = 0xA3
)

// matroskaTicks is the clock of the files, in ticks per second: that of
// media.Time, so that no time is rounded on the way in.
const matroskaTicks = 1_000_000

// matroska writes frames for ffmpeg. Matroska rather than MP4 because it has
// all the codecs, VP8 too, needs no durations, and takes the tracks' frames as
// they come. Each frame is a Cluster, whose Timestamp is exact; a block's own
// would have 16 bits.
type matroska struct {
	w   io.Writer
	buf []byte
}

// header writes the head of a file with tracks of these formats, which are
// numbered from 1.
func (m *matroska) header(formats []media.Format) error {
	b := element(m.buf[:0], idEBML, func(b []byte) []byte {
		b = number(b, idEBMLVersion, 1)
		b = number(b, idEBMLReadVersion, 1)
		b = number(b, idEBMLMaxIDLength, 4)
		b = number(b, idEBMLMaxSizeLength, 8)
		b = text(b, idDocType, "matroska")
		b = number(b, idDocTypeVersion, 4)
		return number(b, idDocTypeReadVersion, 2)
	})
	// A size of all ones is unknown: the Segment is live.
	b = append(appendID(b, idSegment), 0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF)
	b = element(b, idInfo, func(b []byte) []byte {
		b = number(b, idTimestampScale, 1e9/matroskaTicks)
		b = text(b, idMuxingApp, "freshet")
		return text(b, idWritingApp, "freshet")
	})
	var err error
	b = element(b, idTracks, func(b []byte) []byte {
		for i := range formats {
			b = element(b, idTrackEntry, func(b []byte) []byte {
				b = number(b, idTrackNumber, uint64(i+1))
				b = number(b, idTrackUID, uint64(i+1))
				b = number(b, idFlagLacing, 0)
				var e error
				if b, e = appendFormat(b, &formats[i]); e != nil {
					err = e
				}
				return b
			})
		}
		return b
	})
	if err != nil {
		return err
	}
	m.buf = b
	_, err = m.w.Write(b)
	return err
}

// frame writes a frame of the track with that number; at counts from the
// beginning of the file, in ticks.
func (m *matroska) frame(track int, at uint64, f *media.Frame) error {
	b := element(m.buf[:0], idCluster, func(b []byte) []byte {
		b = number(b, idTimestamp, at)
		return element(b, idSimpleBlock, func(b []byte) []byte {
			flags := byte(0)
			if f.Key {
				flags = 0x80
			}
			b = append(b, 0x80|byte(track), 0, 0, flags)
			return append(b, f.Data...)
		})
	})
	m.buf = b
	_, err := m.w.Write(b)
	return err
}

// appendFormat appends what describes a codec in a TrackEntry (Matroska Media
// Container Codec Specifications).
func appendFormat(b []byte, f *media.Format) ([]byte, error) {
	private := f.Description
	var id string
	switch f.Codec {
	case media.H264:
		id = "V_MPEG4/ISO/AVC"
	case media.H265:
		id = "V_MPEGH/ISO/HEVC"
	case media.AV1:
		id = "V_AV1"
	case media.VP9:
		id, private = "V_VP9", nil
	case media.VP8:
		id, private = "V_VP8", nil
	case media.Opus:
		id = "A_OPUS"
		head := codec.OpusHead{Channels: max(f.Channels, 1), InputSampleRate: codec.OpusRate}
		if len(private) > 0 {
			var err error
			if head, err = codec.ParseOpusHead(private); err != nil {
				return b, err
			}
		}
		// The pre-skip is of the start of a recording: this is none.
		head.PreSkip = 0
		private = head.Marshal()
	default:
		return b, fmt.Errorf("ladder: no way to give %v to ffmpeg", f.Codec)
	}
	b = text(b, idCodecID, id)
	if len(private) > 0 {
		b = element(b, idCodecPrivate, func(b []byte) []byte { return append(b, private...) })
	}
	if f.Kind() == media.Audio {
		b = number(b, idTrackType, 2)
		return element(b, idAudio, func(b []byte) []byte {
			b = element(b, idSamplingFrequency, func(b []byte) []byte {
				return binary.BigEndian.AppendUint64(b, math.Float64bits(codec.OpusRate))
			})
			return number(b, idChannels, uint64(max(f.Channels, 1)))
		}), nil
	}
	b = number(b, idTrackType, 1)
	if f.FrameRate >= 1 {
		b = number(b, idDefaultDuration, uint64(1e9/f.FrameRate))
	}
	return element(b, idVideo, func(b []byte) []byte {
		b = number(b, idPixelWidth, uint64(f.Width))
		return number(b, idPixelHeight, uint64(f.Height))
	}), nil
}

// appendID appends an Element ID, which has its length in its leading bits.
func appendID(b []byte, id uint32) []byte {
	for shift := 24; shift >= 0; shift -= 8 {
		if id>>shift != 0 {
			b = append(b, byte(id>>shift))
		}
	}
	return b
}

// element appends an Element whose content is what body appends, with a size of
// eight bytes, so that it can be filled in behind.
func element(b []byte, id uint32, body func([]byte) []byte) []byte {
	b = appendID(b, id)
	at := len(b)
	b = append(b, make([]byte, 8)...)
	b = body(b)
	binary.BigEndian.PutUint64(b[at:], 1<<56|uint64(len(b)-at-8))
	return b
}

func number(b []byte, id uint32, v uint64) []byte {
	return element(b, id, func(b []byte) []byte { return binary.BigEndian.AppendUint64(b, v) })
}

func text(b []byte, id uint32, s string) []byte {
	return element(b, id, func(b []byte) []byte { return append(b, s...) })
}
