package hlscheck

import "time"

// checkUpdate checks next, a full playlist, as the one that follows prev.
func checkUpdate(sink *collector, prev, next *mediaText) {
	c := &update{sink, prev, next}
	if c.constants(); c.removed() {
		c.kept()
	}
	for _, d := range next.ranges {
		for _, o := range prev.ranges {
			if o.id == d.id && d.id != "" {
				checkRangeKept(sink, c.at("EXT-X-DATERANGE", d.line), o.attrs, d)
			}
		}
	}
}

type update struct {
	sink       *collector
	prev, next *mediaText
}

func (c *update) at(tag string, line int) site { return site{c.next.url, tag, line} }

// constants checks what never changes.
func (c *update) constants() {
	p, n := c.prev, c.next
	if p.target != n.target {
		c.sink.add(ruleTargetChanged, c.at("EXT-X-TARGETDURATION", n.targetLine), "%v became %v", p.target, n.target)
	}
	if p.partTarget != n.partTarget {
		c.sink.add(rulePartTargetChanged, c.at("EXT-X-PART-INF", 0), "PART-TARGET %v became %v", p.partTarget, n.partTarget)
	}
	was, is := p.control.text(), n.control.text()
	if was != is && !n.endList {
		c.sink.add(ruleControlChanged, c.at("EXT-X-SERVER-CONTROL", 0), "%q became %q", clip(was), clip(is))
	}
	if p.version != n.version {
		c.sink.add(ruleVersionChanged, c.at("EXT-X-VERSION", n.versionLine), "%d became %d", p.version, n.version)
	}
	if p.playlistType != n.playlistType && !n.endList {
		c.sink.add(ruleVersionChanged, c.at("EXT-X-PLAYLIST-TYPE", 0), "%q became %q", p.playlistType, n.playlistType)
	}
	if p.independent != n.independent {
		c.sink.add(ruleVersionChanged, c.at("EXT-X-INDEPENDENT-SEGMENTS", 0), "%t became %t", p.independent, n.independent)
	}
	if p.endList && (!n.endList || len(p.segments) > 0 && len(n.segments) > 0 && p.segments[len(p.segments)-1].msn < n.segments[len(n.segments)-1].msn) {
		c.sink.add(ruleEndUndone, c.at("EXT-X-ENDLIST", 0), "the playlist had ended and went on")
	}
}

// text is the tag's attribute list, "" for none.
func (c *controlText) text() string {
	if c == nil {
		return ""
	}
	return c.raw
}

// removed checks what left at the front, and tells whether the rest can be
// compared.
func (c *update) removed() bool {
	p, n := c.prev, c.next
	if n.msn < p.msn {
		c.sink.add(ruleSequenceBack, c.at("EXT-X-MEDIA-SEQUENCE", 0), "%d became %d", p.msn, n.msn)
		return false
	}
	gone := n.msn - p.msn
	if gone > uint64(len(p.segments)) {
		// All that was known has left; there is nothing to hold it against.
		return false
	}
	if gone > 0 && p.playlistType != "" {
		c.sink.add(ruleVOD, c.at("EXT-X-PLAYLIST-TYPE", 0), "a segment left a playlist of type %s", p.playlistType)
	}
	want := p.discontinuities
	for i := range gone {
		if p.segments[i].discontinuity {
			want++
		}
	}
	// A discontinuity at the front may be counted and stand there no more.
	front := gone < uint64(len(p.segments)) && len(n.segments) > 0 && p.segments[gone].discontinuity && !n.segments[0].discontinuity
	if n.discontinuities != want && !(front && n.discontinuities == want+1) {
		c.sink.add(ruleDiscontinuityCount, c.at("EXT-X-DISCONTINUITY-SEQUENCE", 0), "it is %d, want %d", n.discontinuities, want)
	}
	if gone > 0 && !n.endList {
		var left time.Duration
		complete := 0
		for i := range n.segments {
			if !n.segments[i].open() {
				left += n.segments[i].duration
				complete++
			}
		}
		if complete < 6 && !n.iFramesOnly {
			c.sink.add(ruleSegmentCount, c.at("EXT-X-MEDIA-SEQUENCE", 0), "a segment left, and %d complete ones remain", complete)
		}
		if left < 3*n.target {
			c.sink.add(ruleWindow, c.at("EXT-X-MEDIA-SEQUENCE", 0), "a segment left, and %v remain of a target duration of %v", left, n.target)
		}
	}
	return true
}

