package playlist

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DateRange is EXT-X-DATERANGE (bis, section 4.4.5.1): something that belongs
// to a stretch of time.
type DateRange struct {
	ID       string
	Class    string // "" for none
	Start    time.Time
	Duration time.Duration // 0: not stated
	// Attributes are the client's own, in order of their names, which begin
	// with "X-". Their values are quoted-strings.
	Attributes []Attribute
}

// Attribute is a name with its value.
type Attribute struct{ Name, Value string }

// End returns where the range ends; one without a duration at its start.
func (d *DateRange) End() time.Time { return d.Start.Add(d.Duration) }

// Equal tells whether both say the same.
func (d *DateRange) Equal(o *DateRange) bool {
	return d.ID == o.ID && d.Class == o.Class && d.Start.Equal(o.Start) && d.Duration == o.Duration &&
		slices.Equal(d.Attributes, o.Attributes)
}

func (d *DateRange) append(b []byte) []byte {
	b = appendQuoted(append(b, "#EXT-X-DATERANGE:ID="...), d.ID)
	if d.Class != "" {
		b = appendQuoted(append(b, ",CLASS="...), d.Class)
	}
	b = append(b, `,START-DATE="`...)
	b = append(d.Start.AppendFormat(b, timeLayout), '"')
	if d.Duration > 0 {
		b = appendSeconds(append(b, ",DURATION="...), d.Duration)
	}
	for _, a := range d.Attributes {
		b = append(append(append(b, ','), a.Name...), '=')
		b = appendQuoted(b, a.Value)
	}
	return append(b, '\n')
}

// Text returns s as it can stand in a quoted-string (bis, section 4.2), at
// most limit bytes of it: what controls a terminal becomes a space, a
// quotation mark an apostrophe, and "{$" is taken apart, which refers to a
// variable (section 4.3) that no playlist of ours defines: a player would give
// up the playlist.
func Text(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029':
			return ' '
		case r == '"':
			return '\''
		case r == '\ufeff':
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	s = strings.ReplaceAll(s, "{$", "{ $")
	if len(s) > limit {
		const more = "…"
		s = strings.ToValidUTF8(s[:max(0, limit-len(more))], "") + more
	}
	return s
}

// dateRange reads the attributes of EXT-X-DATERANGE.
func (r *reader) dateRange(value string) DateRange {
	const tag = "#EXT-X-DATERANGE"
	a := r.attributes(value)
	d := DateRange{ID: r.required(tag, a, "ID"), Class: a["CLASS"]}
	start, err := time.Parse(time.RFC3339Nano, r.required(tag, a, "START-DATE"))
	if err != nil {
		r.fail("START-DATE: %q is not a date", a["START-DATE"])
	}
	d.Start = start
	if v, ok := a["DURATION"]; ok {
		d.Duration = r.seconds("DURATION", v)
	}
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if strings.HasPrefix(name, "X-") {
			d.Attributes = append(d.Attributes, Attribute{name, a[name]})
		}
	}
	return d
}

// appendSkip appends EXT-X-SKIP (bis, section 4.4.5.2).
func (m *Media) appendSkip(b []byte) []byte {
	b = append(b, "#EXT-X-SKIP:SKIPPED-SEGMENTS="...)
	b = strconv.AppendInt(b, int64(m.Skipped), 10)
	if m.SkipsDateRanges {
		b = appendQuoted(append(b, ",RECENTLY-REMOVED-DATERANGES="...), strings.Join(m.RemovedDateRanges, "\t"))
	}
	return append(b, '\n')
}

// applyDateRanges returns the date ranges of m after the delta update d, in
// order of their times.
func (m *Media) applyDateRanges(d *Media) []DateRange {
	if !d.SkipsDateRanges {
		return d.DateRanges
	}
	named := func(id string) func(DateRange) bool { return func(r DateRange) bool { return r.ID == id } }
	all := slices.Clone(d.DateRanges)
	for _, r := range m.DateRanges {
		if !slices.Contains(d.RemovedDateRanges, r.ID) && !slices.ContainsFunc(all, named(r.ID)) {
			all = append(all, r)
		}
	}
	SortDateRanges(all)
	return all
}

// SortDateRanges puts ranges in the order in which a playlist lists them here:
// that of their times.
func SortDateRanges(all []DateRange) {
	slices.SortStableFunc(all, func(a, b DateRange) int {
		return cmp.Or(a.Start.Compare(b.Start), strings.Compare(a.ID, b.ID))
	})
}
