package boot

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/freshet-live/freshet/media/hls"
	"github.com/freshet-live/freshet/media/hls/dvr"
)

// hlsGrace is how long files outlive their window: who has seen them listed
// may still ask.
const hlsGrace = time.Minute

// hlsWindow parses --hls-window.
func (c *Config) hlsWindow() (time.Duration, error) {
	if c.HLSWindow == "all" {
		return hls.WholeBroadcast, nil
	}
	d, err := time.ParseDuration(c.HLSWindow)
	if err != nil || d < 30*time.Second {
		return 0, fmt.Errorf("%w: --hls-window is a duration of 30s or more, or all", ErrUsage)
	}
	return d, nil
}

// openPast opens the folder in which LL-HLS keeps its past; nil without one.
func (p *process) openPast(window time.Duration) (*dvr.Store, error) {
	if p.cfg.HLSDir == "none" {
		return nil, nil
	}
	limit, err := parseBytes(p.cfg.HLSLimit)
	if err != nil {
		return nil, flagError("hls-disk-limit", err)
	}
	cfg := dvr.Config{Dir: p.cfg.HLSDir, Limit: limit, Keep: hls.WholeBroadcast, Logger: p.log}
	if window != hls.WholeBroadcast {
		cfg.Keep = window + hlsGrace
	}
	if cfg.Dir == "" {
		cfg.Dir = p.file("hls")
	}
	s, err := dvr.Open(cfg)
	switch {
	case errors.Is(err, dvr.ErrInUse) && p.cfg.HLSDir == "":
		p.log.Warn("another process keeps the past of LL-HLS in the data folder: give --hls-dir; this one keeps it in memory", "error", err)
		return nil, nil
	case err != nil:
		return nil, flagError("hls-dir", err)
	}
	p.close = append(p.close, s.Close)
	return s, nil
}

// parseBytes parses a number of bytes with a binary unit, if any.
func parseBytes(s string) (int64, error) {
	number, unit := s, float64(1)
	for i, suffix := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if n, ok := strings.CutSuffix(s, suffix); ok {
			number, unit = n, math.Pow(1024, float64(i+1))
		}
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if n *= unit; err != nil || !(n >= 1<<20 && n < 1<<60) {
		return 0, fmt.Errorf("%q is not a number of bytes, of 1MiB at least, such as 20GiB", s)
	}
	return int64(n), nil
}
