package session

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// fillBubble is bubble for the drafts that have fills.
func fillBubble(t *testing.T, f func(t *testing.T, pipe moqtest.PipeConfig)) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		if must[wire.Draft](t)(wire.ParseDraft(pipe.Protocol)).Dialect().Fill {
			f(t, pipe)
		}
	})
}

// filled reads a fill to its end, as "request: group/object payload ...".
func (p *script) filled(order moq.GroupOrder) (got string, err error) {
	p.t.Helper()
	r := newStreamReader(must[transport.ReceiveStream](p.t)(p.conn.AcceptUniStream(p.t.Context())))
	defer r.release()
	var h wire.FetchHeader
	check(p.t, r.header(func(b []byte) (n int, err error) {
		h, n, err = p.draft.ParseFetchHeader(b)
		return n, err
	}))
	s := []string{fmt.Sprintf("%d:", h.RequestID)}
	cursor := wire.FetchCursor{Order: order}
	for {
		var it wire.FetchItem
		err = r.header(func(b []byte) (n int, err error) {
			it, n, err = p.draft.ParseFetchItem(b, &cursor)
			return n, err
		})
		if errors.Is(err, io.EOF) {
			return strings.Join(s, " "), nil
		}
		if err != nil {
			return "", err
		}
		if it.Kind != wire.FetchObject {
			continue
		}
		var b []byte
		check(p.t, r.payload(it.Size, func(more []byte) (int, error) {
			b = append(b, more...)
			return len(more), nil
		}))
		s = append(s, fmt.Sprintf("%d/%d", it.Location.Group, it.Location.Object), string(b))
	}
}

// threeGroups publishes Objects 0 and 1 in the Groups 1 to 3; the last one
// stays open.
func threeGroups(t *testing.T, w *moq.TrackWriter) *moq.SubgroupWriter {
	t.Helper()
	var sg *moq.SubgroupWriter
	for g := uint64(1); g <= 3; g++ {
		sg = subgroup(t, w, g)
		for o := range uint64(2) {
			check(t, sg.WriteObject(o, nil, fmt.Appendf(nil, "%c", 'a'+2*(g-1)+o)))
		}
		if g < 3 {
			check(t, sg.Close())
		}
	}
	return sg
}

