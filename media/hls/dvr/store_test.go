package dvr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// blob is Data.
type blob []byte

func (b blob) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b)
	return int64(n), err
}

func (b blob) Len() int64 { return int64(len(b)) }

// start runs a store until stop.
func start(t *testing.T, cfg Config) (s *Store, stop func()) {
	t.Helper()
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx) // its error is nil
	}()
	synctest.Wait()
	return s, func() {
		cancel()
		<-done
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func begin(t *testing.T, s *Store, room string) *Broadcast {
	t.Helper()
	b, err := s.Begin(room)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const initName = "k/init.mp4"

// write appends n segments of two parts of size bytes each, the last of which
// may stay open.
func write(l *Log, msn uint64, n, size int, open bool) {
	for i := range n {
		m := msn + uint64(i)
		file := fmt.Sprintf("s%d.m4s", m)
		l.Write(Record{Segment: &Segment{MSN: m, File: file, Init: initName, Time: time.Now().UnixMilli()}}, "", nil, nil)
		for p := range 2 {
			body := bytes.Repeat([]byte{byte(m), byte(p)}, size/2)
			part := Part{Name: fmt.Sprintf("k/p%d-%d", m, p), Duration: time.Second, Size: int64(len(body))}
			l.Write(Record{Part: &part}, file, blob(body), nil)
		}
		if i < n-1 || !open {
			l.Write(Record{Close: &Close{Name: "k/" + file}}, "", nil, nil)
		}
		time.Sleep(2 * time.Second)
	}
}

func initialize(l *Log) { l.Init(Init{Name: initName}, "init.mp4", blob("init")) }

// TestResume writes a broadcast, damages it as a crash may, and opens it
// again.
func TestResume(t *testing.T) {
	for _, c := range []struct {
		name     string
		damage   func(t *testing.T, folder string)
		segments int // that come back, of 5
		open     bool
	}{
		{"nothing", func(*testing.T, string) {}, 4, true},
		{"a torn record", func(t *testing.T, f string) { grow(t, filepath.Join(f, "journal"), `1234abcd {"part`) }, 4, true},
		{"half a part", func(t *testing.T, f string) { grow(t, filepath.Join(f, "s14.m4s"), "half") }, 4, true},
		{"a file of nobody's", func(t *testing.T, f string) { grow(t, filepath.Join(f, "s99.m4s"), "lost") }, 4, true},
		{"a short segment", func(t *testing.T, f string) { shorten(t, filepath.Join(f, "s11.m4s")) }, 2, true},
		{"a short open segment", func(t *testing.T, f string) { shorten(t, filepath.Join(f, "s14.m4s")) }, 0, false},
		{"no initialization segment", func(t *testing.T, f string) {
			if err := os.Remove(filepath.Join(f, "init.mp4")); err != nil {
				t.Fatal(err)
			}
		}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s, stop := start(t, Config{Dir: dir})
				b := begin(t, s, "demo")
				l := b.Log("video0", "video0")
				initialize(l)
				write(l, 10, 5, 1000, true)
				stop()
				c.damage(t, filepath.Join(dir, b.folder, "video0"))

				s, stop = start(t, Config{Dir: dir})
				defer stop()
				b, err := s.Resume("demo")
				if err != nil || b == nil || len(b.Logs()) != 1 {
					t.Fatalf("nothing to resume: %v", err)
				}
				l = b.Logs()[0]
				state := l.State()
				if len(state.Segments) != c.segments || (state.Open != nil) != c.open {
					t.Errorf("%d segments and open %v, want %d and %v", len(state.Segments), state.Open != nil, c.segments, c.open)
				}
				for _, g := range append(state.Segments, opened(state)...) {
					got, err := io.ReadAll(io.NewSectionReader(l.File(g.File, 0, g.Size), 0, g.Size))
					want := append(bytes.Repeat([]byte{byte(g.MSN), 0}, 500), bytes.Repeat([]byte{byte(g.MSN), 1}, 500)...)
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("segment %d: %d bytes, %v", g.MSN, len(got), err)
					}
				}
				// What comes next is appended where the whole records end.
				initialize(l)
				write(l, 15, 3, 1000, false)
				b.Close()
				synctest.Wait()
				if got, err := measure(filepath.Join(dir, b.folder)); err != nil || got.size != s.Size() {
					t.Errorf("%d bytes on disk, counted %d: %v", got.size, s.Size(), err)
				}
				if b, err = s.Resume("demo"); err != nil || b == nil {
					t.Fatalf("nothing to resume: %v", err)
				}
				if n := len(b.Logs()[0].State().Segments); n != 3 && n != 7 && n != 3+c.segments {
					t.Errorf("%d segments afterwards", n)
				}
			})
		})
	}
}

