package transport_test

import (
	"io"
	"testing"

	"github.com/freshet-live/freshet/moq/transport"
)

// BenchmarkStream measures one stream over the loopback, both ends in this
// process: what WebTransport costs beside native QUIC.
func BenchmarkStream(b *testing.B) {
	for _, scheme := range []string{"moqt", "https"} {
		b.Run(schemes[scheme].String(), func(b *testing.B) {
			l := listen(b, transport.ListenConfig{})
			client, server := pair(b, scheme, l, transport.DialConfig{})
			s, err := client.OpenUniStream(patient(b))
			if err != nil {
				b.Fatal(err)
			}
			block := make([]byte, 64<<10)
			if _, err := s.Write(block); err != nil {
				b.Fatal(err)
			}
			r, err := server.AcceptUniStream(patient(b))
			if err != nil {
				b.Fatal(err)
			}
			read := make(chan error, 1)
			go func() {
				_, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, make([]byte, 64<<10))
				read <- err
			}()
			b.SetBytes(int64(len(block)))
			for b.Loop() {
				if _, err := s.Write(block); err != nil {
					b.Fatal(err)
				}
			}
			s.Close()
			if err := <-read; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkObjects measures short streams, as those of audio: opened, filled with
// 200 bytes, finished, and read to the end.
func BenchmarkObjects(b *testing.B) {
	for _, scheme := range []string{"moqt", "https"} {
		b.Run(schemes[scheme].String(), func(b *testing.B) {
			l := listen(b, transport.ListenConfig{})
			client, server := pair(b, scheme, l, transport.DialConfig{})
			const ahead = 32 // streams on their way at one time
			sent, done := make(chan struct{}, ahead), make(chan error, 1)
			go func() {
				for range sent {
					r, err := server.AcceptUniStream(b.Context())
					if err == nil {
						_, err = io.Copy(io.Discard, r)
					}
					if err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
			object := make([]byte, 200)
			b.SetBytes(int64(len(object)))
			for b.Loop() {
				s, err := client.OpenUniStream(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				if _, err := s.Write(object); err != nil {
					b.Fatal(err)
				}
				s.Close()
				select {
				case sent <- struct{}{}:
				case err := <-done:
					b.Fatal(err)
				}
			}
			close(sent)
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}
