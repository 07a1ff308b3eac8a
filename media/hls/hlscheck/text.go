package hlscheck

import (
	"bytes"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/freshet-live/freshet/media/hls/playlist"
)

// byteRange is a part of a resource; length -1 is all of it.
type byteRange struct{ start, length int64 }

var wholeFile = byteRange{0, -1}

// source is what a URI and a byte range name.
type source struct {
	url   string // absolute; "" for none
	bytes byteRange
}

// mediaText is one version of a media playlist. URIs are absolute.
type mediaText struct {
	url  string // without delivery directives
	size int    // of the text

	version, versionLine int
	target               time.Duration
	targetLine           int
	msn                  uint64
	discontinuities      uint64
	hasDiscontinuities   bool
	independent          bool
	iFramesOnly          bool
	endList              bool
	playlistType         string
	partTarget           time.Duration // 0: no EXT-X-PART-INF
	control              *controlText
	skipped              int // segments that a delta update leaves out
	hasSkip              bool
	skipLine             int
	removedRanges        bool // RECENTLY-REMOVED-DATERANGES is there
	segments             []segmentText
	hints                []hintText
	reports              []reportText
	ranges               []rangeText
	fragmented           bool // some EXT-X-MAP was seen
	variables            bool // EXT-X-DEFINE was seen
	sizes                bool // EXT-X-BYTERANGE or BYTERANGE was seen
	hasParts             bool
}

// controlText is EXT-X-SERVER-CONTROL.
type controlText struct {
	line                              int
	raw                               string
	block, skipRanges                 bool
	skipUntil, holdBack, partHoldBack time.Duration
	hasPartHoldBack                   bool
}

type segmentText struct {
	line          int
	msn           uint64
	uri           source // of an open segment: none
	duration      time.Duration
	discontinuity bool
	sequence      uint64 // discontinuity sequence number
	initialize    source // EXT-X-MAP in force
	key           string // EXT-X-KEY in force; "" for none
	date          time.Time
	gap           bool
	parts         []partText
}

func (s *segmentText) open() bool { return s.uri.url == "" }

// listed is how much of the segment is listed.
func (s *segmentText) listed() time.Duration {
	if !s.open() {
		return s.duration
	}
	var d time.Duration
	for i := range s.parts {
		d += s.parts[i].duration
	}
	return d
}

type partText struct {
	line             int
	uri              source
	duration         time.Duration
	independent, gap bool
}

// same compares what may not change.
func (p *partText) same(q *partText) bool {
	a, b := *p, *q
	a.line, b.line = 0, 0
	return a == b
}

type hintText struct {
	line int
	kind string
	uri  source
}

type reportText struct {
	line     int
	raw, uri string
	msn      uint64
	hasMSN   bool
	part     int // -1: not stated
}

type rangeText struct {
	line  int
	id    string
	attrs map[string]string
}

// textReader reads a playlist and reports what is wrong with its text.
type textReader struct {
	sink *collector
	url  string // of the playlist, for findings
	base *url.URL
	line int
	tag  string
}

func (r *textReader) at() site { return site{r.url, strings.TrimPrefix(r.tag, "#"), r.line} }

func (r *textReader) syntax(format string, args ...any) {
	r.sink.add(ruleSyntax, r.at(), format, args...)
}

// byteOrderMark must not stand in front of a playlist, and does in some.
var byteOrderMark = []byte("\xef\xbb\xbf")

// legal checks the text as a whole and tells whether it is a playlist.
func (r *textReader) legal(b []byte) bool {
	r.line, r.tag = 1, ""
	if bytes.HasPrefix(b, byteOrderMark) {
		r.syntax("a byte order mark stands in front")
		b = b[len(byteOrderMark):]
	}
	first, _, _ := bytes.Cut(b, []byte("\n"))
	if string(bytes.TrimSuffix(first, []byte("\r"))) != "#EXTM3U" {
		r.syntax("the first line is not #EXTM3U but %q", clip(string(first)))
		return false
	}
	if !utf8.Valid(b) {
		r.syntax("the text is not UTF-8")
	}
	for i, c := range b {
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' || c == 0x7f {
			r.line = 1 + bytes.Count(b[:i], []byte("\n"))
			r.syntax("control character %#x", c)
			break
		}
	}
	return true
}

