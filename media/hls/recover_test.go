package hls

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/hls/dvr"
	"github.com/freshet-live/freshet/media/hls/playlist"
)

// openStore runs a store in dir until stop, which writes what is queued.
func openStore(t *testing.T, cfg dvr.Config) (s *dvr.Store, stop func()) {
	t.Helper()
	s, err := dvr.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx) // its error is nil
	}()
	synctest.Wait()
	return s, func() {
		cancel()
		<-done
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func begin(t *testing.T, s *dvr.Store) *dvr.Broadcast {
	t.Helper()
	b, err := s.Begin("demo")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func resume(t *testing.T, s *dvr.Store) *dvr.Broadcast {
	t.Helper()
	b, err := s.Resume("demo")
	if err != nil || b == nil {
		t.Fatalf("nothing to resume: %v", err)
	}
	return b
}

// listed returns what a rendition lists now.
func listed(t *testing.T, m *Muxer, track string) *playlist.Media {
	t.Helper()
	p, err := playlist.ParseMedia((*m.paths.Load())[track].current.Load().full.plain())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRecovery has a second process take over after the first one has gone
// in the middle of a segment, for every way that the input may go on.
func TestRecovery(t *testing.T) {
	for _, c := range []struct {
		name  string
		more  int           // frames of the last GOP that the first process saw
		away  time.Duration // of media that nobody wrote
		b     bool          // frames are reordered
		codec bool          // the publisher is back with another format
		disc  bool
		gap   bool
	}{
		{name: "from the same Group on", more: 47},
		{name: "with B-frames, from the same Group on", more: 47, b: true},
		{name: "at the next Group", more: 47, away: 2 * time.Second, gap: true},
		{name: "at once", gap: true}, // the part in progress was lost
		{name: "six seconds later", away: 6 * time.Second, gap: true},
		{name: "two minutes later", away: 2 * time.Minute, disc: true},
		{name: "with another format", away: 2 * time.Second, codec: true, disc: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s, stop := openStore(t, dvr.Config{Dir: dir})
				m := NewMuxer(Config{Window: 10 * time.Minute})
				m.Store(begin(t, s))
				at := wall()
				picture := func(at media.Time, f *media.Format) script {
					if c.b {
						return bframes(video("video0", &h264, at, gops(11, 60, 30)...))
					}
					return video("video0", f, at, gops(11, 60, 30)...)
				}
				v := picture(at, &vp9)
				a := audio("audio0", &opus, at, 20*time.Millisecond, 1100)
				m.Start(tracks(v, a))
				if c.more > 0 {
					v.frames = v.frames[:600+c.more]
					a.frames = a.frames[:1000+c.more*50/30]
				}
				play(t, m, v, a)
				synctest.Wait()
				before := map[string]*playlist.Media{}
				bodies := map[string]string{}
				for _, r := range m.renditions {
					before[r.track] = listed(t, m, r.track)
					for name, b := range r.files.m {
						if _, ok := b.(*openPart); !ok {
							bodies[r.track+"/"+name] = string(content(t, b))
						}
					}
				}
				stop() // the Muxer is neither suspended nor closed: killed

				time.Sleep(22*time.Second + c.away)
				s, stop = openStore(t, dvr.Config{Dir: dir})
				defer stop()
				m = NewMuxer(Config{Window: 10 * time.Minute})
				o := observe(t, m)
				for track, p := range before {
					o.last[track] = p
				}
				o.allow["hint-broken"] = true // the part that was hinted went with the process
				if !m.Store(resume(t, s)) {
					t.Fatal("nothing was restored")
				}
				select {
				case <-m.Ready():
				default:
					t.Error("what was restored is not offered")
				}
				for name, want := range bodies {
					track, file, _ := strings.Cut(name, "/")
					r := (*m.paths.Load())[track]
					b, ok := r.files.get(file)
					if !ok {
						t.Fatalf("%s is gone", name)
					}
					o.bodies[track+"/"+r.mediaURI(file)] = []byte(want)
					if got := string(content(t, b)); got != want {
						t.Errorf("%s has %d bytes, had %d", name, len(got), len(want))
					}
				}
				f := vp9
				if c.codec {
					f.Width, f.Height = 640, 360
				}
				at = at.Add(22*time.Second + c.away)
				if c.more > 0 {
					at = at.Add(-2 * time.Second)
				}
				v = picture(at, &f)
				a = audio("audio0", &opus, at, 20*time.Millisecond, 1100)
				m.Start(tracks(v, a))
				play(t, m, v, a)
				synctest.Wait()
				for _, track := range []string{"video0", "audio0"} {
					p := listed(t, m, track)
					disc, gap := 0, 0
					for i, g := range p.Segments {
						if g.Discontinuity {
							disc++
						}
						if g.Gap {
							gap++
						}
						old := before[track]
						if msn := p.MediaSequence + uint64(i); msn < old.MediaSequence+uint64(len(old.Segments)) {
							if q := old.Segments[msn-old.MediaSequence]; !q.Time.Equal(g.Time) || !q.Open() && q.URI != g.URI {
								t.Errorf("%s: segment %d was %v %s and is %v %s", track, msn, q.Time, q.URI, g.Time, g.URI)
							}
						}
					}
					if (disc > 0) != c.disc || !c.codec && (gap > 0) != c.gap || disc > 1 {
						t.Errorf("%s: %d discontinuities, %d gaps\n%s", track, disc, gap, p.Append(nil))
					}
				}
				m.Suspend()
				o.checkMedia("video0")
				o.checkMedia("audio0")
			})
		})
	}
}

