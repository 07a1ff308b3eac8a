package wire_test

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

// The sentences quoted here are from draft-ietf-moq-transport-18, unless the
// test says draft 19.

// namesOf returns n namespace fields of size bytes each.
func namesOf(n, size int) moq.Namespace {
	ns := make(moq.Namespace, n)
	for i := range ns {
		ns[i] = strings.Repeat("x", size)
	}
	return ns
}

// TestNameLimits: "If an endpoint receives a Track Namespace or a Full Track
// Name exceeding 4,096 bytes, it MUST close the session with a
// PROTOCOL_VIOLATION." and "If an endpoint receives a Track Namespace
// consisting of greater than 32 Track Namespace Fields, it MUST close the
// session with a PROTOCOL_VIOLATION." (section "Track Naming")
func TestNameLimits(t *testing.T) {
	subscribe := func(ns moq.Namespace, track string) []byte {
		b := wire.AppendVarint(nil, 0)
		b = wire.AppendVarint(b, uint64(len(ns)))
		for _, f := range ns {
			b = append(wire.AppendVarint(b, uint64(len(f))), f...)
		}
		b = append(wire.AppendVarint(b, uint64(len(track))), track...)
		b = wire.AppendVarint(b, 0)
		return append([]byte{3, byte(len(b) >> 8), byte(len(b))}, b...)
	}
	for _, tt := range []struct {
		name  string
		ns    moq.Namespace
		track string
		ok    bool
	}{
		{"nothing", nil, "", true},
		{"32 fields", namesOf(32, 1), "t", true},
		{"33 fields", namesOf(33, 1), "t", false},
		{"namespace of 4096 bytes", namesOf(32, 128), "", true},
		{"namespace of 4097 bytes", append(namesOf(31, 128), strings.Repeat("x", 129)), "", false},
		{"full name of 4096 bytes", namesOf(1, 96), strings.Repeat("t", 4000), true},
		{"full name of 4097 bytes", namesOf(1, 96), strings.Repeat("t", 4001), false},
		{"empty field", moq.Namespace{"a", ""}, "t", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, d := range wire.Drafts() {
				m, _, err := d.ParseMessage(subscribe(tt.ns, tt.track))
				_, encodeErr := d.AppendMessage(nil, &wire.Subscribe{Name: moq.FullTrackName{Namespace: tt.ns, Track: tt.track}})
				if !tt.ok {
					wantCode(t, err, "PROTOCOL_VIOLATION")
					if !errors.Is(encodeErr, wire.ErrInvalid) {
						t.Errorf("AppendMessage: %v, want ErrInvalid", encodeErr)
					}
					continue
				}
				if err != nil || encodeErr != nil {
					t.Fatalf("ParseMessage: %v; AppendMessage: %v", err, encodeErr)
				}
				name := m.(*wire.Subscribe).Name
				if !name.Namespace.Equal(tt.ns) || name.Track != tt.track {
					t.Errorf("name is %v", name)
				}
			}
		})
	}
}

// TestReasonLimit: "The reason phrase length has a maximum value of 1024
// bytes." (section "Reason Phrase Structure")
func TestReasonLimit(t *testing.T) {
	for n, ok := range map[int]bool{wire.MaxReasonLength: true, wire.MaxReasonLength + 1: false} {
		reason := strings.Repeat("r", n)
		for _, m := range []wire.Message{&wire.RequestError{Reason: reason}, &wire.PublishDone{Reason: reason}} {
			b, err := wire.Draft18.AppendMessage(nil, m)
			if (err == nil) != ok {
				t.Errorf("%v with a reason of %d bytes: %v", m.Type(), n, err)
			}
			if err == nil {
				if got, _, err := wire.Draft18.ParseMessage(b); err != nil || !reflect.DeepEqual(got, m) {
					t.Errorf("parsed: %+v, %v", got, err)
				}
			}
		}
	}
}

