package moq_test

import (
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

// "SUBSCRIPTION_ENDED: The publisher reached the end of an associated
// subscription filter." (draft-ietf-moq-transport-18, section "PUBLISH_DONE")
func TestNextSubgroupEndsAfterTheLastGroupWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := moq.NewTrack(testName, moq.TrackConfig{})
		end := uint64(2)
		r := w.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt, At: moq.Location{Group: 1}, End: &end})
		defer r.Close()
		result := make(chan error, 1)
		next := func() {
			go func() {
				sr, err := r.NextSubgroup(t.Context())
				if err == nil {
					err = fmt.Errorf("subgroup of group %d", sr.Group())
				}
				result <- err
			}()
		}
		pending := func(why string) {
			t.Helper()
			time.Sleep(time.Second)
			synctest.Wait()
			select {
			case err := <-result:
				t.Fatalf("%s: %v", why, err)
			default:
			}
		}
		writeGroup(t, w, 1, 1)
		open := openSubgroup(t, w, 2, 0)
		for range 2 {
			if _, err := r.NextSubgroup(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		next()
		pending("no group beyond the end has begun")
		writeGroup(t, w, 3, 1)
		pending("group 2 is open")
		if err := open.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-result; err != io.EOF {
			t.Errorf("after group 2: %v", err)
		}
	})
}

func TestNextSubgroupWaitsForALateGroupBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := moq.NewTrack(testName, moq.TrackConfig{})
		end := uint64(1)
		r := w.Track().NewReader(moq.ReaderConfig{End: &end})
		defer r.Close()
		writeGroup(t, w, 2, 1)
		go func() {
			time.Sleep(60 * time.Millisecond)
			writeGroup(t, w, 1, 1)
		}()
		sr, err := r.NextSubgroup(t.Context())
		if err != nil || sr.Group() != 1 {
			t.Fatalf("the group that was overtaken: %v", err)
		}
		if _, err := r.NextSubgroup(t.Context()); err != io.EOF {
			t.Errorf("after it: %v", err)
		}
	})
}

func TestNextGroupWaitsForOneThatWasOvertaken(t *testing.T) {
	gap := func(n uint64) moq.Properties {
		return moq.Properties{{Type: moq.PropertyPriorGroupIDGap, Value: n}}
	}
	for _, tt := range []struct {
		name  string
		then  func(t *testing.T, w *moq.TrackWriter) // after Groups 0 and 2
		want  uint64
		after time.Duration
	}{
		{"that comes", func(t *testing.T, w *moq.TrackWriter) {
			time.Sleep(30 * time.Millisecond)
			writeGroup(t, w, 1, 1)
		}, 1, 30 * time.Millisecond},
		{"that never comes", func(*testing.T, *moq.TrackWriter) {}, 2, 100 * time.Millisecond},
		{"until a newer one begins", func(t *testing.T, w *moq.TrackWriter) {
			time.Sleep(40 * time.Millisecond)
			writeGroup(t, w, 3, 1)
		}, 2, 40 * time.Millisecond},
		{"until the track ends", func(t *testing.T, w *moq.TrackWriter) {
			time.Sleep(40 * time.Millisecond)
			w.End(nil)
		}, 2, 40 * time.Millisecond},
		{"unless it does not exist", func(t *testing.T, w *moq.TrackWriter) {
			time.Sleep(10 * time.Millisecond)
			if err := openSubgroup(t, w, 2, 1).WriteObject(1, gap(1), nil); err != nil {
				t.Error(err)
			}
		}, 2, 10 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := moq.NewTrack(testName, moq.TrackConfig{})
				r := w.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
				defer r.Close()
				writeGroup(t, w, 0, 1)
				if _, err := r.NextGroup(t.Context()); err != nil {
					t.Fatal(err)
				}
				openSubgroup(t, w, 2, 0)
				begun := time.Now()
				go tt.then(t, w)
				g, err := r.NextGroup(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if d := time.Since(begun); g.ID() != tt.want || d != tt.after {
					t.Errorf("group %d after %v, want %d after %v", g.ID(), d, tt.want, tt.after)
				}
				time.Sleep(time.Second)
			})
		})
	}
}

func TestNextGroupDoesNotWaitForLargeHoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := moq.NewTrack(testName, moq.TrackConfig{})
		end := uint64(1000)
		r := w.Track().NewReader(moq.ReaderConfig{End: &end})
		defer r.Close()
		begun := time.Now()
		for _, id := range []uint64{2, 3, 90, 1000} { // the first one begins anywhere
			writeGroup(t, w, id, 1)
			if g, err := r.NextGroup(t.Context()); err != nil || g.ID() != id {
				t.Fatalf("group %d: %v", id, err)
			}
		}
		if d := time.Since(begun); d != 0 {
			t.Errorf("waited for %v", d)
		}
		if _, err := r.NextGroup(t.Context()); err != io.EOF {
			t.Errorf("after the end: %v", err)
		}
	})
}

