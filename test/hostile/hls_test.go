package hostile

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media/packager"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/relay"
)

// clientRequests is how many requests of LL-HLS a client of the server under
// attack may have waiting.
const clientRequests = 64

// goLive has a guest of the demo room live who sends nothing, so that players
// wait. It ends with the test.
func goLive(t *testing.T) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"stream_key": server.ready.StreamKey})
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+server.ready.HTTP+"/v1/rooms/"+demoRoom+"/tokens", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct{ Token string }
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || out.Token == "" {
		t.Fatalf("no token: %s, %v", resp.Status, err)
	}
	node := relay.New(relay.Config{
		Implementation: "freshet-hostile", Logger: slog.New(slog.DiscardHandler),
		Upstreams: []relay.Upstream{{
			URL: "moqt://" + server.ready.QUIC, Token: out.Token, Protocols: []string{"moqt-19"},
			Trust: transport.Trust{FingerprintSHA256: server.ready.CertificateSHA256},
		}},
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = node.Run(ctx) // it ends with its context only
	}()
	b := packager.New(moq.Namespace{"live", demoRoom, guest}, packager.Config{})
	withdraw := node.Publish(b.Broadcast())
	t.Cleanup(func() {
		withdraw()
		b.Close(nil)
		cancel()
		<-ended
	})
}

// ask sends a request for what takes its time: the server waits for the
// broadcast's media. The proxy that this test is says whose it is.
func ask(ctx context.Context, client *http.Client, from string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+server.ready.HTTP+"/hls/"+demoRoom+"/~"+guest+"/index.m3u8", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Forwarded-For", from)
	return client.Do(req)
}

// demoRoom exists in every new data folder. A guest of it is live, since other
// tests count on that it is not itself.
const (
	demoRoom = "demo"
	guest    = "guest"
)

// waiting returns how many requests of LL-HLS the server says it has.
func waiting(t *testing.T, client *http.Client) int {
	t.Helper()
	resp, err := client.Get("http://" + server.ready.Metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if n := 0; strings.HasPrefix(line, "freshet_hls_waiting ") {
			if _, err := fmt.Sscanf(line, "freshet_hls_waiting %d", &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("freshet_hls_waiting is no metric")
	return 0
}

// await looks at what is counted until it is as it should be.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline, tick := time.After(patience), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// TestEndlessBlocking has one client begin as many requests as it may, which
// wait, and more. Those are refused, another client's is not; and nothing is
// left when the client has gone.
func TestEndlessBlocking(t *testing.T) {
	t.Parallel()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	const greedy, modest = "198.51.100.1", "203.0.113.7"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	begin := func(from string) (status <-chan int) {
		out := make(chan int, 1)
		go func() {
			defer close(out)
			if resp, err := ask(ctx, client, from); err == nil {
				resp.Body.Close()
				out <- resp.StatusCode
			}
		}()
		return out
	}
	goLive(t)
	await(t, "a request that waits", func() bool {
		// Until the server has heard that somebody is live, it refuses.
		ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		defer cancel()
		resp, err := ask(ctx, client, modest)
		if err == nil {
			resp.Body.Close()
		}
		return ctx.Err() != nil
	})
	var all []<-chan int
	for range clientRequests {
		all = append(all, begin(greedy))
	}
	await(t, "all that it may have waiting", func() bool { return waiting(t, client) >= clientRequests })
	for range 10 {
		resp, err := ask(ctx, client, greedy)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Fatalf("one request too many: %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
		}
	}
	before := waiting(t, client)
	all = append(all, begin(modest))
	await(t, "another client's request", func() bool { return waiting(t, client) > before })
	cancel()
	for _, c := range all {
		if status, ok := <-c; ok {
			t.Errorf("a request that waits was answered with %d", status)
		}
	}
	await(t, "the end of the requests of those who have left", func() bool { return waiting(t, client) < clientRequests })
	healthy(t)
}

// TestSlowHeaders has clients send their requests byte by byte, without end.
// The server ends their connections, over plain HTTP.
func TestSlowHeaders(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range 50 {
		conn, err := net.Dial("tcp", server.ready.HTTP)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			defer conn.Close()
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			text := "GET /hls/" + demoRoom + "/index.m3u8 HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 10_000)
			deadline := time.Now().Add(patience)
			for n := 0; time.Now().Before(deadline); n++ {
				if _, err := io.WriteString(conn, text[n%len(text):][:1]); err != nil {
					return // the server had enough
				}
				<-tick.C
			}
			t.Errorf("client %d may still send", i)
		})
	}
	healthy(t)
}
