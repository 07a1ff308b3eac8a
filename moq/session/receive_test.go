package session

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// header is a plain subgroup header.
func header(alias, group uint64) wire.SubgroupHeader {
	return wire.SubgroupHeader{Alias: alias, Group: group, DefaultPriority: true, FirstObject: true}
}

// "If an endpoint receives a subgroup with an unknown Track Alias, it MAY
// abandon the stream, or choose to buffer it for a brief period to handle
// reordering with the control message that establishes the Track Alias."
// (draft 18, Subgroup Header)
func TestStreamBeforeAlias(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n := newNode()
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		st := p.uni(p.subgroupBytes(header(5, 3), "early"))
		synctest.Wait()
		next[*wire.RequestOK](p.publishTo(5, trackName, nil))
		synctest.Wait()
		r := n.published[trackName.Key()].Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
		got := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		wantObject(t, got, 0, "early")
		check(t, st.Close())
		wantEnd(t, got, io.EOF)

		// One that waits in vain is stopped, and so is one too many.
		late := p.uni(p.subgroupBytes(header(6, 0)))
		begin := time.Now()
		<-late.Context().Done()
		if d := time.Since(begin); d != 3*time.Second {
			t.Errorf("stopped after %v", d)
		}
		for range 32 {
			p.uni(p.subgroupBytes(header(6, 0)))
		}
		synctest.Wait()
		begin = time.Now()
		many := p.uni(p.subgroupBytes(header(6, 0)))
		<-many.Context().Done()
		if d := time.Since(begin); d != 0 {
			t.Errorf("stopped after %v", d)
		}
		p.wantOpen()
	})
}

// "Subscribers SHOULD retain sufficient state to quickly discard these unwanted
// Objects, rather than treating them as belonging to an unknown Track Alias."
// (draft 18, Track Alias)
func TestStreamAfterCancel(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleServer, Config{Handler: newNode()})
		e := p.publishTo(5, trackName, nil)
		next[*wire.RequestOK](e)
		e.st.Reset(1)
		synctest.Wait()
		begin := time.Now()
		<-p.uni(p.subgroupBytes(header(5, 0), "x")).Context().Done()
		if d := time.Since(begin); d != 0 {
			t.Errorf("stopped after %v", d)
		}
	})
}

// "The subscriber can immediately remove all subscription state once the same
// number of streams have been processed", and waits for those that are late.
// (draft 18, PUBLISH_DONE)
func TestPublishDoneOvertakesStreams(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n := newNode()
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		e := p.publishTo(5, trackName, nil)
		next[*wire.RequestOK](e)
		w := n.published[trackName.Key()]
		e.send(&wire.PublishDone{Code: wire.DoneTrackEnded, StreamCount: 2})
		check(t, e.st.Close())
		p.uni(p.subgroupBytes(header(5, 0), "one")).Close()
		synctest.Wait()
		if err := w.Track().Err(); err != nil {
			t.Fatalf("track ended with %v before its last stream", err)
		}
		time.Sleep(time.Second)
		p.uni(p.subgroupBytes(header(5, 1), "two")).Close()
		<-w.Track().Done()
		if l, _ := w.Track().Largest(); l.Group != 1 || w.Track().Err() != io.EOF {
			t.Errorf("largest %v, error %v", l, w.Track().Err())
		}

		// "Subscribers SHOULD use a timeout or other mechanism".
		e = p.publishTo(6, moq.FullTrackName{Track: "b"}, nil)
		next[*wire.RequestOK](e)
		begin := time.Now()
		e.send(&wire.PublishDone{Code: wire.DoneTrackEnded, StreamCount: 9})
		<-n.published[moq.FullTrackName{Track: "b"}.Key()].Track().Done()
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("ended after %v", d)
		}
	})
}

