package codec

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/testdata/clips"
)

// dolby are the clips with what ffmpeg was asked for.
var dolby = map[media.Codec]struct {
	clip, mime string
	bitrate    int
}{
	media.AC3: {clips.AC3, "ac-3", 192_000},
	media.EC3: {clips.EC3, "ec-3", 128_000},
}

// TestDolby reads the configuration off real frames and compares it with the
// dac3 and dec3 boxes that ffmpeg made of the same frames.
func TestDolby(t *testing.T) {
	for c, want := range dolby {
		t.Run(c.String(), func(t *testing.T) {
			track := clips.Audio(want.clip)
			if track.Entry != want.mime {
				t.Fatalf("sample entry %q", track.Entry)
			}
			a := mustAssembler(t, media.Format{Codec: c})
			if a.Format() != nil {
				t.Errorf("format %+v before the first frame", a.Format())
			}
			var format *media.Format
			total := time.Duration(0)
			for i, s := range track.Samples {
				f, err := a.Assemble(media.Time(i), [][]byte{s.Data})
				if err != nil {
					t.Fatalf("frame %d: %v", i, err)
				}
				if format == nil {
					format = f.Format
				}
				if f.Format != format || !f.Key || !bytes.Equal(f.Data, s.Data) {
					t.Fatalf("frame %d: %+v, format %+v", i, f, f.Format)
				}
				total += Duration(format, f.Data)
			}
			if format.MIME != want.mime || format.SampleRate != 48000 || format.Channels != 6 || format.Bitrate != want.bitrate {
				t.Errorf("%+v", format)
			}
			if !bytes.Equal(format.Description, track.Config) {
				t.Errorf("configuration %x, ffmpeg's %x", format.Description, track.Config)
			}
			if n := len(track.Samples); total != time.Duration(n)*32*time.Millisecond {
				t.Errorf("%d frames last %v", n, total)
			}
			again, err := ParseDescription(c, track.Config)
			if err != nil || again.Channels != 6 || again.SampleRate != 48000 || again.Bitrate != want.bitrate {
				t.Errorf("from the box: %+v, %v", again, err)
			}
			for n := range track.Config {
				if _, err := ParseDescription(c, track.Config[:n]); err == nil {
					t.Errorf("%d of %d bytes of the box were enough", n, len(track.Config))
				}
			}
			data := track.Samples[0].Data
			for n := range data {
				if _, err := a.Assemble(0, [][]byte{data[:n]}); !errors.Is(err, ErrMalformed) {
					t.Fatalf("%d of %d bytes: %v", n, len(data), err)
				}
			}
			if _, err := a.Assemble(0, [][]byte{append(bytes.Clone(data), 0)}); !errors.Is(err, ErrMalformed) {
				t.Errorf("a byte too many: %v", err)
			}
		})
	}
}

// TestEC3Dependent makes 7.1 of a 5.1 frame: a dependent substream follows
// that adds Lrs and Rrs.
func TestEC3Dependent(t *testing.T) {
	base := clips.Audio(clips.EC3).Samples[0].Data
	dep := make([]byte, 64)
	// Syncword; strmtyp 1, substream 0, frmsiz 31; fscod 0, 6 blocks, acmod 2,
	// no LFE; bsid 16, dialnorm 31, no compr; chanmap of L, R (bits 0, 2), Lrs/Rrs (bit 6).
	w := bitWriter{}
	for _, f := range [][2]uint32{{0x0b77, 16}, {1, 2}, {0, 3}, {31, 11}, {0, 2}, {3, 2}, {2, 3}, {0, 1}, {16, 5}, {31, 5}, {0, 1}, {1, 1}, {1 << 9, 16}} {
		w.bits(f[0], int(f[1]))
	}
	copy(dep, w.b)
	c, samples, err := EC3ConfigOf(append(bytes.Clone(base), dep...))
	if err != nil || samples != 1536 || len(c.Independent) != 1 {
		t.Fatalf("%+v, %d samples, %v", c, samples, err)
	}
	if s := c.Independent[0]; s.Dependent != 1 || s.Locations != 1<<1 || c.channels() != 8 {
		t.Errorf("%+v, %d channels", s, c.channels())
	}
	back, err := ParseEC3Config(c.Marshal())
	if err != nil || back.channels() != 8 || back.DataRate != c.DataRate {
		t.Errorf("from the box: %+v, %v", back, err)
	}
	if _, _, err := EC3ConfigOf(dep); !errors.Is(err, ErrMalformed) {
		t.Errorf("a dependent substream alone: %v", err)
	}
}

// FuzzDolby feeds frames of AC-3 and E-AC-3, and what is no frame.
func FuzzDolby(f *testing.F) {
	for c, d := range dolby {
		track := clips.Audio(d.clip)
		f.Add(uint8(c), track.Samples[0].Data)
		f.Add(uint8(c), track.Config)
	}
	f.Fuzz(func(t *testing.T, codec uint8, b []byte) {
		c := media.Codec(codec)
		if _, ok := dolby[c]; !ok {
			return
		}
		a := mustAssembler(t, media.Format{Codec: c})
		fr, err := a.Assemble(0, [][]byte{b})
		if err != nil {
			return
		}
		got, err := ParseDescription(c, fr.Format.Description)
		if err != nil || got.Channels != fr.Format.Channels || got.SampleRate != fr.Format.SampleRate || Duration(fr.Format, b) <= 0 {
			t.Fatalf("%+v describes itself as %+v, %v", fr.Format, got, err)
		}
	})
}
