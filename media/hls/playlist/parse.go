package playlist

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxSize bounds the playlists that are read, in bytes: a day of segments
// with their parts is a tenth of it.
const MaxSize = 16 << 20

// SyntaxError says what is wrong with a playlist's text, and where.
type SyntaxError struct {
	Line   int // from 1; 0: the playlist as a whole
	Reason string
}

// Error implements error.
func (e *SyntaxError) Error() string { return fmt.Sprintf("playlist: line %d: %s", e.Line, e.Reason) }

// ErrKind tells that a media playlist was expected and a multivariant one
// was found, or the reverse.
var ErrKind = errors.New("playlist: of the other kind")

// reader walks the lines of a playlist and keeps the first failure.
type reader struct {
	rest []byte
	line int
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = &SyntaxError{r.line, fmt.Sprintf(format, args...)}
	}
}

// next returns the next line that is neither blank nor a comment.
func (r *reader) next() (string, bool) {
	for r.err == nil && len(r.rest) > 0 {
		line, rest, _ := bytes.Cut(r.rest, []byte("\n"))
		r.rest = rest
		r.line++
		s := strings.TrimSuffix(string(line), "\r")
		for i := range len(s) {
			if s[i] < 0x20 && s[i] != '\t' || s[i] == 0x7f {
				r.fail("control character %#x (bis 4.1)", s[i])
				return "", false
			}
		}
		if s == "" || s[0] == '#' && !strings.HasPrefix(s, "#EXT") {
			continue
		}
		return s, true
	}
	return "", false
}

func open(b []byte) *reader {
	r := &reader{rest: b}
	switch {
	case len(b) > MaxSize:
		r.fail("%d bytes, more than %d", len(b), MaxSize)
	case !utf8.Valid(b):
		r.fail("not UTF-8 (bis 4.1)")
	default:
		if s, _ := r.next(); s != "#EXTM3U" || r.line != 1 {
			r.line = 1
			r.fail("does not begin with #EXTM3U (bis 4.4.1.1)")
		}
	}
	return r
}

// attributes parses an attribute list (bis, section 4.2).
func (r *reader) attributes(s string) map[string]string {
	out, err := ParseAttributes(s)
	if err != nil {
		r.fail("%v", err)
	}
	return out
}

func (r *reader) integer(what, s string, limit uint64) uint64 {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil || v > limit {
		r.fail("%s: %q is not a decimal-integer of at most %d", what, s, limit)
		return 0
	}
	return v
}

// maxSeconds bounds a duration well above all use, so that sums of all
// segments of a playlist of MaxSize stay within time.Duration.
const maxSeconds = 100 * 24 * 3600

func (r *reader) seconds(what, s string) time.Duration {
	whole, frac, point := strings.Cut(s, ".")
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || v > maxSeconds || point && frac == "" || strings.Trim(whole+frac, "0123456789") != "" {
		r.fail("%s: %q is not a decimal-floating-point of at most %d", what, s, maxSeconds)
		return 0
	}
	return time.Duration(math.Round(v * 1e9)).Round(time.Microsecond)
}

func (r *reader) yes(what, s string) bool {
	switch s {
	case "YES":
		return true
	case "", "NO":
		return false
	}
	r.fail("%s: %q is neither YES nor NO", what, s)
	return false
}

func (r *reader) required(tag string, attrs map[string]string, name string) string {
	v, ok := attrs[name]
	if !ok {
		r.fail("%s lacks %s", tag, name)
	}
	return v
}

