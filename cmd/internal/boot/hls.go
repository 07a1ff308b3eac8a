package boot

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/freshet-live/freshet/media/hls"
)

func (p *process) openHLS(context.Context) error {
	if !p.cfg.Role.HLS {
		return nil
	}
	window, err := p.cfg.hlsWindow()
	if err != nil {
		return err
	}
	past, err := p.openPast(window)
	if err != nil {
		return err
	}
	if past == nil {
		window = 0 // what memory holds by default
	}
	secret, err := p.hlsSecret()
	if err != nil {
		return err
	}
	limits, err := p.cfg.hlsLimits.parse()
	if err != nil {
		return err
	}
	h := hls.NewServer(hls.ServerConfig{
		Subscriber: p.node, Authorize: p.authorizeHLS,
		AllowedOrigins: *p.cfg.AllowedOrigins, Logger: p.log,
		Store: past, Secret: secret, MaxRooms: p.cfg.hlsLimits.rooms, Limits: limits,
		Muxer: hls.Config{Window: window, Trickle: p.cfg.HLSTrickle},
	})
	p.mux.Handle(hls.Prefix, h)
	p.mux.Handle("/hls-auth", h.AuthHandler())
	p.add("hls", h.Run)
	p.hls = h
	if p.cfg.HLSAlways {
		p.add("hls of all that is live", func(ctx context.Context) error { holdLive(ctx, p.node, h); return nil })
	}
	return nil
}

// hlsSecret reads the secret that signs the passes of LL-HLS viewers, or makes
// one where it does not exist.
func (p *process) hlsSecret() ([]byte, error) {
	file := p.cfg.HLSSecret
	if file == "" {
		file = p.file("hls.secret")
	}
	secret, err := keepSecret(file, func() []byte {
		b := make([]byte, 32)
		_, _ = rand.Read(b) // it does not fail
		return b
	})
	if err == nil && len(secret) < 16 {
		err = fmt.Errorf("%s holds %d bytes, 16 are the least", file, len(secret))
	}
	if err != nil {
		return nil, flagError("hls-secret", err)
	}
	return secret, nil
}

// authorizeHLS lets a request watch a room for what a MoQ session with the
// same token, in ?jwt= or as a Bearer, may watch.
func (p *process) authorizeHLS(r *http.Request, room string) (hls.Viewer, error) {
	tok := r.URL.Query().Get("jwt")
	if bearer, ok := bearerToken(r); ok {
		tok = bearer
	}
	grant, err := p.auth.Authorize(r.Context(), tok)
	if err != nil {
		return hls.Viewer{}, err
	}
	if !grant.AllowGet(liveNamespace(room)) {
		return hls.Viewer{}, errors.New("the token does not allow to watch this room")
	}
	if tok == "" {
		return hls.Viewer{}, nil
	}
	return hls.Viewer{ID: tokenID(tok), Expires: grant.Expires}, nil
}

// tokenID names a token without telling it, by what of it is signed. The
// signature is left out: from one of ES256 anybody makes a second that is as
// good, and who was revoked would come back with it as somebody else.
func tokenID(tok string) string {
	signed := tok[:max(0, strings.LastIndexByte(tok, '.'))]
	sum := sha256.Sum256([]byte(signed))
	return hex.EncodeToString(sum[:16])
}
