package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

// immutable returns an Immutable Properties property that contains p.
func immutable(t *testing.T, p ...moq.Property) moq.Property {
	t.Helper()
	b, err := wire.AppendImmutable(nil, p)
	if err != nil {
		t.Fatal(err)
	}
	return moq.Property{Type: moq.PropertyImmutable, Bytes: b}
}

// TestImmutableKept: "the serialization (e.g. variable-length integer
// encodings) of the Key-Value-Pairs MUST NOT change"
// (draft-ietf-moq-transport-18, section "Immutable Properties")
func TestImmutableKept(t *testing.T) {
	raw := []byte{0x80, 0x10, 0xc0, 0x00, 0x05} // type 0x10 and value 5 in long forms
	props := moq.Properties{{Type: moq.PropertyImmutable, Bytes: raw}}
	b, err := wire.Draft18.AppendMessage(nil, &wire.SubscribeOK{Properties: props})
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := wire.Draft18.ParseMessage(b)
	if err != nil || !reflect.DeepEqual(m.(*wire.SubscribeOK).Properties, props) {
		t.Errorf("parsed %+v, %v", m, err)
	}
	// A parser keeps nothing of its input.
	clear(b)
	if got := m.(*wire.SubscribeOK).Properties[0].Bytes; !bytes.Equal(got, raw) {
		t.Errorf("value changed to %x with the input", got)
	}
	inner, err := wire.ParseImmutable(raw)
	if want := (moq.Properties{{Type: 0x10, Value: 5}}); err != nil || !reflect.DeepEqual(inner, want) {
		t.Errorf("ParseImmutable = %+v, %v", inner, err)
	}
}

// TestFindProperty: "When looking for the value of a property, processors
// MUST search both the mutable properties and the contents of Immutable
// Properties." (draft-ietf-moq-transport-18, section "Immutable Properties")
func TestFindProperty(t *testing.T) {
	p := moq.Properties{{Type: 2, Value: 5}, immutable(t, moq.Property{Type: 2, Value: 6}, moq.Property{Type: 4, Value: 7})}
	for typ, want := range map[uint64]uint64{2: 5, 4: 7} {
		if v, ok := wire.FindProperty(p, typ); !ok || v.Value != want {
			t.Errorf("property %d is %d, %t, want %d", typ, v.Value, ok, want)
		}
	}
	if v, ok := wire.FindProperty(p, 6); ok {
		t.Errorf("property 6 is %+v", v)
	}
	bad := moq.Properties{{Type: moq.PropertyImmutable, Bytes: []byte{2}}}
	if v, ok := wire.FindProperty(bad, 2); ok {
		t.Errorf("property 2 of a malformed block is %+v", v)
	}
}

func TestUnknownMandatory(t *testing.T) {
	for _, tt := range []struct {
		p    moq.Properties
		want uint64
	}{
		{nil, 0},
		{moq.Properties{{Type: 0x3FFF}, {Type: 0x8000}}, 0},
		{moq.Properties{{Type: 2}, {Type: 0x4000}}, 0x4000},
		{moq.Properties{{Type: 0x7FFF}}, 0x7FFF},
		{moq.Properties{immutable(t, moq.Property{Type: 0x5000})}, 0x5000},
		{moq.Properties{{Type: moq.PropertyImmutable, Bytes: []byte{2}}}, 0},
	} {
		if typ, ok := wire.UnknownMandatory(tt.p); typ != tt.want || ok != (tt.want != 0) {
			t.Errorf("UnknownMandatory(%+v) = %#x, %t", tt.p, typ, ok)
		}
	}
}

