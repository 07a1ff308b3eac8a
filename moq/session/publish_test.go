package session

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/wire"
)

func TestPublicationCloses(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		relay, w := newNode(), newTrack()
		p := connect(t, pipe, Config{}, Config{Handler: relay})
		pub := must[*Publication](t)(p.client.Publish(t.Context(), w.Track()))
		check(t, subgroup(t, w, 0).WriteObject(0, nil, []byte("x")))
		synctest.Wait()
		if pub.Err() != nil {
			t.Errorf("error %v while it goes on", pub.Err())
		}
		pub.Close()
		<-pub.Done()
		check(t, pub.Err())
		<-relay.published[trackName.Key()].Track().Done()
		if n := w.Demand().Readers; n != 0 {
			t.Errorf("%d readers are left", n)
		}
		// The Track can be published again.
		pub = must[*Publication](t)(p.client.Publish(t.Context(), w.Track()))
		p.server.Close(wire.NoError, "")
		<-pub.Done()
		var peer *PeerError
		if !errors.As(pub.Err(), &peer) {
			t.Errorf("ended with %v", pub.Err())
		}
	})
}

func TestPublishRefused(t *testing.T) {
	bubble(t, func(t *testing.T, pipe moqtest.PipeConfig) {
		p := connect(t, pipe, Config{}, Config{}) // a server without a Handler
		w := newTrack()
		var re *RequestError
		if _, err := p.client.Publish(t.Context(), w.Track()); !errors.As(err, &re) || re.Code != wire.RequestNotSupported {
			t.Errorf("got %v", err)
		}
		if n := w.Demand().Readers; n != 0 {
			t.Errorf("%d readers are left", n)
		}
		p.close()
	})
}
