package wire_test

import (
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

// since20 are the drafts in which a FETCH has a filter.
var since20 = []wire.Draft{wire.Draft20, wire.Draft21, wire.Draft22}

func TestNewerUnencodable(t *testing.T) {
	a := moq.FullTrackName{Namespace: moq.Namespace{"a"}, Track: "t"}
	fetch := func(start, last moq.Location, f *wire.Filter) *wire.Fetch {
		return &wire.Fetch{FetchType: wire.FetchStandalone, Name: a, Start: start, Last: last, Params: wire.Params{Filter: f}}
	}
	subscribe := func(p wire.Params) *wire.Subscribe { return &wire.Subscribe{Name: a, Params: p} }
	for what, m := range map[string]wire.Message{
		"joining fetch":                 &wire.Fetch{FetchType: wire.FetchRelativeJoining},
		"fetch that ends too early":     fetch(moq.Location{Group: 5}, moq.Location{Group: 4}, nil),
		"fetch with an absolute filter": fetch(moq.Location{}, moq.Location{}, &wire.Filter{Type: wire.FilterAbsoluteStart}),
		"fetch with filter and range":   fetch(moq.Location{}, moq.Location{Group: 1}, &wire.Filter{Type: wire.FilterNextGroup}),
		"relative start of 0 groups":    subscribe(wire.Params{Filter: &wire.Filter{Type: wire.FilterRelativeStart}}),
		"range that ends too early":     subscribe(wire.Params{Filter: &wire.Filter{Type: wire.FilterObjectRange, Start: moq.Location{Group: 5}, EndGroup: 4}}),
		"fields of another filter":      subscribe(wire.Params{Filter: &wire.Filter{Type: wire.FilterNextGroup, EndGroup: 4}}),
		"unknown filter":                subscribe(wire.Params{Filter: &wire.Filter{Type: 0x77}}),
		"FORWARD in a fill":             subscribe(wire.Params{Fill: &wire.Params{Forward: ptr(true)}}),
		"fill in a fill":                subscribe(wire.Params{Fill: &wire.Params{Fill: &wire.Params{}}}),
		"fill in PUBLISH":               &wire.Publish{Name: a, Params: wire.Params{Fill: &wire.Params{}}},
		"subscription in PUBLISH_OK":    &wire.RequestOK{Request: wire.TypePublish, Params: wire.Params{Forward: ptr(true)}},
		"MAX_REQUEST_ID":                &wire.MaxRequestID{},
	} {
		for _, d := range since20 {
			if b, err := d.AppendMessage([]byte("abc"), m); !errors.Is(err, wire.ErrInvalid) || string(b) != "abc" {
				t.Errorf("%v, %s: %q, %v, want ErrInvalid", d, what, b, err)
			}
		}
	}
	for what, m := range map[string]wire.Message{
		"fill":               subscribe(wire.Params{Fill: &wire.Params{}}),
		"INCLUDE_PROPERTIES": subscribe(wire.Params{IncludeProperties: ptr(false)}),
		"filter None":        subscribe(wire.Params{Filter: &wire.Filter{Type: wire.FilterNone}}),
		"relative start":     subscribe(wire.Params{Filter: &wire.Filter{Type: wire.FilterRelativeStart, Groups: 1}}),
		"range of objects":   subscribe(wire.Params{Filter: &wire.Filter{Type: wire.FilterObjectRange}}),
		"fetch with filter":  fetch(moq.Location{}, moq.Location{}, &wire.Filter{Type: wire.FilterNextGroup}),
		"state":              &wire.PublishStateNotify{},
	} {
		for _, d := range wire.Codecs() {
			if d >= wire.Draft20 || d == wire.Draft14 {
				continue // draft 14 has a filter in every SUBSCRIBE and is tested for itself
			}
			if b, err := d.AppendMessage([]byte("abc"), m); !errors.Is(err, wire.ErrInvalid) || string(b) != "abc" {
				t.Errorf("%v, %s: %q, %v, want ErrInvalid", d, what, b, err)
			}
		}
	}
	for _, d := range []wire.Draft{wire.Draft14, wire.Draft16, wire.Draft18, wire.Draft19} {
		if _, err := d.AppendFetchItem(nil, new(wire.FetchCursor), wire.FetchItem{Kind: wire.FetchTimedOut}); !errors.Is(err, wire.ErrInvalid) {
			t.Errorf("%v: end of a timed-out range: %v", d, err)
		}
	}
}

// TestFetchRange checks that the same Fetch asks for the same in drafts that
// have a range and in those that have a filter.
func TestFetchRange(t *testing.T) {
	const end = math.MaxUint64
	for _, m := range []wire.Fetch{
		{Last: moq.Location{Group: end, Object: end}},
		{Start: moq.Location{Group: 3, Object: 4}, Last: moq.Location{Group: end, Object: end}},
		{Start: moq.Location{Group: 3}, Last: moq.Location{Group: 5, Object: end}},
		{Start: moq.Location{Group: 3, Object: 4}, Last: moq.Location{Group: 3, Object: 9}},
		{Last: moq.Location{}},
	} {
		m.FetchType, m.Name = wire.FetchStandalone, moq.FullTrackName{Namespace: moq.Namespace{"a"}}
		for _, d := range append([]wire.Draft{wire.Draft18, wire.Draft19}, since20...) {
			b, err := d.AppendMessage(nil, &m)
			if err != nil {
				t.Fatal(err)
			}
			if got, _, err := d.ParseMessage(b); err != nil || !reflect.DeepEqual(got, &m) {
				t.Errorf("%v: %+v, %v, want %+v", d, got, err, m)
			}
		}
	}
}

// TestFitProperties checks that nothing is left for which a peer of draft 16
// would close the session.
func TestFitProperties(t *testing.T) {
	inner, err := wire.AppendImmutable(nil, moq.Properties{{Type: moq.PropertyObjectDeliveryTimeout}})
	if err != nil {
		t.Fatal(err)
	}
	kept := moq.Property{Type: 0x8a, Value: 1}
	m := &wire.SubscribeOK{Properties: moq.Properties{
		{Type: moq.PropertyObjectDeliveryTimeout}, {Type: moq.PropertyImmutable, Bytes: inner}, kept,
	}}
	if lost := wire.Draft16.Fit(m); len(lost) != 2 || !reflect.DeepEqual(m.Properties, moq.Properties{kept}) {
		t.Errorf("lost %q, left %v", lost, m.Properties)
	}
	if _, err := wire.Draft16.AppendMessage(nil, m); err != nil {
		t.Error(err)
	}
}

// TestFitFilters checks what becomes of filters and fills in drafts before 20.
func TestFitFilters(t *testing.T) {
	start := moq.Location{Group: 3, Object: 4}
	for what, c := range map[string]struct{ m, want wire.Message }{
		"none":          {&wire.Subscribe{Params: wire.Params{Filter: &wire.Filter{Type: wire.FilterNone}}}, &wire.Subscribe{}},
		"none, updated": {&wire.RequestUpdate{Params: wire.Params{Filter: &wire.Filter{Type: wire.FilterNone}}}, &wire.RequestUpdate{Params: wire.Params{Filter: &wire.Filter{Type: wire.FilterAbsoluteStart}}}},
		"relative": {&wire.Subscribe{Params: wire.Params{Filter: &wire.Filter{Type: wire.FilterRelativeStart, Groups: 2}, Fill: &wire.Params{}}},
			&wire.Subscribe{Params: wire.Params{Filter: &wire.Filter{Type: wire.FilterLargestObject}}}},
		"range": {&wire.Subscribe{Params: wire.Params{Filter: &wire.Filter{Type: wire.FilterObjectRange, Start: start, EndGroup: 5, EndObject: 6}}},
			&wire.Subscribe{Params: wire.Params{Filter: &wire.Filter{Type: wire.FilterAbsoluteRange, Start: start, EndGroup: 5}}}},
	} {
		wire.Draft18.Fit(c.m)
		if !reflect.DeepEqual(c.m, c.want) {
			t.Errorf("%s: %+v, want %+v", what, c.m, c.want)
		}
	}
	m := &wire.Subscribe{Params: wire.Params{Fill: &wire.Params{}, Filter: &wire.Filter{Type: wire.FilterObjectRange}}}
	if lost := wire.Draft22.Fit(m); lost != nil || m.Params.Fill == nil || m.Params.Filter.Type != wire.FilterObjectRange {
		t.Errorf("draft 22 lost %q of %+v", lost, m)
	}
}
