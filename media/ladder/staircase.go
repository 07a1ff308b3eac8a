package ladder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/media/packager"
	"github.com/freshet-live/freshet/media/unpack"
	"github.com/freshet-live/freshet/moq"
)

const (
	// settle is how long the layers of a simulcast may take to appear, so that
	// no rendition repeats one of them.
	settle = 500 * time.Millisecond
	// minBackoff and maxBackoff bound the pause before a failed ffmpeg is
	// started again; it doubles with each failure.
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
	// healthy is how long a run lasts that makes the failures before it
	// forgotten.
	healthy = 20 * time.Second
	// maxSilence is how long ffmpeg may yield nothing while its sources go on.
	maxSilence = 15 * time.Second
	// maxBarren is how many runs in a row may yield nothing before the
	// renditions are given up.
	maxBarren = 5
)

// errGivenUp ends the Tracks of renditions that ffmpeg cannot make.
var errGivenUp = errors.New("ladder: ffmpeg cannot make this rendition")

// Errors that end a run of ffmpeg without anything being wrong.
var (
	errUnused = errors.New("ladder: nobody reads a rendition")
	errFormat = errors.New("ladder: the format of a source has changed")
	errMore   = errors.New("ladder: there are more renditions to make")
)

// rung is one rendition.
type rung struct {
	name   string
	source string // name of the track it is made of
	format media.Format
	out    *packager.Derived
}

// origin is common to the rungs that are made of the same frames: all of video,
// whose source is whichever layer is chosen, and those of one audio track.
func (r *rung) origin() string {
	if r.format.Kind() == media.Video {
		return ""
	}
	return r.source
}

// staircase makes the renditions of one broadcast.
type staircase struct {
	cfg   Config
	path  string        // of ffmpeg
	slots chan struct{} // of all staircases
	b     *packager.Broadcast
	in    *unpack.Broadcast
	log   *slog.Logger

	readers atomic.Int64  // of all rungs
	changed chan struct{} // readers may be another number; of transcode and run

	mu    sync.Mutex
	rungs []*rung
}

func newStaircase(cfg Config, path string, slots chan struct{}, b *packager.Broadcast) *staircase {
	return &staircase{
		cfg: cfg, path: path, slots: slots, b: b, changed: make(chan struct{}, 1),
		log: cfg.Logger.With("namespace", b.Broadcast().Namespace().String()),
	}
}

// local subscribes to the broadcast itself.
type local struct{ b *moq.Broadcast }

// Subscribe implements unpack.Subscriber.
func (l local) Subscribe(_ context.Context, name moq.FullTrackName) (*moq.Track, func(), error) {
	t, ok := l.b.Track(name.Track)
	if !ok {
		return nil, nil, fmt.Errorf("%w: %q", unpack.ErrNoTrack, name.Track)
	}
	return t, func() {}, nil
}

// run returns when the broadcast has ended or ctx is done. It owns a goroutine
// that follows the catalog, one for the demand of each rung, one that waits for
// the broadcast's end, and those of transcode.
func (s *staircase) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer func() {
		cancel()
		wg.Wait()
		if s.in != nil {
			s.in.Close()
		}
	}()
	wg.Go(func() {
		select {
		case <-s.b.Broadcast().Done():
			cancel()
		case <-ctx.Done():
		}
	})
	var err error
	if s.in, err = unpack.Open(ctx, local{s.b.Broadcast()}, s.b.Broadcast().Namespace()); err != nil {
		return // it ended before it began
	}
	wg.Go(func() { s.follow(ctx, &wg) })

	barren, pause := 0, s.cfg.firstPause
	for {
		if err := s.awaitDemand(ctx); err != nil {
			return
		}
		if err := s.acquire(ctx); err != nil {
			return
		}
		began := time.Now()
		frames, err := s.transcode(ctx)
		<-s.slots
		for _, r := range s.made() {
			r.out.Interrupt()
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errUnused):
			s.log.Info("renditions stop: nobody reads them")
			barren, pause = 0, s.cfg.firstPause
			continue
		case (errors.Is(err, errFormat) || errors.Is(err, errMore) || errors.Is(err, errSource)) && frames > 0:
			continue
		}
		if time.Since(began) >= healthy {
			pause = s.cfg.firstPause
		}
		if barren++; frames > 0 {
			barren = 0
		}
		if barren == maxBarren {
			s.log.Error("renditions are given up", "error", err)
			for _, r := range s.made() {
				r.out.Withdraw(errGivenUp)
			}
			return
		}
		s.log.Warn("renditions failed", "error", err, "again_in", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, maxBackoff)
	}
}

