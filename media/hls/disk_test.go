package hls

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/hls/dvr"
)

// BenchmarkStoredPart writes a part of 3 Mbit/s, with five minutes listed, in
// memory and through a disk: what the muxer's goroutine does, and all
// together.
func BenchmarkStoredPart(b *testing.B) {
	for _, disk := range []bool{false, true} {
		name := "memory"
		if disk {
			name = "disk"
		}
		b.Run(name, func(b *testing.B) {
			m := NewMuxer(Config{Window: 5 * time.Minute, MaxBytes: 1 << 30})
			var wg sync.WaitGroup
			defer wg.Wait()
			if disk {
				s, err := dvr.Open(dvr.Config{Dir: b.TempDir()})
				if err != nil {
					b.Fatal(err)
				}
				ctx, cancel := context.WithCancel(context.Background())
				wg.Go(func() {
					_ = s.Run(ctx) // its error is nil
					_ = s.Close()
				})
				defer cancel()
				past, err := s.Begin("demo")
				if err != nil {
					b.Fatal(err)
				}
				m.Store(past)
			}
			at := media.TimeOf(time.Now())
			m.Start([]Track{{"video0", vp9}})
			data := make([]byte, 12_500)
			n := 0
			part := func() {
				for range 15 {
					f := media.Frame{PTS: at + media.Time(n*1_000_000/30), Key: n%60 == 0, Data: data, Format: &vp9}
					if err := m.WriteFrame("video0", f, false); err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			for range 600 {
				part()
			}
			for b.Loop() {
				part()
			}
		})
	}
}

// BenchmarkFromDisk reads a segment of 1.5 MB that is on disk, as a response
// does.
func BenchmarkFromDisk(b *testing.B) {
	s, err := dvr.Open(dvr.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Run(ctx) // its error is nil
		_ = s.Close()
	})
	defer wg.Wait()
	defer cancel()
	past, err := s.Begin("demo")
	if err != nil {
		b.Fatal(err)
	}
	m := NewMuxer(Config{Window: time.Minute})
	m.Store(past)
	m.Start([]Track{{"video0", vp9}})
	v := video("video0", &vp9, media.TimeOf(time.Now()), gops(10, 60, 30)...)
	for _, f := range v.frames {
		f.Data = make([]byte, 12_500)
		if err := m.WriteFrame("video0", f, false); err != nil {
			b.Fatal(err)
		}
	}
	seg := m.renditions[0].listed[1]
	for !seg.durable.Load() {
		time.Sleep(time.Millisecond)
	}
	body := m.renditions[0].stored(seg)[seg.name]
	b.SetBytes(seg.size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := body.Open().WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
