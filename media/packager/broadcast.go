package packager

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/moq"
)

// Errors of AddTrack and WriteFrame. Both are also returned as such by
// errors.Is when they are wrapped with details.
var (
	// ErrEnded: the broadcast has been closed.
	ErrEnded = moq.ErrEnded
	// ErrCodec: a frame of another codec than its track's.
	ErrCodec = errors.New("packager: codec of the track cannot change")
	// ErrTooManyTracks: MaxTracks exceeded.
	ErrTooManyTracks = errors.New("packager: too many tracks")
	// ErrNoSource: no such track to derive another from.
	ErrNoSource = errors.New("packager: no such source track")
)

// MaxTracks bounds the media tracks of one broadcast: simulcast layers,
// languages and derived renditions, with room to spare.
const MaxTracks = 32

// Publisher Priorities of the Tracks; lower is more urgent. MSF wants the
// catalog above all tracks it describes (draft-ietf-moq-msf, section
// "Catalog"); sound goes before pictures because its loss is heard at once.
const (
	priorityCatalog = 16
	priorityText    = 48 // a few bytes now and then
	priorityAudio   = 64
	priorityVideo   = 128
)

// textRetention keeps a minute of cues, each a Group of its own.
var textRetention = moq.Retention{Groups: 64, Age: time.Minute, Bytes: 1 << 20}

// Config tells how a broadcast is packaged. The zero value is good.
type Config struct {
	// VideoRetention and AudioRetention bound what each Track keeps for
	// readers that join or lag. Zero fields mean 16 Groups and 64 MiB for
	// video, 64 Groups and 8 MiB for audio, and 20 s for both: two complete
	// GOPs beside the current one, up to a key frame interval of 10 s.
	VideoRetention, AudioRetention moq.Retention
	// AudioGroup is the length of audio Groups; 1 s by default.
	AudioGroup time.Duration
	// TargetLatency is what the MSF catalog advises players; 0 leaves it to
	// them.
	TargetLatency time.Duration
}

func (c Config) withDefaults() Config {
	retain := func(r moq.Retention, groups int, bytes int64) moq.Retention {
		return moq.Retention{
			Groups: cmp.Or(r.Groups, groups),
			Age:    cmp.Or(r.Age, 20*time.Second),
			Bytes:  cmp.Or(r.Bytes, bytes),
		}
	}
	c.VideoRetention = retain(c.VideoRetention, 16, 64<<20)
	c.AudioRetention = retain(c.AudioRetention, 64, 8<<20)
	c.AudioGroup = cmp.Or(c.AudioGroup, time.Second)
	return c
}

// Broadcast packages what one streamer publishes. It implements
// media.BroadcastWriter and is safe for concurrent use.
type Broadcast struct {
	cfg        Config
	out        *moq.Broadcast
	firstGroup uint64 // ID of the first Group of every Track

	mu       sync.Mutex
	closed   bool
	tracks   []*track
	ids      groupIDs // of the video tracks
	catalogs catalogWriter
	// The newest video key frame, to cut audio Groups at; 0 before the first.
	keyPTS media.Time
}

var _ media.BroadcastWriter = (*Broadcast)(nil)

// New makes a broadcast with nothing but its two catalog Tracks, which stay
// empty until the first frame.
func New(ns moq.Namespace, cfg Config) *Broadcast {
	b := &Broadcast{
		cfg:        cfg.withDefaults(),
		out:        moq.NewBroadcast(ns),
		firstGroup: uint64(time.Now().UnixMilli()),
	}
	b.ids.next = b.firstGroup
	b.catalogs = catalogWriter{
		msf:  b.mustCreate(catalog.TrackMSF),
		hang: b.mustCreate(catalog.TrackHang),
		next: b.firstGroup,
	}
	return b
}

// mustCreate adds a catalog Track to the new Broadcast, where nothing can
// stand in its way.
func (b *Broadcast) mustCreate(name string) *moq.TrackWriter {
	w, err := b.out.CreateTrack(name, moq.TrackConfig{
		Properties: moq.Properties{{Type: moq.PropertyDefaultPublisherPriority, Value: priorityCatalog}},
		Retention:  moq.Retention{Groups: 4, Bytes: 8 << 20},
	})
	if err != nil {
		panic(fmt.Sprintf("packager: fresh broadcast refused track %q: %v", name, err))
	}
	return w
}

// Broadcast returns what relays and sessions publish.
func (b *Broadcast) Broadcast() *moq.Broadcast { return b.out }

