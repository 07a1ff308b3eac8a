package media

import "fmt"

// Kind separates pictures, sound and text.
type Kind uint8

// The kinds of media.
const (
	Video Kind = iota + 1
	Audio
	Text
)

// String returns "video", "audio" or "text".
func (k Kind) String() string {
	switch k {
	case Video:
		return "video"
	case Audio:
		return "audio"
	case Text:
		return "text"
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
	AC3    // Dolby Digital (ETSI TS 102 366)
	EC3    // E-AC-3, Dolby Digital Plus (the same, annex E)
	WebVTT // subtitles and captions (W3C WebVTT)
)

var codecNames = [...]string{
	H264: "H264", H265: "H265", AV1: "AV1", VP9: "VP9", VP8: "VP8",
	Opus: "Opus", AAC: "AAC", AC3: "AC3", EC3: "EC3", WebVTT: "WebVTT",
}

// String returns the codec's usual short name.
func (c Codec) String() string {
	if int(c) < len(codecNames) && codecNames[c] != "" {
		return codecNames[c]
	}
	return fmt.Sprintf("Codec(%d)", uint8(c))
}

// Kind tells whether c codes pictures, sound or text; 0 for an unknown codec.
func (c Codec) Kind() Kind {
	switch c {
	case H264, H265, AV1, VP9, VP8:
		return Video
	case Opus, AAC, AC3, EC3:
		return Audio
	case WebVTT:
		return Text
	}
	return 0
}

// Format describes how the frames of a track are coded. It is immutable:
// a change of format is a new value.
type Format struct {
	Codec Codec
	// MIME is the codec string of RFC 6381 and of the codec's own mapping,
	// as WebCodecs and HLS take it: avc1.64001f, hvc1.1.6.L93.B0,
	// av01.0.04M.08, vp09.00.10.08, vp8, opus, mp4a.40.2, ac-3, ec-3, wvtt.
	MIME string
	// Description is the codec's configuration record: avcC, hvcC, av1C,
	// OpusHead (RFC 7845, section 5.1), AudioSpecificConfig, or the content
	// of a dac3 or dec3 box. It is empty where the bitstream needs none (VP8,
	// VP9, stereo Opus, WebVTT).
	Description []byte

	Width, Height int     // pixels; video only
	FrameRate     float64 // frames per second; 0 when unknown or variable

	SampleRate int // Hz; audio only
	Channels   int // audio only

	Bitrate int // bits per second; 0 when unknown

	// Language (an RFC 5646 tag) and Label are for people who choose among
	// tracks; empty when not told.
	Language, Label string
}

// Kind tells whether the format is of pictures, sound or text.
func (f *Format) Kind() Kind { return f.Codec.Kind() }
