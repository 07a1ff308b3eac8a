package hls

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/hls/playlist"
	"github.com/freshet-live/freshet/moq"
)

func TestParseEvent(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 123e6, time.UTC)
	for _, c := range []struct {
		name, in string
		want     playlist.DateRange
	}{
		{"media time before date", fmt.Sprintf(`{"id":"e1","type":"message","at":"2020-01-01T00:00:00Z","media_time":%d,"from":"ann","text":"hi","unknown":[1]}`, at.UnixMicro()),
			playlist.DateRange{ID: "e1", Class: "live.freshet.room.message", Start: at, Attributes: []playlist.Attribute{{Name: "X-FROM", Value: "ann"}, {Name: "X-TEXT", Value: "hi"}}}},
		{"date alone", `{"id":"e2","type":"tip","at":"2026-03-04T06:06:07.123+01:00","media_time":null,"from":{"id":"u7","name":"Bob"},"duration":2.5}`,
			playlist.DateRange{ID: "e2", Class: "live.freshet.room.tip", Start: at, Duration: 2500 * time.Millisecond, Attributes: []playlist.Attribute{{Name: "X-FROM", Value: "Bob"}}}},
		{"milliseconds", fmt.Sprintf(`{"id":"e3","type":"system","at":%d,"from":{"id":"u7"}}`, at.UnixMilli()),
			playlist.DateRange{ID: "e3", Class: "live.freshet.room.system", Start: at, Attributes: []playlist.Attribute{{Name: "X-FROM", Value: "u7"}}}},
		// What would end the string, the line, or the playback: players give up
		// a playlist with a reference to an unknown variable.
		{"hostile text", `{"id":"e\t4","type":"message","at":"2026-03-04T05:06:07.123Z","text":"a\"b\nc\r\n#EXT-X-ENDLIST\u0000 {$x} {\ufeff$y}"}`,
			playlist.DateRange{ID: "e 4", Class: "live.freshet.room.message", Start: at, Attributes: []playlist.Attribute{{Name: "X-TEXT", Value: "a'b c  #EXT-X-ENDLIST  { $x} { $y}"}}}},
	} {
		got, _, err := parseEvent([]byte(c.in))
		if err != nil || !got.Equal(&c.want) {
			t.Errorf("%s: %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
	for _, in := range []string{
		`{"id":"x","type":"moderation","at":1}`, `{"id":"x","type":"moderation.note","at":1}`, `{"id":"x","type":"presence","at":1}`, `{"id":"x","at":1}`,
		`{"type":"message","at":1}`, `{"id":"x","type":"message"}`, `{"id":"x","type":"message","at":-1}`, `{"id":"x","type":"message","at":1e30}`,
		`{"id":"x","type":"message","at":"today"}`, `{`, `[]`, `"x"`, `{"id":1}`, `{"id":"x","type":"message","at":1,"text":"` + strings.Repeat("x", MaxEventSize) + `"}`,
	} {
		if d, withdrawn, err := parseEvent([]byte(in)); err == nil {
			t.Errorf("%.60s: %+v %q", in, d, withdrawn)
		}
	}
	long, _, err := parseEvent([]byte(`{"id":"x","type":"message","at":1,"text":"` + strings.Repeat("ä", 4000) + `"}`))
	if err != nil || len(long.Attributes) != 1 || len(long.Attributes[0].Value) > maxEventText || !strings.HasSuffix(long.Attributes[0].Value, "ä…") {
		t.Errorf("%+v, %v", long, err)
	}
	if _, id, err := parseEvent([]byte(`{"id":"x","type":"moderation","target":"e1"}`)); err != nil || id != "e1" {
		t.Errorf("withdraws %q, %v", id, err)
	}
}

// FuzzEvent: whatever people write, a playlist with it can be read, and says
// what it was to say.
func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"id":"e1","type":"message","at":"2026-01-01T00:00:00Z","from":{"name":"a"},"text":"{$x}\""}`))
	f.Add([]byte(`{"id":"\ud800","type":"tip","at":1,"media_time":1e15,"from":"\u2028","duration":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, _, err := parseEvent(b)
		if err != nil || d.ID == "" {
			return
		}
		m := playlist.Media{
			Version: version10, TargetDuration: targetDuration, DateRanges: []playlist.DateRange{d}, Control: control,
			Skipped: 1, SkipsDateRanges: true, RemovedDateRanges: []string{d.ID},
		}
		text := m.Append(nil)
		got, err := playlist.ParseMedia(text)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if len(got.DateRanges) != 1 || !got.DateRanges[0].Equal(&d) || !slices.Equal(got.RemovedDateRanges, m.RemovedDateRanges) {
			t.Fatalf("%+v came back as %+v", d, got)
		}
		if strings.Contains(string(text), "{$") {
			t.Fatalf("a variable in\n%s", text)
		}
	})
}

