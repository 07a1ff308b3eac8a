package codec

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/testdata/clips"
)

// avcSets and hevcSets return the parameter sets of a clip.
func setsOf(t testing.TB, clip string) [][]byte {
	t.Helper()
	track := clips.Video(clip)
	sets, err := ParameterSets(&media.Format{Codec: entryCodecs[track.Entry], Description: track.Config})
	if err != nil {
		t.Fatal(err)
	}
	return sets
}

func mustAssembler(t testing.TB, f media.Format) Assembler {
	t.Helper()
	a, err := NewAssembler(f)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAnnexB(t *testing.T) {
	for in, want := range map[string][]string{
		"00000001aabb00000001cc":   {"aabb", "cc"},
		"000001aabb000001cc":       {"aabb", "cc"},
		"00000000000001aa00000000": {"aa"}, // leading_zero_8bits, trailing_zero_8bits
		"000001000001aa":           {"aa"},
		"000001":                   nil,
		"00000001aa0000030100":     {"aa00000301"},
	} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := SplitAnnexB(b)
		if err != nil || len(got) != len(want) {
			t.Errorf("%s: %x, %v", in, got, err)
			continue
		}
		for i := range got {
			if hex.EncodeToString(got[i]) != want[i] {
				t.Errorf("%s: %x, want %v", in, got, want)
			}
		}
	}
	for _, in := range []string{"", "00", "aabb", "ff000001aa", "0000"} {
		b, err := hex.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := SplitAnnexB(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %x, %v", in, got, err)
		}
	}
	if _, err := SplitAnnexB(bytes.Repeat([]byte{0, 0, 1, 9}, MaxUnitParts+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too many: %v", err)
	}
	if _, err := SplitLengthPrefixed(bytes.Repeat([]byte{0, 0, 0, 1, 9}, MaxUnitParts+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too many: %v", err)
	}
	for _, in := range [][]byte{{0}, {0, 0, 0}, {0, 0, 0, 2, 1}, {0xff, 0xff, 0xff, 0xff, 1}} {
		if got, err := SplitLengthPrefixed(in); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %x, %v", in, got, err)
		}
	}
}

// TestAppendAnnexBFrame: what ffmpeg would write into a .264 file.
func TestAppendAnnexBFrame(t *testing.T) {
	f := media.Format{Codec: media.H264, Description: clips.Video(clips.H264AAC).Config}
	sets := setsOf(t, clips.H264AAC)
	data := AppendLengthPrefixed(nil, []byte{0x65, 1}, []byte{0x65, 2})
	got, err := AppendAnnexBFrame(nil, &f, data)
	want := AppendAnnexB(nil, sets[0], sets[1], []byte{0x65, 1}, []byte{0x65, 2})
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %x, %v", got, err)
	}
}

// TestAssembleParts: which NAL units stay.
func TestAssembleParts(t *testing.T) {
	sets := setsOf(t, clips.H264AAC)
	sps, pps := sets[0], sets[1]
	aud, sei, filler, idr, slice := []byte{9, 0xf0}, []byte{6, 5, 1}, []byte{12, 0xff}, []byte{0x65, 0xaa}, []byte{0x41, 0xbb}
	a := mustAssembler(t, media.Format{Codec: media.H264, FrameRate: 10, Bitrate: 5})

	// As RTSP cameras do: each set alone.
	for _, unit := range [][][]byte{{sps}, {pps}, {aud}, {sei}, {}, {nil}} {
		if f, err := a.Assemble(0, unit); !errors.Is(err, ErrNoPicture) {
			t.Fatalf("%x: %+v, %v", unit, f, err)
		}
	}
	if f := a.Format(); f == nil || f.FrameRate != 30 || f.Bitrate != 5 {
		t.Fatalf("format before the first frame: %+v", f) // the bitstream's frame rate counts
	}
	f, err := a.Assemble(7, [][]byte{aud, sps, pps, sei, nil, idr, filler, idr})
	if err != nil || !bytes.Equal(f.Data, AppendLengthPrefixed(nil, sei, idr, idr)) || !f.Key || f.PTS != 7 || f.Format != a.Format() {
		t.Errorf("key frame: %+v, %v", f, err)
	}
	f, err = a.Assemble(8, [][]byte{aud, sps, slice})
	if err != nil || !bytes.Equal(f.Data, AppendLengthPrefixed(nil, slice)) || f.Key || f.Format != nil {
		t.Errorf("frame: %+v, %v", f, err)
	}

	// A picture parameter set that changes between key frames stays in
	// band; from the next key frame on it is in the format.
	changed := append(bytes.Clone(pps[:len(pps)-1]), pps[len(pps)-1]^0x40)
	before := a.Format()
	f, err = a.Assemble(9, [][]byte{changed, slice})
	if err != nil || !bytes.Equal(f.Data, AppendLengthPrefixed(nil, changed, slice)) {
		t.Errorf("changed set: %+v, %v", f, err)
	}
	f, err = a.Assemble(10, [][]byte{idr})
	if err != nil || f.Format == before || !bytes.Contains(f.Format.Description, changed) || bytes.Contains(f.Format.Description, pps) {
		t.Errorf("key frame after the change: %+v, %v", f, err)
	}

	// The caller's buffers are not kept.
	idr[1] = 0
	if !bytes.Equal(f.Data, []byte{0, 0, 0, 2, 0x65, 0xaa}) {
		t.Errorf("data shares the caller's memory: %x", f.Data)
	}
}

