package source

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/testdata/clips"
)

// pictures is a source of n pictures, one each 40 ms.
type pictures struct{ n, i int }

func (p *pictures) Formats() []media.Format { return []media.Format{{Codec: media.H264}} }

func (p *pictures) Next(context.Context) (int, media.Frame, error) {
	if p.i == p.n {
		return 0, media.Frame{}, io.EOF
	}
	p.i++
	return 0, media.Frame{PTS: 1e12 + media.Time(p.i-1)*40_000, Data: []byte{1}}, nil
}

// TestWithSubtitles reads two cues three times, in their order and before the
// picture that follows them.
func TestWithSubtitles(t *testing.T) {
	cues := []codec.Cue{
		{Start: 500 * time.Millisecond, End: 900 * time.Millisecond, Text: "b"},
		{Start: 100 * time.Millisecond, End: 2 * time.Second, Settings: "line:0", Text: "a"},
	}
	s := WithSubtitles(&pictures{n: 75}, codec.WebVTTFormat("en", ""), cues, time.Second)
	if f := s.Formats(); len(f) != 2 || f[1].Codec != media.WebVTT || f[1].Language != "en" {
		t.Fatalf("%+v", f)
	}
	var got []media.Time
	newest := media.Time(0)
	for {
		track, f, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if track == 0 {
			newest = f.PTS
			continue
		}
		if f.PTS <= newest || f.PTS > newest+40_000 {
			t.Errorf("a cue of %d behind a picture of %d", f.PTS-1e12, newest-1e12)
		}
		c, err := codec.ParseCue(f.Data)
		want := cues[1-len(got)%2]
		if err != nil || !f.Key || c.Start != 0 || c.End != want.End-want.Start || c.Text != want.Text || c.Settings != want.Settings {
			t.Errorf("cue %+v, %v", c, err)
		}
		got = append(got, f.PTS-1e12)
	}
	want := []media.Time{100_000, 500_000, 1_100_000, 1_500_000, 2_100_000, 2_500_000}
	if len(got) != len(want) {
		t.Fatalf("cues at %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("cues at %v, want %v", got, want)
		}
	}
}

func TestDuration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clip.mp4")
	if err := os.WriteFile(file, clips.Bytes(clips.H264AAC), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := Duration(t.Context(), file); err != nil || (d-3*time.Second).Abs() > 100*time.Millisecond {
		t.Errorf("%v, %v", d, err)
	}
	if _, err := Duration(t.Context(), file+".missing"); err == nil {
		t.Error("a file that does not exist has a duration")
	}
}
