package session

import (
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// servedTrack is a Handler with one Track.
func servedTrack() (*node, *moq.TrackWriter) {
	n, w := newNode(), newTrack()
	n.add(w.Track())
	return n, w
}

func ptr[T any](v T) *T { return &v }

// Each case ends the session of a server with a code. Sections are those of
// draft 18 unless another draft is named.
func TestPeerBreaksTheProtocol(t *testing.T) {
	type peer = *script
	ns := func(id uint64, ns ...string) wire.Message {
		return &wire.PublishNamespace{RequestID: id, Namespace: ns}
	}
	token := func(tokens ...wire.Token) func(peer) {
		return func(p peer) {
			p.request(func(id uint64) wire.Message {
				return &wire.PublishNamespace{RequestID: id, Namespace: moq.Namespace{"a"}, Params: wire.Params{Tokens: tokens}}
			})
		}
	}
	object := func(p peer, bytes []byte, fin bool) {
		e := p.publishTo(5, trackName, nil)
		next[*wire.RequestOK](e)
		st := p.uni(bytes)
		if fin {
			st.Close()
		}
	}
	for _, tc := range []struct {
		name string
		rule string
		code wire.SessionCode
		do   func(p peer)
		only wire.Draft // 0 is every draft
	}{
		{
			"control stream FIN",
			`"A control stream MUST NOT be closed at the underlying transport layer during the session's lifetime. Doing so results in the session being closed as a PROTOCOL_VIOLATION." (Session initialization)`,
			wire.ProtocolViolation, func(p peer) { p.ctrl.Close() }, 0,
		},
		{
			"control stream reset", `as above`,
			wire.ProtocolViolation, func(p peer) { synctest.Wait(); p.ctrl.Reset(1) }, 0,
		},
		{
			"second control stream", `"Each peer opens one control stream" (Session initialization)`,
			wire.ProtocolViolation, func(p peer) { p.setup(&wire.Setup{}) }, 0,
		},
		{
			"request on the control stream", `the Stream column of the table in "Control Messages"`,
			wire.ProtocolViolation, func(p peer) { p.control(p.encode(ns(0, "a"))) }, 0,
		},
		{
			"second SETUP", `"The SETUP message is the first message each endpoint sends" (SETUP)`,
			wire.ProtocolViolation, func(p peer) { p.control(p.encode(&wire.Setup{})) }, 0,
		},
		{
			"request stream begins with a response",
			`"Bidirectional streams MUST NOT begin with any other message type unless negotiated. If they do, the peer MUST close the Session with a PROTOCOL_VIOLATION." (Session initialization)`,
			wire.ProtocolViolation, func(p peer) { p.open(p.encode(&wire.RequestOK{})) }, 0,
		},
		{
			"unknown message type", `"An endpoint that receives an unknown message type MUST close the session." (Control Messages)`,
			wire.ProtocolViolation, func(p peer) { p.open([]byte{0x3f, 0, 0}) }, 0,
		},
		{
			"wrong message length",
			`"If the length does not match the length of the Message Payload, the receiver MUST close the session with a PROTOCOL_VIOLATION." (Control Messages)`,
			wire.ProtocolViolation, func(p peer) {
				b := p.encode(ns(0, "a"))
				b[2]++
				p.open(append(b, 0))
			}, 0,
		},
		{
			"message cut off by FIN", `the same`,
			wire.ProtocolViolation, func(p peer) {
				b := p.encode(ns(0, "a"))
				p.open(b[:len(b)-1]).st.Close()
			}, 0,
		},
		{
			"unknown stream type", `"An endpoint that receives an unknown stream type MUST close the session." (Unidirectional Stream Types)`,
			wire.ProtocolViolation, func(p peer) { p.uni([]byte{0x07}) }, 0,
		},
		{
			"reserved subgroup ID mode", `"If an endpoint receives a stream header with any of these Type values, it MUST close the session with a PROTOCOL_VIOLATION" (Subgroup Header)`,
			wire.ProtocolViolation, func(p peer) { p.uni([]byte{0x16}) }, 0,
		},
		{
			"unknown datagram type", `"An endpoint that receives an unknown datagram type MUST close the session." (Data Streams and Datagrams)`,
			wire.ProtocolViolation, func(p peer) { p.conn.SendDatagram([]byte{0x40, 0, 0}) }, 0,
		},
		{
			"request ID of the receiver's parity",
			`"If an endpoint receives a Request ID where the least significant bit is incorrect for the sender, or a duplicate Request ID, it MUST close the session with INVALID_REQUEST_ID." (Request ID)`,
			wire.InvalidRequestID, func(p peer) { p.open(p.encode(ns(1, "a"))) }, 0,
		},
		{
			"request ID repeats", `as above`,
			wire.InvalidRequestID, func(p peer) {
				p.open(p.encode(ns(4, "a")))
				p.open(p.encode(ns(4, "b")))
			}, 0,
		},
		{
			"request ID of an update repeats", `as above`,
			wire.InvalidRequestID, func(p peer) {
				e := p.open(p.encode(ns(4, "a")))
				e.send(&wire.RequestUpdate{RequestID: 4})
			}, 0,
		},
		{
			"second GOAWAY", `"The endpoint MUST close the session with a PROTOCOL_VIOLATION if it receives more than one GOAWAY on the control stream or on a single request stream." (GOAWAY)`,
			wire.ProtocolViolation, func(p peer) {
				g := &wire.GoAway{}
				if p.draft == wire.Draft18 {
					g.RequestID = ptr(uint64(1))
				}
				p.control(append(p.encode(g), p.encode(g)...))
			}, 0,
		},
		{
			"second GOAWAY on a request stream", `as above`,
			wire.ProtocolViolation, func(p peer) {
				e := p.open(p.encode(ns(0, "a")))
				e.send(&wire.GoAway{})
				e.send(&wire.GoAway{})
			}, 0,
		},
		{
			"GOAWAY with a URI from a client",
			`"If a server receives a GOAWAY with a non-zero New Session URI Length it MUST close the session with a PROTOCOL_VIOLATION." (GOAWAY)`,
			wire.ProtocolViolation, func(p peer) {
				g := &wire.GoAway{URI: "moqt://x/"}
				if p.draft == wire.Draft18 {
					g.RequestID = ptr(uint64(1))
				}
				p.control(p.encode(g))
			}, 0,
		},
		{
			"GOAWAY with a request ID of the sender",
			`"If the parity of the Request ID does not match the receiver's parity, the endpoint MUST close the session with INVALID_REQUEST_ID." (GOAWAY)`,
			wire.InvalidRequestID, func(p peer) { p.control(p.encode(&wire.GoAway{RequestID: ptr(uint64(2))})) }, wire.Draft18,
		},
		{
			"unknown token alias",
			`"The receiver of a message referencing an Alias that is not currently registered MUST reject the message with UNKNOWN_AUTH_TOKEN_ALIAS." (AUTHORIZATION TOKEN Parameter)`,
			wire.UnknownAuthTokenAlias, token(wire.Token{AliasType: wire.TokenUseAlias, Alias: 1}), 0,
		},
		{
			"token alias is registered twice",
			`"The receiver of a message attempting to register an Alias which is already registered MUST close the Session with DUPLICATE_AUTH_TOKEN_ALIAS." (AUTHORIZATION TOKEN Parameter)`,
			wire.DuplicateAuthTokenAlias, token(
				wire.Token{AliasType: wire.TokenRegister, Alias: 1, Value: []byte("a")},
				wire.Token{AliasType: wire.TokenRegister, Alias: 1, Value: []byte("b")}), 0,
		},
		{
			"token cache overflow",
			`"If a registration is attempted which would cause this limit to be exceeded, the receiver MUST terminate the Session with a AUTH_TOKEN_CACHE_OVERFLOW error." (AUTHORIZATION TOKEN Parameter)`,
			wire.AuthTokenCacheOverflow, token(wire.Token{AliasType: wire.TokenRegister, Value: make([]byte, 8192)}), 0,
		},
		{
			"object cut off by FIN",
			`"If a stream ends gracefully (i.e., the stream terminates with a FIN) in the middle of a serialized Object, the session SHOULD be closed with a PROTOCOL_VIOLATION." (Streams)`,
			wire.ProtocolViolation, func(p peer) {
				b := p.subgroupBytes(wire.SubgroupHeader{Alias: 5, DefaultPriority: true}, "abc")
				object(p, b[:len(b)-1], true)
			}, 0,
		},
		{
			"object header cut off by FIN", `as above`,
			wire.ProtocolViolation, func(p peer) {
				b := p.subgroupBytes(wire.SubgroupHeader{Alias: 5, DefaultPriority: true}, "abc")
				object(p, b[:len(b)-4], true)
			}, 0,
		},
		{
			"track alias of another track",
			`"If a subscriber receives a PUBLISH or SUBSCRIBE_OK that uses the same Track Alias as a different Track with an Established subscription, it MUST close the session with error DUPLICATE_TRACK_ALIAS." (Track Alias)`,
			wire.DuplicateTrackAlias, func(p peer) {
				next[*wire.RequestOK](p.publishTo(5, trackName, nil))
				p.publishTo(5, moq.FullTrackName{Track: "other"}, nil)
			}, 0,
		},
		{
			"message that has no place on a request stream", `the table in "Control Messages"`,
			wire.ProtocolViolation, func(p peer) {
				e := p.open(p.encode(ns(0, "a")))
				e.send(&wire.Namespace{})
			}, 0,
		},
		{
			"second request on a request stream", `the table in "Control Messages"`,
			wire.ProtocolViolation, func(p peer) {
				e := p.open(p.encode(&wire.PublishNamespace{RequestID: 0, Namespace: moq.Namespace{"a"}}))
				e.send(&wire.PublishNamespace{RequestID: 2, Namespace: moq.Namespace{"b"}})
			}, 0,
		},
		{
			"answer that nobody waits for",
			`"The peer SHOULD close the session with a protocol error if it receives more than one." (Subscriptions)`,
			wire.ProtocolViolation, func(p peer) {
				e := p.publishTo(5, trackName, nil)
				next[*wire.RequestOK](e)
				e.send(&wire.RequestOK{})
			}, 0,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Log(tc.rule)
			bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
				if tc.only != 0 && pipe.Protocol != tc.only.ALPN() {
					return
				}
				p := speak(t, pipe, RoleServer, Config{Handler: newNode()})
				tc.do(p)
				p.wantClose(tc.code)
			})
		})
	}
}

