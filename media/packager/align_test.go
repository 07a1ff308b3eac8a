package packager

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/moq"
)

// begins returns the time at which each Group of a Track begins, and the gap
// that its first Object tells of.
func begins(t *testing.T, tr *moq.Track) (at map[uint64]media.Time, gaps map[uint64]uint64, ids []uint64) {
	t.Helper()
	at, gaps = make(map[uint64]media.Time), make(map[uint64]uint64)
	ids, groups := read(t, tr)
	for i, id := range ids {
		at[id] = header(t, groups[i][0]).Time
		if p, ok := groups[i][0].Properties.Get(moq.PropertyPriorGroupIDGap); ok {
			gaps[id] = p.Value
		}
	}
	return at, gaps, ids
}

// TestLayersAligned: "Mandating the track being media time-aligned requires
// that the presentation time of the first media sample contained within the
// first MOQT Object of each MOQT Group is identical" (draft-ietf-moq-cmsf,
// section "Switching sets and tracks").
func TestLayersAligned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(ns, Config{})
		start := media.TimeOf(time.Now())
		ms := func(n int) media.Time { return start.Add(time.Duration(n) * time.Millisecond) }
		layers := make([]media.TrackWriter, 2)
		for i := range layers {
			var err error
			if layers[i], err = b.AddTrack(*h264); err != nil {
				t.Fatal(err)
			}
		}
		key := func(layer int, pts media.Time) {
			t.Helper()
			if err := layers[layer].WriteFrame(media.Frame{PTS: pts, Key: true, Data: []byte{1}, Format: h264}); err != nil {
				t.Fatal(err)
			}
		}
		key(0, ms(0))
		key(1, ms(0).Add(time.Millisecond)) // its clock is a little off
		key(0, ms(500))                     // for a viewer of this layer alone
		key(0, ms(700))
		key(0, ms(2000))
		key(1, ms(2000)) // a second later on the wire
		key(1, ms(4000))
		key(0, ms(4000))

		at0, gaps0, ids0 := begins(t, trackOf(t, b, "video0"))
		at1, gaps1, ids1 := begins(t, trackOf(t, b, "video1"))
		if len(ids0) != 5 || len(ids1) != 3 {
			t.Fatalf("groups %v and %v", ids0, ids1)
		}
		common := 0
		for id, pts := range at0 {
			other, ok := at1[id]
			if !ok {
				continue
			}
			common++
			if d := pts - other; d < -samePicture || d > samePicture {
				t.Errorf("group %d begins %d µs apart", id, d)
			}
		}
		if common != 3 {
			t.Errorf("%d groups in common: %v and %v", common, at0, at1)
		}
		// "the Group(s) … do not exist": readers neither wait for them nor
		// think them lost.
		if len(gaps0) != 0 || len(gaps1) != 1 || gaps1[ids1[1]] != 2 {
			t.Errorf("gaps %v and %v", gaps0, gaps1)
		}
		b.Close(nil)
	})
}

// TestGroupIDsRise: a track never goes back, whatever its times do.
func TestGroupIDsRise(t *testing.T) {
	g := groupIDs{next: 100}
	from := uint64(0)
	for i, pts := range []media.Time{5e6, 6e6, 5e6, 6e6, 7e6, 1e6, 1e6} {
		id := g.id(pts, from)
		if id < from || id < 100 {
			t.Fatalf("key frame %d has group %d after %d", i, id, from)
		}
		from = id + 1
	}
	// More key frames than are remembered.
	for i := range media.Time(3 * recentKeys) {
		id := g.id(1e9+i*1e6, from)
		if id != from {
			t.Fatalf("group %d, want %d", id, from)
		}
		from = id + 1
	}
}

