package cmaf

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
)

// TrackID is the track_ID in every file: CMAF keeps each track in its own.
const TrackID = 1

// UnsupportedError tells that a format has no CMAF mapping here.
type UnsupportedError struct {
	Codec  media.Codec
	Reason string
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("cmaf: %v: %s", e.Codec, e.Reason)
}

// Init returns the initialization segment (ftyp and moov) for tracks of
// format f. Equal formats give equal bytes, so that comparing two results
// tells whether a decoder has to be set up again. The error is an
// *UnsupportedError.
func Init(f *media.Format) ([]byte, error) {
	entry, err := sampleEntry(f)
	if err != nil {
		return nil, err
	}
	b := box(nil, "ftyp", func(b []byte) []byte {
		b = append(b, "iso6"...)
		b = be32(b, 0)
		// cmfc: CMAF; cmf2: no edit lists, signed composition offsets.
		b = append(b, "iso6cmfccmf2"...)
		if f.Codec == media.AV1 {
			b = append(b, "av01"...) // required by the AV1 mapping, section 2.1
		}
		return b
	})
	return box(b, "moov", func(b []byte) []byte {
		b = fullBox(b, "mvhd", 0, 0, func(b []byte) []byte {
			b = be32(be32(b, 0), 0) // creation, modification
			b = be32(b, 1000)       // timescale of a duration that is not known
			b = be32(b, 0)
			b = be32(b, 0x00010000) // rate 1
			b = be16(b, 0x0100)     // volume 1
			b = append(b, make([]byte, 10)...)
			b = appendUnity(b)
			b = append(b, make([]byte, 24)...)
			return be32(b, TrackID+1)
		})
		b = box(b, "trak", func(b []byte) []byte { return appendTrack(b, f, entry) })
		return box(b, "mvex", func(b []byte) []byte {
			return fullBox(b, "trex", 0, 0, func(b []byte) []byte {
				b = be32(b, TrackID)
				b = be32(b, 1) // sample description
				return append(b, make([]byte, 12)...)
			})
		})
	}), nil
}

// appendUnity appends the identity transformation matrix.
func appendUnity(b []byte) []byte {
	for i := range 9 {
		v := uint32(0)
		switch i {
		case 0, 4:
			v = 0x00010000
		case 8:
			v = 0x40000000
		}
		b = be32(b, v)
	}
	return b
}

func appendTrack(b []byte, f *media.Format, entry []byte) []byte {
	video := f.Kind() == media.Video
	b = fullBox(b, "tkhd", 0, 3 /* enabled, in movie */, func(b []byte) []byte {
		b = be32(be32(b, 0), 0)
		b = be32(b, TrackID)
		b = be32(be32(b, 0), 0) // reserved, duration
		b = append(b, make([]byte, 8)...)
		b = be32(b, 0) // layer, alternate group
		if video {
			b = be32(b, 0)
		} else {
			b = be32(b, 0x01000000) // volume 1
		}
		b = appendUnity(b)
		b = be32(b, uint32(f.Width)<<16)
		return be32(b, uint32(f.Height)<<16)
	})
	return box(b, "mdia", func(b []byte) []byte {
		b = fullBox(b, "mdhd", 0, 0, func(b []byte) []byte {
			b = be32(be32(b, 0), 0)
			b = be32(b, Timescale(f))
			b = be32(b, 0)
			b = be16(b, 0x55c4) // "und"
			return be16(b, 0)
		})
		b = fullBox(b, "hdlr", 0, 0, func(b []byte) []byte {
			b = be32(b, 0)
			if video {
				b = append(b, "vide"...)
			} else {
				b = append(b, "soun"...)
			}
			b = append(b, make([]byte, 12)...)
			return append(b, 0) // empty name
		})
		return box(b, "minf", func(b []byte) []byte {
			if video {
				b = fullBox(b, "vmhd", 0, 1, func(b []byte) []byte { return append(b, make([]byte, 8)...) })
			} else {
				b = fullBox(b, "smhd", 0, 0, func(b []byte) []byte { return be32(b, 0) })
			}
			b = box(b, "dinf", func(b []byte) []byte {
				return fullBox(b, "dref", 0, 0, func(b []byte) []byte {
					b = be32(b, 1)
					return fullBox(b, "url ", 0, 1 /* same file */, nil)
				})
			})
			return box(b, "stbl", func(b []byte) []byte {
				b = fullBox(b, "stsd", 0, 0, func(b []byte) []byte {
					b = be32(b, 1)
					return append(b, entry...)
				})
				b = fullBox(b, "stts", 0, 0, func(b []byte) []byte { return be32(b, 0) })
				b = fullBox(b, "stsc", 0, 0, func(b []byte) []byte { return be32(b, 0) })
				b = fullBox(b, "stsz", 0, 0, func(b []byte) []byte { return be32(be32(b, 0), 0) })
				return fullBox(b, "stco", 0, 0, func(b []byte) []byte { return be32(b, 0) })
			})
		})
	})
}

