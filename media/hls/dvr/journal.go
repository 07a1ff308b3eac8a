package dvr

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Version is the version of the journal's records. Journals of other
// versions are not read.
const Version = 1

// Limits of a journal, far beyond what a rendition of a day needs.
const (
	maxLine     = 64 << 10  // bytes of a record: a segment and its parts are a hundredth
	maxJournal  = 256 << 20 // bytes that are read: ten days of segments
	maxParts    = 1000      // of a segment; 10 s of parts are 20
	maxInits    = 1000
	maxDuration = time.Hour // of a part or segment
)

// Record is one line of a journal: one of its fields is set.
type Record struct {
	Head    *Head    `json:"head,omitempty"`
	Init    *Init    `json:"init,omitempty"`
	Segment *Segment `json:"segment,omitempty"` // a segment begins, or is listed whole
	Part    *Part    `json:"part,omitempty"`    // of the segment that is open
	Close   *Close   `json:"close,omitempty"`   // the open segment is complete
	First   uint64   `json:"first,omitempty"`   // segments with lower numbers are no longer listed
	End     bool     `json:"end,omitempty"`     // the playlist has ended
}

// Head begins every journal.
type Head struct {
	Version int    `json:"version"`
	Track   string `json:"track"` // in the catalog
	Path    string `json:"path"`  // folder of the rendition's URIs
}

// Init is an initialization segment, in force from the next segment on.
type Init struct {
	Name   string          `json:"name"` // "key/file"
	Format json.RawMessage `json:"format"`
}

// Segment is what a playlist says of a media segment, and what it takes to
// go on behind it.
type Segment struct {
	MSN  uint64 `json:"msn"`
	File string `json:"file,omitempty"` // on disk; "" while nothing was written
	Name string `json:"name,omitempty"` // "key/file"; "" while the segment is open
	Init string `json:"init"`           // name of its initialization segment
	Time int64  `json:"time"`           // EXT-X-PROGRAM-DATE-TIME, milliseconds since the Unix epoch

	Discontinuity bool `json:"disc,omitempty"`
	// Discontinuities counts those up to and including the segment's own.
	Discontinuities uint64 `json:"discs,omitempty"`
	Gap             bool   `json:"gap,omitempty"`

	// Sums over all parts, of which Parts lists those still worth it.
	Duration time.Duration `json:"dur,omitempty"` // nanoseconds
	Size     int64         `json:"size,omitempty"`
	Frames   int           `json:"frames,omitempty"`
	Parts    []Part        `json:"parts,omitempty"`
	// Key is how many bytes of the file, from its start, hold the first key
	// frame alone; 0: there is no such prefix.
	Key int64 `json:"key,omitempty"`

	// Position is where the media goes on behind the last part.
	Position Position `json:"pos,omitzero"`
}

// Part is what a playlist says of a part.
type Part struct {
	Name        string        `json:"name,omitempty"` // "key/file"; "" for a gap
	Duration    time.Duration `json:"dur"`            // nanoseconds
	Size        int64         `json:"size,omitempty"`
	Frames      int           `json:"frames,omitempty"`
	Independent bool          `json:"key,omitempty"`
	Gap         bool          `json:"gap,omitempty"`
	Prefix      int64         `json:"prefix,omitempty"` // of a segment's first part: Key of the segment
	Position    Position      `json:"pos,omitzero"`
}

// Position is a point of a rendition's timeline.
type Position struct {
	Anchor  int64 `json:"anchor,omitempty"`  // of the clock, microseconds since the Unix epoch
	Decode  int64 `json:"decode,omitempty"`  // where the next sample is due, in ticks
	Present int64 `json:"present,omitempty"` // highest presentation time so far, microseconds since the Unix epoch
	Offset  int64 `json:"offset,omitempty"`  // presentation minus decode time at key frames, in ticks
	// Group is the ID of the MoQ Group that the newest frame came in, which
	// tells whether the same publisher goes on; 0: unknown.
	Group uint64 `json:"group,omitempty"`
}

