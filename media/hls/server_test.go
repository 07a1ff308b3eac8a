package hls

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	pathpkg "path"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
	"github.com/freshet-live/freshet/media/hls/dvr"
	"github.com/freshet-live/freshet/media/hls/playlist"
	"github.com/freshet-live/freshet/media/packager"
	"github.com/freshet-live/freshet/moq"
)

// node is a relay node reduced to what a Server needs of it.
type node struct {
	mu         sync.Mutex
	broadcasts map[string]*moq.Broadcast
	held       int // subscriptions not released
}

func (n *node) Subscribe(_ context.Context, name moq.FullTrackName) (*moq.Track, func(), error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.broadcasts[name.Namespace.String()]
	if b == nil {
		return nil, nil, errors.New("does not exist")
	}
	t, ok := b.Track(name.Track)
	if !ok {
		return nil, nil, errors.New("does not exist")
	}
	n.held++
	return t, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.held--
	}, nil
}

// picture is two seconds of H.264 that unpack can read, to be made outside of
// a bubble: a GOP of 60 frames.
func picture(t *testing.T) cmaftest.Track {
	args := append(slices.Clone(cmaftest.TestSource), "-t", "2", "-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-pix_fmt", "yuv420p")
	return cmaftest.Clip(t, args...)[0]
}

// repeat plays a GOP again and again from now on.
func repeat(clip cmaftest.Track, n int) script {
	s := video("video0", &clip.Format, wall(), gops(n, len(clip.Frames), 30)...)
	for i := range s.frames {
		s.frames[i].Data = clip.Frames[i%len(clip.Frames)].Data
	}
	return s
}

// subscriptions returns how many are not released.
func (n *node) subscriptions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.held
}

// publish goes live in a room with picture and sound for d, in real time.
func (n *node) publish(t *testing.T, clip cmaftest.Track, room string, d time.Duration) {
	n.publishAs(t, clip, moq.Namespace{"live", room}, d)
}

// publishAs is publish under a Namespace of choice.
func (n *node) publishAs(t *testing.T, clip cmaftest.Track, ns moq.Namespace, d time.Duration) {
	b := packager.New(ns, packager.Config{})
	n.mu.Lock()
	n.broadcasts[ns.String()] = b.Broadcast()
	n.mu.Unlock()
	v := repeat(clip, int(d/(2*time.Second)))
	a := audio("audio0", &opus, wall(), 20*time.Millisecond, int(d/(20*time.Millisecond)))
	var wg sync.WaitGroup
	for _, s := range []script{v, a} {
		w, err := b.AddTrack(*s.frames[0].Format)
		if err != nil {
			t.Error(err)
			return
		}
		wg.Go(func() { feedTrack(t, w, s) })
	}
	wg.Wait()
	b.Close(nil)
}

func feedTrack(t *testing.T, w media.TrackWriter, s script) {
	for _, f := range s.frames {
		if d := time.Until(f.PTS.Wall()); d > 0 {
			time.Sleep(d)
		}
		if err := w.WriteFrame(f); err != nil {
			t.Error(err)
			return
		}
	}
}

