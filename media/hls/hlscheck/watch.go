package hlscheck

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// watcher follows one media playlist. It owns a loader, and goroutines for
// hinted parts and for probes, all of which have ended when run returns.
type watcher struct {
	*stream
	f    *fetcher
	load *loader
	wg   sync.WaitGroup

	reloads    int
	newSegment time.Time // when one was last added
	newPart    time.Time
	pending    []pendingReport
	goneBusy   map[*Rule]chan struct{}
}

// pendingReport is what a rendition report promised of another rendition.
type pendingReport struct {
	of   *stream
	line int
	msn  uint64
	part int
	due  time.Time
}

func newWatcher(s *stream) *watcher {
	w := &watcher{stream: s, f: s.run.f, goneBusy: make(map[*Rule]chan struct{})}
	for _, r := range []*Rule{rulePartGone, ruleSegmentGone} {
		w.goneBusy[r] = make(chan struct{}, 1)
	}
	w.load = newLoader(s)
	return w
}

// watch follows the playlist until ctx is done or the stream has ended and is
// loaded.
func (w *watcher) watch(ctx context.Context) {
	// Probes and hints do not outlive the playlist.
	side, cancel := context.WithCancel(ctx)
	defer w.wg.Wait()
	defer cancel()
	cur := w.begin(ctx)
	if cur == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.load.work(ctx)
	}()
	defer func() { <-done }()
	defer w.load.close()
	w.accept(side, nil, cur)
	w.wg.Go(func() { w.probe(side, cur) })
	failures := 0
	for ctx.Err() == nil && !cur.endList {
		next, delta := w.reload(ctx, cur)
		if next == nil {
			if failures++; failures > 20 {
				w.run.sink.add(ruleNotLooked, w.at("", 0), "the playlist failed %d times and was given up", failures)
				return
			}
			sleep(ctx, min(max(cur.target/4, 200*time.Millisecond), time.Second))
			w.silent(cur)
			continue
		}
		failures = 0
		w.advance(next, delta)
		w.accept(side, cur, next)
		cur = next
	}
	if cur.endList {
		w.ended(ctx, cur)
	}
}

// sleep waits for d or ctx.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// begin loads the playlist for the first time.
func (w *watcher) begin(ctx context.Context) *mediaText {
	a, err := w.f.playlist(ctx, w.url)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil || !a.ok() {
		w.unavailable(a, err, w.url)
		return nil
	}
	m := parseMedia(w.run.sink, w.url, a.body)
	if m == nil {
		return nil
	}
	if isMultivariant(a.body) {
		w.run.sink.add(ruleKind, w.at("", 0), "a multivariant playlist where a media playlist is named")
		return nil
	}
	w.headers(a, m, false)
	if m.hasSkip {
		w.run.sink.add(ruleDeltaUnasked, w.at("EXT-X-SKIP", m.skipLine), "nobody asked for a delta update")
		return nil
	}
	if m.variables {
		w.run.sink.add(ruleNotLooked, w.at("EXT-X-DEFINE", 0), "variables are not substituted; the playlist is not watched")
		return nil
	}
	if m.endList && w.role != roleText && m.playlistType == "" && !m.hasParts {
		w.run.sink.add(ruleVODType, w.at("EXT-X-PLAYLIST-TYPE", 0), "it is missing in a playlist that is complete")
	}
	w.newSegment, w.newPart = time.Now(), time.Now()
	w.advance(m, false)
	return m
}

// unavailable reports that a playlist did not come.
func (w *watcher) unavailable(a *answer, err error, asked string) {
	if err != nil {
		w.run.sink.add(rulePlaylistUnavailable, w.at("", 0), "%s: %v", clip(asked), err)
		return
	}
	w.run.sink.add(rulePlaylistUnavailable, w.at("", 0), "%s: status %d: %s", clip(asked), a.status, clip(strings.TrimSpace(string(a.body))))
}

// headers checks what the answer says of itself.
func (w *watcher) headers(a *answer, m *mediaText, blocking bool) {
	w.f.playlistRules(a, w.at("", 0), m.partTarget > 0)
	if m.endList {
		return
	}
	c := cacheOf(a.header)
	limit := m.target
	if blocking {
		// The answer to one blocking request stays right.
		limit = 6 * m.target
	}
	switch {
	case c.given && !c.never && c.age > limit:
		w.run.sink.add(ruleCachePlaylist, w.at("", 0), "%v of a target duration of %v", c.age, m.target)
	case !c.given && !c.never:
		w.run.sink.add(ruleCachePlaylist, w.at("", 0), "neither Cache-Control nor Expires tells for how long")
	}
}

