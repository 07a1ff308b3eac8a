package playlist

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

// live is a playlist that breaks no rule.
const live = `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:10
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-PART-INF:PART-TARGET=0.5
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.5,HOLD-BACK=30,CAN-SKIP-UNTIL=60
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-MAP:URI="init-a.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-09-21T12:00:00.000Z
#EXT-X-PART:DURATION=0.5,URI="p1.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.466667,URI="p2.m4s"
#EXT-X-PART:DURATION=0.1,URI="p3.m4s"
#EXTINF:1.066667,
s7.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI="init-b.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-09-21T12:00:03.000Z
#EXT-X-PART:DURATION=0.5,URI="p4.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.2,URI="p5.m4s"
#EXT-X-PART:DURATION=0.5,URI="gap.m4s",GAP=YES
#EXTINF:1.2,
s8.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-09-21T12:00:04.200Z
#EXT-X-PART:DURATION=0.5,URI="p6.m4s",INDEPENDENT=YES
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="p7.m4s"
#EXT-X-RENDITION-REPORT:URI="../audio0/index.m3u8",LAST-MSN=9,LAST-PART=1
`

func parse(t *testing.T, text string) *Media {
	t.Helper()
	m, err := ParseMedia([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m
}

func TestMediaRoundTrip(t *testing.T) {
	m := parse(t, live)
	if got := string(m.Append(nil)); got != live {
		t.Errorf("wrote\n%s\nwant\n%s", got, live)
	}
	if f := m.Check(); len(f) > 0 {
		t.Errorf("findings: %v", f)
	}
	if msn, part, ok := m.Last(); msn != 9 || part != 0 || !ok {
		t.Errorf("Last = %d, %d, %v", msn, part, ok)
	}
}

// TestCheck plants one fault each and wants exactly its rule reported.
func TestCheck(t *testing.T) {
	for _, c := range []struct{ rule, old, new string }{
		{"version", "VERSION:9", "VERSION:6"},
		{"independent-segments", "#EXT-X-INDEPENDENT-SEGMENTS\n", ""},
		{"part-inf", "#EXT-X-PART-INF:PART-TARGET=0.5\n", ""},
		{"block-reload", "CAN-BLOCK-RELOAD=YES,", ""},
		{"part-hold-back", "PART-HOLD-BACK=1.5", "PART-HOLD-BACK=1.25"},
		{"hold-back", ",HOLD-BACK=30", ",HOLD-BACK=29"},
		{"skip-boundary", "CAN-SKIP-UNTIL=60", "CAN-SKIP-UNTIL=24"},
		{"target-duration", "#EXTINF:1.2,", "#EXTINF:10.6,"},
		{"map", "#EXT-X-MAP:URI=\"init-a.mp4\"\n", ""},
		{"date-time", "#EXT-X-PROGRAM-DATE-TIME:2026-09-21T12:00:03.000Z\n", ""},
		{"date-time-drift", "12:00:04.200Z", "12:00:04.700Z"},
		{"discontinuity-sequence", "#EXT-X-DISCONTINUITY-SEQUENCE:0\n", ""},
		{"uri-twice", "s8.m4s", "s7.m4s"},
		{"uri-twice", "p5.m4s", "p4.m4s"},
		{"part-too-long", "DURATION=0.466667", "DURATION=0.500001"},
		{"part-too-short", "DURATION=0.466667", "DURATION=0.42"},
		{"hint-stale", "p7.m4s", "p6.m4s"},
		{"hint-missing", "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p7.m4s\"\n", ""},
		{"hint-after-end", "LAST-PART=1\n", "LAST-PART=1\n#EXT-X-ENDLIST\n"},
		{"first-part", "URI=\"p4.m4s\",INDEPENDENT=YES", "URI=\"p4.m4s\""},
		{"gap-independent", "GAP=YES", "GAP=YES,INDEPENDENT=YES"},
		{"part-sum", "#EXTINF:1.2,", "#EXTINF:1.3,"},
		{"parts-missing", "#EXT-X-PART:DURATION=0.5,URI=\"p1.m4s\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.466667,URI=\"p2.m4s\"\n#EXT-X-PART:DURATION=0.1,URI=\"p3.m4s\"\n", ""},
	} {
		broken := strings.Replace(live, c.old, c.new, 1)
		if broken == live {
			t.Fatalf("%s: the fault was not planted", c.rule)
		}
		found := false
		for _, f := range parse(t, broken).Check() {
			found = found || f.Rule == c.rule
		}
		if !found {
			t.Errorf("%s: not found after %q became %q", c.rule, c.old, c.new)
		}
	}
}

// grown is live one part and one closed segment later.
var grown = strings.Replace(live,
	"#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p7.m4s\"\n",
	"#EXTINF:0.5,\ns9.m4s\n#EXT-X-PROGRAM-DATE-TIME:2026-09-21T12:00:04.700Z\n#EXT-X-PART:DURATION=0.5,URI=\"p7.m4s\",INDEPENDENT=YES\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p8.m4s\"\n", 1)

func TestCheckUpdate(t *testing.T) {
	m := parse(t, live)
	if f := m.CheckUpdate(parse(t, grown)); len(f) > 0 {
		t.Fatalf("findings: %v", f)
	}
	for _, c := range []struct{ rule, old, new string }{
		{"target-changed", "TARGETDURATION:10", "TARGETDURATION:11"},
		{"part-target-changed", "PART-TARGET=0.5", "PART-TARGET=0.55"},
		{"control-changed", "PART-HOLD-BACK=1.5", "PART-HOLD-BACK=1.6"},
		{"version-changed", "VERSION:9", "VERSION:10"},
		{"sequence-back", "MEDIA-SEQUENCE:7", "MEDIA-SEQUENCE:6"},
		{"discontinuity-count", "DISCONTINUITY-SEQUENCE:0", "DISCONTINUITY-SEQUENCE:1"},
		{"segment-changed", "#EXTINF:1.2,", "#EXTINF:1.201,"},
		{"segment-changed", "12:00:04.200Z", "12:00:04.210Z"},
		{"part-changed", "DURATION=0.466667", "DURATION=0.47"},
		{"part-removed", "#EXT-X-PART:DURATION=0.2,URI=\"p5.m4s\"\n", ""},
		{"part-added", "#EXTINF:1.2,", "#EXT-X-PART:DURATION=0.5,URI=\"p99.m4s\",GAP=YES\n#EXTINF:1.2,"},
		{"hint-broken", "URI=\"p7.m4s\",INDEPENDENT", "URI=\"p70.m4s\",INDEPENDENT"},
	} {
		broken := strings.Replace(grown, c.old, c.new, 1)
		if broken == grown {
			t.Fatalf("%s: the fault was not planted", c.rule)
		}
		found := false
		for _, f := range m.CheckUpdate(parse(t, broken)) {
			found = found || f.Rule == c.rule
		}
		if !found {
			t.Errorf("%s: not found after %q became %q", c.rule, c.old, c.new)
		}
	}
	// A segment leaves though less than three target durations remain.
	short := parse(t, grown)
	short.MediaSequence, short.Segments = 8, short.Segments[1:]
	if f := m.CheckUpdate(short); len(f) != 1 || f[0].Rule != "window" {
		t.Errorf("window: %v", f)
	}
	event := parse(t, strings.Replace(live, "#EXT-X-INDEPENDENT", "#EXT-X-PLAYLIST-TYPE:EVENT\n#EXT-X-INDEPENDENT", 1))
	if f := event.CheckUpdate(m); len(f) != 1 || f[0].Rule != "type-changed" {
		t.Errorf("type-changed: %v", f)
	}
	short.Type = TypeEvent
	if f := event.CheckUpdate(short); len(f) != 2 || f[0].Rule != "type-removed" {
		t.Errorf("type-removed: %v", f)
	}
	ended := parse(t, live)
	ended.EndList = true
	if f := ended.CheckUpdate(m); len(f) != 1 || f[0].Rule != "end-undone" {
		t.Errorf("end-undone: %v", f)
	}
}

func TestApply(t *testing.T) {
	m, full := parse(t, live), parse(t, grown)
	delta := *full
	delta.Skipped, delta.Segments = 1, full.Segments[1:]
	got, err := m.Apply(parse(t, string(delta.Append(nil))))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, full) {
		t.Errorf("applied\n%s\nwant\n%s", got.Append(nil), full.Append(nil))
	}
	delta.Skipped = 3 // the last one was still open
	if _, err := m.Apply(&delta); err == nil {
		t.Error("an open segment was skipped")
	}
	delta.Skipped = 4
	if _, err := m.Apply(&delta); err == nil {
		t.Error("an unknown segment was skipped")
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ what, old, new string }{
		{"header", "#EXTM3U", "#EXTM3U8"},
		{"BOM", "#EXTM3U", "\xef\xbb\xbf#EXTM3U"},
		{"control character", "s7.m4s", "s7\x01.m4s"},
		{"UTF-8", "s7.m4s", "s7\xff.m4s"},
		{"tag twice", "#EXT-X-VERSION:9\n", "#EXT-X-VERSION:9\n#EXT-X-VERSION:9\n"},
		{"no target duration", "#EXT-X-TARGETDURATION:10\n", ""},
		{"negative", "TARGETDURATION:10", "TARGETDURATION:-1"},
		{"exponent", "DURATION=0.2", "DURATION=2e-1"},
		{"huge", "DURATION=0.2", "DURATION=99999999999"},
		{"attribute twice", "DURATION=0.2,", "DURATION=0.2,DURATION=0.2,"},
		{"open string", "URI=\"p5.m4s\"", "URI=\"p5.m4s"},
		{"lower-case name", "DURATION=0.2", "duration=0.2"},
		{"part without URI", ",URI=\"p5.m4s\"", ""},
		{"YES", "INDEPENDENT=YES", "INDEPENDENT=yes"},
		{"URI without EXTINF", "#EXTINF:1.2,\n", ""},
		{"EXTINF without URI", "s8.m4s\n", ""},
		{"multivariant tag", "#EXTINF:1.2,", "#EXT-X-STREAM-INF:BANDWIDTH=1\n#EXTINF:1.2,"},
		{"late sequence", "#EXTINF:1.2,", "#EXT-X-SKIP:SKIPPED-SEGMENTS=1\n#EXTINF:1.2,"},
		{"map in segment", "#EXTINF:1.2,", "#EXT-X-MAP:URI=\"x\"\n#EXTINF:1.2,"},
		{"date in segment", "#EXTINF:1.2,", "#EXT-X-PROGRAM-DATE-TIME:2026-09-21T12:00:03.000Z\n#EXTINF:1.2,"},
		{"date", "2026-09-21T12:00:03.000Z", "yesterday"},
	} {
		broken := strings.Replace(live, c.old, c.new, 1)
		if broken == live {
			t.Fatalf("%s: the fault was not planted", c.what)
		}
		if _, err := ParseMedia([]byte(broken)); err == nil {
			t.Errorf("%s: accepted", c.what)
		}
	}
	if _, err := ParseMedia(make([]byte, MaxSize+1)); err == nil {
		t.Error("an oversized playlist is accepted")
	}
	if _, err := ParseMultivariant([]byte(live)); err != ErrKind {
		t.Errorf("media as multivariant: %v", err)
	}
}

func TestMultivariant(t *testing.T) {
	m := &Multivariant{
		Version: 9, IndependentSegments: true, Comments: []string{"a note"},
		Renditions: []Rendition{{Type: "AUDIO", Group: "audio", Name: "audio0", URI: "audio0/index.m3u8", Default: true, Channels: "2"}},
		Variants: []Variant{{
			URI: "video0/index.m3u8", Bandwidth: 1_200_000, AverageBandwidth: 1_000_000, Codecs: "avc1.64001f,mp4a.40.2",
			Width: 1280, Height: 720, FrameRate: 29.97, Audio: "audio",
		}},
	}
	text := m.Append(nil)
	got, err := ParseMultivariant(text)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	got.Comments = m.Comments
	if !reflect.DeepEqual(got, m) {
		t.Errorf("read %+v of\n%s", got, text)
	}
	if f := m.Check(); len(f) > 0 {
		t.Errorf("findings: %v", f)
	}
	m.Variants[0].Audio = "sound"
	m.Variants[0].Codecs = ""
	m.Variants[0].FrameRate = 0
	m.Variants[0].AverageBandwidth = 2_000_000
	m.Renditions[0].Channels = ""
	if f := m.Check(); len(f) != 5 {
		t.Errorf("findings: %v", f)
	}
	if _, err := ParseMedia(text); err != ErrKind {
		t.Errorf("multivariant as media: %v", err)
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", 500 * time.Millisecond: "0.5", 466666667: "0.466667", 12 * time.Second: "12", time.Second + time.Microsecond: "1.000001",
	} {
		if got := string(appendSeconds(nil, d)); got != want {
			t.Errorf("%v printed %s, want %s", d, got, want)
		}
	}
}

// FuzzMedia checks that whatever is accepted can be checked, and that writing
// what was read and reading it again changes nothing.
func FuzzMedia(f *testing.F) {
	f.Add([]byte(live))
	f.Add([]byte(grown))
	f.Add([]byte("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\na.ts\n#EXT-X-ENDLIST\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMedia(b)
		if err != nil {
			return
		}
		m.Check()
		m.CheckUpdate(m)
		_, _ = m.Apply(m)
		text := m.Append(nil)
		again, err := ParseMedia(text)
		if err != nil {
			t.Fatalf("%v in\n%s\nread from\n%s", err, text, b)
		}
		if second := again.Append(nil); string(second) != string(text) {
			t.Fatalf("wrote\n%s\nthen\n%s", text, second)
		}
	})
}

func FuzzMultivariant(f *testing.F) {
	f.Add([]byte("#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",NAME=\"n\",URI=\"u\"\n#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=2x2,AUDIO=\"a\"\nv\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ParseMultivariant(b)
		if err != nil {
			return
		}
		m.Check()
		text := m.Append(nil)
		if _, err := ParseMultivariant(text); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	})
}
