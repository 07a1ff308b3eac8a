package transport_test

import (
	"net"
	"sync/atomic"
)

// cuttable is a socket whose outgoing packets vanish once it was cut, as when a
// machine loses its network or a process dies.
type cuttable struct {
	net.PacketConn
	cut atomic.Bool
}

func (c *cuttable) WriteTo(b []byte, addr net.Addr) (int, error) {
	if c.cut.Load() {
		return len(b), nil
	}
	return c.PacketConn.WriteTo(b, addr)
}
