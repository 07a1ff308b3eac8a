package session

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// FuzzSession sends bytes on each kind of stream, and as a datagram, to a
// session that serves and receives a Track. Whatever they are, the session
// stays open or closes with a code of the draft, and every goroutine ends.
func FuzzSession(f *testing.F) {
	const kinds = 6
	d := wire.Draft18
	seed := func(kind uint8, fin bool, b []byte, err error) {
		if err != nil {
			f.Fatal(err)
		}
		for i := range wire.Drafts() {
			f.Add(kind, uint8(i), fin, b)
		}
	}
	message := func(kind uint8, m wire.Message) {
		b, err := d.AppendMessage(nil, m)
		seed(kind, false, b, err)
		seed(kind, true, b[:len(b)-1], err)
	}
	message(0, &wire.Setup{Path: ptr("/"), Tokens: []wire.Token{{AliasType: wire.TokenRegister, Value: []byte("t")}}})
	message(1, &wire.GoAway{RequestID: ptr(uint64(1)), Timeout: 5})
	message(2, &wire.Subscribe{RequestID: 2, Name: trackName, Params: wire.Params{
		Filter: &wire.Filter{Type: wire.FilterAbsoluteRange, EndGroup: 4}, NewGroupRequest: ptr(uint64(0))}})
	message(2, &wire.Publish{RequestID: 2, Name: moq.FullTrackName{Track: "p"}, Alias: 9, Properties: moq.Properties{{Type: 0x30, Value: 1}}})
	message(2, &wire.Fetch{RequestID: 2, FetchType: wire.FetchStandalone, Name: trackName, Last: moq.Location{Group: 9}})
	message(2, &wire.Fetch{RequestID: 2, FetchType: wire.FetchRelativeJoining, JoiningRequestID: 0})
	d = wire.Draft22
	message(2, &wire.Subscribe{RequestID: 2, Name: trackName, Params: wire.Params{Fill: &wire.Params{
		Filter: &wire.Filter{Type: wire.FilterRelativeStart, Groups: 1}, GroupOrder: moq.GroupOrderDescending}}})
	message(2, &wire.Fetch{RequestID: 2, FetchType: wire.FetchStandalone, Name: trackName, Params: wire.Params{
		Filter: &wire.Filter{Type: wire.FilterRelativeStart, Groups: 1}}})
	message(3, &wire.RequestUpdate{RequestID: 2, Params: wire.Params{Fill: &wire.Params{Filter: &wire.Filter{Type: wire.FilterNone}}}})
	message(3, &wire.PublishStateNotify{Params: wire.Params{LargestObject: &moq.Location{Group: 1}}})
	d = wire.Draft18
	message(2, &wire.TrackStatus{RequestID: 2, Name: trackName})
	message(2, &wire.PublishNamespace{RequestID: 2, Namespace: moq.Namespace{"a"}})
	message(2, &wire.SubscribeNamespace{RequestID: 2})
	message(2, &wire.SubscribeTracks{RequestID: 2})
	message(3, &wire.RequestUpdate{RequestID: 2, Params: wire.Params{Forward: ptr(false)}})
	message(3, &wire.PublishDone{Code: wire.DoneTrackEnded, StreamCount: 1})
	h := wire.SubgroupHeader{Alias: 7, Group: 1, Properties: true, DefaultPriority: true}
	b, err := d.AppendSubgroupHeader(nil, h)
	seed(4, true, b, err)
	b, err = d.AppendObjectHeader(b, &h, 0, true, wire.ObjectHeader{Size: 3, Properties: moq.Properties{{Type: 0x10, Value: 5}}})
	b = append(b, "abc"...)
	seed(4, true, b, err)
	b, err = d.AppendObjectHeader(b, &h, 0, false, wire.ObjectHeader{ID: 4, Status: moq.StatusEndOfTrack})
	seed(4, true, b, err)
	b, err = d.AppendFetchHeader(nil, wire.FetchHeader{RequestID: 1})
	seed(4, false, b, err)
	b, err = d.AppendDatagram(nil, wire.Datagram{Alias: 7, Payload: []byte("x")})
	seed(5, false, b, err)

	f.Fuzz(func(t *testing.T, kind, of uint8, fin bool, b []byte) {
		synctest.Test(t, func(t *testing.T) {
			draft := wire.Drafts()[int(of)%len(wire.Drafts())]
			n, w := servedTrack()
			check(t, subgroup(t, w, 0).WriteObject(0, nil, []byte("x")))
			p := silent(t, moqtest.PipeConfig{Protocol: draft.ALPN()}, RoleServer, Config{Handler: n})
			end := func(st transport.SendStream) {
				if fin {
					st.Close()
				}
			}
			if kind%kinds > 0 {
				p.setup(&wire.Setup{})
				synctest.Wait()
			}
			switch kind % kinds {
			case 0: // instead of the control stream
				end(p.uni(b))
			case 1: // on the control stream
				p.ctrl.Write(b)
				end(p.ctrl)
			case 2: // a request beside a subscription
				p.subscribeTo(wire.Params{})
				st := must[transport.Stream](t)(p.conn.OpenStream(t.Context()))
				st.Write(b)
				end(st)
			case 3: // on the streams of two requests
				e, q := p.subscribeTo(wire.Params{}), p.publishTo(7, moq.FullTrackName{Track: "p"}, nil)
				synctest.Wait()
				e.st.Write(b)
				q.st.Write(b)
				end(e.st)
				end(q.st)
			case 4: // a data stream beside a publication
				p.publishTo(7, moq.FullTrackName{Track: "p"}, nil)
				synctest.Wait()
				end(p.uni(b))
			case 5:
				p.conn.SendDatagram(b)
			}
			time.Sleep(time.Minute)
			p.s.Close(wire.NoError, "")
			err := <-p.run
			var local *LocalError
			if err != nil && (!errors.As(err, &local) || strings.HasPrefix(local.Code.String(), "SessionCode(")) {
				t.Errorf("session ended with %v", err)
			}
			if context.Cause(p.conn.Context()) == nil {
				t.Error("connection is open")
			}
		})
	})
}
