package wire_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

func ptr[T any](v T) *T { return &v }

// TestOlderUnencodable checks what drafts 14 and 16 cannot say; docs/protocol.md
// lists it.
func TestOlderUnencodable(t *testing.T) {
	a := moq.FullTrackName{Namespace: moq.Namespace{"a"}, Track: "t"}
	both := []wire.Draft{wire.Draft14, wire.Draft16}
	only14, only16 := both[:1], both[1:]
	type message struct {
		drafts []wire.Draft
		m      wire.Message
	}
	for what, c := range map[string]message{
		"namespace without fields":      {both, &wire.Subscribe{Name: moq.FullTrackName{Track: "t"}}},
		"number of 63 bits":             {both, &wire.Unsubscribe{RequestID: 1 << 62}},
		"RENDEZVOUS_TIMEOUT":            {both, &wire.Subscribe{Name: a, Params: wire.Params{RendezvousTimeout: ptr(wire.Milliseconds(5))}}},
		"SUBGROUP_DELIVERY_TIMEOUT":     {both, &wire.Subscribe{Name: a, Params: wire.Params{SubgroupDeliveryTimeout: ptr(wire.Milliseconds(5))}}},
		"FILL_TIMEOUT":                  {both, &wire.Fetch{FetchType: wire.FetchStandalone, Name: a, Params: wire.Params{FillTimeout: ptr(wire.Milliseconds(5))}}},
		"range filter":                  {both, &wire.Subscribe{Name: a, Params: wire.Params{RangeFilters: []wire.RawRangeFilter{{Type: wire.ParamSubgroupFilter, Value: []byte{0, 1}}}}}},
		"misplaced parameter":           {both, &wire.PublishNamespace{Namespace: a.Namespace, Params: wire.Params{Forward: ptr(true)}}},
		"redirect":                      {both, &wire.RequestError{Request: wire.TypeSubscribe, Code: wire.RequestRedirect, Redirect: &wire.Redirect{}}},
		"PUBLISH_SKIPPED":               {both, &wire.PublishSkipped{Suffix: a.Namespace}},
		"EXCESSIVE_LOAD":                {both, &wire.PublishDone{Code: wire.DoneExcessiveLoad}},
		"UNSUBSCRIBE_NAMESPACE":         {only16, &wire.UnsubscribeNamespace{Prefix: a.Namespace}},
		"unknown parameter":             {only16, &wire.Subscribe{Name: a, Params: wire.Params{Unknown: moq.Properties{{Type: 0x60}}}}},
		"delivery timeout 0":            {only16, &wire.Subscribe{Name: a, Params: wire.Params{ObjectDeliveryTimeout: ptr(wire.Milliseconds(0))}}},
		"delivery timeout 0 of a track": {only16, &wire.SubscribeOK{Properties: moq.Properties{{Type: moq.PropertyObjectDeliveryTimeout}}}},
		"properties in REQUEST_OK":      {only16, &wire.RequestOK{Properties: moq.Properties{{Type: moq.PropertyDynamicGroups, Value: 1}}}},
		"answer to nothing":             {only14, &wire.RequestOK{}},
		"refusal of nothing":            {only14, &wire.RequestError{}},
		"retry interval":                {only14, &wire.RequestError{Request: wire.TypeSubscribe, RetryAfter: ptr(wire.Milliseconds(5))}},
		"code of another refusal":       {only14, &wire.RequestError{Request: wire.TypeSubscribe, Code: wire.RequestUninterested}},
		"namespaces alone":              {only14, &wire.SubscribeNamespace{Prefix: a.Namespace}},
		"tracks alone":                  {only14, &wire.SubscribeTracks{Prefix: a.Namespace}},
		"NAMESPACE":                     {only14, &wire.Namespace{Suffix: a.Namespace}},
		"UPDATE_FAILED":                 {only14, &wire.PublishDone{Code: wire.DoneUpdateFailed}},
		"track property":                {only14, &wire.SubscribeOK{Properties: moq.Properties{{Type: moq.PropertyDynamicGroups, Value: 1}}}},
		"EXPIRES in PUBLISH":            {only14, &wire.Publish{Name: a, Params: wire.Params{Expires: ptr(wire.Milliseconds(5))}}},
		"NEW_GROUP_REQUEST":             {only14, &wire.Subscribe{Name: a, Params: wire.Params{NewGroupRequest: ptr(uint64(5))}}},
		"update that leaves something":  {only14, &wire.RequestUpdate{Params: wire.Params{Forward: ptr(true)}}},
		"PUBLISH_OK without an order":   {only14, &wire.RequestOK{Request: wire.TypePublish}},
		"two versions of a server":      {only14, &wire.Setup{Server: true, Versions: []uint64{1, 2}}},
		"parameter in a plain answer":   {only14, &wire.RequestOK{Request: wire.TypePublishNamespace, Params: wire.Params{Expires: ptr(wire.Milliseconds(5))}}},
		"relative filter in an update": {only14, &wire.RequestUpdate{Params: wire.Params{
			Forward: ptr(true), SubscriberPriority: ptr(uint8(1)), Filter: &wire.Filter{Type: wire.FilterNextGroup}}}},
	} {
		for _, d := range c.drafts {
			if b, err := d.AppendMessage([]byte("abc"), c.m); !errors.Is(err, wire.ErrInvalid) || string(b) != "abc" {
				t.Errorf("%v, %s: %q, %v, want ErrInvalid", d, what, b, err)
			}
		}
	}
	for what, f := range map[string]func() ([]byte, error){
		"padding": func() ([]byte, error) { return wire.Draft16.AppendPadding([]byte("abc"), false) },
		"default priority of a subgroup": func() ([]byte, error) {
			return wire.Draft14.AppendSubgroupHeader([]byte("abc"), wire.SubgroupHeader{DefaultPriority: true})
		},
		"default priority of a datagram": func() ([]byte, error) {
			return wire.Draft14.AppendDatagram([]byte("abc"), wire.Datagram{DefaultPriority: true})
		},
		"status does not exist": func() ([]byte, error) {
			return wire.Draft16.AppendDatagram([]byte("abc"), wire.Datagram{Status: wire.StatusDoesNotExist})
		},
		"unknown range": func() ([]byte, error) {
			return wire.Draft14.AppendFetchItem([]byte("abc"), new(wire.FetchCursor), wire.FetchItem{Kind: wire.FetchUnknown})
		},
		"status on a fetch stream": func() ([]byte, error) {
			return wire.Draft16.AppendFetchItem([]byte("abc"), new(wire.FetchCursor), wire.FetchItem{Status: moq.StatusEndOfGroup})
		},
		"group of 63 bits": func() ([]byte, error) {
			return wire.Draft16.AppendSubgroupHeader([]byte("abc"), wire.SubgroupHeader{Group: 1 << 62})
		},
		"varint of 63 bits": func() ([]byte, error) { return wire.Draft16.AppendVarint([]byte("abc"), 1<<62) },
	} {
		if b, err := f(); !errors.Is(err, wire.ErrInvalid) || string(b) != "abc" {
			t.Errorf("%s: %q, %v, want ErrInvalid", what, b, err)
		}
	}
}

