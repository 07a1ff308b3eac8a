package packager

import (
	"cmp"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf"
	"github.com/freshet-live/freshet/media/loc"
	"github.com/freshet-live/freshet/moq"
)

// twinSuffix makes the name of the CMAF Track of the name of the LOC Track.
const twinSuffix = ".cmaf"

const (
	// audioChunks is how many Objects a second of sound takes: the boxes of one
	// are as large as a frame of 20 ms.
	audioChunks = 10
	// maxPause is the longest that a picture stays, in seconds; what comes
	// later than that comes behind a hole.
	maxPause = 10
)

// twin is a track once more with packaging CMAF (draft-ietf-moq-cmsf), for
// players that feed Media Source Extensions. Its Groups have the IDs of the
// LOC Track's, each Object is a chunk of one picture or a tenth of a second of
// sound, and the initialization segment is in the MSF catalog.
//
// It is made of the frames as they are written, while somebody reads it: from
// the beginning of the Group in which the first reader comes, to the end of
// that in which the last one leaves. Otherwise it costs a look at the Demand
// for each frame.
//
// A frame is held back until the next one tells how long it lasts, so the twin
// is one frame later than LOC. It is guarded by Broadcast.mu.
type twin struct {
	out *moq.TrackWriter // nil for codecs without a mapping

	// The initialization segment, nil when there is none, and the format that
	// it was made of.
	init   []byte
	format *media.Format

	on     bool
	group  *moq.GroupWriter
	sub    *moq.SubgroupWriter // nil when the Group is given up
	object uint64              // ID of the next Object
	extra  moq.Properties      // of the Group's first Object

	timed *media.Format // what clock and order were made for
	clock cmaf.Clock
	order cmaf.Reorder

	// The chunk that the next Object will hold. The last of its samples is the
	// one held back.
	chunk    cmaf.Chunk
	heldDTS  int64
	duration uint32 // of the sample before, in ticks; 0 when there is none
}

// initialization returns the initialization segment for tracks of format f,
// nil when f has no mapping or is not complete.
func (w *twin) initialization(f *media.Format) []byte {
	if w.out == nil {
		return nil
	}
	if w.format != f {
		w.format = f
		w.init, _ = cmaf.Init(f) // which is nil with an error
	}
	return w.init
}

// follow takes the frame f, which t has just written. extra are the Properties
// of its Object that concern the Group.
func (w *twin) follow(t *track, f media.Frame, extra moq.Properties) {
	if w.out == nil {
		return
	}
	wanted := w.out.Demand().Readers > 0 && w.initialization(t.format) != nil
	id, first := t.group.ID(), t.object == 1
	switch {
	case !w.on && !wanted:
	case !w.on:
		// What the Group has so far comes from the LOC Track.
		w.on = true
		w.begin(id, nil)
		r := t.out.Track().Range(moq.Location{Group: id}, moq.Location{Group: id, Object: t.object - 1}, moq.GroupOrderAscending)
		for o, err := r.Next(); err == nil; o, err = r.Next() {
			if o.Object == nil {
				w.fail() // evicted, as the Group is about to be
				return
			}
			h, err := loc.Parse(o.Object.Properties, nil)
			if err != nil {
				w.fail() // not as we write them
				return
			}
			w.add(t.format, media.Frame{PTS: h.Time, Key: t.kind == media.Audio || o.Object.ID == 0, Data: o.Object.Payload()})
		}
	case first:
		// The frame tells how long the last one of the Group before lasted.
		s, dts := w.sample(t.format, f)
		w.settle(dts)
		w.finish()
		if !wanted {
			w.stop()
			return
		}
		w.begin(id, extra)
		w.hold(s, dts)
	default:
		w.add(t.format, f)
	}
}

// begin opens a Group.
func (w *twin) begin(id uint64, extra moq.Properties) {
	w.sub, w.object, w.extra, w.chunk.Samples = nil, 0, extra, nil
	g, err := w.out.Group(id)
	if err != nil {
		return // it is older than what has been cleared: wait for the next
	}
	if s, err := g.Subgroup(0, subgroupConfig); err == nil {
		w.group, w.sub = g, s
	}
}

