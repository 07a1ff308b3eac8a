package session

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// "If a Publisher receives a FETCH with a range that includes one or more
// Objects with unknown status [...] it can [...] indicate the range of unknown
// Objects and continue serving other known Objects." (draft 18, Fetch Handling)
func TestFetchOfEvictedObjects(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n := newNode()
		w := moq.NewTrack(trackName, moq.TrackConfig{Retention: moq.Retention{Groups: 1}})
		n.add(w.Track())
		for g := range uint64(3) {
			sg := subgroup(t, w, g)
			check(t, sg.WriteObject(0, nil, []byte("x")))
			check(t, sg.BeginObject(1, moq.StatusEndOfGroup, nil, 0))
			check(t, sg.Close())
		}
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		p.skipControl()
		e := p.request(func(id uint64) wire.Message {
			return &wire.Fetch{RequestID: id, FetchType: wire.FetchStandalone, Name: trackName, Last: moq.Location{Group: 9}}
		})
		if ok := next[*wire.FetchOK](e); ok.Last != (moq.Location{Group: 2, Object: 1}) || ok.EndOfTrack {
			t.Errorf("got %+v", ok)
		}
		st := must[transport.ReceiveStream](t)(p.conn.AcceptUniStream(t.Context()))
		r := newStreamReader(st)
		check(t, r.header(func(b []byte) (n int, err error) { _, n, err = p.draft.ParseFetchHeader(b); return n, err }))
		var cursor wire.FetchCursor
		var got []string
		for {
			var it wire.FetchItem
			err := r.header(func(b []byte) (n int, err error) { it, n, err = p.draft.ParseFetchItem(b, &cursor); return n, err })
			if err == io.EOF {
				break
			}
			check(t, err)
			got = append(got, it.Kind.String()+" "+it.Location.String())
			check(t, r.payload(it.Size, func(b []byte) (int, error) { return len(b), nil }))
		}
		// The End of Group is not an Object of a FETCH.
		want := "End of Unknown Range 1/18446744073709551615, Object 2/0"
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("got %s, want %s", s, want)
		}
		e.wantFIN()
	})
}

// "The Publisher can destroy fetch state as soon as it has received a
// STOP_SENDING. It MUST reset the bidi request stream and unidirectional data
// stream associated with the FETCH." (draft 18, Fetch State Management)
func TestFetchCancelled(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		pipe.StreamWindow = 1000
		n, w := servedTrack()
		check(t, subgroup(t, w, 0).WriteObject(0, nil, make([]byte, 5000)))
		p := connect(t, pipe, Config{}, Config{Handler: n})
		check(t, subgroup(t, w, 1).BeginObject(0, moq.StatusNormal, nil, 10)) // its end does not come
		res := must[*FetchResult](t)(p.client.Fetch(t.Context(), trackName, FetchOptions{End: moq.Location{Group: 1}}))
		synctest.Wait()
		if res.Err() != nil || res.EndOfTrack() {
			t.Errorf("error %v, end of track %t", res.Err(), res.EndOfTrack())
		}
		res.Close()
		<-res.Done()
		if !errors.Is(res.Err(), ErrCancelled) {
			t.Errorf("ended with %v", res.Err())
		}
		synctest.Wait()
		if len(n.ended) != 1 {
			t.Errorf("ended requests %q", n.ended)
		}
		p.close()

		q := speak(t, pipe, RoleServer, Config{Handler: n})
		q.skipControl()
		e := q.request(func(id uint64) wire.Message {
			return &wire.Fetch{RequestID: id, FetchType: wire.FetchStandalone, Name: trackName, Last: moq.Location{Group: 1}}
		})
		next[*wire.FetchOK](e)
		st := must[transport.ReceiveStream](t)(q.conn.AcceptUniStream(t.Context()))
		e.st.Stop(uint64(wire.ResetCancelled))
		_, err := io.Copy(io.Discard, st)
		var end *transport.StreamError
		if !errors.As(err, &end) {
			t.Errorf("data stream ended with %v", err)
		}
		<-e.st.Context().Done() // the session stopped the other direction too
	})
}

// A publisher that gives up on what it fetches from resets the data stream.
func TestFetchOfResetSubgroup(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		n, w := servedTrack()
		p := connect(t, pipe, Config{}, Config{Handler: n})
		sg := subgroup(t, w, 0)
		check(t, sg.BeginObject(0, moq.StatusNormal, nil, 10))
		_, err := sg.Write([]byte("abc"))
		check(t, err)
		res := must[*FetchResult](t)(p.client.Fetch(t.Context(), trackName, FetchOptions{}))
		synctest.Wait()
		sg.Reset(uint64(wire.ResetInternalError))
		<-res.Done()
		if res.Err() == nil || res.Track().Err() == nil {
			t.Errorf("fetch ended with %v, its track with %v", res.Err(), res.Track().Err())
		}
		p.close()
	})
}
