package rtpmedia

import (
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// after is epoch plus d in both forms.
func after(d time.Duration) time.Time { return epoch.Add(d) }

func at(d time.Duration) media.Time { return media.TimeOf(epoch.Add(d)) }

// ntp is the NTP timestamp of a publisher whose clock is wrong by years.
func ntp(d time.Duration) uint64 {
	d += 1000 * time.Hour
	return uint64(d/time.Second)<<32 | uint64(d%time.Second)<<32/uint64(time.Second)
}

func near(t *testing.T, what string, got, want media.Time, tolerance time.Duration) {
	t.Helper()
	if d := got.Sub(want); d.Abs() > tolerance {
		t.Errorf("%s is off by %v", what, d)
	}
}

func TestClockFollowsRTP(t *testing.T) {
	v := NewClock().Track(90000)
	// The timestamps wrap after a second. Arrival jitters; time does not.
	ts := uint32(1<<32 - 90000)
	for i := range 600 {
		jitter := time.Duration(i*7919%50) * time.Millisecond
		if i == 0 {
			jitter = 0
		}
		due := time.Duration(i) * time.Second / 30
		near(t, "frame", v.Time(ts, after(due+jitter)), at(due), 0)
		ts += 3000
	}
}

func TestClockTakesBFrames(t *testing.T) {
	v := NewClock().Track(90000)
	// Decode order I P B B: 0, 3, 1, 2.
	for i, frame := range []int{0, 3, 1, 2, 6, 4, 5} {
		due := time.Duration(frame) * 40 * time.Millisecond
		got := v.Time(uint32(1e9+frame*3600), after(time.Duration(i)*40*time.Millisecond))
		near(t, "frame", got, at(due), 0)
	}
}

// Across the wrap B-frames go back over it.
func TestClockTakesBFramesAcrossTheWrap(t *testing.T) {
	v := NewClock().Track(90000)
	near(t, "I", v.Time(1<<32-3600, after(0)), at(0), 0)
	near(t, "P", v.Time(3600, after(40*time.Millisecond)), at(80*time.Millisecond), 0)
	near(t, "B", v.Time(0, after(80*time.Millisecond)), at(40*time.Millisecond), 0)
}

func TestClockSurvivesJumps(t *testing.T) {
	for _, jump := range []uint32{90000 * 3600, 1 << 31, 1<<32 - 90000*60} {
		v := NewClock().Track(90000)
		v.Time(5, after(0))
		got := v.Time(5+jump, after(time.Second))
		near(t, "frame after the jump", got, at(time.Second), 0)
		got = v.Time(5+jump+90000, after(2*time.Second))
		near(t, "frame behind it", got, at(2*time.Second), 0)
	}
}

// A stall of the network is no jump: the burst after it has the times at which
// it was made.
func TestClockSurvivesStalls(t *testing.T) {
	v := NewClock().Track(90000)
	v.Time(0, after(0))
	near(t, "first of the burst", v.Time(3000, after(4*time.Second)), at(time.Second/30), time.Microsecond)
	near(t, "last of the burst", v.Time(4*90000, after(4*time.Second)), at(4*time.Second), 0)
}

func TestSenderReportsBeforeMedia(t *testing.T) {
	c := NewClock()
	v, a := c.Track(90000), c.Track(48000)
	v.SenderReport(ntp(0), 1000)
	a.SenderReport(ntp(0), 77)
	// Video is of instant 0. Audio arrives first, but is of 200 ms later.
	near(t, "audio", a.Time(77+9600, after(0)), at(0), 0)
	near(t, "video", v.Time(1000, after(300*time.Millisecond)), at(-200*time.Millisecond), time.Microsecond)
}

func TestSenderReportsBringTracksTogether(t *testing.T) {
	c := NewClock()
	v, a := c.Track(90000), c.Track(48000)
	// Both are of instant 0, but audio's way was 150 ms longer.
	v.Time(0, after(0))
	last := a.Time(0, after(150*time.Millisecond))
	v.SenderReport(ntp(0), 0)
	if !a.SenderReport(ntp(0), 0) {
		t.Fatal("report refused")
	}
	var got media.Time
	for i := 1; i <= 250; i++ {
		due := time.Duration(i) * 20 * time.Millisecond
		got = a.Time(uint32(i*960), after(due+150*time.Millisecond))
		if step := got.Sub(last); step < 18*time.Millisecond || step > 22*time.Millisecond {
			t.Fatalf("frame %d comes %v after the one before", i, step)
		}
		last = got
	}
	near(t, "audio after 5 s", got, at(5*time.Second), time.Microsecond)
	near(t, "video after 5 s", v.Time(450000, after(5*time.Second)), at(5*time.Second), 0)
}

// What the eye and ear do not notice is left alone, so that exact timestamps
// stay exact.
func TestSmallSyncErrorsAreLeft(t *testing.T) {
	c := NewClock()
	v, a := c.Track(90000), c.Track(48000)
	v.Time(0, after(0))
	a.Time(0, after(8*time.Millisecond))
	v.SenderReport(ntp(0), 0)
	a.SenderReport(ntp(0), 0)
	near(t, "audio", a.Time(48000, after(time.Second)), at(1008*time.Millisecond), 0)
}

func TestContradictingReportIsIgnored(t *testing.T) {
	c := NewClock()
	v, a := c.Track(90000), c.Track(48000)
	v.Time(0, after(0))
	a.Time(0, after(0))
	v.SenderReport(ntp(0), 0)
	if a.SenderReport(ntp(time.Hour), 0) {
		t.Error("a clock that is off by an hour was believed")
	}
	near(t, "audio", a.Time(48000, after(time.Second)), at(time.Second), 0)
}

func FuzzClock(f *testing.F) {
	f.Add(uint32(0), uint32(3000), uint64(1), uint32(9), int64(33), 90000)
	f.Add(uint32(1<<31), uint32(1), uint64(1<<63), uint32(1<<31), int64(-5), 0)
	f.Fuzz(func(t *testing.T, ts1, ts2 uint32, n uint64, sr uint32, ms int64, rate int) {
		c := NewClock()
		k := c.Track(rate)
		ms %= 1e9
		k.SenderReport(n, sr)
		k.Time(ts1, after(0))
		k.SenderReport(n+1<<32, sr+uint32(rate))
		arrived := after(time.Duration(ms) * time.Millisecond)
		got := k.Time(ts2, arrived)
		// Never farther from the wall clock than jumps and skew allow.
		if d := got.Sub(media.TimeOf(arrived)).Abs(); d > maxJump+maxSkew+time.Second {
			t.Errorf("%v off the wall clock", d)
		}
	})
}

// The first packets are late by 400 ms; what follows is in time. Both tracks
// move back together, without a step backwards.
func TestLateStartIsMadeUpFor(t *testing.T) {
	c := NewClock()
	v, a := c.Track(90000), c.Track(48000)
	const late = 400 * time.Millisecond
	a.Time(0, after(late))
	var last media.Time
	for i := range 600 {
		due := time.Duration(i) * time.Second / 30
		arrived := max(due, late)
		got := v.Time(uint32(i*3000), after(arrived))
		if got <= last {
			t.Fatalf("frame %d: time runs backwards by %v", i, last.Sub(got))
		}
		last = got
		sound := a.Time(uint32(i*1600), after(arrived))
		if d := got.Sub(sound).Abs(); d > syncTolerance {
			t.Fatalf("frame %d: the tracks are %v apart", i, d)
		}
		if lead := got.Sub(media.TimeOf(after(arrived))); i > 300 && lead > leadTolerance {
			t.Fatalf("frame %d is still %v ahead of its arrival", i, lead)
		}
	}
}
