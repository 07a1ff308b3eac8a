package rtsp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/auth"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/headers"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"

	"github.com/freshet-live/freshet/media/ingest"
)

const (
	// silenceTimeout ends a publisher that sends no packet at all. The library
	// looks once a second, so a vanished one is noticed within 6 s.
	silenceTimeout = 5 * time.Second
	// idleTimeout ends a connection on which nobody publishes.
	idleTimeout = 15 * time.Second
	// admitTimeout bounds the wait for Admission and for a predecessor to let
	// go. It is below the patience of ffmpeg and cameras.
	admitTimeout = 5 * time.Second
	// maxTracks bounds what one publisher may announce: some video layers and
	// some languages.
	maxTracks = 8
	// defaultMaxSessions is a machine's worth of ingest.
	defaultMaxSessions = 256
)

// Config configures a Server.
type Config struct {
	// Addr is the TCP address to listen at, such as ":8554"; port 0 takes a
	// free one.
	Addr string
	// RTPAddr is the UDP address for RTP; its port is even and RTCP takes the
	// next. Empty means a free pair at Addr's host.
	RTPAddr string

	Admission ingest.Admission
	Opener    ingest.Opener

	// MaxSessions bounds the RTSP connections; 0 means 256.
	MaxSessions int
	// Drops counts what is thrown away; it may be nil.
	Drops *ingest.Drops
	// Logger defaults to slog.Default.
	Logger *slog.Logger
}

// Server is an RTSP server that only takes, never gives.
type Server struct {
	cfg Config
	log *slog.Logger

	listener  net.Listener
	rtp, rtcp net.PacketConn

	conns    atomic.Int64
	watchers sync.WaitGroup // one per session that records

	ctx    context.Context // of Run
	cancel context.CancelFunc
}

// Listen binds the sockets. Nothing is answered before Run.
func Listen(cfg Config) (*Server, error) {
	if cfg.Admission == nil || cfg.Opener == nil {
		return nil, errors.New("rtsp: Config needs Admission and Opener")
	}
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = defaultMaxSessions
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	ln, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("rtsp: %w", err)
	}
	s := &Server{cfg: cfg, log: cfg.Logger.With("protocol", ingest.RTSP), listener: ln}
	if s.rtp, s.rtcp, err = listenPair(cfg.RTPAddr, cfg.Addr); err != nil {
		ln.Close()
		return nil, fmt.Errorf("rtsp: %w", err)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// listenPair binds an even UDP port and the next one (RFC 3550, section 11).
func listenPair(addr, fallback string) (rtp, rtcp net.PacketConn, err error) {
	if addr == "" {
		host, _, err := net.SplitHostPort(fallback)
		if err != nil {
			return nil, nil, err
		}
		addr = net.JoinHostPort(host, "0")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, err
	}
	// With port 0 every other free port is even, and its neighbour is mostly
	// free: ten tries fail once in a thousand even if half of them are not.
	tries := 1
	if port == "0" {
		tries = 20
	}
	for range tries {
		rtp, err = net.ListenPacket("udp", addr)
		if err != nil {
			return nil, nil, err
		}
		n := rtp.LocalAddr().(*net.UDPAddr).Port
		if n%2 != 0 {
			err = fmt.Errorf("RTP port %d is odd", n)
		} else if rtcp, err = net.ListenPacket("udp", net.JoinHostPort(host, strconv.Itoa(n+1))); err == nil {
			return rtp, rtcp, nil
		}
		rtp.Close()
	}
	return nil, nil, err
}

// Addr is the TCP address of the server.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// RTPAddr is the UDP address to which RTP goes.
func (s *Server) RTPAddr() net.Addr { return s.rtp.LocalAddr() }

// Close releases the sockets of a server that never ran.
func (s *Server) Close() {
	s.cancel()
	s.listener.Close()
	s.rtp.Close()
	s.rtcp.Close()
}

// Run serves until ctx ends or the sockets fail. It owns a goroutine per
// connection, per session and per broadcast, and returns after the last has
// ended. It runs once.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	srv := &gortsplib.Server{
		RTSPAddress:    s.listener.Addr().String(),
		UDPRTPAddress:  s.rtp.LocalAddr().String(),
		UDPRTCPAddress: s.rtcp.LocalAddr().String(),
		ReadTimeout:    silenceTimeout,
		IdleTimeout:    idleTimeout,
		AuthMethods:    []auth.VerifyMethod{auth.VerifyMethodBasic},
		Handler:        handler{s},
		Listen:         func(string, string) (net.Listener, error) { return s.listener, nil },
		ListenPacket: func(_, addr string) (net.PacketConn, error) {
			if addr == s.rtp.LocalAddr().String() {
				return s.rtp, nil
			}
			return s.rtcp, nil
		},
	}
	if err := srv.Start(); err != nil {
		return fmt.Errorf("rtsp: %w", err)
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Wait() }()
	var err error
	select {
	case <-ctx.Done():
		s.cancel()
		srv.Close()
		<-failed
	case err = <-failed:
		err = fmt.Errorf("rtsp: %w", err)
	}
	s.cancel()
	s.watchers.Wait()
	return err
}

