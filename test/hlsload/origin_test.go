package hlsload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
	"github.com/freshet-live/freshet/media/hls"
	"github.com/freshet-live/freshet/media/hls/playlist"
	"github.com/freshet-live/freshet/media/packager"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/token"
	"github.com/freshet-live/freshet/relay"
)

// room is where the broadcast is.
const room = "demo"

// layers are the renditions of the picture, small, since viewers and server
// share the machine.
var layers = []string{"320x180", "240x136", "160x90"}

// origin is a node with one live broadcast and its LL-HLS. It notes what it
// is asked.
type origin struct {
	server *hls.Server

	mu       sync.Mutex
	requests map[ask]int
	wakes    map[playlistAt]time.Time
}

// ask is one kind of request.
type ask struct {
	kind      string // "index", "playlist", "media", "auth"
	rendition string
}

// playlistAt is a playlist as it is once it has a part.
type playlistAt struct {
	Rendition, MSN, Part string
}

// nobody refuses all sessions: the node has no viewers of its own.
type nobody struct{}

func (nobody) Authorize(context.Context, string) (token.Grant, error) {
	return token.Grant{}, errors.New("MoQ is not served")
}

// startOrigin goes live for the test's time. It returns once the playlists
// have something to play.
func startOrigin(tb testing.TB, cfg hls.ServerConfig) *origin {
	tb.Helper()
	var tracks []cmaftest.Track
	for _, size := range layers {
		tracks = append(tracks, cmaftest.Clip(tb, "-f", "lavfi", "-i", "testsrc2=size="+size+":rate=30", "-t", "4",
			"-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "60", "-sc_threshold", "0", "-b:v", "100k", "-maxrate", "100k", "-bufsize", "100k")...)
	}
	tracks = append(tracks, cmaftest.Clip(tb, append(cmaftest.Tone[:len(cmaftest.Tone):len(cmaftest.Tone)], "-t", "4", "-c:a", "libopus", "-ac", "2", "-b:a", "32k")...)...)

	log := slog.New(slog.DiscardHandler)
	node := relay.New(relay.Config{Authorizer: nobody{}, Implementation: "freshet-hlsload", Logger: log})
	b := packager.New(moq.Namespace{"live", room}, packager.Config{})
	cfg.Subscriber, cfg.Logger, cfg.Muxer.Window = node, log, 10*time.Minute // of what is counted, nothing leaves
	o := &origin{server: hls.NewServer(cfg), requests: make(map[ask]int), wakes: make(map[playlistAt]time.Time)}

	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = node.Run(ctx) })     // it ends with its context only
	wg.Go(func() { _ = o.server.Run(ctx) }) // and so does this
	withdraw := node.Publish(b.Broadcast())
	for i := range tracks {
		w, err := b.AddTrack(tracks[i].Format)
		if err != nil {
			tb.Error(err)
			continue
		}
		wg.Go(func() { replay(ctx, tb, &tracks[i], w) })
	}
	tb.Cleanup(func() {
		cancel()
		withdraw()
		b.Close(nil)
		wg.Wait()
	})
	o.await(tb)
	return o
}

// replay writes a clip's frames when they are due, over and over.
func replay(ctx context.Context, tb testing.TB, clip *cmaftest.Track, w media.TrackWriter) {
	n := len(clip.Frames)
	length := (clip.DTS[n-1] - clip.DTS[0]) * media.Time(n) / media.Time(n-1)
	start := media.TimeOf(time.Now())
	timer := time.NewTimer(0)
	defer timer.Stop()
	for round := media.Time(0); ; round++ {
		for i, f := range clip.Frames {
			at := start + round*length - clip.DTS[0]
			timer.Reset(time.Until((at + clip.DTS[i]).Wall()))
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
			f.PTS += at
			if err := w.WriteFrame(f); err != nil {
				tb.Errorf("writing a frame: %v", err)
				return
			}
		}
	}
}

// ServeHTTP serves as a node does, and takes notes.
func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, at := classify(r)
	o.mu.Lock()
	o.requests[a]++
	o.mu.Unlock()
	if a.kind == "auth" {
		o.server.AuthHandler().ServeHTTP(w, r)
		return
	}
	if at != (playlistAt{}) {
		w = &noting{ResponseWriter: w, o: o, at: at}
	}
	o.server.ServeHTTP(w, r)
}

// classify tells what is asked for, and which version of a playlist.
func classify(r *http.Request) (a ask, at playlistAt) {
	if r.URL.Path == authPath {
		return ask{kind: "auth"}, at
	}
	elements := strings.Split(strings.TrimPrefix(r.URL.Path, hls.Prefix+room+"/"), "/")
	switch {
	case elements[0] == "p" && len(elements) == 3:
		a = ask{"playlist", strings.TrimSuffix(elements[2], ".m3u8")}
		if q := r.URL.Query(); q.Has("_HLS_part") {
			at = playlistAt{a.rendition, q.Get("_HLS_msn"), q.Get("_HLS_part")}
		}
	case elements[0] == "m" && len(elements) == 4:
		a = ask{"media", elements[2]}
	default:
		a = ask{kind: "index"}
	}
	return a, at
}

// authPath is where proxies ask.
const authPath = "/hls-auth"

// noting notes when the first of those who wait for a version is answered,
// which is when all of them were woken.
type noting struct {
	http.ResponseWriter
	o  *origin
	at playlistAt
}

func (n *noting) WriteHeader(code int) {
	now := time.Now()
	n.o.mu.Lock()
	if _, ok := n.o.wakes[n.at]; !ok && code == http.StatusOK {
		n.o.wakes[n.at] = now
	}
	n.o.mu.Unlock()
	n.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (n *noting) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// woken returns when those who waited for a version were woken.
func (o *origin) woken(at playlistAt) (time.Time, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t, ok := o.wakes[at]
	return t, ok
}

// count returns how often a kind of request was made for each rendition.
func (o *origin) count(kind string) map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := make(map[string]int)
	for a, c := range o.requests {
		if a.kind == kind {
			n[a.rendition] += c
		}
	}
	return n
}

// made returns how many parts each layer has had, at least: as many as its
// playlist lists of the longest.
func (o *origin) made(tb testing.TB) map[string]int {
	tb.Helper()
	n := make(map[string]int)
	for i := range layers {
		b, err := o.local("/p/open/" + trackOf(i) + ".m3u8")
		if err != nil {
			tb.Fatal(err)
		}
		p, err := playlist.ParseMedia(b)
		if err != nil {
			tb.Fatal(err)
		}
		var listed time.Duration
		for _, s := range p.Segments {
			listed += s.Duration
		}
		n[trackOf(i)] = int(listed / p.PartTarget)
	}
	return n
}

// local asks without a network, and without being counted.
func (o *origin) local(path string) ([]byte, error) {
	r := httptest.NewRequest(http.MethodGet, hls.Prefix+room+path+"?jwt=local", nil)
	w := httptest.NewRecorder()
	o.server.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d: %s", path, w.Code, w.Body)
	}
	return w.Body.Bytes(), nil
}

// await waits until all layers can be played: the first playlists offer what
// was there first.
func (o *origin) await(tb testing.TB) {
	tb.Helper()
	deadline, tick := time.Now().Add(patience), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		b, err := o.local("/index.m3u8")
		offered := err == nil
		for i := range layers {
			offered = offered && bytes.Contains(b, []byte("/"+trackOf(i)+".m3u8"))
		}
		if offered {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("not all layers are offered: %v\n%s", err, b)
		}
	}
}
