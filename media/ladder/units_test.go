package ladder

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
	"github.com/freshet-live/freshet/media/unpack"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/testdata/clips"
)

func TestParseRungs(t *testing.T) {
	for s, want := range map[string][]int{
		"1080p,720p,480p,360p":                {1080, 720, 480, 360},
		" 240p, 180p":                         {240, 180},
		"":                                    nil,
		"720":                                 nil,
		"720p,720p":                           nil,
		"p":                                   nil,
		"-360p":                               nil,
		"63p":                                 nil,
		"2161p":                               nil,
		"720p,":                               nil,
		"64p,65p,66p,67p,68p,69p,70p,71p,72p": nil,
	} {
		got, err := ParseRungs(s)
		if !slices.Equal(got, want) || (err == nil) == (want == nil) || err != nil && !errors.Is(err, ErrRungs) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

func TestVideoFormat(t *testing.T) {
	for _, c := range []struct {
		source        media.Format
		rung          int
		width, height int
		mime          string
	}{
		{media.Format{Width: 1920, Height: 1080}, 720, 1280, 720, "avc1.640020"},
		{media.Format{Width: 1920, Height: 1080}, 480, 854, 480, "avc1.64001f"},
		{media.Format{Width: 3840, Height: 2160}, 1080, 1920, 1080, "avc1.64002a"},
		{media.Format{Width: 1080, Height: 1920}, 360, 360, 640, "avc1.64001f"},    // standing
		{media.Format{Width: 1919, Height: 1079}, 361, 642, 362, "avc1.64001f"},    // odd
		{media.Format{Width: 5120, Height: 1440}, 1080, 3840, 1080, "avc1.640033"}, // wide
	} {
		f := videoFormat(&c.source, c.rung)
		if f.Width != c.width || f.Height != c.height || f.MIME != c.mime || f.Codec != media.H264 {
			t.Errorf("%d of %d×%d: %+v", c.rung, c.source.Width, c.source.Height, f)
		}
	}
	last := 0
	for _, h := range []int{64, 180, 360, 480, 720, 1080, 1440, 2160} {
		rate := bitrate(h*16/9, h)
		if rate <= last {
			t.Errorf("%d bit/s for %d lines, %d for fewer", rate, h, last)
		}
		last = rate
	}
}

// TestMatroska: ffprobe finds in the file what was written, to the microsecond.
func TestMatroska(t *testing.T) {
	needFFmpeg(t)
	for _, name := range clips.All {
		tracks := slices.DeleteFunc(assembled(t, name), func(tr cmaftest.Track) bool { return tr.Format.Codec == media.AAC })
		var file bytes.Buffer
		m := &matroska{w: &file}
		var formats []media.Format
		for _, tr := range tracks {
			formats = append(formats, tr.Format)
		}
		if err := m.header(formats); err != nil {
			t.Fatal(err)
		}
		want := 0
		for i, tr := range tracks {
			for _, f := range tr.Frames {
				if err := m.frame(i+1, uint64(f.PTS)+1_000_003, &f); err != nil {
					t.Fatal(err)
				}
				want++
			}
		}
		path := filepath.Join(t.TempDir(), "file.mkv")
		if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "ffprobe", "-v", "warning", "-show_entries", "packet=pts_time:stream=codec_type", "-of", "csv=p=0", path)
		var notes bytes.Buffer
		cmd.Stderr = &notes
		out, err := cmd.Output()
		if err != nil || notes.Len() > 0 {
			t.Errorf("%s: %v: %s", name, err, notes.String())
		}
		got := 0
		for line := range strings.Lines(string(out)) {
			if strings.ContainsRune(line, '.') {
				got++
			}
		}
		if got != want {
			t.Errorf("%s: %d packets of %d frames", name, got, want)
		}
		first := float64(tracks[0].Frames[0].PTS+1_000_003) / 1e6
		if !strings.Contains(string(out), fmt.Sprintf("%.6f", first)) {
			t.Errorf("%s: no packet at %.6f", name, first)
		}
	}
	if err := (&matroska{w: io.Discard}).header([]media.Format{{Codec: media.AAC}}); err == nil {
		t.Error("a codec that is not fed is fed")
	}
}

func TestTail(t *testing.T) {
	var passed []string
	n := &tail{each: func(s string) { passed = append(passed, s) }}
	for _, s := range []string{"one\ntw", "o\n\n", "three\nfour\nfive\n", strings.Repeat("x", 3*noteSize), "\n\xff\n", "never ended"} {
		if m, err := n.Write([]byte(s)); m != len(s) || err != nil {
			t.Fatalf("%d, %v", m, err)
		}
	}
	want := []string{"one", "two", "three", "four", "five", strings.Repeat("x", noteSize), "?"}
	if !slices.Equal(passed, want) {
		t.Errorf("%q", passed)
	}
	if got := n.last(); got != strings.Join(want[len(want)-noteLines:], "; ") {
		t.Errorf("last lines %q", got)
	}
	for range 10 * noteLimit {
		_, _ = n.Write([]byte("again\n"))
	}
	if len(passed) != noteLimit {
		t.Errorf("%d lines were passed on", len(passed))
	}
}

func TestMarks(t *testing.T) {
	var m marks
	for i := range media.Time(maxMarks + 10) {
		m.add(mark{pts: 1000 * i, id: uint64(i)})
	}
	if _, ok := m.at(5000, 10); ok {
		t.Error("marks are kept without end")
	}
	if k, ok := m.at(100_004, 10); !ok || k.id != 100 {
		t.Errorf("%v, %v", k, ok)
	}
	if _, ok := m.at(100_500, 10); ok {
		t.Error("a mark where there is none")
	}
	if k, ok := m.before(100_999); !ok || k.id != 100 {
		t.Errorf("%v, %v", k, ok)
	}
	if _, ok := m.before(9000); ok {
		t.Error("a mark before the first")
	}
}

// TestLate: only what is old and has a successor is left out.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := moq.NewTrack(moq.FullTrackName{Namespace: namespace, Track: "t"}, moq.TrackConfig{})
		write := func(id uint64) {
			g, err := w.Group(id)
			if err != nil {
				t.Fatal(err)
			}
			s, err := g.Subgroup(0, moq.SubgroupConfig{})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.WriteObject(0, nil, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		f := &unpack.Frame{Frame: media.Frame{PTS: media.TimeOf(time.Now())}, Group: 1}
		write(1)
		time.Sleep(2 * maxLag)
		if late(w.Track(), f) {
			t.Error("a long Group that is current is late")
		}
		write(2)
		if !late(w.Track(), f) {
			t.Error("an old Group is not late")
		}
		f.PTS = media.TimeOf(time.Now())
		if late(w.Track(), f) {
			t.Error("a Group just behind the newest is late")
		}
	})
}

// FuzzOutput: whatever ffmpeg writes is read without a panic and within bounds.
func FuzzOutput(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x10ftypiso5\x00\x00\x00\x00\x00\x00\x00\x08moov"))
	f.Add([]byte("\x00\x00\x00\x08moof\x00\x00\x00\x08mdat"))
	f.Add([]byte("\xff\xff\xff\xffmdat"))
	f.Fuzz(func(t *testing.T, b []byte) {
		o := &output{r: bufio.NewReader(bytes.NewReader(b)), want: media.Format{Codec: media.H264}}
		for range len(b) + 1 {
			if _, err := o.next(); err != nil {
				if err != io.EOF && !errors.Is(err, errOutput) {
					t.Errorf("%v", err)
				}
				return
			}
		}
		t.Error("more fragments than bytes")
	})
}
