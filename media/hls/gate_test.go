package hls

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	pathpkg "path"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media/hls/playlist"
)

var passKey = []byte("0123456789abcdef")

func TestPass(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	p := pass{issued: now, expires: now.Add(time.Hour), viewer: viewerOf("ada")}
	s := p.sign(passKey, "demo")
	if strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" || s == openPass {
		t.Errorf("%q is no path element", s)
	}
	if got, err := openPassOf(passKey, "demo", s, now); err != nil || got != p {
		t.Errorf("%+v, %v, want %+v", got, err, p)
	}
	for name, open := range map[string]func() error{
		"another room":   func() error { _, err := openPassOf(passKey, "demo2", s, now); return err },
		"another secret": func() error { _, err := openPassOf([]byte("fedcba9876543210"), "demo", s, now); return err },
		"expired":        func() error { _, err := openPassOf(passKey, "demo", s, p.expires); return err },
		"cut":            func() error { _, err := openPassOf(passKey, "demo", s[:len(s)-2], now); return err },
		"empty":          func() error { _, err := openPassOf(passKey, "demo", "", now); return err },
		"padded":         func() error { _, err := openPassOf(passKey, "demo", s+"=", now); return err },
	} {
		if err := open(); !errors.Is(err, errPass) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range s {
		forged := []byte(s)
		forged[i] ^= 1
		if _, err := openPassOf(passKey, "demo", string(forged), now); err == nil {
			t.Errorf("a pass with character %d changed opens", i)
		}
	}
}

func FuzzPass(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	f.Add(pass{issued: now, expires: now.Add(time.Hour)}.sign(passKey, "demo"))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		if p, err := openPassOf(passKey, "demo", s, now); err == nil && p.sign(passKey, "demo") != s {
			t.Errorf("%q opens, and %q is its like", s, p.sign(passKey, "demo"))
		}
	})
}

func TestMediaKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A second edge with the same secret, and one without.
		g, same := newGate(nil, passKey, 2*time.Minute), newGate(nil, passKey, 2*time.Minute)
		other := newGate(nil, []byte("fedcba9876543210"), 2*time.Minute)
		first := g.mediaKey("demo")
		if first != same.mediaKey("demo") || first == other.mediaKey("demo") || first == g.mediaKey("demo2") {
			t.Error("keys do not tell secrets and rooms apart")
		}
		seen := map[string]bool{}
		for range 10 * 60 {
			seen[g.mediaKey("demo")] = true
			time.Sleep(time.Second)
		}
		if len(seen) < 5 || len(seen) > 6 {
			t.Errorf("%d keys in ten minutes", len(seen))
		}
		before := g.mediaKey("demo")
		g.revoke("demo", "ada")
		if g.mediaKey("demo") == before {
			t.Error("a revocation leaves the key as it was")
		}
	})
}

// guarded is a server with one open room and one for those with a token.
func guarded(r *http.Request, room string) (Viewer, error) {
	tok := r.URL.Query().Get("jwt")
	switch {
	case tok == "" && room == "open":
		return Viewer{}, nil
	case tok == "short":
		return Viewer{ID: tok, Expires: time.Now().Add(20 * time.Second)}, nil
	case tok == "ada" || tok == "bob":
		return Viewer{ID: tok}, nil
	}
	return Viewer{}, errors.New("no")
}

// first returns the multivariant playlist of a room, and the path of its
// first rendition.
func first(t *testing.T, h http.Handler, room, query string) (text, rendition string) {
	t.Helper()
	w := get(t.Context(), h, "/hls/"+room+"/index.m3u8"+query)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	for line := range strings.Lines(w.Body.String()) {
		if !strings.HasPrefix(line, "#") {
			return w.Body.String(), "/hls/" + room + "/" + strings.TrimSpace(line)
		}
	}
	t.Fatalf("no variant in %s", w.Body)
	return "", ""
}

