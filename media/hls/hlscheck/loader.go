package hlscheck

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// maxQueue bounds the media that waits to be loaded.
	maxQueue = 1024
	// maxHeld bounds the bytes of parts that wait for their segment.
	maxHeld = 32 << 20
	// maxHints bounds the hinted parts that are under way or not yet listed.
	maxHints = 4
	// maxInits bounds the initialization segments that are remembered.
	maxInits = 16
	// recent is how many segments of a live playlist are loaded at the start.
	recent = 3
	// refetchEvery is how often media is loaded a second time.
	refetchEvery = 8
)

// job is one thing to load.
type job struct {
	seg  segmentText
	part int // index; -1: the segment itself
}

// loader loads the media of one playlist in order and measures it. Its work
// is the only goroutine that touches the fields below mu's.
type loader struct {
	*stream
	f    *fetcher
	jobs chan job

	mu    sync.Mutex
	hints map[source]*hintLoad
	slow  bool // the last hinted part came slowly

	next    uint64         // segment that is queued next
	queued  map[uint64]int // parts queued, by segment
	lost    bool           // the queue was full
	inits   map[source]*initText
	failed  map[source]bool
	order   []source
	parts   map[uint64][]loadedPart
	held    int
	loaded  int
	measure measure
}

// loadedPart is a part as it came.
type loadedPart struct {
	text  partText
	index int
	body  []byte
}

// hintLoad is the request for a hinted part.
type hintLoad struct {
	done   chan struct{}
	cancel context.CancelFunc
	a      *answer
	err    error
}

func newLoader(s *stream) *loader {
	l := &loader{
		stream: s, f: s.run.f, jobs: make(chan job, maxQueue), hints: make(map[source]*hintLoad), queued: make(map[uint64]int),
		inits: make(map[source]*initText), failed: make(map[source]bool), parts: make(map[uint64][]loadedPart),
	}
	l.measure.stream = s
	return l
}

func (l *loader) close() { close(l.jobs) }

// take queues what is new in next. It is called by the watcher.
func (l *loader) take(prev, next *mediaText) {
	from := 0
	if prev == nil && !next.endList {
		from = max(0, len(next.segments)-recent-1)
		// The oldest segment must be there as well.
		if from > 0 && !next.segments[0].gap && !next.segments[0].open() {
			l.queue(job{next.segments[0], -1})
		}
	}
	for i := from; i < len(next.segments); i++ {
		s := &next.segments[i]
		if s.msn < l.next || s.gap {
			continue
		}
		for k := l.queued[s.msn]; k < len(s.parts); k++ {
			if !s.parts[k].gap {
				l.queue(job{*s, k})
			}
		}
		l.queued[s.msn] = len(s.parts)
		if !s.open() {
			l.queue(job{*s, -1})
			l.next = s.msn + 1
			delete(l.queued, s.msn)
		}
	}
	if len(l.queued) > maxQueue { // gaps that came open
		clear(l.queued)
	}
}

func (l *loader) queue(j job) {
	select {
	case l.jobs <- j:
	default:
		if !l.lost {
			l.run.sink.add(ruleNotLooked, l.at("", 0), "more than %d files wait to be loaded; some are left out", maxQueue)
		}
		l.lost = true
	}
}

