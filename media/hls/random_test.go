package hls

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"pgregory.net/rapid"

	"github.com/freshet-live/freshet/media"
)

// arrival is one frame on its way into the muxer.
type arrival struct {
	at    media.Time // when it comes
	track string
	frame media.Frame
	lost  bool
}

// randomVideo is a video track as bad as publishers are: any rate, key frames
// at any distance, timestamps that jitter, losses up to a key frame.
func randomVideo(t *rapid.T, rng *rand.Rand, track string, f *media.Format, start media.Time, length time.Duration, gop func() time.Duration) (out []arrival) {
	rate := rapid.SampledFrom([]float64{14.98, 15, 23.976, 24, 25, 29.97, 30, 50, 59.94, 60}).Draw(t, "rate")
	jitter := rapid.SampledFrom([]float64{0, 0, 0.05, 0.4}).Draw(t, "jitter") // of a frame
	loss := rapid.SampledFrom([]float64{0, 0, 0.02, 0.2}).Draw(t, "loss")     // of GOPs
	lag := rapid.SampledFrom([]time.Duration{0, 10 * time.Millisecond, 400 * time.Millisecond}).Draw(t, "lag")
	reorder := rapid.Bool().Draw(t, "reorder") && f.Codec == media.H264
	s := script{track: track}
	for at := time.Duration(0); at < length; {
		n := max(1, int(gop().Seconds()*rate+0.5))
		g := video(track, f, start.Add(at), gopOf(n, rate)...)
		for i := range g.frames {
			g.frames[i].PTS += media.Time(rng.Float64() * jitter / rate * 1e6)
		}
		s.frames = append(s.frames, g.frames...)
		at += time.Duration(float64(n) / rate * float64(time.Second))
		if rng.Float64() < 0.1 && rate > 20 && rate < 40 {
			rate *= 2 // the encoder changes its mind
		}
	}
	if reorder {
		s = bframes(s)
	}
	lost, dropping := false, false
	for i, fr := range s.frames {
		if fr.Key {
			dropping = i > 0 && rng.Float64() < loss
		} else if rng.Float64() < loss/20 {
			dropping = true // the rest of the GOP cannot be decoded
		}
		if dropping {
			lost = true
			continue
		}
		out = append(out, arrival{fr.PTS.Add(lag), track, fr, lost})
		lost = false
	}
	return out
}

func gopOf(n int, rate float64) []gop { return []gop{{n, rate}} }

func randomAudio(t *rapid.T, rng *rand.Rand, track string, start media.Time, length time.Duration) (out []arrival) {
	f, dur := &opus, 20*time.Millisecond
	if rapid.Bool().Draw(t, "AAC") {
		f, dur = &aac, 1024*time.Second/48000
	}
	loss := rapid.SampledFrom([]float64{0, 0, 0.001}).Draw(t, "loss of sound")
	jitter := rapid.SampledFrom([]int{1, 1, 3000}).Draw(t, "jitter of sound, microseconds")
	s := audio(track, f, start, dur, int(length/dur))
	for i := 0; i < len(s.frames); i++ {
		lost := false
		if rng.Float64() < loss {
			i += rng.IntN(200)
			lost = true
		}
		if i < len(s.frames) {
			fr := s.frames[i]
			fr.PTS += media.Time(rng.IntN(jitter))
			out = append(out, arrival{fr.PTS, track, fr, lost})
		}
	}
	return out
}