// clip shortens what findings quote.
func clip(s string) string {
	const most = 120
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func (r *textReader) attributes(s string) map[string]string {
	a, err := playlist.ParseAttributes(s)
	if err != nil {
		r.syntax("%v", err)
	}
	return a
}

func (r *textReader) resolve(ref string) string {
	u, err := r.base.Parse(ref)
	if err != nil {
		r.syntax("%q is not a URI", clip(ref))
		return ""
	}
	return u.String()
}

func (r *textReader) integer(name, s string) uint64 {
	v, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		r.syntax("%s: %q is not a decimal-integer", name, clip(s))
	}
	return v
}

// maxSeconds bounds a duration, so that sums over a playlist stay within
// time.Duration.
const maxSeconds = 100 * 24 * 3600

func (r *textReader) seconds(name, s string) time.Duration {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v >= 0 && v <= maxSeconds) || strings.Trim(s, "0123456789.") != "" {
		r.syntax("%s: %q is not a decimal-floating-point of at most %d", name, clip(s), maxSeconds)
		return 0
	}
	return time.Duration(math.Round(v * 1e9)).Round(time.Microsecond)
}

func (r *textReader) yes(a map[string]string, name string) bool {
	switch a[name] {
	case "YES":
		return true
	case "", "NO":
		return false
	}
	r.syntax("%s=%s is neither YES nor NO", name, clip(a[name]))
	return false
}

func (r *textReader) need(a map[string]string, name string) string {
	v, ok := a[name]
	if !ok {
		r.syntax("%s is missing", name)
	}
	return v
}

func (r *textReader) date(name, s string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at
		}
	}
	r.syntax("%s: %q is not a date of ISO 8601 with a time zone", name, clip(s))
	return time.Time{}
}

// rangeOf reads "n[@o]"; next is where a range without offset begins.
func (r *textReader) rangeOf(name, s string, next int64) byteRange {
	n, o, offset := strings.Cut(s, "@")
	b := byteRange{next, int64(r.integer(name, n))}
	if offset {
		b.start = int64(r.integer(name, o))
	}
	if b.start > math.MaxInt64-b.length {
		r.syntax("%s: %q overflows", name, clip(s))
		return byteRange{}
	}
	return b
}

// parseMedia reads a media playlist as far as it can be read. It returns nil
// for what is none.
func parseMedia(sink *collector, rawURL string, body []byte) *mediaText {
	r := &textReader{sink: sink, url: rawURL}
	var err error
	if r.base, err = url.Parse(rawURL); err != nil {
		r.syntax("%v", err)
		return nil
	}
	if !r.legal(body) {
		return nil
	}
	p := &mediaReader{textReader: r, m: &mediaText{url: rawURL, size: len(body), version: 1}, seen: make(map[string]bool), next: make(map[string]int64)}
	for l := range playlist.Scan(bytes.TrimPrefix(body, byteOrderMark)) {
		r.line, r.tag = l.Number, l.Tag
		if l.Tag == "" {
			p.uri(l.Value)
			continue
		}
		p.read(l.Tag, l.Value)
	}
	r.tag = ""
	if p.timed {
		r.syntax("EXTINF without a URI")
	}
	if p.started && len(p.seg.parts) > 0 {
		p.close()
	}
	if !p.seen["#EXT-X-TARGETDURATION"] {
		sink.add(ruleTargetDuration, site{rawURL, "EXT-X-TARGETDURATION", 0}, "it is missing")
	}
	p.number()
	return p.m
}

type mediaReader struct {
	*textReader
	m       *mediaText
	seen    map[string]bool
	seg     segmentText
	started bool // a tag of seg was seen
	timed   bool // EXTINF of seg was seen
	ranged  string
	force   source           // EXT-X-MAP
	key     string           // EXT-X-KEY
	next    map[string]int64 // where the next byte range of a resource begins
}

// number gives segments their sequence numbers.
func (p *mediaReader) number() {
	sequence := p.m.discontinuities
	for i := range p.m.segments {
		s := &p.m.segments[i]
		s.msn = p.m.msn + uint64(p.m.skipped+i)
		if s.discontinuity {
			sequence++
		}
		s.sequence = sequence
	}
}

