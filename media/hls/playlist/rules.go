package playlist

import (
	"fmt"
	"strings"
	"time"
)

// Finding is one violation of one rule.
type Finding struct {
	Rule   string // short, stable name
	Source string // where the rule stands
	Detail string
}

// String returns the finding in one line.
func (f Finding) String() string { return fmt.Sprintf("%s (%s): %s", f.Rule, f.Source, f.Detail) }

type findings []Finding

func (f *findings) add(rule, source, format string, args ...any) {
	*f = append(*f, Finding{rule, source, fmt.Sprintf(format, args...)})
}

// slack is how far sums of durations may be off: they are printed to the
// microsecond, and players work in milliseconds.
const slack = time.Millisecond

// Check returns what is wrong with a full media playlist of a low-latency
// stream by itself.
func (m *Media) Check() []Finding {
	var f findings
	if m.Version < 9 {
		f.add("version", "bis 8", "EXT-X-VERSION:%d; EXT-X-SERVER-CONTROL and EXT-X-SKIP need 9", m.Version)
	}
	if m.SkipsDateRanges && m.Version < 10 {
		f.add("version", "bis 8", "EXT-X-VERSION:%d; EXT-X-SKIP that replaces EXT-X-DATERANGE needs 10", m.Version)
	}
	if len(m.DateRanges) > 0 && m.Control.CanSkipUntil > 0 && !m.Control.CanSkipDateRanges {
		f.add("skip-date-ranges", "authoring 14.5", "there are date ranges, and CAN-SKIP-DATERANGES is missing")
	}
	if !m.IndependentSegments {
		f.add("independent-segments", "authoring 9", "EXT-X-INDEPENDENT-SEGMENTS is missing")
	}
	m.checkControl(&f)
	m.checkSegments(&f)
	if m.EndList && m.Hint != "" {
		f.add("hint-after-end", "bis 4.4.5.3", "EXT-X-PRELOAD-HINT with EXT-X-ENDLIST")
	}
	if !m.EndList && m.Hint == "" && m.PartTarget > 0 {
		f.add("hint-missing", "bis 6.2.2", "a live playlist with parts hints at none to come")
	}
	return f
}

func (m *Media) checkControl(f *findings) {
	if m.PartTarget == 0 {
		f.add("part-inf", "bis 4.4.3.7", "no EXT-X-PART-INF")
		return
	}
	c := m.Control
	if !c.CanBlockReload {
		f.add("block-reload", "bis 4.4.3.8", "CAN-BLOCK-RELOAD=YES is missing")
	}
	if c.PartHoldBack < 3*m.PartTarget {
		f.add("part-hold-back", "authoring 14.3", "PART-HOLD-BACK %v is less than three times PART-TARGET %v", c.PartHoldBack, m.PartTarget)
	}
	if c.HoldBack != 0 && c.HoldBack < 3*m.TargetDuration {
		f.add("hold-back", "bis 4.4.3.8", "HOLD-BACK %v is less than three target durations", c.HoldBack)
	}
	if c.CanSkipUntil != 0 && c.CanSkipUntil < 6*m.TargetDuration {
		f.add("skip-boundary", "bis 4.4.3.8", "CAN-SKIP-UNTIL %v is less than six target durations", c.CanSkipUntil)
	}
}

