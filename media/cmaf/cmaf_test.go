package cmaf_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/cmaf"
	"github.com/freshet-live/freshet/media/cmaf/cmaftest"
)

// wall is where the clips are put on the wall clock: an epoch-based timeline
// is what the muxer writes.
const wall media.Time = 1_790_000_000_123_457

// write lays a track out as an initialization segment and chunks of n frames.
func write(tb testing.TB, tr cmaftest.Track, n int) []byte {
	tb.Helper()
	init, err := cmaf.Init(&tr.Format)
	if err != nil {
		tb.Fatal(err)
	}
	out := bytes.NewBuffer(init)
	scale := cmaf.Timescale(&tr.Format)
	clock := cmaf.NewClock(scale, wall+tr.Frames[0].PTS)
	order := cmaf.NewReorder(&tr.Format)
	var dts, pts []int64
	for _, f := range tr.Frames {
		p := clock.Ticks(wall + f.PTS)
		pts = append(pts, p)
		if tr.Format.Kind() == media.Video {
			dts = append(dts, order.Next(p))
		} else {
			dts = append(dts, p)
		}
	}
	end := dts[len(dts)-1] + max(1, cmaf.FrameDuration(&tr.Format, tr.Frames[len(tr.Frames)-1].Data))
	dts = append(dts, end)
	for i := 0; i < len(tr.Frames); i += n {
		c := cmaf.Chunk{
			Sequence: uint32(i / n), DecodeTime: uint64(dts[i]),
			Segment: tr.Frames[i].Key, Reference: wall + tr.Frames[i].PTS,
		}
		for j := i; j < min(i+n, len(tr.Frames)); j++ {
			c.Samples = append(c.Samples, cmaf.Sample{
				Data: tr.Frames[j].Data, Duration: uint32(dts[j+1] - dts[j]),
				Offset: int32(pts[j] - dts[j]), Sync: tr.Frames[j].Key,
			})
		}
		buf, err := c.Buffer()
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := buf.WriteTo(out); err != nil {
			tb.Fatal(err)
		}
	}
	return out.Bytes()
}

func video(args ...string) []string {
	return append(append(slices.Clone(cmaftest.TestSource), "-t", "2"), args...)
}

func audio(args ...string) []string {
	return append(append(slices.Clone(cmaftest.Tone), "-t", "2"), args...)
}

var clips = map[string][]string{
	"H264":          video("-c:v", "libx264", "-preset", "ultrafast", "-g", "30", "-pix_fmt", "yuv420p"),
	"H264 B-frames": video("-c:v", "libx264", "-preset", "veryfast", "-bf", "3", "-b_strategy", "0", "-g", "30", "-pix_fmt", "yuv420p"),
	"H265 B-frames": video("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:bframes=3:keyint=30:open-gop=0", "-tag:v", "hvc1", "-pix_fmt", "yuv420p"),
	"AV1":           video("-c:v", "libsvtav1", "-preset", "12", "-g", "30", "-pix_fmt", "yuv420p"),
	"VP9":           video("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "30", "-pix_fmt", "yuv420p"),
	"AAC":           audio("-c:a", "aac"),
	"AAC 44100":     audio("-c:a", "aac", "-ar", "44100", "-ac", "1"),
	"Opus":          audio("-c:a", "libopus", "-ac", "2"),
}

// TestClips checks what the package writes with two independent readers.
func TestClips(t *testing.T) {
	for name, args := range clips {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := cmaftest.Clip(t, args...)[0]
			file := write(t, tr, 7)

			packets := cmaftest.Packets(t, file)
			if len(packets) != len(tr.Frames) {
				t.Errorf("ffprobe sees %d packets, want %d", len(packets), len(tr.Frames))
			}
			if got := cmaftest.Decode(t, file); tr.Format.Kind() == media.Video && got != len(tr.Frames) {
				t.Errorf("ffmpeg decodes %d frames, want %d", got, len(tr.Frames))
			}
			for i, p := range packets {
				key := strings.Contains(p, ",K")
				if key != tr.Frames[i].Key {
					t.Errorf("packet %d %q: key %v, want %v", i, p, key, tr.Frames[i].Key)
				}
			}
			checkMediacommon(t, tr, file)
		})
	}
}

func checkMediacommon(t *testing.T, tr cmaftest.Track, file []byte) {
	t.Helper()
	var init fmp4.Init
	if err := init.Unmarshal(bytes.NewReader(file)); err != nil {
		t.Fatalf("mediacommon refuses the init segment: %v", err)
	}
	if len(init.Tracks) != 1 || init.Tracks[0].TimeScale != cmaf.Timescale(&tr.Format) {
		t.Errorf("init: %+v", init.Tracks)
	}
	var parts fmp4.Parts
	i := bytes.Index(file, []byte("styp"))
	if err := parts.Unmarshal(file[i-4:]); err != nil {
		t.Fatalf("mediacommon refuses the chunks: %v", err)
	}
	clock := cmaf.NewClock(cmaf.Timescale(&tr.Format), wall+tr.Frames[0].PTS)
	n, next := 0, int64(-1)
	for _, p := range parts {
		at := int64(p.Tracks[0].BaseTime)
		if next >= 0 && at != next {
			t.Errorf("tfdt %d, but the chunk before it ends at %d", at, next)
		}
		for _, s := range p.Tracks[0].Samples {
			f := tr.Frames[n]
			if !bytes.Equal(s.Payload, f.Data) {
				t.Fatalf("sample %d: payload differs", n)
			}
			if got, want := at+int64(s.PTSOffset), clock.Ticks(wall+f.PTS); got != want {
				t.Errorf("sample %d: presented at %d, want %d", n, got, want)
			}
			if s.PTSOffset < 0 {
				t.Errorf("sample %d: decoded %d ticks after its presentation", n, -s.PTSOffset)
			}
			if s.IsNonSyncSample == f.Key {
				t.Errorf("sample %d: sync %v, want %v", n, !s.IsNonSyncSample, f.Key)
			}
			at += int64(s.Duration)
			n++
		}
		next = at
	}
	if n != len(tr.Frames) {
		t.Errorf("%d samples, want %d", n, len(tr.Frames))
	}
}

