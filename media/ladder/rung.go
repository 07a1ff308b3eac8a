package ladder

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
)

// DefaultRungs are the renditions of a ladder, by the length of the picture's
// shorter side in pixels.
var DefaultRungs = []int{1080, 720, 480, 360}

// minRung and maxRung bound a rung; x264 needs a few macroblocks, and what is
// larger has no level.
const (
	minRung = 64
	maxRung = 2160
)

// maxRungs bounds a ladder: each rung is one more encoder.
const maxRungs = 8

// ErrRungs is wrapped by the errors of ParseRungs.
var ErrRungs = errors.New("ladder: malformed list of renditions")

// ParseRungs reads a list such as "1080p,720p".
func ParseRungs(s string) ([]int, error) {
	var rungs []int
	seen := make(map[int]bool)
	for field := range strings.SplitSeq(s, ",") {
		digits, ok := strings.CutSuffix(strings.TrimSpace(field), "p")
		n, err := strconv.Atoi(digits)
		switch {
		case !ok || err != nil:
			return nil, fmt.Errorf("%w: %q is not like 720p", ErrRungs, field)
		case n < minRung || n > maxRung:
			return nil, fmt.Errorf("%w: %q is not between %dp and %dp", ErrRungs, field, minRung, maxRung)
		case seen[n]:
			return nil, fmt.Errorf("%w: %q twice", ErrRungs, field)
		case len(rungs) == maxRungs:
			return nil, fmt.Errorf("%w: more than %d", ErrRungs, maxRungs)
		}
		seen[n] = true
		rungs = append(rungs, n)
	}
	return rungs, nil
}

// short returns the length of the shorter side, by which renditions are named
// whether the picture lies or stands.
func short(f *media.Format) int { return min(f.Width, f.Height) }

// scaled returns the size of a picture whose shorter side is rung, with the
// source's aspect and even sides, which 4:2:0 needs.
func scaled(source *media.Format, rung int) (width, height int) {
	even := func(side int) int {
		return max(2, 2*int(math.Round(float64(side)*float64(rung)/float64(short(source))/2)))
	}
	return even(source.Width), even(source.Height)
}

// videoFormat describes a rendition of a source as far as it is known before
// it is made. The encoder is told to keep to it.
func videoFormat(source *media.Format, rung int) media.Format {
	w, h := scaled(source, rung)
	return media.Format{
		Codec: media.H264,
		// High profile, and no constraint flags.
		MIME:    fmt.Sprintf("avc1.6400%02x", level(w, h)),
		Width:   w,
		Height:  h,
		Bitrate: bitrate(w, h),
	}
}

// level returns ten times the lowest H.264 level, from 3.1 on, for pictures of
// this size at 60 per second (ITU-T H.264, table A-1).
func level(w, h int) int {
	macroblocks := ((w + 15) / 16) * ((h + 15) / 16)
	for _, l := range []struct{ level, perPicture, perSecond int }{
		{31, 3600, 108000}, {32, 5120, 216000}, {42, 8704, 522240}, {50, 22080, 589824}, {51, 36864, 983040},
	} {
		if macroblocks <= l.perPicture && macroblocks*60 <= l.perSecond {
			return l.level
		}
	}
	return 52
}

// bitrate returns the highest rate of a rendition in bits per second: 700
// kbit/s for 640×360 and 4.5 Mbit/s for 1920×1080. Larger pictures need fewer
// bits for each pixel.
func bitrate(w, h int) int {
	const reference = 640 * 360
	rate := 700e3 * math.Pow(float64(w*h)/reference, 0.847)
	return int(max(1, math.Round(rate/50e3)) * 50e3)
}

// audioRate and audioBitrate are those of AAC renditions.
const (
	audioRate    = 48000
	audioBitrate = 128000
)

// audioFormat describes an AAC rendition of an Opus source.
func audioFormat(source *media.Format) (media.Format, error) {
	channels := min(max(source.Channels, 1), 2)
	// AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1): AAC-LC, 48 kHz.
	const aacLC, rate48000 = 2, 3
	config := uint16(aacLC<<11 | rate48000<<7 | channels<<3)
	f, err := codec.AACFormat([]byte{byte(config >> 8), byte(config)})
	f.Bitrate = audioBitrate
	return f, err
}
