package session

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/wire"
)

func TestSubscribe(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		origin, w := newNode(), newTrack()
		origin.add(w.Track())
		p := connect(t, pipe, Config{}, Config{Handler: origin})
		sub := must[*Subscription](t)(p.client.Subscribe(t.Context(), trackName, SubscribeOptions{}))
		r := sub.Track().NewReader(moq.ReaderConfig{})
		defer r.Close()

		sg := subgroup(t, w, 7)
		check(t, sg.WriteObject(0, moq.Properties{{Type: 0x10, Value: 99}}, []byte("one")))
		check(t, sg.WriteObject(1, nil, []byte("two")))
		check(t, sg.WriteObject(4, nil, nil))
		check(t, sg.Close())
		w.End(nil)

		got := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		if got.Group() != 7 || got.ID() != 0 || !got.Whole() || !got.Config().InheritPriority {
			t.Errorf("group %d, subgroup %d, whole %t, config %+v", got.Group(), got.ID(), got.Whole(), got.Config())
		}
		o := must[*moq.Object](t)(got.Next(t.Context()))
		if p, ok := o.Properties.Get(0x10); !ok || p.Value != 99 {
			t.Errorf("properties %v", o.Properties)
		}
		wantObject(t, got, 1, "two")
		wantObject(t, got, 4, "")
		wantEnd(t, got, io.EOF)
		<-sub.Done()
		var done *PublishDoneError
		if !errors.As(sub.Err(), &done) || done.Code != wire.DoneTrackEnded {
			t.Errorf("ended with %v", sub.Err())
		}
		if err := sub.Track().Err(); err != io.EOF {
			t.Errorf("track ended with %v", err)
		}
		p.close()
	})
}

// "A publisher SHOULD begin sending incomplete objects when available to avoid
// incurring additional latency." (draft 18, Subscriptions)
func TestPartialObject(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		origin, w := newNode(), newTrack()
		origin.add(w.Track())
		p := connect(t, pipe, Config{}, Config{Handler: origin})
		sub := must[*Subscription](t)(p.client.Subscribe(t.Context(), trackName, SubscribeOptions{}))
		r := sub.Track().NewReader(moq.ReaderConfig{})
		sg := subgroup(t, w, 0)
		check(t, sg.BeginObject(0, moq.StatusNormal, nil, 6))
		_, err := sg.Write([]byte("abc"))
		check(t, err)
		got := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		o := must[*moq.Object](t)(got.Next(t.Context()))
		b, err := o.More(t.Context(), 0)
		if string(b) != "abc" || err != nil || o.Complete() {
			t.Errorf("got %q, %v before the end, complete %t", b, err, o.Complete())
		}
		_, err = sg.Write([]byte("def"))
		check(t, err)
		if b, err := o.ReadAll(t.Context()); string(b) != "abcdef" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
		r.Close()
		sub.Close()
		<-sub.Done()
		if !errors.Is(sub.Err(), ErrCancelled) {
			t.Errorf("ended with %v", sub.Err())
		}
		synctest.Wait()
		if d := w.Demand(); d.Readers != 0 {
			t.Errorf("%d readers are left at the publisher", d.Readers)
		}
		if len(origin.ended) != 1 || origin.ended[0] != "subscribe" {
			t.Errorf("ended requests %q", origin.ended)
		}
		p.close()
	})
}

func TestJoinCurrentGroup(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		origin, w := newNode(), newTrack()
		origin.add(w.Track())
		old := subgroup(t, w, 1)
		check(t, old.WriteObject(0, nil, []byte("old")))
		check(t, old.Close())
		sg := subgroup(t, w, 2)
		check(t, sg.WriteObject(0, nil, []byte("key")))
		check(t, sg.WriteObject(1, nil, []byte("a")))
		check(t, sg.BeginObject(2, moq.StatusNormal, nil, 4))
		_, err := sg.Write([]byte("ha"))
		check(t, err)

		p := connect(t, pipe, Config{}, Config{Handler: origin})
		sub := must[*Subscription](t)(p.client.Subscribe(t.Context(), trackName, SubscribeOptions{Join: true}))
		r := sub.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
		got := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		if got.Group() != 2 || !got.Whole() {
			t.Errorf("begins with group %d, whole %t", got.Group(), got.Whole())
		}
		wantObject(t, got, 0, "key")
		wantObject(t, got, 1, "a")
		_, err = sg.Write([]byte("lf"))
		check(t, err)
		check(t, sg.WriteObject(3, nil, []byte("live")))
		check(t, sg.Close())
		wantObject(t, got, 2, "half")
		wantObject(t, got, 3, "live")
		wantEnd(t, got, io.EOF)
		next := subgroup(t, w, 3)
		check(t, next.WriteObject(0, nil, []byte("next")))
		got = must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		wantObject(t, got, 0, "next")
		w.End(nil)
		<-sub.Done()
		p.close()
	})
}

