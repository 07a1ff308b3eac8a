package cmaf

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/freshet-live/freshet/media"
)

// Sample is one frame in decode order, on the timescale of its track.
type Sample struct {
	Data     []byte // shared, never copied
	Duration uint32 // ticks until the next sample is decoded
	Offset   int32  // presentation time minus decode time, in ticks; may be negative
	Sync     bool   // decoding can start here
}

// Chunk describes a CMAF chunk: one moof with one mdat (ISO/IEC 23000-19,
// section 7.3.2.3).
type Chunk struct {
	Sequence   uint32 // of the movie fragment, rising by one
	DecodeTime uint64 // of the first sample, in ticks
	// Samples may be empty: such a chunk says that nothing changes.
	Samples []Sample
	// Segment puts a segment type box in front: the first chunk of a segment.
	Segment bool
	// Reference is the wall-clock time at which the first sample was
	// captured; it goes into a producer reference time box. Zero leaves the
	// box out.
	Reference media.Time
}

// MaxChunkSize bounds the bytes of the samples of one chunk. It keeps every
// box below the 32-bit size limit; half a second of 8K video is a tenth of it.
const MaxChunkSize = 1 << 30

// ErrTooLarge is the error of Chunk.Buffer for more than MaxChunkSize.
var ErrTooLarge = errors.New("cmaf: chunk too large")

// Sample flags of ISO/IEC 14496-12, section 8.8.3.1.
const (
	flagsSync    = 2 << 24       // sample_depends_on = 2: depends on no other
	flagsNonSync = 1<<24 | 1<<16 // sample_depends_on = 1, sample_is_non_sync_sample
)

// Flags of tfhd and trun, sections 8.8.7 and 8.8.8.
const (
	tfhdDefaultDuration   = 0x000008
	tfhdDefaultFlags      = 0x000020
	tfhdDefaultBaseIsMoof = 0x020000

	trunDataOffset = 0x000001
	trunDuration   = 0x000100
	trunSize       = 0x000200
	trunFlags      = 0x000400
	trunOffsets    = 0x000800
)

// ntpEpoch is the Unix epoch in NTP seconds (RFC 5905, section 6).
const ntpEpoch = 2208988800

// Buffer lays the chunk out: the boxes in one slice, then the payloads.
func (c *Chunk) Buffer() (Buffer, error) {
	first := &Sample{Sync: true}
	if len(c.Samples) > 0 {
		first = &c.Samples[0]
	}
	var (
		payload      int64
		durations    bool // they differ
		offsets      bool // one is not zero
		flags        bool // they differ
		defaultFlags = sampleFlags(first)
	)
	for i := range c.Samples {
		s := &c.Samples[i]
		payload += int64(len(s.Data))
		durations = durations || s.Duration != first.Duration
		offsets = offsets || s.Offset != 0
		flags = flags || sampleFlags(s) != defaultFlags
	}
	if payload > MaxChunkSize || len(c.Samples) > MaxChunkSize/16 {
		return Buffer{}, ErrTooLarge
	}

	b := make([]byte, 0, 192+16*len(c.Samples))
	if c.Segment {
		b = box(b, "styp", func(b []byte) []byte {
			b = append(b, "msdh"...)
			b = be32(b, 0)
			return append(b, "msdhcmfscmfc"...)
		})
	}
	if c.Reference != 0 {
		b = c.appendReference(b, first)
	}

	moof := len(b)
	dataOffset := 0 // where trun's data_offset lies
	b = box(b, "moof", func(b []byte) []byte {
		b = fullBox(b, "mfhd", 0, 0, func(b []byte) []byte { return be32(b, c.Sequence) })
		return box(b, "traf", func(b []byte) []byte {
			b = fullBox(b, "tfhd", 0, tfhdDefaultDuration|tfhdDefaultFlags|tfhdDefaultBaseIsMoof, func(b []byte) []byte {
				b = be32(b, TrackID)
				b = be32(b, first.Duration)
				return be32(b, defaultFlags)
			})
			b = fullBox(b, "tfdt", 1, 0, func(b []byte) []byte { return be64(b, c.DecodeTime) })

			tr := uint32(trunDataOffset | trunSize)
			if durations {
				tr |= trunDuration
			}
			if offsets {
				tr |= trunOffsets
			}
			if flags {
				// Not trun's first_sample_flags: several readers ignore them.
				tr |= trunFlags
			}
			return fullBox(b, "trun", 1, tr, func(b []byte) []byte {
				b = be32(b, uint32(len(c.Samples)))
				dataOffset = len(b)
				b = be32(b, 0)
				for i := range c.Samples {
					s := &c.Samples[i]
					if durations {
						b = be32(b, s.Duration)
					}
					b = be32(b, uint32(len(s.Data)))
					if flags {
						b = be32(b, sampleFlags(s))
					}
					if offsets {
						b = be32(b, uint32(s.Offset))
					}
				}
				return b
			})
		})
	})
	const mdatHeader = 8
	binary.BigEndian.PutUint32(b[dataOffset:], uint32(len(b)-moof+mdatHeader))
	b = be32(b, uint32(payload+mdatHeader))
	b = append(b, "mdat"...)

	bs := make([][]byte, 1, 1+len(c.Samples))
	bs[0] = b
	for i := range c.Samples {
		if len(c.Samples[i].Data) > 0 {
			bs = append(bs, c.Samples[i].Data)
		}
	}
	return NewBuffer(bs...), nil
}

func sampleFlags(s *Sample) uint32 {
	if s.Sync {
		return flagsSync
	}
	return flagsNonSync
}

// appendReference appends a producer reference time box (ISO/IEC 14496-12,
// section 8.16.5). Its flags say that the time is that of capture.
func (c *Chunk) appendReference(b []byte, first *Sample) []byte {
	const capture = 24
	return fullBox(b, "prft", 1, capture, func(b []byte) []byte {
		us := int64(c.Reference)
		sec, frac := us/1e6, us%1e6
		b = be32(b, TrackID)
		b = be32(b, uint32(sec+ntpEpoch))
		b = be32(b, uint32(uint64(frac)<<32/1e6))
		return be64(b, uint64(max(0, int64(min(c.DecodeTime, math.MaxInt64/2))+int64(first.Offset))))
	})
}