// ahead asks for a hinted part, once.
func (l *loader) ahead(ctx context.Context, wg *sync.WaitGroup, src source, part, patience time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hints[src] != nil {
		return
	}
	// A hint that was not kept, or whose part nobody took, gives way.
	if len(l.hints) >= maxHints {
		for k, h := range l.hints {
			h.cancel()
			delete(l.hints, k)
		}
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	h := &hintLoad{done: make(chan struct{}), cancel: cancel}
	l.hints[src] = h
	wg.Go(func() {
		defer close(h.done)
		defer cancel()
		h.a, h.err = l.f.part(limited, src)
		if h.err == nil && h.a.ok() {
			l.trickled(limited, src, h.a, part)
		}
	})
}

// trickled checks that a hinted part came at once when it came. A slow link
// looks alike, so the part is loaded again, now that all of it is there; and
// so does a machine that is busy elsewhere, so it takes two parts in a row.
func (l *loader) trickled(ctx context.Context, src source, a *answer, part time.Duration) {
	took := a.ended.Sub(a.first)
	slow := part > 0 && !a.first.IsZero() && took >= part/2
	l.mu.Lock()
	before := l.slow
	l.slow = slow
	l.mu.Unlock()
	if !slow || !before {
		return
	}
	again, err := l.f.media(ctx, src)
	if err != nil || !again.ok() || again.ended.Sub(again.first) > took/4 {
		return
	}
	l.run.late(ruleHintTrickled, a.first, l.at("EXT-X-PRELOAD-HINT", 0), "%s took %v from its first byte to the last, and %v when it was complete",
		clip(src.url), took.Round(time.Millisecond), again.ended.Sub(again.first).Round(time.Millisecond))
}

// hinted returns the answer to the hint that named src.
func (l *loader) hinted(ctx context.Context, src source) (*answer, bool) {
	l.mu.Lock()
	h := l.hints[src]
	delete(l.hints, src)
	l.mu.Unlock()
	if h == nil {
		return nil, false
	}
	begun := time.Now()
	select {
	case <-h.done:
	case <-time.After(2 * time.Second):
		h.cancel()
		if ctx.Err() == nil {
			l.run.late(ruleHintUnavailable, begun, l.at("EXT-X-PRELOAD-HINT", 0), "%s is listed, and the request that its hint caused is not answered", clip(src.url))
		}
		return nil, false
	case <-ctx.Done():
		return nil, false
	}
	if h.err != nil || !h.a.ok() {
		if ctx.Err() == nil {
			l.run.sink.add(ruleHintUnavailable, l.at("EXT-X-PRELOAD-HINT", 0), "%s was hinted and is listed now; its request: %s", clip(src.url), outcome(h.a, h.err))
		}
		return nil, false
	}
	l.count(func(s *Stream) { s.Hints++ })
	return h.a, true
}

func (l *loader) count(change func(*Stream)) {
	l.stream.mu.Lock()
	defer l.stream.mu.Unlock()
	change(&l.seen)
}

// work loads until the queue is closed or ctx done.
func (l *loader) work(ctx context.Context) {
	for j := range l.jobs {
		if ctx.Err() != nil {
			continue // only empty the queue
		}
		if j.part >= 0 {
			l.part(ctx, j)
		} else {
			l.segment(ctx, j.seg)
		}
	}
	if ctx.Err() == nil && !l.lost {
		l.stream.mu.Lock()
		l.measured.complete = true
		l.stream.mu.Unlock()
	}
}

// fetch loads a file and checks how it comes.
func (l *loader) fetch(ctx context.Context, src source, what string, line int) *answer {
	a, err := l.f.media(ctx, src)
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, errTooLarge) {
		l.run.sink.add(ruleNotLooked, l.at("", line), "%s: larger than %d bytes", clip(src.url), maxMedia)
		return nil
	}
	if err != nil || !a.ok() {
		l.run.sink.add(ruleMediaUnavailable, l.at("", line), "%s, %s: %s", what, clip(src.url), outcome(a, err))
		return nil
	}
	return l.checked(a, src)
}

