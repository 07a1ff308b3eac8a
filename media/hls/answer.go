package hls

import (
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// answer is a response that is given up when its client does not read: a
// client that stands still holds a goroutine and buffers, and nothing else
// bounds for how long, as blocking requests forbid a timeout of the whole
// response. Each stretch of writing has a deadline of its own. It also notes
// what was answered.
type answer struct {
	http.ResponseWriter
	limit time.Duration
	set   time.Time // when the deadline was set last
	code  int       // 0 before the header
	bytes int64
	err   error // of the first write that failed
}

// stretch is how many bytes have to leave within a deadline: with the default
// of 20 s that is less than any line does on which a picture can be watched.
const stretch = 64 << 10

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
	a.extend()
	a.ResponseWriter.WriteHeader(code)
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (n int, err error) {
	if a.code == 0 {
		a.code = http.StatusOK
	}
	for {
		a.extend()
		w, err := a.ResponseWriter.Write(b[:min(len(b), stretch)])
		n += w
		a.bytes += int64(w)
		if b = b[w:]; err != nil || len(b) == 0 {
			a.err = err
			return n, err
		}
	}
}

// extend sets the deadline anew, not more often than it matters: over HTTP/2
// it is a message to the connection.
func (a *answer) extend() {
	now := time.Now()
	if now.Sub(a.set) < a.limit/4 {
		return
	}
	a.set = now
	// A writer without deadlines is one of a test.
	_ = http.NewResponseController(a.ResponseWriter).SetWriteDeadline(now.Add(a.limit))
}

// end ends the answer to r. One that broke off is aborted: by itself, HTTP/3
// would end its stream in order, and what came of it would be taken for the
// whole. It holds short answers back until now, and so their errors.
func (a *answer) end(r *http.Request) {
	if r.ProtoMajor == 3 && a.err == nil {
		a.err = http.NewResponseController(a.ResponseWriter).Flush()
	}
	if a.err != nil {
		panic(http.ErrAbortHandler)
	}
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Stats are counts of a Server for its operator.
type Stats struct {
	// Rooms is how many broadcasts are muxed, or kept for those who watched.
	Rooms int
	// Open is how many requests are being answered now, most of which wait
	// for what comes next.
	Open int
	// Requests counts what was answered since the start.
	Requests []RequestCount
	// Bytes counts the bodies sent, in bytes.
	Bytes uint64
	// Refused counts requests that a limit turned away, by the reasons
	// "node", "client" and "rooms".
	Refused map[string]uint64
}

// RequestCount is how often a kind of request had one outcome.
type RequestCount struct {
	Kind   string // "multivariant", "playlist", "media" or "auth"
	Status int    // of HTTP; 0 for a client that left before its answer
	Count  uint64
}

// kinds are those of requests, and statuses what they may be answered with;
// the last one of each stands for any other.
var (
	kinds    = [...]string{"multivariant", "playlist", "media", "auth", "other"}
	statuses = [...]int{0, 200, 204, 206, 304, 400, 403, 404, 405, 416, 503, 500}
	reasons  = [...]string{"node", "client", "rooms"}
)

// tally counts for Stats.
type tally struct {
	requests [len(kinds)][len(statuses)]atomic.Uint64
	refused  [len(reasons)]atomic.Uint64
	bytes    atomic.Uint64
}

// kindOf tells kinds of requests apart, by the path below the broadcast.
func kindOf(path string) int {
	switch {
	case path == "index.m3u8":
		return 0
	case strings.HasPrefix(path, playlistFolder+"/"):
		return 1
	case strings.HasPrefix(path, mediaFolder+"/"):
		return 2
	}
	return len(kinds) - 1
}

// kindAuth is that of what AuthHandler answers.
const kindAuth = 3

func (t *tally) add(kind int, a *answer) {
	status := len(statuses) - 1
	for i, s := range statuses {
		if s == a.code {
			status = i
			break
		}
	}
	t.requests[kind][status].Add(1)
	t.bytes.Add(uint64(a.bytes))
}

// refuse counts one that a limit turned away.
func (t *tally) refuse(err error) {
	for i, e := range [...]error{errNodeFull, errClientFull, errTooMany} {
		if err == e {
			t.refused[i].Add(1)
		}
	}
}

// Stats returns the counts of now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	st := Stats{Rooms: len(s.rooms)}
	s.mu.Unlock()
	st.Open, st.Bytes = s.crowd.open(), s.tally.bytes.Load()
	for k, kind := range kinds {
		for i, status := range statuses {
			if n := s.tally.requests[k][i].Load(); n > 0 {
				st.Requests = append(st.Requests, RequestCount{kind, status, n})
			}
		}
	}
	st.Refused = make(map[string]uint64)
	for i, reason := range reasons {
		st.Refused[reason] = s.tally.refused[i].Load()
	}
	return st
}
