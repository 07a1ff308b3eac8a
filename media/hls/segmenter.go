package hls

import (
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf"
)

// segmenter cuts the samples of one rendition into parts and segments. It
// knows the rules of time and nothing of playlists or HTTP: what it makes it
// hands to its sink. All its times are ticks of the track's timescale.
type segmenter struct {
	sink  segmentSink
	audio bool
	scale int64

	chunkTarget            int64
	partTarget, partMin    int64
	segmentMin, segmentMax int64
	firstMin               int64 // segmentMin until a segment is closed; then 0

	pending  cmaf.Sample   // waits for its duration; valid when havePending
	at       int64         // decode time of pending, or where the next sample is due
	have     bool          // pending is valid
	nominal  int64         // how long pending lasts if nothing tells
	dur      int64         // how long the sample before it lasted; 0: there was none
	part     []cmaf.Sample // of the open part, not handed over as a chunk yet
	partAt   int64         // decode time of the first sample of part
	lead     int64         // how much of the open part precedes its first sample, or the end of the sample that it shows
	chunkDur int64         // how long part lasts
	chunked  bool          // chunks of the open part were handed over
	partDur  int64         // listed so far, with what the sample before it left over
	segDur   int64         // of the closed parts of the open segment
	segKey   bool          // the open segment starts with a key frame
	segMedia bool          // the open segment has a part with media
	segParts int           // closed parts of the open segment
}

// segmentSink takes what a segmenter makes.
type segmentSink interface {
	// addChunk appends samples that start at at to the open part, which they
	// are certain to belong to; addPart completes it. Both open a segment
	// when there is none.
	addChunk(samples []cmaf.Sample, at int64)
	// addPart completes the open part. The playlist says that it lasts dur
	// ticks; the samples that no chunk brought, if any, start at at.
	addPart(samples []cmaf.Sample, at, dur int64)
	// addGap appends a part that was lost.
	addGap(at, dur int64)
	// closeSegment completes the open segment.
	closeSegment()
	// planned tells whether the open segment, which lasts lasts so far, ends
	// before the picture that is decoded at at and can be joined at; least is
	// how long it lasts by its own account.
	planned(at, lasts, least int64) bool
}

func newSegmenter(sink segmentSink, f *media.Format) *segmenter {
	scale := int64(cmaf.Timescale(f))
	ticks := func(d time.Duration) int64 { return int64(d) * scale / int64(time.Second) }
	return &segmenter{
		sink: sink, audio: f.Kind() == media.Audio, scale: scale,
		chunkTarget: ticks(chunkTarget), partTarget: ticks(partTarget), partMin: (ticks(partTarget)*85 + 99) / 100,
		segmentMin: ticks(segmentMin), segmentMax: ticks(targetDuration), firstMin: ticks(firstSegmentMin),
	}
}

// next takes the sample that is decoded at dts and with it learns how long
// the one before it lasts. Durations of s are set here. nominal is how long s
// lasts by its own account. cut demands a new segment at s.
func (g *segmenter) next(s cmaf.Sample, dts, nominal int64, cut bool) {
	// What the sink has not heard of yet belongs to the new segment already.
	opened := g.segParts > 0 || g.chunked
	if g.have {
		g.place(dts-g.at, s.Sync && !g.audio)
	}
	g.at = dts
	if s.Sync && (cut && opened || g.ripe()) {
		g.closePart()
		g.closeSegment()
	}
	g.pending, g.have, g.nominal = s, true, nominal
}

// ripe tells whether the open segment may end at a key frame that comes now.
func (g *segmenter) ripe() bool {
	least := g.segmentMin
	if g.firstMin > 0 {
		least = g.firstMin
	}
	switch {
	case g.segParts == 0 && g.partDur == 0:
		return false
	case g.segParts > 0 && !g.segMedia:
		return true // a gap ends where media begins
	case g.audio:
		// Every sample is a key frame: wait for the end of a part, so that
		// no segment ends with a stub.
		return g.partDur == 0 && g.segDur >= least
	case g.segParts > 0 && !g.segKey:
		return true // make good a segment that had to start without key frame
	}
	return g.sink.planned(g.at, g.segDur+g.partDur, least)
}

