package hostile

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// attacker is the client's end of a connection without a session: it writes
// whatever bytes it likes.
type attacker struct {
	t     *testing.T
	ctx   context.Context
	conn  transport.Conn
	draft wire.Draft
}

func attack(t *testing.T, scheme string, draft wire.Draft) *attacker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	conn, err := dial(ctx, scheme, draft.ALPN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseWithError(0, "") })
	return &attacker{t: t, ctx: ctx, conn: conn, draft: draft}
}

// uni sends bytes on a unidirectional stream of its own. The server may close
// the connection at any moment, so errors are no news.
func (a *attacker) uni(fin bool, parts ...[]byte) transport.SendStream {
	st, err := a.conn.OpenUniStream(a.ctx)
	if err != nil {
		return nil
	}
	st.Write(bytes.Join(parts, nil))
	if fin {
		st.Close()
	}
	return st
}

// request sends bytes on a bidirectional stream of its own.
func (a *attacker) request(fin bool, parts ...[]byte) transport.Stream {
	st, err := a.conn.OpenStream(a.ctx)
	if err != nil {
		return nil
	}
	st.Write(bytes.Join(parts, nil))
	if fin {
		st.Close()
	}
	return st
}

func (a *attacker) message(m wire.Message) []byte {
	b, err := a.draft.AppendMessage(nil, m)
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

// setup is a SETUP that the server accepts.
func (a *attacker) setup() []byte {
	return a.message(&wire.Setup{Tokens: []wire.Token{{AliasType: wire.TokenUseValue, Value: []byte(server.ready.BenchToken)}}})
}

// enter sends a proper SETUP.
func (a *attacker) enter() { a.uni(false, a.setup()) }

// raw is a control message with any type and length.
func raw(typ uint64, length uint16, body ...byte) []byte {
	b := wire.AppendVarint(nil, typ)
	b = append(b, byte(length>>8), byte(length))
	return append(b, body...)
}

// closed waits for the end of the connection and returns its code.
func (a *attacker) closed() (wire.SessionCode, bool) {
	select {
	case <-a.conn.Context().Done():
	case <-a.ctx.Done():
		return 0, false
	}
	var end *transport.CloseError
	if !errors.As(context.Cause(a.conn.Context()), &end) || !end.Remote {
		a.t.Fatalf("the connection ended with %v, not with a code of the server", context.Cause(a.conn.Context()))
	}
	return wire.SessionCode(end.Code), true
}

// answered asks for the status of a Track that does not exist and returns
// once the server has answered that, or has closed the connection.
func (a *attacker) answered(id uint64) bool {
	st := a.request(true, a.message(&wire.TrackStatus{RequestID: id, Name: moq.FullTrackName{Namespace: moq.Namespace{"bench", "nowhere"}, Track: "t"}}))
	if st == nil {
		return false
	}
	stop := context.AfterFunc(a.ctx, func() { st.Stop(0) })
	defer stop()
	n, _ := st.Read(make([]byte, 1))
	return n == 1
}

// breaches are what ends a session, and the code that docs/protocol.md and
// the drafts give it.
var breaches = []struct {
	name string
	do   func(a *attacker)
	want wire.SessionCode
}{
	{"unknown stream type first", func(a *attacker) { a.uni(false, wire.AppendVarint(nil, 0x3F00)) }, wire.ProtocolViolation},
	{"random bytes first", func(a *attacker) { a.uni(true, noise(1, 4000)) }, wire.ProtocolViolation},
	{"no setup at all", func(a *attacker) {}, wire.ControlMessageTimeout},
	{"setup that ends early", func(a *attacker) { b := a.setup(); a.uni(true, b[:len(b)-1]) }, wire.ProtocolViolation},
	{"setup that never ends", func(a *attacker) { b := a.setup(); a.uni(false, b[:len(b)-1]) }, wire.ControlMessageTimeout},
	{"setup with half an option", func(a *attacker) { a.uni(false, raw(uint64(wire.StreamSetup), 1, 0xff)) }, wire.KeyValueFormattingError},
	{"setup with an option that repeats", func(a *attacker) {
		a.uni(false, raw(uint64(wire.StreamSetup), 4, 0x04, 1, 0x00, 1))
	}, wire.ProtocolViolation},
	{"setup with a path of its own", func(a *attacker) {
		path := "/elsewhere"
		a.uni(false, a.message(&wire.Setup{Path: &path}))
	}, wire.InvalidPath},
	{"wrong token", func(a *attacker) {
		a.uni(false, a.message(&wire.Setup{Tokens: []wire.Token{{AliasType: wire.TokenUseValue, Value: noise(2, 300)}}}))
	}, wire.Unauthorized},
	{"second setup message", func(a *attacker) { a.uni(false, a.setup(), a.setup()) }, wire.ProtocolViolation},
	{"second control stream", func(a *attacker) { a.enter(); a.uni(false, a.setup()) }, wire.ProtocolViolation},
	{"control stream ends", func(a *attacker) { a.uni(true, a.setup()) }, wire.ProtocolViolation},
	{"unknown control message", func(a *attacker) { a.uni(false, a.setup(), raw(0x3EEE, 0)) }, wire.ProtocolViolation},
	{"request on the control stream", func(a *attacker) {
		a.uni(false, a.setup(), a.message(&wire.Subscribe{Name: bystanderTrack}))
	}, wire.ProtocolViolation},
	{"control message longer than what comes", func(a *attacker) {
		a.uni(true, a.setup(), raw(0x10, 0xffff, noise(3, 1000)...))
	}, wire.ProtocolViolation},
	{"goaway to a server with a URI", func(a *attacker) {
		id := uint64(0)
		m := &wire.GoAway{URI: "https://attacker.example/"}
		if a.draft == wire.Draft18 {
			m.RequestID = &id
		}
		a.uni(false, a.setup(), a.message(m))
	}, wire.ProtocolViolation},

	{"unknown request", func(a *attacker) { a.enter(); a.request(false, raw(0x3EEE, 2, 0, 0)) }, wire.ProtocolViolation},
	{"random bytes as a request", func(a *attacker) { a.enter(); a.request(true, noise(4, 5000)) }, wire.ProtocolViolation},
	{"request that ends early", func(a *attacker) {
		a.enter()
		b := a.message(&wire.Subscribe{Name: bystanderTrack})
		a.request(true, b[:len(b)-2])
	}, wire.ProtocolViolation},
	{"request with bytes left over", func(a *attacker) {
		a.enter()
		b := a.message(&wire.Subscribe{Name: bystanderTrack})
		b = append(b, 0)
		b[2]++ // the low byte of the length, behind the type of one byte
		a.request(false, b)
	}, wire.ProtocolViolation},
	{"request with a namespace of 33 fields", func(a *attacker) {
		a.enter()
		body := append([]byte{0, 33}, bytes.Repeat([]byte{1, 'x'}, 33)...)
		body = append(body, 1, 't', 0)
		a.request(false, raw(uint64(wire.TypeSubscribe), uint16(len(body)), body...))
	}, wire.ProtocolViolation},
	{"request with a field of almost 2^64 bytes", func(a *attacker) {
		a.enter()
		body := append([]byte{0, 1}, wire.AppendVarint(nil, math.MaxUint64)...)
		a.request(false, raw(uint64(wire.TypeSubscribe), uint16(len(body)), body...))
	}, wire.ProtocolViolation},
	{"request ID of the server", func(a *attacker) {
		a.enter()
		a.request(false, a.message(&wire.Subscribe{RequestID: 1, Name: bystanderTrack}))
	}, wire.InvalidRequestID},
	{"request ID used twice", func(a *attacker) {
		a.enter()
		a.request(false, a.message(&wire.Subscribe{RequestID: 0, Name: bystanderTrack}))
		a.request(false, a.message(&wire.TrackStatus{RequestID: 0, Name: bystanderTrack}))
	}, wire.InvalidRequestID},
	{"answer where a request is due", func(a *attacker) { a.enter(); a.request(false, a.message(&wire.RequestOK{})) }, wire.ProtocolViolation},
	{"two tracks with one alias", func(a *attacker) {
		a.enter()
		for i, name := range []string{"a", "b"} {
			a.request(false, a.message(&wire.Publish{RequestID: uint64(2 * i), Alias: 7, Name: moq.FullTrackName{Namespace: moq.Namespace{"bench", "attack"}, Track: name}}))
		}
	}, wire.DuplicateTrackAlias},

	{"data stream that ends inside its header", func(a *attacker) {
		a.enter()
		a.uni(true, wire.AppendVarint(nil, uint64(wire.StreamSubgroup)))
	}, wire.ProtocolViolation},
	{"data stream with flags that are not defined", func(a *attacker) { a.enter(); a.uni(false, []byte{0x16, 0, 0, 0, 0}) }, wire.ProtocolViolation},
	{"object that ends early", func(a *attacker) {
		a.publish()
		a.subgroup(true, wire.ObjectHeader{Size: 100}, noise(5, 50))
	}, wire.ProtocolViolation},
	{"properties that are longer than allowed", func(a *attacker) {
		a.publish()
		a.uni(false, a.subgroupHeader(), []byte{0}, wire.AppendVarint(nil, wire.MaxPropertiesSize+1))
	}, wire.InternalError},
	{"random datagram", func(a *attacker) { a.enter(); a.answered(0); a.conn.SendDatagram(noise(6, 300)) }, wire.ProtocolViolation},
}

// publish offers a Track with the alias 7 and waits until it was taken.
func (a *attacker) publish() {
	a.t.Helper()
	a.enter()
	st := a.request(false, a.message(&wire.Publish{Alias: 7, Name: moq.FullTrackName{Namespace: moq.Namespace{"bench", "attack"}, Track: strings.ReplaceAll(a.t.Name(), "/", " ")}}))
	var b []byte
	for st != nil {
		buf := make([]byte, 512)
		n, err := st.Read(buf)
		b = append(b, buf[:n]...)
		m, _, parseErr := a.draft.ParseMessage(b)
		if parseErr == nil {
			if _, ok := m.(*wire.RequestOK); !ok {
				a.t.Fatalf("PUBLISH was answered with %v", m.Type())
			}
			return
		}
		if err != nil {
			a.t.Fatalf("PUBLISH was not answered: %v", err)
		}
	}
}

// subgroupHeader begins Group 1 of the Track with the alias 7.
func (a *attacker) subgroupHeader() []byte {
	b, err := a.draft.AppendSubgroupHeader(nil, header)
	if err != nil {
		a.t.Fatal(err)
	}
	return b
}

var header = wire.SubgroupHeader{Alias: 7, Group: 1, Properties: true, DefaultPriority: true}

func (a *attacker) subgroup(fin bool, o wire.ObjectHeader, payload []byte) transport.SendStream {
	b, err := a.draft.AppendObjectHeader(a.subgroupHeader(), &header, 0, true, o)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.uni(fin, b, payload)
}

// noise is random, and the same in every run. Its first byte is no beginning
// of anything that exists.
func noise(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	b[0] = 0x7f
	return b
}

func TestBreaches(t *testing.T) {
	for _, scheme := range transports {
		for _, draft := range []wire.Draft{wire.Draft18, wire.Draft19} {
			for _, breach := range breaches {
				t.Run(scheme+"/"+draft.ALPN()+"/"+breach.name, func(t *testing.T) {
					t.Parallel()
					a := attack(t, scheme, draft)
					breach.do(a)
					code, ok := a.closed()
					if !ok {
						t.Fatal("the session goes on")
					}
					if code != breach.want {
						t.Errorf("closed with %v, want %v", code, breach.want)
					}
					healthy(t)
				})
			}
		}
	}
}

// What breaks no rule of the protocol costs the attacker its stream, with the
// code for it, and not the session.
func TestStopped(t *testing.T) {
	tests := []struct {
		name string
		do   func(a *attacker) transport.SendStream
		want wire.ResetCode
	}{
		{"object larger than memory", func(a *attacker) transport.SendStream {
			a.publish()
			return a.subgroup(false, wire.ObjectHeader{Size: math.MaxUint64}, noise(7, 1000))
		}, wire.ResetExcessiveLoad},
		{"alias that nobody has named", func(a *attacker) transport.SendStream {
			a.enter()
			return a.subgroup(false, wire.ObjectHeader{Size: 1000}, nil)
		}, wire.ResetCancelled},
		{"fetch that nobody has asked for", func(a *attacker) transport.SendStream {
			a.enter()
			b, err := a.draft.AppendFetchHeader(nil, wire.FetchHeader{RequestID: 1})
			if err != nil {
				a.t.Fatal(err)
			}
			return a.uni(false, b)
		}, wire.ResetCancelled},
		{"padding without end", func(a *attacker) transport.SendStream {
			a.enter()
			return a.uni(false, wire.AppendVarint(nil, uint64(wire.StreamPadding)), make([]byte, 4000))
		}, wire.ResetCancelled},
	}
	for _, scheme := range transports {
		for _, test := range tests {
			t.Run(scheme+"/"+test.name, func(t *testing.T) {
				t.Parallel()
				a := attack(t, scheme, wire.Draft18)
				st := test.do(a)
				if st == nil {
					t.Fatal("no stream could be opened")
				}
				select {
				case <-st.Context().Done():
				case <-a.ctx.Done():
					t.Fatal("the stream was not stopped")
				}
				var stopped *transport.StreamError
				if err := context.Cause(st.Context()); !errors.As(err, &stopped) || !stopped.Remote || wire.ResetCode(stopped.Code) != test.want {
					t.Errorf("the stream ended with %v, want it stopped with %v", err, test.want)
				}
				if !a.answered(1000) {
					t.Error("the session does not go on")
				}
				healthy(t)
			})
		}
	}
}

// Messages of every kind, whole, cut and with bits turned over, on streams
// where they belong and where they do not: the session goes on or ends with a
// code that the draft knows.
func TestMutations(t *testing.T) {
	const rounds = 40 // connections for each transport
	const perRound = 6
	for _, scheme := range transports {
		for _, draft := range []wire.Draft{wire.Draft18, wire.Draft19} {
			t.Run(scheme+"/"+draft.ALPN(), func(t *testing.T) {
				t.Parallel()
				seeds := vectors(t, draft)
				r := rand.New(rand.NewPCG(uint64(draft), uint64(len(scheme))))
				codes := make(map[wire.SessionCode]int)
				for range rounds / 2 {
					a := attack(t, scheme, draft)
					a.enter()
					for range perRound {
						b := mutate(r, seeds[r.IntN(len(seeds))])
						fin := r.IntN(2) == 0
						switch r.IntN(6) {
						case 0:
							a.uni(fin, b)
						case 1:
							a.uni(fin, a.subgroupHeader(), b)
						case 2:
							a.conn.SendDatagram(b)
						default:
							a.request(fin, b)
						}
					}
					if a.answered(1000) {
						a.conn.CloseWithError(0, "")
						continue
					}
					code, ok := a.closed()
					if !ok {
						t.Fatal("the session neither answers nor ends")
					}
					if strings.HasPrefix(code.String(), "SessionCode(") {
						t.Errorf("closed with %v", code)
					}
					codes[code]++
				}
				healthy(t)
				t.Logf("sessions ended: %v", codes)
			})
		}
	}
}

// mutate cuts b, turns bits over, and repeats parts of it.
func mutate(r *rand.Rand, seed []byte) []byte {
	b := bytes.Clone(seed)
	for range r.IntN(4) {
		if len(b) == 0 {
			break
		}
		switch i := r.IntN(len(b)); r.IntN(4) {
		case 0:
			b = b[:i]
		case 1:
			b[i] ^= 1 << r.IntN(8)
		case 2:
			b = append(b[:i:i], b[max(0, i-8):]...)
		case 3:
			b[i] = 0xff
		}
	}
	if len(b) > 1000 {
		b = b[:1000]
	}
	return b
}

// vectors are the bytes of the messages that the codecs are tested with.
func vectors(t *testing.T, draft wire.Draft) [][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "testdata", "vectors", "moqt", "draft-"+strings.TrimPrefix(draft.ALPN(), "moqt-"), "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	var all [][]byte
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Vectors []struct {
				Hex string `json:"hex"`
			} `json:"vectors"`
		}
		if err := json.Unmarshal(b, &file); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, v := range file.Vectors {
			seed, err := hex.DecodeString(v.Hex)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all = append(all, seed)
		}
	}
	return all
}
