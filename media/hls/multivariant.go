package hls

import (
	"slices"
	"strconv"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

// readyAfter is how much of the other tracks has to be there before a track
// that brings nothing is left out of the multivariant playlist.
const readyAfter = 3 * time.Second

// pictureAfter is readyAfter while it is the picture that is missing. A
// player that begins with the sound alone never looks for another variant,
// and the first segment of a picture may take as long as its key frames are
// apart: a target duration at most.
const pictureAfter = targetDuration + time.Second

// renderMultivariant renders the multivariant playlist once its time has
// come. m.mu is held.
func (m *Muxer) renderMultivariant() {
	var video, audio, texts []*rendition
	waiting, need, longest := false, readyAfter, time.Duration(0)
	for _, r := range m.renditions {
		switch {
		case !r.active:
		case r.text != nil:
			if r.offered() {
				texts = append(texts, r) // nobody waits for it
			}
		case !r.offered():
			waiting = true
			if r.format == nil || r.format.Kind() == media.Video {
				need = pictureAfter
			}
		case r.format.Kind() == media.Video:
			video = append(video, r)
			longest = max(longest, r.length())
		default:
			audio = append(audio, r)
			longest = max(longest, r.length())
		}
	}
	old := m.multivariant.Load()
	if old == nil && !waiting {
		longest = need
	}
	if len(video) > 0 {
		need = readyAfter // another layer of the picture can wait
	}
	if len(video)+len(audio) == 0 || old == nil && longest < need {
		return
	}
	p := multivariantOf(video, audio)
	p.Renditions = append(p.Renditions, subtitles(texts)...)
	for i := range p.Variants {
		if len(texts) > 0 {
			p.Variants[i].Subtitles = subtitleGroup
		}
	}
	text := render(p.Append(nil))
	m.multivariant.Store(text)
	if old == nil {
		close(m.ready)
	}
}

// multivariantOf describes the renditions: each video track a variant with
// each audio group, or each audio track one when there is no video.
func multivariantOf(video, audio []*rendition) *playlist.Multivariant {
	p := &playlist.Multivariant{Version: version9, IndependentSegments: true}
	if len(video) == 0 {
		for _, a := range audio {
			v := a.variant()
			p.Variants = append(p.Variants, v)
		}
	} else {
		// A group holds tracks of one codec: CODECS has to name every codec
		// of a group, and a client skips a variant of which it lacks one.
		groups := groupByCodec(audio)
		for _, g := range groups {
			for i, a := range g {
				p.Renditions = append(p.Renditions, playlist.Rendition{
					Type: playlist.TypeAudio, Group: groupName(a), Name: audioName(g, i),
					Language: a.format.Language, URI: a.uri(), Default: i == 0, Channels: strconv.Itoa(max(1, a.format.Channels)),
				})
			}
		}
		for _, r := range video {
			if len(groups) == 0 {
				p.Variants = append(p.Variants, r.variant())
			}
			for _, g := range groups {
				v := r.variant()
				v.Audio = groupName(g[0])
				peak, average := 0, 0
				for i, a := range g {
					if !slices.ContainsFunc(g[:i], func(o *rendition) bool { return o.format.MIME == a.format.MIME }) {
						v.Codecs += "," + a.format.MIME
					}
					av := a.variant()
					peak, average = max(peak, av.Bandwidth), max(average, av.AverageBandwidth)
				}
				v.Bandwidth += peak
				v.AverageBandwidth += average
				p.Variants = append(p.Variants, v)
			}
			if v, ok := r.iframeVariant(); ok {
				p.IFrames = append(p.IFrames, v)
			}
		}
	}
	p.Comments = caveats(video, audio)
	return p
}

// caveats says for people which Apple devices cannot play the broadcast.
// Apple's list for HLS names H.264 and H.265 (authoring 1.1) and, of what we
// carry, AAC, AC-3 and E-AC-3 (authoring 2.1).
func caveats(video, audio []*rendition) (notes []string) {
	plays := func(rs []*rendition, ok ...media.Codec) bool {
		for _, r := range rs {
			for _, c := range ok {
				if r.format.Codec == c {
					return true
				}
			}
		}
		return len(rs) == 0
	}
	if !plays(video, media.H264, media.H265) {
		notes = append(notes, "video is "+video[0].format.Codec.String()+" only: Apple devices without a hardware decoder for it cannot play this")
	}
	if !plays(audio, media.AAC, media.AC3, media.EC3) {
		notes = append(notes, "audio is "+audio[0].format.Codec.String()+" only: Apple's native player may stay silent")
	}
	return notes
}

// groupByCodec puts tracks of one codec together, AAC first.
func groupByCodec(audio []*rendition) (groups [][]*rendition) {
	for _, c := range []media.Codec{media.AAC, media.Opus, media.AC3, media.EC3} {
		var g []*rendition
		for _, a := range audio {
			if a.format.Codec == c {
				g = append(g, a)
			}
		}
		if len(g) > 0 {
			groups = append(groups, g)
		}
	}
	return groups
}

func groupName(r *rendition) string {
	switch r.format.Codec {
	case media.AAC:
		return "aac"
	case media.AC3:
		return "ac3"
	case media.EC3:
		return "ec3"
	}
	return "opus"
}

func (r *rendition) uri() string { return playlistFolder + "/" + openPass + "/" + r.path + ".m3u8" }

// length is how much media the rendition lists.
func (r *rendition) length() time.Duration {
	d := time.Duration(r.duration)
	if r.open != nil {
		d += r.open.entry.Duration
	}
	return d
}

// audioName names the i-th track of a group, as nobody else in it is named.
func audioName(g []*rendition, i int) string {
	label := g[i].format.Label
	for j, o := range g {
		if j != i && o.format.Label == label {
			label = ""
		}
	}
	if label == "" {
		return "audio " + strconv.Itoa(i+1)
	}
	return label
}

// measure learns bit and frame rate from the segment that was listed last.
//
// The peak is that of contiguous segments which together last between half
// and one and a half target durations (bis, section 4.1).
func (r *rendition) measure(s *segment) {
	if d := s.entry.Duration.Seconds(); d >= 1 {
		r.rate = float64(s.frames) / d
	}
	var size int64
	var d time.Duration
	for i := len(r.listed) - 1; i >= 0; i-- {
		size += r.listed[i].size
		d += r.listed[i].entry.Duration
		if d > targetDuration*3/2 {
			return
		}
		if d >= targetDuration/2 {
			r.peak = max(r.peak, float64(size*8)/d.Seconds())
		}
	}
}

// variant describes the rendition alone. Nothing that freshet carries has
// SUPPLEMENTAL-CODECS: what would make HEVC or AV1 Dolby Vision as well is a
// box that MoQ catalogs do not convey.
func (r *rendition) variant() playlist.Variant {
	var size int64
	frames := 0
	for _, s := range r.listed {
		size += s.size
		frames += s.frames
	}
	if r.open != nil {
		size += r.open.size
		frames += r.open.frames
	}
	seconds := max(r.length().Seconds(), 0.001)
	average := float64(size*8) / seconds
	// What was announced once is only ever corrected upward: players plan
	// with the lower figure and stall when it rises under them.
	r.announced = max(r.announced, r.peak, average)
	v := playlist.Variant{
		URI: r.uri(), Bandwidth: int(r.announced) + 1, AverageBandwidth: int(average) + 1, Codecs: r.format.MIME,
	}
	if r.format.Kind() == media.Video {
		v.Width, v.Height, v.FrameRate = r.format.Width, r.format.Height, r.format.FrameRate
		if v.FrameRate <= 0 {
			v.FrameRate = max(float64(frames)/seconds, 0.001)
		}
		v.Range = videoRange(r.format)
	}
	return v
}

// videoRange returns VIDEO-RANGE; what does not say is SDR (bis, section
// 4.4.6.2).
func videoRange(f *media.Format) string {
	switch c, _ := codec.ColourOf(f); c.Transfer {
	case codec.TransferPQ:
		return playlist.RangePQ
	case codec.TransferHLG:
		return playlist.RangeHLG
	}
	return playlist.RangeSDR
}

// iframeVariant describes the I-frame playlist, if there is one.
func (r *rendition) iframeVariant() (playlist.Variant, bool) {
	if r.keys == nil {
		return playlist.Variant{}, false
	}
	return playlist.Variant{
		URI:       playlistFolder + "/" + openPass + "/" + r.keys.list.path + ".m3u8",
		Bandwidth: int(r.keys.peak) + 1, Codecs: r.format.MIME,
		Width: r.format.Width, Height: r.format.Height, Range: videoRange(r.format),
	}, true
}
