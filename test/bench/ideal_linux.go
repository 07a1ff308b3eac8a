package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// The ideal sends what a relay over QUIC would have to send if everything
// but the packets were free: it seals them with AES-128-GCM, masks their
// headers and gives them to the kernel as one datagram to be segmented. There
// are no acknowledgements, no streams and no congestion control.
const (
	packetSize   = 1390      // as large as QUIC's on most paths
	packetHeader = 1 + 8 + 4 // flags, connection ID, packet number
	packetRoom   = packetSize - packetHeader - 16
	batchPackets = 44  // 64 KiB less the headers, what the kernel takes at once
	udpSegment   = 103 // UDP_SEGMENT of linux/udp.h
)

// serveIdeal prints its address and sends video to everybody who has sent it
// a datagram, until its standard input ends.
func serveIdeal(ctx context.Context, _ []string, out io.Writer) error {
	ctx, cancel := untilClosed(ctx, os.Stdin)
	defer cancel()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(out, conn.LocalAddr()); err != nil {
		return err
	}
	var mu sync.Mutex
	var viewers []netip.AddrPort
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
	wg.Go(func() {
		buf := make([]byte, 64)
		for ctx.Err() == nil {
			if _, from, err := conn.ReadFromUDPAddrPort(buf); err == nil {
				mu.Lock()
				viewers = append(viewers, from)
				mu.Unlock()
			}
		}
	})
	s, err := newSealer()
	if err != nil {
		return err
	}
	var failed error
	everyFrame(ctx, func(n int) {
		size := frameSize
		if n%frameRate == 0 {
			size = keySize
		}
		mu.Lock()
		to := viewers
		mu.Unlock()
		for _, addr := range to {
			if err := s.send(conn, addr, size); err != nil && failed == nil {
				failed = err
				cancel()
			}
		}
	})
	return failed
}

// sealer makes the packets of a frame. All viewers have one key here: what is
// measured is the work, not the secret.
type sealer struct {
	aead    cipher.AEAD
	mask    cipher.Block
	payload []byte
	batch   []byte
	oob     []byte
	number  uint64
}

func newSealer() (*sealer, error) {
	s := &sealer{payload: make([]byte, keySize), batch: make([]byte, 0, batchPackets*packetSize)}
	rand.Read(s.payload)
	var key [16]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	if s.aead, err = cipher.NewGCM(block); err != nil {
		return nil, err
	}
	s.mask = block
	// The control message that asks for segments of packetSize (udp(7)).
	s.oob = make([]byte, syscall.CmsgSpace(2))
	h := (*syscall.Cmsghdr)(unsafe.Pointer(&s.oob[0]))
	h.Level, h.Type = syscall.IPPROTO_UDP, udpSegment
	h.SetLen(syscall.CmsgLen(2))
	binary.NativeEndian.PutUint16(s.oob[syscall.CmsgLen(0):], packetSize)
	return s, nil
}

// send seals size bytes for one viewer and sends them in as few calls as the
// kernel allows.
func (s *sealer) send(conn *net.UDPConn, to netip.AddrPort, size int) error {
	for rest := s.payload[:size]; len(rest) > 0; {
		s.batch = s.batch[:0]
		for range batchPackets {
			n := min(len(rest), packetRoom)
			s.seal(rest[:n])
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
		if _, _, err := conn.WriteMsgUDPAddrPort(s.batch, s.oob, to); err != nil {
			return fmt.Errorf("sending: %w", err)
		}
	}
	return nil
}

func (s *sealer) seal(payload []byte) {
	var nonce [12]byte
	binary.BigEndian.PutUint64(nonce[4:], s.number)
	begin := len(s.batch)
	s.batch = append(s.batch, 0x43, 1, 2, 3, 4, 5, 6, 7, 8)
	s.batch = binary.BigEndian.AppendUint32(s.batch, uint32(s.number))
	head := s.batch[begin:]
	s.batch = s.aead.Seal(s.batch, nonce[:], payload, head)
	// Header protection (RFC 9001, section 5.4): a sample of the ciphertext
	// makes the mask.
	var mask [16]byte
	s.mask.Encrypt(mask[:], s.batch[begin+packetHeader:begin+packetHeader+16])
	s.batch[begin] ^= mask[0] & 0x1f
	for i := range 4 {
		s.batch[begin+9+i] ^= mask[1+i]
	}
	s.number++
}

// watchIdeal reads what the ideal sends, a socket per viewer.
func watchIdeal(ctx context.Context, args []string, out io.Writer) error {
	a, err := parseAudience(args)
	if err != nil {
		return err
	}
	addr, err := net.ResolveUDPAddr("udp4", a.addr)
	if err != nil {
		return err
	}
	return a.measure(ctx, out, func(ctx context.Context, m *meter, joined func()) error {
		conn, err := net.DialUDP("udp4", nil, addr)
		if err != nil {
			return fmt.Errorf("opening a socket: %w", err)
		}
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })()
		if err := conn.SetReadBuffer(4 << 20); err != nil {
			return err
		}
		if _, err := conn.Write([]byte("video, please")); err != nil {
			return err
		}
		buf := make([]byte, 2<<10)
		for {
			n, err := conn.Read(buf)
			if err != nil {
				return err
			}
			m.bytes.Add(uint64(max(0, n-packetHeader-16)))
			joined()
		}
	})
}
