// Command hls measures what one request of a media playlist costs freshet's
// LL-HLS muxer, beside that of gohlslib, the library that MediaMTX serves
// with: both in one process, fed the same H.264 frames, asked by the same
// calls of their handlers, with a ResponseWriter that throws away.
//
// It is a module of its own so that freshet's go.mod stays free of gohlslib.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	requests := flag.Int("requests", 10000, "requests of each kind")
	waiters := flag.Int("waiters", 1000, "viewers that block at once")
	flag.Parse()
	if *requests < 1 || *waiters < 1 || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "hls: --requests and --waiters are positive numbers, and there are no arguments")
		os.Exit(2)
	}
	for _, window := range []time.Duration{36 * time.Second, 30 * time.Minute} {
		if err := compare(os.Stdout, window, *requests, *waiters); err != nil {
			fmt.Fprintln(os.Stderr, "hls:", err)
			os.Exit(1)
		}
	}
}

// subject is a muxer under measurement.
type subject interface {
	http.Handler
	// feed writes the frames from one time to another.
	feed(from, to time.Duration) error
	// playlist is the path of the video's media playlist.
	playlist() string
	close()
}

// compare prints one table. window is how much both list.
func compare(w io.Writer, window time.Duration, requests, waiters int) error {
	ours, theirs, err := newOurs(window), subject(nil), error(nil)
	defer ours.close()
	if theirs, err = newTheirs(window); err != nil {
		return err
	}
	defer theirs.close()
	fed := window + 30*time.Second
	for _, s := range []subject{ours, theirs} {
		if err := s.feed(0, fed); err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "window %v: CPU per request\n%-22s %12s %12s %8s %12s %12s\n", window, "", "freshet", "gohlslib", "ratio", "bytes", "bytes")
	for _, k := range []struct{ name, query, coding string }{
		{"full", "", ""},
		{"full, gzip accepted", "", "gzip"},
		{"delta", "_HLS_skip=YES", ""},
		{"delta, gzip accepted", "_HLS_skip=YES", "gzip"},
	} {
		var cost [2]time.Duration
		var size [2]int64
		for i, s := range []subject{ours, theirs} {
			query := k.query
			if query != "" {
				// gohlslib makes delta updates for blocking requests alone.
				msn, _, err := last(s)
				if err != nil {
					return err
				}
				query = fmt.Sprintf("_HLS_msn=%d&%s", msn-1, query)
			}
			if cost[i], size[i], err = ask(s, query, k.coding, requests); err != nil {
				return err
			}
		}
		row(w, k.name, cost, size)
	}
	var cost [2]time.Duration
	var size [2]int64
	for i, s := range []subject{ours, theirs} {
		if cost[i], size[i], err = block(s, fed, waiters); err != nil {
			return err
		}
	}
	row(w, fmt.Sprintf("blocking, %d at once", waiters), cost, size)
	return nil
}

func row(w io.Writer, name string, cost [2]time.Duration, size [2]int64) {
	fmt.Fprintf(w, "%-22s %9.2f us %9.2f us %7.1fx %12d %12d\n", name, float64(cost[0])/1e3, float64(cost[1])/1e3, float64(cost[1])/float64(cost[0]), size[0], size[1])
}

// discard is a ResponseWriter that keeps nothing but counts.
type discard struct {
	header http.Header
	code   int
	n      int64
}

func (d *discard) Header() http.Header { return d.header }
func (d *discard) WriteHeader(c int)   { d.code = c }
func (d *discard) Write(b []byte) (int, error) {
	d.n += int64(len(b))
	return len(b), nil
}

func request(s subject, query, coding string) *http.Request {
	target := s.playlist()
	if query != "" {
		target += "?" + query
	}
	r := httptest.NewRequest(http.MethodGet, target, nil)
	if coding != "" {
		r.Header.Set("Accept-Encoding", coding)
	}
	return r
}

// ask makes n requests one after the other.
func ask(s subject, query, coding string, n int) (each time.Duration, size int64, err error) {
	d := &discard{header: make(http.Header)}
	r := request(s, query, coding)
	s.ServeHTTP(d, r) // what is made once is made now
	if size = d.n; d.code != http.StatusOK || size == 0 {
		return 0, 0, fmt.Errorf("%T answers %q with %d", s, query, d.code)
	}
	before := cpu()
	for range n {
		clear(d.header)
		s.ServeHTTP(d, r)
	}
	return (cpu() - before) / time.Duration(n), size, nil
}

// block has n viewers wait for the next part, and writes frames until all are
// answered. What the frames cost is measured without viewers and taken off.
func block(s subject, fed time.Duration, n int) (each time.Duration, size int64, err error) {
	const step = time.Second // one part at least
	before := cpu()
	if err := s.feed(fed, fed+step); err != nil {
		return 0, 0, err
	}
	feeding := cpu() - before
	msn, part, err := last(s)
	if err != nil {
		return 0, 0, err
	}
	query := fmt.Sprintf("_HLS_msn=%d&_HLS_part=%d", msn, part)
	answers, requests := make([]*discard, n), make([]*http.Request, n)
	for i := range answers {
		answers[i], requests[i] = &discard{header: make(http.Header)}, request(s, query, "")
	}
	var wg sync.WaitGroup
	before = cpu()
	for i := range answers {
		wg.Go(func() { s.ServeHTTP(answers[i], requests[i]) })
	}
	time.Sleep(200 * time.Millisecond) // until they wait
	err = s.feed(fed+step, fed+2*step)
	wg.Wait()
	if err != nil {
		return 0, 0, err
	}
	total := cpu() - before - feeding
	for _, d := range answers {
		if d.code != http.StatusOK || d.n == 0 {
			return 0, 0, fmt.Errorf("%T answers %q with %d", s, query, d.code)
		}
	}
	return max(total, 0) / time.Duration(n), answers[0].n, nil
}

// last returns the media sequence number of the segment that is growing, and
// how many parts it has.
func last(s subject) (msn uint64, parts int, err error) {
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, request(s, "", ""))
	text := rec.Body.String()
	for line := range strings.Lines(text) {
		if _, err := fmt.Sscanf(line, "#EXT-X-MEDIA-SEQUENCE:%d", &msn); err == nil {
			open := text[strings.LastIndex(text, "#EXTINF")+1:]
			return msn + uint64(strings.Count(text, "#EXTINF")), strings.Count(open, "#EXT-X-PART:"), nil
		}
	}
	return 0, 0, fmt.Errorf("%T: no EXT-X-MEDIA-SEQUENCE in %d %q", s, rec.Code, text)
}

// cpu is the processor time that this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no way to fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
