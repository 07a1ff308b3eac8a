package unpack

import (
	"testing"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/loc"
	"github.com/freshet-live/freshet/testdata/clips"
)

// FuzzDecoder feeds what a hostile publisher controls: the codec named in the
// catalog, both places of the configuration record, and the data.
func FuzzDecoder(f *testing.F) {
	for _, name := range clips.All {
		v := clips.Video(name)
		for _, c := range []media.Codec{media.H264, media.H265, media.AV1, media.VP9, media.VP8} {
			f.Add(uint8(c), v.Config, []byte(nil), v.Samples[0].Data[:200], v.Samples[1].Data[:60])
		}
	}
	f.Add(uint8(media.AAC), []byte{0x11, 0x90}, []byte(nil), []byte{1}, []byte{2})
	f.Add(uint8(media.H264), []byte(nil), []byte(nil), []byte{0, 0, 1, 0x67, 1, 0, 0, 1, 0x65}, []byte{0, 0, 0, 1, 0x41})
	f.Fuzz(func(t *testing.T, c uint8, described, hinted, first, second []byte) {
		d := decoder{codec: media.Codec(c), kind: media.Codec(c).Kind()}
		if d.kind == 0 {
			return
		}
		hint := &media.Format{Codec: d.codec, Description: hinted}
		for i, data := range [][]byte{first, second, first} {
			h := loc.Header{Time: 1}
			if i == 0 {
				h.VideoConfig, h.AudioConfig = described, described
			}
			frame, err := d.frame(hint, h, data, i != 1)
			if err != nil {
				continue
			}
			if frame.Key && (frame.Format == nil || frame.Format.MIME == "") {
				t.Fatalf("key frame without format: %+v", frame)
			}
		}
	})
}
