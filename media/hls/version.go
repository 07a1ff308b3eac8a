package hls

import (
	"time"

	"github.com/freshet-live/freshet/media/hls/playlist"
)

// version is an immutable state of a rendition's playlist.
type version struct {
	number uint64 // rises with every version
	msn    uint64 // of the last segment listed
	parts  int    // of that segment
	hint   string // file of the part to come
	full   rendered
	delta  rendered // empty text: nothing to skip
	ended  bool
	next   chan struct{} // closed when a newer version is current
}

// has tells whether the version contains part of segment msn (rfc8216bis,
// section 6.2.5.2). A part beyond the last of a closed segment counts as the
// first of the next one.
func (v *version) has(msn uint64, part int) bool {
	return v.ended || v.msn > msn || v.msn == msn && part < v.parts
}

// tooFar tells whether the request is one that no well-behaved client makes.
func (v *version) tooFar(msn uint64, part int) bool {
	return !v.ended && (msn > v.msn+maxAhead || msn == v.msn && part >= v.parts+advancePart)
}

// report returns what a rendition report says of r.
func (r *rendition) report() (playlist.Report, bool) {
	rep := playlist.Report{URI: r.path + ".m3u8"}
	switch {
	case r.begun():
		rep.MSN, rep.Part = r.nextMSN, len(r.open.entry.Parts)-1
	case len(r.listed) > 0:
		rep.MSN, rep.Part = r.nextMSN-1, len(r.listed[len(r.listed)-1].entry.Parts)-1
	default:
		return rep, false
	}
	return rep, true
}

// publish renders the playlists as they are now and makes them current.
func (r *rendition) publish() { r.announce(r.render()) }

// render renders the playlists as they are now.
func (r *rendition) render() *version {
	m := playlist.Media{
		Version: version9, IndependentSegments: true,
		TargetDuration: targetDuration, PartTarget: partTarget, Control: control,
		MediaSequence:   r.nextMSN - uint64(len(r.listed)),
		Discontinuities: r.firstDis, HasDiscontinuities: true,
		Segments: make([]playlist.Segment, 0, len(r.listed)+1),
		EndList:  r.ended,
	}
	if r.m.cfg.Window == WholeBroadcast && r.log != nil && !r.trimmed {
		m.Type = playlist.TypeEvent // at the end as well: EXT-X-ENDLIST is all that may be added
	}
	for _, s := range r.listed {
		m.Segments = append(m.Segments, s.entry)
	}
	total := time.Duration(r.duration)
	if r.begun() {
		m.Segments = append(m.Segments, r.open.entry)
		total += r.open.entry.Duration
	}
	if !r.ended {
		m.Hint = r.mediaURI(r.hint)
	}
	for _, o := range r.m.renditions {
		if o == r {
			continue
		}
		if rep, ok := o.report(); ok && o.offered() {
			m.Reports = append(m.Reports, rep)
		}
	}
	// Parts stay listed until they are three target durations from the end
	// (rfc8216bis, section 6.2.2), segments can be skipped from six on.
	skip, fromEnd := 0, total
	for i := range m.Segments {
		s := &m.Segments[i]
		fromEnd -= s.Duration
		if fromEnd >= 3*targetDuration {
			s.Parts = nil
		}
		if fromEnd >= control.CanSkipUntil && !s.Open() {
			skip = i + 1
		}
		if s.Open() {
			s.Duration = 0
		}
	}
	r.versions++
	v := &version{number: r.versions, ended: r.ended, next: make(chan struct{})}
	if !r.ended {
		v.hint = r.hint
	}
	v.msn, _, _ = m.Last()
	if n := len(m.Segments); n > 0 {
		v.parts = len(m.Segments[n-1].Parts)
	}
	v.full = render(m.Append(nil))
	if skip > 0 {
		m.Skipped, m.Segments = skip, m.Segments[skip:]
		v.delta = render(m.Append(nil))
	}
	if r.m.observe != nil {
		r.m.observe(r, v)
	}
	return v
}
