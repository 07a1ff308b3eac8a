package rtpmedia

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtp"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/ingest"
)

// TrackConfig describes the RTP stream behind a Track.
type TrackConfig struct {
	// Format is what signalling told: Codec always, for AAC Description, for
	// Opus Channels, for video a Description where there is one.
	Format media.Format
	// ParameterSets are NAL units from signalling (sprop-parameter-sets).
	ParameterSets [][]byte
	// ClockRate is of the RTP timestamps, in Hz; 0 means the payload format's
	// own: 90 kHz for video, 48 kHz for Opus, the sample rate for AAC and AC-3.
	ClockRate int
	// AAC is the layout of AU headers; the zero value means HBR.
	AAC AACPacking
	// MaxDONDiff is sprop-max-don-diff of H.265 (RFC 7798, section 7.1); when
	// not 0, NAL units carry decoding order numbers, which are skipped.
	MaxDONDiff int

	// Clock is the publisher's, shared by its tracks.
	Clock *Clock
	// Broadcast takes the track and its frames.
	Broadcast media.BroadcastWriter
	// Drops counts what is thrown away; it may be nil.
	Drops *ingest.Drops
}

// Track turns the packets of one RTP stream into the frames of one track.
//
// After a loss the frames of a video track are held back until the next key
// frame: a viewer then sees a still instead of smeared pictures, and no
// decoder is fed a frame whose references it lacks.
//
// Packet must be called from one goroutine at a time; the other methods may be
// called from any.
type Track struct {
	cfg   TrackConfig
	clock *TrackClock
	depay *depacketizer
	frame codec.Assembler

	started bool
	next    uint16 // sequence number expected
	skip    bool   // drop packets until the unit in progress has ended
	writer  media.TrackWriter

	lacksKey atomic.Bool   // no frame can be decoded until a key frame comes
	keyWant  chan struct{} // a loss asks for one; holds at most one request

	added     chan struct{} // closed once writer is set
	addedOnce sync.Once
}

// NewTrack returns the track of one RTP stream. It adds itself to the
// broadcast when its format is known.
func NewTrack(cfg TrackConfig) (*Track, error) {
	if cfg.AAC == (AACPacking{}) {
		cfg.AAC = HBR
	}
	depay, err := newDepacketizer(cfg.Format.Codec, cfg.AAC, cfg.MaxDONDiff)
	if err != nil {
		return nil, err
	}
	asm, err := codec.NewAssembler(cfg.Format)
	if err != nil {
		return nil, err
	}
	if len(cfg.ParameterSets) > 0 {
		// Wrong ones in signalling do no harm if right ones come in band.
		if _, err := asm.Assemble(0, cfg.ParameterSets); err != nil && !errors.Is(err, codec.ErrNoPicture) {
			cfg.Drops.Add(ingest.FrameMalformed, 1)
		}
	}
	if cfg.ClockRate == 0 {
		cfg.ClockRate = clockRate(asm.Format(), cfg.Format)
	}
	t := &Track{
		cfg:     cfg,
		clock:   cfg.Clock.Track(cfg.ClockRate),
		depay:   depay,
		frame:   asm,
		keyWant: make(chan struct{}, 1),
		added:   make(chan struct{}),
	}
	t.lacksKey.Store(cfg.Format.Codec.Kind() == media.Video)
	return t, nil
}

// clockRate is the RTP clock rate that the payload formats prescribe: 90 kHz
// for video, 48 kHz for Opus (RFC 7587, section 4.1), the sample rate for AAC
// (RFC 3640, section 4.1) and AC-3 (RFC 4184, section 5.1).
func clockRate(known *media.Format, signalled media.Format) int {
	switch signalled.Codec {
	case media.Opus:
		return 48000
	case media.AAC, media.AC3:
		if known != nil && known.SampleRate > 0 {
			return known.SampleRate
		}
		return signalled.SampleRate
	}
	return 90000
}

// Codec is the track's codec.
func (t *Track) Codec() media.Codec { return t.cfg.Format.Codec }

// SenderReport takes the times of an RTCP sender report about this stream.
func (t *Track) SenderReport(ntp uint64, rtpTime uint32) {
	if !t.clock.SenderReport(ntp, rtpTime) {
		t.cfg.Drops.Add(ingest.SenderReportSkew, 1)
	}
}

