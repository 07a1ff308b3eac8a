package hls

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

var (
	// h264 is what x264 declares with -bf 3: frames are reordered by up to two.
	h264 = media.Format{Codec: media.H264, MIME: "avc1.64001f", Width: 1280, Height: 720, Description: []byte(
		"\x01\x64\x00\x1f\xff\xe1\x00\x1a\x67\x64\x00\x1f\xac\xd9\x40\x50\x05\xbb\x01\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\xc0\xf1\x83\x19\x60" +
			"\x01\x00\x04\x68\xef\x8f\xcb\xfd\xf8\xf8\x00")}
	vp9  = media.Format{Codec: media.VP9, MIME: "vp09.00.31.08", Width: 1280, Height: 720, FrameRate: 30}
	opus = media.Format{Codec: media.Opus, MIME: "opus", SampleRate: 48000, Channels: 2}
	aac  = media.Format{Codec: media.AAC, MIME: "mp4a.40.2", Description: []byte{0x11, 0x90}, SampleRate: 48000, Channels: 2}
)

// script is a synthetic track: what arrives, in order of arrival.
type script struct {
	track  string
	frames []media.Frame
	lost   map[int]bool
}

// opusPacket is 20 ms of silence as CELT full band (RFC 6716, section 3.1).
var opusPacket = []byte{0xfc, 0xff, 0xfe}

// video makes frames from start for as long as gops says: each entry is a
// GOP of so many frames at so many frames per second.
func video(track string, f *media.Format, start media.Time, gops ...gop) script {
	s := script{track: track, lost: make(map[int]bool)}
	at := float64(0)
	for _, g := range gops {
		for i := range g.frames {
			fr := media.Frame{PTS: start + media.Time(at*1e6), Key: i == 0, Data: []byte{byte(i), 1, 2, 3}}
			if fr.Key {
				fr.Format = f
			}
			s.frames = append(s.frames, fr)
			at += 1 / g.rate
		}
	}
	return s
}

type gop struct {
	frames int
	rate   float64
}

func gops(n, frames int, rate float64) []gop {
	out := make([]gop, n)
	for i := range out {
		out[i] = gop{frames, rate}
	}
	return out
}

// audio makes frames of dur each.
func audio(track string, f *media.Format, start media.Time, dur time.Duration, n int) script {
	s := script{track: track, lost: make(map[int]bool)}
	data := opusPacket
	if f.Codec == media.AAC {
		data = []byte{0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c}
	}
	for i := range n {
		s.frames = append(s.frames, media.Frame{PTS: start + media.Time(int64(dur)*int64(i)/1000), Key: true, Data: data, Format: f})
	}
	return s
}

