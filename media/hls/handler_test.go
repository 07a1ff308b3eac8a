package hls

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	pathpkg "path"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

// get asks h for a path, with header lines "Name: value".
func get(ctx context.Context, h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
	for _, l := range header {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// feedLive writes a script in real time until it is over.
func feedLive(t *testing.T, m *Muxer, s script) {
	for _, f := range s.frames {
		if d := time.Until(f.PTS.Wall()); d > 0 {
			time.Sleep(d)
		}
		if err := m.WriteFrame(s.track, f, false); err != nil {
			t.Error(err)
			return
		}
	}
}

// running is a Muxer with n seconds of video behind it, and what comes after.
func running(t *testing.T, n int) (m *Muxer, o *observer, rest script) {
	m = NewMuxer(Config{})
	o = observe(t, m)
	s := video("video0", &vp9, wall().Add(-time.Duration(n)*time.Second), gops(n/2+20, 60, 30)...)
	m.Start(tracks(s))
	played := s
	played.frames = s.frames[:n*30+1]
	play(t, m, played)
	s.frames = s.frames[n*30+1:]
	return m, o, s
}

func parsed(t *testing.T, w *httptest.ResponseRecorder) *playlist.Media {
	t.Helper()
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	p, err := playlist.ParseMedia(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestBlockingReload walks along the live edge as a player does: each answer
// holds the part that was asked for, and comes when it exists.
func TestBlockingReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _, rest := running(t, 20)
		var wg sync.WaitGroup
		wg.Go(func() { feedLive(t, m, rest) })
		p := parsed(t, get(t.Context(), m, "/p/open/video0.m3u8"))
		for range 40 {
			msn, part, _ := p.Last()
			before := time.Now()
			p = parsed(t, get(t.Context(), m, fmt.Sprintf("/p/open/video0.m3u8?_HLS_msn=%d&_HLS_part=%d", msn, part+1)))
			gotMSN, gotPart, _ := p.Last()
			if gotMSN == msn && gotPart != part+1 || gotMSN == msn+1 && gotPart != 0 || gotMSN > msn+1 {
				t.Fatalf("asked for %d.%d, got %d.%d", msn, part+1, gotMSN, gotPart)
			}
			if d := time.Since(before); d > partTarget+100*time.Millisecond {
				t.Errorf("waited %v for one part", d)
			}
		}
		// "msn alone blocks as part 0" of that segment.
		msn, _, _ := p.Last()
		p = parsed(t, get(t.Context(), m, fmt.Sprintf("/p/open/video0.m3u8?_HLS_msn=%d", msn+1)))
		if got, part, _ := p.Last(); got != msn+1 || part != 0 {
			t.Errorf("asked for %d, got %d.%d", msn+1, got, part)
		}
		wg.Wait()
		m.Close()
	})
}

func TestReloadRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _, _ := running(t, 20)
		msn, part, _ := parsed(t, get(t.Context(), m, "/p/open/video0.m3u8")).Last()
		for query, want := range map[string]int{
			fmt.Sprintf("_HLS_msn=%d", msn+3):                                400, // more than two ahead
			fmt.Sprintf("_HLS_msn=%d&_HLS_part=%d", msn, part+1+advancePart): 400,
			fmt.Sprintf("_HLS_msn=%d", msn+2):                                503, // allowed, but nobody sends
			fmt.Sprintf("_HLS_msn=%d&_HLS_part=%d", msn, part+1):             503,
			fmt.Sprintf("_HLS_msn=%d&_HLS_part=%d", msn, part):               200,
			fmt.Sprintf("_HLS_msn=%d&_HLS_part=%d", msn-1, 99):               200, // part 0 of the next, which exists
			"_HLS_part=1":                   400,
			"_HLS_msn=-1":                   400,
			"_HLS_msn=x":                    400,
			"_HLS_msn=99999999999999999999": 400,
			fmt.Sprintf("_HLS_msn=%d&_HLS_part=-1", msn): 400,
			"_HLS_skip=maybe": 400,
			"_HLS_skip=YES":   200, // nothing to skip: a full playlist
			"%zz":             400,
			"token=abc":       200,
		} {
			before := time.Now()
			w := get(t.Context(), m, "/p/open/video0.m3u8?"+query)
			if w.Code != want {
				t.Errorf("%s: status %d, want %d", query, w.Code, want)
			}
			if waited := time.Since(before); (waited > 0) != (want == 503) || waited > 9*time.Second {
				t.Errorf("%s: answered after %v", query, waited)
			}
			if w.Code != 200 && w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: an error may be cached: %q", query, w.Header().Get("Cache-Control"))
			}
		}
		m.Close()
	})
}