// TestParams checks each parameter in each message: "Each Message Parameter
// definition indicates the message types in which it can appear. If it
// appears in some other type of message, the receiving endpoint MUST close
// the connection with a PROTOCOL_VIOLATION." (section "Parameter Scope") The
// table is what the definitions say, in the order of the messages.
func TestParams(t *testing.T) {
	const messages = "SUBSCRIBE SUBSCRIBE_OK PUBLISH FETCH FETCH_OK TRACK_STATUS PUBLISH_NAMESPACE SUBSCRIBE_NAMESPACE SUBSCRIBE_TRACKS REQUEST_UPDATE REQUEST_OK"
	for d, table := range map[wire.Draft]map[wire.ParamType]string{
		wire.Draft18: {
			wire.ParamObjectDeliveryTimeout:   "SUBSCRIBE REQUEST_UPDATE REQUEST_OK",
			wire.ParamAuthorizationToken:      "SUBSCRIBE PUBLISH FETCH TRACK_STATUS PUBLISH_NAMESPACE SUBSCRIBE_NAMESPACE SUBSCRIBE_TRACKS REQUEST_UPDATE",
			wire.ParamRendezvousTimeout:       "SUBSCRIBE",
			wire.ParamSubgroupDeliveryTimeout: "SUBSCRIBE REQUEST_UPDATE REQUEST_OK",
			wire.ParamExpires:                 "SUBSCRIBE_OK PUBLISH REQUEST_OK",
			wire.ParamLargestObject:           "SUBSCRIBE_OK PUBLISH REQUEST_OK",
			wire.ParamFillTimeout:             "FETCH",
			wire.ParamForward:                 "SUBSCRIBE PUBLISH SUBSCRIBE_TRACKS REQUEST_UPDATE REQUEST_OK",
			wire.ParamSubscriberPriority:      "SUBSCRIBE FETCH REQUEST_UPDATE REQUEST_OK",
			wire.ParamFilter:                  "SUBSCRIBE REQUEST_UPDATE REQUEST_OK",
			wire.ParamGroupOrder:              "SUBSCRIBE FETCH REQUEST_OK",
			wire.ParamSubgroupFilter:          "",
			wire.ParamObjectIDFilter:          "",
			wire.ParamPriorityFilter:          "",
			wire.ParamObjectPropertyFilter:    "",
			wire.ParamTrackPropertyFilter:     "",
			wire.ParamNewGroupRequest:         "SUBSCRIBE REQUEST_UPDATE REQUEST_OK",
			wire.ParamTrackNamespacePrefix:    "REQUEST_UPDATE",
		},
		wire.Draft19: {
			wire.ParamObjectDeliveryTimeout:   "SUBSCRIBE SUBSCRIBE_TRACKS REQUEST_UPDATE REQUEST_OK",
			wire.ParamAuthorizationToken:      "SUBSCRIBE PUBLISH FETCH TRACK_STATUS PUBLISH_NAMESPACE SUBSCRIBE_NAMESPACE SUBSCRIBE_TRACKS REQUEST_UPDATE",
			wire.ParamRendezvousTimeout:       "SUBSCRIBE SUBSCRIBE_TRACKS",
			wire.ParamSubgroupDeliveryTimeout: "SUBSCRIBE SUBSCRIBE_TRACKS REQUEST_UPDATE REQUEST_OK",
			wire.ParamExpires:                 "SUBSCRIBE_OK PUBLISH REQUEST_OK",
			wire.ParamLargestObject:           "SUBSCRIBE_OK PUBLISH REQUEST_OK",
			wire.ParamFillTimeout:             "FETCH",
			wire.ParamForward:                 "SUBSCRIBE PUBLISH SUBSCRIBE_TRACKS REQUEST_UPDATE REQUEST_OK",
			wire.ParamSubscriberPriority:      "SUBSCRIBE FETCH SUBSCRIBE_TRACKS REQUEST_UPDATE REQUEST_OK",
			wire.ParamFilter:                  "SUBSCRIBE SUBSCRIBE_TRACKS REQUEST_UPDATE REQUEST_OK",
			wire.ParamGroupOrder:              "SUBSCRIBE PUBLISH FETCH SUBSCRIBE_TRACKS",
			wire.ParamSubgroupFilter:          "SUBSCRIBE FETCH SUBSCRIBE_TRACKS REQUEST_UPDATE REQUEST_OK",
			wire.ParamObjectIDFilter:          "SUBSCRIBE FETCH SUBSCRIBE_TRACKS REQUEST_UPDATE REQUEST_OK",
			wire.ParamPriorityFilter:          "SUBSCRIBE FETCH SUBSCRIBE_TRACKS REQUEST_UPDATE REQUEST_OK",
			wire.ParamObjectPropertyFilter:    "SUBSCRIBE FETCH SUBSCRIBE_TRACKS REQUEST_UPDATE REQUEST_OK",
			wire.ParamTrackPropertyFilter:     "SUBSCRIBE_TRACKS REQUEST_UPDATE",
			wire.ParamNewGroupRequest:         "SUBSCRIBE SUBSCRIBE_TRACKS REQUEST_UPDATE REQUEST_OK",
			wire.ParamTrackNamespacePrefix:    "REQUEST_UPDATE",
		},
	} {
		for typ, in := range table {
			for _, name := range strings.Fields(messages) {
				t.Run(fmt.Sprintf("%v/%v in %s", d, typ, name), func(t *testing.T) {
					want := false
					for _, m := range strings.Fields(in) {
						want = want || m == name
					}
					m, body := withParams(messageType(t, name), oneParam(typ))
					b, err := d.AppendMessage(nil, m)
					if want != (err == nil) || err != nil && !errors.Is(err, wire.ErrInvalid) {
						t.Errorf("AppendMessage: %v", err)
					}
					if want {
						if got, _, err := d.ParseMessage(b); err != nil || !reflect.DeepEqual(got, m) {
							t.Errorf("parsed %+v, %v", got, err)
						}
						return
					}
					// The same parameter by hand, after the fields of m.
					body = append(body, 1)
					body = wire.AppendVarint(body, uint64(typ))
					body = append(body, paramValue(typ)...)
					b = wire.AppendVarint(nil, uint64(m.Type()))
					b = append(append(b, byte(len(body)>>8), byte(len(body))), body...)
					_, _, err = d.ParseMessage(b)
					wantCode(t, err, "PROTOCOL_VIOLATION")
				})
			}
		}
	}
}

