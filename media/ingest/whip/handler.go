package whip

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/freshet-live/freshet/media/ingest"
)

const (
	typeSDP      = "application/sdp"
	typeFragment = "application/trickle-ice-sdpfrag" // RFC 8840, section 9
)

// target is what a request path names.
type target struct {
	room, member string
	session      string // empty: the endpoint itself
}

// parse splits the path of a request. Session IDs are marked by "~", which no
// name contains.
func (s *Server) parse(path string) (t target, ok bool) {
	rest, ok := strings.CutPrefix(path, s.cfg.Path)
	if !ok {
		return target{}, false
	}
	parts := strings.Split(rest, "/")
	if id, is := strings.CutPrefix(parts[len(parts)-1], "~"); is {
		t.session, parts = id, parts[:len(parts)-1]
		if id == "" {
			return target{}, false
		}
	}
	switch len(parts) {
	case 2:
		t.member = parts[1]
		if !ingest.ValidName(t.member) {
			return target{}, false
		}
		fallthrough
	case 1:
		t.room = parts[0]
		return t, ingest.ValidName(t.room)
	}
	return target{}, false
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.cors(w, r)
	t, ok := s.parse(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	switch r.Method {
	case http.MethodOptions:
		s.options(w, t)
	case http.MethodGet, http.MethodHead:
		// RFC 9725, section 4.2: 2xx without content, "so that future
		// extensions can use them".
		if t.session != "" && s.session(t.session) == nil {
			http.NotFound(w, r)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPost:
		if t.session != "" {
			notAllowed(w, t)
			return
		}
		s.post(w, r, t)
	case http.MethodPatch, http.MethodDelete:
		if t.session == "" {
			notAllowed(w, t)
			return
		}
		n := s.session(t.session)
		if n == nil {
			http.NotFound(w, r)
			return
		}
		if r.Method == http.MethodPatch {
			s.patch(w, r, n)
			return
		}
		s.delete(w, r, n)
	default:
		notAllowed(w, t)
	}
}

// cors lets the pages of allowed origins publish. There are no cookies to
// protect: the key comes in a header.
func (s *Server) cors(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	h := w.Header()
	if len(s.cfg.AllowedOrigins) == 0 {
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		h.Add("Vary", "Origin")
		if !slices.Contains(s.cfg.AllowedOrigins, origin) {
			return
		}
		h.Set("Access-Control-Allow-Origin", origin)
	}
	h.Set("Access-Control-Expose-Headers", "Location, Link, Accept-Post, Accept-Patch, Retry-After, WWW-Authenticate")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Methods", "POST, PATCH, DELETE, GET, HEAD, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match, Accept")
		h.Set("Access-Control-Max-Age", "86400")
	}
}

func allowed(t target) string {
	if t.session != "" {
		return "PATCH, DELETE, GET, HEAD, OPTIONS"
	}
	return "POST, GET, HEAD, OPTIONS"
}

func notAllowed(w http.ResponseWriter, t target) {
	w.Header().Set("Allow", allowed(t))
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
}

func (s *Server) options(w http.ResponseWriter, t target) {
	h := w.Header()
	h.Set("Allow", allowed(t))
	if t.session == "" {
		h.Set("Accept-Post", typeSDP)
	} else {
		h.Set("Accept-Patch", typeFragment)
	}
	w.WriteHeader(http.StatusNoContent)
}

// post opens a session.
func (s *Server) post(w http.ResponseWriter, r *http.Request, t target) {
	if !accepts(r, typeSDP) {
		http.Error(w, "the answer is "+typeSDP, http.StatusNotAcceptable)
		return
	}
	body, ok := readBody(w, r, typeSDP)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), openTimeout)
	defer cancel()
	req := ingest.AdmissionRequest{
		Room:       t.room,
		Member:     t.member,
		Key:        bearer(r),
		Protocol:   ingest.WHIP,
		Takeover:   r.URL.Query().Get("takeover") == "1",
		RemoteAddr: r.RemoteAddr,
	}
	log := s.log.With("room", t.room, "member", t.member, "remote", r.RemoteAddr)
	refuse := func(err error) {
		log.Info("publisher refused", "error", err)
		s.refuse(w, err)
	}
	decision, err := s.cfg.Admission.Admit(ctx, req)
	if err != nil {
		refuse(err)
		return
	}
	api, err := s.reserve()
	if err != nil {
		refuse(err)
		return
	}
	log = log.With("key_id", decision.KeyID)
	n, answer, err := newSession(ctx, s, api, body, log, func() (ingest.Broadcast, error) {
		return s.cfg.Opener.Open(ctx, req.Room, req.Member, req.Protocol, req.Takeover)
	})
	if err != nil {
		s.unreserve()
		refuse(err)
		return
	}
	n.key = sha256.Sum256([]byte(req.Key))
	s.add(n)
	n.log.Info("publisher admitted", "client", r.UserAgent())

	h := w.Header()
	h.Set("Location", location(r, n.id))
	h.Set("Content-Type", typeSDP)
	h.Set("Accept-Patch", typeFragment)
	h.Set("Cache-Control", "no-store")
	for _, server := range s.cfg.ICEServers {
		h.Add("Link", server.link())
	}
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, answer)
}

