// Package cmaftest gives tests real media: clips that ffmpeg makes from its
// own test sources, read back as Frames by mediacommon, which shares no code
// with the writers under test; and ffmpeg and ffprobe as judges of output.
package cmaftest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4/codecs"

	"github.com/freshet-live/freshet/media"
)

// Track is one track of a clip: its frames in decode order with
// presentation times from 0.
type Track struct {
	Format media.Format
	Frames []media.Frame
	DTS    []media.Time // the decode times that ffmpeg chose
}

// Sources of pictures and sound for Clip, to be followed by encoder options.
var (
	TestSource = []string{"-f", "lavfi", "-i", "testsrc2=size=192x108:rate=30"}
	Tone       = []string{"-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"}
)

// Clip runs ffmpeg with args, which end before the output, and returns the
// tracks of what it made.
func Clip(tb testing.TB, args ...string) []Track {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), "clip.mp4")
	full := append([]string{"-v", "error", "-nostdin"}, args...)
	full = append(full, "-movflags", "frag_keyframe+empty_moov+default_base_moof", "-f", "mp4", out)
	run(tb, "ffmpeg", full...)
	file, err := os.ReadFile(out)
	if err != nil {
		tb.Fatal(err)
	}
	tracks, err := parse(file)
	if err != nil {
		tb.Fatalf("reading the clip: %v", err)
	}
	return tracks
}

func parse(file []byte) ([]Track, error) {
	var init fmp4.Init
	if err := init.Unmarshal(bytes.NewReader(file)); err != nil {
		return nil, err
	}
	var parts fmp4.Parts
	i := bytes.Index(file, []byte("moof"))
	end := bytes.LastIndex(file, []byte("mfra"))
	if i < 0 || end < i {
		return nil, fmt.Errorf("no fragments")
	}
	if err := parts.Unmarshal(file[i-4 : end-4]); err != nil {
		return nil, err
	}
	var out []Track
	for _, t := range init.Tracks {
		f, err := format(t, file[:i])
		if err != nil {
			return nil, err
		}
		tr := Track{Format: f}
		for _, p := range parts {
			for _, pt := range p.Tracks {
				if pt.ID != t.ID {
					continue
				}
				dts := int64(pt.BaseTime)
				for j, s := range pt.Samples {
					at := func(ticks int64) media.Time { return media.Time(ticks * 1e6 / int64(t.TimeScale)) }
					fr := media.Frame{
						PTS: at(dts + int64(s.PTSOffset)),
						// ffmpeg starts a fragment at each key frame and says so in
						// first_sample_flags, which mediacommon does not read.
						Key: j == 0 || !s.IsNonSyncSample, Data: s.Payload,
					}
					tr.Frames = append(tr.Frames, fr)
					tr.DTS = append(tr.DTS, at(dts))
					dts += int64(s.Duration)
				}
			}
		}
		if len(tr.Frames) == 0 {
			return nil, fmt.Errorf("track %d is empty", t.ID)
		}
		out = append(out, tr)
	}
	for i := range out {
		for j := range out[i].Frames {
			if out[i].Frames[j].Key {
				out[i].Frames[j].Format = &out[i].Format
			}
		}
	}
	return out, nil
}

func format(t *fmp4.InitTrack, file []byte) (media.Format, error) {
	file = file[max(0, bytes.Index(file, []byte("stsd"))):] // past the brands in ftyp
	config := func(typ string) []byte {
		i := bytes.Index(file, []byte(typ))
		if i < 4 {
			return nil
		}
		return bytes.Clone(file[i+4 : i-4+int(binary.BigEndian.Uint32(file[i-4:]))])
	}
	f := media.Format{FrameRate: 30, SampleRate: 48000}
	size := func(entry string) {
		i := bytes.Index(file, []byte(entry))
		f.Width = int(binary.BigEndian.Uint16(file[i+28:]))
		f.Height = int(binary.BigEndian.Uint16(file[i+30:]))
		f.SampleRate = 0
	}
	switch c := t.Codec.(type) {
	case *codecs.H264:
		f.Codec, f.Description = media.H264, config("avcC")
		f.MIME = fmt.Sprintf("avc1.%02x%02x%02x", f.Description[1], f.Description[2], f.Description[3])
		size("avc1")
	case *codecs.H265:
		f.Codec, f.Description, f.MIME = media.H265, config("hvcC"), "hvc1.1.6.L63.90"
		size("hvc1")
	case *codecs.AV1:
		f.Codec, f.Description, f.MIME = media.AV1, config("av1C"), "av01.0.00M.08"
		size("av01")
	case *codecs.VP9:
		f.Codec, f.MIME = media.VP9, fmt.Sprintf("vp09.%02d.10.%02d", c.Profile, c.BitDepth)
		size("vp09")
	case *codecs.MPEG4Audio:
		asc, err := c.Config.Marshal()
		if err != nil {
			return f, err
		}
		f.Codec, f.Description, f.MIME = media.AAC, asc, "mp4a.40.2"
		f.FrameRate, f.SampleRate, f.Channels = 0, c.Config.SampleRate, int(c.Config.ChannelConfig)
	case *codecs.Opus:
		f.Codec, f.MIME, f.FrameRate, f.Channels = media.Opus, "opus", 0, c.ChannelCount
	case *codecs.AC3:
		f.Codec, f.Description, f.MIME = media.AC3, config("dac3"), "ac-3"
		f.FrameRate, f.SampleRate, f.Channels = 0, c.SampleRate, c.ChannelCount
	case *codecs.EAC3:
		f.Codec, f.Description, f.MIME = media.EC3, config("dec3"), "ec-3"
		f.FrameRate, f.SampleRate, f.Channels = 0, c.SampleRate, c.ChannelCount
	default:
		return f, fmt.Errorf("codec %T", c)
	}
	return f, nil
}

// Decode has ffmpeg decode file with warnings treated as failures, and
// returns how many frames of the first stream came out.
func Decode(tb testing.TB, file []byte) int {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "out.mp4")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		tb.Fatal(err)
	}
	return DecodeInput(tb, name)
}

// DecodeInput is Decode for anything that ffmpeg opens, such as a URL.
func DecodeInput(tb testing.TB, input string, options ...string) int {
	tb.Helper()
	args := append([]string{"-v", "warning", "-nostdin"}, options...)
	out := run(tb, "ffmpeg", append(args, "-i", input, "-map", "0:v?", "-map", "0:a?", "-f", "framecrc", "-")...)
	n := 0
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "#") && strings.HasPrefix(line, "0,") {
			n++
		}
	}
	return n
}

// Packets returns ffprobe's pts and dts of each packet of file, in seconds.
func Packets(tb testing.TB, file []byte) (lines []string) {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "probe.mp4")
	if err := os.WriteFile(name, file, 0o600); err != nil {
		tb.Fatal(err)
	}
	out := run(tb, "ffprobe", "-v", "warning", "-show_entries", "packet=pts,dts,duration,flags", "-of", "csv=p=0", name)
	return strings.Fields(out)
}

// run runs a program; whatever it writes to its standard error is a failure.
func run(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), name, args...)
	// SVT-AV1 reports its version on standard error unless told not to.
	cmd.Env = append(os.Environ(), "SVT_LOG=0")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		tb.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, errs.String())
	}
	if errs.Len() > 0 {
		tb.Fatalf("%s warned: %s", name, errs.String())
	}
	return out.String()
}
