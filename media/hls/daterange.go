package hls

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

const (
	// maxDateRanges bounds the date ranges of a playlist: the newest stay. As
	// many are taken within CAN-SKIP-UNTIL, so that what a delta update lists
	// as removed is bounded too: two a second, which is more than people read.
	// A chat that is faster is for those who watch by MoQ.
	maxDateRanges = 120
	// MaxEventSize bounds an event of a room, in bytes.
	MaxEventSize = 16 << 10
	// maxEventText and maxEventName bound what an attribute has of it, in bytes.
	maxEventText = 500
	maxEventName = 80
	// eventClass begins the CLASS of room events; the type follows.
	eventClass = "live.freshet.room."
	// skipMargin makes up for the time that a version is current.
	skipMargin = time.Second
)

// publicEvents are the types of room events that playlists tell. Others, as
// moderation and what people do unseen, are nobody's business, and so is a type
// that this node does not know.
var publicEvents = []string{"message", "reaction", "tip", "poll", "system"}

// errPrivate: the event is not for playlists.
var errPrivate = errors.New("hls: not a public event")

// event is what playlists need of a room event.
type event struct {
	ID        string     `json:"id"`
	Type      string     `json:"type"`
	At        eventTime  `json:"at"`
	MediaTime eventTime  `json:"media_time"`
	From      eventActor `json:"from"`
	Text      string     `json:"text"`
	Duration  float64    `json:"duration"` // seconds
	Target    string     `json:"target"`   // of moderation: the event that is withdrawn
}

// eventTime is a date of RFC 3339, or a number that counts from the Unix
// epoch: milliseconds, or the microseconds of media.Time, which are told apart
// by their size.
type eventTime struct{ time.Time }

// UnmarshalJSON implements json.Unmarshaler.
func (t *eventTime) UnmarshalJSON(b []byte) error {
	switch {
	case string(b) == "null":
		return nil
	case b[0] == '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		at, err := time.Parse(time.RFC3339Nano, s)
		t.Time = at
		return err
	}
	var n float64
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	const micros = 1e14 // in milliseconds: the year 5138
	switch {
	case n <= 0 || n >= micros*1e4:
		return fmt.Errorf("hls: time %v out of range", n)
	case n >= micros:
		t.Time = time.UnixMicro(int64(n))
	default:
		t.Time = time.UnixMilli(int64(n))
	}
	return nil
}

// eventActor is the name of who did something: a string, or the "name" or
// "id" of an object.
type eventActor string

// UnmarshalJSON implements json.Unmarshaler.
func (a *eventActor) UnmarshalJSON(b []byte) error {
	if b[0] != '{' {
		return json.Unmarshal(b, (*string)(a))
	}
	var o struct{ Name, ID string }
	err := json.Unmarshal(b, &o)
	*a = eventActor(cmp.Or(o.Name, o.ID))
	return err
}

// parseEvent reads an event. For one of moderation that withdraws another it
// returns that one's ID instead; errPrivate for any other that is not public.
func parseEvent(b []byte) (d playlist.DateRange, withdrawn string, err error) {
	if len(b) > MaxEventSize {
		return d, "", fmt.Errorf("hls: event of %d bytes", len(b))
	}
	var e event
	if err := json.Unmarshal(b, &e); err != nil {
		return d, "", fmt.Errorf("hls: event: %w", err)
	}
	switch {
	case e.Type == "moderation" && e.Target != "":
		return d, rangeID(e.Target), nil
	case !slices.Contains(publicEvents, e.Type):
		return d, "", errPrivate
	}
	at := e.MediaTime.Time
	if at.IsZero() {
		at = e.At.Time
	}
	d = playlist.DateRange{
		ID: rangeID(e.ID), Class: eventClass + e.Type, Start: at.UTC().Truncate(time.Millisecond),
		Duration: time.Duration(min(max(e.Duration, 0), 86400) * float64(time.Second)).Round(time.Millisecond),
	}
	if d.ID == "" || at.IsZero() {
		return d, "", errors.New("hls: event without ID or time")
	}
	if from := playlist.Text(string(e.From), maxEventName); from != "" {
		d.Attributes = append(d.Attributes, playlist.Attribute{Name: "X-FROM", Value: from})
	}
	if text := playlist.Text(e.Text, maxEventText); text != "" {
		d.Attributes = append(d.Attributes, playlist.Attribute{Name: "X-TEXT", Value: text})
	}
	return d, "", nil
}

// rangeID makes an ID of an event's. Tabs separate those that were removed.
func rangeID(id string) string { return strings.TrimSpace(playlist.Text(id, maxEventName)) }

