package whip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"github.com/freshet-live/freshet/media/ingest"
)

const (
	// maxBody bounds an SDP offer or fragment. Chrome's largest, with every
	// codec and simulcast, is 8 KiB.
	maxBody = 64 << 10
	// maxTCP bounds the connections of the shared TCP port, which anybody may
	// open, per session: a client opens one, browsers sometimes two.
	maxTCPPerSession = 4
	// defaultMaxSessions is a machine's worth of ingest.
	defaultMaxSessions = 256

	// connectTimeout is how long a session may take until media can flow.
	connectTimeout = 15 * time.Second
	// A publisher that sends nothing, not even consent checks (RFC 7675, one
	// every 4 to 6 s), is lost: after disconnectedTimeout its session is in
	// doubt, failedTimeout later it ends.
	disconnectedTimeout = 5 * time.Second
	failedTimeout       = 3 * time.Second
	// openTimeout bounds admission and the wait for a predecessor to let go.
	// OBS waits 8 s for its answer.
	openTimeout = 5 * time.Second
	// gatherTimeout bounds the collection of our own addresses, which asks
	// nobody.
	gatherTimeout = 2 * time.Second
	// firstPacketTimeout is how long a TCP connection may stay silent.
	firstPacketTimeout = 5 * time.Second
	// keyFramePeriod is the shortest time between two requests for a key
	// frame: key frames cost bitrate, and viewers join at any time.
	keyFramePeriod = time.Second
)

// Config configures a Server.
type Config struct {
	// Addr is the address of the UDP and the TCP port for media, such as
	// ":8189"; port 0 takes a free one, the same for both.
	Addr string
	// PublicIPs are addresses at which the ports can be reached from outside
	// when they are not those of this machine (1:1 NAT). They are offered
	// besides its own.
	PublicIPs []string

	Admission ingest.Admission
	Opener    ingest.Opener

	// Path is where the handler is mounted; empty means "/whip/".
	Path string
	// AllowedOrigins are the web origins whose pages may publish; empty means
	// any. Cookies are never used.
	AllowedOrigins []string
	// ICEServers are told to clients in Link headers.
	ICEServers []ICEServer

	// MaxSessions bounds the sessions; 0 means 256.
	MaxSessions int
	// Drops counts what is thrown away; it may be nil.
	Drops *ingest.Drops
	// Logger defaults to slog.Default.
	Logger *slog.Logger
}

// ICEServer is a STUN or TURN server for clients (RFC 9725, section 4.6).
type ICEServer struct {
	URL                  string // stun:host:port or turn:host:port?transport=udp
	Username, Credential string // of TURN
}

// Server is the WHIP endpoint and its sessions. It is an http.Handler.
type Server struct {
	cfg Config
	log *slog.Logger

	udp   net.PacketConn
	tcp   *boundedListener
	ready chan struct{} // closed when Run takes sessions

	mu       sync.Mutex
	api      *webrtc.API // nil unless running
	sessions map[string]*session
	opening  int // sessions being made
	ends     sync.WaitGroup
}

// Listen binds the media ports. The handler answers 503 until Run.
func Listen(cfg Config) (*Server, error) {
	if cfg.Admission == nil || cfg.Opener == nil {
		return nil, errors.New("whip: Config needs Admission and Opener")
	}
	if cfg.Path == "" {
		cfg.Path = "/whip/"
	}
	if cfg.MaxSessions == 0 {
		cfg.MaxSessions = defaultMaxSessions
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	udp, tcp, err := listenBoth(cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("whip: %w", err)
	}
	return &Server{
		cfg:      cfg,
		log:      cfg.Logger.With("protocol", ingest.WHIP),
		udp:      udp,
		ready:    make(chan struct{}),
		tcp:      newBoundedListener(tcp, maxTCPPerSession*cfg.MaxSessions),
		sessions: make(map[string]*session),
	}, nil
}

// listenBoth binds the same UDP and TCP port.
func listenBoth(addr string) (net.PacketConn, net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, nil, err
	}
	tries := 1
	if port == "0" {
		tries = 10 // the TCP port of the same number may be in use
	}
	for range tries {
		udp, err1 := net.ListenPacket("udp", addr)
		if err1 != nil {
			return nil, nil, err1
		}
		_, bound, _ := net.SplitHostPort(udp.LocalAddr().String())
		tcp, err1 := net.Listen("tcp", net.JoinHostPort(host, bound))
		if err1 == nil {
			return udp, tcp, nil
		}
		udp.Close()
		err = err1
	}
	return nil, nil, err
}

