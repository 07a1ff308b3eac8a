package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/webtransport-go"

	"github.com/freshet-live/freshet/moq/transport"
)

func TestProtocolChosen(t *testing.T) {
	l := listen(t, transport.ListenConfig{Protocols: []string{"moqt-19", "moqt-18"}})
	for scheme, want := range map[string]string{
		"moqt":  "moqt-19", // the server's order decides in ALPN
		"https": "moqt-18", // and the client's in WebTransport
	} {
		client, server := pair(t, scheme, l, transport.DialConfig{Protocols: []string{"moqt-18", "moqt-19"}})
		if client.Protocol() != want || server.Protocol() != want {
			t.Errorf("%s: %q and %q, want %q", scheme, client.Protocol(), server.Protocol(), want)
		}
	}
}

// A server that speaks none of what is offered refuses.
func TestNoCommonProtocol(t *testing.T) {
	l := listen(t, transport.ListenConfig{Fallback: "moqt-18"})
	// A moqt URL also offers HTTP/3, so that the answer comes from there.
	for scheme := range schemes {
		_, err := dial(t, scheme, l, transport.DialConfig{Protocols: []string{"moqt-99"}})
		refused, ok := errors.AsType[*transport.RefusedError](err)
		if !ok || refused.Status != http.StatusBadRequest || !strings.Contains(refused.Reason, "moqt-18") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for range 64 { // with both at hand, Accept may choose the end of the context
		if c, err := l.Accept(done); err == nil {
			t.Fatalf("a session with protocol %q was accepted", c.Protocol())
		}
	}
}

// dialWithoutOffer asks for WebTransport the way Firefox 153 does: without
// WT-Available-Protocols.
func dialWithoutOffer(t *testing.T, l *transport.Listener, query string, header http.Header) (status int) {
	t.Helper()
	tlsConf, err := transport.Trust{Insecure: true}.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	tlsConf.NextProtos = []string{http3.NextProtoH3}
	qc, err := quic.DialAddr(patient(t), l.Addr().String(), tlsConf,
		&quic.Config{EnableDatagrams: true, EnableStreamResetPartialDelivery: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { qc.CloseWithError(0, "") })
	cc, err := (&webtransport.Transport{}).NewClientConn(qc)
	if err != nil {
		t.Fatal(err)
	}
	rsp, sess, err := cc.Dial(patient(t), "https://"+l.Addr().String()+"/"+query, header)
	if rsp == nil {
		t.Fatal(err)
	}
	if sess != nil {
		t.Cleanup(func() { sess.CloseWithError(0, "") })
	}
	return rsp.StatusCode
}

func TestNoProtocolOffered(t *testing.T) {
	for _, test := range []struct {
		name, fallback, query string
		header                http.Header
		want                  string // the protocol, or empty for a refusal
	}{
		{"nothing", "", "", nil, ""},
		{"fallback", "moqt-18", "", nil, "moqt-18"},
		{"draft in the URL", "", "?draft=19", nil, "moqt-19"},
		{"draft in the URL by its name", "", "?jwt=x&draft=moqt-19", nil, "moqt-19"},
		{"draft in the URL before the fallback", "moqt-18", "?draft=19", nil, "moqt-19"},
		{"draft that is not spoken", "moqt-18", "?draft=99", nil, ""},
		// "If [...] the value is malformed, the field is ignored"
		{"malformed offer counts as none", "moqt-18", "", http.Header{"Wt-Available-Protocols": {`"moqt-99`}}, "moqt-18"},
		{"offer of another type counts as none", "moqt-18", "", http.Header{"Wt-Available-Protocols": {`moqt-99`}}, "moqt-18"},
		{"offer before the draft in the URL", "", "?draft=19", http.Header{"Wt-Available-Protocols": {`"moqt-18"`}}, "moqt-18"},
		{"offer in two lines", "", "", http.Header{"Wt-Available-Protocols": {`"moqt-99"`, `"moqt-19"`}}, "moqt-19"},
	} {
		t.Run(test.name, func(t *testing.T) {
			l := listen(t, transport.ListenConfig{Protocols: []string{"moqt-18", "moqt-19"}, Fallback: test.fallback})
			status := dialWithoutOffer(t, l, test.query, test.header)
			if test.want == "" {
				if status != http.StatusBadRequest {
					t.Errorf("status %d", status)
				}
				return
			}
			if status != http.StatusOK {
				t.Fatalf("status %d", status)
			}
			server, err := l.Accept(patient(t))
			if err != nil {
				t.Fatal(err)
			}
			if server.Protocol() != test.want {
				t.Errorf("protocol %q, want %q", server.Protocol(), test.want)
			}
			if got := server.URL().RequestURI(); got != "/"+test.query {
				t.Errorf("URL %q", got)
			}
		})
	}
}

func TestOrigin(t *testing.T) {
	l := listen(t, transport.ListenConfig{CheckOrigin: func(r *http.Request) bool {
		return r.Header.Get("Origin") == "https://player.example"
	}})
	for origin, want := range map[string]int{"https://player.example": 0, "https://elsewhere.example": http.StatusForbidden} {
		_, err := dial(t, "https", l, transport.DialConfig{Header: http.Header{"Origin": {origin}}})
		status := 0
		if refused, ok := errors.AsType[*transport.RefusedError](err); ok {
			status = refused.Status
		} else if err != nil {
			t.Fatal(err)
		}
		if status != want {
			t.Errorf("%s: status %d, want %d", origin, status, want)
		}
	}
}

func TestPlainHTTP3(t *testing.T) {
	l := listen(t, transport.ListenConfig{HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Proto+" "+r.Method+" "+r.URL.Path)
	})})
	tlsConf, err := transport.Trust{Insecure: true}.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	rt := &http3.Transport{TLSClientConfig: tlsConf}
	defer rt.Close()
	client := &http.Client{Transport: rt, Timeout: patience}
	rsp, err := client.Get("https://" + l.Addr().String() + "/config.json")
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(rsp.Body)
	if err != nil || string(body) != "HTTP/3.0 GET /config.json" {
		t.Errorf("%q, %v", body, err)
	}
	// Sessions go on beside it.
	pair(t, "https", l, transport.DialConfig{})
	pair(t, "moqt", l, transport.DialConfig{})
}

