package hlscheck

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf"
)

// What the origin serves: segments of 2 s, parts of 0.2 s, a key frame a
// second, and a discontinuity every twenty segments.
const (
	partLength    = 200 * time.Millisecond
	partsOf       = 10
	segmentLength = partsOf * partLength
	listedOf      = 8
	restartEvery  = 20
)

var (
	h264 = media.Format{Codec: media.H264, MIME: "avc1.64001f", Width: 1280, Height: 720, Description: []byte(
		"\x01\x64\x00\x1f\xff\xe1\x00\x1a\x67\x64\x00\x1f\xac\xd9\x40\x50\x05\xbb\x01\x10\x00\x00\x03\x00\x10\x00\x00\x03\x03\xc0\xf1\x83\x19\x60" +
			"\x01\x00\x04\x68\xef\x8f\xcb\xfd\xf8\xf8\x00")}
	aac = media.Format{Codec: media.AAC, MIME: "mp4a.40.2", Description: []byte{0x11, 0x90}, SampleRate: 48000, Channels: 2}
)

// origin is a low-latency origin that keeps every rule. What it serves is a
// function of the time alone: nothing is stored.
type origin struct {
	epoch time.Time // when segment 0 began
	end   time.Time // of the broadcast; zero: never
	// The faults: each changes what is served in one way.
	text     func(name, text string, at time.Duration) string // of a playlist, at since the start of the test
	chunk    func(name string, msn uint64, part int, c *cmaf.Chunk)
	body     func(name string, body []byte) []byte // of media
	handle   func(w http.ResponseWriter, r *http.Request) bool
	header   func(h http.Header, path string)
	hold     func(msn uint64, part int) time.Duration // how late a part is listed
	noBlock  bool
	allows   bool // answers what is too far ahead when it comes
	alone    bool // answers _HLS_part alone
	noSkip   bool
	oneFewer bool // skips a segment too many
	noGzip   bool
	began    time.Time
	listed   uint64 // segments
	keep     uint64 // complete segments with parts
}

var renditions = []string{"video0", "video1", "audio0"}

func newOrigin() *origin {
	now := time.Now()
	return &origin{epoch: now.Add(-time.Hour).Add(-700 * time.Millisecond), began: now, listed: listedOf, keep: 4}
}

// complete tells how many parts, of all segments, are complete at now.
func (o *origin) complete(now time.Time) uint64 {
	if !o.end.IsZero() && now.After(o.end) {
		now = o.end
	}
	n := uint64(now.Sub(o.epoch) / partLength)
	if o.hold != nil {
		for k := n - 200; k < n; k++ {
			if now.Sub(o.due(k)) < o.hold(k/partsOf, int(k%partsOf)) {
				return k
			}
		}
	}
	return n
}

// due is when the part of that index is complete.
func (o *origin) due(part uint64) time.Time { return o.epoch.Add(time.Duration(part+1) * partLength) }

