package wire_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
	"pgregory.net/rapid"
)

// Generators of values that every draft can say in some way: numbers have 62
// bits, Namespaces have fields.

func numbers() *rapid.Generator[uint64] {
	return rapid.OneOf(rapid.Uint64Range(0, 70), rapid.Uint64Range(0, 1<<62-2))
}

func optional[T any](g *rapid.Generator[T]) *rapid.Generator[*T] { return rapid.Ptr(g, true) }

func milliseconds() *rapid.Generator[wire.Milliseconds] {
	return rapid.Map(numbers(), func(v uint64) wire.Milliseconds { return wire.Milliseconds(v) })
}

func locations() *rapid.Generator[moq.Location] {
	return rapid.Custom(func(t *rapid.T) moq.Location {
		return moq.Location{Group: numbers().Draw(t, "group"), Object: numbers().Draw(t, "object")}
	})
}

func namespaces() *rapid.Generator[moq.Namespace] {
	return rapid.Map(rapid.SliceOfN(rapid.StringMatching("[a-z]{1,8}"), 1, 4), func(s []string) moq.Namespace { return s })
}

func names() *rapid.Generator[moq.FullTrackName] {
	return rapid.Custom(func(t *rapid.T) moq.FullTrackName {
		return moq.FullTrackName{Namespace: namespaces().Draw(t, "namespace"), Track: rapid.StringN(0, 8, 32).Draw(t, "track")}
	})
}

func filters() *rapid.Generator[wire.Filter] {
	return rapid.Custom(func(t *rapid.T) wire.Filter {
		f := wire.Filter{Type: rapid.SampledFrom([]wire.FilterType{
			wire.FilterNextGroup, wire.FilterLargestObject, wire.FilterAbsoluteStart, wire.FilterAbsoluteRange,
			wire.FilterNone, wire.FilterRelativeStart, wire.FilterObjectRange,
		}).Draw(t, "filter type")}
		switch f.Type {
		case wire.FilterObjectRange:
			f.EndObject = numbers().Draw(t, "end object")
			fallthrough
		case wire.FilterAbsoluteRange:
			f.Start = locations().Draw(t, "start")
			f.EndGroup = rapid.Uint64Range(f.Start.Group, 1<<62-2).Draw(t, "end group")
		case wire.FilterAbsoluteStart:
			f.Start = locations().Draw(t, "start")
		case wire.FilterRelativeStart:
			f.Groups = 1 + numbers().Draw(t, "groups")
		}
		return f
	})
}

// fills are parameters inside FILL_PARAMETERS.
func fills() *rapid.Generator[wire.Params] {
	return rapid.Custom(func(t *rapid.T) wire.Params {
		return wire.Params{
			FillTimeout:        optional(milliseconds()).Draw(t, "fill timeout"),
			SubscriberPriority: optional(rapid.Uint8()).Draw(t, "priority"),
			Filter:             optional(filters()).Draw(t, "filter"),
			GroupOrder:         orders().Draw(t, "order"),
		}
	})
}

func tokens() *rapid.Generator[wire.Token] {
	return rapid.Custom(func(t *rapid.T) wire.Token {
		tok := wire.Token{AliasType: wire.AliasType(rapid.Uint64Range(0, 3).Draw(t, "alias type"))}
		if tok.AliasType != wire.TokenUseValue {
			tok.Alias = numbers().Draw(t, "alias")
		}
		if tok.AliasType == wire.TokenRegister || tok.AliasType == wire.TokenUseValue {
			tok.Type = numbers().Draw(t, "token type")
			tok.Value = rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "value")
		}
		return tok
	})
}

func orders() *rapid.Generator[moq.GroupOrder] {
	return rapid.SampledFrom([]moq.GroupOrder{moq.GroupOrderPublisher, moq.GroupOrderAscending, moq.GroupOrderDescending})
}

