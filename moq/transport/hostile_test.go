package transport_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/freshet-live/freshet/moq/transport"
)

// A server that was restarted at its port tells the peers of its predecessor
// that their connections are gone, long before these would time out.
func TestStatelessReset(t *testing.T) {
	key := &[32]byte{1, 2, 3}
	for scheme, kind := range schemes {
		t.Run(kind.String(), func(t *testing.T) {
			// The first server dies without a word: it loses its network.
			pc, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			cable := &cuttable{PacketConn: pc}
			certs := certificates(t)
			old, stopOld := start(t, transport.ListenConfig{
				PacketConn: cable, TLS: certs.TLSConfig(), StatelessResetKey: key, KeepAlive: -1, IdleTimeout: time.Hour,
			})
			client, _ := pair(t, scheme, old, transport.DialConfig{KeepAlive: -1, IdleTimeout: time.Hour})
			cable.cut.Store(true)
			stopOld()

			addr := old.Addr().String()
			listen(t, transport.ListenConfig{Addr: addr, TLS: certs.TLSConfig(), StatelessResetKey: key})
			s, err := client.OpenUniStream(patient(t))
			if err != nil {
				t.Fatal(err)
			}
			// Any packet is answered with the reset, which is shorter than it.
			if _, err := s.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
			select {
			case <-client.Context().Done():
			case <-patient(t).Done():
				t.Fatal("the client did not notice")
			}
			if err := context.Cause(client.Context()); !errors.Is(err, transport.ErrStatelessReset) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Datagrams that are no QUIC packets, or none of ours, do no harm.
func TestGarbage(t *testing.T) {
	l := listen(t, transport.ListenConfig{})
	client, server := pair(t, "moqt", l, transport.DialConfig{})
	attacker, err := net.Dial("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer attacker.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		b := make([]byte, rnd.IntN(1500))
		for j := range b {
			b[j] = byte(rnd.Uint32())
		}
		switch {
		case len(b) < 20:
		case i%4 == 1: // looks like an Initial packet of version 1
			copy(b, []byte{0xc0, 0, 0, 0, 1, 8, 1, 2, 3, 4, 5, 6, 7, 8, 8})
		case i%4 == 2: // looks like a packet with a short header
			b[0] = b[0]&0x3f | 0x40
		case i%4 == 3: // an unknown version
			copy(b, []byte{0xc0, 0xba, 0xba, 0xba, 0xba, 20})
		}
		attacker.Write(b) // may fail when the queue of the socket is full
	}
	s, err := client.OpenUniStream(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	r, err := server.AcceptUniStream(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for scheme := range schemes {
		pair(t, scheme, l, transport.DialConfig{})
	}
}

// A peer that vanishes is noticed after the idle timeout.
func TestIdleTimeout(t *testing.T) {
	l := listen(t, transport.ListenConfig{IdleTimeout: 300 * time.Millisecond})
	for scheme, kind := range schemes {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		cable := &cuttable{PacketConn: pc}
		client, server := pair(t, scheme, l, transport.DialConfig{PacketConn: cable, IdleTimeout: 300 * time.Millisecond})
		cable.cut.Store(true)
		for end, c := range map[string]transport.Conn{"client": client, "server": server} {
			select {
			case <-c.Context().Done():
			case <-patient(t).Done():
				t.Fatalf("%v: the %s did not notice", kind, end)
			}
			if err := context.Cause(c.Context()); !errors.Is(err, transport.ErrIdleTimeout) {
				t.Errorf("%v: the %s: %v", kind, end, err)
			}
		}
	}
}
