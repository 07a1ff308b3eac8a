package playlist

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

// Media is a media playlist (bis, section 4.4.3).
type Media struct {
	Version             int
	IndependentSegments bool
	TargetDuration      time.Duration // whole seconds
	PartTarget          time.Duration // 0: no partial segments
	Control             ServerControl
	IFramesOnly         bool // EXT-X-I-FRAMES-ONLY (bis, section 4.4.3.6)
	// Type is EXT-X-PLAYLIST-TYPE: TypeEvent, TypeVOD, or "" for a playlist
	// whose segments may leave.
	Type          string
	MediaSequence uint64
	// Discontinuities is the discontinuity sequence number of the first
	// segment; HasDiscontinuities tells whether the playlist states it.
	Discontinuities    uint64
	HasDiscontinuities bool
	// Skipped is how many segments a delta update leaves out before the
	// first of Segments; 0 in a full playlist.
	Skipped int
	// DateRanges are listed before the first segment. SkipsDateRanges tells
	// that a delta update leaves out those that the client has, but for
	// RemovedDateRanges, which are in the playlist no longer.
	DateRanges        []DateRange
	SkipsDateRanges   bool
	RemovedDateRanges []string
	// Segments lists the segments. The last one may be open: it has parts
	// but no URI yet.
	Segments []Segment
	// Hint is the URI of the part that comes next; "" when none is hinted.
	Hint    string
	Reports []Report
	EndList bool
}

// Values of EXT-X-PLAYLIST-TYPE (bis, section 4.4.3.5).
const (
	TypeEvent = "EVENT" // segments are added at the end and never leave
	TypeVOD   = "VOD"   // nothing changes
)

// ServerControl is EXT-X-SERVER-CONTROL (bis, section 4.4.3.8). Zero
// durations are left out.
type ServerControl struct {
	CanBlockReload bool
	CanSkipUntil   time.Duration
	// CanSkipDateRanges tells that delta updates may leave out date ranges.
	CanSkipDateRanges bool
	HoldBack          time.Duration
	PartHoldBack      time.Duration
}

// Segment is a media segment with the tags that apply to it.
type Segment struct {
	URI           string // "" while the segment is open
	Duration      time.Duration
	Discontinuity bool   // EXT-X-DISCONTINUITY stands before it
	Map           string // URI of its EXT-X-MAP; stays in force until the next
	Time          time.Time
	Gap           bool // EXT-X-GAP: there is nothing to load
	Parts         []Part
	// Length and Offset are EXT-X-BYTERANGE (bis, section 4.4.4.2), in bytes:
	// the part of the resource at URI that is the segment; all of it when
	// Length is 0.
	Length, Offset int64
}

// Part is a partial segment (bis, section 4.4.4.9).
type Part struct {
	URI         string
	Duration    time.Duration
	Independent bool
	Gap         bool
}

// Report is EXT-X-RENDITION-REPORT (bis, section 4.4.5.4).
type Report struct {
	URI  string
	MSN  uint64 // of the last segment
	Part int    // index of its last part; -1: the segment has none
}

// Open tells whether the segment is still growing.
func (s *Segment) Open() bool { return s.URI == "" }

// Last returns the media sequence number and part index that a rendition
// report of m states; ok is false while m is empty.
func (m *Media) Last() (msn uint64, part int, ok bool) {
	n := len(m.Segments)
	if n == 0 {
		return 0, 0, false
	}
	return m.MediaSequence + uint64(m.Skipped+n-1), len(m.Segments[n-1].Parts) - 1, true
}

// timeLayout is ISO 8601 with milliseconds, as bis section 4.4.4.6 advises.
const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// Append appends the playlist's text: head, segments and tail.
func (m *Media) Append(b []byte) []byte {
	b = m.AppendHead(b)
	inForce := ""
	for i := range m.Segments {
		s := &m.Segments[i]
		b = s.Append(b, s.Map != "" && s.Map != inForce)
		if s.Map != "" {
			inForce = s.Map
		}
	}
	return m.AppendTail(b)
}

// AppendHead appends what stands before the first segment.
func (m *Media) AppendHead(b []byte) []byte {
	b = append(b, "#EXTM3U\n#EXT-X-VERSION:"...)
	b = strconv.AppendInt(b, int64(m.Version), 10)
	b = append(b, "\n#EXT-X-TARGETDURATION:"...)
	b = strconv.AppendInt(b, int64(m.TargetDuration/time.Second), 10)
	b = append(b, '\n')
	if m.Type != "" {
		b = append(b, "#EXT-X-PLAYLIST-TYPE:"...)
		b = append(append(b, m.Type...), '\n')
	}
	if m.IFramesOnly {
		b = append(b, "#EXT-X-I-FRAMES-ONLY\n"...)
	}
	if m.IndependentSegments {
		b = append(b, "#EXT-X-INDEPENDENT-SEGMENTS\n"...)
	}
	if m.PartTarget > 0 {
		b = append(b, "#EXT-X-PART-INF:PART-TARGET="...)
		b = append(appendSeconds(b, m.PartTarget), '\n')
	}
	b = m.Control.append(b)
	b = append(b, "#EXT-X-MEDIA-SEQUENCE:"...)
	b = append(strconv.AppendUint(b, m.MediaSequence, 10), '\n')
	if m.HasDiscontinuities {
		b = append(b, "#EXT-X-DISCONTINUITY-SEQUENCE:"...)
		b = append(strconv.AppendUint(b, m.Discontinuities, 10), '\n')
	}
	if m.Skipped > 0 {
		b = m.appendSkip(b)
	}
	for i := range m.DateRanges {
		b = m.DateRanges[i].append(b)
	}
	return b
}

