package rtsp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"

	"github.com/bluenviron/gortsplib/v5"
	"github.com/bluenviron/gortsplib/v5/pkg/base"
	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/format"
	"github.com/bluenviron/gortsplib/v5/pkg/liberrors"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/codec"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/media/ingest/rtpmedia"
)

// clientQueue is how many packets may wait to be sent, a power of two: a key
// frame of 4 MiB.
const clientQueue = 4096

// StatusError is an RTSP server's refusal.
type StatusError struct {
	Code    int // RTSP status
	Message string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("rtsp: server answers %d %s", e.Code, e.Message)
}

// Transport is how a Client sends RTP.
type Transport uint8

// The transports.
const (
	TCP Transport = iota // interleaved in the RTSP connection
	UDP
)

// Client publishes by RTSP. The zero value sends by TCP.
type Client struct {
	Transport Transport
}

// Publish publishes the source with a zero Client.
func Publish(ctx context.Context, target string, source ingest.Source) error {
	return new(Client).Publish(ctx, target, source)
}

// Publish sends the source's frames to rtsp://user:password@host/path until
// the source ends or ctx does, either of which is no error, and then tears
// the session down. A refusal is a *StatusError.
func (c *Client) Publish(ctx context.Context, target string, source ingest.Source) error {
	tracks, desc, err := describe(source.Formats())
	if err != nil {
		return err
	}
	u, err := base.ParseURL(withPort(target))
	if err != nil {
		return fmt.Errorf("rtsp: %w", err)
	}
	protocol := gortsplib.ProtocolTCP
	if c.Transport == UDP {
		protocol = gortsplib.ProtocolUDP
	}
	conn := &gortsplib.Client{
		Scheme:         u.Scheme,
		Host:           u.Host,
		Protocol:       &protocol,
		WriteQueueSize: clientQueue,
		UserAgent:      "freshet",
	}
	if err := conn.Start(); err != nil {
		return fmt.Errorf("rtsp: %w", err)
	}
	// The library's requests know no context: closing is what ends them.
	run, cancel := context.WithCancelCause(ctx)
	closed := make(chan struct{})
	stop := context.AfterFunc(run, conn.Close)
	go func() {
		defer close(closed)
		cancel(conn.Wait())
	}()
	defer func() {
		stop()
		conn.Close()
		<-closed
	}()

	if err := record(conn, u, desc); err != nil {
		return endOf(ctx, refusal(err))
	}
	for {
		i, f, err := source.Next(run)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if run.Err() != nil {
				err = fmt.Errorf("rtsp: connection lost: %w", context.Cause(run))
			}
			return endOf(ctx, err)
		}
		pkts, err := tracks[i].cut.Packets(f)
		if err != nil {
			return err
		}
		for _, pkt := range pkts {
			// The frame's time becomes the NTP time of sender reports, which
			// is what keeps the tracks in step at the other end.
			if err := conn.WritePacketRTPWithNTP(tracks[i].media, pkt, f.PTS.Wall()); err != nil {
				return endOf(ctx, fmt.Errorf("rtsp: %w", err))
			}
		}
	}
}

// record announces, sets up and starts.
func record(conn *gortsplib.Client, u *base.URL, desc *description.Session) error {
	if _, err := conn.Announce(u, desc); err != nil {
		return err
	}
	if err := conn.SetupAll(u, desc.Medias); err != nil {
		return err
	}
	_, err := conn.Record()
	return err
}

// endOf is err, or nil when ctx has ended: then err says only that.
func endOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// refusal gives the library's error for a status our type.
func refusal(err error) error {
	var status liberrors.ErrClientBadStatusCode
	if errors.As(err, &status) {
		return &StatusError{Code: int(status.Code), Message: status.Message}
	}
	return fmt.Errorf("rtsp: %w", err)
}

// withPort adds RTSP's port where the URL has none.
func withPort(target string) string {
	u, err := url.Parse(target)
	if err != nil || u.Port() != "" || u.Host == "" {
		return target
	}
	u.Host = net.JoinHostPort(u.Hostname(), "554")
	return u.String()
}

// outgoing is one track on its way out.
type outgoing struct {
	media *description.Media
	cut   *rtpmedia.Packetizer
}

// describe announces the formats.
func describe(formats []media.Format) ([]outgoing, *description.Session, error) {
	desc := &description.Session{Title: "freshet"}
	var tracks []outgoing
	for i := range formats {
		payloadType := uint8(96 + i)
		f, err := rtpFormat(&formats[i], payloadType)
		if err != nil {
			return nil, nil, err
		}
		cut, err := rtpmedia.NewPacketizer(&formats[i], payloadType)
		if err != nil {
			return nil, nil, err
		}
		kind := description.MediaTypeVideo
		if formats[i].Kind() == media.Audio {
			kind = description.MediaTypeAudio
		}
		m := &description.Media{Type: kind, Formats: []format.Format{f}}
		desc.Medias = append(desc.Medias, m)
		tracks = append(tracks, outgoing{m, cut})
	}
	return tracks, desc, nil
}

// rtpFormat describes a format for the session description.
func rtpFormat(f *media.Format, payloadType uint8) (format.Format, error) {
	switch f.Codec {
	case media.H264:
		c, err := codec.ParseAVCConfig(f.Description)
		if err != nil {
			return nil, err
		}
		return &format.H264{PayloadTyp: payloadType, PacketizationMode: 1, SPS: first(c.SPS), PPS: first(c.PPS)}, nil
	case media.H265:
		c, err := codec.ParseHEVCConfig(f.Description)
		if err != nil {
			return nil, err
		}
		return &format.H265{PayloadTyp: payloadType, VPS: first(c.VPS), SPS: first(c.SPS), PPS: first(c.PPS)}, nil
	case media.AV1:
		return &format.AV1{PayloadTyp: payloadType}, nil
	case media.VP8:
		return &format.VP8{PayloadTyp: payloadType}, nil
	case media.VP9:
		return &format.VP9{PayloadTyp: payloadType}, nil
	case media.Opus:
		return &format.Opus{PayloadTyp: payloadType, ChannelCount: f.Channels}, nil
	case media.AC3:
		return &format.AC3{PayloadTyp: payloadType, SampleRate: f.SampleRate, ChannelCount: f.Channels}, nil
	case media.AAC:
		var config mpeg4audio.AudioSpecificConfig
		if err := config.Unmarshal(f.Description); err != nil {
			return nil, fmt.Errorf("rtsp: AudioSpecificConfig: %w", err)
		}
		return &format.MPEG4Audio{
			PayloadTyp:       payloadType,
			Config:           &config,
			SizeLength:       rtpmedia.HBR.SizeLength,
			IndexLength:      rtpmedia.HBR.IndexLength,
			IndexDeltaLength: rtpmedia.HBR.IndexDeltaLength,
		}, nil
	}
	return nil, fmt.Errorf("rtsp: %v cannot be sent by RTP", f.Codec)
}

// first is the first parameter set, of which the description has room for one.
func first(sets [][]byte) []byte {
	if len(sets) == 0 {
		return nil
	}
	return sets[0]
}