// serve runs a Server for the test's time.
func serve(t *testing.T, cfg ServerConfig) (s *Server, n *node, stop func()) {
	n = &node{broadcasts: make(map[string]*moq.Broadcast)}
	cfg.Subscriber = n
	s = NewServer(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	synctest.Wait()
	return s, n, func() { cancel(); <-done }
}

// TestServer plays a room from its first request to the end of the broadcast
// and beyond, through the object model, as a player does.
func TestServer(t *testing.T) {
	clip := picture(t)
	synctest.Test(t, func(t *testing.T) {
		s, n, stop := serve(t, ServerConfig{})
		defer stop()
		var wg sync.WaitGroup
		wg.Go(func() { n.publish(t, clip, "demo", 40*time.Second) })
		time.Sleep(5500 * time.Millisecond) // the viewer comes in the middle of a GOP

		before := time.Now()
		w := get(t.Context(), s, "/hls/demo/index.m3u8")
		if w.Code != 200 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		if d := time.Since(before); d > time.Second {
			t.Errorf("the first playlist took %v", d)
		}
		mv, err := playlist.ParseMultivariant(w.Body.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range mv.Check() {
			t.Error(f)
		}
		if len(mv.Variants) != 1 || len(mv.Renditions) != 1 || mv.Variants[0].Codecs != clip.Format.MIME+",opus" {
			t.Fatalf("offered: %s", w.Body)
		}
		for _, uri := range []string{mv.Variants[0].URI, mv.Renditions[0].URI} {
			wg.Go(func() { watch(t, s, "/hls/demo/"+uri, 60) })
		}
		wg.Wait()

		// The publisher left; its playlists end after the grace and stay.
		time.Sleep(45 * time.Second)
		p := parsed(t, get(t.Context(), s, "/hls/demo/p/open/video0.m3u8"))
		if !p.EndList {
			t.Error("the playlist of an ended broadcast goes on")
		}
		if held := n.subscriptions(); held != 0 {
			t.Errorf("%d subscriptions are held", held)
		}
	})
}

// watch follows a playlist for some parts and fetches each, the hinted one
// ahead of its time.
func watch(t *testing.T, h http.Handler, path string, parts int) {
	folder := path[:strings.LastIndex(path, "/")+1]
	fetch := func(url string) *httptest.ResponseRecorder { return get(t.Context(), h, url) }
	w := fetch(path)
	for range parts {
		p, err := playlist.ParseMedia(w.Body.Bytes())
		if err != nil {
			t.Errorf("%s: %v: %s", path, err, w.Body)
			return
		}
		for _, f := range p.Check() {
			t.Errorf("%s: %v", path, f)
		}
		if len(p.Reports) != 1 {
			t.Errorf("%s: %d rendition reports", path, len(p.Reports))
		}
		if w := fetch(pathpkg.Join(folder, p.Hint)); w.Code != 200 {
			t.Errorf("%s: status %d", p.Hint, w.Code)
		}
		msn, part, _ := p.Last()
		before := time.Now()
		w = fetch(fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d&_HLS_skip=YES", path, msn, part+1))
		if d := time.Since(before); w.Code != 200 || d > 0 {
			t.Errorf("%s: status %d after %v, though the hinted part is there", path, w.Code, d)
			return
		}
	}
}

// TestServerRestart has the publisher die and come back: the player's
// requests go on, behind a discontinuity in both renditions.
func TestServerRestart(t *testing.T) {
	clip := picture(t)
	synctest.Test(t, func(t *testing.T) {
		s, n, stop := serve(t, ServerConfig{})
		defer stop()
		var wg sync.WaitGroup
		wg.Go(func() {
			n.publish(t, clip, "demo", 20*time.Second)
			time.Sleep(8 * time.Second)
			n.publish(t, clip, "demo", 20*time.Second)
		})
		time.Sleep(3 * time.Second)
		if w := get(t.Context(), s, "/hls/demo/index.m3u8"); w.Code != 200 {
			t.Fatalf("status %d", w.Code)
		}
		first := parsed(t, get(t.Context(), s, "/hls/demo/p/open/video0.m3u8"))
		wg.Wait()
		for _, track := range []string{"video0", "audio0"} {
			p := parsed(t, get(t.Context(), s, "/hls/demo/p/open/"+track+".m3u8"))
			for _, f := range p.Check() {
				t.Error(f)
			}
			n := 0
			for _, seg := range p.Segments {
				if seg.Discontinuity {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%s: %d discontinuities, want 1\n%s", track, n, p.Append(nil))
			}
			if p.MediaSequence != first.MediaSequence {
				t.Errorf("%s starts at %d, not at %d", track, p.MediaSequence, first.MediaSequence)
			}
		}
	})
}

// TestServerReleases checks that a room nobody watches is given up, and that
// a stranger cannot make the server keep anything.
func TestServerReleases(t *testing.T) {
	clip := picture(t)
	synctest.Test(t, func(t *testing.T) {
		s, n, stop := serve(t, ServerConfig{Linger: 10 * time.Second})
		var wg sync.WaitGroup
		wg.Go(func() { n.publish(t, clip, "demo", 60*time.Second) })
		time.Sleep(3 * time.Second)
		if w := get(t.Context(), s, "/hls/demo/index.m3u8"); w.Code != 200 {
			t.Fatalf("status %d", w.Code)
		}
		if n.subscriptions() == 0 {
			t.Error("muxing without a subscription")
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		s.mu.Lock()
		if len(s.rooms) != 0 {
			t.Error("the room is kept")
		}
		s.mu.Unlock()
		if held := n.subscriptions(); held != 0 {
			t.Errorf("%d subscriptions are held", held)
		}
		if w := get(t.Context(), s, "/hls/demo/m/open/video0/x.m4s"); w.Code != 404 {
			t.Errorf("media of a room that is not muxed: status %d", w.Code)
		}
		// A player that comes back finds the stream again.
		if p := parsed(t, get(t.Context(), s, "/hls/demo/p/open/video0.m3u8")); len(p.Segments) == 0 {
			t.Error("nothing to play")
		}
		stop()
		if w := get(t.Context(), s, "/hls/demo/index.m3u8"); w.Code == 200 && len(s.rooms) > 0 {
			t.Error("a stopped server begins rooms")
		}
		wg.Wait()
	})
}

// TestServerAfterTheEnd has the publisher come back after its viewers' playlist
// has ended: who opens the room anew sees the new broadcast, and its numbers
// go on from those of the old one.
func TestServerAfterTheEnd(t *testing.T) {
	clip := picture(t)
	synctest.Test(t, func(t *testing.T) {
		s, n, stop := serve(t, ServerConfig{RestartGrace: 5 * time.Second})
		defer stop()
		var wg sync.WaitGroup
		wg.Go(func() {
			n.publish(t, clip, "demo", 10*time.Second)
			time.Sleep(30 * time.Second)
			n.publish(t, clip, "demo", 10*time.Second)
		})
		time.Sleep(time.Second)
		if w := get(t.Context(), s, "/hls/demo/index.m3u8"); w.Code != 200 {
			t.Fatalf("status %d", w.Code)
		}
		time.Sleep(25 * time.Second)
		old := parsed(t, get(t.Context(), s, "/hls/demo/p/open/video0.m3u8"))
		if !old.EndList {
			t.Error("the old broadcast has not ended")
		}
		time.Sleep(16 * time.Second)
		if w := get(t.Context(), s, "/hls/demo/index.m3u8"); w.Code != 200 {
			t.Fatalf("status %d", w.Code)
		}
		p := parsed(t, get(t.Context(), s, "/hls/demo/p/open/video0.m3u8"))
		if before, _, _ := old.Last(); p.EndList || p.MediaSequence <= before {
			t.Errorf("ended %v, numbers from %d after %d", p.EndList, p.MediaSequence, before)
		}
		wg.Wait()
	})
}

func TestServerRefuses(t *testing.T) {
	clip := picture(t)
	synctest.Test(t, func(t *testing.T) {
		s, n, stop := serve(t, ServerConfig{
			MaxRooms: 1, AllowedOrigins: []string{"https://player.example"},
			Authorize: func(r *http.Request, room string) (Viewer, error) {
				if room == "secret" {
					return Viewer{}, errors.New("no")
				}
				return Viewer{}, nil
			},
		})
		defer stop()
		for path, want := range map[string]int{
			"/hls/unknown/index.m3u8": 404, "/hls/UPPER/index.m3u8": 404, "/hls/": 404, "/hls/demo": 404, "/hls/../x": 404,
			"/hls/secret/index.m3u8": 403,
		} {
			w := get(t.Context(), s, path)
			if w.Code != want || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") || w.Body.Len() == 0 {
				t.Errorf("%s: status %d, want %d with a text", path, w.Code, want)
			}
		}
		var wg sync.WaitGroup
		wg.Go(func() { n.publish(t, clip, "one", 10*time.Second) })
		wg.Go(func() { n.publish(t, clip, "two", 10*time.Second) })
		time.Sleep(2 * time.Second)
		if w := get(t.Context(), s, "/hls/one/index.m3u8"); w.Code != 200 {
			t.Errorf("status %d", w.Code)
		}
		if w := get(t.Context(), s, "/hls/two/index.m3u8"); w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("a room too many: status %d", w.Code)
		}
		for origin, want := range map[string]string{"https://player.example": "https://player.example", "https://evil.example": ""} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodOptions, "/hls/one/index.m3u8", nil)
			r.Header.Set("Origin", origin)
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != 204 || got != want || w.Header().Get("Vary") != "Origin" {
				t.Errorf("%s: status %d, allowed %q", origin, w.Code, got)
			}
		}
		wg.Wait()
	})
}

// TestServerSlowStart has a room whose catalog exists and whose media does
// not: the first request waits for a bounded time.
func TestServerSlowStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, n, stop := serve(t, ServerConfig{StartTimeout: 3 * time.Second})
		defer stop()
		b := packager.New(moq.Namespace{"live", "demo"}, packager.Config{})
		n.broadcasts[moq.Namespace{"live", "demo"}.String()] = b.Broadcast()
		before := time.Now()
		w := get(t.Context(), s, "/hls/demo/index.m3u8")
		if d := time.Since(before); d > 4*time.Second || w.Code == 200 {
			t.Errorf("status %d after %v", w.Code, d)
		}
		b.Close(nil)
	})
}