func params() *rapid.Generator[wire.Params] {
	return rapid.Custom(func(t *rapid.T) wire.Params {
		return wire.Params{
			ObjectDeliveryTimeout:   optional(milliseconds()).Draw(t, "object timeout"),
			SubgroupDeliveryTimeout: optional(milliseconds()).Draw(t, "subgroup timeout"),
			Tokens:                  rapid.SliceOfN(tokens(), 0, 2).Draw(t, "tokens"),
			RendezvousTimeout:       optional(milliseconds()).Draw(t, "rendezvous timeout"),
			Expires:                 optional(milliseconds()).Draw(t, "expires"),
			LargestObject:           optional(locations()).Draw(t, "largest"),
			FillTimeout:             optional(milliseconds()).Draw(t, "fill timeout"),
			Forward:                 optional(rapid.Bool()).Draw(t, "forward"),
			SubscriberPriority:      optional(rapid.Uint8()).Draw(t, "priority"),
			Filter:                  optional(filters()).Draw(t, "filter"),
			Fill:                    optional(fills()).Draw(t, "fill"),
			IncludeProperties:       optional(rapid.Bool()).Draw(t, "include properties"),
			GroupOrder:              orders().Draw(t, "order"),
			NewGroupRequest:         optional(numbers()).Draw(t, "new group"),
			TrackNamespacePrefix:    optional(namespaces()).Draw(t, "prefix"),
			RangeFilters: rapid.SliceOfN(rapid.Map(rapid.Uint64Range(0x25, 0x29), func(v uint64) wire.RawRangeFilter {
				return wire.RawRangeFilter{Type: wire.ParamType(v), Value: []byte{0, 1}}
			}), 0, 2).Draw(t, "range filters"),
		}
	})
}

// properties are sorted, as they arrive from a draft whose types are deltas.
func properties() *rapid.Generator[moq.Properties] {
	return rapid.Custom(func(t *rapid.T) moq.Properties {
		var p moq.Properties
		for range rapid.IntRange(0, 5).Draw(t, "properties") {
			v := moq.Property{Type: rapid.OneOf(rapid.Uint64Range(0x40, 0x80), rapid.Uint64Range(0, 1<<40)).Draw(t, "type")}
			switch {
			case v.Type == moq.PropertyImmutable, v.Type == moq.PropertyDefaultGroupOrder,
				v.Type == moq.PropertyDynamicGroups, v.Type == moq.PropertyDefaultPublisherPriority:
				continue // their values have rules
			case v.Type%2 == 0:
				v.Value = numbers().Draw(t, "value")
			default:
				v.Bytes = rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "bytes")
			}
			p = append(p, v)
		}
		if inner := p; rapid.Bool().Draw(t, "immutable") {
			value, err := wire.AppendImmutable(nil, inner)
			if err != nil {
				t.Fatal(err)
			}
			if len(value) > 0 {
				p = append(p[:len(p):len(p)], moq.Property{Type: moq.PropertyImmutable, Bytes: value})
			}
		}
		return p.Sorted()
	})
}

func trackProperties() *rapid.Generator[moq.Properties] {
	return rapid.Custom(func(t *rapid.T) moq.Properties {
		p := properties().Draw(t, "properties")
		for typ, limit := range map[uint64]uint64{
			moq.PropertyMaxCacheDuration: 1 << 40, moq.PropertyDefaultPublisherPriority: 255, moq.PropertyDynamicGroups: 1,
		} {
			if _, ok := p.Get(typ); !ok && rapid.Bool().Draw(t, "known") {
				p = append(p, moq.Property{Type: typ, Value: rapid.Uint64Range(0, limit).Draw(t, "value")})
			}
		}
		if o := orders().Draw(t, "order"); o != moq.GroupOrderPublisher {
			p = append(p, moq.Property{Type: moq.PropertyDefaultGroupOrder, Value: uint64(o)})
		}
		return p.Sorted()
	})
}

// requests are those whose answers have a code point of their own somewhere.
func requests() *rapid.Generator[wire.MessageType] {
	return rapid.SampledFrom([]wire.MessageType{
		wire.TypePublish, wire.TypeTrackStatus, wire.TypePublishNamespace, wire.TypeSubscribeNamespace,
	})
}

