package hls

import (
	"hash/fnv"
	"io"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/hls/dvr"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

const (
	// maxCues bounds the cues that a text track has on screen or yet to come,
	// maxCueBytes their blocks together: each part repeats those on screen.
	maxCues     = 256
	maxCueBytes = 64 << 10
)

// captions is what a text track has instead of a segmenter. Its rendition has
// the segments and parts of another one, its leader: the first with pictures,
// or the first with sound. A player that follows both finds the same times in
// both, and the text goes on at the leader's pace whether or not anybody says
// something.
//
// Each part is a WebVTT file with the cues that are on screen in its time,
// and so is each segment: a cue that lasts longer than a part is in several
// files, word for word the same. A cue that comes too late for the part that
// it belongs to is in the next one, where its time is still right.
//
// It is guarded by Muxer.mu.
type captions struct {
	leader *rendition // of the open segment; nil: there is none
	led    *rendition // the leader of the newest segment
	start  media.Time // of the open segment
	end    media.Time // of its last part
	cues   []*cue     // in order of arrival
	bytes  int        // of their blocks
}

// cue is a cue with its place in time.
type cue struct {
	codec.Cue
	start, end media.Time
	size       int
	listed     bool // in a part that is listed
	open       bool // in a part of the open segment
}

// add takes the next cue. One that is not a cue is an error.
func (c *captions) add(f media.Frame) error {
	parsed, err := codec.ParseCue(f.Data)
	if err != nil {
		return err
	}
	c.take(&cue{Cue: parsed, start: f.PTS.Add(parsed.Start), end: f.PTS.Add(parsed.End), size: len(f.Data)})
	return nil
}

// take takes a cue unless it is known: a track that is opened again begins
// with what its cache holds.
func (c *captions) take(q *cue) {
	if slices.ContainsFunc(c.cues, q.same) {
		return
	}
	c.cues = append(c.cues, q)
	c.bytes += q.size
	for len(c.cues) > maxCues || c.bytes > maxCueBytes {
		c.bytes -= c.cues[0].size
		c.cues = slices.Delete(c.cues, 0, 1)
	}
}

// same tells whether two cues are one. Files have their times to the
// millisecond.
func (q *cue) same(o *cue) bool {
	return q.ID == o.ID && q.Text == o.Text && q.Settings == o.Settings &&
		q.start.Sub(o.start).Abs() <= time.Millisecond && q.end.Sub(o.end).Abs() <= time.Millisecond
}

// file returns the WebVTT file of the cues that wanted returns. from is the
// start of the segment.
func (c *captions) file(from media.Time, wanted func(*cue) bool) cmaf.Buffer {
	b := []byte("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n")
	for _, q := range c.cues {
		if wanted(q) {
			q.listed, q.open = true, true
			b = append(b, '\n')
			b = q.appendTo(b, from)
		}
	}
	return cmaf.NewBuffer(b)
}

// wrapTicks is where the time stamps of MPEG-2 start over, in 90 kHz ticks.
const wrapTicks = 1 << 33

// slack is how exactly segments begin where their dates say.
const slack = media.Time(1000)

// within tells whether the cue is on screen between two times.
func (q *cue) within(from, to media.Time) bool { return q.start < to && q.end > from+slack }

// local returns t on the timeline of a segment's WebVTT files.
//
// X-TIMESTAMP-MAP maps a cue's time to the presentation time of the media, of
// which MPEGTS holds 33 bits (rfc8216bis, section 3.1.4). Times in the media
// count from the Unix epoch. All files have the same map, MPEGTS:0 to 0, so a
// cue's time is that of the media modulo 2³³ ticks: 26 hours and a half. It is
// the same in all segments, which is how players recognise a cue that they
// have; only where a segment starts beyond the next wrap does it start over.
func local(t, segment media.Time) time.Duration {
	ticks := func(t media.Time) int64 { return int64(t) / 100 * 9 } // within a millisecond
	base := ticks(segment) &^ (wrapTicks - 1)
	// In microseconds from the last wrap; it does not fall on a whole one.
	us := int64(t) - base/9*100 - base%9*100/9
	return time.Duration(us) * time.Microsecond
}

// appendTo appends the cue's block as it stands in a file of the segment.
func (q *cue) appendTo(b []byte, segment media.Time) []byte {
	c := q.Cue
	// Of a cue that was there before the wrap, the rest.
	c.Start = max(0, local(q.start, segment)).Round(time.Millisecond)
	c.End = max(c.Start+time.Millisecond, local(q.end, segment).Round(time.Millisecond))
	return c.Append(b, 0)
}

// follow makes the text renditions do what r did, if they follow it: it has a
// new part, the last of r.open.
func (m *Muxer) follow(r *rendition, part playlist.Part) {
	for _, t := range m.renditions {
		if t.text != nil && t.active && m.leaderLocked() == r {
			t.followPart(r, part.Duration)
		}
	}
}

// followClose does the same when r has closed a segment.
func (m *Muxer) followClose(r *rendition) {
	for _, t := range m.renditions {
		if t.text != nil && t.text.leader == r {
			t.closeText()
		}
	}
}

// leaderLocked returns the rendition that text follows, nil when there is
// none.
func (m *Muxer) leaderLocked() *rendition {
	var sound *rendition
	for _, r := range m.renditions {
		switch {
		case !r.active || r.text != nil || r.format == nil:
		case r.format.Kind() == media.Video:
			return r
		case sound == nil:
			sound = r
		}
	}
	return sound
}

// followPart adds a part as long as the leader's newest one.
func (r *rendition) followPart(leader *rendition, dur time.Duration) {
	c := r.text
	switch {
	case c.led != nil && c.led != leader && r.disc == r.m.disc:
		r.catchUp(leader)
		return
	case c.leader != nil && c.leader != leader:
		r.closeText() // another timeline
	}
	if c.leader == nil {
		if len(leader.open.entry.Parts) != 1 {
			return // wait for a whole segment
		}
		r.openText(leader, leader.open.entry.Time)
	}
	r.addText(dur)
}

// catchUp goes on with another leader, of the same timeline, where the text
// ends: with a segment that reaches as far as the leader's newest part.
func (r *rendition) catchUp(leader *rendition) {
	c, to := r.text, media.TimeOf(leader.open.entry.Time).Add(leader.open.entry.Duration)
	ahead := to.Sub(c.end)
	if ahead <= 0 {
		return // it has not come so far
	}
	r.closeText()
	if ahead > targetDuration {
		c.led = nil // begin anew, with its next segment
		return
	}
	r.openText(leader, c.end.Wall().UTC())
	for left := ahead; left > 0; left -= partTarget {
		r.addText(min(left, partTarget))
	}
}

// addText adds a part.
func (r *rendition) addText(dur time.Duration) {
	c := r.text
	from := c.end
	c.end = c.end.Add(dur)
	body := c.file(c.start, func(q *cue) bool {
		return q.within(from, c.end) || !q.listed && q.within(c.start, c.end)
	})
	r.coming.append(body)
	r.coming.complete()
	s := r.open
	s.parts = append(s.parts, partFile{r.hint, body.Len()})
	s.files = append(s.files, r.hint)
	s.size += body.Len()
	r.files.addBuffer(r.hint, body)
	// Each file stands alone, so each is where a client may begin.
	part := playlist.Part{Duration: dur, URI: r.mediaURI(r.hint), Independent: true}
	r.recordPart(r.hint, body, dvr.Part{Duration: dur, Independent: true}, 0)
	r.expect()
	r.added(part)
}

// openText begins a segment at the given time.
func (r *rendition) openText(leader *rendition, at time.Time) {
	c := r.text
	c.leader, c.led, c.start, c.end = leader, leader, media.TimeOf(at), media.TimeOf(at)
	if r.empty() {
		// The same numbers as the leader's, as far as that goes.
		r.nextMSN = max(r.nextMSN, leader.nextMSN)
		r.startMSN = r.nextMSN
	}
	r.open = &segment{
		entry: playlist.Segment{Time: at},
		file:  r.segmentFile(),
	}
	r.applyDiscontinuity()
	r.recordOpen()
}

// closeText closes the open segment: a file with all cues of its parts.
func (r *rendition) closeText() {
	c, s := r.text, r.open
	c.leader = nil
	if s == nil {
		return
	}
	whole := c.file(c.start, func(q *cue) bool { return q.open || q.within(c.start, c.end) })
	s.bodies, s.hasData = []cmaf.Buffer{whole}, true
	s.size += whole.Len()
	r.closeSegment()
	c.cues = slices.DeleteFunc(c.cues, func(q *cue) bool {
		q.open = false
		if q.end > c.end+slack {
			return false
		}
		c.bytes -= q.size
		return true
	})
}

// becomeText makes a new rendition one of text.
func (r *rendition) becomeText() {
	r.text = new(captions)
	r.expectNone() // its name says that it is another kind of file
	r.expect()
}

// setText brings a format of text into force. On disk it is that of an
// initialization segment, which no playlist names: the head of a WebVTT file.
func (r *rendition) setText(f *media.Format) {
	if r.init != nil && reflect.DeepEqual(r.format, f) {
		return
	}
	r.format = f
	h := fnv.New64a()
	_, _ = h.Write(encodeFormat(f)) // a hash does not fail
	file := r.m.cfg.MediaKey() + "/init-" + strconv.FormatUint(h.Sum64(), 36) + r.extension()
	r.init = &initSegment{file: file, data: []byte("WEBVTT\n")}
	r.recordInit()
}

// restoreCues brings back the cues that may still be on screen: those of g,
// the newest segment.
func (r *rendition) restoreCues(g *dvr.Segment) {
	c := r.text
	c.start = media.TimeOf(time.UnixMilli(g.Time))
	c.end = c.start.Add(g.Duration)
	at := int64(0)
	for _, p := range g.Parts {
		b := make([]byte, p.Size)
		if _, err := r.log.File(g.File, at, p.Size).ReadAt(b, 0); err != nil && err != io.EOF {
			r.m.cfg.Logger.Warn("hls: cannot restore cues", "track", r.track, "error", err)
			return
		}
		at += p.Size
		cues, err := codec.ParseWebVTT(b)
		if err != nil {
			continue
		}
		for _, q := range cues {
			start, end := unlocal(q.Start, c.start), unlocal(q.End, c.start)
			if r.open != nil || end > c.end+slack {
				c.take(&cue{Cue: q, start: start, end: end, size: len(q.Append(nil, 0)), listed: true, open: r.open != nil})
			}
		}
	}
}

// unlocal returns the time that local gave d for.
func unlocal(d time.Duration, segment media.Time) media.Time {
	base := (int64(segment) / 100 * 9) &^ (wrapTicks - 1)
	return media.Time(base/9*100 + base%9*100/9).Add(d)
}

// rejoin has a restored rendition follow its leader, which was restored too
// and is ahead by what was not written any more.
func (r *rendition) rejoin(leader *rendition) {
	c := r.text
	if leader == nil || !leader.begun() || leader.disc != r.disc {
		r.closeText()
		return
	}
	at := media.TimeOf(leader.open.entry.Time)
	if r.open != nil && c.start.Sub(at).Abs() > time.Millisecond {
		r.closeText()
	}
	switch {
	case r.open != nil:
	case c.end.Sub(at).Abs() <= time.Millisecond:
		r.openText(leader, leader.open.entry.Time)
	default:
		r.catchUp(leader)
		return
	}
	c.leader, c.led = leader, leader
	for i := len(r.open.entry.Parts); i < len(leader.open.entry.Parts); i++ {
		r.addText(leader.open.entry.Parts[i].Duration)
	}
}

// extension is that of the rendition's media files.
func (r *rendition) extension() string {
	if r.text != nil {
		return ".vtt"
	}
	return ".m4s"
}

// subtitleGroup is the GROUP-ID of all text renditions.
const subtitleGroup = "text"

// subtitles returns the group of text renditions, empty when there is none.
// Names within a group have to differ (rfc8216bis, section 4.4.6.1.1).
func subtitles(text []*rendition) (group []playlist.Rendition) {
	taken := make(map[string]bool)
	for i, r := range text {
		name := r.format.Label
		if name == "" {
			name = r.format.Language
		}
		if name == "" || taken[name] {
			name += " " + strconv.Itoa(i+1)
		}
		if name[0] == ' ' {
			name = "subtitles" + name
		}
		taken[name] = true
		group = append(group, playlist.Rendition{
			Type: playlist.TypeSubtitles, Group: subtitleGroup, Name: name, Language: r.format.Language, URI: r.uri(),
		})
	}
	return group
}
