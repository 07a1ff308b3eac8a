package session

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// script is a peer that says exactly what a test wants.
type script struct {
	t     *testing.T
	conn  transport.Conn
	draft wire.Draft
	s     *Session // the session under test
	run   chan error
	ctrl  transport.SendStream
	id    uint64 // the next Request ID
}

// silent runs a session against a peer that has said nothing yet.
func silent(t *testing.T, pipe moqtest.PipeConfig, role Role, cfg Config) *script {
	t.Helper()
	c, s := moqtest.NewPipe(pipe)
	p := &script{t: t, run: make(chan error, 1), id: 1}
	if role == RoleServer {
		c, s = s, c
		p.id = 0
	}
	// c is the end under test.
	p.conn = s
	p.draft = must[wire.Draft](t)(wire.ParseDraft(s.Protocol()))
	p.s = New(c, role, cfg)
	go func() { p.run <- p.s.Run(context.Background()) }()
	t.Cleanup(func() { p.s.Close(wire.NoError, "") })
	return p
}

// speak is silent, followed by SETUP.
func speak(t *testing.T, pipe moqtest.PipeConfig, role Role, cfg Config) *script {
	t.Helper()
	p := silent(t, pipe, role, cfg)
	p.setup(&wire.Setup{})
	return p
}

func (p *script) encode(m wire.Message) []byte {
	p.t.Helper()
	return must[[]byte](p.t)(p.draft.AppendMessage(nil, m))
}

func (p *script) setup(m *wire.Setup) {
	p.t.Helper()
	p.ctrl = p.uni(p.encode(m))
}

// control writes to the control stream.
func (p *script) control(b []byte) {
	p.t.Helper()
	_, err := p.ctrl.Write(b)
	check(p.t, err)
}

// uni opens a unidirectional stream and writes b.
func (p *script) uni(b ...[]byte) transport.SendStream {
	p.t.Helper()
	st := must[transport.SendStream](p.t)(p.conn.OpenUniStream(p.t.Context()))
	for _, b := range b {
		if _, err := st.Write(b); err != nil {
			break // the session may have ended, which is what the test looks at
		}
	}
	return st
}

// exchange is a request stream.
type exchange struct {
	p  *script
	st transport.Stream
	in messageReader
	id uint64
	// fill tells that it is what a SUBSCRIBE asked for by FILL_PARAMETERS, so
	// that there is no stream of its own to answer on.
	fill bool
}

// open begins a request stream with raw bytes.
func (p *script) open(b []byte) *exchange {
	p.t.Helper()
	st := must[transport.Stream](p.t)(p.conn.OpenStream(p.t.Context()))
	_, err := st.Write(b)
	check(p.t, err)
	return &exchange{p: p, st: st, in: messageReader{draft: p.draft, stream: st, patience: 1 << 40}}
}

// request begins a request.
func (p *script) request(build func(id uint64) wire.Message) *exchange {
	p.t.Helper()
	id := p.nextID()
	e := p.open(p.encode(build(id)))
	e.id = id
	return e
}

func (p *script) nextID() uint64 {
	p.id += 2
	return p.id - 2
}

// accept takes the next request of the session under test.
func (p *script) accept() (*exchange, wire.Message) {
	p.t.Helper()
	st := must[transport.Stream](p.t)(p.conn.AcceptStream(p.t.Context()))
	e := &exchange{p: p, st: st, in: messageReader{draft: p.draft, stream: st, patience: 1 << 40}}
	return e, e.next()
}

func (e *exchange) next() wire.Message {
	e.p.t.Helper()
	return must[wire.Message](e.p.t)(e.in.next())
}

func (e *exchange) send(m wire.Message) {
	e.p.t.Helper()
	if e.fill {
		return
	}
	_, err := e.st.Write(e.p.encode(m))
	check(e.p.t, err)
}

// wantFIN reads the end of the session's direction.
func (e *exchange) wantFIN() {
	e.p.t.Helper()
	if m, err := e.in.next(); !errors.Is(err, io.EOF) {
		e.p.t.Fatalf("got %T, %v, want a FIN", m, err)
	}
}

// wantReset reads the reset of the session's direction.
func (e *exchange) wantReset() {
	e.p.t.Helper()
	m, err := e.in.next()
	var end *transport.StreamError
	if !errors.As(err, &end) || !end.Remote {
		e.p.t.Fatalf("got %T, %v, want a reset", m, err)
	}
}

// wantRefusal reads a REQUEST_ERROR.
func (e *exchange) wantRefusal(code wire.RequestCode) {
	e.p.t.Helper()
	m := e.next()
	if r, ok := m.(*wire.RequestError); !ok || r.Code != code {
		e.p.t.Fatalf("got %T %+v, want REQUEST_ERROR %v", m, m, code)
	}
	e.wantFIN()
}

