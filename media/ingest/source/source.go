// Package source makes frames of media files and of a test picture, for the
// clients that publish. An ffmpeg child process decodes and encodes; it writes
// fragmented MP4 to a pipe, one frame a fragment, and IVF for VP8, which MP4
// does not know.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/ingest"
)

// ErrNoFFmpeg means that there is no ffmpeg program.
var ErrNoFFmpeg = errors.New("source: files and test pictures need the program ffmpeg in PATH (Debian: apt-get install ffmpeg)")

// TestSource is the input name of ffmpeg's own test picture and tone.
const TestSource = "testsrc"

// Options say what to make of the input. The zero value makes H.264 without
// B-frames and Opus.
type Options struct {
	// Video is H264, H265, AV1, VP9 or VP8; 0 means H264. Audio is Opus, AAC,
	// AC3 or EC3; 0 means Opus.
	Video, Audio media.Codec
	// NoVideo and NoAudio leave a track out.
	NoVideo, NoAudio bool
	// Width and Height of the picture in pixels, even; 0 means 640 and 360 for
	// the test picture, the input's own for files.
	Width, Height int
	// FrameRate is in frames per second; 0 means 30 for the test picture, the
	// input's own for files (then GOP assumes 30).
	FrameRate int
	// GOP is the time between key frames; 0 means 2 s.
	GOP time.Duration
	// VideoBitrate is in bits per second; 0 means 1.5 Mbit/s.
	VideoBitrate int
	// BFrames is how many B-frames H.264 and H.265 may use in a row. WebRTC
	// has no place for any.
	BFrames int
	// Filter is a chain of ffmpeg video filters to put before the encoder.
	Filter string
	// Once ends a file at its end instead of starting over.
	Once bool
	// FFmpeg is the program to run; empty means ffmpeg in PATH.
	FFmpeg string
}

// Reader is a Source that reads from an ffmpeg process. It is for one
// goroutine, except Close.
type Reader struct {
	formats []media.Format
	tracks  []*track
	early   []event // frames that came before all formats were known

	cmd    *exec.Cmd
	stderr *tail
	pipes  []io.Closer
	events chan event // closed when the process has ended and exit is set
	exit   error

	closing sync.Once
	stop    chan struct{} // closed by Close
	done    chan struct{} // closed after the last goroutine

	anchored bool
	offset   media.Time // wall-clock time of the stream's zero
}

var _ ingest.Source = (*Reader)(nil)

// event is what the readers of pipes tell: the tracks of the pipe, then their
// frames.
type event struct {
	tracks []*track
	track  *track
	frame  media.Frame // PTS counts from the start of the stream
}

// track is one track of what ffmpeg writes. It belongs to the goroutine that
// reads the pipe; to others it is an identity.
type track struct {
	id        int
	timeScale int64
	assembler codec.Assembler
	split     func([]byte) ([][]byte, error)

	// Audio frames are of one length, step, and follow each other without gap;
	// next is when the next is due. ffmpeg's muxer, when it has two at hand,
	// gives both the time of the second.
	step, next int64
}

// Open starts ffmpeg on a file, or on TestSource, and waits until the formats
// of all tracks are known. ctx bounds that wait only; Close ends the process.
// The reader owns a goroutine per pipe and one that waits for the process.
func Open(ctx context.Context, input string, o Options) (*Reader, error) {
	if o.Video == 0 {
		o.Video = media.H264
	}
	if o.Audio == 0 {
		o.Audio = media.Opus
	}
	program := o.FFmpeg
	if program == "" {
		program = "ffmpeg"
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoFFmpeg, err)
	}
	if input != TestSource {
		f, err := os.Open(input)
		if err != nil {
			return nil, fmt.Errorf("source: %w", err)
		}
		f.Close()
	}
	args, plan, err := arguments(input, o)
	if err != nil {
		return nil, err
	}
	r := &Reader{
		cmd:    exec.Command(path, args...),
		stderr: new(tail),
		events: make(chan event, 32),
		stop:   make(chan struct{}),
		done:   make(chan struct{}),
	}
	r.cmd.Stderr = r.stderr
	if err := r.start(plan, o); err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	if err := r.probe(ctx, len(plan)); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// start runs the process with a pipe for each output of the plan.
