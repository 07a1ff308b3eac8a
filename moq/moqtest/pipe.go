package moqtest

import (
	"context"
	"net"
	"net/url"
	"sync"

	"github.com/freshet-live/freshet/moq/transport"
)

// PipeConfig describes an in-memory connection. Zero fields mean the documented
// defaults.
type PipeConfig struct {
	// Protocol is what both ends report. The default is "moqt-18".
	Protocol string
	// Kind is what both ends report. The default is transport.QUIC.
	Kind transport.Kind
	// URL is reported by the client, and, unless Kind is QUIC, by the server.
	URL *url.URL
	// StreamWindow is how many bytes a stream may hold unread before Write
	// waits. The default is 512 KiB, as in quic-go.
	StreamWindow int
	// MaxStreams and MaxUniStreams bound the streams that one end has opened
	// and the other has not finished with. The default is 100.
	MaxStreams, MaxUniStreams int
	// MaxDatagram is the largest datagram in bytes. The default is 1200.
	MaxDatagram int
}

// datagramQueue is how many datagrams wait for ReceiveDatagram before further
// ones are dropped, as in quic-go.
const datagramQueue = 128

// NewPipe returns the two ends of a new in-memory connection.
func NewPipe(cfg PipeConfig) (client, server transport.Conn) {
	if cfg.Protocol == "" {
		cfg.Protocol = "moqt-18"
	}
	if cfg.Kind == 0 {
		cfg.Kind = transport.QUIC
	}
	if cfg.StreamWindow == 0 {
		cfg.StreamWindow = 512 << 10
	}
	if cfg.MaxStreams == 0 {
		cfg.MaxStreams = 100
	}
	if cfg.MaxUniStreams == 0 {
		cfg.MaxUniStreams = 100
	}
	if cfg.MaxDatagram == 0 {
		cfg.MaxDatagram = 1200
	}
	p := &pipe{cfg: cfg, halves: make(map[*half]struct{})}
	c, s := newPipeConn(p, "client"), newPipeConn(p, "server")
	c.peer, s.peer = s, c
	c.url = cfg.URL
	if cfg.Kind != transport.QUIC {
		s.url = cfg.URL
	}
	return c, s
}

// pipe is what the two ends share.
type pipe struct {
	cfg PipeConfig

	// mu guards everything of both ends and of all streams: one lock makes each
	// action of one end a single step to the other.
	mu     sync.Mutex
	halves map[*half]struct{} // those on which somebody may wait
}

// pipeConn is one end.
type pipeConn struct {
	p    *pipe
	peer *pipeConn
	name string
	url  *url.URL
	ctx  context.Context
	end  context.CancelCauseFunc

	// The rest is guarded by p.mu.

	err       error      // why the connection ended
	changed   *sync.Cond // anything below has changed
	bidi      []*pipeStream
	uni       []*half
	datagrams [][]byte
	// openBidi and openUni count streams opened here that the peer has not
	// finished with.
	openBidi, openUni int
	stats             transport.Stats
}

func newPipeConn(p *pipe, name string) *pipeConn {
	c := &pipeConn{p: p, name: name, changed: sync.NewCond(&p.mu)}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	return c
}

// waitLocked waits until done returns true, the connection or ctx ends.
func (c *pipeConn) waitLocked(ctx context.Context, done func() bool) error {
	for waiting := false; ; {
		if c.err != nil {
			return c.err
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if done() {
			return nil
		}
		if !waiting {
			waiting = true
			stop := context.AfterFunc(ctx, func() {
				c.p.mu.Lock()
				defer c.p.mu.Unlock()
				c.changed.Broadcast()
			})
			defer stop()
		}
		c.changed.Wait()
	}
}

// OpenStream implements transport.Conn.
func (c *pipeConn) OpenStream(ctx context.Context) (transport.Stream, error) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if err := c.waitLocked(ctx, func() bool { return c.openBidi < c.p.cfg.MaxStreams }); err != nil {
		return nil, err
	}
	c.openBidi++
	out, in := newHalf(c, c.peer), newHalf(c.peer, c)
	remote := &pipeStream{receiveStream: receiveStream{out}, sendStream: sendStream{in}}
	var announced, freed bool
	announce := func() {
		if !announced {
			announced = true
			c.peer.bidi = append(c.peer.bidi, remote)
			c.peer.changed.Broadcast()
		}
	}
	free := func() {
		if !freed && out.readDone && in.writeErr != nil {
			freed = true
			c.openBidi--
			c.changed.Broadcast()
		}
	}
	out.announceLocked, out.freeLocked, in.freeLocked = announce, free, free
	in.stopAnnounceLocked = announce
	return &pipeStream{receiveStream: receiveStream{in}, sendStream: sendStream{out}}, nil
}

