package catalog

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/freshet-live/freshet/media"
)

// VersionMSF is the version of MSF that MarshalMSF writes
// (draft-ietf-moq-msf, section "MSF version").
const VersionMSF = "draft-01"

// msfRoot is the independent catalog (section "Root Catalog Fields"). The
// order of fields is that of the document: initDataList has to follow tracks.
type msfRoot struct {
	Version      json.RawMessage `json:"version"`
	GeneratedAt  *float64        `json:"generatedAt,omitempty"`
	IsComplete   bool            `json:"isComplete,omitempty"`
	Tracks       []msfTrack      `json:"tracks"`
	InitDataList []msfInit       `json:"initDataList,omitempty"`
}

// msfInit is an entry of the Initialization Data List.
type msfInit struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Data string `json:"data"`
}

// msfTrack is a track object (section "Track Object Fields").
type msfTrack struct {
	Namespace        string   `json:"namespace,omitempty"`
	Name             string   `json:"name"`
	Packaging        string   `json:"packaging"`
	IsLive           bool     `json:"isLive"`
	TargetLatency    float64  `json:"targetLatency,omitempty"`
	Role             string   `json:"role,omitempty"`
	Label            string   `json:"label,omitempty"`
	RenderGroup      *float64 `json:"renderGroup,omitempty"`
	AltGroup         *float64 `json:"altGroup,omitempty"`
	InitRef          string   `json:"initRef,omitempty"`
	InitData         string   `json:"initData,omitempty"` // draft-00
	Depends          []string `json:"depends,omitempty"`
	Codec            string   `json:"codec,omitempty"`
	MIMEType         string   `json:"mimeType,omitempty"`
	Framerate        float64  `json:"framerate,omitempty"`
	Bitrate          float64  `json:"bitrate,omitempty"`
	MaxGroupDuration float64  `json:"maxGroupDuration,omitempty"`
	Width            float64  `json:"width,omitempty"`
	Height           float64  `json:"height,omitempty"`
	Samplerate       float64  `json:"samplerate,omitempty"`
	ChannelConfig    string   `json:"channelConfig,omitempty"`
	Lang             string   `json:"lang,omitempty"`
	EncryptionScheme string   `json:"encryptionScheme,omitempty"`
}

// MarshalMSF returns the catalog as an independent MSF catalog object.
func (c *Catalog) MarshalMSF() ([]byte, error) {
	if err := checkTracks(c.Tracks); err != nil {
		return nil, err
	}
	root := msfRoot{
		Version:    json.RawMessage(strconv.Quote(VersionMSF)),
		IsComplete: c.Complete,
		Tracks:     make([]msfTrack, 0, len(c.Tracks)),
	}
	if !c.GeneratedAt.IsZero() {
		root.GeneratedAt = new(float64(c.GeneratedAt.UnixMilli()))
	}
	refs := make(map[string]string)
	for i := range c.Tracks {
		t := &c.Tracks[i]
		m := msfTrack{
			Namespace:        t.Namespace,
			Name:             t.Name,
			Packaging:        string(t.Packaging),
			IsLive:           t.Live,
			Role:             t.Role,
			Label:            t.Label,
			RenderGroup:      number(t.RenderGroup),
			AltGroup:         number(t.AltGroup),
			Depends:          t.Depends,
			Codec:            t.Format.MIME,
			Framerate:        t.Format.FrameRate,
			Bitrate:          float64(t.Format.Bitrate),
			MaxGroupDuration: float64(t.MaxGroupDuration.Milliseconds()),
			Width:            float64(t.Format.Width),
			Height:           float64(t.Format.Height),
			Samplerate:       float64(t.Format.SampleRate),
			Lang:             t.Language,
			EncryptionScheme: t.Encryption,
		}
		if t.Format.Codec == media.WebVTT {
			m.MIMEType = MIMETypeWebVTT
		}
		if t.Live {
			m.TargetLatency = float64(t.TargetLatency.Milliseconds())
		}
		if t.Format.Channels > 0 {
			m.ChannelConfig = strconv.Itoa(t.Format.Channels)
		}
		m.setInit(t)
		if t.Packaging != CMAF && len(t.Format.Description) > 0 {
			data := base64.StdEncoding.EncodeToString(t.Format.Description)
			ref, ok := refs[data]
			if !ok {
				ref = "init" + strconv.Itoa(len(refs))
				refs[data] = ref
				root.InitDataList = append(root.InitDataList, msfInit{ID: ref, Type: "inline", Data: data})
			}
			m.InitRef = ref
		}
		root.Tracks = append(root.Tracks, m)
	}
	return json.Marshal(&root)
}

func number(n *int) *float64 {
	if n == nil {
		return nil
	}
	return new(float64(*n))
}

// ParseMSF parses an independent MSF catalog object of draft-00 or draft-01.
// It fails with ErrVersion for any other version, which the draft forbids to
// read on. Unknown fields are ignored; a track may be of a packaging or a
// codec that freshet does not know.
func ParseMSF(b []byte) (Catalog, error) {
	var r Reader
	return r.Independent(b)
}

