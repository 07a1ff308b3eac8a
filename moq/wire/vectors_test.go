package wire_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

// The vectors are described in testdata/vectors/README.md. They were not made
// by this package.

type vector struct {
	ID         string          `json:"id"`
	Source     string          `json:"source"`
	Hex        string          `json:"hex"`
	DecodeOnly bool            `json:"decode_only"`
	Request    string          `json:"request"`
	GroupOrder string          `json:"group_order"`
	Decoded    json.RawMessage `json:"decoded"`
	Error      string          `json:"error"`
}

func (v *vector) bytes(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(v.Hex)
	if err != nil {
		t.Fatalf("%s: %v", v.ID, err)
	}
	return b
}

func vectorDir(d wire.Draft) string {
	if d == wire.Draft21 {
		d = wire.Draft20 // the same bytes
	}
	return filepath.Join("..", "..", "testdata", "vectors", "moqt", fmt.Sprintf("draft-%d", d))
}

// readVectors returns the vectors of one file. A test that finds none fails.
func readVectors(t testing.TB, d wire.Draft, name string) []vector {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(vectorDir(d), name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Source  string   `json:"source"`
		Vectors []vector `json:"vectors"`
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if file.Source == "" || len(file.Vectors) == 0 {
		t.Fatalf("%s: no source or no vectors", name)
	}
	for _, v := range file.Vectors {
		if v.ID == "" || v.Source == "" || (v.Error == "") == (v.Decoded == nil) {
			t.Fatalf("%s: vector %q lacks a source, or has not exactly one of decoded and error", name, v.ID)
		}
	}
	return file.Vectors
}

// messageFiles are the files of control messages of a draft. What drafts 14
// and 16 have beside theirs is in the folder of the independent codec.
func messageFiles(d wire.Draft) []string {
	if d.Dialect().ControlStream {
		return []string{"message"}
	}
	skipped := "publish_skipped"
	if d == wire.Draft18 {
		skipped = "publish_blocked"
	}
	files := []string{
		"setup", "goaway", "request_ok", "request_error", "request_update", "subscribe", "subscribe_ok", "track_status",
		"publish", "publish_done", skipped, "fetch", "fetch_ok", "publish_namespace", "namespace", "namespace_done",
		"subscribe_namespace", "subscribe_tracks",
	}
	if d >= wire.Draft20 {
		files = append(files, "publish_state_notify")
	}
	return files
}

// eachVector runs f for every vector of the files, in every draft.
func eachVector(t *testing.T, files func(wire.Draft) []string, f func(t *testing.T, d wire.Draft, v *vector)) {
	for _, d := range wire.Codecs() {
		for _, name := range files(d) {
			for _, v := range readVectors(t, d, name) {
				t.Run(fmt.Sprintf("%v/%s/%s", d, name, v.ID), func(t *testing.T) { f(t, d, &v) })
			}
		}
	}
}

func file(name string) func(wire.Draft) []string {
	return func(wire.Draft) []string { return []string{name} }
}

// wantCode fails unless err is a *wire.Error with the named code.
func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var e *wire.Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want %s", err, code)
	}
	if e.Code.String() != code {
		t.Fatalf("error is %v, want %s", err, code)
	}
	if e.Reason == "" {
		t.Error("error has no reason")
	}
}

// wantDecoded fails unless got describes the same as the vector.
func wantDecoded(t *testing.T, v *vector, got any) {
	t.Helper()
	b, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	var g, w any
	if err := errors.Join(json.Unmarshal(b, &g), json.Unmarshal(v.Decoded, &w)); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("decoded\n%s\nwant\n%s", b, v.Decoded)
	}
}

func wantHex(t *testing.T, v *vector, got []byte) {
	t.Helper()
	if h := hex.EncodeToString(got); h != v.Hex {
		t.Errorf("encoded %s\nwant    %s", h, v.Hex)
	}
}