// place puts the pending sample, which lasts dur, into the open part.
func (g *segmenter) place(dur int64, nextIsKey bool) {
	s := g.pending
	g.have = false
	s.Duration = uint32(min(max(dur, 1), 1<<31))
	dur = int64(s.Duration)
	g.dur = dur
	if dur > g.partTarget {
		g.stretch(s, dur)
		return
	}
	if g.partDur+dur > g.partTarget {
		g.closePart()
	}
	if g.segDur+g.partDur+dur > g.segmentMax {
		g.closePart()
		g.closeSegment()
	}
	g.append(s, dur)
	// The part is full when another sample like this one would overshoot.
	// Before a key frame it may end as soon as it is long enough, so that
	// the next one can be joined at its first byte.
	if g.partDur >= g.partMin && (g.partDur+dur > g.partTarget || nextIsKey) {
		g.closePart()
		return
	}
	// A placed sample stays where it is, so a chunk may leave at once. The key
	// frame that a segment starts with makes a chunk of its own: it can be
	// fetched alone.
	first := !g.chunked && (g.segParts == 0 || !g.segMedia) && len(g.part) == 1
	if g.chunkDur >= g.chunkTarget || first && s.Sync && !g.audio {
		g.begin()
		g.sink.addChunk(g.part, g.partAt)
		g.part, g.chunkDur, g.chunked = nil, 0, true
	}
}

// begin prepares the open segment for the first bytes of the open part.
func (g *segmenter) begin() {
	if g.chunked {
		return
	}
	if g.segParts > 0 && !g.segMedia {
		// The open segment has gaps only: end it, so that it can be
		// marked as one.
		g.closeSegment()
	}
	if g.segParts == 0 {
		g.segKey = len(g.part) > 0 && g.part[0].Sync
	}
}

func (g *segmenter) append(s cmaf.Sample, listed int64) {
	if len(g.part) == 0 {
		g.partAt = g.at
	}
	g.part = append(g.part, s)
	g.partDur += listed
	g.chunkDur += int64(s.Duration)
	g.at += int64(s.Duration)
}

// stretch places a sample that alone lasts longer than a part may: it fills
// up the open part, parts without samples follow while its picture is on
// screen, and what is then left of its time begins the next part.
func (g *segmenter) stretch(s cmaf.Sample, dur int64) {
	if g.segDur+g.partTarget > g.segmentMax {
		g.closePart()
		g.closeSegment()
	}
	listed := g.partTarget - g.partDur
	g.append(s, listed)
	g.closePart()
	rest := dur - listed
	for rest > 0 {
		if g.segDur+min(rest, g.partTarget) > g.segmentMax {
			g.closeSegment()
		}
		g.partDur, g.lead = min(rest, g.partTarget), rest
		rest -= g.partDur
		if g.partDur == g.partTarget {
			g.closePart()
		}
	}
}

// gap lists rest ticks from at as lost.
func (g *segmenter) gap(at, rest int64) {
	for rest > 0 {
		n := min(rest, g.partTarget)
		if g.segDur+n > g.segmentMax {
			g.closeSegment()
		}
		g.sink.addGap(at, n)
		g.segParts++
		g.segDur += n
		at += n
		rest -= n
	}
}

// hole ends what is open and lists the time until dts as lost.
func (g *segmenter) hole(dts int64) {
	g.finish()
	g.gap(g.at, dts-g.at)
	g.at = dts
	g.closeSegment()
}

// finish places the pending sample with its nominal duration and closes the
// part and the segment.
func (g *segmenter) finish() {
	if g.have {
		g.place(g.guess(), false)
	}
	g.closePart()
	g.closeSegment()
}

// end is where the timeline ends if the pending sample lasts as it says.
func (g *segmenter) end() int64 {
	if g.have {
		return g.at + g.guess()
	}
	return g.at
}

// guess is how long the pending sample lasts if no other follows: as long as
// the picture before it, which knows better than a declared frame rate.
func (g *segmenter) guess() int64 {
	d := g.nominal
	if !g.audio && g.dur > 0 {
		d = g.dur
	}
	return min(max(d, 1), g.partTarget)
}

// room is how much fits into the open part behind the pending sample.
func (g *segmenter) room() int64 {
	if !g.have {
		return 0
	}
	return g.partTarget - g.partDur - g.guess()
}

func (g *segmenter) closePart() {
	if g.partDur == 0 {
		return
	}
	if len(g.part) == 0 {
		g.partAt = g.at
	}
	g.begin()
	g.sink.addPart(g.part, g.partAt, g.partDur)
	g.segParts++
	g.segMedia = true
	g.segDur += g.partDur
	g.part, g.partDur, g.lead, g.chunkDur, g.chunked = nil, 0, 0, 0, false
}

func (g *segmenter) closeSegment() {
	if g.segParts == 0 {
		return
	}
	g.sink.closeSegment()
	g.segParts, g.segDur, g.segKey, g.segMedia, g.firstMin = 0, 0, false, false, 0
}
