package wire

import (
	"fmt"
	"math"
)

// RawRangeFilter is a Range Filter parameter as it travels: one of the
// ParamXFilter types and the bytes after its length
// (draft-ietf-moq-transport-19, section "Range Filters"). It is kept like
// this because a bad filter refuses the request and not the session. Without
// bytes, in a RequestUpdate, it removes the filter.
type RawRangeFilter struct {
	Type  ParamType
	Value []byte
}

// RangeFilter passes what lies in one of its ranges. Filters with the same
// Type, Set and Property do not repeat; those with the same Set must all
// pass, and one Set that passes is enough.
type RangeFilter struct {
	Type     ParamType
	Remove   bool // drop all filters of this Type; nothing else is set
	Set      uint8
	Property uint64 // an even type; of the two property filters only
	Ranges   []Range
}

// Range is an inclusive range of numbers. A range without end has the End
// math.MaxUint64.
type Range struct{ Start, End uint64 }

// RangeFilterError is why a request is to be refused with
// RequestInvalidFilter.
type RangeFilterError struct{ Reason string }

// Error returns the reason.
func (e *RangeFilterError) Error() string { return "wire: invalid range filter: " + e.Reason }

// ParseRangeFilters reads the range filters of one message. update tells that
// it is a RequestUpdate, the only message that may remove a filter. maxRanges
// is the MaxFilterRanges that this endpoint sent in its Setup, and bounds the
// ranges of all filters together. The error is a *RangeFilterError.
func ParseRangeFilters(raw []RawRangeFilter, update bool, maxRanges uint64) ([]RangeFilter, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	type key struct {
		t        ParamType
		set      uint8
		property uint64
	}
	seen := make(map[key]bool)
	var filters []RangeFilter
	var ranges uint64
	for _, r := range raw {
		f, err := parseRangeFilter(r, update)
		if err != nil {
			return nil, err
		}
		if !f.Remove {
			k := key{f.Type, f.Set, f.Property}
			if seen[k] {
				return nil, &RangeFilterError{fmt.Sprintf("%v repeats for set %d", f.Type, f.Set)}
			}
			seen[k] = true
		}
		if ranges += uint64(len(f.Ranges)); ranges > maxRanges {
			return nil, &RangeFilterError{fmt.Sprintf("more than %d ranges", maxRanges)}
		}
		filters = append(filters, f)
	}
	return filters, nil
}

func parseRangeFilter(raw RawRangeFilter, update bool) (RangeFilter, error) {
	f := RangeFilter{Type: raw.Type}
	bad := func(reason string) (RangeFilter, error) {
		return RangeFilter{}, &RangeFilterError{raw.Type.String() + ": " + reason}
	}
	if len(raw.Value) == 0 {
		if !update {
			return bad("empty")
		}
		f.Remove = true
		return f, nil
	}
	d := decoder{b: raw.Value}
	f.Set = d.uint8()
	if f.Type == ParamObjectPropertyFilter || f.Type == ParamTrackPropertyFilter {
		if f.Property = d.varint(); f.Property%2 != 0 {
			return bad("property type is odd")
		}
	}
	limit := uint64(math.MaxUint64)
	if f.Type == ParamPriorityFilter {
		limit = math.MaxUint8
	}
	var prior uint64
	for d.err == nil && d.remaining() > 0 {
		r := Range{Start: prior + d.varint(), End: math.MaxUint64}
		if r.Start < prior || r.Start > limit {
			return bad("start is too large")
		}
		if d.err == nil && d.remaining() > 0 {
			r.End = r.Start + d.varint()
			if r.End < r.Start || r.End > limit {
				return bad("end is too large")
			}
		}
		prior = r.End
		f.Ranges = append(f.Ranges, r)
	}
	if d.err != nil {
		return bad("too short")
	}
	if len(f.Ranges) == 0 {
		return bad("no range")
	}
	return f, nil
}

// Raw returns the filter as it travels. The error wraps ErrInvalid when the
// ranges are not ascending or the filter lacks what its type needs.
func (f RangeFilter) Raw() (RawRangeFilter, error) {
	raw := RawRangeFilter{Type: f.Type}
	if f.Remove {
		return raw, nil
	}
	b := []byte{f.Set}
	switch f.Type {
	case ParamObjectPropertyFilter, ParamTrackPropertyFilter:
		if f.Property%2 != 0 {
			return raw, invalid("%v: property type %#x is odd", f.Type, f.Property)
		}
		b = AppendVarint(b, f.Property)
	case ParamSubgroupFilter, ParamObjectIDFilter, ParamPriorityFilter:
	default:
		return raw, invalid("%v is not a range filter", f.Type)
	}
	if len(f.Ranges) == 0 {
		return raw, invalid("%v: no range", f.Type)
	}
	var prior uint64
	for i, r := range f.Ranges {
		open := r.End == math.MaxUint64 && i == len(f.Ranges)-1
		last := r.End
		if open {
			last = r.Start
		}
		if r.Start < prior || r.End < r.Start || f.Type == ParamPriorityFilter && last > math.MaxUint8 {
			return raw, invalid("%v: range %d to %d", f.Type, r.Start, r.End)
		}
		b = AppendVarint(b, r.Start-prior)
		if !open {
			b = AppendVarint(b, r.End-r.Start)
		}
		prior = r.End
	}
	raw.Value = b
	return raw, nil
}
