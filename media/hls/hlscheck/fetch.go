package hlscheck

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/freshet-live/freshet/media/hls/playlist"
)

// maxMedia bounds one part, segment or initialization segment in bytes: ten
// seconds at 50 Mbit/s.
const maxMedia = 64 << 20

// maxPart bounds a hinted part in bytes: a second at 100 Mbit/s.
const maxPart = 16 << 20

// pageOrigin is what requests pretend to come from: a page elsewhere.
const pageOrigin = "https://player.example"

// fetcher makes all requests.
type fetcher struct {
	sink   *collector
	client *http.Client
	old    *http.Client // HTTP/1.1 only
	header http.Header

	requests, bytes atomic.Int64
	proto           atomic.Pointer[string]
}

// answer is a response that was read to its end.
type answer struct {
	url       string // that was asked
	status    int
	header    http.Header
	body      []byte
	gzipped   bool
	proto     string
	redirects int
	tls       *tls.ConnectionState
	asked     time.Time
	first     time.Time // byte of the body
	ended     time.Time
}

func (a *answer) ok() bool { return a.status == http.StatusOK || a.status == http.StatusPartialContent }

// request says what to ask for.
type request struct {
	url    string
	bytes  byteRange
	etag   string // If-None-Match
	gzip   bool
	limit  int64
	old    bool // HTTP/1.1
	ranged bool // ask for bytes
}

// errTooLarge tells that a body exceeds its limit.
var errTooLarge = errors.New("hlscheck: the body is larger than the checker reads")

type redirectCount struct{}

// countRedirects is the CheckRedirect of the clients.
func countRedirects(r *http.Request, via []*http.Request) error {
	if n, ok := r.Context().Value(redirectCount{}).(*int); ok {
		*n = len(via)
	}
	if len(via) >= 10 {
		return errors.New("ten redirects")
	}
	return nil
}

func (f *fetcher) do(ctx context.Context, q request) (*answer, error) {
	redirects := 0
	ctx = context.WithValue(ctx, redirectCount{}, &redirects)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, q.url, nil)
	if err != nil {
		return nil, err
	}
	if r.URL.Scheme != "http" && r.URL.Scheme != "https" {
		return nil, fmt.Errorf("hlscheck: %q is not an HTTP URL", clip(q.url))
	}
	maps.Copy(r.Header, f.header)
	r.Header.Set("Origin", pageOrigin)
	r.Header.Set("Accept-Encoding", "identity")
	if q.gzip {
		r.Header.Set("Accept-Encoding", "gzip")
	}
	if q.etag != "" {
		r.Header.Set("If-None-Match", q.etag)
	}
	if q.ranged {
		last := ""
		if q.bytes.length >= 0 {
			last = strconv.FormatInt(q.bytes.start+q.bytes.length-1, 10)
		}
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%s", q.bytes.start, last))
	}
	client := f.client
	if q.old {
		client = f.old
	}
	f.requests.Add(1)
	a := &answer{url: q.url, asked: time.Now()}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }() // read-only
	a.status, a.header, a.proto, a.tls, a.redirects = resp.StatusCode, resp.Header, resp.Proto, resp.TLS, redirects
	f.proto.Store(&a.proto)
	body := &timedReader{r: resp.Body}
	var in io.Reader = body
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		a.gzipped = true
		z, err := gzip.NewReader(body)
		if err != nil && resp.StatusCode != http.StatusNotModified {
			return nil, fmt.Errorf("hlscheck: Content-Encoding: gzip: %w", err)
		}
		if err == nil {
			in = z
		} else {
			in = http.NoBody
		}
	}
	var buf bytes.Buffer
	n, err := buf.ReadFrom(io.LimitReader(in, q.limit+1))
	a.body, a.first, a.ended = buf.Bytes(), body.first, time.Now()
	f.bytes.Add(n)
	if err != nil {
		return nil, fmt.Errorf("hlscheck: the body broke off: %w", err)
	}
	if n > q.limit {
		return nil, errTooLarge
	}
	return a, nil
}

// timedReader notes when the first byte came.
type timedReader struct {
	r     io.Reader
	first time.Time
}

func (t *timedReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if n > 0 && t.first.IsZero() {
		t.first = time.Now()
	}
	return n, err
}

// playlist loads a playlist.
func (f *fetcher) playlist(ctx context.Context, rawURL string) (*answer, error) {
	return f.do(ctx, request{url: rawURL, gzip: true, limit: playlist.MaxSize})
}

// media loads a part, a segment or an initialization segment.
func (f *fetcher) media(ctx context.Context, s source) (*answer, error) {
	return f.do(ctx, request{url: s.url, bytes: s.bytes, ranged: s.bytes != wholeFile, limit: maxMedia})
}