func TestSetupRules(t *testing.T) {
	for _, tc := range []struct {
		name  string
		rule  string
		role  Role // of the session under test
		kind  transport.Kind
		setup wire.Setup
		code  wire.SessionCode
	}{
		{
			"PATH over WebTransport",
			`"When a PATH parameter is received from a server, or when a PATH parameter is received while WebTransport is used [...] the session MUST be closed with INVALID_PATH." (draft 18, PATH)`,
			RoleServer, transport.WebTransport, wire.Setup{Path: ptr("/")}, wire.InvalidPath,
		},
		{"PATH from a server", `as above`, RoleClient, transport.QUIC, wire.Setup{Path: ptr("/")}, wire.InvalidPath},
		{
			"AUTHORITY over WebTransport", `the same for INVALID_AUTHORITY (draft 18, AUTHORITY)`,
			RoleServer, transport.WebTransport, wire.Setup{Authority: ptr("a")}, wire.InvalidAuthority,
		},
		{"AUTHORITY from a server", `as above`, RoleClient, transport.QUIC, wire.Setup{Authority: ptr("a")}, wire.InvalidAuthority},
		{
			"malformed PATH", `"If a PATH does not conform to these rules, the session MUST be closed with MALFORMED_PATH." (draft 18, PATH)`,
			RoleServer, transport.QUIC, wire.Setup{Path: ptr("no slash")}, wire.MalformedPath,
		},
		{
			"malformed AUTHORITY", `the same for MALFORMED_AUTHORITY (draft 18, AUTHORITY)`,
			RoleServer, transport.QUIC, wire.Setup{Authority: ptr("a b")}, wire.MalformedAuthority,
		},
		{
			"token by alias",
			`"If a server receives Alias Type DELETE (0x0) or USE_ALIAS (0x2) in a SETUP message, it MUST close the session with a PROTOCOL_VIOLATION." (draft 18, AUTHORIZATION TOKEN Parameter)`,
			RoleServer, transport.QUIC, wire.Setup{Tokens: []wire.Token{{AliasType: wire.TokenUseAlias, Alias: 1}}}, wire.ProtocolViolation,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Log(tc.rule)
			bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
				pipe.Kind = tc.kind
				pipe.URL = must[*url.URL](t)(url.Parse("https://host/"))
				p := silent(t, pipe, tc.role, Config{})
				p.setup(&tc.setup)
				p.wantClose(tc.code)
			})
		})
	}
}

