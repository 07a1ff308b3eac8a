package hlsload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media/hls"
)

// operatorsManual has the configuration that operators are told to use.
const operatorsManual = "../../docs/hls.md"

// documented returns nginx's configuration from the operators' manual, with
// the addresses and folders of this test.
func documented(t *testing.T, dir, listen, upstream string) string {
	t.Helper()
	doc, err := os.ReadFile(operatorsManual)
	if err != nil {
		t.Fatal(err)
	}
	_, conf, _ := strings.Cut(string(doc), "```nginx\n")
	conf, _, found := strings.Cut(conf, "```")
	for old, new := range map[string]string{
		"listen 80;":                 "listen " + listen + ";",
		"server 127.0.0.1:8080;":     "server " + upstream + ";",
		"/var/cache/nginx/hls ":      dir + "/cache ",
		"/var/cache/nginx/hls-auth ": dir + "/auth ",
	} {
		found = found && strings.Count(conf, old) == 1
		conf = strings.Replace(conf, old, new, 1)
	}
	if !found {
		t.Fatalf("%s: the configuration of nginx is gone, or what this test replaces in it", operatorsManual)
	}
	return conf
}

// startNginx runs a real nginx in front of an origin for the test's time and
// returns its URL.
func startNginx(t *testing.T, upstream string) string {
	t.Helper()
	bin, err := exec.LookPath("nginx")
	if err != nil {
		bin = "/usr/sbin/nginx" // which is in few people's PATH
	}
	if _, err := os.Stat(bin); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("nginx is missing, and must not be under CI=true")
		}
		t.Skip("nginx is missing")
	}
	dir := t.TempDir()
	// The port is free until nginx takes it, unless another process is faster.
	for range 3 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listen := ln.Addr().String()
		ln.Close()
		if err = runNginx(t, bin, dir, listen, documented(t, dir, listen, upstream)); err == nil {
			return "http://" + listen
		}
		t.Log(err)
	}
	t.Fatal("nginx does not start")
	return ""
}

func runNginx(t *testing.T, bin, dir, listen, conf string) error {
	user := ""
	if os.Getuid() == 0 {
		user = "user root;\n" // the test's folders are nobody else's
	}
	var temp strings.Builder
	for _, m := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "%s_temp_path %s/%s;\n", m, dir, m)
	}
	conf = user + "daemon off;\nworker_processes 2;\nworker_rlimit_nofile 8192;\nerror_log stderr warn;\npid " + dir + "/nginx.pid;\n" +
		"events { worker_connections 4096; }\nhttp {\naccess_log off;\n" + temp.String() + conf + "}\n"
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return err
	}
	var log bytes.Buffer
	cmd := exec.Command(bin, "-e", "stderr", "-p", dir, "-c", file)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // its log tells why
	}()
	stop := func() {
		for _, sig := range []os.Signal{syscall.SIGTERM, os.Kill} {
			_ = cmd.Process.Signal(sig)
			select {
			case <-ended:
				return
			case <-time.After(10 * time.Second):
			}
		}
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if conn, err := net.Dial("tcp", listen); err == nil {
			conn.Close()
			t.Cleanup(func() {
				stop()
				if t.Failed() || log.Len() > 0 {
					t.Logf("nginx said: %.2000s", log.String())
				}
			})
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			return fmt.Errorf("nginx ended: %s", log.String())
		}
	}
	stop()
	return errors.New("nginx does not listen")
}

// tickets lets in who brings a token.
func tickets(r *http.Request, _ string) (hls.Viewer, error) {
	if tok := r.URL.Query().Get("jwt"); tok != "" {
		return hls.Viewer{ID: tok}, nil
	}
	return hls.Viewer{}, errors.New("no token")
}

// overHTTP1 returns viewers with connections of their own, each with a token
// of its own where the room asks for one.
func overHTTP1(base string, n int, private bool) []*viewer {
	viewers := make([]*viewer, n)
	for i := range viewers {
		index := base + hls.Prefix + room + "/index.m3u8"
		if private {
			index += fmt.Sprintf("?jwt=viewer-%d", i)
		}
		viewers[i] = &viewer{client: &http.Client{Transport: &http.Transport{}}, index: index, track: trackOf(i), media: true}
	}
	return viewers
}

