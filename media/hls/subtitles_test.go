package hls

import (
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/hls/dvr"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

var german = codec.WebVTTFormat("de", "Deutsch")

// line is a cue from start on for d.
func line(start media.Time, d time.Duration, text string) media.Frame {
	c := codec.Cue{End: d, Text: text}
	return media.Frame{PTS: start, Key: true, Data: c.Append(nil, 0), Format: &german}
}

// vtt reads a WebVTT file of a segment and returns its cues at their times.
func vtt(t failer, b []byte, segment media.Time) (cues []string) {
	t.Helper()
	const head = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n"
	if !strings.HasPrefix(string(b), head) {
		t.Fatalf("no X-TIMESTAMP-MAP in %q", b)
	}
	all, err := codec.ParseWebVTT(b)
	if err != nil {
		t.Fatal(err)
	}
	wrap := float64(wrapTicks) / 90000
	base := wrap * float64(int64(float64(segment)/1e6/wrap))
	for _, c := range all {
		at := func(d time.Duration) time.Time {
			return media.Time((base + d.Seconds()) * 1e6).Wall().Round(2 * time.Millisecond).UTC()
		}
		cues = append(cues, fmt.Sprintf("%v–%v %s", at(c.Start).Format("15:04:05.000"), at(c.End).Format("15:04:05.000"), c.Text))
	}
	return cues
}

func (o *observer) cues(track string, s *playlist.Segment) (whole []string, parts [][]string) {
	start := media.TimeOf(s.Time)
	for _, p := range s.Parts {
		parts = append(parts, vtt(o.t, o.bodies[track+"/"+p.URI], start))
	}
	return vtt(o.t, o.bodies[track+"/"+s.URI], start), parts
}

// TestSubtitles holds the text rendition against the picture's: it has the
// same segments and parts, and each cue is in all that it is on screen in.
func TestSubtitles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{})
		o := observe(t, m)
		start := wall()
		at := func(s float64) media.Time { return start + media.Time(s*1e6) }
		v := video("video0", &h264, start, gops(20, 60, 30)...)
		a := audio("audio0", &aac, start, 1024*time.Second/48000, 40*48000/1024)
		text := script{track: "text0", frames: []media.Frame{
			line(at(0.5), 200*time.Millisecond, "short"),
			line(at(5.5), 6*time.Second, "over three\nsegments"),
			line(at(20), 900*time.Millisecond, "& <i>more</i>"),
			line(at(20.5), time.Second, "both"),
		}}
		m.Start(append(tracks(v, a), Track{"text0", german}))
		play(t, m, v, a, text)
		m.Close()

		pictures, words := o.segments["video0"], o.segments["text0"]
		if len(words) != len(pictures) || len(words) < 6 {
			t.Fatalf("%d segments of text, %d of pictures", len(words), len(pictures))
		}
		seen := make(map[string]int)
		for msn, p := range pictures {
			w, ok := words[msn]
			if !ok || !w.Time.Equal(p.Time) || w.Duration != p.Duration || w.Discontinuity != p.Discontinuity || len(w.Parts) != len(p.Parts) || w.Map != "" {
				t.Fatalf("segment %d: %+v beside %+v", msn, w, p)
			}
			whole, parts := o.cues("text0", &w)
			var union []string
			for i, cues := range parts {
				if w.Parts[i].Duration != p.Parts[i].Duration {
					t.Errorf("part %d of %d lasts %v, the picture's %v", i, msn, w.Parts[i].Duration, p.Parts[i].Duration)
				}
				for _, c := range cues {
					seen["part "+c]++
					if !slices.Contains(union, c) {
						union = append(union, c)
					}
				}
			}
			if !slices.Equal(union, whole) {
				t.Errorf("segment %d has %q, its parts %q", msn, whole, union)
			}
			for _, c := range whole {
				seen["segment "+c]++
			}
		}
		clock := func(s float64) string { return at(s).Wall().UTC().Format("15:04:05.000") }
		for cue, want := range map[string][2]int{
			clock(0.5) + "–" + clock(0.7) + " short":                 {1, 1},
			clock(5.5) + "–" + clock(11.5) + " over three\nsegments": {12, 3},
			clock(20) + "–" + clock(20.9) + " & <i>more</i>":         {2, 1},
			clock(20.5) + "–" + clock(21.5) + " both":                {2, 1},
		} {
			if got := [2]int{seen["part "+cue], seen["segment "+cue]}; got != want {
				t.Errorf("%q is in %d parts and %d segments, want %v", cue, got[0], got[1], want)
			}
		}
		if len(seen) != 8 {
			t.Errorf("cues %v", seen)
		}
	})
}