// oneParam returns Params with one parameter.
func oneParam(typ wire.ParamType) (p wire.Params) {
	switch typ {
	case wire.ParamObjectDeliveryTimeout:
		p.ObjectDeliveryTimeout = new(wire.Milliseconds(7))
	case wire.ParamAuthorizationToken:
		p.Tokens = []wire.Token{{AliasType: wire.TokenUseAlias, Alias: 7}}
	case wire.ParamRendezvousTimeout:
		p.RendezvousTimeout = new(wire.Milliseconds(7))
	case wire.ParamSubgroupDeliveryTimeout:
		p.SubgroupDeliveryTimeout = new(wire.Milliseconds(7))
	case wire.ParamExpires:
		p.Expires = new(wire.Milliseconds(7))
	case wire.ParamLargestObject:
		p.LargestObject = &moq.Location{Group: 7, Object: 7}
	case wire.ParamFillTimeout:
		p.FillTimeout = new(wire.Milliseconds(7))
	case wire.ParamForward:
		p.Forward = new(true)
	case wire.ParamSubscriberPriority:
		p.SubscriberPriority = new(uint8(7))
	case wire.ParamFilter:
		p.Filter = &wire.Filter{Type: wire.FilterLargestObject}
	case wire.ParamGroupOrder:
		p.GroupOrder = moq.GroupOrderDescending
	case wire.ParamSubgroupFilter, wire.ParamObjectIDFilter, wire.ParamPriorityFilter:
		p.RangeFilters = []wire.RawRangeFilter{{Type: typ, Value: []byte{0, 1, 2}}}
	case wire.ParamObjectPropertyFilter, wire.ParamTrackPropertyFilter:
		p.RangeFilters = []wire.RawRangeFilter{{Type: typ, Value: []byte{0, 0x10, 1, 2}}}
	case wire.ParamNewGroupRequest:
		p.NewGroupRequest = new(uint64(7))
	case wire.ParamTrackNamespacePrefix:
		p.TrackNamespacePrefix = &moq.Namespace{"a"}
	}
	return p
}

// paramValue is the value of oneParam on the wire.
func paramValue(typ wire.ParamType) []byte {
	switch typ {
	case wire.ParamAuthorizationToken:
		return []byte{2, 2, 7}
	case wire.ParamLargestObject:
		return []byte{7, 7}
	case wire.ParamForward:
		return []byte{1}
	case wire.ParamFilter:
		return []byte{1, 2}
	case wire.ParamGroupOrder:
		return []byte{2}
	case wire.ParamSubgroupFilter, wire.ParamObjectIDFilter, wire.ParamPriorityFilter:
		return []byte{3, 0, 1, 2}
	case wire.ParamObjectPropertyFilter, wire.ParamTrackPropertyFilter:
		return []byte{4, 0, 0x10, 1, 2}
	case wire.ParamTrackNamespacePrefix:
		return []byte{1, 1, 'a'}
	}
	return []byte{7}
}