// Close completes the open segment.
type Close struct {
	Name string `json:"name,omitempty"` // "key/file"; "" for a gap
	Gap  bool   `json:"gap,omitempty"`
	Key  int64  `json:"key,omitempty"`
	// Size is how many bytes lie behind the parts: a segment that is not its
	// parts, one after the other.
	Size int64 `json:"size,omitempty"`
}

// State is what the records of a journal add up to.
type State struct {
	Head     Head
	Inits    []Init
	Segments []Segment // complete, without a hole in their numbers
	Open     *Segment
	Ended    bool
}

// errRecord tells that a record makes no sense where it stands.
var errRecord = errors.New("dvr: record out of place")

// Apply adds r to s. After an error s is as before.
func (s *State) Apply(r Record) error {
	if (r.Head != nil) != (s.Head.Version == 0) {
		return fmt.Errorf("%w: one head comes first", errRecord)
	}
	if s.Ended {
		return fmt.Errorf("%w: behind the end", errRecord)
	}
	switch {
	case r.Head != nil:
		if r.Head.Version != Version {
			return fmt.Errorf("dvr: journal of version %d", r.Head.Version)
		}
		s.Head = *r.Head
	case r.Init != nil:
		if len(s.Inits) == maxInits || !validName(r.Init.Name) {
			return fmt.Errorf("%w: initialization segment %q", errRecord, r.Init.Name)
		}
		// One that comes back into force is the last again.
		s.Inits = slices.DeleteFunc(s.Inits, func(i Init) bool { return i.Name == r.Init.Name })
		s.Inits = append(s.Inits, *r.Init)
	case r.Segment != nil:
		return s.applySegment(*r.Segment)
	case r.Part != nil:
		return s.applyPart(*r.Part)
	case r.Close != nil:
		c := r.Close
		if s.Open == nil || !c.Gap && (!validName(c.Name) || s.Open.File == "") || c.Key < 0 || c.Key > s.Open.Size ||
			c.Size < 0 || s.Open.Size > math.MaxInt64-c.Size {
			return fmt.Errorf("%w: end of a segment", errRecord)
		}
		s.Open.Name, s.Open.Gap, s.Open.Key = c.Name, c.Gap, c.Key
		s.Open.Size += c.Size
		s.Segments = append(s.Segments, *s.Open)
		s.Open = nil
	case r.First > 0:
		gone := 0
		for gone < len(s.Segments) && s.Segments[gone].MSN < r.First {
			gone++
		}
		s.Segments = slices.Delete(s.Segments, 0, gone)
	case r.End:
		s.Ended = true
	default:
		return fmt.Errorf("%w: empty", errRecord)
	}
	return nil
}

func (s *State) applySegment(g Segment) error {
	if next, ok := s.next(); ok && g.MSN < next || g.MSN == math.MaxUint64 {
		return fmt.Errorf("%w: segment %d", errRecord, g.MSN)
	}
	if len(g.Parts) > maxParts || g.File != "" && !validFile(g.File) || !validName(g.Init) ||
		g.Duration < 0 || g.Duration > maxDuration || g.Size < 0 || g.Frames < 0 || g.Key < 0 || g.Key > g.Size {
		return fmt.Errorf("%w: segment %d", errRecord, g.MSN)
	}
	for i := range g.Parts {
		if !g.Parts[i].valid() {
			return fmt.Errorf("%w: part %d of segment %d", errRecord, i, g.MSN)
		}
	}
	whole := g.Name != "" || g.Gap
	if whole && !g.Gap && (!validName(g.Name) || g.File == "") {
		return fmt.Errorf("%w: segment %d", errRecord, g.MSN)
	}
	// Segments that could not be written leave a hole in the numbers. What
	// lies before it cannot be listed together with what follows.
	if next, ok := s.next(); ok && next != g.MSN || s.seen() {
		s.Segments = nil
	}
	s.Open = nil
	if whole {
		s.Segments = append(s.Segments, g)
	} else {
		s.Open = &g
	}
	return nil
}

