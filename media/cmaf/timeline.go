package cmaf

import (
	"math/bits"
	"slices"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/opus"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
)

// VideoTimescale is the timescale of every video track, in ticks per second:
// it divides the durations of all usual frame rates.
const VideoTimescale = 90000

// Timescale returns the ticks per second of a track of format f: the sample
// rate for audio, so that every audio frame lasts a whole number of ticks.
func Timescale(f *media.Format) uint32 {
	switch f.Codec {
	case media.Opus:
		return 48000 // RFC 7845 section 4: always, whatever was encoded
	case media.AAC:
		if asc, ok := audioConfig(f); ok {
			return uint32(asc.SampleRate)
		}
		if f.SampleRate > 0 {
			return uint32(f.SampleRate)
		}
		return 48000
	case media.AC3, media.EC3:
		if f.SampleRate > 0 {
			return uint32(f.SampleRate)
		}
		return 48000
	}
	return VideoTimescale
}

// FrameDuration returns how many ticks of Timescale(f) a frame lasts by its
// own account: exact for audio, from the declared rate for video, and 0 when
// only the next frame can tell.
func FrameDuration(f *media.Format, data []byte) int64 {
	switch f.Codec {
	case media.Opus:
		return opus.PacketDuration2(data)
	case media.AAC:
		if asc, ok := audioConfig(f); ok && asc.FrameLengthFlag {
			return 960
		}
		return 1024
	case media.AC3:
		return codec.AC3Samples
	case media.EC3:
		if _, samples, err := codec.EC3ConfigOf(data); err == nil {
			return int64(samples)
		}
		return codec.AC3Samples
	}
	if f.FrameRate >= 1 {
		return int64(VideoTimescale/f.FrameRate + 0.5)
	}
	return 0
}

func audioConfig(f *media.Format) (asc mpeg4audio.AudioSpecificConfig, ok bool) {
	if asc.Unmarshal(f.Description) != nil || asc.SampleRate <= 0 {
		return asc, false
	}
	return asc, true
}

// Clock maps presentation times to ticks of one track. Ticks count from the
// Unix epoch, so the tracks of a broadcast agree with each other, and with
// another muxer of the same broadcast, without talking.
//
// Rounding is done relative to the first frame: times that came from a
// 90 kHz clock by way of microseconds come back without jitter.
type Clock struct {
	anchor media.Time
	base   int64
	scale  uint32
}

// NewClock makes a clock of scale ticks per second around anchor.
func NewClock(scale uint32, anchor media.Time) Clock {
	return Clock{anchor: anchor, base: mulDiv(int64(anchor), int64(scale), 1e6), scale: scale}
}

// Anchor returns the time that the clock was made around.
func (c *Clock) Anchor() media.Time { return c.anchor }

// Scale returns the ticks per second.
func (c *Clock) Scale() uint32 { return c.scale }

// Ticks converts t.
func (c *Clock) Ticks(t media.Time) int64 {
	return c.base + mulDiv(int64(t-c.anchor), int64(c.scale), 1e6)
}

// Time converts ticks back.
func (c *Clock) Time(ticks int64) media.Time {
	return c.anchor + media.Time(mulDiv(ticks-c.base, 1e6, int64(c.scale)))
}

// mulDiv returns a*b/c rounded to nearest, for positive b and c, with a
// 128-bit product.
func mulDiv(a, b, c int64) int64 {
	neg := a < 0
	u := uint64(a)
	if neg {
		u = -u
	}
	hi, lo := bits.Mul64(u, uint64(b))
	lo, carry := bits.Add64(lo, uint64(c)/2, 0)
	hi += carry
	if hi >= uint64(c) { // beyond 64 bits; no time of ours comes near
		hi = uint64(c) - 1
	}
	q, _ := bits.Div64(hi, lo, uint64(c))
	if neg {
		return -int64(q)
	}
	return int64(q)
}

// MaxReorder is the deepest reordering that H.264 and H.265 allow.
const MaxReorder = 16

// Reorder derives decode times from presentation times.
//
// When at most n frames precede any frame in decode order and follow it in
// output order, then once frame i has been decoded the first i-n frames in
// output order are known. Their presentation times, taken in order, are the
// decode times: they rise, they never exceed the frame's own presentation
// time, and finding them needs no look-ahead. It works from times alone, so
// lost frames and irregular rates do it no harm.
type Reorder struct {
	depth  int
	step   int64   // frame duration, ticks: assumed at first, then of the last frame
	window []int64 // presentation times not yet used, rising
	last   int64
	primed bool
	count  int // of frames since it began
}

