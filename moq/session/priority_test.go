package session

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// urgent is a stream that remembers its urgency.
type urgent struct {
	sinkStream
	urgency int8
}

func (s *urgent) SetPriority(u int8, _ bool) { s.urgency = u }

// The order of "Scheduling Algorithm" (draft 18): subscriber priority, then
// publisher priority, then Group order, then the lowest Subgroup ID.
func TestSchedule(t *testing.T) {
	var s scheduler
	stream := func(l *lane, publisher uint8, group, subgroup uint64) (*urgent, *scheduled) {
		st := &urgent{}
		return st, s.add(l, st, publisher, group, subgroup)
	}
	video := &lane{subscriber: 128, order: moq.GroupOrderDescending}
	audio := &lane{subscriber: 64, order: moq.GroupOrderDescending}
	old, oldEntry := stream(video, 128, 1, 0)
	newest, _ := stream(video, 128, 2, 0)
	layer, layerEntry := stream(video, 128, 2, 1)
	key, _ := stream(video, 100, 1, 7)
	sound, _ := stream(audio, 128, 9, 0)
	joining, _ := stream(&lane{subscriber: 128, fetch: true}, 128, 0, 0)
	for i, st := range []*urgent{sound, key, joining, newest, layer, old} {
		if want := urgencyFirst + int8(i); st.urgency != want {
			t.Errorf("stream %d has urgency %d, want %d", i, st.urgency, want)
		}
	}
	// What does not fit shares the last urgency.
	older, olderEntry := stream(video, 128, 0, 0)
	oldest, _ := stream(&lane{subscriber: 200}, 128, 0, 0)
	if older.urgency != urgencyLast || oldest.urgency != urgencyLast {
		t.Errorf("urgencies %d, %d beyond the last", older.urgency, oldest.urgency)
	}
	s.remove(layerEntry)
	s.remove(olderEntry)
	s.setPriority(audio, 130)
	for i, st := range []*urgent{key, joining, newest, old, sound, oldest} {
		if want := urgencyFirst + int8(i); st.urgency != want {
			t.Errorf("after the change stream %d has urgency %d, want %d", i, st.urgency, want)
		}
	}
	// Ascending order, and equal ranks of two requests.
	s.remove(oldEntry)
	up := &lane{subscriber: 1, order: moq.GroupOrderAscending}
	second, _ := stream(up, 128, 6, 0)
	first, _ := stream(up, 128, 5, 0)
	other, _ := stream(&lane{subscriber: 1}, 128, 50, 0)
	if first.urgency != 1 || second.urgency != 2 || other.urgency != 1 {
		t.Errorf("urgencies %d, %d, %d", first.urgency, second.urgency, other.urgency)
	}
}

// Where the transport knows no priorities, a stream gives way to that of a
// newer Group, but not for ever.
func TestOlderGroupYields(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		pipe.Kind, pipe.StreamWindow = transport.WebTransport, 1000
		n, w := servedTrack()
		p := speak(t, pipe, RoleServer, Config{Handler: n})
		p.skipControl()
		next[*wire.SubscribeOK](p.subscribeTo(wire.Params{}))
		old := subgroup(t, w, 0)
		check(t, old.WriteObject(0, nil, []byte("a")))
		d := p.acceptData()
		d.want(0, "a")
		check(t, subgroup(t, w, 1).WriteObject(0, nil, make([]byte, 5000)))
		st := must[transport.ReceiveStream](t)(p.conn.AcceptUniStream(t.Context()))
		synctest.Wait() // the newer one waits for the viewer
		begin := time.Now()
		check(t, old.WriteObject(1, nil, []byte("b")))
		d.want(1, "b")
		if got := time.Since(begin); got != yieldDelay {
			t.Errorf("the older group waited %v, want %v", got, yieldDelay)
		}
		check(t, old.WriteObject(2, nil, []byte("c")))
		go func() {
			time.Sleep(yieldDelay / 4)
			io.Copy(io.Discard, st)
		}()
		begin = time.Now()
		d.want(2, "c")
		if got := time.Since(begin); got != yieldDelay/4 {
			t.Errorf("the older group waited %v, want %v", got, yieldDelay/4)
		}
		w.End(nil)
		p.s.Close(wire.NoError, "")
		<-p.run
	})
}