func TestGuardedRoom(t *testing.T) {
	clip := picture(t)
	synctest.Test(t, func(t *testing.T) {
		s, n, stop := serve(t, ServerConfig{Authorize: guarded, Secret: passKey})
		defer stop()
		var wg sync.WaitGroup
		defer wg.Wait()
		for _, room := range []string{"open", "shut"} {
			wg.Go(func() { n.publish(t, clip, room, 60*time.Second) })
		}
		time.Sleep(2 * time.Second)
		code := func(path string, header ...string) int { return get(t.Context(), s, path, header...).Code }

		// An open room serves everybody the same, whoever he is.
		text, open := first(t, s, "open", "")
		if again, _ := first(t, s, "open", "?jwt=ada"); again != text {
			t.Error("who needs no pass gets one")
		}
		if c := code("/hls/open/index.m3u8?jwt=wrong"); c != http.StatusForbidden {
			t.Errorf("a wrong token for an open room: status %d", c)
		}
		if c := code(open); c != http.StatusOK {
			t.Errorf("an open room: status %d", c)
		}

		for _, path := range []string{
			"/hls/shut/index.m3u8", "/hls/shut/index.m3u8?jwt=wrong", "/hls/shut/p/open/video0.m3u8", "/hls/shut/p/guess/video0.m3u8",
			"/hls/shut/p/open/video0.m3u8?jwt=wrong", "/hls/shut/p//video0.m3u8", "/hls/shut/anything",
		} {
			if c := code(path); c != http.StatusForbidden {
				t.Errorf("%s: status %d", path, c)
			}
		}
		w := get(t.Context(), s, "/hls/shut/index.m3u8?jwt=ada")
		if cc := w.Header().Get("Cache-Control"); !strings.Contains(cc, "no-store") || strings.Contains(cc, "public") {
			t.Errorf("what holds a pass may be cached: %q", cc)
		}
		adas, ada := first(t, s, "shut", "?jwt=ada")
		bobs, bob := first(t, s, "shut", "?jwt=bob")
		if ada == bob || strings.Contains(adas+bobs, "/"+openPass+"/") || strings.Contains(adas, "ada") {
			t.Errorf("passes: %s and %s", ada, bob)
		}
		mine, his := get(t.Context(), s, ada), get(t.Context(), s, bob)
		if mine.Code != http.StatusOK || !bytes.Equal(mine.Body.Bytes(), his.Body.Bytes()) {
			t.Errorf("two viewers have two playlists (status %d)", mine.Code)
		}
		if cc := mine.Header().Get("Cache-Control"); !strings.HasPrefix(cc, "private") || mine.Header().Get("X-Accel-Expires") == "" {
			t.Errorf("caching of a playlist read with a pass: %v", mine.Header())
		}
		if c := code(strings.Replace(ada, "/shut/", "/open/", 1)); c != http.StatusForbidden {
			t.Errorf("a pass of another room: status %d", c)
		}
		if c := code("/hls/shut/p/open/" + pathpkg.Base(ada) + "?jwt=ada"); c != http.StatusOK {
			t.Errorf("a token for a media playlist: status %d", c)
		}

		// Media needs its key alone, and what was listed stays where it was.
		p := parsed(t, mine)
		media := pathpkg.Join(pathpkg.Dir(ada), p.Segments[0].URI)
		if w := get(t.Context(), s, media); w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Cache-Control"), "public") {
			t.Errorf("media: status %d, %v", w.Code, w.Header())
		}
		if c := code(strings.Replace(media, "/m/", "/m/x", 1)); c != http.StatusNotFound {
			t.Errorf("media under another key: status %d", c)
		}

		// A proxy asks about each.
		auth := s.AuthHandler()
		for uri, want := range map[string]int{
			ada: 204, media: 204, open: 204, "/hls/shut/index.m3u8?jwt=ada": 204,
			"/hls/shut/index.m3u8": 403, "/hls/shut/p/open/video0.m3u8": 403, "/elsewhere": 403, "/hls/": 403, "": 400, "%": 400,
		} {
			for _, header := range []string{"X-Original-URI", "X-Forwarded-Uri"} {
				if w := get(t.Context(), auth, "/hls-auth", header+": "+uri); w.Code != want {
					t.Errorf("%s %q: status %d, want %d", header, uri, w.Code, want)
				}
			}
		}

		// A proxy passes on the header that it does not set itself.
		for _, headers := range [][]string{
			{"X-Forwarded-Uri: /hls/shut/index.m3u8", "X-Original-URI: " + open},
			{"X-Original-URI: /hls/shut/index.m3u8", "X-Forwarded-Uri: " + open},
		} {
			if w := get(t.Context(), auth, "/hls-auth", headers...); w.Code != http.StatusForbidden {
				t.Errorf("%q: status %d", headers, w.Code)
			}
		}
		if w := get(t.Context(), auth, "/hls-auth", "X-Original-URI: "+ada, "X-Forwarded-Uri: "+ada); w.Code != http.StatusNoContent {
			t.Errorf("two proxies that agree: status %d", w.Code)
		}

		// A pass ends with its token.
		_, short := first(t, s, "shut", "?jwt=short")
		if c := code(short); c != http.StatusOK {
			t.Errorf("a pass with a token that is about to end: status %d", c)
		}
		time.Sleep(21 * time.Second)
		if c := code(short); c != http.StatusForbidden {
			t.Errorf("a pass with a token that has ended: status %d", c)
		}

		// Ada waits for a part that is not there when she is revoked.
		msn, _, _ := parsed(t, get(t.Context(), s, bob)).Last()
		ahead := fmt.Sprintf("?_HLS_msn=%d&_HLS_part=0", msn+1)
		var hers, theirs *httptest.ResponseRecorder
		var asking sync.WaitGroup
		began := time.Now()
		var ended time.Duration
		asking.Go(func() { hers = get(t.Context(), s, ada+ahead); ended = time.Since(began) })
		asking.Go(func() { theirs = get(t.Context(), s, bob+ahead) })
		synctest.Wait()
		s.Revoke("shut", "ada")
		asking.Wait()
		if hers.Code != http.StatusForbidden || ended != 0 {
			t.Errorf("revoked while she waits: status %d after %v", hers.Code, ended)
		}
		if theirs.Code != http.StatusOK {
			t.Errorf("somebody else: status %d", theirs.Code)
		}
		for _, path := range []string{ada, "/hls/shut/index.m3u8?jwt=ada"} {
			if c := code(path); c != http.StatusForbidden {
				t.Errorf("revoked: status %d for %s", c, path)
			}
		}
		old, _, _ := strings.Cut(strings.TrimPrefix(p.Segments[0].URI, "../../m/"), "/")
		now := parsed(t, get(t.Context(), s, bob))
		if last := now.Segments[len(now.Segments)-1]; strings.Contains(lastURI(last), old) {
			t.Error("media is made under the key that she knows")
		}
		if c := code(media); c != http.StatusOK {
			t.Errorf("old media: status %d", c)
		}

		// All are sent away, and may come again.
		s.Revoke("shut", "")
		if c := code(bob); c != http.StatusForbidden {
			t.Errorf("everybody revoked: status %d", c)
		}
		time.Sleep(time.Second)
		if _, again := first(t, s, "shut", "?jwt=bob"); code(again) != http.StatusOK {
			t.Error("who may come again does not get in")
		}
	})
}

// lastURI is where the newest bytes of a segment lie.
func lastURI(s playlist.Segment) string {
	if n := len(s.Parts); n > 0 {
		return s.Parts[n-1].URI
	}
	return s.URI
}

// TestRoomTurnsPrivate watches a room that stops being open.
func TestRoomTurnsPrivate(t *testing.T) {
	clip := picture(t)
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		private := false
		s, n, stop := serve(t, ServerConfig{Authorize: func(*http.Request, string) (Viewer, error) {
			mu.Lock()
			defer mu.Unlock()
			if private {
				return Viewer{}, errors.New("no")
			}
			return Viewer{}, nil
		}})
		defer stop()
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { n.publish(t, clip, "demo", 20*time.Second) })
		time.Sleep(2 * time.Second)
		_, open := first(t, s, "demo", "")
		if c := get(t.Context(), s, open).Code; c != http.StatusOK {
			t.Errorf("status %d", c)
		}
		mu.Lock()
		private = true
		mu.Unlock()
		time.Sleep(openFor)
		if c := get(t.Context(), s, open).Code; c != http.StatusForbidden {
			t.Errorf("status %d for a room that is no longer open", c)
		}
	})
}