// sampleEntry builds the sample description of f.
func sampleEntry(f *media.Format) ([]byte, error) {
	needConfig := func(min int) error {
		if len(f.Description) < min {
			return &UnsupportedError{f.Codec, "the format lacks its configuration record"}
		}
		return nil
	}
	if f.Kind() == media.Video && (f.Width <= 0 || f.Height <= 0 || f.Width > 0xffff || f.Height > 0xffff) {
		return nil, &UnsupportedError{f.Codec, fmt.Sprintf("picture size %dx%d", f.Width, f.Height)}
	}
	switch f.Codec {
	case media.H264:
		if err := needConfig(7); err != nil {
			return nil, err
		}
		return visualEntry(f, "avc1", rawBox(nil, "avcC", f.Description)), nil
	case media.H265:
		if err := needConfig(23); err != nil {
			return nil, err
		}
		return visualEntry(f, "hvc1", rawBox(nil, "hvcC", f.Description)), nil
	case media.AV1:
		if err := needConfig(4); err != nil {
			return nil, err
		}
		return visualEntry(f, "av01", rawBox(nil, "av1C", f.Description)), nil
	case media.VP9:
		config, err := vp9Config(f.MIME)
		if err != nil {
			return nil, err
		}
		return visualEntry(f, "vp09", config), nil
	case media.AAC:
		if err := needConfig(2); err != nil {
			return nil, err
		}
		if len(f.Description) > 64 {
			return nil, &UnsupportedError{f.Codec, "AudioSpecificConfig too long"}
		}
		return audioEntry(f, "mp4a", Timescale(f), elementaryStream(f)), nil
	case media.Opus:
		config, err := opusConfig(f)
		if err != nil {
			return nil, err
		}
		return audioEntry(f, "Opus", 48000, config), nil
	case media.AC3:
		if _, err := codec.ParseAC3Config(f.Description); err != nil {
			return nil, &UnsupportedError{f.Codec, err.Error()}
		}
		return audioEntry(f, "ac-3", Timescale(f), rawBox(nil, "dac3", f.Description)), nil
	case media.EC3:
		if _, err := codec.ParseEC3Config(f.Description); err != nil {
			return nil, &UnsupportedError{f.Codec, err.Error()}
		}
		return audioEntry(f, "ec-3", Timescale(f), rawBox(nil, "dec3", f.Description)), nil
	case media.VP8:
		return nil, &UnsupportedError{f.Codec, "not offered in CMAF"}
	}
	return nil, &UnsupportedError{f.Codec, "no CMAF mapping"}
}

// visualEntry builds a VisualSampleEntry (ISO/IEC 14496-12, section 12.1.3).
func visualEntry(f *media.Format, typ string, config []byte) []byte {
	return box(nil, typ, func(b []byte) []byte {
		b = append(b, make([]byte, 6)...)
		b = be16(b, 1) // data reference
		b = append(b, make([]byte, 16)...)
		b = be16(b, uint16(f.Width))
		b = be16(b, uint16(f.Height))
		b = be32(b, 0x00480000) // 72 dpi
		b = be32(b, 0x00480000)
		b = be32(b, 0)
		b = be16(b, 1) // frames per sample
		b = append(b, make([]byte, 32)...)
		b = be16(b, 0x0018) // depth: colour without alpha
		b = be16(b, 0xffff)
		b = append(b, config...)
		if c, ok := codec.ColourOf(f); ok {
			b = box(b, "colr", func(b []byte) []byte { // ISO/IEC 14496-12, section 12.1.5
				b = append(b, "nclx"...)
				b = be16(be16(be16(b, uint16(c.Primaries)), uint16(c.Transfer)), uint16(c.Matrix))
				if c.FullRange {
					return append(b, 0x80)
				}
				return append(b, 0)
			})
		}
		// Square pixels are what every publisher of ours sends; saying so keeps
		// players from guessing by picture size.
		return box(b, "pasp", func(b []byte) []byte { return be32(be32(b, 1), 1) })
	})
}

