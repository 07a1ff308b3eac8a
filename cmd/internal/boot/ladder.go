package boot

import (
	"context"
	"flag"
	"fmt"

	"github.com/freshet-live/freshet/media/ladder"
)

// ladderConfig are the settings of the renditions that ffmpeg makes.
type ladderConfig struct {
	on     bool
	rungs  string
	ffmpeg string
	limit  int
}

func (c *ladderConfig) flags(fs *flag.FlagSet) {
	fs.BoolVar(&c.on, "transcode", false, "have ffmpeg make smaller renditions, and AAC of Opus, of the broadcasts of WHIP and RTSP publishers while somebody watches them")
	fs.StringVar(&c.rungs, "transcode-ladder", "1080p,720p,480p,360p", "`renditions` of --transcode; those not smaller than the source are left out")
	fs.IntVar(&c.limit, "transcode-limit", 16, "`number` of broadcasts that --transcode works for at a time")
	fs.StringVar(&c.ffmpeg, "ffmpeg", "ffmpeg", "`program` for --transcode, of version 5.1 or newer")
}

// openLadder makes the part that transcodes. newBroadcast hands broadcasts over
// to it.
func (p *process) openLadder(context.Context) error {
	c := &p.cfg.ladder
	if !p.cfg.Role.Ingest || !c.on {
		return nil
	}
	rungs, err := ladder.ParseRungs(c.rungs)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, flagError("transcode-ladder", err))
	}
	if c.limit < 1 {
		return fmt.Errorf("%w: --transcode-limit is 1 or more", ErrUsage)
	}
	p.ladder = ladder.New(ladder.Config{FFmpeg: c.ffmpeg, Rungs: rungs, Limit: c.limit, Logger: p.log})
	p.add("ladder", p.ladder.Run)
	return nil
}