func (r *Reader) start(plan []output, o Options) error {
	var childEnds []*os.File
	closeAll := func() {
		for _, f := range childEnds {
			f.Close()
		}
	}
	for range plan {
		ours, theirs, err := os.Pipe()
		if err != nil {
			closeAll()
			r.closePipes()
			return err
		}
		r.pipes = append(r.pipes, ours)
		childEnds = append(childEnds, theirs)
	}
	r.cmd.ExtraFiles = childEnds
	err := r.cmd.Start()
	closeAll()
	if err != nil {
		r.closePipes()
		return err
	}
	var readers sync.WaitGroup
	errs := make([]error, len(plan))
	for i, out := range plan {
		pipe := r.pipes[i].(*os.File)
		readers.Go(func() {
			errs[i] = out.read(pipe, o, r.emit)
			io.Copy(io.Discard, pipe) // so that ffmpeg ends by itself
		})
	}
	go func() {
		defer close(r.done)
		readers.Wait()
		r.closePipes()
		if err := r.cmd.Wait(); err != nil {
			r.exit = fmt.Errorf("source: ffmpeg: %w: %s", err, r.stderr)
		} else if err := errors.Join(errs...); err != nil {
			r.exit = fmt.Errorf("source: output of ffmpeg: %w", err)
		} else {
			r.exit = io.EOF
		}
		close(r.events)
	}()
	return nil
}

func (r *Reader) closePipes() {
	for _, p := range r.pipes {
		p.Close()
	}
}

// emit hands an event to Next; false means that nobody wants more.
func (r *Reader) emit(e event) bool {
	select {
	case r.events <- e:
		return true
	case <-r.stop:
		return false
	}
}

// probe waits for the tracks of all pipes and their formats.
func (r *Reader) probe(ctx context.Context, pipes int) error {
	formats := make(map[*track]*media.Format)
	for pipes > 0 || len(formats) < len(r.tracks) {
		select {
		case e, ok := <-r.events:
			switch {
			case !ok && r.exit == io.EOF:
				return errors.New("source: ffmpeg made nothing of the input")
			case !ok:
				return r.exit
			case e.track == nil:
				pipes--
				r.tracks = append(r.tracks, e.tracks...)
			default:
				r.early = append(r.early, e)
				if f := e.frame.Format; f != nil && formats[e.track] == nil {
					formats[e.track] = f
				}
				if len(r.early) > maxEarly {
					return errors.New("source: a track brings no frames")
				}
			}
		case <-ctx.Done():
			return fmt.Errorf("source: waiting for ffmpeg: %w", ctx.Err())
		}
	}
	if len(r.tracks) == 0 {
		return errors.New("source: the input has no such tracks")
	}
	slices.SortStableFunc(r.tracks, func(a, b *track) int {
		return int(formats[a].Kind()) - int(formats[b].Kind())
	})
	for _, t := range r.tracks {
		r.formats = append(r.formats, *formats[t])
	}
	return nil
}

// maxEarly bounds the frames kept while another track's first is awaited.
const maxEarly = 1024

// Formats implements ingest.Source: video first.
func (r *Reader) Formats() []media.Format { return slices.Clone(r.formats) }

// Next implements ingest.Source. ffmpeg keeps the pace.
func (r *Reader) Next(ctx context.Context) (int, media.Frame, error) {
	var e event
	if len(r.early) > 0 {
		e, r.early = r.early[0], r.early[1:]
	} else {
		var ok bool
		select {
		case e, ok = <-r.events:
		case <-ctx.Done():
			return 0, media.Frame{}, ctx.Err()
		}
		if !ok {
			return 0, media.Frame{}, r.exit
		}
	}
	if !r.anchored {
		r.anchored = true
		r.offset = media.TimeOf(time.Now()) - e.frame.PTS
	}
	e.frame.PTS += r.offset
	return slices.Index(r.tracks, e.track), e.frame, nil
}

// Close ends the process and returns when it has ended. It may be called more
// than once.
func (r *Reader) Close() error {
	r.closing.Do(func() {
		close(r.stop)
		r.cmd.Process.Kill()
	})
	<-r.done
	return nil
}

// tail keeps the last of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

// maxTail is enough for the error messages of ffmpeg, in bytes.
const maxTail = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if n := len(t.buf) - maxTail; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(p), nil
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