func TestDialRefusesURLs(t *testing.T) {
	for _, url := range []string{
		"", "127.0.0.1:1", "http://127.0.0.1:1/", "https:///?jwt=hush", "https://user:hush@127.0.0.1:1/",
		"https://127.0.0.1:99999/?jwt=hush", "https://127.0.0.1:1/%zz?jwt=hush", "moqt://[::1/?jwt=hush",
	} {
		_, err := transport.Dial(t.Context(), url, transport.DialConfig{Protocols: []string{"moqt-18"}})
		if err == nil {
			t.Errorf("%q was dialled", url)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

func TestListenRefusesConfigs(t *testing.T) {
	tlsConf := certificates(t).TLSConfig()
	for name, cfg := range map[string]transport.ListenConfig{
		"no TLS":            {Addr: "127.0.0.1:0", Protocols: []string{"moqt-18"}},
		"no protocols":      {Addr: "127.0.0.1:0", TLS: tlsConf},
		"h3 as a protocol":  {Addr: "127.0.0.1:0", TLS: tlsConf, Protocols: []string{"h3"}},
		"malformed address": {Addr: "127.0.0.1", TLS: tlsConf, Protocols: []string{"moqt-18"}},
	} {
		if l, err := transport.Listen(cfg); err == nil {
			l.Close()
			t.Errorf("%s: listening", name)
		}
	}
}

// Connections beyond MaxConns are refused, and take their place again when
// another has ended.
func TestMaxConns(t *testing.T) {
	l := listen(t, transport.ListenConfig{MaxConns: 1})
	first, server := pair(t, "moqt", l, transport.DialConfig{})
	if _, err := dial(t, "moqt", l, transport.DialConfig{}); !errors.Is(err, transport.ErrRefused) {
		t.Fatalf("the second: %v", err)
	}
	first.CloseWithError(0, "")
	<-server.Context().Done()
	for {
		// The listener forgets a connection a moment after its end.
		_, err := dial(t, "moqt", l, transport.DialConfig{})
		if err == nil {
			return
		}
		if !errors.Is(err, transport.ErrRefused) {
			t.Fatalf("the third: %v", err)
		}
	}
}

func TestCloseOfListener(t *testing.T) {
	l, stop := start(t, transport.ListenConfig{})
	var clients []transport.Conn
	for scheme := range schemes {
		c, _ := pair(t, scheme, l, transport.DialConfig{})
		clients = append(clients, c)
	}
	stop()
	for _, c := range clients {
		<-c.Context().Done()
		closed, ok := errors.AsType[*transport.CloseError](context.Cause(c.Context()))
		if !ok || closed.Code != 0 || !closed.Remote {
			t.Errorf("%v: %v", c.Kind(), context.Cause(c.Context()))
		}
	}
	if _, err := l.Accept(t.Context()); !errors.Is(err, transport.ErrListenerClosed) {
		t.Errorf("accept: %v", err)
	}
	if err := l.Run(t.Context()); !errors.Is(err, transport.ErrListenerClosed) {
		t.Errorf("run again: %v", err)
	}
	// The port is free again.
	pc, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	pc.Close()
}