// TestLostKeyFrame: without its key frame a GOP is not passed on.
func TestLostKeyFrame(t *testing.T) {
	sets := setsOf(t, clips.H264AAC)
	a := mustAssembler(t, media.Format{Codec: media.H264, Description: clips.Video(clips.H264AAC).Config})
	if a.Format() == nil {
		t.Fatal("no format although signalling brought the sets")
	}
	idr, slice := []byte{0x65, 1}, []byte{0x41, 1}
	if _, err := a.Assemble(0, [][]byte{idr}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Assemble(1, [][]byte{{0x68}, idr}); !errors.Is(err, ErrMalformed) {
		t.Fatalf("broken PPS: %v", err)
	}
	if _, err := a.Assemble(2, [][]byte{slice}); !errors.Is(err, ErrNoFormat) {
		t.Errorf("after the broken key frame: %v", err)
	}
	if _, err := a.Assemble(3, [][]byte{sets[0], sets[1], idr}); err != nil {
		t.Errorf("next key frame: %v", err)
	}
	if _, err := a.Assemble(4, [][]byte{slice}); err != nil {
		t.Errorf("after it: %v", err)
	}
	if _, err := a.Assemble(5, [][]byte{{0xc1, 1}}); !errors.Is(err, ErrMalformed) {
		t.Errorf("forbidden bit: %v", err)
	}
	if _, err := a.Assemble(6, make([][]byte, MaxUnitParts+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too many: %v", err)
	}
	if _, err := a.Assemble(7, [][]byte{make([]byte, MaxUnitSize+1)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

// TestResolutionChange: sets of the old sequence do not linger.
func TestResolutionChange(t *testing.T) {
	old := setsOf(t, clips.H265Opus)
	a := mustAssembler(t, media.Format{Codec: media.H265})
	idr := []byte{19 << 1, 1, 0x80}
	f, err := a.Assemble(0, append(old[:3:3], idr))
	if err != nil {
		t.Fatal(err)
	}
	first := f.Format
	// Another level in the sequence parameter set stands for a new sequence.
	raw := rbsp(old[1][2:])
	raw[1+11] += 30 // general_level_idc
	sps := append([]byte{33 << 1, 1}, (&bitWriter{b: raw}).escaped()...)
	if f, err = a.Assemble(1, [][]byte{sps, idr}); !errors.Is(err, ErrNoFormat) {
		t.Fatalf("a new SPS with the PPS of the old one: %+v, %v", f, err)
	}
	f, err = a.Assemble(2, [][]byte{old[0], sps, old[2], idr})
	if err != nil || f.Format == first || f.Format.MIME == first.MIME || bytes.Contains(f.Format.Description, old[1]) {
		t.Errorf("new sequence: %+v, %v", f.Format, err)
	}
}

// TestAV1 checks what an ingest may feed: OBUs with and without size field,
// whole temporal units, delimiters, and encoders that send the sequence header
// once.
func TestAV1(t *testing.T) {
	samples := clips.Video(clips.AV1Opus).Samples
	unit, err := SplitOBUs(samples[0].Data)
	if err != nil || len(unit) < 2 {
		t.Fatalf("%d OBUs, %v", len(unit), err)
	}
	// Without size fields, as RTP carries them.
	bare := make([][]byte, len(unit))
	for i, b := range unit {
		o, _, err := parseOBU(b)
		if err != nil {
			t.Fatal(err)
		}
		bare[i] = append([]byte{b[0] &^ 2}, o.payload...)
	}
	for name, in := range map[string][][]byte{
		"sized":         unit,
		"bare":          bare,
		"one piece":     {samples[0].Data},
		"delimiter":     append([][]byte{{0x12, 0}}, unit...),
		"bare, padding": append([][]byte{{0x10}, {0x7a, 2, 0x80, 0}}, bare...),
	} {
		a := mustAssembler(t, media.Format{Codec: media.AV1})
		f, err := a.Assemble(0, in)
		if err != nil || !bytes.Equal(f.Data, samples[0].Data) || !f.Key {
			t.Errorf("%s: key %v, %d bytes, %v", name, f.Key, len(f.Data), err)
		}
	}

	a := mustAssembler(t, media.Format{Codec: media.AV1})
	if _, err := a.Assemble(0, [][]byte{{0x12, 0}, bare[0]}); !errors.Is(err, ErrNoPicture) {
		t.Errorf("sequence header alone: %v", err)
	}
	f, err := a.Assemble(0, bare[1:])
	if err != nil || !bytes.Equal(f.Data, samples[0].Data) {
		t.Errorf("without its sequence header: %d bytes, %v; want %d", len(f.Data), err, len(samples[0].Data))
	}
	// A temporal layer's extension byte stays.
	layered := append([]byte{bare[1][0] | 4, 0x20}, bare[1][1:]...)
	if f, err = a.Assemble(1, [][]byte{layered}); err != nil || !f.Key || !bytes.Contains(f.Data, []byte{bare[1][0] | 6, 0x20}) {
		t.Errorf("with extension: key %v, %v", f.Key, err)
	}
	for _, in := range [][]byte{{0x80}, {0x34}, {0x32}, {0x32, 5, 1}, {0x32, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}} {
		if _, err := a.Assemble(0, [][]byte{in}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", in, err)
		}
	}
}

// TestVPXResolutionChange: each new size is a new format.
func TestVPXResolutionChange(t *testing.T) {
	a := mustAssembler(t, media.Format{Codec: media.VP8})
	key := bytes.Clone(clips.Video(clips.VP8).Samples[0].Data)
	f1, err := a.Assemble(0, [][]byte{key})
	if err != nil {
		t.Fatal(err)
	}
	key[6], key[7] = 160, 0x40 // with a scaling hint, which is not part of the width
	f2, err := a.Assemble(1, [][]byte{key})
	if err != nil || f2.Format == f1.Format || f2.Format.Width != 160 || f1.Format.Width != 320 {
		t.Errorf("%+v, %v", f2.Format, err)
	}
	for _, bad := range [][][]byte{nil, {nil}, {key, key}, {key[:5]}, {{0}}} {
		if _, err := a.Assemble(2, bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d elements: %v", len(bad), err)
		}
	}
}

func TestVP9Level(t *testing.T) {
	for _, c := range []struct{ w, h, want int }{
		{256, 144, 11}, {320, 180, 11}, {640, 360, 21}, {854, 480, 30}, {1280, 720, 31}, {1920, 1080, 40}, {3840, 2160, 50}, {7680, 4320, 60},
	} {
		if got := vp9Level(c.w, c.h); got != c.want {
			t.Errorf("%dx%d: level %d, want %d", c.w, c.h, got, c.want)
		}
	}
}

// TestOpusHead: the layout is that of RFC 7845, section 5.1, little-endian.
func TestOpusHead(t *testing.T) {
	const family1 = "4f70757348656164" + "01" + "06" + "3801" + "80bb0000" + "0000" + "01" + "0402" + "000401020305"
	b, err := hex.DecodeString(family1)
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseOpusHead(b)
	if err != nil || h.Channels != 6 || h.PreSkip != 312 || h.InputSampleRate != 48000 || h.MappingFamily != 1 {
		t.Fatalf("%+v, %v", h, err)
	}
	if got := h.Marshal(); !bytes.Equal(got, b) {
		t.Errorf("marshalled %x", got)
	}
	f, err := OpusFormat(6)
	if err != nil || f.Channels != 6 {
		t.Fatal(err)
	}
	if h, err = ParseOpusHead(f.Description); err != nil || h.Mapping[0] != 4 || h.Mapping[1] != 2 {
		t.Errorf("%+v, %v", h, err)
	}
	for n := range b {
		if _, err := ParseOpusHead(b[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for channels, want := range map[int]error{0: ErrUnsupported, 1: nil, 2: nil, 8: nil, 9: ErrUnsupported, -1: ErrUnsupported} {
		if _, err := OpusFormat(channels); !errors.Is(err, want) {
			t.Errorf("%d channels: %v", channels, err)
		}
	}
}

func TestAAC(t *testing.T) {
	for asc, want := range map[string]media.Format{
		"1190":     {MIME: "mp4a.40.2", SampleRate: 48000, Channels: 2},
		"1208":     {MIME: "mp4a.40.2", SampleRate: 44100, Channels: 1},
		"2b118800": {MIME: "mp4a.40.5", SampleRate: 48000, Channels: 2},  // SBR over 24 kHz
		"eb098800": {MIME: "mp4a.40.29", SampleRate: 48000, Channels: 2}, // PS over mono 24 kHz
		"11b8":     {MIME: "mp4a.40.2", SampleRate: 48000, Channels: 8},
	} {
		b, err := hex.DecodeString(asc)
		if err != nil {
			t.Fatal(err)
		}
		f, err := AACFormat(b)
		if err != nil || f.MIME != want.MIME || f.SampleRate != want.SampleRate || f.Channels != want.Channels {
			t.Errorf("%s: %+v, %v", asc, f, err)
		}
	}
	for _, bad := range [][]byte{nil, {0x11}, {0xff, 0xff}} {
		if _, err := AACFormat(bad); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: %v", bad, err)
		}
	}
	if _, err := NewAssembler(media.Format{Codec: media.AAC}); err == nil {
		t.Error("AAC without AudioSpecificConfig was taken")
	}
	if _, err := NewAssembler(media.Format{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("no codec: %v", err)
	}
}

// TestDescriptions: every record is read back to the format it came from, and
// no beginning of it is taken for the whole.
func TestDescriptions(t *testing.T) {
	for _, name := range clips.All[:3] {
		track := clips.Video(name)
		c := entryCodecs[track.Entry]
		f, err := ParseDescription(c, track.Config)
		if err != nil || f.Width != track.Width || f.Height != track.Height || !bytes.Equal(f.Description, track.Config) {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
		end := len(track.Config)
		if c == media.H264 {
			end -= 4 // what follows the PPS may be missing
		}
		for n := range end {
			if f, err := ParseDescription(c, track.Config[:n]); err == nil {
				t.Errorf("%s: %d of %d bytes: %+v", name, n, len(track.Config), f)
			}
		}
	}
	short := bytes.Clone(clips.Video(clips.H264AAC).Config)
	short[4] &^= 2 // lengthSizeMinusOne
	if _, err := ParseDescription(media.H264, short); !errors.Is(err, ErrUnsupported) {
		t.Errorf("NAL unit lengths of two bytes: %v", err)
	}
	if _, err := ParseDescription(media.VP8, []byte{1}); !errors.Is(err, ErrNoFormat) {
		t.Errorf("VP8: %v", err)
	}
}

// TestHEVCMIME: examples of ISO/IEC 14496-15, annex E.
func TestHEVCMIME(t *testing.T) {
	main := HEVCConfig{Profile: HEVCProfile{IDC: 1, Compatibility: 0x60000000, Constraints: [6]byte{0xb0}, Level: 93}}
	if got := main.MIME(); got != "hvc1.1.6.L93.B0" {
		t.Error(got)
	}
	other := HEVCConfig{Profile: HEVCProfile{Space: 1, IDC: 4, Compatibility: 0x08000000, HighTier: true, Constraints: [6]byte{0, 0x23}, Level: 150}}
	if got := other.MIME(); got != "hvc1.A4.10.H150.0.23" {
		t.Error(got)
	}
}

// TestH265SubLayers: profile_tier_level with sub-layer parts, as temporal
// scalability brings them.
func TestH265SubLayers(t *testing.T) {
	plain := setsOf(t, clips.H265Opus)[1]
	want, err := parseH265SPS(plain)
	if err != nil {
		t.Fatal(err)
	}
	// Rewrite the set with two temporal layers: one sub-layer with profile
	// and level, seven reserved pairs.
	raw := rbsp(plain[2:])
	w := bitWriter{}
	w.bytes(raw[0]&0xf0 | 1<<1 | raw[0]&1) // max_sub_layers_minus1 = 1
	w.bytes(raw[1:13]...)                  // general part, without sub-layers
	w.bits(0b11, 2)
	for range 7 {
		w.bits(0, 2)
	}
	w.bytes(make([]byte, 11)...) // sub_layer_profile
	w.bytes(30)                  // sub_layer_level_idc
	r := bitReader{b: raw, pos: 13 * 8}
	for r.pos < len(raw)*8 {
		w.bits(r.u(1), 1)
	}
	got, err := parseH265SPS(append([]byte{33 << 1, 1}, w.escaped()...))
	if err != nil {
		t.Fatal(err)
	}
	if got.temporalLayers != 2 || got.width != want.width || got.height != want.height || got.profile != want.profile {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// bitWriter is the reverse of bitReader, for tests.
type bitWriter struct {
	b []byte
	n int
}

func (w *bitWriter) bits(v uint32, n int) {
	for i := n - 1; i >= 0; i-- {
		if w.n%8 == 0 {
			w.b = append(w.b, 0)
		}
		w.b[w.n/8] |= byte(v>>i&1) << (7 - w.n%8)
		w.n++
	}
}

func (w *bitWriter) bytes(b ...byte) {
	for _, v := range b {
		w.bits(uint32(v), 8)
	}
}

func (w *bitWriter) ue(v uint32) {
	n := 0
	for (v+1)>>n > 1 {
		n++
	}
	w.bits(0, n)
	w.bits(v+1, n+1)
}

// escaped inserts emulation prevention bytes.
func (w *bitWriter) escaped() []byte {
	var out []byte
	zeros := 0
	for _, c := range w.b {
		if zeros == 2 && c <= 3 {
			out = append(out, 3)
			zeros = 0
		}
		if c == 0 {
			zeros++
		} else {
			zeros = 0
		}
		out = append(out, c)
	}
	return out
}

// TestRefPicSets: a set coded as a difference to the one before has as many
// pictures as the derivation of ITU-T H.265, 7.4.8 gives, which decides where
// the next syntax element is.
func TestRefPicSets(t *testing.T) {
	var w bitWriter
	w.ue(3) // num_short_term_ref_pic_sets
	// Set 0: pictures at -1 and -3.
	w.ue(2)
	w.ue(0)
	for _, step := range []uint32{0, 1} {
		w.ue(step)
		w.bits(1, 1)
	}
	// Set 1, from set 0 shifted by +1: -1 becomes 0 and falls away although
	// its flag is set, -3 becomes -2, and the shift itself is +1.
	w.bits(1, 1) // inter_ref_pic_set_prediction_flag
	w.bits(0, 1) // delta_rps_sign
	w.ue(0)      // abs_delta_rps_minus1
	w.bits(0b111, 3)
	// Set 2, from set 1: two pictures and so three flags, one of which is
	// unused and left out.
	w.bits(1, 1)
	w.bits(1, 1)
	w.ue(0)
	w.bits(1, 1)
	w.bits(0b00, 2)
	w.bits(0b01, 2)
	end := w.n
	w.bits(0xffff, 16)
	r := bitReader{b: w.b}
	if !skipRefPicSets(&r) || r.pos != end {
		t.Errorf("read to bit %d, want %d", r.pos, end)
	}
}