// withParams returns a message with the parameters, and its body up to them.
func withParams(typ wire.MessageType, p wire.Params) (wire.Message, []byte) {
	name := moq.FullTrackName{Namespace: moq.Namespace{"a"}, Track: "b"}
	switch typ {
	case wire.TypeSubscribe:
		return &wire.Subscribe{Name: name, Params: p}, []byte{0, 1, 1, 'a', 1, 'b'}
	case wire.TypeSubscribeOK:
		return &wire.SubscribeOK{Params: p}, []byte{0}
	case wire.TypePublish:
		return &wire.Publish{Name: name, Params: p}, []byte{0, 1, 1, 'a', 1, 'b', 0}
	case wire.TypeFetch:
		return &wire.Fetch{FetchType: wire.FetchRelativeJoining, Params: p}, []byte{0, 2, 0, 0}
	case wire.TypeFetchOK:
		return &wire.FetchOK{Params: p}, []byte{0, 0, 1}
	case wire.TypeTrackStatus:
		return &wire.TrackStatus{Name: name, Params: p}, []byte{0, 1, 1, 'a', 1, 'b'}
	case wire.TypePublishNamespace:
		return &wire.PublishNamespace{Params: p}, []byte{0, 0}
	case wire.TypeSubscribeNamespace:
		return &wire.SubscribeNamespace{Params: p}, []byte{0, 0}
	case wire.TypeSubscribeTracks:
		return &wire.SubscribeTracks{Params: p}, []byte{0, 0}
	case wire.TypeRequestUpdate:
		return &wire.RequestUpdate{Params: p}, []byte{0}
	case wire.TypeRequestOK:
		return &wire.RequestOK{Params: p}, nil
	}
	panic(fmt.Sprintf("%v has no parameters", typ))
}

// TestCheckReply: parameters of REQUEST_UPDATE and REQUEST_OK depend on the
// request.
func TestCheckReply(t *testing.T) {
	update := func(typ wire.ParamType) wire.Message { return &wire.RequestUpdate{Params: oneParam(typ)} }
	ok := func(typ wire.ParamType) wire.Message { return &wire.RequestOK{Params: oneParam(typ)} }
	props := &wire.RequestOK{Properties: moq.Properties{{Type: 4, Value: 1}}}
	redirect := &wire.RequestError{Code: wire.RequestRedirect, Redirect: &wire.Redirect{Name: moq.FullTrackName{Track: "t"}}}
	for _, tt := range []struct {
		request string
		m       wire.Message
		in18    bool
		in19    bool
	}{
		{"SUBSCRIBE", update(wire.ParamForward), true, true},
		{"PUBLISH", update(wire.ParamFilter), true, true},
		{"FETCH", update(wire.ParamSubscriberPriority), true, true},
		{"FETCH", update(wire.ParamFilter), false, false},
		{"FETCH", update(wire.ParamAuthorizationToken), true, true},
		{"SUBSCRIBE_NAMESPACE", update(wire.ParamTrackNamespacePrefix), true, true},
		{"SUBSCRIBE_TRACKS", update(wire.ParamTrackNamespacePrefix), true, true},
		{"SUBSCRIBE_TRACKS", update(wire.ParamSubscriberPriority), false, true},
		{"PUBLISH_NAMESPACE", update(wire.ParamTrackNamespacePrefix), false, false},
		{"SUBSCRIBE", update(wire.ParamTrackNamespacePrefix), false, false},
		{"SUBSCRIBE", update(wire.ParamObjectIDFilter), false, true},
		// "the subscriber cannot send REQUEST_UPDATE" (section "TRACK_STATUS")
		{"TRACK_STATUS", update(wire.ParamAuthorizationToken), false, false},

		{"PUBLISH", ok(wire.ParamGroupOrder), true, false},
		{"PUBLISH", ok(wire.ParamForward), true, true},
		{"PUBLISH", ok(wire.ParamObjectIDFilter), false, true},
		{"SUBSCRIBE", ok(wire.ParamLargestObject), true, true},
		{"SUBSCRIBE", ok(wire.ParamForward), false, false},
		{"SUBSCRIBE_NAMESPACE", ok(wire.ParamExpires), true, true},
		{"TRACK_STATUS", ok(wire.ParamLargestObject), true, true},

		// "Track Properties are populated in TRACK_STATUS_OK; they are empty
		// in PUBLISH_OK, REQUEST_UPDATE_OK, SUBSCRIBE_NAMESPACE_OK and
		// PUBLISH_NAMESPACE_OK." (section "REQUEST_OK")
		{"TRACK_STATUS", props, true, true},
		{"PUBLISH", props, false, false},
		{"SUBSCRIBE", props, false, false},
		{"SUBSCRIBE_NAMESPACE", props, false, false},

		// "Track Name is not meaningful for namespace-scoped requests
		// (SUBSCRIBE_NAMESPACE, PUBLISH_NAMESPACE) and MUST be empty"
		// (section "Redirect Structure"); draft 19 adds SUBSCRIBE_TRACKS.
		{"SUBSCRIBE", redirect, true, true},
		{"FETCH", redirect, true, true},
		{"SUBSCRIBE_NAMESPACE", redirect, false, false},
		{"PUBLISH_NAMESPACE", redirect, false, false},
		{"SUBSCRIBE_TRACKS", redirect, true, false},
		{"SUBSCRIBE", &wire.SubscribeOK{}, true, true},
	} {
		for d, want := range map[wire.Draft]bool{wire.Draft18: tt.in18, wire.Draft19: tt.in19} {
			b, err := d.AppendMessage(nil, tt.m)
			if err != nil {
				if want {
					t.Errorf("%v: %+v: %v", d, tt.m, err)
				}
				continue // ParseMessage does not let it through
			}
			m, _, err := d.ParseMessage(b)
			if err != nil {
				t.Errorf("%v: %+v: %v", d, tt.m, err)
				continue
			}
			err = d.CheckReply(messageType(t, tt.request), m)
			var e *wire.Error
			if want != (err == nil) || !want && (!errors.As(err, &e) || e.Code != wire.ProtocolViolation) {
				t.Errorf("%v: %+v on a stream of %s: %v", d, tt.m, tt.request, err)
			}
		}
	}
}

