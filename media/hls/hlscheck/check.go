package hlscheck

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"sync"
	"time"
)

// maxStreams bounds the media playlists that are watched at once.
const maxStreams = 48

// multivariantEvery is how often the multivariant playlist is loaded again:
// what it declares of a live stream may grow.
const multivariantEvery = 15 * time.Second

// Config tunes Run. The zero value works.
type Config struct {
	// Duration is how long a live stream is watched, and how long a VOD may
	// take to load; 60 s by default.
	Duration time.Duration
	// TLS is for https URLs; nil stands for the system's authorities.
	TLS *tls.Config
	// DialContext makes connections; nil stands for the network.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Token is sent as a bearer token with every request; "" for none.
	Token string
	// Ignore names rules whose findings the caller knows about. They are
	// reported apart.
	Ignore []string
	// Progress is called about once a second while a stream is watched; it
	// may be nil.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Elapsed, Duration time.Duration
	Streams           int
	Requests, Bytes   int64
	Segments, Parts   int
	Findings          int
}

// ErrUnreachable is the error of Run for a URL that gives no playlist.
var ErrUnreachable = errors.New("hlscheck: no playlist there")

// run is one run of the checker.
type run struct {
	cfg     Config
	sink    *collector
	f       *fetcher
	streams []*watcher
	started time.Time
	vod     bool
	stalls  stalls

	// declared are the variants of the multivariant playlists that were
	// loaded, one after the other; they belong to multivariant's goroutine
	// until the end.
	declared []*multivariantText
}

// Run watches the stream at rawURL, which names a multivariant or a media
// playlist, and reports what it breaks. The error is ErrUnreachable when
// there is no playlist at all, and ctx's when it ends first, together with the
// report so far; a watched stream that fails later is a finding.
//
// Run owns a goroutine for each media playlist, which own their loaders, and
// returns after the last has ended.
func Run(ctx context.Context, rawURL string, cfg Config) (*Report, error) {
	if cfg.Duration <= 0 {
		cfg.Duration = time.Minute
	}
	for _, id := range cfg.Ignore {
		if !known(id) {
			return nil, fmt.Errorf("hlscheck: there is no rule %q", id)
		}
	}
	r := &run{cfg: cfg, sink: newCollector(), started: time.Now()}
	closeIdle, err := r.connect()
	if err != nil {
		return nil, err
	}
	defer closeIdle()
	watch, cancel := context.WithTimeout(ctx, cfg.Duration)
	defer cancel()
	a, err := r.f.playlist(watch, rawURL)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if !a.ok() {
		return nil, fmt.Errorf("%w: %s: status %d: %s", ErrUnreachable, rawURL, a.status, clip(string(bytes.TrimSpace(a.body))))
	}
	if !bytes.HasPrefix(bytes.TrimPrefix(a.body, byteOrderMark), []byte("#EXTM3U")) {
		return nil, fmt.Errorf("%w: %s begins with %q", ErrUnreachable, rawURL, clip(string(a.body[:min(len(a.body), 40)])))
	}
	if isMultivariant(a.body) {
		r.multivariant(a, rawURL)
	} else {
		r.streams = append(r.streams, newWatcher(newStream(r, rawURL, roleMedia)))
	}
	r.watch(watch, rawURL)
	r.finish()
	r.stalled(rawURL)
	return r.report(rawURL), context.Cause(ctx)
}

// connect makes the clients. The two share cookies, as a player's do.
func (r *run) connect() (closeIdle func(), err error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	client := func(protocols func(*http.Protocols)) *http.Client {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS10} //nolint:gosec // an old version is a finding
		if r.cfg.TLS != nil {
			t.TLSClientConfig = r.cfg.TLS.Clone()
		}
		if r.cfg.DialContext != nil {
			t.DialContext = r.cfg.DialContext
		}
		t.Protocols = new(http.Protocols)
		protocols(t.Protocols)
		t.DisableCompression = true
		t.MaxIdleConnsPerHost = 16
		return &http.Client{Transport: t, CheckRedirect: countRedirects, Jar: jar}
	}
	r.f = &fetcher{
		sink: r.sink, header: make(http.Header),
		client: client(func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) }),
		old:    client(func(p *http.Protocols) { p.SetHTTP1(true) }),
	}
	r.f.header.Set("User-Agent", "freshet-hlscheck")
	if r.cfg.Token != "" {
		r.f.header.Set("Authorization", "Bearer "+r.cfg.Token)
	}
	return func() {
		r.f.client.CloseIdleConnections()
		r.f.old.CloseIdleConnections()
	}, nil
}

// multivariant reads the multivariant playlist and lays the streams out.
func (r *run) multivariant(a *answer, rawURL string) {
	m := parseMultivariant(r.sink, rawURL, a.body)
	if m == nil {
		return
	}
	m.check(r.sink)
	m.advise(r.sink)
	r.declared = append(r.declared, m)
	if m.variables {
		r.sink.add(ruleNotLooked, site{rawURL, "EXT-X-DEFINE", 0}, "variables are not substituted")
	}
	add := func(url string, role role) {
		if url == "" || r.stream(url) != nil {
			return
		}
		if len(r.streams) == maxStreams {
			r.sink.add(ruleNotLooked, site{rawURL, "", 0}, "only %d media playlists are watched", maxStreams)
			return
		}
		s := newStream(r, url, role)
		s.independent = m.independent
		r.streams = append(r.streams, newWatcher(s))
	}
	for i := range m.variants {
		if v := &m.variants[i]; v.iFrames {
			add(v.uri, roleIFrames)
		} else {
			add(v.uri, roleVariant)
		}
	}
	roles := map[string]role{"AUDIO": roleAudio, "SUBTITLES": roleText, "VIDEO": rolePictures}
	for _, x := range m.renditions {
		if role, ok := roles[x.kind]; ok {
			add(x.uri, role)
		}
	}
}

