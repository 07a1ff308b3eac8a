package transport_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/freshet-live/freshet/moq/transport"
)

// webServers are the HTTP servers before listeners, by listener and scheme.
var webServers sync.Map

type webServer struct {
	l      *transport.Listener
	scheme string
}

// serveWeb runs HTTP servers with and without TLS that hand connections over
// WebSocket to a listener, until the end of the test.
func serveWeb(t testing.TB, l *transport.Listener) {
	t.Helper()
	h := l.WebSocket(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "a page") }))
	for _, scheme := range []string{"ws", "wss"} {
		s := httptest.NewUnstartedServer(h)
		if scheme == "wss" {
			s.StartTLS()
		} else {
			s.Start()
		}
		key := webServer{l, scheme}
		webServers.Store(key, s.Listener.Addr().String())
		t.Cleanup(func() {
			webServers.Delete(key)
			s.Close()
		})
	}
}

// address is where a listener is reached with a scheme.
func address(l *transport.Listener, scheme string) string {
	if addr, ok := webServers.Load(webServer{l, scheme}); ok {
		return addr.(string)
	}
	return l.Addr().String()
}

func TestWebSocketBesidePages(t *testing.T) {
	l := listen(t, transport.ListenConfig{})
	serveWeb(t, l)
	rsp, err := http.Get("http://" + address(l, "ws") + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	if body, _ := io.ReadAll(rsp.Body); string(body) != "a page" {
		t.Errorf("got %q", body)
	}
}

func TestWebSocketURL(t *testing.T) {
	l := listen(t, transport.ListenConfig{})
	serveWeb(t, l)
	c, err := transport.Dial(patient(t), "wss://"+address(l, "wss")+"/room?jwt=T#x", transport.DialConfig{
		Protocols: []string{"moqt-99", "moqt-18"}, Trust: transport.Trust{Insecure: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseWithError(0, "")
	s, err := l.Accept(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if u := s.URL(); u.Scheme != "wss" || u.Path != "/room" || u.RawQuery != "jwt=T" || s.Protocol() != "moqt-18" || c.Protocol() != "moqt-18" {
		t.Errorf("%v speaks %q and %q", u, s.Protocol(), c.Protocol())
	}
}

// Which subprotocol is chosen of which offer; empty for a refusal.
func TestWebSocketSubprotocols(t *testing.T) {
	l := listen(t, transport.ListenConfig{Protocols: []string{"moqt-19", "moqt-18"}})
	serveWeb(t, l)
	for _, test := range []struct {
		query, offer, want string
		status             int
	}{
		{"", "qmux-02.moqt-18", "qmux-02.moqt-18", 0},
		{"", "qmux-00.moqt-18, qmux-01.moqt-18", "qmux-01.moqt-18", 0},
		{"", "qmux-02.moq-lite-05, qmux-00.moqt-18, qmux-02.moqt-19", "qmux-00.moqt-18", 0},
		{"", "qmux-02.moq-lite-05, qmux-02, webtransport", "", 400},
		{"?draft=19", "qmux-02.moq-lite-05, qmux-02, webtransport", "qmux-02", 0},
		{"?draft=18", "qmux-01", "qmux-01", 0},
		{"", "webtransport", "", 400},
		{"", "qmux-03.moqt-18", "", 400},
		{"", "qmux-02.", "", 400},
		{"", "chat", "", 200}, // not for us
	} {
		ws, rsp, err := websocket.Dial(patient(t), "ws://"+address(l, "ws")+"/"+test.query,
			&websocket.DialOptions{Subprotocols: strings.Split(test.offer, ", ")})
		if err != nil {
			if rsp == nil || rsp.StatusCode != test.status {
				t.Errorf("%s: %v", test.offer, err)
			}
			continue
		}
		if got := ws.Subprotocol(); got != test.want {
			t.Errorf("of %q %q was chosen, want %q", test.offer, got, test.want)
		}
		ws.CloseNow()
	}
}

func TestWebSocketOrigin(t *testing.T) {
	l := listen(t, transport.ListenConfig{CheckOrigin: func(r *http.Request) bool { return r.Header.Get("Origin") != "https://evil.example" }})
	serveWeb(t, l)
	for origin, status := range map[string]int{"https://evil.example": http.StatusForbidden, "https://good.example": 0} {
		c, err := transport.Dial(patient(t), "ws://"+address(l, "ws")+"/?jwt=secret", transport.DialConfig{
			Protocols: []string{"moqt-18"}, Header: http.Header{"Origin": {origin}},
		})
		refused, _ := errors.AsType[*transport.RefusedError](err)
		switch {
		case status == 0 && err != nil, status != 0 && (refused == nil || refused.Status != status):
			t.Errorf("%s: %v", origin, err)
		case err == nil:
			c.CloseWithError(0, "")
		case strings.Contains(err.Error(), "secret"):
			t.Errorf("the error tells the token: %v", err)
		}
	}
}

// A failed dial does not tell the token either.
func TestWebSocketDialError(t *testing.T) {
	l := listen(t, transport.ListenConfig{})
	serveWeb(t, l)
	_, err := transport.Dial(patient(t), "wss://"+address(l, "wss")+"/?jwt=secret", transport.DialConfig{
		Protocols: []string{"moqt-18"}, Trust: transport.Trust{FingerprintSHA256: strings.Repeat("00", 32)},
	})
	if !errors.Is(err, transport.ErrFingerprint) || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

// Those who do not get on with it are let go: in the handshake of QMux, and in
// the middle of a message.
func TestWebSocketSlowPeer(t *testing.T) {
	l := listen(t, transport.ListenConfig{HandshakeTimeout: 50 * time.Millisecond, IdleTimeout: 100 * time.Millisecond, MaxConns: 2})
	serveWeb(t, l)
	for range 5 { // more than MaxConns allows at one time
		ws, _, err := websocket.Dial(patient(t), "ws://"+address(l, "ws")+"/", &websocket.DialOptions{Subprotocols: []string{"qmux-02.moqt-18"}})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, _, err = ws.Read(patient(t))
		}
		ws.CloseNow()
	}

	raw, err := net.Dial("tcp", address(l, "ws"))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	fmt.Fprintf(raw, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: qmux-02.moqt-18\r\n\r\n")
	r := bufio.NewReader(raw)
	rsp, err := http.ReadResponse(r, nil)
	if err != nil || rsp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", rsp, err)
	}
	// Masked with zeros: the parameters, then the start of a record of 10,000
	// bytes.
	raw.Write([]byte{0x82, 0x80 | 9, 0, 0, 0, 0, 0xff, 0x51, 0x53, 0x30, 0x0d, 0x0a, 0x0d, 0x0a, 0})
	c, err := l.Accept(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	raw.Write([]byte{0x82, 0x80 | 126, 0x27, 0x10, 0, 0, 0, 0, 0x0a})
	<-c.Context().Done()
	if err := context.Cause(c.Context()); err != transport.ErrIdleTimeout {
		t.Errorf("ended with %v", err)
	}
}

// A page that goes away closes its WebSocket without a word of QMux.
func TestWebSocketGoesAway(t *testing.T) {
	l := listen(t, transport.ListenConfig{})
	serveWeb(t, l)
	ws, _, err := websocket.Dial(patient(t), "ws://"+address(l, "ws")+"/", &websocket.DialOptions{Subprotocols: []string{"qmux-02.moqt-18"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := ws.Write(patient(t), websocket.MessageBinary, []byte{0xff, 0x51, 0x53, 0x30, 0x0d, 0x0a, 0x0d, 0x0a, 0}); err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	ws.Close(websocket.StatusGoingAway, "")
	<-c.Context().Done()
	if got, ok := errors.AsType[*transport.CloseError](context.Cause(c.Context())); !ok || *got != (transport.CloseError{Remote: true}) {
		t.Errorf("ended with %v", context.Cause(c.Context()))
	}
}

// Text is not QMux.
func TestWebSocketText(t *testing.T) {
	l := listen(t, transport.ListenConfig{})
	serveWeb(t, l)
	ws, _, err := websocket.Dial(patient(t), "ws://"+address(l, "ws")+"/", &websocket.DialOptions{Subprotocols: []string{"qmux-02.moqt-18"}})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if err := ws.Write(patient(t), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	var last []byte
	for err == nil {
		var b []byte
		if _, b, err = ws.Read(patient(t)); err == nil {
			last = b
		}
	}
	if !bytes.HasSuffix(last, []byte("\x1c\x0a\x00\x0ctext message")) {
		t.Errorf("the last message was %x, want CONNECTION_CLOSE with PROTOCOL_VIOLATION", last)
	}
}

// The end of the listener is told to those on WebSockets too.
func TestWebSocketListenerCloses(t *testing.T) {
	l, stop := start(t, transport.ListenConfig{})
	serveWeb(t, l)
	c, _ := pair(t, "wss", l, transport.DialConfig{})
	stop()
	<-c.Context().Done()
	if got, ok := errors.AsType[*transport.CloseError](context.Cause(c.Context())); !ok || got.Code != 0 || !got.Remote || got.Reason == "" {
		t.Errorf("ended with %v", context.Cause(c.Context()))
	}
	_, err := dial(t, "ws", l, transport.DialConfig{})
	if refused, ok := errors.AsType[*transport.RefusedError](err); !ok || refused.Status != http.StatusServiceUnavailable {
		t.Errorf("dialing a closed listener: %v", err)
	}
}