func (m *Media) checkSegments(f *findings) {
	uris := make(map[string]bool)
	unique := func(msn uint64, uri string) {
		if uris[uri] {
			f.add("uri-twice", "bis 3", "segment %d: %s was listed before", msn, uri)
		}
		uris[uri] = true
	}
	var fromEnd time.Duration // duration of what follows the segment
	for i := range m.Segments {
		fromEnd += m.Segments[i].listed()
	}
	for i := range m.Segments {
		s := &m.Segments[i]
		msn := m.MediaSequence + uint64(m.Skipped+i)
		fromEnd -= s.listed()
		if s.Open() && i != len(m.Segments)-1 {
			f.add("extinf", "bis 4.4.4.1", "segment %d has no EXTINF though another follows", msn)
		}
		// "when rounded to the nearest integer, MUST be less than or equal to
		// the target duration"
		if s.Duration.Round(time.Second) > m.TargetDuration {
			f.add("target-duration", "bis 4.4.3.1", "segment %d lasts %v, more than the target %v", msn, s.Duration, m.TargetDuration)
		}
		if s.Map == "" && !s.text() {
			f.add("map", "authoring 8.20", "segment %d has no EXT-X-MAP", msn)
		}
		if s.Time.IsZero() {
			f.add("date-time", "authoring 8.4", "segment %d has no EXT-X-PROGRAM-DATE-TIME", msn)
		}
		if i > 0 && !s.Discontinuity && !s.Time.IsZero() {
			p := &m.Segments[i-1]
			if off := s.Time.Sub(p.Time) - p.Duration; off.Abs() > 100*time.Millisecond {
				f.add("date-time-drift", "authoring 7.7", "segment %d starts %v off the end of the one before it", msn, off)
			}
		}
		if s.Discontinuity && !m.HasDiscontinuities {
			f.add("discontinuity-sequence", "authoring 8.13", "EXT-X-DISCONTINUITY without EXT-X-DISCONTINUITY-SEQUENCE")
		}
		if !s.Open() && !s.Gap {
			unique(msn, s.URI)
		}
		if m.PartTarget == 0 {
			continue
		}
		if len(s.Parts) == 0 && fromEnd < 3*m.TargetDuration && !m.EndList {
			f.add("parts-missing", "bis 6.2.2", "segment %d has no parts though it is %v from the end", msn, fromEnd)
		}
		var sum time.Duration
		for j := range s.Parts {
			p := &s.Parts[j]
			sum += p.Duration
			if p.Duration > m.PartTarget {
				f.add("part-too-long", "bis 4.4.4.9", "part %d.%d lasts %v, more than %v", msn, j, p.Duration, m.PartTarget)
			}
			last := j == len(s.Parts)-1 // of a closed segment, or perhaps of an open one
			if p.Duration*100 < m.PartTarget*85 && !p.Independent && !p.Gap && !last && !s.Parts[j+1].Gap {
				f.add("part-too-short", "bis 4.4.4.9", "part %d.%d lasts %v, less than 85%% of %v", msn, j, p.Duration, m.PartTarget)
			}
			if !p.Gap {
				unique(msn, p.URI)
				if p.URI == m.Hint {
					f.add("hint-stale", "bis 4.4.5.3", "the hinted part %s is listed", m.Hint)
				}
			} else if p.Independent {
				f.add("gap-independent", "bis 4.4.4.9", "part %d.%d is a gap and independent", msn, j)
			}
		}
		if m.IndependentSegments && len(s.Parts) > 0 && !s.Parts[0].Independent && !s.Parts[0].Gap {
			f.add("first-part", "authoring 7.4", "part %d.0 is not independent", msn)
		}
		if !s.Open() && len(s.Parts) > 0 && (sum-s.Duration).Abs() > slack {
			f.add("part-sum", "bis 4.4.4.9", "the parts of segment %d last %v, the segment %v", msn, sum, s.Duration)
		}
	}
}

// listed is the duration that the playlist gives a segment so far.
func (s *Segment) listed() time.Duration {
	if !s.Open() {
		return s.Duration
	}
	var d time.Duration
	for i := range s.Parts {
		d += s.Parts[i].Duration
	}
	return d
}

// CheckUpdate returns what is wrong with next as a later version of the full
// playlist m.
func (m *Media) CheckUpdate(next *Media) []Finding {
	var f findings
	// Apple's player stops for good at any of these changes.
	if m.TargetDuration != next.TargetDuration {
		f.add("target-changed", "bis 6.2.1", "EXT-X-TARGETDURATION %v became %v", m.TargetDuration, next.TargetDuration)
	}
	if m.PartTarget != next.PartTarget {
		f.add("part-target-changed", "bis 6.2.1", "PART-TARGET %v became %v", m.PartTarget, next.PartTarget)
	}
	if m.Control != next.Control {
		f.add("control-changed", "bis 6.2.1", "EXT-X-SERVER-CONTROL %+v became %+v", m.Control, next.Control)
	}
	if m.Version != next.Version {
		f.add("version-changed", "bis 6.2.1", "EXT-X-VERSION %d became %d", m.Version, next.Version)
	}
	for i := range m.DateRanges {
		for j := range next.DateRanges {
			if a, b := &m.DateRanges[i], &next.DateRanges[j]; a.ID == b.ID && !a.Equal(b) {
				f.add("date-range-changed", "bis 6.2.1", "EXT-X-DATERANGE %q changed", a.ID)
			}
		}
	}
	if m.Type != next.Type {
		f.add("type-changed", "bis 6.2.1", "EXT-X-PLAYLIST-TYPE %q became %q", m.Type, next.Type)
	}
	if m.Type != "" && next.MediaSequence != m.MediaSequence {
		f.add("type-removed", "bis 4.4.3.5", "segments left a playlist of type %s", m.Type)
	}
	if m.EndList && !next.EndList {
		f.add("end-undone", "bis 6.2.1", "EXT-X-ENDLIST disappeared")
	}
	if next.MediaSequence < m.MediaSequence {
		f.add("sequence-back", "bis 6.2.2", "EXT-X-MEDIA-SEQUENCE %d became %d", m.MediaSequence, next.MediaSequence)
		return f
	}
	m.checkRemoved(next, &f)
	m.checkKept(next, &f)
	return f
}

