package hls

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/hls/dvr"
)

// MaxTracks bounds the renditions of one Muxer over its life.
const MaxTracks = 32

// Muxer makes the playlists, parts and segments of one broadcast, through
// restarts of its publisher, and serves them.
//
// Start, WriteFrame, Stop and Close may be called from several goroutines.
// ServeHTTP takes paths relative to the broadcast: index.m3u8,
// p/open/video0.m3u8 and what they name.
type Muxer struct {
	cfg      Config
	epoch    string // part of every media name: names are never reused
	firstMSN uint64

	ready chan struct{} // closed when the multivariant playlist exists
	done  chan struct{} // closed by Close

	suspended chan struct{} // closed by Suspend

	multivariant atomic.Pointer[rendered]
	paths        atomic.Pointer[map[string]*rendition]

	mu             sync.Mutex // guards what follows and all of rendition but its readers' fields
	renditions     []*rendition
	plan           plan
	disc           uint64 // discontinuities so far, the same for all renditions
	discAt         time.Time
	closed         bool
	restoring      bool // nothing is published until all of it is there
	events         events
	broadcast      *dvr.Broadcast             // nil: in memory
	observe        func(*rendition, *version) // sees every version; for tests
	observeIFrames func(*rendition, *version)
}

// Track names a track of a broadcast and tells its format as far as known.
type Track struct {
	Name   string
	Format media.Format
}

// NewMuxer returns a Muxer without tracks. It starts no goroutine.
func NewMuxer(cfg Config) *Muxer {
	now := time.Now()
	m := &Muxer{
		cfg:   cfg.withDefaults(),
		epoch: strconv.FormatInt(now.UnixMilli(), 36),
		// Segments last more than 3 s on average, so a sequence that starts
		// with the time never falls behind one that started earlier: a
		// player survives the restart of its edge.
		firstMSN: uint64(max(0, now.Unix())) / 3,
		ready:    make(chan struct{}),
		done:     make(chan struct{}),

		suspended: make(chan struct{}),
	}
	m.paths.Store(&map[string]*rendition{})
	return m
}

// Offered tells whether HLS carries tracks of codec c. VP8 has no place in
// fMP4.
func Offered(c media.Codec) bool { return c.Kind() != 0 && c != media.VP8 }