// "If an endpoint receives an AUTHORIZATION TOKEN option in SETUP with Alias
// Type REGISTER that exceeds its MAX_AUTH_TOKEN_CACHE_SIZE, it MUST NOT fail
// the session with AUTH_TOKEN_CACHE_OVERFLOW. Instead, it MUST treat the option
// as Alias Type USE_VALUE." (draft 18, AUTHORIZATION TOKEN)
func TestSetupTokenTooLargeToKeep(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := silent(t, pipe, RoleServer, Config{Limits: Limits{TokenCache: -1}})
		p.setup(&wire.Setup{Tokens: []wire.Token{{AliasType: wire.TokenRegister, Alias: 1, Value: []byte("secret")}}})
		<-p.s.Ready()
		if got := p.s.Peer().Token; got != "secret" {
			t.Errorf("token %q", got)
		}
	})
}

// A registered token is the token of later messages that use its alias.
func TestTokenAlias(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n, _ := servedTrack()
		p := silent(t, pipe, RoleServer, Config{Handler: n})
		p.setup(&wire.Setup{Tokens: []wire.Token{{AliasType: wire.TokenRegister, Alias: 1, Value: []byte("secret")}}})
		e := p.subscribeTo(wire.Params{Tokens: []wire.Token{{AliasType: wire.TokenUseAlias, Alias: 1}}})
		next[*wire.SubscribeOK](e)
		if got := n.requests[0].Token; got != "secret" {
			t.Errorf("token %q", got)
		}
		e = p.request(func(id uint64) wire.Message {
			return &wire.TrackStatus{RequestID: id, Name: trackName, Params: wire.Params{Tokens: []wire.Token{{AliasType: wire.TokenDelete, Alias: 1}}}}
		})
		next[*wire.RequestOK](e)
		p.subscribeTo(wire.Params{Tokens: []wire.Token{{AliasType: wire.TokenUseAlias, Alias: 1}}})
		p.wantClose(wire.UnknownAuthTokenAlias)
	})
}

// The client says where it connects to: "the client MUST set the PATH option
// to the path-abempty portion of the URI; if query is present, the client MUST
// concatenate ?, followed by the query portion of the URI to the option."
// (draft 18, PATH)
func TestSetupOfClient(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		pipe.URL = must[*url.URL](t)(url.Parse("moqt://relay.example:4443/a%20b?jwt=x.y"))
		p := silent(t, pipe, RoleClient, Config{Token: "tok"})
		m := p.skipControl()
		if m.Path == nil || *m.Path != "/a%20b?jwt=x.y" || m.Authority == nil || *m.Authority != "relay.example:4443" {
			t.Errorf("path %v, authority %v", m.Path, m.Authority)
		}
		if len(m.Tokens) != 1 || string(m.Tokens[0].Value) != "tok" || m.Implementation == "" {
			t.Errorf("tokens %v, implementation %q", m.Tokens, m.Implementation)
		}
	})
}

func TestServerLearnsPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := silent(t, moqtest.PipeConfig{}, RoleServer, Config{})
		p.setup(&wire.Setup{Path: ptr("/x%20y?jwt=t"), Authority: ptr("host:1")})
		<-p.s.Ready()
		if got := p.s.Peer(); got.Path != "/x y" || got.Query.Get("jwt") != "t" || got.Authority != "host:1" {
			t.Errorf("peer %+v", got)
		}
		q := speak(t, moqtest.PipeConfig{}, RoleServer, Config{})
		<-q.s.Ready()
		if got := q.s.Peer().Path; got != "/" {
			t.Errorf("without PATH the path is %q", got)
		}
	})
}

func TestSetupRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.setup = func(PeerSetup) error { return errors.New("no") }
		speak(t, moqtest.PipeConfig{}, RoleServer, Config{Handler: n}).wantClose(wire.Unauthorized)
		n.setup = func(PeerSetup) error { return &LocalError{Code: wire.InvalidPath} }
		speak(t, moqtest.PipeConfig{}, RoleServer, Config{Handler: n}).wantClose(wire.InvalidPath)
	})
}

// "CONTROL_MESSAGE_TIMEOUT: The session was closed because the peer took too
// long to respond to a control message." (draft 18, Termination)
func TestTimeouts(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		silent(t, pipe, RoleServer, Config{}).wantClose(wire.ControlMessageTimeout)

		p := speak(t, pipe, RoleServer, Config{})
		p.open([]byte{0x03})
		p.wantClose(wire.ControlMessageTimeout)

		p = speak(t, pipe, RoleServer, Config{})
		p.control([]byte{0x10, 0})
		p.wantClose(wire.ControlMessageTimeout)

		// "DATA_STREAM_TIMEOUT [...] This includes fields of a stream header"
		p = speak(t, pipe, RoleServer, Config{})
		p.uni([]byte{0x10})
		p.wantClose(wire.DataStreamTimeout)
	})
}

func TestRefusals(t *testing.T) {
	ns := func(f ...string) func(uint64) wire.Message {
		return func(id uint64) wire.Message { return &wire.SubscribeNamespace{RequestID: id, Prefix: f} }
	}
	for _, tc := range []struct {
		name string
		rule string
		code wire.RequestCode
		do   func(p *script) *exchange
		only wire.Draft
	}{
		{
			"unknown track", `"The track or namespace is not available at the publisher." (REQUEST_ERROR)`,
			wire.RequestDoesNotExist, func(p *script) *exchange {
				return p.request(func(id uint64) wire.Message {
					return &wire.Subscribe{RequestID: id, Name: moq.FullTrackName{Track: "x"}}
				})
			}, 0,
		},
		{
			"reserved namespace", `"endpoints [...] MUST reject requests referencing it with DOES_NOT_EXIST." (Reserved Namespaces)`,
			wire.RequestDoesNotExist, func(p *script) *exchange { return p.request(ns(".")) }, 0,
		},
		{
			"session namespace", `"An endpoint that receives a request for an unrecognized session-level track or namespace MUST reject it with REQUEST_ERROR using error code DOES_NOT_EXIST" (Session-Level Tracks and Namespaces)`,
			wire.RequestDoesNotExist, func(p *script) *exchange {
				return p.request(func(id uint64) wire.Message {
					return &wire.Subscribe{RequestID: id, Name: moq.FullTrackName{Namespace: moq.Namespace{".session"}, Track: "x"}}
				})
			}, 0,
		},
		{
			"overlapping prefix", `"Track Namespace Prefix that shares a common prefix with an established SUBSCRIBE_NAMESPACE, it MUST respond with REQUEST_ERROR with error code PREFIX_OVERLAP." (SUBSCRIBE_NAMESPACE)`,
			wire.RequestPrefixOverlap, func(p *script) *exchange {
				next[*wire.RequestOK](p.request(ns("a")))
				return p.request(ns("a", "b"))
			}, 0,
		},
		{
			"SUBSCRIBE_TRACKS", `"NOT_SUPPORTED: The endpoint does not support the type of request." (REQUEST_ERROR)`,
			wire.RequestNotSupported, func(p *script) *exchange {
				return p.request(func(id uint64) wire.Message { return &wire.SubscribeTracks{RequestID: id} })
			}, 0,
		},
		{
			"second subscription", `"If an endpoint receives a message attempting to establish a second subscription to a Track with the same role, it MUST fail that request with a DUPLICATE_SUBSCRIPTION error." (Subscriptions)`,
			wire.RequestDuplicateSubscription, func(p *script) *exchange {
				next[*wire.SubscribeOK](p.subscribeTo(wire.Params{}))
				return p.subscribeTo(wire.Params{})
			}, wire.Draft18,
		},
		{
			"range filter", `"If this limit is exceeded, an endpoint MUST reject this with REQUEST_ERROR with error code INVALID_FILTER." (draft 19, MAX FILTER RANGES)`,
			wire.RequestInvalidFilter, func(p *script) *exchange {
				return p.subscribeTo(wire.Params{RangeFilters: []wire.RawRangeFilter{{Type: wire.ParamObjectIDFilter, Value: []byte{0, 1, 2}}}})
			}, wire.Draft19,
		},
		{
			"mandatory property", `"For PUBLISH messages: the subscriber MUST respond with REQUEST_ERROR with error code UNSUPPORTED_EXTENSION." (Mandatory Track Properties)`,
			wire.RequestUnsupportedExtension, func(p *script) *exchange {
				return p.publishTo(1, trackName, moq.Properties{{Type: 0x4000, Value: 1}})
			}, 0,
		},
		{
			"joining an unknown request", `"If a publisher receives a Joining Fetch with a Request ID that does not correspond to a subscription [...] it MUST return a REQUEST_ERROR with error code INVALID_JOINING_REQUEST_ID." (Joining Fetches)`,
			wire.RequestInvalidJoiningRequestID, func(p *script) *exchange {
				next[*wire.RequestOK](p.request(ns("a")))
				return p.request(func(id uint64) wire.Message {
					return &wire.Fetch{RequestID: id, FetchType: wire.FetchRelativeJoining, JoiningRequestID: 0}
				})
			}, 0,
		},
		{
			"joining a request that never comes", `as above`,
			wire.RequestInvalidJoiningRequestID, func(p *script) *exchange {
				return p.request(func(id uint64) wire.Message {
					return &wire.Fetch{RequestID: id, FetchType: wire.FetchRelativeJoining, JoiningRequestID: 8}
				})
			}, 0,
		},
		{
			"joining an empty track", `"If no Objects have been published for the track the publisher MUST respond with a REQUEST_ERROR with error code INVALID_RANGE." (Joining Fetches)`,
			wire.RequestInvalidRange, func(p *script) *exchange {
				next[*wire.SubscribeOK](p.subscribeTo(wire.Params{}))
				return p.request(func(id uint64) wire.Message {
					return &wire.Fetch{RequestID: id, FetchType: wire.FetchRelativeJoining, JoiningRequestID: 0}
				})
			}, 0,
		},
		{
			"joining a paused subscription", `"A Joining Fetch is only permitted when the associated subscription has Forward State 1; otherwise the publisher MUST respond with a REQUEST_ERROR with error code INVALID_RANGE." (Joining Fetches)`,
			wire.RequestInvalidRange, func(p *script) *exchange {
				next[*wire.SubscribeOK](p.subscribeTo(wire.Params{Forward: ptr(false)}))
				return p.request(func(id uint64) wire.Message {
					return &wire.Fetch{RequestID: id, FetchType: wire.FetchRelativeJoining, JoiningRequestID: 0}
				})
			}, 0,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Log(tc.rule)
			bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
				if tc.only != 0 && pipe.Protocol != tc.only.ALPN() {
					return
				}
				n, _ := servedTrack()
				p := speak(t, pipe, RoleServer, Config{Handler: n})
				if strings.HasPrefix(tc.name, "joining") && !p.draft.Dialect().Joining {
					return
				}
				tc.do(p).wantRefusal(tc.code)
				p.wantOpen()
			})
		})
	}
}