func opened(s State) []Segment {
	if s.Open == nil {
		return nil
	}
	return []Segment{*s.Open}
}

func grow(t *testing.T, file, with string) {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteString(with)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func shorten(t *testing.T, file string) {
	if err := os.Truncate(file, 1500); err != nil {
		t.Fatal(err)
	}
}

// TestKeep lets broadcasts grow old.
func TestKeep(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, stop := start(t, Config{Dir: dir, Keep: 10 * time.Minute})
		defer stop()
		for i := range 3 {
			b := begin(t, s, fmt.Sprint("room", i))
			l := b.Log("a", "a")
			initialize(l)
			write(l, 1, 3, 100, false)
			b.Close()
			<-b.Left()
			time.Sleep(4 * time.Minute)
		}
		synctest.Wait()
		for i, want := range []bool{false, true, true} {
			if got := !s.Newest(fmt.Sprint("room", i)).IsZero(); got != want {
				t.Errorf("room%d is there: %v", i, got)
			}
		}
		if b, err := s.Resume("room0"); b != nil || err != nil {
			t.Errorf("an old broadcast: %v, %v", b, err)
		}
		// Who reads a broadcast keeps it, and only as long.
		b, err := s.Resume("room1")
		if err != nil || b == nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		if _, err := b.Logs()[0].Read("init.mp4"); err != nil {
			t.Error(err)
		}
		b.Close()
		time.Sleep(2 * janitorInterval)
		synctest.Wait()
		if rooms, err := os.ReadDir(dir); err != nil || len(rooms) != 1 || s.Size() != 0 {
			t.Errorf("%d entries and %d bytes are left: %v", len(rooms), s.Size(), err) // the lock
		}
	})
}

// TestLimit writes more than may be kept: what is over goes first, then the
// listings are told to let go.
func TestLimit(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const limit = 100_000
		s, stop := start(t, Config{Dir: dir, Limit: limit, Keep: time.Hour})
		defer stop()
		old := begin(t, s, "old")
		l := old.Log("a", "a")
		initialize(l)
		write(l, 1, 10, 1000, false)
		old.Close()
		<-old.Left()
		b := begin(t, s, "live")
		l = b.Log("a", "a")
		initialize(l)
		write(l, 1, 15, 1000, false)
		synctest.Wait()
		if s.Newest("old").IsZero() || !s.Cutoff().IsZero() {
			t.Errorf("something goes though it all fits: %d bytes; %v, %v", s.Size(), s.Newest("old"), s.Cutoff())
		}
		write(l, 16, 20, 1000, false)
		synctest.Wait()
		if !s.Newest("old").IsZero() {
			t.Error("what is over is kept though it is too much")
		}
		if !s.Cutoff().IsZero() {
			t.Error("live media has to go though it fits now")
		}
		write(l, 36, 10, 1000, false)
		synctest.Wait()
		if s.Cutoff().IsZero() {
			t.Errorf("%d bytes, and nobody has to let go", s.Size())
		}
		// Nobody does: writing stops at a tenth above.
		refused := 0
		for i := range 10 {
			done := func(ok bool) {
				if !ok {
					refused++
				}
			}
			m := uint64(46 + i)
			l.Write(Record{Segment: &Segment{MSN: m, File: "x.m4s", Init: initName}}, "", nil, nil)
			l.Write(Record{Part: &Part{Name: "k/x", Size: 4000}}, "x.m4s", blob(make([]byte, 4000)), done)
			synctest.Wait()
		}
		if got, err := measure(dir); err != nil || got.size > limit+limit/10+5000 || refused == 0 {
			t.Errorf("%d bytes on disk, %d writes refused: %v", got.size, refused, err)
		}
	})
}