// checked checks the headers of a file, and cuts the range out where the
// server gave all.
func (l *loader) checked(a *answer, src source) *answer {
	m := l.known()
	l.f.mediaRules(a, l.at("", 0), m.partTarget > 0, m.target)
	if src.bytes == wholeFile {
		return a
	}
	if a.status == http.StatusOK {
		l.run.sink.add(ruleRange, l.at("EXT-X-BYTERANGE", 0), "%s: the whole came instead of %d bytes", clip(src.url), src.bytes.length)
		if src.bytes.length < 0 || src.bytes.start+src.bytes.length > int64(len(a.body)) {
			return nil
		}
		a.body = a.body[src.bytes.start : src.bytes.start+src.bytes.length]
	} else if int64(len(a.body)) != src.bytes.length {
		l.run.sink.add(ruleRange, l.at("EXT-X-BYTERANGE", 0), "%s: %d bytes came instead of %d", clip(src.url), len(a.body), src.bytes.length)
	}
	return a
}

func (l *loader) part(ctx context.Context, j job) {
	p := j.seg.parts[j.part]
	what := fmt.Sprintf("part %d.%d", j.seg.msn, j.part)
	a, ok := l.hinted(ctx, p.uri)
	if ok {
		a = l.checked(a, p.uri)
	} else if ctx.Err() == nil {
		a = l.fetch(ctx, p.uri, what, p.line)
	}
	if a == nil || ctx.Err() != nil {
		return
	}
	l.count(func(s *Stream) { s.Parts++ })
	for l.held+len(a.body) > maxHeld && len(l.parts) > 0 {
		l.run.sink.add(ruleNotLooked, l.at("", 0), "parts of more than %d bytes wait for their segments; some are not compared with them", maxHeld)
		for msn := range l.parts {
			l.drop(msn)
			break
		}
	}
	l.held += len(a.body)
	l.parts[j.seg.msn] = append(l.parts[j.seg.msn], loadedPart{p, j.part, a.body})
}

func (l *loader) drop(msn uint64) {
	for _, p := range l.parts[msn] {
		l.held -= len(p.body)
	}
	delete(l.parts, msn)
}

// initialize returns the initialization segment of s, nil when there is none
// that can be read.
func (l *loader) initialize(ctx context.Context, s *segmentText) *initText {
	src := s.initialize
	if src.url == "" || l.failed[src] {
		return nil
	}
	if i := l.inits[src]; i != nil {
		return i
	}
	a := l.fetch(ctx, src, "EXT-X-MAP", s.line)
	if a == nil {
		return nil
	}
	if len(l.order) >= maxInits {
		delete(l.inits, l.order[0])
		delete(l.failed, l.order[0])
		l.order = l.order[1:]
	}
	l.order = append(l.order, src)
	i, err := parseInit(a.body)
	if err != nil {
		l.run.sink.add(ruleInit, l.at("EXT-X-MAP", s.line), "%s: %v", clip(src.url), err)
		l.failed[src] = true
		return nil
	}
	l.inits[src] = i
	l.refetch(ctx, src, a)
	return i
}

func (l *loader) segment(ctx context.Context, s segmentText) {
	a := l.fetch(ctx, s.uri, fmt.Sprintf("segment %d", s.msn), s.line)
	parts := l.parts[s.msn]
	l.drop(s.msn)
	if a == nil {
		return
	}
	if l.loaded%refetchEvery == 0 && s.uri.bytes == wholeFile {
		l.refetch(ctx, s.uri, a)
	}
	l.loaded++
	l.count(func(c *Stream) {
		c.Segments++
		c.Bytes += int64(len(a.body))
		c.Seconds += s.duration.Seconds()
	})
	l.measure.size(&s, len(a.body), l.known().target)
	if l.readable(&s, a.body) {
		if i := l.initialize(ctx, &s); i != nil {
			l.measure.segment(i, &s, a.body, parts, len(s.parts))
		}
	}
}