// "EXCESSIVE_LOAD: The responder is overloaded [...] The sender SHOULD use the
// Retry Interval". (draft 18, REQUEST_ERROR)
func TestTooManyRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := speak(t, moqtest.PipeConfig{}, RoleServer, Config{Handler: newNode(), Limits: Limits{Requests: 1}})
		open := func() *exchange {
			return p.request(func(id uint64) wire.Message { return &wire.PublishNamespace{RequestID: id} })
		}
		first := open()
		next[*wire.RequestOK](first)
		e := open()
		m := next[*wire.RequestError](e)
		if m.Code != wire.RequestExcessiveLoad || m.RetryAfter == nil {
			t.Errorf("got %+v", m)
		}
		first.st.Reset(1)
		synctest.Wait()
		next[*wire.RequestOK](open())
	})
}

// "Requests with a Request ID equal to or greater than the indicated value, as
// well as any requests that arrive after the GOAWAY, MUST be rejected with
// REQUEST_ERROR using error code GOING_AWAY." (draft 18, GOAWAY)
func TestRequestsAfterGoAway(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n, _ := servedTrack()
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		next[*wire.SubscribeOK](p.subscribeTo(wire.Params{}))
		st := must[transport.ReceiveStream](t)(p.conn.AcceptUniStream(t.Context()))
		r := &messageReader{draft: p.draft, stream: st, patience: 1 << 40}
		must[wire.Message](t)(r.next())
		check(t, p.s.GoAway(t.Context(), "", time.Second))
		g := must[wire.Message](t)(r.next()).(*wire.GoAway)
		if g.Timeout != 1000 {
			t.Errorf("timeout %d ms", g.Timeout)
		}
		if p.draft == wire.Draft18 && (g.RequestID == nil || *g.RequestID != 2) {
			t.Errorf("request ID %v, want 2", g.RequestID)
		}
		p.request(func(id uint64) wire.Message { return &wire.PublishNamespace{RequestID: id} }).wantRefusal(wire.RequestGoingAway)
		p.wantClose(wire.GoAwayTimeout)
	})
}

// "The receiver MUST discard all data received on a padding stream" and
// datagram. (draft 18, Padding)
func TestPadding(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleServer, Config{})
		pad := must[[]byte](t)(p.draft.AppendPadding(nil, false))
		p.uni(pad, make([]byte, 100))
		pad = must[[]byte](t)(p.draft.AppendPadding(nil, true))
		check(t, p.conn.SendDatagram(append(pad, 0, 0)))
		p.wantOpen()
	})
}

// "Subscriptions [...] The Publisher can destroy subscription state as soon as
// it has received STOP_SENDING. It MUST reset any open streams associated with
// the SUBSCRIBE." (draft 18, Subscription State Management)
func TestCancelledSubscription(t *testing.T) {
	for name, cancel := range map[string]func(e *exchange){
		"STOP_SENDING": func(e *exchange) { e.st.Stop(uint64(wire.ResetCancelled)) },
		"reset":        func(e *exchange) { e.st.Reset(uint64(wire.ResetCancelled)) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
				n, w := servedTrack()
				p := speak(t, pipe, RoleServer, Config{Handler: n})
				p.skipControl()
				e := p.subscribeTo(wire.Params{})
				next[*wire.SubscribeOK](e)
				check(t, subgroup(t, w, 0).WriteObject(0, nil, []byte("x")))
				d := p.acceptData()
				d.want(0, "x")
				cancel(e)
				d.wantReset(wire.ResetCancelled)
				synctest.Wait()
				if n := w.Demand().Readers; n != 0 {
					t.Errorf("%d readers are left", n)
				}
			})
		})
	}
}