// "When a subscriber detects a Malformed Track, it MUST cancel any
// corresponding subscription or fetches for that Track from that publisher".
// (draft 18, Malformed Tracks)
func TestMalformedTracks(t *testing.T) {
	for _, tc := range []struct {
		name string
		do   func(p *script)
	}{
		{"object after the end of the group", func(p *script) {
			h := header(5, 0)
			h.EndOfGroup = true
			p.uni(p.subgroupBytes(h, "a")).Close()
			synctest.Wait()
			h = header(5, 0)
			h.Mode, h.Subgroup = wire.SubgroupExplicit, 1
			p.uni(p.subgroupBytes(h, "b", "c"))
		}},
		{"object after the end of the track", func(p *script) {
			h := header(5, 1)
			b := p.subgroupBytes(h)
			b = must[[]byte](p.t)(p.draft.AppendObjectHeader(b, &h, 0, true, wire.ObjectHeader{ID: 3, Status: moq.StatusEndOfTrack}))
			p.uni(b)
			synctest.Wait()
			p.uni(p.subgroupBytes(header(5, 2), "late"))
		}},
		{"mandatory property on an object", func(p *script) {
			h := header(5, 0)
			h.Properties = true
			b := p.subgroupBytes(h)
			b = must[[]byte](p.t)(p.draft.AppendObjectHeader(b, &h, 0, true, wire.ObjectHeader{Properties: moq.Properties{{Type: 0x4000, Value: 1}}}))
			p.uni(b)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
				n := newNode()
				p := speak(t, pipe, RoleServer, Config{Handler: n})
				e := p.publishTo(5, trackName, nil)
				next[*wire.RequestOK](e)
				tc.do(p)
				e.wantReset()
				synctest.Wait()
				var malformed *wire.MalformedTrackError
				if err := n.published[trackName.Key()].Track().Err(); !errors.As(err, &malformed) {
					t.Errorf("track ended with %v", err)
				}
				p.wantOpen()
			})
		})
	}
}

// An Object that is larger than the Track allows ends its stream and nothing
// else.
func TestObjectTooLarge(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleServer, Config{Handler: newNode()})
		next[*wire.RequestOK](p.publishTo(5, trackName, nil))
		h := header(5, 0)
		b := must[[]byte](t)(p.draft.AppendObjectHeader(p.subgroupBytes(h), &h, 0, true, wire.ObjectHeader{Size: 1 << 40}))
		st := p.uni(b)
		<-st.Context().Done()
		_, err := st.Write([]byte{0})
		var end *transport.StreamError
		if !errors.As(err, &end) || wire.ResetCode(end.Code) != wire.ResetExcessiveLoad {
			t.Errorf("stream ended with %v", err)
		}
		p.wantOpen()
	})
}

// join answers a Subscribe with Join of the client under test and returns the
// requests for it.
func joinFrom(t *testing.T, p *script, largest *moq.Location) (sub, fetch *exchange, result <-chan *Subscription) {
	t.Helper()
	ch := make(chan *Subscription, 1)
	go func() {
		s, err := p.s.Subscribe(t.Context(), trackName, SubscribeOptions{Join: true})
		if err != nil {
			t.Error(err)
		}
		ch <- s
	}()
	sub, m := p.accept()
	s, ok := m.(*wire.Subscribe)
	if !ok {
		t.Fatalf("got %T", m)
	}
	if p.draft.Dialect().Fill {
		f := s.Params.Fill
		if f == nil || f.Filter == nil || f.Filter.Type != wire.FilterRelativeStart || f.Filter.Groups != 1 {
			t.Fatalf("FILL_PARAMETERS %+v", f)
		}
		sub.send(&wire.SubscribeOK{Alias: 7, Params: wire.Params{LargestObject: largest}})
		return sub, &exchange{p: p, id: s.RequestID, fill: true}, ch
	}
	fetch, m = p.accept()
	f, ok := m.(*wire.Fetch)
	if !ok || f.FetchType != wire.FetchRelativeJoining || f.JoiningStart != 0 {
		t.Fatalf("got %T %+v", m, m)
	}
	fetch.id = f.RequestID
	sub.send(&wire.SubscribeOK{Alias: 7, Params: wire.Params{LargestObject: largest}})
	return sub, fetch, ch
}

