package hls

import (
	"log/slog"
	"math"
	"time"

	"github.com/freshet-live/freshet/media/hls/playlist"
)

// The constants of every playlist. They are not configurable: Apple's player
// stops for good when one of them changes under it.
const (
	partTarget = 500 * time.Millisecond
	// chunkTarget is how much of a part is sent together while the part is
	// being made.
	chunkTarget    = 100 * time.Millisecond
	targetDuration = 10 * time.Second
	segmentMin     = 4 * time.Second
	// firstSegmentMin is segmentMin for the first segment of a rendition:
	// hls.js takes no playlist without a complete segment, and its viewer
	// is waiting.
	firstSegmentMin = time.Second
	// minWindow is what must stay listed: three target durations
	// (rfc8216bis, section 6.2.2).
	minWindow = 3 * targetDuration
	// version 9 is what EXT-X-SERVER-CONTROL, EXT-X-PART and EXT-X-SKIP need.
	version9 = 9
	// version10 is what an EXT-X-SKIP that replaces EXT-X-DATERANGE needs. As
	// the version may not change, all media playlists with parts have it.
	version10 = 10
	// maxAhead is how many segments ahead of the last one a blocking request
	// may ask for, advancePart how many parts (rfc8216bis, section 6.2.5.2:
	// three seconds of parts).
	maxAhead    = 2
	advancePart = int(3 * time.Second / partTarget)
	// A track that brought nothing for stallSilence, and is stallAfter behind
	// the newest one, is filled with what stands for nothing: its last key
	// frame, or silence. A streamer who switches the camera off keeps the
	// sound, and players stop when one of their playlists stands still.
	stallSilence = 2 * time.Second
	stallAfter   = 3 * time.Second
	// maxGap is the longest hole in a timeline that is filled with gap
	// segments; beyond it the timeline starts anew behind a discontinuity.
	maxGap = 60 * time.Second
)

// control is the EXT-X-SERVER-CONTROL of every playlist. HOLD-BACK is three
// target durations, CAN-SKIP-UNTIL six, the least that is allowed.
var control = playlist.ServerControl{
	CanBlockReload: true,
	PartHoldBack:   3 * partTarget,
	HoldBack:       3 * targetDuration,
	CanSkipUntil:   6 * targetDuration,
	// Room events may leave delta updates too.
	CanSkipDateRanges: true,
}

// WholeBroadcast is a Window without end.
const WholeBroadcast time.Duration = math.MaxInt64

// Config tunes a Muxer. The zero value works.
type Config struct {
	// Window is how much of the past the playlists list; 90 s by default,
	// 30 s at least. WholeBroadcast lets nothing leave and makes them EVENT
	// playlists; it needs a disk.
	Window time.Duration
	// MaxBytes bounds the media kept for one rendition; 64 MiB by default.
	// Old segments leave early to keep to it, down to the 30 s that must
	// stay; four times MaxBytes is never exceeded by more than a segment.
	MaxBytes int64
	// BlockTimeout is how long a request may wait for a part or a playlist;
	// 9 s by default, a second less than hls.js waits for a first byte.
	BlockTimeout time.Duration
	// Trickle sends the part in progress as its bytes come. Without, it is held
	// back until it can go at the speed of the line, which is what players
	// measure by it (rfc8216bis, section 6.2.6).
	Trickle bool
	// MediaKey names the folder of media made now, a path element. Nobody can
	// load media without knowing it, and it is learned from playlists only: a
	// key that changes shuts out those who may no longer read playlists. It is
	// called with locks held; nil stands for a constant.
	MediaKey func() string
	// Logger takes what an operator should know; slog.Default() by default.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Window == 0 {
		c.Window = 90 * time.Second
	}
	c.Window = max(c.Window, minWindow)
	if c.MaxBytes <= 0 {
		c.MaxBytes = 64 << 20
	}
	if c.BlockTimeout <= 0 {
		c.BlockTimeout = 9 * time.Second
	}
	if c.MediaKey == nil {
		c.MediaKey = func() string { return "open" }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}
