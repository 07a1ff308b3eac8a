package rtpmedia

import (
	"slices"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// numbers pushes packets with the given sequence numbers 10 ms apart and
// returns those that came out, and how many were dropped.
func numbers(r *Reorderer, start time.Time, in ...int) (out []int, dropped int) {
	for i, n := range in {
		pkt := &rtp.Packet{Header: rtp.Header{SequenceNumber: uint16(n)}}
		dropped += r.Push(pkt, start.Add(time.Duration(i)*10*time.Millisecond), func(p *rtp.Packet) {
			out = append(out, int(p.SequenceNumber))
		})
	}
	return out, dropped
}

func TestReorder(t *testing.T) {
	for _, c := range []struct {
		name    string
		in, out []int
		dropped int
	}{
		{"in order", []int{5, 6, 7}, []int{5, 6, 7}, 0},
		{"across the wrap", []int{65534, 0, 65535, 1}, []int{65534, 65535, 0, 1}, 0},
		{"swapped", []int{1, 3, 2, 4}, []int{1, 2, 3, 4}, 0},
		{"one late", []int{1, 3, 4, 5, 2, 6}, []int{1, 2, 3, 4, 5, 6}, 0},
		{"duplicates", []int{1, 1, 3, 3, 2, 2}, []int{1, 2, 3}, 3},
		{"before the first", []int{10, 9, 11}, []int{10, 11}, 1},
		{"two gaps", []int{1, 3, 5, 2, 4, 6}, []int{1, 2, 3, 4, 5, 6}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, dropped := numbers(new(Reorderer), epoch, c.in...)
			if !slices.Equal(out, c.out) || dropped != c.dropped {
				t.Errorf("%v and %d dropped, want %v and %d", out, dropped, c.out, c.dropped)
			}
		})
	}
}

func span(from, to int) []int {
	var s []int
	for ; from < to; from++ {
		s = append(s, from)
	}
	return s
}

// A packet that never comes is given up after reorderWait.
func TestReorderGivesUp(t *testing.T) {
	in := append([]int{1}, span(3, 40)...)
	out, dropped := numbers(new(Reorderer), epoch, in...)
	if !slices.Equal(out, in) || dropped != 0 {
		t.Errorf("%v, %d dropped", out, dropped)
	}
	early, _ := numbers(new(Reorderer), epoch, in[:20]...)
	if !slices.Equal(early, []int{1}) {
		t.Errorf("gave up within %v: %v", 190*time.Millisecond, early)
	}
}

func TestReorderJumpsAhead(t *testing.T) {
	out, _ := numbers(new(Reorderer), epoch, 1, 3, 3+reorderWindow, 4+reorderWindow)
	if !slices.Equal(out, []int{1, 3, 3 + reorderWindow, 4 + reorderWindow}) {
		t.Errorf("%v", out)
	}
}

func TestReorderFollowsARestart(t *testing.T) {
	in := append([]int{10000}, span(100, 100+reorderReset+3)...)
	out, dropped := numbers(new(Reorderer), epoch, in...)
	want := append([]int{10000}, span(100+reorderReset-1, 100+reorderReset+3)...)
	if !slices.Equal(out, want) || dropped != reorderReset-1 {
		t.Errorf("%v, %d dropped", out, dropped)
	}
}

// Whatever comes in comes out at most once, in order but for restarts, and
// nothing that waits is forgotten.
func FuzzReorder(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3})
	f.Add([]byte{0, 2, 1, 255, 3, 200, 100})
	f.Fuzz(func(t *testing.T, steps []byte) {
		var r Reorderer
		seq, in, out := uint16(65000), 0, 0
		var last uint16
		now := epoch
		for _, s := range steps {
			seq += uint16(int8(s))
			now = now.Add(time.Duration(s) * time.Millisecond)
			in++
			before := out
			dropped := r.Push(&rtp.Packet{Header: rtp.Header{SequenceNumber: seq}}, now, func(p *rtp.Packet) {
				if out > before && int16(p.SequenceNumber-last) <= 0 {
					t.Fatalf("%d after %d in one go", p.SequenceNumber, last)
				}
				last = p.SequenceNumber
				out++
			})
			in -= dropped
			if in != out+r.waiting {
				t.Fatalf("%d in, %d out, %d waiting", in, out, r.waiting)
			}
		}
	})
}
