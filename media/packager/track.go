package packager

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/media/loc"
	"github.com/freshet-live/freshet/moq"
)

// DropReason tells why a frame was not carried.
type DropReason string

// The reasons for which WriteFrame drops a frame.
const (
	// DropNoFormat: no complete format is known yet.
	DropNoFormat DropReason = "no_format"
	// DropNoKeyFrame: the track has not begun with a key frame.
	DropNoKeyFrame DropReason = "no_key_frame"
	// DropBrokenGroup: an earlier frame of the GOP could not be carried.
	DropBrokenGroup DropReason = "broken_group"
	// DropEvicted: the GOP alone exceeds what the Track retains.
	DropEvicted DropReason = "evicted"
	// DropTooLarge: the frame is larger than an Object may be.
	DropTooLarge DropReason = "too_large"
	// DropOldGroup: of a Group before the newest one.
	DropOldGroup DropReason = "old_group"
	// DropInvalid: no data, or a time before 1970.
	DropInvalid DropReason = "invalid"
)

// minAudioGroup is the shortest audio Group that a video key frame ends, so
// that frequent key frames do not cut the sound to pieces.
const minAudioGroup = 250 * time.Millisecond

// track implements media.TrackWriter. Everything below out is guarded by
// b.mu.
type track struct {
	b        *Broadcast
	name     string
	kind     media.Kind
	codec    media.Codec
	requests chan struct{} // nil for audio and derived tracks
	out      *moq.TrackWriter
	twin     twin
	alt      int  // number of the group of alternatives
	derived  bool // made of another track

	withdrawn bool

	format *media.Format // nil while unknown
	listed *media.Format // the format that the catalogs have
	meter  meter

	next    uint64 // ID of the next Group
	group   *moq.GroupWriter
	sub     *moq.SubgroupWriter // nil between Groups
	object  uint64              // ID of the next Object
	start   media.Time          // PTS of the Group's first frame
	broken  bool                // the current GOP cannot be completed
	asker   asker
	frames  uint64
	bytes   uint64
	groups  uint64
	dropped uint64
	drops   map[DropReason]uint64
}

// KeyFrameRequests implements media.TrackWriter.
func (t *track) KeyFrameRequests() <-chan struct{} { return t.requests }

// WriteFrame implements media.TrackWriter. Frames that nobody could decode are
// dropped and counted, which is no error. It fails with ErrEnded and with
// ErrCodec.
func (t *track) WriteFrame(f media.Frame) error {
	t.b.mu.Lock()
	defer t.b.mu.Unlock()
	if t.b.closed {
		return ErrEnded
	}
	if f.Format != nil && f.Format.Codec != t.codec {
		return fmt.Errorf("%w: %v after %v", ErrCodec, f.Format.Codec, t.codec)
	}
	if t.requests != nil {
		defer t.ask()
	}
	if len(f.Data) == 0 || f.PTS < 0 {
		// The frames that refer to an empty one can still be decoded as
		// well as the encoder could.
		return t.drop(DropInvalid)
	}
	switch t.kind {
	case media.Audio:
		return t.writeAudio(f)
	case media.Text:
		return t.writeText(f)
	}
	return t.writeVideo(f)
}

// role is the track's in the MSF catalog.
func (t *track) role() string {
	if t.kind == media.Text {
		return catalog.RoleSubtitle
	}
	return t.kind.String()
}

// writeText writes a cue as a Group of its own: cues do not refer to each
// other, and who joins begins with the newest one.
func (t *track) writeText(f media.Frame) error {
	if f.Format != nil && f.Format.MIME != "" {
		t.format = f.Format
	}
	if t.format == nil {
		return t.drop(DropNoFormat)
	}
	err := t.begin(f, 0)
	t.endGroup()
	return err
}

func (t *track) writeVideo(f media.Frame) error {
	if f.Key {
		t.endGroup()
		t.broken = true // until the key frame is in
		if f.Format != nil && f.Format.MIME != "" {
			t.format = f.Format
		}
		if t.format == nil {
			return t.drop(DropNoFormat)
		}
		t.meter.begin(f.PTS)
		t.b.keyPTS = f.PTS
		return t.begin(f, t.align(f.PTS))
	}
	switch {
	case t.sub == nil && t.groups == 0:
		return t.drop(DropNoKeyFrame)
	case t.broken:
		return t.drop(DropBrokenGroup)
	}
	return t.write(f, nil, nil)
}

func (t *track) writeAudio(f media.Frame) error {
	changed := f.Format != nil && f.Format.MIME != "" && f.Format != t.format
	if changed {
		t.format = f.Format
	}
	if t.format == nil {
		return t.drop(DropNoFormat)
	}
	length := f.PTS.Sub(t.start)
	atKey := t.start < t.b.keyPTS && f.PTS >= t.b.keyPTS && length >= minAudioGroup
	if t.sub == nil || t.broken || changed || atKey || length < 0 || length >= t.b.cfg.AudioGroup {
		t.endGroup()
		t.meter.begin(f.PTS)
		return t.begin(f, 0)
	}
	return t.write(f, nil, nil)
}