// Nothing follows the largest possible Group, and it is not read twice.
func TestLargestPossibleGroup(t *testing.T) {
	w := moq.NewTrack(testName, moq.TrackConfig{})
	r := w.Track().NewReader(moq.ReaderConfig{})
	writeGroup(t, w, 7, 1)
	writeGroup(t, w, math.MaxUint64, 1)
	for _, id := range []uint64{7, math.MaxUint64} {
		if g, err := r.NextGroup(t.Context()); err != nil || g.ID() != id {
			t.Fatalf("group %d: %v", id, err)
		}
	}
	if _, err := r.NextGroup(t.Context()); err != io.EOF {
		t.Errorf("after the largest possible group: %v", err)
	}
	late := w.Track().NewReader(moq.ReaderConfig{Start: moq.StartNextGroup})
	if l := late.Start(); l.Group != math.MaxUint64 {
		t.Errorf("the next group is said to be %v", l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.Track().RequestNewGroup(0)
	if d := w.Demand(); d.NewGroup != math.MaxUint64 {
		t.Errorf("demand %+v", d)
	}
	if l := (moq.Location{Group: math.MaxUint64, Object: math.MaxUint64}); l.Next() != l {
		t.Errorf("after %v comes %v", l, l.Next())
	}
	if _, err := late.NextSubgroup(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestRequestNewGroupIsBoundedByTheNextGroup(t *testing.T) {
	w := moq.NewTrack(testName, moq.TrackConfig{})
	track := w.Track()
	track.RequestNewGroup(math.MaxUint64)
	if d := w.Demand(); d.NewGroup != 1 {
		t.Errorf("before any group: %d", d.NewGroup)
	}
	writeGroup(t, w, 10, 1)
	track.RequestNewGroup(math.MaxUint64)
	if d := w.Demand(); d.NewGroup != 11 {
		t.Errorf("after group 10: %d", d.NewGroup)
	}
	writeGroup(t, w, 11, 1)
	changed := w.DemandChanged()
	track.RequestNewGroup(12)
	select {
	case <-changed:
	default:
		t.Error("a request for a group after the largest was hidden by an earlier one")
	}
}

func TestObjectBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := moq.NewTrack(testName, moq.TrackConfig{})
		r := w.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
		s := openSubgroup(t, w, 0, 0)
		begun := time.Now()
		if err := s.BeginObject(0, moq.StatusNormal, nil, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := s.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		sr, err := r.NextSubgroup(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		o, err := sr.Next(t.Context())
		if err != nil || !o.Begun().Equal(begun) {
			t.Errorf("begun %v, want %v; %v", o.Begun(), begun, err)
		}
	})
}

// What a reset Subgroup may have had is unknown, not absent.
func TestRangeTellsWhatIsUnknown(t *testing.T) {
	write := func(t *testing.T, w *moq.TrackWriter, subgroup uint64, partial bool, ids ...uint64) *moq.SubgroupWriter {
		t.Helper()
		g, err := w.Group(5)
		if err != nil {
			t.Fatal(err)
		}
		s, err := g.Subgroup(subgroup, moq.SubgroupConfig{Partial: partial})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range ids {
			if err := s.WriteObject(id, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	all := moq.Location{Group: 5, Object: math.MaxUint64}
	for _, tt := range []struct {
		name  string
		fill  func(t *testing.T, w *moq.TrackWriter)
		start uint64
		end   moq.Location
		want  string
	}{
		{"complete, with holes", func(t *testing.T, w *moq.TrackWriter) {
			write(t, w, 0, false, 1, 3).Close()
		}, 0, all, "[1 3]"},
		{"reset", func(t *testing.T, w *moq.TrackWriter) {
			write(t, w, 0, false, 0, 1).Reset(1)
		}, 0, all, "[0 1 2-max]"},
		{"reset, range ends before", func(t *testing.T, w *moq.TrackWriter) {
			write(t, w, 0, false, 0, 1).Reset(1)
		}, 0, moq.Location{Group: 5, Object: 1}, "[0 1]"},
		{"reset before the end of the group that another subgroup told", func(t *testing.T, w *moq.TrackWriter) {
			write(t, w, 0, false, 0, 1).Reset(1)
			s := write(t, w, 1, false, 4)
			if err := s.BeginObject(6, moq.StatusEndOfGroup, nil, 0); err != nil {
				t.Fatal(err)
			}
			s.Close()
		}, 1, all, "[1 2-3 4 5-5 6]"},
		{"reset and begun again", func(t *testing.T, w *moq.TrackWriter) {
			write(t, w, 0, false, 0, 1).Reset(1)
			write(t, w, 0, true, 4, 6).Close()
		}, 0, all, "[0 1 2-3 4 6]"},
		{"joined in the middle", func(t *testing.T, w *moq.TrackWriter) {
			write(t, w, 0, true, 3).Close()
		}, 1, all, "[1-2 3]"},
		{"reset before its first object", func(t *testing.T, w *moq.TrackWriter) {
			write(t, w, 0, false).Reset(1)
		}, 2, moq.Location{Group: 6}, "[2-max]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, order := range []moq.GroupOrder{moq.GroupOrderAscending, moq.GroupOrderDescending} {
				w := moq.NewTrack(testName, moq.TrackConfig{})
				tt.fill(t, w)
				r := w.Track().Range(moq.Location{Group: 5, Object: tt.start}, tt.end, order)
				got := []string{}
				next := tt.start // where the gap begins
				for {
					o, err := r.Next()
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					if o.Object != nil {
						got = append(got, fmt.Sprint(o.Object.ID))
						next = o.Object.ID + 1
						continue
					}
					until := fmt.Sprint(o.Until.Object)
					if o.Until.Object == math.MaxUint64 {
						until = "max"
					}
					if o.Group != 5 || o.Until.Group != 5 {
						t.Errorf("a gap from group %d to %v", o.Group, o.Until)
					}
					got = append(got, fmt.Sprintf("%d-%s", next, until))
				}
				if fmt.Sprint(got) != tt.want {
					t.Errorf("%v, want %s", got, tt.want)
				}
			}
		})
	}
}