// play writes the scripts into m, in order of presentation time, without
// waiting for the time to come.
func play(t *testing.T, m *Muxer, scripts ...script) {
	t.Helper()
	pos := make([]int, len(scripts))
	for {
		best := -1
		for i, s := range scripts {
			if pos[i] < len(s.frames) && (best < 0 || s.frames[pos[i]].PTS < scripts[best].frames[pos[best]].PTS) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		s := scripts[best]
		if err := m.WriteFrame(s.track, s.frames[pos[best]], s.lost[pos[best]]); err != nil {
			t.Fatal(err)
		}
		pos[best]++
	}
}

func tracks(scripts ...script) (out []Track) {
	for _, s := range scripts {
		out = append(out, Track{Name: s.track, Format: *s.frames[0].Format})
	}
	return out
}

// bframes reorders each run of frames I P B b b … as an encoder with a
// pyramid of two levels sends it.
func bframes(s script) script {
	const run = 4 // P B b b
	for i := 0; i < len(s.frames); {
		n := 1
		for i+n < len(s.frames) && !s.frames[i+n].Key {
			n++
		}
		g := s.frames[i : i+n]
		for j := 1; j+run <= n; j += run {
			q := g[j : j+run]
			q[0].PTS, q[2].PTS, q[3].PTS = q[3].PTS, q[0].PTS, q[2].PTS
		}
		i += n
	}
	return s
}

// TestTimelines puts every shape of input that publishers are known to send
// through the muxer, and every version of every playlist before the rules.
func TestTimelines(t *testing.T) {
	for _, c := range []struct {
		name  string
		make  func(start media.Time) []script
		allow []string
		check func(t *testing.T, o *observer)
	}{
		{name: "constant 2 s GOP with Opus", make: func(at media.Time) []script {
			return []script{
				video("video0", &vp9, at, gops(40, 60, 30)...),
				audio("audio0", &opus, at, 20*time.Millisecond, 4000),
			}
		}, check: func(t *testing.T, o *observer) {
			for _, track := range []string{"video0", "audio0"} {
				all := o.ordered(track) // the first is short on purpose, the last was cut short
				for i, s := range all[1 : len(all)-1] {
					if s.Duration != 4*time.Second {
						t.Errorf("%s: segment %d lasts %v, want 4 s", track, i, s.Duration)
					}
					for _, p := range s.Parts {
						if p.Duration != partTarget {
							t.Errorf("%s: a part of %v, want full ones", track, p.Duration)
						}
					}
				}
			}
		}},
		{name: "GOPs of 1 to 7 s", make: func(at media.Time) []script {
			var g []gop
			for i := range 20 {
				g = append(g, gop{30 * (1 + (i*5)%7), 30})
			}
			return []script{video("video0", &vp9, at, g...), audio("audio0", &aac, at, 1024*time.Second/48000, 3600)}
		}},
		{name: "GOPs of 10 s", make: func(at media.Time) []script {
			return []script{video("video0", &vp9, at, gops(9, 300, 30)...)}
		}},
		{name: "GOP longer than a segment may be", make: func(at media.Time) []script {
			return []script{video("video0", &vp9, at, gops(3, 30*26, 30)...)}
		}, allow: []string{"first-part"}, check: func(t *testing.T, o *observer) {
			for i, s := range o.ordered("video0") {
				if s.Duration > targetDuration {
					t.Errorf("segment %d lasts %v", i, s.Duration)
				}
				if i%3 == 0 && len(s.Parts) > 0 && !s.Parts[0].Independent {
					t.Errorf("segment %d should start with the key frame:\n%s", i, o.describe("video0"))
				}
			}
		}},
		{name: "24 to 60 fps", make: func(at media.Time) []script {
			g := append(gops(8, 48, 24), gops(10, 120, 60)...)
			return []script{video("video0", &vp9, at, append(g, gops(8, 60, 29.97)...)...)}
		}},
		{name: "23.976 fps with B-frames", make: func(at media.Time) []script {
			return []script{bframes(video("video0", &h264, at, gops(30, 48, 24000.0/1001)...)), audio("audio0", &aac, at, 1024*time.Second/48000, 2800)}
		}},
		{name: "60 fps with B-frames", make: func(at media.Time) []script {
			return []script{bframes(video("video0", &h264, at, gops(40, 61, 60)...))}
		}},
		{name: "variable frame rate", make: func(at media.Time) []script {
			s := video("video0", &vp9, at, gops(40, 60, 30)...)
			for i := range s.frames {
				s.frames[i].PTS += media.Time((i * 7919 % 23) * 1000) // jitter up to 22 ms
			}
			return []script{s}
		}},
		{name: "15 fps", make: func(at media.Time) []script {
			return []script{video("video0", &vp9, at, gops(40, 30, 15)...)}
		}},
		{name: "5 fps: too sparse for full parts", make: func(at media.Time) []script {
			return []script{video("video0", &vp9, at, gops(40, 10, 5)...)}
		}, allow: []string{"part-too-short"}, check: func(t *testing.T, o *observer) {
			for _, s := range o.ordered("video0") {
				for _, p := range s.Parts {
					if p.Gap || p.Duration != 400*time.Millisecond && !p.Independent {
						t.Errorf("part %+v", p)
					}
				}
			}
		}},
		{name: "1 fps: a still screen", make: func(at media.Time) []script {
			return []script{video("video0", &vp9, at, gops(40, 5, 1)...), audio("audio0", &opus, at, 20*time.Millisecond, 2000)}
		}, check: func(t *testing.T, o *observer) {
			all := o.ordered("video0")
			for i, s := range all[:len(all)-1] { // the last frame lasts as long as nobody knows
				if s.Duration != 5*time.Second || s.Gap {
					t.Errorf("segment %d: %v", i, s.Duration)
				}
			}
		}},
		{name: "audio only", make: func(at media.Time) []script {
			return []script{audio("audio0", &aac, at, 1024*time.Second/48000, 4000)}
		}},
		{name: "Opus of 60 ms", make: func(at media.Time) []script {
			s := audio("audio0", &opus, at, 60*time.Millisecond, 2000)
			for i := range s.frames {
				s.frames[i].Data = []byte{0xff, 3, 0xff, 0xfe, 0xff}
			}
			return []script{s}
		}},
		{name: "Opus with discontinuous transmission", make: func(at media.Time) []script {
			s := audio("audio0", &opus, at, 20*time.Millisecond, 3000)
			var kept []media.Frame
			for i, f := range s.frames {
				if i%100 < 60 || i%20 == 0 { // one packet each 400 ms while silent
					kept = append(kept, f)
				}
			}
			s.frames = kept
			return []script{s}
		}},
		{name: "three layers", make: func(at media.Time) []script {
			small, medium := vp9, vp9
			small.Width, small.Height = 320, 180
			medium.Width, medium.Height = 640, 360
			return []script{
				video("video0", &vp9, at, gops(20, 90, 30)...), video("video1", &medium, at, gops(20, 90, 30)...),
				video("video2", &small, at, gops(20, 90, 30)...), audio("audio0", &opus, at, 20*time.Millisecond, 3000),
			}
		}, check: func(t *testing.T, o *observer) {
			a, b := o.ordered("video0"), o.ordered("video2")
			for i := range min(len(a), len(b)) {
				if !a[i].Time.Equal(b[i].Time) {
					t.Errorf("layers differ at segment %d: %v, %v", i, a[i].Time, b[i].Time)
				}
			}
		}},
		{name: "lost media", make: func(at media.Time) []script {
			s := video("video0", &vp9, at, gops(40, 60, 30)...)
			s.frames = append(s.frames[:630:630], s.frames[1020:]...) // 13 s, up to a key frame
			s.lost[630] = true
			return []script{s}
		}, check: func(t *testing.T, o *observer) {
			var lost time.Duration
			for _, s := range o.ordered("video0") {
				if s.Discontinuity {
					t.Error("a hole is no discontinuity")
				}
				if s.Gap {
					lost += s.Duration
				}
			}
			if lost != 13*time.Second {
				t.Errorf("%v listed as lost, want 13 s\n%s", lost, o.describe("video0"))
			}
		}},
		{name: "lost audio", make: func(at media.Time) []script {
			s := audio("audio0", &opus, at, 20*time.Millisecond, 3000)
			s.frames = append(s.frames[:1000:1000], s.frames[1100:]...)
			return []script{s}
		}, check: func(t *testing.T, o *observer) {
			var lost time.Duration
			for _, s := range o.ordered("audio0") {
				if s.Gap {
					lost += s.Duration
				}
			}
			if lost != 2*time.Second {
				t.Errorf("%v listed as lost, want 2 s\n%s", lost, o.describe("audio0"))
			}
		}},
		{name: "clock of the publisher jumps", make: func(at media.Time) []script {
			s := video("video0", &vp9, at, gops(40, 60, 30)...)
			for i := 1200; i < len(s.frames); i++ {
				s.frames[i].PTS += 1e6 * 3600
			}
			a := audio("audio0", &opus, at, 20*time.Millisecond, 4000)
			for i := 2000; i < len(a.frames); i++ {
				a.frames[i].PTS += 1e6 * 3600
			}
			return []script{s, a}
		}, check: func(t *testing.T, o *observer) { wantDiscontinuities(t, o, 1, "video0", "audio0") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMuxer(Config{Window: 75 * time.Second})
				o := observe(t, m, c.allow...)
				scripts := c.make(wall())
				m.Start(tracks(scripts...))
				play(t, m, scripts...)
				checkMultivariant(t, m)
				m.Close()
				for _, s := range scripts {
					if got := o.checkMedia(s.track); got != len(s.frames) {
						t.Errorf("%s: %d samples in the segments, %d frames came", s.track, got, len(s.frames))
					}
					if d := s.frames[len(s.frames)-1].PTS.Sub(s.frames[0].PTS); d > 85*time.Second && o.delta == 0 {
						t.Error("no delta update in all that time")
					}
				}
				if c.check != nil {
					c.check(t, o)
				}
				if t.Failed() {
					t.Log(o.describe(scripts[0].track))
				}
			})
		})
	}
}