func TestMessageVectors(t *testing.T) {
	files := func(d wire.Draft) []string { return append(messageFiles(d), "unknown_message") }
	describe := func(d wire.Draft, m wire.Message) object {
		if d.Dialect().ControlStream {
			return describeOlder(d, m)
		}
		return describeMessage(d, m)
	}
	eachVector(t, files, func(t *testing.T, d wire.Draft, v *vector) {
		b := v.bytes(t)
		m, n, err := d.ParseMessage(b)
		if err == nil && v.Request != "" {
			err = d.CheckReply(messageType(t, v.Request), m)
		}
		if v.Error != "" {
			wantCode(t, err, v.Error)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if n != len(b) {
			t.Errorf("length is %d, want %d", n, len(b))
		}
		wantDecoded(t, v, describe(d, m))
		got, err := d.AppendMessage([]byte("before"), m)
		if err != nil {
			t.Fatal(err)
		}
		got = got[len("before"):]
		if !v.DecodeOnly {
			wantHex(t, v, got)
		}
		again, _, err := d.ParseMessage(got)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Errorf("parsed again: %+v, %v\nwant %+v", again, err, m)
		}
	})
}

// TestMessagesCovered checks that the vectors have at least two good ones and
// a bad one for each message.
func TestMessagesCovered(t *testing.T) {
	for _, d := range wire.Codecs() {
		if d.Dialect().ControlStream {
			continue // TestOlderMessagesCovered
		}
		for _, name := range messageFiles(d) {
			good, bad := 0, 0
			for _, v := range readVectors(t, d, name) {
				if v.Error != "" {
					bad++
				} else {
					good++
				}
			}
			if good < 2 || bad < 1 {
				t.Errorf("%v %s: %d good and %d bad vectors", d, name, good, bad)
			}
		}
	}
}

func TestVarintVectors(t *testing.T) {
	eachVector(t, file("varint"), func(t *testing.T, d wire.Draft, v *vector) {
		b := v.bytes(t)
		got, n, err := d.ParseVarint(append(b, 0xff))
		if err != nil || n != len(b) {
			t.Fatalf("length %d, %v", n, err)
		}
		wantDecoded(t, v, map[string]any{"value": number(got)})
		if !v.DecodeOnly {
			again, err := d.AppendVarint(nil, got)
			if err != nil {
				t.Fatal(err)
			}
			wantHex(t, v, again)
			if l := wire.VarintLen(got); l != len(b) && !d.Dialect().ControlStream {
				t.Errorf("VarintLen is %d, want %d", l, len(b))
			}
		}
		for i := range b {
			if _, _, err := d.ParseVarint(b[:i]); err != wire.ErrShort {
				t.Errorf("%d bytes: %v, want ErrShort", i, err)
			}
		}
	})
}

func TestStreamTypeVectors(t *testing.T) {
	eachVector(t, file("stream_type"), func(t *testing.T, d wire.Draft, v *vector) {
		b := v.bytes(t)
		typ, n, err := d.ParseStreamType(b)
		if v.Error != "" {
			wantCode(t, err, v.Error)
			return
		}
		if err != nil || n != len(b) {
			t.Fatalf("length %d, %v", n, err)
		}
		wantDecoded(t, v, map[string]any{"stream_type": typ.String()})
	})
}

// subgroupStream is a whole subgroup stream.
type subgroupStream struct {
	header   wire.SubgroupHeader
	objects  []wire.ObjectHeader
	payloads [][]byte
}

func parseSubgroupStream(d wire.Draft, b []byte) (s subgroupStream, err error) {
	var n int
	if s.header, n, err = d.ParseSubgroupHeader(b); err != nil {
		return s, err
	}
	b = b[n:]
	var prev uint64
	for first := true; len(b) > 0; first = false {
		o, n, err := d.ParseObjectHeader(b, &s.header, prev, first)
		if err != nil {
			return s, err
		}
		if o.Size > uint64(len(b)-n) {
			return s, wire.ErrShort
		}
		end := n + int(o.Size)
		s.objects = append(s.objects, o)
		s.payloads = append(s.payloads, b[n:end])
		b, prev = b[end:], o.ID
	}
	return s, nil
}

func appendSubgroupStream(d wire.Draft, b []byte, s subgroupStream) (_ []byte, err error) {
	if b, err = d.AppendSubgroupHeader(b, s.header); err != nil {
		return nil, err
	}
	var prev uint64
	for i, o := range s.objects {
		if b, err = d.AppendObjectHeader(b, &s.header, prev, i == 0, o); err != nil {
			return nil, err
		}
		b = append(b, s.payloads[i]...)
		prev = o.ID
	}
	return b, nil
}