func (s *State) applyPart(p Part) error {
	g := s.Open
	if g == nil || len(g.Parts) >= maxParts || !p.valid() || g.Duration+p.Duration > maxDuration || g.Size > math.MaxInt64-p.Size {
		return fmt.Errorf("%w: part", errRecord)
	}
	if len(g.Parts) == 0 {
		g.Key = p.Prefix
	}
	g.Parts = append(g.Parts, p)
	g.Duration += p.Duration
	g.Size += p.Size
	g.Frames += p.Frames
	g.Position = p.Position
	return nil
}

func (p *Part) valid() bool {
	return p.Duration >= 0 && p.Prefix >= 0 && p.Prefix <= p.Size && p.Duration <= maxDuration && p.Size >= 0 && p.Frames >= 0 && p.Frames < 1<<20 &&
		(p.Gap && p.Size == 0 || validName(p.Name))
}

// seen tells whether the open segment has a part. Until then nobody has seen
// it, and who takes over begins it again.
func (s *State) seen() bool { return s.Open != nil && len(s.Open.Parts) > 0 }

// next is the number that the next segment must have to be listed together
// with those before it.
func (s *State) next() (uint64, bool) {
	if s.seen() {
		return s.Open.MSN + 1, true
	}
	if n := len(s.Segments); n > 0 {
		return s.Segments[n-1].MSN + 1, true
	}
	return 0, false
}

// validFile tells whether name may name a file of a rendition's folder.
func validFile(name string) bool {
	return name != "" && len(name) <= 128 && name[0] != '.' && name != journalName && !strings.ContainsAny(name, "/\\\x00\n\"")
}

// FileOf returns the file of a "key/file" name, as it is called on disk.
func FileOf(name string) string {
	_, file, _ := strings.Cut(name, "/")
	return file
}

// validName tells whether name is a key and the name of a file.
func validName(name string) bool {
	key, file, ok := strings.Cut(name, "/")
	return ok && validFile(key) && validFile(file)
}

// Records returns the fewest records that add up to s.
func (s *State) Records() []Record {
	out := []Record{{Head: &s.Head}}
	used := make(map[string]bool)
	for i := range s.Segments {
		used[s.Segments[i].Init] = true
	}
	if s.Open != nil {
		used[s.Open.Init] = true
	}
	for i := range s.Inits {
		if used[s.Inits[i].Name] || i == len(s.Inits)-1 {
			out = append(out, Record{Init: &s.Inits[i]})
		}
	}
	for i := range s.Segments {
		out = append(out, Record{Segment: &s.Segments[i]})
	}
	if s.Open != nil {
		out = append(out, Record{Segment: s.Open})
	}
	if s.Ended {
		out = append(out, Record{End: true})
	}
	return out
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendRecord appends the line of r: its checksum (CRC-32C, hexadecimal), a
// space, and its JSON.
func appendRecord(b []byte, r Record) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return b, fmt.Errorf("dvr: record: %w", err)
	}
	if len(text)+10 > maxLine {
		return b, fmt.Errorf("%w: %d bytes", errRecord, len(text))
	}
	b = fmt.Appendf(b, "%08x ", crc32.Checksum(text, castagnoli))
	return append(append(b, text...), '\n'), nil
}

// Replay reads a journal. It returns what the whole records at its start add
// up to, and how many bytes they take: a process that was killed, or a
// medium that lost power, leaves a torn end, which is no error.
func Replay(b []byte) (s State, whole int) {
	for whole < len(b) {
		end := bytes.IndexByte(b[whole:min(len(b), whole+maxLine)], '\n')
		if end < 10 {
			return s, whole
		}
		line := b[whole : whole+end]
		sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
		if err != nil || line[8] != ' ' || uint32(sum) != crc32.Checksum(line[9:], castagnoli) {
			return s, whole
		}
		var r Record
		if json.Unmarshal(line[9:], &r) != nil || s.Apply(r) != nil {
			return s, whole
		}
		whole += end + 1
	}
	return s, whole
}
