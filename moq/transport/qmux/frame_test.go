package qmux

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The bytes are what @moq/qmux 0.3.3 makes (its Frame.encode, run on these
// values); the last ones, which it only reads, are from the figures of RFC 9000,
// section 19.
func TestFrames(t *testing.T) {
	for _, test := range []struct {
		hex   string
		frame Frame
		ours  bool // Append makes the same bytes
	}{
		{"0e0405026869", Frame{Type: Stream, ID: 4, Offset: 5, Data: []byte("hi")}, true},
		{"0f080003627965", Frame{Type: Stream, ID: 8, Fin: true, Data: []byte("bye")}, true},
		{"04042a05", Frame{Type: ResetStream, ID: 4, Code: 42, Value: 5}, true},
		{"05042a", Frame{Type: StopSending, ID: 4, Code: 42}, true},
		{"104400", Frame{Type: MaxData, Value: 1024}, true},
		{"11044400", Frame{Type: MaxStreamData, ID: 4, Value: 1024}, true},
		{"1207", Frame{Type: MaxStreamsBidi, Value: 7}, true},
		{"1307", Frame{Type: MaxStreamsUni, Value: 7}, true},
		{"1d2a03627965", Frame{Type: ApplicationClose, Code: 42, Data: []byte("bye")}, true},
		{"1c2a0003627965", Frame{Type: ConnectionClose, Code: 42, Data: []byte("bye")}, true},
		{"ff5153300d0a0d0a0404024400", Frame{Type: TransportParams, Data: []byte{4, 2, 0x44, 0}}, true},
		{"f48c67529ef8c7bd07", Frame{Type: Ping, Value: 7}, true},
		{"f48c67529ef8c7be07", Frame{Type: Pong, Value: 7}, true},
		{"31026869", Frame{Type: Datagram, Data: []byte("hi")}, true},
		{"00", Frame{Type: Padding}, true},
		{"306869", Frame{Type: Datagram, Data: []byte("hi")}, false},
		{"08046869", Frame{Type: Stream, ID: 4, Data: []byte("hi")}, false},
		{"0a04026869", Frame{Type: Stream, ID: 4, Data: []byte("hi")}, false},
		{"0d04056869", Frame{Type: Stream, ID: 4, Offset: 5, Fin: true, Data: []byte("hi")}, false},
	} {
		b := unhex(t, test.hex)
		f, n, err := Parse(b, Draft02)
		if err != nil || n != len(b) || f.Type != test.frame.Type || f.ID != test.frame.ID || f.Offset != test.frame.Offset ||
			f.Fin != test.frame.Fin || f.Code != test.frame.Code || f.Value != test.frame.Value || !bytes.Equal(f.Data, test.frame.Data) {
			t.Errorf("%s: %+v of %d bytes, %v; want %+v", test.hex, f, n, err, test.frame)
		}
		if got := Append(nil, test.frame); test.ours && !bytes.Equal(got, b) {
			t.Errorf("%+v became %x, want %s", test.frame, got, test.hex)
		}
		if !test.ours || len(b) == 1 {
			continue
		}
		// What follows belongs to the next frame, and every truncation fails.
		if _, n, err := Parse(append(b[:len(b):len(b)], 0x01), Draft02); err != nil || n != len(b) {
			t.Errorf("%s and a byte: %d bytes, %v", test.hex, n, err)
		}
		for i := 1; i < len(b); i++ {
			if _, _, err := Parse(b[:i], Draft02); codeOf(err) != FrameEncodingError {
				t.Errorf("%s cut to %d bytes: %v", test.hex, i, err)
			}
		}
	}
}

func codeOf(err error) Code {
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Code
	}
	return NoError
}