func messages() *rapid.Generator[wire.Message] {
	return rapid.Custom(func(t *rapid.T) wire.Message {
		id := numbers().Draw(t, "request ID")
		p := params().Draw(t, "parameters")
		reason := rapid.StringN(0, 20, 100).Draw(t, "reason")
		ns := namespaces().Draw(t, "namespace")
		switch rapid.IntRange(0, 21).Draw(t, "message") {
		case 0:
			return &wire.Subscribe{RequestID: id, Name: names().Draw(t, "name"), Params: p}
		case 1:
			return &wire.SubscribeOK{RequestID: id, Alias: numbers().Draw(t, "alias"), Params: p, Properties: trackProperties().Draw(t, "track")}
		case 2:
			return &wire.Publish{RequestID: id, Name: names().Draw(t, "name"), Alias: numbers().Draw(t, "alias"), Params: p, Properties: trackProperties().Draw(t, "track")}
		case 3:
			return &wire.PublishDone{RequestID: id, Code: wire.PublishDoneCode(rapid.Uint64Range(0, 0x14).Draw(t, "code")),
				StreamCount: rapid.OneOf(rapid.Just(wire.UnknownStreamCount), numbers()).Draw(t, "streams"), Reason: reason}
		case 4:
			p.Filter = nil // the range is Start and Last
			m := &wire.Fetch{RequestID: id, FetchType: wire.FetchType(rapid.Uint64Range(1, 3).Draw(t, "type")), Params: p}
			if m.FetchType == wire.FetchStandalone {
				m.Name, m.Start, m.Last = names().Draw(t, "name"), locations().Draw(t, "start"), locations().Draw(t, "last")
				m.Last.Group = max(m.Last.Group, m.Start.Group)
				switch rapid.IntRange(0, 3).Draw(t, "open") {
				case 0:
					m.Last.Object = math.MaxUint64
				case 1:
					m.Last = moq.Location{Group: math.MaxUint64, Object: math.MaxUint64}
				}
			} else {
				m.JoiningRequestID, m.JoiningStart = numbers().Draw(t, "joined"), numbers().Draw(t, "joining start")
			}
			return m
		case 5:
			return &wire.FetchOK{RequestID: id, EndOfTrack: rapid.Bool().Draw(t, "end"), Last: locations().Draw(t, "last"), Params: p, Properties: trackProperties().Draw(t, "track")}
		case 6:
			return &wire.TrackStatus{RequestID: id, Name: names().Draw(t, "name"), Params: p}
		case 7:
			return &wire.PublishNamespace{RequestID: id, Namespace: ns, Params: p}
		case 8:
			return &wire.SubscribeNamespace{RequestID: id, Prefix: ns, Tracks: rapid.Bool().Draw(t, "tracks"), Params: p}
		case 9:
			return &wire.SubscribeTracks{RequestID: id, Prefix: ns, Params: p}
		case 10:
			return &wire.Namespace{Suffix: ns}
		case 11:
			return &wire.NamespaceDone{Suffix: ns}
		case 12:
			return &wire.PublishSkipped{Suffix: ns, Track: reason}
		case 13:
			p.Filter = &wire.Filter{Type: wire.FilterAbsoluteStart, Start: locations().Draw(t, "start")}
			forward, priority := rapid.Bool().Draw(t, "forward"), rapid.Uint8().Draw(t, "priority")
			p.Forward, p.SubscriberPriority = &forward, &priority
			return &wire.RequestUpdate{RequestID: id, Existing: numbers().Draw(t, "existing"), Params: p}
		case 14:
			if p.GroupOrder == moq.GroupOrderPublisher {
				p.GroupOrder = moq.GroupOrderAscending
			}
			return &wire.RequestOK{Request: requests().Draw(t, "request"), RequestID: id, Params: p, Properties: trackProperties().Draw(t, "track")}
		case 15:
			m := &wire.RequestError{Request: requests().Draw(t, "request"), RequestID: id, Code: wire.RequestCode(rapid.Uint64Range(0, 0x40).Draw(t, "code")),
				RetryAfter: optional(milliseconds()).Draw(t, "retry"), Reason: reason}
			if m.Code == wire.RequestRedirect {
				m.Redirect = &wire.Redirect{URI: reason, Name: names().Draw(t, "redirect")}
			}
			return m
		case 16:
			return &wire.GoAway{URI: reason, Timeout: milliseconds().Draw(t, "timeout")}
		case 17:
			return &wire.MaxRequestID{Limit: id}
		case 18:
			return &wire.Unsubscribe{RequestID: id}
		case 19:
			return &wire.PublishNamespaceCancel{RequestID: id, Namespace: ns, Code: wire.RequestCode(rapid.Uint64Range(0, 0x40).Draw(t, "code")), Reason: reason}
		case 20:
			return &wire.PublishStateNotify{Params: p}
		default:
			return &wire.Setup{Server: rapid.Bool().Draw(t, "server"), MaxRequestID: optional(numbers()).Draw(t, "max"),
				MaxAuthTokenCacheSize: numbers().Draw(t, "cache"), Tokens: rapid.SliceOfN(tokens(), 0, 2).Draw(t, "tokens"), Implementation: reason}
		}
	})
}

