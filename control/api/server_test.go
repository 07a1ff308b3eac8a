package api_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/freshet-live/freshet/control"
	"github.com/freshet-live/freshet/control/api"
	"github.com/freshet-live/freshet/control/store"
)

// keyOfOpen publishes to the room "open".
const keyOfOpen = "stream key of the open room"

// clearMinter mints tokens that can be read by the test.
type clearMinter struct{}

func (clearMinter) Mint(p control.Permission) (string, time.Time, error) {
	return "put=" + strings.Join(p.Put, ",") + " get=" + strings.Join(p.Get, ","), time.Now().Add(p.Lifetime), nil
}
func (clearMinter) JWKS() []byte { return []byte(`{"keys":[]}`) }

type liveList []api.LiveRoom

func (l liveList) LiveRooms() []api.LiveRoom { return l }

func newServer(t *testing.T, origins ...string) *httptest.Server {
	t.Helper()
	db, err := store.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "freshet.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for _, r := range []control.Room{{Name: "open", Title: "Open", Open: true}, {Name: "quiet", Open: true}, {Name: "closed"}} {
		if err := db.CreateRoom(t.Context(), r, control.DigestKey("stream key of the "+r.Name+" room")); err != nil {
			t.Fatal(err)
		}
	}
	s := httptest.NewServer(api.New(api.Config{
		Store: db, Minter: clearMinter{},
		Live: liveList{{Room: "open", Live: true, Codecs: []string{"AV1"}}, {Room: "closed", Live: true}},
		Endpoints: api.Endpoints{
			QUICAddr:          &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4443},
			CertificateSHA256: func() string { return "abcd" }, HLS: "/hls/", WebRTC: true,
		},
		Assets:         fstest.MapFS{"index.html": {Data: []byte("<title>app</title>")}, "assets/app-123.js": {Data: []byte("js")}},
		AllowedOrigins: origins,
	}))
	t.Cleanup(s.Close)
	return s
}

func call(t *testing.T, s *httptest.Server, method, path, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestConfig(t *testing.T) {
	s := newServer(t)
	resp, body := call(t, s, "GET", "/config.json", "")
	want := `{"moq":["https://127.0.0.1:4443"],"certificate_sha256":"abcd","hls":"/hls/","webrtc":true}`
	if strings.TrimSpace(body) != want || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%s", body)
	}
	if _, body := call(t, s, "GET", "/certificate.sha256", ""); body != "abcd" {
		t.Errorf("certificate %q", body)
	}
}

func TestTokens(t *testing.T) {
	s := newServer(t)
	for _, tt := range []struct {
		name, room, body, bearer string
		status                   int
		token                    string
	}{
		{"viewer", "open", "{}", "", 200, "put= get=live/open,room/open"},
		{"viewer without a body", "open", "", "", 200, "put= get=live/open,room/open"},
		{"viewer of a closed room", "closed", "{}", "", 404, ""},
		{"viewer of no room", "none", "{}", "", 404, ""},
		{"streamer", "open", `{"stream_key":"` + keyOfOpen + `"}`, "", 200, "put=live/open get=live/open,room/open"},
		{"streamer by header", "open", "", keyOfOpen, 200, "put=live/open get=live/open,room/open"},
		{"another room's key", "closed", `{"stream_key":"` + keyOfOpen + `"}`, "", 401, ""},
		{"wrong key", "open", `{"stream_key":"x"}`, "", 401, ""},
		{"not JSON", "open", `{"stream_key"`, "", 400, ""},
		{"unknown field", "open", `{"key":"x"}`, "", 400, ""},
		{"wrong type", "open", `{"stream_key":1}`, "", 400, ""},
		{"two values", "open", `{}{}`, "", 400, ""},
		{"too large", "open", `{"stream_key":"` + strings.Repeat("x", 20_000) + `"}`, "", 413, ""},
	} {
		var header []string
		if tt.bearer != "" {
			header = []string{"Authorization", "Bearer " + tt.bearer}
		}
		resp, body := call(t, s, "POST", "/v1/rooms/"+tt.room+"/tokens", tt.body, header...)
		if resp.StatusCode != tt.status {
			t.Errorf("%s: %d %s", tt.name, resp.StatusCode, body)
			continue
		}
		var out struct {
			URL, Token, Code string
			Expires          time.Time
		}
		if err := json.Unmarshal([]byte(body), &out); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		switch {
		case tt.status != 200:
			if out.Code == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s is not a problem: %s", tt.name, body)
			}
		case out.Token != tt.token || out.URL != "https://127.0.0.1:4443" || time.Until(out.Expires) < 5*time.Minute:
			t.Errorf("%s: %s", tt.name, body)
		}
	}
}

