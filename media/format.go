package media

import "fmt"

// Kind separates pictures from sound.
type Kind uint8

// The kinds of media.
const (
	Video Kind = iota + 1
	Audio
)

// String returns "video" or "audio".
func (k Kind) String() string {
	switch k {
	case Video:
		return "video"
	case Audio:
		return "audio"
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Codec names a coding format that freshet carries.
type Codec uint8

// The codecs that ingest accepts.
const (
	H264 Codec = iota + 1
	H265
	AV1
	VP9
	VP8
	Opus
	AAC
)

var codecNames = [...]string{H264: "H264", H265: "H265", AV1: "AV1", VP9: "VP9", VP8: "VP8", Opus: "Opus", AAC: "AAC"}

// String returns the codec's usual short name.
func (c Codec) String() string {
	if int(c) < len(codecNames) && codecNames[c] != "" {
		return codecNames[c]
	}
	return fmt.Sprintf("Codec(%d)", uint8(c))
}

// Kind tells whether c codes pictures or sound; 0 for an unknown codec.
func (c Codec) Kind() Kind {
	switch c {
	case H264, H265, AV1, VP9, VP8:
		return Video
	case Opus, AAC:
		return Audio
	}
	return 0
}

// Format describes how the frames of a track are coded. It is immutable:
// a change of format is a new value.
type Format struct {
	Codec Codec
	// MIME is the codec string of RFC 6381 and of the codec's own mapping,
	// as WebCodecs and HLS take it: avc1.64001f, hvc1.1.6.L93.B0,
	// av01.0.04M.08, vp09.00.10.08, vp8, opus, mp4a.40.2.
	MIME string
	// Description is the codec's configuration record: avcC, hvcC, av1C,
	// OpusHead (RFC 7845, section 5.1) or AudioSpecificConfig. It is empty
	// where the bitstream needs none (VP8, VP9, stereo Opus).
	Description []byte

	Width, Height int     // pixels; video only
	FrameRate     float64 // frames per second; 0 when unknown or variable

	SampleRate int // Hz; audio only
	Channels   int // audio only

	Bitrate int // bits per second; 0 when unknown
}

// Kind tells whether the format is of pictures or of sound.
func (f *Format) Kind() Kind { return f.Codec.Kind() }
