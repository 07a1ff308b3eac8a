package hls

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	pathpkg "path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/freshet-live/freshet/media/hls/dvr"
	"github.com/freshet-live/freshet/media/unpack"
	"github.com/freshet-live/freshet/moq"
)

// ServerConfig tunes a Server. Subscriber is required.
type ServerConfig struct {
	// Subscriber is where broadcasts come from: the node that the server
	// runs at.
	Subscriber unpack.Subscriber
	// Namespace maps a room to its broadcast, or to that of a co-host, a member
	// of the room; ("live", room) and ("live", room, member) by default.
	Namespace func(room, member string) moq.Namespace
	// Events maps a room to the Track of its events, which become date ranges:
	// see Muxer.AddEvent. Track "events" of ("room", room) by default. There
	// need not be any.
	Events func(room string) moq.FullTrackName
	// Authorize decides whether the request may watch the room, by its
	// Authorization header or ?jwt=; nil lets everybody. Its error is answered
	// with 403, its text stays here. It is asked about each request for a
	// multivariant playlist that brings a credential, and every other second
	// about a request without, to know whether the room is open.
	Authorize func(r *http.Request, room string) (Viewer, error)
	// Secret signs the passes of viewers and makes the keys of media. Edges
	// that share it can take each other's viewers over, and an edge keeps them
	// through a restart. Random by default; 16 bytes at least.
	Secret []byte
	// KeyPeriod is how long media is made under one key; DefaultKeyPeriod by
	// default.
	KeyPeriod time.Duration
	// AllowedOrigins are the web origins whose pages may play; empty: any.
	AllowedOrigins []string
	// MaxRooms bounds the broadcasts muxed at a time; 64 by default. Further
	// rooms are answered with 503.
	MaxRooms int
	// StartTimeout is how long the first request of a room waits for media:
	// that a Group ends, which takes as long as the publisher's key frame
	// distance. 15 s by default.
	StartTimeout time.Duration
	// Linger is how long a room is muxed on after the last request; 60 s by
	// default.
	Linger time.Duration
	// RestartGrace is how long playlists of a broadcast that ended, or whose
	// publisher was lost, wait for the publisher to come back before they end
	// too; 30 s by default.
	RestartGrace time.Duration
	// WriteTimeout is how long a client may take to read 64 KiB of an answer
	// before it is given up; 20 s by default.
	WriteTimeout time.Duration
	// Limits bounds the requests that are answered at a time.
	Limits Limits
	// Muxer tunes the rooms.
	Muxer Config
	// Store keeps the past of rooms on disk, through restarts and beyond
	// their end; nil: in memory only. Run runs it; its owner closes it.
	Store *dvr.Store
	// Logger takes what an operator should know; slog.Default() by default.
	Logger *slog.Logger
}