// "The FETCH_HEADER on the fill fetch stream carries the Request ID of the
// message that initiated it", and "the fill range never extends beyond Largest
// Object". (draft 22, Fill Semantics)
func TestFill(t *testing.T) {
	largest := &wire.Filter{Type: wire.FilterLargestObject}
	for name, tc := range map[string]struct {
		filter *wire.Filter // of the subscription
		fill   wire.Params
		want   string // "" when there is to be no stream
	}{
		"current group":       {largest, wire.Params{Filter: &wire.Filter{Type: wire.FilterRelativeStart, Groups: 1}}, "3/0 e 3/1 f"},
		"two groups":          {largest, wire.Params{Filter: &wire.Filter{Type: wire.FilterRelativeStart, Groups: 2}}, "2/0 c 2/1 d 3/0 e 3/1 f"},
		"more than there are": {largest, wire.Params{Filter: &wire.Filter{Type: wire.FilterRelativeStart, Groups: 9}}, "1/0 a 1/1 b 2/0 c 2/1 d 3/0 e 3/1 f"},
		"none":                {largest, wire.Params{Filter: &wire.Filter{Type: wire.FilterNone}}, "1/0 a 1/1 b 2/0 c 2/1 d 3/0 e 3/1 f"},
		"inherited":           {&wire.Filter{Type: wire.FilterAbsoluteStart, Start: moq.Location{Group: 2, Object: 1}}, wire.Params{}, "2/1 d 3/0 e 3/1 f"},
		"no filter at all":    {nil, wire.Params{}, "1/0 a 1/1 b 2/0 c 2/1 d 3/0 e 3/1 f"},
		"range of groups":     {largest, wire.Params{Filter: &wire.Filter{Type: wire.FilterAbsoluteRange, Start: moq.Location{Group: 1}, EndGroup: 2}}, "1/0 a 1/1 b 2/0 c 2/1 d"},
		"range of objects": {largest, wire.Params{Filter: &wire.Filter{
			Type: wire.FilterObjectRange, Start: moq.Location{Group: 1, Object: 1}, EndGroup: 2}}, "1/1 b 2/0 c"},
		"descending":    {largest, wire.Params{Filter: &wire.Filter{Type: wire.FilterRelativeStart, Groups: 2}, GroupOrder: moq.GroupOrderDescending}, "3/0 e 3/1 f 2/0 c 2/1 d"},
		"next object":   {largest, wire.Params{}, ""},
		"next group":    {largest, wire.Params{Filter: &wire.Filter{Type: wire.FilterNextGroup}}, ""},
		"in the future": {largest, wire.Params{Filter: &wire.Filter{Type: wire.FilterAbsoluteStart, Start: moq.Location{Group: 7}}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fillBubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
				n, w := servedTrack()
				sg := threeGroups(t, w)
				p := speak(t, pipe, RoleServer, Config{Handler: n})
				p.skipControl()
				e := p.subscribeTo(wire.Params{Filter: tc.filter, Fill: &tc.fill})
				next[*wire.SubscribeOK](e)
				streams := uint64(1)
				if tc.want != "" {
					streams++
				}
				if tc.want != "" {
					got, err := p.filled(tc.fill.GroupOrder)
					check(t, err)
					if w := fmt.Sprintf("%d: %s", e.id, tc.want); got != w {
						t.Errorf("got %q, want %q", got, w)
					}
				}
				check(t, sg.WriteObject(2, nil, []byte("live")))
				check(t, sg.Close())
				w.End(nil)
				p.acceptData().want(2, "live")
				// "including any fill fetch streams" (draft 22, PUBLISH_DONE)
				if m := next[*wire.PublishDone](e); m.StreamCount != streams || m.Code != wire.DoneTrackEnded {
					t.Errorf("PUBLISH_DONE %+v, want %d streams", m, streams)
				}
			})
		})
	}
}

// "FILL_PARAMETERS carried while the subscription is paused opens no fill fetch
// stream", and a REQUEST_UPDATE opens one of its own. (draft 22, Opening and
// Closing Fill Fetch Streams)
func TestFillOfUpdate(t *testing.T) {
	fillBubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n, w := servedTrack()
		sg := threeGroups(t, w)
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		p.skipControl()
		fill := &wire.Params{Filter: &wire.Filter{Type: wire.FilterRelativeStart, Groups: 1}}
		e := p.subscribeTo(wire.Params{Forward: ptr(false), Fill: fill})
		next[*wire.SubscribeOK](e)
		check(t, sg.WriteObject(2, nil, []byte("g")))
		for i, want := range []string{"3/0 e 3/1 f 3/2 g", "3/0 e 3/1 f 3/2 g 3/3 h"} {
			id := p.nextID()
			e.send(&wire.RequestUpdate{RequestID: id, Params: wire.Params{Forward: ptr(true), Fill: fill}})
			ok := next[*wire.RequestOK](e)
			if l := ok.Params.LargestObject; l == nil || *l != (moq.Location{Group: 3, Object: 2 + uint64(i)}) {
				t.Errorf("LARGEST_OBJECT %v", l)
			}
			got, err := p.filled(moq.GroupOrderAscending)
			check(t, err)
			if w := fmt.Sprintf("%d: %s", id, want); got != w {
				t.Errorf("got %q, want %q", got, w)
			}
			if i == 0 {
				check(t, sg.WriteObject(3, nil, []byte("h")))
				p.acceptData().want(3, "h")
			}
		}
		p.wantOpen()
	})
}