func checkMultivariant(t *testing.T, m *Muxer) *playlist.Multivariant {
	t.Helper()
	select {
	case <-m.Ready():
	default:
		t.Fatal("no multivariant playlist")
	}
	p, err := playlist.ParseMultivariant(m.multivariant.Load().plain())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range p.Check() {
		t.Errorf("%v in\n%s", f, m.multivariant.Load().plain())
	}
	return p
}

// wantDiscontinuities checks that all renditions have the same number of
// discontinuities, at about the same time.
func wantDiscontinuities(t *testing.T, o *observer, n int, names ...string) {
	t.Helper()
	var first []time.Time
	for _, name := range names {
		var at []time.Time
		for _, s := range o.ordered(name) {
			if s.Discontinuity {
				at = append(at, s.Time)
			}
		}
		if len(at) != n {
			t.Errorf("%s: %d discontinuities, want %d\n%s", name, len(at), n, o.describe(name))
			return
		}
		if first == nil {
			first = at
		}
		for i := range at {
			if d := at[i].Sub(first[i]); d.Abs() > time.Second {
				t.Errorf("%s: discontinuity %d is %v off", name, i, d)
			}
		}
	}
}

// TestRestart has the publisher come back with other formats.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{})
		o := observe(t, m)
		at := wall()
		wide := vp9
		wide.Width = 1920
		for round, f := range []*media.Format{&vp9, &wide, &vp9} {
			start := at.Add(time.Duration(round) * 40 * time.Second)
			v := video("video0", f, start, gops(15, 61, 30)...)
			a := audio("audio0", &opus, start, 20*time.Millisecond, 1500)
			m.Start(tracks(v, a))
			play(t, m, v, a)
			m.Stop()
		}
		m.Close()
		wantDiscontinuities(t, o, 2, "video0", "audio0")
		maps := make(map[string]bool)
		for _, s := range o.ordered("video0") {
			maps[s.Map] = true
		}
		if len(maps) != 2 {
			t.Errorf("%d initialization segments, want 2: the third round is like the first", len(maps))
		}
		for _, s := range o.ordered("audio0") {
			if s.Discontinuity && s.Duration < segmentMin {
				t.Errorf("behind a discontinuity, a segment of %v", s.Duration)
			}
		}
		o.checkMedia("video0")
		o.checkMedia("audio0")
		if v := m.renditions[0].current.Load(); !v.ended || v.hint != "" {
			t.Error("Close did not end the playlist")
		}
	})
}