// checkRemoved checks the segments that left at the front.
func (m *Media) checkRemoved(next *Media, f *findings) {
	removed := int(min(next.MediaSequence-m.MediaSequence, uint64(len(m.Segments))))
	disc := m.Discontinuities
	for i := range removed {
		if m.Segments[i].Discontinuity {
			disc++
		}
	}
	if next.MediaSequence-m.MediaSequence <= uint64(len(m.Segments)) && next.Discontinuities != disc {
		f.add("discontinuity-count", "bis 6.2.2", "EXT-X-DISCONTINUITY-SEQUENCE is %d, want %d", next.Discontinuities, disc)
	}
	if removed > 0 {
		var left time.Duration
		for i := range next.Segments {
			if s := &next.Segments[i]; !s.Open() {
				left += s.Duration
			}
		}
		// "A server MUST NOT remove a Media Segment from a Playlist file
		// without an EXT-X-ENDLIST tag if that would produce a Playlist whose
		// duration is less than three times the target duration."
		if left < 3*next.TargetDuration && !next.EndList {
			f.add("window", "bis 6.2.2", "a segment was removed though only %v remain", left)
		}
	}
}

// checkKept checks the segments that are in both, and the first new part
// against the hint.
func (m *Media) checkKept(next *Media, f *findings) {
	hint := m.Hint
	for j := range next.Segments {
		n := &next.Segments[j]
		msn := next.MediaSequence + uint64(j)
		known := 0 // parts of n that were listed before
		if i := int64(msn) - int64(m.MediaSequence); i >= 0 && i < int64(len(m.Segments)) {
			o := &m.Segments[i]
			known = len(o.Parts)
			if !o.Open() && (o.URI != n.URI || o.Duration != n.Duration || o.Gap != n.Gap) ||
				o.Map != n.Map || o.Discontinuity != n.Discontinuity || !o.Time.Equal(n.Time) {
				f.add("segment-changed", "bis 6.2.1", "segment %d changed", msn)
			}
			for k := range min(len(o.Parts), len(n.Parts)) {
				if o.Parts[k] != n.Parts[k] {
					f.add("part-changed", "bis 6.2.1", "part %d.%d changed", msn, k)
				}
			}
			if len(n.Parts) < len(o.Parts) && (len(n.Parts) > 0 || n.Open()) {
				f.add("part-removed", "bis 6.2.2", "segment %d lost some of its parts", msn)
			}
			if !o.Open() && len(n.Parts) > len(o.Parts) {
				f.add("part-added", "bis 6.2.2", "the closed segment %d gained parts", msn)
			}
		}
		for k := known; k < len(n.Parts); k++ {
			if n.Parts[k].Gap || hint == "" {
				continue
			}
			if n.Parts[k].URI != hint {
				f.add("hint-broken", "bis 4.4.5.3", "part %d.%d is %s, but %s was hinted", msn, k, n.Parts[k].URI, hint)
			}
			hint = ""
		}
	}
}

// Check returns what is wrong with a multivariant playlist.
func (m *Multivariant) Check() []Finding {
	var f findings
	groups := make(map[string]bool)
	names := make(map[[2]string]bool)
	for _, r := range m.Renditions {
		groups[r.Group] = true
		if names[[2]string{r.Group, r.Name}] {
			f.add("rendition-name", "bis 4.4.6.1.1", "group %q has two renditions named %q", r.Group, r.Name)
		}
		names[[2]string{r.Group, r.Name}] = true
		if r.Type == "AUDIO" && r.Channels == "" {
			f.add("channels", "authoring 9", "rendition %q has no CHANNELS", r.Name)
		}
	}
	if !m.IndependentSegments {
		f.add("independent-segments", "authoring 9", "EXT-X-INDEPENDENT-SEGMENTS is missing")
	}
	if len(m.Variants) == 0 {
		f.add("no-variant", "bis 4.4.6.2", "no EXT-X-STREAM-INF")
	}
	for _, v := range m.Variants {
		if v.Bandwidth <= 0 {
			f.add("bandwidth", "bis 4.4.6.2", "%s: BANDWIDTH %d", v.URI, v.Bandwidth)
		}
		if v.AverageBandwidth <= 0 || v.AverageBandwidth > v.Bandwidth {
			f.add("average-bandwidth", "authoring 9", "%s: AVERAGE-BANDWIDTH %d of BANDWIDTH %d", v.URI, v.AverageBandwidth, v.Bandwidth)
		}
		if v.Codecs == "" {
			f.add("codecs", "authoring 9", "%s has no CODECS", v.URI)
		}
		if v.Width > 0 && v.FrameRate == 0 {
			f.add("frame-rate", "authoring 9", "%s has no FRAME-RATE", v.URI)
		}
		if v.Audio != "" && !groups[v.Audio] {
			f.add("audio-group", "bis 4.4.6.2", "%s: there is no group %q", v.URI, v.Audio)
		}
	}
	return f
}

// text tells a segment of WebVTT, which needs nothing to begin with.
func (s *Segment) text() bool {
	uri := s.URI
	if s.Open() && len(s.Parts) > 0 {
		uri = s.Parts[0].URI
	}
	return strings.HasSuffix(uri, ".vtt")
}