func (c ServerConfig) withDefaults() ServerConfig {
	if c.Namespace == nil {
		c.Namespace = func(room, member string) moq.Namespace {
			if member == "" {
				return moq.Namespace{"live", room}
			}
			return moq.Namespace{"live", room, member}
		}
	}
	if c.Events == nil {
		c.Events = func(room string) moq.FullTrackName {
			return moq.FullTrackName{Namespace: moq.Namespace{"room", room}, Track: "events"}
		}
	}
	if len(c.Secret) == 0 {
		c.Secret = make([]byte, 32)
		_, _ = rand.Read(c.Secret) // it does not fail
	}
	if c.KeyPeriod <= 0 {
		c.KeyPeriod = DefaultKeyPeriod
	}
	if c.MaxRooms <= 0 {
		c.MaxRooms = 64
	}
	if c.StartTimeout <= 0 {
		c.StartTimeout = 15 * time.Second
	}
	if c.Linger <= 0 {
		c.Linger = 60 * time.Second
	}
	if c.RestartGrace <= 0 {
		c.RestartGrace = 30 * time.Second
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = 20 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Muxer.Logger == nil {
		c.Muxer.Logger = c.Logger
	}
	return c
}

// Prefix is the path under which a Server expects its requests.
const Prefix = "/hls/"

// Server serves /hls/{room}/index.m3u8 and what lies below it, and the
// broadcasts of co-hosts below /hls/{room}/~{member}/. Each is muxed from its
// first request until Linger after its last; "room" stands for one of them in
// what follows.
type Server struct {
	cfg   ServerConfig
	gate  *gate
	crowd *crowd
	tally tally

	mu      sync.Mutex
	ctx     context.Context          // of Run; nil while it does not run
	rooms   map[string]*room         // by broadcast.String
	leaving map[string]chan struct{} // of rooms that are no longer in rooms: their left
	wg      sync.WaitGroup           // two for each room
}

// broadcast names what is muxed: a room's own broadcast, or a member's.
type broadcast struct{ room, member string }

// String returns a name that is a folder's too; rooms have no "~".
func (b broadcast) String() string {
	if b.member == "" {
		return b.room
	}
	return b.room + "~" + b.member
}

// room is a broadcast while somebody wants it.
type room struct {
	id     broadcast
	name   string // id.String()
	muxer  *Muxer
	cancel context.CancelFunc
	failed chan struct{} // closed when the broadcast could not be opened
	before chan struct{} // closed when the room of this name before has left; nil: there was none
	anew   bool          // it has nothing to do with what was there before
	left   chan struct{} // closed when it is gone, and what it kept on disk can be resumed

	// Guarded by Server.mu.
	requests int
	idle     *time.Timer // runs while requests is 0
	renewed  *room       // what takes its place if the room is live again; nil: nobody looks
	expired  bool
}

// NewServer returns a Server. It serves once Run runs.
func NewServer(cfg ServerConfig) *Server {
	cfg = cfg.withDefaults()
	return &Server{
		cfg: cfg, gate: newGate(cfg.Authorize, cfg.Secret, cfg.KeyPeriod), crowd: newCrowd(cfg.Limits),
		rooms: make(map[string]*room), leaving: make(map[string]chan struct{}),
	}
}

// Run lets the server mux until ctx is done. It owns three goroutines per room
// and those of Muxer.Feed, and the store's; it returns after the last has
// ended.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	if s.cfg.Store != nil {
		// It outlasts the rooms, which leave it things to write.
		writing, stop := context.WithCancel(context.WithoutCancel(ctx))
		var wg sync.WaitGroup
		wg.Go(func() { _ = s.cfg.Store.Run(writing) }) // its error is nil
		defer wg.Wait()
		defer stop()
	}
	s.mu.Lock()
	s.ctx = ctx
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.ctx = nil
	for _, rm := range s.rooms {
		rm.idle.Stop()
	}
	s.mu.Unlock()
	cancel()
	s.wg.Wait()
	return nil
}

// Errors of acquire.
var (
	errNoRoom   = errors.New("no such room, or nobody is live in it")
	errTooMany  = errors.New("too many rooms at this node")
	errNotReady = errors.New("the server is not running")
)

// acquire returns the room for one request, to be released. With start it
// begins to mux a room that is not; what is on disk needs no start.
func (s *Server) acquire(id broadcast, start bool) (*room, error) {
	name := id.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	rm := s.rooms[name]
	if rm == nil {
		_, leaving := s.leaving[name]
		switch {
		case !start && (s.cfg.Store == nil || !leaving && s.cfg.Store.Newest(name).IsZero()):
			return nil, errNoRoom
		case s.ctx == nil:
			return nil, errNotReady
		case len(s.rooms) >= s.cfg.MaxRooms:
			return nil, errTooMany
		}
		rm = s.openLocked(id, s.leaving[name], false)
		s.rooms[name] = rm
	}
	rm.idle.Stop()
	rm.requests++
	return rm, nil
}

// openLocked begins to mux a room behind the one before, or anew.
func (s *Server) openLocked(id broadcast, before chan struct{}, anew bool) *room {
	ctx, cancel := context.WithCancel(s.ctx)
	cfg := s.cfg.Muxer
	if cfg.MediaKey == nil {
		cfg.MediaKey = func() string { return s.gate.mediaKey(id.room) }
	}
	rm := &room{
		id: id, name: id.String(), muxer: NewMuxer(cfg), cancel: cancel,
		failed: make(chan struct{}), before: before, anew: anew, left: make(chan struct{}),
	}
	rm.idle = time.AfterFunc(s.cfg.Linger, func() { s.expire(rm) })
	s.wg.Go(func() { s.run(ctx, rm) })
	s.wg.Go(func() { rm.muxer.FollowEvents(ctx, s.cfg.Subscriber, s.cfg.Events(id.room)) })
	return rm
}

