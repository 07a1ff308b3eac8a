package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/freshet-live/freshet/moq/transport/qmux"
)

const (
	// muxStreamWindow and muxConnWindow are what a peer may send, in bytes,
	// before it is read: of a stream, and of a connection. The first bounds what
	// one slow reader queues here, the second a peer's share of our memory. At
	// 100 ms they let through 84 Mbit/s and 335 Mbit/s.
	muxStreamWindow = 1 << 20
	muxConnWindow   = 4 << 20
	// muxDatagrams is how many datagrams wait in each direction before further
	// ones are dropped: 2 MiB at most.
	muxDatagrams = 128
	// muxGoodbye is how long the end of a connection may take: to write the
	// close frame, and for the WebSocket's own.
	muxGoodbye = time.Second
	// maxMessage is the size of the largest message in either direction.
	maxMessage = qmux.MaxFrame00
)

// messages is a WebSocket as a mux sees it. One goroutine receives, another
// sends; deadline may be called by any.
type messages interface {
	// receive waits for a message and returns how many bytes of it are in b.
	// One that is larger fills b.
	receive(b []byte) (n int, err error)
	// send writes a message.
	send(b []byte) error
	// deadline bounds the calls of send, and if all is set of receive too, the
	// present ones included.
	deadline(t time.Time, all bool)
	// ping waits for an answer to a ping of the WebSocket. It needs a receive
	// that waits.
	ping(ctx context.Context) error
	// close ends the WebSocket with its own handshake, within the deadline.
	close()
}

// errText is returned by receive for a message that is not binary.
var errText = errors.New("transport: text on a WebSocket of QMux")

// muxConfig describes one end of a mux.
type muxConfig struct {
	version                   qmux.Version
	server                    bool
	protocol                  string
	url                       *url.URL
	local, remote             net.Addr
	idle, keepAlive           time.Duration // keepAlive 0: none
	maxStreams, maxUniStreams uint64
}

// mux is a connection made of frames of QMux: one goroutine reads messages and
// never waits for anything else, one writes them, most urgent stream first.
type mux struct {
	cfg   muxConfig
	m     messages
	ctx   context.Context
	end   context.CancelCauseFunc
	ready chan struct{} // closed when the peer's parameters are there
	done  chan struct{} // closed when run returns

	// mu guards the rest and all streams. Nothing waits for the network under
	// it.
	mu      sync.Mutex
	err     error     // why the connection ended
	goodbye []byte    // the frame that says so to the peer
	changed sync.Cond // something that callers wait for
	work    sync.Cond // something that the writer waits for

	peer    qmux.Params
	hasPeer bool
	streams map[uint64]*muxStream // all that are not finished

	// Streams of the peer and of ours, bidirectional and unidirectional.
	incoming [2]incomingStreams
	outgoing [2]outgoingStreams

	sendQueue
	received, maxReceived, consumed uint64 // connection flow control, bytes
	datagrams                       [][]byte

	lastReceived, lastSent, lastPing time.Time
	pingSent                         uint64 // sequence number of the last, plus one
	pingSeen                         uint64 // the same of the peer's
	pingTimed                        bool   // the answer to the last one is a sample
	stats                            Stats
}

// Indices of incoming and outgoing.
const (
	bidi = iota
	uni
)

// incomingStreams are those that the peer opens.
type incomingStreams struct {
	limit    uint64              // of concurrent ones
	next     uint64              // one more than the greatest index seen
	max      uint64              // indices below are allowed; what the peer knows
	finished uint64              // how many have ended
	unseen   map[uint64]struct{} // indices below next that have not come yet
	accept   []*muxStream
}

// outgoingStreams are those that this end opens.
type outgoingStreams struct{ next, max uint64 }

func newMux(m messages, cfg muxConfig) *mux {
	now := time.Now()
	c := &mux{
		cfg: cfg, m: m,
		ready: make(chan struct{}), done: make(chan struct{}),
		streams: make(map[uint64]*muxStream), maxReceived: muxConnWindow,
		lastReceived: now, lastSent: now, lastPing: now,
	}
	c.changed.L, c.work.L = &c.mu, &c.mu
	for dir, limit := range []uint64{cfg.maxStreams, cfg.maxUniStreams} {
		c.incoming[dir] = incomingStreams{limit: limit, max: limit, unseen: make(map[uint64]struct{})}
	}
	c.ctx, c.end = context.WithCancelCause(context.Background())
	return c
}

// run serves the connection and returns after its end, which comes within
// muxGoodbye once Context is done. It owns the goroutines that read, write and
// watch the time.
func (c *mux) run() {
	defer close(c.done)
	var wg sync.WaitGroup
	wg.Go(c.write)
	wg.Go(c.keep)
	c.read()
	wg.Wait()
}