// handler receives the library's callbacks. Those of one session come from
// the session's goroutine, one after the other.
type handler struct{ *Server }

// OnConnOpen keeps the number of connections bounded: those above the limit
// may ask and are told so, as many again are not even heard.
func (h handler) OnConnOpen(ctx *gortsplib.ServerHandlerOnConnOpenCtx) {
	switch n := h.conns.Add(1); {
	case n > 2*int64(h.cfg.MaxSessions):
		ctx.Conn.Close()
	case n > int64(h.cfg.MaxSessions):
		ctx.Conn.SetUserData(errTooMany)
	}
}

// OnConnClose is the counterpart of OnConnOpen.
func (h handler) OnConnClose(*gortsplib.ServerHandlerOnConnCloseCtx) { h.conns.Add(-1) }

var errTooMany = errors.New("rtsp: too many connections")

// OnResponse names us and our challenge instead of the library.
func (h handler) OnResponse(_ *gortsplib.ServerConn, res *base.Response) {
	res.Header["Server"] = base.HeaderValue{"freshet"}
	if res.StatusCode == base.StatusUnauthorized {
		res.Header["WWW-Authenticate"] = base.HeaderValue{`Basic realm="freshet"`}
	}
}

// OnDescribe refuses to serve.
func (h handler) OnDescribe(*gortsplib.ServerHandlerOnDescribeCtx) (*base.Response, *gortsplib.ServerStream, error) {
	return publishOnly(), nil, nil
}

// OnPlay refuses to serve; it is reached by no client that minds SETUP's answer.
func (h handler) OnPlay(*gortsplib.ServerHandlerOnPlayCtx) (*base.Response, error) {
	return publishOnly(), nil
}

// publishOnly answers requests of players.
func publishOnly() *base.Response {
	res := answer(base.StatusMethodNotAllowed, "Publish Only")
	res.Header["Allow"] = base.HeaderValue{"OPTIONS, ANNOUNCE, SETUP, RECORD, GET_PARAMETER, TEARDOWN"}
	return res
}

func answer(code base.StatusCode, message string) *base.Response {
	return &base.Response{StatusCode: code, StatusMessage: message, Header: base.Header{}}
}

