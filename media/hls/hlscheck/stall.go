package hlscheck

import (
	"context"
	"sync"
	"time"
)

// stalls watches whether the checker itself runs in time. On a machine that
// does not let it run, what comes late proves nothing about the server.
type stalls struct {
	mu    sync.Mutex
	last  time.Time // tick
	spans []span    // the last maxSpans
	worst time.Duration
	count int
}

type span struct{ from, to time.Time }

const (
	stallTick = 50 * time.Millisecond
	// stallLate is how late a tick may be: a few slices of a busy scheduler.
	stallLate = 200 * time.Millisecond
	// stallAfter is how long the effects of a stall last: queues drain.
	stallAfter = 3 * time.Second
	maxSpans   = 256
)

// watch runs until ctx is done.
func (s *stalls) watch(ctx context.Context) {
	t := time.NewTicker(stallTick)
	defer t.Stop()
	for last := time.Now(); ; {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		now := time.Now()
		s.mu.Lock()
		s.last = now
		if late := now.Sub(last) - stallTick; late > stallLate {
			s.count++
			s.worst = max(s.worst, late)
			s.spans = append(s.spans, span{last, now})
			if len(s.spans) > maxSpans {
				s.spans = append(s.spans[:0], s.spans[1:]...)
			}
		}
		s.mu.Unlock()
		last = now
	}
}

// during tells whether the checker was held up between then and now, or
// shortly before.
func (s *stalls) during(then time.Time) bool {
	s.mu.Lock()
	if time.Since(s.last) > 2*stallTick {
		// One that is only just over has not been noticed yet.
		s.mu.Unlock()
		time.Sleep(2 * stallTick)
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	for i := len(s.spans) - 1; i >= 0; i-- {
		if s.spans[i].to.Add(stallAfter).After(then) {
			return true
		}
	}
	return false
}

// late reports a violation of a rule about time that began at then, unless
// the checker was held up meanwhile.
func (r *run) late(rule *Rule, then time.Time, at site, format string, args ...any) {
	if !r.stalls.during(then) {
		r.sink.add(rule, at, format, args...)
	}
}

// stalled notes how often the checker was held up.
func (r *run) stalled(rawURL string) {
	r.stalls.mu.Lock()
	defer r.stalls.mu.Unlock()
	if r.stalls.count > 0 {
		r.sink.add(ruleNotLooked, site{rawURL + "#stalls", "", 0}, "the checker itself was held up %d times, for %v at worst; what came late around then is not judged",
			r.stalls.count, r.stalls.worst.Round(time.Millisecond))
	}
}