// A FIN of the subscriber "is not a request cancellation". (draft 19, Graceful
// Request Stream Closure)
func TestSubscriberFIN(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n, w := servedTrack()
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		p.skipControl()
		e := p.subscribeTo(wire.Params{})
		check(t, e.st.Close())
		next[*wire.SubscribeOK](e)
		check(t, subgroup(t, w, 0).WriteObject(0, nil, []byte("x")))
		p.acceptData().want(0, "x")
		w.End(nil)
		next[*wire.PublishDone](e)
		e.wantFIN()
	})
}

// "A sender MUST NOT send PUBLISH_DONE until it has closed all streams it will
// ever open" and "Stream Count: An integer indicating the number of data
// streams the publisher opened". "An endpoint MUST NOT send a FIN [...] until
// it has sent all required messages". (draft 18, PUBLISH_DONE; draft 19,
// Graceful Request Stream Closure)
func TestPublishDone(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n, w := servedTrack()
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		p.skipControl()
		e := p.subscribeTo(wire.Params{})
		ok := next[*wire.SubscribeOK](e)
		if ok.Params.LargestObject != nil {
			t.Errorf("LARGEST_OBJECT %v of an empty track", ok.Params.LargestObject)
		}
		for g := range uint64(3) {
			sg := subgroup(t, w, g)
			check(t, sg.WriteObject(0, nil, []byte("x")))
			check(t, sg.Close())
			d := p.acceptData()
			d.want(0, "x")
			d.wantFIN()
		}
		w.End(nil)
		m := next[*wire.PublishDone](e)
		if m.Code != wire.DoneTrackEnded || m.StreamCount != 3 {
			t.Errorf("got %+v", m)
		}
		e.wantFIN()
	})
}

// "A relay forwarding a subgroup that begins with the first object ever
// published in that subgroup MUST set the FIRST_OBJECT bit." (draft 18,
// Subgroups)
func TestFirstObjectBit(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n, w := servedTrack()
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		p.skipControl()
		sg := subgroup(t, w, 0)
		check(t, sg.WriteObject(0, nil, []byte("a")))
		e := p.subscribeTo(wire.Params{Filter: &wire.Filter{Type: wire.FilterLargestObject}})
		ok := next[*wire.SubscribeOK](e)
		if l := ok.Params.LargestObject; l == nil || *l != (moq.Location{}) {
			t.Errorf("LARGEST_OBJECT %v", l)
		}
		check(t, sg.WriteObject(1, nil, []byte("b")))
		d := p.acceptData()
		if d.h.FirstObject {
			t.Error("FIRST_OBJECT on a stream from the middle")
		}
		d.want(1, "b")
		check(t, subgroup(t, w, 1).WriteObject(0, nil, []byte("c")))
		if d = p.acceptData(); !d.h.FirstObject || d.h.Alias != ok.Alias {
			t.Errorf("header %+v", d.h)
		}
		d.want(0, "c")

		// What is not known to begin with the first Object does not claim so.
		g := must[*moq.GroupWriter](t)(w.Group(2))
		part := must[*moq.SubgroupWriter](t)(g.Subgroup(3, moq.SubgroupConfig{Partial: true, Priority: 9, EndOfGroup: true}))
		check(t, part.WriteObject(7, nil, []byte("d")))
		if d = p.acceptData(); d.h.FirstObject || d.h.Subgroup != 3 || d.h.Priority != 9 || !d.h.EndOfGroup || d.h.DefaultPriority {
			t.Errorf("header %+v", d.h)
		}
		d.want(7, "d")
	})
}

func TestFilters(t *testing.T) {
	at := func(g, o uint64) moq.Location { return moq.Location{Group: g, Object: o} }
	for _, tc := range []struct {
		name   string
		filter *wire.Filter
		want   []string // of what is published as 5/1, 6/0, 7/0, 8/0 after 5/0
	}{
		{"none", nil, []string{"5/1", "6/0", "7/0", "8/0"}},
		{"largest object", &wire.Filter{Type: wire.FilterLargestObject}, []string{"5/1", "6/0", "7/0", "8/0"}},
		{"next group", &wire.Filter{Type: wire.FilterNextGroup}, []string{"6/0", "7/0", "8/0"}},
		{"start in the past", &wire.Filter{Type: wire.FilterAbsoluteStart}, []string{"5/1", "6/0", "7/0", "8/0"}},
		{"start in the future", &wire.Filter{Type: wire.FilterAbsoluteStart, Start: at(7, 0)}, []string{"7/0", "8/0"}},
		{"range", &wire.Filter{Type: wire.FilterAbsoluteRange, Start: at(5, 0), EndGroup: 6}, []string{"5/1", "6/0"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
				n, w := servedTrack()
				p := speak(t, pipe, RoleServer, Config{Handler: n})
				p.skipControl()
				sg := subgroup(t, w, 5)
				check(t, sg.WriteObject(0, nil, nil))
				e := p.subscribeTo(wire.Params{Filter: tc.filter})
				next[*wire.SubscribeOK](e)
				var got []string
				write := func(sg *moq.SubgroupWriter, id uint64) {
					check(t, sg.WriteObject(id, nil, nil))
					check(t, sg.Close())
					synctest.Wait()
				}
				write(sg, 1)
				for g := uint64(6); g <= 8; g++ {
					write(subgroup(t, w, g), 0)
				}
				w.End(nil)
				done := next[*wire.PublishDone](e)
				for range done.StreamCount {
					d := p.acceptData()
					for {
						o, _, err := d.object()
						if err != nil {
							break
						}
						got = append(got, moq.Location{Group: d.h.Group, Object: o.ID}.String())
					}
				}
				if len(got) != len(tc.want) {
					t.Fatalf("got %v, want %v", got, tc.want)
				}
				for i := range got {
					if got[i] != tc.want[i] {
						t.Fatalf("got %v, want %v", got, tc.want)
					}
				}
			})
		})
	}
}

