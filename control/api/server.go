package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/freshet-live/freshet/control"
)

// LiveRoom is a room that somebody broadcasts to now.
type LiveRoom struct {
	Room      string    `json:"room"`
	Title     string    `json:"title"`
	Live      bool      `json:"live"`
	StartedAt time.Time `json:"started_at"`
	// Viewers counts the viewers that this node serves, a relay as one; nil on
	// a node that serves none.
	Viewers *int     `json:"viewers,omitempty"`
	Codecs  []string `json:"codecs"`
}

// Live tells which rooms are broadcast to.
type Live interface {
	// LiveRooms returns them by name; Title is left to the caller.
	LiveRooms() []LiveRoom
}

// Minter makes the tokens that nodes accept.
type Minter interface {
	Mint(control.Permission) (token string, expires time.Time, err error)
	// JWKS returns the JSON Web Key Set that verifies them.
	JWKS() []byte
}

// Endpoints is what a page is told in /config.json.
type Endpoints struct {
	// MoQ are the URLs of MoQ nodes; empty for this host at QUICPort.
	MoQ []string
	// QUICAddr is where this process serves QUIC; used when MoQ is empty.
	QUICAddr net.Addr
	// CertificateSHA256 pins the nodes' certificate, in hex; it returns ""
	// when browsers believe it without help.
	CertificateSHA256 func() string
	// HLS is the URL below which rooms are found as LL-HLS; "" for none.
	HLS string
	// WebRTC tells that /whip/ is served.
	WebRTC bool
}

// Config describes a Server. Store, Minter, Live and Assets are required.
type Config struct {
	Store     control.Store
	Minter    Minter
	Live      Live
	Endpoints Endpoints
	// Assets is the web app; nil in a build without it.
	Assets fs.FS
	// AllowedOrigins are the web origins whose pages may use the API; empty
	// for all.
	AllowedOrigins []string
	Logger         *slog.Logger
}

// Server is an http.Handler.
type Server struct {
	cfg    Config
	access *control.Access
	mux    *http.ServeMux
}

// New makes a Server.
func New(cfg Config) *Server {
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	s := &Server{cfg: cfg, access: control.NewAccess(cfg.Store), mux: http.NewServeMux()}
	s.mux.HandleFunc("GET /config.json", s.config)
	s.mux.HandleFunc("GET /certificate.sha256", s.certificate)
	s.mux.HandleFunc("GET /.well-known/jwks.json", s.jwks)
	s.mux.HandleFunc("GET /v1/rooms", s.rooms)
	s.mux.HandleFunc("GET /v1/rooms/{room}", s.room)
	s.mux.HandleFunc("POST /v1/rooms/{room}/tokens", s.tokens)
	s.mux.HandleFunc("POST /v1/admission", s.admission)
	s.mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, http.StatusNotFound, "not_found", "There is no such endpoint.")
	})
	s.mux.Handle("/", s.app())
	return s
}

// ServeHTTP answers one request. The API may be used from any web origin,
// unless the configuration names some: it knows no cookies, so there is
// nothing that a foreign page could borrow.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	if strings.HasPrefix(r.URL.Path, "/v1/") || r.URL.Path == "/config.json" || r.URL.Path == "/certificate.sha256" || strings.HasPrefix(r.URL.Path, "/.well-known/") {
		s.allowOrigin(h, r.Header.Get("Origin"))
		if r.Method == http.MethodOptions {
			h.Set("Access-Control-Allow-Methods", "GET, POST")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			h.Set("Access-Control-Max-Age", "86400")
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	s.mux.ServeHTTP(w, r)
}

func (s *Server) allowOrigin(h http.Header, origin string) {
	if len(s.cfg.AllowedOrigins) == 0 {
		h.Set("Access-Control-Allow-Origin", "*")
		return
	}
	h.Add("Vary", "Origin")
	if slices.ContainsFunc(s.cfg.AllowedOrigins, func(a string) bool { return strings.EqualFold(a, origin) }) {
		h.Set("Access-Control-Allow-Origin", origin)
	}
}

func (s *Server) config(w http.ResponseWriter, r *http.Request) {
	e := s.cfg.Endpoints
	urls := e.MoQ
	if len(urls) == 0 {
		urls = []string{"https://" + moqHost(r.Host, e.QUICAddr)}
	}
	var fingerprint string
	if e.CertificateSHA256 != nil {
		fingerprint = e.CertificateSHA256()
	}
	writeJSON(w, struct {
		MoQ               []string `json:"moq"`
		CertificateSHA256 string   `json:"certificate_sha256,omitempty"`
		HLS               string   `json:"hls,omitempty"`
		WebRTC            bool     `json:"webrtc"`
	}{urls, fingerprint, e.HLS, e.WebRTC})
}

