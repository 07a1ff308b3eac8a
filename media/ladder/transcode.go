package ladder

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/unpack"
	"github.com/freshet-live/freshet/moq"
)

const (
	// firstFrame is how long a source may take to give a frame.
	firstFrame = 10 * time.Second
	// lead is how much earlier than the first frame the other sources may
	// begin: no time in the file is negative.
	lead = 10 * time.Second
	// maxLag is how far behind the present ffmpeg may fall before the rest of
	// the past is left out; a machine that is too slow would otherwise fall
	// behind further and further.
	maxLag = 4 * time.Second
	// queued is how many frames wait for ffmpeg to read them.
	queued = 8
	// sameKey is how far a key frame's time may be off on the way through
	// ffmpeg.
	sameKey = media.Time(500)
)

// source is a track of the publisher that ffmpeg gets.
type source struct {
	name   string
	of     string // rung.origin of the renditions that are made of it
	number int    // in the file, from 1
	format media.Format
	reader *unpack.FrameReader
	track  *moq.Track
	first  *unpack.Frame // read ahead
	marks  marks
}

// input is a frame on its way to ffmpeg.
type input struct {
	source *source
	frame  media.Frame
}

// transcode runs ffmpeg once. It returns how many frames came out, and why it
// ended: errUnused, errFormat, errMore, errSource, ctx's cause or what went
// wrong. It owns the process, a goroutine for each source and each rung, and
// five more, and returns after the last of them.
func (s *staircase) transcode(ctx context.Context) (frames int64, err error) {
	rungs := s.made()
	sources, err := s.open(ctx, rungs)
	defer func() {
		for _, src := range sources {
			src.reader.Close()
		}
	}()
	if err != nil {
		return 0, err
	}
	origin := media.TimeOf(time.Now())
	for _, src := range sources {
		if src.first != nil {
			origin = min(origin, src.first.PTS)
		}
	}
	origin = origin.Add(-lead)

	group, ctx := errgroup.WithContext(ctx)
	c, err := start(ctx, s.path, arguments(sources, rungs), len(rungs), func(line string) {
		s.log.Debug("ffmpeg", "says", line)
	})
	if err != nil {
		group.Go(func() error { return err }) // and ctx ends
		return 0, group.Wait()
	}
	names := make([]string, len(sources))
	for i, src := range sources {
		names[i] = src.name
	}
	s.log.Info("renditions begin", "count", len(rungs), "of", names, "pid", c.cmd.Process.Pid)
	queue := make(chan input, queued)
	var count atomic.Int64
	group.Go(c.wait)
	group.Go(func() error { return s.awaitChange(ctx, len(rungs)) })
	group.Go(func() error { return s.awaitStuck(ctx, sources, &count) })
	group.Go(func() error { return feed(ctx, c.in, sources, origin, queue) })
	for _, src := range sources {
		group.Go(func() error { return s.pump(ctx, src, queue) })
		if src.format.Kind() == media.Video {
			group.Go(func() error { return s.awaitSource(ctx, src.name) })
		}
	}
	for i, r := range rungs {
		out := &output{r: bufio.NewReaderSize(c.outs[i], 64<<10), start: origin, want: r.format}
		for _, src := range sources {
			if src.of != r.origin() {
				continue
			}
			out.want.FrameRate = src.format.FrameRate
			group.Go(func() error {
				defer c.outs[i].Close()
				return collect(ctx, out, src, r, &count)
			})
		}
	}
	err = group.Wait()
	return count.Load(), err
}

// errStuck: it takes time, and gives nothing.
var errStuck = errors.New("ladder: ffmpeg makes no progress")

// awaitStuck waits until ffmpeg has yielded nothing for a while in which a
// source went on, and returns errStuck.
func (s *staircase) awaitStuck(ctx context.Context, sources []*source, count *atomic.Int64) error {
	tick := time.NewTicker(s.cfg.patience)
	defer tick.Stop()
	largest := make([]moq.Location, len(sources))
	for had := int64(-1); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		now, moved := count.Load(), false
		for i, src := range sources {
			l, _ := src.track.Largest()
			moved = moved || largest[i].Less(l)
			largest[i] = l
		}
		if now == had && moved {
			return errStuck
		}
		had = now
	}
}

