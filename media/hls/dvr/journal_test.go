package dvr

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// life makes the records of a rendition that goes through everything.
func life(rng *rand.Rand, n int) (out []Record) {
	out = append(out, Record{Head: &Head{Version: Version, Track: "video0", Path: "video0"}})
	init := func(i int) Record {
		return Record{Init: &Init{Name: fmt.Sprintf("k%d/init-%d.mp4", i, i), Format: json.RawMessage(`{"codec":"H264"}`)}}
	}
	inForce := 0
	out = append(out, init(0))
	msn, first, discs := uint64(rng.IntN(1000)), uint64(0), uint64(0)
	first = msn
	for range n {
		if rng.IntN(8) == 0 {
			inForce = rng.IntN(4)
			out = append(out, init(inForce))
			discs++
		}
		g := Segment{
			MSN: msn, File: fmt.Sprintf("e-s%d.m4s", msn), Init: fmt.Sprintf("k%d/init-%d.mp4", inForce, inForce),
			Time: rng.Int64N(1 << 41), Discontinuity: rng.IntN(9) == 0, Discontinuities: discs,
		}
		out = append(out, Record{Segment: &g})
		gap := rng.IntN(9) == 0
		for i := range rng.IntN(9) {
			p := Part{Duration: time.Duration(rng.Int64N(int64(time.Second))), Gap: gap, Position: Position{Anchor: 1, Decode: rng.Int64(), Present: rng.Int64(), Offset: -3}}
			if !gap {
				p.Name, p.Size, p.Frames, p.Independent = fmt.Sprintf("k/e-p%d-%d.m4s", msn, i), rng.Int64N(1<<20), rng.IntN(60), i == 0
			}
			out = append(out, Record{Part: &p})
		}
		switch rng.IntN(20) {
		case 0: // the disk failed in the middle of the segment: it is never closed
		case 1:
			msn += uint64(rng.IntN(5)) // and for some time
		default:
			c := Close{Gap: gap}
			if !gap {
				c.Name = fmt.Sprintf("k/e-s%d.m4s", msn)
			}
			out = append(out, Record{Close: &c})
		}
		msn++
		if rng.IntN(3) == 0 {
			first = min(first+uint64(rng.IntN(3)), msn)
			out = append(out, Record{First: max(first, 1)})
		}
	}
	if rng.IntN(2) == 0 {
		out = append(out, Record{End: true})
	}
	return out
}

func apply(t *testing.T, records []Record) (s State, text []byte) {
	t.Helper()
	for _, r := range records {
		var err error
		if text, err = appendRecord(text, r); err != nil {
			t.Fatal(err)
		}
		if err := s.Apply(r); err != nil {
			t.Fatal(err)
		}
	}
	return s, text
}

// equal compares states; empty and no segments are the same.
func equal(a, b State) bool {
	for _, s := range []*State{&a, &b} {
		if len(s.Segments) == 0 {
			s.Segments = nil
		}
	}
	return reflect.DeepEqual(a, b)
}

// TestRoundTrip writes and reads the journals of many lives, as they were
// written and rewritten.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		want, text := apply(t, life(rng, rng.IntN(40)))
		got, whole := Replay(text)
		if whole != len(text) || !equal(got, want) {
			t.Fatalf("seed %d: %d of %d bytes\n%+v\n%+v", seed, whole, len(text), got, want)
		}
		short, text := apply(t, want.Records())
		if again, whole := Replay(text); whole != len(text) || !equal(again, short) {
			t.Fatalf("seed %d: rewritten, %d of %d bytes", seed, whole, len(text))
		}
		// Initialization segments that nothing needs may be missing.
		if !slices.EqualFunc(short.Segments, want.Segments, func(a, b Segment) bool { return reflect.DeepEqual(a, b) }) ||
			!reflect.DeepEqual(short.Open, want.Open) || short.Ended != want.Ended || short.Head != want.Head {
			t.Fatalf("seed %d: rewritten\n%+v\n%+v", seed, short, want)
		}
		for i := range want.Segments {
			if !slices.ContainsFunc(short.Inits, func(n Init) bool { return n.Name == want.Segments[i].Init }) {
				t.Fatalf("seed %d: %s is missing", seed, want.Segments[i].Init)
			}
		}
	}
}

