package hlscheck

import (
	"strings"
	"time"
)

// slack is how far sums of printed durations may be off.
const slack = 2 * time.Millisecond

// role is what a media playlist is for.
type role uint8

const (
	roleMedia    role = iota // given by URL, without a multivariant playlist
	roleVariant              // of EXT-X-STREAM-INF
	roleAudio                // of EXT-X-MEDIA
	roleText                 // of EXT-X-MEDIA TYPE=SUBTITLES
	roleIFrames              // of EXT-X-I-FRAME-STREAM-INF
	rolePictures             // of EXT-X-MEDIA TYPE=VIDEO
)

func (r role) String() string {
	return [...]string{"media", "variant", "audio", "subtitles", "i-frame", "video"}[r]
}

// single checks one full media playlist by itself.
type single struct {
	sink *collector
	m    *mediaText
	role role
	// independent: the multivariant playlist has EXT-X-INDEPENDENT-SEGMENTS.
	independent bool
}

func (c *single) at(tag string, line int) site { return site{c.m.url, tag, line} }

func (c *single) check() {
	m := c.m
	c.version()
	if c.role != roleText && !c.independent && !m.independent {
		c.sink.add(ruleIndependent, c.at("EXT-X-INDEPENDENT-SEGMENTS", 0), "it is in neither playlist")
	}
	if (c.role == roleIFrames) != m.iFramesOnly && c.role != roleMedia {
		c.sink.add(ruleIFrames, c.at("EXT-X-I-FRAMES-ONLY", 0), "present: %t, in a playlist for %s", m.iFramesOnly, c.role)
	}
	if m.iFramesOnly && m.hasParts {
		c.sink.add(ruleIFrameParts, c.at("EXT-X-PART", 0), "an I-frame playlist has parts")
	}
	if m.endList {
		for _, h := range m.hints {
			c.sink.add(ruleHintEnd, c.at("EXT-X-PRELOAD-HINT", h.line), "TYPE=%s in a playlist that has ended", h.kind)
		}
	}
	c.lowLatency()
	c.segments()
	c.dateRanges()
}

func (c *single) version() {
	m := c.m
	need, why := 1, ""
	if m.sizes || m.iFramesOnly {
		need, why = 4, "EXT-X-BYTERANGE or EXT-X-I-FRAMES-ONLY"
	}
	if m.fragmented {
		if need, why = 6, "EXT-X-MAP"; m.iFramesOnly {
			need = 5
		}
	}
	if m.variables {
		need, why = 8, "EXT-X-DEFINE"
	}
	if m.hasSkip {
		if need, why = 9, "EXT-X-SKIP"; m.removedRanges {
			need, why = 10, "EXT-X-SKIP that replaces date ranges"
		}
	}
	switch {
	case m.version < need:
		c.sink.add(ruleVersion, c.at("EXT-X-VERSION", m.versionLine), "it is %d; %s needs %d", m.version, why, need)
	case m.version < 9 && m.control != nil:
		c.sink.add(ruleVersionControl, c.at("EXT-X-VERSION", m.versionLine), "it is %d in a playlist with EXT-X-SERVER-CONTROL", m.version)
	}
}

func (c *single) lowLatency() {
	m, ctl := c.m, c.m.control
	if ctl != nil {
		if ctl.holdBack != 0 && ctl.holdBack < 3*m.target {
			c.sink.add(ruleHoldBack, c.at("EXT-X-SERVER-CONTROL", ctl.line), "HOLD-BACK=%v of a target duration of %v", ctl.holdBack, m.target)
		}
		if ctl.skipUntil != 0 && ctl.skipUntil < 6*m.target {
			c.sink.add(ruleSkipBoundary, c.at("EXT-X-SERVER-CONTROL", ctl.line), "CAN-SKIP-UNTIL=%v of a target duration of %v", ctl.skipUntil, m.target)
		}
		if ctl.skipRanges && ctl.skipUntil == 0 {
			c.sink.add(ruleServerControl, c.at("EXT-X-SERVER-CONTROL", ctl.line), "CAN-SKIP-DATERANGES without CAN-SKIP-UNTIL")
		}
		if len(m.ranges) > 0 && ctl.skipUntil > 0 && !ctl.skipRanges {
			c.sink.add(ruleSkipDateRanges, c.at("EXT-X-SERVER-CONTROL", ctl.line), "there are date ranges, and CAN-SKIP-DATERANGES is missing")
		}
	}
	if m.partTarget == 0 {
		if m.hasParts {
			c.sink.add(rulePartInf, c.at("EXT-X-PART-INF", 0), "there are parts, and it is missing")
		}
		return
	}
	if ctl == nil {
		c.sink.add(ruleServerControl, c.at("EXT-X-SERVER-CONTROL", 0), "it is missing")
		return
	}
	at := c.at("EXT-X-SERVER-CONTROL", ctl.line)
	if !ctl.block && !m.endList {
		c.sink.add(ruleBlockReload, at, "CAN-BLOCK-RELOAD=YES is missing")
	}
	switch {
	case !ctl.hasPartHoldBack:
		c.sink.add(ruleServerControl, at, "PART-HOLD-BACK is missing")
	case ctl.partHoldBack < 3*m.partTarget:
		c.sink.add(rulePartHoldBack, at, "PART-HOLD-BACK=%v of a PART-TARGET of %v", ctl.partHoldBack, m.partTarget)
	}
	if m.endList {
		return
	}
	if ctl.skipUntil == 0 && m.duration() > 2*time.Minute {
		c.sink.add(ruleDeltaOffered, at, "the playlist lists %v, and CAN-SKIP-UNTIL is missing", m.duration())
	}
	count := make(map[string]int)
	for _, h := range m.hints {
		if count[h.kind]++; count[h.kind] == 2 {
			c.sink.add(ruleHintTwice, c.at("EXT-X-PRELOAD-HINT", h.line), "a second of TYPE=%s", h.kind)
		}
	}
	if count["PART"] == 0 && !m.iFramesOnly {
		c.sink.add(ruleHintMissing, c.at("EXT-X-PRELOAD-HINT", 0), "there is none of TYPE=PART")
	}
}

