package ladder

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
	"github.com/freshet-live/freshet/media/packager"
	"github.com/freshet-live/freshet/media/unpack"
	"github.com/freshet-live/freshet/moq"
)

var namespace = moq.Namespace{"live", "demo"}

// needFFmpeg skips a test where there is no ffmpeg, except under CI=true.
func needFFmpeg(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("ffmpeg is not installed: apt-get install ffmpeg")
		}
		t.Skip("ffmpeg is not installed: apt-get install ffmpeg")
	}
}

// Key frames at irregular times; the picture moves, the tone is constant.
var (
	picture = []string{
		"-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30",
	}
	tone = []string{"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"}
	keys = []string{"-g", "300", "-force_key_frames", "0,0.5,1.7,2.4,3.2"}
)

// clip makes four seconds of a broadcast.
func clip(t *testing.T, args ...string) []cmaftest.Track {
	t.Helper()
	return cmaftest.Clip(t, append(args, "-t", "4", "-pix_fmt", "yuv420p")...)
}

func h264Opus(t *testing.T) []cmaftest.Track {
	t.Helper()
	return clip(t, slices.Concat(picture, tone, keys, []string{
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-sc_threshold", "0", "-c:a", "libopus", "-b:a", "64k", "-ac", "2",
	})...)
}

// publisher writes a clip over and over, at several times its speed: times are
// those of the media, and nothing in a ladder goes by the clock on the wall but
// the bound on how late it may be.
type publisher struct {
	b *packager.Broadcast

	mu    sync.Mutex
	video map[media.Time]bool // times of the frames written: whether a key frame
	made  []*moq.Track        // renditions that are waited for
	held  map[string]bool     // tracks that are paused
}

// pause stops or continues a track, which is named as the packager names it.
func (p *publisher) pause(name string, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held[name] = on
}

const speed = 3

// keepWith has the publisher wait for renditions that fall behind, so that a
// busy machine loses no frames.
func (p *publisher) keepWith(t *testing.T, names ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range names {
		track, ok := p.b.Broadcast().Track(name)
		if !ok {
			t.Fatalf("no track %s", name)
		}
		p.made = append(p.made, track)
	}
}

// await waits, for a while, until no rendition is more than a few Groups
// behind the source.
func (p *publisher) await(ctx context.Context) {
	p.mu.Lock()
	made := p.made
	p.mu.Unlock()
	source, _ := p.b.Broadcast().Track("video0")
	newest, _ := source.Largest()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for _, track := range made {
		for {
			if l, ok := track.Largest(); !ok || l.Group+4 > newest.Group || track.Bytes() == 0 {
				break // it keeps up, or has not begun
			}
			select {
			case <-poll.C:
			case <-ctx.Done():
				return
			}
		}
	}
}

func publish(t *testing.T, tracks []cmaftest.Track, length time.Duration) *publisher {
	t.Helper()
	for i := range tracks {
		tr := &tracks[i]
		for j := range tr.Frames {
			if tr.Frames[j].Format != nil {
				tr.Frames[j].Format = &tr.Format
			}
		}
	}
	return publishAs(t, tracks, length)
}

// publishAs is publish with the formats that the frames have.
func publishAs(t *testing.T, tracks []cmaftest.Track, length time.Duration) *publisher {
	t.Helper()
	p := &publisher{b: packager.New(namespace, packager.Config{}), video: make(map[media.Time]bool), held: make(map[string]bool)}
	type timed struct {
		w   media.TrackWriter
		f   media.Frame
		due media.Time

		video bool
		name  string
	}
	var frames []timed
	numbers := make(map[media.Kind]int)
	for _, tr := range tracks {
		f := tr.Format
		name := fmt.Sprintf("%v%d", f.Kind(), numbers[f.Kind()])
		numbers[f.Kind()]++
		f.FrameRate = 0
		w, err := p.b.AddTrack(f)
		if err != nil {
			t.Fatal(err)
		}
		due := media.Time(0)
		for _, fr := range tr.Frames {
			due = max(due, fr.PTS)
			frames = append(frames, timed{w, fr, due, f.Kind() == media.Video, name})
		}
	}
	// By the time at which they are sent: pictures in the order of decoding.
	slices.SortStableFunc(frames, func(a, b timed) int { return int(a.due - b.due) })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		start := media.TimeOf(time.Now())
		begun := time.Now()
		for offset := start; ; offset = offset.Add(length) {
			for _, fr := range frames {
				f := fr.f
				f.PTS += offset
				at := fr.due + offset
				due := time.NewTimer(time.Until(begun.Add(at.Sub(start) / speed)))
				select {
				case <-due.C:
				case <-ctx.Done():
					due.Stop()
					return
				}
				p.mu.Lock()
				paused := p.held[fr.name]
				p.mu.Unlock()
				if paused {
					continue
				}
				if fr.video && f.Key {
					p.await(ctx)
				}
				if fr.video {
					p.mu.Lock()
					p.video[f.PTS] = f.Key
					p.mu.Unlock()
				}
				if fr.w.WriteFrame(f) != nil {
					return
				}
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		p.b.Close(nil)
	})
	return p
}

