package packager

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/media/loc"
	"github.com/freshet-live/freshet/moq"
)

var ns = moq.Namespace{"live", "demo"}

var (
	h264 = &media.Format{Codec: media.H264, MIME: "avc1.64001f", Description: []byte{1, 0x64, 0, 0x1f}, Width: 1280, Height: 720}
	opus = &media.Format{Codec: media.Opus, MIME: "opus", SampleRate: 48000, Channels: 2}
)

// source writes frames of one track in real time.
type source struct {
	t   *testing.T
	w   media.TrackWriter
	pts media.Time
}

func newSource(t *testing.T, b *Broadcast, f media.Format) *source {
	t.Helper()
	w, err := b.AddTrack(f)
	if err != nil {
		t.Fatal(err)
	}
	return &source{t: t, w: w, pts: media.TimeOf(time.Now())}
}

// frame writes one frame and waits until the next is due.
func (s *source) frame(key bool, size int, every time.Duration) {
	s.t.Helper()
	f := media.Frame{PTS: s.pts, Key: key, Data: make([]byte, size)}
	if key {
		f.Format = h264
	}
	if err := s.w.WriteFrame(f); err != nil {
		s.t.Fatal(err)
	}
	s.pts = s.pts.Add(every)
	time.Sleep(every)
}

const videoFrame = 40 * time.Millisecond // 25 per second

// gop writes a key frame and n-1 others.
func (s *source) gop(n int) {
	for i := range n {
		s.frame(i == 0, 1000, videoFrame)
	}
}

func trackOf(t *testing.T, b *Broadcast, name string) *moq.Track {
	t.Helper()
	tr, ok := b.Broadcast().Track(name)
	if !ok {
		t.Fatalf("no track %q", name)
	}
	return tr
}

// read returns what is retained of a Track: Group IDs with their Objects.
func read(t *testing.T, tr *moq.Track) (ids []uint64, groups [][]*moq.Object) {
	t.Helper()
	r := tr.Range(moq.Location{}, moq.Location{Group: 1 << 60}, moq.GroupOrderAscending)
	for {
		o, err := r.Next()
		if err == io.EOF {
			return ids, groups
		}
		if err != nil {
			t.Fatal(err)
		}
		if o.Object == nil {
			continue // evicted
		}
		if len(ids) == 0 || ids[len(ids)-1] != o.Group {
			ids, groups = append(ids, o.Group), append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], o.Object)
	}
}

func header(t *testing.T, o *moq.Object) loc.Header {
	t.Helper()
	h, err := loc.Parse(o.Properties, nil)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// newest returns the newest catalog without its CMAF tracks, which repeat the
// others.
func newest(t *testing.T, b *Broadcast) catalog.Catalog {
	t.Helper()
	c := whole(t, b)
	c.Tracks = slices.DeleteFunc(c.Tracks, func(t catalog.Track) bool { return t.Packaging == catalog.CMAF })
	return c
}

func whole(t *testing.T, b *Broadcast) catalog.Catalog {
	t.Helper()
	_, groups := read(t, trackOf(t, b, catalog.TrackMSF))
	if len(groups) == 0 {
		t.Fatal("no catalog")
	}
	c, err := catalog.ParseMSF(groups[len(groups)-1][0].Payload())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestGroups: "Samples that belong to the same Group of Pictures (GOP) MUST be
// placed within the same MOQT Group" (draft-ietf-moq-msf, section "LOC
// packaging"), and Object IDs begin at zero in each.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := uint64(time.Now().UnixMilli())
		b := New(ns, Config{})
		v := newSource(t, b, media.Format{Codec: media.H264})
		start := v.pts
		for range 3 {
			v.gop(25)
		}
		ids, groups := read(t, trackOf(t, b, "video0"))
		if len(ids) != 3 {
			t.Fatalf("groups %v", ids)
		}
		for i, objects := range groups {
			if ids[i] != first+uint64(i) {
				t.Errorf("group %d has ID %d, want %d", i, ids[i], first+uint64(i))
			}
			if len(objects) != 25 {
				t.Errorf("group %d has %d objects", i, len(objects))
			}
			for j, o := range objects {
				h := header(t, o)
				if want := start.Add(time.Duration(25*i+j) * videoFrame); o.ID != uint64(j) || h.Time != want {
					t.Fatalf("group %d object %d: ID %d, time %d, want %d", i, j, o.ID, h.Time, want)
				}
				// The first Object of each Group is enough to start a decoder.
				if (j == 0) != (string(h.VideoConfig) == string(h264.Description)) {
					t.Fatalf("group %d object %d: config %x", i, j, h.VideoConfig)
				}
			}
		}
		props := trackOf(t, b, "video0").Properties()
		if p, _ := props.Get(moq.PropertyDynamicGroups); p.Value != 1 {
			t.Error("the track does not offer new groups on request")
		}
		if v, c := trackOf(t, b, "video0").Priority(), trackOf(t, b, catalog.TrackMSF).Priority(); c >= v {
			// "The catalog track SHOULD have a higher publisher priority than all tracks described within the catalog."
			t.Errorf("priority of the catalog %d, of video %d", c, v)
		}
		b.Close(nil)
	})
}

