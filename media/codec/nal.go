package codec

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/freshet-live/freshet/media"
)

// SplitAnnexB returns the NAL units of a byte stream (ITU-T H.264 and H.265,
// Annex B), each without start code and trailing zero bytes. They share b's
// memory. Bytes before the first start code must be zero.
func SplitAnnexB(b []byte) ([][]byte, error) {
	startCode := []byte{0, 0, 1}
	i := bytes.Index(b, startCode)
	if i < 0 {
		return nil, fmt.Errorf("%w: no start code", ErrMalformed)
	}
	if len(bytes.Trim(b[:i], "\x00")) > 0 {
		return nil, fmt.Errorf("%w: bytes before the first start code", ErrMalformed)
	}
	var nalus [][]byte
	for rest := b[i+3:]; ; {
		end := bytes.Index(rest, startCode)
		nalu := rest
		if end >= 0 {
			nalu = rest[:end]
		}
		// A NAL unit never ends in a zero byte; the zeros belong to the
		// next, four-byte start code or are padding.
		if nalu = bytes.TrimRight(nalu, "\x00"); len(nalu) > 0 {
			if len(nalus) == MaxUnitParts {
				return nil, fmt.Errorf("%w: over %d NAL units", ErrTooLarge, MaxUnitParts)
			}
			nalus = append(nalus, nalu)
		}
		if end < 0 {
			return nalus, nil
		}
		rest = rest[end+3:]
	}
}

// AppendAnnexB appends the NAL units to b, each behind a 4-byte start code.
func AppendAnnexB(b []byte, nalus ...[]byte) []byte {
	for _, n := range nalus {
		b = append(b, 0, 0, 0, 1)
		b = append(b, n...)
	}
	return b
}

// SplitLengthPrefixed returns the NAL units of canonical frame data, each
// without its 4-byte big-endian length. They share b's memory. Empty NAL
// units are left out.
func SplitLengthPrefixed(b []byte) ([][]byte, error) {
	var nalus [][]byte
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, fmt.Errorf("%w: %d bytes where a NAL unit length belongs", ErrMalformed, len(b))
		}
		n := binary.BigEndian.Uint32(b)
		b = b[4:]
		if uint64(n) > uint64(len(b)) {
			return nil, fmt.Errorf("%w: NAL unit of %d bytes, %d left", ErrMalformed, n, len(b))
		}
		if n > 0 {
			if len(nalus) == MaxUnitParts {
				return nil, fmt.Errorf("%w: over %d NAL units", ErrTooLarge, MaxUnitParts)
			}
			nalus = append(nalus, b[:n:n])
		}
		b = b[n:]
	}
	return nalus, nil
}

// AppendLengthPrefixed appends the NAL units to b, each behind a 4-byte
// big-endian length.
func AppendLengthPrefixed(b []byte, nalus ...[]byte) []byte {
	for _, n := range nalus {
		b = binary.BigEndian.AppendUint32(b, uint32(len(n)))
		b = append(b, n...)
	}
	return b
}

// AppendAnnexBFrame appends a canonical H.264 or H.265 frame as a byte stream,
// which starts with the parameter sets of f when f is not nil. Players and
// files that know no configuration record take it so.
func AppendAnnexBFrame(b []byte, f *media.Format, data []byte) ([]byte, error) {
	if f != nil {
		sets, err := ParameterSets(f)
		if err != nil {
			return b, err
		}
		b = AppendAnnexB(b, sets...)
	}
	nalus, err := SplitLengthPrefixed(data)
	if err != nil {
		return b, err
	}
	return AppendAnnexB(b, nalus...), nil
}

// nalClass says what the assembler does with a NAL unit.
type nalClass uint8

const (
	nalDrop   nalClass = iota // delimiters, filler, end of sequence, reserved
	nalSet                    // parameter set
	nalInfo                   // supplemental information, kept
	nalSlice                  // coded picture data
	nalKey                    // coded data of a picture that decoding can start at
	nalBroken                 // not a NAL unit
)

// paramSet identifies a parameter set: kind orders it in the configuration
// record (VPS, SPS, PPS), id is its own, parent the id of the set it refers to.
type paramSet struct {
	kind       uint8
	id, parent uint32
	nalu       []byte
}

// nalSyntax is what differs between H.264 and H.265.
type nalSyntax interface {
	class(nalu []byte) nalClass
	// set parses a parameter set of class nalSet. The result shares nalu.
	set(nalu []byte) (paramSet, error)
	// format builds the Format of the sets, which are ordered by kind and
	// id. It wraps ErrNoFormat while a kind is missing.
	format(sets []paramSet) (media.Format, error)
}