// Addr is the address of the media ports.
func (s *Server) Addr() net.Addr { return s.udp.LocalAddr() }

// Ready is closed when Run has begun to take sessions.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Close releases the ports of a server that never ran.
func (s *Server) Close() {
	s.udp.Close()
	s.tcp.Close()
}

// Run takes sessions until ctx ends. It owns the goroutines of all sessions
// and returns after the last has ended. It runs once.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	udpMux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: s.udp, Logger: logger{s.log}})
	defer udpMux.Close()
	tcpMux := ice.NewTCPMuxDefault(ice.TCPMuxParams{
		Listener:                     s.tcp,
		Logger:                       logger{s.log},
		ReadBufferSize:               64, // packets
		WriteBufferSize:              64 << 10,
		FirstStunBindTimeout:         firstPacketTimeout,
		AliveDurationForConnFromStun: firstPacketTimeout,
	})
	defer tcpMux.Close()

	api, err := newServerAPI(s.cfg.PublicIPs, udpMux, tcpMux, s.log)
	if err != nil {
		return fmt.Errorf("whip: %w", err)
	}
	s.mu.Lock()
	s.api = api
	s.mu.Unlock()
	close(s.ready)

	<-ctx.Done()
	s.mu.Lock()
	s.api = nil
	for _, session := range s.sessions {
		session.stop(errShutdown)
	}
	s.mu.Unlock()
	s.ends.Wait()
	return nil
}

var errShutdown = errors.New("whip: the server shuts down")

// reserve makes room for one more session. The caller gives it back with
// unreserve or turns it into a session with add.
func (s *Server) reserve() (*webrtc.API, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.api == nil {
		return nil, errShutdown
	}
	if len(s.sessions)+s.opening >= s.cfg.MaxSessions {
		return nil, errTooMany
	}
	s.opening++
	s.ends.Add(1)
	return s.api, nil
}

var errTooMany = errors.New("whip: too many sessions")

func (s *Server) unreserve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening--
	s.ends.Done()
}

// add starts the session in the place that reserve made.
func (s *Server) add(session *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opening--
	s.sessions[session.id] = session
	if s.api == nil {
		session.stop(errShutdown)
	}
	go func() {
		defer s.ends.Done()
		session.run()
		s.mu.Lock()
		delete(s.sessions, session.id)
		s.mu.Unlock()
		close(session.closed)
	}()
}

func (s *Server) session(id string) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id]
}

// boundedListener keeps the number of accepted connections below a limit and
// closes them with itself.
type boundedListener struct {
	net.Listener
	max int

	mu     sync.Mutex
	conns  map[*boundedConn]struct{}
	closed bool
}

func newBoundedListener(ln net.Listener, limit int) *boundedListener {
	return &boundedListener{Listener: ln, max: limit, conns: make(map[*boundedConn]struct{})}
}

// Accept drops connections above the limit at once.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		bc := &boundedConn{Conn: c, listener: l}
		l.mu.Lock()
		ok := !l.closed && len(l.conns) < l.max
		if ok {
			l.conns[bc] = struct{}{}
		}
		l.mu.Unlock()
		if ok {
			return bc, nil
		}
		c.Close()
	}
}

// Close closes the listener and what it accepted.
func (l *boundedListener) Close() error {
	err := l.Listener.Close()
	l.mu.Lock()
	l.closed = true
	conns := l.conns
	l.conns = make(map[*boundedConn]struct{})
	l.mu.Unlock()
	for c := range conns {
		c.Conn.Close()
	}
	return err
}

type boundedConn struct {
	net.Conn
	listener *boundedListener
}

func (c *boundedConn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
