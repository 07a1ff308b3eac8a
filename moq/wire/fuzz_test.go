package wire_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

// wantParserError fails unless err is one that a parser may return.
func wantParserError(t *testing.T, err error) {
	t.Helper()
	var e *wire.Error
	if err != wire.ErrShort && (!errors.As(err, &e) || e.Reason == "") {
		t.Fatalf("error is %v, want ErrShort or an Error with a reason", err)
	}
}

// checkMessage parses b and, when it is a message, encodes and parses it
// again.
func checkMessage(t *testing.T, d wire.Draft, b []byte) {
	before := bytes.Clone(b)
	m, n, err := d.ParseMessage(b)
	if !bytes.Equal(b, before) {
		t.Fatal("the input changed")
	}
	if err != nil {
		wantParserError(t, err)
		if m != nil || n != 0 {
			t.Fatalf("%+v of %d bytes, and %v", m, n, err)
		}
		return
	}
	if n > len(b) || n > wire.MaxMessageSize {
		t.Fatalf("length %d of %d bytes", n, len(b))
	}
	again, err := d.AppendMessage(nil, m)
	if err != nil {
		t.Fatalf("%+v: %v", m, err)
	}
	if len(again) > n {
		t.Errorf("%d bytes became %d", n, len(again))
	}
	clear(b) // what was parsed keeps nothing of it
	m2, n, err := d.ParseMessage(again)
	if err != nil || n != len(again) || !reflect.DeepEqual(m2, m) {
		t.Errorf("%+v became %+v, %v", m, m2, err)
	}
	for request := range wire.MessageType(0x60) {
		if err := d.CheckReply(request, m); err != nil {
			wantParserError(t, err)
		}
	}
	if s, ok := m.(*wire.Setup); ok {
		for _, err := range []error{s.CheckClient(false), s.CheckClient(true), s.CheckServer()} {
			if err != nil {
				wantParserError(t, err)
			}
		}
	}
}

// fuzzMessage fuzzes the body of a message, in each draft.
func fuzzMessage(f *testing.F, typ wire.MessageType, files ...string) {
	for _, d := range wire.Drafts() {
		for _, name := range files {
			if name == "publish_skipped" && d == wire.Draft18 {
				name = "publish_blocked"
			}
			for _, v := range readVectors(f, d, name) {
				b := v.bytes(f)
				_, head, err := wire.ParseVarint(b)
				if err != nil {
					f.Fatal(err)
				}
				f.Add(b[head+2:])
			}
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<16-1 {
			return
		}
		for _, d := range wire.Drafts() {
			b := wire.AppendVarint(nil, uint64(typ))
			b = append(append(b, byte(len(body)>>8), byte(len(body))), body...)
			checkMessage(t, d, b)
		}
	})
}

func FuzzSetup(f *testing.F)          { fuzzMessage(f, wire.TypeSetup, "setup") }
func FuzzGoAway(f *testing.F)         { fuzzMessage(f, wire.TypeGoAway, "goaway") }
func FuzzRequestOK(f *testing.F)      { fuzzMessage(f, wire.TypeRequestOK, "request_ok") }
func FuzzRequestError(f *testing.F)   { fuzzMessage(f, wire.TypeRequestError, "request_error") }
func FuzzRequestUpdate(f *testing.F)  { fuzzMessage(f, wire.TypeRequestUpdate, "request_update") }
func FuzzSubscribe(f *testing.F)      { fuzzMessage(f, wire.TypeSubscribe, "subscribe") }
func FuzzSubscribeOK(f *testing.F)    { fuzzMessage(f, wire.TypeSubscribeOK, "subscribe_ok") }
func FuzzTrackStatus(f *testing.F)    { fuzzMessage(f, wire.TypeTrackStatus, "track_status") }
func FuzzPublish(f *testing.F)        { fuzzMessage(f, wire.TypePublish, "publish") }
func FuzzPublishDone(f *testing.F)    { fuzzMessage(f, wire.TypePublishDone, "publish_done") }
func FuzzPublishSkipped(f *testing.F) { fuzzMessage(f, wire.TypePublishSkipped, "publish_skipped") }
func FuzzFetch(f *testing.F)          { fuzzMessage(f, wire.TypeFetch, "fetch") }
func FuzzFetchOK(f *testing.F)        { fuzzMessage(f, wire.TypeFetchOK, "fetch_ok") }
func FuzzPublishNamespace(f *testing.F) {
	fuzzMessage(f, wire.TypePublishNamespace, "publish_namespace")
}
func FuzzNamespace(f *testing.F)     { fuzzMessage(f, wire.TypeNamespace, "namespace") }
func FuzzNamespaceDone(f *testing.F) { fuzzMessage(f, wire.TypeNamespaceDone, "namespace_done") }
func FuzzSubscribeNamespace(f *testing.F) {
	fuzzMessage(f, wire.TypeSubscribeNamespace, "subscribe_namespace")
}
func FuzzSubscribeTracks(f *testing.F) { fuzzMessage(f, wire.TypeSubscribeTracks, "subscribe_tracks") }