// A Subgroup that was complete when it was joined ends by its FIN, though no
// Object of it is left to send.
func TestJoinCompleteGroup(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		origin, w := newNode(), newTrack()
		origin.add(w.Track())
		sg := subgroup(t, w, 2)
		check(t, sg.WriteObject(0, nil, []byte("key")))
		check(t, sg.Close())
		p := connect(t, pipe, Config{}, Config{Handler: origin})
		sub := must[*Subscription](t)(p.client.Subscribe(t.Context(), trackName, SubscribeOptions{Join: true}))
		r := sub.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
		got := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		wantObject(t, got, 0, "key")
		wantEnd(t, got, io.EOF)
		sub.Close()
		<-sub.Done()
		p.close()
	})
}

func TestJoinEmptyTrack(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		origin, w := newNode(), newTrack()
		origin.add(w.Track())
		p := connect(t, pipe, Config{}, Config{Handler: origin})
		sub := must[*Subscription](t)(p.client.Subscribe(t.Context(), trackName, SubscribeOptions{Join: true}))
		check(t, subgroup(t, w, 0).WriteObject(0, nil, []byte("first")))
		r := sub.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
		wantObject(t, must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context())), 0, "first")
		w.End(nil)
		<-sub.Done()
		p.close()
	})
}

func TestPublish(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		relay, w := newNode(), newTrack()
		relay.join = true
		sg := subgroup(t, w, 5)
		check(t, sg.WriteObject(0, nil, []byte("before")))
		p := connect(t, pipe, Config{Handler: newNode()}, Config{Handler: relay})
		pub := must[*Publication](t)(p.client.Publish(t.Context(), w.Track()))
		check(t, sg.WriteObject(1, nil, []byte("after")))
		synctest.Wait()
		r := relay.published[trackName.Key()].Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
		got := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		wantObject(t, got, 0, "before")
		wantObject(t, got, 1, "after")
		check(t, sg.Close())
		w.End(nil)
		wantEnd(t, got, io.EOF)
		<-pub.Done()
		check(t, pub.Err())
		if _, err := r.NextSubgroup(t.Context()); err != io.EOF {
			t.Errorf("track at the relay ended with %v", err)
		}
		p.close()
	})
}

func TestNamespaces(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		relay := newNode()
		p := connect(t, pipe, Config{}, Config{Handler: relay})
		q := connect(t, pipe, Config{}, Config{Handler: relay})
		demo := moq.Namespace{"live", "demo"}
		sub := must[*NamespaceSubscription](t)(q.client.SubscribeNamespace(t.Context(), moq.Namespace{"live"}))
		pub := must[*NamespacePublication](t)(p.client.PublishNamespace(t.Context(), demo))
		e := must[NamespaceEvent](t)(sub.Next(t.Context()))
		if !e.Namespace.Equal(demo) || !e.Live {
			t.Errorf("got %+v", e)
		}
		pub.Close()
		<-pub.Done()
		e = must[NamespaceEvent](t)(sub.Next(t.Context()))
		if !e.Namespace.Equal(demo) || e.Live {
			t.Errorf("got %+v", e)
		}
		must[*NamespacePublication](t)(p.client.PublishNamespace(t.Context(), demo))
		e = must[NamespaceEvent](t)(sub.Next(t.Context()))
		if !e.Live {
			t.Errorf("got %+v", e)
		}
		// "When a subscriber receives a stream reset or FIN on a
		// SUBSCRIBE_NAMESPACE response stream, it SHOULD treat this as though
		// each active namespace received a NAMESPACE_DONE." (draft 18,
		// SUBSCRIBE_NAMESPACE)
		q.close()
		e = must[NamespaceEvent](t)(sub.Next(t.Context()))
		if !e.Namespace.Equal(demo) || e.Live {
			t.Errorf("got %+v", e)
		}
		if _, err := sub.Next(t.Context()); err == nil {
			t.Error("no error after the end")
		}
		p.close()
	})
}