// TestDescriptors reads many files at a time through few descriptors.
func TestDescriptors(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.handles = newHandles(8)
	l := begin(t, s, "demo").Log("a", "a")
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		if err := os.WriteFile(filepath.Join(l.dir, fmt.Sprint(i)), bytes.Repeat([]byte{byte(i)}, 10_000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for range 4 {
		for i := range 40 {
			wg.Go(func() {
				f := l.File(fmt.Sprint(i), 0, 10_000).Section(100, 5_000)
				got, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
				if err != nil || !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, 5_000)) {
					t.Errorf("%d: %d bytes, %v", i, len(got), err)
				}
			})
		}
	}
	wg.Wait()
	if n := s.handles.open(); n > 8 {
		t.Errorf("%d files are open", n)
	}
	if _, err := l.File("none", 0, 5).ReadAt(make([]byte, 5), 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that does not exist: %v", err)
	}
	f := l.File("1", 0, 10_000)
	if n, err := f.ReadAt(make([]byte, 20), 9_990); n != 10 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if n, err := f.ReadAt(make([]byte, 20), 10_000); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v", n, err)
	}
}

func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second store: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, room := range []string{"", "..", "a/b", "lock", ".hidden", "journal"} {
		if _, err := s.Begin(room); err == nil {
			t.Errorf("%q names a room", room)
		}
		if _, err := s.Resume(room); err == nil {
			t.Errorf("%q names a room", room)
		}
	}
}

// TestBusy has the writer stand still: the queue takes a bounded amount, the
// disk counts as slow, and nobody waits.
func TestBusy(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, stop := start(t, Config{Dir: dir})
		l := begin(t, s, "demo").Log("a", "a")
		hold := make(chan struct{})
		s.enqueue(0, func() { <-hold })
		if s.Slow() {
			t.Error("slow at once")
		}
		if !l.After(func() {}) {
			t.Error("refused though it is not slow yet")
		}
		time.Sleep(s.cfg.Patience + time.Millisecond)
		if !s.Slow() || l.After(func() { t.Error("called though refused") }) {
			t.Error("a disk that stands still is waited for")
		}
		taken, big := 0, blob(make([]byte, 1<<20))
		for l.Write(Record{Segment: &Segment{}}, "f", big, nil) {
			taken++
		}
		if taken == 0 || taken > maxQueued>>20 {
			t.Errorf("%d MiB were queued", taken)
		}
		close(hold)
		synctest.Wait()
		if s.Slow() || !l.After(func() {}) {
			t.Error("still slow")
		}
		stop()
		if l.After(func() {}) || l.Write(Record{End: true}, "", nil, nil) {
			t.Error("a stopped store takes something to do")
		}
	})
}

// TestCompaction writes for hours: the journal stays as small as what is
// listed.
func TestCompaction(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, stop := start(t, Config{Dir: dir})
		b := begin(t, s, "demo")
		l := b.Log("a", "a")
		initialize(l)
		for i := range uint64(3000) {
			write(l, 100+i, 1, 20, false)
			if i >= 50 {
				l.Write(Record{First: 100 + i - 49}, "", nil, nil)
				l.Remove(fmt.Sprintf("s%d.m4s", 100+i-50))
			}
			synctest.Wait()
		}
		info, err := os.Stat(filepath.Join(l.dir, journalName))
		if err != nil || info.Size() > 2*compactAbove {
			t.Errorf("a journal of %d bytes: %v", info.Size(), err)
		}
		stop()
		s, stop = start(t, Config{Dir: dir})
		defer stop()
		if b, err = s.Resume("demo"); err != nil || b == nil {
			t.Fatal(err)
		}
		if g := b.Logs()[0].State().Segments; len(g) != 50 || g[0].MSN != 3050 || g[49].MSN != 3099 {
			t.Errorf("%d segments", len(g))
		}
	})
}