// TestServerRestored has the node restart twice: while the broadcast is live,
// which its player hardly notices, and after it has ended, which leaves a
// recording.
func TestServerRestored(t *testing.T) {
	clip := picture(t)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cfg := ServerConfig{RestartGrace: 5 * time.Second, Muxer: Config{Window: 10 * time.Minute}}
		var n *node
		run := func() (*Server, func()) {
			store, err := dvr.Open(dvr.Config{Dir: dir, Keep: 11 * time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			cfg.Store = store
			s, fresh, stop := serve(t, cfg)
			if n != nil {
				fresh.mu.Lock()
				fresh.broadcasts = n.broadcasts
				fresh.mu.Unlock()
			}
			n = fresh
			return s, func() {
				stop()
				if err := store.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		s, stop := run()
		var wg sync.WaitGroup
		publisher := n
		wg.Go(func() { publisher.publish(t, clip, "demo", 60*time.Second) })
		time.Sleep(time.Second)
		if w := get(t.Context(), s, "/hls/demo/index.m3u8"); w.Code != 200 {
			t.Fatalf("status %d", w.Code)
		}
		time.Sleep(20 * time.Second)
		const list = "/hls/demo/p/open/video0.m3u8"
		before := parsed(t, get(t.Context(), s, list))
		msn, part, _ := before.Last()
		waiting := make(chan int)
		go func() {
			waiting <- get(t.Context(), s, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=4", list, msn+1)).Code
		}()
		synctest.Wait()
		stop()
		if code := <-waiting; code != 503 {
			t.Errorf("who waited for a part was told %d", code)
		}
		time.Sleep(3 * time.Second)

		s, stop = run()
		// The first request is for a segment that the player knows.
		if w := get(t.Context(), s, pathpkg.Join("/hls/demo/p/open", before.Segments[0].URI)); w.Code != 200 {
			t.Errorf("a segment of before: status %d", w.Code)
		}
		asked := time.Now()
		w := get(t.Context(), s, fmt.Sprintf("%s?_HLS_msn=%d&_HLS_part=%d", list, msn, part+1))
		after := parsed(t, w)
		if d := time.Since(asked); d > 3*time.Second {
			t.Errorf("the player waited for %v", d)
		}
		for _, f := range append(before.CheckUpdate(after), after.Check()...) {
			if f.Rule != "hint-broken" {
				t.Errorf("%v\n%s\n%s", f, before.Append(nil), after.Append(nil))
			}
		}
		wg.Wait()
		time.Sleep(10 * time.Second)
		over := parsed(t, get(t.Context(), s, list))
		if !over.EndList || over.MediaSequence != before.MediaSequence {
			t.Errorf("ended %v from %d on, want %d", over.EndList, over.MediaSequence, before.MediaSequence)
		}
		stop()

		time.Sleep(time.Minute)
		n.mu.Lock()
		clear(n.broadcasts)
		n.mu.Unlock()
		s, stop = run()
		if w := get(t.Context(), s, "/hls/demo/index.m3u8"); w.Code != 200 {
			t.Errorf("the recording: status %d", w.Code)
		}
		recording := parsed(t, get(t.Context(), s, list))
		for _, f := range over.CheckUpdate(recording) {
			t.Error(f)
		}
		for _, g := range recording.Segments {
			if g.Gap {
				continue
			}
			if w := get(t.Context(), s, pathpkg.Join("/hls/demo/p/open", g.URI)); w.Code != 200 || w.Body.Len() == 0 {
				t.Errorf("%s: status %d", g.URI, w.Code)
			}
		}
		time.Sleep(12 * time.Minute)
		if w := get(t.Context(), s, "/hls/demo/index.m3u8"); w.Code != 404 {
			t.Errorf("the recording is too old: status %d", w.Code)
		}
		stop()
	})
}

// TestServerRestoredRestart has the publisher restart while the node is down,
// with the same formats and for less time than lost media may take: what
// follows is another timeline, which no gap joins to the one before.
func TestServerRestoredRestart(t *testing.T) {
	clip := picture(t)
	for name, same := range map[string]bool{"another publisher": false, "the same": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				var n *node
				run := func() (*Server, func()) {
					store, err := dvr.Open(dvr.Config{Dir: dir, Keep: 11 * time.Minute})
					if err != nil {
						t.Fatal(err)
					}
					s, fresh, stop := serve(t, ServerConfig{Store: store})
					if n != nil {
						fresh.broadcasts = n.broadcasts
					}
					n = fresh
					return s, func() {
						stop()
						if err := store.Close(); err != nil {
							t.Error(err)
						}
					}
				}
				s, stop := run()
				length := 20 * time.Second
				if same {
					length = 60 * time.Second
				}
				var wg sync.WaitGroup
				publisher := n
				wg.Go(func() { publisher.publish(t, clip, "demo", length) })
				time.Sleep(time.Second)
				get(t.Context(), s, "/hls/demo/index.m3u8")
				time.Sleep(18 * time.Second)
				stop()
				time.Sleep(7 * time.Second)
				if !same {
					wg.Wait()
					wg.Go(func() { publisher.publish(t, clip, "demo", 20*time.Second) })
				}
				time.Sleep(5 * time.Second)
				s, stop = run()
				defer stop()
				get(t.Context(), s, "/hls/demo/index.m3u8")
				time.Sleep(10 * time.Second)
				for _, track := range []string{"video0", "audio0"} {
					p := parsed(t, get(t.Context(), s, "/hls/demo/p/open/"+track+".m3u8"))
					for _, f := range p.Check() {
						t.Error(f)
					}
					disc, gap := 0, 0
					for _, g := range p.Segments {
						if g.Discontinuity {
							disc++
						}
						if g.Gap {
							gap++
						}
					}
					if wantDisc := !same; disc > 1 || (disc == 1) != wantDisc || (gap > 0) != same {
						t.Errorf("%s: %d discontinuities, %d gaps\n%s", track, disc, gap, p.Append(nil))
					}
				}
				wg.Wait()
			})
		})
	}
}
