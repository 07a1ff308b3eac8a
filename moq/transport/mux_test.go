package transport

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq/transport/qmux"
)

// script is a peer whose frames a test writes itself.
type script struct {
	t testing.TB
	m *memory
	v qmux.Version
}

// newScript returns a server and the peer that has connected to it.
func newScript(t testing.TB, v qmux.Version, cfg muxConfig, params qmux.Params) (*mux, *script) {
	a, b := newMemory()
	t.Cleanup(a.close)
	c := startMux(t, b, cfg)
	p := &script{t, a, v}
	if got := p.receive(); len(got) != 1 || got[0].Type != qmux.TransportParams {
		t.Fatalf("first came %+v", got)
	}
	p.send(qmux.Frame{Type: qmux.TransportParams, Data: params.Append(nil)})
	return c, p
}

// generous are parameters that allow everything.
var generous = qmux.Params{
	InitialMaxData: 1 << 30, InitialMaxStreamDataBidiLocal: 1 << 30, InitialMaxStreamDataBidiRemote: 1 << 30, InitialMaxStreamDataUni: 1 << 30,
	InitialMaxStreamsBidi: 1 << 20, InitialMaxStreamsUni: 1 << 20, MaxDatagramFrameSize: qmux.DefaultMaxRecord,
}

func (p *script) send(frames ...qmux.Frame) {
	var b []byte
	for _, f := range frames {
		b = qmux.Append(b, f)
	}
	p.sendRaw(b)
}

// sendRaw sends a message, taking in what comes meanwhile as a WebSocket would.
func (p *script) sendRaw(b []byte) {
	for {
		select {
		case p.m.out <- b:
			return
		case <-p.m.peer.closed:
			return
		case msg := <-p.m.in:
			p.parse(msg)
		}
	}
}

// receive returns the frames of the next message; none after the end.
func (p *script) receive() []qmux.Frame {
	select {
	case msg := <-p.m.in:
		return p.parse(msg)
	case <-p.m.peer.closed:
		return nil
	}
}

func (p *script) parse(b []byte) (frames []qmux.Frame) {
	for len(b) > 0 {
		f, n, err := qmux.Parse(b, p.v)
		if err != nil {
			p.t.Fatal(err)
		}
		frames, b = append(frames, f), b[n:]
	}
	return frames
}

func stream(id, offset uint64, size int) qmux.Frame {
	return qmux.Frame{Type: qmux.Stream, ID: id, Offset: offset, Data: make([]byte, size)}
}

// Each rule that a peer breaks ends the connection with the code that QUIC or
// QMux names for it.
func TestMuxFaults(t *testing.T) {
	fill := func(p *script, id uint64, size int) {
		for offset := 0; offset < size; {
			n := min(qmux.MaxStreamPayload, size-offset)
			p.send(stream(id, uint64(offset), n))
			offset += n
		}
	}
	for _, test := range []struct {
		name string
		code qmux.Code
		do   func(p *script)
	}{
		{"more streams than allowed", qmux.StreamLimitError, func(p *script) { p.send(stream(100<<2|2, 0, 1)) }},
		{"streams that nobody ends", qmux.StreamLimitError, func(p *script) {
			for i := range uint64(101) {
				p.send(stream(i<<2, 0, 1))
			}
		}},
		{"beyond the stream's window", qmux.FlowControlError, func(p *script) { fill(p, 2, muxStreamWindow+1) }},
		{"beyond the connection's window", qmux.FlowControlError, func(p *script) {
			for i := range uint64(muxConnWindow / muxStreamWindow) {
				fill(p, i<<2|2, muxStreamWindow)
			}
			p.send(stream(50<<2|2, 0, 1))
		}},
		{"final size beyond the window", qmux.FlowControlError, func(p *script) {
			p.send(qmux.Frame{Type: qmux.ResetStream, ID: 2, Value: muxStreamWindow + 1})
		}},
		{"a gap in a stream", qmux.ProtocolViolation, func(p *script) { p.send(stream(2, 0, 10), stream(2, 11, 1)) }},
		{"data after the end", qmux.FinalSizeError, func(p *script) {
			p.send(qmux.Frame{Type: qmux.Stream, ID: 2, Fin: true}, stream(2, 0, 1))
		}},
		{"data on a stream of ours", qmux.StreamStateError, func(p *script) { p.send(stream(3, 0, 1)) }},
		{"a stream of ours that is not open", qmux.StreamStateError, func(p *script) { p.send(stream(1, 0, 1)) }},
		{"stop of a stream of theirs", qmux.StreamStateError, func(p *script) { p.send(qmux.Frame{Type: qmux.StopSending, ID: 2}) }},
		{"parameters again", qmux.ProtocolViolation, func(p *script) { p.send(qmux.Frame{Type: qmux.TransportParams}) }},
		{"a prohibited frame", qmux.FrameEncodingError, func(p *script) { p.sendRaw([]byte{0x01}) }},
		{"an unknown frame", qmux.FrameEncodingError, func(p *script) { p.sendRaw([]byte{0x40, 0x21}) }},
		{"a frame that ends too early", qmux.FrameEncodingError, func(p *script) { p.sendRaw([]byte{0x0a, 2, 5, 'x'}) }},
		{"a record too large", qmux.FrameEncodingError, func(p *script) { p.sendRaw(make([]byte, qmux.DefaultMaxRecord+1)) }},
		{"pings that go back", qmux.ProtocolViolation, func(p *script) {
			p.send(qmux.Frame{Type: qmux.Ping, Value: 5}, qmux.Frame{Type: qmux.Ping, Value: 5})
		}},
		{"the answer to no ping", qmux.ProtocolViolation, func(p *script) { p.send(qmux.Frame{Type: qmux.Pong, Value: 1 << 40}) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, p := newScript(t, qmux.Draft02, memoryConfig(qmux.Draft02, true), generous)
			ended := make(chan qmux.Frame, 1)
			test.do(p)
			go func() {
				var last qmux.Frame
				for frames := p.receive(); frames != nil; frames = p.receive() {
					last = frames[len(frames)-1]
				}
				p.m.close()
				ended <- last
			}()
			<-c.done
			if last := <-ended; last.Type != qmux.ConnectionClose || qmux.Code(last.Code) != test.code {
				t.Errorf("the peer was told %+v, want %v", last, test.code)
			}
			if f, ok := errors.AsType[*qmux.Error](context.Cause(c.ctx)); !ok || f.Code != test.code || f.Remote {
				t.Errorf("cause %v, want %v", context.Cause(c.ctx), test.code)
			}
		})
	}
}

