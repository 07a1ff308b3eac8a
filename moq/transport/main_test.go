package transport_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet-live/freshet/moq/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what is expected to happen soon.
const patience = 20 * time.Second

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("the test lost patience"))
	t.Cleanup(cancel)
	return ctx
}

// certificates makes a certificate in memory.
func certificates(t testing.TB) *transport.Certificates {
	t.Helper()
	certs, err := transport.NewCertificates(transport.CertificateConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return certs
}

// listen runs a listener on a free port of the loopback until the end of the
// test. Fields of cfg that a test does not set get values that suit it.
func listen(t testing.TB, cfg transport.ListenConfig) *transport.Listener {
	t.Helper()
	l, stop := start(t, cfg)
	t.Cleanup(stop)
	return l
}

// start is like listen, and leaves the end to the caller.
func start(t testing.TB, cfg transport.ListenConfig) (l *transport.Listener, stop func()) {
	t.Helper()
	if cfg.Addr == "" && cfg.PacketConn == nil {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.TLS == nil {
		cfg.TLS = certificates(t).TLSConfig()
	}
	if cfg.Protocols == nil {
		cfg.Protocols = []string{"moqt-18"}
	}
	l, err := transport.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(context.Background()) }()
	return l, func() {
		l.Close()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// dial connects to a listener. Unless cfg says otherwise it trusts any
// certificate and offers moqt-18.
func dial(t testing.TB, scheme string, l *transport.Listener, cfg transport.DialConfig) (transport.Conn, error) {
	t.Helper()
	if cfg.Trust == (transport.Trust{}) && cfg.TLS == nil {
		cfg.Trust.Insecure = true
	}
	if cfg.Protocols == nil {
		cfg.Protocols = []string{"moqt-18"}
	}
	c, err := transport.Dial(patient(t), scheme+"://"+address(l, scheme)+"/", cfg)
	if err == nil {
		t.Cleanup(func() { c.CloseWithError(0, "") })
	}
	return c, err
}

// pair connects and accepts.
func pair(t testing.TB, scheme string, l *transport.Listener, cfg transport.DialConfig) (client, server transport.Conn) {
	t.Helper()
	client, err := dial(t, scheme, l, cfg)
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.CloseWithError(0, "") })
	return client, server
}

// schemes are the URL schemes of UDP and what they give.
var schemes = map[string]transport.Kind{"moqt": transport.QUIC, "https": transport.WebTransport}

// allSchemes are those of TCP too, which need serveWeb.
var allSchemes = map[string]transport.Kind{
	"moqt": transport.QUIC, "https": transport.WebTransport, "wss": transport.WebSocket, "ws": transport.WebSocket,
}
