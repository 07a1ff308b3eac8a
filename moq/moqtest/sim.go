package moqtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/testutils/simnet"

	"github.com/freshet-live/freshet/moq/transport"
)

// SimConfig describes a simulated network between a client and a server, and the
// connection over it. Zero fields mean the documented defaults.
type SimConfig struct {
	// Up is the way from the client to the server, Down the way back.
	Up, Down SimLink
	// Kind is transport.QUIC, the default, or transport.WebTransport.
	Kind transport.Kind
	// Protocol is the only one that both ends speak. The default is "moqt-18".
	Protocol string
	// Seed chooses which packets are lost.
	Seed uint64
	// Listen and Dial are for further settings of the ends. Sockets, TLS, trust
	// and protocols are replaced.
	Listen transport.ListenConfig
	Dial   transport.DialConfig
}

// SimLink is one direction of a simulated network. The zero value loses nothing
// and takes no time.
type SimLink struct {
	// Delay is what a packet takes besides waiting for bandwidth.
	Delay time.Duration
	// Loss is the share of packets that vanish, from 0 to 1.
	Loss float64
	// BitsPerSecond is the bandwidth of UDP payloads. Zero is no limit.
	BitsPerSecond int64
	// QueueBytes is how much may wait for bandwidth before packets are dropped.
	// The default is 64 KiB.
	QueueBytes int64
}

// NewSim returns the two ends of a real QUIC connection, or WebTransport
// session, over a simulated network of its own. Inside a bubble of
// testing/synctest its time is virtual. Everything ends with the test.
//
// Packets above 1400 bytes are dropped, so that path MTU discovery has something
// to find.
func NewSim(t testing.TB, cfg SimConfig) (client, server transport.Conn) {
	t.Helper()
	if cfg.Protocol == "" {
		cfg.Protocol = "moqt-18"
	}
	scheme := "moqt"
	if cfg.Kind == transport.WebTransport {
		scheme = "https"
	}
	// simnet takes an address of four bytes and the same one of sixteen for two.
	clientAddr := &net.UDPAddr{IP: net.IP{192, 0, 2, 1}, Port: 50000}
	serverAddr := &net.UDPAddr{IP: net.IP{192, 0, 2, 2}, Port: 443}
	paths := map[string]*simPath{
		clientAddr.String(): newSimPath(cfg.Down, cfg.Seed, 0),
		serverAddr.String(): newSimPath(cfg.Up, cfg.Seed, 1),
	}
	network := &simnet.Simnet{Router: &simRouter{paths: paths}}
	endpoint := func(addr *net.UDPAddr) *simnet.SimConn {
		return network.NewEndpoint(addr, simnet.NodeBiDiLinkSettings{LatencyFunc: paths[addr.String()].latency})
	}
	clientSocket, serverSocket := endpoint(clientAddr), endpoint(serverAddr)
	must := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	must("start network", network.Start())
	t.Cleanup(func() {
		// Links end when their sockets take no more packets.
		clientSocket.Close()
		serverSocket.Close()
		network.Close()
	})

	certs, err := transport.NewCertificates(transport.CertificateConfig{})
	must("make certificate", err)
	listen := cfg.Listen
	listen.PacketConn, listen.TLS, listen.Protocols = serverSocket, certs.TLSConfig(), []string{cfg.Protocol}
	l, err := transport.Listen(listen)
	must("listen", err)
	running := make(chan error, 1)
	go func() { running <- l.Run(context.Background()) }()
	t.Cleanup(func() {
		l.Close()
		if err := <-running; err != nil {
			t.Errorf("listener: %v", err)
		}
	})

	dial := cfg.Dial
	dial.PacketConn, dial.TLS, dial.Protocols = clientSocket, nil, []string{cfg.Protocol}
	dial.Trust = transport.Trust{FingerprintSHA256: certs.Fingerprint()}
	ctx, cancel := context.WithTimeoutCause(t.Context(), suitePatience, errors.New("no connection over the simulated network"))
	defer cancel()
	client, err = transport.Dial(ctx, fmt.Sprintf("%s://%v/", scheme, serverAddr), dial)
	must("dial", err)
	t.Cleanup(func() { client.CloseWithError(0, "") })
	server, err = l.Accept(ctx)
	must("accept", err)
	return client, server
}

// simRouter brings packets to their destination, or not. It implements
// simnet.Router.
type simRouter struct {
	simnet.PerfectRouter
	paths map[string]*simPath // by destination
}

// SendPacket implements simnet.Router.
func (r *simRouter) SendPacket(p simnet.Packet) error {
	if path, ok := r.paths[p.To.String()]; ok && !path.take(len(p.Data)) {
		return nil // as with a real network, nobody is told
	}
	return r.PerfectRouter.SendPacket(p)
}

// simPath is one direction at work.
type simPath struct {
	link SimLink

	mu   sync.Mutex
	rnd  *rand.Rand
	free time.Time // when the packets taken so far have left the queue
	next time.Duration
}

func newSimPath(link SimLink, seed, stream uint64) *simPath {
	if link.QueueBytes == 0 {
		link.QueueBytes = 64 << 10
	}
	return &simPath{link: link, rnd: rand.New(rand.NewPCG(seed, stream))}
}

// take decides on a packet of a size in bytes. If it returns true, latency tells
// how long the packet takes; the one sender of the direction calls one right
// after the other.
func (p *simPath) take(size int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rnd.Float64() < p.link.Loss {
		return false
	}
	p.next = p.link.Delay
	if p.link.BitsPerSecond > 0 {
		now := time.Now()
		wait := max(0, p.free.Sub(now))
		if wait > p.onWire(p.link.QueueBytes) {
			return false
		}
		wait += p.onWire(int64(size))
		p.free = now.Add(wait)
		p.next += wait
	}
	return true
}

// onWire is how long a number of bytes occupies the link.
func (p *simPath) onWire(bytes int64) time.Duration {
	return time.Duration(bytes * 8 * int64(time.Second) / p.link.BitsPerSecond)
}

// latency is the time that the packet just taken is on its way.
func (p *simPath) latency(simnet.Packet) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next
}
