package hls

import (
	"math"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

// iframes is the I-frame playlist of a video rendition, for scrubbing and
// fast play: the key frame that each segment starts with, by byte range. It
// has the segments, numbers and times of the rendition's own playlist but no
// parts, and grows when a segment closes.
type iframes struct {
	// list is what requests find. It has versions and no media of its own.
	list *rendition
	past pastText
	next uint64  // MSN of the first segment that is not in past
	peak float64 // highest bit rate of a key frame over its segment, bit/s
}

// iframesSuffix cannot be part of a rendition's own path.
const iframesSuffix = ".iframes"

// publishIFrames brings the I-frame playlist up to the segments that are
// closed. m.mu is held.
func (r *rendition) publishIFrames() {
	if r.format == nil || r.format.Kind() != media.Video {
		return
	}
	first := r.nextMSN - uint64(len(r.listed))
	k := r.keys
	if k == nil {
		found := false
		for _, s := range r.listed {
			found = found || s.key > 0
		}
		if !found {
			return
		}
		k = &iframes{list: &rendition{m: r.m, path: r.path + iframesSuffix, log: r.log}, next: first}
		k.list.current.Store(&version{next: make(chan struct{})})
		r.keys = k
		r.m.pathLocked(k.list)
	} else if k.next == r.nextMSN && k.list.ended == r.ended {
		return
	}
	for i := int(max(k.next, first) - first); i < len(r.listed); i++ {
		s := r.listed[i]
		e := s.iframe()
		k.past.b = e.Append(k.past.b, r.bringsMap(i))
		s.keyPlace = k.past.end()
		if d := s.entry.Duration.Seconds(); d > 0 {
			k.peak = max(k.peak, float64(s.key*8)/d)
		}
	}
	k.next, k.list.ended = r.nextMSN, r.ended
	k.list.versions++
	v := &version{
		number: k.list.versions, ended: r.ended, next: make(chan struct{}),
		msn: r.nextMSN - 1, parts: math.MaxInt32, // a closed segment has all of them
	}
	m := playlist.Media{
		Version: version10, IndependentSegments: true, IFramesOnly: true,
		TargetDuration: targetDuration, MediaSequence: first,
		// That of all playlists of the presentation, as it has to be
		// (rfc8216bis, section 6.2.4).
		Control:         control,
		Discontinuities: r.firstDis, HasDiscontinuities: true, EndList: r.ended,
	}
	if r.listsWhole() {
		m.Type = playlist.TypeEvent
	}
	if len(r.listed) > 0 {
		k.past.drop(r.listed[0].keyPlace)
	}
	etag := r.etag(v)
	v.full = &rendered{pieces: r.iframePieces(&m, 0), etag: etag}
	if m.Skipped = r.iframesToSkip(); m.Skipped > 0 && !v.ended {
		v.delta = &rendered{pieces: r.iframePieces(&m, m.Skipped), etag: etag + "-delta"}
		m.SkipsDateRanges = true // there are none
		v.delta2 = &rendered{pieces: r.iframePieces(&m, m.Skipped), etag: etag + "-delta2"}
	}
	if r.m.observeIFrames != nil {
		r.m.observeIFrames(r, v)
	}
	k.list.announce(v)
}

// iframePieces returns the text of the I-frame playlist from one of the listed
// segments on.
func (r *rendition) iframePieces(m *playlist.Media, from int) [][]byte {
	head := m.AppendHead(make([]byte, 0, 512))
	tail := m.AppendTail(nil)
	if from == len(r.listed) {
		return [][]byte{head, tail}
	}
	s := r.listed[from]
	e := s.iframe()
	return [][]byte{e.Append(head, true), r.keys.past.from(s.keyPlace), tail}
}

// iframesToSkip returns how many segments a delta update leaves out: those that
// end six target durations or more before the end of the last.
func (r *rendition) iframesToSkip() int {
	var fromEnd time.Duration
	for i := len(r.listed); i > 0; i-- {
		if fromEnd >= control.CanSkipUntil {
			return i
		}
		fromEnd += r.listed[i-1].entry.Duration
	}
	return 0
}

// iframe is the segment's entry in the I-frame playlist. It lasts until the
// next key frame there (bis, section 4.4.3.6), which is the next segment's; a
// segment that starts without one is a gap, so that numbers and times agree
// with the other playlists.
func (s *segment) iframe() playlist.Segment {
	e := playlist.Segment{
		URI: s.entry.URI, Duration: s.entry.Duration, Discontinuity: s.entry.Discontinuity,
		Map: s.entry.Map, Time: s.entry.Time, Length: s.key,
	}
	if s.key == 0 {
		e.Gap, e.URI = true, gapURI
	}
	return e
}
