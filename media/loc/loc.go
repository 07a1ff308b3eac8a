// Package loc carries the metadata of a media frame in the Properties of its
// Object, as the Low Overhead Media Container has it
// (draft-ietf-moq-loc-04, section "LOC Properties").
//
// The payload of such an Object is the frame's data and nothing else. Two
// older framings that put metadata in front of the data are read as well: see
// SplitBlock and SplitLegacy.
package loc

import (
	"errors"
	"fmt"
	"math/bits"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/moq"
)

// Property types (draft-ietf-moq-loc-04, section "MOQ Properties Registry").
const (
	PropertyTimescale         uint64 = 0x08 // Track or Object
	PropertyVideoFrameMarking uint64 = 0x09
	PropertyAudioLevel        uint64 = 0x0C
	PropertyVideoConfig       uint64 = 0x0D // Track or Object
	PropertyAudioConfig       uint64 = 0x0F // Track or Object
	PropertyTimestamp         uint64 = 0x10

	// propertyTimestampOld is TIMESTAMP of drafts -02 and -03, read where
	// the current one is missing. As an Object Property it means nothing
	// else.
	propertyTimestampOld uint64 = 0x06
)

// Errors that the parsers wrap.
var (
	// ErrMalformed: a value that the draft does not allow.
	ErrMalformed = errors.New("loc: malformed property")
	// ErrNoTimestamp: the Object has no TIMESTAMP.
	ErrNoTimestamp = errors.New("loc: no timestamp")
)

const (
	// MaxConfigSize is the longest configuration record, in bytes: the value
	// of a Key-Value-Pair can be no longer (draft-ietf-moq-transport-18,
	// section "Key-Value-Pair Structure").
	MaxConfigSize = 1<<16 - 1
	// maxTimescale keeps timestamps meaningful: a nanosecond clock.
	maxTimescale = 1_000_000_000
)

// Header is the metadata of one frame.
type Header struct {
	// Time is when the frame is to be presented.
	Time media.Time
	// Relative tells that Time does not count from the Unix epoch but from a
	// moment that the publisher chose: the TIMESTAMP came with a TIMESCALE
	// (section "Timescale"). Append ignores it and always writes wall-clock
	// time.
	Relative bool
	// VideoConfig and AudioConfig are the codec's configuration record, what
	// media.Format has as Description. Publishers send them with the first
	// frame of a Group.
	VideoConfig, AudioConfig []byte
	// AudioLevel is nil when absent.
	AudioLevel *AudioLevel
	// FrameMarking is nil when absent.
	FrameMarking *FrameMarking
}

// Config returns the configuration record of the given kind.
func (h *Header) Config(k media.Kind) []byte {
	if k == media.Audio {
		return h.AudioConfig
	}
	return h.VideoConfig
}

// AudioLevel is how loud an audio frame is (RFC 6464, section 3).
type AudioLevel struct {
	Level uint8 // -dBov, 0 (loudest) to 127
	Voice bool  // the encoder hears speech
}

// FrameMarking describes the part of a video frame in its layers
// (RFC 9626, section 3).
type FrameMarking struct {
	Independent bool  // decodable without other frames of its layer
	Discardable bool  // no other frame needs it
	BaseSync    bool  // needs the base layer only
	TemporalID  uint8 // 0…7
	LayerID     uint8 // spatial; meaningful when Scalable
	Scalable    bool  // has LayerID, in the long form
}

// Properties returns h as Object Properties in ascending order of types.
func (h *Header) Properties() (moq.Properties, error) {
	if h.Time < 0 {
		return nil, fmt.Errorf("%w: timestamp %d before the epoch", ErrMalformed, h.Time)
	}
	p := make(moq.Properties, 0, 2)
	if m := h.FrameMarking; m != nil {
		p = append(p, moq.Property{Type: PropertyVideoFrameMarking, Bytes: m.bytes()})
	}
	if l := h.AudioLevel; l != nil {
		v := uint64(l.Level & 0x7f)
		if l.Voice {
			v |= 0x80
		}
		p = append(p, moq.Property{Type: PropertyAudioLevel, Value: v})
	}
	if len(h.VideoConfig) > MaxConfigSize || len(h.AudioConfig) > MaxConfigSize {
		return nil, fmt.Errorf("%w: config of over %d bytes", ErrMalformed, MaxConfigSize)
	}
	if len(h.VideoConfig) > 0 {
		p = append(p, moq.Property{Type: PropertyVideoConfig, Bytes: h.VideoConfig})
	}
	if len(h.AudioConfig) > 0 {
		p = append(p, moq.Property{Type: PropertyAudioConfig, Bytes: h.AudioConfig})
	}
	return append(p, moq.Property{Type: PropertyTimestamp, Value: uint64(h.Time)}), nil
}

