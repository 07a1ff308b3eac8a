package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

// floorALPN names what the floor speaks: nothing but bytes on streams.
const floorALPN = "freshet-floor"

// floorConfig has the windows of freshet's clients and servers.
func floorConfig(window uint64) *quic.Config {
	return &quic.Config{
		MaxIdleTimeout: 30 * time.Second, KeepAlivePeriod: 10 * time.Second,
		InitialStreamReceiveWindow: 512 << 10, MaxStreamReceiveWindow: 6 << 20,
		InitialConnectionReceiveWindow: window, MaxConnectionReceiveWindow: 16 << 20,
		MaxIncomingUniStreams: 4096,
	}
}

// floor is the least that a relay over QUIC can do: it has the same bytes for
// all and writes them, a goroutine per subscriber, a stream per second.
type floor struct {
	mu      sync.Mutex
	frames  int           // made so far
	changed chan struct{} // closed at the next one
	payload []byte        // shared by all
}

// serveFloor prints its address and serves until its standard input ends.
func serveFloor(ctx context.Context, _ []string, out io.Writer) error {
	ctx, cancel := untilClosed(ctx, os.Stdin)
	defer cancel()
	cert, err := throwawayCertificate()
	if err != nil {
		return err
	}
	ln, err := quic.ListenAddr("127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{floorALPN}}, floorConfig(768<<10))
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	defer ln.Close()
	if _, err := fmt.Fprintln(out, ln.Addr()); err != nil {
		return err
	}
	f := &floor{changed: make(chan struct{}), payload: make([]byte, keySize)}
	rand.Read(f.payload)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { everyFrame(ctx, f.frame) })
	for {
		conn, err := ln.Accept(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accepting: %w", err)
		}
		wg.Go(func() { f.serve(ctx, conn) })
	}
}

// frame makes the next frame.
func (f *floor) frame(int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frames++
	close(f.changed)
	f.changed = make(chan struct{})
}

// serve writes all frames from the next key frame on.
func (f *floor) serve(ctx context.Context, conn *quic.Conn) {
	defer conn.CloseWithError(0, "")
	f.mu.Lock()
	next := (f.frames + frameRate - 1) / frameRate * frameRate
	f.mu.Unlock()
	var stream *quic.SendStream
	for ; ; next++ {
		for {
			f.mu.Lock()
			ready, changed := f.frames > next, f.changed
			f.mu.Unlock()
			if ready {
				break
			}
			select {
			case <-changed:
			case <-conn.Context().Done():
				return
			case <-ctx.Done():
				return
			}
		}
		size := frameSize
		if next%frameRate == 0 {
			size = keySize
			if stream != nil {
				stream.Close()
			}
			var err error
			if stream, err = conn.OpenUniStreamSync(ctx); err != nil {
				return
			}
		}
		if _, err := stream.Write(f.payload[:size]); err != nil {
			return
		}
	}
}

// watchFloor reads what the floor writes, a socket and a connection per
// viewer.
func watchFloor(ctx context.Context, args []string, out io.Writer) error {
	a, err := parseAudience(args)
	if err != nil {
		return err
	}
	addr, err := net.ResolveUDPAddr("udp", a.addr)
	if err != nil {
		return err
	}
	return a.measure(ctx, out, func(ctx context.Context, m *meter, joined func()) error { return viewFloor(ctx, addr, m, joined) })
}

func viewFloor(ctx context.Context, addr *net.UDPAddr, m *meter, joined func()) error {
	// The server is a child of the same command on this machine and its
	// certificate is thrown away: there is nobody to recognise.
	conf := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{floorALPN}}
	conn, err := quic.DialAddr(ctx, addr.String(), conf, floorConfig(2<<20))
	if err != nil {
		return fmt.Errorf("dialling the floor: %w", err)
	}
	defer conn.CloseWithError(0, "")
	defer context.AfterFunc(ctx, func() { conn.CloseWithError(0, "") })()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		stream, err := conn.AcceptUniStream(ctx)
		if err != nil {
			return err
		}
		wg.Go(func() {
			buf := make([]byte, 16<<10)
			for {
				n, err := stream.Read(buf)
				if n > 0 {
					m.bytes.Add(uint64(n))
					joined()
				}
				if err != nil {
					return // its end, or that of the measurement
				}
			}
		})
	}
}

// throwawayCertificate is for a server that nobody has to recognise.
func throwawayCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