// align moves t.next to the ID of the Group that begins with a key frame at
// pts, and returns how many IDs that leaves out.
func (t *track) align(pts media.Time) uint64 {
	first, from := t.groups == 0, t.next
	t.next = t.b.ids.id(pts, from)
	if first {
		return 0
	}
	return t.next - from
}

// begin writes the first frame of the Group t.next, and what the catalogs have
// to say before it (draft-ietf-moq-msf, section "Initiating a broadcast"). gap
// is how many IDs before it the track leaves out.
func (t *track) begin(f media.Frame, gap uint64) error {
	if t.listed != t.format || t.meter.changed {
		if err := t.b.catalogs.publish(t.b.describe()); err != nil {
			return fmt.Errorf("packager: catalog: %w", err)
		}
		t.listed, t.meter.changed = t.format, false
	}
	id := t.next
	t.next++
	g, err := t.out.Group(id)
	if err != nil {
		return fmt.Errorf("packager: group %d of %s: %w", id, t.name, err)
	}
	s, err := g.Subgroup(0, subgroupConfig)
	if err != nil {
		return fmt.Errorf("packager: group %d of %s: %w", id, t.name, err)
	}
	t.group, t.sub, t.object, t.start, t.broken = g, s, 0, f.PTS, false
	t.groups++
	t.asker.begun(time.Now(), t.out.Demand())
	var extra moq.Properties
	if gap > 0 {
		// Else readers would wait for what may have been overtaken, and then
		// think it lost.
		extra = moq.Properties{{Type: moq.PropertyPriorGroupIDGap, Value: gap}}
	}
	return t.write(f, t.format.Description, extra)
}

// write appends a frame to the current Group.
func (t *track) write(f media.Frame, config []byte, extra moq.Properties) error {
	h := loc.Header{Time: f.PTS}
	if t.kind == media.Video {
		h.VideoConfig = config
	} else {
		h.AudioConfig = config
	}
	props, err := h.Properties()
	if err == nil {
		err = t.sub.WriteObject(t.object, append(props, extra...), f.Data)
	}
	switch {
	case err == nil:
		t.object++
		t.frames++
		t.bytes += uint64(len(f.Data))
		t.meter.add(len(f.Data))
		t.twin.follow(t, f, extra)
		return nil
	case errors.Is(err, moq.ErrEvicted):
		t.fail()
		return t.drop(DropEvicted)
	case errors.Is(err, moq.ErrObjectSize), errors.Is(err, loc.ErrMalformed):
		t.fail()
		return t.drop(DropTooLarge)
	}
	return fmt.Errorf("packager: %s: %w", t.name, err)
}

// endGroup completes the current Group.
func (t *track) endGroup() {
	if t.sub == nil {
		return
	}
	t.group.Close()
	_ = t.sub.Close() // fails only when the Group has been evicted
	t.sub = nil
}

// fail gives up on the current Group: what would follow refers to a frame
// that is missing.
func (t *track) fail() {
	t.sub.Reset(resetInternal)
	t.group.Close()
	t.sub, t.broken = nil, true
	t.twin.fail()
}

// resetInternal is the stream reset code INTERNAL_ERROR
// (draft-ietf-moq-transport-18, section "Stream Reset Error Codes").
const resetInternal = 0x0

func (t *track) drop(r DropReason) error {
	t.dropped++
	t.drops[r]++
	return nil
}

// ask passes a reader's wish for a key frame on. A request that is not taken
// yet stands for this one too.
func (t *track) ask() {
	if !t.asker.wants(time.Now(), t.out.Demand(), t.next, t.sub != nil) {
		return
	}
	select {
	case t.requests <- struct{}{}:
	default:
	}
}

// TrackStats is what happened on one track so far.
type TrackStats struct {
	Name             string
	Format           *media.Format // nil while unknown
	Frames           uint64        // carried
	Bytes            uint64        // of their data
	Groups           uint64
	KeyFrameRequests uint64
	Dropped          map[DropReason]uint64
}

// Stats returns the counts of every track in the order of AddTrack.
func (b *Broadcast) Stats() []TrackStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	stats := make([]TrackStats, len(b.tracks))
	for i, t := range b.tracks {
		stats[i] = TrackStats{
			Name: t.name, Format: t.format,
			Frames: t.frames, Bytes: t.bytes, Groups: t.groups,
			KeyFrameRequests: t.asker.asked,
			Dropped:          maps.Clone(t.drops),
		}
	}
	return stats
}
