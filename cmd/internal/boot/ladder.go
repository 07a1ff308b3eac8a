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
}

func (c *ladderConfig) flags(fs *flag.FlagSet) {
	fs.BoolVar(&c.on, "transcode", false, "have ffmpeg make smaller renditions, and AAC of Opus, of the broadcasts of WHIP and RTSP publishers while somebody watches them")
	fs.StringVar(&c.rungs, "transcode-ladder", "1080p,720p,480p,360p", "`renditions` of --transcode; those not smaller than the source are left out")
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
	p.ladder = ladder.New(ladder.Config{FFmpeg: c.ffmpeg, Rungs: rungs, Logger: p.log})
	p.add("ladder", p.ladder.Run)
	return nil
}