func (p *mediaReader) uri(ref string) {
	if !p.timed {
		p.syntax("URI %q without EXTINF", clip(ref))
	}
	p.seg.uri = source{p.resolve(ref), wholeFile}
	p.seg.line = p.line
	if p.ranged != "" {
		p.seg.uri.bytes = p.rangeOf("EXT-X-BYTERANGE", p.ranged, p.next[p.seg.uri.url])
		p.next[p.seg.uri.url] = p.seg.uri.bytes.start + p.seg.uri.bytes.length
	}
	if p.seg.uri.url != "" {
		p.close()
	}
}

func (p *mediaReader) close() {
	p.seg.initialize, p.seg.key = p.force, p.key
	if p.seg.line == 0 {
		p.seg.line = p.line
	}
	p.m.segments = append(p.m.segments, p.seg)
	p.seg, p.started, p.timed, p.ranged = segmentText{}, false, false, ""
}

// once are the tags that a playlist may have once.
var once = map[string]bool{
	"#EXT-X-VERSION": true, "#EXT-X-TARGETDURATION": true, "#EXT-X-MEDIA-SEQUENCE": true, "#EXT-X-DISCONTINUITY-SEQUENCE": true,
	"#EXT-X-PART-INF": true, "#EXT-X-SERVER-CONTROL": true, "#EXT-X-SKIP": true, "#EXT-X-ENDLIST": true,
	"#EXT-X-INDEPENDENT-SEGMENTS": true, "#EXT-X-PLAYLIST-TYPE": true, "#EXT-X-I-FRAMES-ONLY": true,
}

// early are those that stand before the first segment.
var early = map[string]bool{"#EXT-X-MEDIA-SEQUENCE": true, "#EXT-X-DISCONTINUITY-SEQUENCE": true, "#EXT-X-SKIP": true}

func (p *mediaReader) read(tag, value string) {
	m := p.m
	if once[tag] && p.seen[tag] {
		p.syntax("it stands twice")
	}
	p.seen[tag] = true
	if early[tag] && (len(m.segments) > 0 || p.started) {
		p.syntax("it stands behind a segment")
	}
	switch tag {
	case "#EXT-X-VERSION":
		m.version, m.versionLine = int(min(p.integer("EXT-X-VERSION", value), 1000)), p.line
	case "#EXT-X-TARGETDURATION":
		m.target = time.Duration(min(p.integer("EXT-X-TARGETDURATION", value), maxSeconds)) * time.Second
		m.targetLine = p.line
	case "#EXT-X-MEDIA-SEQUENCE":
		m.msn = p.integer("EXT-X-MEDIA-SEQUENCE", value)
	case "#EXT-X-DISCONTINUITY-SEQUENCE":
		m.discontinuities, m.hasDiscontinuities = p.integer("EXT-X-DISCONTINUITY-SEQUENCE", value), true
	case "#EXT-X-INDEPENDENT-SEGMENTS":
		m.independent = true
	case "#EXT-X-I-FRAMES-ONLY":
		m.iFramesOnly = true
	case "#EXT-X-ENDLIST":
		m.endList = true
	case "#EXT-X-PLAYLIST-TYPE":
		if m.playlistType = value; value != "VOD" && value != "EVENT" {
			p.syntax("EXT-X-PLAYLIST-TYPE is %q", clip(value))
		}
	case "#EXT-X-PART-INF":
		if m.partTarget = p.seconds("PART-TARGET", p.need(p.attributes(value), "PART-TARGET")); m.partTarget == 0 {
			p.sink.add(rulePartInf, p.at(), "PART-TARGET is missing or 0")
		}
	case "#EXT-X-SERVER-CONTROL":
		p.control(value)
	case "#EXT-X-SKIP":
		a := p.attributes(value)
		m.skipped = int(min(p.integer("SKIPPED-SEGMENTS", p.need(a, "SKIPPED-SEGMENTS")), 1<<30))
		_, m.removedRanges = a["RECENTLY-REMOVED-DATERANGES"]
		m.hasSkip, m.skipLine = true, p.line
	case "#EXT-X-PRELOAD-HINT":
		p.hint(value)
	case "#EXT-X-RENDITION-REPORT":
		p.report(value)
	case "#EXT-X-DATERANGE":
		a := p.attributes(value)
		m.ranges = append(m.ranges, rangeText{p.line, a["ID"], a})
	case "#EXT-X-DEFINE":
		m.variables = true
	case "#EXT-X-STREAM-INF", "#EXT-X-MEDIA", "#EXT-X-I-FRAME-STREAM-INF", "#EXT-X-SESSION-DATA", "#EXT-X-SESSION-KEY":
		p.sink.add(ruleKind, p.at(), "it belongs into a multivariant playlist")
	default:
		p.segmentTag(tag, value)
	}
}