// "the QX_TRANSPORT_PARAMETERS frame is the first frame sent by endpoints".
func TestMuxFirstFrame(t *testing.T) {
	for _, first := range []qmux.Frame{stream(2, 0, 1), {Type: qmux.Ping}, {Type: qmux.TransportParams, Data: []byte{0x00, 0}}} {
		a, b := newMemory()
		c := startMux(t, b, memoryConfig(qmux.Draft02, true))
		p := &script{t, a, qmux.Draft02}
		p.send(first)
		for frames := p.receive(); frames != nil; frames = p.receive() {
		}
		a.close()
		if err := c.handshake(t.Context()); err == nil {
			t.Errorf("began with a frame of type %#x", first.Type)
		}
	}
}

// A stream that becomes urgent overtakes a Write that is under way after one
// message; within an urgency incremental streams take turns.
func TestMuxPriority(t *testing.T) { synctest.Test(t, testMuxPriority) }

func testMuxPriority(t *testing.T) {
	c, p := newScript(t, qmux.Draft02, memoryConfig(qmux.Draft02, true), generous)
	if err := c.handshake(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What is being written when the test begins.
	ping := p.receive()
	p.send(qmux.Frame{Type: qmux.Pong, Value: ping[0].Value})

	open := func(urgency int8) *muxStream {
		s, err := c.open(t.Context(), uni)
		if err != nil {
			t.Fatal(err)
		}
		s.SetPriority(urgency, true)
		return s
	}
	video, other := open(5), open(5)
	written := make(chan error, 2)
	for _, s := range []*muxStream{video, other} {
		go func() {
			_, err := s.Write(make([]byte, 400<<10))
			written <- err
		}()
	}
	synctest.Wait() // both are ready
	var order []uint64
	for range 8 {
		for _, f := range p.receive() {
			order = append(order, f.ID)
		}
	}
	for _, id := range []uint64{video.id, other.id} {
		if n := len(slices.DeleteFunc(slices.Clone(order), func(o uint64) bool { return o != id })); n < 3 {
			t.Errorf("a stream of two equals had %d of the turns %v", n, order)
		}
	}
	synctest.Wait() // the next message is on its way
	audio, control := open(1), open(0)
	for _, s := range []*muxStream{audio, control} {
		if _, err := s.Write(make([]byte, 200)); err != nil {
			t.Fatal(err)
		}
	}
	p.receive()
	frames := p.receive()
	if len(frames) < 2 || frames[0].ID != control.id || frames[1].ID != audio.id {
		t.Errorf("after the message under way came streams %v, want %d and %d", frames[0].ID, control.id, audio.id)
	}
	size := 0
	for _, f := range frames {
		size += len(f.Data)
	}
	if size > qmux.DefaultMaxRecord {
		t.Errorf("a message of %d bytes", size)
	}
	// Video may go on only when the others have nothing.
	c.CloseWithError(0, "")
	for range 2 {
		if err := <-written; err == nil {
			t.Error("400 KiB were written in a few messages")
		}
	}
}

// Without more window of the connection, only a FIN goes.
func TestMuxConnectionWindow(t *testing.T) {
	params := generous
	params.InitialMaxData = 1000
	c, p := newScript(t, qmux.Draft02, memoryConfig(qmux.Draft02, true), params)
	if err := c.handshake(t.Context()); err != nil {
		t.Fatal(err)
	}
	ping := p.receive()
	p.send(qmux.Frame{Type: qmux.Pong, Value: ping[0].Value})
	first, err := c.open(t.Context(), uni)
	if err != nil {
		t.Fatal(err)
	}
	second, err := c.open(t.Context(), uni)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Write(make([]byte, 3000)); err != nil {
		t.Fatal(err)
	}
	if f := p.receive()[0]; len(f.Data) != 1000 {
		t.Fatalf("%d bytes in a window of 1000", len(f.Data))
	}
	second.Close()
	if f := p.receive()[0]; f.ID != second.id || !f.Fin || len(f.Data) != 0 {
		t.Fatalf("got %+v, want a FIN", f)
	}
	p.send(qmux.Frame{Type: qmux.MaxData, Value: 4000})
	if f := p.receive()[0]; f.ID != first.id || len(f.Data) != 2000 || f.Offset != 1000 {
		t.Fatalf("got %d bytes at %d", len(f.Data), f.Offset)
	}
}

// A reader that stops costs no more than the windows, and what it has read comes
// back to the peer as room.
func TestMuxWindowsFollowReader(t *testing.T) {
	c, p := newScript(t, qmux.Draft02, memoryConfig(qmux.Draft02, true), generous)
	for offset := 0; offset < muxStreamWindow; offset += 1 << 13 {
		p.send(stream(2, uint64(offset), 1<<13))
	}
	r, err := c.AcceptUniStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, muxStreamWindow*3/4)); err != nil {
		t.Fatal(err)
	}
	for {
		for _, f := range p.receive() {
			if f.Type == qmux.MaxStreamData {
				if f.ID != 2 || f.Value < muxStreamWindow*3/2 || f.Value > muxStreamWindow*2 {
					t.Errorf("room up to %d", f.Value)
				}
				return
			}
		}
	}
}

