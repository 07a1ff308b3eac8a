package hlscheck

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// finish holds the renditions against each other, and the multivariant
// playlist against what was measured. All goroutines have ended.
func (r *run) finish() {
	live := r.streams[:0:0]
	for _, w := range r.streams {
		if w.latest != nil {
			live = append(live, w)
		}
	}
	if len(live) == 0 {
		return
	}
	r.vod = true
	for _, w := range live {
		r.vod = r.vod && w.first.endList
	}
	for _, w := range live[1:] {
		r.constantsDiffer(live[0], w)
	}
	if !r.vod {
		r.edges(live)
	}
	r.discontinuities(live)
	r.offsets(live)
	r.lengths(live)
	r.measuredRules()
}

// constantsDiffer checks what all renditions have alike (section 6.2.4).
func (r *run) constantsDiffer(a, b *watcher) {
	m, n := a.latest, b.latest
	free := n.playlistType == "VOD" && (b.role == roleIFrames || b.role == roleText) || m.playlistType == "VOD" && (a.role == roleIFrames || a.role == roleText)
	if m.target != n.target && !free {
		r.sink.add(ruleTargetDiffers, b.at("EXT-X-TARGETDURATION", n.targetLine), "%v, and %v in %s", n.target, m.target, m.url)
	}
	if was, is := m.control.text(), n.control.text(); was != is {
		r.sink.add(ruleControlDiffers, b.at("EXT-X-SERVER-CONTROL", 0), "%q, and %q in %s", clip(is), clip(was), m.url)
	}
	if m.playlistType != n.playlistType && m.endList == n.endList {
		r.sink.add(ruleTypeDiffers, b.at("EXT-X-PLAYLIST-TYPE", 0), "%q, and %q in %s", n.playlistType, m.playlistType, m.url)
	}
}

// end returns when the listed media ends by its dates.
func (m *mediaText) end() (time.Time, bool) {
	n := len(m.segments)
	if n == 0 {
		return time.Time{}, false
	}
	var after time.Duration
	for i := n - 1; i >= 0; i-- {
		after += m.segments[i].listed()
		if !m.segments[i].date.IsZero() {
			return m.segments[i].date.Add(after), true
		}
	}
	return time.Time{}, false
}

// edges compares where the renditions end.
func (r *run) edges(live []*watcher) {
	var newest time.Time
	var of *watcher
	for _, w := range live {
		if at, ok := w.latest.end(); ok && w.role != roleIFrames && at.After(newest) {
			newest, of = at, w
		}
	}
	for _, w := range live {
		at, ok := w.latest.end()
		if ok && w.role != roleIFrames && newest.Sub(at) > w.latest.target+time.Second {
			r.sink.add(ruleBehind, w.at("", 0), "it ends %v before %s", newest.Sub(at), of.url)
		}
	}
}

// lengths compares how long VODs are.
func (r *run) lengths(live []*watcher) {
	if !r.vod {
		return
	}
	for _, w := range live[1:] {
		if off := (w.latest.duration() - live[0].latest.duration()).Abs(); off > min(w.latest.target, live[0].latest.target) {
			r.sink.add(ruleBehind, w.at("", 0), "it lasts %v, and %s %v", w.latest.duration(), live[0].url, live[0].latest.duration())
		}
	}
}

// discontinuityLeeway is how far apart renditions may cut: their frames do
// not fall together, and a streamer's sound may begin before the picture.
const discontinuityLeeway = time.Second

func (r *run) discontinuities(live []*watcher) {
	for _, w := range live[1:] {
		a, b := live[0], w
		if a.role == roleIFrames || b.role == roleIFrames {
			continue
		}
		for n, at := range b.starts {
			if was, ok := a.starts[n]; ok && at.Sub(was).Abs() > discontinuityLeeway {
				r.sink.add(ruleDiscontinuityDiffers, b.at("EXT-X-DISCONTINUITY", 0), "number %d is at %v, and at %v in %s", n, at, was, a.url)
			}
		}
		// Those of the common time are in both.
		r.counts(a, b)
	}
}

// counts compares the discontinuity sequence numbers of one moment.
func (r *run) counts(a, b *watcher) {
	for i := range b.latest.segments {
		s := &b.latest.segments[i]
		if s.date.IsZero() {
			continue
		}
		// The middle of a segment is far from any cut of its own rendition.
		middle := s.date.Add(s.listed() / 2)
		for k := range a.latest.segments {
			o := &a.latest.segments[k]
			edge := min(discontinuityLeeway, o.listed()/4)
			if o.date.IsZero() || middle.Before(o.date.Add(edge)) || !middle.Before(o.date.Add(o.listed()-edge)) {
				continue
			}
			if o.sequence != s.sequence {
				r.sink.add(ruleDiscontinuityDiffers, b.at("EXT-X-DISCONTINUITY-SEQUENCE", s.line), "segment %d of %v has number %d, and %d in %s", s.msn, s.date, s.sequence, o.sequence, a.url)
				return
			}
		}
	}
}

