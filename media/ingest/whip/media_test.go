package whip

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/media/ingest/rtpmedia"
	"github.com/freshet-live/freshet/media/ingest/source"
)

// encoder is a publisher that makes a key frame when asked and else deltas:
// a VP8 encoder without pictures.
type encoder struct {
	pc      *webrtc.PeerConnection
	sender  *webrtc.RTPSender
	layers  []*layer
	session string
	readers sync.WaitGroup
}

type layer struct {
	rid   string
	local *webrtc.TrackLocalStaticRTP
	cut   *rtpmedia.Packetizer
	width uint16
	asked chan struct{} // a PLI came
}

// VP8 frames of which only the header is real (RFC 6386, section 9.1). The
// key frame is 32 bytes of a picture of the given width and 90 rows.
func vp8Key(width uint16) []byte {
	return append([]byte{0x10, 0x02, 0, 0x9d, 0x01, 0x2a, byte(width), byte(width >> 8), 90, 0}, make([]byte, 22)...)
}

func vp8Delta() []byte { return append([]byte{0x11, 0x02, 0}, make([]byte, 10)...) }

// connect publishes the layers, or a plain track when there is one without a
// name.
func (b *bench) connect(t *testing.T, ctx context.Context, tune func(*webrtc.SettingEngine), rids ...string) *encoder {
	t.Helper()
	format := media.Format{Codec: media.VP8}
	api, err := newClientAPI([]media.Format{format}, slog.New(slog.DiscardHandler), tune)
	if err != nil {
		t.Fatal(err)
	}
	e := new(encoder)
	if e.pc, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.pc.GracefulClose()
		e.readers.Wait()
	})
	for i, rid := range rids {
		var options []func(*webrtc.TrackLocalStaticRTP)
		if rid != "" {
			options = append(options, webrtc.WithRTPStreamID(rid))
		}
		local, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "video", "freshet", options...)
		if err != nil {
			t.Fatal(err)
		}
		cut, err := rtpmedia.NewPacketizer(&format, 124)
		if err != nil {
			t.Fatal(err)
		}
		e.layers = append(e.layers, &layer{rid, local, cut, uint16(160 * (i + 1)), make(chan struct{}, 100)})
		if i == 0 {
			tr, err := e.pc.AddTransceiverFromTrack(local, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
			if err != nil {
				t.Fatal(err)
			}
			e.sender = tr.Sender()
		} else if err := e.sender.AddEncoding(local); err != nil {
			t.Fatal(err)
		}
	}
	connected := make(chan struct{})
	var once sync.Once
	e.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	if e.session, err = new(Client).negotiate(ctx, e.pc, b.http.URL+"/whip/demo", streamKey); err != nil {
		t.Fatal(err)
	}
	for _, l := range e.layers {
		e.readers.Go(func() { e.listen(l) })
	}
	select {
	case <-connected:
	case <-ctx.Done():
		t.Fatal("not connected")
	}
	return e
}

// listen notes the PLIs that come for a layer.
func (e *encoder) listen(l *layer) {
	for {
		var pkts []rtcp.Packet
		var err error
		if l.rid == "" {
			pkts, _, err = e.sender.ReadRTCP()
		} else {
			pkts, _, err = e.sender.ReadSimulcastRTCP(l.rid)
		}
		if err != nil {
			return
		}
		for _, p := range pkts {
			if _, ok := p.(*rtcp.PictureLossIndication); ok {
				select {
				case l.asked <- struct{}{}:
				default:
				}
			}
		}
	}
}

// send sends a frame on a layer.
func (e *encoder) send(t *testing.T, l *layer, key bool) {
	t.Helper()
	f := media.Frame{PTS: media.TimeOf(time.Now()), Key: key, Data: vp8Delta()}
	if key {
		f.Data = vp8Key(l.width)
	}
	pkts, err := l.cut.Packets(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pkts {
		if l.rid != "" {
			for _, x := range e.sender.GetParameters().HeaderExtensions {
				switch x.URI {
				case sdp.SDESMidURI:
					err = errors.Join(err, p.SetExtension(uint8(x.ID), []byte("0")))
				case sdp.SDESRTPStreamIDURI:
					err = errors.Join(err, p.SetExtension(uint8(x.ID), []byte(l.rid)))
				}
			}
		}
		if err = errors.Join(err, l.local.WriteRTP(p)); err != nil {
			t.Fatal(err)
		}
	}
}

// run sends deltas at 50 Hz, and key frames on request, until the test ends.
func (e *encoder) run(t *testing.T) (stop func()) {
	done := make(chan struct{})
	e.readers.Go(func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			for _, l := range e.layers {
				select {
				case <-l.asked:
					e.send(t, l, true)
				default:
					e.send(t, l, false)
				}
			}
		}
	})
	stop = sync.OnceFunc(func() { close(done) })
	t.Cleanup(stop)
	return stop
}

// A publisher that makes key frames only when asked is asked at the start and
// when a viewer needs one.
func TestKeyFramesOnDemand(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, nil)
	e := b.connect(t, ctx, nil, "")
	stop := e.run(t)
	defer stop()
	r := b.recorder(t, ctx)
	video := r.Track(t, ctx, media.VP8, 10)
	before := video.Keys()
	video.RequestKeyFrame()
	video.Keyed(t, ctx, before)
	if n := b.drops.Count(ingest.FrameUndecodable); n == 0 {
		t.Error("deltas before the first key frame were not counted")
	}
}

func TestSimulcast(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, nil)
	e := b.connect(t, ctx, nil, "0", "1", "2")
	stop := e.run(t)
	defer stop()
	var widths []int
	for _, track := range b.recorder(t, ctx).Tracks(t, ctx, 3) {
		widths = append(widths, track.Format().Width)
	}
	slices.Sort(widths)
	if !slices.Equal(widths, []int{160, 320, 480}) {
		t.Errorf("layers of widths %v", widths)
	}
}

