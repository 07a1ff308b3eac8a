package playlist

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
)

// Line is one line of a playlist that means something to clients.
type Line struct {
	Number int    // from 1
	Tag    string // with its "#"; "" for a URI
	Value  string // what follows the tag's colon, or the URI
}

// Scan yields the tags and URIs of a playlist's text, whatever their sense.
// Blank lines and comments are left out. It is for readers that go on after
// what ParseMedia and ParseMultivariant refuse.
func Scan(b []byte) iter.Seq[Line] {
	return func(yield func(Line) bool) {
		for n := 1; len(b) > 0; n++ {
			var text []byte
			text, b, _ = bytes.Cut(b, []byte("\n"))
			s := string(bytes.TrimSuffix(text, []byte("\r")))
			l := Line{Number: n, Value: s}
			if strings.HasPrefix(s, "#") {
				l.Tag, l.Value, _ = strings.Cut(s, ":")
			}
			if s == "" || l.Tag != "" && !strings.HasPrefix(l.Tag, "#EXT") {
				continue
			}
			if !yield(l) {
				return
			}
		}
	}
}

// ParseAttributes reads an attribute list (bis, section 4.2). Quotes are
// taken off. On an error the attributes before it are returned too.
func ParseAttributes(s string) (map[string]string, error) {
	out := make(map[string]string)
	for s != "" {
		name, rest, ok := strings.Cut(s, "=")
		if !ok || name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
			return out, fmt.Errorf("malformed attribute list at %q (bis 4.2)", s)
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			value, rest, ok = strings.Cut(rest[1:], `"`)
			if !ok || rest != "" && rest[0] != ',' {
				return out, fmt.Errorf("attribute %s: unterminated string (bis 4.2)", name)
			}
			rest = strings.TrimPrefix(rest, ",")
		} else {
			value, rest, _ = strings.Cut(rest, ",")
			if value == "" || strings.ContainsAny(value, "\" ") {
				return out, fmt.Errorf("attribute %s: malformed value %q (bis 4.2)", name, value)
			}
		}
		if _, twice := out[name]; twice {
			return out, fmt.Errorf("attribute %s twice (bis 4.2)", name)
		}
		out[name] = value
		s = rest
	}
	return out, nil
}