func message(id string, at media.Time, text string) []byte {
	return fmt.Appendf(nil, `{"id":%q,"type":"message","media_time":%d,"from":"ann","text":%q}`, id, int64(at), text)
}

// TestDateRanges follows events through a window of 90 s: added, left out of
// delta updates after a minute, withdrawn, and gone with their segments.
// The observer checks each update on the way.
func TestDateRanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{})
		o := observe(t, m)
		start := wall()
		v := video("video0", &h264, start, gops(100, 60, 30)...)
		a := audio("audio0", &aac, start, 1024*time.Second/48000, 200*48000/1024)
		m.Start(tracks(v, a))
		add := func(b []byte) {
			if err := m.AddEvent(b); err != nil {
				t.Error(err)
			}
		}
		// until plays both tracks in real time up to s seconds.
		pos, sound := 0, 0
		until := func(s float64) {
			for end := start + media.Time(s*1e6); pos < len(v.frames) && v.frames[pos].PTS < end; pos++ {
				if d := time.Until(v.frames[pos].PTS.Wall()); d > 0 {
					time.Sleep(d)
				}
				if err := m.WriteFrame("video0", v.frames[pos], false); err != nil {
					t.Fatal(err)
				}
				for ; a.frames[sound].PTS < v.frames[pos].PTS; sound++ {
					if err := m.WriteFrame("audio0", a.frames[sound], false); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		ids := func(text []byte) (ids []string, p *playlist.Media) {
			p, err := playlist.ParseMedia(text)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range p.DateRanges {
				ids = append(ids, d.ID)
			}
			return ids, p
		}
		full := func() []string { i, _ := ids(m.renditionLocked("video0").current.Load().full.plain()); return i }
		equal := func(when string, got []string, want ...string) {
			t.Helper()
			if !slices.Equal(got, want) {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		until(5)
		add(message("second", start+4_000_000, "two"))
		add(message("first", start+2_000_000, "one"))
		add(message("first", start+2_500_000, "again"))
		add([]byte(`{"id":"private","type":"moderation","at":1}`))
		equal("before the next part", full())
		until(6)
		equal("after it", full(), "first", "second")
		if i, _ := ids(m.renditionLocked("audio0").current.Load().full.plain()); len(i) > 0 {
			t.Errorf("beside pictures, sound lists %q", i)
		}
		until(70)
		add(message("third", start+69_000_000, "three"))
		add(message("fourth", start+69_500_000, "four"))
		until(72)
		cur := m.renditionLocked("video0").current.Load()
		equal("full", full(), "first", "second", "third", "fourth")
		i, p := ids(cur.delta.plain())
		equal("delta of segments", i, "first", "second", "third", "fourth")
		if p.SkipsDateRanges {
			t.Error("a delta update of segments names removed date ranges")
		}
		i, p = ids(cur.delta2.plain())
		equal("delta of date ranges", i, "third", "fourth")
		if !p.SkipsDateRanges || len(p.RemovedDateRanges) != 0 || p.Version != 10 {
			t.Errorf("%s", cur.delta2.plain())
		}
		add([]byte(`{"id":"m","type":"moderation","target":"fourth"}`))
		until(73)
		equal("withdrawn", full(), "first", "second", "third")
		_, p = ids(m.renditionLocked("video0").current.Load().delta2.plain())
		equal("removed", p.RemovedDateRanges, "fourth")
		until(110)
		equal("out of the window", full(), "third")
		_, p = ids(m.renditionLocked("video0").current.Load().delta2.plain())
		equal("removed in the last minute", p.RemovedDateRanges, "fourth", "first", "second")
		until(180)
		equal("later", full())
		_, p = ids(m.renditionLocked("video0").current.Load().delta2.plain())
		equal("removed in the last minute", p.RemovedDateRanges, "third")
		for path, want := range map[string]string{"YES": "#EXT-X-SKIP:SKIPPED-SEGMENTS=", "v2": `,RECENTLY-REMOVED-DATERANGES="third"`} {
			if w := get(t.Context(), m, "/p/open/video0.m3u8?_HLS_skip="+path); !strings.Contains(w.Body.String(), want) {
				t.Errorf("%s: %s", path, w.Body)
			}
		}
		m.Close()
		if w := get(t.Context(), m, "/p/open/video0.m3u8?_HLS_skip=v2"); strings.Contains(w.Body.String(), "EXT-X-SKIP") {
			t.Error("a delta update of a playlist that has ended")
		}
		if o.delta == 0 {
			t.Error("no delta updates")
		}
	})
}

// TestDateRangesBounded: a chat that runs wild does not make playlists grow.
func TestDateRangesBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e events
		for i := range 100_000 { // 50 a second
			e.add(playlist.DateRange{ID: fmt.Sprint(i), Start: time.Now()}, time.Now())
			time.Sleep(20 * time.Millisecond)
			if len(e.all) > maxDateRanges {
				t.Fatalf("%d date ranges", len(e.all))
			}
		}
		// 2000 s: as many each minute, and time for the last.
		if newest := e.all[len(e.all)-1]; newest.added.Before(time.Now().Add(-control.CanSkipUntil)) {
			t.Errorf("the newest is of %v", newest.added)
		}
	})
}