// refuse turns an error into a status.
func (s *Server) refuse(w http.ResponseWriter, err error) {
	status := http.StatusServiceUnavailable
	switch {
	case errors.Is(err, ingest.ErrUnauthorized):
		unauthorized(w)
		return
	case errors.Is(err, ingest.ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, ingest.ErrRoomTaken), errors.Is(err, ingest.ErrTakenOver):
		status = http.StatusConflict
	case errors.Is(err, errMalformed):
		status = http.StatusBadRequest
	case errors.Is(err, errUnsupported):
		status = http.StatusUnprocessableEntity
	default:
		w.Header().Set("Retry-After", "5")
		http.Error(w, "try again later", status)
		return
	}
	http.Error(w, err.Error(), status)
}

func unauthorized(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="freshet"`)
	http.Error(w, "stream key missing or wrong", http.StatusUnauthorized)
}

// delete ends a session. OBS wants 200, and no other status.
func (s *Server) delete(w http.ResponseWriter, r *http.Request, n *session) {
	if !n.authorized(bearer(r)) {
		unauthorized(w)
		return
	}
	n.stop(errDeleted)
	w.WriteHeader(http.StatusOK)
}

// patch takes trickled candidates.
func (s *Server) patch(w http.ResponseWriter, r *http.Request, n *session) {
	if auth := r.Header.Get("Authorization"); auth != "" && !n.authorized(bearer(r)) {
		unauthorized(w)
		return
	}
	body, ok := readBody(w, r, typeFragment)
	if !ok {
		return
	}
	if r.Header.Get("If-Match") == "*" { // how an ICE restart is asked for
		http.Error(w, "no ICE restarts", http.StatusUnprocessableEntity)
		return
	}
	if err := checkFragment(body, n.ufrag); err != nil {
		s.refuse(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// readBody reads a bounded body of the wanted type, or answers why not.
func readBody(w http.ResponseWriter, r *http.Request, want string) ([]byte, bool) {
	if got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || got != want {
		http.Error(w, "the body must be "+want, http.StatusUnsupportedMediaType)
		return nil, false
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		http.Error(w, "body too large", http.StatusRequestEntityTooLarge)
		return nil, false
	case err != nil, len(body) == 0:
		http.Error(w, "no body", http.StatusBadRequest)
		return nil, false
	}
	return body, true
}

// accepts tells whether the client takes an answer of the type.
func accepts(r *http.Request, want string) bool {
	accept := r.Header.Values("Accept")
	if len(accept) == 0 {
		return true
	}
	for _, list := range accept {
		for item := range strings.SplitSeq(list, ",") {
			switch got, _, _ := mime.ParseMediaType(item); got {
			case want, "application/*", "*/*":
				return true
			}
		}
	}
	return false
}

// bearer returns the token of the Authorization header (RFC 6750, section 2.1).
func bearer(r *http.Request) string {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// location is the session's absolute URL: OBS resolves relative ones its own
// way. Behind a proxy that ends TLS the scheme is the proxy's.
func location(r *http.Request, id string) string {
	u := url.URL{Scheme: "http", Host: r.Host, Path: strings.TrimSuffix(r.URL.Path, "/") + "/~" + id}
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		u.Scheme = "https"
	}
	return u.String()
}

// link renders the server as a Link header (RFC 9725, section 4.6).
func (i ICEServer) link() string {
	l := fmt.Sprintf("<%s>; rel=\"ice-server\"", i.URL)
	if i.Username != "" {
		l += fmt.Sprintf("; username=%q; credential=%q; credential-type=\"password\"", i.Username, i.Credential)
	}
	return l
}