// TestSetupChecks: sections "AUTHORITY", "PATH" and "AUTHORIZATION TOKEN
// Parameter".
func TestSetupChecks(t *testing.T) {
	path := func(s string) *wire.Setup { return &wire.Setup{Path: &s} }
	authority := func(s string) *wire.Setup { return &wire.Setup{Authority: &s} }
	token := func(a wire.AliasType) *wire.Setup { return &wire.Setup{Tokens: []wire.Token{{AliasType: a}}} }
	quic := func(m *wire.Setup) error { return m.CheckClient(false) }
	webTransport := func(m *wire.Setup) error { return m.CheckClient(true) }
	server := (*wire.Setup).CheckServer
	for _, tt := range []struct {
		name  string
		check func(*wire.Setup) error
		m     *wire.Setup
		want  string
	}{
		{"nothing", quic, &wire.Setup{}, ""},
		{"nothing over WebTransport", webTransport, &wire.Setup{}, ""},
		{"nothing from a server", server, &wire.Setup{Implementation: "x"}, ""},

		{"empty path", quic, path(""), ""},
		{"root", quic, path("/"), ""},
		{"path and query", quic, path("/a/b%20c;d?x=/?&jwt=e.f_g~h"), ""},
		{"query only", quic, path("?x"), ""},
		{"path without slash", quic, path("a"), "MALFORMED_PATH"},
		{"path with a space", quic, path("/a b"), "MALFORMED_PATH"},
		{"path with a fragment", quic, path("/a#b"), "MALFORMED_PATH"},
		{"path with a cut escape", quic, path("/a%2"), "MALFORMED_PATH"},
		{"path with a bad escape", quic, path("/%zz"), "MALFORMED_PATH"},
		{"path with a byte above ASCII", quic, path("/\xe4"), "MALFORMED_PATH"},
		{"path with NUL", quic, path("/\x00"), "MALFORMED_PATH"},
		{"path over WebTransport", webTransport, path("/"), "INVALID_PATH"},
		{"empty path over WebTransport", webTransport, path(""), "INVALID_PATH"},
		{"path from a server", server, path("/"), "INVALID_PATH"},

		{"host", quic, authority("relay.example"), ""},
		{"host and port", quic, authority("relay.example:4443"), ""},
		{"IPv6", quic, authority("[::1]:4443"), ""},
		{"empty authority", quic, authority(""), "MALFORMED_AUTHORITY"},
		{"port only", quic, authority(":4443"), "MALFORMED_AUTHORITY"},
		{"bad port", quic, authority("h:port"), "MALFORMED_AUTHORITY"},
		{"authority with a path", quic, authority("h/p"), "MALFORMED_AUTHORITY"},
		{"authority with a query", quic, authority("h?p"), "MALFORMED_AUTHORITY"},
		{"open bracket", quic, authority("[::1"), "MALFORMED_AUTHORITY"},
		{"authority over WebTransport", webTransport, authority("h"), "INVALID_AUTHORITY"},
		{"authority from a server", server, authority("h"), "INVALID_AUTHORITY"},

		// "If a server receives Alias Type DELETE (0x0) or USE_ALIAS (0x2) in
		// a SETUP message, it MUST close the session with a
		// PROTOCOL_VIOLATION."
		{"token by value", quic, token(wire.TokenUseValue), ""},
		{"token registered", webTransport, token(wire.TokenRegister), ""},
		{"token deleted", quic, token(wire.TokenDelete), "PROTOCOL_VIOLATION"},
		{"token by alias", webTransport, token(wire.TokenUseAlias), "PROTOCOL_VIOLATION"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.check(tt.m)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantCode(t, err, tt.want)
		})
	}
}