func TestPublisherReset(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		origin, w := newNode(), newTrack()
		origin.add(w.Track())
		p := connect(t, pipe, Config{}, Config{Handler: origin})
		sub := must[*Subscription](t)(p.client.Subscribe(t.Context(), trackName, SubscribeOptions{}))
		r := sub.Track().NewReader(moq.ReaderConfig{})
		sg := subgroup(t, w, 0)
		check(t, sg.WriteObject(0, nil, []byte("x")))
		got := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		wantObject(t, got, 0, "x")
		sg.Reset(uint64(wire.ResetExcessiveLoad))
		_, err := got.Next(t.Context())
		var reset *moq.ResetError
		if !errors.As(err, &reset) || wire.ResetCode(reset.Code) != wire.ResetExcessiveLoad {
			t.Errorf("subgroup ended with %v", err)
		}
		// The Track goes on.
		check(t, subgroup(t, w, 1).WriteObject(0, nil, []byte("y")))
		wantObject(t, must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context())), 0, "y")
		w.End(&PublishDoneError{Code: wire.DoneExpired, Reason: "over"})
		<-sub.Done()
		var done *PublishDoneError
		if !errors.As(sub.Err(), &done) || done.Code != wire.DoneExpired || done.Reason != "over" {
			t.Errorf("ended with %v", sub.Err())
		}
		p.close()
	})
}

// A viewer that gets half an Object before its Group is evicted goes on with
// newer Groups.
func TestSlowViewerGetsNewerGroup(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		origin := newNode()
		w := moq.NewTrack(trackName, moq.TrackConfig{Retention: moq.Retention{Groups: 2}})
		origin.add(w.Track())
		p := connect(t, pipe, Config{}, Config{Handler: origin})
		sub := must[*Subscription](t)(p.client.Subscribe(t.Context(), trackName, SubscribeOptions{}))
		r := sub.Track().NewReader(moq.ReaderConfig{})
		sg := subgroup(t, w, 0)
		check(t, sg.BeginObject(0, moq.StatusNormal, nil, 5000))
		_, err := sg.Write(make([]byte, 100))
		check(t, err)
		got := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		o := must[*moq.Object](t)(got.Next(t.Context()))
		for g := uint64(1); g <= 2; g++ {
			n := subgroup(t, w, g)
			check(t, n.WriteObject(0, nil, []byte("new")))
			check(t, n.Close())
		}
		_, err = o.ReadAll(t.Context())
		var reset *moq.ResetError
		if !errors.As(err, &reset) || wire.ResetCode(reset.Code) != wire.ResetTooFarBehind {
			t.Errorf("evicted object ended with %v", err)
		}
		for range 2 {
			next := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
			wantObject(t, next, 0, "new")
		}
		sub.Close()
		<-sub.Done()
		p.close()
	})
}

func TestFetch(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		origin, w := newNode(), newTrack()
		origin.add(w.Track())
		for g := range uint64(4) {
			sg := subgroup(t, w, g)
			for o := range uint64(3) {
				check(t, sg.WriteObject(o, nil, []byte{byte('a' + g), byte('0' + o)}))
			}
			check(t, sg.Close())
		}
		p := connect(t, pipe, Config{}, Config{Handler: origin})
		for _, tc := range []struct {
			name       string
			start, end moq.Location
			order      moq.GroupOrder
			want, last string
		}{
			{"range", moq.Location{Group: 1, Object: 1}, moq.Location{Group: 2, Object: 0}, 0, "b1 b2 c0", "2/0"},
			{"whole group", moq.Location{Group: 1}, moq.Location{Group: 1, Object: 1<<64 - 1}, 0, "b0 b1 b2", "1/18446744073709551615"},
			{"beyond the largest", moq.Location{Group: 3, Object: 2}, moq.Location{Group: 9}, 0, "d2", "3/2"},
			{"descending", moq.Location{Group: 1}, moq.Location{Group: 2, Object: 2}, moq.GroupOrderDescending, "b0 b1 b2 c0 c1 c2", "2/2"},
		} {
			res := must[*FetchResult](t)(p.client.Fetch(t.Context(), trackName, FetchOptions{Start: tc.start, End: tc.end, Order: tc.order}))
			<-res.Done()
			check(t, res.Err())
			var got []string
			rr := res.Track().Range(moq.Location{}, moq.Location{Group: 99}, 0)
			for {
				o, err := rr.Next()
				if err != nil {
					break
				}
				if o.Object == nil {
					continue // what was not asked for is not known
				}
				got = append(got, string(o.Object.Payload()))
			}
			if strings.Join(got, " ") != tc.want || res.Last().String() != tc.last {
				t.Errorf("%s: got %q up to %v, want %q up to %s", tc.name, got, res.Last(), tc.want, tc.last)
			}
		}
		for _, tc := range []struct {
			start, end moq.Location
			code       wire.RequestCode
			name       moq.FullTrackName
		}{
			{moq.Location{Group: 4}, moq.Location{Group: 5}, wire.RequestInvalidRange, trackName},
			{moq.Location{Group: 2}, moq.Location{Group: 1}, wire.RequestInvalidRange, trackName},
			{moq.Location{}, moq.Location{Group: 1}, wire.RequestDoesNotExist, moq.FullTrackName{Track: "x"}},
		} {
			_, err := p.client.Fetch(t.Context(), tc.name, FetchOptions{Start: tc.start, End: tc.end})
			var re *RequestError
			if !errors.As(err, &re) || re.Code != tc.code {
				t.Errorf("fetch %v to %v: %v, want %v", tc.start, tc.end, err, tc.code)
			}
		}
		p.close()
	})
}