// TestTornEnd cuts a journal at every byte, and damages every byte: what is
// read is what the whole records before it say.
func TestTornEnd(t *testing.T) {
	records := life(rand.New(rand.NewPCG(7, 7)), 4)
	_, text := apply(t, records)
	ends := []int{0}
	states := []State{{}}
	var s State
	var line []byte
	for _, r := range records {
		line, _ = appendRecord(line[:0], r)
		ends = append(ends, ends[len(ends)-1]+len(line))
		if err := s.Apply(r); err != nil {
			t.Fatal(err)
		}
		c := s
		c.Segments, c.Inits = slices.Clone(s.Segments), slices.Clone(s.Inits)
		if s.Open != nil {
			o := *s.Open
			o.Parts = slices.Clone(o.Parts)
			c.Open = &o
		}
		states = append(states, c)
	}
	for n := range text {
		i, found := slices.BinarySearch(ends, n)
		if !found {
			i--
		}
		if got, whole := Replay(text[:n]); whole != ends[i] || !equal(got, states[i]) {
			t.Fatalf("cut at %d: %d bytes, want %d", n, whole, ends[i])
		}
		damaged := bytes.Clone(text)
		damaged[n] ^= 0x20
		if got, whole := Replay(damaged); !isHex(text[n], damaged[n]) && (whole != ends[i] || !equal(got, states[i])) {
			t.Fatalf("byte %d damaged: %d bytes, want %d", n, whole, ends[i])
		}
	}
}

// isHex tells whether two bytes are the same hexadecimal digit in two cases.
func isHex(a, b byte) bool { return a|0x20 == b|0x20 && a|0x20 >= 'a' && a|0x20 <= 'f' }

func TestApplyRefuses(t *testing.T) {
	head := Record{Head: &Head{Version: Version, Path: "a"}}
	init := Record{Init: &Init{Name: "k/i.mp4"}}
	segment := Record{Segment: &Segment{MSN: 5, File: "f", Init: "k/i.mp4"}}
	end := Record{Close: &Close{Name: "k/f"}}
	for name, records := range map[string][]Record{
		"no head":              {init},
		"two heads":            {head, head},
		"another version":      {{Head: &Head{Version: Version + 1}}},
		"empty":                {head, {}},
		"part without segment": {head, {Part: &Part{Gap: true}}},
		"close without":        {head, end},
		"numbers that go back": {head, init, segment, end, segment},
		"behind the end":       {head, {End: true}, init},
		"path in a name":       {head, init, {Segment: &Segment{MSN: 1, File: "../f", Init: "k/i.mp4"}}},
		"journal as a file":    {head, init, {Segment: &Segment{MSN: 1, File: journalName, Init: "k/i.mp4"}}},
		"init without key":     {head, {Init: &Init{Name: "i.mp4"}}},
		"negative size":        {head, init, segment, {Part: &Part{Name: "k/p", Size: -1}}},
		"gap with bytes":       {head, init, segment, {Part: &Part{Gap: true, Size: 1}}},
		"a part of a year":     {head, init, segment, {Part: &Part{Gap: true, Duration: 365 * 24 * time.Hour}}},
		"key frame too long":   {head, init, {Segment: &Segment{MSN: 1, File: "f", Name: "k/f", Init: "k/i.mp4", Size: 5, Key: 6}}},
	} {
		var s State
		var err error
		for i, r := range records {
			before := s
			if err = s.Apply(r); err != nil {
				if !reflect.DeepEqual(before, s) {
					t.Errorf("%s: refused and applied", name)
				}
				if i != len(records)-1 {
					t.Errorf("%s: record %d: %v", name, i, err)
				}
			}
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzReplay reads any bytes as a journal. What was read must be rewritable
// and read back as the same.
func FuzzReplay(f *testing.F) {
	for seed := range uint64(4) {
		var text []byte
		for _, r := range life(rand.New(rand.NewPCG(seed, 2)), 5) {
			text, _ = appendRecord(text, r)
		}
		f.Add(text)
		f.Add(text[:len(text)*2/3])
	}
	f.Add([]byte("00000000 {}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		check(t, b)
		// Nearly nothing random has a good checksum: read it again with one.
		var text []byte
		for line := range bytes.Lines(b) {
			var r Record
			if len(line) < 10 || json.Unmarshal(bytes.TrimSuffix(line[9:], []byte("\n")), &r) != nil {
				continue
			}
			if next, err := appendRecord(text, r); err == nil {
				text = next
			}
		}
		check(t, text)
	})
}

func check(t *testing.T, b []byte) {
	s, whole := Replay(b)
	if whole > len(b) {
		t.Fatalf("%d of %d bytes", whole, len(b))
	}
	if s.Head.Version == 0 {
		return
	}
	var text []byte
	for _, r := range s.Records() {
		next, err := appendRecord(text, r)
		if err != nil {
			return // a segment of a thousand parts fits no line
		}
		text = next
	}
	again, n := Replay(text)
	if n != len(text) || len(again.Segments) != len(s.Segments) || (again.Open == nil) != (s.Open == nil) || again.Ended != s.Ended {
		t.Fatalf("%d of %d bytes: %+v became %+v", n, len(text), s, again)
	}
}