// Where UDP is blocked, media comes through the TCP port.
func TestMediaOverTCP(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, nil)
	e := b.connect(t, ctx, func(s *webrtc.SettingEngine) {
		s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	}, "")
	stop := e.run(t)
	defer stop()
	b.recorder(t, ctx).Track(t, ctx, media.VP8, 10)
}

// A killed publisher says no farewell. Its broadcast ends all the same, and
// soon.
func TestPublisherKilled(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, nil)
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: socket, Logger: logger{slog.New(slog.DiscardHandler)}})
	defer mux.Close()
	e := b.connect(t, ctx, func(s *webrtc.SettingEngine) { s.SetICEUDPMux(mux) }, "")
	stop := e.run(t)
	r := b.recorder(t, ctx)
	r.Track(t, ctx, media.VP8, 5)
	stop()
	socket.Close()
	killed := time.Now()
	if err := r.Closed(t, ctx); !errors.Is(err, ingest.ErrPublisherGone) {
		t.Errorf("broadcast ended with %v", err)
	}
	if d := time.Since(killed); d > 12*time.Second {
		t.Errorf("noticed after %v", d)
	}
	b.gone(t, ctx, e.session)
}

// A publisher that goes away in order says so by DTLS.
func TestPublisherLeavesWithoutDelete(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, nil)
	e := b.connect(t, ctx, nil, "")
	stop := e.run(t)
	r := b.recorder(t, ctx)
	r.Track(t, ctx, media.VP8, 5)
	stop()
	e.pc.Close()
	if err := r.Closed(t, ctx); err != nil {
		t.Errorf("broadcast ended with %v", err)
	}
}

// Nobody connects: the room is given back.
func TestNoMediaEver(t *testing.T) {
	if testing.Short() {
		t.Skip("takes connectTimeout")
	}
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, nil)
	res, body := b.request(t, "POST", "/whip/demo", obsOffer(obsH264, 1), authorized...)
	if res.StatusCode != 201 {
		t.Fatalf("%s: %s", res.Status, body)
	}
	if err := b.recorder(t, ctx).Closed(t, ctx); !errors.Is(err, ingest.ErrPublisherGone) {
		t.Errorf("broadcast ended with %v", err)
	}
}

// Strangers may send what they like to the media ports.
func TestGarbageOnMediaPorts(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, func(c *Config) { c.MaxSessions = 2 })
	b.publish(t, ctx, new(Client), "/whip/demo", source.Options{})
	r := b.recorder(t, ctx)
	r.Track(t, ctx, media.H264, 5)

	addr := b.server.Addr().String()
	udp, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	random := rand.New(rand.NewPCG(1, 2))
	garbage := func(i int) []byte {
		p := make([]byte, random.IntN(1500))
		for j := range p {
			p[j] = byte(random.Uint32())
		}
		// Some of it begins like STUN, DTLS, RTP and RTCP (RFC 7983).
		if heads := [][]byte{nil, {0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42}, {22, 0xfe, 0xfd}, {0x80, 96}, {0x80, 200}}; len(p) > 8 {
			copy(p, heads[i%len(heads)])
		}
		return p
	}
	for i := range 500 {
		udp.Write(garbage(i))
	}
	var conns []net.Conn
	for i := range 3 * maxTCPPerSession * 2 { // more than are taken
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
		p := garbage(i)
		c.Write([]byte{byte(len(p) >> 8), byte(len(p))}) // RFC 4571 framing
		c.Write(p)
	}
	b.server.tcp.mu.Lock()
	if n := len(b.server.tcp.conns); n > maxTCPPerSession*2 {
		t.Errorf("%d TCP connections of %d are held", n, len(conns))
	}
	b.server.tcp.mu.Unlock()
	have := len(r.Track(t, ctx, media.H264, 5).Frames())
	r.Track(t, ctx, media.H264, have+10)
}

func TestTrickle(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, nil)
	b.publish(t, ctx, &Client{Trickle: true}, "/whip/demo", source.Options{NoAudio: true})
	b.recorder(t, ctx).Track(t, ctx, media.H264, 5)
}

func TestClientIsRefused(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, nil)
	src, err := source.Open(ctx, source.TestSource, source.Options{NoAudio: true, Width: 160, Height: 90})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	err = Publish(ctx, b.http.URL+"/whip/demo", "wrong", src)
	var status *StatusError
	if !errors.As(err, &status) || status.Code != 401 || !strings.Contains(err.Error(), "401") {
		t.Errorf("%v", err)
	}
	aac, err := source.Open(ctx, source.TestSource, source.Options{NoVideo: true, Audio: media.AAC})
	if err != nil {
		t.Fatal(err)
	}
	defer aac.Close()
	if err := Publish(ctx, b.http.URL+"/whip/demo", streamKey, aac); err == nil {
		t.Error("AAC by WebRTC")
	}
}

// The client of a publisher that is replaced hears of it.
func TestClientIsTakenOver(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, nil)
	src, err := source.Open(ctx, source.TestSource, source.Options{NoAudio: true, Width: 160, Height: 90})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	done := make(chan error, 1)
	go func() { done <- Publish(ctx, b.http.URL+"/whip/demo", streamKey, src) }()
	b.recorder(t, ctx).Track(t, ctx, media.H264, 5)
	b.publish(t, ctx, new(Client), "/whip/demo?takeover=1", source.Options{NoAudio: true})
	if err := <-done; err == nil {
		t.Error("the old publisher was not told")
	}
	b.recorder(t, ctx).Track(t, ctx, media.H264, 5)
}
