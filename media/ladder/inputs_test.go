package ladder

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/catalog"
	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/testdata/clips"
)

// assembled returns the tracks of a clip as an ingest would make them.
func assembled(t *testing.T, name string) (tracks []cmaftest.Track) {
	t.Helper()
	for _, track := range clips.Open(name) {
		hint := media.Format{Codec: map[string]media.Codec{
			"avc1": media.H264, "hvc1": media.H265, "av01": media.AV1, "vp09": media.VP9, "VP80": media.VP8,
			"mp4a": media.AAC, "Opus": media.Opus,
		}[track.Entry]}
		switch hint.Codec {
		case media.H264, media.H265:
			hint.Description = track.Config
		case media.AAC:
			hint.Description = []byte{0x11, 0x90} // AAC-LC, 48 kHz, stereo
		case media.Opus:
			hint.Channels = int(track.Config[1])
		}
		a, err := codec.NewAssembler(hint)
		if err != nil {
			t.Fatal(err)
		}
		out := cmaftest.Track{Format: hint}
		for _, s := range track.Samples {
			unit := [][]byte{s.Data}
			switch hint.Codec {
			case media.H264, media.H265:
				unit, err = codec.SplitLengthPrefixed(s.Data)
			case media.AV1:
				unit, err = codec.SplitOBUs(s.Data)
			}
			if err != nil {
				t.Fatal(err)
			}
			f, err := a.Assemble(media.Time(s.PTS.Microseconds()), unit)
			if err != nil {
				t.Fatal(err)
			}
			if f.Format != nil {
				out.Format = *f.Format
			}
			out.Frames = append(out.Frames, f)
		}
		tracks = append(tracks, out)
	}
	return tracks
}

// TestInputs: a ladder of each codec that publishers send.
func TestInputs(t *testing.T) {
	needFFmpeg(t)
	for _, name := range clips.All {
		t.Run(name, func(t *testing.T) {
			p := publish(t, assembled(t, name), 3*time.Second)
			_, log := newJournal(t)
			run(t, Config{Rungs: []int{360, 90}, Logger: log}, p.b)
			wanted := []string{"90p"}
			if strings.Contains(name, "opus") {
				wanted = append(wanted, "audio0-aac")
			}
			in := watchCatalog(t, p.b, has(wanted...))
			c := in.Catalog()
			if _, ok := c.Track("audio0-aac"); ok && len(wanted) == 1 {
				t.Error("AAC of AAC")
			}
			p.keepWith(t, "90p")
			frames, err := follow(t, in, "90p", 3)
			if err != nil {
				t.Fatal(err)
			}
			if f := frames[0].Format; f.Codec != media.H264 || f.Width != 160 || f.Height != 90 || f.FrameRate != 30 {
				t.Errorf("%+v", f)
			}
			if missing, err := p.compare(frames); err != nil || missing != 0 {
				t.Errorf("%d frames are missing, %v", missing, err)
			}
			source, _ := p.b.Broadcast().Track("video0")
			if largest, _ := source.Largest(); frames[0].Group > largest.Group {
				t.Errorf("group %d, the source is at %d", frames[0].Group, largest.Group)
			}
		})
	}
}