// TestSubtitlesLate: a cue that comes after the part that it belongs to is in
// the next one, and in the segment.
func TestSubtitlesLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{})
		o := observe(t, m)
		start := wall()
		v := video("video0", &h264, start, gops(6, 60, 30)...)
		m.Start(append(tracks(v), Track{"text0", german}))
		for i, f := range v.frames {
			if i == 75 { // at 2.5 s
				if err := m.WriteFrame("text0", line(start+2_100_000, 200*time.Millisecond, "late"), false); err != nil {
					t.Fatal(err)
				}
				if err := m.WriteFrame("text0", line(start+100_000, 200*time.Millisecond, "too late"), false); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.WriteFrame("video0", f, false); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.WriteFrame("text0", media.Frame{PTS: start, Data: []byte("no cue")}, false); err == nil {
			t.Error("what is no cue was taken")
		}
		m.Close()
		inParts, inSegments := 0, 0
		for _, s := range o.segments["text0"] {
			whole, parts := o.cues("text0", &s)
			for _, c := range parts {
				inParts += len(c)
			}
			inSegments += len(whole)
			if text := strings.Join(whole, "\n"); strings.Contains(text, "too late") {
				t.Errorf("a cue of another segment: %q", text)
			}
		}
		if inParts != 1 || inSegments != 1 {
			t.Errorf("the late cue is in %d parts and %d segments", inParts, inSegments)
		}
	})
}

// TestSubtitlesOfSound: without pictures, text follows the sound and events
// are with it. When the picture goes, and when it comes back, text goes on
// without a hole.
func TestSubtitlesOfSound(t *testing.T) {
	for name, pictured := range map[string]bool{"alone": false, "picture comes and goes": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := NewMuxer(Config{})
				o := observe(t, m)
				start := wall()
				v := video("video0", &h264, start, gops(6, 60, 30)...)
				later := video("video0", &h264, start+24_000_000, gops(8, 60, 30)...)
				a := audio("audio0", &aac, start, 1024*time.Second/48000, 40*48000/1024)
				sound := append(tracks(a), Track{"text0", german})
				m.Start(sound)
				if pictured {
					m.Start(append(tracks(v), sound...))
				}
				at := 0
				if err := m.AddEvent(message("hello", start+1_000_000, "hi")); err != nil {
					t.Fatal(err)
				}
				write := func(s script, until media.Time) {
					for ; at < len(a.frames) && a.frames[at].PTS < until; at++ {
						for len(s.frames) > 0 && s.frames[0].PTS <= a.frames[at].PTS {
							if err := m.WriteFrame("video0", s.frames[0], false); err != nil {
								t.Fatal(err)
							}
							s.frames = s.frames[1:]
						}
						if err := m.WriteFrame("audio0", a.frames[at], false); err != nil {
							t.Fatal(err)
						}
						time.Sleep(21333 * time.Microsecond)
					}
				}
				if pictured {
					write(v, start+12_000_000)
					m.Start(sound)
					write(script{}, start+24_000_000)
					m.Start(append(tracks(v), sound...))
					write(later, start+40_000_000)
				} else {
					write(script{}, start+40_000_000)
					if p := o.last["audio0"]; len(p.DateRanges) != 1 || p.DateRanges[0].ID != "hello" {
						t.Errorf("date ranges %+v", p.DateRanges)
					}
				}
				m.Close()
				var end time.Time
				total := time.Duration(0)
				for _, s := range o.ordered("text0") {
					if d := s.Time.Sub(end).Abs(); !end.IsZero() && d > 2*time.Millisecond {
						t.Errorf("a segment at %v behind one that ends at %v", s.Time, end)
					}
					end = s.Time.Add(s.Duration)
					total += s.Duration
				}
				if total < 39*time.Second {
					t.Errorf("%v of text beside 40 s of sound", total)
				}
			})
		})
	}
}

