package wire_test

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

// good runs f for every vector of the files that decodes.
func good(t *testing.T, files func(wire.Draft) []string, f func(t *testing.T, d wire.Draft, v *vector, b []byte)) {
	eachVector(t, files, func(t *testing.T, d wire.Draft, v *vector) {
		if v.Error == "" {
			f(t, d, v, v.bytes(t))
		}
	})
}

// withLength returns a message like b whose body is replaced.
func withLength(t *testing.T, d wire.Draft, b []byte, body func([]byte) []byte) []byte {
	t.Helper()
	_, head, err := d.ParseVarint(b)
	if err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(b[:head])
	n := body(bytes.Clone(b[head+2:]))
	out = append(out, byte(len(n)>>8), byte(len(n)))
	return append(out, n...)
}

func TestMessagePrefixes(t *testing.T) {
	good(t, messageFiles, func(t *testing.T, d wire.Draft, v *vector, b []byte) {
		for i := range b {
			if _, _, err := d.ParseMessage(b[:i]); err != wire.ErrShort {
				t.Errorf("%d bytes: %v, want ErrShort", i, err)
			}
		}
		if _, n, err := d.ParseMessage(append(bytes.Clone(b), b...)); err != nil || n != len(b) {
			t.Errorf("with another message behind it: length %d, %v", n, err)
		}
	})
}

// TestMessageCutShort checks messages whose length says that they end before
// their last field. "If the length does not match the length of the Message
// Payload, the receiver MUST close the session with a PROTOCOL_VIOLATION."
// (draft-ietf-moq-transport-18, section "Control Messages")
func TestMessageCutShort(t *testing.T) {
	good(t, messageFiles, func(t *testing.T, d wire.Draft, v *vector, b []byte) {
		_, head, _ := d.ParseVarint(b)
		for i := range len(b) - head - 2 {
			cut := withLength(t, d, b, func(body []byte) []byte { return body[:i] })
			m, n, err := d.ParseMessage(cut)
			if err == nil {
				// A message that ends in a sequence or an optional field can
				// be whole without its last elements.
				again, err := d.AppendMessage(nil, m)
				if n != len(cut) || err != nil || !v.DecodeOnly && !bytes.Equal(again, cut) {
					t.Errorf("body of %d bytes gives %+v", i, m)
				}
				continue
			}
			var e *wire.Error
			if !errors.As(err, &e) || e.Code != wire.ProtocolViolation && e.Code != wire.KeyValueFormattingError {
				t.Errorf("body of %d bytes: %v", i, err)
			}
		}
	})
}

func TestMessageTrailingByte(t *testing.T) {
	good(t, messageFiles, func(t *testing.T, d wire.Draft, v *vector, b []byte) {
		long := withLength(t, d, b, func(body []byte) []byte { return append(body, 0) })
		m, _, err := d.ParseMessage(long)
		if g, ok := m.(*wire.GoAway); ok && d == wire.Draft18 && g.RequestID != nil && *g.RequestID == 0 {
			return // the byte is a Request ID
		}
		var e *wire.Error
		if !errors.As(err, &e) {
			t.Errorf("a byte after the end: %+v, %v", m, err)
		}
	})
}

