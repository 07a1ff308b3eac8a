package hls

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

// failer is what observer needs of *testing.T and *rapid.T.
type failer interface {
	Helper()
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// observer plays the strictest client there is: it reads every version of
// every playlist, applies every delta update, and holds all of them against
// the rules.
type observer struct {
	t     failer
	m     *Muxer
	allow map[string]bool // rules that the input makes impossible to keep
	last  map[string]*playlist.Media
	seen  map[string]int // versions by rendition
	delta int
	// segments keeps every segment that was ever listed, by rendition.
	segments map[string]map[uint64]playlist.Segment
	bodies   map[string][]byte // by "rendition/URI"
}

func observe(t failer, m *Muxer, allow ...string) *observer {
	o := &observer{
		t: t, m: m, allow: make(map[string]bool), last: make(map[string]*playlist.Media), seen: make(map[string]int),
		segments: make(map[string]map[uint64]playlist.Segment), bodies: make(map[string][]byte),
	}
	for _, a := range allow {
		o.allow[a] = true
	}
	m.observe = o.version
	return o
}

func (o *observer) findings(track string, fs []playlist.Finding, text []byte) {
	for _, f := range fs {
		if !o.allow[f.Rule] {
			o.t.Fatalf("%s, version %d: %v\n%s", track, o.seen[track], f, text)
		}
	}
}

func (o *observer) version(r *rendition, v *version) {
	o.seen[r.track]++
	full, err := playlist.ParseMedia(v.full.plain())
	if err != nil {
		o.t.Fatalf("%s: %v in\n%s", r.track, err, v.full.plain())
	}
	o.findings(r.track, full.Check(), v.full.plain())
	if o.seen[r.track]%16 == 0 {
		o.checkPacked(v.full)
	}
	prev := o.last[r.track]
	if prev != nil {
		o.findings(r.track, prev.CheckUpdate(full), v.full.plain())
		if !v.ended && slices.Equal(prev.Append(nil), v.full.plain()) {
			o.t.Errorf("%s: a version without news", r.track)
		}
	}
	if v.delta2 != nil && prev != nil {
		d, err := playlist.ParseMedia(v.delta2.plain())
		if err != nil {
			o.t.Fatalf("%s: %v in\n%s", r.track, err, v.delta2.plain())
		}
		got, err := prev.Apply(d)
		if err != nil {
			o.t.Fatalf("%s: %v\n%s", r.track, err, v.delta2.plain())
		}
		if !d.SkipsDateRanges || !slices.EqualFunc(got.DateRanges, full.DateRanges, func(a, b playlist.DateRange) bool { return a.Equal(&b) }) {
			o.t.Fatalf("%s: the delta update\n%s\nleads to the date ranges %v instead of %v", r.track, v.delta2.plain(), got.DateRanges, full.DateRanges)
		}
	}
	if v.delta != nil {
		o.delta++
		if o.seen[r.track]%16 == 0 {
			o.checkPacked(v.delta)
		}
		d, err := playlist.ParseMedia(v.delta.plain())
		if err != nil {
			o.t.Fatalf("%s: %v in\n%s", r.track, err, v.delta.plain())
		}
		if d.Skipped == 0 {
			o.t.Errorf("%s: a delta update that skips nothing", r.track)
		}
		if prev != nil {
			got, err := prev.Apply(d)
			if err != nil {
				o.t.Fatalf("%s: %v\n%s", r.track, err, v.delta.plain())
			}
			for i := range got.Segments { // parts go when segments age; a delta does not say so
				if got.Segments[i].Parts != nil && i < len(full.Segments) && full.Segments[i].Parts == nil {
					got.Segments[i].Parts = nil
				}
			}
			if text := got.Append(nil); !bytes.Equal(text, v.full.plain()) {
				o.t.Fatalf("%s: the delta update leads to\n%s\ninstead of\n%s", r.track, text, v.full.plain())
			}
		}
	}
	if msn, part, ok := full.Last(); ok && !v.ended && (msn != v.msn || part != v.parts-1) {
		o.t.Errorf("%s: version says %d.%d, its playlist ends at %d.%d", r.track, v.msn, v.parts-1, msn, part)
	}
	o.last[r.track] = full
	o.keep(r, full)
}

func (o *observer) checkPacked(p *rendered) {
	z, err := gzip.NewReader(bytes.NewReader(p.gzip()))
	if err != nil {
		o.t.Fatal(err)
	}
	if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, p.plain()) {
		o.t.Errorf("the compressed playlist differs: %v", err)
	}
}

// keep records what is listed, and checks that all of it can be had.
func (o *observer) keep(r *rendition, p *playlist.Media) {
	byMSN := o.segments[r.track]
	if byMSN == nil {
		byMSN = make(map[uint64]playlist.Segment)
		o.segments[r.track] = byMSN
	}
	load := func(uri string) {
		key := r.track + "/" + uri
		file := strings.TrimPrefix(uri, "../../m/")
		file = strings.Replace(file, "/"+r.path+"/", "/", 1)
		b, ok := r.files.get(file)
		switch {
		case !ok:
			o.t.Fatalf("%s: %s is listed and cannot be had", r.track, uri)
		case o.bodies[key] == nil:
			o.bodies[key] = content(o.t, b)
		}
	}
	for i, s := range p.Segments {
		msn := p.MediaSequence + uint64(i)
		if old, ok := byMSN[msn]; ok && len(s.Parts) == 0 {
			s.Parts = old.Parts
		}
		byMSN[msn] = s
		if r.text == nil {
			load(s.Map)
		}
		if !s.Open() && !s.Gap {
			load(s.URI)
		}
		for _, q := range s.Parts {
			if !q.Gap && i >= len(p.Segments)-2 {
				load(q.URI)
			}
		}
	}
}

