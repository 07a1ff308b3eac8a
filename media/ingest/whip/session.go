package whip

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/media/ingest/rtpmedia"
)

// session is one publisher from its 201 to its end.
type session struct {
	server *Server
	log    *slog.Logger
	id     string // unguessable: who knows it may ask to end the session
	key    [sha256.Size]byte
	ufrag  string

	pc        *webrtc.PeerConnection
	broadcast ingest.Broadcast
	clock     *rtpmedia.Clock

	ctx       context.Context
	cancel    context.CancelCauseFunc
	connected chan struct{} // closed once media can flow
	onConnect sync.Once
	closed    chan struct{} // closed when the server has forgotten the session

	// tracks counts the goroutines that receive. mu orders its Add before
	// the Wait of run: pion announces tracks from goroutines of its own.
	mu     sync.Mutex
	over   bool
	tracks sync.WaitGroup
}

var (
	errDeleted  = errors.New("whip: ended by the publisher") // the regular end
	errLost     = errors.New("whip: connection lost")
	errNoMedia  = errors.New("whip: no connection in time")
	errRefused  = errors.New("whip: answer not accepted")
	errPeerDone = errors.New("whip: connection closed by the publisher")
)

// newSession negotiates: the offer goes in, the answer comes out. open is
// called in between, when the offer is known to be good, so that a bad one
// cannot end somebody else's broadcast.
func newSession(ctx context.Context, s *Server, api *webrtc.API, body []byte, log *slog.Logger, open func() (ingest.Broadcast, error)) (_ *session, answer string, err error) {
	o, err := parseOffer(body)
	if err != nil {
		return nil, "", err
	}
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, "", err
	}
	n := &session{
		server:    s,
		id:        rand.Text(),
		ufrag:     o.ufrag,
		pc:        pc,
		clock:     rtpmedia.NewClock(),
		connected: make(chan struct{}),
		closed:    make(chan struct{}),
	}
	n.log = log.With("session", n.id[:6])
	n.ctx, n.cancel = context.WithCancelCause(context.Background())
	defer func() {
		if err != nil {
			n.cancel(errRefused)
			pc.GracefulClose()
			n.closeBroadcast(err)
		}
	}()
	pc.OnTrack(n.onTrack)
	pc.OnConnectionStateChange(n.onState)

	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(body)}); err != nil {
		return nil, "", fmt.Errorf("%w offer: %w", errUnsupported, err)
	}
	local, err := pc.CreateAnswer(nil)
	if err != nil {
		return nil, "", fmt.Errorf("%w offer: %w", errUnsupported, err)
	}
	if err := checkAnswer(local.SDP); err != nil {
		return nil, "", err
	}
	if n.broadcast, err = open(); err != nil {
		return nil, "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(local); err != nil {
		return nil, "", err
	}
	select {
	case <-gathered:
	case <-time.After(gatherTimeout):
		return nil, "", errors.New("whip: own addresses not known in time")
	case <-ctx.Done():
		return nil, "", ctx.Err()
	}
	return n, pc.LocalDescription().SDP, nil
}

// run waits for the session's end and tears it down. It returns after the last
// goroutine of the session has ended.
func (n *session) run() {
	started := time.Now()
	timer := time.NewTimer(connectTimeout)
	defer timer.Stop()
	connected := n.connected
wait:
	for {
		select {
		case <-connected:
			timer.Stop()
			connected = nil
			n.log.Info("publisher connected", "after", time.Since(started).Round(time.Millisecond))
		case <-timer.C:
			n.stop(errNoMedia)
		case <-n.broadcast.Done():
			n.stop(n.broadcast.Err())
		case <-n.ctx.Done():
			break wait
		}
	}
	n.mu.Lock()
	n.over = true
	n.mu.Unlock()
	// First the broadcast: viewers should not wait for handshakes of farewell.
	n.closeBroadcast(context.Cause(n.ctx))
	if err := n.pc.GracefulClose(); err != nil {
		n.log.Debug("closing the connection", "error", err)
	}
	n.tracks.Wait()
	n.log.Info("publisher ended", "duration", time.Since(started).Round(time.Second), "reason", context.Cause(n.ctx))
}

// closeBroadcast ends the broadcast, if there is one, for the given reason.
func (n *session) closeBroadcast(cause error) {
	if n.broadcast == nil {
		return
	}
	if errors.Is(cause, errDeleted) || errors.Is(cause, errPeerDone) {
		n.broadcast.Close(nil)
		return
	}
	n.broadcast.Close(fmt.Errorf("%w: %w", ingest.ErrPublisherGone, cause))
}