// A frame for a stream far ahead makes one stream, not all below it.
func TestMuxStreamAhead(t *testing.T) {
	c, p := newScript(t, qmux.Draft02, memoryConfig(qmux.Draft02, true), generous)
	p.send(stream(99<<2|2, 0, 1))
	p.send(stream(7<<2|2, 0, 1))
	for _, want := range []uint64{99<<2 | 2, 7<<2 | 2} {
		r, err := c.acceptNext(t.Context(), uni)
		if err != nil || r.id != want {
			t.Fatalf("accepted %v, want %d: %v", r, want, err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.streams) != 2 {
		t.Errorf("%d streams are open", len(c.streams))
	}
}

// In draft 00 each message is one frame, and there are no datagrams.
func TestMuxDraft00(t *testing.T) {
	c, p := newScript(t, qmux.Draft00, memoryConfig(qmux.Draft00, true), generous)
	p.send(stream(0, 0, 5))
	s, err := c.AcceptStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("y"), 3000)
	if _, err := s.Write(sent); err != nil {
		t.Fatal(err)
	}
	s.Stop(3)
	s.Close()
	var got []byte
	stopped := false
	for fin := false; !fin; {
		frames := p.receive()
		if len(frames) != 1 {
			t.Fatalf("a message of %d frames", len(frames))
		}
		switch f := frames[0]; f.Type {
		case qmux.Stream:
			got, fin = append(got, f.Data...), f.Fin
		case qmux.StopSending:
			stopped = f.Code == 3
		default:
			t.Fatalf("got a frame of type %#x", f.Type)
		}
	}
	if !bytes.Equal(got, sent) || !stopped {
		t.Errorf("%d of %d bytes, stopped %v", len(got), len(sent), stopped)
	}
	if _, ok := errors.AsType[*DatagramTooLargeError](c.SendDatagram([]byte("x"))); !ok {
		t.Error("a datagram was taken")
	}
}

// A peer that falls silent is noticed after the shorter of the idle timeouts,
// one that answers stays.
func TestMuxIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		params := generous
		params.MaxIdleTimeout = 9_000
		c, p := newScript(t, qmux.Draft02, memoryConfig(qmux.Draft02, true), params)
		begun := time.Now()
		go func() {
			for time.Since(begun) < time.Minute && c.ctx.Err() == nil {
				for _, f := range p.receive() {
					if f.Type == qmux.Ping {
						p.send(qmux.Frame{Type: qmux.Pong, Value: f.Value})
					}
				}
			}
			for frames := p.receive(); frames != nil; frames = p.receive() {
			}
			p.m.close()
		}()
		<-c.ctx.Done()
		if err := context.Cause(c.ctx); err != ErrIdleTimeout {
			t.Errorf("ended with %v", err)
		}
		if d := time.Since(begun); d < 66*time.Second || d > 72*time.Second {
			t.Errorf("ended after %v", d)
		}
		<-c.done
	})
}