// moqHost is where a page that was loaded from host finds the QUIC port. A
// browser resolves localhost to ::1 first and does not try 127.0.0.1 after
// that for QUIC, so a node that serves IPv4 only is named by address.
func moqHost(host string, quicAddr net.Addr) string {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	a, err := netip.ParseAddrPort(quicAddr.String())
	if err != nil {
		return host
	}
	if name == "localhost" && a.Addr().Is4() {
		name = "127.0.0.1"
	}
	return net.JoinHostPort(name, fmt.Sprint(a.Port()))
}

func (s *Server) certificate(w http.ResponseWriter, _ *http.Request) {
	var fingerprint string
	if f := s.cfg.Endpoints.CertificateSHA256; f != nil {
		fingerprint = f()
	}
	if fingerprint == "" {
		writeProblem(w, http.StatusNotFound, "not_found", "The certificate needs no pinning.")
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, fingerprint)
}

func (s *Server) jwks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(s.cfg.Minter.JWKS())
}

// rooms lists the open rooms, with ?live=1 only those that are broadcast to.
func (s *Server) rooms(w http.ResponseWriter, r *http.Request) {
	rooms, err := s.list(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	if live := r.URL.Query().Get("live"); live == "1" || live == "true" {
		n := 0
		for _, room := range rooms {
			if room.Live {
				rooms[n] = room
				n++
			}
		}
		rooms = rooms[:n]
	}
	writeJSON(w, struct {
		Rooms []LiveRoom `json:"rooms"`
	}{rooms})
}

func (s *Server) list(ctx context.Context) ([]LiveRoom, error) {
	known, err := s.cfg.Store.Rooms(ctx)
	if err != nil {
		return nil, err
	}
	live := make(map[string]LiveRoom)
	for _, l := range s.cfg.Live.LiveRooms() {
		live[l.Room] = l
	}
	rooms := make([]LiveRoom, 0, len(known))
	for _, k := range known {
		if !k.Open {
			continue
		}
		l := live[k.Name]
		l.Room, l.Title = k.Name, k.Title
		if l.Codecs == nil {
			l.Codecs = []string{}
		}
		rooms = append(rooms, l)
	}
	return rooms, nil
}

func (s *Server) room(w http.ResponseWriter, r *http.Request) {
	rooms, err := s.list(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	for _, room := range rooms {
		if room.Room == r.PathValue("room") {
			writeJSON(w, room)
			return
		}
	}
	s.fail(w, r, control.ErrNotFound)
}

// maxBody bounds a request's JSON.
const maxBody = 16 << 10

// decode reads a JSON body; an empty one is an empty object.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil && d.More() {
		err = errors.New("more than one JSON value")
	}
	return err
}

func badBody(w http.ResponseWriter, err error) {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		writeProblem(w, http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("A body has at most %d bytes.", maxBody))
		return
	}
	writeProblem(w, http.StatusBadRequest, "bad_json", err.Error())
}

// tokens mints a MoQ token: to publish and watch for the stream key, else to
// watch.
func (s *Server) tokens(w http.ResponseWriter, r *http.Request) {
	var in struct {
		StreamKey string `json:"stream_key"`
	}
	if err := decode(w, r, &in); err != nil {
		badBody(w, err)
		return
	}
	key := in.StreamKey
	if scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(scheme, "Bearer") && key == "" {
		key = strings.TrimSpace(bearer)
	}
	room := r.PathValue("room")
	var permission control.Permission
	var err error
	if key != "" {
		permission, err = s.access.Streamer(r.Context(), room, key)
	} else {
		permission, err = s.access.Viewer(r.Context(), room)
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	tok, expires, err := s.cfg.Minter.Mint(permission)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	out := struct {
		URL     string    `json:"url,omitempty"`
		Token   string    `json:"token"`
		Expires time.Time `json:"expires"`
	}{Token: tok, Expires: expires.UTC()}
	if urls := s.cfg.Endpoints.MoQ; len(urls) > 0 {
		out.URL = urls[0]
	} else if s.cfg.Endpoints.QUICAddr != nil {
		out.URL = "https://" + moqHost(r.Host, s.cfg.Endpoints.QUICAddr)
	}
	writeJSON(w, out)
}

// admission tells an origin whether the bearer of a stream key may publish.
// It needs no authority of its own: it tells no more than trying to publish
// would.
func (s *Server) admission(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Room       string `json:"room"`
		Member     string `json:"member"`
		Key        string `json:"key"`
		Protocol   string `json:"protocol"`
		RemoteAddr string `json:"remote_addr"`
		Takeover   bool   `json:"takeover"`
	}
	if err := decode(w, r, &in); err != nil {
		badBody(w, err)
		return
	}
	if err := s.access.Admit(r.Context(), in.Room, in.Member, in.Key); err != nil {
		s.fail(w, r, err)
		return
	}
	writeJSON(w, struct {
		Allow bool `json:"allow"`
	}{true})
}
