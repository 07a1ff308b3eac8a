package packager

import (
	"cmp"
	"math"
	"time"

	"github.com/freshet-live/freshet/media"
)

// meterSpan is the shortest stretch of media that is measured, and so the
// stretch over which the catalog's maximum bitrate is one.
const meterSpan = time.Second

// meter measures a track from Group to Group: MSF requires a maximum bitrate
// of audio and video tracks (draft-ietf-moq-msf, section "Maximum Bitrate"),
// and no ingest protocol tells it.
type meter struct {
	started bool
	from    media.Time
	bytes   int
	frames  int

	peak    int     // bits per second, on the ladder; 0 before the first span
	rate    float64 // frames per second; 0 before the first span
	other   float64 // a differing rate seen in the newest span
	changed bool    // peak or rate changed and is not in the catalogs yet
}

func (m *meter) add(n int) {
	m.bytes += n
	m.frames++
}

// begin ends a span at the start of a Group.
func (m *meter) begin(at media.Time) {
	span := at.Sub(m.from)
	if m.started && span >= 0 && span < meterSpan {
		return
	}
	if m.started && span > 0 {
		m.measure(span)
	}
	m.started, m.from, m.bytes, m.frames = true, at, 0, 0
}

func (m *meter) measure(span time.Duration) {
	if bps := ladder(float64(m.bytes) * 8 / span.Seconds()); bps > m.peak {
		m.peak, m.changed = bps, true
	}
	rate := usualRate(float64(m.frames) / span.Seconds())
	switch {
	case m.rate == 0 || rate == m.other:
		// A new rate counts once it has been seen twice: one late or lost
		// frame is not worth a new catalog.
		m.changed = m.changed || rate != m.rate
		m.rate, m.other = rate, 0
	case math.Abs(rate-m.rate) > m.rate/10:
		m.other = rate
	default:
		m.other = 0
	}
}

// ladder rounds a bitrate up to a step of a quarter, so that the catalogs
// change rarely.
func ladder(bps float64) int {
	if bps < 1000 {
		return 1000
	}
	step := math.Ceil(math.Log(bps/1000)/math.Log(1.25) - 1e-9)
	return int(math.Round(1000 * math.Pow(1.25, step)))
}

// usualRate returns the usual frame rate within 3 % of r, else r rounded.
func usualRate(r float64) float64 {
	for _, usual := range []float64{10, 15, 20, 24, 25, 30, 48, 50, 60, 90, 120} {
		if math.Abs(r-usual) < usual*0.03 {
			return usual
		}
	}
	return math.Round(r)
}

// advertised returns the track's format as the catalogs have it.
func (t *track) advertised() media.Format {
	f := *t.format
	f.Bitrate = cmp.Or(f.Bitrate, t.meter.peak, assumedBitrate(&f))
	if t.kind == media.Video {
		f.FrameRate = cmp.Or(f.FrameRate, t.meter.rate)
	}
	return f
}

// assumedBitrate is what the catalog says of a track that has not been
// measured: a tenth of a bit per pixel, which suits live video, and 64 kbit/s
// for each channel of sound.
func assumedBitrate(f *media.Format) int {
	switch f.Kind() {
	case media.Audio:
		return 64000 * max(f.Channels, 1)
	case media.Text:
		return 0
	}
	fps := cmp.Or(f.FrameRate, 30)
	return ladder(float64(f.Width) * float64(f.Height) * fps / 10)
}