// TestNotSent checks the hints that are left out where a draft cannot give
// them.
func TestNotSent(t *testing.T) {
	for _, d := range []wire.Draft{wire.Draft14, wire.Draft16} {
		b, err := d.AppendSubgroupHeader(nil, wire.SubgroupHeader{FirstObject: true})
		if err != nil {
			t.Fatal(err)
		}
		if h, _, err := d.ParseSubgroupHeader(b); err != nil || h.FirstObject {
			t.Errorf("%v: %+v, %v", d, h, err)
		}
		if b, err = d.AppendMessage(nil, &wire.GoAway{URI: "u", Timeout: 5, RequestID: ptr(uint64(4))}); err != nil {
			t.Fatal(err)
		}
		if m, _, err := d.ParseMessage(b); err != nil || !reflect.DeepEqual(m, &wire.GoAway{URI: "u"}) {
			t.Errorf("%v: %+v, %v", d, m, err)
		}
	}
}

func TestFit(t *testing.T) {
	type fitted struct {
		draft wire.Draft
		m     wire.Message
		want  wire.Message
		lost  []string
	}
	for what, c := range map[string]fitted{
		"nothing to do": {wire.Draft16,
			&wire.Subscribe{Params: wire.Params{Forward: ptr(true)}}, &wire.Subscribe{Params: wire.Params{Forward: ptr(true)}}, nil},
		"parameters": {wire.Draft16,
			&wire.Subscribe{Params: wire.Params{RendezvousTimeout: ptr(wire.Milliseconds(5)), SubscriberPriority: ptr(uint8(3))}},
			&wire.Subscribe{Params: wire.Params{SubscriberPriority: ptr(uint8(3))}}, []string{"RENDEZVOUS_TIMEOUT"}},
		"fields": {wire.Draft14,
			&wire.Subscribe{Params: wire.Params{GroupOrder: moq.GroupOrderDescending, NewGroupRequest: ptr(uint64(1))}},
			&wire.Subscribe{Params: wire.Params{GroupOrder: moq.GroupOrderDescending}}, []string{"NEW_GROUP_REQUEST"}},
		"range filters": {wire.Draft18,
			&wire.Subscribe{Params: wire.Params{RangeFilters: []wire.RawRangeFilter{{Type: wire.ParamPriorityFilter, Value: []byte{0, 1}}}}},
			&wire.Subscribe{Params: wire.Params{RangeFilters: []wire.RawRangeFilter{}}}, []string{"PRIORITY_FILTER"}},
		"track properties": {wire.Draft14,
			&wire.SubscribeOK{Properties: moq.Properties{{Type: moq.PropertyMaxCacheDuration, Value: 9}, {Type: moq.PropertyDynamicGroups, Value: 1}}},
			&wire.SubscribeOK{Properties: moq.Properties{{Type: moq.PropertyMaxCacheDuration, Value: 9}}}, []string{"track property 0x30"}},
		"redirect": {wire.Draft16,
			&wire.RequestError{Code: wire.RequestRedirect, Redirect: &wire.Redirect{URI: "u"}},
			&wire.RequestError{Code: wire.RequestInternalError}, []string{"redirect"}},
		"redirect to nowhere": {wire.Draft19,
			&wire.RequestError{Code: wire.RequestRedirect}, &wire.RequestError{}, []string{"code REDIRECT"}},
		"retry": {wire.Draft14,
			&wire.RequestError{Request: wire.TypeFetch, Code: wire.RequestExcessiveLoad, RetryAfter: ptr(wire.Milliseconds(5))},
			&wire.RequestError{Request: wire.TypeFetch}, []string{"retry interval", "code EXCESSIVE_LOAD"}},
		"NO_OBJECTS": {wire.Draft18,
			&wire.RequestError{Code: wire.RequestNoObjects}, &wire.RequestError{Code: wire.RequestInvalidRange}, []string{"code NO_OBJECTS"}},
		"PUBLISH_DONE": {wire.Draft16,
			&wire.PublishDone{Code: wire.DoneExcessiveLoad}, &wire.PublishDone{}, []string{"code EXCESSIVE_LOAD"}},
		"namespaces alone": {wire.Draft14, &wire.SubscribeNamespace{}, &wire.SubscribeNamespace{Tracks: true}, []string{"namespaces alone"}},
		"tracks too":       {wire.Draft19, &wire.SubscribeNamespace{Tracks: true}, &wire.SubscribeNamespace{}, []string{"tracks"}},
		"status answer": {wire.Draft16,
			&wire.RequestOK{Request: wire.TypeTrackStatus, Properties: moq.Properties{{Type: 0x60}}},
			&wire.RequestOK{Request: wire.TypeTrackStatus}, []string{"track properties"}},
	} {
		if lost := c.draft.Fit(c.m); !reflect.DeepEqual(lost, c.lost) || !reflect.DeepEqual(c.m, c.want) {
			t.Errorf("%s: %+v, lost %q, want %+v, %q", what, c.m, lost, c.want, c.lost)
		}
	}
}