// renewPatience is how long somebody who opens a room that is over waits for
// the answer whether it is live again.
const renewPatience = 2 * time.Second

// renew looks whether a room that is over, and held by the caller, is live
// again. If so it takes its place, and the caller holds it instead.
func (s *Server) renew(ctx context.Context, rm *room) *room {
	s.mu.Lock()
	if s.ctx == nil {
		s.mu.Unlock()
		return rm
	}
	next := rm.renewed
	if next == nil || next.expired {
		next = s.openLocked(rm.id, nil, true)
		rm.renewed = next
	}
	next.idle.Stop()
	next.requests++
	s.mu.Unlock()

	timer := time.NewTimer(renewPatience + s.cfg.StartTimeout)
	defer timer.Stop()
	select {
	case <-next.muxer.Ready():
		s.mu.Lock()
		if s.rooms[rm.name] == rm {
			s.forgetLocked(rm)
			s.rooms[rm.name] = next
			rm.cancel() // what it has on disk is kept as long as anything
		}
		s.mu.Unlock()
		s.release(rm)
		return next
	case <-next.failed:
	case <-ctx.Done():
	case <-timer.C:
	}
	s.mu.Lock()
	if rm.renewed == next {
		select {
		case <-next.failed:
			rm.renewed = nil // the next one who asks looks again
			next.cancel()
		default:
		}
	}
	s.mu.Unlock()
	s.release(next)
	return rm
}

func (s *Server) release(rm *room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rm.requests--; rm.requests == 0 && s.ctx != nil {
		rm.idle.Reset(s.cfg.Linger)
	}
}

// expire ends a room that nobody asked for long enough.
func (s *Server) expire(rm *room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rm.requests == 0 {
		rm.expired = true
		s.forgetLocked(rm)
		rm.cancel()
	}
}

func (s *Server) forgetLocked(rm *room) {
	if s.rooms[rm.name] == rm {
		delete(s.rooms, rm.name)
		s.leaving[rm.name] = rm.left
		s.gate.forget(rm.id.room)
	}
}

// over tells whether the broadcast has ended for good.
func (rm *room) over() bool {
	select {
	case <-rm.muxer.Done():
		return true
	default:
		return false
	}
}

// run muxes a room until ctx is done.
func (s *Server) run(ctx context.Context, rm *room) {
	var kept *dvr.Broadcast
	defer func() {
		s.mu.Lock()
		s.forgetLocked(rm)
		rm.idle.Stop()
		s.mu.Unlock()
		rm.cancel()
		rm.muxer.Suspend() // unless it was closed; who goes on with it, goes on with its numbers
		if kept != nil {
			kept.Close()
			<-kept.Left()
		}
		close(rm.left)
		s.mu.Lock()
		if s.leaving[rm.name] == rm.left {
			delete(s.leaving, rm.name)
		}
		s.mu.Unlock()
	}()
	if s.cfg.Store != nil {
		kept = s.keep(ctx, rm)
	}
	gone, restored := time.Now(), rm.begun()
	if !restored {
		patience := s.cfg.StartTimeout
		if rm.anew {
			patience = renewPatience
		}
		var err error
		if gone, err = s.mux(ctx, rm, time.Now().Add(patience), false); err != nil {
			if ctx.Err() == nil {
				s.cfg.Logger.Info("hls: no broadcast", "room", rm.name, "error", err)
			}
			close(rm.failed)
			return
		}
	}
	// A publisher may come back; its viewers' playlists wait for it.
	for again := !restored; ctx.Err() == nil && !rm.over(); again = true {
		var err error
		if gone, err = s.mux(ctx, rm, gone.Add(s.cfg.RestartGrace), again); err != nil {
			break
		}
	}
	if ctx.Err() == nil && !rm.over() {
		rm.muxer.Close()
		s.cfg.Logger.Info("hls: broadcast over", "room", rm.name)
	}
	<-ctx.Done() // players still fetch what there was
}

// keep gives a room its place on disk, and what is there already.
func (s *Server) keep(ctx context.Context, rm *room) *dvr.Broadcast {
	if rm.before != nil {
		select {
		case <-rm.before:
		case <-ctx.Done():
			return nil
		}
	}
	var b *dvr.Broadcast
	var err error
	if !rm.anew {
		b, err = s.cfg.Store.Resume(rm.name)
	}
	if b != nil {
		if rm.muxer.Store(b) {
			s.cfg.Logger.Info("hls: restored", "room", rm.name)
			return b
		}
		b.Discard() // of no use any more
	}
	if err == nil {
		b, err = s.cfg.Store.Begin(rm.name)
	}
	if err != nil {
		s.cfg.Logger.Warn("hls: nothing is kept on disk", "room", rm.name, "error", err)
		return nil
	}
	rm.muxer.Store(b)
	return b
}