// FuzzMessage fuzzes the frame of messages: type and length.
func FuzzMessage(f *testing.F) {
	for _, name := range append(messageFiles(wire.Draft18), "unknown_message") {
		for _, v := range readVectors(f, wire.Draft18, name) {
			f.Add(v.bytes(f))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range wire.Drafts() {
			checkMessage(t, d, bytes.Clone(b))
		}
	})
}

func FuzzVarint(f *testing.F) {
	for _, v := range readVectors(f, wire.Draft18, "varint") {
		f.Add(v.bytes(f))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, n, err := wire.ParseVarint(b)
		if err != nil {
			if err != wire.ErrShort || len(b) >= wire.MaxVarintLen {
				t.Fatalf("%d bytes: %v", len(b), err)
			}
			return
		}
		short := wire.AppendVarint(nil, v)
		if len(short) != wire.VarintLen(v) || len(short) > n {
			t.Fatalf("%d in %d bytes, VarintLen %d, was %d", v, len(short), wire.VarintLen(v), n)
		}
		if got, _, err := wire.ParseVarint(short); got != v || err != nil {
			t.Fatalf("%d became %d, %v", v, got, err)
		}
	})
}

// The targets below fuzz what is no control message: those without a number
// the drafts from 18 on, which share it, the others one draft.

func FuzzStreamType(f *testing.F)     { fuzzStreamType(f, since18()...) }
func FuzzStreamType14(f *testing.F)   { fuzzStreamType(f, wire.Draft14) }
func FuzzStreamType16(f *testing.F)   { fuzzStreamType(f, wire.Draft16) }
func FuzzSubgroup(f *testing.F)       { fuzzSubgroup(f, since18()...) }
func FuzzSubgroup14(f *testing.F)     { fuzzSubgroup(f, wire.Draft14) }
func FuzzSubgroup16(f *testing.F)     { fuzzSubgroup(f, wire.Draft16) }
func FuzzFetchStream(f *testing.F)    { fuzzFetchStream(f, since18()...) }
func FuzzFetchStream14(f *testing.F)  { fuzzFetchStream(f, wire.Draft14) }
func FuzzFetchStream16(f *testing.F)  { fuzzFetchStream(f, wire.Draft16) }
func FuzzDatagram(f *testing.F)       { fuzzDatagram(f, since18()...) }
func FuzzDatagram14(f *testing.F)     { fuzzDatagram(f, wire.Draft14) }
func FuzzDatagram16(f *testing.F)     { fuzzDatagram(f, wire.Draft16) }
func FuzzOlderMessage14(f *testing.F) { fuzzOlderMessage(f, wire.Draft14) }
func FuzzOlderMessage16(f *testing.F) { fuzzOlderMessage(f, wire.Draft16) }

func FuzzMessage20(f *testing.F) { fuzzTable(f, wire.Draft20) }
func FuzzMessage22(f *testing.F) { fuzzTable(f, wire.Draft22) }

// since18 are the drafts whose streams of Objects are nearly alike.
func since18() (drafts []wire.Draft) {
	for _, d := range wire.Codecs() {
		if d >= wire.Draft18 {
			drafts = append(drafts, d)
		}
	}
	return drafts
}

// fuzzTable fuzzes every message of a draft. The length is made to fit the
// body, so that the body is what is fuzzed.
func fuzzTable(f *testing.F, d wire.Draft) {
	for _, name := range append(messageFiles(d), "unknown_message") {
		for _, v := range readVectors(f, d, name) {
			f.Add(v.bytes(f))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, head, err := d.ParseVarint(b)
		if err != nil || len(b) < head+2 || len(b) > 1<<16 {
			return
		}
		size := len(b) - head - 2
		b[head], b[head+1] = byte(size>>8), byte(size)
		checkMessage(t, d, b)
	})
}

// fuzzOlderMessage fuzzes the body of every message of a draft that has all
// of them on one stream. code chooses the message.
func fuzzOlderMessage(f *testing.F, d wire.Draft) {
	add := func(b []byte) {
		if _, _, err := d.MessageSize(b); err == nil {
			f.Add(b[0], b[3:])
		}
	}
	for _, v := range readVectors(f, d, "message") {
		add(v.bytes(f))
	}
	for _, vectors := range moqtapFiles(f, d) {
		for _, v := range vectors {
			b, err := hex.DecodeString(v.Hex)
			if err != nil {
				f.Fatal(err)
			}
			if len(b) >= 3 {
				add(b)
			}
		}
	}
	f.Fuzz(func(t *testing.T, code byte, body []byte) {
		if len(body) <= 1<<16-1 && code < 0x40 {
			checkMessage(t, d, append([]byte{code, byte(len(body) >> 8), byte(len(body))}, body...))
		}
	})
}

func fuzzStreamType(f *testing.F, drafts ...wire.Draft) {
	for _, v := range readVectors(f, drafts[0], "stream_type") {
		f.Add(v.bytes(f))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range drafts {
			typ, n, err := d.ParseStreamType(b)
			if err != nil {
				wantParserError(t, err)
				continue
			}
			// The parser of the stream must not refuse what was recognised.
			var e *wire.Error
			switch typ {
			case wire.StreamSubgroup:
				_, _, err = d.ParseSubgroupHeader(b)
			case wire.StreamFetch:
				_, _, err = d.ParseFetchHeader(b)
			}
			if n == 0 || errors.As(err, &e) {
				t.Fatalf("%v of %d bytes: %v", typ, n, err)
			}
		}
	})
}

