package codec

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/testdata/clips"
)

var entryCodecs = map[string]media.Codec{
	"avc1": media.H264, "hvc1": media.H265, "av01": media.AV1, "vp09": media.VP9, "VP80": media.VP8,
	"mp4a": media.AAC, "Opus": media.Opus,
}

// ascOf finds the DecoderSpecificInfo (tag 5) of an esds box.
func ascOf(esds []byte) []byte {
	b := esds[4:] // version, flags
	for len(b) > 0 {
		tag := b[0]
		n, i := 0, 1
		for ; ; i++ {
			n = n<<7 | int(b[i]&0x7f)
			if b[i]&0x80 == 0 {
				i++
				break
			}
		}
		switch tag {
		case 3: // ES_Descriptor: id, flags
			b = b[i+3:]
		case 4: // DecoderConfigDescriptor
			b = b[i+13:]
		case 5:
			return b[i : i+n]
		default:
			b = b[i+n:]
		}
	}
	return nil
}

// opusHeadOf turns a dOps box (big-endian) into an OpusHead (little-endian).
func opusHeadOf(dops []byte) []byte {
	b := append([]byte("OpusHead"), 1, dops[1])
	b = binary.LittleEndian.AppendUint16(b, binary.BigEndian.Uint16(dops[2:]))
	b = binary.LittleEndian.AppendUint32(b, binary.BigEndian.Uint32(dops[4:]))
	b = binary.LittleEndian.AppendUint16(b, binary.BigEndian.Uint16(dops[8:]))
	return append(b, dops[10:]...)
}

// unitOf splits a sample into what an ingest would feed: NAL units, OBUs, or
// the frame.
func unitOf(t testing.TB, c media.Codec, data []byte) [][]byte {
	t.Helper()
	var unit [][]byte
	var err error
	switch c {
	case media.H264, media.H265:
		unit, err = SplitLengthPrefixed(data)
	case media.AV1:
		unit, err = SplitOBUs(data)
	default:
		unit = [][]byte{data}
	}
	if err != nil {
		t.Fatal(err)
	}
	return unit
}

// TestClips feeds what encoders made to an Assembler as it would arrive, and
// compares with what ffmpeg's muxer made of the same bitstream.
func TestClips(t *testing.T) {
	want := map[string]media.Format{
		"avc1": {MIME: "avc1.64000d", FrameRate: 30},
		"hvc1": {MIME: "hvc1.1.6.L60.90", FrameRate: 30},
		"av01": {MIME: "av01.0.00M.08"},
		"vp09": {MIME: "vp09.00.11.08"},
		"VP80": {MIME: "vp8"},
	}
	for _, name := range clips.All {
		track := clips.Video(name)
		c := entryCodecs[track.Entry]
		t.Run(name, func(t *testing.T) {
			a, err := NewAssembler(media.Format{Codec: c})
			if err != nil {
				t.Fatal(err)
			}
			if f := a.Format(); f != nil {
				t.Fatalf("Format before the first frame = %+v", f)
			}
			mp4 := media.Format{Codec: c, Description: track.Config}
			var format *media.Format
			for i, s := range track.Samples {
				unit := unitOf(t, c, s.Data)
				if got := IsKey(c, unit); got != s.Sync {
					t.Fatalf("sample %d: IsKey = %v, the muxer says %v", i, got, s.Sync)
				}
				if s.Sync && (c == media.H264 || c == media.H265) {
					// RTP and WebRTC bring the parameter sets in band.
					sets, err := ParameterSets(&mp4)
					if err != nil {
						t.Fatal(err)
					}
					unit = append(append([][]byte{aud(c)}, sets...), unit...)
				}
				f, err := a.Assemble(media.Time(s.PTS.Microseconds()), unit)
				if err != nil {
					t.Fatalf("sample %d: %v", i, err)
				}
				if f.Key != s.Sync || f.PTS != media.Time(s.PTS.Microseconds()) {
					t.Fatalf("sample %d: %v %v", i, f.Key, f.PTS)
				}
				if !bytes.Equal(f.Data, s.Data) {
					t.Fatalf("sample %d: data differs from the muxer's", i)
				}
				if f.Key {
					if format == nil {
						format = f.Format
					}
					if f.Format != format || f.Format == nil {
						t.Fatalf("sample %d: the format's pointer changed although nothing did", i)
					}
				}
			}
			w := want[track.Entry]
			if format.Codec != c || format.MIME != w.MIME || format.FrameRate != w.FrameRate ||
				format.Width != track.Width || format.Height != track.Height {
				t.Errorf("format = %v %q %dx%d %v fps, want %q %dx%d %v fps", format.Codec, format.MIME,
					format.Width, format.Height, format.FrameRate, w.MIME, track.Width, track.Height, w.FrameRate)
			}
			if c == media.VP8 || c == media.VP9 {
				if format.Description != nil {
					t.Errorf("description %x", format.Description)
				}
			} else if !bytes.Equal(format.Description, track.Config) {
				t.Errorf("description\n got %x\nwant %x", format.Description, track.Config)
			}
		})
	}
}

