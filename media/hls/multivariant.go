package hls

import (
	"strconv"
	"time"

	"github.com/freshet-live/freshet/media"
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
	var video, audio []*rendition
	waiting, need, longest := false, readyAfter, time.Duration(0)
	for _, r := range m.renditions {
		switch {
		case !r.active:
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
					Type: "AUDIO", Group: groupName(a), Name: "audio " + strconv.Itoa(i+1),
					URI: a.uri(), Default: i == 0, Channels: strconv.Itoa(max(1, a.format.Channels)),
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
				v.Codecs += "," + g[0].format.MIME
				peak, average := 0, 0
				for _, a := range g {
					av := a.variant()
					peak, average = max(peak, av.Bandwidth), max(average, av.AverageBandwidth)
				}
				v.Bandwidth += peak
				v.AverageBandwidth += average
				p.Variants = append(p.Variants, v)
			}
		}
	}
	p.Comments = caveats(video, audio)
	return p
}

// caveats says for people which Apple devices cannot play the broadcast.
// Apple's list for HLS names H.264 and H.265 (authoring 1.1) and, of what we
// carry, AAC (authoring 2.1).
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
	if !plays(audio, media.AAC) {
		notes = append(notes, "audio is "+audio[0].format.Codec.String()+" only: Apple's native player may stay silent")
	}
	return notes
}

// groupByCodec puts tracks of one codec together, AAC first.
func groupByCodec(audio []*rendition) (groups [][]*rendition) {
	for _, c := range []media.Codec{media.AAC, media.Opus} {
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
	if r.format.Codec == media.AAC {
		return "aac"
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

// variant describes the rendition alone.
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
	// A few parts say little about the peak to come.
	peak := max(r.peak, average)
	if r.peak == 0 {
		peak = max(average*1.5, float64(r.format.Bitrate))
	}
	v := playlist.Variant{
		URI: r.uri(), Bandwidth: int(peak) + 1, AverageBandwidth: int(average) + 1, Codecs: r.format.MIME,
	}
	if r.format.Kind() == media.Video {
		v.Width, v.Height, v.FrameRate = r.format.Width, r.format.Height, r.format.FrameRate
		if v.FrameRate <= 0 {
			v.FrameRate = max(float64(frames)/seconds, 0.001)
		}
	}
	return v
}