// part loads a part that was hinted.
func (f *fetcher) part(ctx context.Context, s source) (*answer, error) {
	return f.do(ctx, request{url: s.url, limit: maxPart})
}

// loopback tells whether rawURL is on this machine.
func loopback(rawURL string) bool {
	u, err := url.Parse(rawURL)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// transportRules checks what all answers have in common.
func (f *fetcher) transportRules(a *answer, at site, lowLatency bool) {
	if a.redirects > 0 {
		f.sink.add(ruleRedirect, at, "%s: %d redirects", clip(a.url), a.redirects)
	}
	switch {
	case a.tls == nil && !loopback(a.url):
		f.sink.add(ruleTLS, at, "%s came in the clear", clip(a.url))
	case a.tls != nil && a.tls.Version < tls.VersionTLS12:
		f.sink.add(ruleTLS, at, "%s came over %s", clip(a.url), tls.VersionName(a.tls.Version))
	}
	if lowLatency && a.tls != nil && strings.HasPrefix(a.proto, "HTTP/1") {
		f.sink.add(ruleHTTP2, at, "%s came over %s", clip(a.url), a.proto)
	}
	if allow := a.header.Get("Access-Control-Allow-Origin"); allow != "*" && allow != pageOrigin {
		f.sink.add(ruleCORS, at, "%s: Access-Control-Allow-Origin is %q for %s", clip(a.url), allow, pageOrigin)
	}
}

// gzipMin is the size below which compression brings nothing worth asking for.
const gzipMin = 256

// playlistRules checks the headers of a playlist that was loaded.
func (f *fetcher) playlistRules(a *answer, at site, lowLatency bool) {
	f.transportRules(a, at, lowLatency)
	if !a.gzipped && len(a.body) >= gzipMin {
		f.sink.add(ruleGzip, at, "%d bytes came uncompressed", len(a.body))
	}
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "application/vnd.apple.mpegurl", "audio/mpegurl":
	default:
		f.sink.add(rulePlaylistMIME, at, "it is %q", kind)
	}
}

// mediaTypes are what Apple recommends (authoring 10.4).
var mediaTypes = map[string]bool{
	"video/mp4": true, "audio/mp4": true, "video/iso.segment": true, "audio/iso.segment": true, "application/mp4": true,
	"video/mp2t": true, "audio/aac": true, "audio/mpeg": true, "audio/ac3": true, "audio/eac3": true, "text/vtt": true, "text/plain": true,
	"image/jpeg": true,
}

// mediaRules checks the headers of media that was loaded.
func (f *fetcher) mediaRules(a *answer, at site, lowLatency bool, target time.Duration) {
	f.transportRules(a, at, lowLatency)
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if !mediaTypes[strings.ToLower(strings.TrimSpace(kind))] {
		f.sink.add(ruleMediaMIME, at, "%s: it is %q", clip(a.url), kind)
	}
	c := cacheOf(a.header)
	if c.never || c.given && c.age < target {
		f.sink.add(ruleCacheMedia, at, "%s: Cache-Control is %q", clip(a.url), a.header.Get("Cache-Control"))
	}
}

// caching is what an answer says of its freshness.
type caching struct {
	never bool // no-store or no-cache
	given bool // a lifetime is stated
	age   time.Duration
}

func cacheOf(h http.Header) caching {
	var c caching
	shared := false
	for s := range strings.SplitSeq(h.Get("Cache-Control"), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(s), "=")
		switch strings.ToLower(name) {
		case "no-store", "no-cache":
			c.never = true
		case "max-age", "s-maxage":
			n, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 32)
			if err == nil && !(shared && strings.ToLower(name) == "max-age") {
				c.given, c.age = true, time.Duration(n)*time.Second
				shared = strings.ToLower(name) == "s-maxage"
			}
		}
	}
	if expires := h.Get("Expires"); !c.given && expires != "" {
		at, err := http.ParseTime(expires)
		date, err2 := http.ParseTime(h.Get("Date"))
		if c.given = true; err == nil && err2 == nil {
			c.age = max(at.Sub(date), 0)
		}
	}
	return c
}

// directives returns rawURL with delivery directives, all of its query in the
// order of their names (section 6.3.2).
func directives(rawURL string, msn uint64, part int, skip string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return rawURL
	}
	q := u.Query()
	q.Set("_HLS_msn", strconv.FormatUint(msn, 10))
	if part >= 0 {
		q.Set("_HLS_part", strconv.Itoa(part))
	}
	if skip != "" {
		q.Set("_HLS_skip", skip)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// withQuery returns rawURL with one more query parameter.
func withQuery(rawURL, name, value string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return rawURL
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}