func (p *mediaReader) control(value string) {
	a := p.attributes(value)
	c := &controlText{line: p.line, raw: value, block: p.yes(a, "CAN-BLOCK-RELOAD"), skipRanges: p.yes(a, "CAN-SKIP-DATERANGES")}
	for name, to := range map[string]*time.Duration{"CAN-SKIP-UNTIL": &c.skipUntil, "HOLD-BACK": &c.holdBack, "PART-HOLD-BACK": &c.partHoldBack} {
		if v, ok := a[name]; ok {
			*to = p.seconds(name, v)
			c.hasPartHoldBack = c.hasPartHoldBack || name == "PART-HOLD-BACK"
		}
	}
	p.m.control = c
}

func (p *mediaReader) hint(value string) {
	a := p.attributes(value)
	h := hintText{line: p.line, kind: p.need(a, "TYPE"), uri: source{p.resolve(p.need(a, "URI")), wholeFile}}
	if v, ok := a["BYTERANGE-START"]; ok {
		h.uri.bytes.start = int64(p.integer("BYTERANGE-START", v))
	}
	if v, ok := a["BYTERANGE-LENGTH"]; ok {
		h.uri.bytes.length = int64(p.integer("BYTERANGE-LENGTH", v))
	}
	p.m.hints = append(p.m.hints, h)
}

func (p *mediaReader) report(value string) {
	a := p.attributes(value)
	r := reportText{line: p.line, raw: p.need(a, "URI"), part: -1}
	r.uri = p.resolve(r.raw)
	if v, ok := a["LAST-MSN"]; ok {
		r.msn, r.hasMSN = p.integer("LAST-MSN", v), true
	}
	if v, ok := a["LAST-PART"]; ok {
		r.part = int(min(p.integer("LAST-PART", v), math.MaxInt32))
	}
	p.m.reports = append(p.m.reports, r)
}

// segmentTag reads the tags that apply to a segment (section 4.4.4).
func (p *mediaReader) segmentTag(tag, value string) {
	m := p.m
	switch tag {
	case "#EXT-X-DISCONTINUITY", "#EXT-X-MAP", "#EXT-X-KEY", "#EXT-X-PROGRAM-DATE-TIME":
		if len(p.seg.parts) > 0 {
			p.sink.add(ruleTagOrder, p.at(), "it stands behind a part of its segment")
		}
	}
	switch tag {
	case "#EXT-X-DISCONTINUITY":
		p.seg.discontinuity, p.started = true, true
	case "#EXT-X-MAP":
		a := p.attributes(value)
		p.force = source{p.resolve(p.need(a, "URI")), wholeFile}
		if v, ok := a["BYTERANGE"]; ok {
			p.force.bytes = p.rangeOf("BYTERANGE", v, 0)
			m.sizes = true
		}
		m.fragmented = true
	case "#EXT-X-KEY":
		a := p.attributes(value)
		switch method := a["METHOD"]; {
		case method == "":
			p.sink.add(ruleKeyMethod, p.at(), "METHOD is missing")
		case method == "NONE":
			p.key = ""
		default:
			if a["URI"] == "" {
				p.sink.add(ruleKeyMethod, p.at(), "METHOD=%s without URI", clip(method))
			}
			p.key = method
		}
	case "#EXT-X-PROGRAM-DATE-TIME":
		p.seg.date, p.started = p.date("EXT-X-PROGRAM-DATE-TIME", value), true
	case "#EXT-X-GAP":
		p.seg.gap, p.started = true, true
	case "#EXT-X-BYTERANGE":
		p.ranged, m.sizes = value, true
	case "#EXT-X-PART":
		p.part(value)
	case "#EXTINF":
		if p.timed {
			p.syntax("it stands twice")
		}
		d, _, _ := strings.Cut(value, ",")
		p.seg.duration, p.timed, p.started = p.seconds("EXTINF", d), true, true
	}
}