// "When a REQUEST_UPDATE is unsuccessful, the publisher MUST also terminate the
// subscription by sending a PUBLISH_DONE with error code UPDATE_FAILED."
// (draft 18, Updating Subscriptions)
func TestUpdateFails(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n, w := servedTrack()
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		check(t, subgroup(t, w, 9).WriteObject(0, nil, nil))
		e := p.subscribeTo(wire.Params{})
		next[*wire.SubscribeOK](e)
		e.send(&wire.RequestUpdate{RequestID: p.nextID(), Params: wire.Params{SubscriberPriority: ptr(uint8(3))}})
		ok := next[*wire.RequestOK](e)
		if l := ok.Params.LargestObject; l == nil || l.Group != 9 {
			t.Errorf("LARGEST_OBJECT %v", l)
		}
		// The whole range has been published.
		params, code := wire.Params{Filter: &wire.Filter{Type: wire.FilterAbsoluteRange, EndGroup: 3}}, wire.RequestInvalidRange
		if p.draft.Dialect().Fill {
			// There "a Location Filter on a subscription is always valid".
			params = wire.Params{RangeFilters: []wire.RawRangeFilter{{Type: wire.ParamObjectIDFilter, Value: []byte{0, 1, 2}}}}
			code = wire.RequestInvalidFilter
		}
		e.send(&wire.RequestUpdate{RequestID: p.nextID(), Params: params})
		if m := next[*wire.RequestError](e); m.Code != code {
			t.Errorf("got %+v", m)
		}
		if m := next[*wire.PublishDone](e); m.Code != wire.DoneUpdateFailed {
			t.Errorf("got %+v", m)
		}
		e.wantFIN()
	})
}

// "A REQUEST_UPDATE moving the subscription's End Group to a smaller Group or
// the Start Location to a larger Location" resets the streams outside. (draft
// 18, Closing Subgroup Streams)
func TestUpdateNarrows(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n, w := servedTrack()
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		p.skipControl()
		e := p.subscribeTo(wire.Params{})
		next[*wire.SubscribeOK](e)
		old, cur := subgroup(t, w, 1), subgroup(t, w, 2)
		check(t, old.WriteObject(0, nil, []byte("a")))
		check(t, cur.WriteObject(0, nil, []byte("b")))
		d1, d2 := p.acceptData(), p.acceptData()
		if d1.h.Group == 2 {
			d1, d2 = d2, d1
		}
		d1.want(0, "a")
		d2.want(0, "b")
		e.send(&wire.RequestUpdate{RequestID: p.nextID(), Params: wire.Params{
			Filter: &wire.Filter{Type: wire.FilterAbsoluteStart, Start: moq.Location{Group: 3}},
		}})
		next[*wire.RequestOK](e)
		d1.wantReset(wire.ResetCancelled)
		d2.wantReset(wire.ResetCancelled)
		check(t, cur.WriteObject(1, nil, []byte("c")))
		check(t, subgroup(t, w, 3).WriteObject(0, nil, []byte("d")))
		d := p.acceptData()
		if d.h.Group != 3 {
			t.Errorf("group %d", d.h.Group)
		}
		d.want(0, "d")
	})
}

// A Subgroup that has been evicted is reset, though its Write waits for a
// viewer that reads nothing.
func TestEvictedWhileBlocked(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		pipe.StreamWindow = 1000
		n := newNode()
		w := moq.NewTrack(trackName, moq.TrackConfig{Retention: moq.Retention{Groups: 2}})
		n.add(w.Track())
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		p.skipControl()
		e := p.subscribeTo(wire.Params{})
		next[*wire.SubscribeOK](e)
		for g := range uint64(3) {
			sg := subgroup(t, w, g)
			check(t, sg.WriteObject(0, nil, make([]byte, 5000)))
			check(t, sg.Close())
			synctest.Wait()
		}
		st := must[transport.ReceiveStream](t)(p.conn.AcceptUniStream(t.Context()))
		_, err := io.Copy(io.Discard, st)
		var end *transport.StreamError
		if !errors.As(err, &end) || wire.ResetCode(end.Code) != wire.ResetTooFarBehind {
			t.Errorf("evicted stream ended with %v", err)
		}
		for g := uint64(1); g <= 2; g++ {
			d := p.acceptData()
			if o, _, err := d.object(); err != nil || d.h.Group != g || o.Size != 5000 {
				t.Errorf("group %d: object %+v, %v", d.h.Group, o, err)
			}
			d.wantFIN()
		}
	})
}

// "if the time elapsed exceeds OBJECT_DELIVERY_TIMEOUT, it MUST reset the
// underlying transport stream with the reset stream code DELIVERY_TIMEOUT".
// (draft 18, Delivery Timeouts and Data Reliability)
func TestObjectDeliveryTimeout(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		pipe.StreamWindow = 1000
		n := newNode()
		w := moq.NewTrack(trackName, moq.TrackConfig{Properties: moq.Properties{
			{Type: moq.PropertyObjectDeliveryTimeout, Value: 2000}}})
		n.add(w.Track())
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		p.skipControl()
		// "If both the publisher's value and the subscriber's value are
		// non-zero, the smaller of the two is used."
		e := p.subscribeTo(wire.Params{ObjectDeliveryTimeout: ptr(wire.Milliseconds(500))})
		next[*wire.SubscribeOK](e)
		start := time.Now()
		check(t, subgroup(t, w, 0).WriteObject(0, nil, make([]byte, 5000)))
		st := must[transport.ReceiveStream](t)(p.conn.AcceptUniStream(t.Context()))
		time.Sleep(time.Second)
		_, err := io.Copy(io.Discard, st)
		var end *transport.StreamError
		if !errors.As(err, &end) || wire.ResetCode(end.Code) != wire.ResetDeliveryTimeout {
			t.Errorf("late stream ended with %v after %v", err, time.Since(start))
		}
		// The subscription goes on.
		check(t, subgroup(t, w, 1).WriteObject(0, nil, []byte("new")))
		p.acceptData().want(0, "new")
	})
}

