package source

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"time"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/ingest"
)

// Subtitled is a Source with a track of text beside those of another Source.
// It is for one goroutine.
type Subtitled struct {
	src    ingest.Source
	track  int
	format media.Format
	cues   []codec.Cue
	period time.Duration

	begun  bool
	origin media.Time // of the present round of cues
	next   int        // cue
	newest media.Time // PTS so far: with B-frames it goes back and forth

	held  bool // a frame of src waits for the cues that are due before it
	index int
	frame media.Frame
}

var _ ingest.Source = (*Subtitled)(nil)

// WithSubtitles adds a track of the given cues, whose times count from the
// first frame of src. With a period they begin again after each; 0 plays them
// once. The track comes behind those of src.
func WithSubtitles(src ingest.Source, f media.Format, cues []codec.Cue, period time.Duration) *Subtitled {
	cues = slices.Clone(cues)
	slices.SortStableFunc(cues, func(a, b codec.Cue) int { return int(a.Start - b.Start) })
	return &Subtitled{src: src, track: len(src.Formats()), format: f, cues: cues, period: period}
}

// Formats implements ingest.Source.
func (s *Subtitled) Formats() []media.Format { return append(s.src.Formats(), s.format) }

// Next implements ingest.Source. A cue comes with the first frame that is not
// before it.
func (s *Subtitled) Next(ctx context.Context) (int, media.Frame, error) {
	if !s.held {
		var err error
		if s.index, s.frame, err = s.src.Next(ctx); err != nil {
			return 0, media.Frame{}, err
		}
		s.held = true
		if !s.begun {
			s.begun, s.origin = true, s.frame.PTS
		}
		s.newest = max(s.newest, s.frame.PTS)
	}
	for s.period > 0 && len(s.cues) > 0 && s.newest.Sub(s.origin) >= s.period {
		s.origin, s.next = s.origin.Add(s.period), 0
	}
	if s.next < len(s.cues) {
		c := s.cues[s.next]
		if at := s.origin.Add(c.Start); at <= s.newest {
			s.next++
			return s.track, media.Frame{PTS: at, Key: true, Data: c.Append(nil, -c.Start), Format: &s.format}, nil
		}
	}
	s.held = false
	return s.index, s.frame, nil
}

// Duration asks ffprobe, which comes with ffmpeg, how long a media file lasts.
func Duration(ctx context.Context, file string) (time.Duration, error) {
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "json", file).Output()
	if err != nil {
		return 0, fmt.Errorf("source: duration of %s: %w", file, err)
	}
	var answer struct {
		Format struct {
			Duration string `json:"duration"`
		} `json:"format"`
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return 0, fmt.Errorf("source: duration of %s: %w", file, err)
	}
	seconds, err := strconv.ParseFloat(answer.Format.Duration, 64)
	if err != nil || seconds <= 0 || seconds > 1e7 {
		return 0, fmt.Errorf("source: duration of %s: ffprobe says %q", file, answer.Format.Duration)
	}
	return time.Duration(seconds * float64(time.Second)), nil
}