// Start begins a broadcast with the given tracks, or changes the set of
// tracks of the present one. Tracks that HLS cannot carry are left out.
// A track of a known name continues its rendition. No tracks change nothing.
func (m *Muxer) Start(tracks []Track) {
	if len(tracks) == 0 {
		// The last catalog of a broadcast is empty. Until the publisher is
		// back, players hold on to the renditions and the reports on them.
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.renditions {
		r.active = false
	}
	for _, t := range tracks {
		if !Offered(t.Format.Codec) {
			continue
		}
		r := m.renditionLocked(t.Name)
		if r == nil {
			if len(m.renditions) == MaxTracks {
				m.cfg.Logger.Warn("hls: too many tracks", "track", t.Name)
				continue
			}
			r = m.addLocked(t.Name, t.Format.Kind())
		}
		r.active = true
		f := t.Format
		if r.text != nil {
			r.setText(&f)
		} else if r.format == nil && r.init == nil {
			// What the catalog knows may already do; the first frame has the
			// last word.
			_, _ = r.setFormat(&f)
		}
	}
	m.renderMultivariant()
}

func (m *Muxer) renditionLocked(track string) *rendition {
	for _, r := range m.renditions {
		if r.track == track {
			return r
		}
	}
	return nil
}

// addLocked makes a rendition for a new track.
func (m *Muxer) addLocked(track string, kind media.Kind) *rendition {
	path := track
	if path == "" || len(path) > 64 || strings.Trim(strings.ToLower(path), "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		path = "track" + strconv.Itoa(len(m.renditions)) // foreign names may not fit a URI
	}
	old := *m.paths.Load()
	if _, taken := old[path]; taken {
		path = "track" + strconv.Itoa(len(m.renditions)) + "-" + m.epoch
	}
	r := newRendition(m, track, path)
	for _, o := range m.renditions {
		r.nextMSN = max(r.nextMSN, o.nextMSN)
	}
	r.startMSN = r.nextMSN
	if kind == media.Text {
		r.becomeText()
	}
	if m.broadcast != nil {
		r.log = m.broadcast.Log(track, path)
	}
	m.renditions = append(m.renditions, r)
	m.pathLocked(r)
	return r
}

// pathLocked lets requests find r.
func (m *Muxer) pathLocked(r *rendition) {
	paths := maps.Clone(*m.paths.Load())
	paths[r.path] = r
	m.paths.Store(&paths)
}

// WriteFrame takes the next frame of a track. lost tells that frames are
// missing before it. The error tells that the frame's format cannot be
// carried, or that the track is unknown or the Muxer closed.
func (m *Muxer) WriteFrame(track string, f media.Frame, lost bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.renditionLocked(track)
	if r == nil || m.closed {
		return fmt.Errorf("hls: no track %q", track)
	}
	if r.text != nil {
		return r.text.add(f)
	}
	broken, err := r.write(f, lost)
	m.fillLocked(r)
	if broken {
		m.renderMultivariant()
	}
	return err
}

// together is how close discontinuities of different tracks have to follow
// each other to count as one: the tracks of a publisher that restarts do not
// come back at the same moment.
const together = 15 * time.Second

// Restart tells that the publisher of a track started anew before the frame
// that is written next. All renditions get a discontinuity, one for all of
// the publisher's tracks.
func (m *Muxer) Restart(track string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.renditionLocked(track)
	if r == nil || m.closed {
		return
	}
	r.finish()
	if time.Since(m.discAt) > together {
		m.breakAll(r)
	}
}

// Stop ends the present broadcast: what is open is completed and waits for a
// publisher that comes back, which makes a discontinuity.
func (m *Muxer) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	broken := false
	for _, r := range m.renditions {
		r.finish()
		r.replay = true
		broken = broken || !r.empty() && r.disc == m.disc
	}
	if broken {
		m.disc++
		m.plan.reset()
		m.discAt = time.Now()
	}
}

// Close ends the playlists with EXT-X-ENDLIST and lets all who wait go.
func (m *Muxer) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	for _, r := range m.renditions {
		r.finish() // and text that follows it
	}
	for _, r := range m.renditions {
		r.recordEnd()
	}
	m.endLocked()
}

// endLocked makes the playlists end where they are.
func (m *Muxer) endLocked() {
	m.closed = true
	for _, r := range m.renditions {
		r.ended = true
		r.expectNone()
		r.publish()
	}
	close(m.done)
}

// breakAll makes the other renditions follow the discontinuity at r.
func (m *Muxer) breakAll(r *rendition) {
	if r.disc == m.disc && !r.empty() {
		m.disc++
		m.plan.reset()
		m.discAt = time.Now()
	}
}

// fillLocked fills the tracks that stand still while r goes on.
func (m *Muxer) fillLocked(r *rendition) {
	for _, o := range m.renditions {
		if o == r || !o.active || !o.timed || r.came.Sub(o.came) < stallSilence {
			continue
		}
		// A track that is further ahead than maxGap has another clock now.
		if ahead := r.newest.Sub(o.reach()); ahead > stallAfter && ahead < maxGap {
			o.fill(r.newest.Add(-stallAfter))
		}
	}
}

// joined makes a rendition known that has its first segment now.
func (m *Muxer) joined(r *rendition) {
	for _, o := range m.renditions {
		if o != r && !o.empty() && !o.ended && !m.closed {
			o.publish() // with a report on r
		}
	}
	m.renderMultivariant()
}

// Ready is closed when every track has its first segment, or the first ones
// have waited long enough for the rest: three seconds, eleven for the picture.
func (m *Muxer) Ready() <-chan struct{} { return m.ready }

// Done is closed by Close.
func (m *Muxer) Done() <-chan struct{} { return m.done }