// TestOlderCodes checks numbers that are others in memory, and that a number
// which the draft does not define is kept without being taken for one.
func TestOlderCodes(t *testing.T) {
	for d, numbers := range map[wire.Draft]map[uint64]wire.ResetCode{
		wire.Draft16: {2: wire.ResetDeliveryTimeout, 4: wire.ResetUnknownObjectStatus, 0x12: wire.ResetMalformedTrack},
		wire.Draft14: {1: wire.ResetCancelled, 3: wire.ResetSessionClosed},
		wire.Draft18: {4: wire.ResetGoingAway, 6: wire.ResetUnknownObjectStatus, 0x77: 0x77},
	} {
		for n, c := range numbers {
			if got := d.ResetCode(n); got != c {
				t.Errorf("%v: number %#x is %v, want %v", d, n, got, c)
			}
			if got := d.ResetNumber(c); got != n {
				t.Errorf("%v: %v is number %#x, want %#x", d, c, got, n)
			}
		}
	}
	if n := wire.Draft16.ResetNumber(wire.ResetExcessiveLoad); n != 0 {
		t.Errorf("EXCESSIVE_LOAD is number %#x in draft 16", n)
	}
	if c := wire.Draft16.ResetCode(9); c == wire.ResetExcessiveLoad || wire.Draft16.ResetNumber(c) != 9 {
		t.Errorf("number 9 in draft 16 is %v", c)
	}
	// Such a number cannot leave in another draft, where QUIC would not carry it.
	if n := wire.Draft18.ResetNumber(wire.Draft16.ResetCode(9)); n != 0 {
		t.Errorf("number 9 of draft 16 became %#x in draft 18", n)
	}
	b := []byte{0x05, 0, 3, 1, 0x20, 0} // SUBSCRIBE_ERROR of draft 14 with code 0x20
	m, _, err := wire.Draft14.ParseMessage(b)
	if err != nil {
		t.Fatal(err)
	}
	if c := m.(*wire.RequestError).Code; c == wire.RequestUninterested {
		t.Errorf("an undefined code became %v", c)
	}
	if again, err := wire.Draft14.AppendMessage(nil, m); err != nil || !reflect.DeepEqual(again, b) {
		t.Errorf("%x became %x, %v", b, again, err)
	}
}