// AddEvent takes an event of the room: a JSON object with "id", "type", "at",
// "media_time", "from", "text" and "duration", all but the first two and one
// of the times optional. The playlists of pictures, or of sound where there
// are none, list it as EXT-X-DATERANGE from their next part on. An ID that is
// known is ignored; so are events beyond what playlists take. The error tells
// that b is no event, or too large.
func (m *Muxer) AddEvent(b []byte) error {
	if len(bytes.TrimSpace(b)) == 0 {
		return errors.New("hls: empty event")
	}
	d, withdrawn, err := parseEvent(b)
	if errors.Is(err, errPrivate) {
		return nil
	}
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if withdrawn != "" {
		m.events.withdraw(withdrawn)
		return nil
	}
	m.events.add(d, time.Now())
	return nil
}

// events are the date ranges of a broadcast, in order of their times.
type events struct {
	all   []datedEvent
	taken []time.Time // when the newest were, at most maxDateRanges
}

type datedEvent struct {
	playlist.DateRange
	added time.Time
}

// add takes a range unless too many came of late.
func (e *events) add(d playlist.DateRange, now time.Time) {
	if slices.ContainsFunc(e.all, func(o datedEvent) bool { return o.ID == d.ID }) {
		return
	}
	if len(e.taken) == maxDateRanges {
		if now.Sub(e.taken[0]) < control.CanSkipUntil {
			return
		}
		e.taken = slices.Delete(e.taken, 0, 1)
	}
	e.taken = append(e.taken, now)
	e.all = append(e.all, datedEvent{d, now})
	slices.SortStableFunc(e.all, func(a, b datedEvent) int {
		return cmp.Or(a.Start.Compare(b.Start), strings.Compare(a.ID, b.ID))
	})
	if len(e.all) > maxDateRanges {
		e.all = slices.Delete(e.all, 0, len(e.all)-maxDateRanges)
	}
}

func (e *events) withdraw(id string) {
	e.all = slices.DeleteFunc(e.all, func(o datedEvent) bool { return o.ID == id })
}

// listedEvents is what the playlist of a rendition has of the events.
type listedEvents struct {
	now     []datedEvent
	removed []removedEvent
}

type removedEvent struct {
	id string
	at time.Time
}

// update brings the list up to date: events that end before the first segment
// are none of the playlist's.
func (l *listedEvents) update(all []datedEvent, from, now time.Time) {
	before := l.now
	l.now = nil
	for _, e := range all {
		if !e.End().Before(from) {
			l.now = append(l.now, e)
		}
	}
	for _, e := range before {
		if !slices.ContainsFunc(l.now, func(o datedEvent) bool { return o.ID == e.ID }) {
			l.removed = append(l.removed, removedEvent{e.ID, now})
		}
	}
	l.removed = slices.DeleteFunc(l.removed, func(e removedEvent) bool {
		return now.Sub(e.at) > control.CanSkipUntil+skipMargin
	})
}

// full lists all, as playlists and delta updates of segments alone do.
func (l *listedEvents) full() (out []playlist.DateRange) {
	for i := range l.now {
		out = append(out, l.now[i].DateRange)
	}
	return out
}

// delta lists what a client does not have that asks for an update which skips
// date ranges: "EXT-X-DATERANGE tags that were added to the Playlist more than
// CAN-SKIP-UNTIL seconds before the Playlist request" are left out, and those
// "removed from the Playlist within CAN-SKIP-UNTIL seconds" are named
// (rfc8216bis, section 6.2.5.1).
func (l *listedEvents) delta(now time.Time) (fresh []playlist.DateRange, removed []string) {
	for i := range l.now {
		if now.Sub(l.now[i].added) <= control.CanSkipUntil-skipMargin {
			fresh = append(fresh, l.now[i].DateRange)
		}
	}
	for _, e := range l.removed {
		removed = append(removed, e.id)
	}
	return fresh, removed
}

// listsEvents tells whether r is one of the renditions that list events.
func (r *rendition) listsEvents() bool {
	if r.text != nil || r.format == nil {
		return false
	}
	if r.format.Kind() == media.Video {
		return true
	}
	leader := r.m.leaderLocked()
	return leader != nil && leader.format.Kind() != media.Video
}

// begins returns when the first segment of the playlist does.
func (r *rendition) begins() time.Time {
	switch {
	case len(r.listed) > 0:
		return r.listed[0].entry.Time
	case r.begun():
		return r.open.entry.Time
	}
	return time.Time{}
}
