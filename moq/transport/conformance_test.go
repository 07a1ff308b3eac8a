package transport_test

import (
	"testing"

	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/transport"
)

// QUIC, WebTransport, WebSocket and the pipe of moqtest pass the same suite.
func TestConn(t *testing.T) {
	for scheme, kind := range allSchemes {
		t.Run(scheme, func(t *testing.T) {
			l := listen(t, transport.ListenConfig{})
			if kind == transport.WebSocket {
				serveWeb(t, l)
			}
			moqtest.TestConn(t, func(t *testing.T) (client, server transport.Conn) {
				client, server = pair(t, scheme, l, transport.DialConfig{})
				if client.Kind() != kind {
					t.Fatalf("%s gave %v", scheme, client.Kind())
				}
				return client, server
			})
		})
	}
}

// Both drafts of QMux with datagrams pass it too; over a WebSocket the newest is
// what two ends of ours choose.
func TestConnDrafts(t *testing.T) {
	for _, version := range []string{"qmux-01", "qmux-02"} {
		t.Run(version, func(t *testing.T) {
			moqtest.TestConn(t, func(t *testing.T) (client, server transport.Conn) {
				return transport.MuxPair(t, version)
			})
		})
	}
}