// TestSubtitlesMultivariant looks at the renditions that a player is offered,
// two of them with the same label, through a restart of the publisher.
func TestSubtitlesMultivariant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{})
		o := observe(t, m)
		for range 2 {
			v := video("video0", &h264, wall(), gops(6, 60, 30)...)
			m.Start(append(tracks(v), Track{"text0", german}, Track{"text1", german}))
			play(t, m, v)
			m.Stop()
			time.Sleep(20 * time.Second)
		}
		p, err := playlist.ParseMultivariant(m.multivariant.Load().plain())
		if err != nil {
			t.Fatal(err)
		}
		want := []playlist.Rendition{
			{Type: "SUBTITLES", Group: "text", Name: "Deutsch", Language: "de", URI: "p/open/text0.m3u8"},
			{Type: "SUBTITLES", Group: "text", Name: "Deutsch 2", Language: "de", URI: "p/open/text1.m3u8"},
		}
		if !slices.Equal(p.Renditions, want) || len(p.Variants) != 1 || p.Variants[0].Subtitles != "text" {
			t.Errorf("%s", m.multivariant.Load().plain())
		}
		if text := string(m.multivariant.Load().plain()); strings.Count(text, ",AUTOSELECT=YES,FORCED=NO,") != 2 {
			t.Errorf("%s", text)
		}
		m.Close()
		cuts := 0
		for msn, s := range o.segments["video0"] {
			if w := o.segments["text0"][msn]; w.Discontinuity != s.Discontinuity || !w.Time.Equal(s.Time) {
				t.Errorf("segment %d: %+v beside %+v", msn, w, s)
			}
			if s.Discontinuity {
				cuts++
			}
		}
		if cuts != 1 {
			t.Errorf("%d discontinuities", cuts)
		}
		w := get(t.Context(), m, "/p/open/text0.m3u8")
		if w.Code != 200 || strings.Contains(w.Body.String(), "EXT-X-MAP") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		for text := range strings.Lines(w.Body.String()) {
			if strings.HasSuffix(text, ".vtt\n") {
				f := get(t.Context(), m, "/"+strings.TrimPrefix(strings.TrimSpace(text), "../../"))
				if f.Code != 200 || f.Header().Get("Content-Type") != "text/vtt" {
					t.Errorf("%s: %d, %v", text, f.Code, f.Header())
				}
			}
		}
	})
}

// TestLocal: "a client SHOULD attempt to detect cases where the 33-bit PES
// timestamps have wrapped and the WebVTT cue times have not" is not needed
// where each segment's times are below the wrap (rfc8216bis, section 3.1.4).
func TestLocal(t *testing.T) {
	// 18 wraps of 2³³ / 90000 s since 1970.
	wrap := media.Time(int64(18) * wrapTicks / 9 * 100)
	for _, c := range []struct {
		at, segment time.Duration
		want        string
	}{
		{0, 0, "00:00:00.000"},
		{time.Second, 0, "00:00:01.000"},
		{-time.Second, -4 * time.Second, "26:30:42.718"},
		{time.Second, -4 * time.Second, "26:30:44.718"}, // beyond it, as its segment is not
	} {
		b := (&cue{start: wrap.Add(c.at), end: wrap.Add(c.at + time.Second)}).appendTo(nil, wrap.Add(c.segment+time.Millisecond))
		got, _, _ := strings.Cut(string(b), " ")
		if got != c.want {
			t.Errorf("%v in the segment at %v: %s, want %s", c.at, c.segment, got, c.want)
		}
	}
	// What is left of a cue that began before the wrap.
	b := (&cue{start: wrap - 3e6, end: wrap + 2e6, Cue: codec.Cue{Text: "x"}}).appendTo(nil, wrap+1000)
	if string(b) != "00:00:00.000 --> 00:00:02.000\nx\n" {
		t.Errorf("%q", b)
	}
}

