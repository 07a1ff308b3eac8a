package boot

import (
	"errors"
	"flag"
	"log/slog"
	"strings"
	"testing"
)

func TestLadderSettings(t *testing.T) {
	for _, c := range []struct {
		role  Role
		args  string
		made  bool
		usage bool
	}{
		{role: Up},
		{role: Up, args: "--transcode", made: true},
		{role: Origin, args: "--transcode --transcode-ladder 720p,360p --ffmpeg /opt/ffmpeg", made: true},
		{role: Origin, args: "--transcode --transcode-ladder 720", usage: true},
		{role: Up, args: "--transcode --transcode-limit 0", usage: true},
		{role: Relay, args: "--transcode", usage: true}, // has nothing of its own to transcode
	} {
		fs := flag.NewFlagSet(c.role.Name, flag.ContinueOnError)
		cfg := Flags(fs, c.role)
		err := Load(fs, strings.Fields(c.args), nil)
		p := &process{cfg: cfg, log: slog.New(slog.DiscardHandler)}
		if err == nil {
			err = p.openLadder(t.Context())
		}
		if errors.Is(err, ErrUsage) != c.usage || (err == nil) == c.usage {
			t.Errorf("%s %s: %v", c.role.Name, c.args, err)
		}
		if made := p.ladder != nil; made != c.made {
			t.Errorf("%s %s: a ladder: %v", c.role.Name, c.args, made)
		}
	}
}
