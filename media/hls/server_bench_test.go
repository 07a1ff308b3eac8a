package hls

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/freshet-live/freshet/moq"
)

// nowhere is a ResponseWriter that throws away.
type nowhere struct {
	header http.Header
	code   int
}

func (n *nowhere) Header() http.Header         { return n.header }
func (n *nowhere) WriteHeader(code int)        { n.code = code }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkServer measures one request of a media playlist with all that a
// server does about it: who may watch, bounds, the room, and its caching.
func BenchmarkServer(b *testing.B) {
	n := &node{broadcasts: make(map[string]*moq.Broadcast)}
	s := NewServer(ServerConfig{Subscriber: n, Secret: passKey, Authorize: func(r *http.Request, _ string) (Viewer, error) {
		if strings.Contains(r.URL.RawQuery, "jwt=") {
			return Viewer{ID: "ada"}, nil
		}
		if r.URL.Path == "/hls/open/p/open/video0.m3u8" {
			return Viewer{}, nil
		}
		return Viewer{}, errors.New("no")
	}})
	for _, name := range []string{"open", "shut"} {
		// As it is once somebody watches, without a broadcast to follow.
		rm := &room{
			id: broadcast{room: name}, name: name, muxer: NewMuxer(Config{}), cancel: func() {},
			failed: make(chan struct{}), left: make(chan struct{}), idle: time.AfterFunc(time.Hour, func() {}), requests: 1,
		}
		defer rm.idle.Stop()
		s.rooms[name] = rm
		v := video("video0", &vp9, wall(), gops(20, 60, 30)...)
		rm.muxer.Start(tracks(v))
		for _, f := range v.frames {
			if err := rm.muxer.WriteFrame(v.track, f, false); err != nil {
				b.Fatal(err)
			}
		}
	}
	ticket := pass{issued: time.Now(), expires: time.Now().Add(time.Hour), viewer: viewerOf("ada")}.sign(passKey, "shut")
	for _, k := range []struct{ name, path string }{
		{"open", "/hls/open/p/open/video0.m3u8"},
		{"pass", "/hls/shut/p/" + ticket + "/video0.m3u8"},
		{"pass, delta", "/hls/shut/p/" + ticket + "/video0.m3u8?_HLS_msn=1&_HLS_skip=YES"},
	} {
		b.Run(k.name, func(b *testing.B) {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, k.path, nil)
			if err != nil {
				b.Fatal(err)
			}
			r.RemoteAddr = "192.0.2.1:1234"
			r.Header.Set("Accept-Encoding", "gzip")
			w := &nowhere{header: make(http.Header)}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				s.ServeHTTP(w, r)
			}
			if w.code != http.StatusOK {
				b.Fatalf("status %d", w.code)
			}
		})
	}
}
