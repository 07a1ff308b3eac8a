package hls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Media types (authoring 10.4; RFC 8216, section 4).
const (
	typePlaylist = "application/vnd.apple.mpegurl"
	typeVideo    = "video/mp4"
	typeAudio    = "audio/mp4"
	typeWebVTT   = "text/vtt"
	typeText     = "text/plain; charset=utf-8"
)

// How long caches may keep things.
const (
	// A playlist without _HLS_msn is the live edge of now; half a target
	// duration is allowed (rfc8216bis, section 6.2.2), a second is fair.
	cachePlaylist = "public, max-age=1"
	// The answer to one blocking URL never turns wrong: it holds the part
	// that was asked for.
	cacheBlocking = "public, max-age=10"
	cacheMedia    = "public, max-age=3600, immutable"
	cacheNever    = "no-store"
	// cacheDecision is for a proxy that keeps AuthHandler's leave: for how long
	// a revoked viewer may go on with what others have there.
	cacheDecision = "private, max-age=2"
)

// setCaching says how long caches may keep an answer to r. What was given for
// a credential must not be given to others (RFC 9111, section 3.5). A proxy
// that asks AuthHandler about each viewer may share what was given for a pass:
// it gets its own word (X-Accel-Expires of nginx). That is so for a pass that
// is in the path only, where a proxy that asks nobody keeps it to the viewer;
// a token in a query or a header may be no part of what it remembers.
func setCaching(h http.Header, r *http.Request, cache string) {
	pass := passIn(r)
	personal := pass != "" || r.Header.Get("Authorization") != ""
	if !personal || pass != "" && strings.HasPrefix(r.URL.Path, "/"+playlistFolder+"/"+pass+"/") {
		// For all playlists, since old nginx has to be told to ignore
		// Cache-Control: it takes the first of both, and private comes first.
		switch cache {
		case cacheBlocking:
			h.Set("X-Accel-Expires", "10")
		case cachePlaylist:
			h.Set("X-Accel-Expires", "1")
		}
	}
	if personal {
		cache = strings.Replace(cache, "public", "private", 1)
	}
	h.Set("Cache-Control", cache)
}

// ServeHTTP serves the path relative to the broadcast.
func (m *Muxer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "only GET and HEAD")
		return
	}
	path := strings.TrimPrefix(r.URL.Path, "/")
	if path == "index.m3u8" {
		m.serveMultivariant(w, r)
		return
	}
	kind, rest, _ := strings.Cut(path, "/")
	folder, name, _ := strings.Cut(rest, "/")
	switch kind {
	case playlistFolder:
		track, isPlaylist := strings.CutSuffix(name, ".m3u8")
		if rend, ok := (*m.paths.Load())[track]; ok && isPlaylist {
			rend.servePlaylist(w, r)
			return
		}
	case mediaFolder:
		track, file, _ := strings.Cut(name, "/")
		if rend, ok := (*m.paths.Load())[track]; ok {
			rend.serveMedia(w, r, folder+"/"+file)
			return
		}
	}
	refuse(w, http.StatusNotFound, "no such rendition")
}

// Below a broadcast, media playlists are p/{pass}/{rendition}.m3u8, where the
// pass is the viewer's, and what all viewers share m/{key}/{rendition}/{file}.
// Both lie equally deep, so that one text serves every viewer.
const (
	playlistFolder = "p"
	mediaFolder    = "m"
	openPass       = "open"
)

func (m *Muxer) serveMultivariant(w http.ResponseWriter, r *http.Request) {
	text := m.multivariant.Load()
	if text == nil {
		refuseBusy(w, "the broadcast has not begun")
		return
	}
	if pass := passIn(r); pass != "" {
		// The same with the viewer's own way to the media playlists.
		own := strings.NewReplacer(`"`+playlistFolder+"/"+openPass+"/", `"`+playlistFolder+"/"+pass+"/",
			"\n"+playlistFolder+"/"+openPass+"/", "\n"+playlistFolder+"/"+pass+"/").Replace(string(text.plain()))
		servePlaylist(w, r, render([]byte(own)), "private, no-store")
		return
	}
	servePlaylist(w, r, text, cachePlaylist)
}