// next reads the next message of type M.
func next[M wire.Message](e *exchange) M {
	e.p.t.Helper()
	m := e.next()
	v, ok := m.(M)
	if !ok {
		e.p.t.Fatalf("got %T %+v", m, m)
	}
	return v
}

// wantClose waits until the session is closed with a code.
func (p *script) wantClose(code wire.SessionCode) {
	p.t.Helper()
	<-p.conn.Context().Done()
	err := context.Cause(p.conn.Context())
	var closed *transport.CloseError
	if !errors.As(err, &closed) || !closed.Remote || wire.SessionCode(closed.Code) != code {
		p.t.Fatalf("connection ended with %v, want %v", err, code)
	}
	err = <-p.run
	var local *LocalError
	if code == wire.NoError {
		check(p.t, err)
	} else if !errors.As(err, &local) || local.Code != code {
		p.t.Fatalf("Run returned %v, want a LocalError with %v", err, code)
	}
}

// wantOpen fails the test when the session is closed.
func (p *script) wantOpen() {
	p.t.Helper()
	synctest.Wait()
	if err := p.conn.Context().Err(); err != nil {
		p.t.Fatalf("connection ended with %v", context.Cause(p.conn.Context()))
	}
}

// data is a data stream from the session under test.
type data struct {
	p *script
	r *streamReader
	h wire.SubgroupHeader

	prev  uint64
	first bool
}

// skipControl takes the session's control stream.
func (p *script) skipControl() wire.Setup {
	p.t.Helper()
	st := must[transport.ReceiveStream](p.t)(p.conn.AcceptUniStream(p.t.Context()))
	r := &messageReader{draft: p.draft, stream: st, patience: 1 << 40}
	m := must[wire.Message](p.t)(r.next())
	return *m.(*wire.Setup)
}

// acceptData takes the next subgroup stream.
func (p *script) acceptData() *data {
	p.t.Helper()
	st := must[transport.ReceiveStream](p.t)(p.conn.AcceptUniStream(p.t.Context()))
	d := &data{p: p, r: newStreamReader(st), first: true}
	check(p.t, d.r.header(func(b []byte) (n int, err error) {
		d.h, n, err = p.draft.ParseSubgroupHeader(b)
		return n, err
	}))
	return d
}

// object reads the next Object, "" and an error at the end.
func (d *data) object() (wire.ObjectHeader, string, error) {
	var o wire.ObjectHeader
	err := d.r.header(func(b []byte) (n int, err error) {
		o, n, err = d.p.draft.ParseObjectHeader(b, &d.h, d.prev, d.first)
		return n, err
	})
	if err != nil {
		return o, "", err
	}
	d.prev, d.first = o.ID, false
	var payload []byte
	err = d.r.payload(o.Size, func(b []byte) (int, error) {
		payload = append(payload, b...)
		return len(b), nil
	})
	return o, string(payload), err
}

func (d *data) want(id uint64, payload string) {
	d.p.t.Helper()
	o, got, err := d.object()
	check(d.p.t, err)
	if o.ID != id || got != payload {
		d.p.t.Fatalf("got object %d %q, want %d %q", o.ID, got, id, payload)
	}
}

func (d *data) wantFIN() {
	d.p.t.Helper()
	if _, _, err := d.object(); !errors.Is(err, io.EOF) {
		d.p.t.Fatalf("got %v, want a FIN", err)
	}
}

func (d *data) wantReset(code wire.ResetCode) {
	d.p.t.Helper()
	for {
		_, _, err := d.object()
		if err == nil {
			continue
		}
		var end *transport.StreamError
		if !errors.As(err, &end) || !end.Remote || wire.ResetCode(end.Code) != code {
			d.p.t.Fatalf("got %v, want a reset with %v", err, code)
		}
		return
	}
}

// subscribeTo asks for trackName with params.
func (p *script) subscribeTo(params wire.Params) *exchange {
	p.t.Helper()
	return p.request(func(id uint64) wire.Message {
		return &wire.Subscribe{RequestID: id, Name: trackName, Params: params}
	})
}

// publishTo offers trackName with an alias.
func (p *script) publishTo(alias uint64, name moq.FullTrackName, props moq.Properties) *exchange {
	p.t.Helper()
	return p.request(func(id uint64) wire.Message {
		return &wire.Publish{RequestID: id, Name: name, Alias: alias, Properties: props}
	})
}

// subgroupBytes encodes a stream with Objects whose IDs count from 0.
func (p *script) subgroupBytes(h wire.SubgroupHeader, payloads ...string) []byte {
	p.t.Helper()
	b := must[[]byte](p.t)(p.draft.AppendSubgroupHeader(nil, h))
	for i, s := range payloads {
		b = must[[]byte](p.t)(p.draft.AppendObjectHeader(b, &h, uint64(i)-1, i == 0, wire.ObjectHeader{ID: uint64(i), Size: uint64(len(s))}))
		b = append(b, s...)
	}
	return b
}