// errOver tells that what can be opened is a broadcast that has ended.
var errOver = errors.New("the broadcast is over")

// mux opens the broadcast before the deadline and feeds it to the muxer until
// it has ended, and returns when that was. The error tells that it could not
// be opened. again tells that one has ended before.
func (s *Server) mux(ctx context.Context, rm *room, deadline time.Time, again bool) (gone time.Time, err error) {
	for ; ; again = true {
		if again {
			// What ended a moment ago may still be cached upstream.
			select {
			case <-time.After(retryInterval):
			case <-ctx.Done():
				return gone, ctx.Err()
			}
		}
		open, cancel := context.WithDeadline(ctx, deadline)
		b, err := unpack.Open(open, s.cfg.Subscriber, s.cfg.Namespace(rm.id.room, rm.id.member))
		cancel()
		if err == nil && b.Catalog().Complete {
			b.Close()
			err = errOver
		}
		if err == nil {
			s.cfg.Logger.Info("hls: muxing", "room", rm.name)
			gone = s.feed(ctx, rm, b)
			b.Close()
			return gone, nil
		}
		if !rm.begun() || ctx.Err() != nil || time.Now().Add(retryInterval).After(deadline) {
			return gone, err
		}
	}
}

// begun tells whether the room had media once.
func (rm *room) begun() bool {
	select {
	case <-rm.muxer.Ready():
		return true
	default:
		return false
	}
}

// roomName is what design and control plane allow.
var roomName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.cors(w, r) {
		return
	}
	id, path, ok := locate(r.URL.Path)
	a := &answer{ResponseWriter: w, limit: s.cfg.WriteTimeout}
	defer s.tally.add(kindOf(path), a)
	if !ok {
		refuse(a, http.StatusNotFound, errNoRoom.Error())
		return
	}
	client, err := s.crowd.enter(r)
	if err != nil {
		s.tally.refuse(err)
		refuseBusy(a, err.Error())
		return
	}
	defer s.crowd.leave(client)
	s.serve(a, r, id, path)
	a.end(r)
}

// serve serves the path below a broadcast.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, id broadcast, path string) {
	p, err := s.admit(r, id.room, path)
	if err != nil {
		refuse(w, http.StatusForbidden, err.Error())
		return
	}
	playlist := strings.HasSuffix(path, ".m3u8")
	rm, err := s.acquire(id, playlist)
	switch {
	case errors.Is(err, errNoRoom):
		refuse(w, http.StatusNotFound, err.Error())
		return
	case err != nil:
		s.tally.refuse(err)
		refuseBusy(w, err.Error())
		return
	}
	defer func() { s.release(rm) }()
	if !s.await(w, r, rm) {
		return
	}
	if path == "index.m3u8" && rm.over() {
		rm = s.renew(r.Context(), rm)
	}
	if p != nil {
		r = r.WithContext(context.WithValue(r.Context(), passOf{}, p.text))
	}
	if playlist && r.URL.RawQuery != "" {
		var done func()
		r, done = s.gate.wait(r, id.room, p)
		defer done()
	}
	inner := *r
	u := *r.URL
	u.Path = "/" + path
	inner.URL = &u
	rm.muxer.ServeHTTP(w, &inner)
}

// locate splits a path into the broadcast and what lies below it.
func locate(path string) (id broadcast, below string, ok bool) {
	rest, ok := strings.CutPrefix(path, Prefix)
	if !ok {
		return id, "", false
	}
	if id.room, below, ok = strings.Cut(rest, "/"); !ok || !roomName.MatchString(id.room) {
		return id, "", false
	}
	if rest, ok = strings.CutPrefix(below, "~"); !ok {
		return id, below, true
	}
	if id.member, below, ok = strings.Cut(rest, "/"); !ok || !roomName.MatchString(id.member) {
		return id, "", false
	}
	return id, below, true
}

// passOf is the key of the pass in the context of a request that needed one.
type passOf struct{}

