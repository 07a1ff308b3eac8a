package dvr

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// journalName is the file of the journal in a rendition's folder.
const journalName = "journal"

// compactAbove is the size from which a journal is rewritten when most of
// what it says is no longer listed.
const compactAbove = 128 << 10

// Log is the past of one rendition. Its methods queue and return; they may be
// called with locks held. done functions are called by the writer, and must
// not wait for a lock that is held while a method is called.
type Log struct {
	store *Store
	b     *Broadcast
	head  Head
	dir   string

	// The writer's, but for the time between Resume and the first write.
	state   State
	journal int64 // bytes of the journal, and of what it is worth
	begun   bool  // the journal exists
	bad     bool  // the open segment could not be written: leave it out
	warned  bool
	late    []lateInit // initialization segments that could not be written yet

	mu    sync.Mutex
	sizes map[string]int64 // of files, by name
}

type lateInit struct {
	init Init
	file string
	data Data
}

// Data is bytes that can be written more than once.
type Data interface {
	io.WriterTo
	Len() int64
}

func newLog(b *Broadcast, head Head) *Log {
	return &Log{
		store: b.store, b: b, head: head, sizes: make(map[string]int64),
		dir: filepath.Join(b.store.cfg.Dir, b.folder, head.Path),
	}
}

// State returns what Resume read. It must not be called after the first
// write.
func (l *Log) State() State { return l.state }

// Cutoff returns the time before which media should leave its playlist.
func (l *Log) Cutoff() time.Time { return l.store.Cutoff() }

// Write queues a record, behind data that is appended to file. It returns
// false when that will not be done; done, if not nil, hears whether it was.
func (l *Log) Write(r Record, file string, data Data, done func(ok bool)) bool {
	var size int64
	if data != nil {
		size = data.Len()
	}
	return l.store.enqueue(size, func() {
		err := l.write(r, file, data)
		if err != nil && !errors.Is(err, errSkipped) && !l.warned {
			l.warned = true // once, until it works again
			l.store.cfg.Logger.Warn("dvr: cannot write; recent media stays in memory only", "folder", l.dir, "error", err)
		}
		if done != nil {
			done(err == nil)
		}
	})
}

// Init queues an initialization segment, which is kept and tried again as
// long as it cannot be written.
func (l *Log) Init(init Init, file string, data Data) bool {
	return l.store.enqueue(data.Len(), func() {
		l.late = append(l.late, lateInit{init, file, data})
		_ = l.writeLate() // the next segment tries again, and says so
	})
}

// After has f called once all that was queued so far is written. It returns
// false when the caller should not wait for that: the disk is slow.
func (l *Log) After(f func()) bool {
	return !l.store.Slow() && l.store.enqueue(0, f)
}

// Remove queues the removal of files.
func (l *Log) Remove(names ...string) {
	if len(names) == 0 {
		return
	}
	l.store.enqueue(0, func() { // refused: they go with the broadcast
		for _, name := range names {
			l.remove(name)
		}
	})
}

// Read returns all of a small file.
func (l *Log) Read(name string) ([]byte, error) {
	if !validFile(name) {
		return nil, fmt.Errorf("dvr: file %q", name)
	}
	b, err := os.ReadFile(filepath.Join(l.dir, name))
	if err != nil {
		return nil, fmt.Errorf("dvr: %w", err)
	}
	return b, nil
}

// File returns size bytes of a file from off on.
func (l *Log) File(name string, off, size int64) *File {
	return &File{store: l.store, path: filepath.Join(l.dir, name), off: off, size: size}
}

var (
	errSkipped = errors.New("dvr: a part of the segment could not be written before")
	errFull    = errors.New("dvr: the limit is reached")
)

// write appends data and r. What fails is undone, and the rest of its
// segment is left out.
func (l *Log) write(r Record, file string, data Data) (err error) {
	if r.Segment != nil {
		l.bad = false
		if err = l.writeLate(); err != nil {
			l.bad = true
			return err
		}
	}
	if ofSegment := r.Segment != nil || r.Part != nil || r.Close != nil; ofSegment {
		if l.bad {
			return errSkipped
		}
		defer func() {
			if err != nil {
				l.bad, l.state.Open = true, nil
			}
		}()
	}
	if !l.begun {
		if err := l.begin(); err != nil {
			return err
		}
	}
	if data != nil {
		if l.store.full() {
			return errFull
		}
		if err := l.appendFile(file, data); err != nil {
			l.remove(file)
			return err
		}
	}
	if err := l.record(r); err != nil {
		return err
	}
	if r.Close != nil {
		l.warned = false
		if l.store.total.Load() > l.store.cfg.Limit {
			l.store.tidy()
		}
		l.compact()
	}
	return nil
}

// begin makes the folder and the journal.
func (l *Log) begin() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	l.begun = true
	if err := l.record(Record{Head: &l.head}); err != nil {
		l.begun, l.state = false, State{}
		return err
	}
	return nil
}

