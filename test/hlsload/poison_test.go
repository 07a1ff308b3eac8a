package hlsload

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/freshet-live/freshet/media/hls"
)

// TestNginxIsNotPoisoned has a stranger come first, with headers by which the
// node would refuse, or answer otherwise: what nginx keeps of that must not be
// what viewers get.
func TestNginxIsNotPoisoned(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a broadcast to begin")
	}
	o := startOrigin(t, hls.ServerConfig{Authorize: func(r *http.Request, _ string) (hls.Viewer, error) {
		if r.Header.Get("Authorization") != "" {
			return tickets(r, room) // which it has not
		}
		return hls.Viewer{}, nil // open to everybody
	}})
	srv := httptest.NewServer(o)
	t.Cleanup(srv.Close)
	base := startNginx(t, srv.Listener.Addr().String())
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	v := viewer{client: client, index: base + hls.Prefix + room + "/index.m3u8", track: trackOf(0)}
	for i, headers := range []map[string]string{
		// What /hls-auth may go by, all at once: nginx keeps the first answer.
		{"X-Forwarded-Uri": "/hls/other/index.m3u8", "X-Original-Uri": "/hls/other/index.m3u8", "Authorization": "Bearer wrong"},
		{"Range": "bytes=0-1"},
		{"Accept-Encoding": "br;q=1, gzip;q=0.5"},
		{"If-None-Match": "*"},
		{"Cookie": "a=b", "X-Http-Method-Override": "DELETE"},
	} {
		at, err := v.find(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// One that nobody has asked for, and nginx has nothing of.
		at.RawQuery = fmt.Sprintf("_HLS_msn=0&_HLS_part=%d", i)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range headers {
			req.Header.Set(name, value)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		p, err := v.load(t.Context(), at)
		if err != nil {
			t.Errorf("after %v, answered with %s: %v", headers, resp.Status, err)
		} else if len(p.Segments) == 0 {
			t.Errorf("after %v: an empty playlist", headers)
		}
	}
}