func (p *script) fetchBytes(id uint64, cursor *wire.FetchCursor, group uint64, from uint64, payloads ...string) []byte {
	p.t.Helper()
	var b []byte
	if *cursor == (wire.FetchCursor{}) {
		b = must[[]byte](p.t)(p.draft.AppendFetchHeader(nil, wire.FetchHeader{RequestID: id}))
	}
	for i, s := range payloads {
		b = must[[]byte](p.t)(p.draft.AppendFetchItem(b, cursor, wire.FetchItem{
			Location: moq.Location{Group: group, Object: from + uint64(i)}, Priority: 128, Size: uint64(len(s)),
		}))
		b = append(b, s...)
	}
	return b
}

// The live stream of the joined Group waits until the fetch has filled what
// precedes it; those of other Groups do not.
func TestJoinOrder(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleClient, Config{})
		_, f, result := joinFrom(t, p, &moq.Location{Group: 4, Object: 1})
		h := header(7, 4)
		h.FirstObject = false
		b := p.subgroupBytes(h)
		b = must[[]byte](t)(p.draft.AppendObjectHeader(b, &h, 0, true, wire.ObjectHeader{ID: 2, Size: 1}))
		live := p.uni(append(b, 'c'))
		p.uni(p.subgroupBytes(header(7, 5), "next")).Close()
		sub := <-result
		r := sub.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
		got := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		if got.Group() != 5 {
			t.Fatalf("group %d came first", got.Group())
		}
		var cursor wire.FetchCursor
		st := p.uni(p.fetchBytes(f.id, &cursor, 4, 0, "a"))
		got = must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		wantObject(t, got, 0, "a")
		synctest.Wait()
		if o, err := got.TryNext(); o != nil || err != nil {
			t.Fatalf("object %v, %v before the fetch is done", o, err)
		}
		_, err := st.Write(p.fetchBytes(f.id, &cursor, 4, 1, "b"))
		check(t, err)
		check(t, st.Close())
		f.send(&wire.FetchOK{Last: moq.Location{Group: 4, Object: 1}})
		wantObject(t, got, 1, "b")
		wantObject(t, got, 2, "c")
		check(t, live.Close())
		wantEnd(t, got, io.EOF)
		if !got.Config().InheritPriority {
			t.Error("the fetched subgroup does not inherit the track's priority")
		}
	})
}

// When the fetch fails, the live stream goes on with what comes, on a Subgroup
// that does not pretend to be whole.
func TestJoinFails(t *testing.T) {
	for name, fail := range map[string]func(p *script, f *exchange){
		"refused": func(p *script, f *exchange) {
			if f.fill {
				// "it MUST open a fill fetch stream and reset it immediately
				// after the FETCH_HEADER if necessary" (draft 22)
				var cursor wire.FetchCursor
				p.uni(p.fetchBytes(f.id, &cursor, 4, 0)).Reset(uint64(wire.ResetInternalError))
				return
			}
			f.send(&wire.RequestError{Code: wire.RequestNotSupported})
			f.st.Close()
		},
		"reset": func(p *script, f *exchange) {
			var cursor wire.FetchCursor
			st := p.uni(p.fetchBytes(f.id, &cursor, 4, 0, "a"))
			f.send(&wire.FetchOK{Last: moq.Location{Group: 4, Object: 1}})
			synctest.Wait()
			st.Reset(uint64(wire.ResetUnknownObjectStatus))
		},
		"silent": func(*script, *exchange) {},
		"no stream": func(p *script, f *exchange) {
			f.send(&wire.FetchOK{Last: moq.Location{Group: 4, Object: 1}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
				p := speak(t, pipe, RoleClient, Config{})
				_, f, result := joinFrom(t, p, &moq.Location{Group: 4, Object: 1})
				h := header(7, 4)
				h.FirstObject = false
				b := p.subgroupBytes(h)
				b = must[[]byte](t)(p.draft.AppendObjectHeader(b, &h, 0, true, wire.ObjectHeader{ID: 2, Size: 1}))
				p.uni(append(b, 'c')).Close()
				sub := <-result
				fail(p, f)
				r := sub.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
				for {
					got := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
					o := must[*moq.Object](t)(got.Next(t.Context()))
					if o.ID == 0 {
						var reset *moq.ResetError
						if _, err := got.Next(t.Context()); !errors.As(err, &reset) {
							t.Errorf("what was fetched ended with %v", err)
						}
						continue
					}
					if o.ID != 2 || got.Whole() {
						t.Errorf("object %d, whole %t", o.ID, got.Whole())
					}
					wantEnd(t, got, io.EOF)
					break
				}
				p.wantOpen()
			})
		})
	}
}

