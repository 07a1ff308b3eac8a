package cmaf

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet-live/freshet/media"
)

// TestReorder checks the three properties that decode times must have, for
// every reordering of every depth: they rise, they do not exceed the
// presentation time, and they lag by no more than the declared depth.
func TestReorder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		depth := rapid.IntRange(0, MaxReorder).Draw(t, "depth")
		n := rapid.IntRange(1, 100).Draw(t, "frames")
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		pts := make([]int64, n)
		at := int64(1e9)
		for i := range pts {
			pts[i] = at
			at += 1 + rng.Int64N(6000)
		}
		shuffleWithin(pts, depth, rng)
		r := Reorder{depth: depth, step: 1}
		last := int64(-1)
		for i, p := range pts {
			d := r.Next(p)
			if d <= last {
				t.Fatalf("frame %d: decode time %d after %d", i, d, last)
			}
			if d > p {
				t.Fatalf("frame %d: decode time %d above presentation time %d", i, d, p)
			}
			last = d
		}
		if r.depth != depth {
			t.Fatalf("depth grew from %d to %d", depth, r.depth)
		}
	})
}

// shuffleWithin reorders rising times so that at most depth frames precede a
// frame and are shown after it, keeping the first one first.
func shuffleWithin(pts []int64, depth int, rng *rand.Rand) {
	late := make([]int, 0, depth) // frames already sent, shown later
	rest := slices.Clone(pts)
	out := pts[:0]
	out = append(out, rest[0])
	rest = rest[1:]
	for len(rest) > 0 {
		late = slices.DeleteFunc(late, func(v int) bool { return int64(v) < rest[0] })
		i := 0
		if room := depth - len(late); room > 0 {
			i = rng.IntN(min(room, len(rest)-1) + 1)
			if len(late)+i > depth {
				i = 0
			}
		}
		// Sending rest[i] now makes it one that is shown after the i before it.
		if i > 0 {
			late = append(late, int(rest[i]))
		}
		out = append(out, rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
}

// TestReorderAdapts checks a stream that reorders although it declared not to.
func TestReorderAdapts(t *testing.T) {
	r := Reorder{depth: 0, step: 3000}
	last := int64(-1)
	late := 0
	for gop := range int64(20) {
		for _, p := range []int64{0, 4, 2, 1, 3} { // I P B b b
			pts := 1e6 + (gop*5+p)*3000
			d := r.Next(pts)
			if d <= last {
				t.Fatalf("decode time %d after %d", d, last)
			}
			if d > pts {
				late++
			}
			last = d
		}
	}
	if r.depth == 0 || late > 12 {
		t.Errorf("depth %d, %d frames late", r.depth, late)
	}
}

// TestClockRoundTrip checks that times which were a 90 kHz clock before they
// were microseconds come back exactly as far apart.
func TestClockRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		anchor := media.Time(rapid.Int64Range(0, 1<<52).Draw(t, "anchor"))
		c := NewClock(VideoTimescale, anchor)
		k := rapid.Int64Range(0, 1<<40).Draw(t, "ticks")
		pts := anchor + media.Time(k*1e6/VideoTimescale)
		if got := c.Ticks(pts) - c.Ticks(anchor); got != k {
			t.Fatalf("%d ticks became %d", k, got)
		}
		if got := c.Time(c.Ticks(pts)); got-pts > 6 || pts-got > 6 {
			t.Fatalf("%d came back as %d", pts, got)
		}
	})
}

func FuzzConfigurationRecords(f *testing.F) {
	f.Add([]byte{1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x1f})
	f.Add(append(make([]byte, 22), 1, 33, 0, 1, 0, 3, 0x42, 1, 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range []media.Codec{media.H264, media.H265, media.AV1, media.VP9, media.Opus, media.AAC} {
			format := &media.Format{Codec: c, MIME: string(b), Description: b, Width: 2, Height: 2}
			if d := ReorderDepth(format); d < 0 || d > MaxReorder {
				t.Fatalf("%v: reorder depth %d", c, d)
			}
			if Timescale(format) == 0 {
				t.Fatalf("%v: timescale 0", c)
			}
			if out, err := Init(format); err == nil && len(out) > 1024+len(b) {
				t.Fatalf("%v: %d bytes of init", c, len(out))
			}
		}
	})
}
