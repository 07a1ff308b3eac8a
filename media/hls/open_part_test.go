package hls

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"

	"github.com/freshet-live/freshet/media/cmaf"
)

// follow reads a part to its end, and returns it with the error that ended it.
func follow(ctx context.Context, p follower) ([]byte, error) {
	var out []byte
	for {
		b, err := p.Next(ctx, int64(len(out)))
		if err != nil {
			return out, err
		}
		out = append(out, b.Bytes()...)
	}
}

// TestOpenPart has readers come at every moment of a part's life; all of them
// read all of it.
func TestOpenPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newOpenPart()
		var want []byte
		var wg sync.WaitGroup
		reader := func() {
			wg.Go(func() {
				got, err := follow(t.Context(), p)
				if !errors.Is(err, io.EOF) || string(got) != "one two three" {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
		reader()
		synctest.Wait()
		select {
		case <-p.Begun():
			t.Error("begun without a byte")
		default:
		}
		for _, s := range []string{"one ", "two ", "three"} {
			want = append(want, s...)
			p.append(cmaf.NewBuffer([]byte(s)))
			if n, complete := p.Len(); n != int64(len(want)) || complete {
				t.Errorf("%d bytes, complete %v", n, complete)
			}
			reader()
			synctest.Wait()
		}
		<-p.Begun()
		if got := p.complete().Bytes(); !bytes.Equal(got, want) {
			t.Errorf("%q", got)
		}
		reader()
		wg.Wait()
		if n, complete := p.Len(); n != int64(len(want)) || !complete {
			t.Errorf("%d bytes, complete %v", n, complete)
		}
	})
}

// TestOpenPartEnds gives parts up before and after their first byte, and
// readers before them.
func TestOpenPartEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, chunks := range []int{0, 1} {
			p := newOpenPart()
			for range chunks {
				p.append(cmaf.NewBuffer([]byte("x")))
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			gone := errors.New("gone")
			left := make(chan error)
			go func() { _, err := follow(ctx, p); left <- err }()
			stayed := make(chan error)
			go func() { _, err := follow(t.Context(), p); stayed <- err }()
			synctest.Wait()
			cancel(gone)
			if err := <-left; err != gone {
				t.Errorf("who left: %v", err)
			}
			p.giveUp()
			<-p.Begun()
			if err := <-stayed; !errors.Is(err, errGivenUp) {
				t.Errorf("who stayed: %v", err)
			}
		}
	})
}

// recorder notes when bytes come.
type recorder struct {
	*httptest.ResponseRecorder
	at []time.Time
}

func (r *recorder) Flush() { r.at = append(r.at, time.Now()) }

// TestHintedPart asks for the part that is hinted, as a player does, before
// it has begun: it comes at once when it is whole.
func TestHintedPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{})
		v := video("video0", &vp9, wall(), gops(2, 60, 30)...)
		m.Start(tracks(v))
		var wg sync.WaitGroup
		wg.Go(func() { feedMuxer(t, m, v) })
		time.Sleep(3010 * time.Millisecond)
		r := m.renditions[0]
		hint := r.current.Load().hint
		w := &recorder{ResponseRecorder: httptest.NewRecorder()}
		asked := time.Now()
		r.serveMedia(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/x", nil), hint)
		if d := time.Since(asked); w.Code != http.StatusOK || d < 300*time.Millisecond || d > partTarget+100*time.Millisecond {
			t.Errorf("status %d after %v", w.Code, d)
		}
		if len(w.at) != 0 || w.Header().Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
			t.Errorf("%d pieces, headers %v", len(w.at), w.Header())
		}
		body, ok := r.files.get(hint)
		if !ok || !bytes.Equal(content(t, body), w.Body.Bytes()) {
			t.Error("the part is not what was sent")
		}
		wg.Wait()
		m.Close()
	})
}

// TestTrickle asks for the hinted part where it is sent as it is made.
func TestTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMuxer(Config{Trickle: true})
		observe(t, m)
		v := video("video0", &vp9, wall(), gops(2, 60, 30)...)
		m.Start(tracks(v))
		var wg sync.WaitGroup
		wg.Go(func() { feedMuxer(t, m, v) })
		time.Sleep(3010 * time.Millisecond)
		r := m.renditions[0]
		hint := r.current.Load().hint
		w := &recorder{ResponseRecorder: httptest.NewRecorder()}
		asked := time.Now()
		r.serveMedia(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/x", nil), hint)
		if w.Code != http.StatusOK || len(w.at) < 4 {
			t.Fatalf("status %d, %d pieces", w.Code, len(w.at))
		}
		for i, at := range w.at {
			if d := at.Sub(asked); d < time.Duration(i)*90*time.Millisecond || d > time.Duration(i+2)*110*time.Millisecond {
				t.Errorf("piece %d came after %v", i, d)
			}
		}
		var parts fmp4.Parts
		if err := parts.Unmarshal(w.Body.Bytes()); err != nil || len(parts) != 5 {
			t.Errorf("%d chunks: %v", len(parts), err)
		}
		body, ok := r.files.get(hint)
		if !ok || !bytes.Equal(content(t, body), w.Body.Bytes()) {
			t.Error("the part is not what was sent while it was made")
		}
		// The part that is hinted when the broadcast ends never comes.
		wg.Wait()
		m.Stop()
		hint = r.current.Load().hint
		last := httptest.NewRecorder()
		wg.Go(func() {
			r.serveMedia(last, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/x", nil), hint)
		})
		synctest.Wait()
		m.Close()
		wg.Wait()
		if last.Code != http.StatusNotFound {
			t.Errorf("the part that never came: status %d", last.Code)
		}
	})
}

// feedMuxer writes a script at the pace of its times.
func feedMuxer(t *testing.T, m *Muxer, s script) {
	for _, f := range s.frames {
		if d := time.Until(f.PTS.Wall()); d > 0 {
			time.Sleep(d)
		}
		if err := m.WriteFrame(s.track, f, false); err != nil {
			t.Error(err)
			return
		}
	}
}

// chunksOf lays out half a second of samples in n chunks.
func chunksOf(samples []cmaf.Sample, n int) int64 {
	var size int64
	for i := range n {
		part := samples[i*len(samples)/n : (i+1)*len(samples)/n]
		c := cmaf.Chunk{DecodeTime: 1, Samples: part}
		if i == 0 {
			c.Reference = 1
		}
		b, err := c.Buffer()
		if err != nil {
			panic(err) // the samples are small
		}
		size += b.Len()
	}
	return size
}

// BenchmarkChunks compares a part in one chunk with one in chunks of 100 ms:
// the bytes and the time that it takes to lay it out.
func BenchmarkChunks(b *testing.B) {
	for _, c := range []struct {
		name          string
		samples, each int
	}{
		{"video 30 fps 3 Mbit/s", 15, 12_500}, {"video 60 fps 6 Mbit/s", 30, 12_500}, {"audio Opus 96 kbit/s", 25, 240},
	} {
		samples := make([]cmaf.Sample, c.samples)
		for i := range samples {
			samples[i] = cmaf.Sample{Data: make([]byte, c.each+i%7), Duration: 3000, Sync: i == 0}
		}
		one, five := chunksOf(samples, 1), chunksOf(samples, 5)
		for _, n := range []int{1, 5} {
			b.Run(c.name+"/"+string(rune('0'+n)), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					chunksOf(samples, n)
				}
				b.ReportMetric(float64(five)/float64(one), "bytes5/bytes1")
			})
		}
	}
}