// reload loads the next version. It returns nil when there is none, and has
// reported why.
func (w *watcher) reload(ctx context.Context, cur *mediaText) (next *mediaText, delta bool) {
	w.reloads++
	if cur.control == nil || !cur.control.block || cur.hasParts && cur.partTarget == 0 {
		return w.poll(ctx, cur), false
	}
	msn, part := cur.ahead()
	skip := ""
	// Every fourth is a full one.
	if cur.control.skipUntil > 0 && w.reloads%4 != 0 {
		if skip = "YES"; cur.control.skipRanges && w.reloads%2 == 0 {
			skip = "v2"
		}
	}
	asked := directives(cur.url, msn, part, skip)
	patience := 3*cur.target + 5*time.Second
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	a, err := w.f.playlist(limited, asked)
	switch {
	case ctx.Err() != nil:
		return nil, false
	case err != nil && errors.Is(limited.Err(), context.DeadlineExceeded):
		w.run.sink.add(ruleBlockStuck, w.at("", 0), "%s: no answer within %v", clip(asked), patience)
		return nil, false
	case err == nil && a.status == http.StatusServiceUnavailable:
		return nil, false // nothing new in time: the pause itself is what is reported
	case err != nil || !a.ok():
		w.unavailable(a, err, asked)
		return nil, false
	}
	m := parseMedia(w.run.sink, cur.url, a.body)
	if m == nil {
		return nil, false
	}
	w.headers(a, m, true)
	if m.hasSkip {
		if skip == "" {
			w.run.sink.add(ruleDeltaUnasked, w.at("EXT-X-SKIP", m.skipLine), "%s: nobody asked for a delta update", clip(asked))
		}
		full := w.merge(cur, m)
		if full == nil {
			return w.full(ctx, cur, msn, part), true
		}
		if w.reloads%8 == 1 {
			w.compare(ctx, full, msn, part)
		}
		m, delta = full, true
	} else if skip != "" && !m.endList && m.duration() > cur.control.skipUntil+2*m.target && m.segment(cur.msn+1) != nil {
		w.run.sink.add(ruleDeltaMissing, w.at("EXT-X-SKIP", 0), "%s was answered with all %v", clip(asked), m.duration())
	}
	if !m.endList && !m.has(msn, part) {
		last, lastPart, _ := m.last()
		w.run.sink.add(ruleBlockEarly, w.at("", 0), "%s was answered with a playlist that ends at %d.%d", clip(asked), last, lastPart)
		sleep(ctx, 100*time.Millisecond) // such a server would be asked without pause
	}
	return m, delta
}

// poll waits as section 6.3.4 asks of clients and loads the playlist.
func (w *watcher) poll(ctx context.Context, cur *mediaText) *mediaText {
	wait := max(cur.target/2, 500*time.Millisecond)
	if cur.partTarget > 0 {
		wait = cur.partTarget
	}
	sleep(ctx, wait)
	if ctx.Err() != nil {
		return nil
	}
	return w.fetchFull(ctx, cur, cur.url, false)
}

// full loads the whole playlist after a delta update that could not be used.
func (w *watcher) full(ctx context.Context, cur *mediaText, msn uint64, part int) *mediaText {
	return w.fetchFull(ctx, cur, directives(cur.url, msn, part, ""), true)
}

func (w *watcher) fetchFull(ctx context.Context, cur *mediaText, asked string, blocking bool) *mediaText {
	limited, cancel := context.WithTimeout(ctx, 3*cur.target+5*time.Second)
	defer cancel()
	a, err := w.f.playlist(limited, asked)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil || !a.ok() {
		w.unavailable(a, err, asked)
		return nil
	}
	m := parseMedia(w.run.sink, cur.url, a.body)
	if m == nil {
		return nil
	}
	w.headers(a, m, blocking)
	if m.hasSkip {
		w.run.sink.add(ruleDeltaUnasked, w.at("EXT-X-SKIP", m.skipLine), "%s: nobody asked for a delta update", clip(asked))
		return nil
	}
	return m
}

// merge applies a delta update and checks how much it skips.
func (w *watcher) merge(cur, d *mediaText) *mediaText {
	at := w.at("EXT-X-SKIP", d.skipLine)
	(&single{sink: w.run.sink, m: d}).version()
	if d.skipped == 0 {
		w.run.sink.add(ruleDeltaDiffers, at, "it skips nothing")
	}
	if cur.control != nil && d.skipped > 0 {
		// "Media Segments that are further from the end of the last (Parent)
		// Media Segment than the Skip Boundary": the last skipped segment's
		// start lies beyond it at least.
		listed := d.duration()
		if s := cur.segment(d.msn + uint64(d.skipped) - 1); s != nil {
			listed += s.duration
		}
		if listed < cur.control.skipUntil {
			w.run.sink.add(ruleDeltaTooMuch, at, "a segment %v from the end is skipped, CAN-SKIP-UNTIL is %v", listed, cur.control.skipUntil)
		}
	}
	full := cur.apply(d)
	if full == nil {
		// A client that reloads at once knows all that can be skipped.
		w.run.sink.add(ruleDeltaDiffers, at, "it begins at %d and skips %d, of which not all are known and complete", d.msn, d.skipped)
		return nil
	}
	return full
}