// kept checks what is in both.
func (c *update) kept() {
	p, n := c.prev, c.next
	hint, hinted := source{}, false
	for _, h := range p.hints {
		if h.kind == "PART" && !hinted {
			hint, hinted = h.uri, true
		}
	}
	if last, _, ok := n.last(); ok && len(p.segments) > 0 && !n.endList {
		if l, _, _ := p.last(); l > last {
			c.sink.add(ruleSegmentRemoved, c.at("", 0), "segment %d was the last, now %d is", l, last)
		}
	}
	// A sequence number that moved otherwise than segments did shows in
	// their URIs.
	if shift, ok := c.shifted(); ok {
		c.sink.add(ruleSequenceSkip, c.at("EXT-X-MEDIA-SEQUENCE", 0), "known segments are numbered %d off", shift)
		return
	}
	partless := false // an older segment kept its parts
	for i := range n.segments {
		s := &n.segments[i]
		o := p.segment(s.msn)
		before := 0
		if o != nil {
			before = len(o.parts)
			c.segment(o, s)
			if len(s.parts) == 0 && before > 0 && !s.open() && partless {
				c.sink.add(rulePartRemoved, c.at("EXT-X-PART", s.line), "the parts of segment %d left before those of an older one", s.msn)
			}
		}
		partless = partless || len(s.parts) > 0
		for j := before; j < len(s.parts) && (o == nil || o.open()); j++ {
			q := &s.parts[j]
			if !hinted || q.gap {
				hinted = false // a gap is no resource, and ends the chain
				continue
			}
			if q.uri.url != hint.url || q.uri.bytes.start != hint.bytes.start {
				c.sink.add(ruleHintBroken, c.at("EXT-X-PART", q.line), "part %d.%d is %s, and %s was hinted", s.msn, j, q.uri.url, hint.url)
			}
			hinted = false
		}
	}
}

// shifted looks for a segment of prev that has another number in next.
func (c *update) shifted() (int64, bool) {
	numbers := make(map[source]uint64)
	for i := range c.prev.segments {
		if s := &c.prev.segments[i]; !s.open() && !s.gap {
			numbers[s.uri] = s.msn
		}
	}
	for i := range c.next.segments {
		s := &c.next.segments[i]
		if s.open() || s.gap {
			continue
		}
		if o := c.prev.segment(s.msn); o != nil && o.uri == s.uri {
			continue // listed twice, perhaps, but where it was
		}
		if was, ok := numbers[s.uri]; ok && was != s.msn {
			return int64(s.msn) - int64(was), true
		}
	}
	return 0, false
}

func (c *update) segment(o, s *segmentText) {
	at := c.at("EXTINF", s.line)
	switch {
	case !o.open() && s.open():
		c.sink.add(ruleSegmentChanged, at, "segment %d was complete and is not any more", s.msn)
	case !o.open() && o.uri != s.uri:
		c.sink.add(ruleSegmentChanged, at, "segment %d: %s became %s", s.msn, o.uri.url, s.uri.url)
	case !o.open() && o.duration != s.duration:
		c.sink.add(ruleSegmentChanged, at, "segment %d: EXTINF %v became %v", s.msn, o.duration, s.duration)
	case o.initialize != s.initialize:
		c.sink.add(ruleSegmentChanged, at, "segment %d: EXT-X-MAP %s became %s", s.msn, o.initialize.url, s.initialize.url)
	case !o.date.Equal(s.date):
		c.sink.add(ruleSegmentChanged, at, "segment %d: EXT-X-PROGRAM-DATE-TIME %v became %v", s.msn, o.date, s.date)
	case !o.open() && o.gap != s.gap:
		c.sink.add(ruleSegmentChanged, at, "segment %d: EXT-X-GAP %t became %t", s.msn, o.gap, s.gap)
	case o.discontinuity != s.discontinuity && s.msn != c.next.msn:
		c.sink.add(ruleSegmentChanged, at, "segment %d: EXT-X-DISCONTINUITY %t became %t", s.msn, o.discontinuity, s.discontinuity)
	case o.sequence != s.sequence && !(s.msn == c.next.msn && o.discontinuity != s.discontinuity):
		c.sink.add(ruleDiscontinuityCount, at, "segment %d had discontinuity sequence number %d and has %d", s.msn, o.sequence, s.sequence)
	}
	for k := range min(len(o.parts), len(s.parts)) {
		if !o.parts[k].same(&s.parts[k]) {
			c.sink.add(rulePartChanged, c.at("EXT-X-PART", s.parts[k].line), "part %d.%d changed", s.msn, k)
		}
	}
	if len(s.parts) < len(o.parts) && (len(s.parts) > 0 || s.open()) {
		c.sink.add(rulePartRemoved, at, "segment %d lost some of its parts and kept others", s.msn)
	}
	if !o.open() && len(s.parts) > len(o.parts) && len(o.parts) > 0 {
		c.sink.add(rulePartAdded, at, "segment %d was complete and gained parts", s.msn)
	}
}
