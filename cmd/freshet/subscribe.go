package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/freshet-live/freshet/cmd/internal/boot"
	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/media/cmaf"
	"github.com/freshet-live/freshet/media/unpack"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/session"
	"github.com/freshet-live/freshet/moq/wire"
)

func subscribe(args []string) int {
	const name = "freshet subscribe"
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	var c client
	c.flags(fs)
	room := fs.String("room", "demo", "`room` to watch")
	member := fs.String("member", "", "`member` whose broadcast to watch; empty for the room's own")
	format := fs.String("format", "stats", "stats: a line a second and track; fmp4: one track as fragmented MP4 on stdout")
	track := fs.String("track", "", "`name` of the track for fmp4; default the first video track, else the first audio track")
	duration := fs.Duration("duration", 0, "end after this time; 0 goes on until the broadcast ends")
	asJSON := fs.Bool("json", false, "print statistics as JSON")
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "Usage: %s URL [flags]\n\nURL is a node: https://host:4443, moqt://host:4443, or wss://host:4443 where UDP is blocked\n\n", name)
		fs.PrintDefaults()
	}
	urls, err := arguments(fs, args)
	if err == nil && len(urls) != 1 {
		err = fmt.Errorf("%w: one URL is wanted", boot.ErrUsage)
	}
	if err == nil && *format != "stats" && *format != "fmp4" {
		err = fmt.Errorf("%w: --format is stats or fmp4", boot.ErrUsage)
	}
	if err != nil {
		return boot.Exit(name, err)
	}
	ctx, stop := boot.Interruptible()
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, *duration, context.Canceled)
		defer cancel()
	}
	log, err := c.logger()
	if err != nil {
		return boot.Exit(name, err)
	}
	node, stopNode, err := c.connect(ctx, urls[0], log)
	if err != nil {
		return boot.Exit(name, err)
	}
	defer stopNode()
	ns := moq.Namespace{"live", *room}
	if *member != "" {
		ns = ns.Append(*member)
	}
	b, err := openBroadcast(ctx, node, ns)
	if err != nil {
		return boot.Exit(name, fmt.Errorf("%s: %w", ns, err))
	}
	defer b.Close()
	if *format == "fmp4" {
		return boot.Exit(name, writeMP4(ctx, b, *track, os.Stdout))
	}
	return boot.Exit(name, printStats(ctx, b, *asJSON, os.Stdout))
}

// broadcastWait is how long the tools wait for a broadcast to begin.
const broadcastWait = 15 * time.Second

// openBroadcast waits for a broadcast that may be about to begin.
func openBroadcast(ctx context.Context, sub unpack.Subscriber, ns moq.Namespace) (*unpack.Broadcast, error) {
	wait, cancel := context.WithTimeout(ctx, broadcastWait)
	defer cancel()
	for {
		b, err := unpack.Open(wait, sub, ns)
		if err == nil {
			return b, nil
		}
		var refused *session.RequestError
		if !errors.As(err, &refused) || refused.Code != wire.RequestDoesNotExist {
			return nil, err
		}
		select {
		case <-time.After(300 * time.Millisecond):
		case <-wait.Done():
			return nil, err
		}
	}
}

// readable returns the tracks that unpack reads. Those in CMAF repeat them.
func readable(c catalog.Catalog) []catalog.Track {
	return slices.DeleteFunc(slices.Clone(c.Tracks), func(t catalog.Track) bool { return t.Packaging == catalog.CMAF })
}

// choose returns the track of that name, or the one that shows most.
func choose(c catalog.Catalog, name string) (catalog.Track, error) {
	for _, kind := range []media.Kind{media.Video, media.Audio} {
		for _, t := range readable(c) {
			if t.Name == name || name == "" && t.Format.Kind() == kind {
				return t, nil
			}
		}
	}
	return catalog.Track{}, fmt.Errorf("the broadcast has no track %q", name)
}

// writeMP4 writes one track as a fragmented MP4 file, a fragment for each
// frame.
func writeMP4(ctx context.Context, b *unpack.Broadcast, name string, w io.Writer) error {
	t, err := choose(b.Catalog(), name)
	if err != nil {
		return err
	}
	frames, err := b.Frames(ctx, t.Name)
	if err != nil {
		return err
	}
	defer frames.Close()
	m := &mp4Writer{w: w}
	for {
		f, err := frames.Next(ctx)
		if errors.Is(err, io.EOF) {
			return m.flush(0)
		}
		if err != nil {
			return err
		}
		if err := m.write(f.Frame); err != nil {
			return err
		}
	}
}