// TestRecoveredLayers restores two layers of which one finds less of the
// broadcast upstream than the other, and has a third one join: they are cut
// and numbered alike, at the places that the segments of before ask for.
func TestRecoveredLayers(t *testing.T) {
	for _, c := range []struct {
		low, new int  // the second at which each goes on or begins
		even     bool // no hole makes the first layer catch up with the numbers
	}{
		{21, 21, true}, {24, 24, true}, {22, 23, false}, {23, 22, false}, {25, 22, false}, {25, 26, false},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s, stop := openStore(t, dvr.Config{Dir: dir})
				m := NewMuxer(Config{Window: 10 * time.Minute})
				m.Store(begin(t, s))
				at := wall()
				layer := func(track string, from, to int) script {
					l := video(track, &vp9, at, gops(to, 30, 30)...)
					l.frames = l.frames[from*30:]
					return l
				}
				high, low := layer("high", 0, 22), layer("low", 0, 22)
				m.Start(tracks(high, low))
				play(t, m, high, low)
				synctest.Wait()
				stop()

				s, stop = openStore(t, dvr.Config{Dir: dir})
				defer stop()
				m = NewMuxer(Config{Window: 10 * time.Minute})
				if !m.Store(resume(t, s)) {
					t.Fatal("nothing was restored")
				}
				layers := []script{layer("high", 20, 60), layer("low", c.low, 60), layer("new", c.new, 60)}
				m.Start(tracks(layers...))
				play(t, m, layers...)
				m.Close()
				synctest.Wait()
				a := listed(t, m, "high")
				starts := make(map[uint64]time.Time)
				for i, g := range a.Segments {
					starts[a.MediaSequence+uint64(i)] = g.Time
					if c.even && i > 0 && i < len(a.Segments)-1 && g.Duration != segmentMin {
						t.Errorf("a segment of the layer that lost nothing lasts %v\n%s", g.Duration, a.Append(nil))
					}
				}
				for _, track := range []string{"low", "new"} {
					b := listed(t, m, track)
					same := 0
					for i, g := range b.Segments {
						if starts[b.MediaSequence+uint64(i)].Equal(g.Time) {
							same++
						} else if g.Time.Sub(at.Wall()) > 32*time.Second {
							t.Errorf("%s: segment %d begins elsewhere", track, b.MediaSequence+uint64(i))
						}
					}
					if same < 7 {
						t.Errorf("%s: %d of %d segments begin alike\n%s\n%s", track, same, len(b.Segments), a.Append(nil), b.Append(nil))
					}
				}
			})
		})
	}
}

// TestFormats keeps all that is known of a format, whatever that is.
func TestFormats(t *testing.T) {
	for _, f := range []media.Format{h264, vp9, opus, aac, {Codec: media.H265, MIME: "hvc1", FrameRate: 59.94, Bitrate: 5}} {
		got, ok := decodeFormat(encodeFormat(&f))
		if !ok || !reflect.DeepEqual(*got, f) {
			t.Errorf("%+v became %+v", f, got)
		}
	}
	nan := vp9
	nan.FrameRate = math.NaN()
	vp8 := media.Format{Codec: media.VP8}
	for _, b := range []string{string(encodeFormat(&nan)), string(encodeFormat(&vp8)), "", "1", `{"Name":"H264","Width":"x"}`, `{"Name":"H999"}`} {
		if _, ok := decodeFormat([]byte(b)); ok {
			t.Errorf("%s is a format", b)
		}
	}
}