// TestUnencodable checks that Append functions refuse what a parser would
// refuse, and leave the slice as it was.
func TestUnencodable(t *testing.T) {
	const d18, d19 = wire.Draft18, wire.Draft19
	name := moq.FullTrackName{Track: "t"}
	filter := func(f wire.Filter) wire.Message { return &wire.Subscribe{Params: wire.Params{Filter: &f}} }
	token := func(tok wire.Token) wire.Message {
		return &wire.Subscribe{Params: wire.Params{Tokens: []wire.Token{tok}}}
	}
	props := func(p ...moq.Property) wire.Message { return &wire.SubscribeOK{Properties: p} }
	many := make(moq.Properties, wire.MaxProperties+1)
	large := moq.Properties{{Type: 1, Bytes: make([]byte, 40000)}, {Type: 1, Bytes: make([]byte, 40000)}}
	h := &wire.SubgroupHeader{Properties: true}
	message := func(d wire.Draft, m wire.Message) func([]byte) ([]byte, error) {
		return func(b []byte) ([]byte, error) { return d.AppendMessage(b, m) }
	}
	obj := func(h *wire.SubgroupHeader, prev uint64, o wire.ObjectHeader) func([]byte) ([]byte, error) {
		return func(b []byte) ([]byte, error) { return d18.AppendObjectHeader(b, h, prev, false, o) }
	}
	item := func(order moq.GroupOrder, items ...wire.FetchItem) func([]byte) ([]byte, error) {
		return func(b []byte) (out []byte, err error) {
			c := wire.FetchCursor{Order: order}
			for _, it := range items {
				before := c
				if out, err = d18.AppendFetchItem(b, &c, it); err != nil && c != before {
					return nil, errors.New("the cursor moved")
				}
			}
			return out, err
		}
	}
	at := func(g, o uint64) wire.FetchItem { return wire.FetchItem{Location: moq.Location{Group: g, Object: o}} }
	datagram := func(g wire.Datagram) func([]byte) ([]byte, error) {
		return func(b []byte) ([]byte, error) { return d18.AppendDatagram(b, g) }
	}
	for what, f := range map[string]func([]byte) ([]byte, error){
		"body of 65536 bytes":               message(d18, props(large...)),
		"redirect missing":                  message(d18, &wire.RequestError{Code: wire.RequestRedirect}),
		"redirect with another code":        message(d18, &wire.RequestError{Redirect: &wire.Redirect{}}),
		"retry interval too long":           message(d18, &wire.RequestError{RetryAfter: new(wire.Milliseconds(math.MaxUint64))}),
		"URI too long":                      message(d18, &wire.GoAway{URI: strings.Repeat("u", wire.MaxURILength+1)}),
		"stream count that means unknown":   message(d18, &wire.PublishDone{StreamCount: 1<<62 - 1}),
		"fetch without a type":              message(d18, &wire.Fetch{Name: name}),
		"range filter in draft 18":          message(d18, &wire.Subscribe{Params: oneParam(wire.ParamSubgroupFilter)}),
		"range filter of another type":      message(d19, &wire.Subscribe{Params: wire.Params{RangeFilters: []wire.RawRangeFilter{{Type: 0x24}}}}),
		"option of the draft among unknown": message(d18, &wire.Setup{Unknown: moq.Properties{{Type: 1}}}),
		"group order 3":                     message(d18, &wire.Subscribe{Params: wire.Params{GroupOrder: 3}}),
		"filter without a type":             message(d18, filter(wire.Filter{})),
		"relative filter with a start":      message(d18, filter(wire.Filter{Type: wire.FilterNextGroup, Start: moq.Location{Group: 1}})),
		"open filter with an end":           message(d18, filter(wire.Filter{Type: wire.FilterAbsoluteStart, EndGroup: 1})),
		"filter that ends before its start": message(d18, filter(wire.Filter{Type: wire.FilterAbsoluteRange, Start: moq.Location{Group: 2}, EndGroup: 1})),
		"token of an unknown kind":          message(d18, token(wire.Token{AliasType: 4})),
		"alias in a token by value":         message(d18, token(wire.Token{AliasType: wire.TokenUseValue, Alias: 1})),
		"value in a token by alias":         message(d18, token(wire.Token{AliasType: wire.TokenUseAlias, Value: []byte{1}})),
		"even property with bytes":          message(d18, props(moq.Property{Type: 2, Bytes: []byte{1}})),
		"dynamic groups 2":                  message(d18, props(moq.Property{Type: moq.PropertyDynamicGroups, Value: 2})),
		"many properties":                   message(d18, &wire.SubscribeOK{Properties: many}),
		"same object again":                 obj(h, 5, wire.ObjectHeader{ID: 5}),
		"object before":                     obj(h, 5, wire.ObjectHeader{ID: 4}),
		"status with a payload":             obj(h, 5, wire.ObjectHeader{ID: 6, Status: moq.StatusEndOfGroup, Size: 1}),
		"status with properties":            obj(h, 5, wire.ObjectHeader{ID: 6, Status: moq.StatusEndOfGroup, Properties: many[:1]}),
		"unknown status":                    obj(h, 5, wire.ObjectHeader{ID: 6, Status: 1}),
		"properties on a stream without":    obj(&wire.SubgroupHeader{}, 5, wire.ObjectHeader{ID: 6, Properties: many[:1]}),
		"many object properties":            obj(h, 5, wire.ObjectHeader{ID: 6, Properties: many}),
		"large object properties":           obj(h, 5, wire.ObjectHeader{ID: 6, Properties: large}),
		"subgroup mode 3": func(b []byte) ([]byte, error) {
			return d18.AppendSubgroupHeader(b, wire.SubgroupHeader{Mode: 3})
		},
		"subgroup 1 in the mode for 0": func(b []byte) ([]byte, error) {
			return d18.AppendSubgroupHeader(b, wire.SubgroupHeader{Subgroup: 1})
		},
		"fetch item again":                item(moq.GroupOrderAscending, at(1, 1), at(1, 1)),
		"fetch item before":               item(moq.GroupOrderDescending, at(1, 1), at(1, 0)),
		"group before in ascending order": item(moq.GroupOrderPublisher, at(1, 1), at(0, 5)),
		"group after in descending order": item(moq.GroupOrderDescending, at(1, 1), at(2, 0)),
		"fetch item of no kind":           item(moq.GroupOrderAscending, wire.FetchItem{Kind: 9}),
		"large properties of a fetch item": item(moq.GroupOrderAscending,
			wire.FetchItem{Properties: large}),
		"datagram with status and payload":      datagram(wire.Datagram{Status: moq.StatusEndOfGroup, Payload: []byte{1}}),
		"datagram with status and end of group": datagram(wire.Datagram{Status: moq.StatusEndOfGroup, EndOfGroup: true}),
		"datagram with status and properties":   datagram(wire.Datagram{Status: moq.StatusEndOfGroup, Properties: many[:1]}),
		"datagram with an unknown status":       datagram(wire.Datagram{Status: 9}),
		"large properties of a datagram":        datagram(wire.Datagram{Properties: large}),
		"immutable inside immutable": func(b []byte) ([]byte, error) {
			return wire.AppendImmutable(b, moq.Properties{{Type: moq.PropertyImmutable}})
		},
		"message of another package":  message(d18, foreign{}),
		"message that does not exist": message(d18, foreign{0x99}),
	} {
		t.Run(what, func(t *testing.T) {
			b := append(make([]byte, 0, 100), "abc"...)
			got, err := f(b)
			if !errors.Is(err, wire.ErrInvalid) {
				t.Errorf("error is %v, want ErrInvalid", err)
			}
			if string(got) != "abc" {
				t.Errorf("slice is %q", got)
			}
		})
	}
}

