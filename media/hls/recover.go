package hls

import (
	"errors"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf"
	"github.com/freshet-live/freshet/media/hls/dvr"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

// Store has m keep its media in b, and restores what b holds of the time
// before: listings, numbers, and everything that can still be asked for. It
// comes before Start, reads small files, and returns whether there was
// something to restore. The caller closes b behind Close or Suspend.
//
// A segment that was open is open again. When the broadcast is opened at a
// Group that reaches back to where it ends, it goes on there as if nothing
// had happened; otherwise it is closed with the parts it had, and what is
// missing is listed as a gap.
func (m *Muxer) Store(b *dvr.Broadcast) (restored bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broadcast = b
	m.restoring = true
	defer func() { m.restoring = false }()
	var ended bool
	for _, l := range b.Logs() {
		if s := l.State(); len(s.Segments) > 0 || s.Open != nil && len(s.Open.Parts) > 0 {
			if m.restoreLocked(l, s) {
				restored = true
				ended = ended || s.Ended
			}
		}
	}
	if !restored {
		return false
	}
	for _, r := range m.renditions {
		r.trim()
		if r.text == nil {
			r.restorePlan()
		}
	}
	for _, r := range m.renditions {
		if r.text != nil && !ended {
			r.rejoin(m.leaderLocked())
		}
	}
	m.renderMultivariant()
	if ended {
		m.endLocked()
	}
	for _, r := range m.renditions {
		r.show(r.render())
	}
	return true
}

// restoreLocked makes a rendition of what its journal says. It returns false
// when nothing of it is of use: too old, or of a codec unknown here.
func (m *Muxer) restoreLocked(l *dvr.Log, s dvr.State) bool {
	oldest := time.Now().Add(-min(m.cfg.Window, maxAge))
	segments := s.Segments
	open := s.Open != nil && len(s.Open.Parts) > 0 && !s.Ended
	if open {
		segments = append(slices.Clone(segments), *s.Open)
	}
	for len(segments) > 0 && !s.Ended && time.UnixMilli(segments[0].Time).Add(segments[0].Duration).Before(oldest) {
		segments = segments[1:]
	}
	if len(segments) == 0 || len(m.renditions) == MaxTracks || m.renditionLocked(s.Head.Track) != nil {
		return false
	}
	r := newRendition(m, s.Head.Track, s.Head.Path)
	r.log = l
	if !r.restoreInit(l, s, segments[len(segments)-1].Init) {
		return false
	}
	first, last := &segments[0], &segments[len(segments)-1]
	r.startMSN, r.nextMSN = first.MSN, last.MSN+1
	for i := range segments {
		g := &segments[i]
		s := r.restoreSegment(g)
		if open && g == last {
			if !r.reopen(s, g) {
				return false
			}
			continue
		}
		r.listed = append(r.listed, s)
		r.duration += int64(s.entry.Duration)
		r.measure(s)
	}
	r.firstDis = first.Discontinuities
	if first.Discontinuity {
		r.firstDis--
	}
	r.disc = last.Discontinuities
	m.disc = max(m.disc, r.disc)
	if s.Open != nil {
		m.disc = max(m.disc, s.Open.Discontinuities) // it was announced, though nothing followed
	}
	if r.text != nil {
		r.restoreCues(&segments[len(segments)-1])
		r.active = true
		m.renditions = append(m.renditions, r)
		m.pathLocked(r)
		return true
	}
	pos := last.Position
	r.clock = cmaf.NewClock(uint32(r.seg.scale), media.Time(pos.Anchor))
	r.seg.at = pos.Decode
	r.offset, r.group = pos.Offset, pos.Group
	r.newest, r.came = media.Time(pos.Present), time.Now()
	r.order = cmaf.NewReorder(r.format)
	r.last = r.clock.Ticks(r.newest)
	r.replay, r.behind, r.active = true, pos != dvr.Position{}, true
	m.renditions = append(m.renditions, r)
	m.pathLocked(r)
	return true
}

// restorePlan takes note of where the restored segments of pictures begin.
func (r *rendition) restorePlan() {
	if r.seg.audio {
		return
	}
	all := r.listed
	if r.begun() {
		all = append(slices.Clone(all), r.open)
	}
	from := max(0, len(all)-maxCuts)
	for i := from; i < len(all); i++ {
		if all[i].entry.Discontinuity {
			from = i
		}
	}
	for i, s := range all[from:] {
		msn := r.nextMSN - uint64(len(r.listed)) + uint64(from+i)
		r.m.plan.begin(media.TimeOf(s.entry.Time), msn)
	}
}

// maxAge keeps sums of times in range when the window is unlimited.
const maxAge = 10 * 365 * 24 * time.Hour

// restoreInit brings the initialization segments back, and name in force.
func (r *rendition) restoreInit(l *dvr.Log, s dvr.State, name string) bool {
	for i := range s.Inits {
		in := &s.Inits[i]
		data, err := l.Read(dvr.FileOf(in.Name))
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				r.m.cfg.Logger.Warn("hls: cannot restore", "track", r.track, "error", err)
			}
			continue
		}
		r.files.addBuffer(in.Name, cmaf.NewBuffer(data))
		if in.Name != name {
			continue
		}
		f, ok := decodeFormat(in.Format)
		if !ok {
			return false
		}
		r.init, r.format = &initSegment{file: in.Name, data: data}, f
		if f.Kind() == media.Text {
			r.becomeText()
			continue
		}
		r.audio.Store(f.Kind() == media.Audio)
		r.seg = newSegmenter(r, f)
		r.seg.firstMin = 0
	}
	return r.init != nil
}

