package hlscheck

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// atOnce is how long an answer may take that needs no waiting.
const atOnce = 2 * time.Second

// probe asks what players seldom ask: what a server must refuse, and what it
// must read as something else.
func (w *watcher) probe(ctx context.Context, m *mediaText) {
	w.probeOld(ctx)
	if m.control == nil || !m.control.block || m.endList {
		return
	}
	w.probeFar(ctx, m)
	w.probeAlone(ctx)
	if m.partTarget > 0 {
		w.probeBeyond(ctx)
	}
	w.probePart(ctx)
}

// ask loads a playlist with limited patience; ok is false when ctx is done.
func (w *watcher) ask(ctx context.Context, asked string, patience time.Duration) (a *answer, err error, ok bool) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	a, err = w.f.playlist(limited, asked)
	return a, err, ctx.Err() == nil
}

// probeOld loads the playlist by HTTP/1.1 where the rest is HTTP/2.
func (w *watcher) probeOld(ctx context.Context) {
	if p := w.f.proto.Load(); p == nil || strings.HasPrefix(*p, "HTTP/1") {
		return
	}
	a, err := w.f.do(ctx, request{url: w.url, gzip: true, limit: maxMedia, old: true})
	if ctx.Err() != nil {
		return
	}
	if err != nil || !a.ok() || !strings.HasPrefix(string(a.body), "#EXTM3U") {
		w.run.sink.add(ruleHTTP1, w.at("", 0), "HTTP/1.1: %s", outcome(a, err))
	}
}

// probeFar asks for a segment that is too far ahead. The playlist may grow
// while the question is on its way, so one more try is fair.
func (w *watcher) probeFar(ctx context.Context, m *mediaText) {
	for try := range 2 {
		begun := time.Now()
		last, _, ok := w.known().last()
		if !ok {
			return
		}
		asked := directives(m.url, last+3, -1, "")
		a, err, ok := w.ask(ctx, asked, atOnce)
		if !ok || err == nil && a.status/100 == 4 {
			return
		}
		if try == 1 {
			w.run.late(ruleBlockFar, begun, w.at("", 0), "%s while %d was the last: %s", clip(asked), last, outcome(a, err))
		}
	}
}

// probePart asks for a part of no segment.
func (w *watcher) probePart(ctx context.Context) {
	asked, begun := withQuery(w.url, "_HLS_part", "0"), time.Now()
	a, err, ok := w.ask(ctx, asked, atOnce)
	if ok && (err != nil || a.status/100 != 4) {
		w.run.late(ruleBlockPart, begun, w.at("", 0), "%s: %s", clip(asked), outcome(a, err))
	}
}

// probeAlone asks for the next segment without a part.
func (w *watcher) probeAlone(ctx context.Context) {
	m := w.known()
	last, _, ok := m.last()
	if !ok {
		return
	}
	asked := directives(m.url, last+1, -1, "")
	a, err, ok := w.ask(ctx, asked, 3*m.target+5*time.Second)
	if !ok || err == nil && a.status == http.StatusServiceUnavailable {
		return
	}
	if err != nil || !a.ok() {
		w.run.sink.add(ruleBlockMSN, w.at("", 0), "%s: %s", clip(asked), outcome(a, err))
		return
	}
	// A segment that has begun counts: its first part is in the playlist.
	if got := parseMedia(w.run.sink, m.url, a.body); got != nil && !got.endList && !got.has(last+1, 0) {
		w.run.sink.add(ruleBlockMSN, w.at("", 0), "%s was answered without segment %d", clip(asked), last+1)
	}
}

// probeBeyond asks for the part behind the last of a complete segment.
func (w *watcher) probeBeyond(ctx context.Context) {
	m := w.known()
	for i := len(m.segments) - 1; i >= 0; i-- {
		s := &m.segments[i]
		if s.open() || len(s.parts) == 0 {
			continue
		}
		asked := directives(m.url, s.msn, len(s.parts), "")
		a, err, ok := w.ask(ctx, asked, 3*m.target+5*time.Second)
		if !ok || err == nil && a.status == http.StatusServiceUnavailable {
			return
		}
		if err != nil || !a.ok() {
			w.run.sink.add(ruleBlockBeyond, w.at("", 0), "%s, segment %d has %d parts: %s", clip(asked), s.msn, len(s.parts), outcome(a, err))
			return
		}
		if got := parseMedia(w.run.sink, m.url, a.body); got != nil && !got.endList && !got.has(s.msn+1, 0) {
			w.run.sink.add(ruleBlockBeyond, w.at("", 0), "%s was answered before part %d.0 was there", clip(asked), s.msn+1)
		}
		return
	}
}
