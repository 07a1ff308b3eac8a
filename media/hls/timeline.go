package hls

import (
	"bytes"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf"
)

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
	file := r.m.cfg.MediaKey() + "/init-" + strconv.FormatUint(h.Sum64(), 36) + ".mp4"
	r.init = &initSegment{file: file, data: data}
	r.files.addBuffer(file, cmaf.NewBuffer(data))
	r.format = f
	r.recordInit()
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
	if r.seg != nil && len(f.Data) > 0 && r.behind && r.takeUp(f, key, r.nominal(f)) {
		return broken, nil
	}
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
	nominal := r.nominal(f)
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
	if !r.timed && r.behind && !r.goOn(f) {
		broken = true
		r.m.breakAll(r)
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
		if r.seg.have && pts-r.last > r.order.Apart(key)*3/2 {
			// Decode times are those of earlier pictures: without this the
			// hole would show in them some frames late, and the segment that
			// ends here would seem to end before it.
			r.order.Restart()
		}
		dts = r.order.Next(pts)
	}
	r.last = max(r.last, pts)
	if r.seg.have {
		dts = max(dts, r.seg.at+1)
	}
	if key {
		if !r.seg.audio && !lost && r.keyAt > 0 && pts > r.keyAt {
			r.m.plan.keyAfter(r.seconds(pts - r.keyAt))
		}
		r.keyAt = pts
		r.offset = pts - dts
		r.still = f.Data
	}
	cut := r.disc < r.m.disc
	r.seg.next(cmaf.Sample{Data: f.Data, Offset: int32(pts - dts), Sync: key}, dts, nominal, cut)
	return broken, nil
}

// nominal is how many ticks a frame lasts by all that is known without the
// next one.
func (r *rendition) nominal(f media.Frame) int64 {
	if d := cmaf.FrameDuration(r.format, f.Data); d > 0 {
		return d
	}
	if r.rate > 0 {
		return int64(float64(r.seg.scale) / r.rate)
	}
	return r.seg.scale / 30
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
	if r.timed {
		order = r.order
		order.Restart()
	}
	try := order
	return try.Next(pts), order
}

func (r *rendition) ticks(d time.Duration) int64 { return int64(d) * r.seg.scale / int64(time.Second) }

// finish ends the present timeline: what comes next starts with a key frame.
func (r *rendition) finish() {
	if r.seg != nil {
		r.seg.finish()
	}
	r.timed, r.filled, r.behind, r.keyAt = false, false, false, 0
}