// "When the subscription is cancelled, the publisher MUST reset any open fill
// fetch streams." (draft 22, Opening and Closing Fill Fetch Streams)
// Those that one subscription may have open are bounded.
func TestFillsEnd(t *testing.T) {
	fillBubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n, w := servedTrack()
		sg := subgroup(t, w, 1)
		check(t, sg.BeginObject(0, moq.StatusNormal, nil, 9)) // it does not come whole
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		p.skipControl()
		fill := &wire.Params{Filter: &wire.Filter{Type: wire.FilterNone}}
		e := p.subscribeTo(wire.Params{Filter: &wire.Filter{Type: wire.FilterNextGroup}, Fill: fill})
		next[*wire.SubscribeOK](e)
		for range maxFills - 1 {
			e.send(&wire.RequestUpdate{RequestID: p.nextID(), Params: wire.Params{Fill: fill}})
			next[*wire.RequestOK](e)
		}
		synctest.Wait() // all have their stream
		e.send(&wire.RequestUpdate{RequestID: p.nextID(), Params: wire.Params{Fill: fill}})
		if m := next[*wire.RequestError](e); m.Code != wire.RequestExcessiveLoad {
			t.Errorf("got %+v", m)
		}
		for range maxFills {
			// The update that failed has ended the subscription.
			st := must[transport.ReceiveStream](t)(p.conn.AcceptUniStream(t.Context()))
			_, err := io.ReadAll(st)
			var end *transport.StreamError
			if !errors.As(err, &end) || !end.Remote {
				t.Errorf("fill ended with %v", err)
			}
		}
		if m := next[*wire.PublishDone](e); m.Code != wire.DoneUpdateFailed || m.StreamCount != maxFills {
			t.Errorf("got %+v", m)
		}
		p.wantOpen()
	})
}

// "A publisher MUST NOT send objects from outside the requested range", and it
// "does not end a subscription solely because the Largest Object advances past
// the end of the current Location Filter". (draft 22, Location Filters)
func TestObjectRange(t *testing.T) {
	fillBubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n, w := servedTrack()
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		p.skipControl()
		e := p.subscribeTo(wire.Params{Filter: &wire.Filter{Type: wire.FilterObjectRange, EndGroup: 1, EndObject: 1}})
		next[*wire.SubscribeOK](e)
		g := must[*moq.GroupWriter](t)(w.Group(1))
		sg := must[*moq.SubgroupWriter](t)(g.Subgroup(0, moq.SubgroupConfig{EndOfGroup: true}))
		for o := range uint64(3) {
			check(t, sg.WriteObject(o, nil, []byte("x")))
		}
		check(t, sg.Close())
		check(t, subgroup(t, w, 2).WriteObject(0, nil, []byte("late")))
		d := p.acceptData()
		if d.h.EndOfGroup {
			t.Error("the header says that the end of the Group comes")
		}
		d.want(0, "x")
		d.want(1, "x")
		d.wantFIN()
		p.wantOpen()
		w.End(nil)
		if m := next[*wire.PublishDone](e); m.Code != wire.DoneTrackEnded || m.StreamCount != 1 {
			t.Errorf("got %+v", m)
		}
	})
}

// A FETCH may start at a Group relative to the largest Object.
func TestFetchRelative(t *testing.T) {
	fillBubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n, w := servedTrack()
		threeGroups(t, w)
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		p.skipControl()
		for groups, want := range map[uint64]string{1: "3/0 e 3/1 f", 0: ""} {
			typ := wire.FilterRelativeStart
			if groups == 0 {
				typ = wire.FilterNextGroup
			}
			e := p.request(func(id uint64) wire.Message {
				return &wire.Fetch{RequestID: id, FetchType: wire.FetchStandalone, Name: trackName,
					Params: wire.Params{Filter: &wire.Filter{Type: typ, Groups: groups}}}
			})
			if want == "" {
				e.wantRefusal(wire.RequestInvalidRange)
				continue
			}
			if ok := next[*wire.FetchOK](e); ok.Last != (moq.Location{Group: 3, Object: 1}) {
				t.Errorf("FETCH_OK %+v", ok)
			}
			got, err := p.filled(moq.GroupOrderAscending)
			check(t, err)
			if want = fmt.Sprintf("%d: %s", e.id, want); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})
}

