package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/token"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/relay"
)

type refuseAll struct{}

func (refuseAll) Authorize(context.Context, string) (token.Grant, error) {
	return token.Grant{}, errors.New("nobody comes here")
}

// A broadcast goes from a publisher by wss to a relay, and on to a viewer by ws:
// neither sends a UDP packet.
func TestWebSocketAll(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ready.json")
	cfg := settings(t, Relay, "--ready-file", file, "--bench", "--http-addr", "127.0.0.1:0")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, errors.New("the test lost patience"))
	defer cancel()
	ready, ended := make(printed), make(chan error, 1)
	go func() { ended <- Run(ctx, cfg, ready, new(bytes.Buffer)) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	var r Ready
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		t.Fatal(err)
	}

	var running sync.WaitGroup
	edge := func(url string) *relay.Node {
		n := relay.New(relay.Config{Authorizer: refuseAll{}, Upstreams: []relay.Upstream{{
			URL: url, Trust: transport.Trust{FingerprintSHA256: r.CertificateSHA256}, Token: r.BenchToken, Protocols: []string{"moqt-18"},
		}}})
		running.Go(func() { n.Run(ctx) })
		return n
	}
	publisher, viewer := edge("wss://"+r.HTTPS+"/"), edge("ws://"+r.HTTP+"/")

	ns := moq.Namespace{benchNamespace, "by", "websocket"}
	broadcast := moq.NewBroadcast(ns)
	w, err := broadcast.CreateTrack("data", moq.TrackConfig{})
	if err != nil {
		t.Fatal(err)
	}
	withdraw := publisher.Publish(broadcast)
	track, release, err := viewer.Subscribe(ctx, moq.FullTrackName{Namespace: ns, Track: "data"})
	if err != nil {
		t.Fatal(err)
	}
	reader := track.NewReader(moq.ReaderConfig{})
	object := func(group, id uint64) []byte {
		return bytes.Repeat([]byte{byte(group), byte(id), 0xa5}, 30_000) // several messages
	}
	for w.Demand().Readers == 0 {
		select {
		case <-w.DemandChanged():
		case <-ctx.Done():
			t.Fatal(context.Cause(ctx))
		}
	}
	for group := range uint64(3) {
		g, err := w.Group(group)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := g.Subgroup(0, moq.SubgroupConfig{EndOfGroup: true})
		if err != nil {
			t.Fatal(err)
		}
		for id := range uint64(5) {
			if err := sub.WriteObject(id, nil, object(group, id)); err != nil {
				t.Fatal(err)
			}
		}
		if err := sub.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := reader.NextSubgroup(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for id := range uint64(5) {
			o, err := got.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			payload, err := o.ReadAll(ctx)
			if err != nil || o.ID != id || got.Group() != group || !bytes.Equal(payload, object(group, id)) {
				t.Fatalf("Object %d of Group %d: %d bytes, %v", o.ID, got.Group(), len(payload), err)
			}
		}
	}
	reader.Close()
	release()
	withdraw()
	cancel()
	running.Wait()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}