// TestInitStable checks that equal formats give equal bytes: that is how the
// muxer tells a change that needs a new initialization segment.
func TestInitStable(t *testing.T) {
	tr := cmaftest.Clip(t, clips["H264"]...)[0]
	a, _ := cmaf.Init(&tr.Format)
	f := tr.Format
	f.Bitrate, f.FrameRate = 1_000_000, 60
	b, _ := cmaf.Init(&f)
	if !bytes.Equal(a, b) {
		t.Error("bit rate or frame rate changes the initialization segment")
	}
	f.Width *= 2
	if c, _ := cmaf.Init(&f); bytes.Equal(a, c) {
		t.Error("the picture size does not change the initialization segment")
	}
}

func TestInitRefuses(t *testing.T) {
	for name, f := range map[string]media.Format{
		"VP8":             {Codec: media.VP8, MIME: "vp8", Width: 2, Height: 2},
		"no avcC":         {Codec: media.H264, Width: 2, Height: 2},
		"no size":         {Codec: media.H264, Description: make([]byte, 20)},
		"huge":            {Codec: media.H264, Description: make([]byte, 20), Width: 1 << 16, Height: 2},
		"VP9 MIME":        {Codec: media.VP9, MIME: "vp09.00", Width: 2, Height: 2},
		"VP9 field":       {Codec: media.VP9, MIME: "vp09.00.10.999", Width: 2, Height: 2},
		"surround":        {Codec: media.Opus, Channels: 6},
		"OpusHead":        {Codec: media.Opus, Description: []byte("OpusHead")},
		"OpusHead layout": {Codec: media.Opus, Description: append([]byte("OpusHead\x01\x06"), 0, 0, 0, 0, 0, 0, 0, 0, 1)},
		"no ASC":          {Codec: media.AAC},
		"long ASC":        {Codec: media.AAC, Description: make([]byte, 65)},
		"unknown":         {Codec: 99},
	} {
		if _, err := cmaf.Init(&f); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSurroundOpus(t *testing.T) {
	head := append([]byte("OpusHead\x01\x06\x38\x01\x80\xbb\x00\x00\x00\x00\x01"), 4, 2, 0, 4, 1, 2, 3, 5)
	b, err := cmaf.Init(&media.Format{Codec: media.Opus, Channels: 6, Description: head})
	if err != nil {
		t.Fatal(err)
	}
	want := []byte("dOps\x00\x06\x00\x00\x00\x00\xbb\x80\x00\x00\x01\x04\x02\x00\x04\x01\x02\x03\x05")
	if !bytes.Contains(b, want) {
		t.Errorf("no dOps %x in %x", want, b)
	}
}

// TestChunkSharesPayloads is the promise of the package: a chunk holds the
// frame's own bytes.
func TestChunkSharesPayloads(t *testing.T) {
	data := bytes.Repeat([]byte{7}, 1<<16)
	c := cmaf.Chunk{Samples: []cmaf.Sample{{Data: data, Duration: 1, Sync: true}, {Data: data, Duration: 1}}}
	got := testing.AllocsPerRun(100, func() {
		if _, err := c.Buffer(); err != nil {
			t.Fatal(err)
		}
	})
	if got > 4 {
		t.Errorf("%v allocations per chunk", got)
	}
	buf, _ := c.Buffer()
	before := buf.Bytes()
	data[0] = 8 // not allowed to callers; here it proves the sharing
	if bytes.Equal(before, buf.Bytes()) {
		t.Error("the chunk copied its payload")
	}
}

func TestBufferReader(t *testing.T) {
	buf := cmaf.Join(cmaf.NewBuffer([]byte("ab"), nil, []byte("cde")), cmaf.Buffer{}, cmaf.NewBuffer([]byte("f")))
	if err := iotest.TestReader(buf.Reader(), []byte("abcdef")); err != nil {
		t.Error(err)
	}
	for off := range int64(7) {
		r := buf.Reader()
		if got, err := r.Seek(off, io.SeekStart); got != off || err != nil {
			t.Fatalf("Seek(%d) = %d, %v", off, got, err)
		}
		var out bytes.Buffer
		if _, err := r.WriteTo(&out); err != nil || out.String() != "abcdef"[off:] {
			t.Errorf("from %d: %q, %v", off, out.String(), err)
		}
	}
	if _, err := buf.Reader().Seek(7, io.SeekStart); err == nil {
		t.Error("seek past the end succeeds")
	}
	if _, err := buf.Reader().Seek(-1, io.SeekCurrent); err == nil {
		t.Error("seek before the start succeeds")
	}
}