// TestRestartsMissed has a track come back that was not there between two
// restarts: its discontinuities are numbered as those of the others.
func TestRestartsMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{})
		o := observe(t, m)
		at := wall()
		for round := range 4 {
			start := at.Add(time.Duration(round) * 40 * time.Second)
			v := video("video0", &vp9, start, gops(15, 61, 30)...)
			a := audio("audio0", &opus, start, 20*time.Millisecond, 1500)
			if round == 1 || round == 2 {
				m.Start(tracks(v))
				play(t, m, v)
			} else {
				m.Start(tracks(v, a))
				play(t, m, v, a)
			}
			m.Stop()
		}
		m.Close()
		for _, name := range []string{"video0", "audio0"} {
			n := 0
			for _, s := range o.ordered(name) {
				if s.Discontinuity {
					n++
				}
			}
			if n != 3 {
				t.Errorf("%s: %d discontinuities, want 3\n%s", name, n, o.describe(name))
			}
			o.checkMedia(name)
		}
	})
}

// TestFormatChange has one track change its picture size in the middle: the
// sound has to follow the discontinuity though nothing happened to it.
func TestFormatChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{})
		o := observe(t, m)
		at := wall()
		wide := vp9
		wide.Width = 1920
		faster := wide // needs no new initialization segment
		faster.FrameRate = 60
		v := video("video0", &vp9, at, gops(30, 60, 30)...)
		for i := 10 * 60; i < len(v.frames); i += 60 {
			v.frames[i].Format = &wide
			if i >= 20*60 {
				v.frames[i].Format = &faster
			}
		}
		a := audio("audio0", &aac, at, 1024*time.Second/48000, 2800)
		m.Start(tracks(v, a))
		play(t, m, v, a)
		p := checkMultivariant(t, m)
		m.Close()
		wantDiscontinuities(t, o, 1, "video0", "audio0")
		if got := p.Variants[0]; got.Width != 1920 || got.FrameRate != 60 || got.Codecs != "vp09.00.31.08,mp4a.40.2" || got.Audio != "aac" {
			t.Errorf("variant %+v", got)
		}
		if n := o.checkMedia("video0"); n != len(v.frames) {
			t.Errorf("%d samples, want %d", n, len(v.frames))
		}
	})
}

