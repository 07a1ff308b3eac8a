package whip

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/media/ingest/ingesttest"
)

// obsOffer is an offer as OBS makes it: no candidates, every layer by its rid,
// and a fingerprint of nobody's.
func obsOffer(video string, layers int) string {
	var rids, simulcast strings.Builder
	if layers > 1 {
		for i := range layers {
			fmt.Fprintf(&rids, "a=rid:%d send\r\n", i)
		}
		var names []string
		for i := range layers {
			names = append(names, fmt.Sprint(i))
		}
		fmt.Fprintf(&simulcast, "a=simulcast:send %s\r\n", strings.Join(names, ";"))
	}
	const ice = "a=ice-ufrag:obsu\r\na=ice-pwd:0123456789012345678901\r\na=ice-options:trickle\r\n" +
		"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n"
	return "v=0\r\no=rtc 1 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\na=msid-semantic:WMS *\r\na=setup:actpass\r\n" + ice +
		"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=sendonly\r\na=ssrc:1 cname:a\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1\r\n" +
		"m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\na=sendonly\r\n" +
		rids.String() + simulcast.String() +
		"a=rtcp-mux\r\na=rtpmap:96 " + video + "\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n"
}

const obsH264 = "H264/90000\r\na=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1"

// request makes a request and returns the response and its body.
func (b *bench) request(t *testing.T, method, target, body string, header ...string) (*http.Response, string) {
	t.Helper()
	if strings.HasPrefix(target, "/") {
		target = b.http.URL + target
	}
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(got)
}

var authorized = []string{"Content-Type", typeSDP, "Authorization", "Bearer " + streamKey}