// TestWaiters has 200 viewers block on one part: all of them get the same
// bytes at the moment it exists. Then they are let go by Close, and by
// leaving.
func TestWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const viewers = 200
		m, _, rest := running(t, 20)
		p := parsed(t, get(t.Context(), m, "/p/open/video0.m3u8"))
		msn, part, _ := p.Last()
		paths := []string{
			fmt.Sprintf("/p/open/video0.m3u8?_HLS_msn=%d&_HLS_part=%d", msn, part+1),
			pathpkg.Join("/p/open", p.Hint),
		}
		answers := make([]*httptest.ResponseRecorder, viewers)
		var wg sync.WaitGroup
		ask := func(ctx context.Context, paths ...string) {
			for i := range viewers {
				wg.Go(func() { answers[i] = get(ctx, m, paths[i%len(paths)]) })
			}
			synctest.Wait()
		}
		ask(t.Context(), paths...)
		if answers[0] != nil {
			t.Fatal("answered before the part exists")
		}
		now := rest
		now.frames = rest.frames[:16]
		play(t, m, now)
		wg.Wait()
		for i, w := range answers {
			if w.Code != 200 || !bytes.Equal(w.Body.Bytes(), answers[i%len(paths)].Body.Bytes()) {
				t.Fatalf("viewer %d: status %d", i, w.Code)
			}
		}
		if got := answers[1].Body.Len(); got < 15*4 {
			t.Errorf("the hinted part has %d bytes", got)
		}

		msn, part, _ = parsed(t, answers[0]).Last()
		next := fmt.Sprintf("/p/open/video0.m3u8?_HLS_msn=%d&_HLS_part=%d", msn, part+1)
		ctx, cancel := context.WithCancel(t.Context())
		ask(ctx, next)
		before := time.Now()
		cancel()
		wg.Wait()
		if d := time.Since(before); d > 0 {
			t.Errorf("viewers that left waited %v more", d)
		}

		ask(t.Context(), next)
		m.Close()
		wg.Wait()
		parsed(t, answers[0])
		p = parsed(t, get(t.Context(), m, next))
		if !p.EndList || p.Hint != "" {
			t.Error("Close did not end the playlist")
		}
		if w := get(t.Context(), m, pathpkg.Join("/p/open", p.Segments[0].URI)); w.Code != 200 {
			t.Errorf("media of an ended broadcast: status %d", w.Code)
		}
	})
}

func TestMediaResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _, _ := running(t, 20)
		p := parsed(t, get(t.Context(), m, "/p/open/video0.m3u8"))
		path := pathpkg.Join("/p/open", p.Segments[0].URI)
		whole := get(t.Context(), m, path)
		body := whole.Body.Bytes()
		if h := whole.Header(); h.Get("Content-Type") != "video/mp4" || !strings.Contains(h.Get("Cache-Control"), "immutable") ||
			h.Get("Content-Length") != fmt.Sprint(len(body)) || h.Get("Accept-Ranges") != "bytes" {
			t.Errorf("headers %v", h)
		}
		if w := get(t.Context(), m, path, "Range: bytes=10-19"); w.Code != 206 || !bytes.Equal(w.Body.Bytes(), body[10:20]) {
			t.Errorf("range: status %d, %d bytes", w.Code, w.Body.Len())
		}
		// What a client asks for that wants an unknown rest (RFC 8673).
		if w := get(t.Context(), m, path, "Range: bytes=5-9007199254740991"); w.Code != 206 || !bytes.Equal(w.Body.Bytes(), body[5:]) {
			t.Errorf("open range: status %d, %d bytes", w.Code, w.Body.Len())
		}
		if w := get(t.Context(), m, path, "Range: bytes=99999999-"); w.Code != 416 {
			t.Errorf("range beyond the end: status %d", w.Code)
		}
		if w := get(t.Context(), m, path, "If-None-Match: "+whole.Header().Get("ETag")); w.Code != 304 || w.Body.Len() > 0 {
			t.Errorf("If-None-Match: status %d", w.Code)
		}
		r := httptest.NewRequestWithContext(t.Context(), http.MethodHead, path, nil)
		w := httptest.NewRecorder()
		m.ServeHTTP(w, r)
		if w.Code != 200 || w.Body.Len() > 0 || w.Header().Get("Content-Length") != fmt.Sprint(len(body)) {
			t.Errorf("HEAD: status %d, %d bytes, %v", w.Code, w.Body.Len(), w.Header())
		}
		for _, path := range []string{path, "/index.m3u8", "/p/open/video0.m3u8"} {
			if w := get(t.Context(), m, path, "Authorization: Bearer x"); !strings.HasPrefix(w.Header().Get("Cache-Control"), "private") {
				t.Errorf("%s: what a token was shown for may be cached for all: %q", path, w.Header().Get("Cache-Control"))
			}
		}
		for _, path := range []string{"/m/open/video0/nothing.m4s", strings.Replace(path, "/open/", "/shut/", 1), "/m/open/video9/gap.m4s", "/m/open/video0/", "/m/", "/p/open/video0", "/p/open/video9.m3u8", "/", "/m/../p/open/video0.m3u8"} {
			if w := get(t.Context(), m, path); w.Code != 404 || w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: status %d", path, w.Code)
			}
		}
		r = httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, nil)
		w = httptest.NewRecorder()
		m.ServeHTTP(w, r)
		if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("POST: status %d", w.Code)
		}
		m.Close()
	})
}