// TestFitted checks that a message that was fitted to a draft can be encoded,
// and that what is decoded encodes to the same bytes.
func TestFitted(t *testing.T) {
	for _, d := range wire.Codecs() {
		t.Run(d.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := messages().Draw(t, "message")
				d.Fit(m)
				if lost := d.Fit(m); lost != nil {
					t.Fatalf("fitted again, it lost %q", lost)
				}
				b, err := d.AppendMessage(nil, m)
				if err != nil {
					if errors.Is(err, wire.ErrInvalid) && b == nil && !exists(d, m) {
						return
					}
					t.Fatalf("%+v: %v", m, err)
				}
				got, n, err := d.ParseMessage(b)
				if err != nil || n != len(b) {
					t.Fatalf("%+v as %x: length %d, %v", m, b, n, err)
				}
				again, err := d.AppendMessage(nil, got)
				if err != nil || !bytes.Equal(again, b) {
					t.Fatalf("%+v as %x\nbecame %+v as %x, %v", m, b, got, again, err)
				}
			})
		})
	}
}

// exists reports whether a draft has a message, as its list of them says.
func exists(d wire.Draft, m wire.Message) bool {
	older := d.Dialect().ControlStream
	switch m := m.(type) {
	case *wire.Fetch:
		return m.FetchType == wire.FetchStandalone || d.Dialect().Joining
	case *wire.PublishStateNotify:
		return d.Dialect().Fill
	case *wire.MaxRequestID, *wire.Unsubscribe, *wire.PublishNamespaceCancel:
		return older
	case *wire.PublishSkipped:
		return !older
	case *wire.SubscribeTracks, *wire.Namespace, *wire.NamespaceDone:
		return d != wire.Draft14
	}
	return true
}

// TestCrossing checks that Objects of a Subgroup that come in one draft leave
// in another as they were.
func TestCrossing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from, to := rapid.SampledFrom(wire.Codecs()).Draw(t, "from"), rapid.SampledFrom(wire.Codecs()).Draw(t, "to")
		s := subgroupStream{header: wire.SubgroupHeader{
			Alias: numbers().Draw(t, "alias"), Group: numbers().Draw(t, "group"), Subgroup: numbers().Draw(t, "subgroup"),
			Mode: wire.SubgroupExplicit, Priority: rapid.Uint8().Draw(t, "priority"),
			EndOfGroup: rapid.Bool().Draw(t, "end of group"), Properties: true,
		}}
		id := rapid.Uint64Range(0, 1000).Draw(t, "first")
		for range rapid.IntRange(0, 4).Draw(t, "objects") {
			payload := rapid.SliceOfN(rapid.Byte(), 0, 10).Draw(t, "payload")
			s.objects = append(s.objects, wire.ObjectHeader{ID: id, Properties: properties().Draw(t, "object"), Size: uint64(len(payload))})
			s.payloads = append(s.payloads, payload)
			id += rapid.Uint64Range(1, 1000).Draw(t, "step")
		}
		if end := rapid.SampledFrom([]moq.ObjectStatus{moq.StatusNormal, moq.StatusEndOfGroup, moq.StatusEndOfTrack}).Draw(t, "end"); end != moq.StatusNormal {
			s.objects = append(s.objects, wire.ObjectHeader{ID: id, Status: end})
			s.payloads = append(s.payloads, []byte{})
		}
		first := s
		for _, d := range []wire.Draft{from, to, from} {
			b, err := appendSubgroupStream(d, nil, s)
			if err != nil {
				t.Fatalf("%v: %v", d, err)
			}
			if s, err = parseSubgroupStream(d, b); err != nil {
				t.Fatalf("%v: %x: %v", d, b, err)
			}
			for i := range s.objects {
				if got, want := s.objects[i], first.objects[i]; got.ID != want.ID || got.Status != want.Status ||
					!bytes.Equal(s.payloads[i], first.payloads[i]) || !sameProperties(got.Properties, want.Properties) {
					t.Fatalf("%v: object %+v, want %+v", d, got, want)
				}
			}
			if s.header != first.header {
				t.Fatalf("%v: header %+v, want %+v", d, s.header, first.header)
			}
		}
	})
}