// OBS "needs exactly 201, a body and a Location" and "DELETE expects 200".
func TestOBS(t *testing.T) {
	for _, c := range []struct {
		name, video string
		layers      int
	}{
		{"H264", obsH264, 1},
		{"H264 simulcast", obsH264, 3},
		{"HEVC simulcast", "H265/90000\r\na=fmtp:96 level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST", 4},
		{"AV1 simulcast", "AV1/90000", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := serve(t, nil)
			res, answer := b.request(t, "POST", "/whip/demo", obsOffer(c.video, c.layers), authorized...)
			if res.StatusCode != http.StatusCreated || res.Header.Get("Content-Type") != typeSDP {
				t.Fatalf("%s, %s: %s", res.Status, res.Header.Get("Content-Type"), answer)
			}
			location := res.Header.Get("Location")
			// 26 characters of base32: 128 bits and more to guess.
			if !regexp.MustCompile("^" + regexp.QuoteMeta(b.http.URL) + "/whip/demo/~[A-Z2-7]{26}$").MatchString(location) {
				t.Errorf("Location %q", location)
			}
			if res.Header.Get("ETag") != "" {
				t.Error("an ETag promises ICE restarts")
			}
			port := b.server.Addr().String()[len("127.0.0.1:"):]
			for _, want := range []string{
				"a=ice-lite", "a=rtcp-mux", "a=recvonly",
				" udp ", "127.0.0.1 " + port + " typ host",
				" tcp ", "typ host tcptype passive",
			} {
				if !strings.Contains(answer, want) {
					t.Errorf("no %q in the answer", want)
				}
			}
			if c.layers > 1 {
				// OBS counts what the first a=simulcast line takes.
				_, line, _ := strings.Cut(answer, "a=simulcast:recv ")
				line, _, _ = strings.Cut(line, "\r\n")
				if n := strings.Count(line, ";") + 1; n != c.layers {
					t.Errorf("%d layers taken of %d: %q", n, c.layers, line)
				}
			}
			if res, body := b.request(t, "DELETE", location, "", "Authorization", "Bearer "+streamKey); res.StatusCode != http.StatusOK {
				t.Errorf("DELETE: %s %s", res.Status, body)
			}
			ctx := testContext(t)
			if err := b.recorder(t, ctx).Closed(t, ctx); err != nil {
				t.Errorf("broadcast ended with %v", err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	b := serve(t, func(c *Config) {
		c.Admission = ingest.AdmissionFunc(func(ctx context.Context, r ingest.AdmissionRequest) (ingest.AdmissionDecision, error) {
			switch r.Room {
			case "nowhere":
				return ingest.AdmissionDecision{}, ingest.ErrNotFound
			case "broken":
				return ingest.AdmissionDecision{}, io.ErrUnexpectedEOF
			}
			return ingesttest.Key(streamKey).Admit(ctx, r)
		})
	})
	good := obsOffer(obsH264, 1)
	edit := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("no %q in the offer", old)
		}
		return strings.ReplaceAll(good, old, new)
	}
	_, video, _ := strings.Cut(good, "m=video")
	video = "m=video" + video
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		want                     int
	}{
		{"no key", "POST", "/whip/demo", good, []string{"Content-Type", typeSDP}, 401},
		{"wrong key", "POST", "/whip/demo", good, []string{"Content-Type", typeSDP, "Authorization", "Bearer wrong"}, 401},
		{"wrong scheme", "POST", "/whip/demo", good, []string{"Content-Type", typeSDP, "Authorization", "Basic " + streamKey}, 401},
		{"no room", "POST", "/whip/nowhere", good, authorized, 404},
		{"not a name", "POST", "/whip/Demo", good, authorized, 404},
		{"too deep", "POST", "/whip/a/b/c", good, authorized, 404},
		{"no name", "POST", "/whip/", good, authorized, 404},
		{"admission fails", "POST", "/whip/broken", good, authorized, 503},
		{"no type", "POST", "/whip/demo", good, []string{"Authorization", "Bearer " + streamKey}, 415},
		{"JSON", "POST", "/whip/demo", "{}", []string{"Content-Type", "application/json", "Authorization", "Bearer " + streamKey}, 415},
		{"answer not accepted", "POST", "/whip/demo", good, append([]string{"Accept", "text/html"}, authorized...), 406},
		{"no body", "POST", "/whip/demo", "", authorized, 400},
		{"garbage", "POST", "/whip/demo", "\x00\xff\x13garbage", authorized, 400},
		{"cut off in the session part", "POST", "/whip/demo", good[:100], authorized, 400},
		{"cut off in a line", "POST", "/whip/demo", good[:len(good)-len(video)+9], authorized, 400},
		{"too large", "POST", "/whip/demo", good + strings.Repeat("a=x\r\n", maxBody/5), authorized, 413},
		{"no ICE", "POST", "/whip/demo", edit("a=ice-ufrag", "a=x"), authorized, 400},
		{"no DTLS", "POST", "/whip/demo", edit("a=fingerprint", "a=x"), authorized, 400},
		{"no tracks", "POST", "/whip/demo", good[:strings.Index(good, "m=audio")], authorized, 400},
		{"a viewer", "POST", "/whip/demo", edit("a=sendonly", "a=recvonly"), authorized, 422},
		{"inactive", "POST", "/whip/demo", edit("a=sendonly", "a=inactive"), authorized, 422},
		{"two videos", "POST", "/whip/demo", good + strings.ReplaceAll(video, "mid:1", "mid:2"), authorized, 422},
		{"data", "POST", "/whip/demo", good + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n", authorized, 422},
		{"codec not carried", "POST", "/whip/demo", edit("H264/90000", "H263/90000"), authorized, 422},
		{"too many layers", "POST", "/whip/demo", obsOffer(obsH264, 5), authorized, 422},
		{"PUT", "PUT", "/whip/demo", good, authorized, 405},
		{"DELETE of the endpoint", "DELETE", "/whip/demo", "", authorized, 405},
		{"PATCH of the endpoint", "PATCH", "/whip/demo", "", authorized, 405},
		{"POST to a session", "POST", "/whip/demo/~x", good, authorized, 405},
		{"DELETE of no session", "DELETE", "/whip/demo/~x", "", authorized, 404},
		{"GET of no session", "GET", "/whip/demo/~x", "", nil, 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, body := b.request(t, c.method, c.path, c.body, c.header...)
			if res.StatusCode != c.want {
				t.Errorf("%s, want %d: %s", res.Status, c.want, body)
			}
			for status, header := range map[int]string{401: "WWW-Authenticate", 405: "Allow", 503: "Retry-After"} {
				if c.want == status && res.Header.Get(header) == "" {
					t.Errorf("%d without %s", status, header)
				}
			}
			if strings.Contains(body, streamKey) {
				t.Error("the answer gives the key away")
			}
		})
	}
	if n := len(b.made); n != 0 {
		t.Errorf("%d broadcasts were opened", n)
	}
}

// Every truncation of an offer is answered by a status, and none opens
// anything that stays.
func TestTruncatedOffers(t *testing.T) {
	b := serve(t, nil)
	good := obsOffer(obsH264, 3)
	for n := 1; n < len(good); n += 13 {
		res, body := b.request(t, "POST", "/whip/demo?takeover=1", good[:n], authorized...)
		switch res.StatusCode {
		case http.StatusBadRequest, http.StatusUnprocessableEntity:
		case http.StatusCreated: // the rest was optional
			<-b.made
			b.request(t, "DELETE", res.Header.Get("Location"), "", authorized...)
		default:
			t.Errorf("%d of %d bytes: %s %s", n, len(good), res.Status, body)
		}
	}
}

func TestRoomTakenAndTakeover(t *testing.T) {
	ctx := testContext(t)
	b := serve(t, nil)
	offer := obsOffer(obsH264, 1)
	res, body := b.request(t, "POST", "/whip/demo", offer, authorized...)
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", res.Status, body)
	}
	first := res.Header.Get("Location")
	old := b.recorder(t, ctx)
	if res, body := b.request(t, "POST", "/whip/demo", offer, authorized...); res.StatusCode != http.StatusConflict {
		t.Errorf("second publisher: %s %s", res.Status, body)
	}
	if res, body := b.request(t, "POST", "/whip/demo/guest", offer, authorized...); res.StatusCode != http.StatusCreated {
		t.Errorf("co-host: %s %s", res.Status, body)
	}
	b.recorder(t, ctx)
	// A bad offer must not end the broadcast that it would replace.
	if res, _ := b.request(t, "POST", "/whip/demo?takeover=1", "v=0\r\n", authorized...); res.StatusCode != http.StatusBadRequest {
		t.Errorf("bad offer: %s", res.Status)
	}
	if res, body := b.request(t, "POST", "/whip/demo?takeover=1", offer, authorized...); res.StatusCode != http.StatusCreated {
		t.Errorf("takeover: %s %s", res.Status, body)
	}
	b.recorder(t, ctx)
	if err := old.Closed(t, ctx); err != ingest.ErrTakenOver {
		t.Errorf("old broadcast ended with %v", err)
	}
	b.gone(t, ctx, first)
}

