package boot

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/freshet-live/freshet/control"
	"github.com/freshet-live/freshet/control/api"
	"github.com/freshet-live/freshet/control/store"
	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/hls"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/media/ingest/rtsp"
	"github.com/freshet-live/freshet/media/ingest/whip"
	"github.com/freshet-live/freshet/media/ladder"
	"github.com/freshet-live/freshet/media/packager"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/token"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/relay"
	"github.com/freshet-live/freshet/web"
)

// part is something that runs until its ctx ends.
type part struct {
	name string
	run  func(ctx context.Context) error
	// ready is closed once it serves; nil when it does so from the start.
	ready <-chan struct{}
	// abandon closes what it has opened when it never runs; nil for nothing.
	abandon func()
}

// process is all that one command runs. It is made by open, which opens every
// socket, so that a port that is taken is an error before anything is served.
type process struct {
	cfg   *Config
	log   *slog.Logger
	parts []part         // in the order in which they begin
	doors []part         // those that let peers in, which begin after the others
	close []func() error // of what is closed after all parts have ended, last first
	ready Ready

	node     *relay.Node
	auth     *authorizer
	registry *ingest.Registry
	drops    *ingest.Drops  // nil without ingest
	ladder   *ladder.Ladder // nil without --transcode
	hls      *hls.Server    // nil without LL-HLS
	certs    *transport.Certificates
	quic     *transport.Listener
	mux      *http.ServeMux
	key      *token.SigningKey // of the control plane
}

// Run runs a process until ctx ends. It prints one line per URL to out, and
// logs to logs.
func Run(ctx context.Context, cfg *Config, out, logs io.Writer) error {
	if err := cfg.check(); err != nil {
		return err
	}
	log, err := NewLogger(logs, cfg.LogLevel, cfg.LogFormat)
	if err != nil {
		return err
	}
	p := &process{cfg: cfg, log: log, mux: http.NewServeMux()}
	defer func() {
		for i := len(p.close) - 1; i >= 0; i-- {
			if err := p.close[i](); err != nil {
				log.Warn("closing", "error", err)
			}
		}
	}()
	if err := p.open(ctx); err != nil {
		for _, part := range slices.Backward(append(p.parts, p.doors...)) {
			if part.abandon != nil {
				part.abandon()
			}
		}
		return err
	}
	return p.run(ctx, out)
}

// run runs the parts until ctx ends or one of them fails. It owns a goroutine
// for each and returns after the last.
func (p *process) run(ctx context.Context, out io.Writer) error {
	group, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, part := range append(p.parts, p.doors...) {
		group.Go(func() error {
			if err := part.run(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", part.name, err)
			}
			return nil
		})
		if part.ready == nil {
			continue
		}
		select {
		case <-part.ready:
		case <-ctx.Done():
		}
	}
	p.ready.PID = os.Getpid()
	if file := p.cfg.ReadyFile; file != "" && ctx.Err() == nil {
		if err := p.ready.write(file); err != nil {
			cancel()
			return errors.Join(err, group.Wait())
		}
		defer os.Remove(file)
	}
	if ctx.Err() == nil {
		p.print(out)
	}
	return group.Wait()
}

func (p *process) add(name string, run func(context.Context) error) {
	p.parts = append(p.parts, part{name: name, run: run})
}

