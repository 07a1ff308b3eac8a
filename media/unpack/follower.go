package unpack

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/freshet-live/freshet/moq"
)

// maxMissingGroups tells a hole from a publisher that began anew: Group IDs
// then jump to the Unix time in milliseconds.
const maxMissingGroups = 1000

// follower keeps a reader on a Track, across the loss of its publisher.
type follower struct {
	sub  Subscriber
	name moq.FullTrackName

	track   *moq.Track
	release func()
	r       *moq.TrackReader
	fresh   bool   // r is new since reader was last called
	last    uint64 // the newest Group that was entered, when begun
	begun   bool
	ended   error

	lostAt time.Time // when the publisher was lost; zero while all is well
	tried  time.Time // when it was last subscribed to again
}

// open subscribes and begins at the current Group, or where the reader before
// left off if that is near.
func (f *follower) open(ctx context.Context) error {
	t, release, err := f.sub.Subscribe(ctx, f.name)
	if err != nil {
		return err
	}
	cfg := moq.ReaderConfig{Start: moq.StartCurrentGroup}
	if largest, ok := t.Largest(); ok && f.begun && largest.Group >= f.last && largest.Group-f.last <= maxMissingGroups {
		cfg = moq.ReaderConfig{Start: moq.StartAt, At: moq.Location{Group: f.last}}
	}
	f.track, f.release, f.fresh = t, release, true
	f.r = t.NewReader(cfg)
	return nil
}

// outOfReach tells whether a Group broke off because its publisher was lost.
func (f *follower) outOfReach(group uint64) bool {
	err := f.track.Err()
	largest, _ := f.track.Largest()
	return err != nil && err != io.EOF && largest.Group == group
}

// reopen subscribes again. A node may still have the Track that was lost; what
// it retains has been read.
func (f *follower) reopen(ctx context.Context) bool {
	if f.open(ctx) != nil {
		return false
	}
	if err := f.track.Err(); err != nil && err != io.EOF {
		f.drop()
		return false
	}
	return true
}

// nextGroup returns the next Group that has not been entered before. A
// publisher that began anew with smaller Group IDs is told from one that was
// merely out of reach by not having the newest Group that was read.
func (f *follower) nextGroup(ctx context.Context) (*moq.GroupReader, error) {
	for {
		g, err := f.r.NextGroup(ctx)
		if err != nil {
			return nil, err
		}
		if f.begun && g.ID() < f.last {
			if largest, ok := f.track.Largest(); ok && largest.Group >= f.last {
				continue
			}
		}
		f.last, f.begun, f.lostAt = g.ID(), true, time.Time{}
		return g, nil
	}
}

// close ends the subscription; reader then returns io.EOF.
func (f *follower) close() {
	f.drop()
	if f.ended == nil {
		f.ended = io.EOF
	}
}

func (f *follower) drop() {
	if f.r == nil {
		return
	}
	f.r.Close()
	f.release()
	f.r, f.release = nil, nil
}

// reader makes sure that there is a reader and tells whether it is another one
// than the last time. While the publisher is lost it tries to subscribe again,
// until ReturnWindow has passed; then it returns io.EOF.
func (f *follower) reader(ctx context.Context) (fresh bool, err error) {
	for f.r == nil && f.ended == nil {
		if time.Since(f.lostAt) > ReturnWindow {
			f.ended = io.EOF
			break
		}
		// A Track may be found and end at once, so the pause comes first.
		pause := time.NewTimer(time.Until(f.tried.Add(returnInterval)))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return false, context.Cause(ctx)
		}
		f.tried = time.Now()
		if f.reopen(ctx) {
			break
		}
	}
	if f.ended != nil {
		return false, f.ended
	}
	fresh, f.fresh = f.fresh, false
	return fresh, nil
}

// failed takes an error of the reader's NextGroup. It returns nil when reading
// may go on, else what to tell the caller.
func (f *follower) failed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, moq.ErrTooFarBehind):
		return nil
	case err == io.EOF:
		f.drop()
		f.ended = io.EOF
		return io.EOF
	}
	// The publisher was lost. The time counts until something is read again,
	// not until a Track is found, which may be the one that has ended.
	f.drop()
	if f.lostAt.IsZero() {
		f.lostAt = time.Now()
	}
	if time.Since(f.lostAt) > ReturnWindow {
		f.ended = io.EOF
		return io.EOF
	}
	return nil
}