// gone waits until a session no longer exists.
func (b *bench) gone(t *testing.T, ctx context.Context, location string) {
	t.Helper()
	id := location[strings.LastIndex(location, "~")+1:]
	n := b.server.session(id)
	if n == nil {
		return
	}
	select {
	case <-n.ctx.Done():
	case <-ctx.Done():
		t.Error("the session is still there")
	}
}

func TestSessionResource(t *testing.T) {
	b := serve(t, nil)
	// The slash makes an empty member.
	if res, _ := b.request(t, "POST", "/whip/demo/", obsOffer(obsH264, 1), authorized...); res.StatusCode != http.StatusNotFound {
		t.Errorf("trailing slash: %s", res.Status)
	}
	res, body := b.request(t, "POST", "/whip/demo", obsOffer(obsH264, 1), authorized...)
	if res.StatusCode != http.StatusCreated {
		t.Fatalf("%s: %s", res.Status, body)
	}
	session := res.Header.Get("Location")
	const fragment = "a=ice-ufrag:obsu\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n" +
		"a=candidate:1 1 udp 2130706431 192.0.2.1 3478 typ host\r\na=end-of-candidates\r\n"
	for _, c := range []struct {
		name, method, body string
		header             []string
		want               int
	}{
		{"GET", "GET", "", nil, 204},
		{"HEAD", "HEAD", "", nil, 204},
		{"OPTIONS", "OPTIONS", "", nil, 204},
		{"trickle", "PATCH", fragment, []string{"Content-Type", typeFragment}, 204},
		{"trickle with key", "PATCH", fragment, []string{"Content-Type", typeFragment, "Authorization", "Bearer " + streamKey}, 204},
		{"trickle with wrong key", "PATCH", fragment, []string{"Content-Type", typeFragment, "Authorization", "Bearer no"}, 401},
		{"trickle as SDP", "PATCH", fragment, []string{"Content-Type", typeSDP}, 415},
		{"trickle of nothing", "PATCH", "", []string{"Content-Type", typeFragment}, 400},
		{"trickle of garbage", "PATCH", "garbage", []string{"Content-Type", typeFragment}, 400},
		{"trickle without ufrag", "PATCH", "a=end-of-candidates\r\n", []string{"Content-Type", typeFragment}, 400},
		{"trickle of half a candidate", "PATCH", "a=ice-ufrag:obsu\r\na=candidate:1 1\r\n", []string{"Content-Type", typeFragment}, 400},
		{"trickle too large", "PATCH", strings.Repeat(fragment, 1000), []string{"Content-Type", typeFragment}, 413},
		{"ICE restart", "PATCH", strings.ReplaceAll(fragment, "obsu", "new1"), []string{"Content-Type", typeFragment}, 422},
		{"ICE restart by If-Match", "PATCH", fragment, []string{"Content-Type", typeFragment, "If-Match", "*"}, 422},
		{"DELETE without key", "DELETE", "", nil, 401},
		{"DELETE with wrong key", "DELETE", "", []string{"Authorization", "Bearer no"}, 401},
		{"DELETE", "DELETE", "", authorized, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			if res, body := b.request(t, c.method, session, c.body, c.header...); res.StatusCode != c.want {
				t.Errorf("%s, want %d: %s", res.Status, c.want, body)
			} else if c.want == 204 && body != "" {
				t.Errorf("204 with a body: %q", body)
			}
		})
	}
}

