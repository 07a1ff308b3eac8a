package hls

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

// longBroadcast returns a Muxer of three renditions that list half an hour. At
// four pictures a second its playlists are as long as with thirty.
func longBroadcast(tb testing.TB) *Muxer {
	small, medium := vp9, vp9
	small.Width, medium.Width = 320, 640
	m := NewMuxer(Config{Window: 30 * time.Minute, MaxBytes: 1 << 30})
	at := media.TimeOf(time.Now())
	m.Start([]Track{{"video0", vp9}, {"video1", medium}, {"video2", small}})
	for _, s := range []script{
		video("video0", &vp9, at, gops(900, 8, 4)...), video("video1", &medium, at, gops(900, 8, 4)...), video("video2", &small, at, gops(900, 8, 4)...),
	} {
		for _, f := range s.frames {
			if err := m.WriteFrame(s.track, f, false); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return m
}

// whole renders a rendition's playlists without any memory of the past, each
// version compressed: what render saves.
func (r *rendition) whole() (full, delta []byte) {
	m := playlist.Media{
		Version: version10, IndependentSegments: true,
		TargetDuration: targetDuration, PartTarget: partTarget, Control: control,
		MediaSequence:   r.nextMSN - uint64(len(r.listed)),
		Discontinuities: r.firstDis, HasDiscontinuities: true,
		EndList: r.ended, Hint: r.mediaURI(r.hint),
	}
	for _, o := range r.m.renditions {
		if rep, ok := o.report(); ok && o != r {
			m.Reports = append(m.Reports, rep)
		}
	}
	for _, s := range r.listed {
		m.Segments = append(m.Segments, s.entry)
	}
	if r.begun() {
		m.Segments = append(m.Segments, r.open.entry)
	}
	bare, skip := r.boundaries()
	for i := range bare {
		m.Segments[i].Parts = nil
	}
	full = m.Append(nil)
	m.Skipped, m.Segments = skip, m.Segments[skip:]
	return full, m.Append(nil)
}

// TestRenderIsWhole checks the text that is put together from cached pieces
// against that of a rendition without memory, after half an hour.
func TestRenderIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := longBroadcast(t)
		for _, r := range m.renditions {
			v := r.render()
			full, delta := r.whole()
			if !bytes.Equal(v.full.plain(), full) {
				t.Errorf("%s: full playlist differs:\n%s", r.track, v.full.plain())
			}
			if !bytes.Equal(v.delta.plain(), delta) {
				t.Errorf("%s: delta update differs:\n%s\nwant\n%s", r.track, v.delta.plain(), delta)
			}
			if n := bytes.Count(full, []byte("#EXTINF")); n < 440 {
				t.Errorf("only %d segments listed", n)
			}
		}
		m.Close()
	})
}

// BenchmarkPublish measures what a part costs in a broadcast of three
// renditions with 450 segments each: with everything rendered anew and
// compressed, and as it is done; then what the first viewer adds who asks.
func BenchmarkPublish(b *testing.B) {
	m := longBroadcast(b)
	b.Run("everything", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, r := range m.renditions {
				full, delta := r.whole()
				render(full).gzip()
				render(delta).gzip()
			}
		}
	})
	b.Run("publish", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, r := range m.renditions {
				r.publish()
			}
		}
	})
	b.Run("publish and delta asked", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, r := range m.renditions {
				r.publish()
				r.current.Load().delta.gzip()
			}
		}
	})
	b.Run("publish and all asked", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, r := range m.renditions {
				r.publish()
				v := r.current.Load()
				v.full.gzip()
				v.delta.gzip()
			}
		}
	})
	m.Close()
}
