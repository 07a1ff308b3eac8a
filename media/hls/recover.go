package hls

import (
	"errors"
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
// A segment that was open is closed with the parts it had. Media goes on
// behind it; what is missing in between is listed as a gap.
func (m *Muxer) Store(b *dvr.Broadcast) (restored bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broadcast = b
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
	open := s.Open != nil && len(s.Open.Parts) > 0
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
	for i := range segments {
		r.restoreSegment(&segments[i], open && i == len(segments)-1)
	}
	first, last := &segments[0], &segments[len(segments)-1]
	r.startMSN, r.nextMSN = first.MSN, last.MSN+1
	r.firstDis = first.Discontinuities
	if first.Discontinuity {
		r.firstDis--
	}
	r.disc = last.Discontinuities
	m.disc = max(m.disc, r.disc)
	if s.Open != nil {
		m.disc = max(m.disc, s.Open.Discontinuities) // it was announced, though nothing followed
	}
	pos := last.Position
	r.clock = cmaf.NewClock(uint32(r.seg.scale), media.Time(pos.Anchor))
	r.seg.at = pos.Decode
	r.offset = pos.Offset
	r.newest, r.came = media.Time(pos.Present), time.Now()
	r.replay, r.behind, r.active = true, pos != dvr.Position{}, true
	m.renditions = append(m.renditions, r)
	m.pathLocked(r)
	return true
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
		r.audio.Store(f.Kind() == media.Audio)
		r.seg = newSegmenter(r, f)
		r.seg.firstMin = 0
	}
	return r.init != nil
}

// restoreSegment lists a segment as it was. One that was open is closed.
func (r *rendition) restoreSegment(g *dvr.Segment, open bool) {
	s := &segment{
		file: g.File, size: g.Size, frames: g.Frames, hasData: g.Size > 0, stored: true, moved: true,
		entry: playlist.Segment{
			URI: gapURI, Duration: g.Duration, Discontinuity: g.Discontinuity, Map: r.mediaURI(g.Init),
			Time: time.UnixMilli(g.Time).UTC(), Gap: g.Gap,
		},
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
	if open {
		s.entry.Gap = !s.hasData
		if s.hasData {
			g.Name = r.m.cfg.MediaKey() + "/" + g.File
		}
		r.recordClose(s, g.Name)
	}
	if g.Name != "" {
		s.name = g.Name
		s.entry.URI = r.mediaURI(g.Name)
		s.files = append(s.files, g.Name)
	}
	r.files.addAll(r.stored(s))
	r.listed = append(r.listed, s)
	r.duration += int64(s.entry.Duration)
	r.measure(s)
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