// restoreSegment makes a segment of what the journal says of it.
func (r *rendition) restoreSegment(g *dvr.Segment) *segment {
	s := &segment{
		file: g.File, size: g.Size, key: g.Key, frames: g.Frames, hasData: g.Size > 0, stored: true, moved: true,
		entry: playlist.Segment{
			URI: gapURI, Duration: g.Duration, Discontinuity: g.Discontinuity, Map: r.mediaURI(g.Init),
			Time: time.UnixMilli(g.Time).UTC(), Gap: g.Gap,
		},
	}
	if r.text != nil {
		s.entry.Map = "" // there is none
	}
	s.durable.Store(true)
	for _, p := range g.Parts {
		part := playlist.Part{URI: gapURI, Duration: p.Duration, Independent: p.Independent, Gap: p.Gap}
		if !p.Gap {
			part.URI = r.mediaURI(p.Name)
			s.files = append(s.files, p.Name)
			s.parts = append(s.parts, partFile{p.Name, p.Size})
		}
		s.entry.Parts = append(s.entry.Parts, part)
	}
	if g.Name != "" {
		s.name = g.Name
		s.entry.URI = r.mediaURI(g.Name)
		s.files = append(s.files, g.Name)
	}
	r.files.addAll(r.stored(s))
	return s
}

// reopen makes s the open segment. It is held in memory as a whole, as any
// that is recent; s is of no use if it cannot be read.
func (r *rendition) reopen(s *segment, g *dvr.Segment) bool {
	if s.hasData && r.text == nil {
		data := make([]byte, s.size)
		if _, err := io.ReadFull(io.NewSectionReader(r.log.File(s.file, 0, s.size), 0, s.size), data); err != nil {
			r.m.cfg.Logger.Warn("hls: cannot restore", "track", r.track, "error", err)
			return false
		}
		s.bodies = append(s.bodies, cmaf.NewBuffer(data))
	}
	s.entry.URI = ""
	s.moved = false
	s.durable.Store(false)
	r.open = s
	r.nextMSN = g.MSN
	if r.text != nil {
		s.hasData = false // what is there is not the segment
		return true
	}
	r.seg.segParts, r.seg.segMedia = len(g.Parts), s.hasData
	r.seg.segKey = g.Parts[0].Independent
	r.seg.segDur = r.ticks(g.Duration)
	return true
}

// takeUp looks for the sample that follows on the restored timeline. What
// comes before it was listed already. It returns whether f is dealt with;
// otherwise f is the key frame at which something else begins.
func (r *rendition) takeUp(f media.Frame, key bool, nominal int64) bool {
	pts := r.clock.Ticks(f.PTS)
	due := r.seg.at
	switch off := pts - due; {
	case off > r.ticks(maxGap), off < -r.ticks(maxGap):
		r.finish() // and not behind any more: another timeline
		r.m.breakAll(r)
		return !key
	case !r.primed && !key:
		return true
	}
	r.primed = true
	dts := pts
	if !r.seg.audio {
		dts = r.order.Next(pts)
	}
	switch {
	case due-dts > nominal/2:
		return true
	case dts-due > nominal/2:
		r.seg.closeSegment() // it lacks something: no more of it comes
		if !key {
			return true
		}
		r.replay = false
		return false
	}
	r.behind, r.replay, r.timed = false, false, true
	r.newest, r.came = max(r.newest, f.PTS), time.Now()
	r.last = max(r.last, pts)
	if r.seg.audio {
		pts = due // as write has it
	}
	if key {
		r.offset = pts - due
		r.still = f.Data
	}
	r.seg.next(cmaf.Sample{Data: f.Data, Offset: int32(pts - due), Sync: key}, due, nominal, r.disc < r.m.disc)
	return true
}

// goOn continues the timeline that was restored at a key frame. It returns
// false when f belongs to another one.
func (r *rendition) goOn(f media.Frame) bool {
	r.behind = false
	pts := r.clock.Ticks(f.PTS)
	start, order := r.restart(pts)
	gap := start - r.seg.at
	if gap < -r.ticks(time.Second) || gap > r.ticks(maxGap) {
		return false
	}
	r.order = order
	r.timed = true
	r.last = pts
	if gap > r.seg.scale/50 {
		r.seg.hole(start)
	}
	return true
}

// Suspend ends what is open and lets all who wait go, but not the playlists:
// another Muxer, or this one's Store in the next process, goes on with them.
func (m *Muxer) Suspend() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.closed = true
	for _, r := range m.renditions {
		r.finish()
		r.expectNone()
	}
	close(m.suspended)
}
