package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// The video of `freshet bench`: 30 frames a second of 16 KiB on average, the
// first of each second five times as large as the others.
const (
	frameRate = 30
	frameSize = 16 << 10 * frameRate / (frameRate + 4)
	keySize   = 5 * frameSize
)

// audience are the arguments of a watcher: server address, number of viewers,
// duration and the server's pid.
type audience struct {
	addr    string
	viewers int
	length  time.Duration
	pid     int
}

func parseAudience(args []string) (a audience, err error) {
	if len(args) != 4 {
		return a, fmt.Errorf("a watcher wants ADDRESS VIEWERS DURATION PID, not %q", args)
	}
	a.addr = args[0]
	if a.viewers, err = strconv.Atoi(args[1]); err != nil {
		return a, err
	}
	if a.length, err = time.ParseDuration(args[2]); err != nil {
		return a, err
	}
	a.pid, err = strconv.Atoi(args[3])
	return a, err
}

// meter counts what all viewers receive.
type meter struct {
	bytes  atomic.Uint64
	joined chan struct{} // a value for each viewer that gets something
}

// joinsAtOnce is as in `freshet bench`.
const joinsAtOnce = 8

// measure runs view for each viewer and prints the load once all have joined
// and the time is over. view returns when ctx ends, or with an error.
func (a audience) measure(ctx context.Context, out io.Writer, view func(ctx context.Context, m *meter, joined func()) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	m := &meter{joined: make(chan struct{}, a.viewers)}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	tickets := make(chan struct{}, joinsAtOnce)
	wg.Go(func() {
		for range a.viewers {
			select {
			case tickets <- struct{}{}:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				joined := sync.OnceFunc(func() { <-tickets; m.joined <- struct{}{} })
				if err := view(ctx, m, joined); err != nil && ctx.Err() == nil {
					cancel(err)
				}
			})
		}
	})
	for range a.viewers {
		select {
		case <-m.joined:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	cpu, err := cpuSeconds(a.pid)
	if err != nil {
		return err
	}
	begun, bytes := time.Now(), m.bytes.Load()
	select {
	case <-time.After(a.length):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	end, err := cpuSeconds(a.pid)
	if err != nil {
		return err
	}
	r := load{Seconds: time.Since(begun).Seconds(), DeliveredGbit: float64(m.bytes.Load()-bytes) * 8 / 1e9, CPUSeconds: end - cpu}
	if r.DeliveredGbit == 0 {
		return fmt.Errorf("nothing was delivered to %d viewers", a.viewers)
	}
	r.CPUPerGbit = r.CPUSeconds / r.DeliveredGbit
	return json.NewEncoder(out).Encode(r)
}

// ticker calls frame at the frame rate until ctx ends; n counts from 0.
func everyFrame(ctx context.Context, frame func(n int)) {
	begun := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; n++ {
		timer.Reset(time.Until(begun.Add(time.Duration(n) * time.Second / frameRate)))
		select {
		case <-timer.C:
			frame(n)
		case <-ctx.Done():
			return
		}
	}
}

// untilClosed returns a context that ends when in does: a process ends with
// the one that has started it.
func untilClosed(ctx context.Context, in io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, in)
	}()
	return ctx, cancel
}