// Parse reads the metadata of an Object. What may be told for the whole Track
// (TIMESCALE, VIDEO_CONFIG, AUDIO_CONFIG) is taken from track where the Object
// does not say it itself. Without TIMESTAMP it fails with ErrNoTimestamp.
// Unknown Properties are ignored. The result shares memory with its input.
func Parse(object, track moq.Properties) (Header, error) {
	var h Header
	for _, p := range track {
		if p.Type == PropertyVideoConfig || p.Type == PropertyAudioConfig {
			if err := h.set(p); err != nil {
				return Header{}, err
			}
		}
	}
	var stamp, scale uint64
	stamped, current := false, false
	if p, ok := track.Get(PropertyTimescale); ok {
		if scale = p.Value; scale == 0 {
			return Header{}, fmt.Errorf("%w: timescale 0", ErrMalformed)
		}
	}
	for _, p := range object {
		switch p.Type {
		case PropertyTimestamp:
			stamp, stamped, current = p.Value, true, true
		case propertyTimestampOld:
			if !current {
				stamp, stamped = p.Value, true
			}
		case PropertyTimescale:
			if scale = p.Value; scale == 0 {
				return Header{}, fmt.Errorf("%w: timescale 0", ErrMalformed)
			}
		default:
			if err := h.set(p); err != nil {
				return Header{}, err
			}
		}
	}
	if !stamped {
		return Header{}, ErrNoTimestamp
	}
	if err := h.setTime(stamp, scale); err != nil {
		return Header{}, err
	}
	return h, nil
}

// setTime converts a TIMESTAMP; scale is 0 without TIMESCALE.
func (h *Header) setTime(stamp, scale uint64) error {
	if scale == 0 {
		scale = 1_000_000
	} else {
		h.Relative = true
	}
	if scale > maxTimescale {
		return fmt.Errorf("%w: timescale %d", ErrMalformed, scale)
	}
	hi, lo := bits.Mul64(stamp, 1_000_000)
	if hi >= scale {
		return fmt.Errorf("%w: timestamp %d at timescale %d", ErrMalformed, stamp, scale)
	}
	us, _ := bits.Div64(hi, lo, scale)
	// Far beyond any clock; what follows computes with differences.
	if us >= 1<<62 {
		return fmt.Errorf("%w: timestamp %d at timescale %d", ErrMalformed, stamp, scale)
	}
	h.Time = media.Time(us)
	return nil
}

// set reads the properties that need no other to be understood.
func (h *Header) set(p moq.Property) error {
	switch p.Type {
	case PropertyVideoConfig, PropertyAudioConfig:
		if len(p.Bytes) > MaxConfigSize {
			return fmt.Errorf("%w: config of %d bytes", ErrMalformed, len(p.Bytes))
		}
		if p.Type == PropertyVideoConfig {
			h.VideoConfig = p.Bytes
		} else {
			h.AudioConfig = p.Bytes
		}
	case PropertyAudioLevel:
		// Only the lower eight bits count.
		h.AudioLevel = &AudioLevel{Level: uint8(p.Value & 0x7f), Voice: p.Value&0x80 != 0}
	case PropertyVideoFrameMarking:
		m, err := parseFrameMarking(p.Bytes)
		if err != nil {
			return err
		}
		h.FrameMarking = m
	}
	return nil
}

// Bits of the first byte of RFC 9626's extension; S and E are set because an
// Object is a whole frame.
const (
	markStart       = 0x80
	markEnd         = 0x40
	markIndependent = 0x20
	markDiscardable = 0x10
	markBaseSync    = 0x08
	markTemporal    = 0x07
)

func (m *FrameMarking) bytes() []byte {
	b := uint8(markStart | markEnd)
	if m.Independent {
		b |= markIndependent
	}
	if m.Discardable {
		b |= markDiscardable
	}
	if !m.Scalable {
		return []byte{b}
	}
	if m.BaseSync {
		b |= markBaseSync
	}
	return []byte{b | m.TemporalID&markTemporal, m.LayerID}
}

// parseFrameMarking reads one byte for a stream without layers, else two with
// the layer, three with the picture index of the base layer, of which an
// extra byte may follow.
func parseFrameMarking(b []byte) (*FrameMarking, error) {
	if len(b) < 1 || len(b) > 4 {
		return nil, fmt.Errorf("%w: frame marking of %d bytes", ErrMalformed, len(b))
	}
	m := &FrameMarking{Independent: b[0]&markIndependent != 0, Discardable: b[0]&markDiscardable != 0}
	if len(b) > 1 {
		m.Scalable = true
		m.BaseSync = b[0]&markBaseSync != 0
		m.TemporalID = b[0] & markTemporal
		m.LayerID = b[1]
	}
	return m, nil
}