func fuzzSubgroup(f *testing.F, drafts ...wire.Draft) {
	for _, v := range readVectors(f, drafts[0], "subgroup") {
		f.Add(v.bytes(f))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range drafts {
			s, err := parseSubgroupStream(d, b)
			if err != nil {
				wantParserError(t, err)
				continue
			}
			again, err := appendSubgroupStream(d, nil, s)
			if err != nil || len(again) > len(b) {
				t.Fatalf("%+v: %d bytes became %d, %v", s, len(b), len(again), err)
			}
			s2, err := parseSubgroupStream(d, again)
			if err != nil || !reflect.DeepEqual(s2, s) {
				t.Fatalf("%+v became %+v, %v", s, s2, err)
			}
		}
	})
}

func fuzzFetchStream(f *testing.F, drafts ...wire.Draft) {
	for _, v := range readVectors(f, drafts[0], "fetch_stream") {
		f.Add(v.GroupOrder == "descending", v.bytes(f))
	}
	f.Fuzz(func(t *testing.T, descending bool, b []byte) {
		order := moq.GroupOrderAscending
		if descending {
			order = moq.GroupOrderDescending
		}
		for _, d := range drafts {
			s, err := parseFetchStream(d, order, b)
			if err != nil {
				wantParserError(t, err)
				continue
			}
			again, err := appendFetchStream(d, order, nil, s)
			if err != nil {
				// A peer can send items that do not ascend, which make the
				// track malformed. They are not sent on.
				if !errors.Is(err, wire.ErrInvalid) {
					t.Fatal(err)
				}
				continue
			}
			s2, err := parseFetchStream(d, order, again)
			if err != nil || !reflect.DeepEqual(s2, s) {
				t.Fatalf("%+v became %+v, %v", s, s2, err)
			}
		}
	})
}

func fuzzDatagram(f *testing.F, drafts ...wire.Draft) {
	for _, v := range readVectors(f, drafts[0], "datagram") {
		f.Add(v.bytes(f))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range drafts {
			g, padding, err := d.ParseDatagram(b)
			if err != nil {
				if err == wire.ErrShort {
					t.Fatal("more bytes wanted of a datagram")
				}
				wantParserError(t, err)
				continue
			}
			if padding {
				continue
			}
			again, err := d.AppendDatagram(nil, g)
			if err != nil || len(again) > len(b) {
				t.Fatalf("%+v: %d bytes became %d, %v", g, len(b), len(again), err)
			}
			g2, _, err := d.ParseDatagram(again)
			if err != nil || !reflect.DeepEqual(g2, g) {
				t.Fatalf("%+v became %+v, %v", g, g2, err)
			}
		}
	})
}

func FuzzRangeFilter(f *testing.F) {
	f.Add(uint64(wire.ParamSubgroupFilter), []byte{9, 3, 2, 5, 5}, false)
	f.Add(uint64(wire.ParamObjectPropertyFilter), []byte{0, 0x10, 3, 2, 5}, false)
	f.Add(uint64(wire.ParamPriorityFilter), []byte{}, true)
	f.Fuzz(func(t *testing.T, typ uint64, value []byte, update bool) {
		raw := wire.RawRangeFilter{Type: wire.ParamSubgroupFilter + wire.ParamType(typ%5), Value: value}
		filters, err := wire.ParseRangeFilters([]wire.RawRangeFilter{raw}, update, 100)
		if err != nil {
			var e *wire.RangeFilterError
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			return
		}
		again, err := filters[0].Raw()
		if err != nil {
			t.Fatalf("%+v: %v", filters[0], err)
		}
		f2, err := wire.ParseRangeFilters([]wire.RawRangeFilter{again}, update, 100)
		if err != nil || !reflect.DeepEqual(f2, filters) {
			t.Fatalf("%+v became %+v, %v", filters, f2, err)
		}
	})
}

func FuzzImmutable(f *testing.F) {
	f.Add([]byte{0x10, 0x05, 0x01, 0x01, 0xff})
	f.Add([]byte{0x0B, 0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := wire.ParseImmutable(b)
		if err != nil {
			var e *wire.MalformedTrackError
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			return
		}
		again, err := wire.AppendImmutable(nil, p)
		if err != nil || len(again) > len(b) {
			t.Fatalf("%+v: %d bytes, %v", p, len(again), err)
		}
		if p2, err := wire.ParseImmutable(again); err != nil || !reflect.DeepEqual(p2, p) {
			t.Fatalf("%+v became %+v, %v", p, p2, err)
		}
		// No panic whatever the properties are.
		all := moq.Properties{{Type: moq.PropertyImmutable, Bytes: b}}
		_ = wire.CheckObjectProperties(moq.Location{}, all)
		wire.UnknownMandatory(all)
		wire.FindProperty(all, moq.PropertyDynamicGroups)
	})
}