// record appends r to the journal and the state.
func (l *Log) record(r Record) error {
	line, err := appendRecord(nil, r)
	if err != nil {
		return err
	}
	if err := l.state.Apply(r); err != nil {
		return err
	}
	path := filepath.Join(l.dir, journalName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	if err != nil {
		_ = f.Truncate(l.journal) // a torn line would hide what follows
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	l.b.newest.Store(time.Now().UnixNano())
	l.journal += int64(len(line))
	l.grow(int64(len(line)))
	return nil
}

func (l *Log) grow(n int64) { l.store.total.Add(n) }

// appendFile appends data to a file.
func (l *Log) appendFile(name string, data Data) error {
	f, err := os.OpenFile(filepath.Join(l.dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	n, err := data.WriteTo(f)
	l.mu.Lock()
	l.sizes[name] += n
	l.mu.Unlock()
	l.grow(n)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// remove removes a file.
func (l *Log) remove(name string) {
	path := filepath.Join(l.dir, name)
	l.store.handles.forget(path)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		l.store.cfg.Logger.Warn("dvr: cannot remove", "error", err)
		return
	}
	l.mu.Lock()
	n := l.sizes[name]
	delete(l.sizes, name)
	l.mu.Unlock()
	l.grow(-n)
}

// writeLate writes the initialization segments that are still to be written.
func (l *Log) writeLate() error {
	for len(l.late) > 0 {
		i := &l.late[0]
		if !l.begun {
			if err := l.begin(); err != nil {
				return err
			}
		}
		l.mu.Lock()
		_, there := l.sizes[i.file]
		l.mu.Unlock()
		if !there {
			if err := l.appendFile(i.file, i.data); err != nil {
				l.remove(i.file)
				return err
			}
		}
		if err := l.record(Record{Init: &i.init}); err != nil {
			return err
		}
		l.late = l.late[1:]
	}
	return nil
}

// keepParts is how many segments at the end keep their parts in a rewritten
// journal: playlists list parts of the last 30 s.
const keepParts = 64

// compact rewrites a journal that says much more than what is listed.
func (l *Log) compact() {
	if l.journal < compactAbove {
		return
	}
	s := l.state
	s.Segments = append([]Segment(nil), s.Segments...)
	for i := range max(0, len(s.Segments)-keepParts) {
		s.Segments[i].Parts = nil
	}
	var text []byte
	for _, r := range s.Records() {
		var err error
		if text, err = appendRecord(text, r); err != nil {
			return
		}
	}
	if int64(len(text)) > l.journal/2 {
		return
	}
	path := filepath.Join(l.dir, journalName)
	next := path + ".new"
	err := os.WriteFile(next, text, 0o600)
	if err == nil {
		err = os.Rename(next, path)
	}
	if err != nil {
		_ = os.Remove(next)
		l.store.cfg.Logger.Warn("dvr: cannot rewrite a journal", "error", err)
		return
	}
	l.grow(int64(len(text)) - l.journal)
	l.journal = int64(len(text))
	// Records drops initialization segments that nothing uses.
	l.state, _ = Replay(text)
}

// load reads the journal of a rendition and makes the files agree with it.
func (s *Store) load(b *Broadcast, path string) (*Log, error) {
	if !validFile(path) {
		return nil, fmt.Errorf("dvr: folder %q", path)
	}
	l := newLog(b, Head{Version: Version, Path: path})
	name := filepath.Join(l.dir, journalName)
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxJournal {
		return nil, fmt.Errorf("dvr: a journal of %d bytes", info.Size())
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	state, whole := Replay(text)
	if state.Head.Path != path {
		return nil, errors.New("dvr: not a journal of this version and rendition")
	}
	if whole < len(text) {
		s.cfg.Logger.Info("dvr: a journal has a torn end", "file", name, "bytes", len(text)-whole)
		if err := os.Truncate(name, int64(whole)); err != nil {
			return nil, err
		}
		s.total.Add(int64(whole - len(text)))
	}
	l.head, l.state, l.begun, l.journal = state.Head, state, true, int64(whole)
	if err := l.reconcile(); err != nil {
		return nil, err
	}
	return l, nil
}

// reconcile removes files that the journal does not know, cuts off what it
// does not know of the open one, and forgets segments without their file.
func (l *Log) reconcile() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	have := make(map[string]int64)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || e.Name() == journalName {
			continue
		}
		have[e.Name()] = info.Size()
	}
	s := &l.state
	inits := make(map[string]bool)
	keep := make(map[string]bool)
	for i := range s.Inits {
		file := FileOf(s.Inits[i].Name)
		if have[file] > 0 {
			inits[s.Inits[i].Name], keep[file] = true, true
		}
	}
	good := func(g *Segment) bool { return inits[g.Init] && (g.File == "" || have[g.File] >= g.Size) }
	from := 0
	for i := range s.Segments {
		if !good(&s.Segments[i]) {
			from = i + 1
		}
	}
	if s.Open != nil && !good(s.Open) {
		s.Open, from = nil, len(s.Segments)
	}
	s.Segments = s.Segments[from:]
	for i := range s.Segments {
		keep[s.Segments[i].File] = true
	}
	if g := s.Open; g != nil && g.File != "" && have[g.File] > g.Size {
		if err := os.Truncate(filepath.Join(l.dir, g.File), g.Size); err != nil {
			return err
		}
		l.grow(g.Size - have[g.File])
		have[g.File] = g.Size
	}
	if s.Open != nil {
		keep[s.Open.File] = true
	}
	for name, size := range have {
		l.sizes[name] = size
		if !keep[name] {
			l.remove(name)
		}
	}
	return nil
}
