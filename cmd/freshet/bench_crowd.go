package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/freshet-live/freshet/cmd/internal/boot"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/session"
	"github.com/freshet-live/freshet/moq/transport"
)

// stamp is the beginning of a payload.
type stamp struct {
	sent   int64 // Unix nanoseconds
	number uint64
}

const stampSize = 16

func (s stamp) put(b []byte) {
	binary.BigEndian.PutUint64(b, uint64(s.sent))
	binary.BigEndian.PutUint64(b[8:], s.number)
}

func readStamp(b []byte) (stamp, error) {
	if len(b) < stampSize {
		return stamp{}, fmt.Errorf("an object of %d bytes is not from a bench publisher", len(b))
	}
	return stamp{sent: int64(binary.BigEndian.Uint64(b)), number: binary.BigEndian.Uint64(b[8:])}, nil
}

// crowd are the viewers of a measurement.
type crowd struct {
	cfg     *benchConfig
	runID   string
	log     *slog.Logger
	viewers []*viewer

	joined    chan struct{} // a value for each viewer that has joined all tracks
	failed    chan error
	measuring atomic.Bool
}

// viewer counts what one session receives. It is written by the goroutines
// of its tracks, each of which has its own followed.
type viewer struct {
	tracks []*followed
}

// followed counts what one viewer receives of one Track.
type followed struct {
	mu       sync.Mutex
	received uint64   // distinct Objects
	seen     []uint64 // a bit for each number
	first    uint64   // number of the first Object
	last     uint64   // largest number received
	any      bool
	bytes    uint64        // while measuring
	latency  []float32     // milliseconds, while measuring
	join     time.Duration // from the request to the first whole Object
}

// joinsAtOnce bounds how many viewers shake hands at one time, so that
// join_ms measures the relay and not the queue for two cores.
const joinsAtOnce = 8

func newCrowd(c *benchConfig, run string, log *slog.Logger) *crowd {
	return &crowd{cfg: c, runID: run, log: log, joined: make(chan struct{}, c.viewers), failed: make(chan error, c.viewers)}
}

// run watches until ctx ends. It owns a goroutine for each viewer and three
// for each of its tracks.
func (c *crowd) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	tickets := make(chan struct{}, joinsAtOnce)
	for range c.cfg.viewers {
		v := new(viewer)
		for range profiles[c.cfg.profile] {
			v.tracks = append(v.tracks, new(followed))
		}
		c.viewers = append(c.viewers, v)
	}
	for i, v := range c.viewers {
		select {
		case tickets <- struct{}{}:
		case <-ctx.Done():
			return
		}
		wg.Go(func() {
			release := sync.OnceFunc(func() { <-tickets })
			defer release()
			if err := c.watch(ctx, v, i%c.cfg.broadcasts, release); err != nil && ctx.Err() == nil {
				c.fail(fmt.Errorf("viewer %d: %w", i, err))
			}
		})
	}
}

// fail reports why a viewer ended: while viewers join it ends the
// measurement, later it is logged and what the viewer misses is lost.
func (c *crowd) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
	c.log.Warn("a viewer ended", "error", err)
}

