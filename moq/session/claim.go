package session

import (
	"context"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/wire"
)

// claims counts the subscriptions to each Track in which this end has one
// role. Session.mu guards it.
type claims map[string]int

// claim counts a subscription to a Track until release is called, for which
// once is enough and twice does no harm.
//
// Draft 18 allows one per Track and role: "If an endpoint receives a message
// attempting to establish a second subscription to a Track with the same role,
// it MUST fail that request with a DUPLICATE_SUBSCRIPTION error"
// (draft-ietf-moq-transport-18, section "Subscriptions"). A request that
// follows the end of another one can overtake that end, on its way on another
// stream; so with wait set a second one waits a while for the first to end.
func (s *Session) claim(ctx context.Context, c claims, name moq.FullTrackName, wait bool) (release func(), err error) {
	key := name.Key()
	var timeout <-chan time.Time
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.draft == wire.Draft18 && c[key] > 0 {
		if !wait {
			return nil, &RequestError{Code: wire.RequestDuplicateSubscription}
		}
		if timeout == nil {
			timeout = time.After(s.cfg.Limits.PendingTimeout)
		}
		moved := s.tableMove
		s.mu.Unlock()
		select {
		case <-moved:
		case <-timeout:
			wait = false
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		s.mu.Lock()
		if err != nil {
			return nil, err
		}
	}
	c[key]++
	released := false
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if released {
			return
		}
		released = true
		if c[key]--; c[key] == 0 {
			delete(c, key)
		}
		s.changedLocked()
	}, nil
}
