package hls

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf"
	"github.com/freshet-live/freshet/media/hls/dvr"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

// segment is a media segment. Its entry is what the playlist says of it.
type segment struct {
	entry   playlist.Segment
	size    int64
	bodies  []cmaf.Buffer
	name    string     // of the whole segment; "" while it is open
	parts   []partFile // one after the other they are the segment
	files   []string   // what goes when the segment goes
	frames  int
	hasData bool

	text  []byte // in the playlist, with parts; nil: not made yet, or past
	past  bool   // the text is in rendition.past, without parts, up to place
	place int

	key      int64 // bytes of the file that hold its first key frame alone; 0: no such
	keyPlace int   // in iframes.past, behind the segment

	file    string      // on disk
	stored  bool        // the disk takes it, so far
	durable atomic.Bool // all of it is on disk
	moved   bool        // it is on disk only
}

// partFile is a part with media.
type partFile struct {
	name string
	size int64
}

// addChunk implements segmentSink.
func (r *rendition) addChunk(samples []cmaf.Sample, at int64) {
	if r.open == nil {
		shown := at + r.offset
		if len(samples) > 0 && samples[0].Sync {
			shown = at + int64(samples[0].Offset) // a later key frame may have come meanwhile
		}
		r.openSegment(shown - r.seg.lead)
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
	if s.size == 0 && r.partBytes == 0 && len(samples) == 1 && samples[0].Sync && !r.seg.audio {
		s.key = body.Len()
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
	record := dvr.Part{Duration: part.Duration, Frames: r.partFrames, Independent: r.independent}
	if r.broken {
		r.coming.giveUp()
		r.files.remove(r.hint)
		if s.size == 0 {
			s.key = 0
		}
		part = playlist.Part{Duration: part.Duration, URI: gapURI, Gap: true}
		r.recordPart("", cmaf.Buffer{}, dvr.Part{Duration: part.Duration, Gap: true}, r.seg.at)
	} else {
		body := r.coming.complete()
		r.recordPart(r.hint, body, record, r.seg.at)
		s.parts = append(s.parts, partFile{r.hint, body.Len()})
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
		r.openSegment(at + r.offset)
	}
	part := playlist.Part{Duration: r.seconds(dur), URI: gapURI, Gap: true}
	r.recordPart("", cmaf.Buffer{}, dvr.Part{Duration: part.Duration, Gap: true}, at+dur)
	r.added(part)
}

// added lists a part and makes it known.
func (r *rendition) added(part playlist.Part) {
	r.open.entry.Parts = append(r.open.entry.Parts, part)
	r.open.entry.Duration += part.Duration
	r.publish()
	if r.m.multivariant.Load() == nil {
		r.m.renderMultivariant() // for how long to wait for the rest?
	}
	r.m.follow(r, part)
}

// openSegment begins a segment whose first sample is presented at shown.
func (r *rendition) openSegment(shown int64) {
	start := r.clock.Time(shown)
	r.makeUp(start)
	r.enterPlan(start)
	r.open = &segment{entry: playlist.Segment{
		Map:  r.mediaURI(r.init.file),
		Time: start.Wall().UTC().Truncate(time.Millisecond),
	}}
	r.applyDiscontinuity()
	r.open.file = r.segmentFile()
	r.recordOpen()
}

// applyDiscontinuity has the open segment, which is new, begin behind the
// next of the discontinuities that the other renditions had.
func (r *rendition) applyDiscontinuity() {
	if r.disc == r.m.disc {
		return
	}
	if len(r.listed)+len(r.retired) == 0 {
		r.firstDis = r.m.disc // nothing of before was ever listed
		r.disc = r.m.disc
		return
	}
	r.open.entry.Discontinuity = true
	r.disc++
}

// makeUp lists a gap for each discontinuity but the last that the others had
// while r had no media, up to start: numbers of discontinuities have to agree
// among renditions (rfc8216bis, section 6.2.4), and not every player counts
// two EXT-X-DISCONTINUITY before one segment.
func (r *rendition) makeUp(start media.Time) {
	if len(r.listed)+len(r.retired) == 0 {
		return
	}
	for r.disc+1 < r.m.disc {
		before := time.Duration(r.m.disc-r.disc-1) * partTarget
		r.open = &segment{entry: playlist.Segment{
			Map:  r.mediaURI(r.init.file),
			Time: start.Add(-before).Wall().UTC().Truncate(time.Millisecond),
		}}
		r.applyDiscontinuity()
		r.open.file = r.segmentFile()
		r.recordOpen()
		r.addGap(r.seg.at, r.seg.partTarget)
		r.closeSegment()
	}
}

// segmentFile names the open segment's file, without a key.
func (r *rendition) segmentFile() string {
	return r.m.epoch + "-s" + strconv.FormatUint(r.nextMSN, 10) + r.extension()
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
	defer r.m.followClose(r)
	s.entry.Gap = !s.hasData
	s.entry.URI = gapURI
	if s.hasData {
		s.name = r.m.cfg.MediaKey() + "/" + s.file
		s.entry.URI = r.mediaURI(s.name)
		r.files.addBuffer(s.name, cmaf.Join(s.bodies...))
		s.files = append(s.files, s.name)
	}
	r.recordClose(s, s.name)
	s.bodies = nil
	r.nextMSN++
	r.listed = append(r.listed, s)
	r.duration += int64(s.entry.Duration)
	r.bytes += s.size
	r.measure(s)
	r.settle()
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
	return r.m.cfg.MediaKey() + "/" + r.m.epoch + "-p" + strconv.FormatUint(n, 10) + r.extension()
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
	var cutoff time.Time
	if r.log != nil {
		cutoff = r.log.Cutoff()
	}
	before := len(r.listed)
	defer func() {
		r.forget()
		if len(r.listed) < before {
			r.recordFirst()
		}
	}()
	for len(r.listed) > 1 {
		first := r.listed[0]
		left := time.Duration(r.duration) - first.entry.Duration
		switch {
		case left >= cfg.Window:
		case first.entry.Time.Before(cutoff) && left >= minWindow:
		case r.bytes > cfg.MaxBytes && left >= minWindow:
		case r.bytes > 4*cfg.MaxBytes:
		default:
			return
		}
		if !r.trimmed && cfg.Window == WholeBroadcast && r.log != nil {
			cfg.Logger.Warn("hls: there is no room for the whole broadcast: its beginning leaves the playlist", "track", r.track)
		}
		r.trimmed = true
		if first.entry.Discontinuity {
			r.firstDis++
		}
		r.duration = int64(left)
		r.listed = slices.Delete(r.listed, 0, 1)
		r.retired = append(r.retired, first)
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
			if !s.moved {
				r.bytes -= s.size
			}
			if s.stored {
				r.log.Remove(s.file)
			}
		}
		r.retired = slices.Delete(r.retired, 0, i+1)
		return
	}
}