func TestDialect(t *testing.T) {
	for d, want := range map[wire.Draft]struct {
		control, limit, joining bool
		own                     int // requests that open a stream
	}{
		wire.Draft14: {true, true, true, 0},
		wire.Draft16: {true, true, true, 2},
		wire.Draft18: {false, false, true, 7},
		wire.Draft19: {false, false, true, 7},
		wire.Draft20: {false, false, false, 7},
		wire.Draft22: {false, false, false, 7},
	} {
		own := 0
		for typ := range wire.MessageType(0x60) {
			if d.OwnStream(typ) {
				own++
			}
		}
		if v := d.Dialect(); v.ControlStream != want.control || v.RequestLimit != want.limit || v.Joining != want.joining || v.Fill == want.joining || own != want.own {
			t.Errorf("%v: %+v, %d requests with a stream", d, v, own)
		}
	}
	if !wire.Draft16.OwnStream(wire.TypeSubscribeNamespace) || wire.Draft16.OwnStream(wire.TypePublishNamespace) {
		t.Error("draft 16 gives the wrong requests a stream")
	}
	families := map[uint64][]wire.Draft{}
	for _, d := range wire.Codecs() {
		families[d.HeaderFamily()] = append(families[d.HeaderFamily()], d)
	}
	if len(families) != 3 || families[0] != nil || len(families[wire.Draft19.HeaderFamily()]) != len(wire.Codecs())-2 {
		t.Errorf("families are %v", families)
	}
	for d, alpn := range map[wire.Draft]string{14: "moq-00", 16: "moqt-16", 18: "moqt-18"} {
		if d.ALPN() != alpn {
			t.Errorf("ALPN of draft %d is %q", d, d.ALPN())
		}
	}
	if v := wire.Draft14.Version(); v != 0xff00000e {
		t.Errorf("version of draft 14 is %#x", v)
	}
}

// TestCheckSetup: "When an AUTHORITY parameter is received from a server […]
// the session MUST be closed with INVALID_AUTHORITY."
// (draft-ietf-moq-transport-16, section "AUTHORITY")
func TestCheckSetup(t *testing.T) {
	for what, c := range map[string]struct {
		d            wire.Draft
		m            wire.Setup
		fromServer   bool
		webTransport bool
		code         string
	}{
		"client":                       {d: 16, m: wire.Setup{Path: ptr("/a")}},
		"server":                       {d: 16, m: wire.Setup{Server: true}, fromServer: true},
		"SERVER_SETUP of a client":     {d: 16, m: wire.Setup{Server: true}, code: "PROTOCOL_VIOLATION"},
		"CLIENT_SETUP of a server":     {d: 16, fromServer: true, code: "PROTOCOL_VIOLATION"},
		"authority of a server":        {d: 16, m: wire.Setup{Server: true, Authority: ptr("a")}, fromServer: true, code: "INVALID_AUTHORITY"},
		"path over WebTransport":       {d: 14, m: wire.Setup{Path: ptr("/a")}, webTransport: true, code: "INVALID_PATH"},
		"SETUP of a server, draft 18":  {d: 18, fromServer: true},
		"SETUP of a client, draft 18":  {d: 18},
		"malformed path of a client":   {d: 16, m: wire.Setup{Path: ptr("a b")}, code: "MALFORMED_PATH"},
		"token alias in a first SETUP": {d: 16, m: wire.Setup{Tokens: []wire.Token{{AliasType: wire.TokenUseAlias}}}, code: "PROTOCOL_VIOLATION"},
	} {
		err := c.d.CheckSetup(&c.m, c.fromServer, c.webTransport)
		if c.code == "" {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		var e *wire.Error
		if !errors.As(err, &e) || e.Code.String() != c.code {
			t.Errorf("%s: %v, want %s", what, err, c.code)
		}
	}
}

// TestMandatoryOlder checks that a type of 0x4000 to 0x7FFF, which later
// drafts make mandatory, is any other type before.
func TestMandatoryOlder(t *testing.T) {
	p := moq.Properties{{Type: 0x4000}}
	for _, d := range wire.Codecs() {
		_, unknown := d.UnknownMandatory(p)
		err := d.CheckObjectProperties(moq.Location{}, p)
		if older := d < wire.Draft18; unknown == older || (err == nil) != older {
			t.Errorf("%v: %t, %v", d, unknown, err)
		}
	}
}
