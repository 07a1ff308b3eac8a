package loc

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/moq"
)

// TestProperties checks the registry's code points and the values' layout
// (draft-ietf-moq-loc-04, section "LOC Properties").
func TestProperties(t *testing.T) {
	at := media.TimeOf(time.Date(2026, 7, 20, 12, 0, 0, 123456000, time.UTC))
	for name, c := range map[string]struct {
		h    Header
		want moq.Properties
	}{
		"every frame": {Header{Time: at}, moq.Properties{{Type: 0x10, Value: uint64(at)}}},
		"video key frame": {
			Header{Time: at, VideoConfig: []byte{1, 2, 3}},
			moq.Properties{{Type: 0x0D, Bytes: []byte{1, 2, 3}}, {Type: 0x10, Value: uint64(at)}},
		},
		"audio": {
			Header{Time: at, AudioConfig: []byte{0x11, 0x90}, AudioLevel: &AudioLevel{Level: 42, Voice: true}},
			moq.Properties{{Type: 0x0C, Value: 0x80 | 42}, {Type: 0x0F, Bytes: []byte{0x11, 0x90}}, {Type: 0x10, Value: uint64(at)}},
		},
		// RFC 9626, section 3.2: S, E, I, D and four zero bits without
		// scalability, else B and TID, then LID.
		"marked": {
			Header{FrameMarking: &FrameMarking{Independent: true}},
			moq.Properties{{Type: 0x09, Bytes: []byte{0xe0}}, {Type: 0x10}},
		},
		"marked layer": {
			Header{FrameMarking: &FrameMarking{Scalable: true, Discardable: true, BaseSync: true, TemporalID: 2, LayerID: 1}},
			moq.Properties{{Type: 0x09, Bytes: []byte{0xda, 1}}, {Type: 0x10}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.h.Properties()
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("got %v, %v; want %v", got, err, c.want)
			}
			if !reflect.DeepEqual(got, got.Sorted()) {
				t.Error("not in ascending order")
			}
			back, err := Parse(got, nil)
			if err != nil || !reflect.DeepEqual(back, c.h) {
				t.Errorf("parsed back: %+v, %v", back, err)
			}
		})
	}
	if _, err := (&Header{Time: -1}).Properties(); !errors.Is(err, ErrMalformed) {
		t.Errorf("negative time: %v", err)
	}
	if _, err := (&Header{VideoConfig: make([]byte, MaxConfigSize+1)}).Properties(); !errors.Is(err, ErrMalformed) {
		t.Errorf("config too long: %v", err)
	}
}

func TestParse(t *testing.T) {
	scale := func(v uint64) moq.Property { return moq.Property{Type: PropertyTimescale, Value: v} }
	stamp := func(v uint64) moq.Property { return moq.Property{Type: PropertyTimestamp, Value: v} }
	for name, c := range map[string]struct {
		object, track moq.Properties
		want          Header
		err           error
	}{
		// "If no timescale property is present, the timestamp is interpreted as wall-clock time in
		// microseconds since the Unix epoch."
		"wall clock":       {object: moq.Properties{stamp(1234567)}, want: Header{Time: 1234567}},
		"90 kHz":           {object: moq.Properties{scale(90000), stamp(90000 * 10)}, want: Header{Time: 10_000_000, Relative: true}},
		"track's scale":    {object: moq.Properties{stamp(48000)}, track: moq.Properties{scale(48000)}, want: Header{Time: 1_000_000, Relative: true}},
		"object overrides": {object: moq.Properties{scale(1000), stamp(5)}, track: moq.Properties{scale(48000)}, want: Header{Time: 5000, Relative: true}},
		"track's config": {
			object: moq.Properties{stamp(1)}, track: moq.Properties{{Type: PropertyVideoConfig, Bytes: []byte{7}}},
			want: Header{Time: 1, VideoConfig: []byte{7}},
		},
		"object's config": {
			object: moq.Properties{{Type: PropertyVideoConfig, Bytes: []byte{8}}, stamp(1)},
			track:  moq.Properties{{Type: PropertyVideoConfig, Bytes: []byte{7}}},
			want:   Header{Time: 1, VideoConfig: []byte{8}},
		},
		"code point of -02":         {object: moq.Properties{{Type: 0x06, Value: 9}}, want: Header{Time: 9}},
		"both code points":          {object: moq.Properties{{Type: 0x06, Value: 9}, stamp(10)}, want: Header{Time: 10}},
		"unknown property":          {object: moq.Properties{{Type: 0x7777, Bytes: []byte{1}}, stamp(3)}, want: Header{Time: 3}},
		"long audio level":          {object: moq.Properties{{Type: PropertyAudioLevel, Value: 0xff7f}, stamp(3)}, want: Header{Time: 3, AudioLevel: &AudioLevel{Level: 0x7f}}},
		"no timestamp":              {object: moq.Properties{scale(1000)}, err: ErrNoTimestamp},
		"nothing":                   {err: ErrNoTimestamp},
		"timescale 0":               {object: moq.Properties{scale(0), stamp(1)}, err: ErrMalformed},
		"track's timescale 0":       {object: moq.Properties{stamp(1)}, track: moq.Properties{scale(0)}, err: ErrMalformed},
		"timescale beyond sense":    {object: moq.Properties{scale(math.MaxUint64), stamp(1)}, err: ErrMalformed},
		"timestamp beyond sense":    {object: moq.Properties{stamp(math.MaxUint64)}, err: ErrMalformed},
		"overflow by timescale":     {object: moq.Properties{scale(1), stamp(math.MaxUint64)}, err: ErrMalformed},
		"empty frame marking":       {object: moq.Properties{{Type: PropertyVideoFrameMarking}, stamp(1)}, err: ErrMalformed},
		"five bytes of frame marks": {object: moq.Properties{{Type: PropertyVideoFrameMarking, Bytes: make([]byte, 5)}, stamp(1)}, err: ErrMalformed},
		"config too long":           {object: moq.Properties{{Type: PropertyAudioConfig, Bytes: make([]byte, MaxConfigSize+1)}, stamp(1)}, err: ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(c.object, c.track)
			if !errors.Is(err, c.err) || !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %+v, %v; want %+v, %v", got, err, c.want, c.err)
			}
		})
	}
}

