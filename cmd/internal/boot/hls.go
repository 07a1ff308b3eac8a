package boot

import (
	"context"
	"errors"
	"net/http"

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
	h := hls.NewServer(hls.ServerConfig{
		Subscriber: p.node, Namespace: liveNamespace, Authorize: p.authorizeHLS,
		AllowedOrigins: *p.cfg.AllowedOrigins, Logger: p.log,
		Store: past, Muxer: hls.Config{Window: window},
	})
	p.mux.Handle("/hls/", h)
	p.add("hls", h.Run)
	return nil
}

// authorizeHLS lets a request watch a room for what a MoQ session with the
// same token, in ?jwt= or as a Bearer, may watch.
func (p *process) authorizeHLS(r *http.Request, room string) error {
	tok := r.URL.Query().Get("jwt")
	if bearer, ok := bearerToken(r); ok {
		tok = bearer
	}
	grant, err := p.auth.Authorize(r.Context(), tok)
	if err != nil {
		return err
	}
	if !grant.AllowGet(liveNamespace(room)) {
		return errors.New("the token does not allow to watch this room")
	}
	return nil
}