func TestUpdate(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		origin := newNode()
		w := moq.NewTrack(trackName, moq.TrackConfig{Properties: moq.Properties{{Type: moq.PropertyDynamicGroups, Value: 1}}})
		origin.add(w.Track())
		p := connect(t, pipe, Config{}, Config{Handler: origin})
		sub := must[*Subscription](t)(p.client.Subscribe(t.Context(), trackName, SubscribeOptions{Paused: true}))
		sg := subgroup(t, w, 0)
		check(t, sg.WriteObject(0, nil, []byte("unseen")))
		synctest.Wait()
		if _, ok := sub.Track().Largest(); ok {
			t.Error("an object came while paused")
		}
		on := true
		check(t, sub.Update(t.Context(), Update{Forward: &on, NewGroup: 5}))
		if d := w.Demand(); d.NewGroup != 1 || d.Readers != 1 { // the one after the largest
			t.Errorf("demand %+v", d)
		}
		check(t, sg.WriteObject(1, nil, []byte("seen")))
		r := sub.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
		got := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		wantObject(t, got, 1, "seen")
		if got.Whole() {
			t.Error("a stream from the middle claims to be whole")
		}
		// A reader of the Track asks for a new Group: it goes up by itself.
		check(t, subgroup(t, w, 1).WriteObject(0, nil, []byte("newer")))
		synctest.Wait()
		sub.Track().RequestNewGroup(8)
		synctest.Wait()
		if d := w.Demand(); d.NewGroup != 2 {
			t.Errorf("demand %+v", d)
		}
		off := false
		check(t, sub.Update(t.Context(), Update{Forward: &off, Priority: 3}))
		_, err := got.Next(t.Context())
		var reset *moq.ResetError
		if !errors.As(err, &reset) {
			t.Errorf("paused stream ended with %v", err)
		}
		synctest.Wait()
		if d := w.Demand(); d.Readers != 0 {
			t.Errorf("demand %+v", d)
		}
		w.End(nil)
		<-sub.Done()
		p.close()
	})
}

func TestTrackStatusAndGoAway(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		origin, w := newNode(), newTrack()
		origin.add(w.Track())
		moved := make(chan GoAway, 1)
		p := connect(t, pipe, Config{GoAway: func(g GoAway) { moved <- g }}, Config{Handler: origin})
		st := must[Status](t)(p.client.TrackStatus(t.Context(), trackName, ""))
		if st.Largest != nil {
			t.Errorf("largest %v of an empty track", st.Largest)
		}
		check(t, subgroup(t, w, 3).WriteObject(4, nil, nil))
		st = must[Status](t)(p.client.TrackStatus(t.Context(), trackName, ""))
		if st.Largest == nil || *st.Largest != (moq.Location{Group: 3, Object: 4}) {
			t.Errorf("largest %v", st.Largest)
		}
		_, err := p.client.TrackStatus(t.Context(), moq.FullTrackName{Track: "x"}, "")
		var re *RequestError
		if !errors.As(err, &re) || re.Code != wire.RequestDoesNotExist {
			t.Errorf("status of no track: %v", err)
		}
		sub := must[*Subscription](t)(p.client.Subscribe(t.Context(), trackName, SubscribeOptions{}))
		check(t, p.server.GoAway(t.Context(), "moqt://other/", 2*time.Second))
		if g := <-moved; g.URI != "moqt://other/" || g.Timeout != 2*time.Second {
			t.Errorf("got %+v", g)
		}
		if _, err := p.client.PublishNamespace(t.Context(), moq.Namespace{"x"}); !errors.Is(err, ErrGoingAway) {
			t.Errorf("new request after GOAWAY: %v", err)
		}
		// "the sender closes the session with GOAWAY_TIMEOUT after the
		// indicated timeout if there are still open requests." (draft 18, GOAWAY)
		<-sub.Done()
		var peer *PeerError
		if !errors.As(sub.Err(), &peer) || peer.Code != wire.GoAwayTimeout {
			t.Errorf("ended with %v", sub.Err())
		}
		for i := range p.errs {
			if err := <-p.errs[i]; err == nil {
				t.Errorf("session %d ended without an error", i)
			}
		}
	})
}
