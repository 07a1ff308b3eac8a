package wire_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

// The vectors of drafts 14 and 16 in the folder moqtap are those of an
// independent codec, as it published them.

type moqtapVector struct {
	ID        string          `json:"id"`
	Hex       string          `json:"hex"`
	Canonical *bool           `json:"canonical"`
	Decoded   json.RawMessage `json:"decoded"`
	Error     string          `json:"error"`
}

// moqtapFiles returns the vectors of a draft by the names of their files.
func moqtapFiles(t testing.TB, d wire.Draft) map[string][]moqtapVector {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(vectorDir(d), "moqtap", "*.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	files := make(map[string][]moqtapVector)
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Vectors []moqtapVector `json:"vectors"`
		}
		if err := json.Unmarshal(b, &file); err != nil || len(file.Vectors) == 0 {
			t.Fatalf("%s: %d vectors, %v", name, len(file.Vectors), err)
		}
		files[strings.TrimSuffix(filepath.Base(name), ".json")] = file.Vectors
	}
	return files
}

// contradicting are the vectors that say other than their draft, with the
// draft's sentence. docs/protocol.md lists them.
var contradicting = map[wire.Draft]map[string]string{
	wire.Draft16: {
		"fetch/with-params":                 "Key-Value-Pairs encode a Type value as a delta from the previous Type value, or from 0 if there is no previous Type value.",
		"publish-ok/with-params":            "Key-Value-Pairs encode a Type value as a delta from the previous Type value, or from 0 if there is no previous Type value.",
		"subscribe/unknown-extension-param": "An endpoint that receives an unknown Message Parameter MUST close the session with PROTOCOL_VIOLATION.",
		"subscribe-ok/with-delivery-timeout": "The DELIVERY TIMEOUT parameter (Parameter Type 0x02) MAY appear in a PUBLISH_OK, SUBSCRIBE, or REQUEST_UPDATE message. " +
			"[…] If it appears in some other type of message, it MUST be ignored.",
		"publish-namespace/with-forward": "The FORWARD parameter (Parameter Type 0x10) MAY appear in SUBSCRIBE, REQUEST_UPDATE (for a subscription), PUBLISH, PUBLISH_OK and SUBSCRIBE_NAMESPACE. " +
			"[…] If it appears in some other type of message, it MUST be ignored.",
	},
	wire.Draft14: {
		"subscribe-ok/no-content":      "Values of 0x0 and those larger than 0x2 are a protocol error.",
		"publish-namespace-ok/basic":   "PUBLISH_NAMESPACE_OK Message { Type (i) = 0x7, Length (16), Request ID (i) }",
		"subscribe-namespace-ok/basic": "SUBSCRIBE_NAMESPACE_OK Message { Type (i) = 0x12, Length (16), Request ID (i), }",
	},
}

func TestMoqtapVectors(t *testing.T) {
	for d, except := range contradicting {
		passed := 0
		var failed []string
		for file, vectors := range moqtapFiles(t, d) {
			for _, v := range vectors {
				err := checkMoqtap(d, file, &v)
				id := file + "/" + v.ID
				switch {
				case err == nil:
					passed++
				case except[id] == "":
					t.Errorf("%v %s: %v", d, id, err)
				default:
					failed = append(failed, id)
				}
			}
		}
		slices.Sort(failed)
		if want := slices.Sorted(maps.Keys(except)); !slices.Equal(failed, want) {
			t.Errorf("%v: contradicting vectors that fail are %q, want %q", d, failed, want)
		}
		t.Logf("%v: %d vectors pass, %d contradict the draft", d, passed, len(failed))
	}
}

// TestContradictingListed checks that the documentation names the vectors of
// contradicting, each with its sentence.
func TestContradictingListed(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	for d, list := range contradicting {
		for id, sentence := range list {
			row := fmt.Sprintf("| %d | `%s` | %s |", d, id, sentence)
			if !strings.Contains(string(b), row) {
				t.Errorf("docs/protocol.md lacks %q", row)
			}
		}
	}
}