// TestNginx has 500 viewers watch through nginx, in a room that is open and in
// one that asks each of them for a token. Three requests per part and
// rendition are all that the node has of it.
func TestNginx(t *testing.T) {
	if testing.Short() {
		t.Skip("watches for twenty seconds")
	}
	for _, private := range []bool{false, true} {
		t.Run(map[bool]string{false: "open", true: "private"}[private], func(t *testing.T) {
			cfg := hls.ServerConfig{}
			if private {
				cfg.Authorize = tickets
			}
			o := startOrigin(t, cfg)
			srv := httptest.NewServer(o)
			t.Cleanup(srv.Close)
			base := startNginx(t, srv.Listener.Addr().String())

			viewers := towards(30, overHTTP1(base, 500, private))
			before := o.made(t)
			began := time.Now()
			crowd(t, viewers, 20*time.Second, nil)
			watched := time.Since(began)
			made := o.made(t)

			playlists, media, auth := o.count("playlist"), o.count("media"), o.count("auth")
			all, parts := 0, 0
			for i := range layers {
				track := trackOf(i)
				n, m := playlists[track]+media[track], made[track]-before[track]
				t.Logf("%s: %d parts cost the node %d playlists and %d of media, %.2f requests each", track, m, playlists[track], media[track], float64(n)/float64(m))
				all += n
				parts += m
			}
			t.Logf("%v; at the node %.2f requests per part and rendition, and %d decisions about viewers, %.2f per viewer and second",
				sum(o, viewers), float64(all)/float64(parts), auth[""], float64(auth[""])/float64(len(viewers))/watched.Seconds())
			if all > 3*parts {
				t.Errorf("%d requests for %d parts, over 3 each", all, parts)
			}
		})
	}
}

// TestNginxGuards has strangers come to nginx while a viewer of a private room
// is playing, so that all that they ask for is in its cache.
func TestNginxGuards(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a broadcast to begin")
	}
	o := startOrigin(t, hls.ServerConfig{Authorize: tickets})
	srv := httptest.NewServer(o)
	t.Cleanup(srv.Close)
	base := startNginx(t, srv.Listener.Addr().String())
	v := overHTTP1(base, 1, true)[0]
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	playlist, err := v.find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	wg.Go(func() {
		ended <- v.watch(ctx)
		v.client.CloseIdleConnections()
	})
	status := func(path string, header ...string) int {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = path // as it stands
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	pass := strings.Split(playlist.Path, "/")[4]
	file := strings.Split(playlist.Path, "/")[5]
	if got := status(playlist.Path); got != http.StatusOK {
		t.Fatalf("the viewer's own playlist: status %d", got)
	}
	for name, path := range map[string]string{
		"no pass":           "/hls/demo/p/open/" + file,
		"made-up pass":      "/hls/demo/p/made-up/" + file,
		"pass of a room":    "/hls/other/p/" + pass + "/" + file,
		"by way of media":   "/hls/demo/m/../p/open/" + file,
		"by way of media 2": "/hls/demo/m/k/x/../../../p/open/" + file,
		"encoded way":       "/hls/demo/m/%2e%2e/p/open/" + file,
		"encoded slash":     "/hls/demo/m/..%2fp/open/" + file,
		"two slashes":       "/hls/demo//p/open/" + file,
		"index":             "/hls/demo/index.m3u8",
	} {
		if got := status(path); got == http.StatusOK {
			t.Errorf("%s: %s is given to a stranger", name, path)
		}
	}
	// A token in a query or a header opens the path without a pass, and what
	// it got must not be left for others.
	if got := status("/hls/demo/p/open/" + file + "?jwt=ada"); got == http.StatusOK {
		if got := status("/hls/demo/p/open/" + file); got == http.StatusOK {
			t.Error("what a token opened is open to all")
		}
	}
	// A viewer who is revoked is out once the answer about it is too old.
	select {
	case err := <-ended:
		t.Fatalf("the viewer stopped: %v", err)
	default:
	}
	o.server.Revoke(room, "viewer-0")
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "status 403") {
			t.Errorf("a revoked viewer stopped for another reason: %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("a revoked viewer goes on at the proxy")
	}
}