// "The full list of prohibited frames" and the unknown.
func TestFramesRefused(t *testing.T) {
	for _, s := range []string{
		"01", "0200000000", "0300000000000000", "06000178", "070178", "18000008", "1900", "1a0000000000000000", "1b0000000000000000", "1e",
		"24040000" + "00", "21", "7fff", "12ffffffffffffffff",
	} {
		if _, _, err := Parse(unhex(t, s), Draft02); codeOf(err) != FrameEncodingError {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"f48c67529ef8c7bd07", "3068"} {
		if _, _, err := Parse(unhex(t, s), Draft00); codeOf(err) != FrameEncodingError {
			t.Errorf("%s in draft 00: %v", s, err)
		}
	}
}

func TestParams(t *testing.T) {
	p := Params{
		MaxIdleTimeout: 30000, InitialMaxData: 1 << 20, InitialMaxStreamDataBidiLocal: 1 << 18, InitialMaxStreamDataBidiRemote: 1 << 17,
		InitialMaxStreamDataUni: 1 << 16, InitialMaxStreamsBidi: 100, InitialMaxStreamsUni: 200, MaxDatagramFrameSize: 16382, MaxRecordSize: 20000,
	}
	b := p.Append(nil)
	if got, err := ParseParams(b); err != nil || !reflect.DeepEqual(got, p) {
		t.Errorf("got %+v, %v", got, err)
	}
	for i := 1; i < len(b); i++ {
		if got, err := ParseParams(b[:i]); err == nil && reflect.DeepEqual(got, p) || err != nil && codeOf(err) != TransportParameterError {
			t.Errorf("cut to %d bytes: %+v, %v", i, got, err)
		}
	}
	// "If the max_record_size transport parameter is absent, a default value
	// applies"; those reserved for GREASE are ignored.
	if got, err := ParseParams([]byte{27, 2, 'x', 'y', 0x40, 31 + 27, 0, 0x04, 0x01, 0x05}); err != nil || got != (Params{InitialMaxData: 5, MaxRecordSize: DefaultMaxRecord}) {
		t.Errorf("got %+v, %v", got, err)
	}
	for what, s := range map[string]string{
		"original_destination_connection_id": "0000",
		"retry_source_connection_id":         "1000",
		"twice":                              "040105040106",
		"not a number":                       "04020505",
		"empty":                              "0400",
		"more than there is":                 "04bfffffff05",
		"small records":                      "c571c59429cd0845027ffd"[:16] + "02" + "7ffd",
		"too many streams":                   "0808ffffffffffffffff",
	} {
		if got, err := ParseParams(unhex(t, s)); codeOf(err) != TransportParameterError {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

func TestSubprotocols(t *testing.T) {
	for s, want := range map[string]struct {
		v Version
		p string
	}{"qmux-02.moqt-18": {Draft02, "moqt-18"}, "qmux-00.moq-lite-05": {Draft00, "moq-lite-05"}, "qmux-01": {Draft01, ""}} {
		v, p, ok := ParseSubprotocol(s)
		if !ok || v != want.v || p != want.p || v.Subprotocol(p) != s {
			t.Errorf("%s: %v, %q, %v", s, v, p, ok)
		}
	}
	for _, s := range []string{"", "webtransport", "qmux-03", "qmux-02.", "qmux", "moqt-18"} {
		if _, _, ok := ParseSubprotocol(s); ok {
			t.Errorf("%q was taken", s)
		}
	}
}

func TestDatagramSize(t *testing.T) {
	for limit := range uint64(DefaultMaxRecord + 10) {
		n := DatagramSize(limit)
		if n > 0 && uint64(len(Append(nil, Frame{Type: Datagram, Data: make([]byte, n)}))) > min(limit, DefaultMaxRecord) {
			t.Fatalf("%d bytes do not fit into %d", n, limit)
		}
		if next := uint64(len(Append(nil, Frame{Type: Datagram, Data: make([]byte, n+1)}))); limit > 2 && next <= min(limit, DefaultMaxRecord) {
			t.Fatalf("%d bytes fit into %d, not only %d", n+1, limit, n)
		}
	}
}

// Whatever is taken in is written and read again as the same.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{"0e0405026869", "04042a05", "1c2a0003627965", "ff5153300d0a0d0a0404024400", "f48c67529ef8c7bd07", "31026869", "0d04056869", "1207"} {
		f.Add(uint8(2), unhex(f, s))
	}
	f.Fuzz(func(t *testing.T, version uint8, b []byte) {
		if len(b) == 0 {
			return
		}
		v := Version(version % 3)
		frame, n, err := Parse(b, v)
		if err != nil {
			if codeOf(err) != FrameEncodingError {
				t.Fatalf("%v", err)
			}
			return
		}
		if n <= 0 || n > len(b) {
			t.Fatalf("%d of %d bytes", n, len(b))
		}
		again := Append(nil, frame)
		got, m, err := Parse(again, v)
		if err != nil || m != len(again) {
			t.Fatalf("%x: %v", again, err)
		}
		if !bytes.Equal(got.Data, frame.Data) {
			t.Fatalf("%+v became %+v", frame, got)
		}
		got.Data, frame.Data = nil, nil
		if !reflect.DeepEqual(got, frame) {
			t.Fatalf("%+v became %+v", frame, got)
		}
	})
}

// FuzzParams does the same with transport parameters.
func FuzzParams(f *testing.F) {
	f.Add(Params{InitialMaxData: 5, MaxRecordSize: 20000}.Append(nil))
	f.Add([]byte{27, 2, 'x', 'y'})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseParams(b)
		if err != nil {
			if codeOf(err) != TransportParameterError {
				t.Fatalf("%v", err)
			}
			return
		}
		if again, err := ParseParams(p.Append(nil)); err != nil || again != p {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}
