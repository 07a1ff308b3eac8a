package hostile

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"github.com/freshet-live/freshet/moq/transport"
)

// webClients are the three ways to the HTTP API.
func webClients(t *testing.T) map[string]struct {
	base   string
	client *http.Client
} {
	// Which certificate it is, is not in question here.
	insecure := func() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
	type way = struct {
		base   string
		client *http.Client
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	plain := &http.Transport{}
	secure := &http.Transport{TLSClientConfig: insecure(), ForceAttemptHTTP2: true}
	overQUIC := &http3.Transport{TLSClientConfig: insecure()}
	t.Cleanup(func() {
		plain.CloseIdleConnections()
		secure.CloseIdleConnections()
		overQUIC.Close()
	})
	return map[string]way{
		"http":  {"http://" + server.ready.HTTP, &http.Client{Transport: plain, CheckRedirect: stay}},
		"https": {"https://" + server.ready.HTTPS, &http.Client{Transport: secure, CheckRedirect: stay}},
		"h3":    {"https://" + server.ready.QUIC, &http.Client{Transport: overQUIC, CheckRedirect: stay}},
	}
}

// offer begins as an SDP does.
const offer = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"

// badRequest is one that no honest client sends. KEY in a header stands for
// the right stream key.
type badRequest struct {
	name         string
	method, path string
	header       map[string]string
	body         []byte
	want         int
}

var badRequests = []badRequest{
	{"unknown page", "GET", "/nowhere", nil, nil, 404},
	{"unknown endpoint", "GET", "/v1/nowhere", nil, nil, 404},
	{"path that climbs, to where it leads", "GET", "/../../../../etc/passwd", nil, nil, 307},
	{"path that climbs, encoded", "GET", "/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd", nil, nil, 404},
	{"path with a zero byte", "GET", "/assets/%00", nil, nil, 404},
	{"method nobody knows", "BREW", "/", nil, nil, 405},
	{"post of a page", "POST", "/", nil, noise(10, 1000), 405},
	{"room that does not exist", "GET", "/v1/rooms/nowhere", nil, nil, 404},
	{"room with a name that none has", "GET", "/v1/rooms/%ff%fe%00", nil, nil, 404},
	{"token without JSON", "POST", "/v1/rooms/demo/tokens", nil, noise(11, 1000), 400},
	{"token with half of a JSON", "POST", "/v1/rooms/demo/tokens", nil, []byte(`{"stream_key":"`), 400},
	{"token with a field that does not exist", "POST", "/v1/rooms/demo/tokens", nil, []byte(`{"admin":true}`), 400},
	{"token with the wrong type", "POST", "/v1/rooms/demo/tokens", nil, []byte(`{"stream_key":[]}`), 400},
	{"token with JSON without bottom", "POST", "/v1/rooms/demo/tokens", nil, bytes.Repeat([]byte{'['}, 15<<10), 400},
	{"token with an oversized body", "POST", "/v1/rooms/demo/tokens", nil, []byte(`{"stream_key":"` + strings.Repeat("x", 1<<20) + `"}`), 413},
	{"token with the wrong key", "POST", "/v1/rooms/demo/tokens", map[string]string{"Authorization": "Bearer wrong"}, nil, 401},
	{"token of a room that does not exist", "POST", "/v1/rooms/nowhere/tokens", nil, nil, 404},
	{"admission without JSON", "POST", "/v1/admission", nil, noise(12, 1000), 400},
	{"admission with the wrong key", "POST", "/v1/admission", nil, []byte(`{"room":"demo","key":"wrong"}`), 401},
	{"header larger than allowed", "GET", "/config.json", map[string]string{"X-Noise": strings.Repeat("x", 200<<10)}, nil, 431},

	{"whip without a key", "POST", "/whip/demo", map[string]string{"Content-Type": "application/sdp"}, []byte(offer), 401},
	{"whip with the wrong key", "POST", "/whip/demo", map[string]string{"Content-Type": "application/sdp", "Authorization": "Bearer wrong"}, []byte(offer), 401},
	{"whip with the wrong scheme", "POST", "/whip/demo", map[string]string{"Content-Type": "application/sdp", "Authorization": "Basic d3Jvbmc6a2V5"}, []byte(offer), 401},
	{"whip of a room that does not exist", "POST", "/whip/nowhere", map[string]string{"Content-Type": "application/sdp", "Authorization": "Bearer wrong"}, []byte(offer), 401},
	{"whip without a body", "POST", "/whip/demo", map[string]string{"Content-Type": "application/sdp", "Authorization": "KEY"}, nil, 400},
	{"whip with noise for an offer", "POST", "/whip/demo", map[string]string{"Content-Type": "application/sdp", "Authorization": "KEY"}, noise(13, 2000), 400},
	{"whip with half of an offer", "POST", "/whip/demo", map[string]string{"Content-Type": "application/sdp", "Authorization": "KEY"}, []byte(offer + "m=video 9 UDP/TLS/RT"), 400},
	{"whip with an offer of nothing", "POST", "/whip/demo", map[string]string{"Content-Type": "application/sdp", "Authorization": "KEY"}, []byte(offer), 400},
	{"whip with an oversized body", "POST", "/whip/demo", map[string]string{"Content-Type": "application/sdp", "Authorization": "KEY"}, bytes.Repeat([]byte("a=x\r\n"), 50<<10), 413},
	{"whip with the wrong type", "POST", "/whip/demo", map[string]string{"Content-Type": "text/html", "Authorization": "KEY"}, []byte(offer), 415},
	{"whip for a client that takes no answer", "POST", "/whip/demo", map[string]string{"Content-Type": "application/sdp", "Authorization": "KEY", "Accept": "image/png"}, []byte(offer), 406},
	{"whip without a room", "POST", "/whip/", nil, []byte(offer), 404},
	{"whip of a room with a name that none has", "POST", "/whip/%2e%2e%2fdemo", nil, []byte(offer), 404},
	{"whip deletes everything", "DELETE", "/whip/demo", nil, nil, 405},
	{"whip session that does not exist", "DELETE", "/whip/demo/~nowhere", nil, nil, 404},
	{"whip candidates for nobody", "PATCH", "/whip/demo/~nowhere", map[string]string{"Content-Type": "application/trickle-ice-sdpfrag"}, noise(14, 100), 404},

	{"hls of a room that is not live", "GET", "/hls/demo/index.m3u8", nil, nil, 404},
	{"hls of a room that does not exist", "GET", "/hls/nowhere/index.m3u8", nil, nil, 403},
	{"hls without a file", "GET", "/hls/demo", nil, nil, 404},
	{"hls that climbs", "GET", "/hls/demo/%2e%2e/%2e%2e/etc/passwd", nil, nil, 404},
	{"hls that waits for the end of time", "GET", "/hls/demo/video0.m3u8?_HLS_msn=18446744073709551615&_HLS_part=-1", nil, nil, 404},
	{"hls with a wrong token", "GET", "/hls/demo/index.m3u8?jwt=wrong", nil, nil, 403},
}

func TestBadRequests(t *testing.T) {
	t.Run("all", func(t *testing.T) {
		for way, c := range webClients(t) {
			for _, bad := range badRequests {
				t.Run(way+"/"+bad.name, func(t *testing.T) {
					t.Parallel()
					bad.send(t, c.base, c.client)
				})
			}
		}
	})
	healthy(t)
}

func (bad badRequest) send(t *testing.T, base string, client *http.Client) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, bad.method, base+bad.path, bytes.NewReader(bad.body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range bad.header {
		if v == "KEY" {
			v = "Bearer " + server.ready.StreamKey
		}
		req.Header.Set(k, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		if bad.want == http.StatusRequestHeaderFieldsTooLarge &&
			(strings.Contains(err.Error(), "advertised limit") || strings.Contains(err.Error(), "COMPRESSION_ERROR")) {
			// The client of HTTP/2 has been told and does not even send it, or it
			// has not yet been told, and the server gives up within the header.
			return
		}
		t.Fatal(err)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	resp.Body.Close()
	if resp.StatusCode != bad.want {
		t.Errorf("status %d, want %d: %q", resp.StatusCode, bad.want, body)
	}
}

// A WebTransport request that cannot become a session is refused with a
// status.
func TestBadUpgrades(t *testing.T) {
	for _, test := range []struct {
		name string
		path string
		want string
	}{
		{"protocol that nobody speaks", "/", "status 400"},
		{"path that climbs", "/../..", "status 400"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			conn, err := transport.Dial(ctx, "https://"+server.ready.QUIC+test.path, transport.DialConfig{
				Protocols: []string{"moqt-99"}, Trust: transport.Trust{FingerprintSHA256: server.ready.CertificateSHA256},
			})
			if err == nil {
				conn.CloseWithError(0, "")
				t.Fatal("it became a session")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("refused with %v, want %s", err, test.want)
			}
		})
	}
	healthy(t)
}
