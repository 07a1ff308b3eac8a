package codec

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/freshet-live/freshet/media"
)

const (
	// MaxCueSize bounds a cue block, in bytes: pages of text.
	MaxCueSize = 16 << 10
	// MaxWebVTTSize bounds a file, in bytes: a day of speech is a few MiB.
	MaxWebVTTSize = 32 << 20
	// maxCueTime bounds the timings of a cue, so that sums stay in range.
	maxCueTime = 1000 * time.Hour
)

// Cue is one cue of WebVTT (W3C WebVTT, section 4.1).
type Cue struct {
	ID         string        // "" for none
	Start, End time.Duration // to the millisecond; Start < End
	Settings   string        // as written behind the timings
	Text       string        // lines end with "\n", the last without
}

// WebVTTFormat returns the Format of a track of cues. language is a tag of
// RFC 5646, label for people; both may be empty.
func WebVTTFormat(language, label string) media.Format {
	return media.Format{Codec: media.WebVTT, MIME: "wvtt", Language: language, Label: label}
}

// Append appends the cue as a block with its timings moved by shift. The
// block ends with a line break; a blank line has to follow before the next.
func (c *Cue) Append(b []byte, shift time.Duration) []byte {
	if c.ID != "" {
		b = append(append(b, c.ID...), '\n')
	}
	b = appendCueTime(b, c.Start+shift)
	b = append(b, " --> "...)
	b = appendCueTime(b, c.End+shift)
	if c.Settings != "" {
		b = append(append(b, ' '), c.Settings...)
	}
	return append(append(append(b, '\n'), c.Text...), '\n')
}

// appendCueTime appends a timestamp with at least two digits of hours.
func appendCueTime(b []byte, d time.Duration) []byte {
	ms := max(0, d.Milliseconds())
	return fmt.Appendf(b, "%02d:%02d:%02d.%03d", ms/3600_000, ms/60_000%60, ms/1000%60, ms%1000)
}

// ParseCue parses one cue block: an identifier, if any, timings with settings,
// and the text. Errors wrap ErrMalformed or ErrTooLarge.
func ParseCue(block []byte) (Cue, error) {
	if len(block) > MaxCueSize {
		return Cue{}, fmt.Errorf("%w: WebVTT cue of %d bytes", ErrTooLarge, len(block))
	}
	lines := splitLines(block)
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return parseCue(lines)
}

// splitLines returns the lines of WebVTT text. What is not UTF-8, and NUL,
// are replaced as the specification has it (section 6.1).
func splitLines(b []byte) []string {
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		b = bytes.ReplaceAll(bytes.ToValidUTF8(b, []byte("\uFFFD")), []byte{0}, []byte("\uFFFD"))
	}
	s := strings.ReplaceAll(string(b), "\r\n", "\n")
	return strings.Split(strings.ReplaceAll(s, "\r", "\n"), "\n")
}

const arrow = "-->"

func parseCue(lines []string) (c Cue, err error) {
	if len(lines) > 1 && !strings.Contains(lines[0], arrow) {
		c.ID, lines = lines[0], lines[1:]
	}
	if len(lines) == 0 {
		return Cue{}, fmt.Errorf("%w: empty WebVTT cue", ErrMalformed)
	}
	start, rest, ok := strings.Cut(lines[0], arrow)
	if !ok {
		return Cue{}, fmt.Errorf("%w: WebVTT cue without timings", ErrMalformed)
	}
	end, settings, _ := strings.Cut(strings.ReplaceAll(strings.TrimLeft(rest, " \t"), "\t", " "), " ")
	if c.Start, err = parseCueTime(strings.Trim(start, " \t")); err == nil {
		c.End, err = parseCueTime(end)
	}
	switch {
	case err != nil:
		return Cue{}, err
	case c.End <= c.Start:
		return Cue{}, fmt.Errorf("%w: WebVTT cue that ends at %v and starts at %v", ErrMalformed, c.End, c.Start)
	}
	c.Settings = strings.TrimSpace(settings)
	for _, line := range append(lines[1:], c.Settings) {
		// A blank line or an arrow would end the cue where it is written.
		if strings.Contains(line, arrow) {
			return Cue{}, fmt.Errorf("%w: %q in the text of a WebVTT cue", ErrMalformed, arrow)
		}
	}
	for _, line := range lines[1:] {
		if line == "" {
			return Cue{}, fmt.Errorf("%w: blank line in a WebVTT cue", ErrMalformed)
		}
	}
	c.Text = strings.Join(lines[1:], "\n")
	return c, nil
}

// parseCueTime parses [hours:]minutes:seconds.milliseconds (section 4.1).
func parseCueTime(s string) (time.Duration, error) {
	bad := fmt.Errorf("%w: WebVTT timestamp %.32q", ErrMalformed, s)
	fields := strings.Split(s, ":")
	if len(fields) == 2 {
		fields = append([]string{"00"}, fields...)
	}
	if len(fields) != 3 || len(fields[0]) < 2 || len(fields[1]) != 2 {
		return 0, bad
	}
	seconds, millis, ok := strings.Cut(fields[2], ".")
	if !ok || len(seconds) != 2 || len(millis) != 3 {
		return 0, bad
	}
	var n [4]uint64
	for i, f := range []string{fields[0], fields[1], seconds, millis} {
		v, err := strconv.ParseUint(f, 10, 31)
		if err != nil || strings.TrimLeft(f, "0123456789") != "" {
			return 0, bad
		}
		n[i] = v
	}
	d := time.Duration(n[0])*time.Hour + time.Duration(n[1])*time.Minute + time.Duration(n[2])*time.Second + time.Duration(n[3])*time.Millisecond
	if n[1] > 59 || n[2] > 59 || n[0] > uint64(maxCueTime/time.Hour) {
		return 0, bad
	}
	return d, nil
}

// ParseWebVTT parses a file and returns its cues in the file's order. Comments,
// styles and regions are passed over. The error names the line; it wraps
// ErrMalformed or ErrTooLarge.
func ParseWebVTT(b []byte) ([]Cue, error) {
	if len(b) > MaxWebVTTSize {
		return nil, fmt.Errorf("%w: WebVTT file of over %d bytes", ErrTooLarge, MaxWebVTTSize)
	}
	lines := splitLines(bytes.TrimPrefix(b, []byte("\uFEFF")))
	if head := lines[0]; head != "WEBVTT" && !strings.HasPrefix(head, "WEBVTT ") && !strings.HasPrefix(head, "WEBVTT\t") {
		return nil, fmt.Errorf("%w: not WebVTT: the first line is not WEBVTT", ErrMalformed)
	}
	var cues []Cue
	i := 0
	for i < len(lines) && lines[i] != "" {
		i++ // the header
	}
	for i < len(lines) {
		from := i
		for i < len(lines) && lines[i] != "" {
			i++
		}
		block := lines[from:i]
		i++
		if len(block) == 0 || !strings.Contains(block[0], arrow) && (len(block) == 1 || !strings.Contains(block[1], arrow)) {
			continue
		}
		size := len(block)
		for _, line := range block {
			size += len(line)
		}
		if size > MaxCueSize {
			return nil, fmt.Errorf("%w: line %d: WebVTT cue of %d bytes", ErrTooLarge, from+1, size)
		}
		c, err := parseCue(block)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", from+1, err)
		}
		cues = append(cues, c)
	}
	return cues, nil
}
