package hlsload

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/freshet-live/freshet/media/hls"
	"github.com/freshet-live/freshet/moq/transport"
)

// overHTTP3 serves an origin as a node does, at the port of MoQ, and returns
// viewers with a connection each, and how they trust it.
func overHTTP3(tb testing.TB, o *origin, n int, parts bool) (viewers []*viewer, trust *tls.Config) {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	certs, err := transport.NewCertificates(transport.CertificateConfig{Dir: tb.TempDir(), Logger: log})
	if err != nil {
		tb.Fatal(err)
	}
	ln, err := transport.Listen(transport.ListenConfig{
		Addr: "127.0.0.1:0", TLS: certs.TLSConfig(), Protocols: []string{"moqt-19"}, HTTP: o, Logger: log,
	})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = ln.Run(ctx) // it ends with its context
	}()
	tb.Cleanup(func() { cancel(); <-ended })
	base := "https://" + ln.Addr().String()
	// Which certificate it is, is not in question here.
	trust = &tls.Config{InsecureSkipVerify: true, NextProtos: []string{http3.NextProtoH3}}
	for i := range n {
		tr := &http3.Transport{TLSClientConfig: trust}
		tb.Cleanup(func() { tr.Close() })
		viewers = append(viewers, &viewer{
			client: &http.Client{Transport: tr}, index: base + hls.Prefix + room + "/index.m3u8", track: trackOf(i), media: parts,
		})
	}
	return viewers, trust
}

// TestHTTP3 has viewers come over HTTP/3. One of them reads nothing, and is
// given up.
func TestHTTP3(t *testing.T) {
	if testing.Short() {
		t.Skip("watches for six seconds")
	}
	o := startOrigin(t, hls.ServerConfig{WriteTimeout: time.Second})
	viewers, trust := overHTTP3(t, o, 20, true)
	deaf := &http3.Transport{TLSClientConfig: trust, DisableCompression: true, QUICConfig: &quic.Config{
		InitialStreamReceiveWindow: 512, MaxStreamReceiveWindow: 512,
	}}
	defer deaf.Close()
	crowd(t, towards(8, viewers), 5*time.Second, nil)
	t.Log(sum(o, viewers))

	// A segment is more than QUIC holds by itself.
	v := viewers[0]
	list, err := v.find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := v.load(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	segment, err := list.Parse(p.Segments[0].URI)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, segment.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	held, err := deaf.RoundTrip(req)
	if err != nil {
		t.Fatalf("the one who reads nothing: %v", err)
	}
	defer held.Body.Close()
	if held.StatusCode != http.StatusOK || held.ContentLength < 4096 {
		t.Fatalf("status %d, %d bytes", held.StatusCode, held.ContentLength)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); o.server.Stats().Open > 0; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests are still being answered", o.server.Stats().Open)
		}
	}
	// What comes late is cut short, not taken for the whole.
	if b, err := io.ReadAll(held.Body); err == nil {
		t.Errorf("%d of %d bytes came after the server had given up", len(b), held.ContentLength)
	}
}