// Reader follows an MSF catalog Track with its delta updates. The zero value
// is ready.
type Reader struct {
	root   map[string]json.RawMessage
	tracks []map[string]json.RawMessage
}

// Independent parses the first Object of a Group and forgets what came
// before.
func (r *Reader) Independent(b []byte) (Catalog, error) {
	r.root, r.tracks = nil, nil
	root, err := object(b)
	if err != nil {
		return Catalog{}, err
	}
	if err := checkVersion(root["version"]); err != nil {
		return Catalog{}, err
	}
	var tracks []map[string]json.RawMessage
	if raw, ok := root["tracks"]; ok {
		if err := json.Unmarshal(raw, &tracks); err != nil {
			return Catalog{}, fmt.Errorf("%w: tracks: %w", ErrMalformed, err)
		}
	}
	delete(root, "tracks")
	c, err := build(root, tracks)
	if err != nil {
		return Catalog{}, err
	}
	r.root, r.tracks = root, tracks
	return c, nil
}

// checkVersion accepts the strings of both drafts and the number 1, which
// draft-00 has in its examples.
func checkVersion(raw json.RawMessage) error {
	switch string(raw) {
	case `"draft-00"`, `"draft-01"`, "1":
		return nil
	}
	return fmt.Errorf("%w: MSF %.32s", ErrVersion, raw)
}

// object decodes exactly one JSON object.
func object(b []byte) (map[string]json.RawMessage, error) {
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	var m map[string]json.RawMessage
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&m); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("%w: bytes after the document", ErrMalformed)
	}
	if m == nil {
		return nil, fmt.Errorf("%w: not an object", ErrMalformed)
	}
	return m, nil
}

// build interprets a catalog whose tracks are kept apart.
func build(root map[string]json.RawMessage, tracks []map[string]json.RawMessage) (Catalog, error) {
	if len(tracks) > MaxTracks {
		return Catalog{}, fmt.Errorf("%w: %d tracks", ErrTooLarge, len(tracks))
	}
	var m msfRoot
	if err := remarshal(root, &m); err != nil {
		return Catalog{}, err
	}
	c := Catalog{Complete: m.IsComplete}
	if m.GeneratedAt != nil {
		if ms := intIn(*m.GeneratedAt, 1<<50); ms > 0 {
			c.GeneratedAt = time.UnixMilli(int64(ms))
		}
	}
	inline := make(map[string]string)
	for _, e := range m.InitDataList {
		// The other types point at Properties of Tracks and Objects.
		if e.Type == "inline" {
			inline[e.ID] = e.Data
		}
	}
	for _, raw := range tracks {
		var t msfTrack
		if err := remarshal(raw, &t); err != nil {
			return Catalog{}, err
		}
		data := t.InitData
		if t.InitRef != "" {
			data = inline[t.InitRef]
		}
		track, err := t.track(data)
		if err != nil {
			return Catalog{}, err
		}
		c.Tracks = append(c.Tracks, track)
	}
	return c, checkTracks(c.Tracks)
}

func remarshal(m map[string]json.RawMessage, into any) error {
	b, err := json.Marshal(m)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

func (m *msfTrack) track(initData string) (Track, error) {
	t := Track{
		Name:             m.Name,
		Namespace:        m.Namespace,
		Packaging:        Packaging(m.Packaging),
		Role:             m.Role,
		Live:             m.IsLive,
		RenderGroup:      group(m.RenderGroup),
		AltGroup:         group(m.AltGroup),
		TargetLatency:    milliseconds(m.TargetLatency),
		MaxGroupDuration: milliseconds(m.MaxGroupDuration),
		Label:            m.Label,
		Language:         m.Lang,
		Depends:          m.Depends,
		Encryption:       m.EncryptionScheme,
		Format: media.Format{
			Codec:      CodecOf(m.Codec),
			MIME:       m.Codec,
			Width:      dimension(m.Width),
			Height:     dimension(m.Height),
			FrameRate:  frameRate(m.Framerate),
			SampleRate: intIn(m.Samplerate, 1<<24),
			Bitrate:    bitrate(m.Bitrate),
		},
	}
	if err := t.initialize(initData); err != nil {
		return Track{}, err
	}
	if m.Codec == "" && m.MIMEType == MIMETypeWebVTT {
		t.Format.Codec, t.Format.MIME = media.WebVTT, "wvtt"
	}
	t.Format.Language, t.Format.Label = t.Language, t.Label
	if t.Kind() == media.Audio {
		t.Format.Channels = channels(m.ChannelConfig)
	}
	return t, nil
}

// channels reads a channelConfig, of which the draft shows counts only;
// LOC's examples also say "mono".
func channels(s string) int {
	switch s {
	case "mono":
		return 1
	case "stereo":
		return 2
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 255 {
		return 0
	}
	return n
}

func group(n *float64) *int {
	if n == nil || *n != float64(int32(*n)) {
		return nil
	}
	return new(int(*n))
}
