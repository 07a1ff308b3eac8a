package dvr

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config says where a Store is and how large it may be. Dir is required.
type Config struct {
	// Dir is the folder of the store, made when there is none. It belongs to
	// one process at a time.
	Dir string
	// Limit bounds the bytes on disk; 20 GiB by default. What is oldest goes
	// first: broadcasts that are over, then the far end of those that are
	// written. Above it by a tenth nothing more is written.
	Limit int64
	// Keep is how long a broadcast is kept that nobody has open; 30 min by
	// default.
	Keep time.Duration
	// Patience is how long a write may wait before the disk counts as slow,
	// and news is no longer held back for it; 100 ms by default, a fifth of a
	// part.
	Patience time.Duration
	// Logger takes what an operator should know; slog.Default() by default.
	Logger *slog.Logger
}

// DefaultLimit is the default of Config.Limit, in bytes.
const DefaultLimit = 20 << 30

const (
	// maxQueued and maxOps bound what waits for the disk, in bytes and in
	// writes: two seconds of 64 rooms at 16 Mbit/s.
	maxQueued = 256 << 20
	maxOps    = 1 << 14
	// maxOpen is how many files are kept open for reading.
	maxOpen = 256
	// janitorInterval is how often what is too old is looked for.
	janitorInterval = 10 * time.Second
)

// Store keeps broadcasts below one folder. See Open and Run.
type Store struct {
	cfg     Config
	lock    *os.File
	handles *handles
	wake    chan struct{} // of the writer; holds one
	total   atomic.Int64  // bytes on disk
	waiting atomic.Int64  // since when the first of queue waits, Unix nanoseconds; 0: nothing does
	cutoff  atomic.Int64  // media before it has to go, milliseconds since the Unix epoch

	mu      sync.Mutex
	running bool
	queue   []op
	queued  int64 // bytes of queue
	used    map[string]*Broadcast
	idle    map[string]map[string]idle // by room and folder below Dir
}

// idle is a broadcast that nobody has open.
type idle struct {
	size   int64
	newest time.Time
}

// op is something for the writer to do.
type op struct {
	at   time.Time
	size int64
	do   func()
}

// ErrInUse is the error of Open for a folder that another process has.
var ErrInUse = errors.New("dvr: in use by another process")

// Open returns the store in cfg.Dir. It starts no goroutine; until Run runs,
// nothing is written.
func Open(cfg Config) (*Store, error) {
	if cfg.Limit <= 0 {
		cfg.Limit = DefaultLimit
	}
	if cfg.Keep <= 0 {
		cfg.Keep = 30 * time.Minute
	}
	if cfg.Patience <= 0 {
		cfg.Patience = 100 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("dvr: %w", err)
	}
	s := &Store{
		cfg: cfg, handles: newHandles(maxOpen), wake: make(chan struct{}, 1),
		used: make(map[string]*Broadcast), idle: make(map[string]map[string]idle),
	}
	var err error
	if s.lock, err = os.OpenFile(filepath.Join(cfg.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("dvr: %w", err)
	}
	if err := lock(s.lock); err != nil {
		_ = s.lock.Close()
		return nil, fmt.Errorf("%w: %s: %w", ErrInUse, cfg.Dir, err)
	}
	if err := s.scan(); err != nil {
		_ = s.lock.Close()
		return nil, fmt.Errorf("dvr: %w", err)
	}
	return s, nil
}

// scan learns what is on disk.
func (s *Store) scan() error {
	rooms, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return err
	}
	for _, room := range rooms {
		if !room.IsDir() {
			continue
		}
		runs, err := os.ReadDir(filepath.Join(s.cfg.Dir, room.Name()))
		if err != nil {
			return err
		}
		for _, run := range runs {
			name := filepath.Join(room.Name(), run.Name())
			i, err := measure(filepath.Join(s.cfg.Dir, name))
			if err != nil {
				return err
			}
			s.addIdleLocked(name, i)
			s.total.Add(i.size)
		}
	}
	return nil
}

// addIdleLocked keeps in mind a broadcast that nobody has open.
func (s *Store) addIdleLocked(name string, i idle) {
	room := filepath.Dir(name)
	if s.idle[room] == nil {
		s.idle[room] = make(map[string]idle)
	}
	s.idle[room][name] = i
}

// takeIdleLocked takes one out again.
func (s *Store) takeIdleLocked(name string) (i idle, ok bool) {
	room := filepath.Dir(name)
	if i, ok = s.idle[room][name]; !ok {
		return i, false
	}
	if delete(s.idle[room], name); len(s.idle[room]) == 0 {
		delete(s.idle, room)
	}
	return i, true
}

// newestLocked returns the last broadcast of a room that nobody has open; ""
// when there is none.
func (s *Store) newestLocked(room string) string {
	best := ""
	for name := range s.idle[room] {
		best = max(best, name)
	}
	return best
}

