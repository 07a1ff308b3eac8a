package moq

import (
	"errors"
	"testing"
)

func TestClear(t *testing.T) {
	w := NewTrack(FullTrackName{Namespace{"a"}, "t"}, TrackConfig{})
	write := func(id uint64) error {
		g, err := w.Group(id)
		if err != nil {
			return err
		}
		s, err := g.Subgroup(0, SubgroupConfig{})
		if err != nil {
			return err
		}
		return s.WriteObject(0, nil, []byte("x"))
	}
	for id := range uint64(3) {
		if err := write(id); err != nil {
			t.Fatal(err)
		}
	}
	lagging := w.Track().NewReader(ReaderConfig{Start: StartCurrentGroup})
	defer lagging.Close()
	w.Clear()
	if n := w.Track().Bytes(); n != 0 {
		t.Errorf("%d bytes are retained", n)
	}
	if id, ok := w.Track().Oldest(); ok {
		t.Errorf("group %d is retained", id)
	}
	if _, err := lagging.NextGroup(t.Context()); !errors.Is(err, ErrTooFarBehind) {
		t.Errorf("reader of what was cleared: %v", err)
	}
	if err := write(2); !errors.Is(err, ErrEvicted) {
		t.Errorf("writing the cleared group again: %v", err)
	}
	joined := w.Track().NewReader(ReaderConfig{Start: StartCurrentGroup})
	defer joined.Close()
	if err := write(3); err != nil {
		t.Fatal(err)
	}
	for name, r := range map[string]*TrackReader{"lagging": lagging, "joined": joined} {
		if g, err := r.NextGroup(t.Context()); err != nil || g.ID() != 3 {
			t.Errorf("%s reader: %v, %v", name, g, err)
		}
	}
}