// "the implementation MUST check the time elapsed since the first byte of the
// object before attempting to pass it to the underlying transport".
// (draft 18, Delivery Timeouts and Data Reliability)
func TestObjectDeliveryTimeoutCountsFromTheFirstByte(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n, w := servedTrack()
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		p.skipControl()
		next[*wire.SubscribeOK](p.subscribeTo(wire.Params{ObjectDeliveryTimeout: ptr(wire.Milliseconds(500))}))
		// Its bytes come slowly, and each of them is passed on at once.
		sg := subgroup(t, w, 0)
		check(t, sg.BeginObject(0, moq.StatusNormal, nil, 4))
		for range 3 {
			must[int](t)(sg.Write([]byte("x")))
			time.Sleep(300 * time.Millisecond)
		}
		st := must[transport.ReceiveStream](t)(p.conn.AcceptUniStream(t.Context()))
		_, err := io.Copy(io.Discard, st)
		var end *transport.StreamError
		if !errors.As(err, &end) || wire.ResetCode(end.Code) != wire.ResetDeliveryTimeout {
			t.Errorf("late stream ended with %v", err)
		}
	})
}

// A server that answers the session under test, which is a client.

// "An endpoint that receives a REQUEST_UPDATE other than in the two cases above
// MUST close the session with a PROTOCOL_VIOLATION." (draft 19, REQUEST_UPDATE)
func TestUpdateFromPublisher(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleClient, Config{})
		go p.s.Subscribe(t.Context(), trackName, SubscribeOptions{})
		e, _ := p.accept()
		e.send(&wire.SubscribeOK{Alias: 1})
		e.send(&wire.RequestUpdate{RequestID: p.nextID()})
		p.wantClose(wire.ProtocolViolation)
	})
}

// "If the subscriber receives any message other than a REQUEST_OK or a
// REQUEST_ERROR as the first message on the response half of the stream, then
// it MUST close the session with a PROTOCOL_VIOLATION." (draft 18,
// SUBSCRIBE_NAMESPACE)
func TestNamespaceBeforeOK(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleClient, Config{})
		go p.s.SubscribeNamespace(t.Context(), nil)
		e, _ := p.accept()
		e.send(&wire.Namespace{Suffix: moq.Namespace{"a"}})
		p.wantClose(wire.ProtocolViolation)
	})
}

// "If a subscriber receives a NAMESPACE_DONE before the corresponding
// NAMESPACE, it MUST close the session with a 'PROTOCOL_VIOLATION'." (draft 18,
// SUBSCRIBE_NAMESPACE)
func TestNamespaceDoneFirst(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleClient, Config{})
		go p.s.SubscribeNamespace(t.Context(), nil)
		e, _ := p.accept()
		e.send(&wire.RequestOK{})
		e.send(&wire.NamespaceDone{Suffix: moq.Namespace{"a"}})
		p.wantClose(wire.ProtocolViolation)
	})
}

// "If End Location is smaller than the Start Location in the corresponding
// FETCH the receiver MUST close the session with a PROTOCOL_VIOLATION." (draft
// 18, FETCH_OK)
func TestFetchOKEndsBeforeStart(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleClient, Config{})
		go p.s.Fetch(t.Context(), trackName, FetchOptions{Start: moq.Location{Group: 5}, End: moq.Location{Group: 6}})
		e, _ := p.accept()
		e.send(&wire.FetchOK{Last: moq.Location{Group: 4, Object: 9}})
		p.wantClose(wire.ProtocolViolation)
	})
}

// "For SUBSCRIBE_OK messages: the subscriber MUST cancel the subscription".
// (draft 18, Mandatory Track Properties)
func TestMandatoryPropertyInSubscribeOK(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleClient, Config{})
		result := make(chan error, 1)
		go func() {
			_, err := p.s.Subscribe(t.Context(), trackName, SubscribeOptions{})
			result <- err
		}()
		e, _ := p.accept()
		e.send(&wire.SubscribeOK{Alias: 1, Properties: moq.Properties{{Type: 0x4002, Value: 1}}})
		var re *RequestError
		if err := <-result; !errors.As(err, &re) || re.Code != wire.RequestUnsupportedExtension {
			t.Errorf("got %v", err)
		}
		e.wantReset()
		p.wantOpen()
	})
}

// "An endpoint that receives a FIN before all required messages have arrived
// treats the request as failed." (draft 19, Graceful Request Stream Closure)
func TestFINBeforeAnswer(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleClient, Config{})
		result := make(chan error, 1)
		go func() {
			_, err := p.s.Subscribe(t.Context(), trackName, SubscribeOptions{})
			result <- err
		}()
		e, _ := p.accept()
		check(t, e.st.Close())
		if err := <-result; !errors.Is(err, ErrCancelled) {
			t.Errorf("got %v", err)
		}
		p.wantOpen()
	})
}
