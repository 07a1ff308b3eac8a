package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/moq/wire"
)

// Two sessions over real QUIC and real WebTransport on the loopback: a late
// viewer joins, gets every byte of every Group, and both ends close cleanly.
func TestNetwork(t *testing.T) {
	for _, scheme := range []string{"moqt", "https"} {
		for _, draft := range wire.Drafts() {
			t.Run(scheme+"/"+draft.ALPN(), func(t *testing.T) { testNetwork(t, scheme, draft) })
		}
	}
}

func testNetwork(t *testing.T, scheme string, draft wire.Draft) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	certs := must[*transport.Certificates](t)(transport.NewCertificates(transport.CertificateConfig{}))
	l := must[*transport.Listener](t)(transport.Listen(transport.ListenConfig{
		Addr: "127.0.0.1:0", TLS: certs.TLSConfig(), Protocols: []string{draft.ALPN()},
	}))
	listening := make(chan error, 1)
	go func() { listening <- l.Run(context.Background()) }()
	defer func() {
		l.Close()
		check(t, <-listening)
	}()

	origin := newNode()
	track := moq.NewTrack(trackName, moq.TrackConfig{Properties: moq.Properties{{Type: moq.PropertyDynamicGroups, Value: 1}}})
	origin.add(track.Track())
	serving := make(chan error, 1)
	go func() {
		conn, err := l.Accept(ctx)
		if err != nil {
			serving <- err
			return
		}
		serving <- New(conn, RoleServer, Config{Handler: origin}).Run(ctx)
	}()
	conn, err := transport.Dial(ctx, fmt.Sprintf("%s://%s/?x=y", scheme, l.Addr()), transport.DialConfig{
		Protocols: []string{draft.ALPN()}, Trust: transport.Trust{FingerprintSHA256: certs.Fingerprint()},
	})
	check(t, err)
	client := New(conn, RoleClient, Config{Token: "t"})
	running := make(chan error, 1)
	go func() { running <- client.Run(ctx) }()

	payload := func(group, object uint64) []byte {
		return bytes.Repeat([]byte{byte(group), byte(object)}, 1+int(object*object)*500)
	}
	const objects = 12
	write := func(sg *moq.SubgroupWriter, group, from uint64) error {
		for o := from; o < objects; o++ {
			if err := sg.WriteObject(o, moq.Properties{{Type: 0x10, Value: o}}, payload(group, o)); err != nil {
				return err
			}
		}
		return sg.Close()
	}
	first := subgroup(t, track, 100)
	for o := range uint64(5) {
		check(t, first.WriteObject(o, nil, payload(100, o)))
	}
	sub, err := client.Subscribe(ctx, trackName, SubscribeOptions{Join: true})
	check(t, err)
	read := make(chan struct{}) // a Group has been read
	go func() {
		err := write(first, 100, 5)
		for g := uint64(101); g < 104 && err == nil; g++ {
			<-read
			var gw *moq.GroupWriter
			var sg *moq.SubgroupWriter
			if gw, err = track.Group(g); err == nil {
				sg, err = gw.Subgroup(0, moq.SubgroupConfig{InheritPriority: true})
			}
			if err == nil {
				err = write(sg, g, 0)
			}
		}
		<-read
		track.End(err)
	}()
	r := sub.Track().NewReader(moq.ReaderConfig{Start: moq.StartAt})
	for g := uint64(100); g < 104; g++ {
		gr, err := r.NextGroup(ctx)
		check(t, err)
		if gr.ID() != g {
			t.Fatalf("group %d, want %d", gr.ID(), g)
		}
		for o := range uint64(objects) {
			obj, err := gr.Next(ctx)
			check(t, err)
			b, err := obj.ReadAll(ctx)
			check(t, err)
			if obj.ID != o || !bytes.Equal(b, payload(g, o)) {
				t.Fatalf("group %d: object %d of %d bytes, want %d of %d", g, obj.ID, len(b), o, len(payload(g, o)))
			}
		}
		read <- struct{}{} // a newer Group, or the end of the Track, ends it
		if _, err := gr.Next(ctx); err != io.EOF {
			t.Fatalf("group %d ends with %v", g, err)
		}
	}
	<-sub.Done()
	var done *PublishDoneError
	if !errors.As(sub.Err(), &done) || done.Code != wire.DoneTrackEnded {
		t.Errorf("subscription ended with %v", sub.Err())
	}
	client.Close(wire.NoError, "bye")
	if err := <-running; err != nil {
		t.Errorf("client: %v", err)
	}
	if err := <-serving; err != nil {
		t.Errorf("server: %v", err)
	}
}
