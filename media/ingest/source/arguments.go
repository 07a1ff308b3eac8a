package source

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/freshet-live/freshet/media"
)

const (
	audioRate = 48000 // Hz
	opusFrame = 20    // milliseconds
)

// output is one pipe from ffmpeg and what comes through it.
type output struct {
	read func(r io.Reader, o Options, emit func(event) bool) error
}

// arguments returns the command line for the input, and the outputs in the
// order of their file descriptors, the first of which is 3.
func arguments(input string, o Options) (args []string, plan []output, err error) {
	if o.NoVideo && o.NoAudio {
		return nil, nil, errors.New("source: neither video nor audio is wanted")
	}
	test := input == TestSource
	rate := o.FrameRate
	if rate == 0 {
		rate = 30
	}
	gop := o.GOP
	if gop == 0 {
		gop = 2 * time.Second
	}
	add := func(a ...string) { args = append(args, a...) }
	add("-hide_banner", "-nostdin", "-loglevel", "error")

	audioMap := "0:a:0?"
	if test {
		w, h := o.Width, o.Height
		if w == 0 || h == 0 {
			w, h = 640, 360
		}
		audioMap = "0:a:0"
		if !o.NoVideo {
			add("-re", "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=%dx%d:rate=%d", w, h, rate))
			audioMap = "1:a:0"
		}
		if !o.NoAudio {
			add("-re", "-f", "lavfi", "-i", "sine=frequency=440:beep_factor=4:sample_rate=48000")
		}
	} else {
		add("-re")
		if !o.Once {
			add("-stream_loop", "-1")
		}
		add("-i", input)
	}

	var video, audio []string
	if !o.NoVideo {
		video = []string{"-map", "0:v:0?"}
		filter := o.Filter
		if !test && o.Width > 0 && o.Height > 0 {
			filter = join(filter, fmt.Sprintf("scale=%d:%d", o.Width, o.Height))
		}
		if filter != "" {
			video = append(video, "-vf", filter)
		}
		if !test && o.FrameRate > 0 {
			video = append(video, "-r", strconv.Itoa(o.FrameRate))
		}
		coder, err := videoCoder(o, max(1, int(gop.Seconds()*float64(rate)+0.5)))
		if err != nil {
			return nil, nil, err
		}
		video = append(video, coder...)
	}
	if !o.NoAudio {
		// async fills and cuts where a file starts over.
		audio = []string{"-map", audioMap, "-af", "aresample=async=1000", "-ac", "2", "-ar", strconv.Itoa(audioRate)}
		switch o.Audio {
		case media.Opus:
			audio = append(audio, "-c:a", "libopus", "-b:a", "96k", "-frame_duration", strconv.Itoa(opusFrame))
		case media.AAC:
			audio = append(audio, "-c:a", "aac", "-b:a", "128k")
		case media.AC3:
			audio = append(audio, "-c:a", "ac3", "-b:a", "192k")
		case media.EC3:
			audio = append(audio, "-c:a", "eac3", "-b:a", "192k")
		default:
			return nil, nil, fmt.Errorf("source: no encoder for %v", o.Audio)
		}
	}

	if o.Video == media.VP8 && !o.NoVideo {
		add(video...)
		add("-f", "ivf", "-flush_packets", "1", "pipe:3")
		plan = append(plan, output{readIVF})
		video = nil
	}
	if len(video)+len(audio) > 0 {
		add(video...)
		add(audio...)
		// Without edit lists the tracks' decode times alone say when what is
		// due; the header waits for the first frames, without which it could
		// not describe AV1 and VP9.
		add("-f", "mp4", "-movflags", "+frag_every_frame+empty_moov+delay_moov+default_base_moof",
			"-use_editlist", "0", "-flush_packets", "1", fmt.Sprintf("pipe:%d", 3+len(plan)))
		plan = append(plan, output{readMP4})
	}
	return args, plan, nil
}

// videoCoder returns the encoder and its settings for key frames every gop
// pictures and as little delay as it is able to.
func videoCoder(o Options, gop int) ([]string, error) {
	n := strconv.Itoa(gop)
	bitrate := o.VideoBitrate
	if bitrate == 0 {
		bitrate = 1_500_000
	}
	common := []string{"-pix_fmt", "yuv420p", "-g", n, "-b:v", strconv.Itoa(bitrate)}
	if o.BFrames > 0 && o.Video != media.H264 && o.Video != media.H265 {
		return nil, fmt.Errorf("source: no B-frames in %v", o.Video)
	}
	switch o.Video {
	case media.H264:
		coder := []string{"-c:v", "libx264", "-preset", "veryfast", "-keyint_min", n, "-sc_threshold", "0",
			"-maxrate", strconv.Itoa(bitrate), "-bufsize", strconv.Itoa(bitrate / 2)}
		if o.BFrames > 0 {
			return append(append(coder, "-bf", strconv.Itoa(o.BFrames)), common...), nil
		}
		return append(append(coder, "-profile:v", "baseline", "-tune", "zerolatency"), common...), nil
	case media.H265:
		tune := []string{"-tune", "zerolatency"}
		if o.BFrames > 0 {
			tune = nil
		}
		coder := []string{"-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
			fmt.Sprintf("log-level=error:keyint=%d:min-keyint=%d:scenecut=0:open-gop=0:bframes=%d", gop, gop, o.BFrames)}
		return append(append(coder, tune...), common...), nil
	case media.AV1:
		return append([]string{"-c:v", "libaom-av1", "-usage", "realtime", "-cpu-used", "8", "-lag-in-frames", "0",
			"-row-mt", "1", "-keyint_min", n}, common...), nil
	case media.VP9:
		return append([]string{"-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0",
			"-row-mt", "1", "-keyint_min", n}, common...), nil
	case media.VP8:
		return append([]string{"-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-lag-in-frames", "0",
			"-auto-alt-ref", "0", "-keyint_min", n}, common...), nil
	}
	return nil, fmt.Errorf("source: no encoder for %v", o.Video)
}

func join(filters ...string) string {
	var all string
	for _, f := range filters {
		switch {
		case f == "":
		case all == "":
			all = f
		default:
			all += "," + f
		}
	}
	return all
}
