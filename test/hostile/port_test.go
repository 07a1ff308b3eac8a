package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// say writes bytes to a TCP port, ends that direction and returns all that
// comes back. The server must end the connection.
func say(t *testing.T, addr string, parts ...[]byte) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	for _, p := range parts {
		if _, err := conn.Write(p); err != nil {
			break // it has had enough
		}
	}
	conn.(*net.TCPConn).CloseWrite()
	reply, err := io.ReadAll(conn)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Fatalf("the server keeps the connection open; it said %q", reply)
	}
	return string(reply) // an error is a reset, which ends it as well
}

// garbage is what any port must stand.
var garbage = map[string][]byte{
	"nothing":          nil,
	"a zero byte":      {0},
	"random bytes":     noise(20, 64<<10),
	"a line that runs": bytes.Repeat([]byte("GET "), 256<<10),
	"many empty lines": bytes.Repeat([]byte("\r\n"), 64<<10),
	"half a ClientHello": append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
		noise(21, 200)...),
	"a record of TLS that is too long": append([]byte{0x16, 3, 1, 0xff, 0xff}, noise(22, 70<<10)...),
	"frames of STUN that lie":          append([]byte{0xff, 0xff, 0, 1, 0xff, 0xff, 0x21, 0x12, 0xa4, 0x42}, noise(23, 2000)...),
	"preface of HTTP/2 and noise":      append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), noise(24, 4000)...),
}

// tcpPorts are all of them, with the replies to garbage that are in order: a
// status that blames the client, an alert of TLS, or nothing.
func tcpPorts() map[string]string {
	return map[string]string{
		"https": server.ready.HTTPS, "http": server.ready.HTTP, "metrics": server.ready.Metrics,
		"rtsp": server.ready.RTSP, "webrtc": server.ready.WebRTC,
	}
}

func TestGarbageOnTCP(t *testing.T) {
	for port, addr := range tcpPorts() {
		for name, b := range garbage {
			t.Run(port+"/"+name, func(t *testing.T) {
				t.Parallel()
				reply := say(t, addr, b)
				for line := range strings.SplitSeq(reply, "\r\n") {
					for _, protocol := range []string{"HTTP/1.0 ", "HTTP/1.1 ", "RTSP/1.0 "} {
						if status, ok := strings.CutPrefix(line, protocol); ok && !strings.HasPrefix(status, "4") && !strings.HasPrefix(status, "505") {
							t.Errorf("answered with %q", line)
						}
					}
				}
				healthy(t)
			})
		}
	}
}

// badRTSP are requests, and the statuses of RFC 2326 that refuse them; ""
// stands for the end of the connection without an answer.
var badRTSP = []struct {
	name, request string
	want          []string
}{
	{"version that does not exist", "OPTIONS * RTSP/9.9\r\nCSeq: 1\r\n\r\n", []string{"400", "505", ""}},
	{"no number", "OPTIONS rtsp://h/demo RTSP/1.0\r\n\r\n", []string{"400"}},
	{"announce without a key", announce("rtsp://h/demo", "", sdp), []string{"401"}},
	{"announce with a wrong key", announce("rtsp://h/demo", "Authorization: Basic ZGVtbzp3cm9uZw==\r\n", sdp), []string{"401"}},
	{"announce of a room that does not exist", announce("rtsp://h/nowhere", "Authorization: Basic ZGVtbzp3cm9uZw==\r\n", sdp), []string{"401", "404"}},
	{"announce of noise", announce("rtsp://h/demo", "", string(noise(30, 3000))), []string{"400"}},
	{"body longer than memory", "ANNOUNCE rtsp://h/demo RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: 9999999999999\r\n\r\nv=0\r\n", []string{"400", "413", ""}},
	{"body with less than no bytes", "ANNOUNCE rtsp://h/demo RTSP/1.0\r\nCSeq: 1\r\nContent-Length: -1\r\n\r\n", []string{"400", ""}},
	{"header that runs", "OPTIONS rtsp://h/demo RTSP/1.0\r\nCSeq: 1\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", []string{"400", ""}},
	{"record before setup", "RECORD rtsp://h/demo RTSP/1.0\r\nCSeq: 1\r\nSession: 1\r\n\r\n", []string{"400", "454", "455"}},
	{"play", "DESCRIBE rtsp://h/demo RTSP/1.0\r\nCSeq: 1\r\n\r\n", []string{"405"}},
	{"packets before setup", "$\x00\xff\xff" + string(noise(31, 66000)), []string{"400", ""}},
}