// A Subgroup of which the fetch brought the last Object is ended when a newer
// Group begins and no stream goes on with it.
func TestJoinedSubgroupSettles(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleClient, Config{})
		_, f, result := joinFrom(t, p, &moq.Location{Group: 4, Object: 0})
		sub := <-result
		var cursor wire.FetchCursor
		check(t, p.uni(p.fetchBytes(f.id, &cursor, 4, 0, "a")).Close())
		f.send(&wire.FetchOK{Last: moq.Location{Group: 4, Object: 0}})
		synctest.Wait()
		p.uni(p.subgroupBytes(header(7, 5), "next"))
		r := sub.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
		got := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		wantObject(t, got, 0, "a")
		begin := time.Now()
		wantEnd(t, got, io.EOF)
		if d := time.Since(begin); d != settleDelay {
			t.Errorf("ended after %v", d)
		}
	})
}

// A subscription that goes on in a Track that has Objects already does not
// write them twice.
func TestJoinIntoFilledTrack(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		origin, w := servedTrack()
		p := connect(t, pipe, Config{}, Config{Handler: origin})
		local := newTrack()
		had := subgroup(t, local, 2)
		check(t, had.WriteObject(0, nil, []byte("a")))
		check(t, had.WriteObject(1, nil, []byte("b")))
		had.Reset(uint64(wire.ResetCancelled)) // the last session broke here
		sg := subgroup(t, w, 2)
		for _, s := range []string{"a", "b", "c"} {
			check(t, sg.WriteObject(uint64(s[0]-'a'), nil, []byte(s)))
		}
		sub := must[*Subscription](t)(p.client.Subscribe(t.Context(), trackName, SubscribeOptions{
			Join: true, Into: func(moq.Properties) (*moq.TrackWriter, error) { return local, nil },
		}))
		check(t, sg.WriteObject(3, nil, []byte("d")))
		r := local.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
		must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context())) // the broken one
		got := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		wantObject(t, got, 2, "c")
		wantObject(t, got, 3, "d")
		if got.Whole() {
			t.Error("the rest of a subgroup claims to be whole")
		}
		sub.Close()
		<-sub.Done()
		if err := local.Track().Err(); err != nil {
			t.Errorf("the session ended a track that it does not own: %v", err)
		}
		p.close()
	})
}

// A subscriber that gives up stops what is under way.
func TestCloseStopsStreams(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleClient, Config{})
		result := make(chan *Subscription, 1)
		go func() {
			s, err := p.s.Subscribe(t.Context(), trackName, SubscribeOptions{})
			if err != nil {
				t.Error(err)
			}
			result <- s
		}()
		e, _ := p.accept()
		e.send(&wire.SubscribeOK{Alias: 7})
		st := p.uni(p.subgroupBytes(header(7, 0), "a"))
		sub := <-result
		synctest.Wait()
		sub.Close()
		<-st.Context().Done()
		<-e.st.Context().Done()
		e.wantReset()
		<-sub.Done()
		p.wantOpen()
	})
}

// Cancelling the wait for an answer cancels the request.
func TestSubscribeContext(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := speak(t, pipe, RoleClient, Config{})
		result := make(chan error, 1)
		ctx, stop := context.WithCancelCause(t.Context())
		go func() {
			_, err := p.s.Subscribe(ctx, trackName, SubscribeOptions{Join: true})
			result <- err
		}()
		e, _ := p.accept()
		stop(errors.New("enough"))
		if err := <-result; err == nil || err.Error() != "enough" {
			t.Errorf("got %v", err)
		}
		e.wantReset()
		p.wantOpen()
	})
}

