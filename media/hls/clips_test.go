package hls

import (
	"fmt"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/hls/playlist"
	"github.com/freshet-live/freshet/testdata/clips"
)

// TestClips muxes what real encoders make and has ffmpeg judge the segments.
func TestClips(t *testing.T) {
	source := func(args ...string) []string {
		return append(slices.Clone(cmaftest.TestSource), append([]string{"-t", "9"}, args...)...)
	}
	for name, args := range map[string][]string{
		"H264 with B-frames":     source("-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-g", "60", "-pix_fmt", "yuv420p"),
		"H265 with B-frames":     source("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:bframes=3:keyint=60:open-gop=0", "-tag:v", "hvc1", "-pix_fmt", "yuv420p"),
		"H264 of a still screen": {"-f", "lavfi", "-i", "testsrc2=size=192x108:rate=1", "-t", "20", "-c:v", "libx264", "-tune", "zerolatency", "-g", "5", "-pix_fmt", "yuv420p"},
		"AV1":                    source("-c:v", "libsvtav1", "-preset", "12", "-g", "60", "-pix_fmt", "yuv420p"),
		"AAC":                    append(slices.Clone(cmaftest.Tone), "-t", "9", "-c:a", "aac"),
		"Opus":                   append(slices.Clone(cmaftest.Tone), "-t", "9", "-c:a", "libopus"),
	} {
		t.Run(name, func(t *testing.T) {
			tr := cmaftest.Clip(t, args...)[0]
			var file []byte
			synctest.Test(t, func(t *testing.T) {
				m := NewMuxer(Config{})
				o := observe(t, m)
				m.Start([]Track{{Name: "track", Format: tr.Format}})
				for _, f := range tr.Frames {
					f.PTS += wall()
					if err := m.WriteFrame("track", f, false); err != nil {
						t.Fatal(err)
					}
				}
				m.Close()
				if n := o.checkMedia("track"); n != len(tr.Frames) {
					t.Errorf("%d samples of %d frames", n, len(tr.Frames))
				}
				file = o.file("track")
			})
			if n := len(cmaftest.Packets(t, file)); n != len(tr.Frames) {
				t.Errorf("ffprobe sees %d packets, want %d", n, len(tr.Frames))
			}
			if n := cmaftest.Decode(t, file); tr.Format.Kind() == media.Video && n != len(tr.Frames) {
				t.Errorf("ffmpeg decodes %d frames, want %d", n, len(tr.Frames))
			}
		})
	}
}

// TestFFmpegPlays has ffmpeg play a whole broadcast over HTTP, from the
// multivariant playlist on. Its publisher restarts in the middle with the
// same encoder settings; Debian 12's ffmpeg skips a second initialization
// segment, so other settings cannot be shown to it.
func TestFFmpegPlays(t *testing.T) {
	picture := cmaftest.Clip(t, append(slices.Clone(cmaftest.TestSource), "-t", "6", "-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "60", "-pix_fmt", "yuv420p")...)[0]
	sound := cmaftest.Clip(t, append(slices.Clone(cmaftest.Tone), "-t", "6", "-c:a", "aac")...)[0]
	m := NewMuxer(Config{})
	frames := 0
	for round := range 2 {
		m.Start([]Track{{"video0", picture.Format}, {"audio0", sound.Format}})
		start := wall().Add(time.Duration(round) * 8 * time.Second)
		shift := func(track string, tr cmaftest.Track) script {
			s := script{track: track, frames: slices.Clone(tr.Frames)}
			for i := range s.frames {
				s.frames[i].PTS += start
			}
			return s
		}
		play(t, m, shift("video0", picture), shift("audio0", sound))
		m.Stop()
		frames += len(picture.Frames)
	}
	m.Close()
	srv := httptest.NewServer(m)
	defer srv.Close()
	if n := cmaftest.DecodeInput(t, srv.URL+"/index.m3u8", "-copyts"); n != frames {
		t.Errorf("ffmpeg decodes %d frames of the first stream, want %d", n, frames)
	}
}

// TestDolbyPassesThrough muxes AC-3 and E-AC-3 of 5.1 channels beside AAC and
// has ffprobe say what a player finds behind each variant.
func TestDolbyPassesThrough(t *testing.T) {
	picture := cmaftest.Clip(t, append(slices.Clone(cmaftest.TestSource), "-t", "6", "-c:v", "libx264", "-preset", "ultrafast", "-g", "60", "-pix_fmt", "yuv420p")...)[0]
	// dolby is six seconds of a clip of one.
	dolby := func(clip string, c media.Codec) (tr cmaftest.Track) {
		a, err := codec.NewAssembler(media.Format{Codec: c})
		if err != nil {
			t.Fatal(err)
		}
		samples := clips.Audio(clip).Samples
		for i := range 6 * len(samples) {
			f, err := a.Assemble(media.Time(i)*32_000, [][]byte{samples[i%len(samples)].Data})
			if err != nil {
				t.Fatal(err)
			}
			tr.Frames = append(tr.Frames, f)
		}
		tr.Format = *a.Format()
		return tr
	}
	all := []struct {
		track                          string
		clip                           cmaftest.Track
		group, mime, channels, ffprobe string
	}{
		{"audio0", cmaftest.Clip(t, append(slices.Clone(cmaftest.Tone), "-t", "6", "-c:a", "aac")...)[0], "aac", "mp4a.40.2", "1", "aac"},
		{"audio1", dolby(clips.AC3, media.AC3), "ac3", "ac-3", "6", "ac3"},
		{"audio2", dolby(clips.EC3, media.EC3), "ec3", "ec-3", "6", "eac3"},
	}
	m := NewMuxer(Config{})
	start := wall()
	shift := func(track string, tr cmaftest.Track) script {
		s := script{track: track, frames: slices.Clone(tr.Frames)}
		for i := range s.frames {
			s.frames[i].PTS += start
		}
		return s
	}
	declared := []Track{{"video0", picture.Format}}
	scripts := []script{shift("video0", picture)}
	for _, a := range all {
		declared = append(declared, Track{a.track, a.clip.Format})
		scripts = append(scripts, shift(a.track, a.clip))
	}
	m.Start(declared)
	play(t, m, scripts...)
	m.Close()
	p, err := playlist.ParseMultivariant(m.multivariant.Load().plain())
	if err != nil || len(p.Variants) != len(all) || len(p.Renditions) != len(all) {
		t.Fatalf("%v\n%s", err, m.multivariant.Load().plain())
	}
	srv := httptest.NewServer(m)
	defer srv.Close()
	for i, a := range all {
		v, r := p.Variants[i], p.Renditions[i]
		if v.Audio != a.group || !strings.HasSuffix(v.Codecs, ","+a.mime) || r.Group != a.group || r.Channels != a.channels {
			t.Errorf("%s: variant %+v of %+v", a.track, v, r)
		}
		out, err := exec.Command("ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=codec_name,channels,sample_rate,nb_read_packets",
			"-of", "csv=p=0", srv.URL+"/"+r.URI).CombinedOutput()
		want := fmt.Sprintf("%s,48000,%s,%d", a.ffprobe, a.channels, len(a.clip.Frames))
		if got := strings.Fields(string(out)); err != nil || len(got) == 0 || strings.TrimRight(got[0], ",") != want {
			t.Errorf("%s: ffprobe says %q, %v; want %q", a.track, out, err, want)
		}
	}
}