// TestMalformedObjects: the conditions of draft-ietf-moq-transport-18,
// sections "Immutable Properties", "Prior Group ID Gap", "Prior Object ID
// Gap" and "Mandatory Track Properties", that one Object shows.
func TestMalformedObjects(t *testing.T) {
	at := moq.Location{Group: 5, Object: 3}
	groupGap := func(v uint64) moq.Property { return moq.Property{Type: moq.PropertyPriorGroupIDGap, Value: v} }
	objectGap := func(v uint64) moq.Property { return moq.Property{Type: moq.PropertyPriorObjectIDGap, Value: v} }
	for _, tt := range []struct {
		name string
		p    moq.Properties
		ok   bool
	}{
		{"none", nil, true},
		{"gaps", moq.Properties{groupGap(5), objectGap(3)}, true},
		{"gaps inside", moq.Properties{immutable(t, groupGap(5), objectGap(3))}, true},
		{"group gap too large", moq.Properties{groupGap(6)}, false},
		{"object gap too large", moq.Properties{objectGap(4)}, false},
		{"group gap twice", moq.Properties{groupGap(1), groupGap(1)}, false},
		{"group gap outside and inside", moq.Properties{groupGap(1), immutable(t, groupGap(1))}, false},
		{"object gap twice", moq.Properties{objectGap(1), objectGap(1)}, false},
		{"object gap too large inside", moq.Properties{immutable(t, objectGap(4))}, false},
		{"immutable twice", moq.Properties{immutable(t), immutable(t)}, false},
		{"immutable inside", moq.Properties{{Type: moq.PropertyImmutable, Bytes: []byte{0x0B, 0}}}, false},
		{"immutable that cannot be read", moq.Properties{{Type: moq.PropertyImmutable, Bytes: []byte{0x02}}}, false},
		{"mandatory track property", moq.Properties{{Type: 0x4000}}, false},
		{"mandatory track property inside", moq.Properties{immutable(t, moq.Property{Type: 0x4000})}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := wire.CheckObjectProperties(at, tt.p)
			var e *wire.MalformedTrackError
			if tt.ok != (err == nil) || err != nil && (!errors.As(err, &e) || e.Reason == "") {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// TestPropertiesOrder checks that properties go out in the order of their
// types, whatever order they are in, and that their owner's slice stays.
func TestPropertiesOrder(t *testing.T) {
	p := moq.Properties{{Type: 0x10, Value: 1}, {Type: 0x0D, Bytes: []byte("b")}, {Type: 0x02, Value: 3}, {Type: 0x0D, Bytes: []byte("a")}}
	kept := append(moq.Properties(nil), p...)
	h := wire.SubgroupHeader{Properties: true}
	b, err := wire.Draft18.AppendObjectHeader(nil, &h, 0, true, wire.ObjectHeader{Properties: p, Size: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(b); got != "000a02030b0162000161030101" {
		t.Errorf("encoded %s", got)
	}
	if !reflect.DeepEqual(p, kept) {
		t.Errorf("the properties changed to %+v", p)
	}
	o, n, err := wire.Draft18.ParseObjectHeader(b, &h, 0, true)
	if err != nil || n != len(b) || !reflect.DeepEqual(o.Properties, p.Sorted()) {
		t.Errorf("parsed %+v, %d, %v", o, n, err)
	}
}

// TestRangeFilters: draft-ietf-moq-transport-19, section "Range Filters".
func TestRangeFilters(t *testing.T) {
	// "to express ranges 3-5 and 10-15: the first Start is 3 (delta from 0),
	// the first End is 2 (5 minus 3), the second Start is 5 (10 minus 5), and
	// the second End is 5 (15 minus 10)."
	example := wire.RangeFilter{Type: wire.ParamSubgroupFilter, Set: 9, Ranges: []wire.Range{{3, 5}, {10, 15}}}
	raw, err := example.Raw()
	if err != nil || !bytes.Equal(raw.Value, []byte{9, 3, 2, 5, 5}) {
		t.Errorf("Raw = %x, %v", raw.Value, err)
	}
	filters := []wire.RangeFilter{
		example,
		{Type: wire.ParamSubgroupFilter, Set: 1, Ranges: []wire.Range{{0, math.MaxUint64}}},
		{Type: wire.ParamPriorityFilter, Ranges: []wire.Range{{0, 3}, {255, math.MaxUint64}}},
		{Type: wire.ParamObjectPropertyFilter, Property: 0x10, Ranges: []wire.Range{{5, 5}, {5, 6}}},
		{Type: wire.ParamObjectPropertyFilter, Property: 0x12, Ranges: []wire.Range{{7, math.MaxUint64}}},
	}
	var raws []wire.RawRangeFilter
	for _, f := range filters {
		raw, err := f.Raw()
		if err != nil {
			t.Fatal(err)
		}
		raws = append(raws, raw)
	}
	if got, err := wire.ParseRangeFilters(raws, false, 8); err != nil || !reflect.DeepEqual(got, filters) {
		t.Errorf("ParseRangeFilters = %+v, %v\nwant %+v", got, err, filters)
	}
	removed := []wire.RawRangeFilter{{Type: wire.ParamSubgroupFilter}}
	if got, err := wire.ParseRangeFilters(removed, true, 0); err != nil || len(got) != 1 || !got[0].Remove {
		t.Errorf("removal: %+v, %v", got, err)
	}
	if raw, err := (wire.RangeFilter{Type: wire.ParamSubgroupFilter, Remove: true}).Raw(); err != nil || raw.Value != nil {
		t.Errorf("removal: %+v, %v", raw, err)
	}
	if got, err := wire.ParseRangeFilters(nil, false, 0); got != nil || err != nil {
		t.Errorf("no filters: %+v, %v", got, err)
	}

	// Each of these "MUST be rejected with REQUEST_ERROR with error code
	// INVALID_FILTER", so the error is not a session error.
	subgroup := func(v ...byte) wire.RawRangeFilter {
		return wire.RawRangeFilter{Type: wire.ParamSubgroupFilter, Value: v}
	}
	varint := func(b []byte, v uint64) []byte { return wire.AppendVarint(b, v) }
	for what, raws := range map[string][]wire.RawRangeFilter{
		"too many ranges":       raws,
		"empty":                 {subgroup()},
		"no range":              {subgroup(0)},
		"cut short":             {subgroup(0, 0x80)},
		"start exceeds 2^64-1":  {subgroup(varint([]byte{0, 0, 5}, math.MaxUint64)...)},
		"end exceeds 2^64-1":    {subgroup(varint([]byte{0, 5}, math.MaxUint64)...)},
		"repeats for a set":     {subgroup(1, 2), subgroup(1, 3)},
		"priority 256":          {{Type: wire.ParamPriorityFilter, Value: varint([]byte{0}, 256)}},
		"priority up to 256":    {{Type: wire.ParamPriorityFilter, Value: []byte{0, 0x80, 0xff, 1}}},
		"odd property":          {{Type: wire.ParamObjectPropertyFilter, Value: []byte{0, 0x0B, 1, 1}}},
		"property without type": {{Type: wire.ParamTrackPropertyFilter, Value: []byte{0}}},
	} {
		_, err := wire.ParseRangeFilters(raws, false, 7)
		var e *wire.RangeFilterError
		if !errors.As(err, &e) || e.Reason == "" {
			t.Errorf("%s: %v, want a RangeFilterError", what, err)
		}
	}
	for what, f := range map[string]wire.RangeFilter{
		"no range":        {Type: wire.ParamSubgroupFilter},
		"no range filter": {Type: wire.ParamForward, Ranges: []wire.Range{{1, 2}}},
		"odd property":    {Type: wire.ParamTrackPropertyFilter, Property: 1, Ranges: []wire.Range{{1, 2}}},
		"backwards":       {Type: wire.ParamSubgroupFilter, Ranges: []wire.Range{{2, 1}}},
		"not ascending":   {Type: wire.ParamSubgroupFilter, Ranges: []wire.Range{{5, 6}, {1, 2}}},
		"priority 256":    {Type: wire.ParamPriorityFilter, Ranges: []wire.Range{{256, math.MaxUint64}}},
		"open but not at the end": {Type: wire.ParamPriorityFilter,
			Ranges: []wire.Range{{1, math.MaxUint64}, {3, 4}}},
	} {
		if raw, err := f.Raw(); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%s: %+v, %v, want ErrInvalid", what, raw, err)
		}
	}
}
