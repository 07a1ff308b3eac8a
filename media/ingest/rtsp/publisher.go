package rtsp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/media/ingest/rtpmedia"
)

// publisher is a session that has been admitted.
type publisher struct {
	server  *Server
	req     ingest.AdmissionRequest
	log     *slog.Logger
	streams []stream

	broadcast ingest.Broadcast // set by start
	started   time.Time
}

// stream is one announced track that is taken.
type stream struct {
	media  *description.Media
	format format.Format
	config rtpmedia.TrackConfig
}

// streamsOf picks the tracks to take from what was announced: of each media
// the first format of a codec that freshet carries. The others are set up,
// because RECORD wants all or none, and ignored.
func streamsOf(d *description.Session, drops *ingest.Drops) ([]stream, error) {
	if len(d.Medias) > maxTracks {
		return nil, fmt.Errorf("rtsp: %d tracks announced, at most %d are taken", len(d.Medias), maxTracks)
	}
	clock := rtpmedia.NewClock()
	var streams []stream
	for _, m := range d.Medias {
		for _, f := range m.Formats {
			cfg, ok := trackConfig(f)
			if !ok {
				continue
			}
			cfg.Clock, cfg.Drops = clock, drops
			// A trial: what signalling says may be beyond us.
			trial := cfg
			trial.Drops = nil
			if _, err := rtpmedia.NewTrack(trial); err != nil {
				continue
			}
			streams = append(streams, stream{m, f, cfg})
			break
		}
	}
	if len(streams) == 0 {
		return nil, errors.New("rtsp: no track of a codec that is carried")
	}
	return streams, nil
}

// trackConfig translates a format of the session description.
func trackConfig(f format.Format) (rtpmedia.TrackConfig, bool) {
	switch f := f.(type) {
	case *format.H264:
		return rtpmedia.TrackConfig{
			Format:        media.Format{Codec: media.H264},
			ParameterSets: nonEmpty(f.SPS, f.PPS),
		}, true
	case *format.H265:
		return rtpmedia.TrackConfig{
			Format:        media.Format{Codec: media.H265},
			ParameterSets: nonEmpty(f.VPS, f.SPS, f.PPS),
			MaxDONDiff:    f.MaxDONDiff,
		}, true
	case *format.AV1:
		return rtpmedia.TrackConfig{Format: media.Format{Codec: media.AV1}}, true
	case *format.VP8:
		return rtpmedia.TrackConfig{Format: media.Format{Codec: media.VP8}}, true
	case *format.VP9:
		return rtpmedia.TrackConfig{Format: media.Format{Codec: media.VP9}}, true
	case *format.Opus:
		return rtpmedia.TrackConfig{
			Format: media.Format{Codec: media.Opus, SampleRate: 48000, Channels: f.ChannelCount},
		}, true
	case *format.AC3:
		return rtpmedia.TrackConfig{
			Format:    media.Format{Codec: media.AC3, SampleRate: f.SampleRate, Channels: f.ChannelCount},
			ClockRate: f.ClockRate(),
		}, true
	case *format.MPEG4Audio:
		config, err := f.Config.Marshal()
		if err != nil {
			return rtpmedia.TrackConfig{}, false
		}
		return rtpmedia.TrackConfig{
			Format:    media.Format{Codec: media.AAC, Description: config},
			ClockRate: f.ClockRate(),
			AAC: rtpmedia.AACPacking{
				SizeLength:       f.SizeLength,
				IndexLength:      f.IndexLength,
				IndexDeltaLength: f.IndexDeltaLength,
			},
		}, true
	}
	return rtpmedia.TrackConfig{}, false
}

func nonEmpty(sets ...[]byte) [][]byte {
	var present [][]byte
	for _, s := range sets {
		if len(s) > 0 {
			present = append(present, s)
		}
	}
	return present
}

// start opens the broadcast and has the session's packets go to its tracks.
func (p *publisher) start(session *gortsplib.ServerSession) error {
	if p.broadcast != nil {
		return errors.New("rtsp: RECORD twice")
	}
	wait, cancel := context.WithTimeout(p.server.ctx, admitTimeout)
	defer cancel()
	b, err := p.server.cfg.Opener.Open(wait, p.req.Room, p.req.Member, p.req.Protocol, p.req.Takeover)
	if err != nil {
		return err
	}
	for _, s := range p.streams {
		s.config.Broadcast = b
		track, err := rtpmedia.NewTrack(s.config)
		if err != nil {
			b.Close(err)
			return err
		}
		session.OnPacketRTP(s.media, s.format, func(pkt *rtp.Packet) {
			if err := track.Packet(pkt, time.Now()); err != nil {
				session.Close() // the broadcast is over
			}
		})
		session.OnPacketRTCP(s.media, func(pkt rtcp.Packet) {
			if sr, ok := pkt.(*rtcp.SenderReport); ok {
				track.SenderReport(sr.NTPTime, sr.RTPTime)
			}
		})
	}
	p.broadcast, p.started = b, time.Now()
	p.server.watchers.Go(func() {
		<-b.Done() // at the latest, end closes it
		session.Close()
	})
	p.log.Info("publisher started", "tracks", len(p.streams), "transport", transport(session))
	return nil
}

// end closes the broadcast when the session has ended with err.
func (p *publisher) end(err error) {
	if p.broadcast == nil {
		return
	}
	var tornDown liberrors.ErrServerSessionTornDown
	if errors.As(err, &tornDown) {
		err = nil
	} else {
		err = fmt.Errorf("%w: %w", ingest.ErrPublisherGone, err)
	}
	p.broadcast.Close(err)
	p.log.Info("publisher ended", "duration", time.Since(p.started).Round(time.Second), "reason", p.broadcast.Err())
}

func transport(session *gortsplib.ServerSession) string {
	if t := session.Transport(); t != nil && t.Protocol == gortsplib.ProtocolUDP {
		return "udp"
	}
	return "tcp"
}