// stream returns the stream of that URL, whatever its query.
func (r *run) stream(rawURL string) *stream {
	for _, w := range r.streams {
		if w.url == rawURL {
			return w.stream
		}
	}
	bare := withoutQuery(rawURL)
	for _, w := range r.streams {
		if withoutQuery(w.url) == bare {
			return w.stream
		}
	}
	return nil
}

func withoutQuery(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return rawURL
	}
	u.RawQuery = ""
	return u.String()
}

// watch runs all watchers until ctx is done or all of them are.
func (r *run) watch(ctx context.Context, rawURL string) {
	ctx, cancel := context.WithCancel(ctx)
	var side sync.WaitGroup
	defer side.Wait()
	defer cancel()
	side.Go(func() { r.stalls.watch(ctx) })
	if len(r.declared) > 0 {
		side.Go(func() { r.follow(ctx, rawURL) })
	}
	if r.cfg.Progress != nil {
		side.Go(func() { r.progress(ctx) })
	}
	var wg sync.WaitGroup
	for _, w := range r.streams {
		wg.Go(func() { w.watch(ctx) })
	}
	wg.Wait()
}

// follow loads the multivariant playlist again and again.
func (r *run) follow(ctx context.Context, rawURL string) {
	for first := true; ctx.Err() == nil; first = false {
		if !first {
			sleep(ctx, multivariantEvery)
		}
		a, err := r.f.playlist(ctx, rawURL)
		if ctx.Err() != nil {
			return
		}
		if err != nil || !a.ok() {
			r.sink.add(rulePlaylistUnavailable, site{rawURL, "", 0}, "%s", outcome(a, err))
			continue
		}
		if first {
			r.f.playlistRules(a, site{rawURL, "", 0}, false)
			r.conditional(ctx, a, rawURL)
		}
		m := parseMultivariant(r.sink, rawURL, a.body)
		if m == nil {
			continue
		}
		m.check(r.sink)
		if len(r.declared) < 64 {
			r.declared = append(r.declared, m)
		} else {
			r.declared[len(r.declared)-1] = m
		}
	}
}

// conditional asks for a playlist again by its ETag.
func (r *run) conditional(ctx context.Context, a *answer, rawURL string) {
	tag := a.header.Get("ETag")
	if tag == "" {
		return
	}
	b, err := r.f.do(ctx, request{url: rawURL, etag: tag, gzip: true, limit: maxMedia})
	switch {
	case ctx.Err() != nil:
	case err != nil || b.status != http.StatusOK && b.status != http.StatusNotModified:
		r.sink.add(ruleETag, site{rawURL, "", 0}, "If-None-Match of %s: %s", tag, outcome(b, err))
	case b.status == http.StatusOK && b.header.Get("ETag") == tag && bytes.Equal(a.body, b.body):
		r.sink.add(ruleETag, site{rawURL, "", 0}, "If-None-Match of %s was answered with all of it again", tag)
	case b.status == http.StatusOK && b.header.Get("ETag") == tag && tag[0] == '"':
		r.sink.add(ruleETag, site{rawURL, "", 0}, "%s stands for two contents", tag)
	}
}

func (r *run) progress(ctx context.Context) {
	for {
		sleep(ctx, time.Second)
		if ctx.Err() != nil {
			return
		}
		p := Progress{
			Elapsed: time.Since(r.started), Duration: r.cfg.Duration, Streams: len(r.streams),
			Requests: r.f.requests.Load(), Bytes: r.f.bytes.Load(),
		}
		for _, w := range r.streams {
			w.mu.Lock()
			p.Segments += w.seen.Segments
			p.Parts += w.seen.Parts
			w.mu.Unlock()
		}
		var rep Report
		r.sink.into(&rep, r.cfg.Ignore)
		p.Findings = len(rep.Findings)
		r.cfg.Progress(p)
	}
}

// report sums up. All goroutines have ended.
func (r *run) report(rawURL string) *Report {
	rep := &Report{
		URL: rawURL, Kind: "live", Started: r.started, Seconds: time.Since(r.started).Seconds(),
		Requests: r.f.requests.Load(), Bytes: r.f.bytes.Load(), Findings: []Finding{},
	}
	if p := r.f.proto.Load(); p != nil {
		rep.Protocol = *p
	}
	if r.vod {
		rep.Kind = "vod"
	}
	for _, w := range r.streams {
		if w.latest != nil && w.latest.partTarget > 0 && !r.vod {
			rep.Kind = "low-latency"
		}
		for _, c := range sortedKeys(w.measured.codecs) {
			if w.seen.Codecs != "" {
				w.seen.Codecs += ","
			}
			w.seen.Codecs += c
		}
		rep.Streams = append(rep.Streams, w.seen)
	}
	r.sink.into(rep, r.cfg.Ignore)
	return rep
}

func sortedKeys(m map[string]bool) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