// OnAnnounce admits a publisher and looks at what it brings.
func (h handler) OnAnnounce(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (*base.Response, error) {
	if ctx.Conn.UserData() == errTooMany {
		return answer(base.StatusNotEnoughBandwidth, "Too Many Publishers"), errTooMany
	}
	req, ok := admissionRequest(ctx)
	if !ok {
		return answer(base.StatusNotFound, ""), nil
	}
	wait, cancel := context.WithTimeout(h.ctx, admitTimeout)
	defer cancel()
	decision, err := h.cfg.Admission.Admit(wait, req)
	if err != nil {
		return h.refuse(req, err)
	}
	p := &publisher{
		server: h.Server,
		req:    req,
		log:    h.log.With("room", req.Room, "member", req.Member, "remote", req.RemoteAddr, "key_id", decision.KeyID),
	}
	if p.streams, err = streamsOf(ctx.Description, h.cfg.Drops); err != nil {
		p.log.Info("publisher refused", "error", err)
		return answer(base.StatusUnsupportedMediaType, ""), nil
	}
	ctx.Session.SetUserData(p)
	return answer(base.StatusOK, ""), nil
}

// refuse turns an error of Admission or Opener into an answer.
func (h handler) refuse(req ingest.AdmissionRequest, err error) (*base.Response, error) {
	h.log.Info("publisher refused", "room", req.Room, "member", req.Member, "remote", req.RemoteAddr, "error", err)
	switch {
	case errors.Is(err, ingest.ErrUnauthorized):
		// The library ends the connection if there were credentials.
		return answer(base.StatusUnauthorized, ""), liberrors.ErrServerAuth{}
	case errors.Is(err, ingest.ErrNotFound):
		return answer(base.StatusNotFound, ""), nil
	case errors.Is(err, ingest.ErrRoomTaken), errors.Is(err, ingest.ErrTakenOver):
		return answer(409, "Conflict"), nil
	}
	return answer(base.StatusServiceUnavailable, ""), nil
}

// admissionRequest reads room, member, key and wishes from an ANNOUNCE.
func admissionRequest(ctx *gortsplib.ServerHandlerOnAnnounceCtx) (ingest.AdmissionRequest, bool) {
	room, member, two := strings.Cut(strings.Trim(ctx.Path, "/"), "/")
	if !ingest.ValidName(room) || two && !ingest.ValidName(member) {
		return ingest.AdmissionRequest{}, false
	}
	// A query that is broken in part still has its good part.
	query, _ := url.ParseQuery(ctx.Query)
	req := ingest.AdmissionRequest{
		Room:       room,
		Member:     member,
		Protocol:   ingest.RTSP,
		Key:        query.Get("key"),
		Takeover:   query.Get("takeover") == "1",
		RemoteAddr: ctx.Conn.NetConn().RemoteAddr().String(),
	}
	var a headers.Authorization
	if a.Unmarshal(ctx.Request.Header["Authorization"]) == nil &&
		a.Method == headers.AuthMethodBasic && a.Username == room {
		req.Key = a.BasicPass
	}
	return req, true
}

// OnSetup takes the tracks that were announced and nothing else.
func (h handler) OnSetup(ctx *gortsplib.ServerHandlerOnSetupCtx) (*base.Response, *gortsplib.ServerStream, error) {
	if _, ok := ctx.Session.UserData().(*publisher); !ok {
		return publishOnly(), nil, nil
	}
	return answer(base.StatusOK, ""), nil, nil
}

// OnRecord opens the broadcast.
func (h handler) OnRecord(ctx *gortsplib.ServerHandlerOnRecordCtx) (*base.Response, error) {
	p, ok := ctx.Session.UserData().(*publisher)
	if !ok { // cannot be: RECORD comes after ANNOUNCE
		return answer(base.StatusMethodNotValidInThisState, ""), nil
	}
	if err := p.start(ctx.Session); err != nil {
		return h.refuse(p.req, err)
	}
	return answer(base.StatusOK, ""), nil
}

// OnSessionClose ends the broadcast.
func (h handler) OnSessionClose(ctx *gortsplib.ServerHandlerOnSessionCloseCtx) {
	if p, ok := ctx.Session.UserData().(*publisher); ok {
		p.end(ctx.Error)
	}
}

// OnPacketsLost is empty: losses are counted from the sequence numbers.
func (h handler) OnPacketsLost(*gortsplib.ServerHandlerOnPacketsLostCtx) {}

// OnDecodeError counts packets that are not even RTP or RTCP.
func (h handler) OnDecodeError(ctx *gortsplib.ServerHandlerOnDecodeErrorCtx) {
	var unknown liberrors.ErrServerRTPPacketUnknownPayloadType
	if errors.As(ctx.Error, &unknown) {
		h.cfg.Drops.Add(ingest.PacketUnknown, 1)
		return
	}
	h.cfg.Drops.Add(ingest.PacketMalformed, 1)
}

// OnStreamWriteError is empty: nothing is streamed.
func (h handler) OnStreamWriteError(*gortsplib.ServerHandlerOnStreamWriteErrorCtx) {}