// TestRandomInput puts broadcasts made at random through the muxer and every
// version of every playlist before the rules: rates, distances of key frames,
// jitter, reordering, losses, tracks that come late, leave or pause, restarts.
func TestRandomInput(t *testing.T) {
	// A hundred take a minute under the race detector, which has nothing to
	// find in the muxer's rules: it sees enough of them in a few.
	checks := "25"
	if raceDetector {
		checks = "6"
	}
	if f := flag.Lookup("rapid.checks"); f.Value.String() == f.DefValue {
		if err := f.Value.Set(checks); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Value.Set(f.DefValue) }()
	}
	synctest.Test(t, func(t *testing.T) {
		// Without Deadline, which has no answer in virtual time.
		rapid.Check(struct{ rapid.TB }{t}, func(t *rapid.T) {
			rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
			m := NewMuxer(Config{Window: time.Duration(rapid.IntRange(30, 70).Draw(t, "window")) * time.Second})
			// Short parts are looked into at the end: playlists do not tell
			// whether another sample would have fitted.
			o := observe(t, m, "first-part", "part-too-short")
			layers := rapid.IntRange(0, 3).Draw(t, "layers")
			sounds := rapid.IntRange(0, 1).Draw(t, "sounds")
			if layers == 0 {
				sounds = 1
			}
			common := rapid.Bool().Draw(t, "key frames coincide")
			for round := range rapid.IntRange(1, 3).Draw(t, "rounds") {
				start := wall()
				length := time.Duration(rapid.IntRange(3, 45).Draw(t, "seconds")) * time.Second
				var offered []Track
				var all []arrival
				formats := []*media.Format{&h264, &vp9, &h264}
				span := rapid.IntRange(500, 9500).Draw(t, "longest GOP, milliseconds")
				fixed := rng.IntN(2) == 0
				for i := range layers {
					f := *formats[i]
					f.Width = 1280 >> i
					if rng.IntN(4) == 0 {
						f.Width /= 2 // the round brings another size
					}
					gops := rng
					if common {
						gops = rand.New(rand.NewPCG(uint64(span), uint64(round)))
					}
					one := random(gops, 500, span)
					track := fmt.Sprint("video", i)
					v := randomVideo(t, rng, track, &f, start, length, func() time.Duration {
						if fixed {
							return one
						}
						return random(gops, 500, span)
					})
					switch rng.IntN(8) {
					case 0: // it comes late
						v = slices.DeleteFunc(v, func(a arrival) bool { return a.frame.PTS.Sub(start) < length/3 })
					case 1: // it leaves
						v = slices.DeleteFunc(v, func(a arrival) bool { return a.frame.PTS.Sub(start) > length/2 })
					case 2: // it pauses
						v = slices.DeleteFunc(v, func(a arrival) bool {
							d := a.frame.PTS.Sub(start)
							return d > length/3 && d < length/2
						})
					}
					all = append(all, v...)
					offered = append(offered, Track{track, f})
				}
				for i := range sounds {
					track := fmt.Sprint("audio", i)
					all = append(all, randomAudio(t, rng, track, start, length)...)
					offered = append(offered, Track{track, opus})
				}
				slices.SortStableFunc(all, func(a, b arrival) int { return int(a.at - b.at) })
				m.Start(offered)
				for _, a := range all {
					time.Sleep(time.Until(a.at.Wall()))
					if err := m.WriteFrame(a.track, a.frame, a.lost); err != nil {
						t.Fatalf("%s: %v", a.track, err)
					}
				}
				m.Stop()
				time.Sleep(time.Duration(rng.IntN(20)) * time.Second)
			}
			m.Close()
			for track := range o.segments {
				o.checkMedia(track)
				o.checkTimes(track)
				o.checkShortParts(track)
			}
		})
	})
}

func random(rng *rand.Rand, from, to int) time.Duration {
	return time.Duration(from+rng.IntN(to-from+1)) * time.Millisecond
}

// checkShortParts checks that parts of less than 85 % of the target end a
// segment or stand where the next sample would have been too much.
func (o *observer) checkShortParts(track string) {
	for _, s := range o.ordered(track) {
		for i := range s.Parts {
			p := &s.Parts[i]
			if s.Open() || s.Gap || i == len(s.Parts)-1 || p.Duration*100 >= partTarget*85 {
				continue
			}
			var init fmp4.Init
			var parts fmp4.Parts
			if err := init.Unmarshal(bytes.NewReader(o.bodies[track+"/"+s.Map])); err != nil {
				o.t.Fatalf("%v", err)
			}
			if err := parts.Unmarshal(o.bodies[track+"/"+s.Parts[i+1].URI]); err != nil {
				o.t.Fatalf("%v", err)
			}
			next := time.Duration(0)
			if sm := parts[0].Tracks[0].Samples; len(sm) > 0 {
				next = time.Duration(sm[0].Duration) * time.Second / time.Duration(init.Tracks[0].TimeScale)
			}
			if p.Duration+next <= partTarget {
				o.t.Errorf("%s %s: lasts %v though the next sample of %v would have fitted\n%s", track, p.URI, p.Duration, next, o.describe(track))
			}
		}
	}
}

