package cmaf_test

import (
	"bytes"
	"testing"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf"
	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
	"github.com/freshet-live/freshet/media/codec"
)

// TestColour has encoders mark their output as HDR and reads that back.
func TestColour(t *testing.T) {
	clip := func(args ...string) *media.Format {
		return &cmaftest.Clip(t, append([]string{"-f", "lavfi", "-i", "testsrc2=size=192x108:rate=10", "-t", "0.3"}, args...)...)[0].Format
	}
	for _, c := range []struct {
		name string
		f    *media.Format
		want codec.Colour
	}{
		{"H264 HLG", clip("-c:v", "libx264", "-pix_fmt", "yuv420p", "-x264-params", "colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc"),
			codec.Colour{Primaries: 9, Transfer: codec.TransferHLG, Matrix: 9}},
		{"H265 PQ", clip("-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-tag:v", "hvc1", "-x265-params", "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"),
			codec.Colour{Primaries: 9, Transfer: codec.TransferPQ, Matrix: 9}},
		{"AV1 PQ", clip("-c:v", "libsvtav1", "-preset", "12", "-pix_fmt", "yuv420p10le", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc", "-svtav1-params", "color-primaries=9:transfer-characteristics=16:matrix-coefficients=9"),
			codec.Colour{Primaries: 9, Transfer: codec.TransferPQ, Matrix: 9}},
		{"VP9", &media.Format{Codec: media.VP9, MIME: "vp09.02.31.10.01.09.18.09.01"}, codec.Colour{Primaries: 9, Transfer: 18, Matrix: 9, FullRange: true}},
	} {
		if got, ok := codec.ColourOf(c.f); !ok || got != c.want {
			t.Errorf("%s: %+v %v, want %+v", c.name, got, ok, c.want)
		}
		if c.f.Codec == media.VP9 {
			c.f.Width, c.f.Height = 192, 108
		}
		init, err := cmaf.Init(c.f)
		if err != nil {
			t.Fatal(err)
		}
		if want := []byte{'c', 'o', 'l', 'r', 'n', 'c', 'l', 'x', 0, c.want.Primaries, 0, c.want.Transfer, 0, c.want.Matrix}; !bytes.Contains(init, want) {
			t.Errorf("%s: no colr box in the initialization segment", c.name)
		}
	}
	for _, f := range []*media.Format{{Codec: media.VP9, MIME: "vp09.00.10.08"}, {Codec: media.H264}, {Codec: media.H265, Description: make([]byte, 40)}, {Codec: media.AV1, Description: []byte{0x81, 0, 0, 0}}, {Codec: media.Opus}} {
		if c, ok := codec.ColourOf(f); ok {
			t.Errorf("%v: %+v out of nothing", f.Codec, c)
		}
	}
}
