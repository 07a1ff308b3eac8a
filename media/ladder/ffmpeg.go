package ladder

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/freshet-live/freshet/media"
)

// probeTimeout bounds the question what ffmpeg can do.
const probeTimeout = 10 * time.Second

// find looks for ffmpeg and for the encoders that a ladder needs.
func find(ctx context.Context, name string) (path string, err error) {
	if path, err = exec.LookPath(name); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-hide_banner", "-nostdin", "-v", "error", "-encoders").Output()
	if err != nil {
		return "", fmt.Errorf("asking %s for its encoders: %w", path, err)
	}
	for _, encoder := range []string{"libx264", "aac"} {
		if !slices.Contains(strings.Fields(string(out)), encoder) {
			return "", fmt.Errorf("%s has no encoder %s", path, encoder)
		}
	}
	return path, nil
}

// firstPipe is the number of the first file descriptor that exec.Cmd hands
// over beside the standard ones.
const firstPipe = 3

// arguments returns the command line that reads a Matroska file of the sources
// from standard input and writes each rendition to a pipe of its own.
func arguments(sources []*source, rungs []*rung) []string {
	args := []string{
		"-hide_banner", "-nostdin", "-loglevel", "warning",
		// Start with the first frame: the file's head says it all. Packets
		// must be buffered meanwhile, or the first key frame is lost.
		"-probesize", "32", "-analyzeduration", "1", "-fpsprobesize", "0",
		// A decoder with frames in threads is as many frames late.
		"-thread_type", "slice",
	}
	for _, s := range sources {
		if s.format.Codec == media.AV1 {
			args = append(args, "-flags:v", "low_delay") // the same for dav1d
		}
	}
	// What publishers send is not to make it open anything.
	args = append(args, "-copyts", "-protocol_whitelist", "pipe", "-f", "matroska", "-i", "pipe:0")
	for i, r := range rungs {
		at := slices.IndexFunc(sources, func(s *source) bool { return s.of == r.origin() })
		args = append(args, "-map", "0:"+strconv.Itoa(at))
		if r.format.Codec == media.H264 {
			args = append(args, videoArguments(&sources[at].format, &r.format)...)
		} else {
			args = append(args,
				// Lost packets become silence, so that the sound stays with the picture.
				"-af", "aresample=async=1:min_hard_comp=0.01",
				"-c:a", "aac", "-b:a", strconv.Itoa(r.format.Bitrate),
				"-ar", strconv.Itoa(r.format.SampleRate), "-ac", strconv.Itoa(r.format.Channels))
		}
		args = append(args,
			"-f", "mp4",
			"-movflags", "+empty_moov+default_base_moof+frag_every_frame+frag_discont+skip_trailer",
			// Times are to come out as they went in.
			"-use_editlist", "0", "-avoid_negative_ts", "disabled",
			"-flush_packets", "1", "pipe:"+strconv.Itoa(firstPipe+i))
	}
	return args
}

// videoArguments are those of an H.264 rendition.
func videoArguments(source, f *media.Format) []string {
	size := fmt.Sprintf("%d:%d", f.Width, f.Height)
	filter := "scale=" + size
	if w, h := scaled(source, short(f)); w != f.Width || h != f.Height {
		// The source has another aspect than when the rendition was
		// announced, whose size stays.
		filter = "scale=" + size + ":force_original_aspect_ratio=decrease:force_divisible_by=2,pad=" + size + ":-1:-1"
	}
	rate := source.FrameRate
	if rate < 1 {
		rate = 30
	}
	l := level(f.Width, f.Height)
	return []string{
		"-vf", filter + ",setsar=1",
		"-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency",
		"-profile:v", "high", "-level:v", fmt.Sprintf("%d.%d", l/10, l%10), "-pix_fmt", "yuv420p",
		// Constant quality up to the rate that the catalog promises.
		"-crf", "23", "-maxrate", strconv.Itoa(f.Bitrate), "-bufsize", strconv.Itoa(f.Bitrate),
		// Key frames where the source has them, and nowhere else.
		"-x264-params", "keyint=infinite:scenecut=0", "-force_key_frames", "source", "-forced-idr", "1",
		// Frames are neither dropped nor repeated, and their times not rounded.
		"-fps_mode", "passthrough", "-enc_time_base", "-1", "-video_track_timescale", strconv.Itoa(matroskaTicks),
		// x264 would write the clock above as the frame rate.
		"-bsf:v", fmt.Sprintf("h264_metadata=tick_rate=%d/1000", int(rate*2000+0.5)),
	}
}

// child is a running ffmpeg.
type child struct {
	cmd   *exec.Cmd
	in    *os.File   // its standard input
	outs  []*os.File // one for each rendition
	notes *tail      // its standard error
}

// start runs ffmpeg until ctx is done or it ends by itself; wait has to be
// called.
func start(ctx context.Context, path string, args []string, outputs int, note func(string)) (*child, error) {
	c := &child{cmd: exec.CommandContext(ctx, path, args...), notes: &tail{each: note}}
	c.cmd.Stderr = c.notes
	c.cmd.Env = environment(os.Environ())
	// It has nothing to finish: what it has in hand is late.
	c.cmd.WaitDelay = time.Second
	var theirs []*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			f.Close()
		}
	}
	defer func() { closeAll(theirs) }()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("ladder: %w", err)
	}
	c.cmd.Stdin, c.in, theirs = r, w, append(theirs, r)
	for range outputs {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(append(c.outs, c.in))
			return nil, fmt.Errorf("ladder: %w", err)
		}
		c.outs, theirs = append(c.outs, r), append(theirs, w)
		c.cmd.ExtraFiles = append(c.cmd.ExtraFiles, w)
	}
	if err := c.cmd.Start(); err != nil {
		closeAll(append(c.outs, c.in))
		return nil, fmt.Errorf("ladder: starting ffmpeg: %w", err)
	}
	yield(c.cmd.Process.Pid)
	return c, nil
}

// environment leaves out the settings of freshet, among which are keys.
func environment(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(s string) bool { return strings.HasPrefix(s, "FRESHET_") })
}

// wait waits for the end of the process, with which the outputs end too.
func (c *child) wait() error {
	err := c.cmd.Wait()
	c.in.Close()
	if err == nil {
		err = io.ErrUnexpectedEOF // its input does not end
	}
	if last := c.notes.last(); last != "" {
		return fmt.Errorf("ffmpeg ended: %w: %s", err, last)
	}
	return fmt.Errorf("ffmpeg ended: %w", err)
}

const (
	// noteLines and noteSize bound what is kept of ffmpeg's messages, of which
	// a broken source can cause one for each frame.
	noteLines = 4
	noteSize  = 400
	// noteLimit is how many are logged of each process.
	noteLimit = 100
)

// tail takes ffmpeg's messages: it keeps the last lines and passes the first
// ones on. It is safe for concurrent use.
type tail struct {
	each func(string)

	mu    sync.Mutex
	line  []byte
	lines []string
	seen  int
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(p) > 0 {
		part, rest, ended := bytes.Cut(p, []byte("\n"))
		t.line = append(t.line, part[:min(len(part), noteSize-len(t.line))]...)
		p = rest
		if ended {
			t.endLocked()
		}
	}
	return n, nil
}

func (t *tail) endLocked() {
	line := strings.TrimSpace(strings.ToValidUTF8(string(t.line), "?"))
	t.line = t.line[:0]
	if line == "" {
		return
	}
	if t.seen++; t.seen <= noteLimit && t.each != nil {
		t.each(line)
	}
	if len(t.lines) == noteLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, line)
}

// last returns the last lines.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "; ")
}