func (p *mediaReader) part(value string) {
	if p.timed {
		p.syntax("it stands behind EXTINF")
	}
	a := p.attributes(value)
	q := partText{
		line: p.line, uri: source{p.resolve(p.need(a, "URI")), wholeFile}, duration: p.seconds("DURATION", p.need(a, "DURATION")),
		independent: p.yes(a, "INDEPENDENT"), gap: p.yes(a, "GAP"),
	}
	if v, ok := a["BYTERANGE"]; ok {
		next := int64(0)
		if n := len(p.seg.parts); n > 0 && p.seg.parts[n-1].uri.url == q.uri.url {
			next = p.seg.parts[n-1].uri.bytes.start + p.seg.parts[n-1].uri.bytes.length
		}
		q.uri.bytes = p.rangeOf("BYTERANGE", v, next)
		p.m.sizes = true
	}
	p.seg.parts = append(p.seg.parts, q)
	p.started, p.m.hasParts = true, true
}

// last returns the number of the last segment and the index of its last part,
// -1 for none.
func (m *mediaText) last() (msn uint64, part int, ok bool) {
	n := len(m.segments)
	if n == 0 {
		return 0, -1, false
	}
	s := &m.segments[n-1]
	return s.msn, len(s.parts) - 1, true
}

// ahead returns the delivery directives of the part that comes next, part -1
// where segments have none.
func (m *mediaText) ahead() (msn uint64, part int) {
	n := len(m.segments)
	switch {
	case n == 0:
		return m.msn, -1
	case m.segments[n-1].open() && m.partTarget == 0:
		return m.segments[n-1].msn, -1
	case m.partTarget == 0:
		return m.segments[n-1].msn + 1, -1
	case m.segments[n-1].open():
		return m.segments[n-1].msn, len(m.segments[n-1].parts)
	}
	return m.segments[n-1].msn + 1, 0
}

// has tells whether the part, or with part -1 the complete segment, is listed
// or has been.
func (m *mediaText) has(msn uint64, part int) bool {
	n := len(m.segments)
	if n == 0 {
		return false
	}
	s := &m.segments[n-1]
	switch {
	case s.msn != msn:
		return s.msn > msn
	case part < 0:
		return !s.open()
	}
	return len(s.parts) > part || !s.open()
}

// duration is how much of the stream is listed.
func (m *mediaText) duration() (d time.Duration) {
	for i := range m.segments {
		d += m.segments[i].listed()
	}
	return d
}

// segment returns the segment of that number, nil when it is not listed.
func (m *mediaText) segment(msn uint64) *segmentText {
	if len(m.segments) == 0 || msn < m.segments[0].msn || msn-m.segments[0].msn >= uint64(len(m.segments)) {
		return nil
	}
	return &m.segments[msn-m.segments[0].msn]
}

// apply returns the playlist that a client holds after the delta update d of
// m, nil when m does not know all that is skipped.
func (m *mediaText) apply(d *mediaText) *mediaText {
	full := *d
	full.segments = make([]segmentText, 0, min(d.skipped, len(m.segments))+len(d.segments))
	for i := range d.skipped {
		s := m.segment(d.msn + uint64(i))
		if s == nil || s.open() {
			return nil
		}
		full.segments = append(full.segments, *s)
	}
	full.segments = append(full.segments, d.segments...)
	full.skipped, full.hasSkip = 0, false
	var force source
	var key string
	sequence := full.discontinuities
	for i := range full.segments {
		s := &full.segments[i]
		if s.initialize.url == "" {
			s.initialize = force
		}
		if i >= d.skipped && s.key == "" {
			s.key = key
		}
		force, key = s.initialize, s.key
		if s.discontinuity {
			sequence++
		}
		s.sequence = sequence
		if i < d.skipped {
			s.parts = nil // what a delta update skips is older than parts are kept
		}
	}
	full.fragmented = full.fragmented || m.fragmented
	return &full
}