// Draft 00 has no pings, so those of the WebSocket show who is alive.
func TestMuxIdleDraft00(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := newScript(t, qmux.Draft00, memoryConfig(qmux.Draft00, true), generous)
		time.Sleep(time.Minute)
		if c.ctx.Err() != nil {
			t.Fatalf("a peer that answers was given up: %v", context.Cause(c.ctx))
		}
		p.m.deaf.Store(true)
		begun := time.Now()
		<-c.ctx.Done()
		if err := context.Cause(c.ctx); err != ErrIdleTimeout {
			t.Errorf("ended with %v", err)
		}
		if d := time.Since(begun); d > DefaultIdleTimeout {
			t.Errorf("ended after %v", d)
		}
		p.m.close()
		<-c.done
	})
}

// A publisher that hears nothing else gets pings, and keeps us for alive.
func TestMuxPingsThoseWhoSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := newScript(t, qmux.Draft02, memoryConfig(qmux.Draft02, true), generous)
		stop := make(chan struct{})
		go func() {
			for i := uint64(0); ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Second):
				}
				select {
				case <-stop: // nobody reads any more
					return
				case p.m.out <- qmux.Append(nil, stream(2, i, 1)):
				}
			}
		}()
		pings := 0
		for begun := time.Now(); time.Since(begun) < 30*time.Second && c.ctx.Err() == nil; {
			for _, f := range p.receive() {
				if f.Type == qmux.Ping {
					pings++
				}
			}
		}
		close(stop)
		if pings < 5 {
			t.Errorf("%d pings in 30 s", pings)
		}
		p.m.close()
		<-c.done
	})
}

// One that takes nothing any more is gone as well.
func TestMuxStalledPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := newScript(t, qmux.Draft02, memoryConfig(qmux.Draft02, true), generous)
		go func() {
			for c.ctx.Err() == nil { // it still sends
				select {
				case p.m.out <- []byte{0}:
				case <-c.done:
				}
				time.Sleep(time.Second)
			}
		}()
		<-c.done
		if err := context.Cause(c.ctx); err != ErrIdleTimeout {
			t.Errorf("ended with %v", err)
		}
		time.Sleep(2 * time.Second)
	})
}

// FuzzMux feeds messages to an end of a connection: whatever comes, it is an
// error or a state within the limits.
func FuzzMux(f *testing.F) {
	params := qmux.Append(nil, qmux.Frame{Type: qmux.TransportParams, Data: generous.Append(nil)})
	for _, frames := range [][]qmux.Frame{
		{stream(2, 0, 10), {Type: qmux.ResetStream, ID: 2, Code: 1, Value: 10}},
		{stream(0, 0, 1), {Type: qmux.StopSending, ID: 0, Code: 7}, {Type: qmux.Stream, ID: 0, Offset: 1, Fin: true}},
		{{Type: qmux.MaxStreamData, ID: 4, Value: 9}, {Type: qmux.MaxData, Value: 1 << 40}, {Type: qmux.MaxStreamsUni, Value: 3}},
		{{Type: qmux.Ping, Value: 1}, {Type: qmux.Datagram, Data: []byte("d")}, {Type: qmux.ApplicationClose, Code: 3, Data: []byte("bye")}},
	} {
		var b []byte
		for _, f := range frames {
			b = qmux.Append(b, f)
		}
		f.Add(uint8(2), b)
	}
	f.Fuzz(func(t *testing.T, version uint8, b []byte) {
		m, _ := newMemory()
		cfg := memoryConfig(qmux.Version(version%3), true)
		c := newMux(m, cfg)
		defer c.end(nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		if err := c.messageLocked(params); err != nil {
			t.Fatal(err)
		}
		out := c.messageToSendLocked(nil)
		for len(b) > 0 && c.err == nil {
			n := min(len(b), 1+int(b[0]))
			if c.messageLocked(b[:n]) != nil {
				break
			}
			b = b[n:]
			out = c.messageToSendLocked(out[:0])
			for rest := out; len(rest) > 0; {
				_, n, err := qmux.Parse(rest, cfg.version)
				if err != nil {
					t.Fatalf("we would send %x: %v", out, err)
				}
				rest = rest[n:]
			}
		}
		if n := uint64(len(c.streams)); n > cfg.maxStreams+cfg.maxUniStreams {
			t.Errorf("%d streams are open", n)
		}
		if held := c.received - c.consumed; held > muxConnWindow || len(c.datagrams) > muxDatagrams {
			t.Errorf("%d bytes and %d datagrams are held", held, len(c.datagrams))
		}
		m.close()
	})
}