// TestBlock: the bytes follow draft-lcurley-moq-hang, section "loc", with the
// integers of RFC 9000, appendix A.1.
func TestBlock(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want Header
		data string
		err  error
	}{
		// length 9, type 0x10, eight bytes of 151288809941952652
		"timestamp":          {"09" + "10" + "c2197c5eff14e88c" + "aabb", Header{Time: 151288809941952652}, "aabb", nil},
		"timescale before":   {"08" + "08" + "80015f90" + "08" + "4384" + "ff", Header{Time: 10_000, Relative: true}, "ff", nil},
		"config":             {"07" + "0d" + "03" + "010203" + "03" + "05" + "00", Header{Time: 5, VideoConfig: []byte{1, 2, 3}}, "00", nil},
		"no data":            {"02" + "10" + "07", Header{Time: 7}, "", nil},
		"empty":              {"", Header{}, "", ErrMalformed},
		"block over the end": {"05" + "10" + "07", Header{}, "", ErrMalformed},
		"value over the end": {"02" + "0d" + "05" + "ffffffffff", Header{}, "", ErrMalformed},
		"type without value": {"01" + "10", Header{}, "", ErrMalformed},
		"no timestamp":       {"00" + "aa", Header{}, "", ErrNoTimestamp},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := hex.DecodeString(c.in)
			if err != nil {
				t.Fatal(err)
			}
			h, data, err := SplitBlock(in)
			if !errors.Is(err, c.err) || !reflect.DeepEqual(h, c.want) || hex.EncodeToString(data) != c.data {
				t.Errorf("got %+v %x %v", h, data, err)
			}
		})
	}
	many := append([]byte{0x40, 100}, make([]byte, 100)...) // fifty properties of type 0
	if _, _, err := SplitBlock(many); !errors.Is(err, ErrMalformed) {
		t.Errorf("many properties: %v", err)
	}
}

func TestLegacy(t *testing.T) {
	h, data, err := SplitLegacy([]byte{0x9d, 0x7f, 0x3e, 0x7d, 1, 2}) // 494878333, RFC 9000, appendix A.1
	if err != nil || h.Time != 494878333 || !h.Relative || !bytes.Equal(data, []byte{1, 2}) {
		t.Errorf("got %+v %x %v", h, data, err)
	}
	for _, short := range [][]byte{nil, {0x40}, {0x80, 0, 0}, {0xc0, 0, 0, 0, 0, 0, 0}} {
		if _, _, err := SplitLegacy(short); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", short, err)
		}
	}
}

// FuzzBlock also covers Parse, which sees every property of a block.
func FuzzBlock(f *testing.F) {
	f.Add([]byte{9, 0x10, 0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c, 1})
	f.Add([]byte{7, 0x0d, 3, 1, 2, 3, 3, 5, 0})
	f.Add([]byte{6, 8, 0x43, 0xe8, 1, 1, 0xe0})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, data, err := SplitBlock(b)
		if err != nil {
			return
		}
		if len(data) >= len(b) || h.Time < 0 || len(h.VideoConfig)+len(h.AudioConfig) > len(b) {
			t.Fatalf("%+v, %d of %d bytes", h, len(data), len(b))
		}
		h.Relative = false
		props, err := h.Properties()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(props, nil)
		if err != nil || again.Time != h.Time || !bytes.Equal(again.VideoConfig, h.VideoConfig) ||
			!reflect.DeepEqual(again.AudioLevel, h.AudioLevel) {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}
