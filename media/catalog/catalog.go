package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/freshet-live/freshet/media"
)

// Names of the catalog Tracks.
const (
	// TrackMSF is the Track Name of the MSF catalog (draft-ietf-moq-msf,
	// section "Catalog").
	TrackMSF = "catalog"
	// TrackHang is the Track Name of the hang catalog
	// (draft-lcurley-moq-hang, section "Catalog").
	TrackHang = "catalog.json"
)

// Bounds on what a publisher can make a subscriber keep.
const (
	// MaxSize is the largest catalog accepted, in bytes after
	// decompression. Configuration records dominate, at up to a few hundred
	// bytes for each of MaxTracks.
	MaxSize = 1 << 20
	// MaxTracks is the largest number of tracks accepted.
	MaxTracks = 256
)

// Errors that the parsers wrap.
var (
	// ErrMalformed: not a catalog.
	ErrMalformed = errors.New("catalog: malformed")
	// ErrVersion: an MSF version that this package does not understand.
	ErrVersion = errors.New("catalog: unknown version")
	// ErrTooLarge: MaxSize or MaxTracks exceeded.
	ErrTooLarge = errors.New("catalog: too large")
)

// Packaging tells how frames lie in Objects.
type Packaging string

// The packagings that freshet knows of.
const (
	// LOC: one frame per Object, its metadata in Object Properties
	// (draft-ietf-moq-loc-04).
	LOC Packaging = "loc"
	// Legacy is hang's own: a timestamp in microseconds as a QUIC variable
	// length integer, then the frame.
	Legacy Packaging = "legacy"
	// CMAF: each Object one or more moof and mdat boxes.
	CMAF Packaging = "cmaf"
)

// Catalog describes the tracks of a broadcast at one moment. It is immutable
// once published.
type Catalog struct {
	// GeneratedAt is when the publisher wrote it, to the millisecond; zero
	// when not told.
	GeneratedAt time.Time
	// Complete is the publisher's promise that nothing more will come, on
	// any track, ever (MSF isComplete).
	Complete bool
	// Tracks in the publisher's order. Those of kinds that carry no media
	// (timelines, logs) have a zero Format.Codec.
	Tracks []Track
}

// Track describes one track.
type Track struct {
	Name string
	// Namespace is the track's own, when it is not the catalog's; as the
	// publisher wrote it.
	Namespace string
	Packaging Packaging
	// Role is what the track is for: "video", "audio", "caption" …
	Role string
	// Format is what is known of the coding. Codec is 0 when MIME names a
	// codec that freshet does not carry; Description is the configuration
	// record, if the catalog has it. Frames of LOC tracks may bring newer
	// ones.
	Format media.Format
	// Init is the initialization segment (ftyp and moov) of a track with
	// packaging CMAF; such a track has no Format.Description.
	Init []byte
	// Live is false for a track that gets no further Objects.
	Live bool
	// RenderGroup is common to tracks that are to be presented together,
	// AltGroup to tracks of which a subscriber picks one; nil when the
	// publisher names none.
	RenderGroup, AltGroup *int
	// TargetLatency from capture to presentation; 0 leaves it to the player.
	TargetLatency time.Duration
	// MaxGroupDuration is the longest Group; 0 when not told.
	MaxGroupDuration time.Duration
	// Label and Language (RFC 5646) are for people.
	Label, Language string
	// Depends names the tracks that this one needs for decoding.
	Depends []string
	// Encryption names the scheme that payloads are encrypted with end to
	// end; empty for plain media.
	Encryption string
}

// Track returns the track of that name.
func (c *Catalog) Track(name string) (*Track, bool) {
	i := slices.IndexFunc(c.Tracks, func(t Track) bool { return t.Name == name })
	if i < 0 {
		return nil, false
	}
	return &c.Tracks[i], true
}

// Kind returns whether the track carries pictures, sound or text, 0 when
// neither its codec nor its role tells.
func (t *Track) Kind() media.Kind {
	if k := t.Format.Codec.Kind(); k != 0 {
		return k
	}
	switch t.Role {
	case "video":
		return media.Video
	case "audio":
		return media.Audio
	case RoleSubtitle, RoleCaption:
		return media.Text
	}
	return 0
}

// Roles of tracks with text (draft-ietf-moq-msf, section "Track role").
const (
	// RoleSubtitle: a transcription of what is spoken.
	RoleSubtitle = "subtitle"
	// RoleCaption: what there is to hear, for those who do not.
	RoleCaption = "caption"
)

// MIMETypeWebVTT is the mimeType that MSF has for a track of WebVTT cues.
const MIMETypeWebVTT = "text/vtt"

// CodecOf returns the codec that a codec string names, 0 for one that freshet
// does not carry. Both kinds of H.264 and H.265 strings are known: those with
// parameter sets in the description (avc1, hvc1) and in the bitstream (avc3,
// hev1).
func CodecOf(mime string) media.Codec {
	entry, rest, _ := strings.Cut(mime, ".")
	switch entry {
	case "avc1", "avc3":
		return media.H264
	case "hvc1", "hev1":
		return media.H265
	case "av01":
		return media.AV1
	case "vp09", "vp9":
		return media.VP9
	case "vp8", "vp08":
		return media.VP8
	case "opus", "Opus":
		return media.Opus
	case "mp4a":
		// Object type 0x40 is MPEG-4 audio; 0x67 MPEG-2 AAC-LC, 0x6B MP3.
		if strings.HasPrefix(rest, "40.") || rest == "40" || rest == "67" {
			return media.AAC
		}
	case "ac-3":
		return media.AC3
	case "ec-3":
		return media.EC3
	case "wvtt":
		return media.WebVTT
	}
	return 0
}

// checkTracks enforces what every catalog has to hold.
func checkTracks(tracks []Track) error {
	if len(tracks) > MaxTracks {
		return fmt.Errorf("%w: %d tracks", ErrTooLarge, len(tracks))
	}
	type key struct{ namespace, name string }
	seen := make(map[key]bool, len(tracks))
	for _, t := range tracks {
		k := key{t.Namespace, t.Name}
		if t.Name == "" || seen[k] {
			return fmt.Errorf("%w: track name %q is empty or not unique", ErrMalformed, t.Name)
		}
		seen[k] = true
	}
	return nil
}

// dimension, rate and so on turn JSON numbers into Go values; what is out of
// range reads as 0, "unknown", because one odd number must not cost a viewer
// the whole broadcast.
func dimension(n float64) int { return intIn(n, 1<<16) }
func bitrate(n float64) int   { return intIn(n, 1<<40) }

func intIn(n, limit float64) int {
	if n >= 0 && n < limit {
		return int(n)
	}
	return 0
}

func frameRate(n float64) float64 {
	if n > 0 && n <= 1000 {
		return n
	}
	return 0
}

func milliseconds(n float64) time.Duration {
	return time.Duration(intIn(n, 1<<40)) * time.Millisecond
}