func TestPlaylistResponses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, _, _ := running(t, 20)
		for _, path := range []string{"/index.m3u8", "/p/open/video0.m3u8"} {
			plain := get(t.Context(), m, path)
			if h := plain.Header(); h.Get("Content-Type") != "application/vnd.apple.mpegurl" || h.Get("Content-Encoding") != "" || h.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s: headers %v", path, h)
			}
			packed := get(t.Context(), m, path, "Accept-Encoding: br;q=1.0, gzip;q=0.8, *;q=0.1")
			z, err := gzip.NewReader(packed.Body)
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(z); err != nil || !bytes.Equal(text, plain.Body.Bytes()) {
				t.Errorf("%s: compressed text differs: %v", path, err)
			}
			a, b := plain.Header().Get("ETag"), packed.Header().Get("ETag")
			if a == b {
				t.Errorf("%s: two representations have one ETag %s", path, a)
			}
			if w := get(t.Context(), m, path, "If-None-Match: "+a); w.Code != 304 || w.Body.Len() > 0 {
				t.Errorf("%s: If-None-Match: status %d", path, w.Code)
			}
		}
		m.Close()
	})
}

func TestAcceptsGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "deflate, gzip": true, "gzip;q=0": false, "gzip; q=0.000": false,
		"gzip;q=x": false, "*": true, "*;q=0": false, "identity": false, "gzip;q=0, *": false, "br": false,
	} {
		if got := acceptsGzip(header); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

// TestLateTrack has sound begin ten seconds after the picture.
func TestLateTrack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{})
		o := observe(t, m)
		v := video("video0", &vp9, wall(), gops(20, 60, 30)...)
		a := audio("audio0", &opus, wall().Add(10*time.Second), 20*time.Millisecond, 1500)
		m.Start(tracks(v, a))
		first := v
		first.frames = v.frames[:60]
		play(t, m, first)
		select {
		case <-m.Ready():
			t.Error("offered without waiting for the sound")
		default:
		}
		second := v
		second.frames = v.frames[60:150]
		play(t, m, second)
		if p := checkMultivariant(t, m); p.Variants[0].Audio != "" {
			t.Error("a group without media is offered")
		}
		v.frames = v.frames[150:]
		play(t, m, v, a)
		if p := checkMultivariant(t, m); p.Variants[0].Audio != "opus" {
			t.Errorf("the sound is not offered: %+v", p)
		}
		m.Close()
		o.checkMedia("audio0")
	})
}

func FuzzReload(f *testing.F) {
	f.Add("_HLS_msn=1&_HLS_part=2&_HLS_skip=YES")
	f.Add("_HLS_msn=18446744073709551615&_HLS_skip=v2")
	f.Add("%&;=")
	f.Fuzz(func(t *testing.T, query string) {
		d, err := parseReload(query)
		if err == nil && (d.part < 0 || !d.block && d.part > 0) {
			t.Errorf("%q: %+v", query, d)
		}
		v := version{msn: 1 << 62, parts: 3}
		if v.has(d.msn, d.part) && v.tooFar(d.msn, d.part) {
			t.Errorf("%+v is there and too far ahead", d)
		}
	})
}

// BenchmarkPlaylist is the CPU of one playlist request.
func BenchmarkPlaylist(b *testing.B) {
	m := NewMuxer(Config{})
	s := video("video0", &vp9, media.TimeOf(time.Now()), gops(45, 60, 30)...)
	m.Start(tracks(s))
	for _, f := range s.frames {
		if err := m.WriteFrame("video0", f, false); err != nil {
			b.Fatal(err)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/p/open/video0.m3u8", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	b.ReportAllocs()
	for b.Loop() {
		m.ServeHTTP(discard{make(http.Header)}, r)
	}
}

// BenchmarkPart is the CPU of one more part of 15 frames: its boxes, and the
// playlists with 90 s behind them, compressed.
func BenchmarkPart(b *testing.B) {
	m := NewMuxer(Config{})
	s := video("video0", &vp9, media.TimeOf(time.Now()), gops(60, 60, 30)...)
	m.Start(tracks(s))
	at := s.frames[0].PTS
	i := 0
	next := func() {
		for range 15 {
			f := s.frames[i%len(s.frames)]
			f.PTS = at.Add(time.Duration(i) * time.Second / 30)
			if err := m.WriteFrame("video0", f, false); err != nil {
				b.Fatal(err)
			}
			i++
		}
	}
	for range 240 {
		next()
	}
	b.ReportAllocs()
	for b.Loop() {
		next()
	}
}

// discard is a client that reads everything and keeps nothing.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(b []byte) (int, error) { return len(b), nil }
func (d discard) WriteHeader(int)             {}
