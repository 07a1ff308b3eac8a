package api

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/freshet-live/freshet/control"
)

// problem is an RFC 9457 problem. Code is stable; Detail is for people.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
}

func writeProblem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="freshet"`)
	}
	w.WriteHeader(status)
	// The client may be gone; there is nobody to tell.
	_ = json.NewEncoder(w).Encode(problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail})
}

// fail answers with the problem that err stands for. What is not one of
// control's errors is logged and not shown.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, control.ErrNotFound):
		writeProblem(w, http.StatusNotFound, "not_found", "There is no such room.")
	case errors.Is(err, control.ErrUnauthorized):
		writeProblem(w, http.StatusUnauthorized, "unauthorized", "No such room, or the stream key is wrong.")
	case errors.Is(err, control.ErrInvalid):
		writeProblem(w, http.StatusUnprocessableEntity, "invalid", err.Error())
	default:
		s.cfg.Logger.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		writeProblem(w, http.StatusInternalServerError, "internal", "")
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v)
}
