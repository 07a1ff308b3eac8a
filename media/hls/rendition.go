package hls

import (
	"bytes"
	"hash/fnv"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

// rendition is one track as HLS: the writer's state, which Muxer.mu guards,
// and what requests read without it (files, current, audio).
type rendition struct {
	m     *Muxer
	track string // name in the catalog
	path  string // folder of its URIs

	files   files
	current atomic.Pointer[version]
	audio   atomic.Bool

	// The rest is guarded by m.mu.
	active bool // the present broadcast has the track
	format *media.Format
	init   *initSegment
	seg    *segmenter
	clock  cmaf.Clock
	order  cmaf.Reorder
	timed  bool       // clock and order belong to the present timeline
	newest media.Time // highest presentation time ever written
	replay bool       // frames up to newest are from before: drop them
	filled bool       // the timeline ends with what fill made
	still  []byte     // the last key frame
	due    int64      // decode time of what fill adds next
	came   time.Time  // when the last frame was written
	last   int64      // highest presentation time of the timeline, in ticks
	offset int64      // presentation minus decode time at the last key frame

	startMSN uint64 // of the first segment
	nextMSN  uint64
	nextPart uint64
	listed   []*segment // closed, in the playlist
	retired  []*segment // no longer listed, still served
	open     *segment
	disc     uint64  // discontinuities before the next segment
	firstDis uint64  // EXT-X-DISCONTINUITY-SEQUENCE
	duration int64   // of listed, in nanoseconds
	bytes    int64   // of listed and retired
	peak     float64 // highest bit rate of a segment, bit/s
	rate     float64 // frames per second of the last segment
	ended    bool
}

type initSegment struct {
	uri  string
	data []byte
}

// segment is a media segment. Its entry is what the playlist says of it.
type segment struct {
	entry   playlist.Segment
	size    int64
	bodies  []cmaf.Buffer
	uris    []string // files that go when the segment goes
	frames  int
	hasData bool
}

// version is an immutable state of a rendition's playlist.
type version struct {
	msn   uint64 // of the last segment listed
	parts int    // of that segment
	hint  string // URI of the part to come
	full  rendered
	delta rendered // empty text: nothing to skip
	ended bool
	next  chan struct{} // closed when a newer version is current
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

func newRendition(m *Muxer, track, path string) *rendition {
	r := &rendition{m: m, track: track, path: path, startMSN: m.firstMSN, nextMSN: m.firstMSN, disc: m.disc, firstDis: m.disc}
	r.files.m = make(map[string]cmaf.Buffer)
	r.current.Store(&version{next: make(chan struct{})})
	return r
}

// setFormat brings a new format into force. It returns whether the timeline
// had to be broken for it.
func (r *rendition) setFormat(f *media.Format) (broken bool, err error) {
	data, err := cmaf.Init(f)
	if err != nil {
		return false, err
	}
	if r.init != nil && bytes.Equal(data, r.init.data) {
		r.format = f
		return false, nil
	}
	if r.seg != nil {
		broken = true
		r.finish()
	}
	h := fnv.New64a()
	_, _ = h.Write(data) // a hash does not fail
	r.init = &initSegment{uri: "init-" + strconv.FormatUint(h.Sum64(), 36) + ".mp4", data: data}
	r.files.add(r.init.uri, cmaf.NewBuffer(data))
	r.format = f
	r.audio.Store(f.Kind() == media.Audio)
	r.seg = newSegmenter(r, f)
	if !r.empty() {
		r.seg.firstMin = 0
	}
	return broken, nil
}

// write takes one frame. lost tells that frames are missing before it. The
// returned flag tells that the timeline broke here: the other renditions
// have to follow.
func (r *rendition) write(f media.Frame, lost bool) (broken bool, err error) {
	if f.Format != nil && f.Format != r.format {
		if broken, err = r.setFormat(f.Format); err != nil {
			return false, err
		}
		if broken {
			r.m.breakAll(r)
		}
	}
	key := f.Key || r.format != nil && r.format.Kind() == media.Audio
	if r.seg == nil || len(f.Data) == 0 || !r.timed && !key {
		return broken, nil // nothing can be shown before the first key frame
	}
	if r.replay {
		// A broadcast that was opened again starts with what its cache holds.
		if behind := r.newest.Sub(f.PTS); behind >= 0 && behind < maxGap || !key {
			return broken, nil
		}
		r.replay = false
	}
	r.newest, r.came = max(r.newest, f.PTS), time.Now()
	nominal := cmaf.FrameDuration(r.format, f.Data)
	if nominal <= 0 {
		nominal = r.seg.scale / 30
		if r.rate > 0 {
			nominal = int64(float64(r.seg.scale) / r.rate)
		}
	}
	if r.timed {
		again, usable := false, true
		if r.filled {
			again, usable = r.resume(f, key)
		} else {
			again = r.checkTimeline(f, key, lost, nominal)
		}
		if !usable {
			return broken, nil
		}
		if again {
			broken = true
			r.m.breakAll(r)
			if !key {
				return broken, nil
			}
		}
	}
	if !r.timed {
		r.clock = cmaf.NewClock(uint32(r.seg.scale), f.PTS)
		r.order = cmaf.NewReorder(r.format)
		r.timed = true
		r.last = r.clock.Ticks(f.PTS)
	}
	pts := r.clock.Ticks(f.PTS)
	var dts int64
	if r.seg.audio {
		// Audio frames follow each other without gaps, whatever their
		// timestamps were rounded to; half a frame is a real difference.
		dts = pts
		if r.seg.have {
			if due := r.seg.end(); pts-due < nominal/2 && due-pts < nominal/2 {
				dts = due
			}
			dts = max(dts, r.seg.at+1)
		}
		pts = dts // sound is presented as it is decoded
	} else {
		dts = r.order.Next(pts)
	}
	r.last = max(r.last, pts)
	if r.seg.have {
		dts = max(dts, r.seg.at+1)
	}
	if key {
		r.offset = pts - dts
		r.still = f.Data
	}
	cut := r.disc < r.m.disc
	r.seg.next(cmaf.Sample{Data: f.Data, Offset: int32(pts - dts), Sync: key}, dts, nominal, cut)
	return broken, nil
}

// checkTimeline deals with a frame that does not follow on the one before
// it. It returns whether the timeline had to be broken.
func (r *rendition) checkTimeline(f media.Frame, key, lost bool, nominal int64) bool {
	pts := r.clock.Ticks(f.PTS)
	jump := pts - r.last
	switch {
	case jump < -r.ticks(2*time.Second):
		// Reordering spans fractions of a second: this is another timeline.
	case jump > r.ticks(maxGap):
	case !key:
		return false
	case jump > nominal+r.seg.partTarget && (lost || r.seg.audio || jump > r.seg.segmentMax):
		start, order := r.restart(pts)
		if start <= r.seg.end() {
			return false
		}
		r.seg.hole(start)
		r.order = order
		return false
	default:
		return false
	}
	r.finish()
	return true
}

// fill makes a track that stands still go on up to t: pictures with the last
// key frame, sound with silence. What has neither is listed as lost.
func (r *rendition) fill(t media.Time) {
	if !r.timed || r.seg == nil {
		return
	}
	r.fillTo(r.clock.Ticks(t) - r.offset)
}

// fillTo fills up to a decode time.
func (r *rendition) fillTo(to int64) {
	step, data := r.seg.partTarget, r.still
	if r.seg.audio {
		data = silence(r.format)
		step = cmaf.FrameDuration(r.format, data)
	}
	at, first := r.seg.end(), step
	if r.filled && r.seg.have {
		at = r.due
	} else if room := r.seg.room(); !r.seg.audio && room > 0 {
		first = room // up to the end of the open part, so that it is a whole one
	}
	if to-at < r.seg.partTarget {
		return
	}
	r.filled = true
	if data == nil {
		r.seg.finish()
		n := (to - r.seg.at) / r.seg.partTarget * r.seg.partTarget // whole parts
		r.seg.gap(r.seg.at, n)
		r.seg.at += n
		at = r.seg.at
	}
	for n := first; data != nil && at+n <= to; n = step {
		r.seg.next(cmaf.Sample{Data: data, Offset: int32(r.offset), Sync: true}, at, n, r.disc < r.m.disc)
		at += n
		r.due = at
	}
	r.last = max(r.last, at+r.offset)
}

// silence returns a frame of silence, nil when there is none for the format.
func silence(f *media.Format) []byte {
	switch {
	case f.Codec == media.Opus:
		// 20 ms of CELT whose range coder finds the silence flag (RFC 6716,
		// section 4.3); a decoder takes any number of channels from it.
		return []byte{0xfc, 0xff, 0xfe}
	case f.MIME == "mp4a.40.2" && f.Channels == 2:
		// A channel pair, or a single channel, with max_sfb 0 (ISO/IEC
		// 14496-3, subpart 4).
		return []byte{0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80}
	case f.MIME == "mp4a.40.2" && f.Channels == 1:
		return []byte{0x00, 0xc8, 0x00, 0x80, 0x23, 0x80}
	}
	return nil
}

// reach is the time that the track has come to, gaps included.
func (r *rendition) reach() media.Time {
	if r.filled {
		return max(r.newest, r.clock.Time(r.last))
	}
	return r.newest
}

// resume lets a track that was filled go on, at the first key frame behind
// what is listed. usable tells whether f is that frame; broken, that it
// belongs to another timeline.
func (r *rendition) resume(f media.Frame, key bool) (broken, usable bool) {
	pts := r.clock.Ticks(f.PTS)
	if d := pts - r.last; d > r.ticks(maxGap) || d < -r.ticks(maxGap) {
		r.finish()
		return true, true
	}
	start, order := r.restart(pts)
	if !key || start <= r.seg.at {
		return false, false
	}
	r.fillTo(start)
	if !r.seg.have {
		r.seg.hole(start) // it was filled with gaps
	}
	r.order = order
	r.filled = false
	return false, true
}

// restart returns the decode time of a key frame behind a hole, and the order
// that gives it.
func (r *rendition) restart(pts int64) (dts int64, order cmaf.Reorder) {
	order = cmaf.NewReorder(r.format)
	if r.seg.audio {
		return pts, order
	}
	try := cmaf.NewReorder(r.format)
	return try.Next(pts), order
}

func (r *rendition) ticks(d time.Duration) int64 { return int64(d) * r.seg.scale / int64(time.Second) }

// finish ends the present timeline: what comes next starts with a key frame.
func (r *rendition) finish() {
	if r.seg != nil {
		r.seg.finish()
	}
	r.timed, r.filled = false, false
}

// addPart implements segmentSink.
func (r *rendition) addPart(samples []cmaf.Sample, at, dur int64) {
	if r.open == nil {
		r.openSegment(at)
	}
	s := r.open
	c := cmaf.Chunk{
		Sequence: uint32(r.nextPart), DecodeTime: uint64(max(at, 0)), Samples: samples, Segment: !s.hasData,
	}
	if len(samples) > 0 {
		c.Reference = r.clock.Time(at + int64(samples[0].Offset))
	}
	body, err := c.Buffer()
	if err != nil {
		r.m.cfg.Logger.Warn("hls: part given up", "track", r.track, "error", err)
		r.added(playlist.Part{Duration: r.seconds(dur), URI: gapURI, Gap: true})
		return
	}
	part := playlist.Part{
		Duration: r.seconds(dur), URI: r.partURI(r.nextPart),
		Independent: slices.ContainsFunc(samples, func(s cmaf.Sample) bool { return s.Sync }),
	}
	r.nextPart++
	r.files.add(part.URI, body)
	s.bodies = append(s.bodies, body)
	s.uris = append(s.uris, part.URI)
	s.size += body.Len()
	s.hasData = true
	s.frames += len(samples)
	r.added(part)
}

// gapURI names what does not exist.
const gapURI = "gap.m4s"

// addGap implements segmentSink.
func (r *rendition) addGap(at, dur int64) {
	if r.open == nil {
		r.openSegment(at)
	}
	r.added(playlist.Part{Duration: r.seconds(dur), URI: gapURI, Gap: true})
}

// added lists a part and makes it known.
func (r *rendition) added(part playlist.Part) {
	r.open.entry.Parts = append(r.open.entry.Parts, part)
	r.open.entry.Duration += part.Duration
	r.publish()
	if r.m.multivariant.Load() == nil {
		r.m.renderMultivariant() // for how long to wait for the rest?
	}
}

// openSegment begins a segment at the given decode time.
func (r *rendition) openSegment(at int64) {
	r.open = &segment{entry: playlist.Segment{
		Map:  r.init.uri,
		Time: r.clock.Time(at + r.offset).Wall().UTC().Truncate(time.Millisecond),
	}}
	if r.disc < r.m.disc {
		if r.empty() {
			r.firstDis = r.m.disc // nothing of before was ever listed
		} else {
			r.open.entry.Discontinuity = true
		}
		r.disc = r.m.disc
	}
}

// offered tells whether r has what a player needs to begin: a segment.
func (r *rendition) offered() bool { return r.active && len(r.listed) > 0 }

// empty tells whether no segment was ever begun.
func (r *rendition) empty() bool {
	return r.open == nil && len(r.listed) == 0 && len(r.retired) == 0
}

// closeSegment implements segmentSink.
func (r *rendition) closeSegment() {
	s := r.open
	if s == nil {
		return
	}
	r.open = nil
	s.entry.Gap = !s.hasData
	s.entry.URI = gapURI
	if s.hasData {
		s.entry.URI = r.m.epoch + "-s" + strconv.FormatUint(r.nextMSN, 10) + ".m4s"
		r.files.add(s.entry.URI, cmaf.Join(s.bodies...))
		s.uris = append(s.uris, s.entry.URI)
	}
	s.bodies = nil
	r.nextMSN++
	r.listed = append(r.listed, s)
	r.duration += int64(s.entry.Duration)
	r.bytes += s.size
	if d := s.entry.Duration.Seconds(); d >= 1 {
		r.peak = max(r.peak, float64(s.size*8)/d)
		r.rate = float64(s.frames) / d
	}
	r.trim()
	r.publish()
	if r.nextMSN == r.startMSN+1 {
		r.m.joined(r)
	} else {
		r.m.renderMultivariant()
	}
}

// partURI names the n-th part with media. The names do not tell the segment,
// so that the next one is known whether or not a segment ends before it.
func (r *rendition) partURI(n uint64) string {
	return r.m.epoch + "-p" + strconv.FormatUint(n, 10) + ".m4s"
}

func (r *rendition) seconds(ticks int64) time.Duration {
	return time.Duration(ticks * int64(time.Second) / r.seg.scale)
}

// trim lets old segments leave the playlist, and later the memory.
func (r *rendition) trim() {
	cfg := &r.m.cfg
	for len(r.listed) > 1 {
		first := r.listed[0]
		left := time.Duration(r.duration) - first.entry.Duration
		switch {
		case left >= cfg.Window:
		case r.bytes > cfg.MaxBytes && left >= minWindow:
		case r.bytes > 4*cfg.MaxBytes:
		default:
			r.forget()
			return
		}
		if first.entry.Discontinuity {
			r.firstDis++
		}
		r.duration = int64(left)
		r.listed = slices.Delete(r.listed, 0, 1)
		r.retired = append(r.retired, first)
		r.forget()
	}
}

// forget drops segments that left the playlist longer than a client may
// still want them (three target durations), or that memory does not allow.
func (r *rendition) forget() {
	var kept time.Duration
	for i := len(r.retired) - 1; i >= 0; i-- {
		kept += r.retired[i].entry.Duration
		if kept <= minWindow && r.bytes <= r.m.cfg.MaxBytes {
			continue
		}
		for _, s := range r.retired[:i+1] {
			r.files.remove(s.uris...)
			r.bytes -= s.size
		}
		r.retired = slices.Delete(r.retired, 0, i+1)
		return
	}
}

// report returns what a rendition report says of r.
func (r *rendition) report() (playlist.Report, bool) {
	rep := playlist.Report{URI: "../" + r.path + "/index.m3u8"}
	switch {
	case r.open != nil:
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
	m := playlist.Media{
		Version: version9, IndependentSegments: true,
		TargetDuration: targetDuration, PartTarget: partTarget, Control: control,
		MediaSequence:   r.nextMSN - uint64(len(r.listed)),
		Discontinuities: r.firstDis, HasDiscontinuities: true,
		Segments: make([]playlist.Segment, 0, len(r.listed)+1),
		EndList:  r.ended,
	}
	for _, s := range r.listed {
		m.Segments = append(m.Segments, s.entry)
	}
	total := time.Duration(r.duration)
	if r.open != nil {
		m.Segments = append(m.Segments, r.open.entry)
		total += r.open.entry.Duration
	}
	if !r.ended {
		m.Hint = r.partURI(r.nextPart)
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
	v := &version{hint: m.Hint, ended: r.ended, next: make(chan struct{})}
	v.msn, _, _ = m.Last()
	if n := len(m.Segments); n > 0 {
		v.parts = len(m.Segments[n-1].Parts)
	}
	v.full = render(m.Append(nil))
	if skip > 0 {
		m.Skipped, m.Segments = skip, m.Segments[skip:]
		v.delta = render(m.Append(nil))
	}
	old := r.current.Swap(v)
	close(old.next)
	if r.m.observe != nil {
		r.m.observe(r, v)
	}
}
