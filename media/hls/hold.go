package hls

import (
	"context"
	"time"
)

// holdInterval is how long Hold rests before it looks again for a broadcast
// that it did not find.
const holdInterval = 2 * time.Second

// Hold muxes a broadcast until ctx is done, whether or not somebody watches,
// so that the past is there for those who come later: the room's own, or with
// a member that one's. It is for a broadcast
// that is known to be live, and goes on with the next one of the same name.
// It owns no goroutine.
func (s *Server) Hold(ctx context.Context, room, member string) {
	id := broadcast{room, member}
	told := false
	for ctx.Err() == nil {
		rm, err := s.acquire(id, true)
		if err != nil {
			if err == errTooMany && !told {
				told = true
				s.cfg.Logger.Warn("hls: not muxed from its start: there are too many rooms", "room", id.String())
			}
			rest(ctx, holdInterval)
			continue
		}
		if rm.over() {
			rm = s.renew(ctx, rm)
		}
		select {
		case <-ctx.Done():
		case <-rm.failed:
			rest(ctx, holdInterval)
		case <-rm.muxer.Done():
			rest(ctx, holdInterval)
		}
		s.release(rm)
	}
}

// rest waits for d or until ctx is done.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