// OpenUniStream implements transport.Conn.
func (c *pipeConn) OpenUniStream(ctx context.Context) (transport.SendStream, error) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if err := c.waitLocked(ctx, func() bool { return c.openUni < c.p.cfg.MaxUniStreams }); err != nil {
		return nil, err
	}
	c.openUni++
	out := newHalf(c, c.peer)
	var announced, freed bool
	out.announceLocked = func() {
		if !announced {
			announced = true
			c.peer.uni = append(c.peer.uni, out)
			c.peer.changed.Broadcast()
		}
	}
	out.freeLocked = func() {
		if !freed && out.readDone {
			freed = true
			c.openUni--
			c.changed.Broadcast()
		}
	}
	return &sendStream{out}, nil
}

// AcceptStream implements transport.Conn.
func (c *pipeConn) AcceptStream(ctx context.Context) (transport.Stream, error) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if err := c.waitLocked(ctx, func() bool { return len(c.bidi) > 0 }); err != nil {
		return nil, err
	}
	s := c.bidi[0]
	c.bidi = c.bidi[1:]
	return s, nil
}

// AcceptUniStream implements transport.Conn.
func (c *pipeConn) AcceptUniStream(ctx context.Context) (transport.ReceiveStream, error) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if err := c.waitLocked(ctx, func() bool { return len(c.uni) > 0 }); err != nil {
		return nil, err
	}
	h := c.uni[0]
	c.uni = c.uni[1:]
	return &receiveStream{h}, nil
}

// SendDatagram implements transport.Conn.
func (c *pipeConn) SendDatagram(b []byte) error {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if len(b) > c.p.cfg.MaxDatagram {
		return &transport.DatagramTooLargeError{Max: c.p.cfg.MaxDatagram}
	}
	c.countLocked(len(b))
	if len(c.peer.datagrams) < datagramQueue {
		c.peer.datagrams = append(c.peer.datagrams, append([]byte{}, b...))
		c.peer.changed.Broadcast()
	}
	return nil
}

// ReceiveDatagram implements transport.Conn.
func (c *pipeConn) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if err := c.waitLocked(ctx, func() bool { return len(c.datagrams) > 0 }); err != nil {
		return nil, err
	}
	b := c.datagrams[0]
	c.datagrams = c.datagrams[1:]
	return b, nil
}

// CloseWithError implements transport.Conn.
func (c *pipeConn) CloseWithError(code uint64, reason string) error {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.err != nil {
		return nil
	}
	reason = transport.CutReason(reason)
	c.err = &transport.CloseError{Code: code, Reason: reason}
	c.peer.err = &transport.CloseError{Code: code, Reason: reason, Remote: true}
	for h := range c.p.halves {
		h.endLocked()
	}
	clear(c.p.halves)
	for _, end := range []*pipeConn{c, c.peer} {
		end.changed.Broadcast()
		end.end(end.err)
	}
	return nil
}

// countLocked counts n bytes on their way to the peer as one packet.
func (c *pipeConn) countLocked(n int) {
	c.stats.BytesSent += uint64(n)
	c.stats.PacketsSent++
	c.peer.stats.BytesReceived += uint64(n)
	c.peer.stats.PacketsReceived++
}

// Context implements transport.Conn.
func (c *pipeConn) Context() context.Context { return c.ctx }

// Protocol implements transport.Conn.
func (c *pipeConn) Protocol() string { return c.p.cfg.Protocol }

// Kind implements transport.Conn.
func (c *pipeConn) Kind() transport.Kind { return c.p.cfg.Kind }

// URL implements transport.Conn.
func (c *pipeConn) URL() *url.URL { return c.url }

// LocalAddr implements transport.Conn.
func (c *pipeConn) LocalAddr() net.Addr { return pipeAddr(c.name) }

// RemoteAddr implements transport.Conn.
func (c *pipeConn) RemoteAddr() net.Addr { return pipeAddr(c.peer.name) }

// Stats implements transport.Conn.
func (c *pipeConn) Stats() transport.Stats {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	return c.stats
}

// pipeAddr is the name of an end.
type pipeAddr string

func (a pipeAddr) Network() string { return "pipe" }
func (a pipeAddr) String() string  { return string(a) }
