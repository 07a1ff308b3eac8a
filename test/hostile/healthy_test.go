package hostile

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/session"
	"github.com/freshet-live/freshet/moq/transport"
)

// transports are the URL schemes of both ways to a MoQ session.
var transports = []string{"moqt", "https"}

// healthy checks that the server goes on as if nothing had happened: it says
// so, a proper session over each transport gets what the bystander writes,
// and nothing bad is in the log.
func healthy(t *testing.T) {
	t.Helper()
	select {
	case <-server.ended:
		t.Fatalf("the server has ended:\n%s", tail(server.log.String()))
	default:
	}
	if err := server.trouble(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+server.ready.Metrics+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK || string(body) != "ok\n" {
		t.Fatalf("/healthz: %d %q %v", resp.StatusCode, body, err)
	}
	for _, scheme := range transports {
		if err := watchBystander(ctx, scheme); err != nil {
			t.Fatalf("a proper session over %s: %v\n%s", scheme, err, tail(server.log.String()))
		}
	}
}

func tail(log string) string { return log[max(0, len(log)-4<<10):] }

// dial connects as anybody may.
func dial(ctx context.Context, scheme, protocol string) (transport.Conn, error) {
	return transport.Dial(ctx, scheme+"://"+server.ready.QUIC, transport.DialConfig{
		Protocols: []string{protocol}, Trust: transport.Trust{FingerprintSHA256: server.ready.CertificateSHA256},
	})
}

// watchBystander subscribes, joining, and waits for an Object that the
// bystander has written meanwhile.
func watchBystander(ctx context.Context, scheme string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := dial(ctx, scheme, "moqt-19")
	if err != nil {
		return err
	}
	s := session.New(conn, session.RoleClient, session.Config{Token: server.ready.BenchToken})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = s.Run(ctx) })
	wrote, err := server.bystander.write()
	if err != nil {
		return err
	}
	sub, err := s.Subscribe(ctx, bystanderTrack, session.SubscribeOptions{Join: true, RendezvousTimeout: patience / 2})
	if err != nil {
		return err
	}
	defer sub.Close()
	r := sub.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
	defer r.Close()
	for {
		g, err := r.NextGroup(ctx)
		if err != nil {
			return fmt.Errorf("waiting for group %d: %w", wrote, err)
		}
		if g.ID() < wrote {
			continue
		}
		o, err := g.Next(ctx)
		if err != nil {
			return err
		}
		if b, err := o.ReadAll(ctx); err != nil || string(b) != "here" {
			return fmt.Errorf("the bystander's object is %q, %w", b, err)
		}
		return nil
	}
}