func TestRoomsTellNothingOfClosedOnes(t *testing.T) {
	s := newServer(t)
	_, all := call(t, s, "GET", "/v1/rooms", "")
	_, live := call(t, s, "GET", "/v1/rooms?live=1", "")
	if strings.Contains(all+live, "closed") || !strings.Contains(all, `"quiet"`) || strings.Contains(live, `"quiet"`) || !strings.Contains(live, `"AV1"`) {
		t.Errorf("all %s\nlive %s", all, live)
	}
	if resp, _ := call(t, s, "GET", "/v1/rooms/closed", ""); resp.StatusCode != 404 {
		t.Errorf("closed room: %d", resp.StatusCode)
	}
	if resp, body := call(t, s, "GET", "/v1/rooms/open", ""); resp.StatusCode != 200 || !strings.Contains(body, `"title":"Open"`) {
		t.Errorf("open room: %d %s", resp.StatusCode, body)
	}
}

func TestAdmission(t *testing.T) {
	s := newServer(t)
	for body, want := range map[string]int{
		`{"room":"open","key":"` + keyOfOpen + `","protocol":"rtsp","remote_addr":"192.0.2.1:5"}`: 200,
		`{"room":"open","member":"guest","key":"` + keyOfOpen + `"}`:                              200,
		`{"room":"open"}`: 401, `{"room":"none","key":"x"}`: 401, `{"room":5}`: 400,
	} {
		if resp, got := call(t, s, "POST", "/v1/admission", body); resp.StatusCode != want {
			t.Errorf("%s: %d %s", body, resp.StatusCode, got)
		}
	}
}

func TestApp(t *testing.T) {
	s := newServer(t)
	for path, want := range map[string]int{
		"/": 200, "/r/open": 200, "/studio/open": 200, "/admin": 200, "/assets/app-123.js": 200,
		"/other": 404, "/assets": 404, "/assets/../../x": 404, "/v1/nothing": 404,
	} {
		resp, body := call(t, s, "GET", path, "")
		if resp.StatusCode != want {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
		if want == 200 && resp.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s has no content security policy", path)
		}
	}
	if resp, _ := call(t, s, "POST", "/", ""); resp.StatusCode != 405 {
		t.Errorf("POST to the app: %d", resp.StatusCode)
	}
	if resp, _ := call(t, s, "OPTIONS", "/v1/rooms/open/tokens", ""); resp.StatusCode != 204 {
		t.Errorf("preflight: %d", resp.StatusCode)
	}
}

func TestAllowedOrigins(t *testing.T) {
	for _, tt := range []struct {
		allowed      []string
		origin, want string
	}{
		{nil, "https://anywhere.example", "*"},
		{[]string{"https://player.example"}, "https://player.example", "https://player.example"},
		{[]string{"https://player.example"}, "https://anywhere.example", ""},
		{[]string{"https://player.example"}, "", ""},
	} {
		s := newServer(t, tt.allowed...)
		for _, method := range []string{http.MethodGet, http.MethodOptions} {
			resp, _ := call(t, s, method, "/config.json", "", "Origin", tt.origin)
			if got := resp.Header.Get("Access-Control-Allow-Origin"); got != tt.want {
				t.Errorf("%s from %q, %v allowed: %q", method, tt.origin, tt.allowed, got)
			}
			if varies := resp.Header.Get("Vary") == "Origin"; varies != (tt.allowed != nil) {
				t.Errorf("%v allowed, and the answer says Vary: %q", tt.allowed, resp.Header.Get("Vary"))
			}
		}
	}
}