func TestPreflight(t *testing.T) {
	preflight := []string{"Origin", "https://player.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type"}
	t.Run("any origin", func(t *testing.T) {
		b := serve(t, func(c *Config) {
			c.ICEServers = []ICEServer{{URL: "turn:turn.example:3478?transport=udp", Username: "u", Credential: "c"}}
		})
		res, body := b.request(t, "OPTIONS", "/whip/demo", "", preflight...)
		if res.StatusCode != 204 || body != "" {
			t.Errorf("%s %q", res.Status, body)
		}
		for header, want := range map[string]string{
			"Access-Control-Allow-Origin":  "*",
			"Access-Control-Allow-Methods": "POST",
			"Access-Control-Allow-Headers": "Authorization",
			"Accept-Post":                  typeSDP,
			"Allow":                        "POST",
		} {
			if got := res.Header.Get(header); !strings.Contains(got, want) {
				t.Errorf("%s: %q", header, got)
			}
		}
		// RFC 9725, section 4.6: Link headers "MUST NOT be returned" on
		// preflight requests, where nobody is authenticated.
		if res.Header.Get("Link") != "" {
			t.Error("Link on a preflight")
		}
		res, _ = b.request(t, "POST", "/whip/demo", obsOffer(obsH264, 1), append([]string{"Origin", "https://player.example"}, authorized...)...)
		if got := res.Header.Get("Access-Control-Expose-Headers"); !strings.Contains(got, "Location") {
			t.Errorf("exposed: %q", got)
		}
		const link = `<turn:turn.example:3478?transport=udp>; rel="ice-server"; username="u"; credential="c"; credential-type="password"`
		if got := res.Header.Get("Link"); got != link {
			t.Errorf("Link: %s", got)
		}
	})
	t.Run("one origin", func(t *testing.T) {
		b := serve(t, func(c *Config) { c.AllowedOrigins = []string{"https://player.example"} })
		res, _ := b.request(t, "OPTIONS", "/whip/demo", "", preflight...)
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != "https://player.example" {
			t.Errorf("allowed origin: %q", got)
		}
		preflight[1] = "https://other.example"
		res, _ = b.request(t, "OPTIONS", "/whip/demo", "", preflight...)
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("other origin: %q", got)
		}
	})
}