// open makes every part, in the order in which they need one another.
func (p *process) open(ctx context.Context) error {
	if err := os.MkdirAll(p.cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	p.auth = new(authorizer)
	for _, step := range []func(context.Context) error{
		p.openTokens, p.openNode, p.openServers, p.openLadder, p.openIngest, p.openHLS, p.openControl, p.openOperations,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// flagError names the flag whose value did not work.
func flagError(name string, err error) error { return fmt.Errorf("--%s: %w", name, err) }

func (p *process) file(name string) string { return filepath.Join(p.cfg.DataDir, name) }

// openTokens decides what tokens are believed.
func (p *process) openTokens(ctx context.Context) error {
	if p.cfg.Bench {
		p.auth.bench = rand.Text()
		p.ready.BenchToken = p.auth.bench
	}
	if p.cfg.Role.API {
		fresh, err := token.GenerateKey().MarshalPEM()
		if err != nil {
			return err
		}
		kept, err := keepSecret(p.file(tokenKeyFile), func() []byte { return fresh })
		if err != nil {
			return err
		}
		if p.key, err = token.ParseSigningKey(kept); err != nil {
			return fmt.Errorf("reading %s: %w", p.file(tokenKeyFile), err)
		}
		p.auth.verifier = token.NewVerifier(p.key.Key())
	}
	if p.cfg.TokenKey != "" {
		v, err := token.OpenVerifier(ctx, p.cfg.TokenKey, p.client())
		if err != nil {
			return fmt.Errorf("--token-key: %w", err)
		}
		p.auth.verifier = v
	}
	return nil
}

// client is for questions to the control plane of another process.
func (p *process) client() *http.Client {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	if conf, err := p.cfg.Trust.TLSConfig(); err == nil && p.cfg.Trust != (transport.Trust{}) {
		tr.TLSClientConfig = conf
	}
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func (p *process) openNode(context.Context) error {
	ups, err := p.cfg.upstreams()
	if err != nil {
		return err
	}
	cfg := relay.Config{
		Authorizer: p.auth, Upstreams: ups, Implementation: "freshet/" + Version, Logger: p.log,
	}
	if p.cfg.Role.Ingest {
		p.registry = ingest.NewRegistry(p.newBroadcast, 0)
		cfg.Gate = &gate{p.registry}
	}
	p.node = relay.New(cfg)
	p.parts = append(p.parts, part{name: "relay", run: p.node.Run, ready: p.node.Ready()})
	return nil
}

// newBroadcast publishes what ingest has admitted.
func (p *process) newBroadcast(_ context.Context, room, member string) (media.BroadcastWriter, error) {
	ns := liveNamespace(room)
	if member != "" {
		ns = ns.Append(member)
	}
	b := packager.New(ns, packager.Config{})
	p.log.Info("broadcast begins", "namespace", ns.String())
	if p.ladder != nil {
		p.ladder.Add(b)
	}
	return &publishedBroadcast{Broadcast: b, withdraw: p.node.Publish(b.Broadcast()), log: p.log, namespace: ns}, nil
}

// publishedBroadcast is withdrawn from the node when it is closed.
type publishedBroadcast struct {
	*packager.Broadcast
	withdraw  func()
	log       *slog.Logger
	namespace moq.Namespace
}

func (b *publishedBroadcast) Close(err error) {
	b.withdraw()
	b.Broadcast.Close(err)
	b.log.Info("broadcast ended", "namespace", b.namespace.String(), "reason", err)
}

func (p *process) openIngest(context.Context) error {
	if !p.cfg.Role.Ingest {
		return nil
	}
	admission, err := p.admission()
	if err != nil {
		return err
	}
	p.drops = new(ingest.Drops)
	w, err := whip.Listen(whip.Config{
		Addr: p.cfg.WebRTCAddr, PublicIPs: *p.cfg.PublicHosts, Admission: admission, Opener: p.registry,
		AllowedOrigins: *p.cfg.AllowedOrigins, Drops: p.drops, Logger: p.log,
	})
	if err != nil {
		return flagError("webrtc-addr", err)
	}
	p.ready.WebRTC = w.Addr().String()
	p.mux.Handle("/whip/", w)
	p.parts = append(p.parts, part{name: "whip", run: w.Run, ready: w.Ready(), abandon: w.Close})
	if p.cfg.RTSPAddr == "" {
		return nil
	}
	r, err := rtsp.Listen(rtsp.Config{Addr: p.cfg.RTSPAddr, Admission: admission, Opener: p.registry, Drops: p.drops, Logger: p.log})
	if err != nil {
		return flagError("rtsp-addr", err)
	}
	p.ready.RTSP = r.Addr().String()
	p.doors = append(p.doors, part{name: "rtsp", run: r.Run, abandon: r.Close})
	return nil
}

// admission decides who is asked about stream keys. In a process with the
// control plane it opens the store.
func (p *process) admission() (ingest.Admission, error) {
	if p.cfg.Role.API {
		return ingest.AdmissionFunc(func(ctx context.Context, r ingest.AdmissionRequest) (ingest.AdmissionDecision, error) {
			return admitByAccess(p.auth.access).Admit(ctx, r)
		}), nil
	}
	keys, err := p.cfg.streamKeys()
	if err != nil {
		return nil, err
	}
	switch {
	case p.cfg.AdmissionURL != "" && len(keys) > 0:
		return nil, fmt.Errorf("%w: --admission-url and --stream-key exclude each other", ErrUsage)
	case p.cfg.AdmissionURL != "":
		return admitByHTTP(p.client(), p.cfg.AdmissionURL), nil
	case len(keys) == 0:
		p.log.Warn("nobody may publish by WHIP or RTSP: give --stream-key or --admission-url")
	}
	return admitByKeys(keys), nil
}

// Files of the data folder.
const (
	databaseFile = "freshet.db"
	demoKeyFile  = "demo.key"
	tokenKeyFile = "token.key"
	resetKeyFile = "stateless-reset.key"
	demoRoom     = "demo"
)

func (p *process) openControl(ctx context.Context) error {
	if !p.cfg.Role.API {
		return nil
	}
	db, err := store.OpenSQLite(ctx, p.file(databaseFile))
	if err != nil {
		return err
	}
	p.close = append(p.close, db.Close)
	p.auth.access = control.NewAccess(db)
	if err := p.openDemo(ctx, db); err != nil {
		return err
	}
	// Where pages are sent elsewhere nobody watches here.
	live := newLiveRooms(p.node, len(*p.cfg.MoQURLs) == 0)
	p.add("live rooms", func(ctx context.Context) error { live.run(ctx); return nil })

	endpoints := api.Endpoints{HLS: p.cfg.HLSURL, WebRTC: p.cfg.Role.Ingest}
	if endpoints.HLS == "" && p.cfg.Role.HLS {
		endpoints.HLS = "/hls/"
	}
	if p.certs.SelfMade() {
		endpoints.CertificateSHA256 = p.certs.Fingerprint
	}
	for i, s := range *p.cfg.MoQURLs {
		a, err := parseAnnotated(s)
		if err != nil {
			return err
		}
		endpoints.MoQ = append(endpoints.MoQ, a.url)
		if i == 0 {
			endpoints.CertificateSHA256 = func() string { return a.sha256 }
		}
	}
	if len(endpoints.MoQ) == 0 {
		endpoints.QUICAddr = p.quic.Addr()
	}
	mint, err := newMinter(p.key)
	if err != nil {
		return err
	}
	p.mux.Handle("/", api.New(api.Config{
		Store: db, Minter: mint, Live: live, Endpoints: endpoints, Assets: web.Assets(),
		AllowedOrigins: *p.cfg.AllowedOrigins, Logger: p.log,
	}))
	return nil
}

// openDemo makes the room demo when there is none at all, and finds its key.
func (p *process) openDemo(ctx context.Context, db control.Store) error {
	rooms, err := db.Rooms(ctx)
	if err != nil {
		return err
	}
	if len(rooms) > 0 && (len(rooms) > 1 || rooms[0].Name != demoRoom) {
		return nil
	}
	key, err := keepSecret(p.file(demoKeyFile), func() []byte { return []byte(control.NewStreamKey()) })
	if err != nil {
		return err
	}
	key = bytes.TrimSpace(key) // an editor may have been there
	if len(rooms) == 0 {
		room := control.Room{Name: demoRoom, Title: "Demo", Open: true, Created: time.Now().UTC()}
		err = db.CreateRoom(ctx, room, control.DigestKey(string(key)))
	} else if p.auth.access.Admit(ctx, demoRoom, "", string(key)) != nil {
		// The file was lost and a new key was made.
		err = db.ReplaceKeys(ctx, demoRoom, control.DigestKey(string(key)))
	}
	if err != nil {
		return err
	}
	p.ready.Room, p.ready.StreamKey = demoRoom, string(key)
	return nil
}
