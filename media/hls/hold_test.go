package hls

import (
	"context"
	"net/http"
	pathpkg "path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq"
)

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }

// TestHold has nobody watch: the playlist of the one who comes at last begins
// with the broadcast, and the next broadcast is muxed too.
func TestHold(t *testing.T) {
	clip := picture(t)
	synctest.Test(t, func(t *testing.T) {
		s, n, stop := serve(t, ServerConfig{RestartGrace: 5 * time.Second, Linger: 10 * time.Second, StartTimeout: 3 * time.Second})
		defer stop()
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { s.Hold(ctx, "demo", "") })
		time.Sleep(10 * time.Second) // announced before it can be had
		began := time.Now()
		wg.Go(func() {
			n.publish(t, clip, "demo", 40*time.Second)
			time.Sleep(20 * time.Second) // longer than the grace
			n.publish(t, clip, "demo", 40*time.Second)
		})
		time.Sleep(30 * time.Second)
		p := parsed(t, get(t.Context(), s, "/hls/demo/p/open/video0.m3u8"))
		if at := p.Segments[0].Time.Sub(began); at > 8*time.Second {
			t.Errorf("the playlist begins %v into the broadcast", at)
		}
		time.Sleep(45 * time.Second)
		p = parsed(t, get(t.Context(), s, "/hls/demo/p/open/video0.m3u8"))
		if p.EndList {
			t.Error("the next broadcast is not muxed")
		}
		cancel()
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if rooms := s.Stats().Rooms; rooms != 0 {
			t.Errorf("%d rooms are muxed for nobody", rooms)
		}
	})
}

// TestCoHost serves a member's broadcast beside the room's own.
func TestCoHost(t *testing.T) {
	clip := picture(t)
	synctest.Test(t, func(t *testing.T) {
		s, n, stop := serve(t, ServerConfig{Authorize: guarded})
		defer stop()
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { n.publish(t, clip, "open", 20*time.Second) })
		wg.Go(func() { n.publishAs(t, clip, moq.Namespace{"live", "open", "guest"}, 20*time.Second) })
		wg.Go(func() { n.publishAs(t, clip, moq.Namespace{"live", "closed", "guest"}, 20*time.Second) })
		time.Sleep(3 * time.Second)
		_, own := first(t, s, "open", "")
		_, guest := first(t, s, "open/~guest", "")
		if !strings.HasPrefix(guest, "/hls/open/~guest/p/open/") {
			t.Errorf("a rendition at %s", guest)
		}
		for _, path := range []string{own, guest} {
			p := parsed(t, get(t.Context(), s, path))
			if w := get(t.Context(), s, pathpkg.Join(pathpkg.Dir(path), p.Segments[0].Parts[0].URI)); w.Code != http.StatusOK {
				t.Errorf("%s: a part has status %d", path, w.Code)
			}
		}
		_, closed := first(t, s, "closed/~guest", "?jwt=ada")
		if w := get(t.Context(), s, closed); w.Code != http.StatusOK || strings.Contains(closed, "/p/open/") {
			t.Errorf("%s: status %d", closed, w.Code)
		}
		for path, want := range map[string]int{
			"/hls/closed/~guest/index.m3u8": 403, "/hls/open/~nobody/index.m3u8": 404, "/hls/open/~/index.m3u8": 404,
			"/hls/open/~GUEST/index.m3u8": 404, "/hls/open/~guest": 404, "/hls/open/guest/index.m3u8": 404, "/hls/open~guest/index.m3u8": 404,
			strings.Replace(closed, "/closed/", "/open/", 1): 403, // another room's pass
		} {
			if w := get(t.Context(), s, path); w.Code != want {
				t.Errorf("%s: status %d, want %d", path, w.Code, want)
			}
		}
	})
}
