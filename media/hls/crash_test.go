package hls

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/hls/dvr"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

// crashDir, in the environment, makes the test binary the process that
// TestCrash kills: it keeps its past there.
const crashDir = "FRESHET_TEST_CRASH_DIR"

// crashWindow is the window of the process that is killed.
const crashWindow = 10 * time.Minute

// broadcastAt is the deterministic broadcast of TestCrash: frame i of the
// picture is presented at start plus i thirtieths of a second; the sound
// lies beside it.
func broadcastAt(start media.Time) (v, a script) {
	v = video("video0", &vp9, start, gops(60, 60, 30)...)
	for i := range v.frames {
		v.frames[i].Data = fmt.Appendf(nil, "frame %d of the broadcast that began at %d", i, start)
	}
	return v, audio("audio0", &opus, start, 20*time.Millisecond, 60*100)
}

// crashing is the process that is killed: it takes up what it finds in dir
// and muxes on from the key frame at argument from, a hundred times faster
// than it plays, and prints every version of every playlist that a viewer
// could have seen.
func crashing(dir string) error {
	// A machine under load is no disk that fails: what is shown is on disk.
	store, err := dvr.Open(dvr.Config{Dir: dir, Patience: time.Minute})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { _ = store.Run(ctx) })
	b, err := store.Resume("demo")
	if err == nil && b == nil {
		b, err = store.Begin("demo")
	}
	if err != nil {
		return err
	}
	m := NewMuxer(Config{Window: crashWindow})
	m.Store(b)
	var start media.Time
	var skip int
	if _, err := fmt.Fscan(os.Stdin, &start, &skip); err != nil {
		return err
	}
	v, a := broadcastAt(start)
	m.Start(tracks(v, a))
	out := bufio.NewWriter(os.Stdout)
	var mu sync.Mutex
	for _, r := range m.renditions {
		wg.Go(func() { // a viewer
			for {
				v := r.current.Load()
				if v.full != nil {
					mu.Lock()
					fmt.Fprintf(out, "%s %s\n", r.track, base64.StdEncoding.EncodeToString(v.full.plain()))
					out.Flush()
					mu.Unlock()
				}
				select {
				case <-v.next:
				case <-m.Done():
					return
				}
			}
		})
	}
	v.frames, a.frames = v.frames[skip*60:], a.frames[skip*100:]
	pos := 0
	for i, f := range v.frames {
		for pos < len(a.frames) && a.frames[pos].PTS <= f.PTS {
			if err := m.WriteFrame("audio0", a.frames[pos], false); err != nil {
				return err
			}
			pos++
		}
		if err := m.WriteFrame("video0", f, false); err != nil {
			return err
		}
		if i%3 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	m.Close()
	cancel()
	wg.Wait()
	return nil
}

// TestCrash kills the muxing process again and again, wherever it is. The
// next one has to go on so that a viewer who has seen the last playlist of
// the one before finds no rule broken, and all that he knew still there.
func TestCrash(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	dir := t.TempDir()
	start := media.TimeOf(time.Now())
	last := make(map[string]*playlist.Media)
	restored, skip := 0, 0
	for round := range rounds {
		// What the process before had seen to the end may be cached upstream;
		// now and then a Group or two were lost while it was down.
		for _, p := range last {
			if n := len(p.Segments); n > 0 {
				covered := p.Segments[n-1].Time.Sub(start.Wall()) + p.Segments[n-1].Duration
				skip = max(skip, int(covered/(2*time.Second))+rng.IntN(3))
			}
		}
		if skip > 50 {
			break // the broadcast is over
		}
		after := 20 + rng.IntN(60) // playlists
		seen := crash(t, self, dir, start, skip, after, time.Duration(rng.IntN(20_000))*time.Microsecond)
		for track, versions := range seen {
			for i, p := range versions {
				prev := last[track]
				last[track] = p
				if prev == nil {
					continue
				}
				fs := append(prev.CheckUpdate(p), p.Check()...)
				fs = slices.DeleteFunc(fs, func(f playlist.Finding) bool {
					return f.Rule == "hint-broken" && i == 0 // went with the process
				})
				if len(fs) > 0 {
					t.Fatalf("round %d, seed %d, %s, version %d: %v\nbefore:\n%s\nafter:\n%s", round, seed, track, i, fs, prev.Append(nil), p.Append(nil))
				}
				if i == 0 {
					restored++
				}
			}
		}
		readAll(t, dir, last)
	}
	if restored == 0 {
		t.Error("no process found what the one before had left")
	}
	t.Logf("%d renditions restored in %d rounds", restored, rounds)
}

// crash runs the process until it has printed so many playlists and a little
// longer, kills it, and returns the playlists that it printed.
func crash(t *testing.T, self, dir string, start media.Time, skip, after int, wait time.Duration) map[string][]*playlist.Media {
	t.Helper()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stdin = strings.NewReader(fmt.Sprintln(int64(start), skip))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string][]*playlist.Media)
	lines := bufio.NewReader(out)
	for n := 0; ; n++ {
		if n == after {
			time.AfterFunc(wait, func() { _ = cmd.Process.Kill() }) // SIGKILL; it may have ended
		}
		line, err := lines.ReadString('\n')
		if err != nil {
			if err != io.EOF {
				t.Fatal(err)
			}
			break // what is torn, nobody has seen
		}
		track, code, _ := strings.Cut(strings.TrimSpace(line), " ")
		text, err := base64.StdEncoding.DecodeString(code)
		if err != nil {
			t.Fatalf("the process said %q", line)
		}
		p, err := playlist.ParseMedia(text)
		if err != nil {
			t.Fatal(err)
		}
		seen[track] = append(seen[track], p)
	}
	_ = cmd.Wait() // it was killed
	if len(seen) == 0 {
		t.Fatal("the process showed nothing")
	}
	return seen
}

// readAll opens what a killed process left, and checks that everything that
// its last playlists list can be had, byte for byte as the broadcast has it.
func readAll(t *testing.T, dir string, last map[string]*playlist.Media) {
	t.Helper()
	s, err := dvr.Open(dvr.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b, err := s.Resume("demo")
	if err != nil || b == nil {
		t.Fatalf("nothing was left: %v", err)
	}
	m := NewMuxer(Config{Window: crashWindow})
	if !m.Store(b) {
		t.Fatal("nothing was restored")
	}
	for _, r := range m.renditions {
		for _, g := range last[r.track].Segments {
			uris := []string{g.Map}
			if !g.Open() && !g.Gap {
				uris = append(uris, g.URI)
			}
			for _, p := range g.Parts {
				if !p.Gap {
					uris = append(uris, p.URI)
				}
			}
			for _, uri := range uris {
				file := strings.Replace(strings.TrimPrefix(uri, "../../m/"), "/"+r.path+"/", "/", 1)
				body, ok := r.files.get(file)
				if !ok {
					t.Fatalf("%s: %s was listed and is gone", r.track, uri)
				}
				if text := content(t, body); len(text) < 100 {
					t.Fatalf("%s: %s has %d bytes", r.track, uri, len(text))
				}
			}
		}
	}
	m.Suspend()
}
