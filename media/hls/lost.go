package hls

import (
	"context"
	"sync"
	"time"

	"github.com/freshet-live/freshet/media/unpack"
)

const (
	// lostSilence is how long no frame of any track has to come before the
	// publisher is looked for, and how often that is done from then on.
	lostSilence = 2 * time.Second
	// lostPatience is how long the answer may take.
	lostPatience = 5 * time.Second
)

// feed feeds b to the muxer until the broadcast has ended, or until its
// publisher has been lost for RestartGrace. It returns since when there is
// nobody.
//
// The end of the tracks alone would not do. A relay keeps those open whose
// publisher it has lost, for half a minute, so that its subscribers need not
// notice a way that fails; then unpack waits too; and only then would the
// grace begin.
func (s *Server) feed(ctx context.Context, rm *room, b *unpack.Broadcast) (gone time.Time) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		gone = s.watch(ctx, rm, b)
	})
	_ = rm.muxer.Feed(ctx, b) // fails when ctx is done, which the caller sees
	cancel()
	wg.Wait()
	if gone.IsZero() {
		gone = time.Now()
	}
	return gone
}

// watch returns when the publisher of b has been lost for RestartGrace, or ctx
// is done, and since when it is lost; zero if it is not. Who is silent is not
// lost: a newcomer would find the broadcast.
func (s *Server) watch(ctx context.Context, rm *room, b *unpack.Broadcast) (lost time.Time) {
	tick := time.NewTicker(lostSilence)
	defer tick.Stop()
	var heard time.Time
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return lost
		}
		if h := rm.muxer.heard(); !h.Equal(heard) {
			heard, lost = h, time.Time{}
			continue
		}
		ask, cancel := context.WithTimeout(ctx, lostPatience)
		err := b.Reachable(ask)
		cancel()
		switch {
		case ctx.Err() != nil:
			return lost
		case err == nil:
			lost = time.Time{}
		case lost.IsZero():
			s.cfg.Logger.Info("hls: lost the publisher", "room", rm.name, "error", err)
			lost = time.Now()
		case time.Since(lost) >= s.cfg.RestartGrace:
			return lost
		}
	}
}

// heard returns when the last frame of any track came.
func (m *Muxer) heard() (last time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.renditions {
		if r.came.After(last) {
			last = r.came
		}
	}
	return last
}
