package catalog

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/freshet-live/freshet/media"
)

// hangRoot is the hang catalog (draft-lcurley-moq-hang, section "Root").
type hangRoot struct {
	Video *hangVideo `json:"video,omitempty"`
	Audio *hangAudio `json:"audio,omitempty"`
}

type hangVideo struct {
	Renditions map[string]hangRendition `json:"renditions"`
	Display    *hangDisplay             `json:"display,omitempty"`
}

type hangAudio struct {
	Renditions map[string]hangRendition `json:"renditions"`
}

// hangDisplay is the size to render the video at.
type hangDisplay struct {
	Width  float64 `json:"width"`
	Height float64 `json:"height"`
}

// hangRendition is a WebCodecs VideoDecoderConfig or AudioDecoderConfig with
// hang's additions.
type hangRendition struct {
	Codec       string        `json:"codec"`
	Container   hangContainer `json:"container"`
	Description string        `json:"description,omitempty"` // hexadecimal

	CodedWidth  float64 `json:"codedWidth,omitempty"`
	CodedHeight float64 `json:"codedHeight,omitempty"`
	Framerate   float64 `json:"framerate,omitempty"`

	SampleRate       float64 `json:"sampleRate,omitempty"`
	NumberOfChannels float64 `json:"numberOfChannels,omitempty"`

	Bitrate   float64 `json:"bitrate,omitempty"`
	Broadcast string  `json:"broadcast,omitempty"`
}

// hangContainer selects the framing.
type hangContainer struct {
	Kind string `json:"kind"`
}

// MarshalHang returns the catalog as a hang catalog. Tracks of other kinds
// than video and audio are left out, and so is what hang has no field for. So
// are tracks with packaging CMAF: the broadcast has the same media as LOC,
// and a consumer of hang would take both for renditions to choose from.
func (c *Catalog) MarshalHang() ([]byte, error) {
	if err := checkTracks(c.Tracks); err != nil {
		return nil, err
	}
	var root hangRoot
	for i := range c.Tracks {
		t := &c.Tracks[i]
		if t.Packaging == CMAF {
			continue
		}
		r := hangRendition{
			Codec:       t.Format.MIME,
			Container:   hangContainer{Kind: string(t.Packaging)},
			Description: hex.EncodeToString(t.Format.Description),
			Bitrate:     float64(t.Format.Bitrate),
		}
		switch t.Kind() {
		case media.Video:
			r.CodedWidth, r.CodedHeight, r.Framerate = float64(t.Format.Width), float64(t.Format.Height), t.Format.FrameRate
			if root.Video == nil {
				root.Video = &hangVideo{Renditions: make(map[string]hangRendition)}
			}
			root.Video.Renditions[t.Name] = r
			if d := root.Video.Display; r.CodedWidth > 0 && (d == nil || d.Width < r.CodedWidth) {
				root.Video.Display = &hangDisplay{r.CodedWidth, r.CodedHeight}
			}
		case media.Audio:
			r.SampleRate, r.NumberOfChannels = float64(t.Format.SampleRate), float64(t.Format.Channels)
			if root.Audio == nil {
				root.Audio = &hangAudio{Renditions: make(map[string]hangRendition)}
			}
			root.Audio.Renditions[t.Name] = r
		}
	}
	return json.Marshal(&root)
}

// ParseHang parses a hang catalog. Tracks come sorted by name, video first.
// Renditions that live in another broadcast are left out, as are those with a
// container other than legacy, loc and cmaf, which a consumer has to ignore
// (section "Container").
func ParseHang(b []byte) (Catalog, error) {
	if len(b) > MaxSize {
		return Catalog{}, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	var root *hangRoot
	if err := json.Unmarshal(b, &root); err != nil {
		return Catalog{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if root == nil {
		return Catalog{}, fmt.Errorf("%w: not an object", ErrMalformed)
	}
	var c Catalog
	if root.Video != nil {
		if err := c.addRenditions("video", root.Video.Renditions); err != nil {
			return Catalog{}, err
		}
	}
	if root.Audio != nil {
		if err := c.addRenditions("audio", root.Audio.Renditions); err != nil {
			return Catalog{}, err
		}
	}
	return c, checkTracks(c.Tracks)
}

func (c *Catalog) addRenditions(role string, renditions map[string]hangRendition) error {
	if len(renditions) > MaxTracks {
		return fmt.Errorf("%w: %d renditions", ErrTooLarge, len(renditions))
	}
	for _, name := range slices.Sorted(maps.Keys(renditions)) {
		r := renditions[name]
		kind := Packaging(r.Container.Kind)
		if kind == "" {
			kind = Legacy
		}
		if kind != Legacy && kind != LOC && kind != CMAF || r.Broadcast != "" {
			continue
		}
		desc, err := hex.DecodeString(r.Description)
		if err != nil {
			return fmt.Errorf("%w: description of rendition %.64q: %w", ErrMalformed, name, err)
		}
		t := Track{
			Name:      name,
			Packaging: kind,
			Role:      role,
			Live:      true,
			Format: media.Format{
				Codec:      CodecOf(r.Codec),
				MIME:       r.Codec,
				Width:      dimension(r.CodedWidth),
				Height:     dimension(r.CodedHeight),
				FrameRate:  frameRate(r.Framerate),
				SampleRate: intIn(r.SampleRate, 1<<24),
				Channels:   intIn(r.NumberOfChannels, 256),
				Bitrate:    bitrate(r.Bitrate),
			},
		}
		if len(desc) > 0 {
			t.Format.Description = desc
		}
		if len(renditions) > 1 && role == "video" {
			t.AltGroup = new(1)
		}
		c.Tracks = append(c.Tracks, t)
	}
	return nil
}