// A subscriber can do without Track Properties. (draft 22, INCLUDE_PROPERTIES)
func TestIncludeProperties(t *testing.T) {
	fillBubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n := newNode()
		n.add(moq.NewTrack(trackName, moq.TrackConfig{Properties: moq.Properties{{Type: 0x10, Value: 1}}}).Track())
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		for _, include := range []bool{true, false} {
			ok := next[*wire.SubscribeOK](p.subscribeTo(wire.Params{IncludeProperties: ptr(include)}))
			if (len(ok.Properties) > 0) != include {
				t.Errorf("INCLUDE_PROPERTIES %v: %v", include, ok.Properties)
			}
		}
	})
}

// A publisher may say what changed in a subscription; nobody answers.
func TestPublishStateNotify(t *testing.T) {
	fillBubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleClient, Config{})
		e, _, result := joinFrom(t, p, nil)
		sub := <-result
		e.send(&wire.PublishStateNotify{Params: wire.Params{LargestObject: &moq.Location{Group: 8}}})
		e.send(&wire.PublishDone{Code: wire.DoneTrackEnded})
		<-sub.Done()
		var done *PublishDoneError
		if err := sub.Err(); !errors.As(err, &done) || done.Code != wire.DoneTrackEnded {
			t.Errorf("subscription ended with %v", err)
		}
		p.wantOpen()
	})
}

// The Group that a PUBLISH names is fetched by an update, also when a newer
// one has begun since.
func TestFillOfPublish(t *testing.T) {
	fillBubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n := newNode()
		n.join = true
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		e := p.request(func(id uint64) wire.Message {
			return &wire.Publish{RequestID: id, Name: trackName, Alias: 5, Params: wire.Params{LargestObject: &moq.Location{Group: 3, Object: 1}}}
		})
		next[*wire.RequestOK](e)
		u := next[*wire.RequestUpdate](e)
		f := u.Params.Fill
		if f == nil || *f.Filter != (wire.Filter{Type: wire.FilterAbsoluteRange, Start: moq.Location{Group: 3}, EndGroup: 3}) {
			t.Fatalf("FILL_PARAMETERS %+v", f)
		}
		e.send(&wire.RequestOK{Params: wire.Params{LargestObject: &moq.Location{Group: 4}}})
		var cursor wire.FetchCursor
		check(t, p.uni(p.fetchBytes(u.RequestID, &cursor, 3, 0, "a", "b", "c")).Close())
		h := header(5, 3)
		h.FirstObject = false
		b := p.subgroupBytes(h)
		b = must[[]byte](t)(p.draft.AppendObjectHeader(b, &h, 0, true, wire.ObjectHeader{ID: 2, Size: 1}))
		check(t, p.uni(append(b, 'c')).Close())
		synctest.Wait()
		r := n.published[trackName.Key()].Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
		sg := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		wantObject(t, sg, 0, "a")
		wantObject(t, sg, 1, "b")
		wantObject(t, sg, 2, "c")
		wantEnd(t, sg, io.EOF)
		p.wantOpen()
	})
}

// What a filter selects ends at the largest Object, and numbers do not
// overflow.
func TestRangeOf(t *testing.T) {
	most := uint64(math.MaxUint64)
	for _, tc := range []struct {
		filter  *wire.Filter
		largest moq.Location
		want    string
	}{
		{nil, moq.Location{Group: 4, Object: 2}, "0 0 4 2 true"},
		{&wire.Filter{Type: wire.FilterRelativeStart, Groups: most}, moq.Location{Group: most, Object: most}, fmt.Sprintf("1 0 %d %d true", most, most)},
		{&wire.Filter{Type: wire.FilterRelativeStart}, moq.Location{Group: most}, fmt.Sprintf("0 0 %d 0 false", most)},
		{&wire.Filter{Type: wire.FilterAbsoluteRange, EndGroup: most}, moq.Location{Group: 1}, "0 0 1 0 true"},
		{&wire.Filter{Type: wire.FilterObjectRange, EndGroup: 1, EndObject: most}, moq.Location{Group: 1, Object: 3}, "0 0 1 3 true"},
	} {
		start, last, ok := rangeOf(tc.filter, tc.largest)
		if got := fmt.Sprint(start.Group, start.Object, last.Group, last.Object, ok); got != tc.want {
			t.Errorf("%+v of %v: got %s, want %s", tc.filter, tc.largest, got, tc.want)
		}
	}
}
