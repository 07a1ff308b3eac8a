package main

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/bluenviron/gohlslib/v2"
	"github.com/bluenviron/gohlslib/v2/pkg/codecs"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/hls"
	"github.com/freshet-live/freshet/testdata/clips"
)

// clip is three seconds of H.264 with a key frame each second, which both
// muxers are fed in a loop.
type clip struct {
	format media.Format
	sets   [][]byte // SPS, PPS
	track  *clips.Track
	units  [][][]byte // the NAL units of each sample
}

const clipLength = 3 * time.Second

func openClip() (*clip, error) {
	for _, t := range clips.Open(clips.H264AAC) {
		if !t.Video() {
			continue
		}
		f, err := codec.ParseDescription(media.H264, t.Config)
		if err != nil {
			return nil, err
		}
		sets, err := codec.ParameterSets(&f)
		if err != nil || len(sets) != 2 {
			return nil, fmt.Errorf("%d parameter sets: %w", len(sets), err)
		}
		c := &clip{format: f, sets: sets, track: &t}
		for _, s := range t.Samples {
			u, err := codec.SplitLengthPrefixed(s.Data)
			if err != nil {
				return nil, err
			}
			c.units = append(c.units, u)
		}
		return c, nil
	}
	return nil, fmt.Errorf("the clip has no picture")
}

// each calls f with the samples whose decode time lies from from to to.
func (c *clip) each(from, to time.Duration, f func(i int, pts time.Duration) error) error {
	for loop := from / clipLength * clipLength; loop < to; loop += clipLength {
		for i, s := range c.track.Samples {
			if dts := loop + s.DTS; dts < from || dts >= to {
				continue
			}
			if err := f(i, loop+s.PTS); err != nil {
				return err
			}
		}
	}
	return nil
}

// start is the wall-clock time of the first frame.
var start = time.Now()

type ours struct {
	*hls.Muxer
	clip *clip
}

func newOurs(window time.Duration) *ours {
	c, err := openClip()
	if err != nil {
		panic(err) // the clip is part of the source
	}
	m := hls.NewMuxer(hls.Config{Window: window, MaxBytes: 1 << 30})
	m.Start([]hls.Track{{Name: "video0", Format: c.format}})
	return &ours{m, c}
}

func (o *ours) feed(from, to time.Duration) error {
	return o.clip.each(from, to, func(i int, pts time.Duration) error {
		s := o.clip.track.Samples[i]
		return o.WriteFrame("video0", media.Frame{PTS: media.TimeOf(start.Add(pts)), Key: s.Sync, Data: s.Data, Format: &o.clip.format}, false)
	})
}

func (o *ours) playlist() string { return "/p/open/video0.m3u8" }
func (o *ours) close()           { o.Close() }

type theirs struct {
	*gohlslib.Muxer
	track *gohlslib.Track
	clip  *clip
}

func newTheirs(window time.Duration) (*theirs, error) {
	c, err := openClip()
	if err != nil {
		return nil, err
	}
	t := &gohlslib.Track{Codec: &codecs.H264{SPS: c.sets[0], PPS: c.sets[1]}, ClockRate: 90000}
	m := &gohlslib.Muxer{
		Tracks: []*gohlslib.Track{t}, Variant: gohlslib.MuxerVariantLowLatency,
		SegmentCount: int(window / (4 * time.Second)), SegmentMinDuration: 4 * time.Second, PartMinDuration: 500 * time.Millisecond,
	}
	if err := m.Start(); err != nil {
		return nil, err
	}
	return &theirs{m, t, c}, nil
}

// ServeHTTP implements http.Handler.
func (t *theirs) ServeHTTP(w http.ResponseWriter, r *http.Request) { t.Handle(w, r) }

func (t *theirs) feed(from, to time.Duration) error {
	return t.clip.each(from, to, func(i int, pts time.Duration) error {
		unit := t.clip.units[i]
		if t.clip.track.Samples[i].Sync { // it wants the parameter sets in band
			unit = slices.Concat(t.clip.sets, unit)
		}
		return t.WriteH264(t.track, start.Add(pts), int64(pts)*9/1e5, unit)
	})
}

func (t *theirs) playlist() string { return "/video1_stream.m3u8" }
func (t *theirs) close()           { t.Close() }