// readable tells whether a segment is fragmented MP4 in the clear; what is
// not is noted.
func (l *loader) readable(s *segmentText, body []byte) bool {
	why := ""
	switch {
	case s.key != "":
		why = "the media is encrypted (" + s.key + ")"
	case l.role == roleText && !strings.HasPrefix(string(body[:min(len(body), 16)]), "\x00"):
		l.text(s, body)
		return false
	case len(body) > 0 && body[0] == 0x47:
		why = "MPEG-TS is not parsed; sizes and HTTP are checked"
	case len(body) > 2 && (body[0] == 0xff && body[1]&0xf0 == 0xf0 || bytes.HasPrefix(body, []byte("ID3"))):
		why = "packed audio is not parsed; sizes and HTTP are checked"
	case s.initialize.url == "":
		why = "segments without EXT-X-MAP are not parsed"
	}
	if why == "" {
		return true
	}
	l.run.sink.add(ruleNotLooked, l.at("", s.line), "%s", why)
	l.stream.mu.Lock()
	l.measured.unreadable = true
	l.stream.mu.Unlock()
	return false
}

// text checks a WebVTT segment.
func (l *loader) text(s *segmentText, body []byte) {
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	head, _, _ := strings.Cut(strings.ReplaceAll(string(body[:min(len(body), 4096)]), "\r\n", "\n"), "\n\n")
	if !strings.HasPrefix(head, "WEBVTT") {
		l.run.sink.add(ruleVTT, l.at("EXTINF", s.line), "segment %d begins with %q", s.msn, clip(head))
		return
	}
	if !strings.Contains(head, "\nX-TIMESTAMP-MAP=") {
		l.run.sink.add(ruleVTT, l.at("EXTINF", s.line), "segment %d has no X-TIMESTAMP-MAP", s.msn)
	}
}

// refetch loads a file again, whole, by range and by ETag.
func (l *loader) refetch(ctx context.Context, src source, was *answer) {
	if src.bytes != wholeFile || len(was.body) == 0 {
		return
	}
	at := l.at("", 0)
	sum := sha256.Sum256(was.body)
	a, err := l.f.media(ctx, src)
	if ctx.Err() != nil || err != nil || !a.ok() {
		return
	}
	if sha256.Sum256(a.body) != sum {
		l.run.sink.add(ruleMediaChanged, at, "%s: %d bytes at first, %d others later", clip(src.url), len(was.body), len(a.body))
		return
	}
	tag := a.header.Get("ETag")
	if old := was.header.Get("ETag"); tag != old && tag != "" && old != "" {
		l.run.sink.add(ruleETag, at, "%s: %s and %s stand for the same bytes", clip(src.url), old, tag)
	}
	if tag != "" {
		if b, err := l.f.do(ctx, request{url: src.url, etag: tag, limit: maxMedia}); ctx.Err() == nil && (err != nil || b.status != http.StatusNotModified) {
			l.run.sink.add(ruleETag, at, "%s: If-None-Match of %s: %s", clip(src.url), tag, outcome(b, err))
		}
	}
	from := int64(len(was.body) / 3)
	want := was.body[from : from+int64(len(was.body)/3)]
	if len(want) == 0 {
		return
	}
	b, err := l.f.do(ctx, request{url: src.url, ranged: true, bytes: byteRange{from, int64(len(want))}, limit: maxMedia})
	if ctx.Err() != nil {
		return
	}
	switch {
	case err != nil || !b.ok():
		l.run.sink.add(ruleRange, at, "%s: bytes %d to %d: %s", clip(src.url), from, from+int64(len(want))-1, outcome(b, err))
	case b.status == http.StatusOK:
		l.run.sink.add(ruleNotLooked, site{l.url + "#ranges", "", 0}, "the server ignores byte ranges")
	case !bytes.Equal(b.body, want):
		l.run.sink.add(ruleRange, at, "%s: bytes %d to %d are not those of the whole", clip(src.url), from, from+int64(len(want))-1)
	case b.header.Get("Content-Range") != fmt.Sprintf("bytes %d-%d/%d", from, from+int64(len(want))-1, len(was.body)):
		l.run.sink.add(ruleRange, at, "%s: Content-Range is %q", clip(src.url), b.header.Get("Content-Range"))
	}
}