// foreign claims to be a message.
type foreign struct{ typ wire.MessageType }

func (f foreign) Type() wire.MessageType { return max(f.typ, wire.TypeSubscribe) }

func TestDraft(t *testing.T) {
	for _, d := range wire.Drafts() {
		if got, err := wire.ParseDraft(d.ALPN()); got != d || err != nil {
			t.Errorf("ParseDraft(%q) = %v, %v", d.ALPN(), got, err)
		}
	}
	if wire.Draft18.ALPN() != "moqt-18" {
		t.Errorf("ALPN of draft 18 is %q", wire.Draft18.ALPN())
	}
	for _, s := range []string{"", "moqt", "moqt-", "moqt-018", "moqt-17", "moqt-18 ", "moqt-65554", "moqt-16", "moq-00", "MOQT-18"} {
		if d, err := wire.ParseDraft(s); !errors.Is(err, wire.ErrDraft) {
			t.Errorf("ParseDraft(%q) = %v, %v", s, d, err)
		}
	}
	for _, d := range wire.Codecs() {
		if !d.Supported() {
			t.Errorf("%v has a codec and is not supported", d)
		}
	}
	const unknown wire.Draft = 17
	var c wire.FetchCursor
	var h wire.SubgroupHeader
	b := []byte{3, 0, 0}
	errs := map[string]error{"CheckReply": unknown.CheckReply(wire.TypeSubscribe, &wire.RequestOK{})}
	_, errs["AppendMessage"] = unknown.AppendMessage(nil, &wire.Subscribe{})
	errs["CheckSetup"] = unknown.CheckSetup(&wire.Setup{}, false, false)
	_, errs["AppendVarint"] = unknown.AppendVarint(nil, 1)
	_, _, errs["ParseVarint"] = unknown.ParseVarint(b)
	_, _, errs["MessageSize"] = unknown.MessageSize(b)
	_, _, errs["ParseMessage"] = unknown.ParseMessage(b)
	_, _, errs["ParseStreamType"] = unknown.ParseStreamType(b)
	_, errs["AppendPadding"] = unknown.AppendPadding(nil, true)
	_, errs["AppendSubgroupHeader"] = unknown.AppendSubgroupHeader(nil, h)
	_, _, errs["ParseSubgroupHeader"] = unknown.ParseSubgroupHeader(b)
	_, errs["AppendObjectHeader"] = unknown.AppendObjectHeader(nil, &h, 0, true, wire.ObjectHeader{})
	_, _, errs["ParseObjectHeader"] = unknown.ParseObjectHeader(b, &h, 0, true)
	_, errs["AppendFetchHeader"] = unknown.AppendFetchHeader(nil, wire.FetchHeader{})
	_, _, errs["ParseFetchHeader"] = unknown.ParseFetchHeader(b)
	_, errs["AppendFetchItem"] = unknown.AppendFetchItem(nil, &c, wire.FetchItem{})
	_, _, errs["ParseFetchItem"] = unknown.ParseFetchItem(b, &c)
	_, errs["AppendDatagram"] = unknown.AppendDatagram(nil, wire.Datagram{})
	_, _, errs["ParseDatagram"] = unknown.ParseDatagram(b)
	for f, err := range errs {
		if !errors.Is(err, wire.ErrDraft) {
			t.Errorf("%s of draft 17: %v, want ErrDraft", f, err)
		}
	}
}