// add takes a frame of the current Group.
func (w *twin) add(format *media.Format, f media.Frame) {
	s, dts := w.sample(format, f)
	adjoins := w.settle(dts)
	if n := len(w.chunk.Samples); n > 0 {
		full := format.Kind() == media.Video ||
			dts-int64(w.chunk.DecodeTime) >= int64(w.clock.Scale())/audioChunks
		if full || !adjoins {
			w.flush()
		}
	}
	w.hold(s, dts)
}

// sample places a frame on the decode timeline; its duration is open.
func (w *twin) sample(format *media.Format, f media.Frame) (s cmaf.Sample, dts int64) {
	if w.timed != format {
		w.timed = format
		w.clock = cmaf.NewClock(cmaf.Timescale(format), f.PTS)
		w.order = cmaf.NewReorder(format)
	}
	pts := w.clock.Ticks(f.PTS)
	dts = w.order.Next(pts)
	return cmaf.Sample{Data: f.Data, Offset: int32(pts - dts), Sync: f.Key}, dts
}

// settle gives the frame held back its duration: next is when the frame after
// it is decoded. It reports whether the two adjoin.
func (w *twin) settle(next int64) bool {
	n := len(w.chunk.Samples)
	if n == 0 {
		return true
	}
	s := &w.chunk.Samples[n-1]
	own := cmaf.FrameDuration(w.timed, s.Data)
	longest := maxPause * int64(w.clock.Scale())
	if w.timed.Kind() == media.Audio {
		longest = own + own/2
	}
	if d := next - w.heldDTS; d > 0 && d <= longest {
		s.Duration, w.duration = uint32(d), uint32(d)
		return true
	}
	w.guess(s, own)
	return false
}

// guess gives a sample without successor a duration; own is what it says
// itself.
func (w *twin) guess(s *cmaf.Sample, own int64) {
	s.Duration = cmp.Or(uint32(max(own, 0)), w.duration, w.clock.Scale()/30)
}

func (w *twin) hold(s cmaf.Sample, dts int64) {
	if w.sub == nil {
		return
	}
	if len(w.chunk.Samples) == 0 {
		w.chunk.DecodeTime = uint64(max(dts, 0))
		w.chunk.Segment = w.object == 0
	}
	w.chunk.Samples = append(w.chunk.Samples, s)
	w.heldDTS = dts
}

// flush writes the chunk as an Object.
func (w *twin) flush() {
	if len(w.chunk.Samples) == 0 || w.sub == nil {
		return
	}
	w.chunk.Sequence++
	buf, err := w.chunk.Buffer()
	w.chunk.Samples = w.chunk.Samples[:0]
	if err == nil {
		err = w.sub.BeginObject(w.object, moq.StatusNormal, w.extra, uint64(buf.Len()))
	}
	if err == nil {
		_, err = buf.WriteTo(w.sub)
	}
	if err != nil { // evicted, or too large
		w.fail()
		return
	}
	w.object++
	w.extra = nil
}

// finish completes the Group.
func (w *twin) finish() {
	if w.sub == nil {
		return
	}
	w.flush()
	if w.sub == nil {
		return
	}
	w.group.Close()
	_ = w.sub.Close() // fails only when the Group has been evicted
	w.sub = nil
}

// fail gives up on the current Group.
func (w *twin) fail() {
	if w.sub != nil {
		w.sub.Reset(resetInternal)
		w.group.Close()
		w.sub = nil
	}
	w.chunk.Samples = nil
}

// stop ends the making until somebody reads again.
func (w *twin) stop() {
	if !w.on {
		return
	}
	w.fail()
	w.on, w.timed = false, nil
	w.out.Clear()
}

// end completes the Track.
func (w *twin) end(err error) {
	if w.out == nil {
		return
	}
	if n := len(w.chunk.Samples); n > 0 {
		s := &w.chunk.Samples[n-1]
		w.guess(s, cmaf.FrameDuration(w.timed, s.Data))
	}
	w.finish()
	w.out.End(err)
}