// reload is what a client asks of a playlist (rfc8216bis, section 6.2.5).
type reload struct {
	block bool
	msn   uint64
	part  int
	skip  bool
	dates bool // skip date ranges too
}

// errReload tells that the delivery directives are malformed.
var errReload = errors.New("malformed _HLS_ directive")

// parseReload reads the delivery directives. Others are left alone.
func parseReload(query string) (reload, error) {
	var d reload
	if query == "" {
		return d, nil
	}
	q, err := url.ParseQuery(query)
	if err != nil {
		return d, errReload
	}
	if s := q.Get("_HLS_msn"); s != "" {
		if d.msn, err = strconv.ParseUint(s, 10, 63); err != nil {
			return d, errReload
		}
		d.block = true
	}
	if s := q.Get("_HLS_part"); s != "" {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil || !d.block {
			return d, errReload // "A Client MUST use _HLS_msn with _HLS_part"
		}
		d.part = int(n)
	}
	switch q.Get("_HLS_skip") {
	case "":
	case "YES":
		d.skip = true
	case "v2":
		d.skip, d.dates = true, true
	default:
		return d, errReload
	}
	return d, nil
}

func (rd *rendition) servePlaylist(w http.ResponseWriter, r *http.Request) {
	d, err := parseReload(r.URL.RawQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	v := rd.current.Load()
	cache := cachePlaylist
	if d.block {
		cache = cacheBlocking
		if v.full != nil && v.tooFar(d.msn, d.part) {
			refuse(w, http.StatusBadRequest, "_HLS_msn or _HLS_part is too far ahead")
			return
		}
	}
	if v.full == nil || d.block && !v.has(d.msn, d.part) {
		v = rd.wait(r, v, func(v *version) bool {
			return v.full != nil && (!d.block || v.has(d.msn, d.part))
		})
		switch {
		case v != nil:
		case errors.Is(context.Cause(r.Context()), errRevoked):
			refuse(w, http.StatusForbidden, errNotAllowed.Error())
			return
		default:
			refuseBusy(w, "nothing new in time")
			return
		}
	}
	text := v.full
	if d.skip && v.delta != nil {
		text = v.delta
		if d.dates {
			text = v.delta2
		}
	}
	if v.ended {
		cache = cachePlaylist
	}
	servePlaylist(w, r, text, cache)
}

// wait returns the first version from v on that satisfies ok, or nil when
// the client left or its time is up.
func (rd *rendition) wait(r *http.Request, v *version, ok func(*version) bool) *version {
	timer := time.NewTimer(rd.m.cfg.BlockTimeout)
	defer timer.Stop()
	for !ok(v) {
		if v.ended {
			return nil
		}
		select {
		case <-v.next:
			v = rd.current.Load()
		case <-r.Context().Done():
			return nil
		case <-rd.m.suspended:
			return nil
		case <-timer.C:
			return nil
		}
	}
	return v
}

func (rd *rendition) serveMedia(w http.ResponseWriter, r *http.Request, name string) {
	body, ok := rd.files.get(name)
	if !ok {
		refuse(w, http.StatusNotFound, "no such part, segment or initialization segment")
		return
	}
	if growing, ok := body.(follower); ok {
		if rd.m.cfg.Trickle {
			rd.servePart(w, r, name, growing)
			return
		}
		if !rd.awaitPart(w, r, growing) {
			return
		}
	}
	serveMedia(w, r, name, rd.mediaType(), body)
}

// awaitPart waits until a part is whole. It answers the request itself when
// the part does not come.
func (rd *rendition) awaitPart(w http.ResponseWriter, r *http.Request, body follower) bool {
	ctx, cancel := context.WithTimeout(r.Context(), rd.m.cfg.BlockTimeout)
	defer cancel()
	for {
		n, complete := body.Len()
		if complete {
			return true
		}
		switch _, err := body.Next(ctx, n); {
		case err == nil, errors.Is(err, io.EOF):
		case errors.Is(err, errGivenUp):
			refuse(w, http.StatusNotFound, "the broadcast ended before this part")
			return false
		case r.Context().Err() != nil:
			return false
		default:
			refuseBusy(w, "the part did not come in time")
			return false
		}
	}
}

// servePart serves the hinted part from its first chunk on, as it is made.
func (rd *rendition) servePart(w http.ResponseWriter, r *http.Request, name string, body follower) {
	timer := time.NewTimer(rd.m.cfg.BlockTimeout)
	defer timer.Stop()
	select {
	case <-body.Begun():
	case <-r.Context().Done():
		return
	case <-timer.C:
		refuseBusy(w, "the part did not come in time")
		return
	}
	h := w.Header()
	h.Set("Content-Type", rd.mediaType())
	at := int64(0)
	for {
		b, err := body.Next(r.Context(), at)
		switch {
		case err == nil:
		case at == 0:
			refuse(w, http.StatusNotFound, "the broadcast ended before this part")
			return
		case errors.Is(err, io.EOF):
			return
		default:
			panic(http.ErrAbortHandler) // what was sent is no whole part: nobody may keep it
		}
		if at == 0 {
			setCaching(h, r, cacheMedia)
			h.Set("ETag", `"`+name+`"`)
			w.WriteHeader(http.StatusOK)
			if r.Method == http.MethodHead {
				return
			}
		}
		if _, err := b.WriteTo(w); err != nil {
			return // the client left
		}
		_ = http.NewResponseController(w).Flush() // a writer that cannot is one that holds nothing back
		at += b.Len()
	}
}

// mediaType tells pictures, sound and text apart by what the readers' side
// knows: text never becomes anything else.
func (rd *rendition) mediaType() string {
	switch {
	case rd.text != nil:
		return typeWebVTT
	case rd.audio.Load():
		return typeAudio
	}
	return typeVideo
}

func serveMedia(w http.ResponseWriter, r *http.Request, name, typ string, body body) {
	h := w.Header()
	h.Set("Content-Type", typ)
	setCaching(h, r, cacheMedia)
	h.Set("ETag", `"`+name+`"`) // names are never reused
	if r.Header.Get("Range") != "" || r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Match") != "" {
		http.ServeContent(w, r, "", time.Time{}, body.Open())
		return
	}
	h.Set("Accept-Ranges", "bytes")
	n, _ := body.Len()
	h.Set("Content-Length", strconv.FormatInt(n, 10))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = body.Open().WriteTo(w) // the client left; there is nobody to tell
	}
}