// TestMessageSize checks that a reader learns the size from the first bytes,
// and of a message that is not the draft's at once.
func TestMessageSize(t *testing.T) {
	d := wire.Draft18
	if typ, n, err := d.MessageSize([]byte{0x03, 0x01, 0x02}); typ != wire.TypeSubscribe || n != 3+0x102 || err != nil {
		t.Errorf("MessageSize = %v, %d, %v", typ, n, err)
	}
	if typ, n, err := d.MessageSize([]byte{0xaf, 0x00, 0xff, 0xff}); typ != wire.TypeSetup || n != 4+65535 || n > wire.MaxMessageSize || err != nil {
		t.Errorf("MessageSize = %v, %d, %v", typ, n, err)
	}
	_, _, err := d.MessageSize([]byte{0x1e})
	wantCode(t, err, "PROTOCOL_VIOLATION")
}

// TestOpensRequest: "A request stream begins with one of these seven message
// types" (section "Session initialization").
func TestOpensRequest(t *testing.T) {
	n := 0
	for typ := range wire.MessageType(0x3000) {
		if typ.OpensRequest() {
			n++
		}
	}
	if n != 7 || wire.TypeSetup.OpensRequest() || !wire.TypeTrackStatus.OpensRequest() {
		t.Errorf("%d types open a request", n)
	}
}

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]wire.Milliseconds{
		-time.Second: 0, 0: 0, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Second: 1000,
		math.MaxInt64: math.MaxInt64/1000000 + 1,
	} {
		if got := wire.MillisecondsOf(d); got != want {
			t.Errorf("MillisecondsOf(%v) = %d, want %d", d, got, want)
		}
	}
	for m, want := range map[wire.Milliseconds]time.Duration{
		0: 0, 1500: 1500 * time.Millisecond, math.MaxUint64: math.MaxInt64, math.MaxInt64 / 1000000: math.MaxInt64 / 1000000 * 1000000,
	} {
		if got := m.Duration(); got != want {
			t.Errorf("%d is %v, want %v", m, got, want)
		}
	}
}

// TestTokenHidesValue checks that a token that gets into a log line, also
// inside a message, does not show its value.
func TestTokenHidesValue(t *testing.T) {
	tok := wire.Token{AliasType: wire.TokenUseValue, Type: 1, Value: []byte("secret")}
	m := wire.Subscribe{Params: wire.Params{Tokens: []wire.Token{tok}}}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "token", tok, "message", m)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "token", tok, "message", m)
	for _, s := range []string{
		fmt.Sprint(tok), fmt.Sprintf("%v %+v %#v %s", tok, tok, tok, tok), fmt.Sprintf("%v %+v %#v", m, m, &m), log.String(),
	} {
		for _, secret := range []string{"secret", fmt.Sprint([]byte("secret")), fmt.Sprintf("%x", "secret"), "c2VjcmV0"} {
			if strings.Contains(s, secret) {
				t.Errorf("%q shows the value", s)
			}
		}
	}
	if got := tok.CacheSize(); got != 16+6 {
		t.Errorf("CacheSize = %d", got)
	}
}
