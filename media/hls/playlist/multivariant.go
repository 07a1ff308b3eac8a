package playlist

import (
	"strconv"
)

// Multivariant is a multivariant playlist (bis, section 4.4.6).
type Multivariant struct {
	Version             int
	IndependentSegments bool
	// Comments are lines for people; clients skip them.
	Comments   []string
	Renditions []Rendition
	Variants   []Variant
	// IFrames are EXT-X-I-FRAME-STREAM-INF (bis, section 4.4.6.3): they have
	// neither frame rate nor groups.
	IFrames []Variant
}

// Types of a Rendition.
const (
	TypeAudio     = "AUDIO"
	TypeSubtitles = "SUBTITLES"
)

// Rendition is EXT-X-MEDIA (bis, section 4.4.6.1). Subtitles are never
// forced: those are for what a picture shows in a foreign language.
type Rendition struct {
	Type     string
	Group    string
	Name     string
	Language string // RFC 5646; "" when unknown
	URI      string
	Default  bool
	Channels string
}

// Variant is EXT-X-STREAM-INF with its URI (bis, section 4.4.6.2).
type Variant struct {
	URI              string
	Bandwidth        int // bits per second, peak of any segment
	AverageBandwidth int
	Codecs           string
	// Range is VIDEO-RANGE: RangeSDR, RangeHLG, RangePQ, or "" without video.
	Range         string
	Width, Height int     // 0: no video
	FrameRate     float64 // 0: unknown or no video
	Audio         string  // group of Renditions; "" for none
	Subtitles     string  // the same
}

// Values of VIDEO-RANGE (bis, section 4.4.6.2).
const (
	RangeSDR = "SDR"
	RangeHLG = "HLG"
	RangePQ  = "PQ"
)

// Append appends the playlist's text.
func (m *Multivariant) Append(b []byte) []byte {
	b = append(b, "#EXTM3U\n#EXT-X-VERSION:"...)
	b = strconv.AppendInt(b, int64(m.Version), 10)
	b = append(b, '\n')
	for _, c := range m.Comments {
		b = append(b, "# "...)
		b = append(append(b, c...), '\n')
	}
	if m.IndependentSegments {
		b = append(b, "#EXT-X-INDEPENDENT-SEGMENTS\n"...)
	}
	for _, r := range m.Renditions {
		b = append(b, "#EXT-X-MEDIA:TYPE="...)
		b = append(append(b, r.Type...), ",GROUP-ID="...)
		b = append(appendQuoted(b, r.Group), ",NAME="...)
		b = appendQuoted(b, r.Name)
		if r.Language != "" {
			b = appendQuoted(append(b, ",LANGUAGE="...), r.Language)
		}
		if r.Default {
			b = append(b, ",DEFAULT=YES"...)
		}
		b = append(b, ",AUTOSELECT=YES"...)
		if r.Type == TypeSubtitles {
			b = append(b, ",FORCED=NO"...)
		}
		if r.Channels != "" {
			b = appendQuoted(append(b, ",CHANNELS="...), r.Channels)
		}
		if r.URI != "" {
			b = appendQuoted(append(b, ",URI="...), r.URI)
		}
		b = append(b, '\n')
	}
	for _, v := range m.Variants {
		b = v.append(append(b, "#EXT-X-STREAM-INF:"...))
		if v.Audio != "" {
			b = appendQuoted(append(b, ",AUDIO="...), v.Audio)
		}
		if v.Subtitles != "" {
			b = appendQuoted(append(b, ",SUBTITLES="...), v.Subtitles)
		}
		b = append(b, '\n')
		b = append(append(b, v.URI...), '\n')
	}
	for _, v := range m.IFrames {
		b = v.append(append(b, "#EXT-X-I-FRAME-STREAM-INF:"...))
		b = append(appendQuoted(append(b, ",URI="...), v.URI), '\n')
	}
	return b
}

// append appends the attributes that variants and I-frame playlists share.
func (v *Variant) append(b []byte) []byte {
	b = strconv.AppendInt(append(b, "BANDWIDTH="...), int64(v.Bandwidth), 10)
	if v.AverageBandwidth > 0 {
		b = strconv.AppendInt(append(b, ",AVERAGE-BANDWIDTH="...), int64(v.AverageBandwidth), 10)
	}
	if v.Codecs != "" {
		b = appendQuoted(append(b, ",CODECS="...), v.Codecs)
	}
	if v.Width > 0 {
		b = strconv.AppendInt(append(b, ",RESOLUTION="...), int64(v.Width), 10)
		b = strconv.AppendInt(append(b, 'x'), int64(v.Height), 10)
	}
	if v.FrameRate > 0 {
		b = strconv.AppendFloat(append(b, ",FRAME-RATE="...), v.FrameRate, 'f', 3, 64)
	}
	if v.Range != "" {
		b = append(append(b, ",VIDEO-RANGE="...), v.Range...)
	}
	return b
}
