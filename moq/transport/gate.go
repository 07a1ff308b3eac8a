package transport

import (
	"context"
	"net"
	"sync"

	"github.com/quic-go/quic-go"
)

const (
	// freeHandshakes is how many handshakes run at one time before clients have
	// to prove their address (Retry, RFC 9000, section 8.1.2), which costs them
	// a round trip and us nothing. Real clients finish within a round trip or
	// two, so that this many mean hundreds of them a second; spoofed ones stay
	// until the timeout.
	freeHandshakes = 128
	// maxHandshakes is how many may run at one time at all. Each costs an
	// asymmetric signature, about a millisecond of CPU, and some 50 KiB.
	maxHandshakes = 1024
)

// gate decides which connections may come in.
type gate struct {
	maxConns int

	mu         sync.Mutex
	conns      int // handshakes included
	handshakes int
}

// gateKey is the context key of the admission of a connection.
type gateKey struct{}

// admission is the place of one connection.
type admission struct {
	g           *gate
	established bool // guarded by g.mu
}

// needsRetry says whether a client must first prove that it is at its address.
func (g *gate) needsRetry(net.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.handshakes >= freeHandshakes
}

// admit lets a connection in, or refuses it. The context ends with the
// connection.
func (g *gate) admit(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
	a, err := g.enter()
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, a.leave)
	return context.WithValue(ctx, gateKey{}, a), nil
}

// enter takes a place, in its handshake, or refuses it.
func (g *gate) enter() (*admission, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conns >= g.maxConns || g.handshakes >= maxHandshakes {
		return nil, ErrRefused
	}
	g.conns++
	g.handshakes++
	return &admission{g: g}, nil
}

// leave gives the place back. It is called once.
func (a *admission) leave() {
	a.handshakeDone()
	a.g.mu.Lock()
	defer a.g.mu.Unlock()
	a.g.conns--
}

// handshakeDone frees a connection's place among the handshakes.
func (a *admission) handshakeDone() {
	a.g.mu.Lock()
	defer a.g.mu.Unlock()
	if !a.established {
		a.established = true
		a.g.handshakes--
	}
}