// TestStreamPrefixes checks that a parser given the start of a header asks for
// more and changes nothing.
func TestStreamPrefixes(t *testing.T) {
	good(t, file("subgroup"), func(t *testing.T, d wire.Draft, _ *vector, b []byte) {
		h, n, err := d.ParseSubgroupHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if _, _, err := d.ParseSubgroupHeader(b[:i]); err != wire.ErrShort {
				t.Errorf("%d bytes of the header: %v, want ErrShort", i, err)
			}
		}
		var prev uint64
		for first := true; n < len(b); first = false {
			b = b[n:]
			before := h
			o, size, err := d.ParseObjectHeader(b, &h, prev, first)
			if err != nil {
				t.Fatal(err)
			}
			for i := range size {
				short := before
				if _, _, err := d.ParseObjectHeader(b[:i], &short, prev, first); err != wire.ErrShort || short != before {
					t.Errorf("%d bytes of object %d: %v, want ErrShort", i, o.ID, err)
				}
			}
			prev, n = o.ID, size+int(o.Size)
		}
	})
	good(t, file("fetch_stream"), func(t *testing.T, d wire.Draft, v *vector, b []byte) {
		_, n, err := d.ParseFetchHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if _, _, err := d.ParseFetchHeader(b[:i]); err != wire.ErrShort {
				t.Errorf("%d bytes of the header: %v, want ErrShort", i, err)
			}
		}
		c := wire.FetchCursor{Order: groupOrder(t, v.GroupOrder)}
		for n < len(b) {
			b = b[n:]
			before := c
			it, size, err := d.ParseFetchItem(b, &c)
			if err != nil {
				t.Fatal(err)
			}
			for i := range size {
				short := before
				if _, _, err := d.ParseFetchItem(b[:i], &short); err != wire.ErrShort || short != before {
					t.Errorf("%d bytes of the item at %v: %v, want ErrShort", i, it.Location, err)
				}
			}
			n = size + int(it.Size)
		}
	})
	good(t, file("stream_type"), func(t *testing.T, d wire.Draft, _ *vector, b []byte) {
		for i := range b {
			if _, _, err := d.ParseStreamType(b[:i]); err != wire.ErrShort {
				t.Errorf("%d bytes: %v, want ErrShort", i, err)
			}
		}
	})
}

// TestDatagramPrefixes checks that a datagram that ends in its header is
// refused: no more bytes will come.
func TestDatagramPrefixes(t *testing.T) {
	good(t, file("datagram"), func(t *testing.T, d wire.Draft, _ *vector, b []byte) {
		for i := range b {
			g, _, err := d.ParseDatagram(b[:i])
			var e *wire.Error
			if err != nil && (!errors.As(err, &e) || e.Code != wire.ProtocolViolation) {
				t.Errorf("%d bytes: %v", i, err)
			}
			if err == nil && g.Status != moq.StatusNormal {
				t.Errorf("%d bytes give status %v", i, g.Status)
			}
		}
	})
}