// sdp announces a track of H.264.
const sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n" +
	"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:trackID=0\r\n"

func announce(url, header, body string) string {
	return fmt.Sprintf("ANNOUNCE %s RTSP/1.0\r\nCSeq: 1\r\n%sContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", url, header, len(body), body)
}

func TestBadRTSP(t *testing.T) {
	for _, bad := range badRTSP {
		t.Run(bad.name, func(t *testing.T) {
			t.Parallel()
			reply := say(t, server.ready.RTSP, []byte(bad.request))
			line, _, _ := strings.Cut(reply, "\r\n")
			status := ""
			if rest, ok := strings.CutPrefix(line, "RTSP/1.0 "); ok {
				status, _, _ = strings.Cut(rest, " ")
			}
			for _, want := range bad.want {
				if status == want {
					healthy(t)
					return
				}
			}
			t.Errorf("answered with %q, want one of %q", line, bad.want)
		})
	}
}

// Datagrams that are nothing, begin like something, or are as long as they
// get, at both UDP ports.
func TestGarbageOnUDP(t *testing.T) {
	packets := [][]byte{{}, {0}, {0x40}, {0xc0}, {0xff}, {0x80, 0x90}, {20, 254, 253, 0}}
	for i := range 200 {
		b := noise(uint64(40+i), 1+i*7)
		switch i % 6 {
		case 0: // QUIC, long header: an Initial of version 1
			b[0] = 0xc3
			copy(b[1:], []byte{0, 0, 0, 1, 8})
		case 1: // QUIC, short header
			b[0] = 0x43
		case 2: // STUN: a binding request whose length lies
			copy(b, []byte{0, 1, 0xff, 0xff, 0x21, 0x12, 0xa4, 0x42})
		case 3: // STUN with attributes that are noise
			copy(b, []byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42})
			if len(b) > 20 {
				binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20))
			}
		case 4: // DTLS: a ClientHello
			copy(b, []byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1})
		case 5: // RTP, or RTCP
			b[0] = 0x80
		}
		packets = append(packets, b)
	}
	packets = append(packets, noise(39, 60<<10))
	for port, addr := range map[string]string{"quic": server.ready.QUIC, "webrtc": server.ready.WebRTC} {
		t.Run(port, func(t *testing.T) {
			conn, err := net.Dial("udp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			for _, p := range packets {
				if _, err := conn.Write(p); err != nil {
					t.Fatal(err)
				}
			}
			healthy(t)
		})
	}
}

// "If a server receives a packet that indicates an unsupported version and if
// the packet is large enough to initiate a new connection for any supported
// version, the server SHOULD send a Version Negotiation packet" (RFC 9000,
// section 6.1).
func TestUnknownVersionOfQUIC(t *testing.T) {
	conn, err := net.Dial("udp", server.ready.QUIC)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := noise(50, 1200)
	copy(p, []byte{0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 8})
	p[14] = 8
	if _, err := conn.Write(p); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(patience))
	reply := make([]byte, 1500)
	n, err := conn.Read(reply)
	if err != nil {
		t.Fatal(err)
	}
	if n < 7 || reply[0]&0x80 == 0 || !bytes.Equal(reply[1:5], []byte{0, 0, 0, 0}) {
		t.Errorf("answered with %x, not with Version Negotiation", reply[:n])
	}
	healthy(t)
}
