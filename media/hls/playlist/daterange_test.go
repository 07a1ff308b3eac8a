package playlist

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var someRanges = []DateRange{
	{ID: "a", Class: "org.example.x", Start: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), Duration: 1500 * time.Millisecond,
		Attributes: []Attribute{{"X-FROM", "ann"}, {"X-TEXT", "a, b=c"}}},
	{ID: "b", Start: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC)},
}

// withRanges is a playlist of two segments with date ranges.
func withRanges(ranges ...DateRange) *Media {
	return &Media{
		Version: 10, IndependentSegments: true, TargetDuration: 2 * time.Second,
		Control:    ServerControl{CanSkipUntil: 12 * time.Second, CanSkipDateRanges: true},
		DateRanges: ranges,
		Segments:   []Segment{{URI: "1", Duration: 2 * time.Second}, {URI: "2", Duration: 2 * time.Second}},
	}
}

func TestDateRangeText(t *testing.T) {
	text := string(withRanges(someRanges...).Append(nil))
	for _, line := range []string{
		`#EXT-X-DATERANGE:ID="a",CLASS="org.example.x",START-DATE="2026-01-02T03:04:05.006Z",DURATION=1.5,X-FROM="ann",X-TEXT="a, b=c"`,
		`#EXT-X-DATERANGE:ID="b",START-DATE="2026-01-02T03:04:06.000Z"`,
		`#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=12,CAN-SKIP-DATERANGES=YES`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("%s is missing in\n%s", line, text)
		}
	}
	m, err := ParseMedia([]byte(text))
	if err != nil || !slices.EqualFunc(m.DateRanges, someRanges, func(a, b DateRange) bool { return a.Equal(&b) }) || !m.Control.CanSkipDateRanges {
		t.Errorf("%+v, %v", m, err)
	}
	for _, bad := range []string{`ID="a"`, `START-DATE="2026-01-02T03:04:05Z"`, `ID="a",START-DATE="soon"`, `ID="a",START-DATE="2026-01-02T03:04:05Z",DURATION=-1`} {
		if m, err := ParseMedia([]byte(strings.Replace(text, "#EXT-X-DATERANGE:", "#EXT-X-DATERANGE:"+bad+"\n#EXT-X-DATERANGE:", 1))); err == nil {
			t.Errorf("%s: %+v", bad, m.DateRanges)
		}
	}
}

// TestDateRangeDelta: "A Client MUST merge the contents of a Playlist Delta
// Update with its previous version of the Playlist" (bis, section 6.3.7).
func TestDateRangeDelta(t *testing.T) {
	old, fresh := someRanges[0], DateRange{ID: "c", Start: someRanges[0].Start.Add(-time.Hour)}
	held := withRanges(someRanges...)
	delta := withRanges(fresh)
	delta.Skipped, delta.Segments = 1, delta.Segments[1:]
	delta.SkipsDateRanges, delta.RemovedDateRanges = true, []string{"b", "long gone"}
	text := delta.Append(nil)
	if line := "#EXT-X-SKIP:SKIPPED-SEGMENTS=1,RECENTLY-REMOVED-DATERANGES=\"b\tlong gone\"\n"; !strings.Contains(string(text), line) {
		t.Errorf("no %q in\n%s", line, text)
	}
	parsed, err := ParseMedia(text)
	if err != nil {
		t.Fatal(err)
	}
	got, err := held.Apply(parsed)
	want := []DateRange{fresh, old}
	if err != nil || !slices.EqualFunc(got.DateRanges, want, func(a, b DateRange) bool { return a.Equal(&b) }) || got.SkipsDateRanges || got.RemovedDateRanges != nil {
		t.Errorf("%+v, %v", got, err)
	}
	// Nothing removed is said with an empty list; it is another thing than
	// an update that skips no date ranges.
	delta.RemovedDateRanges = nil
	if parsed, err = ParseMedia(delta.Append(nil)); err != nil || !parsed.SkipsDateRanges || len(parsed.RemovedDateRanges) != 0 {
		t.Errorf("%+v, %v", parsed, err)
	}
	delta.SkipsDateRanges = false
	if parsed, err = ParseMedia(delta.Append(nil)); err != nil || parsed.SkipsDateRanges {
		t.Errorf("%+v, %v", parsed, err)
	}
	if got, err = held.Apply(parsed); err != nil || len(got.DateRanges) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDateRangeRules(t *testing.T) {
	has := func(fs []Finding, rule string) bool {
		return slices.ContainsFunc(fs, func(f Finding) bool { return f.Rule == rule })
	}
	m := withRanges(someRanges...)
	if fs := m.Check(); has(fs, "version") || has(fs, "skip-date-ranges") {
		t.Errorf("%v", fs)
	}
	m.Control.CanSkipDateRanges = false
	if !has(m.Check(), "skip-date-ranges") {
		t.Error("CAN-SKIP-DATERANGES is not missed")
	}
	m.SkipsDateRanges, m.Version = true, 9
	if !has(m.Check(), "version") {
		t.Error("version 9 will do")
	}
	next := withRanges(slices.Clone(someRanges)...)
	next.DateRanges[1].Duration = time.Second
	if !has(withRanges(someRanges...).CheckUpdate(next), "date-range-changed") {
		t.Error("a date range may change")
	}
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"plain ü 😀": "plain ü 😀", "a\tb\x7f\u0085": "a b  ", `say "x"`: "say 'x'", "{$a}{{$b": "{ $a}{{ $b", "\ufeffx\xff": "x\ufffd", "{\ufeff$": "{ $",
	} {
		if got := Text(in, 100); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	for limit := range 20 {
		got := Text(strings.Repeat("ä😀", 10), limit)
		if len(got) > max(limit, len("…")) || !utf8.ValidString(got) {
			t.Errorf("at most %d: %q", limit, got)
		}
	}
}