// TestVOD plays a broadcast from disk after it has ended, in the same process
// and the next.
func TestVOD(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, stop := openStore(t, dvr.Config{Dir: dir})
		m := NewMuxer(Config{Window: 10 * time.Minute})
		b := begin(t, s)
		m.Store(b)
		o := observe(t, m)
		v := video("video0", &vp9, wall(), gops(100, 60, 30)...)
		m.Start(tracks(v))
		play(t, m, v)
		m.Close()
		b.Close()
		synctest.Wait()
		p, keys := listed(t, m, "video0"), listed(t, m, "video0"+iframesSuffix)
		if !p.EndList || len(p.Segments) < 50 {
			t.Fatalf("ended %v with %d segments", p.EndList, len(p.Segments))
		}
		if r := m.renditions[0]; r.bytes > 3<<20 {
			t.Errorf("%d bytes in memory", r.bytes)
		}
		stop()

		time.Sleep(5 * time.Minute)
		s, stop = openStore(t, dvr.Config{Dir: dir})
		defer stop()
		m = NewMuxer(Config{Window: 10 * time.Minute})
		if !m.Store(resume(t, s)) {
			t.Fatal("nothing was restored")
		}
		q := listed(t, m, "video0")
		if !q.EndList || len(q.Segments) != len(p.Segments) || q.MediaSequence != p.MediaSequence {
			t.Errorf("ended %v with %d segments, had %d", q.EndList, len(q.Segments), len(p.Segments))
		}
		for _, f := range p.CheckUpdate(q) {
			t.Error(f)
		}
		synctest.Wait()
		if k := listed(t, m, "video0"+iframesSuffix); len(k.Segments) < 50 || !reflect.DeepEqual(k, keys) {
			t.Errorf("the key frames are\n%s\nand were\n%s", k.Append(nil), keys.Append(nil))
		}
		r := m.renditions[0]
		for i := range q.Segments {
			file := strings.Replace(strings.TrimPrefix(q.Segments[i].URI, "../../m/"), "/video0/", "/", 1)
			body, ok := r.files.get(file)
			if !ok || string(content(t, body)) != string(o.bodies["video0/"+q.Segments[i].URI]) {
				t.Errorf("segment %d is not what it was", i)
			}
		}
		if e, err := os.ReadDir(dir); err != nil || len(e) == 0 {
			t.Error(fmt.Errorf("nothing on disk: %w", err))
		}
	})
}

// TestEvent keeps all of a broadcast: nothing leaves its playlist, which says
// so, also at its end and when the disk can hold only a part of it.
func TestEvent(t *testing.T) {
	for name, limit := range map[string]int64{"enough disk": 1 << 30, "too little disk": 400 << 10} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s, stop := openStore(t, dvr.Config{Dir: dir, Limit: limit})
				defer stop()
				m := NewMuxer(Config{Window: WholeBroadcast})
				m.Store(begin(t, s))
				o := observe(t, m)
				full := limit == 1<<30
				o.allow["type-changed"], o.allow["type-removed"] = !full, !full
				v := video("video0", &vp9, wall(), gops(120, 60, 30)...)
				for i := range v.frames {
					v.frames[i].Data = make([]byte, 200) // 1.5 MB
				}
				m.Start(tracks(v))
				for i := 0; i < len(v.frames); i += 600 { // the disk follows
					play(t, m, script{track: v.track, frames: v.frames[i : i+600]})
					synctest.Wait()
					if n := s.Size(); n > limit+limit/10+limit/20 {
						t.Fatalf("%d bytes on disk, the limit is %d", n, limit)
					}
				}
				m.Close()
				synctest.Wait()
				p := listed(t, m, "video0")
				if complete := p.MediaSequence == m.firstMSN; complete != full || (p.Type == playlist.TypeEvent) != full || !p.EndList {
					t.Errorf("type %q, ended %v, complete %v", p.Type, p.EndList, complete)
				}
				if len(p.Segments) < 10 {
					t.Errorf("%d segments", len(p.Segments))
				}
			})
		})
	}
}