// sameProperties compares what Properties say, also inside Immutable ones,
// whose integers may be longer than needed.
func sameProperties(a, b moq.Properties) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if x.Type == moq.PropertyImmutable && y.Type == moq.PropertyImmutable {
			p, err1 := wire.ParseImmutable(x.Bytes)
			q, err2 := wire.ParseImmutable(y.Bytes)
			if err1 != nil || err2 != nil || !reflect.DeepEqual(p, q) {
				return false
			}
			continue
		}
		if !reflect.DeepEqual(x, y) {
			return false
		}
	}
	return true
}

// TestImmutableUntouched: "This extension MUST NOT be modified or removed."
// (draft-ietf-moq-transport-16, section "Immutable Extensions") What comes in
// a form and leaves in it has the same bytes, however long its integers are.
func TestImmutableUntouched(t *testing.T) {
	for _, d := range []wire.Draft{wire.Draft14, wire.Draft16} {
		rapid.Check(t, func(t *rapid.T) {
			// integer writes v in one of the lengths of RFC 9000.
			integer := func(b []byte, v uint64) []byte {
				least := 0
				for v >= 1<<(8<<least-2) {
					least++
				}
				class := rapid.IntRange(least, 3).Draw(t, "class")
				n := 1 << class
				for i := n - 1; i >= 0; i-- {
					c := byte(v >> (8 * i))
					if i == n-1 {
						c |= byte(class << 6)
					}
					b = append(b, c)
				}
				return b
			}
			var value []byte
			var typ uint64
			for range rapid.IntRange(1, 5).Draw(t, "pairs") {
				delta := rapid.Uint64Range(12, 1<<40).Draw(t, "delta")
				typ += delta
				if d == wire.Draft14 {
					value = integer(value, typ)
				} else {
					value = integer(value, delta)
				}
				if typ%2 == 0 {
					value = integer(value, numbers().Draw(t, "value"))
				} else {
					content := rapid.SliceOfN(rapid.Byte(), 0, 10).Draw(t, "content")
					value = append(integer(value, uint64(len(content))), content...)
				}
			}
			b, err := d.AppendVarint([]byte{0}, uint64(len(value)))
			if err != nil {
				t.Fatal(err)
			}
			block := append(append([]byte{0x0B}, b[1:]...), value...)
			if b, err = d.AppendVarint([]byte{0}, uint64(len(block))); err != nil {
				t.Fatal(err)
			}
			b = append(append(b, block...), 1)
			h := wire.SubgroupHeader{Properties: true}
			o, n, err := d.ParseObjectHeader(b, &h, 0, true)
			if err != nil || n != len(b) {
				t.Fatalf("length %d, %v", n, err)
			}
			if _, err := wire.ParseImmutable(o.Properties[0].Bytes); err != nil {
				t.Fatal(err)
			}
			if again, err := d.AppendObjectHeader(nil, &h, 0, true, o); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%x became %x, %v", b, again, err)
			}
		})
	}
}
