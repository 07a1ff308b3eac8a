package hls

import (
	"context"
	"errors"
	"time"

	"github.com/freshet-live/freshet/media/unpack"
	"github.com/freshet-live/freshet/moq"
)

const (
	// eventsRetry is how long to leave a Track of events alone that there is
	// none of, or that ended; it doubles up to eventsRetryMax.
	eventsRetry    = 2 * time.Second
	eventsRetryMax = 30 * time.Second
	// eventsStall is how long a Group that is not complete is waited for while
	// a newer one exists.
	eventsStall = 5 * time.Second
)

// FollowEvents hands the events of a Track to m until ctx is done: every
// Object is one, from the current Group on. It waits for a Track that does not
// exist, and for one that ended to come back.
func (m *Muxer) FollowEvents(ctx context.Context, sub unpack.Subscriber, name moq.FullTrackName) {
	pause := eventsRetry
	for {
		t, release, err := sub.Subscribe(ctx, name)
		if err == nil {
			if m.readEvents(ctx, t) {
				pause = eventsRetry
			}
			release()
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		pause = min(2*pause, eventsRetryMax)
	}
}

// readEvents reads a Track to its end and returns whether it had anything.
func (m *Muxer) readEvents(ctx context.Context, t *moq.Track) (any bool) {
	r := t.NewReader(moq.ReaderConfig{Start: moq.StartCurrentGroup})
	defer r.Close()
	for {
		g, err := r.NextGroup(ctx)
		if errors.Is(err, moq.ErrTooFarBehind) {
			continue
		}
		if err != nil {
			return any
		}
		for {
			o, err := nextEvent(ctx, t, g)
			if err != nil {
				break // its end, or what is left of it is lost
			}
			if o.Status != moq.StatusNormal || o.Size > MaxEventSize {
				continue
			}
			b, err := o.ReadAll(ctx)
			if err != nil {
				break
			}
			any = true
			if err := m.AddEvent(b); err != nil {
				m.cfg.Logger.Debug("hls: event", "track", t.Name().String(), "error", err)
			}
		}
	}
}

// errStalled: a newer Group exists, and this one makes no progress.
var errStalled = errors.New("hls: group stalled")

// nextEvent waits for the next Object of a Group.
func nextEvent(ctx context.Context, t *moq.Track, g *moq.GroupReader) (*moq.Object, error) {
	for {
		attempt, cancel := context.WithTimeout(ctx, eventsStall)
		o, err := g.Next(attempt)
		stalled := attempt.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !stalled {
			return o, err
		}
		if largest, ok := t.Largest(); ok && largest.Group > g.ID() {
			return nil, errStalled
		}
	}
}
