package boot

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media/hls"
	"github.com/freshet-live/freshet/media/packager"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/relay"
)

// What is live is muxed, the room's broadcast and a co-host's, and let go once
// it is live no longer.
func TestHoldLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := relay.New(relay.Config{})
		server := hls.NewServer(hls.ServerConfig{Subscriber: node, Linger: 5 * time.Second, StartTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler)})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		wg.Go(func() { _ = node.Run(ctx) })   // it ends with its context only
		wg.Go(func() { _ = server.Run(ctx) }) // and so does this
		wg.Go(func() { holdLive(ctx, node, server) })
		synctest.Wait()
		rooms := func(want int, when string) {
			t.Helper()
			synctest.Wait()
			if n := server.Stats().Rooms; n != want {
				t.Errorf("%s: %d are muxed, want %d", when, n, want)
			}
		}
		rooms(0, "before")
		var ends []func()
		for _, ns := range []moq.Namespace{{"live", "demo"}, {"live", "demo", "ada"}, {"live", "demo", "ada", "deeper"}, {"room", "demo"}} {
			b := packager.New(ns, packager.Config{})
			withdraw := node.Publish(b.Broadcast())
			ends = append(ends, func() { withdraw(); b.Close(nil) })
		}
		rooms(2, "while two are live")
		time.Sleep(time.Minute)
		rooms(2, "after a minute without viewers and media")
		for _, end := range ends {
			end()
		}
		time.Sleep(time.Minute)
		rooms(0, "afterwards")
	})
}

func TestHLSLimits(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string // the first proxy; "" for none
		ok   bool
	}{
		{nil, "", true},
		{[]string{"--trusted-proxy", "10.1.2.3/8"}, "10.0.0.0/8", true},
		{[]string{"--trusted-proxy", "192.0.2.7"}, "192.0.2.7/32", true},
		{[]string{"--trusted-proxy", "::ffff:192.0.2.7"}, "192.0.2.7/32", true},
		{[]string{"--trusted-proxy", "2001:db8::1"}, "2001:db8::1/128", true},
		{[]string{"--trusted-proxy", "proxy.example"}, "", false},
		{[]string{"--trusted-proxy", "10.0.0.0/40"}, "", false},
		{[]string{"--hls-rooms", "0"}, "", false},
		{[]string{"--hls-requests", "-1"}, "", false},
		{[]string{"--hls-client-requests", "0"}, "", false},
	} {
		fs := flag.NewFlagSet("test", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		cfg := Flags(fs, Up)
		if err := fs.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		err := cfg.check()
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrUsage) {
			t.Errorf("%v: %v", c.args, err)
		}
		if err != nil {
			continue
		}
		l, _ := cfg.hlsLimits.parse()
		got := ""
		if len(l.Proxies) > 0 {
			got = l.Proxies[0].String()
		}
		if got != c.want {
			t.Errorf("%v: proxies at %q, want %q", c.args, got, c.want)
		}
	}
}

func TestHLSMetrics(t *testing.T) {
	server := hls.NewServer(hls.ServerConfig{MaxRooms: 1})
	w := httptest.NewRecorder()
	server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/hls/Demo/index.m3u8", nil))
	if w.Code != http.StatusNotFound {
		t.Fatalf("status %d", w.Code)
	}
	sent := w.Body.Len()
	w = httptest.NewRecorder()
	server.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/hls/demo/m/key/video0/part.m4s", nil))
	sent += w.Body.Len()
	w = httptest.NewRecorder()
	operations(relay.New(relay.Config{}), nil, server, func() error { return nil }).
		ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`freshet_hls_requests_total{kind="media",status="404"} 1`,
		`freshet_hls_refused_total{limit="node"} 0`, `freshet_hls_refused_total{limit="client"} 0`, `freshet_hls_refused_total{limit="rooms"} 0`,
		"freshet_hls_waiting 0", "freshet_hls_rooms 0", "freshet_hls_bytes_total " + strconv.Itoa(sent),
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("no %s in the metrics", want)
		}
	}
}

// A whole process with --hls-always muxes a broadcast of MoQ that nobody asked
// for, and says so in its metrics.
func TestHLSAlways(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ready.json")
	cfg := settings(t, Up, "--ready-file", file, "--hls-always")
	ctx, cancel := context.WithCancel(t.Context())
	served, ended := make(printed), make(chan error, 1)
	go func() { ended <- Run(ctx, cfg, served, io.Discard) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-served:
	case err := <-ended:
		ended <- err
		t.Fatal("it does not serve")
	}
	b, err := os.ReadFile(file)
	var ready Ready
	if err == nil {
		err = json.Unmarshal(b, &ready)
	}
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Post("http://"+ready.HTTP+"/v1/rooms/"+ready.Room+"/tokens", "application/json",
		strings.NewReader(`{"stream_key":"`+ready.StreamKey+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	var put struct{ Token string }
	err = json.NewDecoder(resp.Body).Decode(&put)
	resp.Body.Close()
	if err != nil || put.Token == "" {
		t.Fatalf("no token: %s, %v", resp.Status, err)
	}
	rooms := func() string {
		resp, err := client.Get("http://" + ready.Metrics + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(b), "\nfreshet_hls_rooms ")
		n, _, _ := strings.Cut(rest, "\n")
		return n
	}
	if n := rooms(); n != "0" {
		t.Errorf("%q rooms before anybody is live", n)
	}
	publisher := relay.New(relay.Config{Logger: slog.New(slog.DiscardHandler), Upstreams: []relay.Upstream{{
		URL: "moqt://" + ready.QUIC, Token: put.Token, Protocols: []string{"moqt-19"},
		Trust: transport.Trust{FingerprintSHA256: ready.CertificateSHA256},
	}}})
	var wg sync.WaitGroup
	defer wg.Wait()
	publish, stop := context.WithCancel(t.Context())
	defer stop()
	wg.Go(func() { _ = publisher.Run(publish) }) // it ends with its context only
	show := packager.New(liveNamespace(ready.Room), packager.Config{})
	defer show.Close(nil)
	defer publisher.Publish(show.Broadcast())()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		if rooms() == "1" {
			return
		}
		<-tick.C
	}
	t.Error("what is live is not muxed")
}