func TestSessionsAreBounded(t *testing.T) {
	b := serve(t, func(c *Config) { c.MaxSessions = 2 })
	offer := obsOffer(obsH264, 1)
	var last string
	for i := range 3 {
		want := http.StatusCreated
		if i == 2 {
			want = http.StatusServiceUnavailable
		}
		res, body := b.request(t, "POST", fmt.Sprintf("/whip/room%d", i), offer, authorized...)
		if res.StatusCode != want {
			t.Fatalf("session %d: %s %s", i, res.Status, body)
		}
		if want == http.StatusCreated {
			last = res.Header.Get("Location")
		}
	}
	n := b.server.session(last[strings.LastIndex(last, "~")+1:])
	b.request(t, "DELETE", last, "", authorized...)
	<-n.closed
	if res, body := b.request(t, "POST", "/whip/room3", offer, authorized...); res.StatusCode != http.StatusCreated {
		t.Errorf("after one has left: %s %s", res.Status, body)
	}
}

func TestNotRunning(t *testing.T) {
	s, err := Listen(Config{Addr: "127.0.0.1:0", Admission: ingesttest.Key(""), Opener: ingesttest.Registry(nil)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.reserve(); err == nil {
		t.Error("sessions before Run")
	}
	if _, err := Listen(Config{Addr: "127.0.0.1:0"}); err == nil {
		t.Error("no admission, no error")
	}
	if _, err := Listen(Config{Addr: s.Addr().String(), Admission: ingesttest.Key(""), Opener: ingesttest.Registry(nil)}); err == nil {
		t.Error("the port is taken, no error")
	}
}

// What the codec table offers can be negotiated and is known by name.
func TestOfferables(t *testing.T) {
	seen := map[webrtc.PayloadType]string{}
	for _, o := range offerables {
		if codecOf(o.mime) != o.codec {
			t.Errorf("%s is taken for %v", o.mime, codecOf(o.mime))
		}
		types := []webrtc.PayloadType{o.payloadType}
		if o.codec.Kind() == media.Video {
			types = append(types, o.payloadType+1)
		}
		for _, pt := range types {
			if seen[pt] != "" {
				t.Errorf("payload type %d is of %s and %s", pt, seen[pt], o.mime)
			}
			// RFC 3551: dynamic 96–127; 35–63 where those do not suffice.
			if pt < 35 || pt > 63 && pt < 96 || pt > 127 {
				t.Errorf("payload type %d is not dynamic", pt)
			}
			seen[pt] = o.mime
		}
	}
	if codecOf("video/H263") != 0 {
		t.Error("H263 is not ours")
	}
}

func FuzzOffer(f *testing.F) {
	f.Add([]byte(obsOffer(obsH264, 1)))
	f.Add([]byte(obsOffer("AV1/90000", 4)))
	f.Add([]byte("v=0\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := parseOffer(body)
		if err == nil && o.ufrag == "" && !strings.Contains(string(body), "ice-ufrag") {
			t.Error("an offer without ufrag was taken")
		}
	})
}

func FuzzFragment(f *testing.F) {
	f.Add([]byte("a=ice-ufrag:abcd\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n"), "abcd")
	f.Fuzz(func(t *testing.T, body []byte, ufrag string) {
		if checkFragment(body, ufrag) == nil && !strings.Contains(string(body), "a=ice-ufrag:") {
			t.Error("a fragment without ufrag was taken")
		}
	})
}
