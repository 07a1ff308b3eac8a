package transport

import (
	"time"

	"github.com/quic-go/quic-go"
)

// Receive windows in bytes. A stream's is what one slow reader lets a peer
// queue here; a connection's bounds a peer's share of our memory, and divided by
// the round-trip time it bounds the bandwidth: 16 MiB at 100 ms are 1.3 Gbit/s,
// for a relay that fetches from afar. A client, which has chosen its server,
// starts with more, to take the first key frames without waiting.
const (
	streamWindow        = 512 << 10
	maxStreamWindow     = 6 << 20
	serverWindow        = 768 << 10
	clientWindow        = 2 << 20
	maxConnectionWindow = 16 << 20
)

// connectionIDLength is in bytes. With the default of four, a server of many
// thousand connections, with several IDs each, meets collisions.
const connectionIDLength = 8

// quicConfig makes the configuration of an endpoint.
func quicConfig(idle, keepAlive, handshake time.Duration, streams, uniStreams int64, window uint64) *quic.Config {
	idle = orDefault(idle, DefaultIdleTimeout)
	return &quic.Config{
		// quic-go gives up after twice this time, or once it hears nothing for
		// it.
		HandshakeIdleTimeout:             handshake / 2,
		MaxIdleTimeout:                   idle,
		KeepAlivePeriod:                  max(0, orDefault(keepAlive, idle/3)),
		InitialStreamReceiveWindow:       streamWindow,
		MaxStreamReceiveWindow:           maxStreamWindow,
		InitialConnectionReceiveWindow:   window,
		MaxConnectionReceiveWindow:       maxConnectionWindow,
		MaxIncomingStreams:               orDefault(streams, DefaultMaxStreams),
		MaxIncomingUniStreams:            orDefault(uniStreams, DefaultMaxUniStreams),
		EnableDatagrams:                  true,
		EnableStreamResetPartialDelivery: true, // WebTransport needs it
	}
}

// orDefault returns v, or def when v is zero.
func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
