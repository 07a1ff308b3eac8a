package hlscheck

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestTLS watches the clean origin over TCP, in real time: over HTTP/2 there
// is nothing to find, without HTTP/2 that itself is.
func TestTLS(t *testing.T) {
	for _, http2 := range []bool{true, false} {
		o := newOrigin()
		srv := httptest.NewUnstartedServer(o)
		srv.EnableHTTP2 = http2
		srv.StartTLS()
		roots := x509.NewCertPool()
		roots.AddCert(srv.Certificate())
		rep, err := Run(t.Context(), srv.URL+"/index.m3u8", Config{Duration: 3 * time.Second, TLS: &tls.Config{RootCAs: roots}})
		srv.Close()
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"}[http2]; !http2 && rep.Protocol != want || http2 && rep.Streams[0].Versions == 0 {
			t.Errorf("%s, want %s", rep.Protocol, want)
		}
		found := false
		for _, f := range rep.Findings {
			if f.Rule == "http2" {
				found = true
			} else {
				t.Error(f)
			}
		}
		if found == http2 {
			t.Errorf("HTTP/2 %t, found %t", http2, found)
		}
	}
}

// TestOldClients: a server that has playlists for HTTP/2 only.
func TestOldClients(t *testing.T) {
	o := newOrigin()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
			return
		}
		o.ServeHTTP(w, r)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	rep, err := Run(t.Context(), srv.URL+"/index.m3u8", Config{Duration: 2 * time.Second, TLS: &tls.Config{RootCAs: roots}})
	if err != nil {
		t.Fatal(err)
	}
	if len(rep.Findings) == 0 || rep.Findings[0].Rule != "http1" {
		t.Errorf("%v", rep.Findings)
	}
}

// TestUnreachable: what is no playlist is an error, not a finding.
func TestUnreachable(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	defer srv.Close()
	if _, err := Run(t.Context(), srv.URL, Config{}); err == nil || !strings.Contains(err.Error(), "no playlist") {
		t.Error(err)
	}
	if _, err := Run(t.Context(), srv.URL, Config{Ignore: []string{"no-such-rule"}}); err == nil {
		t.Error("an unknown rule can be ignored")
	}
}
