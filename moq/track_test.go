package moq_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq"
)

var testName = moq.FullTrackName{Namespace: moq.Namespace{"live", "demo"}, Track: "video0"}

// writeGroup writes a finished Group of n Objects whose payload tells their
// Location.
func writeGroup(t *testing.T, w *moq.TrackWriter, id uint64, n int) {
	t.Helper()
	s := openSubgroup(t, w, id, 0)
	for i := range uint64(n) {
		if err := s.WriteObject(i, nil, fmt.Appendf(nil, "%d/%d", id, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func openSubgroup(t *testing.T, w *moq.TrackWriter, group, subgroup uint64) *moq.SubgroupWriter {
	t.Helper()
	g, err := w.Group(group)
	if err != nil {
		t.Fatal(err)
	}
	s, err := g.Subgroup(subgroup, moq.SubgroupConfig{InheritPriority: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func readSubgroup(t *testing.T, r *moq.SubgroupReader) (got []string, end error) {
	t.Helper()
	for {
		o, err := r.Next(t.Context())
		if err != nil {
			return got, err
		}
		p, err := o.ReadAll(t.Context())
		if err != nil {
			return got, err
		}
		got = append(got, string(p))
	}
}

func TestReaderStarts(t *testing.T) {
	w := moq.NewTrack(testName, moq.TrackConfig{})
	writeGroup(t, w, 7, 2)
	cur := openSubgroup(t, w, 9, 0)
	for i := range uint64(3) {
		if err := cur.WriteObject(i, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		cfg  moq.ReaderConfig
		want moq.Location
	}{
		{moq.ReaderConfig{Start: moq.StartNextObject}, moq.Location{Group: 9, Object: 3}},
		{moq.ReaderConfig{Start: moq.StartNextGroup}, moq.Location{Group: 10}},
		{moq.ReaderConfig{Start: moq.StartCurrentGroup}, moq.Location{Group: 9}},
		{moq.ReaderConfig{Start: moq.StartAt, At: moq.Location{Group: 7, Object: 1}}, moq.Location{Group: 7, Object: 1}},
	} {
		r := w.Track().NewReader(tt.cfg)
		if r.Start() != tt.want {
			t.Errorf("start %d: got %v, want %v", tt.cfg.Start, r.Start(), tt.want)
		}
		if j, ok := r.Joining(); !ok || j != (moq.Location{Group: 9, Object: 2}) {
			t.Errorf("joining location %v %v", j, ok)
		}
		r.Close()
	}
	r := w.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt, At: moq.Location{Group: 7, Object: 1}})
	defer r.Close()
	s, err := r.NextSubgroup(t.Context())
	if err != nil || s.Group() != 7 || s.Whole() {
		t.Fatalf("subgroup of group %d, whole %v, %v", s.Group(), s.Whole(), err)
	}
	if got, err := readSubgroup(t, s); err != io.EOF || len(got) != 1 || got[0] != "7/1" {
		t.Errorf("read %v, %v", got, err)
	}
}

func TestStartCurrentGroupPassesOverPartialGroup(t *testing.T) {
	w := moq.NewTrack(testName, moq.TrackConfig{})
	g, err := w.Group(4)
	if err != nil {
		t.Fatal(err)
	}
	s, err := g.Subgroup(0, moq.SubgroupConfig{Partial: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.WriteObject(12, nil, nil); err != nil {
		t.Fatal(err)
	}
	r := w.Track().NewReader(moq.ReaderConfig{Start: moq.StartCurrentGroup})
	defer r.Close()
	if want := (moq.Location{Group: 5}); r.Start() != want {
		t.Errorf("start %v, want %v: a group joined in the middle cannot be decoded", r.Start(), want)
	}
}

func TestObjectIsReadableBeforeItIsComplete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := moq.NewTrack(testName, moq.TrackConfig{})
		s := openSubgroup(t, w, 1, 0)
		r := w.Track().NewReader(moq.ReaderConfig{Start: moq.StartCurrentGroup})
		defer r.Close()
		if err := s.BeginObject(0, moq.StatusNormal, nil, 300_000); err != nil {
			t.Fatal(err)
		}
		sr, err := r.NextSubgroup(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		o, err := sr.Next(t.Context())
		if err != nil || o.Complete() {
			t.Fatalf("object %v, complete %v", err, o.Complete())
		}
		first := make(chan []byte)
		go func() {
			p, err := o.More(t.Context(), 0)
			if err != nil {
				t.Error(err)
			}
			first <- p
		}()
		synctest.Wait()
		start := time.Now()
		payload := bytes.Repeat([]byte("freshet!"), 300_000/8)
		if _, err := s.Write(payload[:100]); err != nil {
			t.Fatal(err)
		}
		if got := <-first; !bytes.Equal(got, payload[:100]) {
			t.Errorf("got %d bytes", len(got))
		}
		if d := time.Since(start); d > 2*time.Millisecond {
			t.Errorf("the first bytes were seen after %v", d)
		}
		for rest := payload[100:]; len(rest) > 0; {
			n := min(len(rest), 1400)
			if _, err := s.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if got, err := o.ReadAll(t.Context()); err != nil || !bytes.Equal(got, payload) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		if _, err := s.Write([]byte{0}); !errors.Is(err, moq.ErrObjectSize) {
			t.Errorf("a byte too many: %v", err)
		}
	})
}

func TestWriterNeverWaitsAndSlowReaderResumes(t *testing.T) {
	w := moq.NewTrack(testName, moq.TrackConfig{Retention: moq.Retention{Groups: 3}})
	slow := w.Track().NewReader(moq.ReaderConfig{})
	defer slow.Close()
	writeGroup(t, w, 1, 2)
	s, err := slow.NextSubgroup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for id := uint64(2); id <= 10; id++ {
		writeGroup(t, w, id, 2)
	}
	if _, err := s.Next(t.Context()); err != moq.ErrTooFarBehind {
		t.Errorf("evicted subgroup: %v", err)
	}
	if context.Cause(s.Abandoned()) != moq.ErrTooFarBehind {
		t.Errorf("abandoned: %v", context.Cause(s.Abandoned()))
	}
	if _, err := slow.NextSubgroup(t.Context()); err != moq.ErrTooFarBehind {
		t.Errorf("after eviction: %v", err)
	}
	for want := uint64(8); want <= 10; want++ {
		s, err := slow.NextSubgroup(t.Context())
		if err != nil || s.Group() != want {
			t.Fatalf("group %v, want %d, %v", s, want, err)
		}
	}
	if _, err := w.Group(7); err != moq.ErrEvicted {
		t.Errorf("writing below the floor: %v", err)
	}
}

func TestRetentionByBytesAndAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := moq.NewTrack(testName, moq.TrackConfig{Retention: moq.Retention{Bytes: 10_000, Age: 3 * time.Second}})
		payload := make([]byte, 4000)
		for id := uint64(1); id <= 5; id++ {
			s := openSubgroup(t, w, id, 0)
			if err := s.WriteObject(0, nil, payload); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if oldest, _ := w.Track().Oldest(); oldest != 4 {
			t.Errorf("oldest group %d, want 4", oldest)
		}
		if b := w.Track().Bytes(); b > 10_000 {
			t.Errorf("%d bytes retained", b)
		}
		time.Sleep(4 * time.Second)
		writeGroup(t, w, 6, 1)
		if oldest, _ := w.Track().Oldest(); oldest != 5 {
			t.Errorf("oldest group %d, want 5: it was superseded just now", oldest)
		}
		s := openSubgroup(t, w, 7, 0)
		var err error
		for id := uint64(0); err == nil && id < 10; id++ {
			err = s.WriteObject(id, nil, payload)
		}
		if err != moq.ErrEvicted {
			t.Errorf("a group larger than the track may retain: %v", err)
		}
		writeGroup(t, w, 8, 1)
	})
}

func TestSubgroupRules(t *testing.T) {
	w := moq.NewTrack(testName, moq.TrackConfig{MaxObjectSize: 1000})
	g, err := w.Group(1)
	if err != nil {
		t.Fatal(err)
	}
	s, err := g.Subgroup(0, moq.SubgroupConfig{EndOfGroup: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.BeginObject(0, moq.StatusNormal, nil, 1001); !errors.Is(err, moq.ErrObjectSize) {
		t.Errorf("too large: %v", err)
	}
	if err := s.WriteObject(3, nil, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteObject(3, nil, nil); !errors.Is(err, moq.ErrObjectOrder) {
		t.Errorf("same id again: %v", err)
	}
	if _, err := g.Subgroup(0, moq.SubgroupConfig{}); err != moq.ErrDuplicate {
		t.Errorf("second writer: %v", err)
	}
	s.Release()
	if s, err = g.Subgroup(0, moq.SubgroupConfig{}); err != nil {
		t.Fatalf("after Release: %v", err)
	}
	if last, ok := s.Last(); !ok || last != 3 {
		t.Errorf("last %d %v", last, ok)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Subgroup(0, moq.SubgroupConfig{}); err != moq.ErrDuplicate {
		t.Errorf("after Close: %v", err)
	}
	other, err := g.Subgroup(1, moq.SubgroupConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.WriteObject(4, nil, nil); !errors.Is(err, moq.ErrObjectOrder) {
		t.Errorf("behind the end of the group: %v", err)
	}
	other.Reset(0x5)
	again, err := g.Subgroup(1, moq.SubgroupConfig{Partial: true})
	if err != nil {
		t.Fatalf("after Reset: %v", err)
	}
	if err := again.WriteObject(2, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := again.BeginObject(3, moq.StatusNormal, nil, 5); err == nil {
		if err := again.Close(); !errors.Is(err, moq.ErrObjectSize) {
			t.Errorf("closed with an incomplete object: %v", err)
		}
	} else {
		t.Fatal(err)
	}
	for id := uint64(2); ; id++ {
		if _, err := g.Subgroup(id, moq.SubgroupConfig{}); err != nil {
			if err != moq.ErrTooManySubgroups || id < moq.MaxSubgroups-5 {
				t.Errorf("subgroup %d: %v", id, err)
			}
			break
		}
	}
}

func TestGroupReaderOrdersAcrossSubgroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := moq.NewTrack(testName, moq.TrackConfig{})
		r := w.Track().NewReader(moq.ReaderConfig{Start: moq.StartCurrentGroup})
		defer r.Close()
		base, layer := openSubgroup(t, w, 1, 0), openSubgroup(t, w, 1, 1)
		got := make(chan uint64, 10)
		end := make(chan error, 1)
		go func() {
			g, err := r.NextGroup(t.Context())
			for err == nil {
				var o *moq.Object
				if o, err = g.Next(t.Context()); err == nil {
					got <- o.ID
				}
			}
			close(got)
			end <- err
		}()
		for _, step := range []struct {
			s  *moq.SubgroupWriter
			id uint64
		}{{base, 0}, {base, 2}, {layer, 1}, {layer, 3}, {base, 5}} {
			if err := step.s.WriteObject(step.id, nil, nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		// 4 never comes: the reader may pass over it only at the end.
		if len(got) != 4 {
			t.Errorf("%d objects were read before the group ended, want 4", len(got))
		}
		base.Close()
		layer.Close()
		writeGroup(t, w, 2, 1)
		var ids []uint64
		for id := range got {
			ids = append(ids, id)
		}
		if fmt.Sprint(ids) != "[0 1 2 3 5]" {
			t.Errorf("order %v", ids)
		}
		if err := <-end; err != io.EOF {
			t.Errorf("end of the group: %v", err)
		}
	})
}

func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := moq.NewTrack(testName, moq.TrackConfig{})
		r := w.Track().NewReader(moq.ReaderConfig{})
		defer r.Close()
		writeGroup(t, w, 1, 1)
		open := openSubgroup(t, w, 2, 0)
		if err := open.WriteObject(0, nil, []byte("x")); err != nil {
			t.Fatal(err)
		}
		w.End(nil)
		w.End(errors.New("only the first end counts"))
		for range 2 {
			s, err := r.NextSubgroup(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			got, err := readSubgroup(t, s)
			var reset *moq.ResetError
			if len(got) != 1 || (s.Group() == 1) != (err == io.EOF) || (s.Group() == 2) != errors.As(err, &reset) {
				t.Errorf("group %d: %q, %v", s.Group(), got, err)
			}
		}
		if _, err := r.NextSubgroup(t.Context()); err != io.EOF {
			t.Errorf("end of the track: %v", err)
		}
		if _, err := w.Group(3); err != moq.ErrEnded {
			t.Errorf("write after the end: %v", err)
		}
		select {
		case <-w.Track().Done():
		default:
			t.Error("Done is not closed")
		}
	})
}

func TestRange(t *testing.T) {
	w := moq.NewTrack(testName, moq.TrackConfig{Retention: moq.Retention{Groups: 3}})
	for _, id := range []uint64{1, 2, 5, 6} {
		writeGroup(t, w, id, 3)
	}
	read := func(r *moq.RangeReader) (got []string) {
		for {
			o, err := r.Next()
			if err == io.EOF {
				return got
			}
			if err != nil {
				t.Fatal(err)
			}
			if o.Object == nil {
				got = append(got, fmt.Sprintf("gap %d-%d", o.Group, o.Until.Group))
				continue
			}
			got = append(got, string(o.Object.Payload()))
		}
	}
	track := w.Track()
	for _, tt := range []struct {
		start, end moq.Location
		order      moq.GroupOrder
		want       string
	}{
		{moq.Location{Group: 2, Object: 1}, moq.Location{Group: 5, Object: 0}, 0, "[2/1 2/2 5/0]"},
		{moq.Location{Group: 2, Object: 2}, moq.Location{Group: 6, Object: 0}, moq.GroupOrderDescending, "[6/0 5/0 5/1 5/2 2/2]"},
		{moq.Location{Group: 0}, moq.Location{Group: 2, Object: 0}, 0, "[gap 0-1 2/0]"},
		{moq.Location{Group: 1}, moq.Location{Group: 2, Object: 0}, moq.GroupOrderDescending, "[2/0 gap 1-1]"},
		{moq.Location{Group: 6, Object: 2}, moq.Location{Group: math.MaxUint64, Object: math.MaxUint64}, 0, "[6/2]"},
		{moq.Location{Group: 6, Object: 2}, moq.Location{Group: 6, Object: 1}, 0, "[]"},
	} {
		if got := fmt.Sprint(read(track.Range(tt.start, tt.end, tt.order))); got != tt.want {
			t.Errorf("%v to %v, order %d: %s, want %s", tt.start, tt.end, tt.order, got, tt.want)
		}
	}
}

func TestDemand(t *testing.T) {
	w := moq.NewTrack(testName, moq.TrackConfig{})
	changed := w.DemandChanged()
	a := w.Track().NewReader(moq.ReaderConfig{})
	<-changed
	b := w.Track().NewReader(moq.ReaderConfig{})
	a.Close()
	a.Close()
	if d := w.Demand(); d.Readers != 1 || d.Joined != 2 {
		t.Errorf("demand %+v", d)
	}
	b.Close()
	writeGroup(t, w, 10, 1)
	changed = w.DemandChanged()
	w.Track().RequestNewGroup(0)
	<-changed
	if d := w.Demand(); d.NewGroup != 11 {
		t.Errorf("new group %d, want the one after the largest", d.NewGroup)
	}
}

func TestFrameIsSharedByReaders(t *testing.T) {
	w := moq.NewTrack(testName, moq.TrackConfig{})
	s := openSubgroup(t, w, 1, 0)
	if err := s.BeginObject(0, moq.StatusNormal, moq.Properties{{Type: 0x10, Value: 5}}, 4); err != nil {
		t.Fatal(err)
	}
	r := w.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
	defer r.Close()
	sr, err := r.NextSubgroup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o, err := sr.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := o.Framed(18); ok {
		t.Error("framed before a header was offered")
	}
	if !o.Frame(18, []byte("head")) || o.Frame(16, []byte("other")) {
		t.Error("the first header must win")
	}
	if _, err := s.Write([]byte("body")); err != nil {
		t.Fatal(err)
	}
	b, n, ok := o.Framed(18)
	if !ok || n != 4 || string(b) != "headbody" {
		t.Errorf("%q %d %v", b, n, ok)
	}
	c, _, _ := o.Framed(18)
	if &b[0] != &c[0] {
		t.Error("two readers got different memory")
	}
	if got := testing.AllocsPerRun(100, func() { o.Framed(18) }); got != 0 {
		t.Errorf("%v allocations per read", got)
	}
	if o.Frame(19, make([]byte, 1<<16)) {
		t.Error("a header larger than the room was taken")
	}
}

// A Group that begins after a newer one is not taken for an empty one before
// its first Subgroup is there.
func TestLateGroupIsNotEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := moq.NewTrack(testName, moq.TrackConfig{})
		newer, err := w.Group(2)
		if err != nil {
			t.Fatal(err)
		}
		newer.Close()
		late, err := w.Group(1)
		if err != nil {
			t.Fatal(err)
		}
		r := w.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
		defer r.Close()
		g, err := r.NextGroup(t.Context())
		if err != nil || g.ID() != 1 {
			t.Fatalf("NextGroup: %v", err)
		}
		got := make(chan error, 1)
		go func() {
			o, err := g.Next(t.Context())
			if err == nil && o.ID != 0 {
				err = fmt.Errorf("object %d", o.ID)
			}
			got <- err
		}()
		synctest.Wait()
		s, err := late.Subgroup(0, moq.SubgroupConfig{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.WriteObject(0, nil, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if err := <-got; err != nil {
			t.Errorf("the late object: %v", err)
		}
	})
}
