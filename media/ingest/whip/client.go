package whip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/media/ingest/rtpmedia"
)

const (
	// answerTimeout bounds one HTTP exchange of the client.
	answerTimeout = 10 * time.Second
	// farewellTimeout bounds the DELETE after ctx has ended.
	farewellTimeout = 2 * time.Second
)

// StatusError is a WHIP server's refusal.
type StatusError struct {
	Code    int    // HTTP status
	Message string // the body's first line
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("whip: server answers %d %s: %s", e.Code, http.StatusText(e.Code), e.Message)
}

// Client publishes by WHIP. The zero value is ready.
type Client struct {
	// HTTP makes the requests; nil means a client that trusts the system's
	// certificates.
	HTTP *http.Client
	// Trickle sends candidates by PATCH instead of in the offer.
	Trickle bool
	// Logger defaults to slog.Default.
	Logger *slog.Logger
}

// Publish publishes the source with a zero Client.
func Publish(ctx context.Context, endpoint, token string, source ingest.Source) error {
	return new(Client).Publish(ctx, endpoint, token, source)
}

// Publish sends the source's frames to a WHIP endpoint until the source ends
// or ctx does, either of which is no error, and then deletes the session. A
// refusal is a *StatusError.
func (c *Client) Publish(ctx context.Context, endpoint, token string, source ingest.Source) (err error) {
	formats := source.Formats()
	api, err := newClientAPI(formats, c.logger(), nil)
	if err != nil {
		return err
	}
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return fmt.Errorf("whip: %w", err)
	}
	var senders sync.WaitGroup
	defer senders.Wait()
	defer pc.GracefulClose()

	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	connected := make(chan struct{})
	var once sync.Once
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			once.Do(func() { close(connected) })
		case webrtc.PeerConnectionStateFailed:
			cancel(errLost)
		case webrtc.PeerConnectionStateClosed:
			cancel(errPeerDone)
		}
	})
	tracks, err := addTracks(pc, formats, &senders)
	if err != nil {
		return err
	}
	session, err := c.negotiate(run, pc, endpoint, token)
	if err != nil {
		return err
	}
	defer func() {
		// Also when ctx has ended: the server should know.
		bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewellTimeout)
		defer cancel()
		if _, _, derr := c.do(bye, http.MethodDelete, session, token, "", nil); derr != nil && err == nil {
			err = derr
		}
	}()
	timer := time.NewTimer(connectTimeout)
	defer timer.Stop()
	select {
	case <-connected:
	case <-timer.C:
		return errNoMedia
	case <-run.Done():
		return endOf(ctx, run)
	}
	if err := send(run, source, tracks); err != nil {
		if run.Err() != nil {
			return endOf(ctx, run)
		}
		return err
	}
	return nil
}

// endOf tells why run has ended: nil when that is because ctx has.
func endOf(ctx, run context.Context) error {
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(run)
}

func (c *Client) logger() *slog.Logger {
	if c.Logger != nil {
		return c.Logger
	}
	return slog.Default()
}

// newClientAPI returns a maker of peer connections that offer the codecs of
// the formats and no others. tune may change the settings; it may be nil.
func newClientAPI(formats []media.Format, log *slog.Logger, tune func(*webrtc.SettingEngine)) (*webrtc.API, error) {
	m, r, err := register(func(o offerable) bool {
		for _, f := range formats {
			if f.Codec == o.codec {
				return true
			}
		}
		return false
	})
	if err != nil {
		return nil, fmt.Errorf("whip: %w", err)
	}
	var e webrtc.SettingEngine
	e.LoggerFactory = logger{log}
	e.SetIncludeLoopbackCandidate(true)
	e.SetICETimeouts(disconnectedTimeout, failedTimeout, 2*time.Second)
	if tune != nil {
		tune(&e)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(m), webrtc.WithInterceptorRegistry(r), webrtc.WithSettingEngine(e)), nil
}

// outgoing is one track on its way out.
type outgoing struct {
	local *webrtc.TrackLocalStaticRTP
	cut   *rtpmedia.Packetizer
}