// watch runs one viewer until ctx ends; joined is called once every track
// has given an Object.
func (c *crowd) watch(ctx context.Context, v *viewer, broadcast int, joined func()) error {
	conn, err := transport.Dial(ctx, c.cfg.target, transport.DialConfig{Trust: c.cfg.client.trust, Protocols: c.cfg.client.protocols()})
	if err != nil {
		return err
	}
	s := session.New(conn, session.RoleClient, session.Config{Token: c.cfg.client.token, Implementation: "freshet-bench/" + boot.Version, Logger: c.log})
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	wg.Go(func() { cancel(s.Run(ctx)) })
	select {
	case <-s.Ready():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	firsts := make(chan struct{}, len(v.tracks))
	for i, f := range profiles[c.cfg.profile] {
		name := moq.FullTrackName{Namespace: moq.Namespace{"bench", c.runID, fmt.Sprint(broadcast)}, Track: f.name}
		wg.Go(func() {
			if err := c.follow(ctx, s, name, v.tracks[i], firsts); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	for range v.tracks {
		select {
		case <-firsts:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	joined()
	c.joined <- struct{}{}
	<-ctx.Done()
	return context.Cause(ctx)
}

// viewerRetention keeps the memory of a thousand viewers in one process
// small. An Object is read as it comes; what an overloaded machine delivers
// later than this after a newer Group began counts as lost.
var viewerRetention = moq.Retention{Age: 5 * time.Second}

// follow counts the Objects of one Track until it ends.
func (c *crowd) follow(ctx context.Context, s *session.Session, name moq.FullTrackName, f *followed, first chan<- struct{}) error {
	asked := time.Now()
	var w *moq.TrackWriter
	sub, err := s.Subscribe(ctx, name, session.SubscribeOptions{
		Join: true, RendezvousTimeout: 5 * time.Second,
		Into: func(p moq.Properties) (*moq.TrackWriter, error) {
			w = moq.NewTrack(name, moq.TrackConfig{Properties: p, Retention: viewerRetention})
			return w, nil
		},
	})
	if err != nil {
		return err
	}
	defer sub.Close()
	r := sub.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
	defer r.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		select {
		case <-sub.Done():
		case <-ctx.Done():
		}
		w.End(nil)
	})
	for {
		g, err := r.NextSubgroup(ctx)
		if errors.Is(err, moq.ErrTooFarBehind) {
			continue // its Objects count as lost
		}
		if err != nil {
			return nil // the track has ended
		}
		wg.Go(func() {
			for {
				o, err := g.Next(ctx)
				if err != nil {
					return
				}
				p, err := o.ReadAll(ctx)
				if err != nil {
					return
				}
				st, err := readStamp(p)
				if err != nil {
					c.fail(err)
					return
				}
				if f.count(st, len(p), c.measuring.Load(), asked) {
					first <- struct{}{}
				}
			}
		})
	}
}

// count takes one Object and reports whether it was the first.
func (f *followed) count(s stamp, size int, measuring bool, asked time.Time) (first bool) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.markLocked(s.number) {
		f.received++
	}
	if first = !f.any; first {
		f.any, f.first, f.last, f.join = true, s.number, s.number, now.Sub(asked)
	}
	f.first, f.last = min(f.first, s.number), max(f.last, s.number)
	if measuring {
		f.bytes += uint64(size)
		f.latency = append(f.latency, float32(now.UnixNano()-s.sent)/1e6)
	}
	return first
}

// markLocked notes a number and reports whether it is new. Publishers count
// from 0, so a bit for each number is a few hundred bytes a minute.
func (f *followed) markLocked(number uint64) bool {
	word, bit := number/64, uint64(1)<<(number%64)
	if word > maxObjects/64 {
		return false
	}
	for uint64(len(f.seen)) <= word {
		f.seen = append(f.seen, 0)
	}
	fresh := f.seen[word]&bit == 0
	f.seen[word] |= bit
	return fresh
}

// maxObjects bounds the numbers that are believed: a week of 50 a second.
const maxObjects = 32 << 20

// joinTimeout bounds the time until all viewers have joined.
const joinTimeout = 2 * time.Minute

func (c *crowd) awaitJoined(ctx context.Context) error {
	timer := time.NewTimer(joinTimeout)
	defer timer.Stop()
	for n := range c.cfg.viewers {
		select {
		case <-c.joined:
		case err := <-c.failed:
			return err
		case <-timer.C:
			return fmt.Errorf("only %d of %d viewers joined within %v", n, c.cfg.viewers, joinTimeout)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (c *crowd) measure() { c.measuring.Store(true) }
func (c *crowd) rest()    { c.measuring.Store(false) }

// drain waits until nothing more comes, or the limit.
func (c *crowd) drain(ctx context.Context, limit time.Duration) {
	end := time.Now().Add(limit)
	for last := uint64(0); time.Now().Before(end); {
		now := c.total()
		if now == last {
			return
		}
		last = now
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

func (c *crowd) total() (n uint64) {
	for _, v := range c.viewers {
		for _, f := range v.tracks {
			f.mu.Lock()
			n += f.received
			f.mu.Unlock()
		}
	}
	return n
}

// result adds up. An Object is lost when a viewer that had joined did not
// get it: when it lies between his first Object and the last one that
// anybody got.
func (c *crowd) result() *benchResult {
	r := new(benchResult)
	var latency []float32
	var joins []float32
	last := make(map[[2]int]uint64)
	at := func(viewer, track int) [2]int { return [2]int{viewer % c.cfg.broadcasts, track} }
	for i, v := range c.viewers {
		for j, f := range v.tracks {
			last[at(i, j)] = max(last[at(i, j)], f.last)
		}
	}
	var bytes uint64
	for i, v := range c.viewers {
		var join time.Duration
		for j, f := range v.tracks {
			r.ObjectsReceived += f.received
			r.ObjectsExpected += last[at(i, j)] - f.first + 1
			bytes += f.bytes
			latency = append(latency, f.latency...)
			join = max(join, f.join)
		}
		joins = append(joins, float32(join.Microseconds())/1000)
	}
	r.ObjectsLost = r.ObjectsExpected - min(r.ObjectsReceived, r.ObjectsExpected)
	r.DeliveredGbit = float64(bytes) * 8 / 1e9
	slices.Sort(latency)
	slices.Sort(joins)
	r.LatencyMS = quantiles{quantile(latency, 0.5), quantile(latency, 0.9), quantile(latency, 0.99), quantile(latency, 0.999), quantile(latency, 1)}
	r.JoinMS = joinMS{quantile(joins, 0.5), quantile(joins, 0.99)}
	return r
}

// quantile reads a sorted list.
func quantile(sorted []float32, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := min(int(q*float64(len(sorted))), len(sorted)-1)
	return float64(int(sorted[i]*1000)) / 1000
}