// measure adds up the files of a folder.
func measure(dir string) (i idle, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		i.size += info.Size()
		if info.ModTime().After(i.newest) {
			i.newest = info.ModTime()
		}
		return nil
	})
	if now := time.Now(); i.newest.After(now) {
		i.newest = now // clocks are set back
	}
	return i, err
}

// Run writes what is queued until ctx is done, and then what still is. It
// works in the caller's goroutine and starts none.
func (s *Store) Run(ctx context.Context) error {
	s.mu.Lock()
	s.running = true
	s.mu.Unlock()
	tick := time.NewTicker(janitorInterval)
	defer tick.Stop()
	s.tidy()
	for {
		for s.step() {
		}
		select {
		case <-s.wake:
		case <-tick.C:
			s.tidy()
		case <-ctx.Done():
			s.mu.Lock()
			s.running = false
			s.mu.Unlock()
			for s.step() {
			}
			s.handles.close()
			return nil
		}
	}
}

// Close gives the folder back. Run must have returned.
func (s *Store) Close() error {
	s.handles.close()
	return s.lock.Close()
}

// step does what is queued first. It returns false when there is nothing.
func (s *Store) step() bool {
	s.mu.Lock()
	if len(s.queue) == 0 {
		s.queue = nil
		s.waiting.Store(0)
		s.mu.Unlock()
		return false
	}
	o := s.queue[0]
	s.queue[0] = op{}
	s.queue = s.queue[1:]
	s.waiting.Store(o.at.UnixNano())
	s.mu.Unlock()
	o.do()
	s.mu.Lock()
	s.queued -= o.size
	s.mu.Unlock()
	return true
}

// enqueue takes something to do that holds size bytes. It returns false when
// it will not be done.
func (s *Store) enqueue(size int64, do func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running || len(s.queue) >= maxOps || s.queued+size > maxQueued {
		return false
	}
	now := time.Now()
	s.queue = append(s.queue, op{now, size, do})
	s.queued += size
	s.waiting.CompareAndSwap(0, now.UnixNano())
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return true
}

// Slow tells whether the disk does not keep up at the moment.
func (s *Store) Slow() bool {
	since := s.waiting.Load()
	return since != 0 && time.Since(time.Unix(0, since)) > s.cfg.Patience
}

// Cutoff returns the time before which media should leave its playlist, so
// that Limit is kept; the zero Time when all of it may stay.
func (s *Store) Cutoff() time.Time {
	if ms := s.cutoff.Load(); ms > 0 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

// Size is the number of bytes on disk.
func (s *Store) Size() int64 { return s.total.Load() }

// full tells whether nothing more may be written.
func (s *Store) full() bool { return s.total.Load() > s.cfg.Limit+s.cfg.Limit/10 }

// tidy removes broadcasts that are too old, or too many. It is the writer's.
func (s *Store) tidy() {
	type entry struct {
		name string
		idle
	}
	s.mu.Lock()
	var all []entry
	for _, room := range s.idle {
		for name, i := range room {
			all = append(all, entry{name, i})
		}
	}
	s.mu.Unlock()
	slices.SortFunc(all, func(a, b entry) int { return a.newest.Compare(b.newest) })
	for _, e := range all {
		if time.Since(e.newest) > s.cfg.Keep || s.total.Load() > s.cfg.Limit {
			s.removeIdle(e.name)
		}
	}
	s.balance()
}

// removeIdle removes a broadcast unless somebody has opened it meanwhile.
func (s *Store) removeIdle(name string) {
	s.mu.Lock()
	i, ok := s.takeIdleLocked(name) // Resume does not find it any more
	s.mu.Unlock()
	if !ok {
		return
	}
	if err := os.RemoveAll(filepath.Join(s.cfg.Dir, name)); err != nil {
		s.cfg.Logger.Warn("dvr: cannot remove an old broadcast", "error", err)
	}
	s.total.Add(-i.size)
	_ = os.Remove(filepath.Join(s.cfg.Dir, filepath.Dir(name))) // the room, if that was its last
}

// balance moves the cutoff so that what is listed keeps to the limit. It is
// the writer's.
func (s *Store) balance() {
	if s.total.Load() <= s.cfg.Limit {
		return
	}
	type entry struct {
		time, size int64
	}
	var listed int64
	var all []entry
	s.mu.Lock()
	allowed := s.cfg.Limit
	for _, room := range s.idle {
		for _, i := range room {
			allowed -= i.size
		}
	}
	var logs []*Log
	for _, b := range s.used {
		logs = append(logs, b.list()...)
	}
	s.mu.Unlock()
	for _, l := range logs {
		allowed -= l.journal
		for i := range l.state.Segments {
			g := &l.state.Segments[i]
			listed += g.Size
			all = append(all, entry{g.Time, g.Size})
		}
	}
	if listed <= allowed {
		return
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(a.time, b.time) })
	for i := 0; i < len(all) && listed > allowed; i++ {
		listed -= all[i].size
		s.cutoff.Store(max(s.cutoff.Load(), all[i].time+1))
	}
}