func servePlaylist(w http.ResponseWriter, r *http.Request, text *rendered, cache string) {
	h := w.Header()
	h.Set("Content-Type", typePlaylist)
	setCaching(h, r, cache)
	h.Add("Vary", "Accept-Encoding")
	packed := acceptsGzip(r.Header.Get("Accept-Encoding"))
	etag := `"` + text.etag + `"`
	if packed {
		etag = `"` + text.etag + `-gzip"`
		h.Set("Content-Encoding", "gzip")
	}
	h.Set("ETag", etag)
	if matches(r.Header.Get("If-None-Match"), etag) {
		h.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	var body []byte
	if packed {
		body = text.gzip()
	} else {
		body = text.plain()
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// matches evaluates If-None-Match (RFC 9110, section 13.1.2).
func matches(header, etag string) bool {
	for s := range strings.SplitSeq(header, ",") {
		s = strings.TrimSpace(s)
		if s == "*" || strings.TrimPrefix(s, "W/") == etag {
			return true
		}
	}
	return false
}

// acceptsGzip evaluates Accept-Encoding (RFC 9110, section 12.5.3).
func acceptsGzip(header string) bool {
	any := false
	for s := range strings.SplitSeq(header, ",") {
		coding, params, _ := strings.Cut(s, ";")
		name, weight, ok := strings.Cut(strings.TrimSpace(params), "=")
		refused := false
		if ok && strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(weight), 64)
			refused = err != nil || q == 0
		}
		switch coding = strings.TrimSpace(coding); {
		case strings.EqualFold(coding, "gzip") || strings.EqualFold(coding, "x-gzip"):
			return !refused
		case coding == "*":
			any = !refused
		}
	}
	return any
}

// refuse answers with an error that no cache keeps.
func refuse(w http.ResponseWriter, code int, reason string) {
	h := w.Header()
	h.Set("Content-Type", typeText)
	h.Set("Cache-Control", cacheNever)
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, reason)
}

// refuseBusy asks the client to come again.
func refuseBusy(w http.ResponseWriter, reason string) {
	w.Header().Set("Retry-After", "1")
	refuse(w, http.StatusServiceUnavailable, reason)
}
