package boot

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/freshet-live/freshet/control"
	"github.com/freshet-live/freshet/moq/token"
	"github.com/freshet-live/freshet/moq/transport"
)

// openServers opens the certificate and the sockets that MoQ and HTTP are
// served at. All of them serve the same handler, those over TCP also MoQ over
// WebSocket.
func (p *process) openServers(context.Context) error {
	certs, err := transport.NewCertificates(transport.CertificateConfig{
		CertFile: p.cfg.TLSCert, KeyFile: p.cfg.TLSKey, Dir: p.cfg.DataDir, Logger: p.log,
	})
	if err != nil {
		return err
	}
	p.certs = certs
	p.ready.CertificateSHA256 = certs.Fingerprint()
	p.add("certificates", certs.Run)

	secret, err := keepSecret(p.file(resetKeyFile), func() []byte {
		b := make([]byte, 32)
		rand.Read(b)
		return b
	})
	if err != nil {
		return err
	}
	if len(secret) != 32 {
		return fmt.Errorf("%s is not a key of 32 bytes", p.file(resetKeyFile))
	}
	p.quic, err = transport.Listen(transport.ListenConfig{
		Addr: p.cfg.QUICAddr, TLS: certs.TLSConfig(), Protocols: p.cfg.protocols(), HTTP: timelyBody(p.mux, bodyTimeout),
		CheckOrigin: p.checkOrigin(), StatelessResetKey: (*[32]byte)(secret), Logger: p.log,
	})
	if err != nil {
		return flagError("quic-addr", err)
	}
	p.ready.QUIC = p.quic.Addr().String()
	p.doors = append(p.doors,
		part{name: "sessions", run: p.serveSessions},
		part{name: "quic", run: p.quic.Run, abandon: func() { p.quic.Close() }})
	web := p.quic.WebSocket(p.mux)
	if p.ready.HTTPS, err = p.openWeb("https", p.cfg.HTTPSAddr, certs.TLSConfig(), web); err != nil {
		return err
	}
	p.ready.HTTP, err = p.openWeb("http", p.cfg.HTTPAddr, nil, web)
	return err
}

// openWeb opens a web server at the address of the flag NAME-addr, if there is
// one.
func (p *process) openWeb(name, addr string, tlsConfig *tls.Config, h http.Handler) (bound string, err error) {
	if addr == "" {
		return "", nil
	}
	w, err := listenWeb(addr, tlsConfig, h, p.log)
	if err != nil {
		return "", flagError(name+"-addr", err)
	}
	p.doors = append(p.doors, part{name: name, run: w.run, abandon: func() { w.ln.Close() }})
	return w.ln.Addr().String(), nil
}

// serveSessions gives each connection to the node. It owns a goroutine for
// each and returns after the last.
func (p *process) serveSessions(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := p.quic.Accept(ctx)
		if err != nil {
			if errors.Is(err, transport.ErrListenerClosed) {
				return nil
			}
			return err
		}
		// How it ended is logged by the node.
		wg.Go(func() { _ = p.node.Serve(ctx, conn) })
	}
}

// checkOrigin is nil, which allows all, unless origins are named.
func (p *process) checkOrigin() func(*http.Request) bool {
	allowed := *p.cfg.AllowedOrigins
	if len(allowed) == 0 {
		return nil
	}
	return func(r *http.Request) bool {
		origin := r.Header.Get("Origin")
		if origin == "" {
			return true // not a page
		}
		for _, a := range allowed {
			if strings.EqualFold(origin, a) {
				return true
			}
		}
		return false
	}
}

func (p *process) openOperations(context.Context) (err error) {
	ready := func() error {
		if s := p.node.Stats(); s.Upstreams == 0 && len(*p.cfg.Upstreams) > 0 {
			return errors.New("no upstream is connected")
		}
		return nil
	}
	p.ready.Metrics, err = p.openWeb("metrics", p.cfg.MetricsAddr, nil, operations(p.node, p.drops, p.hls, ready))
	return err
}

// minter mints tokens for the control plane.
type minter struct {
	key  *token.SigningKey
	jwks []byte
}

func newMinter(key *token.SigningKey) (*minter, error) {
	jwks, err := key.JWKS()
	return &minter{key, jwks}, err
}

func (m *minter) Mint(perm control.Permission) (string, time.Time, error) {
	now := time.Now()
	expires := now.Add(perm.Lifetime).Truncate(time.Second)
	tok, err := m.key.Mint(token.Grant{Put: perm.Put, Get: perm.Get, Expires: expires}, now)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("minting a token: %w", err)
	}
	return tok, expires, nil
}

func (m *minter) JWKS() []byte { return m.jwks }

func bearerToken(r *http.Request) (string, bool) {
	scheme, tok, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return strings.TrimSpace(tok), true
}