// dateLeeway is how far EXT-X-PROGRAM-DATE-TIME may be off the end of the
// segment before: it is printed in milliseconds, and may follow a clock that
// is not the encoder's.
const dateLeeway = 100 * time.Millisecond

func (c *single) segments() {
	m := c.m
	live := !m.endList
	var remaining time.Duration // what follows the segment
	for i := range m.segments {
		remaining += m.segments[i].listed()
	}
	listed := make(map[source]bool)
	unique := func(line int, tag string, uri source) {
		// What has ended may come again, and one empty file does for all
		// subtitles without a word.
		if listed[uri] && live && c.role != roleText {
			c.sink.add(ruleURITwice, c.at(tag, line), "%s was listed before", uri.url)
		}
		listed[uri] = true
	}
	dates := false
	for i := range m.segments {
		s := &m.segments[i]
		dates = dates || !s.date.IsZero()
		remaining -= s.listed()
		c.length(s)
		if s.open() && i != len(m.segments)-1 {
			c.sink.add(ruleSyntax, c.at("EXTINF", s.line), "segment %d has none, and another segment follows", s.msn)
		}
		if s.initialize.url == "" && !s.gap && needsMap(s) {
			c.sink.add(ruleMap, c.at("EXT-X-MAP", s.line), "segment %d has none", s.msn)
		}
		if i > 0 {
			c.dates(&m.segments[i-1], s)
		}
		if s.discontinuity && live && !m.hasDiscontinuities {
			c.sink.add(ruleDiscontinuitySequence, c.at("EXT-X-DISCONTINUITY", s.line), "segment %d has it, and EXT-X-DISCONTINUITY-SEQUENCE is missing", s.msn)
		}
		if !s.open() && !s.gap {
			unique(s.line, "EXTINF", s.uri)
		}
		if m.partTarget > 0 {
			c.parts(s, remaining, unique)
		}
	}
	if live && !dates && len(m.segments) > 0 && c.role != roleIFrames {
		c.sink.add(ruleDateTime, c.at("EXT-X-PROGRAM-DATE-TIME", 0), "it is missing")
	}
}

// length checks how long a segment is.
func (c *single) length(s *segmentText) {
	if c.m.target == 0 || c.m.iFramesOnly || s.open() {
		return
	}
	// "when rounded to the nearest integer, MUST be less than or equal"
	if s.duration.Round(time.Second) > c.m.target {
		c.sink.add(ruleTargetDuration, c.at("EXTINF", s.line), "segment %d lasts %v of a target duration of %v", s.msn, s.duration, c.m.target)
	}
	if s.duration > c.m.target+500*time.Millisecond {
		c.sink.add(ruleSegmentLong, c.at("EXTINF", s.line), "segment %d lasts %v of a target duration of %v", s.msn, s.duration, c.m.target)
	}
}

// needsMap tells whether a segment is fragmented MP4 by its name.
func needsMap(s *segmentText) bool {
	uri := s.uri.url
	if uri == "" && len(s.parts) > 0 {
		uri = s.parts[0].uri.url
	}
	uri, _, _ = strings.Cut(uri, "?")
	for _, ext := range []string{".m4s", ".mp4", ".m4v", ".m4a", ".cmfv", ".cmfa"} {
		if strings.HasSuffix(uri, ext) {
			return true
		}
	}
	return false
}

func (c *single) dates(p, s *segmentText) {
	if s.date.IsZero() {
		if s.discontinuity && !p.date.IsZero() {
			c.sink.add(ruleDateTime, c.at("EXT-X-DISCONTINUITY", s.line), "segment %d behind a discontinuity has no date", s.msn)
		}
		return
	}
	if p.date.IsZero() {
		return
	}
	off := s.date.Sub(p.date) - p.duration
	if s.discontinuity {
		if off < -time.Second {
			c.sink.add(ruleDateDrift, c.at("EXT-X-PROGRAM-DATE-TIME", s.line), "segment %d starts %v before the end of the one in front", s.msn, -off)
		}
		return
	}
	if off.Abs() > dateLeeway && !c.m.iFramesOnly {
		c.sink.add(ruleDateDrift, c.at("EXT-X-PROGRAM-DATE-TIME", s.line), "segment %d starts %v off the end of the one in front", s.msn, off)
	}
}