func TestSubgroupVectors(t *testing.T) {
	eachVector(t, file("subgroup"), func(t *testing.T, d wire.Draft, v *vector) {
		b := v.bytes(t)
		s, err := parseSubgroupStream(d, b)
		if v.Error != "" {
			wantCode(t, err, v.Error)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		wantDecoded(t, v, describeSubgroup(s))
		got, err := appendSubgroupStream(d, nil, s)
		if err != nil {
			t.Fatal(err)
		}
		wantHex(t, v, got)
	})
}

// fetchStream is a whole fetch stream.
type fetchStream struct {
	header   wire.FetchHeader
	items    []wire.FetchItem
	payloads [][]byte
}

func parseFetchStream(d wire.Draft, order moq.GroupOrder, b []byte) (s fetchStream, err error) {
	var n int
	if s.header, n, err = d.ParseFetchHeader(b); err != nil {
		return s, err
	}
	b = b[n:]
	c := wire.FetchCursor{Order: order}
	for len(b) > 0 {
		it, n, err := d.ParseFetchItem(b, &c)
		if err != nil {
			return s, err
		}
		if it.Size > uint64(len(b)-n) {
			return s, wire.ErrShort
		}
		end := n + int(it.Size)
		s.items = append(s.items, it)
		s.payloads = append(s.payloads, b[n:end])
		b = b[end:]
	}
	return s, nil
}

func appendFetchStream(d wire.Draft, order moq.GroupOrder, b []byte, s fetchStream) (_ []byte, err error) {
	if b, err = d.AppendFetchHeader(b, s.header); err != nil {
		return nil, err
	}
	c := wire.FetchCursor{Order: order}
	for i, it := range s.items {
		if b, err = d.AppendFetchItem(b, &c, it); err != nil {
			return nil, err
		}
		b = append(b, s.payloads[i]...)
	}
	return b, nil
}

func groupOrder(t testing.TB, s string) moq.GroupOrder {
	t.Helper()
	switch s {
	case "ascending":
		return moq.GroupOrderAscending
	case "descending":
		return moq.GroupOrderDescending
	}
	t.Fatalf("group order %q", s)
	return 0
}

func TestFetchStreamVectors(t *testing.T) {
	eachVector(t, file("fetch_stream"), func(t *testing.T, d wire.Draft, v *vector) {
		b, order := v.bytes(t), groupOrder(t, v.GroupOrder)
		s, err := parseFetchStream(d, order, b)
		if v.Error != "" {
			wantCode(t, err, v.Error)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		wantDecoded(t, v, describeFetch(s))
		got, err := appendFetchStream(d, order, nil, s)
		if err != nil {
			t.Fatal(err)
		}
		if !v.DecodeOnly {
			wantHex(t, v, got)
		}
		again, err := parseFetchStream(d, order, got)
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("parsed again: %+v, %v\nwant %+v", again, err, s)
		}
	})
}

func TestDatagramVectors(t *testing.T) {
	eachVector(t, file("datagram"), func(t *testing.T, d wire.Draft, v *vector) {
		g, padding, err := d.ParseDatagram(v.bytes(t))
		if v.Error != "" {
			wantCode(t, err, v.Error)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		wantDecoded(t, v, describeDatagram(g, padding))
		if padding {
			return
		}
		got, err := d.AppendDatagram(nil, g)
		if err != nil {
			t.Fatal(err)
		}
		if !v.DecodeOnly {
			wantHex(t, v, got)
		}
		again, _, err := d.ParseDatagram(got)
		if err != nil || !reflect.DeepEqual(again, g) {
			t.Errorf("parsed again: %+v, %v\nwant %+v", again, err, g)
		}
	})
}

func messageType(t testing.TB, name string) wire.MessageType {
	t.Helper()
	for typ := range wire.MessageType(0x3000) {
		if typ.String() == name {
			return typ
		}
	}
	t.Fatalf("no message is called %q", name)
	return 0
}

// What follows puts values into the words of the vectors, which are those of
// the draft's figures. Numbers are strings, bytes are hexadecimal.

type object map[string]any

func number[T ~uint64 | ~uint8](v T) string { return strconv.FormatUint(uint64(v), 10) }

func location(l moq.Location) object {
	return object{"group": number(l.Group), "object": number(l.Object)}
}

// endLocation is the last Location as drafts 18 and 19 send it.
func endLocation(l moq.Location) object {
	l.Object++
	return location(l)
}

func fields(ns moq.Namespace) []string { return append([]string{}, ns...) }

func describeProperties(p moq.Properties) []object {
	list := []object{}
	for _, v := range p {
		o := object{"type": number(v.Type)}
		if v.Type%2 == 0 {
			o["value"] = number(v.Value)
		} else {
			o["bytes"] = hex.EncodeToString(v.Bytes)
		}
		list = append(list, o)
	}
	return list
}

func describeTokens(tokens []wire.Token) (list []object) {
	for _, t := range tokens {
		o := object{"alias_type": number(t.AliasType)}
		if t.AliasType != wire.TokenUseValue {
			o["token_alias"] = number(t.Alias)
		}
		if t.AliasType == wire.TokenRegister || t.AliasType == wire.TokenUseValue {
			o["token_type"] = number(t.Type)
			o["token_value"] = hex.EncodeToString(t.Value)
		}
		list = append(list, o)
	}
	return list
}

func describeParams(d wire.Draft, p wire.Params) object {
	o := object{}
	for name, v := range map[string]*wire.Milliseconds{
		"object_delivery_timeout":   p.ObjectDeliveryTimeout,
		"subgroup_delivery_timeout": p.SubgroupDeliveryTimeout,
		"rendezvous_timeout":        p.RendezvousTimeout,
		"expires":                   p.Expires,
		"fill_timeout":              p.FillTimeout,
	} {
		if v != nil {
			o[name] = number(*v)
		}
	}
	if p.Tokens != nil {
		o["authorization_token"] = describeTokens(p.Tokens)
	}
	if p.LargestObject != nil {
		o["largest_object"] = location(*p.LargestObject)
	}
	if p.Forward != nil {
		o["forward"] = "0"
		if *p.Forward {
			o["forward"] = "1"
		}
	}
	if p.SubscriberPriority != nil {
		o["subscriber_priority"] = number(*p.SubscriberPriority)
	}
	if f := p.Filter; f != nil && d >= wire.Draft20 {
		o["location_filter"] = describeFilter(d, *f)
	} else if f != nil {
		v := object{"filter_type": number(f.Type)}
		if f.Type == wire.FilterAbsoluteStart || f.Type == wire.FilterAbsoluteRange {
			v["start"] = location(f.Start)
		}
		if f.Type == wire.FilterAbsoluteRange {
			v["end_group_delta"] = number(f.EndGroup - f.Start.Group)
		}
		name := "location_filter"
		if d == wire.Draft18 {
			name = "subscription_filter"
		}
		o[name] = v
	}
	if p.Fill != nil {
		o["fill_parameters"] = describeParams(d, *p.Fill)
	}
	if p.IncludeProperties != nil {
		o["include_properties"] = map[bool]string{false: "0", true: "1"}[*p.IncludeProperties]
	}
	if p.GroupOrder != moq.GroupOrderPublisher {
		o["group_order"] = strconv.Itoa(int(p.GroupOrder))
	}
	for _, f := range p.RangeFilters {
		name := strings.ToLower(f.Type.String())
		values, _ := o[name].([]string)
		o[name] = append(values, hex.EncodeToString(f.Value))
	}
	if p.NewGroupRequest != nil {
		o["new_group_request"] = number(*p.NewGroupRequest)
	}
	if p.TrackNamespacePrefix != nil {
		o["track_namespace_prefix"] = fields(*p.TrackNamespacePrefix)
	}
	return o
}

// describeFilter gives a filter as drafts 20 and 22 send it: the numbers of the
// one, type and named numbers of the other.
func describeFilter(d wire.Draft, f wire.Filter) any {
	var typ string
	numbers := []string{}
	switch f.Type {
	case wire.FilterNone:
		typ = "0"
	case wire.FilterNextGroup:
		typ, numbers = "1", []string{"0"}
	case wire.FilterRelativeStart:
		typ, numbers = "1", []string{number(f.Groups)}
	case wire.FilterLargestObject:
		typ = "5"
		if d < wire.Draft22 {
			numbers = []string{"0", "0"}
		}
	case wire.FilterAbsoluteStart:
		typ, numbers = "2", []string{number(f.Start.Group), number(f.Start.Object)}
	case wire.FilterAbsoluteRange:
		typ, numbers = "3", []string{number(f.Start.Group), number(f.Start.Object), number(f.EndGroup - f.Start.Group)}
	case wire.FilterObjectRange:
		typ, numbers = "4", []string{number(f.Start.Group), number(f.Start.Object), number(f.EndGroup - f.Start.Group), number(f.EndObject)}
	}
	if d < wire.Draft22 {
		return numbers
	}
	o := object{"location_filter_type": typ}
	for i, n := range numbers {
		o[[]string{"start_group", "start_object", "end_group_delta", "end_object"}[i]] = n
	}
	return o
}

func describeMessage(d wire.Draft, m wire.Message) object {
	o := object{"type": m.Type().String()}
	name := func(n moq.FullTrackName) {
		o["track_namespace"], o["track_name"] = fields(n.Namespace), n.Track
	}
	request := func(id uint64, p wire.Params) {
		o["request_id"], o["parameters"] = number(id), describeParams(d, p)
	}
	answer := func(p wire.Params, props moq.Properties) {
		o["parameters"], o["track_properties"] = describeParams(d, p), describeProperties(props)
	}
	switch m := m.(type) {
	case *wire.Setup:
		opts := object{}
		for name, v := range map[string]*string{"path": m.Path, "authority": m.Authority} {
			if v != nil {
				opts[name] = *v
			}
		}
		for name, v := range map[string]uint64{
			"max_auth_token_cache_size": m.MaxAuthTokenCacheSize,
			"max_filter_ranges":         m.MaxFilterRanges,
			"max_request_updates":       m.MaxRequestUpdates,
		} {
			if v != 0 {
				opts[name] = number(v)
			}
		}
		if m.Implementation != "" {
			opts["moqt_implementation"] = m.Implementation
		}
		if m.Tokens != nil {
			opts["authorization_token"] = describeTokens(m.Tokens)
		}
		if m.Unknown != nil {
			opts["unknown"] = describeProperties(m.Unknown)
		}
		o["options"] = opts
	case *wire.GoAway:
		o["new_session_uri"], o["timeout"] = m.URI, number(m.Timeout)
		if m.RequestID != nil {
			o["request_id"] = number(*m.RequestID)
		}
	case *wire.RequestOK:
		answer(m.Params, m.Properties)
	case *wire.RequestError:
		o["error_code"], o["reason_phrase"], o["retry_interval"] = number(m.Code), m.Reason, "0"
		if m.RetryAfter != nil {
			o["retry_interval"] = number(*m.RetryAfter + 1)
		}
		if r := m.Redirect; r != nil {
			o["redirect"] = object{"connect_uri": r.URI, "track_namespace": fields(r.Name.Namespace), "track_name": r.Name.Track}
		}
	case *wire.RequestUpdate:
		request(m.RequestID, m.Params)
	case *wire.Subscribe:
		request(m.RequestID, m.Params)
		name(m.Name)
	case *wire.SubscribeOK:
		o["track_alias"] = number(m.Alias)
		answer(m.Params, m.Properties)
	case *wire.TrackStatus:
		request(m.RequestID, m.Params)
		name(m.Name)
	case *wire.Publish:
		request(m.RequestID, m.Params)
		name(m.Name)
		o["track_alias"] = number(m.Alias)
		o["track_properties"] = describeProperties(m.Properties)
	case *wire.PublishDone:
		o["status_code"], o["reason_phrase"] = number(m.Code), m.Reason
		o["stream_count"] = number(m.StreamCount)
		if m.StreamCount == wire.UnknownStreamCount && d < wire.Draft20 {
			o["stream_count"] = number(uint64(1<<62 - 1))
		}
	case *wire.PublishStateNotify:
		o["parameters"] = describeParams(d, m.Params)
	case *wire.PublishSkipped:
		if d == wire.Draft18 {
			o["type"] = "PUBLISH_BLOCKED"
		}
		o["track_namespace_suffix"], o["track_name"] = fields(m.Suffix), m.Track
	case *wire.Fetch:
		request(m.RequestID, m.Params)
		if d >= wire.Draft20 {
			name(m.Name)
			if m.Params.Filter == nil {
				o["start"], o["last"] = location(m.Start), location(m.Last)
			}
			break
		}
		o["fetch_type"] = number(m.FetchType)
		if m.FetchType == wire.FetchStandalone {
			o["standalone"] = object{
				"track_namespace": fields(m.Name.Namespace), "track_name": m.Name.Track,
				"start": location(m.Start), "end": endLocation(m.Last),
			}
		} else {
			o["joining"] = object{"joining_request_id": number(m.JoiningRequestID), "joining_start": number(m.JoiningStart)}
		}
	case *wire.FetchOK:
		o["end_of_track"], o["end"] = "0", endLocation(m.Last)
		if d >= wire.Draft20 {
			o["end"] = location(m.Last)
		}
		if m.EndOfTrack {
			o["end_of_track"] = "1"
		}
		answer(m.Params, m.Properties)
	case *wire.PublishNamespace:
		request(m.RequestID, m.Params)
		o["track_namespace"] = fields(m.Namespace)
	case *wire.SubscribeNamespace:
		request(m.RequestID, m.Params)
		o["track_namespace_prefix"] = fields(m.Prefix)
	case *wire.SubscribeTracks:
		request(m.RequestID, m.Params)
		o["track_namespace_prefix"] = fields(m.Prefix)
	case *wire.Namespace:
		o["track_namespace_suffix"] = fields(m.Suffix)
	case *wire.NamespaceDone:
		o["track_namespace_suffix"] = fields(m.Suffix)
	default:
		panic(fmt.Sprintf("no description of %T", m))
	}
	return o
}

func describeSubgroup(s subgroupStream) object {
	h := object{
		"track_alias":      number(s.header.Alias),
		"group_id":         number(s.header.Group),
		"subgroup_id":      number(s.header.Subgroup),
		"subgroup_id_mode": strings.ReplaceAll(s.header.Mode.String(), " ", "_"),
		"end_of_group":     s.header.EndOfGroup,
		"first_object":     s.header.FirstObject,
		"properties":       s.header.Properties,
	}
	if !s.header.DefaultPriority {
		h["publisher_priority"] = number(s.header.Priority)
	}
	objects := []object{}
	for i, o := range s.objects {
		objects = append(objects, object{
			"object_id":  number(o.ID),
			"properties": describeProperties(o.Properties),
			"status":     number(o.Status),
			"payload":    hex.EncodeToString(s.payloads[i]),
		})
	}
	return object{"header": h, "objects": objects}
}

func describeFetch(s fetchStream) object {
	items := []object{}
	for i, it := range s.items {
		o := object{
			"kind":      strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(it.Kind.String())),
			"group_id":  number(it.Location.Group),
			"object_id": number(it.Location.Object),
		}
		if it.Kind == wire.FetchObject {
			if it.Datagram {
				o["datagram"] = true
			} else {
				o["subgroup_id"] = number(it.Subgroup)
			}
			o["publisher_priority"] = number(it.Priority)
			o["properties"] = describeProperties(it.Properties)
			o["payload"] = hex.EncodeToString(s.payloads[i])
			if it.Status != moq.StatusNormal {
				o["status"] = number(it.Status)
			}
		}
		items = append(items, o)
	}
	return object{"request_id": number(s.header.RequestID), "items": items}
}

func describeDatagram(g wire.Datagram, padding bool) object {
	if padding {
		return object{"padding": true}
	}
	o := object{
		"track_alias":  number(g.Alias),
		"group_id":     number(g.Location.Group),
		"object_id":    number(g.Location.Object),
		"end_of_group": g.EndOfGroup,
		"properties":   describeProperties(g.Properties),
		"status":       number(g.Status),
		"payload":      hex.EncodeToString(g.Payload),
	}
	if !g.DefaultPriority {
		o["publisher_priority"] = number(g.Priority)
	}
	return o
}
