package hls

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestCrowdClient(t *testing.T) {
	c := newCrowd(Limits{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	for _, k := range []struct {
		remote    string
		forwarded []string
		want      string // "" for nobody
	}{
		{"192.0.2.7:1234", nil, "192.0.2.7/32"},
		{"192.0.2.7:1234", []string{"198.51.100.1"}, "192.0.2.7/32"}, // anybody can say so
		{"[2001:db8:1:2:3:4:5:6]:1234", nil, "2001:db8:1:2::/64"},
		{"[::ffff:192.0.2.7]:1234", nil, "192.0.2.7/32"},
		{"[fe80::1%eth0]:1234", nil, "fe80::/64"},
		{"127.0.0.1:1234", nil, ""},
		{"[::1]:1234", nil, ""},
		{"127.0.0.1:1234", []string{"198.51.100.1"}, "198.51.100.1/32"},
		{"10.1.2.3:1234", []string{"203.0.113.9, 198.51.100.1, 10.9.9.9"}, "198.51.100.1/32"}, // the first is made up
		{"10.1.2.3:1234", []string{"203.0.113.9", "198.51.100.1"}, "198.51.100.1/32"},
		{"10.1.2.3:1234", []string{"10.4.4.4"}, ""},
		{"10.1.2.3:1234", []string{"198.51.100.1, unknown"}, ""},
		{"10.1.2.3:1234", []string{"2001:db8::1"}, "2001:db8::/64"},
		{"@", nil, ""},
		{"", nil, ""},
	} {
		r := &http.Request{RemoteAddr: k.remote, Header: http.Header{"X-Forwarded-For": k.forwarded}}
		got := ""
		if p := c.client(r); p.IsValid() {
			got = p.String()
		}
		if got != k.want {
			t.Errorf("%s forwarding %q is %q, want %q", k.remote, k.forwarded, got, k.want)
		}
	}
}

func TestCrowdLimits(t *testing.T) {
	c := newCrowd(Limits{Requests: 3, ClientRequests: 2})
	from := func(addr string) *http.Request { return &http.Request{RemoteAddr: addr} }
	one, err := c.enter(from("192.0.2.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.enter(from("192.0.2.1:2")); err != nil {
		t.Fatal(err)
	}
	if _, err = c.enter(from("192.0.2.1:3")); !errors.Is(err, errClientFull) {
		t.Errorf("a third request of a client: %v", err)
	}
	if _, err = c.enter(from("127.0.0.1:1")); err != nil {
		t.Errorf("a proxy: %v", err)
	}
	if _, err = c.enter(from("192.0.2.2:1")); !errors.Is(err, errNodeFull) {
		t.Errorf("a fourth request of the node: %v", err)
	}
	c.leave(one)
	if _, err = c.enter(from("192.0.2.1:4")); err != nil {
		t.Errorf("after one left: %v", err)
	}
	for _, p := range []netip.Prefix{one, one, {}} {
		c.leave(p)
	}
	if c.open() != 0 || len(c.clients) != 0 {
		t.Errorf("%d requests of %d clients are left", c.open(), len(c.clients))
	}
}

// TestServerFull has one client ask for what does not come, more often than it
// may: others are served, and it is when some of its requests have ended.
func TestServerFull(t *testing.T) {
	clip := picture(t)
	synctest.Test(t, func(t *testing.T) {
		s, n, stop := serve(t, ServerConfig{Limits: Limits{ClientRequests: 10}})
		defer stop()
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() { n.publish(t, clip, "demo", 20*time.Second) })
		time.Sleep(2500 * time.Millisecond)
		from := func(ctx context.Context, addr, path string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
			r.RemoteAddr = addr
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			return w
		}
		const list = "/hls/demo/p/open/video0.m3u8"
		p := parsed(t, from(t.Context(), "192.0.2.2:1", list))
		msn, _, _ := p.Last()
		ahead := list + "?_HLS_msn=" + itoa(msn+2)
		ctx, leave := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		for range 10 {
			waiting.Go(func() { from(ctx, "192.0.2.1:1", ahead) })
		}
		synctest.Wait()
		if w := from(t.Context(), "192.0.2.1:2", list); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || w.Header().Get("Cache-Control") != cacheNever {
			t.Errorf("one request too many: status %d, %v", w.Code, w.Header())
		}
		if w := from(t.Context(), "192.0.2.2:2", list); w.Code != http.StatusOK {
			t.Errorf("another client: status %d", w.Code)
		}
		if st := s.Stats(); st.Open != 10 || st.Refused["client"] != 1 || st.Rooms != 1 || st.Bytes == 0 ||
			!slices.Contains(st.Requests, RequestCount{"playlist", 200, 2}) || !slices.Contains(st.Requests, RequestCount{"playlist", 503, 1}) {
			t.Errorf("counted %+v", st)
		}
		leave() // requests end with their clients, at once
		before := time.Now()
		waiting.Wait()
		if d := time.Since(before); d > 0 {
			t.Errorf("they ended %v after their clients had left", d)
		}
		if w := from(t.Context(), "192.0.2.1:3", list); w.Code != http.StatusOK {
			t.Errorf("after the others ended: status %d", w.Code)
		}
		if open := s.Stats().Open; open != 0 {
			t.Errorf("%d requests are left", open)
		}
	})
}
