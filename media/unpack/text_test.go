package unpack_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/packager"
	"github.com/freshet-live/freshet/media/unpack"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/testdata/clips"
)

// cues makes a track of n cues, one each second for 800 ms.
func cues(n int) clipTrack {
	track := clipTrack{format: codec.WebVTTFormat("de-AT", "Untertitel")}
	for i := range n {
		c := codec.Cue{End: 800 * time.Millisecond, Settings: "line:0", Text: "Zeile\nNummer " + string(rune('0'+i))}
		track.frames = append(track.frames, media.Frame{
			PTS: media.Time(i) * 1e6, Key: true, Data: c.Append(nil, 0), Format: &track.format,
		})
	}
	return track
}

// TestRoundTripTextAndDolby carries cues, AC-3 and E-AC-3, whose formats are
// known by their first frames.
func TestRoundTripTextAndDolby(t *testing.T) {
	tracks := []clipTrack{loadTrack(t, clips.Audio(clips.AC3)), loadTrack(t, clips.Audio(clips.EC3)), cues(3)}
	synctest.Test(t, func(t *testing.T) { roundTrip(t, tracks) })
}

// TestText reads a text track late: its catalog entry, and the newest cue.
func TestText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ns := moq.Namespace{"live", "demo"}
		b := packager.New(ns, packager.Config{})
		defer b.Close(nil)
		track := cues(3)
		publish(t, b, []clipTrack{track})
		sub := local{b.Broadcast()}
		in, err := unpack.Open(t.Context(), sub, ns)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		c := in.Catalog()
		e, ok := c.Track("text0")
		if !ok || e.Packaging != catalog.LOC || e.Role != "subtitle" || e.Language != "de-AT" || e.Label != "Untertitel" ||
			e.Format.Codec != media.WebVTT || e.Format.Language != "de-AT" || e.AltGroup != nil || len(c.Tracks) != 1 {
			t.Errorf("catalog %+v", c.Tracks)
		}
		r, err := in.Frames(t.Context(), "text0")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		f, err := r.Next(t.Context())
		if err != nil || string(f.Data) != string(track.frames[2].Data) {
			t.Errorf("%q, %v", f.Data, err)
		}
		if f.Format == nil || f.Format.Language != "de-AT" || f.Format.Label != "Untertitel" {
			t.Errorf("format %+v", f.Format)
		}
	})
}