// nalAssembler is the Assembler of H.264 and H.265.
type nalAssembler struct {
	signalled
	syntax nalSyntax

	sets   []paramSet // ordered by kind, id
	dirty  bool       // sets changed since format was built
	format *media.Format
	lost   bool // the last key frame could not be passed on
}

func newNALAssembler(f media.Format, s nalSyntax) *nalAssembler {
	return &nalAssembler{signalled: signalled{f}, syntax: s}
}

func (a *nalAssembler) Format() *media.Format {
	if a.dirty && a.rebuild() != nil {
		return nil
	}
	return a.format
}

func (a *nalAssembler) Assemble(pts media.Time, unit [][]byte) (media.Frame, error) {
	key := slices.ContainsFunc(unit, func(n []byte) bool { return a.syntax.class(n) == nalKey })
	f, err := a.assemble(pts, unit, key)
	if key {
		// Without its key frame the rest of the GOP is noise.
		a.lost = err != nil
	}
	return f, err
}

func (a *nalAssembler) assemble(pts media.Time, unit [][]byte, key bool) (media.Frame, error) {
	if err := checkUnit(unit); err != nil {
		return media.Frame{}, err
	}
	picture := false
	keep := make([][]byte, 0, len(unit))
	for _, n := range unit {
		switch a.syntax.class(n) {
		case nalBroken:
			return media.Frame{}, fmt.Errorf("%w: NAL unit header", ErrMalformed)
		case nalSet:
			s, err := a.syntax.set(n)
			if err != nil {
				return media.Frame{}, err
			}
			// A set that changes between key frames cannot go into the
			// Format, which is bound to key frames. Left in its place,
			// decoders take it in band; dropped, they would fail until
			// the next key frame, whose Format then has it.
			if a.update(s, unit) && !key {
				keep = append(keep, n)
			}
		case nalSlice, nalKey:
			picture = true
			keep = append(keep, n)
		case nalInfo:
			keep = append(keep, n)
		}
	}
	if !picture {
		return media.Frame{}, ErrNoPicture
	}
	if key && a.dirty {
		if err := a.rebuild(); err != nil {
			return media.Frame{}, err
		}
	}
	if a.format == nil || !key && a.lost {
		return media.Frame{}, ErrNoFormat
	}
	size := 0
	for _, n := range keep {
		size += 4 + len(n)
	}
	f := media.Frame{PTS: pts, Key: key, Data: AppendLengthPrefixed(make([]byte, 0, size), keep...)}
	if key {
		f.Format = a.format
	}
	return f, nil
}

// maxParamSets bounds the parameter sets an Assembler keeps. H.264 allows 32
// SPS and 256 PPS; encoders use a handful.
const maxParamSets = 64

// update records s and reports whether it is new or differs from what was
// known. unit is the access unit that brought it.
func (a *nalAssembler) update(s paramSet, unit [][]byte) bool {
	at, known := slices.BinarySearchFunc(a.sets, s, func(k, s paramSet) int {
		return cmp.Or(cmp.Compare(k.kind, s.kind), cmp.Compare(k.id, s.id))
	})
	if known && bytes.Equal(a.sets[at].nalu, s.nalu) {
		return false
	}
	s.nalu = bytes.Clone(s.nalu)
	switch {
	case known:
		a.sets[at] = s
		a.forget(s, unit)
	case len(a.sets) >= maxParamSets:
		return false
	default:
		a.sets = slices.Insert(a.sets, at, s)
	}
	a.dirty = true
	return true
}

// forget removes the sets that refer to s, which has just changed, except
// those that the same unit brings: they were written for the new content.
// Without this a publisher that changes its resolution would leave sets
// behind that contradict the new sequence.
func (a *nalAssembler) forget(s paramSet, unit [][]byte) {
	var gone []paramSet
	a.sets = slices.DeleteFunc(a.sets, func(k paramSet) bool {
		stale := k.kind == s.kind+1 && k.parent == s.id &&
			!slices.ContainsFunc(unit, func(n []byte) bool { return bytes.Equal(n, k.nalu) })
		if stale {
			gone = append(gone, k)
		}
		return stale
	})
	for _, k := range gone {
		a.forget(k, unit)
	}
}

// rebuild makes the Format of the present sets.
func (a *nalAssembler) rebuild() error {
	f, err := a.syntax.format(a.sets)
	if err != nil {
		return err
	}
	a.complete(&f)
	a.dirty = false
	if a.format == nil || !sameFormat(a.format, &f) {
		a.format = &f
	}
	return nil
}
