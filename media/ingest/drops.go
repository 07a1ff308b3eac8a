package ingest

import "sync/atomic"

// Reason says why something that a publisher sent was not passed on.
type Reason uint8

// The reasons.
const (
	// PacketLost: an RTP sequence number never came; the count is of packets.
	PacketLost Reason = iota
	// PacketLate: a packet came twice, or after its place had been given up.
	PacketLate
	// PacketMalformed: the RTP payload breaks its payload format.
	PacketMalformed
	// PacketUnknown: the payload type was not negotiated.
	PacketUnknown
	// FrameDamaged: packets of the frame were lost.
	FrameDamaged
	// FrameUndecodable: the frame refers to one that was lost, or comes before
	// the first key frame.
	FrameUndecodable
	// FrameMalformed: the frame's bitstream makes no sense to its codec.
	FrameMalformed
	// FrameNoConfig: a key frame came before any parameter set.
	FrameNoConfig
	// SenderReportSkew: an RTCP sender report contradicts the others by more
	// than any network delay explains.
	SenderReportSkew

	reasonCount
)

var reasonNames = [reasonCount]string{
	PacketLost:       "packet_lost",
	PacketLate:       "packet_late",
	PacketMalformed:  "packet_malformed",
	PacketUnknown:    "packet_unknown",
	FrameDamaged:     "frame_damaged",
	FrameUndecodable: "frame_undecodable",
	FrameMalformed:   "frame_malformed",
	FrameNoConfig:    "frame_no_config",
	SenderReportSkew: "sender_report_skew",
}

// String returns the reason as metrics label it.
func (r Reason) String() string {
	if r < reasonCount {
		return reasonNames[r]
	}
	return "unknown"
}

// Reasons lists all reasons, for registering metrics.
func Reasons() []Reason {
	all := make([]Reason, reasonCount)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// Drops counts what was not passed on, by reason. Its zero value is ready, it
// is safe for concurrent use, and a nil *Drops counts nothing.
type Drops struct{ counts [reasonCount]atomic.Uint64 }

// Add counts n more for the reason.
func (d *Drops) Add(r Reason, n uint64) {
	if d != nil && r < reasonCount {
		d.counts[r].Add(n)
	}
}

// Count returns how many were counted for the reason.
func (d *Drops) Count(r Reason) uint64 {
	if d == nil || r >= reasonCount {
		return 0
	}
	return d.counts[r].Load()
}