// addTracks adds a track per format, all of one MediaStream, and reads its
// RTCP in goroutines counted by senders.
func addTracks(pc *webrtc.PeerConnection, formats []media.Format, senders *sync.WaitGroup) ([]outgoing, error) {
	var tracks []outgoing
	for i := range formats {
		f := &formats[i]
		var o *offerable
		for j := range offerables {
			if offerables[j].codec == f.Codec {
				o = &offerables[j]
				break
			}
		}
		if o == nil {
			return nil, fmt.Errorf("whip: %v cannot be sent by WebRTC", f.Codec)
		}
		local, err := webrtc.NewTrackLocalStaticRTP(capability(*o, nil), fmt.Sprintf("%s%d", f.Kind(), i), "freshet")
		if err != nil {
			return nil, fmt.Errorf("whip: %w", err)
		}
		t, err := pc.AddTransceiverFromTrack(local, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			return nil, fmt.Errorf("whip: %w", err)
		}
		cut, err := rtpmedia.NewPacketizer(f, uint8(o.payloadType))
		if err != nil {
			return nil, err
		}
		tracks = append(tracks, outgoing{local, cut})
		// Reading drives retransmission. Requests for key frames cannot be
		// passed on: sources make them in their own time.
		senders.Go(func() {
			buf := make([]byte, receiveMTU)
			for {
				if _, _, err := t.Sender().Read(buf); err != nil {
					return
				}
			}
		})
	}
	return tracks, nil
}

// negotiate exchanges offer and answer and returns the session's URL.
func (c *Client) negotiate(ctx context.Context, pc *webrtc.PeerConnection, endpoint, token string) (string, error) {
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return "", fmt.Errorf("whip: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		return "", fmt.Errorf("whip: %w", err)
	}
	if !c.Trickle {
		select {
		case <-gathered:
			offer = *pc.LocalDescription()
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	header, body, err := c.do(ctx, http.MethodPost, endpoint, token, typeSDP, []byte(offer.SDP))
	if err != nil {
		return "", err
	}
	session, err := resolve(endpoint, header.Get("Location"))
	if err != nil {
		return "", err
	}
	answer := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(body)}
	if err := pc.SetRemoteDescription(answer); err != nil {
		return "", fmt.Errorf("whip: answer: %w", err)
	}
	if c.Trickle {
		select {
		case <-gathered:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
		if _, _, err := c.do(ctx, http.MethodPatch, session, token, typeFragment, fragment(pc.LocalDescription().SDP)); err != nil {
			return "", err
		}
	}
	return session, nil
}

// fragment picks what trickle ICE sends out of a description (RFC 8840,
// section 4.4): with everything bundled, the first m= section says it all.
func fragment(description string) []byte {
	var b bytes.Buffer
	sections := 0
	for line := range strings.Lines(description) {
		if strings.HasPrefix(line, "m=") {
			sections++
		}
		switch {
		case sections > 1:
		case sections == 1 && strings.HasPrefix(line, "m="), strings.HasPrefix(line, "a=mid:"),
			strings.HasPrefix(line, "a=ice-ufrag:"), strings.HasPrefix(line, "a=ice-pwd:"),
			strings.HasPrefix(line, "a=candidate:"), strings.HasPrefix(line, "a=end-of-candidates"):
			b.WriteString(line)
		}
	}
	return b.Bytes()
}

// resolve makes the Location header absolute.
func resolve(endpoint, location string) (string, error) {
	base, err := url.Parse(endpoint)
	if err != nil {
		return "", fmt.Errorf("whip: %w", err)
	}
	u, err := base.Parse(location)
	if err != nil || location == "" {
		return "", fmt.Errorf("whip: no usable Location in the answer: %q", location)
	}
	return u.String(), nil
}

// do makes one request and reads a bounded answer.
func (c *Client) do(ctx context.Context, method, target, token, contentType string, body []byte) (http.Header, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("whip: %w", err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("whip: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return nil, nil, fmt.Errorf("whip: %w", err)
	}
	if res.StatusCode/100 != 2 {
		line, _, _ := strings.Cut(string(answer), "\n")
		return nil, nil, &StatusError{Code: res.StatusCode, Message: line}
	}
	return res.Header, answer, nil
}

// send cuts and sends frames until the source ends.
func send(ctx context.Context, source ingest.Source, tracks []outgoing) error {
	for {
		i, f, err := source.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		pkts, err := tracks[i].cut.Packets(f)
		if err != nil {
			return err
		}
		for _, pkt := range pkts {
			if err := tracks[i].local.WriteRTP(pkt); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				return fmt.Errorf("whip: %w", err)
			}
		}
	}
}
