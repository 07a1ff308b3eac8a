package transport_test

import (
	"testing"

	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/transport"
)

// QUIC, WebTransport and the pipe of moqtest pass the same suite.
func TestConn(t *testing.T) {
	for scheme, kind := range schemes {
		t.Run(kind.String(), func(t *testing.T) {
			l := listen(t, transport.ListenConfig{})
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