// TestStall has one track stand still for half a minute while the other goes
// on: its playlist goes on too, with a still picture or silence.
func TestStall(t *testing.T) {
	for _, c := range []struct {
		name        string
		video       media.Format
		audio       media.Format
		stalls      string
		samples     int // at least, in the segments of the track that stalls
		gaps        bool
		frameLength time.Duration
	}{
		{"camera off", vp9, opus, "video0", 31*30 + 2*27, false, 20 * time.Millisecond},
		{"camera with B-frames off", h264, aac, "video0", 31*30 + 2*27, false, 1024 * time.Second / 48000},
		{"microphone off", vp9, opus, "audio0", 2970, false, 20 * time.Millisecond},
		{"microphone with AAC off", vp9, aac, "audio0", 2780, false, 1024 * time.Second / 48000},
		{"surround microphone off", vp9, media.Format{Codec: media.AAC, MIME: "mp4a.40.2", Description: []byte{0x11, 0xb0}, SampleRate: 48000, Channels: 6},
			"audio0", 1440, true, 1024 * time.Second / 48000},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMuxer(Config{})
				o := observe(t, m)
				scripts := []script{
					bframes(video("video0", &c.video, wall(), gops(30, 61, 30)...)),
					audio("audio0", &c.audio, wall(), c.frameLength, int(time.Minute/c.frameLength)),
				}
				if c.video.Codec != media.H264 {
					scripts[0] = video("video0", &c.video, wall(), gops(30, 61, 30)...)
				}
				m.Start(tracks(scripts...))
				start := wall()
				var wg sync.WaitGroup
				for _, s := range scripts {
					if s.track == c.stalls {
						s.frames = slices.DeleteFunc(s.frames, func(f media.Frame) bool {
							at := f.PTS.Sub(start)
							return at > 15*time.Second && at < 44*time.Second
						})
					}
					wg.Go(func() { feedLive(t, m, s) })
				}
				for range 100 { // no reload may wait for more than a part
					time.Sleep(570 * time.Millisecond)
					m.mu.Lock()
					reach := m.renditionLocked(c.stalls).reach()
					m.mu.Unlock()
					if reach.Wall().Before(time.Now().Add(-stallAfter - 2*partTarget - time.Second)) {
						t.Fatalf("%s stands still at %v", c.stalls, time.Since(start.Wall()))
					}
				}
				wg.Wait()
				m.Close()
				for _, s := range o.ordered(c.stalls) {
					if s.Discontinuity || s.Gap != c.gaps && s.Gap {
						t.Errorf("discontinuity %v, gap %v", s.Discontinuity, s.Gap)
					}
				}
				if n := o.checkMedia(c.stalls); n < c.samples || n > c.samples+100 {
					t.Errorf("%d samples, want at least %d", n, c.samples)
				}
				wantDiscontinuities(t, o, 0, "video0", "audio0")
			})
		})
	}
}