// handshake waits for the parameters of the peer, without which nothing may be
// sent (QMux, section "QX_TRANSPORT_PARAMETERS Frames").
func (c *mux) handshake(ctx context.Context) error {
	select {
	case <-c.ready:
		return nil
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		c.failLocked(context.Cause(ctx), nil)
		return c.err
	}
}

// params are what we tell the peer.
func (c *mux) params() qmux.Params {
	p := qmux.Params{
		MaxIdleTimeout:                 uint64(c.cfg.idle.Milliseconds()),
		InitialMaxData:                 muxConnWindow,
		InitialMaxStreamDataBidiLocal:  muxStreamWindow,
		InitialMaxStreamDataBidiRemote: muxStreamWindow,
		InitialMaxStreamDataUni:        muxStreamWindow,
		InitialMaxStreamsBidi:          c.cfg.maxStreams,
		InitialMaxStreamsUni:           c.cfg.maxUniStreams,
	}
	if c.cfg.version.Records() {
		p.MaxDatagramFrameSize, p.MaxRecordSize = qmux.DefaultMaxRecord, qmux.DefaultMaxRecord
	}
	return p
}

// failLocked ends the connection for a reason, unless it has ended. The frame
// goodbye, if any, is the last that is sent.
func (c *mux) failLocked(err error, goodbye []byte) {
	if c.err != nil {
		return
	}
	c.err, c.goodbye = err, goodbye
	c.m.deadline(time.Now().Add(muxGoodbye), true)
	c.end(err)
	for _, s := range c.streams {
		s.wakeLocked()
	}
	c.changed.Broadcast()
	c.work.Broadcast()
}

// faultLocked ends the connection because the peer broke a rule.
func (c *mux) faultLocked(err error) {
	f, ok := errors.AsType[*qmux.Error](err)
	if !ok {
		f = &qmux.Error{Code: qmux.InternalError, Reason: err.Error()}
	}
	c.failLocked(fmt.Errorf("transport: %w", f),
		qmux.Append(nil, qmux.Frame{Type: qmux.ConnectionClose, Code: uint64(f.Code), Data: []byte(CutReason(f.Reason))}))
}

// CloseWithError implements Conn.
func (c *mux) CloseWithError(code uint64, reason string) error {
	code, reason = min(code, maxQUICCode), CutReason(reason)
	c.mu.Lock()
	c.failLocked(&CloseError{Code: code, Reason: reason},
		qmux.Append(nil, qmux.Frame{Type: qmux.ApplicationClose, Code: code, Data: []byte(reason)}))
	c.mu.Unlock()
	late := time.NewTimer(muxGoodbye)
	defer late.Stop()
	select {
	case <-c.done:
	case <-late.C:
	}
	return nil
}

// waitLocked waits until ok holds.
func (c *mux) waitLocked(ctx context.Context, ok func() bool) error {
	if c.err == nil && ctx.Err() == nil && !ok() {
		defer context.AfterFunc(ctx, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.changed.Broadcast()
		})()
		for c.err == nil && ctx.Err() == nil && !ok() {
			c.changed.Wait()
		}
	}
	if c.err != nil {
		return c.err
	}
	return context.Cause(ctx)
}

// OpenStream implements Conn.
func (c *mux) OpenStream(ctx context.Context) (Stream, error) { return c.open(ctx, bidi) }

// OpenUniStream implements Conn.
func (c *mux) OpenUniStream(ctx context.Context) (SendStream, error) { return c.open(ctx, uni) }

func (c *mux) open(ctx context.Context, dir int) (*muxStream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := &c.outgoing[dir]
	if err := c.waitLocked(ctx, func() bool { return out.next < out.max }); err != nil {
		return nil, err
	}
	id := out.next<<2 | uint64(dir)<<1
	if c.cfg.server {
		id |= 1
	}
	out.next++
	return c.addStreamLocked(id), nil
}

// AcceptStream implements Conn.
func (c *mux) AcceptStream(ctx context.Context) (Stream, error) { return c.acceptNext(ctx, bidi) }

// AcceptUniStream implements Conn.
func (c *mux) AcceptUniStream(ctx context.Context) (ReceiveStream, error) {
	return c.acceptNext(ctx, uni)
}

func (c *mux) acceptNext(ctx context.Context, dir int) (*muxStream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := &c.incoming[dir]
	if err := c.waitLocked(ctx, func() bool { return len(in.accept) > 0 }); err != nil {
		return nil, err
	}
	s := in.accept[0]
	in.accept[0] = nil
	in.accept = in.accept[1:]
	return s, nil
}