func TestDerived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(ns, Config{})
		v := newSource(t, b, *h264)
		small := media.Format{Codec: media.H264, MIME: "avc1.64001e", Width: 640, Height: 360, Bitrate: 700e3}
		if _, err := b.AddDerived("360p", "video7", small); !errors.Is(err, ErrNoSource) {
			t.Errorf("a source that is not there: %v", err)
		}
		if _, err := b.AddDerived("aac", "video0", media.Format{Codec: media.AAC}); !errors.Is(err, ErrCodec) {
			t.Errorf("sound of pictures: %v", err)
		}
		d, err := b.AddDerived("360p", "video0", small)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.AddDerived("360p", "video0", small); !errors.Is(err, moq.ErrDuplicate) {
			t.Errorf("the same name again: %v", err)
		}
		if _, err := b.AddDerived("more", "360p", small); !errors.Is(err, ErrNoSource) {
			t.Errorf("a derived source: %v", err)
		}
		v.gop(5)
		c := newest(t, b)
		e, ok := c.Track("360p")
		if !ok || e.AltGroup == nil || e.Format.Width != 640 || e.Format.Bitrate != 700e3 {
			t.Errorf("catalog before the first frame: %+v", e)
		}
		if e, _ := c.Track("video0"); e.AltGroup == nil {
			t.Error("the source has no alternatives")
		}
		// Tracks that come later keep their numbers.
		if _, err := b.AddTrack(*h264); err != nil {
			t.Fatal(err)
		}
		trackOf(t, b, "video1")

		first, _ := trackOf(t, b, "video0").Largest()
		write := func(group, gap uint64, key bool) {
			t.Helper()
			if err := d.WriteFrame(group, gap, media.Frame{PTS: v.pts, Key: key, Data: []byte{1}, Format: &small}); err != nil {
				t.Fatal(err)
			}
			v.pts = v.pts.Add(videoFrame)
		}
		g := first.Group
		write(g, 0, false) // before any key frame: dropped
		write(g, 0, true)
		write(g, 0, false)
		write(g+1, 0, true)
		write(g, 0, true)    // an old group: dropped
		write(g+4, 2, true)  // two that the source leaves out
		write(g+7, 0, true)  // two that were lost
		write(g+9, 2, false) // no key frame: dropped
		_, gaps, ids := begins(t, trackOf(t, b, "360p"))
		if len(ids) != 4 || ids[0] != g || ids[1] != g+1 || ids[2] != g+4 || ids[3] != g+7 {
			t.Errorf("groups %v after %d", ids, g)
		}
		if len(gaps) != 1 || gaps[g+4] != 2 {
			t.Errorf("gaps %v", gaps)
		}
		for _, s := range b.Stats() {
			if s.Name == "360p" && (s.Frames != 5 || s.Dropped[DropOldGroup] != 1 || s.Dropped[DropNoKeyFrame] != 2) {
				t.Errorf("stats %+v", s)
			}
		}

		// Demand, in both packagings.
		none := d.Demand()
		r := trackOf(t, b, "360p").NewReader(moq.ReaderConfig{})
		one, err := d.NextDemand(t.Context(), none)
		if err != nil || one.Readers != 1 {
			t.Errorf("demand %+v, %v", one, err)
		}
		twin := trackOf(t, b, "360p.cmaf").NewReader(moq.ReaderConfig{})
		if two, err := d.NextDemand(t.Context(), one); err != nil || two.Readers != 2 {
			t.Errorf("demand %+v, %v", two, err)
		}
		r.Close()
		twin.Close()

		d.Interrupt()
		if n := trackOf(t, b, "360p").Bytes(); n != 0 {
			t.Errorf("%d bytes are kept across an interruption", n)
		}
		write(g+7, 0, false) // its Group is given up: dropped
		write(g+8, 0, true)
		if _, _, ids := begins(t, trackOf(t, b, "360p")); len(ids) != 1 || ids[0] != g+8 {
			t.Errorf("groups %v after the interruption", ids)
		}

		reason := errors.New("no use")
		d.Withdraw(reason)
		if c := newest(t, b); len(c.Tracks) != 2 { // video0 and video1
			t.Errorf("catalog after the withdrawal: %+v", c.Tracks)
		}
		if _, err := d.NextDemand(t.Context(), d.Demand()); !errors.Is(err, ErrEnded) {
			t.Errorf("demand after the withdrawal: %v", err)
		}
		if err := d.WriteFrame(g+9, 0, media.Frame{PTS: 1, Key: true, Data: []byte{1}}); !errors.Is(err, ErrEnded) {
			t.Errorf("a frame after the withdrawal: %v", err)
		}
		if err := trackOf(t, b, "360p").Err(); err != reason {
			t.Errorf("the track ended with %v", err)
		}
		b.Close(nil)
	})
}
