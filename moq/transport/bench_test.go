package transport_test

import (
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/freshet-live/freshet/moq/transport"
)

// benched are the schemes that are compared: native QUIC, WebTransport, and
// WebSocket with TLS and without.
var benched = []string{"moqt", "https", "wss", "ws"}

// costs reports, when what it returns is called after b.Loop, the CPU time of
// this process, both ends together, for each Gbit carried in operations of size
// bytes.
func costs(b *testing.B, size int) func() {
	cpu := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	begun := cpu()
	return func() {
		b.ReportMetric((cpu()-begun).Seconds()/(float64(b.N)*float64(size)*8/1e9), "cpu-s/Gbit")
	}
}

// BenchmarkStream measures one stream over the loopback, both ends in this
// process: what WebTransport and WebSocket cost beside native QUIC.
func BenchmarkStream(b *testing.B) {
	for _, scheme := range benched {
		b.Run(scheme, func(b *testing.B) {
			l := listen(b, transport.ListenConfig{})
			serveWeb(b, l)
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
			report := costs(b, len(block))
			for b.Loop() {
				if _, err := s.Write(block); err != nil {
					b.Fatal(err)
				}
			}
			s.Close()
			if err := <-read; err != nil {
				b.Fatal(err)
			}
			report()
		})
	}
}

// BenchmarkObjects measures short streams, as those of audio: opened, filled with
// 200 bytes, finished, and read to the end.
func BenchmarkObjects(b *testing.B) {
	for _, scheme := range benched {
		b.Run(scheme, func(b *testing.B) {
			l := listen(b, transport.ListenConfig{})
			serveWeb(b, l)
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
			report := costs(b, len(object))
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
			report()
		})
	}
}