// TestServerEvents publishes events as MoQ Objects, before the broadcast and
// during it, through a pause of their Track.
func TestServerEvents(t *testing.T) {
	clip := picture(t)
	synctest.Test(t, func(t *testing.T) {
		s, n, stop := serve(t, ServerConfig{})
		defer stop()
		var wg sync.WaitGroup
		wg.Go(func() { n.publish(t, clip, "demo", 100*time.Second) })
		time.Sleep(5 * time.Second)
		if w := get(t.Context(), s, "/hls/demo/index.m3u8"); w.Code != 200 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		listed := func(id string) bool {
			w := get(t.Context(), s, "/hls/demo/p/open/video0.m3u8")
			return strings.Contains(w.Body.String(), `#EXT-X-DATERANGE:ID="`+id+`",CLASS="live.freshet.room.message"`)
		}
		ns := moq.Namespace{"room", "demo"}
		for round := range 2 {
			b := moq.NewBroadcast(ns)
			w, err := b.CreateTrack("events", moq.TrackConfig{Retention: moq.Retention{Groups: 8, Bytes: 1 << 20}})
			if err != nil {
				t.Fatal(err)
			}
			n.mu.Lock()
			n.broadcasts[ns.String()] = b
			n.mu.Unlock()
			time.Sleep(eventsRetryMax + time.Second) // by now it is found
			id := fmt.Sprint("e", round)
			g, err := w.Group(uint64(time.Now().UnixMilli()))
			if err != nil {
				t.Fatal(err)
			}
			sg, err := g.Subgroup(0, moq.SubgroupConfig{})
			if err != nil {
				t.Fatal(err)
			}
			for i, payload := range [][]byte{[]byte("no event"), message(id, wall(), "hello")} {
				if err := sg.WriteObject(uint64(i), nil, payload); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
			if !listed(id) {
				t.Errorf("%s is not listed", id)
			}
			w.End(nil)
			b.Close(nil)
		}
		wg.Wait()
		n.mu.Lock()
		delete(n.broadcasts, ns.String())
		n.mu.Unlock()
	})
}