// ParseMedia reads a media playlist. Tags that this package does not know
// are skipped, as bis section 6.3.1 demands of clients. The error is a
// *SyntaxError or ErrKind.
func ParseMedia(b []byte) (*Media, error) {
	r := open(b)
	if r.err == nil && !isMedia(b) {
		if bytes.Contains(b, []byte("\n#EXT-X-STREAM-INF:")) {
			return nil, ErrKind
		}
		r.fail("no EXT-X-TARGETDURATION (bis 4.4.3.1)")
	}
	m := &Media{Version: 1}
	seen := make(map[string]bool)
	var (
		seg     Segment
		started bool // a tag of seg was seen
		timed   bool // EXTINF of seg was seen
		inForce string
	)
	for {
		s, ok := r.next()
		if !ok {
			break
		}
		if s[0] != '#' {
			if !timed {
				r.fail("URI without EXTINF (bis 4.4.4.1)")
			}
			seg.URI = s
			if seg.Map == "" {
				seg.Map = inForce
			}
			inForce = seg.Map
			m.Segments = append(m.Segments, seg)
			seg, started, timed = Segment{}, false, false
			continue
		}
		tag, value, _ := strings.Cut(s, ":")
		switch tag {
		case "#EXT-X-VERSION", "#EXT-X-TARGETDURATION", "#EXT-X-MEDIA-SEQUENCE", "#EXT-X-DISCONTINUITY-SEQUENCE",
			"#EXT-X-PART-INF", "#EXT-X-SERVER-CONTROL", "#EXT-X-SKIP", "#EXT-X-ENDLIST", "#EXT-X-INDEPENDENT-SEGMENTS",
			"#EXT-X-PLAYLIST-TYPE":
			if seen[tag] {
				r.fail("%s twice", tag)
			}
			seen[tag] = true
			if (len(m.Segments) > 0 || started) && tag != "#EXT-X-ENDLIST" {
				switch tag {
				case "#EXT-X-MEDIA-SEQUENCE", "#EXT-X-DISCONTINUITY-SEQUENCE", "#EXT-X-SKIP":
					r.fail("%s after a segment (bis 4.4.3, 4.4.5.2)", tag)
				}
			}
		}
		switch tag {
		case "#EXT-X-VERSION":
			m.Version = int(r.integer(tag, value, 1000))
		case "#EXT-X-TARGETDURATION":
			m.TargetDuration = time.Duration(r.integer(tag, value, maxSeconds)) * time.Second
		case "#EXT-X-MEDIA-SEQUENCE":
			m.MediaSequence = r.integer(tag, value, math.MaxInt64)
		case "#EXT-X-DISCONTINUITY-SEQUENCE":
			m.Discontinuities, m.HasDiscontinuities = r.integer(tag, value, math.MaxInt64), true
		case "#EXT-X-INDEPENDENT-SEGMENTS":
			m.IndependentSegments = true
		case "#EXT-X-I-FRAMES-ONLY":
			m.IFramesOnly = true
		case "#EXT-X-BYTERANGE":
			// Without an offset it starts behind the range before it, which
			// nobody needs here.
			n, at, ok := strings.Cut(value, "@")
			if !ok {
				r.fail("%s without an offset", tag)
			}
			seg.Length, seg.Offset, started = int64(r.integer(tag, n, math.MaxInt64)), int64(r.integer(tag, at, math.MaxInt64)), true
		case "#EXT-X-PLAYLIST-TYPE":
			if m.Type = value; value != TypeEvent && value != TypeVOD {
				r.fail("EXT-X-PLAYLIST-TYPE:%s (bis 4.4.3.5)", value)
			}
		case "#EXT-X-PART-INF":
			m.PartTarget = r.seconds("PART-TARGET", r.required(tag, r.attributes(value), "PART-TARGET"))
			if m.PartTarget == 0 {
				r.fail("PART-TARGET of 0")
			}
		case "#EXT-X-SERVER-CONTROL":
			a := r.attributes(value)
			m.Control.CanSkipDateRanges = r.yes("CAN-SKIP-DATERANGES", a["CAN-SKIP-DATERANGES"])
			if m.Control.CanSkipDateRanges && a["CAN-SKIP-UNTIL"] == "" {
				r.fail("CAN-SKIP-DATERANGES without CAN-SKIP-UNTIL (bis 4.4.3.8)")
			}
			m.Control.CanBlockReload = r.yes("CAN-BLOCK-RELOAD", a["CAN-BLOCK-RELOAD"])
			for name, to := range map[string]*time.Duration{
				"CAN-SKIP-UNTIL": &m.Control.CanSkipUntil, "HOLD-BACK": &m.Control.HoldBack, "PART-HOLD-BACK": &m.Control.PartHoldBack,
			} {
				if v, ok := a[name]; ok {
					*to = r.seconds(name, v)
				}
			}
		case "#EXT-X-SKIP":
			a := r.attributes(value)
			m.Skipped = int(r.integer(tag, r.required(tag, a, "SKIPPED-SEGMENTS"), 1<<30))
			removed, ok := a["RECENTLY-REMOVED-DATERANGES"]
			if m.SkipsDateRanges = ok; removed != "" {
				m.RemovedDateRanges = strings.Split(removed, "\t")
			}
		case "#EXT-X-DATERANGE":
			m.DateRanges = append(m.DateRanges, r.dateRange(value))
		case "#EXT-X-ENDLIST":
			m.EndList = true
		case "#EXT-X-DISCONTINUITY":
			if len(seg.Parts) > 0 || timed {
				r.fail("EXT-X-DISCONTINUITY inside a segment (bis 4.4.4.9)")
			}
			seg.Discontinuity, started = true, true
		case "#EXT-X-MAP":
			if len(seg.Parts) > 0 || timed {
				r.fail("EXT-X-MAP inside a segment (bis 4.4.4.9)")
			}
			seg.Map, started = r.required(tag, r.attributes(value), "URI"), true
		case "#EXT-X-PROGRAM-DATE-TIME":
			if len(seg.Parts) > 0 {
				r.fail("EXT-X-PROGRAM-DATE-TIME after a part (bis 4.4.4.9)")
			}
			at, err := time.Parse(time.RFC3339Nano, value)
			if err != nil {
				r.fail("EXT-X-PROGRAM-DATE-TIME: %q is not a date", value)
			}
			seg.Time, started = at, true
		case "#EXT-X-GAP":
			seg.Gap, started = true, true
		case "#EXT-X-PART":
			if timed {
				r.fail("EXT-X-PART after EXTINF")
			}
			a := r.attributes(value)
			seg.Parts = append(seg.Parts, Part{
				URI: r.required(tag, a, "URI"), Duration: r.seconds("DURATION", r.required(tag, a, "DURATION")),
				Independent: r.yes("INDEPENDENT", a["INDEPENDENT"]), Gap: r.yes("GAP", a["GAP"]),
			})
			started = true
		case "#EXTINF":
			if timed {
				r.fail("EXTINF twice")
			}
			d, _, _ := strings.Cut(value, ",")
			seg.Duration, timed, started = r.seconds("EXTINF", d), true, true
		case "#EXT-X-PRELOAD-HINT":
			a := r.attributes(value)
			uri := r.required(tag, a, "URI")
			if r.required(tag, a, "TYPE") == "PART" {
				if m.Hint != "" {
					r.fail("a second hint of TYPE=PART (bis 4.4.5.3)")
				}
				m.Hint = uri
			}
		case "#EXT-X-RENDITION-REPORT":
			a := r.attributes(value)
			rep := Report{URI: r.required(tag, a, "URI"), Part: -1}
			if v, ok := a["LAST-MSN"]; ok {
				rep.MSN = r.integer("LAST-MSN", v, math.MaxInt64)
			}
			if v, ok := a["LAST-PART"]; ok {
				rep.Part = int(r.integer("LAST-PART", v, math.MaxInt32))
			}
			m.Reports = append(m.Reports, rep)
		case "#EXT-X-STREAM-INF", "#EXT-X-MEDIA", "#EXT-X-I-FRAME-STREAM-INF":
			r.fail("%s in a media playlist (bis 4.4.6)", tag)
		}
	}
	if r.err == nil && timed {
		r.fail("EXTINF without URI")
	}
	if r.err != nil {
		return nil, r.err
	}
	if started {
		if seg.Map == "" {
			seg.Map = inForce
		}
		m.Segments = append(m.Segments, seg)
	}
	return m, nil
}

