package api

import (
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// contentSecurity lets the app load from its own host only, connect to any
// node and play from memory (MSE, workers).
const contentSecurity = "default-src 'self'; connect-src *; media-src * blob:; worker-src 'self' blob:; " +
	"script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'"

// app serves the web app: files as they are, and its page for the routes
// that the app itself knows.
func (s *Server) app() http.Handler {
	if s.cfg.Assets == nil {
		return missingApp()
	}
	page, err := fs.ReadFile(s.cfg.Assets, "index.html")
	if err != nil {
		return missingApp()
	}
	files := http.FileServerFS(s.cfg.Assets)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			writeProblem(w, http.StatusMethodNotAllowed, "method_not_allowed", "")
			return
		}
		w.Header().Set("Content-Security-Policy", contentSecurity)
		w.Header().Set("Referrer-Policy", "no-referrer")
		name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		if isRoute(name) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.Header().Set("Cache-Control", "no-cache")
			_, _ = w.Write(page)
			return
		}
		if info, err := fs.Stat(s.cfg.Assets, name); err != nil || info.IsDir() {
			writeProblem(w, http.StatusNotFound, "not_found", "There is no such page.")
			return
		}
		// The build puts a digest into the names under assets/.
		if strings.HasPrefix(name, "assets/") {
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		}
		files.ServeHTTP(w, r)
	})
}

func isRoute(name string) bool {
	return name == "" || name == "admin" || strings.HasPrefix(name, "r/") || strings.HasPrefix(name, "studio/")
}

func missingApp() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusNotFound, "no_web_app", "This binary was built without the web app: run make build.")
	})
}