// AddTrack declares a track, which is named after its kind and number: video0,
// video1, audio0, text0. Several video tracks are taken to be alternatives of the
// same picture (simulcast).
//
// The track enters the catalogs once its Format is complete: at once if f has
// a MIME, else with the first key frame. It fails with ErrEnded,
// ErrTooManyTracks, or ErrCodec for a codec of no kind.
func (b *Broadcast) AddTrack(f media.Format) (media.TrackWriter, error) {
	kind := f.Kind()
	if kind == 0 {
		return nil, fmt.Errorf("%w: %v", ErrCodec, f.Codec)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, ErrEnded
	}
	number := 0
	for _, t := range b.tracks {
		if t.kind == kind && !t.derived {
			number++
		}
	}
	t, err := b.add(fmt.Sprintf("%v%d", kind, number), f)
	if err != nil {
		return nil, err
	}
	switch kind {
	case media.Video:
		t.alt = altVideo
	case media.Audio:
		t.alt = altAudio + number
	case media.Text:
		t.alt = altText + number
	}
	if kind == media.Video {
		t.requests = make(chan struct{}, 1)
	}
	if f.MIME != "" {
		t.format = &f
	}
	return t, nil
}

// The numbers of the groups of alternatives: all video is one picture, while
// each audio track of a publisher is a sound of its own, and each text another
// language.
const (
	altVideo = 1
	altAudio = 2
	altText  = altAudio + MaxTracks
)

// add makes a track. b.mu is held.
func (b *Broadcast) add(name string, f media.Format) (*track, error) {
	if len(b.tracks) >= MaxTracks {
		return nil, ErrTooManyTracks
	}
	t := &track{
		b:     b,
		name:  name,
		kind:  f.Kind(),
		codec: f.Codec,
		next:  b.firstGroup,
		drops: make(map[DropReason]uint64),
	}
	cfg := moq.TrackConfig{Retention: b.cfg.AudioRetention}
	priority := uint64(priorityAudio)
	switch t.kind {
	case media.Video:
		priority = priorityVideo
		cfg.Retention = b.cfg.VideoRetention
	case media.Text:
		priority = priorityText
		cfg.Retention = textRetention
	}
	cfg.Properties = moq.Properties{{Type: moq.PropertyDefaultPublisherPriority, Value: priority}}
	if t.kind == media.Video {
		// NEW_GROUP_REQUEST becomes a key frame request.
		cfg.Properties = append(cfg.Properties, moq.Property{Type: moq.PropertyDynamicGroups, Value: 1})
	}
	var err error
	if t.out, err = b.out.CreateTrack(name, cfg); err != nil {
		return nil, fmt.Errorf("packager: track %q: %w", name, err)
	}
	if f.Codec != media.VP8 && t.kind != media.Text { // which have no mapping to ISO BMFF files here
		if t.twin.out, err = b.out.CreateTrack(name+twinSuffix, cfg); err != nil {
			return nil, fmt.Errorf("packager: track %q: %w", name+twinSuffix, err)
		}
	}
	b.tracks = append(b.tracks, t)
	return t, nil
}

// Close ends all Tracks. With nil, for a publisher that has ended its
// broadcast, the MSF catalog says so first (draft-ietf-moq-msf, section
// "Ending a live broadcast"). With an error it does not, because that promise
// could not be taken back if the publisher returns; readers get the error.
// Only the first call counts.
func (b *Broadcast) Close(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return
	}
	b.closed = true
	for _, t := range b.tracks {
		t.endGroup()
		t.out.End(err)
		t.twin.end(err)
	}
	if err == nil {
		b.catalogs.complete()
	}
	b.out.Close(err)
}

// describe returns the catalog of what is known now: the tracks as LOC, then
// the same tracks as CMAF.
func (b *Broadcast) describe() *catalog.Catalog {
	c := &catalog.Catalog{}
	var twins []catalog.Track
	alternatives := make(map[int]int)
	for _, t := range b.tracks {
		if t.format == nil || t.withdrawn {
			continue
		}
		entry := catalog.Track{
			Name:          t.name,
			Packaging:     catalog.LOC,
			Role:          t.role(),
			Label:         t.format.Label,
			Language:      t.format.Language,
			Format:        t.advertised(),
			Live:          true,
			RenderGroup:   new(1),
			AltGroup:      new(t.alt),
			TargetLatency: b.cfg.TargetLatency,
		}
		alternatives[t.alt]++
		c.Tracks = append(c.Tracks, entry)
		if init := t.twin.initialization(t.format); init != nil {
			entry.Name += twinSuffix
			entry.Packaging, entry.Init, entry.Format.Description = catalog.CMAF, init, nil
			alternatives[t.alt]++
			twins = append(twins, entry)
		}
	}
	c.Tracks = append(c.Tracks, twins...)
	for i := range c.Tracks {
		if alternatives[*c.Tracks[i].AltGroup] == 1 {
			c.Tracks[i].AltGroup = nil
		}
	}
	return c
}