// mp4Writer holds one frame back, since its duration is known from the next.
type mp4Writer struct {
	w        io.Writer
	format   *media.Format
	clock    cmaf.Clock
	reorder  cmaf.Reorder
	sequence uint32
	held     *cmaf.Sample
	heldDTS  int64
}

func (m *mp4Writer) write(f media.Frame) error {
	if f.Format != nil && f.Format != m.format {
		init, err := cmaf.Init(f.Format)
		if err != nil {
			return err
		}
		if err := m.flush(0); err != nil {
			return err
		}
		if _, err := m.w.Write(init); err != nil {
			return err
		}
		m.format = f.Format
		m.clock = cmaf.NewClock(cmaf.Timescale(f.Format), f.PTS)
		m.reorder = cmaf.NewReorder(f.Format)
	}
	if m.format == nil {
		return nil // no key frame yet
	}
	pts := m.clock.Ticks(f.PTS)
	dts := m.reorder.Next(pts)
	if err := m.flush(dts); err != nil {
		return err
	}
	m.held = &cmaf.Sample{Data: f.Data, Offset: int32(pts - dts), Sync: f.Key}
	m.heldDTS = dts
	return nil
}

// flush writes the frame that is held; next is when the one after it is
// decoded, 0 at the end.
func (m *mp4Writer) flush(next int64) error {
	if m.held == nil {
		return nil
	}
	m.held.Duration = uint32(max(cmaf.FrameDuration(m.format, m.held.Data), 1))
	if next > m.heldDTS {
		m.held.Duration = uint32(next - m.heldDTS)
	}
	m.sequence++
	chunk := cmaf.Chunk{Sequence: m.sequence, DecodeTime: uint64(m.heldDTS), Samples: []cmaf.Sample{*m.held}}
	m.held = nil
	buf, err := chunk.Buffer()
	if err != nil {
		return err
	}
	_, err = buf.WriteTo(m.w)
	return err
}

// trackStats are counts of one track over one second.
type trackStats struct {
	Track         string  `json:"track"`
	Codec         string  `json:"codec"`
	Frames        int     `json:"frames"`
	KeyFrames     int     `json:"key_frames"`
	KbitPerSecond float64 `json:"kbit_per_second"`
	// LatencyMS is from the frame's time at the origin to its arrival here; it
	// needs clocks that agree.
	LatencyMS float64 `json:"latency_ms"`
	Gaps      int     `json:"gaps"`
}

// printStats prints a line a second for each track until the broadcast ends.
// It owns a goroutine for each track.
func printStats(ctx context.Context, b *unpack.Broadcast, asJSON bool, w io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	var out sync.Mutex
	print := func(s trackStats) {
		out.Lock()
		defer out.Unlock()
		if asJSON {
			_ = json.NewEncoder(w).Encode(s)
			return
		}
		fmt.Fprintf(w, "%-10s %-6s %3d frames %2d key %8.0f kbit/s %7.1f ms %d gaps\n",
			s.Track, s.Codec, s.Frames, s.KeyFrames, s.KbitPerSecond, s.LatencyMS, s.Gaps)
	}
	for _, t := range readable(b.Catalog()) {
		wg.Go(func() { cancel(followStats(ctx, b, t, print)) })
	}
	<-ctx.Done()
	if err := context.Cause(ctx); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func followStats(ctx context.Context, b *unpack.Broadcast, t catalog.Track, print func(trackStats)) error {
	frames, err := b.Frames(ctx, t.Name)
	if err != nil {
		return err
	}
	defer frames.Close()
	s := trackStats{Track: t.Name, Codec: t.Format.Codec.String()}
	bytes, begun := 0, time.Now()
	for {
		f, err := frames.Next(ctx)
		if err != nil {
			return err
		}
		s.Frames++
		bytes += len(f.Data)
		if f.Key {
			s.KeyFrames++
		}
		if f.Discontinuity {
			s.Gaps++
		}
		now := time.Now()
		s.LatencyMS = float64(now.Sub(f.PTS.Wall()).Microseconds()) / 1000
		if d := now.Sub(begun); d >= time.Second {
			s.KbitPerSecond = float64(bytes) * 8 / 1000 / d.Seconds()
			print(s)
			s = trackStats{Track: s.Track, Codec: s.Codec}
			bytes, begun = 0, now
		}
	}
}
