package hls

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf"
	"github.com/freshet-live/freshet/media/hls/dvr"
)

// rendition is one track as HLS: the writer's state, which Muxer.mu guards,
// and what requests read without it (files, current, audio).
type rendition struct {
	m     *Muxer
	track string // name in the catalog
	path  string // folder of its URIs

	files   files
	current atomic.Pointer[version]
	showing sync.Mutex // guards replacing current
	audio   atomic.Bool

	// text is nil for pictures and sound. Whether it is, never changes; what it
	// points to is guarded by m.mu.
	text *captions

	// The rest is guarded by m.mu.
	active bool // the present broadcast has the track
	format *media.Format
	init   *initSegment
	seg    *segmenter
	clock  cmaf.Clock
	order  cmaf.Reorder
	timed  bool       // clock and order belong to the present timeline
	newest media.Time // highest presentation time ever written
	replay bool       // frames up to newest are from before: drop them
	filled bool       // the timeline ends with what fill made
	behind bool       // the timeline ends where that of another Muxer did
	primed bool       // while behind: order has seen a key frame
	still  []byte     // the last key frame
	keyAt  int64      // presentation time of the last key frame, in ticks; 0: none yet
	due    int64      // decode time of what fill adds next
	came   time.Time  // when the last frame was written
	group  uint64     // ID of the Group that it came in; 0: unknown
	last   int64      // highest presentation time of the timeline, in ticks
	offset int64      // presentation minus decode time at the last key frame

	startMSN  uint64 // of the first segment
	nextMSN   uint64
	nextPart  uint64     // number of the part after the hinted one
	hint      string     // file of the part to come
	coming    *openPart  // that part
	sequence  uint32     // of the last movie fragment
	listed    []*segment // closed, in the playlist
	retired   []*segment // no longer listed, still served
	open      *segment
	past      pastText     // of listed
	dates     listedEvents // room events in the playlist
	keys      *iframes     // nil: there is no I-frame playlist
	disc      uint64       // discontinuities before the next segment
	firstDis  uint64       // EXT-X-DISCONTINUITY-SEQUENCE
	duration  int64        // of listed, in nanoseconds
	bytes     int64        // of listed and retired
	peak      float64      // highest bit rate of a segment, bit/s
	announced float64      // highest BANDWIDTH ever listed
	rate      float64      // frames per second of the last segment
	ended     bool
	trimmed   bool     // a segment has left
	versions  uint64   // published so far
	log       *dvr.Log // nil: nothing is kept on disk

	// Of the chunks of coming.
	partBytes   int64
	partFrames  int
	independent bool // one has a key frame
	broken      bool // one could not be made
}

type initSegment struct {
	file string
	data []byte
}

func newRendition(m *Muxer, track, path string) *rendition {
	r := &rendition{m: m, track: track, path: path, startMSN: m.firstMSN, nextMSN: m.firstMSN, disc: m.disc, firstDis: m.disc}
	r.files.m = make(map[string]body)
	r.expect()
	r.current.Store(&version{next: make(chan struct{})})
	return r
}