func (o *origin) media(name string, now time.Time, skip string) string {
	n := o.complete(now)
	last, parts := n/partsOf, n%partsOf // the open segment, and its parts
	first := last - o.listed
	ended := !o.end.IsZero() && !now.Before(o.end)
	var b strings.Builder
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-PART-INF:PART-TARGET=0.2\n")
	fmt.Fprintf(&b, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.6,HOLD-BACK=6,CAN-SKIP-UNTIL=12\n")
	fmt.Fprintf(&b, "#EXT-X-MEDIA-SEQUENCE:%d\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n", first, (first-1)/restartEvery)
	skipped := uint64(0)
	if skip != "" && !o.noSkip && !ended && o.listed == listedOf {
		// Further than 12 s from the end of the last complete segment.
		if skipped = listedOf - 6; o.oneFewer {
			skipped += 2
		}
		fmt.Fprintf(&b, "#EXT-X-SKIP:SKIPPED-SEGMENTS=%d\n", skipped)
	}
	for msn := first + skipped; msn <= last; msn++ {
		if msn == last && parts == 0 {
			break
		}
		if msn%restartEvery == 0 {
			b.WriteString("#EXT-X-DISCONTINUITY\n")
		}
		if msn%restartEvery == 0 || msn == first+skipped {
			fmt.Fprintf(&b, "#EXT-X-MAP:URI=\"init%d.mp4\"\n", msn/restartEvery)
		}
		fmt.Fprintf(&b, "#EXT-X-PROGRAM-DATE-TIME:%s\n", o.epoch.Add(time.Duration(msn)*segmentLength).UTC().Format("2006-01-02T15:04:05.000Z"))
		for k := range uint64(partsOf) {
			if msn == last && k >= parts || last-msn > o.keep {
				break
			}
			independent := ""
			if k%5 == 0 || name == "audio0" {
				independent = ",INDEPENDENT=YES"
			}
			fmt.Fprintf(&b, "#EXT-X-PART:DURATION=0.2,URI=\"part%d.%d.m4s\"%s\n", msn, k, independent)
		}
		if msn < last {
			fmt.Fprintf(&b, "#EXTINF:2,\nseg%d.m4s\n", msn)
		}
	}
	if ended {
		b.WriteString("#EXT-X-ENDLIST\n")
	} else {
		fmt.Fprintf(&b, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"part%d.%d.m4s\"\n", last, parts)
		for _, other := range renditions {
			if other == name {
				continue
			}
			msn, part := (n-1)/partsOf, (n-1)%partsOf
			fmt.Fprintf(&b, "#EXT-X-RENDITION-REPORT:URI=\"../%s/index.m3u8\",LAST-MSN=%d,LAST-PART=%d\n", other, msn, part)
		}
	}
	text := b.String()
	if o.text != nil {
		text = o.text(name, text, now.Sub(o.began))
	}
	return text
}

const multivariant = `#EXTM3U
#EXT-X-VERSION:9
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="main",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",URI="audio0/index.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=260000,AVERAGE-BANDWIDTH=250000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=20.000,AUDIO="audio"
video0/index.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=260001,AVERAGE-BANDWIDTH=250000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=1280x720,FRAME-RATE=20.000,AUDIO="audio"
video1/index.m3u8
`

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o.handle != nil && o.handle(w, r) {
		return
	}
	if r.URL.Path == "/index.m3u8" {
		text := multivariant
		if o.text != nil {
			text = o.text("multivariant", text, time.Since(o.began))
		}
		o.playlist(w, r, text, "max-age=1")
		return
	}
	name, file, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if file == "index.m3u8" {
		o.reload(w, r, name)
		return
	}
	o.serveMedia(w, r, name, file)
}

func (o *origin) reload(w http.ResponseWriter, r *http.Request, name string) {
	q := r.URL.Query()
	if q.Has("_HLS_part") && !q.Has("_HLS_msn") && !o.alone {
		http.Error(w, "no _HLS_msn", http.StatusBadRequest)
		return
	}
	cache := "max-age=1"
	ended := !o.end.IsZero() && !time.Now().Before(o.end)
	if s := q.Get("_HLS_msn"); s != "" && !ended {
		msn, _ := strconv.ParseUint(s, 10, 64)
		part, _ := strconv.ParseUint(q.Get("_HLS_part"), 10, 64)
		if part >= partsOf {
			msn, part = msn+1, 0
		}
		n := o.complete(time.Now())
		if !o.allows && msn > (n-1)/partsOf+2 {
			http.Error(w, "too far", http.StatusBadRequest)
			return
		}
		cache = "max-age=12"
		for !o.noBlock && o.complete(time.Now()) <= msn*partsOf+part {
			sleep(r.Context(), max(time.Until(o.due(msn*partsOf+part)), 10*time.Millisecond))
			if r.Context().Err() != nil {
				return
			}
			if !o.end.IsZero() && time.Now().After(o.end) {
				break
			}
		}
	}
	o.playlist(w, r, o.media(name, time.Now(), q.Get("_HLS_skip")), cache)
}

// compressors are used again: each is most of a megabyte.
var compressors = sync.Pool{New: func() any { z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed); return z }}