// TestMultivariant checks what is offered for which tracks.
func TestMultivariant(t *testing.T) {
	vp8 := media.Format{Codec: media.VP8, MIME: "vp8", Width: 2, Height: 2}
	for _, c := range []struct {
		name     string
		formats  []media.Format
		variants []string
		groups   []string
		notes    int
	}{
		{"video only", []media.Format{h264}, []string{"avc1.64001f "}, nil, 0},
		{"audio only", []media.Format{opus}, []string{"opus "}, nil, 1},
		{"VP8 is left out", []media.Format{vp8, aac}, []string{"mp4a.40.2 "}, nil, 0},
		{"a group for each audio codec", []media.Format{vp9, opus, aac},
			[]string{"vp09.00.31.08,mp4a.40.2 aac", "vp09.00.31.08,opus opus"}, []string{"aac", "opus"}, 1},
		{"VP9 and Opus", []media.Format{vp9, opus}, []string{"vp09.00.31.08,opus opus"}, []string{"opus"}, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := NewMuxer(Config{})
			var scripts []script
			var all []Track
			for i := range c.formats {
				name := fmt.Sprint("track", i)
				all = append(all, Track{Name: name, Format: c.formats[i]})
				switch {
				case c.formats[i].Codec == media.VP8:
				case c.formats[i].Kind() == media.Video:
					scripts = append(scripts, video(name, &c.formats[i], wall(), gops(8, 60, 30)...))
				default:
					scripts = append(scripts, audio(name, &c.formats[i], wall(), 20*time.Millisecond, 800))
				}
			}
			m.Start(all)
			play(t, m, scripts...)
			p := checkMultivariant(t, m)
			var got, groups []string
			for _, v := range p.Variants {
				got = append(got, v.Codecs+" "+v.Audio)
			}
			for _, r := range p.Renditions {
				groups = append(groups, r.Group)
			}
			text := string(m.multivariant.Load().plain())
			if fmt.Sprint(got) != fmt.Sprint(c.variants) || fmt.Sprint(groups) != fmt.Sprint(c.groups) {
				t.Errorf("%s: variants %q, groups %q in\n%s", c.name, got, groups, text)
			}
			if n := len(p.Comments); n != 0 {
				t.Errorf("comments are not for clients: %d", n)
			}
			m.Close()
		})
	}
}

// TestMemory checks that a rendition keeps to its bound in bytes and that
// what left the playlist stays for a while, then goes.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound = 3 << 20
		m := NewMuxer(Config{MaxBytes: bound, Window: time.Hour})
		observe(t, m)
		s := video("video0", &vp9, wall(), gops(70, 60, 30)...)
		big := make([]byte, 3000) // 0.7 Mbit/s: 30 s are well below the bound
		for i := range s.frames {
			s.frames[i].Data = big
		}
		m.Start(tracks(s))
		play(t, m, s)
		r := m.renditions[0]
		if r.bytes > bound+bound/4 {
			t.Errorf("%d bytes kept, bound %d", r.bytes, bound)
		}
		if d := time.Duration(r.duration); d < minWindow {
			t.Errorf("only %v listed", d)
		}
		var files int64
		for name := range r.files.m {
			if b, _ := r.files.get(name); name != r.init.file {
				n, _ := b.Len()
				files += n
			}
		}
		// Each byte is reachable as part and as segment, and held once.
		if files > 2*(bound+bound/4) {
			t.Errorf("files of %d bytes, bound %d", files, bound)
		}
		m.Close()
	})
}
