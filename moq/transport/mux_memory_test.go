package transport

import (
	"context"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet-live/freshet/moq/transport/qmux"
)

// memory is a WebSocket in memory: a message is taken by the other end when that
// receives.
type memory struct {
	in   <-chan []byte
	out  chan<- []byte
	peer *memory

	closed chan struct{} // this end has closed
	deaf   atomic.Bool   // this end answers no pings
	once   sync.Once

	mu   sync.Mutex
	late [2]chan struct{} // closed when the deadline to send, and to receive, has passed
	stop [2]*time.Timer
}

func newMemory() (a, b *memory) {
	x, y := make(chan []byte), make(chan []byte)
	a, b = &memory{in: x, out: y}, &memory{in: y, out: x}
	a.peer, b.peer = b, a
	for _, m := range []*memory{a, b} {
		m.closed = make(chan struct{})
		m.late = [2]chan struct{}{make(chan struct{}), make(chan struct{})}
	}
	return a, b
}

func (m *memory) receive(b []byte) (int, error) {
	select {
	case msg := <-m.in:
		return copy(b, msg), nil
	case <-m.peer.closed:
		return 0, errClosedSocket
	case <-m.closed:
		return 0, net.ErrClosed
	case <-m.expired(1):
		return 0, os.ErrDeadlineExceeded
	}
}

func (m *memory) send(b []byte) error {
	select {
	case m.out <- append([]byte{}, b...):
		return nil
	case <-m.peer.closed:
		return net.ErrClosed
	case <-m.expired(0):
		return os.ErrDeadlineExceeded
	}
}

func (m *memory) expired(i int) <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.late[i]
}

func (m *memory) deadline(t time.Time, all bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.late {
		if i == 1 && !all {
			break
		}
		if m.stop[i] != nil {
			m.stop[i].Stop()
		}
		late := m.late[i]
		m.stop[i] = time.AfterFunc(time.Until(t), func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			select {
			case <-late:
			default:
				close(late)
			}
		})
	}
}

// ping is answered as long as the other end is there and not deaf.
func (m *memory) ping(ctx context.Context) error {
	if m.peer.deaf.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (m *memory) close() {
	m.once.Do(func() { close(m.closed) })
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.stop {
		if t != nil {
			t.Stop()
		}
	}
}

// memoryConfig is that of one end of a test.
func memoryConfig(v qmux.Version, server bool) muxConfig {
	return muxConfig{
		version: v, server: server, protocol: "moqt-18", idle: DefaultIdleTimeout, keepAlive: DefaultIdleTimeout / 3,
		local: &net.UnixAddr{Name: "here"}, remote: &net.UnixAddr{Name: "there"}, maxStreams: 100, maxUniStreams: 100,
	}
}

// startMux runs one end until the end of the test.
func startMux(t testing.TB, m messages, cfg muxConfig) *mux {
	c := newMux(m, cfg)
	go c.run()
	t.Cleanup(func() {
		c.CloseWithError(0, "")
		<-c.done
	})
	return c
}

// MuxPair connects two ends that speak a draft of QMux.
func MuxPair(t testing.TB, version string) (client, server Conn) {
	v, _, ok := qmux.ParseSubprotocol(version)
	if !ok {
		t.Fatalf("no draft %q", version)
	}
	a, b := newMemory()
	x, y := startMux(t, a, memoryConfig(v, false)), startMux(t, b, memoryConfig(v, true))
	for _, c := range []*mux{x, y} {
		if err := c.handshake(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return x, y
}