// TestWithoutDisk has the disk fail: what is recent is served from memory,
// and the disk is used again once it works.
func TestWithoutDisk(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s, stop := openStore(t, dvr.Config{Dir: dir})
		const bound = 2 << 20
		m := NewMuxer(Config{Window: 10 * time.Minute, MaxBytes: bound})
		m.Store(begin(t, s))
		observe(t, m)
		v := video("video0", &vp9, wall(), gops(150, 60, 30)...)
		for i := range v.frames {
			v.frames[i].Data = make([]byte, 1000)
		}
		m.Start(tracks(v))
		r := m.renditions[0]
		write := func(from, to int) {
			for i := from; i < to; i += 600 {
				play(t, m, script{track: v.track, frames: v.frames[i : i+600]})
				synctest.Wait()
			}
		}
		write(0, 3000)
		if d := time.Duration(r.duration); d < 95*time.Second {
			t.Errorf("with a disk %v are listed", d)
		}
		// A folder where the journal was: nobody can write it, root included.
		journal := filepath.Join(folders(t, dir)[0], "journal")
		if err := errors.Join(os.Rename(journal, journal+".kept"), os.Mkdir(journal, 0o700)); err != nil {
			t.Fatal(err)
		}
		write(3000, 6000)
		if r.bytes > bound+bound/4 {
			t.Errorf("%d bytes in memory, bound %d", r.bytes, bound)
		}
		if d := time.Duration(r.duration); d < minWindow || d > 90*time.Second {
			t.Errorf("without a disk %v are listed", d)
		}
		if err := errors.Join(os.Remove(journal), os.Rename(journal+".kept", journal)); err != nil {
			t.Fatal(err)
		}
		write(6000, 9000)
		before := listed(t, m, "video0")
		stop()

		s, stop = openStore(t, dvr.Config{Dir: dir})
		defer stop()
		m = NewMuxer(Config{Window: 10 * time.Minute})
		if !m.Store(resume(t, s)) {
			t.Fatal("nothing was restored")
		}
		// What was never written is not listed, nor is what lies before it.
		after := listed(t, m, "video0")
		if n := len(after.Segments); n < 20 || n > 26 {
			t.Errorf("%d segments were restored of %d", n, len(before.Segments))
		}
		for _, f := range append(before.CheckUpdate(after), after.Check()...) {
			if f.Rule != "hint-broken" && f.Rule != "window" {
				t.Error(f)
			}
		}
	})
}

// folders lists the renditions' folders of a store.
func folders(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*", "*", "*"))
	if err != nil || len(all) == 0 {
		t.Fatalf("%d folders: %v", len(all), err)
	}
	return all
}

// TestStandingDisk has a write that never returns: playlists go on without
// the disk.
func TestStandingDisk(t *testing.T) {
	dir := t.TempDir()
	s, err := dvr.Open(dvr.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) }) // its error is nil
	m := NewMuxer(Config{})
	m.Store(begin(t, s))
	v := video("video0", &vp9, wall(), gops(1000, 60, 30)...)
	m.Start(tracks(v))
	r := m.renditions[0]
	write := func(gops int) {
		play(t, m, script{track: v.track, frames: v.frames[:gops*60]})
		v.frames = v.frames[gops*60:]
	}
	current := func() uint64 { return r.current.Load().number }
	// eventually writes on until ok, which takes what the disk takes.
	eventually := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) || len(v.frames) < 120 {
				t.Fatalf("%s: version %d is shown of %d", what, current(), r.versions)
			}
			write(1)
		}
	}
	write(2)
	eventually("with a disk", func() bool { return current() > 20 })
	// Whoever opens a pipe for writing waits for a reader.
	pipe := filepath.Join(folders(t, dir)[0], fmt.Sprintf("%s-s%d.m4s", m.epoch, r.nextMSN+2))
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	write(8)
	number := r.versions
	eventually("the disk stands", func() bool { return current() > number })
	reader, err := os.Open(pipe)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { _, _ = io.Copy(io.Discard, reader) })
	eventually("the disk is back", func() bool {
		n := len(r.listed)
		return r.listed[n-1].durable.Load() || r.listed[n-2].durable.Load()
	})
	m.Close()
	cancel()
	wg.Wait()
	if err := errors.Join(reader.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}