// TestReaderSeesWholeGroups: a Group's stream ends with its last frame, so
// that a viewer need not wait for the next one to know.
func TestReaderSeesWholeGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(ns, Config{})
		v := newSource(t, b, *h264)
		r := trackOf(t, b, "video0").NewReader(moq.ReaderConfig{Start: moq.StartCurrentGroup})
		defer r.Close()
		v.gop(5)
		v.frame(true, 10, 0)
		s, err := r.NextSubgroup(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if cfg := s.Config(); !cfg.EndOfGroup || !cfg.InheritPriority || s.ID() != 0 {
			t.Errorf("subgroup %d %+v", s.ID(), cfg)
		}
		n := 0
		for ; ; n++ {
			if _, err := s.Next(t.Context()); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if n != 5 {
			t.Errorf("%d objects", n)
		}
		b.Close(nil)
	})
}

// TestAudioGroups: audio Groups last about a second and begin at the video's
// key frames, unless that would make them tiny.
func TestAudioGroups(t *testing.T) {
	const every = 20 * time.Millisecond
	for name, c := range map[string]struct {
		keys []time.Duration // of video, from the start
		want []time.Duration // where audio Groups begin
	}{
		"no video":        {nil, []time.Duration{0, time.Second, 2 * time.Second}},
		"aligned":         {[]time.Duration{0, time.Second, 2 * time.Second}, []time.Duration{0, time.Second, 2 * time.Second}},
		"in between":      {[]time.Duration{0, 600 * time.Millisecond, 2200 * time.Millisecond}, []time.Duration{0, 600 * time.Millisecond, 1600 * time.Millisecond, 2200 * time.Millisecond}},
		"on request":      {[]time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond}, []time.Duration{0, 260 * time.Millisecond, 1260 * time.Millisecond, 2260 * time.Millisecond}},
		"longer than GOP": {[]time.Duration{0, 2500 * time.Millisecond}, []time.Duration{0, time.Second, 2 * time.Second, 2500 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := New(ns, Config{})
				v, a := newSource(t, b, media.Format{Codec: media.H264}), newSource(t, b, *opus)
				start := a.pts
				keys := c.keys
				for at := time.Duration(0); at < 2900*time.Millisecond; at += every {
					if len(keys) > 0 && keys[0] <= at {
						v.pts = start.Add(keys[0])
						v.frame(true, 100, 0)
						keys = keys[1:]
					}
					a.packet(every)
				}
				_, groups := read(t, trackOf(t, b, "audio0"))
				var got []time.Duration
				for _, g := range groups {
					got = append(got, header(t, g[0]).Time.Sub(start))
				}
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("groups begin at %v, want %v", got, c.want)
				}
				b.Close(nil)
			})
		})
	}
}

// packet writes an audio frame and waits until the next is due.
func (s *source) packet(every time.Duration) {
	s.t.Helper()
	if err := s.w.WriteFrame(media.Frame{PTS: s.pts, Key: true, Data: make([]byte, 160), Format: opus}); err != nil {
		s.t.Fatal(err)
	}
	s.pts = s.pts.Add(every)
	time.Sleep(every)
}