// checkTimes compares the date of each segment with the presentation time of
// its first sample, which counts from the Unix epoch.
func (o *observer) checkTimes(track string) {
	for _, s := range o.ordered(track) {
		if s.Open() || s.Gap || len(s.Parts) == 0 || !s.Parts[0].Independent {
			continue
		}
		initSegment, first := o.bodies[track+"/"+s.Map], o.bodies[track+"/"+s.Parts[0].URI]
		lasts, key := measure(o.t, initSegment, first)
		if !key {
			continue // the picture that is decoded first need not be shown first
		}
		// The picture before may stay on screen into the segment.
		lead := max(0, s.Parts[0].Duration-lasts)
		if d := offDate(o.t, initSegment, first, s.Time) - lead; d.Abs() > time.Millisecond+50*time.Microsecond {
			o.t.Errorf("%s %s: dated %v off its first sample\n%s", track, s.URI, d, o.describe(track))
		}
	}
}

// measure returns how long the samples of a part last, and whether the first
// is a key frame.
func measure(t failer, initSegment, body []byte) (lasts time.Duration, key bool) {
	var init fmp4.Init
	var parts fmp4.Parts
	if err := init.Unmarshal(bytes.NewReader(initSegment)); err != nil {
		t.Fatalf("%v", err)
	}
	if err := parts.Unmarshal(body); err != nil {
		t.Fatalf("%v", err)
	}
	var ticks int64
	for i, p := range parts {
		for j, s := range p.Tracks[0].Samples {
			key = key || i == 0 && j == 0 && !s.IsNonSyncSample
			ticks += int64(s.Duration)
		}
	}
	return time.Duration(ticks * int64(time.Second) / int64(init.Tracks[0].TimeScale)), key
}

// offDate returns how much later than dated the first sample is presented.
func offDate(t failer, initSegment, body []byte, dated time.Time) time.Duration {
	var init fmp4.Init
	var parts fmp4.Parts
	if err := init.Unmarshal(bytes.NewReader(initSegment)); err != nil {
		t.Fatalf("%v", err)
	}
	if err := parts.Unmarshal(body); err != nil {
		t.Fatalf("%v", err)
	}
	tr := parts[0].Tracks[0]
	ticks := int64(tr.BaseTime)
	if len(tr.Samples) > 0 {
		ticks += int64(tr.Samples[0].PTSOffset)
	}
	scale := int64(init.Tracks[0].TimeScale)
	at := time.Unix(ticks/scale, ticks%scale*int64(time.Second)/scale)
	return at.Sub(dated)
}

// TestNoDrift runs for hours: dates, decode times and the publisher's clock
// stay together.
func TestNoDrift(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hours := 3
		if raceDetector {
			hours = 1 // a drift shows in one as in three
		}
		m := NewMuxer(Config{Window: 30 * time.Second})
		at := wall()
		m.Start([]Track{{"video0", h264}, {"audio0", aac}})
		v := bframes(video("video0", &h264, 0, gops(hours*3600/2, 60, 30000.0/1001)...))
		end := v.frames[len(v.frames)-1].PTS
		a := audio("audio0", &aac, 0, 1024*time.Second/48000, int(int64(end)*48000/1024/1e6))
		for _, s := range []script{v, a} {
			for i := range s.frames {
				s.frames[i].PTS += at
			}
		}
		play(t, m, v, a)
		m.Close()
		for _, r := range m.renditions {
			for _, s := range r.listed {
				b, ok := r.files.get(s.name)
				if !ok {
					t.Fatalf("%s: no %s", r.track, s.name)
				}
				if d := offDate(t, r.init.data, content(t, b), s.entry.Time); d.Abs() > time.Millisecond {
					t.Errorf("%s: dated %v off after %d hours", r.track, d, hours)
				}
			}
			// The publisher's clock says when the last segment ends.
			last := r.listed[len(r.listed)-1]
			if d := last.entry.Time.Add(last.entry.Duration).Sub((at + end).Wall()); d.Abs() > 40*time.Millisecond {
				t.Errorf("%s: ends %v off after %d hours", r.track, d, hours)
			}
		}
	})
}