// open subscribes to the sources of the rungs. The readers of what it returns
// are to be closed, with an error too.
func (s *staircase) open(ctx context.Context, rungs []*rung) (sources []*source, err error) {
	c := s.in.Catalog()
	opened := make(map[string]bool)
	for _, r := range rungs {
		if opened[r.origin()] {
			continue
		}
		opened[r.origin()] = true
		name := r.source
		if r.format.Kind() == media.Video {
			name = s.choose()
		}
		t, ok := c.Track(name)
		if !ok {
			return sources, fmt.Errorf("ladder: the catalog has no track %q", name)
		}
		reader, err := s.in.Frames(ctx, name)
		if err != nil {
			return sources, fmt.Errorf("ladder: %w", err)
		}
		src := &source{name: name, of: r.origin(), number: len(sources) + 1, format: t.Format, reader: reader}
		sources = append(sources, src)
		src.track, _ = s.b.Broadcast().Track(name)
		if t.Format.Kind() == media.Audio {
			continue // it may be silent, and its format is known
		}
		wait, cancel := context.WithTimeout(ctx, firstFrame)
		f, err := reader.Next(wait)
		cancel()
		if err != nil {
			return sources, fmt.Errorf("ladder: first frame of %s: %w", name, err)
		}
		src.first = &f
		src.format = *f.Format
		if src.format.FrameRate == 0 {
			src.format.FrameRate = t.Format.FrameRate
		}
	}
	return sources, nil
}

// pump moves the frames of a source to the queue.
func (s *staircase) pump(ctx context.Context, src *source, queue chan<- input) error {
	var group uint64
	skipping, begun := false, false
	for {
		f, err := s.nextFrame(ctx, src)
		if err != nil {
			return err
		}
		if f.Format != nil && !same(f.Format, &src.format) {
			return errFormat
		}
		if !begun || f.Group != group {
			behind := begun && src.format.Kind() == media.Video && late(src.track, &f)
			if behind && !skipping {
				s.log.Warn("renditions skip a part: this machine is too slow for them", "source", src.name)
			}
			if skipping = behind; !skipping {
				k := mark{pts: f.PTS, id: f.Group}
				if begun && !f.Discontinuity && f.Group > group {
					k.gap = f.Group - group - 1
				}
				src.marks.add(k)
				begun, group = true, f.Group
			}
		}
		if skipping {
			continue
		}
		select {
		case queue <- input{src, f.Frame}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *staircase) nextFrame(ctx context.Context, src *source) (unpack.Frame, error) {
	if f := src.first; f != nil {
		src.first = nil
		return *f, nil
	}
	f, err := src.reader.Next(ctx)
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("ladder: track %s ended", src.name)
	}
	return f, err
}

// late tells whether to leave out the Group that begins with f: it is old, and
// there is a newer one.
func late(t *moq.Track, f *unpack.Frame) bool {
	largest, ok := t.Largest()
	return ok && largest.Group > f.Group && time.Since(f.PTS.Wall()) > maxLag
}

// same tells whether frames of the two formats can go into one file.
func same(a, b *media.Format) bool {
	return a.Codec == b.Codec && a.Width == b.Width && a.Height == b.Height && a.Channels == b.Channels &&
		bytes.Equal(a.Description, b.Description)
}

// feed writes what is queued to w, which is ffmpeg's standard input.
func feed(ctx context.Context, w io.Writer, sources []*source, origin media.Time, queue <-chan input) error {
	m := &matroska{w: w}
	formats := make([]media.Format, len(sources))
	for i, src := range sources {
		formats[i] = src.format
	}
	if err := m.header(formats); err != nil {
		return ended(ctx, err)
	}
	for {
		select {
		case in := <-queue:
			if in.frame.PTS < origin {
				continue
			}
			if err := m.frame(in.source.number, uint64(in.frame.PTS-origin), &in.frame); err != nil {
				return ended(ctx, err)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ended takes the error of a pipe. When ffmpeg is gone, its end tells more.
func ended(ctx context.Context, err error) error {
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) || errors.Is(err, io.EOF) {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return fmt.Errorf("ladder: a pipe of ffmpeg: %w", err)
}

// collect publishes what ffmpeg makes of src as r.
func collect(ctx context.Context, out *output, src *source, r *rung, count *atomic.Int64) error {
	var k mark
	begun := false
	for {
		frames, err := out.next()
		if errors.Is(err, errOutput) {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		if err != nil {
			return ended(ctx, err)
		}
		for _, f := range frames {
			next, ok := groupOf(src, &f)
			if ok {
				k, begun = next, true
			}
			if !begun {
				continue
			}
			if err := r.out.WriteFrame(k.id, k.gap, f); err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			count.Add(1)
		}
	}
}

// groupOf returns the Group of the source that a frame of a rendition belongs
// to: for video, when the frame begins it.
func groupOf(src *source, f *media.Frame) (mark, bool) {
	if src.format.Kind() == media.Video {
		if !f.Key {
			return mark{}, false
		}
		return src.marks.at(f.PTS, sameKey)
	}
	// The boundary is where a frame of the rendition lies nearest to it.
	const half = media.Time(1024 * matroskaTicks / audioRate / 2)
	return src.marks.before(f.PTS + half)
}