// TestKeyFrameRequests follows what readers want.
func TestKeyFrameRequests(t *testing.T) {
	asked := func(s *source) bool {
		select {
		case <-s.w.KeyFrameRequests():
			return true
		default:
			return false
		}
	}
	deltas := func(s *source, d time.Duration) (requests int) {
		for end := s.pts.Add(d); s.pts < end; {
			s.frame(false, 100, videoFrame)
			if asked(s) {
				requests++
			}
		}
		return requests
	}
	join := func(t *testing.T, b *Broadcast) *moq.TrackReader {
		return trackOf(t, b, "video0").NewReader(moq.ReaderConfig{Start: moq.StartCurrentGroup})
	}
	for name, run := range map[string]func(*testing.T, *Broadcast, *source){
		"nobody watches": func(t *testing.T, b *Broadcast, v *source) {
			if n := deltas(v, 20*time.Second); n != 0 {
				t.Errorf("%d requests", n)
			}
		},
		"joined early": func(t *testing.T, b *Broadcast, v *source) {
			deltas(v, time.Second)
			defer join(t, b).Close()
			if n := deltas(v, time.Second); n != 0 {
				t.Errorf("%d requests", n)
			}
		},
		"joined late": func(t *testing.T, b *Broadcast, v *source) {
			deltas(v, 2*time.Second)
			defer join(t, b).Close()
			if n := deltas(v, 300*time.Millisecond); n != 1 {
				t.Errorf("%d requests", n)
			}
		},
		"joined late and left": func(t *testing.T, b *Broadcast, v *source) {
			deltas(v, 2*time.Second)
			join(t, b).Close() // a relay that subscribes on its behalf counts as one reader anyway
			if n := deltas(v, 300*time.Millisecond); n != 1 {
				t.Errorf("%d requests", n)
			}
		},
		"crowd": func(t *testing.T, b *Broadcast, v *source) {
			deltas(v, 2*time.Second)
			n := 0
			for range 25 {
				defer join(t, b).Close()
				n += deltas(v, videoFrame)
			}
			// One second of arrivals, at most one request each half second.
			if n < 1 || n > 2 {
				t.Errorf("%d requests", n)
			}
		},
		"new group request": func(t *testing.T, b *Broadcast, v *source) {
			trackOf(t, b, "video0").RequestNewGroup(0)
			if n := deltas(v, 200*time.Millisecond); n != 1 {
				t.Errorf("%d requests", n)
			}
			v.frame(true, 100, videoFrame)
			if n := deltas(v, 2*time.Second); n != 0 {
				t.Errorf("%d requests after the key frame", n)
			}
		},
		"absurd new group request": func(t *testing.T, b *Broadcast, v *source) {
			trackOf(t, b, "video0").RequestNewGroup(1<<64 - 1)
			deltas(v, 200*time.Millisecond)
			v.frame(true, 100, videoFrame)
			if n := deltas(v, 10*time.Second); n != 0 {
				t.Errorf("%d requests after the key frame", n)
			}
		},
		"long without key frame": func(t *testing.T, b *Broadcast, v *source) {
			defer join(t, b).Close()
			if n := deltas(v, 3900*time.Millisecond); n != 0 {
				t.Errorf("%d requests within 4 s", n)
			}
			if n := deltas(v, 12*time.Second); n != 3 {
				t.Errorf("%d requests in the next 12 s", n)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := New(ns, Config{})
				v := newSource(t, b, media.Format{Codec: media.H264})
				v.frame(true, 100, videoFrame)
				if asked(v) {
					t.Error("asked at a key frame")
				}
				run(t, b, v)
				b.Close(nil)
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		b := New(ns, Config{})
		v := newSource(t, b, media.Format{Codec: media.H264})
		if n := deltas(v, 5*time.Second); n != 5 {
			t.Errorf("%d requests in 5 s without any key frame, want one a second", n)
		}
		if s := b.Stats()[0]; s.Dropped[DropNoKeyFrame] != 125 || s.KeyFrameRequests != 5 {
			t.Errorf("stats %+v", s)
		}
		if w := newSource(t, b, *opus).w; w.KeyFrameRequests() != nil {
			t.Error("audio asks for key frames")
		}
		b.Close(nil)
	})
}

// TestCatalogs: the catalogs come before media and again when they change.
func TestCatalogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(ns, Config{TargetLatency: 500 * time.Millisecond})
		v, a := newSource(t, b, media.Format{Codec: media.H264}), newSource(t, b, *opus)
		if _, groups := read(t, trackOf(t, b, catalog.TrackMSF)); len(groups) != 0 {
			t.Fatal("a catalog before any frame")
		}
		a.packet(0)
		c := newest(t, b)
		if len(c.Tracks) != 1 || c.Tracks[0].Name != "audio0" || c.Tracks[0].Format.Bitrate != 128000 {
			t.Errorf("before the first key frame: %+v", c.Tracks)
		}
		// "An MSF publisher MUST publish a catalog track object before publishing any media track objects."
		v.gop(25)
		c = newest(t, b)
		if len(c.Tracks) != 2 || c.Tracks[0].Name != "video0" {
			t.Fatalf("after the first key frame: %+v", c.Tracks)
		}
		video := c.Tracks[0]
		if video.Format.MIME != h264.MIME || video.Format.Width != 1280 || string(video.Format.Description) != string(h264.Description) ||
			video.Packaging != catalog.LOC || !video.Live || *video.RenderGroup != 1 || video.AltGroup != nil ||
			video.TargetLatency != 500*time.Millisecond || video.Format.Bitrate == 0 {
			t.Errorf("video: %+v", video)
		}
		if !c.GeneratedAt.Equal(time.Now().Add(-time.Second)) {
			t.Errorf("generated at %v", c.GeneratedAt)
		}
		_, hang := read(t, trackOf(t, b, catalog.TrackHang))
		h, err := catalog.ParseHang(hang[len(hang)-1][0].Payload())
		if err != nil || len(h.Tracks) != 2 || h.Tracks[0].Format.MIME != h264.MIME || h.Tracks[0].Packaging != catalog.LOC {
			t.Errorf("hang: %+v, %v", h, err)
		}

		// The second key frame ends the first measurement: 25 frames of
		// 1000 bytes each second are 200 kbit/s.
		v.gop(25)
		measured := newest(t, b).Tracks[0].Format
		if measured.FrameRate != 25 || measured.Bitrate < 200000 || measured.Bitrate > 250000 {
			t.Errorf("measured %v fps, %d bit/s", measured.FrameRate, measured.Bitrate)
		}
		before, _ := read(t, trackOf(t, b, catalog.TrackMSF))
		for range 10 {
			v.gop(25)
		}
		if after, _ := read(t, trackOf(t, b, catalog.TrackMSF)); after[len(after)-1] != before[len(before)-1] {
			t.Errorf("the catalog changed from group %d to %d although nothing else did", before[len(before)-1], after[len(after)-1])
		}

		// A new resolution is announced with its key frame.
		small := *h264
		small.Width, small.Height = 640, 360
		if err := v.w.WriteFrame(media.Frame{PTS: v.pts, Key: true, Data: []byte{1}, Format: &small}); err != nil {
			t.Fatal(err)
		}
		if got := newest(t, b).Tracks[0].Format; got.Width != 640 {
			t.Errorf("width %d", got.Width)
		}

		// A second video track makes both alternatives.
		v2 := newSource(t, b, media.Format{Codec: media.H264})
		v2.gop(1)
		c = newest(t, b)
		if len(c.Tracks) != 3 || c.Tracks[2].Name != "video1" || c.Tracks[0].AltGroup == nil || c.Tracks[2].AltGroup == nil ||
			*c.Tracks[0].AltGroup != *c.Tracks[2].AltGroup ||
			c.Tracks[1].AltGroup != nil && *c.Tracks[1].AltGroup == *c.Tracks[0].AltGroup {
			t.Errorf("simulcast: %+v", c.Tracks)
		}
		b.Close(nil)
	})
}

