package hls

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/freshet-live/freshet/media/cmaf"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

// segment is a media segment. Its entry is what the playlist says of it.
type segment struct {
	entry   playlist.Segment
	size    int64
	bodies  []cmaf.Buffer
	files   []string // what goes when the segment goes
	frames  int
	hasData bool
}

// addChunk implements segmentSink.
func (r *rendition) addChunk(samples []cmaf.Sample, at int64) {
	if r.open == nil {
		r.openSegment(at)
	}
	s := r.open
	r.sequence++
	c := cmaf.Chunk{
		Sequence: r.sequence, DecodeTime: uint64(max(at, 0)), Samples: samples, Segment: s.size == 0 && r.partBytes == 0,
	}
	if r.partBytes == 0 && len(samples) > 0 {
		// Once per part: a clock does not drift in half a second.
		c.Reference = r.clock.Time(at + int64(samples[0].Offset))
	}
	body, err := c.Buffer()
	if err != nil {
		r.m.cfg.Logger.Warn("hls: part given up", "track", r.track, "error", err)
		r.broken = true
		return
	}
	r.partBytes += body.Len()
	r.partFrames += len(samples)
	r.independent = r.independent || slices.ContainsFunc(samples, func(s cmaf.Sample) bool { return s.Sync })
	r.coming.append(body)
}

// addPart implements segmentSink.
func (r *rendition) addPart(samples []cmaf.Sample, at, dur int64) {
	if len(samples) > 0 || r.partBytes == 0 {
		r.addChunk(samples, at)
	}
	s := r.open
	part := playlist.Part{Duration: r.seconds(dur), URI: r.mediaURI(r.hint), Independent: r.independent}
	if r.broken {
		r.coming.giveUp()
		r.files.remove(r.hint)
		part = playlist.Part{Duration: part.Duration, URI: gapURI, Gap: true}
	} else {
		body := r.coming.complete()
		r.files.addBuffer(r.hint, body)
		s.bodies = append(s.bodies, body)
		s.files = append(s.files, r.hint)
		s.size += body.Len()
		s.hasData = true
		s.frames += r.partFrames
	}
	r.expect()
	r.added(part)
}

// expect names the part that comes next and lets it be asked for.
func (r *rendition) expect() {
	r.partBytes, r.partFrames, r.independent, r.broken = 0, 0, false, false
	r.hint = r.partName(r.nextPart)
	r.nextPart++
	r.coming = newOpenPart()
	r.files.add(r.hint, r.coming)
}

// expectNone takes the name of the next part back: there will be none.
func (r *rendition) expectNone() {
	r.coming.giveUp()
	r.files.remove(r.hint)
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
		Map:  r.mediaURI(r.init.file),
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

// begun tells whether the open segment has a part: until then it is not
// listed.
func (r *rendition) begun() bool { return r.open != nil && len(r.open.entry.Parts) > 0 }

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
		file := r.m.cfg.MediaKey() + "/" + r.m.epoch + "-s" + strconv.FormatUint(r.nextMSN, 10) + ".m4s"
		s.entry.URI = r.mediaURI(file)
		r.files.addBuffer(file, cmaf.Join(s.bodies...))
		s.files = append(s.files, file)
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

// partName names the file of the n-th part with media, under the key of now.
// The names do not tell the segment, so that the next one is known whether or
// not a segment ends before it.
func (r *rendition) partName(n uint64) string {
	return r.m.cfg.MediaKey() + "/" + r.m.epoch + "-p" + strconv.FormatUint(n, 10) + ".m4s"
}

// mediaURI returns where a file lies as a media playlist has to say it.
func (r *rendition) mediaURI(file string) string {
	key, name, _ := strings.Cut(file, "/")
	return "../../" + mediaFolder + "/" + key + "/" + r.path + "/" + name
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
			r.files.remove(s.files...)
			r.bytes -= s.size
		}
		r.retired = slices.Delete(r.retired, 0, i+1)
		return
	}
}
