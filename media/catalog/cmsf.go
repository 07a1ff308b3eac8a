package catalog

import (
	"encoding/base64"
	"fmt"
)

// Initialization data differs by packaging. That of LOC is the codec's
// configuration record, in the catalog's list of such data (draft-ietf-moq-msf,
// section "Initialization Data List"). That of CMAF is the whole
// initialization segment, and CMSF has it in the track itself: "The header for
// a given MOQT Track MUST be packaged by encoding the header using [BASE64] and
// then inserting that payload as the value of the Initialization data
// "initData" field in the catalog entry for that Track" (draft-ietf-moq-cmsf,
// section "Initialization headers").

// setInit writes the initialization segment of a CMAF track.
func (m *msfTrack) setInit(t *Track) {
	if t.Packaging == CMAF && len(t.Init) > 0 {
		m.InitData = base64.StdEncoding.EncodeToString(t.Init)
	}
}

// initialize sets what the initialization data of a track, in base64, is to
// its packaging.
func (t *Track) initialize(data string) error {
	b, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return fmt.Errorf("%w: initialization data of track %.64q: %w", ErrMalformed, t.Name, err)
	}
	switch {
	case len(b) == 0:
	case t.Packaging == CMAF:
		t.Init = b
	default:
		t.Format.Description = b
	}
	return nil
}