// audioEntry builds an AudioSampleEntry (ISO/IEC 14496-12, section 12.2.3).
func audioEntry(f *media.Format, typ string, rate uint32, config []byte) []byte {
	return box(nil, typ, func(b []byte) []byte {
		b = append(b, make([]byte, 6)...)
		b = be16(b, 1)
		b = append(b, make([]byte, 8)...)
		b = be16(b, uint16(channels(f)))
		b = be16(b, 16) // sample size
		b = be32(b, 0)
		if rate > 0xffff {
			rate = 0 // does not fit 16.16; the configuration record has it
		}
		b = be32(b, rate<<16)
		return append(b, config...)
	})
}

func channels(f *media.Format) int {
	if f.Channels > 0 && f.Channels <= 255 {
		return f.Channels
	}
	return 2
}

// elementaryStream builds an esds box (ISO/IEC 14496-1, section 7.2.6.5, and
// 14496-14, section 5.6) around the AudioSpecificConfig.
func elementaryStream(f *media.Format) []byte {
	descriptor := func(b []byte, tag byte, body []byte) []byte {
		return append(append(b, tag, byte(len(body))), body...)
	}
	specific := descriptor(nil, 0x05, f.Description)
	rate := uint32(max(0, f.Bitrate))
	config := []byte{0x40 /* MPEG-4 audio */, 0x05<<2 | 1 /* audio stream */, 0, 0, 0}
	config = be32(be32(config, rate), rate)
	config = append(config, specific...)
	es := descriptor([]byte{0, TrackID, 0}, 0x04, config)
	es = descriptor(es, 0x06, []byte{0x02}) // SLConfigDescriptor: MP4
	return fullBox(nil, "esds", 0, 0, func(b []byte) []byte { return descriptor(b, 0x03, es) })
}

// opusConfig builds a dOps box (Opus in ISOBMFF, section 4.3.2) from an
// OpusHead (RFC 7845, section 5.1), or for plain mono or stereo without one.
//
// PreSkip is 0 whatever the head says: it describes the start of a recording,
// and in a live stream a player starts anywhere, at a packet whose time is
// already that of its sound.
func opusConfig(f *media.Format) ([]byte, error) {
	head := f.Description
	if len(head) == 0 {
		if channels(f) > 2 {
			return nil, &UnsupportedError{f.Codec, "more than two channels need an OpusHead"}
		}
		return box(nil, "dOps", func(b []byte) []byte {
			b = append(b, 0, byte(channels(f)))
			b = be16(b, 0)
			b = be32(b, 48000)
			b = be16(b, 0)
			return append(b, 0)
		}), nil
	}
	if len(head) < 19 || string(head[:8]) != "OpusHead" || head[9] == 0 {
		return nil, &UnsupportedError{f.Codec, "malformed OpusHead"}
	}
	n, family := int(head[9]), head[18]
	if family == 0 && n > 2 || family != 0 && len(head) < 21+n {
		return nil, &UnsupportedError{f.Codec, "malformed OpusHead channel mapping"}
	}
	return box(nil, "dOps", func(b []byte) []byte {
		b = append(b, 0, byte(n))
		b = be16(b, 0)
		b = be32(b, binary.LittleEndian.Uint32(head[12:]))
		b = be16(b, binary.LittleEndian.Uint16(head[16:]))
		b = append(b, family)
		if family != 0 {
			b = append(b, head[19:21+n]...)
		}
		return b
	}), nil
}

// vp9Config builds a vpcC box (VP Codec ISO Media File Format Binding,
// section "Codec Configuration Box") from the codec string, whose fields are
// the same: vp09.profile.level.depth[.chroma.primaries.transfer.matrix.range].
func vp9Config(mime string) ([]byte, error) {
	fields := strings.Split(mime, ".")
	if fields[0] != "vp09" || len(fields) < 4 || len(fields) > 9 {
		return nil, &UnsupportedError{media.VP9, fmt.Sprintf("codec string %q", mime)}
	}
	// The defaults of the optional fields: 4:2:0 colocated, BT.709, limited range.
	v := [8]uint8{0, 0, 0, 1, 1, 1, 1, 0}
	for i, s := range fields[1:] {
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil {
			return nil, &UnsupportedError{media.VP9, fmt.Sprintf("codec string %q", mime)}
		}
		v[i] = uint8(n)
	}
	return fullBox(nil, "vpcC", 1, 0, func(b []byte) []byte {
		b = append(b, v[0], v[1], v[2]<<4|v[3]&7<<1|v[7]&1, v[4], v[5], v[6])
		return be16(b, 0)
	}), nil
}