// SendDatagram implements Conn. It never waits: a datagram that finds the queue
// full is dropped.
func (c *mux) SendDatagram(b []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	limit := 0
	if c.cfg.version.Records() {
		limit = qmux.DatagramSize(min(c.peer.MaxDatagramFrameSize, c.peer.MaxRecordSize))
	}
	if len(b) > limit {
		return &DatagramTooLargeError{Max: limit}
	}
	if len(c.outDatagrams) < muxDatagrams {
		c.outDatagrams = append(c.outDatagrams, append([]byte{}, b...))
		c.work.Signal()
	}
	return nil
}

// ReceiveDatagram implements Conn.
func (c *mux) ReceiveDatagram(ctx context.Context) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.waitLocked(ctx, func() bool { return len(c.datagrams) > 0 }); err != nil {
		return nil, err
	}
	b := c.datagrams[0]
	c.datagrams[0] = nil
	c.datagrams = c.datagrams[1:]
	return b, nil
}

// Context implements Conn.
func (c *mux) Context() context.Context { return c.ctx }

// Protocol implements Conn.
func (c *mux) Protocol() string { return c.cfg.protocol }

// Kind implements Conn.
func (c *mux) Kind() Kind { return WebSocket }

// URL implements Conn.
func (c *mux) URL() *url.URL { return c.cfg.url }

// LocalAddr implements Conn.
func (c *mux) LocalAddr() net.Addr { return c.cfg.local }

// RemoteAddr implements Conn.
func (c *mux) RemoteAddr() net.Addr { return c.cfg.remote }

// Stats implements Conn.
func (c *mux) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// idleLocked is the idle timeout of both ends together (RFC 9000, section 10.1).
func (c *mux) idleLocked() time.Duration {
	idle := c.cfg.idle
	if ms := c.peer.MaxIdleTimeout; ms > 0 && ms < uint64(idle.Milliseconds()) {
		idle = time.Duration(ms) * time.Millisecond
	}
	return idle
}

// keep ends the connection when the peer is silent, and sends pings.
//
// The draft lets what we send restart the idle timer too, because it comes to an
// end when nobody takes it. Here only what arrives does, which is stricter and
// safe: whoever is alive answers a ping.
func (c *mux) keep() {
	select { // handshake has a bound of its own
	case <-c.ready:
	case <-c.ctx.Done():
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-timer.C:
		}
		c.mu.Lock()
		now, idle := time.Now(), c.idleLocked()
		left := c.lastReceived.Add(idle).Sub(now)
		if left <= 0 {
			c.failLocked(ErrIdleTimeout, nil)
			c.mu.Unlock()
			return
		}
		wait := left
		pingSocket := false
		if keepAlive := min(c.cfg.keepAlive, idle/3); keepAlive > 0 {
			// The peer must hear from us as well: one that only publishes gets
			// no other answer.
			quiet := c.lastReceived
			if c.lastSent.Before(quiet) {
				quiet = c.lastSent
			}
			if c.lastPing.After(quiet) {
				quiet = c.lastPing
			}
			if due := quiet.Add(keepAlive).Sub(now); due > 0 {
				wait = min(wait, due)
			} else if c.lastPing = now; c.cfg.version.Records() {
				c.pingDue = true
				c.work.Signal()
				wait = min(wait, keepAlive)
			} else {
				pingSocket = true
			}
		}
		c.mu.Unlock()
		if pingSocket {
			ctx, cancel := context.WithTimeout(c.ctx, left)
			if c.m.ping(ctx) == nil {
				c.mu.Lock()
				c.lastReceived = time.Now()
				c.mu.Unlock()
			}
			cancel()
			wait = 0
		}
		timer.Reset(wait)
	}
}

// sampleLocked takes a round-trip time in (RFC 9002, section 5.3).
func (c *mux) sampleLocked(rtt time.Duration) {
	s := &c.stats
	s.LatestRTT = rtt
	if s.MinRTT == 0 {
		s.MinRTT, s.SmoothedRTT = rtt, rtt
		return
	}
	s.MinRTT = min(s.MinRTT, rtt)
	s.SmoothedRTT = (7*s.SmoothedRTT + rtt) / 8
}

// receiveError is why a WebSocket of which no more can be read has ended.
func receiveError(err error) error {
	if errors.Is(err, errClosedSocket) {
		return &CloseError{Remote: true}
	}
	return fmt.Errorf("transport: WebSocket broke: %w", err)
}

// errClosedSocket is returned by receive after the peer closed the WebSocket in
// order, as browsers do when their page goes away.
var errClosedSocket = errors.New("transport: WebSocket closed by the peer")

func peerReason(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
