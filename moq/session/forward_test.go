package session

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// sink is a connection without a network: it counts what is written.
type sink struct {
	transport.Conn // only the methods below are called
	ctx            context.Context
	stream         *sinkStream
}

func newSink(ctx context.Context) *sink {
	return &sink{ctx: ctx, stream: &sinkStream{ctx: ctx}}
}

func (c *sink) Context() context.Context { return c.ctx }
func (c *sink) Protocol() string         { return "moqt-18" }
func (c *sink) Kind() transport.Kind     { return transport.QUIC }
func (c *sink) OpenUniStream(context.Context) (transport.SendStream, error) {
	return c.stream, nil
}

type sinkStream struct {
	ctx    context.Context
	writes atomic.Int64
	bytes  atomic.Int64
	wake   func() // after each Write
}

func (s *sinkStream) Write(b []byte) (int, error) {
	s.writes.Add(1)
	s.bytes.Add(int64(len(b)))
	if s.wake != nil {
		s.wake()
	}
	return len(b), nil
}
func (s *sinkStream) Close() error             { return nil }
func (s *sinkStream) Reset(uint64)             {}
func (s *sinkStream) SetPriority(int8, bool)   {}
func (s *sinkStream) Context() context.Context { return s.ctx }

// viewer makes a sender without a session behind it.
func viewer(ctx context.Context, tb testing.TB, track *moq.Track, conn *sink) *sender {
	tb.Helper()
	s := New(conn, RoleServer, Config{})
	d, err := s.newSender(ctx, track, 1, &wire.Params{})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

// writeGroup fills a Subgroup with n Objects of a frame's properties.
func writeGroup(tb testing.TB, w *moq.TrackWriter, group uint64, n, size int) {
	tb.Helper()
	g, err := w.Group(group)
	if err != nil {
		tb.Fatal(err)
	}
	sg, err := g.Subgroup(0, moq.SubgroupConfig{InheritPriority: true})
	if err != nil {
		tb.Fatal(err)
	}
	payload := make([]byte, size)
	for i := range n {
		if err := sg.WriteObject(uint64(i), moq.Properties{{Type: 0x10, Value: 1e15}}, payload); err != nil {
			tb.Fatal(err)
		}
	}
}

// What one more viewer costs of memory per Object is nothing, whether Objects
// go out one by one from shared memory or gathered.
func TestForwardingAllocatesNothing(t *testing.T) {
	for _, tc := range []struct {
		name   string
		size   int
		writes int64 // upper bound, for 1000 Objects
	}{
		{"frames", 16 << 10, 2000},
		{"audio", 200, 20},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			const objects = 1001
			w := moq.NewTrack(trackName, moq.TrackConfig{})
			warm, conn := viewer(ctx, t, w.Track(), newSink(ctx)), newSink(ctx)
			measured := viewer(ctx, t, w.Track(), conn)
			writeGroup(t, w, 0, objects, tc.size)
			open := func(d *sender) (*outgoing, *moq.Object) {
				sr, err := d.current().reader.NextSubgroup(ctx)
				check(t, err)
				o := &outgoing{d: d, sr: sr, first: true, ctx: ctx}
				obj, err := sr.Next(ctx)
				check(t, err)
				check(t, o.open())
				b, err := d.s.draft.AppendSubgroupHeader(nil, o.header)
				check(t, err)
				check(t, o.out.put(b, true))
				return o, obj
			}
			// The first viewer has the headers encoded.
			o, obj := open(warm)
			var err error
			for range objects - 1 {
				obj, err = o.sendObject(obj)
				check(t, err)
			}
			o, obj = open(measured)
			allocs := testing.AllocsPerRun(objects-2, func() {
				if obj, err = o.sendObject(obj); err != nil {
					t.Fatal(err)
				}
			})
			if allocs != 0 {
				t.Errorf("%v allocations per object", allocs)
			}
			if n := conn.stream.writes.Load(); n > tc.writes {
				t.Errorf("%d writes for %d objects", n, objects-1)
			}
		})
	}
}

// Whole Objects that come one by one go out in one Write each.
func TestOneWritePerObject(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := moq.NewTrack(trackName, moq.TrackConfig{})
	conn := newSink(ctx)
	written := make(chan struct{}, 1)
	conn.stream.wake = func() { written <- struct{}{} }
	d := viewer(ctx, t, w.Track(), conn)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.run()
	}()
	sg := subgroup(t, w, 0)
	for i := range uint64(5) {
		check(t, sg.WriteObject(i, nil, make([]byte, 100)))
		<-written
	}
	cancel()
	<-ended
	if n := conn.stream.writes.Load(); n != 5 {
		t.Errorf("%d writes for 5 objects", n)
	}
}

// BenchmarkForward measures what an Object costs per viewer from its writer to
// the transport's Write.
func BenchmarkForward(b *testing.B) {
	for _, viewers := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("viewers=%d", viewers), func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			w := moq.NewTrack(trackName, moq.TrackConfig{})
			var all, seen sync.WaitGroup
			for range viewers {
				conn := newSink(ctx)
				conn.stream.wake = seen.Done
				d := viewer(ctx, b, w.Track(), conn)
				all.Go(func() { d.run() })
			}
			var sg *moq.SubgroupWriter
			payload := make([]byte, 16<<10)
			id := uint64(0)
			b.SetBytes(int64(viewers * len(payload)))
			b.ReportAllocs()
			for b.Loop() {
				if id%30 == 0 {
					if id > 0 {
						sg.Close()
					}
					g, err := w.Group(id / 30)
					if err != nil {
						b.Fatal(err)
					}
					if sg, err = g.Subgroup(0, moq.SubgroupConfig{}); err != nil {
						b.Fatal(err)
					}
				}
				n := viewers
				if id%30 == 0 {
					n *= 2 // the stream header and the first bytes, then the rest
				}
				seen.Add(n)
				if err := sg.WriteObject(id, moq.Properties{{Type: 0x10, Value: 1e15}}, payload); err != nil {
					b.Fatal(err)
				}
				seen.Wait()
				id++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*viewers), "ns/viewer")
			cancel()
			all.Wait()
		})
	}
}