// TestHugeLengths gives every kind of length a value that no peer can mean
// and checks that it is refused, or waited for, before memory is set aside.
func TestHugeLengths(t *testing.T) {
	const huge = 1 << 62
	num := func(v ...uint64) (b []byte) {
		for _, v := range v {
			b = wire.AppendVarint(b, v)
		}
		return b
	}
	message := func(t wire.MessageType, body []byte) []byte {
		b := wire.AppendVarint(nil, uint64(t))
		return append(append(b, byte(len(body)>>8), byte(len(body))), body...)
	}
	d := wire.Draft19
	parse := func(b []byte) func() error {
		return func() error { _, _, err := d.ParseMessage(b); return err }
	}
	object := func(properties bool, b []byte) func() error {
		return func() error {
			_, _, err := d.ParseObjectHeader(b, &wire.SubgroupHeader{Properties: properties}, 0, true)
			return err
		}
	}
	for _, tt := range []struct {
		name string
		f    func() error
		want string // session code; empty for ErrShort
	}{
		{"namespace fields", parse(message(wire.TypeSubscribe, num(0, huge))), "PROTOCOL_VIOLATION"},
		{"namespace field", parse(message(wire.TypeSubscribe, num(0, 1, huge))), "PROTOCOL_VIOLATION"},
		{"track name", parse(message(wire.TypeSubscribe, num(0, 0, huge))), "PROTOCOL_VIOLATION"},
		{"parameters", parse(message(wire.TypeSubscribe, num(0, 0, 0, huge))), "PROTOCOL_VIOLATION"},
		{"token", parse(message(wire.TypeSubscribe, num(0, 0, 0, 1, 3, huge))), "PROTOCOL_VIOLATION"},
		{"filter", parse(message(wire.TypeSubscribe, num(0, 0, 0, 1, 0x21, huge))), "PROTOCOL_VIOLATION"},
		{"range filter", parse(message(wire.TypeSubscribe, num(0, 0, 0, 1, 0x25, huge))), "PROTOCOL_VIOLATION"},
		{"reason", parse(message(wire.TypeRequestError, num(1, 0, huge))), "PROTOCOL_VIOLATION"},
		{"URI", parse(message(wire.TypeGoAway, num(huge))), "PROTOCOL_VIOLATION"},
		{"option", parse(message(wire.TypeSetup, num(1, huge))), "PROTOCOL_VIOLATION"},
		{"track property", parse(message(wire.TypeRequestOK, num(0, 0x0B, huge))), "PROTOCOL_VIOLATION"},
		{"65535 bytes of options", parse(message(wire.TypeSetup, bytes.Repeat(num(0, 0), 32767))), "INTERNAL_ERROR"},
		{"object properties", object(true, num(0, huge)), "INTERNAL_ERROR"},
		{"object properties to come", object(true, num(0, wire.MaxPropertiesSize)), ""},
		{"many object properties", object(true, append(num(0, 30000), bytes.Repeat(num(0, 0), 15001)...)), "INTERNAL_ERROR"},
		{"datagram properties", func() error {
			_, _, err := d.ParseDatagram(num(1, 1, 1, 1, 1, huge))
			return err
		}, "INTERNAL_ERROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := tt.f()
			runtime.ReadMemStats(&after)
			if tt.want == "" {
				if err != wire.ErrShort {
					t.Errorf("error is %v, want ErrShort", err)
				}
			} else {
				wantCode(t, err, tt.want)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 16<<10 {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}

	// The payload is the session's to read: its size is only reported.
	o, _, err := d.ParseObjectHeader(num(0, huge), &wire.SubgroupHeader{}, 0, true)
	if err != nil || o.Size != huge {
		t.Errorf("payload size %d, %v", o.Size, err)
	}
}

// TestHugeLengthsOlder does the same with the integers of RFC 9000 and with
// what only those drafts and the newest have.
func TestHugeLengthsOlder(t *testing.T) {
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} // 2^62-1
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	message := func(code byte, body []byte) []byte {
		return cat([]byte{code, byte(len(body) >> 8), byte(len(body))}, body)
	}
	older := []wire.Draft{wire.Draft14, wire.Draft16}
	for _, tt := range []struct {
		name   string
		drafts []wire.Draft
		b      []byte
		want   string
	}{
		{"namespace fields", older, message(0x03, cat([]byte{0}, huge)), "PROTOCOL_VIOLATION"},
		{"namespace field", older, message(0x03, cat([]byte{0, 1}, huge)), "PROTOCOL_VIOLATION"},
		{"track name", older, message(0x03, cat([]byte{0, 1, 1, 'a'}, huge)), "PROTOCOL_VIOLATION"},
		{"versions", older[:1], message(0x20, huge), "PROTOCOL_VIOLATION"},
		{"32767 versions", older[:1], message(0x20, cat([]byte{0xbf, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{1}, 32767))), "INTERNAL_ERROR"},
		{"options", older[1:], message(0x20, huge), "PROTOCOL_VIOLATION"},
		{"32000 options", older[1:], message(0x20, cat([]byte{0xbf, 0xff, 0xff, 0xff}, bytes.Repeat([]byte{0, 1}, 32000))), "INTERNAL_ERROR"},
		{"option", older[1:], message(0x20, cat([]byte{1, 1}, huge)), "PROTOCOL_VIOLATION"},
		{"parameters", older[1:], message(0x07, cat([]byte{0}, huge)), "PROTOCOL_VIOLATION"},
		{"misplaced parameter", older[1:], message(0x07, cat([]byte{0, 1, 0x21}, huge)), "PROTOCOL_VIOLATION"},
		{"unknown parameter", older[:1], message(0x06, cat([]byte{0, 1, 1, 'a', 1, 0x21}, huge)), "PROTOCOL_VIOLATION"},
		{"track extension", older[1:], message(0x04, cat([]byte{0, 0, 0, 0x0b}, huge)), "PROTOCOL_VIOLATION"},
		{"URI", older, message(0x10, huge), "PROTOCOL_VIOLATION"},
		{"fill", since20, message(0x03, []byte{0, 0, 0, 1, 0x23, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), "PROTOCOL_VIOLATION"},
		{"filter", since20[:2], message(0x03, []byte{0, 0, 0, 1, 0x21, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), "PROTOCOL_VIOLATION"},
	} {
		for _, d := range tt.drafts {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, err := d.ParseMessage(tt.b)
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 32<<10 {
				t.Errorf("%v, %s: %d bytes were allocated", d, tt.name, n)
			}
			var e *wire.Error
			if !errors.As(err, &e) || e.Code.String() != tt.want {
				t.Errorf("%v, %s: %v, want %s", d, tt.name, err, tt.want)
			}
		}
	}
}