// TestNewFormat: a source that changes its size keeps its renditions, and gets
// those that it was too small for.
func TestNewFormat(t *testing.T) {
	needFFmpeg(t)
	encoder := []string{"-t", "2", "-pix_fmt", "yuv420p", "-g", "15", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency"}
	small := cmaftest.Clip(t, append([]string{"-f", "lavfi", "-i", "testsrc2=size=160x120:rate=30"}, encoder...)...)[0]
	large := cmaftest.Clip(t, append([]string{"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=30"}, encoder...)...)[0]
	// One track that goes back and forth.
	joined := small
	for _, f := range large.Frames {
		f.PTS += 2_000_000
		joined.Frames = append(joined.Frames, f)
	}
	p := publishAs(t, []cmaftest.Track{joined}, 4*time.Second)
	j, log := newJournal(t)
	run(t, Config{Rungs: []int{120, 80}, Logger: log}, p.b)
	in := watchCatalog(t, p.b, has("80p", "120p"))
	r, err := in.Frames(t.Context(), "80p")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	j.await(t, begins)
	j.await(t, begins) // with the next format
	c := in.Catalog()
	first, _ := c.Track("80p")
	for seen := 0; seen < 60; seen++ {
		f, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if f.Format != nil && (f.Format.Width != first.Format.Width || f.Format.Height != first.Format.Height) {
			t.Fatalf("a rendition of %d×%d became %d×%d", first.Format.Width, first.Format.Height, f.Format.Width, f.Format.Height)
		}
	}
}

// TestNoFFmpeg: without the program there is a message, and a broadcast
// without renditions.
func TestNoFFmpeg(t *testing.T) {
	useless := filepath.Join(t.TempDir(), "ffmpeg")
	if err := os.WriteFile(useless, []byte("#!/bin/sh\necho ' V..... mpeg2video'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{filepath.Join(t.TempDir(), "missing"), useless} {
		j, log := newJournal(t)
		p := publish(t, assembled(t, clips.VP8), 3*time.Second)
		run(t, Config{FFmpeg: program, Logger: log}, p.b)
		m := j.await(t, "no renditions are made: ffmpeg cannot be used")
		if m["level"] != slog.LevelError.String() || m["error"] == "" {
			t.Errorf("%v", m)
		}
		in := watchCatalog(t, p.b, has("video0"))
		if n := len(in.Catalog().Tracks); n != 1 {
			t.Errorf("%d tracks", n)
		}
		if _, err := follow(t, in, "video0", 2); err != nil {
			t.Error(err)
		}
	}
}

// TestGivenUp: an ffmpeg that yields nothing costs the broadcast its
// renditions and nothing else.
func TestGivenUp(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "ffmpeg")
	script := "#!/bin/sh\ncase \"$*\" in *-encoders*) echo ' V libx264 A aac'; exit;; esac\necho 'no such thing' >&2\nexit 1\n"
	if err := os.WriteFile(broken, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	p := publish(t, assembled(t, clips.VP8), 3*time.Second)
	j, log := newJournal(t)
	run(t, Config{FFmpeg: broken, Rungs: []int{90}, Logger: log, firstPause: time.Millisecond}, p.b)
	in := watchCatalog(t, p.b, has("90p"))
	r, err := in.Frames(t.Context(), "90p")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	m := j.await(t, "renditions are given up")
	if !strings.Contains(m["error"].(string), "no such thing") {
		t.Errorf("ffmpeg's own words are missing: %v", m)
	}
	watchCatalog(t, p.b, func(c catalog.Catalog) bool { _, ok := c.Track("90p"); return !ok })
	if _, err := follow(t, in, "video0", 2); err != nil {
		t.Error(err)
	}
}

// TestStuck: an ffmpeg that does nothing is killed.
func TestStuck(t *testing.T) {
	asleep := filepath.Join(t.TempDir(), "ffmpeg")
	script := "#!/bin/sh\ncase \"$*\" in *-encoders*) echo ' V libx264 A aac'; exit;; esac\nexec sleep 1000\n"
	if err := os.WriteFile(asleep, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	p := publish(t, assembled(t, clips.VP8), 3*time.Second)
	j, log := newJournal(t)
	run(t, Config{FFmpeg: asleep, Rungs: []int{90}, Logger: log, patience: 200 * time.Millisecond}, p.b)
	in := watchCatalog(t, p.b, has("90p"))
	r, err := in.Frames(t.Context(), "90p")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	pid := pidOf(j.await(t, begins))
	if m := j.await(t, failed); m["error"] != errStuck.Error() {
		t.Errorf("%v", m)
	}
	if !gone(pid) {
		t.Errorf("process %d is still there", pid)
	}
}

// TestLimit: a broadcast over the limit has its turn when another has ended.
func TestLimit(t *testing.T) {
	needFFmpeg(t)
	j, log := newJournal(t)
	first := publish(t, assembled(t, clips.VP8), 3*time.Second)
	l := run(t, Config{Rungs: []int{90}, Limit: 1, Logger: log}, first.b)
	in := watchCatalog(t, first.b, has("90p"))
	if _, err := in.Frames(t.Context(), "90p"); err != nil { // never closed
		t.Fatal(err)
	}
	j.await(t, begins)
	second := publish(t, assembled(t, clips.VP8), 3*time.Second)
	l.Add(second.b)
	r, err := watchCatalog(t, second.b, has("90p")).Frames(t.Context(), "90p")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	j.await(t, "renditions wait: as many broadcasts as are allowed have theirs made")
	first.b.Close(nil)
	j.await(t, begins)
	if _, err := r.Next(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestPausedLayer: when the largest layer of a simulcast stops, the renditions
// are made of the next one, and its Groups; when it is back, of it again.
func TestPausedLayer(t *testing.T) {
	needFFmpeg(t)
	tracks := assembled(t, clips.VP8)
	small := assembled(t, clips.VP9Opus)[0] // another codec, so another file
	small.Format.Width, small.Format.Height = 160, 90
	p := publish(t, append(tracks, small), 3*time.Second)
	j, log := newJournal(t)
	run(t, Config{Rungs: []int{70}, Logger: log, glance: 150 * time.Millisecond}, p.b)
	in := watchCatalog(t, p.b, has("70p", "video1"))
	r, err := in.Frames(t.Context(), "70p")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	next := func() uint64 {
		t.Helper()
		f, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return f.Group
	}
	last := next()
	j.await(t, begins)
	for i, paused := range []bool{true, false} {
		p.pause("video0", paused)
		if of := fmt.Sprint(j.await(t, begins)["of"]); of != map[bool]string{true: "[video1]", false: "[video0]"}[paused] {
			t.Errorf("pause %d: renditions of %s", i, of)
		}
		for n := 0; n < 20; n++ {
			group := next()
			if group < last {
				t.Fatalf("pause %d: group %d after %d", i, group, last)
			}
			last = group
		}
	}
}