// checkMoqtap returns why the codec does not do what a vector says.
func checkMoqtap(d wire.Draft, file string, v *moqtapVector) error {
	b, err := hex.DecodeString(v.Hex)
	if err != nil {
		return err
	}
	var got object
	var again []byte
	var n int
	if file == "varint" {
		var value uint64
		if value, n, err = d.ParseVarint(b); err == nil {
			got = object{"value": number(value)}
			again, err = d.AppendVarint(nil, value)
		}
	} else {
		var m wire.Message
		if m, n, err = d.ParseMessage(b); err == nil {
			got = describeOlder(d, m)
			again, err = d.AppendMessage(nil, m)
		}
	}
	if v.Error != "" {
		if err == nil {
			return fmt.Errorf("decoded as %v, want an error", got)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if n != len(b) {
		return fmt.Errorf("%d of %d bytes were read", n, len(b))
	}
	var want any
	if err := json.Unmarshal(v.Decoded, &want); err != nil {
		return err
	}
	text, err := json.Marshal(got)
	if err != nil {
		return err
	}
	var gotAny any
	if err := json.Unmarshal(text, &gotAny); err != nil {
		return err
	}
	if !reflect.DeepEqual(gotAny, want) {
		return fmt.Errorf("decoded as %s, want %s", text, v.Decoded)
	}
	if canonical := v.Canonical == nil || *v.Canonical; canonical && hex.EncodeToString(again) != v.Hex {
		return fmt.Errorf("encoded as %x, want %s", again, v.Hex)
	}
	return nil
}

// TestOlderMessagesCovered checks that the vectors of drafts 14 and 16 have a
// good one and a bad one for each code point of a message.
func TestOlderMessagesCovered(t *testing.T) {
	for d := range contradicting {
		good, bad := make(map[uint64]bool), make(map[uint64]bool)
		count := func(b []byte, isBad bool) {
			code, _, err := d.ParseVarint(b)
			if err != nil {
				t.Fatal(err)
			}
			if isBad {
				bad[code] = true
			} else {
				good[code] = true
			}
		}
		for file, vectors := range moqtapFiles(t, d) {
			for _, v := range vectors {
				b, err := hex.DecodeString(v.Hex)
				if err != nil {
					t.Fatal(err)
				}
				if file != "varint" && contradicting[d][file+"/"+v.ID] == "" {
					count(b, v.Error != "")
				}
			}
		}
		for _, v := range readVectors(t, d, "message") {
			count(v.bytes(t), v.Error != "")
		}
		for code := range uint64(0x40) {
			if _, _, err := d.MessageSize([]byte{byte(code), 0, 0}); err == nil && (!good[code] || !bad[code]) {
				t.Errorf("%v: message %#x has a good vector: %t, a bad one: %t", d, code, good[code], bad[code])
			}
		}
	}
}

// describeOlder puts a message of drafts 14 and 16 into the words of those
// vectors.
func describeOlder(d wire.Draft, m wire.Message) object {
	o := object{}
	name := func(n moq.FullTrackName) {
		o["track_namespace"], o["track_name"] = fields(n.Namespace), n.Track
	}
	params := func(p wire.Params) { o["parameters"] = olderParams(p) }
	extensions := func(p moq.Properties) {
		if len(p) > 0 {
			o["track_extensions"] = olderExtensions(p)
		}
	}
	// fixed puts what draft 14 has as fields there.
	fixed := func(p wire.Params, priority, order, forward, filter, expires, largest bool) wire.Params {
		if d != wire.Draft14 {
			return p
		}
		flags := map[bool]string{false: "0", true: "1"}
		if priority {
			o["subscriber_priority"] = number(*p.SubscriberPriority)
		}
		if order {
			o["group_order"] = strconv.Itoa(int(p.GroupOrder))
		}
		if forward {
			o["forward"] = flags[*p.Forward]
		}
		if filter {
			maps.Copy(o, olderFilter(*p.Filter))
		}
		if expires {
			o["expires"] = "0"
			if p.Expires != nil {
				o["expires"] = number(*p.Expires)
			}
		}
		if largest {
			o["content_exists"] = flags[p.LargestObject != nil]
			if p.LargestObject != nil {
				o["largest_location"] = location(*p.LargestObject)
			}
		}
		p.SubscriberPriority, p.GroupOrder, p.Forward, p.Filter, p.Expires, p.LargestObject = nil, 0, nil, nil, nil, nil
		return p
	}
	// published puts Track Properties that are parameters in draft 14 there.
	published := func(p wire.Params, props moq.Properties) {
		if d != wire.Draft14 {
			params(p)
			extensions(props)
			return
		}
		list := olderParams(p)
		maps.Copy(list, olderExtensions(props))
		o["parameters"] = list
	}
	id := func(v uint64) { o["request_id"] = number(v) }
	switch m := m.(type) {
	case *wire.Setup:
		list := object{}
		for name, v := range map[string]*string{"path": m.Path, "authority": m.Authority} {
			if v != nil {
				list[name] = *v
			}
		}
		if m.MaxRequestID != nil {
			list["max_request_id"] = number(*m.MaxRequestID)
		}
		if m.MaxAuthTokenCacheSize > 0 {
			list["max_auth_token_cache_size"] = number(m.MaxAuthTokenCacheSize)
		}
		if m.Implementation != "" {
			list["moqt_implementation"] = m.Implementation
		}
		if m.Tokens != nil {
			list["authorization_token"] = olderTokens(m.Tokens)
		}
		if m.Unknown != nil {
			list["unknown"] = olderUnknown(m.Unknown)
		}
		o["parameters"] = list
		if d == wire.Draft14 {
			versions := []string{}
			for _, v := range m.Versions {
				versions = append(versions, number(v))
			}
			if m.Server {
				o["selected_version"] = versions[0]
			} else {
				o["supported_versions"] = versions
			}
		}
	case *wire.GoAway:
		o["new_session_uri"] = m.URI
	case *wire.MaxRequestID:
		o[map[wire.Draft]string{14: "request_id", 16: "max_request_id"}[d]] = number(m.Limit)
	case *wire.RequestsBlocked:
		o[map[wire.Draft]string{14: "request_id", 16: "maximum_request_id"}[d]] = number(m.Limit)
	case *wire.RequestOK:
		id(m.RequestID)
		switch {
		case d == wire.Draft16:
			params(m.Params)
		case m.Request == wire.TypePublish:
			params(fixed(m.Params, true, true, true, true, false, false))
		case m.Request == wire.TypeTrackStatus:
			o["track_alias"] = "0"
			published(fixed(m.Params, false, true, false, false, true, true), m.Properties)
		}
	case *wire.RequestError:
		id(m.RequestID)
		o["error_code"], o["reason_phrase"] = wireCode(d, m.Request, m.Code), m.Reason
		if d == wire.Draft16 {
			o["retry_interval"] = "0"
			if m.RetryAfter != nil {
				o["retry_interval"] = number(*m.RetryAfter + 1)
			}
		}
	case *wire.RequestUpdate:
		id(m.RequestID)
		if d == wire.Draft16 {
			o["existing_request_id"] = number(m.Existing)
			params(m.Params)
			break
		}
		o["subscription_request_id"] = number(m.Existing)
		f := m.Params.Filter
		o["start_group"], o["start_object"], o["end_group"] = number(f.Start.Group), number(f.Start.Object), "0"
		if f.Type == wire.FilterAbsoluteRange {
			o["end_group"] = number(f.EndGroup + 1)
		}
		params(fixed(m.Params, true, false, true, false, false, false))
	case *wire.Subscribe:
		id(m.RequestID)
		name(m.Name)
		params(fixed(m.Params, true, true, true, true, false, false))
	case *wire.TrackStatus:
		id(m.RequestID)
		name(m.Name)
		params(fixed(m.Params, true, true, true, true, false, false))
	case *wire.SubscribeOK:
		id(m.RequestID)
		o["track_alias"] = number(m.Alias)
		published(fixed(m.Params, false, true, false, false, true, true), m.Properties)
	case *wire.Publish:
		id(m.RequestID)
		name(m.Name)
		o["track_alias"] = number(m.Alias)
		published(fixed(m.Params, false, true, true, false, false, true), m.Properties)
	case *wire.PublishDone:
		id(m.RequestID)
		o["status_code"], o["reason_phrase"] = wireDone(d, m.Code), m.Reason
		o["stream_count"] = number(m.StreamCount)
		if m.StreamCount == wire.UnknownStreamCount {
			o["stream_count"] = number(uint64(1<<62 - 1))
		}
	case *wire.Fetch:
		id(m.RequestID)
		o["fetch_type"] = number(m.FetchType)
		if m.FetchType == wire.FetchStandalone {
			name(m.Name)
			o["start_group"], o["start_object"] = number(m.Start.Group), number(m.Start.Object)
			o["end_group"], o["end_object"] = number(m.Last.Group), number(m.Last.Object+1)
		} else {
			o["joining_request_id"], o["joining_start"] = number(m.JoiningRequestID), number(m.JoiningStart)
		}
		params(fixed(m.Params, true, true, false, false, false, false))
	case *wire.FetchOK:
		id(m.RequestID)
		o["end_of_track"] = "0"
		if m.EndOfTrack {
			o["end_of_track"] = "1"
		}
		if end := endLocation(m.Last); d == wire.Draft14 {
			o["end_location"] = end
		} else {
			o["end_group"], o["end_object"] = end["group"], end["object"]
		}
		published(fixed(m.Params, false, true, false, false, false, false), m.Properties)
	case *wire.PublishNamespace:
		id(m.RequestID)
		o["track_namespace"] = fields(m.Namespace)
		params(m.Params)
	case *wire.PublishNamespaceDone:
		if d == wire.Draft14 {
			o["track_namespace"] = fields(m.Namespace)
		} else {
			id(m.RequestID)
		}
	case *wire.PublishNamespaceCancel:
		o["error_code"], o["reason_phrase"] = wireCode(d, wire.TypePublishNamespace, m.Code), m.Reason
		if d == wire.Draft14 {
			o["track_namespace"] = fields(m.Namespace)
		} else {
			id(m.RequestID)
		}
	case *wire.SubscribeNamespace:
		id(m.RequestID)
		o["namespace_prefix"] = fields(m.Prefix)
		params(m.Params)
		if d == wire.Draft16 {
			o["subscribe_options"] = map[bool]string{false: "1", true: "2"}[m.Tracks]
		}
	case *wire.SubscribeTracks:
		id(m.RequestID)
		o["namespace_prefix"], o["subscribe_options"] = fields(m.Prefix), "0"
		params(m.Params)
	case *wire.UnsubscribeNamespace:
		o["track_namespace_prefix"] = fields(m.Prefix)
	case *wire.Namespace:
		o["namespace_suffix"] = fields(m.Suffix)
	case *wire.NamespaceDone:
		o["namespace_suffix"] = fields(m.Suffix)
	case *wire.Unsubscribe:
		id(m.RequestID)
	case *wire.FetchCancel:
		id(m.RequestID)
	default:
		panic(fmt.Sprintf("no description of %T", m))
	}
	return o
}

// What the tables of draft 14 and 16 give the codes whose number is another
// in memory (draft-ietf-moq-transport-14 and -16, section "Error Codes").
var (
	subscribe14 = map[wire.RequestCode]string{
		wire.RequestDoesNotExist: "4", wire.RequestInvalidRange: "5",
		wire.RequestMalformedAuthToken: "16", wire.RequestExpiredAuthToken: "18",
	}
	request14 = map[wire.MessageType]map[wire.RequestCode]string{
		wire.TypeSubscribe:   subscribe14,
		wire.TypeTrackStatus: subscribe14,
		wire.TypePublish:     {wire.RequestUninterested: "4"},
		wire.TypeFetch: {
			wire.RequestDoesNotExist: "4", wire.RequestInvalidRange: "5", wire.RequestNoObjects: "6",
			wire.RequestInvalidJoiningRequestID: "7", wire.RequestUnknownStatusInRange: "8", wire.RequestMalformedTrack: "9",
			wire.RequestMalformedAuthToken: "16", wire.RequestExpiredAuthToken: "18",
		},
		wire.TypePublishNamespace: {
			wire.RequestUninterested: "4", wire.RequestMalformedAuthToken: "16", wire.RequestExpiredAuthToken: "18",
		},
		wire.TypeSubscribeNamespace: {
			wire.RequestDoesNotExist: "4", wire.RequestPrefixOverlap: "5",
			wire.RequestMalformedAuthToken: "16", wire.RequestExpiredAuthToken: "18",
		},
	}
	done = map[wire.Draft]map[wire.PublishDoneCode]string{
		wire.Draft14: {wire.DoneExpired: "5", wire.DoneTooFarBehind: "6", wire.DoneMalformedTrack: "7"},
		wire.Draft16: {wire.DoneExpired: "5", wire.DoneTooFarBehind: "6"},
	}
)

func wireCode(d wire.Draft, request wire.MessageType, c wire.RequestCode) string {
	if d == wire.Draft14 {
		if s, ok := request14[request][c]; ok {
			return s
		}
	}
	return number(c)
}

func wireDone(d wire.Draft, c wire.PublishDoneCode) string {
	if s, ok := done[d][c]; ok {
		return s
	}
	return number(c)
}

func olderFilter(f wire.Filter) object {
	o := object{"filter_type": number(f.Type)}
	if f.Type == wire.FilterAbsoluteStart || f.Type == wire.FilterAbsoluteRange {
		o["start_group"], o["start_object"] = number(f.Start.Group), number(f.Start.Object)
	}
	if f.Type == wire.FilterAbsoluteRange {
		o["end_group"] = number(f.EndGroup)
	}
	return o
}

func olderTokens(tokens []wire.Token) any {
	list := describeTokens(tokens)
	if len(list) == 1 {
		return list[0]
	}
	return list
}

func olderUnknown(p moq.Properties) []object {
	var list []object
	for _, v := range p {
		o := object{"id": fmt.Sprintf("%#x", v.Type)}
		if v.Type%2 == 0 {
			o["value"] = number(v.Value)
		} else {
			o["length"], o["raw_hex"] = strconv.Itoa(len(v.Bytes)), hex.EncodeToString(v.Bytes)
		}
		list = append(list, o)
	}
	return list
}

func olderParams(p wire.Params) object {
	o := object{}
	if p.ObjectDeliveryTimeout != nil {
		o["delivery_timeout"] = number(*p.ObjectDeliveryTimeout)
	}
	if p.Expires != nil {
		o["expires"] = number(*p.Expires)
	}
	if p.Tokens != nil {
		o["authorization_token"] = olderTokens(p.Tokens)
	}
	if p.LargestObject != nil {
		o["largest_object"] = location(*p.LargestObject)
	}
	if p.Forward != nil {
		o["forward"] = map[bool]string{false: "0", true: "1"}[*p.Forward]
	}
	if p.SubscriberPriority != nil {
		o["subscriber_priority"] = number(*p.SubscriberPriority)
	}
	if p.Filter != nil {
		o["subscription_filter"] = olderFilter(*p.Filter)
	}
	if p.GroupOrder != moq.GroupOrderPublisher {
		o["group_order"] = strconv.Itoa(int(p.GroupOrder))
	}
	if p.NewGroupRequest != nil {
		o["new_group_request"] = number(*p.NewGroupRequest)
	}
	if p.Unknown != nil {
		o["unknown"] = olderUnknown(p.Unknown)
	}
	return o
}

func olderExtensions(p moq.Properties) object {
	names := map[uint64]string{
		0x02: "delivery_timeout", 0x04: "max_cache_duration", 0x0E: "default_publisher_priority",
		0x22: "default_publisher_group_order", 0x30: "dynamic_groups",
	}
	o := object{}
	for _, v := range p {
		name := names[v.Type]
		if name == "" {
			name = fmt.Sprintf("%#x", v.Type)
		}
		if v.Type%2 == 0 {
			o[name] = number(v.Value)
		} else {
			o[name] = hex.EncodeToString(v.Bytes)
		}
	}
	return o
}