// compare loads the full playlist that a delta update stands for.
func (w *watcher) compare(ctx context.Context, merged *mediaText, msn uint64, part int) {
	begun := time.Now()
	full := w.full(ctx, merged, msn, part)
	if full == nil {
		return
	}
	if took := time.Since(begun); took > merged.partTarget+2*time.Second {
		w.run.late(ruleBlockSlow, begun, w.at("", 0), "part %d.%d was listed already, and the answer took %v", msn, part, took)
	}
	// It may be newer by now, not older.
	if full.msn < merged.msn {
		w.run.sink.add(ruleDeltaDiffers, w.at("EXT-X-MEDIA-SEQUENCE", 0), "%d by delta updates, %d in full", merged.msn, full.msn)
		return
	}
	for i := range full.segments {
		s := &full.segments[i]
		m := merged.segment(s.msn)
		if m == nil {
			continue // newer
		}
		same := s.date.Equal(m.date) && s.initialize == m.initialize && s.discontinuity == m.discontinuity
		if !m.open() {
			same = same && s.uri == m.uri && s.duration == m.duration && s.gap == m.gap && s.key == m.key
		}
		for k := range min(len(s.parts), len(m.parts)) {
			same = same && s.parts[k].same(&m.parts[k])
		}
		if !same {
			w.run.sink.add(ruleDeltaDiffers, w.at("EXTINF", s.line), "segment %d is another in the full playlist", s.msn)
			return
		}
	}
}

// accept takes a new version of the playlist in.
func (w *watcher) accept(ctx context.Context, prev, next *mediaText) {
	c := &single{sink: w.run.sink, m: next, role: w.role, independent: w.independent}
	c.check()
	if prev != nil {
		checkUpdate(w.run.sink, prev, next)
		w.cadence(prev, next)
		w.gone(ctx, prev, next)
	}
	w.reports(next)
	w.hints(ctx, next)
	w.load.take(prev, next)
}

// cadence checks how long new segments and parts were in coming.
func (w *watcher) cadence(prev, next *mediaText) {
	now := time.Now()
	complete := func(m *mediaText) uint64 {
		for i := len(m.segments) - 1; i >= 0; i-- {
			if !m.segments[i].open() {
				return m.segments[i].msn + 1
			}
		}
		return m.msn
	}
	if complete(next) > complete(prev) {
		w.newSegment = now
	} else {
		w.silent(next)
	}
	msn, part, _ := prev.last()
	if next.partTarget == 0 || next.endList || !next.has(msn, part+1) {
		return
	}
	excused := false
	for i := range next.segments {
		s := &next.segments[i]
		excused = excused || s.msn >= msn && (s.gap || s.discontinuity)
		for _, p := range s.parts {
			excused = excused || s.msn >= msn && p.gap
		}
	}
	if took := now.Sub(w.newPart); took > 3*next.partTarget+time.Second && !excused {
		w.run.late(rulePartLate, w.newPart, w.at("EXT-X-PART", 0), "%v passed before the part behind %d.%d, of a PART-TARGET of %v", took, msn, part, next.partTarget)
	}
	w.newPart = now
}

// unchangedLeeway is for the way to the checker, and for polling.
const unchangedLeeway = 2 * time.Second

// silent reports a playlist that stands still.
func (w *watcher) silent(m *mediaText) {
	leeway := unchangedLeeway
	if m.control == nil || !m.control.block {
		leeway += m.target / 2
	}
	if still := time.Since(w.newSegment); m.target > 0 && !m.endList && still > m.target*3/2+leeway {
		w.run.sink.add(ruleUnchanged, w.at("", 0), "no new segment for %v of a target duration of %v", still.Round(time.Millisecond), m.target)
	}
}

// gone checks that what left the playlist can still be loaded.
func (w *watcher) gone(ctx context.Context, prev, next *mediaText) {
	for i := range prev.segments {
		o := &prev.segments[i]
		s := next.segment(o.msn)
		if s == nil && o.msn < next.msn && !o.gap && !o.open() {
			w.stillThere(ctx, ruleSegmentGone, o.uri, o.msn, 0)
		}
		if s != nil && len(s.parts) == 0 && len(o.parts) > 0 && !o.parts[0].gap && !s.gap {
			w.stillThere(ctx, rulePartGone, o.parts[0].uri, o.msn, next.target*5/2)
		}
	}
}