// acquire waits for a process to be allowed.
func (s *staircase) acquire(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	s.log.Warn("renditions wait: as many broadcasts as are allowed have theirs made", "limit", cap(s.slots))
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// made returns the rungs that exist.
func (s *staircase) made() []*rung {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rungs[:len(s.rungs):len(s.rungs)]
}

// follow declares rungs as the catalog makes them possible, until ctx is done.
// It adds a goroutine to wg for each.
func (s *staircase) follow(ctx context.Context, wg *sync.WaitGroup) {
	settling, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for settling.Err() == nil {
		if _, err := s.in.Next(settling); err != nil {
			break
		}
	}
	for c := s.in.Catalog(); ctx.Err() == nil; {
		if err := s.declare(ctx, wg, &c); err != nil {
			if errors.Is(err, packager.ErrEnded) {
				return
			}
			s.log.Warn("a rendition cannot be announced", "error", err)
			return
		}
		var err error
		if c, err = s.in.Next(ctx); err != nil {
			return
		}
	}
}

// declare adds the rungs that c allows and that are not there yet. What has
// been announced stays, whatever the source does later: players have chosen
// from it.
func (s *staircase) declare(ctx context.Context, wg *sync.WaitGroup, c *catalog.Catalog) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[string]bool)
	for _, r := range s.rungs {
		known[r.name] = true
	}
	add := func(r *rung) error {
		if known[r.name] {
			return nil
		}
		out, err := s.b.AddDerived(r.name, r.source, r.format)
		if err != nil {
			return fmt.Errorf("rendition %s: %w", r.name, err)
		}
		r.out = out
		s.rungs = append(s.rungs, r)
		s.signal()
		wg.Go(func() { s.watch(ctx, r) })
		return nil
	}
	tallest := tallest(c, known)
	if tallest != nil {
		for _, height := range s.cfg.Rungs {
			if height >= short(&tallest.Format) || layered(c, known, height) {
				continue
			}
			r := &rung{name: fmt.Sprintf("%dp", height), source: tallest.Name, format: videoFormat(&tallest.Format, height)}
			if err := add(r); err != nil {
				return err
			}
		}
	}
	for i := range c.Tracks {
		t := &c.Tracks[i]
		if t.Packaging != catalog.LOC || t.Format.Codec != media.Opus {
			continue
		}
		f, err := audioFormat(&t.Format)
		if err != nil {
			return err
		}
		if err := add(&rung{name: t.Name + "-aac", source: t.Name, format: f}); err != nil {
			return err
		}
	}
	return nil
}

// tallest returns the largest video track that is none of the rungs, nil when
// there is none.
func tallest(c *catalog.Catalog, rungs map[string]bool) (best *catalog.Track) {
	for i := range c.Tracks {
		if t := &c.Tracks[i]; isSource(t, rungs) && (best == nil || short(&t.Format) > short(&best.Format)) {
			best = t
		}
	}
	return best
}

// layered tells whether the publisher sends a layer of about that height.
func layered(c *catalog.Catalog, rungs map[string]bool, height int) bool {
	for i := range c.Tracks {
		if t := &c.Tracks[i]; isSource(t, rungs) {
			if d := short(&t.Format) - height; max(d, -d)*20 <= height {
				return true
			}
		}
	}
	return false
}

func isSource(t *catalog.Track, rungs map[string]bool) bool {
	return t.Packaging == catalog.LOC && t.Format.Kind() == media.Video && short(&t.Format) > 0 && !rungs[t.Name]
}

// watch counts the readers of a rung until its Track has ended, and passes
// their wishes for a new Group on to the source.
func (s *staircase) watch(ctx context.Context, r *rung) {
	var had moq.Demand
	for {
		has, err := r.out.NextDemand(ctx, had)
		if err != nil {
			has = moq.Demand{}
		}
		s.readers.Add(int64(has.Readers - had.Readers))
		s.signal()
		if err != nil {
			return
		}
		if has.NewGroup > had.NewGroup {
			// IDs are the same on both, so it is the request that the
			// source would have got.
			name := r.source
			if r.format.Kind() == media.Video {
				name = s.choose()
			}
			if t, ok := s.b.Broadcast().Track(name); ok {
				t.RequestNewGroup(has.NewGroup)
			}
		}
		had = has
	}
}

func (s *staircase) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// awaitDemand waits for a reader of any rung.
func (s *staircase) awaitDemand(ctx context.Context) error {
	for s.readers.Load() == 0 {
		select {
		case <-s.changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return ctx.Err()
}

// awaitChange waits until nobody has read a rung for the time of Linger, and
// returns errUnused then, or until there are more than count rungs, and returns
// errMore.
func (s *staircase) awaitChange(ctx context.Context, count int) error {
	var linger <-chan time.Time // nil while somebody reads
	for {
		if len(s.made()) > count {
			return errMore
		}
		switch unread := s.readers.Load() == 0; {
		case !unread:
			linger = nil
		case linger == nil:
			linger = time.After(s.cfg.Linger)
		}
		select {
		case <-s.changed:
		case <-linger:
			return errUnused
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