// AppendTail appends what stands behind the last segment.
func (m *Media) AppendTail(b []byte) []byte {
	if m.Hint != "" {
		b = append(b, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI="...)
		b = append(appendQuoted(b, m.Hint), '\n')
	}
	for _, r := range m.Reports {
		b = append(b, "#EXT-X-RENDITION-REPORT:URI="...)
		b = appendQuoted(b, r.URI)
		b = append(b, ",LAST-MSN="...)
		b = strconv.AppendUint(b, r.MSN, 10)
		if r.Part >= 0 {
			b = append(b, ",LAST-PART="...)
			b = strconv.AppendInt(b, int64(r.Part), 10)
		}
		b = append(b, '\n')
	}
	if m.EndList {
		b = append(b, "#EXT-X-ENDLIST\n"...)
	}
	return b
}

func (c *ServerControl) append(b []byte) []byte {
	if *c == (ServerControl{}) {
		return b
	}
	b = append(b, "#EXT-X-SERVER-CONTROL:"...)
	start := len(b)
	if c.CanBlockReload {
		b = append(b, "CAN-BLOCK-RELOAD=YES"...)
	}
	attribute := func(name string, d time.Duration) {
		if d == 0 {
			return
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(append(b, name...), '=')
		b = appendSeconds(b, d)
	}
	attribute("PART-HOLD-BACK", c.PartHoldBack)
	attribute("HOLD-BACK", c.HoldBack)
	attribute("CAN-SKIP-UNTIL", c.CanSkipUntil)
	if c.CanSkipDateRanges {
		b = append(b, ",CAN-SKIP-DATERANGES=YES"...)
	}
	return append(b, '\n')
}

// Append appends the tags and the URI of the segment; its EXT-X-MAP only
// withMap, as the one before it may have brought the same into force.
func (s *Segment) Append(b []byte, withMap bool) []byte {
	if s.Discontinuity {
		b = append(b, "#EXT-X-DISCONTINUITY\n"...)
	}
	if withMap && s.Map != "" {
		b = append(b, "#EXT-X-MAP:URI="...)
		b = append(appendQuoted(b, s.Map), '\n')
	}
	if !s.Time.IsZero() {
		b = append(b, "#EXT-X-PROGRAM-DATE-TIME:"...)
		b = append(s.Time.AppendFormat(b, timeLayout), '\n')
	}
	if s.Gap {
		b = append(b, "#EXT-X-GAP\n"...)
	}
	for i := range s.Parts {
		p := &s.Parts[i]
		b = append(b, "#EXT-X-PART:DURATION="...)
		b = appendSeconds(b, p.Duration)
		b = append(b, ",URI="...)
		b = appendQuoted(b, p.URI)
		if p.Independent {
			b = append(b, ",INDEPENDENT=YES"...)
		}
		if p.Gap {
			b = append(b, ",GAP=YES"...)
		}
		b = append(b, '\n')
	}
	if s.Open() {
		return b
	}
	b = append(b, "#EXTINF:"...)
	b = appendSeconds(b, s.Duration)
	b = append(b, ",\n"...)
	if s.Length > 0 {
		b = append(b, "#EXT-X-BYTERANGE:"...)
		b = strconv.AppendInt(b, s.Length, 10)
		b = append(strconv.AppendInt(append(b, '@'), s.Offset, 10), '\n')
	}
	return append(append(b, s.URI...), '\n')
}

// appendQuoted appends a quoted-string. What cannot stand in one is left out.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if c := s[i]; c != '"' && c != '\n' && c != '\r' {
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// appendSeconds appends d in seconds, to the microsecond.
func appendSeconds(b []byte, d time.Duration) []byte {
	us := d.Round(time.Microsecond).Microseconds()
	b = strconv.AppendInt(b, us/1e6, 10)
	if us %= 1e6; us == 0 {
		return b
	}
	b = append(b, '.')
	for f := int64(1e5); us > 0; f /= 10 {
		b = append(b, byte('0'+us/f))
		us %= f
	}
	return b
}

// Apply returns the full playlist that a client holds after the delta update
// d of m (bis, section 6.2.5.1).
func (m *Media) Apply(d *Media) (*Media, error) {
	if d.Skipped == 0 {
		return d, nil
	}
	if d.MediaSequence < m.MediaSequence || m.Skipped > 0 {
		return nil, fmt.Errorf("playlist: delta update begins at %d, before the %d that is known", d.MediaSequence, m.MediaSequence)
	}
	from := d.MediaSequence - m.MediaSequence
	if n := uint64(len(m.Segments)); from+uint64(d.Skipped) > n {
		return nil, fmt.Errorf("playlist: delta update skips to %d, beyond the %d segments that are known", from+uint64(d.Skipped), n)
	}
	full := *d
	full.Skipped = 0
	full.DateRanges, full.SkipsDateRanges, full.RemovedDateRanges = m.applyDateRanges(d), false, nil
	full.Segments = make([]Segment, 0, d.Skipped+len(d.Segments))
	full.Segments = append(full.Segments, m.Segments[from:from+uint64(d.Skipped)]...)
	for i := range full.Segments {
		if full.Segments[i].Open() {
			return nil, fmt.Errorf("playlist: delta update skips a segment that was open")
		}
	}
	full.Segments = append(full.Segments, d.Segments...)
	inForce := ""
	for i := range full.Segments {
		if s := &full.Segments[i]; s.Map == "" {
			s.Map = inForce
		} else {
			inForce = s.Map
		}
	}
	return &full, nil
}

// isMedia tells a media playlist from a multivariant one by its tags.
func isMedia(b []byte) bool { return bytes.Contains(b, []byte("\n#EXT-X-TARGETDURATION:")) }
