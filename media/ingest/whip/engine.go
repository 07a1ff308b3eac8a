package whip

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/webrtc/v4"

	"github.com/freshet-live/freshet/media"
)

// receiveMTU is the largest packet taken, in bytes: an Ethernet frame's worth.
const receiveMTU = 1500

// offerable is one codec as it appears in SDP. RTX gets the payload type
// after it.
type offerable struct {
	codec       media.Codec
	mime        string
	rate        uint32
	channels    uint16
	fmtp        string
	payloadType webrtc.PayloadType
}

// offerables are the codecs in order of preference where the client has none.
// An answer takes over the client's payload types. H.264 is listed once per
// profile because profile and packetization mode are part of the codec's
// identity (RFC 6184, section 8.2.2).
var offerables = []offerable{
	{codec: media.H264, mime: webrtc.MimeTypeH264, rate: 90000, fmtp: h264FMTP("42e01f", 1), payloadType: 96},
	{codec: media.H264, mime: webrtc.MimeTypeH264, rate: 90000, fmtp: h264FMTP("64001f", 1), payloadType: 98},
	{codec: media.H264, mime: webrtc.MimeTypeH264, rate: 90000, fmtp: h264FMTP("4d001f", 1), payloadType: 100},
	{codec: media.H264, mime: webrtc.MimeTypeH264, rate: 90000, fmtp: h264FMTP("42001f", 1), payloadType: 102},
	{codec: media.H264, mime: webrtc.MimeTypeH264, rate: 90000, fmtp: h264FMTP("42e01f", 0), payloadType: 35},
	{codec: media.H264, mime: webrtc.MimeTypeH264, rate: 90000, fmtp: h264FMTP("64001f", 0), payloadType: 37},
	{codec: media.H264, mime: webrtc.MimeTypeH264, rate: 90000, fmtp: h264FMTP("4d001f", 0), payloadType: 39},
	{codec: media.H264, mime: webrtc.MimeTypeH264, rate: 90000, fmtp: h264FMTP("42001f", 0), payloadType: 41},
	{codec: media.H265, mime: webrtc.MimeTypeH265, rate: 90000, payloadType: 116},
	{codec: media.AV1, mime: webrtc.MimeTypeAV1, rate: 90000, payloadType: 118},
	{codec: media.VP9, mime: webrtc.MimeTypeVP9, rate: 90000, fmtp: "profile-id=0", payloadType: 120},
	{codec: media.VP9, mime: webrtc.MimeTypeVP9, rate: 90000, fmtp: "profile-id=2", payloadType: 122},
	{codec: media.VP8, mime: webrtc.MimeTypeVP8, rate: 90000, payloadType: 124},
	{codec: media.Opus, mime: webrtc.MimeTypeOpus, rate: 48000, channels: 2, fmtp: "minptime=10;useinbandfec=1;stereo=1", payloadType: 111},
}

func h264FMTP(profile string, mode int) string {
	return fmt.Sprintf("level-asymmetry-allowed=1;packetization-mode=%d;profile-level-id=%s", mode, profile)
}

// codecOf returns which codec a negotiated MIME type is, 0 for none of ours.
func codecOf(mime string) media.Codec {
	for _, o := range offerables {
		if strings.EqualFold(o.mime, mime) {
			return o.codec
		}
	}
	return 0
}

// register adds the codecs that take accepts, and what all sessions need:
// retransmission, reports, the header extensions of simulcast and transport
// feedback, from which browsers learn how much they may send.
func register(take func(offerable) bool) (*webrtc.MediaEngine, *interceptor.Registry, error) {
	m, r := new(webrtc.MediaEngine), new(interceptor.Registry)
	for _, o := range offerables {
		if !take(o) {
			continue
		}
		kind := webrtc.RTPCodecTypeVideo
		feedback := []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}
		if o.codec.Kind() == media.Audio {
			kind, feedback = webrtc.RTPCodecTypeAudio, nil
		}
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: capability(o, feedback),
			PayloadType:        o.payloadType,
		}, kind); err != nil {
			return nil, nil, err
		}
		if kind == webrtc.RTPCodecTypeAudio {
			continue
		}
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType:    webrtc.MimeTypeRTX,
				ClockRate:   o.rate,
				SDPFmtpLine: fmt.Sprintf("apt=%d", o.payloadType),
			},
			PayloadType: o.payloadType + 1,
		}, kind); err != nil {
			return nil, nil, err
		}
	}
	if err := webrtc.ConfigureNack(m, r); err != nil {
		return nil, nil, err
	}
	if err := webrtc.ConfigureRTCPReports(r); err != nil {
		return nil, nil, err
	}
	if err := webrtc.ConfigureSimulcastExtensionHeaders(m); err != nil {
		return nil, nil, err
	}
	if err := webrtc.ConfigureTWCCSender(m, r); err != nil {
		return nil, nil, err
	}
	return m, r, nil
}

func capability(o offerable, feedback []webrtc.RTCPFeedback) webrtc.RTPCodecCapability {
	return webrtc.RTPCodecCapability{
		MimeType:     o.mime,
		ClockRate:    o.rate,
		Channels:     o.channels,
		SDPFmtpLine:  o.fmtp,
		RTCPFeedback: feedback,
	}
}

// newServerAPI returns the maker of the server's peer connections.
func newServerAPI(publicIPs []string, udp ice.UDPMux, tcp ice.TCPMux, log *slog.Logger) (*webrtc.API, error) {
	m, r, err := register(func(offerable) bool { return true })
	if err != nil {
		return nil, err
	}
	var e webrtc.SettingEngine
	e.LoggerFactory = logger{log}
	e.SetLite(true)
	e.SetICEUDPMux(udp)
	e.SetICETCPMux(tcp)
	e.SetNetworkTypes([]webrtc.NetworkType{
		webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6,
	})
	e.SetIncludeLoopbackCandidate(true) // for publishers on this machine
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	e.SetICETimeouts(disconnectedTimeout, failedTimeout, 2*time.Second)
	e.SetReceiveMTU(receiveMTU)
	if len(publicIPs) > 0 {
		if err := e.SetICEAddressRewriteRules(webrtc.ICEAddressRewriteRule{
			External:        publicIPs,
			AsCandidateType: webrtc.ICECandidateTypeHost,
			Mode:            webrtc.ICEAddressRewriteAppend,
		}); err != nil {
			return nil, err
		}
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(r), webrtc.WithSettingEngine(e)), nil
}

// logger hands pion's log lines to slog. What pion calls a warning is a
// client's mistake or bad luck, of which the operator need not hear.
type logger struct{ log *slog.Logger }

var _ logging.LoggerFactory = logger{}

// NewLogger implements logging.LoggerFactory.
func (l logger) NewLogger(scope string) logging.LeveledLogger {
	return logger{l.log.With("pion", scope)}
}

func (l logger) Trace(string)              {}
func (l logger) Tracef(string, ...any)     {}
func (l logger) Debug(string)              {}
func (l logger) Debugf(string, ...any)     {}
func (l logger) Info(msg string)           { l.log.Debug(msg) }
func (l logger) Infof(f string, a ...any)  { l.log.Debug(fmt.Sprintf(f, a...)) }
func (l logger) Warn(msg string)           { l.log.Debug(msg) }
func (l logger) Warnf(f string, a ...any)  { l.log.Debug(fmt.Sprintf(f, a...)) }
func (l logger) Error(msg string)          { l.log.Debug(msg) }
func (l logger) Errorf(f string, a ...any) { l.log.Debug(fmt.Sprintf(f, a...)) }
