package media

import "time"

// Time is a presentation time in microseconds since the Unix epoch.
//
// It starts on the origin's wall clock when the first frame of a broadcast
// arrives and then advances with the publisher's media clock, so audio and
// video of one broadcast share it and a viewer can subtract it from its own
// clock to learn the latency. It is what LOC carries as TIMESTAMP when no
// TIMESCALE is present (draft-ietf-moq-loc-04, section 2.3.1.1).
type Time int64

// TimeOf converts a wall-clock time.
func TimeOf(t time.Time) Time { return Time(t.UnixMicro()) }

// Wall converts t to a wall-clock time.
func (t Time) Wall() time.Time { return time.UnixMicro(int64(t)) }

// Add returns t shifted by d, rounded toward zero to a microsecond.
func (t Time) Add(d time.Duration) Time { return t + Time(d/time.Microsecond) }

// Sub returns the duration from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t-u) * time.Microsecond }

// Frame is one coded picture, audio frame or cue of text. It is immutable once handed to
// a TrackWriter: all readers share Data.
//
// Frames of a track come in decode order; with B-frames PTS is therefore not
// monotonic. Data is in the one form that every consumer of freshet expects:
//
//   - H.264, H.265: the NAL units of one access unit, each behind a 4-byte
//     big-endian length; no access unit delimiters, and no parameter sets,
//     which live in Format.Description.
//   - AV1: the OBUs of one temporal unit with size fields, without temporal
//     delimiter.
//   - VP8, VP9: one frame (VP9: one superframe).
//   - Opus: one packet. AAC: one raw access unit without ADTS.
//   - AC-3: one synchronization frame. E-AC-3: the synchronization frames of
//     all substreams for one span of time.
//   - WebVTT: one cue block, whose timings count from PTS.
type Frame struct {
	PTS Time
	// Key tells that decoding can start here. Always true for audio and text.
	Key  bool
	Data []byte
	// Format is the format in force. It is set on every key frame and may be
	// nil elsewhere; the pointer stays the same while nothing changes.
	Format *Format
}

// TrackWriter takes the frames of one track.
type TrackWriter interface {
	// WriteFrame never blocks on readers. It fails when the broadcast has
	// ended or the frame cannot be carried.
	WriteFrame(Frame) error
	// KeyFrameRequests delivers a value when a reader needs a key frame
	// sooner than the encoder would make one. Requests are coalesced; the
	// channel is nil for tracks that never ask (audio).
	KeyFrameRequests() <-chan struct{}
}

// BroadcastWriter takes all that one streamer publishes.
type BroadcastWriter interface {
	// AddTrack declares a track before its first frame.
	AddTrack(Format) (TrackWriter, error)
	// Close ends the broadcast; nil means that the publisher ended it.
	Close(err error)
}