// ordered returns the segments of a rendition in order.
func (o *observer) ordered(track string) (out []playlist.Segment) {
	for _, msn := range slices.Sorted(maps.Keys(o.segments[track])) {
		out = append(out, o.segments[track][msn])
	}
	return out
}

// checkMedia reads every closed segment with mediacommon: segments are their
// parts one after the other; parts last as listed, follow each other without
// a seam, and start as their flags say. It returns the number of samples.
func (o *observer) checkMedia(track string) (samples int) {
	var next int64 = -1
	const rounding = 50 * time.Microsecond // of a segment's parts together
	owed := time.Duration(0)               // media time that the playlist has not listed yet
	for _, s := range o.ordered(track) {
		if s.Open() {
			continue
		}
		if s.Discontinuity || s.Gap {
			next = -1
		}
		if s.Discontinuity || s.Gap || owed <= rounding {
			owed = 0
		}
		if s.Gap {
			continue
		}
		var init fmp4.Init
		if err := init.Unmarshal(bytes.NewReader(o.bodies[track+"/"+s.Map])); err != nil {
			o.t.Fatal(err)
		}
		scale := int64(init.Tracks[0].TimeScale)
		var joined []byte
		for _, p := range s.Parts {
			if p.Gap {
				next, owed = -1, 0
				continue
			}
			body := o.bodies[track+"/"+p.URI]
			joined = append(joined, body...)
			if got := bytes.HasPrefix(body[4:], []byte("styp")); got != (len(joined) == len(body)) {
				o.t.Errorf("%s %s: styp %v", track, p.URI, got)
			}
			var parts fmp4.Parts
			if err := parts.Unmarshal(body); err != nil {
				o.t.Fatalf("%s %s: %v", track, p.URI, err)
			}
			tr := parts[0].Tracks[0]
			if next >= 0 && int64(tr.BaseTime) != next {
				o.t.Errorf("%s %s: starts at %d, want %d", track, p.URI, tr.BaseTime, next)
			}
			var dur int64
			key := false
			for _, chunk := range parts {
				c := chunk.Tracks[0]
				if got := int64(tr.BaseTime) + dur; int64(c.BaseTime) != got {
					o.t.Errorf("%s %s: a chunk starts at %d, want %d", track, p.URI, c.BaseTime, got)
				}
				for _, q := range c.Samples {
					dur += int64(q.Duration)
					key = key || !q.IsNonSyncSample
				}
				samples += len(c.Samples)
			}
			if key != p.Independent {
				o.t.Errorf("%s %s: INDEPENDENT %v, but a key frame %v", track, p.URI, p.Independent, key)
			}
			// A sample may last longer than its part; the parts that follow it
			// then have no samples, or less than they list.
			d := time.Duration(dur * int64(time.Second) / scale)
			owed += d - p.Duration
			if owed < -rounding || owed > rounding && p.Duration != partTarget {
				o.t.Errorf("%s %s: lasts %v, listed as %v, %v owed", track, p.URI, d, p.Duration, owed)
			}
			next = int64(tr.BaseTime) + dur
		}
		if s.Parts != nil && !bytes.Equal(joined, o.bodies[track+"/"+s.URI]) {
			o.t.Errorf("%s %s differs from its parts", track, s.URI)
		}
	}
	return samples
}

// file returns an initialization segment and all segments that use it, as a
// player appends them.
func (o *observer) file(track string) []byte {
	var out []byte
	last := ""
	for _, s := range o.ordered(track) {
		if s.Map != last {
			out = append(out, o.bodies[track+"/"+s.Map]...)
			last = s.Map
		}
		if s.Open() || s.Gap {
			continue
		}
		out = append(out, o.bodies[track+"/"+s.URI]...)
	}
	return out
}

// describe prints the shape of a rendition for failures.
func (o *observer) describe(track string) string {
	var b strings.Builder
	for _, s := range o.ordered(track) {
		fmt.Fprintf(&b, "%v disc=%v gap=%v map=%s parts:", s.Duration, s.Discontinuity, s.Gap, s.Map)
		for _, p := range s.Parts {
			fmt.Fprintf(&b, " %v", p.Duration)
			if p.Independent {
				b.WriteByte('I')
			}
			if p.Gap {
				b.WriteByte('G')
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// wall is when synthetic broadcasts start: the time that synctest starts at.
func wall() media.Time { return media.TimeOf(time.Now()) }

// content reads all of a body.
func content(t failer, b body) []byte {
	t.Helper()
	out, err := io.ReadAll(b.Open())
	if n, ok := b.Len(); err != nil || !ok || n != int64(len(out)) {
		t.Fatalf("%d of %d bytes, complete %v: %v", len(out), n, ok, err)
	}
	return out
}
