package hls

import (
	"strconv"
	"time"

	"github.com/freshet-live/freshet/media/hls/playlist"
)

// version is an immutable state of a rendition's playlist.
type version struct {
	number uint64    // rises with every version
	msn    uint64    // of the last segment listed
	parts  int       // of that segment
	hint   string    // file of the part to come
	full   *rendered // nil before the first part
	delta  *rendered // nil: nothing to skip
	delta2 *rendered // delta without the date ranges that a client has
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
func (r *rendition) publish() {
	if !r.m.restoring {
		r.announce(r.render())
	}
}

// render renders the playlists as they are now. The text of closed segments
// is made once: when a segment closes with its parts, and again when it is so
// old that they leave the playlist. A part costs the same whatever the window.
func (r *rendition) render() *version {
	m := playlist.Media{
		Version: version10, IndependentSegments: true,
		TargetDuration: targetDuration, PartTarget: partTarget, Control: control,
		MediaSequence:   r.nextMSN - uint64(len(r.listed)),
		Discontinuities: r.firstDis, HasDiscontinuities: true,
		EndList: r.ended,
	}
	if r.listsWhole() {
		m.Type = playlist.TypeEvent // at the end as well: EXT-X-ENDLIST is all that may be added
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
	r.versions++
	v := &version{number: r.versions, ended: r.ended, next: make(chan struct{})}
	if !r.ended {
		v.hint = r.hint
	}
	switch n := len(r.listed); {
	case r.begun():
		v.msn, v.parts = r.nextMSN, len(r.open.entry.Parts)
	case n > 0:
		v.msn, v.parts = r.nextMSN-1, len(r.listed[n-1].entry.Parts)
	}

	now := time.Now()
	if r.listsEvents() {
		r.dates.update(r.m.events.all, r.begins(), now)
	}
	m.DateRanges = r.dates.full()
	bare, skip := r.boundaries()
	r.age(bare)
	tail := r.appendTail(&m)
	etag := r.etag(v)
	v.full = &rendered{pieces: r.pieces(&m, 0, tail), etag: etag}
	if skip > 0 && !v.ended {
		m.Skipped = skip
		v.delta = &rendered{pieces: r.pieces(&m, skip, tail), etag: etag + "-delta"}
		m.SkipsDateRanges = true
		m.DateRanges, m.RemovedDateRanges = r.dates.delta(now)
		v.delta2 = &rendered{pieces: r.pieces(&m, skip, tail), etag: etag + "-delta2"}
	}
	if r.m.observe != nil {
		r.m.observe(r, v)
	}
	r.publishIFrames()
	return v
}

// listsWhole tells whether nothing ever leaves the playlist.
func (r *rendition) listsWhole() bool {
	return r.m.cfg.Window == WholeBroadcast && r.log != nil && !r.trimmed
}

// etag names v among all that a URL ever answers.
func (r *rendition) etag(v *version) string {
	return r.m.epoch + "-" + strconv.FormatUint(v.number, 36)
}

// boundaries returns how many of the listed segments list no parts: those
// that end three target durations or more before the end (rfc8216bis, section
// 6.2.2); and how many a delta update skips: those six from it.
func (r *rendition) boundaries() (bare, skip int) {
	var fromEnd time.Duration
	if r.begun() {
		fromEnd = r.open.entry.Duration
	}
	i := len(r.listed)
	for ; i > 0 && fromEnd < 3*targetDuration; i-- {
		fromEnd += r.listed[i-1].entry.Duration
	}
	if fromEnd < 3*targetDuration {
		return 0, 0
	}
	bare = i
	for ; i > 0 && fromEnd < control.CanSkipUntil; i-- {
		fromEnd += r.listed[i-1].entry.Duration
	}
	if fromEnd < control.CanSkipUntil {
		return bare, 0
	}
	return bare, i
}

// age moves the text of the first n listed segments into the past.
func (r *rendition) age(n int) {
	first := n
	for first > 0 && !r.listed[first-1].past {
		first--
	}
	for i := first; i < n; i++ {
		s := r.listed[i]
		entry := s.entry
		entry.Parts = nil
		r.past.b = entry.Append(r.past.b, r.bringsMap(i))
		s.past, s.place, s.text = true, r.past.end(), nil
	}
	if n > 0 {
		r.past.drop(r.listed[0].place)
	}
}

// bringsMap tells whether the i-th listed segment names its EXT-X-MAP: the
// one before it has another.
func (r *rendition) bringsMap(i int) bool {
	return i == 0 || r.listed[i-1].entry.Map != r.listed[i].entry.Map
}

// pieces puts the text together from the listed segment from on. The first
// one names its EXT-X-MAP in any case.
func (r *rendition) pieces(m *playlist.Media, from int, tail []byte) [][]byte {
	head := m.AppendHead(make([]byte, 0, 1024))
	if from == len(r.listed) {
		return [][]byte{head, tail}
	}
	s := r.listed[from]
	first := s.entry
	if s.past {
		first.Parts = nil
	}
	head = first.Append(head, true)
	from++
	out := make([][]byte, 1, 16)
	out[0] = head
	if s.past {
		out = append(out, r.past.from(s.place))
		for from < len(r.listed) && r.listed[from].past {
			from++
		}
	}
	for i := from; i < len(r.listed); i++ {
		if s := r.listed[i]; s.text == nil {
			s.text = s.entry.Append(nil, r.bringsMap(i))
		}
		out = append(out, r.listed[i].text)
	}
	return append(out, tail)
}

// appendTail returns the text from the open segment on.
func (r *rendition) appendTail(m *playlist.Media) []byte {
	tail := make([]byte, 0, 2048)
	if r.begun() {
		open := r.open.entry
		n := len(r.listed)
		tail = open.Append(tail, n == 0 || r.listed[n-1].entry.Map != open.Map)
	}
	return m.AppendTail(tail)
}