// ParseMultivariant reads a multivariant playlist. The error is a
// *SyntaxError or ErrKind.
func ParseMultivariant(b []byte) (*Multivariant, error) {
	r := open(b)
	if r.err == nil && isMedia(b) {
		return nil, ErrKind
	}
	m := &Multivariant{Version: 1}
	var next *Variant
	for {
		s, ok := r.next()
		if !ok {
			break
		}
		if s[0] != '#' {
			if next == nil {
				r.fail("URI without EXT-X-STREAM-INF")
				break
			}
			next.URI = s
			m.Variants = append(m.Variants, *next)
			next = nil
			continue
		}
		if next != nil {
			r.fail("EXT-X-STREAM-INF without URI")
		}
		tag, value, _ := strings.Cut(s, ":")
		switch tag {
		case "#EXT-X-VERSION":
			m.Version = int(r.integer(tag, value, 1000))
		case "#EXT-X-INDEPENDENT-SEGMENTS":
			m.IndependentSegments = true
		case "#EXT-X-MEDIA":
			a := r.attributes(value)
			m.Renditions = append(m.Renditions, Rendition{
				Type: r.required(tag, a, "TYPE"), Group: r.required(tag, a, "GROUP-ID"), Name: r.required(tag, a, "NAME"),
				Language: a["LANGUAGE"], URI: a["URI"], Default: r.yes("DEFAULT", a["DEFAULT"]), Channels: a["CHANNELS"],
			})
		case "#EXT-X-I-FRAME-STREAM-INF":
			a := r.attributes(value)
			v := Variant{
				URI:       r.required(tag, a, "URI"),
				Bandwidth: int(r.integer("BANDWIDTH", r.required(tag, a, "BANDWIDTH"), math.MaxInt64)),
			}
			r.variant(&v, a)
			m.IFrames = append(m.IFrames, v)
		case "#EXT-X-STREAM-INF":
			a := r.attributes(value)
			next = &Variant{
				Bandwidth: int(r.integer("BANDWIDTH", r.required(tag, a, "BANDWIDTH"), math.MaxInt64)),
				Audio:     a["AUDIO"], Subtitles: a["SUBTITLES"],
			}
			r.variant(next, a)
		}
	}
	if r.err == nil && next != nil {
		r.fail("EXT-X-STREAM-INF without URI")
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

// variant reads the attributes that variants and I-frame playlists share.
func (r *reader) variant(to *Variant, a map[string]string) {
	to.Codecs, to.Range = a["CODECS"], a["VIDEO-RANGE"]
	if v, ok := a["AVERAGE-BANDWIDTH"]; ok {
		to.AverageBandwidth = int(r.integer("AVERAGE-BANDWIDTH", v, math.MaxInt64))
	}
	if v, ok := a["RESOLUTION"]; ok {
		w, h, _ := strings.Cut(v, "x")
		to.Width, to.Height = int(r.integer("RESOLUTION", w, 1<<20)), int(r.integer("RESOLUTION", h, 1<<20))
	}
	if v, ok := a["FRAME-RATE"]; ok {
		to.FrameRate = r.seconds("FRAME-RATE", v).Seconds()
	}
}
