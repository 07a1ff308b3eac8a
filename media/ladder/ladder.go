package ladder

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/freshet-live/freshet/media/packager"
)

// Config of a Ladder; zero fields mean their defaults.
type Config struct {
	// FFmpeg is the name or path of the program, version 5.1 or newer; "ffmpeg"
	// by default.
	FFmpeg string
	// Rungs are the renditions by the length of the shorter side in pixels;
	// DefaultRungs by default. Those not below the source's are left out.
	Rungs []int
	// Linger is how long ffmpeg goes on without readers; 10 s by default, which
	// is less than it takes a player to come back from a pause.
	Linger time.Duration
	// Limit is how many broadcasts have an ffmpeg at a time, since whoever may
	// watch can start one; 16 by default. The others wait for their turn.
	Limit  int
	Logger *slog.Logger

	firstPause time.Duration // before a failed ffmpeg is started again
	patience   time.Duration // with one that yields nothing
	glance     time.Duration // between looks at the publisher's layers
}

// defaultLimit is more than any machine of today encodes for at a time.
const defaultLimit = 16

// Ladder makes renditions of all broadcasts that it is given.
type Ladder struct {
	cfg   Config
	wake  chan struct{} // of Run, for what is in fresh
	slots chan struct{} // taken by running processes

	mu    sync.Mutex
	fresh []*packager.Broadcast
	over  bool // Run takes nothing any more
}

// New makes a Ladder, which starts nothing before Run.
func New(cfg Config) *Ladder {
	cfg.FFmpeg = cmp.Or(cfg.FFmpeg, "ffmpeg")
	cfg.Linger = cmp.Or(cfg.Linger, 10*time.Second)
	cfg.Limit = cmp.Or(cfg.Limit, defaultLimit)
	cfg.firstPause = cmp.Or(cfg.firstPause, minBackoff)
	cfg.glance = cmp.Or(cfg.glance, glance)
	cfg.patience = cmp.Or(cfg.patience, maxSilence)
	if len(cfg.Rungs) == 0 {
		cfg.Rungs = DefaultRungs
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Ladder{cfg: cfg, wake: make(chan struct{}, 1), slots: make(chan struct{}, cfg.Limit)}
}

// Add gives b a ladder until b is closed. It does not wait, and does nothing
// after the end of Run.
func (l *Ladder) Add(b *packager.Broadcast) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over {
		return
	}
	l.fresh = append(l.fresh, b)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// take returns what has been added since.
func (l *Ladder) take() []*packager.Broadcast {
	l.mu.Lock()
	defer l.mu.Unlock()
	fresh := l.fresh
	l.fresh = nil
	return fresh
}

func (l *Ladder) refuse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over, l.fresh = true, nil
}

// Run makes renditions until ctx is done. It owns the goroutines and the ffmpeg
// process of each broadcast, and returns after the last of them has ended.
// Without a usable ffmpeg it says so in the log, and no broadcast gets a
// ladder; that is no error.
func (l *Ladder) Run(ctx context.Context) error {
	defer l.refuse()
	path, err := find(ctx, l.cfg.FFmpeg)
	if err != nil {
		if ctx.Err() == nil {
			l.cfg.Logger.Error("no renditions are made: ffmpeg cannot be used", "ffmpeg", l.cfg.FFmpeg, "error", err)
		}
		l.refuse()
		<-ctx.Done()
		return nil
	}
	l.cfg.Logger.Info("renditions are made when wanted", "ffmpeg", path, "heights", l.cfg.Rungs)
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		for _, b := range l.take() {
			wg.Go(func() { newStaircase(l.cfg, path, l.slots, b).run(ctx) })
		}
		select {
		case <-l.wake:
		case <-ctx.Done():
			return nil
		}
	}
}