// NewReorder returns a Reorder for frames of format f on a clock of
// Timescale(f).
func NewReorder(f *media.Format) Reorder {
	step := FrameDuration(f, nil)
	if step <= 0 {
		step = VideoTimescale / 30
	}
	return Reorder{depth: ReorderDepth(f), step: step}
}

// Restart begins anew behind a hole: the frames before it say nothing of the
// next one's decode time but how far apart frames are, and how deep they are
// reordered. No frame behind the hole may be presented before it.
func (r *Reorder) Restart() { r.window, r.primed, r.count = nil, false, 0 }

// Apart is how far, in ticks, the next frame is presented behind all before it
// at most if none is missing.
func (r *Reorder) Apart(key bool) int64 {
	if key {
		return r.step
	}
	step := r.step
	if r.count <= r.depth+1 {
		step = max(step, VideoTimescale/8) // what was assumed may be far off
	}
	return int64(r.depth+1) * step
}

// Next takes the presentation time of the next frame in decode order, in
// ticks, and returns its decode time. Decode times rise strictly. A stream
// that reorders deeper than it declared gets a few decode times above the
// presentation time before Reorder has adapted.
func (r *Reorder) Next(pts int64) int64 {
	first := !r.primed
	if first {
		r.primed = true
		for i := r.depth; i > 0; i-- {
			r.window = append(r.window, pts-int64(i)*r.step)
		}
		r.last = pts - int64(r.depth)*r.step - 1
	}
	i, _ := slices.BinarySearch(r.window, pts)
	r.window = slices.Insert(r.window, i, pts)
	dts := r.last + 1
	if pts <= r.last && r.depth < MaxReorder {
		r.depth++
	} else {
		dts = max(dts, r.window[0])
		r.window = slices.Delete(r.window, 0, 1)
	}
	if !first {
		r.step = dts - r.last
	}
	r.count++
	r.last = dts
	return dts
}

// undeclaredReorder is assumed for H.264 that may reorder and does not say
// how far: what hardware encoders that use B-frames do by default. Assuming
// too much costs nothing but a constant between decode and presentation time.
const undeclaredReorder = 2

// ReorderDepth returns how many frames may precede a frame in decode order
// and follow it in output order, as the parameter sets of f declare.
func ReorderDepth(f *media.Format) int {
	switch f.Codec {
	case media.H264:
		return reorderH264(f.Description)
	case media.H265:
		return reorderH265(f.Description)
	}
	return 0 // AV1 and VP9 keep output order at the container
}

func reorderH264(avcC []byte) int {
	var sps h264.SPS
	raw, ok := firstSPS264(avcC)
	if !ok || sps.Unmarshal(raw) != nil {
		return undeclaredReorder
	}
	const baseline = 66
	switch {
	case sps.ProfileIdc == baseline, sps.PicOrderCntType == 2:
		return 0
	case sps.VUI != nil && sps.VUI.BitstreamRestriction != nil:
		return int(min(sps.VUI.BitstreamRestriction.MaxNumReorderFrames, MaxReorder))
	}
	return undeclaredReorder
}

// firstSPS264 finds the first SPS of an avcC (ISO/IEC 14496-15, section 5.3.3.1).
func firstSPS264(avcC []byte) ([]byte, bool) {
	if len(avcC) < 8 || avcC[5]&0x1f == 0 {
		return nil, false
	}
	n := int(avcC[6])<<8 | int(avcC[7])
	if n == 0 || len(avcC) < 8+n {
		return nil, false
	}
	return avcC[8 : 8+n], true
}

func reorderH265(hvcC []byte) int {
	var sps h265.SPS
	raw, ok := firstSPS265(hvcC)
	if !ok || sps.Unmarshal(raw) != nil || len(sps.MaxNumReorderPics) == 0 {
		return undeclaredReorder
	}
	return int(min(sps.MaxNumReorderPics[len(sps.MaxNumReorderPics)-1], MaxReorder))
}

// firstSPS265 finds the first SPS of an hvcC (ISO/IEC 14496-15, section 8.3.3.1).
func firstSPS265(hvcC []byte) ([]byte, bool) {
	const header, typeSPS = 23, 33
	if len(hvcC) < header {
		return nil, false
	}
	b := hvcC[header:]
	for range hvcC[header-1] {
		if len(b) < 3 {
			return nil, false
		}
		typ, count := b[0]&0x3f, int(b[1])<<8|int(b[2])
		b = b[3:]
		for range count {
			if len(b) < 2 {
				return nil, false
			}
			n := int(b[0])<<8 | int(b[1])
			if len(b) < 2+n {
				return nil, false
			}
			if typ == typeSPS && n > 0 {
				return b[2 : 2+n], true
			}
			b = b[2+n:]
		}
	}
	return nil, false
}
