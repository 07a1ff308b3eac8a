package hlsload

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media/hls"
)

// TestNginxPassesOn has the node send hinted parts as they are made, and
// checks that nginx does not keep them until they are whole: its client reads
// the first of one while the node is still writing.
func TestNginxPassesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a broadcast to begin")
	}
	o := startOrigin(t, hls.ServerConfig{Muxer: hls.Config{Trickle: true}})
	var writing atomic.Int32 // answers with media that have not ended
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a, _ := classify(r); a.kind == "media" {
			writing.Add(1)
			defer writing.Add(-1)
		}
		o.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	base := startNginx(t, srv.Listener.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	v := viewer{client: &http.Client{Transport: &http.Transport{}}, index: base + hls.Prefix + room + "/index.m3u8", track: trackOf(0)}
	defer v.client.CloseIdleConnections()
	at, err := v.find(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const tries = 10
	early := 0
	p, err := v.load(ctx, at)
	if err != nil {
		t.Fatal(err)
	}
	for range tries {
		u, err := at.Parse(p.Hint)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := v.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var some [1]byte
		_, err = resp.Body.Read(some[:])
		if writing.Load() > 0 {
			early++
		}
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		msn, part, _ := p.Last()
		next := *at
		next.RawQuery = url.Values{"_HLS_msn": {fmt.Sprint(msn)}, "_HLS_part": {fmt.Sprint(part + 1)}}.Encode()
		if p, err = v.load(ctx, &next); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of %d hinted parts came in pieces", early, tries)
	if early < tries/2 {
		t.Errorf("nginx held back %d of %d parts", tries-early, tries)
	}
}
