package codec

import (
	"testing"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/testdata/clips"
)

// FuzzDescription feeds configuration records: avcC, hvcC, av1C with the
// parameter sets in them, OpusHead and AudioSpecificConfig.
func FuzzDescription(f *testing.F) {
	for _, name := range clips.All[:3] {
		track := clips.Video(name)
		f.Add(uint8(entryCodecs[track.Entry]), track.Config)
	}
	f.Add(uint8(media.AAC), ascOf(clips.Audio(clips.H264AAC).Config))
	f.Add(uint8(media.Opus), opusHeadOf(clips.Audio(clips.H265Opus).Config))
	f.Fuzz(func(t *testing.T, c uint8, b []byte) {
		format, err := ParseDescription(media.Codec(c), b)
		if err != nil {
			return
		}
		if format.MIME == "" || format.Kind() == media.Video && checkSize(format.Width, format.Height) != nil {
			t.Fatalf("%+v", format)
		}
		if format.Kind() != media.Video {
			return
		}
		sets, err := ParameterSets(&format)
		if err != nil || len(sets) == 0 {
			t.Fatalf("%d sets, %v", len(sets), err)
		}
	})
}

// FuzzAssembler feeds a key frame and its parameter sets, mutated, to the
// Assembler of each codec, then a good key frame, which must get through
// whatever came before.
func FuzzAssembler(f *testing.F) {
	good := make(map[media.Codec][][]byte)
	for _, name := range clips.All {
		track := clips.Video(name)
		c := entryCodecs[track.Entry]
		unit := unitOf(f, c, track.Samples[0].Data)
		if c == media.H264 || c == media.H265 {
			sets, err := ParameterSets(&media.Format{Codec: c, Description: track.Config})
			if err != nil {
				f.Fatal(err)
			}
			unit = append(sets, unit...)
		}
		good[c] = unit
		for i, part := range unit {
			f.Add(uint8(c), part[:min(len(part), 200)], unit[len(unit)-1-i][:min(len(unit[len(unit)-1-i]), 200)])
		}
	}
	f.Fuzz(func(t *testing.T, c uint8, first, second []byte) {
		unit, ok := good[media.Codec(c)]
		if !ok {
			return
		}
		a := mustAssembler(t, media.Format{Codec: media.Codec(c)})
		for _, in := range [][][]byte{{first}, {first, second}, {second}, {first, second, first}} {
			frame, err := a.Assemble(0, in)
			if err != nil {
				continue
			}
			if len(frame.Data) == 0 || frame.Key != (frame.Format != nil) {
				t.Fatalf("%+v", frame)
			}
		}
		frame, err := a.Assemble(1, unit)
		if err != nil || !frame.Key {
			t.Fatalf("a good key frame afterwards: %v", err)
		}
	})
}

// FuzzSplit covers the three ways to find the parts of an access unit.
func FuzzSplit(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0x65, 1, 0, 0, 1, 0x41, 2})
	f.Add([]byte{0, 0, 0, 2, 0x65, 1, 0, 0, 0, 1, 9})
	f.Add([]byte{0x12, 0, 0x0a, 1, 0, 0x32, 2, 0x10, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, split := range map[string]func([]byte) ([][]byte, error){
			"annexb": SplitAnnexB, "lengths": SplitLengthPrefixed, "obus": SplitOBUs,
		} {
			parts, err := split(b)
			if err != nil {
				continue
			}
			n := 0
			for _, p := range parts {
				if n += len(p); len(p) == 0 {
					t.Fatalf("%s: empty part", name)
				}
			}
			if n > len(b) || len(parts) > MaxUnitParts {
				t.Fatalf("%s: %d parts of %d bytes out of %d", name, len(parts), n, len(b))
			}
			for _, c := range []media.Codec{media.H264, media.H265, media.AV1, media.VP8, media.VP9, media.Opus} {
				IsKey(c, parts)
			}
		}
	})
}