func aud(c media.Codec) []byte {
	if c == media.H264 {
		return []byte{9, 0xf0}
	}
	return []byte{35 << 1, 1, 0x50}
}

func TestClipAudio(t *testing.T) {
	for _, name := range clips.All[:4] {
		track := clips.Audio(name)
		c := entryCodecs[track.Entry]
		t.Run(name, func(t *testing.T) {
			channels := 2
			if name == clips.VP9Opus {
				channels = 1
			}
			hint := media.Format{Codec: c, Channels: channels, Bitrate: 64000}
			mime := "opus"
			if c == media.AAC {
				hint.Description = ascOf(track.Config)
				mime = "mp4a.40.2"
			}
			a, err := NewAssembler(hint)
			if err != nil {
				t.Fatal(err)
			}
			f := a.Format()
			if f.MIME != mime || f.SampleRate != 48000 || f.Channels != channels || f.Bitrate != 64000 {
				t.Errorf("format %+v", f)
			}
			for i, s := range track.Samples {
				frame, err := a.Assemble(media.Time(s.PTS.Microseconds()), [][]byte{s.Data})
				if err != nil {
					t.Fatal(err)
				}
				if !frame.Key || frame.Format != f || !bytes.Equal(frame.Data, s.Data) {
					t.Fatalf("sample %d: %+v", i, frame)
				}
				if i+1 < len(track.Samples)-1 {
					// Rounded to the microsecond by both sides.
					want := track.Samples[i+1].DTS - s.DTS
					if got := Duration(f, s.Data); (got - want).Abs() > 2000 {
						t.Fatalf("sample %d: duration %v, the muxer says %v", i, got, want)
					}
				}
			}
			if c == media.Opus {
				parsed, err := ParseDescription(c, opusHeadOf(track.Config))
				if err != nil || parsed.Channels != channels {
					t.Errorf("dOps: %+v, %v", parsed, err)
				}
			}
		})
	}
}

// TestBeforeFirstKey: a track that starts inside a GOP, or without parameter
// sets, gives nothing until the first key frame.
func TestBeforeFirstKey(t *testing.T) {
	for _, name := range clips.All {
		track := clips.Video(name)
		c := entryCodecs[track.Entry]
		t.Run(name, func(t *testing.T) {
			a, err := NewAssembler(media.Format{Codec: c})
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range track.Samples[1:40] {
				_, err := a.Assemble(0, unitOf(t, c, s.Data))
				waits := i+1 < 30 || c == media.H264 || c == media.H265
				if errors.Is(err, ErrNoFormat) != waits {
					t.Fatalf("sample %d: %v", i+1, err)
				}
			}
		})
	}
}
