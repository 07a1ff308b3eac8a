package unpack

import (
	"context"
	"io"
	"time"

	"github.com/freshet-live/freshet/moq"
)

// follower keeps a reader on a Track, across the loss of its publisher.
type follower struct {
	sub  Subscriber
	name moq.FullTrackName

	track   *moq.Track
	release func()
	r       *moq.TrackReader
	fresh   bool // r is new since reader was last called
	ended   error

	lostAt time.Time // when the publisher was lost; zero while all is well
	tried  time.Time // when it was last subscribed to again
}

// open subscribes for the first time.
func (f *follower) open(ctx context.Context) error {
	t, release, err := f.sub.Subscribe(ctx, f.name)
	if err != nil {
		return err
	}
	f.track, f.release, f.fresh = t, release, true
	f.r = t.NewReader(moq.ReaderConfig{Start: moq.StartCurrentGroup})
	return nil
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

// reader returns the reader to use, and whether it is another one than the
// last time. While the publisher is lost it tries to subscribe again, until
// ReturnWindow has passed; then it returns io.EOF.
func (f *follower) reader(ctx context.Context) (r *moq.TrackReader, fresh bool, err error) {
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
			return nil, false, context.Cause(ctx)
		}
		f.tried = time.Now()
		if f.open(ctx) == nil {
			break
		}
	}
	if f.ended != nil {
		return nil, false, f.ended
	}
	fresh, f.fresh = f.fresh, false
	return f.r, fresh, nil
}

// failed takes an error of the reader's NextGroup. It returns nil when reading
// may go on, else what to tell the caller.
func (f *follower) failed(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return err
	case err == moq.ErrTooFarBehind:
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

// alive notes that something was read.
func (f *follower) alive() { f.lostAt = time.Time{} }