// compare checks that each of the frames is of a frame that was written, and
// counts those in between that are not there.
func (p *publisher) compare(frames []unpack.Frame) (missing int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range frames {
		if key, ok := p.video[f.PTS]; !ok || key != f.Key {
			return 0, fmt.Errorf("the frame at %d (key %v) is none of the source", f.PTS, f.Key)
		}
	}
	for at := range p.video {
		if at > frames[0].PTS && at < frames[len(frames)-1].PTS {
			missing++
		}
	}
	return missing - (len(frames) - 2), nil
}

// journal keeps what a ladder logs.
type journal struct {
	records chan map[string]any
}

func newJournal(t *testing.T) (*journal, *slog.Logger) {
	r, w := io.Pipe()
	j := &journal{records: make(chan map[string]any, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			var m map[string]any
			if json.Unmarshal(lines.Bytes(), &m) == nil {
				j.records <- m
			}
		}
	}()
	t.Cleanup(func() { w.Close(); <-done })
	return j, slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// await returns the next record with that message.
func (j *journal) await(t *testing.T, msg string) map[string]any {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case m := <-j.records:
			t.Logf("%v", m)
			if m["msg"] == msg {
				return m
			}
		case <-timeout:
			t.Fatalf("no message %q", msg)
		}
	}
}

const (
	begins = "renditions begin"
	stops  = "renditions stop: nobody reads them"
	failed = "renditions failed"
)

func pidOf(m map[string]any) int { return int(m["pid"].(float64)) }

// gone tells whether there is no such process, not even a zombie.
func gone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// run runs a ladder for b until the test ends.
func run(t *testing.T, cfg Config, b *packager.Broadcast) *Ladder {
	t.Helper()
	l := New(cfg)
	l.Add(b)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("ladder: %v", err)
		}
	})
	return l
}

// watchCatalog follows the catalog until ok says so.
func watchCatalog(t *testing.T, b *packager.Broadcast, ok func(catalog.Catalog) bool) *unpack.Broadcast {
	t.Helper()
	in, err := unpack.Open(t.Context(), local{b.Broadcast()}, namespace)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for c := in.Catalog(); !ok(c); {
		if c, err = in.Next(ctx); err != nil {
			t.Fatalf("waiting for the catalog: %v", err)
		}
	}
	// The newest one goes on being read, as a viewer would.
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := in.Next(t.Context()); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { // t.Context has ended
		<-done
		in.Close()
	})
	return in
}

func has(names ...string) func(catalog.Catalog) bool {
	return func(c catalog.Catalog) bool {
		return !slices.ContainsFunc(names, func(n string) bool { _, ok := c.Track(n); return !ok })
	}
}

// follow reads count Groups of a track, and the first frame of the one after
// them. The Groups are whole.
func follow(t *testing.T, in *unpack.Broadcast, name string, count int) (frames []unpack.Frame, err error) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := in.Frames(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	groups := make(map[uint64]bool)
	for {
		f, err := r.Next(ctx)
		if err != nil {
			return frames, fmt.Errorf("%s after %d frames: %w", name, len(frames), err)
		}
		frames = append(frames, f)
		if groups[f.Group] = true; len(groups) > count {
			return frames, nil
		}
	}
}

// firsts returns the first frame of each Group but the first Group.
func firsts(frames []unpack.Frame) map[uint64]unpack.Frame {
	m := make(map[uint64]unpack.Frame)
	for _, f := range frames {
		if _, ok := m[f.Group]; !ok {
			m[f.Group] = f
		}
	}
	delete(m, frames[0].Group)
	return m
}

