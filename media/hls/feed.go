package hls

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/media/unpack"
)

const (
	// retryInterval is how long a track that cannot be read is left alone.
	retryInterval = time.Second
	// drainTime is how long tracks may outlast the catalog of a broadcast.
	drainTime = 2 * time.Second
	// restartGroups is the jump of Group IDs that tells a restarted publisher
	// from lost Groups: a publisher starts with the milliseconds of its
	// clock, so IDs jump by a thousand per second since it started before.
	restartGroups = 300
)

// Feed reads a broadcast into m until it has ended, and returns nil then, or
// the cause of ctx's end. It owns one goroutine per track, and returns after
// the last of them. The caller closes b.
func (m *Muxer) Feed(ctx context.Context, b *unpack.Broadcast) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	running := make(map[string]context.CancelFunc)
	apply := func(c catalog.Catalog) {
		var tracks []Track
		offered := make(map[string]bool)
		for i := range c.Tracks {
			t := &c.Tracks[i]
			if t.Packaging == catalog.CMAF {
				continue // the same as another one's frames, in boxes
			}
			if Offered(t.Format.Codec) && !offered[t.Name] && len(tracks) < MaxTracks {
				offered[t.Name] = true
				tracks = append(tracks, Track{Name: t.Name, Format: t.Format})
			}
		}
		m.Start(tracks)
		for name, stop := range running {
			if !offered[name] {
				stop()
				delete(running, name)
			}
		}
		for _, t := range tracks {
			if running[t.Name] != nil {
				continue
			}
			trackCtx, stop := context.WithCancel(ctx)
			running[t.Name] = stop
			wg.Go(func() { m.pump(trackCtx, b, t.Name) })
		}
	}

	apply(b.Catalog())
	var err error
	for {
		var c catalog.Catalog
		if c, err = b.Next(ctx); err != nil {
			break
		}
		apply(c)
	}
	if errors.Is(err, io.EOF) {
		err = nil
		stop := time.AfterFunc(drainTime, cancel)
		defer stop.Stop()
	} else {
		cancel()
	}
	for _, stop := range running {
		defer stop()
	}
	wg.Wait()
	m.Stop()
	return err
}

// pump moves the frames of one track until ctx is done or the track ended.
func (m *Muxer) pump(ctx context.Context, b *unpack.Broadcast, name string) {
	for ctx.Err() == nil {
		r, err := b.Frames(ctx, name)
		if err == nil {
			err = m.copyFrames(ctx, r, name)
			r.Close()
		}
		if errors.Is(err, io.EOF) || errors.Is(err, unpack.ErrUnsupported) || ctx.Err() != nil {
			return
		}
		m.cfg.Logger.Warn("hls: track lost", "track", name, "error", err)
		select {
		case <-time.After(retryInterval):
		case <-ctx.Done():
		}
	}
}

func (m *Muxer) copyFrames(ctx context.Context, r *unpack.FrameReader, name string) error {
	last, first := m.group(name), true
	for {
		f, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if first && last > 0 && anew(last, f.Group) || f.Discontinuity && f.Group > last+restartGroups {
			m.Restart(name)
		}
		if first || f.Group != last {
			m.enter(name, f.Group)
		}
		last, first = f.Group, false
		if err := m.WriteFrame(name, f.Frame, f.Discontinuity); err != nil {
			return err
		}
	}
}

// anew tells whether a publisher that was at the Group last, when it was seen
// before, has started anew if a reader that has just subscribed finds it at
// another one. Some publishers begin with 0.
func anew(last, now uint64) bool {
	return now > last && now-last > restartGroups || now < last && last-now > restartGroups
}

// group returns the last Group of a track that was entered; 0 if that is
// unknown.
func (m *Muxer) group(track string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.renditionLocked(track); r != nil {
		return r.group
	}
	return 0
}

// enter takes note that the frames written next are of the given Group. It is
// kept with the parts: also who goes on with what is on disk knows then
// whether it is the same publisher that goes on.
func (m *Muxer) enter(track string, group uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.renditionLocked(track); r != nil {
		r.group = group
	}
}