func (c *single) parts(s *segmentText, remaining time.Duration, unique func(int, string, source)) {
	m := c.m
	if len(s.parts) == 0 && !m.endList && !s.gap && remaining+s.listed() <= 3*m.target && !m.iFramesOnly {
		c.sink.add(rulePartsMissing, c.at("EXTINF", s.line), "segment %d has no parts, and ends %v before the end", s.msn, remaining)
	}
	if len(s.parts) > 0 && remaining > 3*m.target+m.target && !m.endList {
		// Parts leave with their segment, so one segment's grace.
		c.sink.add(rulePartsOld, c.at("EXT-X-PART", s.parts[0].line), "segment %d has parts, and ends %v before the end", s.msn, remaining)
	}
	var sum time.Duration
	for j := range s.parts {
		p := &s.parts[j]
		at := c.at("EXT-X-PART", p.line)
		sum += p.duration
		if p.duration > m.partTarget {
			c.sink.add(rulePartLong, at, "part %d.%d lasts %v of a PART-TARGET of %v", s.msn, j, p.duration, m.partTarget)
		}
		last := j == len(s.parts)-1 // of a complete segment, or perhaps of an open one
		if p.duration*100 < m.partTarget*85 && !p.independent && !p.gap && !last && !s.parts[j+1].gap {
			c.sink.add(rulePartShort, at, "part %d.%d lasts %v of a PART-TARGET of %v", s.msn, j, p.duration, m.partTarget)
		}
		if p.gap {
			if p.independent {
				c.sink.add(ruleGapIndependent, at, "part %d.%d is both", s.msn, j)
			}
			continue
		}
		unique(p.line, "EXT-X-PART", p.uri)
		for _, h := range m.hints {
			if h.kind == "PART" && h.uri.url == p.uri.url && h.uri.bytes.start == p.uri.bytes.start {
				c.sink.add(ruleHintStale, c.at("EXT-X-PRELOAD-HINT", h.line), "it names part %d.%d, which is listed", s.msn, j)
			}
		}
	}
	if (m.independent || c.independent) && len(s.parts) > 0 && !s.parts[0].independent && !s.parts[0].gap {
		c.sink.add(ruleFirstPart, c.at("EXT-X-PART", s.parts[0].line), "part %d.0 is not", s.msn)
	}
	if !s.open() && len(s.parts) > 0 && (sum-s.duration).Abs() > slack {
		c.sink.add(rulePartSum, c.at("EXTINF", s.line), "segment %d lasts %v, its parts %v", s.msn, s.duration, sum)
	}
}

func (c *single) dateRanges() {
	seen := make(map[string]map[string]string)
	for _, d := range c.m.ranges {
		at := c.at("EXT-X-DATERANGE", d.line)
		if d.id == "" {
			c.sink.add(ruleDateRange, at, "ID is missing")
			continue
		}
		r := &textReader{sink: c.sink, url: c.m.url, line: d.line, tag: "#EXT-X-DATERANGE"}
		var start, end time.Time
		if s, ok := d.attrs["START-DATE"]; ok {
			start = r.date("START-DATE", s)
		} else if seen[d.id] == nil {
			c.sink.add(ruleDateRange, at, "%q has no START-DATE", clip(d.id))
		}
		if s, ok := d.attrs["END-DATE"]; ok {
			if end = r.date("END-DATE", s); !start.IsZero() && end.Before(start) {
				c.sink.add(ruleDateRange, at, "%q ends before it starts", clip(d.id))
			}
		}
		if s, ok := d.attrs["DURATION"]; ok {
			if length := r.seconds("DURATION", s); !end.IsZero() && !start.IsZero() && (end.Sub(start)-length).Abs() > slack {
				c.sink.add(ruleDateRange, at, "%q: END-DATE is not START-DATE plus DURATION", clip(d.id))
			}
		}
		if _, ok := d.attrs["PLANNED-DURATION"]; ok {
			r.seconds("PLANNED-DURATION", d.attrs["PLANNED-DURATION"])
		}
		if d.attrs["END-ON-NEXT"] != "" {
			_, duration := d.attrs["DURATION"]
			if d.attrs["END-ON-NEXT"] != "YES" || d.attrs["CLASS"] == "" || duration || !end.IsZero() {
				c.sink.add(ruleDateRange, at, "%q: END-ON-NEXT=YES goes with CLASS, and without DURATION and END-DATE", clip(d.id))
			}
		}
		checkRangeKept(c.sink, at, seen[d.id], d)
		seen[d.id] = d.attrs
	}
}

// checkRangeKept checks that d gives no attribute of the same date range
// another value.
func checkRangeKept(sink *collector, at site, before map[string]string, d rangeText) {
	for name, v := range before {
		if now, ok := d.attrs[name]; ok && now != v {
			sink.add(ruleDateRangeChanged, at, "%q: %s %q became %q", clip(d.id), name, clip(v), clip(now))
		}
	}
}