// offsets compares how dates map to media times.
func (r *run) offsets(live []*watcher) {
	for _, w := range live[1:] {
		a, b := live[0], w
		for n, off := range b.measured.offsets {
			if was, ok := a.measured.offsets[n]; ok && (off-was).Abs() > dateLeeway {
				r.sink.add(ruleDateDiffers, b.at("EXT-X-PROGRAM-DATE-TIME", 0), "it is %v further from the media's time than in %s", off-was, a.url)
				break
			}
		}
	}
}

// measuredRules holds the multivariant playlists against the media. Of what
// was declared at different times the most generous counts: a live stream may
// turn out richer than it began.
func (r *run) measuredRules() {
	if len(r.declared) == 0 {
		return
	}
	// The streams have the URIs of the first: those of a later one may carry
	// another viewer's ticket.
	first := r.declared[0]
	for i := range first.variants {
		v := first.variants[i]
		v.codecs = slices.Clone(v.codecs)
		sizes := map[[2]int]bool{{v.width, v.height}: true}
		for _, m := range r.declared {
			if len(m.variants) != len(first.variants) {
				continue
			}
			o := &m.variants[i]
			v.bandwidth, v.average, v.frameRate = max(v.bandwidth, o.bandwidth), max(v.average, o.average), max(v.frameRate, o.frameRate)
			v.codecs = append(v.codecs, o.codecs...)
			sizes[[2]int{o.width, o.height}] = true
		}
		r.variant(first, &v, sizes)
	}
}

// variant checks one variant, with the renditions that play beside it.
func (r *run) variant(m *multivariantText, v *variantText, sizes map[[2]int]bool) {
	s := r.stream(v.uri)
	if s == nil || s.latest == nil {
		return
	}
	at := site{m.url, v.tag(), v.line}
	peak, average, seconds := s.measured.peak, rate(&s.measured), s.measured.seconds
	complete := s.measured.complete
	codecs := maps.Clone(s.measured.codecs)
	for kind, group := range v.groups {
		var most, mean float64
		for _, x := range m.renditions {
			o := r.stream(x.uri)
			if x.kind != kind || x.group != group || x.uri == "" || o == nil || o == s {
				continue
			}
			most, mean = max(most, o.measured.peak), max(mean, rate(&o.measured))
			complete = complete && o.measured.complete
			maps.Copy(codecs, o.measured.codecs)
		}
		peak, average = peak+most, average+mean
	}
	for _, c := range sortedKeys(codecs) {
		if len(v.codecs) > 0 && !slices.ContainsFunc(v.codecs, func(d string) bool { return covers(d, c) }) {
			r.sink.add(ruleCodecsUntrue, at, "%s: the media has %s, CODECS is %q", clip(v.uri), c, strings.Join(v.codecs, ","))
		}
	}
	if v.width > 0 {
		for size := range s.measured.sizes {
			if size[0] > 0 && !sizes[size] {
				r.sink.add(ruleResolutionUntrue, at, "%s: the media has %dx%d, RESOLUTION is %dx%d", clip(v.uri), size[0], size[1], v.width, v.height)
			}
		}
	}
	if v.iFrames {
		return
	}
	// A segment's average is off by a frame at each end.
	if f := s.measured.frameRate; v.frameRate > 0 && f > v.frameRate*1.05+1 {
		r.sink.add(ruleFrameRateUntrue, at, "%s: %.3f frames per second, FRAME-RATE is %.3f", clip(v.uri), f, v.frameRate)
	}
	r.bandwidth(at, v, peak, average, seconds, complete)
}

func rate(m *measured) float64 {
	if m.seconds == 0 {
		return 0
	}
	return m.bits / m.seconds
}

// averageAfter is how much of a live stream must have been measured before
// its average says something.
const averageAfter = 45.0 // seconds

func (r *run) bandwidth(at site, v *variantText, peak, average, seconds float64, complete bool) {
	declared, mean := float64(v.bandwidth), float64(v.average)
	if declared > 0 && peak > 0 {
		switch {
		case !r.vod && peak >= declared*1.25:
			r.sink.add(ruleBandwidthUntrue, at, "%s: peak of %.0f bit/s measured, BANDWIDTH is %d", clip(v.uri), peak, v.bandwidth)
		case r.vod && (peak > declared*1.1 || complete && peak < declared*0.9):
			r.sink.add(ruleBandwidthUntrue, at, "%s: peak of %.0f bit/s measured, BANDWIDTH is %d", clip(v.uri), peak, v.bandwidth)
		}
	}
	if mean > 0 && average > 0 {
		switch {
		case !r.vod && seconds >= averageAfter && average >= mean*1.1:
			r.sink.add(ruleAverageUntrue, at, "%s: average of %.0f bit/s over %.0f s, AVERAGE-BANDWIDTH is %d", clip(v.uri), average, seconds, v.average)
		case r.vod && complete && (average > mean*1.1 || average < mean*0.9):
			r.sink.add(ruleAverageUntrue, at, "%s: average of %.0f bit/s, AVERAGE-BANDWIDTH is %d", clip(v.uri), average, v.average)
		}
	}
}