// passIn returns the pass that a request was let in with; "" when it needed
// none.
func passIn(r *http.Request) string {
	s, _ := r.Context().Value(passOf{}).(string)
	return s
}

// admit decides about a request below a room. Media needs no pass: who knows
// its key has read a playlist.
func (s *Server) admit(r *http.Request, room, path string) (*pass, error) {
	folder, rest, _ := strings.Cut(path, "/")
	switch folder {
	case mediaFolder:
		return nil, nil
	case playlistFolder:
		given, _, _ := strings.Cut(rest, "/")
		return s.gate.read(r, room, given)
	}
	return s.gate.enter(r, room)
}

// Revoke ends the playback of a viewer, by the ID that Authorize gave, or of
// all viewers of the room with an empty id: waiting requests end, passes are
// void, and media is made under a key that they have not seen. The viewer's
// ID stays shut out for as long as a pass may last, everybody else may come
// again if Authorize lets them. It knows this node only.
func (s *Server) Revoke(room, id string) { s.gate.revoke(room, id) }

// AuthHandler answers proxies that ask before they serve a viewer from their
// cache: nginx's auth_request with the viewer's URI in X-Original-URI, Traefik
// and Caddy with X-Forwarded-Uri. 204 lets the viewer pass, 403 does not.
func (s *Server) AuthHandler() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &answer{ResponseWriter: rw, limit: s.cfg.WriteTimeout}
		defer s.tally.add(kindAuth, w)
		// A proxy sets one of them, and passes on the other as the viewer sent
		// it: two that differ are the viewer's attempt to name something else.
		uris := append(r.Header.Values("X-Original-URI"), r.Header.Values("X-Forwarded-Uri")...)
		if uris = slices.Compact(uris); len(uris) > 1 {
			refuse(w, http.StatusForbidden, errNotAllowed.Error())
			return
		}
		u, err := url.ParseRequestURI(strings.Join(uris, ""))
		if err != nil {
			refuse(w, http.StatusBadRequest, "X-Original-URI or X-Forwarded-Uri has to name what the viewer asks for")
			return
		}
		asked := r.Clone(r.Context())
		asked.URL = u
		// A proxy takes its answer from where a path leads to, not from what it
		// says: one that goes about is nobody's honest wish.
		id, path, ok := locate(u.Path)
		if !ok || pathpkg.Clean(u.Path) != u.Path || strings.ContainsAny(u.Path, "#\\\x00") {
			refuse(w, http.StatusForbidden, errNotAllowed.Error())
			return
		}
		if _, err := s.admit(asked, id.room, path); err != nil {
			refuse(w, http.StatusForbidden, err.Error())
			return
		}
		w.Header().Set("Cache-Control", cacheDecision)
		w.WriteHeader(http.StatusNoContent)
	})
}

// await waits until the room has something to play. It answers the request
// itself when there is nothing.
func (s *Server) await(w http.ResponseWriter, r *http.Request, rm *room) bool {
	if rm.begun() {
		return true
	}
	timer := time.NewTimer(s.cfg.StartTimeout)
	defer timer.Stop()
	select {
	case <-rm.muxer.Ready():
		return true
	case <-rm.failed:
		refuse(w, http.StatusNotFound, errNoRoom.Error())
	case <-rm.muxer.Done():
		if rm.begun() {
			return true // a recording
		}
		refuse(w, http.StatusNotFound, errNoRoom.Error())
	case <-r.Context().Done():
	case <-timer.C:
		refuseBusy(w, "the broadcast has no media yet")
	}
	return false
}

// cors answers preflight requests and lets pages of allowed origins read the
// response. It returns whether the request is to be served.
func (s *Server) cors(w http.ResponseWriter, r *http.Request) bool {
	h := w.Header()
	origin := r.Header.Get("Origin")
	switch {
	case len(s.cfg.AllowedOrigins) == 0:
		h.Set("Access-Control-Allow-Origin", "*")
	case slices.Contains(s.cfg.AllowedOrigins, origin):
		h.Set("Access-Control-Allow-Origin", origin)
		h.Add("Vary", "Origin")
	default:
		h.Add("Vary", "Origin")
	}
	h.Set("Access-Control-Expose-Headers", "Content-Length, Content-Range, Date, ETag")
	if r.Method != http.MethodOptions {
		return true
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "Range, If-None-Match, Authorization")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
	return false
}