// TestClose: what a viewer is told depends on how the publisher went.
func TestClose(t *testing.T) {
	lost := errors.New("connection lost")
	for _, reason := range []error{nil, lost} {
		t.Run(fmt.Sprint(reason), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := New(ns, Config{})
				v := newSource(t, b, media.Format{Codec: media.H264})
				v.gop(2)
				msf := trackOf(t, b, catalog.TrackMSF)
				b.Close(reason)
				b.Close(errors.New("late"))
				_, groups := read(t, msf)
				c, err := catalog.ParseMSF(groups[len(groups)-1][0].Payload())
				if err != nil {
					t.Fatal(err)
				}
				// "publish an independent catalog update which signals isComplete as TRUE and which contains an empty Tracks field"
				if complete := reason == nil; c.Complete != complete || complete != (len(c.Tracks) == 0) {
					t.Errorf("catalog %+v", c)
				}
				want := reason
				if want == nil {
					want = io.EOF
				}
				for _, name := range []string{"video0", catalog.TrackMSF, catalog.TrackHang} {
					if err := trackOf(t, b, name).Err(); err != want {
						t.Errorf("%s ended with %v, want %v", name, err, want)
					}
				}
				// The Group that was open is complete all the same.
				r := trackOf(t, b, "video0").NewReader(moq.ReaderConfig{Start: moq.StartCurrentGroup})
				defer r.Close()
				s, err := r.NextSubgroup(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					if _, err := s.Next(context.Background()); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := s.Next(context.Background()); err != io.EOF {
					t.Errorf("group ends with %v", err)
				}
				if err := v.w.WriteFrame(media.Frame{}); !errors.Is(err, ErrEnded) {
					t.Errorf("WriteFrame after Close: %v", err)
				}
				if _, err := b.AddTrack(*opus); !errors.Is(err, ErrEnded) {
					t.Errorf("AddTrack after Close: %v", err)
				}
			})
		})
	}
}

func TestDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(ns, Config{VideoRetention: moq.Retention{Bytes: 40 << 20}})
		v := newSource(t, b, media.Format{Codec: media.H264})
		write := func(f media.Frame) {
			t.Helper()
			if err := v.w.WriteFrame(f); err != nil {
				t.Fatal(err)
			}
		}
		expect := func(reason DropReason, want uint64) {
			t.Helper()
			if got := b.Stats()[0].Dropped[reason]; got != want {
				t.Errorf("%s: %d, want %d", reason, got, want)
			}
		}
		delta := media.Frame{PTS: 1, Data: []byte{1}}
		write(delta)
		expect(DropNoKeyFrame, 1)
		write(media.Frame{PTS: 1, Key: true, Data: []byte{1}})
		expect(DropNoFormat, 1)
		write(delta)
		expect(DropNoKeyFrame, 2)
		write(media.Frame{PTS: 1, Key: true, Data: []byte{1}, Format: h264})
		write(media.Frame{PTS: 1})
		write(media.Frame{PTS: -1, Data: []byte{1}})
		expect(DropInvalid, 2)

		// Larger than an Object may be: the rest of the GOP is useless.
		write(media.Frame{PTS: 2, Data: make([]byte, 17<<20)})
		expect(DropTooLarge, 1)
		write(delta)
		expect(DropBrokenGroup, 1)
		write(media.Frame{PTS: 3, Key: true, Data: []byte{1}, Format: h264})

		// A GOP that outgrows what the Track may retain.
		for range 4 {
			write(media.Frame{PTS: 4, Data: make([]byte, 15<<20)})
		}
		expect(DropEvicted, 1)
		expect(DropBrokenGroup, 1)
		write(delta)
		expect(DropBrokenGroup, 2)
		write(media.Frame{PTS: 5, Key: true, Data: []byte{1}, Format: h264})
		write(delta)
		expect(DropBrokenGroup, 2)

		if err := v.w.WriteFrame(media.Frame{PTS: 6, Key: true, Data: []byte{1}, Format: opus}); !errors.Is(err, ErrCodec) {
			t.Errorf("another codec: %v", err)
		}
		if _, err := b.AddTrack(media.Format{}); !errors.Is(err, ErrCodec) {
			t.Errorf("no codec: %v", err)
		}
		for range MaxTracks - 1 {
			if _, err := b.AddTrack(*opus); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.AddTrack(*opus); !errors.Is(err, ErrTooManyTracks) {
			t.Errorf("track %d: %v", MaxTracks, err)
		}
		b.Close(nil)
	})
}

// TestRetention: late joiners and the HLS edge find two complete GOPs, also
// long ones.
func TestRetention(t *testing.T) {
	for _, seconds := range []int{1, 2, 4, 8} {
		synctest.Test(t, func(t *testing.T) {
			b := New(ns, Config{})
			v := newSource(t, b, media.Format{Codec: media.H264})
			for range 20 {
				v.gop(25 * seconds)
			}
			v.frame(true, 1, 0)
			ids, groups := read(t, trackOf(t, b, "video0"))
			if len(ids) < 3 || len(ids) > 17 {
				t.Fatalf("GOPs of %d s: %d groups", seconds, len(ids))
			}
			for _, g := range groups[:len(groups)-1] {
				if len(g) != 25*seconds {
					t.Errorf("GOPs of %d s: a group of %d frames", seconds, len(g))
				}
			}
			b.Close(nil)
		})
	}
}

func TestLadder(t *testing.T) {
	for _, bps := range []float64{0, 999, 1000, 1001, 64000, 200000, 1234567, 6e6, 1e9} {
		got := ladder(bps)
		if float64(got) < bps || bps >= 1000 && float64(got) > bps*1.2501+1 {
			t.Errorf("ladder(%v) = %d", bps, got)
		}
	}
}

// TestMeterRate: one odd second changes nothing, a lasting change does.
func TestMeterRate(t *testing.T) {
	var m meter
	var at media.Time
	second := func(frames int) {
		m.begin(at)
		for range frames {
			m.add(1000)
		}
		at = at.Add(time.Second)
		m.begin(at)
	}
	for _, step := range []struct {
		frames int
		want   float64
	}{{30, 30}, {29, 30}, {12, 30}, {30, 30}, {15, 30}, {15, 15}, {15, 15}, {37, 15}, {37, 37}} {
		if second(step.frames); m.rate != step.want {
			t.Fatalf("after a second of %d frames: %v, want %v", step.frames, m.rate, step.want)
		}
	}
}