// TestSubtitlesRecovered kills the process in the middle of a segment, once
// more between a part of the picture and that of the text, and lets the
// recording be opened by a third one: text goes on beside the picture, and a
// cue that was on screen is in all that it belongs to, once in each.
func TestSubtitlesRecovered(t *testing.T) {
	for _, behind := range []int{0, 1, 4, 5, 9} { // records of the text that were not written any more
		t.Run(fmt.Sprint(behind), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s, stop := openStore(t, dvr.Config{Dir: dir})
				m := NewMuxer(Config{Window: 10 * time.Minute})
				m.Store(begin(t, s))
				start := wall()
				at := func(s float64) media.Time { return start + media.Time(s*1e6) }
				long := line(at(17.25), 12*time.Second, "through the crash")
				v := video("video0", &vp9, start, gops(20, 60, 30)...)
				all := v.frames
				v.frames = all[:660+53]
				text := script{track: "text0", frames: []media.Frame{
					line(at(3), time.Second, "early"), long,
				}}
				offered := append(tracks(v), Track{"text0", german})
				m.Start(offered)
				play(t, m, v, text)
				synctest.Wait()
				stop()
				if behind > 0 {
					cutJournal(t, dir, "text0", behind)
				}

				time.Sleep(time.Second)
				s, stop = openStore(t, dvr.Config{Dir: dir})
				m = NewMuxer(Config{Window: 10 * time.Minute})
				o := observe(t, m)
				b := resume(t, s)
				if !m.Store(b) {
					t.Fatal("nothing was restored")
				}
				if mv := string(m.multivariant.Load().plain()); !strings.Contains(mv, `NAME="Deutsch"`) {
					t.Errorf("no text is offered:\n%s", mv)
				}
				m.Start(offered)
				v.frames = all[660:]
				text.frames = []media.Frame{line(at(33), time.Second, "late")}
				if behind%2 == 0 { // it is still cached upstream
					text.frames = append([]media.Frame{long}, text.frames...)
				}
				play(t, m, v, text)
				m.Close()
				b.Close()
				synctest.Wait()
				pictures, words := listed(t, m, "video0"), listed(t, m, "text0")
				stop()

				s, stop = openStore(t, dvr.Config{Dir: dir})
				defer stop()
				m = NewMuxer(Config{Window: 10 * time.Minute})
				if !m.Store(resume(t, s)) {
					t.Fatal("there is no recording")
				}
				again := listed(t, m, "text0")
				for _, f := range append(words.CheckUpdate(again), again.Check()...) {
					t.Error(f)
				}
				if behind == 9 {
					return // a segment was caught up with: the numbers are others
				}
				if !again.EndList || again.MediaSequence != pictures.MediaSequence || len(again.Segments) != len(pictures.Segments) {
					t.Fatalf("ended %v, %d segments of text from %d on, %d of pictures from %d on\n%s\n%s", again.EndList,
						len(again.Segments), again.MediaSequence, len(pictures.Segments), pictures.MediaSequence, again.Append(nil), pictures.Append(nil))
				}
				r := (*m.paths.Load())["text0"]
				for i, w := range again.Segments {
					p := pictures.Segments[i]
					if !w.Time.Equal(p.Time) || w.Duration != p.Duration || w.Map != "" {
						t.Errorf("segment %d of text begins at %v and lasts %v, that of pictures at %v and lasts %v", i, w.Time, w.Duration, p.Time, p.Duration)
					}
					body, ok := r.files.get(strings.Replace(strings.TrimPrefix(w.URI, "../../m/"), "/text0/", "/", 1))
					if !ok {
						t.Fatalf("%s is gone", w.URI)
					}
					from := media.TimeOf(w.Time)
					got := vtt(t, content(t, body), from)
					want := 0
					for _, cue := range []media.Frame{line(at(3), time.Second, "early"), long, line(at(33), time.Second, "late")} {
						c, err := codec.ParseCue(cue.Data)
						if err != nil {
							t.Fatal(err)
						}
						if cue.PTS < from.Add(w.Duration) && cue.PTS.Add(c.End) > from+slack {
							want++
						}
					}
					if len(got) != want {
						t.Errorf("segment %d has %q, want %d cues", i, got, want)
					}
				}
				if o.seen["text0"] == 0 {
					t.Error("no playlist of text was made")
				}
			})
		})
	}
}

// cutJournal takes the last n records off the journal of a rendition.
func cutJournal(t *testing.T, dir, track string, n int) {
	t.Helper()
	name := filepath.Join(dir, "*", "*", track, "journal")
	found, err := filepath.Glob(name)
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %q, %v", name, found, err)
	}
	b, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(b), "\n")
	lines = lines[:len(lines)-1-n]
	if err := os.WriteFile(found[0], []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestCaptionsBounded: nobody can make a part grow without end.
func TestCaptionsBounded(t *testing.T) {
	c := new(captions)
	for i := range 1000 {
		if err := c.add(line(media.Time(i)*10_000, time.Hour, strings.Repeat("x", 4000))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1000 {
		if err := c.add(line(media.Time(i)*10_000, time.Hour, "y")); err != nil {
			t.Fatal(err)
		}
	}
	if len(c.cues) != maxCues || c.bytes > maxCueBytes {
		t.Errorf("%d cues of %d bytes", len(c.cues), c.bytes)
	}
	n := 0
	for _, q := range c.cues {
		n += q.size
	}
	if n != c.bytes {
		t.Errorf("%d bytes counted as %d", n, c.bytes)
	}
}

// TestFFmpegReadsSubtitles has ffmpeg extract the cues of a text rendition
// over HTTP, each once although several segments repeat it.
func TestFFmpegReadsSubtitles(t *testing.T) {
	clip := cmaftest.Clip(t, append(slices.Clone(cmaftest.TestSource), "-t", "12", "-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-pix_fmt", "yuv420p")...)[0]
	m := NewMuxer(Config{})
	m.Start([]Track{{"video0", clip.Format}, {"text0", german}})
	start := wall()
	v := script{track: "video0", frames: slices.Clone(clip.Frames)}
	for i := range v.frames {
		v.frames[i].PTS += start
	}
	play(t, m, v, script{track: "text0", frames: []media.Frame{
		line(start+500_000, time.Second, "eins"), line(start+4_500_000, time.Second, "zwei"), line(start+9_000_000, time.Second, "drei"),
	}})
	m.Close()
	srv := httptest.NewServer(m)
	defer srv.Close()
	out, err := exec.Command("ffmpeg", "-v", "warning", "-nostdin", "-i", srv.URL+"/p/open/text0.m3u8", "-map", "0:s:0", "-c", "copy", "-f", "webvtt", "-").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, word := range []string{"eins", "zwei", "drei"} {
		if strings.Count(string(out), word) != 1 {
			t.Errorf("%q is not there once:\n%s", word, out)
		}
	}
}
