package catalog

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"testing"

	"github.com/freshet-live/freshet/media"
)

// TestCMSF: "The header for a given MOQT Track MUST be packaged by encoding
// the header using [BASE64] and then inserting that payload as the value of
// the Initialization data "initData" field in the catalog entry for that
// Track" (draft-ietf-moq-cmsf, section "Initialization headers"), and "Every
// Track entry in a CMSF catalog carrying CMAF-packaged media data MUST declare
// a "packaging" type value of "cmaf"".
func TestCMSF(t *testing.T) {
	format := media.Format{Codec: media.H264, MIME: "avc1.64001f", Width: 1280, Height: 720}
	init := []byte("\x00\x00\x00\x08ftyp")
	c := Catalog{Tracks: []Track{
		{Name: "video0", Packaging: LOC, Live: true, AltGroup: new(1), Format: format},
		{Name: "video0.cmaf", Packaging: CMAF, Live: true, AltGroup: new(1), Format: format, Init: init},
	}}
	c.Tracks[0].Format.Description = []byte{1, 2, 3}
	// A configuration record beside the segment would say the same twice.
	c.Tracks[1].Format.Description = []byte{1, 2, 3}
	b, err := c.MarshalMSF()
	if err != nil {
		t.Fatal(err)
	}
	var raw struct {
		Tracks []map[string]any
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		t.Fatal(err)
	}
	loc, cmaf := raw.Tracks[0], raw.Tracks[1]
	if loc["packaging"] != "loc" || loc["initRef"] == nil || loc["initData"] != nil {
		t.Errorf("LOC track: %v", loc)
	}
	if cmaf["packaging"] != "cmaf" || cmaf["initRef"] != nil || cmaf["initData"] != base64.StdEncoding.EncodeToString(init) {
		t.Errorf("CMAF track: %v", cmaf)
	}

	got, err := ParseMSF(b)
	if err != nil {
		t.Fatal(err)
	}
	if l := got.Tracks[0]; l.Init != nil || !bytes.Equal(l.Format.Description, []byte{1, 2, 3}) {
		t.Errorf("LOC track read back: %+v", l)
	}
	if m := got.Tracks[1]; !bytes.Equal(m.Init, init) || m.Format.Description != nil || m.Packaging != CMAF {
		t.Errorf("CMAF track read back: %+v", m)
	}

	h, err := c.MarshalHang()
	if err != nil {
		t.Fatal(err)
	}
	hang, err := ParseHang(h)
	if err != nil || len(hang.Tracks) != 1 || hang.Tracks[0].Name != "video0" {
		t.Errorf("hang: %+v, %v", hang.Tracks, err)
	}
}