func TestRenditions(t *testing.T) {
	needFFmpeg(t)
	p := publish(t, h264Opus(t), 4*time.Second)
	j, log := newJournal(t)
	run(t, Config{Rungs: []int{720, 240, 180}, Linger: 300 * time.Millisecond, Logger: log}, p.b)
	in := watchCatalog(t, p.b, has("240p", "180p", "audio0-aac"))
	c := in.Catalog()
	if _, ok := c.Track("720p"); ok {
		t.Error("a rendition larger than the source")
	}
	for name, want := range map[string]media.Format{
		"240p":       {MIME: "avc1.64001f", Width: 426, Height: 240},
		"180p":       {MIME: "avc1.64001f", Width: 320, Height: 180},
		"audio0-aac": {MIME: "mp4a.40.2", SampleRate: 48000, Channels: 2},
	} {
		got, _ := c.Track(name)
		if f := got.Format; f.MIME != want.MIME || f.Width != want.Width || f.Height != want.Height ||
			f.SampleRate != want.SampleRate || f.Channels != want.Channels || f.Bitrate == 0 {
			t.Errorf("%s before it is made: %+v", name, f)
		}
	}
	v, _ := c.Track("video0")
	s, _ := c.Track("180p")
	if v.AltGroup == nil || s.AltGroup == nil || *v.AltGroup != *s.AltGroup {
		t.Error("source and rendition are no alternatives")
	}

	// A viewer of the source alone pays for nothing else.
	if _, err := follow(t, in, "video0", 3); err != nil {
		t.Fatal(err)
	}
	for len(j.records) > 0 {
		if m := <-j.records; m["msg"] == begins {
			t.Fatal("ffmpeg runs although nobody reads a rendition")
		}
	}

	p.keepWith(t, "240p", "180p")
	names := []string{"video0", "240p", "180p", "audio0", "audio0-aac"}
	got := make([][]unpack.Frame, len(names))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { got[i], errs[i] = follow(t, in, name, 8) })
	}
	pid := pidOf(j.await(t, begins))
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}

	source := firsts(got[0])
	for i, name := range names[1:3] {
		frames := got[i+1]
		f := frames[0].Format
		if f.Codec != media.H264 || f.MIME != "avc1.64001f" || f.Height != 240-60*i || f.Width != 426-106*i {
			t.Errorf("%s: %+v", name, f)
		}
		same := 0
		for id, first := range firsts(frames) {
			of, ok := source[id]
			if !ok {
				continue // before or after what was read of the source
			}
			same++
			if first.PTS != of.PTS || !first.Key {
				t.Errorf("%s: group %d begins at %d, the source's at %d", name, id, first.PTS, of.PTS)
			}
		}
		if same < 4 {
			t.Errorf("%s: %d groups in common with the source", name, same)
		}
		if missing, err := p.compare(frames); err != nil || missing > 0 {
			t.Errorf("%s: %d frames of the source are missing, %v", name, missing, err)
		}
	}

	aac := got[4]
	if f := aac[0].Format; f.Codec != media.AAC || f.SampleRate != 48000 || f.Channels != 2 {
		t.Errorf("AAC: %+v", f)
	}
	const frame = media.Time(1024 * 1_000_000 / 48000)
	opus, common := firsts(got[3]), 0
	for id, first := range firsts(aac) {
		of, ok := opus[id]
		if !ok {
			continue
		}
		common++
		if d := first.PTS - of.PTS; d < -frame || d > frame {
			t.Errorf("AAC group %d begins %d µs from the source's", id, d)
		}
	}
	if common < 4 {
		t.Errorf("AAC: %d groups in common with the source", common)
	}
	for k := 1; k < len(aac); k++ {
		if d := aac[k].PTS - aac[k-1].PTS - frame; d < -1 || d > 1 {
			t.Errorf("AAC frame %d is %d µs off", k, d)
		}
	}

	// All readers have gone.
	j.await(t, stops)
	if !gone(pid) {
		t.Errorf("process %d is still there", pid)
	}
	if track, _ := p.b.Broadcast().Track("180p"); track.Bytes() != 0 {
		t.Error("old pictures wait for the next reader")
	}
}

// TestKilled: a dead ffmpeg is replaced, and the readers get what comes.
func TestKilled(t *testing.T) {
	needFFmpeg(t)
	p := publish(t, h264Opus(t), 4*time.Second)
	j, log := newJournal(t)
	run(t, Config{Rungs: []int{180}, Logger: log}, p.b)
	in := watchCatalog(t, p.b, has("180p"))
	r, err := in.Frames(t.Context(), "180p")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	pid := pidOf(j.await(t, begins))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	j.await(t, failed)
	if !gone(pid) {
		t.Errorf("process %d is still there", pid)
	}
	second := pidOf(j.await(t, begins))
	for {
		f, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if f.Discontinuity {
			break
		}
	}
	// The end of the broadcast is the end of the process.
	p.b.Close(nil)
	for {
		if _, err := r.Next(t.Context()); err != nil {
			break
		}
	}
	deadline := time.After(10 * time.Second)
	for !gone(second) {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			t.Fatalf("process %d outlives its broadcast", second)
		}
	}
}

// TestDecodable: ffmpeg has nothing to say of what it made, as CMAF.
func TestDecodable(t *testing.T) {
	needFFmpeg(t)
	p := publish(t, h264Opus(t), 4*time.Second)
	_, log := newJournal(t)
	run(t, Config{Rungs: []int{180}, Logger: log}, p.b)
	in := watchCatalog(t, p.b, has("180p"))
	// The initialization segment is there once the rendition has been made.
	if _, err := follow(t, in, "180p", 1); err != nil {
		t.Fatal(err)
	}
	var c catalog.Catalog
	watchCatalog(t, p.b, func(now catalog.Catalog) bool { c = now; return has("180p.cmaf")(now) })
	twin, _ := c.Track("180p.cmaf")
	track, _ := p.b.Broadcast().Track("180p.cmaf")
	r := track.NewReader(moq.ReaderConfig{Start: moq.StartNextGroup})
	defer r.Close()
	file := bytes.Clone(twin.Init)
	objects := 0
	for range 3 {
		g, err := r.NextGroup(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for {
			o, err := g.Next(t.Context())
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			data, err := o.ReadAll(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			file = append(file, data...)
			objects++
		}
	}
	if n := cmaftest.Decode(t, file); n != objects {
		t.Errorf("%d pictures of %d objects", n, objects)
	}
}