// stop makes run end the session. The first cause counts. A nil cause is that
// of a broadcast closed from elsewhere without one.
func (n *session) stop(cause error) {
	if cause == nil {
		cause = ingest.ErrClosed
	}
	n.cancel(cause)
}

// authorized tells whether key is the one that opened the session.
func (n *session) authorized(key string) bool {
	sum := sha256.Sum256([]byte(key))
	return subtle.ConstantTimeCompare(sum[:], n.key[:]) == 1
}

func (n *session) onState(state webrtc.PeerConnectionState) {
	n.log.Debug("connection state", "state", state.String())
	switch state {
	case webrtc.PeerConnectionStateConnected:
		n.onConnect.Do(func() { close(n.connected) })
	case webrtc.PeerConnectionStateFailed:
		n.stop(errLost)
	case webrtc.PeerConnectionStateClosed:
		n.stop(errPeerDone)
	}
}

// onTrack receives one RTP stream: a track or a simulcast layer of it.
func (n *session) onTrack(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	n.mu.Lock()
	if n.over {
		n.mu.Unlock()
		return
	}
	n.tracks.Add(1)
	n.mu.Unlock()
	defer n.tracks.Done()

	track, err := rtpmedia.NewTrack(rtpmedia.TrackConfig{
		Format:    media.Format{Codec: codecOf(remote.Codec().MimeType)},
		Clock:     n.clock,
		Broadcast: n.broadcast,
		Drops:     n.server.cfg.Drops,
	})
	if err != nil { // cannot be: only such codecs are negotiated
		n.log.Warn("track refused", "codec", remote.Codec().MimeType, "error", err)
		return
	}
	n.log.Info("track", "codec", track.Codec().String(), "layer", remote.RID(), "fmtp", remote.Codec().SDPFmtpLine)

	// The helpers end with this function: the context tells one, the closed
	// connection the other.
	ctx, cancel := context.WithCancel(n.ctx)
	defer cancel()
	n.tracks.Go(func() { n.readReports(remote, receiver, track) })
	n.tracks.Go(func() {
		track.KeyFrameLoop(ctx, keyFramePeriod, func() error {
			return n.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(remote.SSRC())}})
		})
	})
	n.readPackets(remote, track)
}

// readPackets feeds the track until the stream ends.
func (n *session) readPackets(remote *webrtc.TrackRemote, track *rtpmedia.Track) {
	drops := n.server.cfg.Drops
	payloadType := -1 // of the first packet; pion does not know a layer's before
	var order rtpmedia.Reorderer
	for {
		buf := make([]byte, receiveMTU)
		size, _, err := remote.Read(buf)
		switch {
		case err == nil:
		case errors.Is(err, io.ErrShortBuffer):
			drops.Add(ingest.PacketMalformed, 1)
			continue
		case errors.Is(err, webrtc.ErrCodecNotFound):
			drops.Add(ingest.PacketUnknown, 1)
			continue
		default:
			return // the connection is closed
		}
		pkt := new(rtp.Packet)
		if err := pkt.Unmarshal(buf[:size]); err != nil {
			drops.Add(ingest.PacketMalformed, 1)
			continue
		}
		if payloadType < 0 {
			payloadType = int(pkt.PayloadType)
		}
		if int(pkt.PayloadType) != payloadType {
			drops.Add(ingest.PacketUnknown, 1)
			continue
		}
		now := time.Now()
		var refused error
		late := order.Push(pkt, now, func(pkt *rtp.Packet) {
			if refused == nil {
				refused = track.Packet(pkt, now)
			}
		})
		drops.Add(ingest.PacketLate, uint64(late))
		if refused != nil {
			n.stop(refused) // the broadcast is over
			return
		}
	}
}

// readReports feeds sender reports to the track's clock. Reading is also what
// drives pion's interceptors.
func (n *session) readReports(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver, track *rtpmedia.Track) {
	read := receiver.Read
	if rid := remote.RID(); rid != "" {
		read = func(b []byte) (int, interceptor.Attributes, error) { return receiver.ReadSimulcast(b, rid) }
	}
	buf := make([]byte, receiveMTU)
	for {
		size, _, err := read(buf)
		if errors.Is(err, io.ErrShortBuffer) {
			n.server.cfg.Drops.Add(ingest.PacketMalformed, 1)
			continue
		}
		if err != nil {
			return // the connection is closed
		}
		pkts, err := rtcp.Unmarshal(buf[:size])
		if err != nil {
			n.server.cfg.Drops.Add(ingest.PacketMalformed, 1)
			continue
		}
		for _, pkt := range pkts {
			if sr, ok := pkt.(*rtcp.SenderReport); ok && sr.SSRC == uint32(remote.SSRC()) {
				track.SenderReport(sr.NTPTime, sr.RTPTime)
			}
		}
	}
}