// Broadcast is a broadcast on disk that somebody has open.
type Broadcast struct {
	store  *Store
	folder string // below the store's
	left   chan struct{}
	newest atomic.Int64 // when something was written last, Unix nanoseconds
	closed bool         // guarded by store.mu

	mu   sync.Mutex
	logs map[string]*Log // by path
}

// roomFolder tells whether name may name a folder of the store.
func roomFolder(name string) bool {
	return validFile(name) && name != "lock" && filepath.IsLocal(name)
}

var errRoom = errors.New("dvr: not the name of a room")

// Begin opens a new broadcast of a room. It writes nothing yet.
func (s *Store) Begin(room string) (*Broadcast, error) {
	if !roomFolder(room) {
		return nil, fmt.Errorf("%w: %q", errRoom, room)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := time.Now().UnixMilli(); ; n++ {
		// Names of equal length, so that their order is that of time.
		folder := filepath.Join(room, fmt.Sprintf("%013d", n))
		if _, taken := s.idle[room][folder]; taken || s.used[folder] != nil {
			continue
		}
		b := &Broadcast{store: s, folder: folder, left: make(chan struct{}), logs: make(map[string]*Log)}
		s.used[folder] = b
		return b, nil
	}
}

// Resume opens the last broadcast of a room that nobody has open, nil when
// there is none. It reads the journals, which takes milliseconds.
func (s *Store) Resume(room string) (*Broadcast, error) {
	if !roomFolder(room) {
		return nil, fmt.Errorf("%w: %q", errRoom, room)
	}
	b := s.claim(room)
	if b == nil {
		return nil, nil
	}
	dir := filepath.Join(s.cfg.Dir, b.folder)
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("dvr: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		l, err := s.load(b, e.Name())
		if err != nil {
			s.cfg.Logger.Warn("dvr: a rendition cannot be restored", "room", room, "rendition", e.Name(), "error", err)
			continue
		}
		b.mu.Lock()
		b.logs[e.Name()] = l
		b.mu.Unlock()
	}
	return b, nil
}

// claim takes the newest idle broadcast of a room.
func (s *Store) claim(room string) *Broadcast {
	s.mu.Lock()
	defer s.mu.Unlock()
	best := s.newestLocked(room)
	if best == "" {
		return nil
	}
	i, _ := s.takeIdleLocked(best)
	b := &Broadcast{store: s, folder: best, left: make(chan struct{}), logs: make(map[string]*Log)}
	b.newest.Store(i.newest.UnixNano())
	s.used[best] = b
	return b
}

// Newest returns when something was written last of the broadcast that
// Resume would open; the zero Time when there is none.
func (s *Store) Newest(room string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.idle[room][s.newestLocked(room)].newest
}

// Name tells broadcasts of a room apart; it is short and fits a URI.
func (b *Broadcast) Name() string {
	n, _ := strconv.ParseInt(filepath.Base(b.folder), 10, 64) // Begin made it, or nothing depends on it
	return strconv.FormatInt(n, 36)
}

// Logs returns what Resume found, one Log for each rendition.
func (b *Broadcast) Logs() []*Log { return b.list() }

func (b *Broadcast) list() []*Log {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*Log, 0, len(b.logs))
	for _, l := range b.logs {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *Log) int { return strings.Compare(a.head.Path, b.head.Path) })
	return out
}

// Log returns the log of a rendition, a new one if need be. It reads and
// writes nothing.
func (b *Broadcast) Log(track, path string) *Log {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.logs[path]
	if l == nil {
		l = newLog(b, Head{Version: Version, Track: track, Path: path})
		b.logs[path] = l
	}
	return l
}

// Close lets the broadcast go, once what is queued was written. It is kept
// for Config.Keep, and Resume finds it as long.
func (b *Broadcast) Close() {
	if !b.store.enqueue(0, b.leave) {
		b.leave()
	}
}

// leave makes the broadcast idle.
func (b *Broadcast) leave() {
	s := b.store
	i, err := measure(filepath.Join(s.cfg.Dir, b.folder))
	s.mu.Lock()
	defer s.mu.Unlock()
	if b.closed {
		return
	}
	b.closed = true
	delete(s.used, b.folder)
	i.newest = time.Unix(0, b.newest.Load())
	if err == nil && i.size > 0 { // otherwise nothing was written
		s.addIdleLocked(b.folder, i)
	}
	close(b.left)
}

// Left is closed when Close has had its effect: Resume finds the broadcast.
func (b *Broadcast) Left() <-chan struct{} { return b.left }

// Discard closes the broadcast and removes it.
func (b *Broadcast) Discard() {
	drop := func() {
		b.leave()
		b.store.removeIdle(b.folder)
	}
	if !b.store.enqueue(0, drop) {
		b.leave()
	}
}