// stillThere loads src after a while, one of a kind at a time.
func (w *watcher) stillThere(ctx context.Context, r *Rule, src source, msn uint64, after time.Duration) {
	select {
	case w.goneBusy[r] <- struct{}{}:
	default:
		return
	}
	if until, ok := ctx.Deadline(); ok {
		after = max(min(after, time.Until(until)-time.Second), 0)
	}
	w.wg.Go(func() {
		defer func() { <-w.goneBusy[r] }()
		sleep(ctx, after)
		if ctx.Err() != nil {
			return
		}
		a, err := w.f.media(ctx, src)
		if ctx.Err() == nil && (err != nil || !a.ok()) {
			w.run.sink.add(r, w.at("", 0), "%s of segment %d, %v after it left: %s", clip(src.url), msn, after.Round(time.Millisecond), outcome(a, err))
		}
	})
}

// outcome words how a request failed.
func outcome(a *answer, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("status %d", a.status)
}

// reports checks the rendition reports.
func (w *watcher) reports(m *mediaText) {
	now := time.Now()
	pending := w.pending[:0]
	for _, p := range w.pending {
		switch known := p.of.known(); {
		case known == nil || now.Before(p.due):
			pending = append(pending, p)
		case !known.has(p.msn, p.part):
			last, part, _ := known.last()
			w.run.late(ruleReportUntrue, p.due.Add(-2*time.Second), w.at("EXT-X-RENDITION-REPORT", p.line), "%s was said to have %d.%d and has %d.%d", clip(p.of.url), p.msn, p.part, last, part)
		}
	}
	w.pending = pending
	if m.partTarget == 0 || m.endList {
		return
	}
	reported := make(map[string]bool)
	for _, r := range m.reports {
		at := w.at("EXT-X-RENDITION-REPORT", r.line)
		if strings.Contains(r.raw, "://") {
			w.run.sink.add(ruleReportURI, at, "%q is not relative", clip(r.raw))
		}
		of := w.run.stream(r.uri)
		if of == nil {
			w.run.sink.add(ruleReportURI, at, "%q is no playlist of the multivariant playlist", clip(r.raw))
			continue
		}
		reported[of.url] = true
		msn, part := r.msn, r.part
		ownMSN, ownPart, _ := m.last()
		if !r.hasMSN {
			msn = ownMSN
		}
		if part < 0 {
			part = ownPart
		}
		if was, ok := of.reached(now.Add(-m.partTarget - 500*time.Millisecond)); ok && (was.msn > msn || was.msn == msn && was.part > part) {
			w.run.late(ruleReportUntrue, now.Add(-m.partTarget-time.Second), at, "%s is said to have %d.%d and had %d.%d before", clip(of.url), msn, part, was.msn, was.part)
		}
		if len(w.pending) < 64 {
			w.pending = append(w.pending, pendingReport{of, r.line, msn, max(part, 0), now.Add(2*m.partTarget + 2*time.Second)})
		}
	}
	if w.role == roleMedia || w.role == roleIFrames {
		return
	}
	for _, s := range w.run.streams {
		if s.stream == w.stream || s.role == roleIFrames || reported[s.url] {
			continue
		}
		// There is nothing to report of a rendition that has not begun.
		if _, begun := s.reached(now.Add(-m.partTarget - 500*time.Millisecond)); begun {
			w.run.sink.add(ruleReportMissing, w.at("EXT-X-RENDITION-REPORT", 0), "there is none for %s", clip(s.url))
		}
	}
}

// hints asks for the part that comes next.
func (w *watcher) hints(ctx context.Context, m *mediaText) {
	for _, h := range m.hints {
		switch {
		case m.endList || h.kind != "PART" || h.uri.url == "":
		case h.uri.bytes != wholeFile:
			w.run.sink.add(ruleNotLooked, w.at("EXT-X-PRELOAD-HINT", h.line), "hints of byte ranges are not loaded ahead")
		default:
			w.load.ahead(ctx, &w.wg, h.uri, m.partTarget, 3*m.target+5*time.Second)
			return
		}
	}
}

// ended looks at a playlist that has ended once more.
func (w *watcher) ended(ctx context.Context, cur *mediaText) {
	if cur.control != nil && cur.control.block {
		// "A Server MUST ignore _HLS_msn and _HLS_part if the Playlist
		// contains an EXT-X-ENDLIST tag."
		last, _, _ := cur.last()
		asked := directives(cur.url, last+100, -1, "")
		limited, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		a, err := w.f.playlist(limited, asked)
		if ctx.Err() == nil && (err != nil || a.status != http.StatusOK) {
			w.run.sink.add(ruleBlockEnded, w.at("EXT-X-ENDLIST", 0), "%s: %s", clip(asked), outcome(a, err))
		}
	}
	sleep(ctx, min(cur.target, 2*time.Second))
	if ctx.Err() != nil {
		return
	}
	if again := w.fetchFull(ctx, cur, cur.url, false); again != nil {
		checkUpdate(w.run.sink, cur, again)
	}
}