func (o *origin) playlist(w http.ResponseWriter, r *http.Request, text, cache string) {
	h := w.Header()
	h.Set("Content-Type", "application/vnd.apple.mpegurl")
	h.Set("Cache-Control", cache)
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(text)))[:20]+`"`)
	if o.header != nil {
		o.header(h, r.URL.Path)
	}
	if r.Header.Get("If-None-Match") == h.Get("ETag") && h.Get("ETag") != "" {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if !o.noGzip && r.Header.Get("Accept-Encoding") == "gzip" {
		var b bytes.Buffer
		z := compressors.Get().(*gzip.Writer)
		z.Reset(&b)
		_, _ = z.Write([]byte(text))
		_ = z.Close()
		compressors.Put(z)
		h.Set("Content-Encoding", "gzip")
		text = b.String()
	}
	_, _ = w.Write([]byte(text))
}

func (o *origin) serveMedia(w http.ResponseWriter, r *http.Request, name, file string) {
	var body []byte
	var msn, part uint64
	switch {
	case scan(file, "init%d.mp4", &msn):
		f := h264
		if name == "audio0" {
			f = aac
		}
		body, _ = cmaf.Init(&f)
	case scan(file, "part%d.%d.m4s", &msn, &part):
		for o.complete(time.Now()) <= msn*partsOf+part {
			sleep(r.Context(), max(time.Until(o.due(msn*partsOf+part)), 10*time.Millisecond))
			if r.Context().Err() != nil {
				return
			}
		}
		body = o.part(name, msn, int(part))
	case scan(file, "seg%d.m4s", &msn):
		for k := range partsOf {
			body = append(body, o.part(name, msn, k)...)
		}
	default:
		http.NotFound(w, r)
		return
	}
	if o.body != nil {
		body = o.body(name+"/"+file, body)
	}
	h := w.Header()
	h.Set("Content-Type", "video/mp4")
	h.Set("Cache-Control", "max-age=3600, immutable")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("ETag", `"`+file+`"`)
	if o.header != nil {
		o.header(h, r.URL.Path)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// scan is Sscanf that takes the whole string.
func scan(s, format string, to ...any) bool {
	n, err := fmt.Sscanf(s, format, to...)
	if err != nil || n != len(to) {
		return false
	}
	values := make([]any, len(to))
	for i, p := range to {
		values[i] = *p.(*uint64)
	}
	return fmt.Sprintf(format, values...) == s
}

// part makes the chunk of one part: four pictures of 1,000 bytes, or ten
// frames of sound.
func (o *origin) part(name string, msn uint64, part int) []byte {
	start := o.epoch.Add(time.Duration(msn)*segmentLength + time.Duration(part)*partLength)
	c := cmaf.Chunk{Sequence: uint32(msn*partsOf + uint64(part)), Segment: part == 0}
	if name == "audio0" {
		at := ticksOf(start, 48000)
		c.DecodeTime = at
		for range 10 {
			c.Samples = append(c.Samples, cmaf.Sample{Data: make([]byte, 100), Duration: 960, Sync: true})
		}
	} else {
		c.DecodeTime = ticksOf(start, 90000)
		for k := range 4 {
			data := bytes.Repeat([]byte{byte(msn), byte(part), byte(k), 1}, 250)
			c.Samples = append(c.Samples, cmaf.Sample{Data: data, Duration: 4500, Sync: part%5 == 0 && k == 0})
		}
	}
	if o.chunk != nil {
		o.chunk(name, msn, part, &c)
	}
	b, err := c.Buffer()
	if err != nil {
		panic(err)
	}
	return b.Bytes()
}

func ticksOf(t time.Time, scale uint64) uint64 {
	us := uint64(t.UnixMicro())
	return us/1e6*scale + us%1e6*scale/1e6
}

// pipes is a listener whose connections are pipes, so that a server and its
// clients live in virtual time.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case p.conns <- a:
		return b, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// watchOrigin runs the checker on o over an HTTP server of its own. It must be
// called in a bubble.
func watchOrigin(t *testing.T, o http.Handler, cfg Config) *Report {
	t.Helper()
	p := newPipes()
	srv := &http.Server{Handler: o, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(p) // it ends with Close
	}()
	cfg.DialContext = p.dial
	rep, err := Run(t.Context(), "http://127.0.0.1/index.m3u8", cfg)
	_ = srv.Close()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	return rep
}
