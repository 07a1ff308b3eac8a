package hlscheck

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Severity tells how much a finding weighs.
type Severity uint8

// The severities.
const (
	// Note is advice, or says what was not looked into. It is no finding.
	Note Severity = iota
	// Warning breaks a SHOULD, an authoring recommendation, or what players
	// in use are known to need.
	Warning
	// Error breaks a MUST.
	Error
)

// String returns "note", "warning" or "error".
func (s Severity) String() string { return [...]string{"note", "warning", "error"}[s] }

// MarshalText implements encoding.TextMarshaler.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Severity) UnmarshalText(b []byte) error {
	for _, v := range []Severity{Note, Warning, Error} {
		if v.String() == string(b) {
			*s = v
			return nil
		}
	}
	return fmt.Errorf("hlscheck: unknown severity %q", b)
}

// Rule is one thing that is checked.
type Rule struct {
	ID       string // stable, kebab-case
	Severity Severity
	Source   string // document and section or item
	Summary  string // what the rule demands
}

// Finding is a violation of a rule. Violations of one rule in one playlist
// are folded into the first.
type Finding struct {
	Rule     string    `json:"rule"`
	Severity Severity  `json:"severity"`
	Source   string    `json:"source"`
	URL      string    `json:"url"`            // of the playlist or media
	Tag      string    `json:"tag,omitempty"`  // that the rule is about
	Line     int       `json:"line,omitempty"` // in the playlist, from 1
	Time     time.Time `json:"time"`           // first seen
	Last     time.Time `json:"last"`           // last seen
	Count    int       `json:"count"`
	Detail   string    `json:"detail"` // of the first
}

// String returns the finding in one line.
func (f Finding) String() string {
	where := f.URL
	if f.Line > 0 {
		where = fmt.Sprintf("%s:%d", f.URL, f.Line)
	}
	if f.Tag != "" {
		where += " " + f.Tag
	}
	times := ""
	if f.Count > 1 {
		times = fmt.Sprintf(" (%d times until %s)", f.Count, f.Last.Format(time.TimeOnly))
	}
	return fmt.Sprintf("%s %s %s [%s] %s: %s%s", f.Time.Format(time.TimeOnly), f.Severity, f.Rule, f.Source, where, f.Detail, times)
}

// Stream sums up one media playlist.
type Stream struct {
	URL      string  `json:"url"`
	Kind     string  `json:"kind"` // variant, audio, subtitles, i-frame or media
	Versions int     `json:"versions"`
	Deltas   int     `json:"deltas"`
	Segments int     `json:"segments"` // loaded
	Parts    int     `json:"parts"`    // loaded
	Hints    int     `json:"hints"`    // parts loaded ahead by their hint
	Seconds  float64 `json:"seconds"`  // of media in the loaded segments
	Bytes    int64   `json:"bytes"`    // of the loaded segments
	PeakBits int     `json:"peak_bits_per_second"`
	Codecs   string  `json:"codecs,omitempty"` // as the initialization segments say
}

// Report is the outcome of a run.
type Report struct {
	URL      string    `json:"url"`
	Kind     string    `json:"kind"` // low-latency, live or vod
	Started  time.Time `json:"started"`
	Seconds  float64   `json:"seconds"`
	Requests int64     `json:"requests"`
	Bytes    int64     `json:"bytes"`
	Protocol string    `json:"protocol"` // HTTP/1.1 or HTTP/2.0
	Streams  []Stream  `json:"streams"`
	Findings []Finding `json:"findings"`
	// Ignored are findings of the rules that Config.Ignore names.
	Ignored []Finding `json:"ignored,omitempty"`
	Notes   []Finding `json:"notes,omitempty"`
	// Unkept counts violations beyond the bound on kept findings.
	Unkept int `json:"unkept,omitempty"`
}

// JSON returns the report as indented JSON.
func (r *Report) JSON() []byte {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		panic(err) // no type in it can fail
	}
	return append(b, '\n')
}

// maxFindings bounds the findings that are kept apart. A stream with more
// distinct faults than this needs no further list.
const maxFindings = 1000

// site is where a violation stands.
type site struct {
	url  string
	tag  string
	line int
}

type findingKey struct{ rule, url string }

// collector folds and bounds findings. It is safe for concurrent use.
type collector struct {
	now func() time.Time

	mu     sync.Mutex
	byKey  map[findingKey]*Finding
	order  []*Finding
	unkept int
}

func newCollector() *collector {
	return &collector{now: time.Now, byKey: make(map[findingKey]*Finding)}
}

func (c *collector) add(r *Rule, at site, format string, args ...any) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	key := findingKey{r.ID, at.url}
	if f := c.byKey[key]; f != nil {
		f.Count++
		f.Last = now
		return
	}
	if len(c.order) >= maxFindings {
		c.unkept++
		return
	}
	f := &Finding{
		Rule: r.ID, Severity: r.Severity, Source: r.Source, URL: at.url, Tag: at.tag, Line: at.line,
		Time: now, Last: now, Count: 1, Detail: fmt.Sprintf(format, args...),
	}
	c.byKey[key] = f
	c.order = append(c.order, f)
}

// into sorts what was found into a report.
func (c *collector) into(r *Report, ignore []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.order {
		switch {
		case f.Severity == Note:
			r.Notes = append(r.Notes, *f)
		case slices.Contains(ignore, f.Rule):
			r.Ignored = append(r.Ignored, *f)
		default:
			r.Findings = append(r.Findings, *f)
		}
	}
	r.Unkept = c.unkept
}