// "An endpoint MAY have multiple concurrent subscriptions to the same Track"
// and a publisher may give them one Track Alias. (draft 19, Subscriptions)
func TestSharedAlias(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := speak(t, moqtest.PipeConfig{Protocol: wire.Draft19.ALPN()}, RoleClient, Config{})
		subs := make(chan *Subscription, 2)
		for range 2 {
			go func() {
				s, err := p.s.Subscribe(t.Context(), trackName, SubscribeOptions{})
				if err != nil {
					t.Error(err)
				}
				subs <- s
			}()
			e, _ := p.accept()
			e.send(&wire.SubscribeOK{Alias: 7})
		}
		// "the publisher MUST send the Object once for each matching
		// subscription, even when those subscriptions share the same Track
		// Alias".
		for range 2 {
			p.uni(p.subgroupBytes(header(7, 0), "x")).Close()
			synctest.Wait()
		}
		for range 2 {
			if _, ok := (<-subs).Track().Largest(); !ok {
				t.Error("a subscription got nothing")
			}
		}
	})
}

// Properties larger than the read buffer arrive whole.
func TestLargeHeader(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		origin, w := servedTrack()
		p := connect(t, pipe, Config{}, Config{Handler: origin})
		sub := must[*Subscription](t)(p.client.Subscribe(t.Context(), trackName, SubscribeOptions{}))
		large := moq.Properties{{Type: 0x11, Bytes: make([]byte, 60000)}}
		sg := subgroup(t, w, 0)
		check(t, sg.WriteObject(0, large, []byte("x")))
		check(t, sg.WriteObject(1, large, []byte("y")))
		r := sub.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
		got := must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context()))
		o := must[*moq.Object](t)(got.Next(t.Context()))
		if len(o.Properties) != 1 || len(o.Properties[0].Bytes) != 60000 {
			t.Error("properties got lost")
		}
		wantObject(t, got, 1, "y")
		p.close()
	})
}

// A publisher that allows no request of this end, or is gone before it has one,
// does not keep the Track of its PUBLISH waiting.
func TestJoinOfPublishFails(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		pipe.MaxStreams = 1
		n := newNode()
		n.join = true
		c, s := moqtest.NewPipe(pipe)
		p := &script{t: t, conn: c, run: make(chan error, 1), draft: must[wire.Draft](t)(wire.ParseDraft(pipe.Protocol))}
		p.s = New(s, RoleServer, Config{Handler: n})
		go func() { p.run <- p.s.Run(context.Background()) }()
		p.setup(&wire.Setup{})
		// The one request of the session under test is in use.
		blocking := make(chan struct{})
		go func() {
			defer close(blocking)
			_, err := p.s.SubscribeNamespace(t.Context(), nil)
			if err == nil {
				t.Error("nobody has answered")
			}
		}()
		p.accept()
		e := p.request(func(id uint64) wire.Message {
			return &wire.Publish{RequestID: id, Name: trackName, Alias: 5, Params: wire.Params{LargestObject: &moq.Location{Group: 3}}}
		})
		next[*wire.RequestOK](e)
		h := header(5, 3)
		h.FirstObject = false
		b := p.subgroupBytes(h)
		b = must[[]byte](t)(p.draft.AppendObjectHeader(b, &h, 0, true, wire.ObjectHeader{ID: 1, Size: 1}))
		begin := time.Now()
		p.uni(append(b, 'x'))
		synctest.Wait()
		r := n.published[trackName.Key()].Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
		wantObject(t, must[*moq.SubgroupReader](t)(r.NextSubgroup(t.Context())), 1, "x")
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("waited %v", d)
		}
		p.s.Close(wire.NoError, "")
		<-blocking
		<-p.run
	})
}