// Packet takes the next packet of the stream. Packets come in order and once
// only: a sequence number ahead of its turn is a loss, one behind it a
// publisher that counts anew. Packet fails only when the broadcast does not
// take the frame; what is wrong with the packet itself is counted.
func (t *Track) Packet(pkt *rtp.Packet, arrived time.Time) error {
	if gap := pkt.SequenceNumber - t.next; t.started && gap != 0 {
		if gap < 1<<15 {
			t.cfg.Drops.Add(ingest.PacketLost, uint64(gap))
		}
		t.damaged()
		t.skip = t.Codec().Kind() == media.Video
	}
	t.started, t.next = true, pkt.SequenceNumber+1
	if len(pkt.Payload) == 0 {
		return nil // padding, to probe for bandwidth
	}
	if t.skip && !begins(t.Codec(), pkt.Payload) {
		t.skip = !pkt.Marker
		return nil
	}
	t.skip = false

	unit, ts, err := t.depay.push(pkt)
	switch {
	case errors.Is(err, errMore):
		return nil
	case err != nil:
		t.cfg.Drops.Add(ingest.PacketMalformed, 1)
		t.damaged()
		t.skip = !pkt.Marker && t.Codec().Kind() == media.Video
		return nil
	}
	samples := uint32(0) // of each part, when the parts follow each other
	switch t.Codec() {
	case media.AAC:
		samples = aacSamples
	case media.AC3:
		samples = codec.AC3Samples
	default:
		return t.unit(unit, ts, arrived)
	}
	for i, au := range unit {
		// The packet's timestamp is the first one's.
		if err := t.unit([][]byte{au}, ts+uint32(i)*samples, arrived); err != nil {
			return err
		}
	}
	return nil
}

// aacSamples is the length of an AAC access unit. The 960-sample variant is
// of digital radio, where nobody publishes by RTSP.
const aacSamples = 1024

// damaged forgets the unit in progress after a loss. A video track is then
// undecodable until the next key frame, which it asks for.
func (t *Track) damaged() {
	// Cannot fail: the same configuration was accepted by NewTrack.
	_ = t.depay.reset()
	if t.Codec().Kind() != media.Video {
		return
	}
	t.cfg.Drops.Add(ingest.FrameDamaged, 1)
	t.lacksKey.Store(true)
	select {
	case t.keyWant <- struct{}{}:
	default:
	}
}

// unit writes one access unit.
func (t *Track) unit(parts [][]byte, ts uint32, arrived time.Time) error {
	pts := t.clock.Time(ts, arrived)
	f, err := t.frame.Assemble(pts, parts)
	switch {
	case err == nil:
	case errors.Is(err, codec.ErrNoPicture):
		return nil
	case errors.Is(err, codec.ErrNoFormat):
		if codec.IsKey(t.Codec(), parts) {
			t.cfg.Drops.Add(ingest.FrameNoConfig, 1)
		} else {
			t.cfg.Drops.Add(ingest.FrameUndecodable, 1)
		}
		return nil
	default:
		t.cfg.Drops.Add(ingest.FrameMalformed, 1)
		t.damaged()
		return nil
	}
	if t.lacksKey.Load() {
		if !f.Key {
			t.cfg.Drops.Add(ingest.FrameUndecodable, 1)
			return nil
		}
		t.lacksKey.Store(false)
	}
	if t.writer == nil {
		if f.Format == nil {
			f.Format = t.frame.Format()
		}
		w, err := t.cfg.Broadcast.AddTrack(*f.Format)
		if err != nil {
			return err
		}
		t.writer = w
		t.addedOnce.Do(func() { close(t.added) })
	}
	return t.writer.WriteFrame(f)
}

// LacksKey tells whether the track waits for a key frame.
func (t *Track) LacksKey() bool { return t.lacksKey.Load() }

// KeyFrameLoop calls request whenever the publisher should be asked for a key
// frame: at the start and after a loss, until one comes, and when a viewer
// needs one; never more often than every period, in which it also repeats an
// unanswered request. It returns when ctx ends or request fails.
func (t *Track) KeyFrameLoop(ctx context.Context, period time.Duration, request func() error) error {
	if t.Codec().Kind() != media.Video {
		return nil
	}
	timer := time.NewTimer(period)
	defer timer.Stop()

	var demand <-chan struct{}
	added := t.added
	for want := t.LacksKey(); ; {
		if want {
			if err := request(); err != nil {
				return err
			}
			timer.Reset(period)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return ctx.Err()
			}
			if want = t.LacksKey(); want {
				continue // it went unanswered
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-added:
			demand, added = t.writer.KeyFrameRequests(), nil
		case <-t.keyWant:
			want = t.LacksKey()
		case <-demand:
			want = true
		}
	}
}
