package rtsp

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v5/pkg/description"
	"github.com/bluenviron/gortsplib/v5/pkg/sdpunmarshaler"

	"github.com/freshet-live/freshet/media"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/media/ingest/ingesttest"
	"github.com/freshet-live/freshet/media/ingest/rtpmedia"
	"github.com/freshet-live/freshet/media/ingest/source"
)

// caller speaks RTSP by hand.
type caller struct {
	*testing.T
	conn net.Conn
	in   *textproto.Reader
	seq  int
}

func (b *bench) call(t *testing.T) *caller {
	t.Helper()
	conn, err := net.Dial("tcp", b.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &caller{T: t, conn: conn, in: textproto.NewReader(bufio.NewReader(conn))}
}

// ask sends a request and returns the status and the headers of the answer.
func (c *caller) ask(method, url, body string, header ...string) (int, textproto.MIMEHeader) {
	c.Helper()
	c.seq++
	var r strings.Builder
	fmt.Fprintf(&r, "%s %s RTSP/1.0\r\nCSeq: %d\r\n", method, url, c.seq)
	for i := 0; i < len(header); i += 2 {
		fmt.Fprintf(&r, "%s: %s\r\n", header[i], header[i+1])
	}
	if body != "" {
		fmt.Fprintf(&r, "Content-Type: application/sdp\r\nContent-Length: %d\r\n", len(body))
	}
	r.WriteString("\r\n" + body)
	if _, err := io.WriteString(c.conn, r.String()); err != nil {
		c.Fatal(err)
	}
	line, err := c.in.ReadLine()
	if err != nil {
		c.Fatalf("%s: %v", method, err)
	}
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[0] != "RTSP/1.0" {
		c.Fatalf("%s: %q", method, line)
	}
	status, _ := strconv.Atoi(fields[1])
	h, err := c.in.ReadMIMEHeader()
	if err != nil {
		c.Fatal(err)
	}
	if n, _ := strconv.Atoi(h.Get("Content-Length")); n > 0 {
		io.CopyN(io.Discard, c.in.R, int64(n))
	}
	return status, h
}

const sdpH264 = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n" +
	"m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:streamid=0\r\n"

const sdpG711 = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 0 RTP/AVP 0\r\na=control:streamid=0\r\n"

func basic(user, password string) []string {
	return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}
}

func TestPlayersAreRefused(t *testing.T) {
	t.Parallel()
	b := serve(t, nil)
	url := b.url("", "/demo")
	for _, method := range []string{"DESCRIBE", "SETUP"} {
		c := b.call(t)
		status, h := c.ask(method, url+map[string]string{"SETUP": "/trackID=0"}[method], "", "Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")
		if status != 405 || !strings.Contains(h.Get("Allow"), "ANNOUNCE") || strings.Contains(h.Get("Allow"), "PLAY") {
			t.Errorf("%s: %d, Allow %q", method, status, h.Get("Allow"))
		}
	}
	if status, _ := b.call(t).ask("PLAY", url, ""); status/100 == 2 {
		t.Errorf("PLAY: %d", status)
	}
	player, said := ffmpeg(t, "-rtsp_transport", "tcp", "-i", b.url("demo:"+streamKey+"@", "/demo"), "-f", "null", "-")
	if err := player.Wait(); err == nil {
		t.Errorf("ffmpeg plays: %s", said)
	}
	if len(b.made) != 0 {
		t.Error("a player opened a broadcast")
	}
}

func TestChallenge(t *testing.T) {
	t.Parallel()
	b := serve(t, nil)
	c := b.call(t)
	status, h := c.ask("ANNOUNCE", b.url("", "/demo"), sdpH264)
	if want := `Basic realm="freshet"`; status != 401 || h.Get("WWW-Authenticate") != want {
		t.Fatalf("%d %q, want 401 %q", status, h.Get("WWW-Authenticate"), want)
	}
	// The same connection may answer the challenge, as ffmpeg does.
	if status, _ := c.ask("ANNOUNCE", b.url("", "/demo"), sdpH264, basic("demo", streamKey)...); status != 200 {
		t.Errorf("with key: %d", status)
	}

	c = b.call(t)
	if status, _ := c.ask("ANNOUNCE", b.url("", "/demo"), sdpH264, basic("demo", "guess")...); status != 401 {
		t.Errorf("wrong key: %d", status)
	}
	if _, err := c.in.ReadLine(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection of a guesser is kept: %v", err)
	}
}

func TestAnnouncements(t *testing.T) {
	t.Parallel()
	b := serve(t, nil)
	for _, c := range []struct {
		name, sdp string
		want      int
	}{
		{"a codec not carried", sdpG711, 415},
		{"carried and not", sdpH264 + strings.ReplaceAll(sdpG711[strings.Index(sdpG711, "m="):], "streamid=0", "streamid=1"), 200},
		{"too many tracks", sdpH264 + strings.Repeat(sdpH264[strings.Index(sdpH264, "m="):], maxTracks), 415},
		{"no tracks", sdpH264[:strings.Index(sdpH264, "m=")], 400},
		{"garbage", "\x00\xffgarbage", 400},
		{"no body", "", 400},
		{"AAC with absurd headers", strings.ReplaceAll(sdpG711, "0\r\na=control", "97\r\na=rtpmap:97 mpeg4-generic/48000/2\r\na=fmtp:97 mode=AAC-hbr;sizelength=64;indexlength=64;indexdeltalength=64;config=1190\r\na=control"), 415},
	} {
		t.Run(c.name, func(t *testing.T) {
			if status, _ := b.call(t).ask("ANNOUNCE", b.url("", "/demo"), c.sdp, basic("demo", streamKey)...); status != c.want {
				t.Errorf("%d, want %d", status, c.want)
			}
		})
	}
}

func TestTruncatedAnnouncements(t *testing.T) {
	t.Parallel()
	b := serve(t, nil)
	for n := 1; n < len(sdpH264); n += 5 {
		status, _ := b.call(t).ask("ANNOUNCE", b.url("", "/demo"), sdpH264[:n], basic("demo", streamKey)...)
		if status != 200 && status != 400 && status != 415 {
			t.Errorf("%d bytes: %d", n, status)
		}
	}
	c := b.call(t)
	fmt.Fprintf(c.conn, "ANNOUNCE %s RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: 1000000000\r\n\r\n", b.url("", "/demo"))
	if line, err := c.in.ReadLine(); err == nil {
		t.Errorf("a body of 1 GB: %q", line)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	b := serve(t, func(c *Config) { c.MaxSessions = 2 })
	for i, want := range []int{200, 200, 453, 453} {
		status, _ := b.call(t).ask("ANNOUNCE", b.url("", fmt.Sprintf("/room%d", i)), sdpH264, basic(fmt.Sprintf("room%d", i), streamKey)...)
		if status != want {
			t.Errorf("connection %d: %d, want %d", i, status, want)
		}
	}
}

// Connections that ask nothing do not pile up beyond twice the limit.
func TestSilentConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	b := serve(t, func(c *Config) { c.MaxSessions = 2 })
	ends := make(chan error, 5)
	for range cap(ends) {
		c := b.call(t)
		go func() {
			_, err := c.in.ReadLine()
			ends <- err
		}()
	}
	if err := <-ends; !errors.Is(err, io.EOF) {
		t.Errorf("all five connections are kept: %v", err)
	}
}

// kill -9 says no farewell.
func TestPublisherKilled(t *testing.T) {
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			b := serve(t, nil)
			cmd, _ := ffmpeg(t, publishArgs("-an -c:v libx264 -preset ultrafast -g 30", transport, b.url("demo:"+streamKey+"@", "/demo"))...)
			r := b.recorder(t, ctx)
			r.Track(t, ctx, media.H264, 5)
			cmd.Process.Kill()
			killed := time.Now()
			if err := r.Closed(t, ctx); !errors.Is(err, ingest.ErrPublisherGone) {
				t.Errorf("broadcast ended with %v", err)
			}
			if d := time.Since(killed); d > silenceTimeout+3*time.Second {
				t.Errorf("noticed after %v", d)
			}
		})
	}
}

// The regular end of ffmpeg is a TEARDOWN.
func TestPublisherEnds(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, nil)
	ffmpeg(t, publishArgs("-t 1 -an -c:v libx264 -preset ultrafast -g 30", "tcp", b.url("demo:"+streamKey+"@", "/demo"))...)
	if err := b.recorder(t, ctx).Closed(t, ctx); err != nil {
		t.Errorf("broadcast ended with %v", err)
	}
}

func TestGarbage(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, nil)
	b.start(t, ctx, &Client{Transport: UDP}, "/demo", testSource(t, ctx, source.Options{}))
	r := b.recorder(t, ctx)
	r.Track(t, ctx, media.H264, 5)

	random := rand.New(rand.NewPCG(3, 4))
	garbage := func() []byte {
		p := make([]byte, random.IntN(1500))
		for i := range p {
			p[i] = byte(random.Uint32())
		}
		return p
	}
	heads := []string{"", "$\x00\x00\x10", "$\x00\xff\xff", "ANNOUNCE ", "GET / HTTP/1.1\r\n", "RTSP/1.0 200 OK\r\n\r\n", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"}
	for i := range 50 {
		c := b.call(t)
		io.WriteString(c.conn, heads[i%len(heads)])
		c.conn.Write(garbage())
		c.conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, c.conn) // until the server has had enough
	}
	for _, addr := range []string{b.server.RTPAddr().String(), b.server.rtcp.LocalAddr().String()} {
		udp, err := net.Dial("udp", addr)
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			udp.Write(garbage())
		}
		udp.Close()
	}
	have := len(r.Track(t, ctx, media.H264, 5).Frames())
	r.Track(t, ctx, media.H264, have+10)
}

// A publisher whose packets are garbage is counted, not obeyed.
func TestGarbageInSession(t *testing.T) {
	t.Parallel()
	ctx := testContext(t)
	b := serve(t, nil)
	c := b.call(t)
	auth := basic("demo", streamKey)
	url := b.url("", "/demo")
	if status, _ := c.ask("ANNOUNCE", url, sdpH264, auth...); status != 200 {
		t.Fatalf("ANNOUNCE: %d", status)
	}
	status, h := c.ask("SETUP", url+"/streamid=0", "", "Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")
	if status != 200 {
		t.Fatalf("SETUP: %d", status)
	}
	session, _, _ := strings.Cut(h.Get("Session"), ";")
	if status, _ := c.ask("RECORD", url, "", "Session", session); status != 200 {
		t.Fatalf("RECORD: %d", status)
	}
	r := b.recorder(t, ctx)
	send := func(channel byte, p ...byte) {
		c.conn.Write(append([]byte{'$', channel, byte(len(p) >> 8), byte(len(p))}, p...))
	}
	header := func(pt byte, seq byte) []byte { return []byte{0x80, pt, 0, seq, 0, 0, 0, 1, 0, 0, 0, 9} }
	send(0, 1, 2, 3)                                   // no RTP
	send(0, append(header(97, 0), 1)...)               // not announced
	send(0, append(header(96|0x80, 1), 28)...)         // half an FU-A
	send(0, append(header(96|0x80, 2), 0x65, 0x88)...) // a key frame without parameter sets
	send(0, append(header(96|0x80, 9), 0x65, 0x88)...) // after a gap
	send(1, 1, 2, 3)                                   // no RTCP
	send(5, 1, 2, 3)                                   // no such channel
	if status, _ := c.ask("TEARDOWN", url, "", "Session", session); status != 200 {
		t.Errorf("TEARDOWN: %d", status)
	}
	if err := r.Closed(t, ctx); err != nil {
		t.Errorf("broadcast ended with %v", err)
	}
	for reason, want := range map[ingest.Reason]uint64{
		ingest.PacketMalformed: 3,
		ingest.PacketUnknown:   1,
		ingest.FrameNoConfig:   1,
		ingest.PacketLost:      6,
	} {
		if n := b.drops.Count(reason); n != want {
			t.Errorf("%v: %d, want %d", reason, n, want)
		}
	}
}

func TestListen(t *testing.T) {
	cfg := Config{Addr: "127.0.0.1:0", Admission: ingesttest.Key(""), Opener: ingesttest.Registry(nil)}
	s, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rtp, rtcp := s.rtp.LocalAddr().(*net.UDPAddr).Port, s.rtcp.LocalAddr().(*net.UDPAddr).Port
	if rtp%2 != 0 || rtcp != rtp+1 {
		t.Errorf("RTP at %d, RTCP at %d", rtp, rtcp)
	}
	for name, change := range map[string]func(*Config){
		"no admission":      func(c *Config) { c.Admission = nil },
		"TCP port taken":    func(c *Config) { c.Addr = s.Addr().String() },
		"UDP port taken":    func(c *Config) { c.RTPAddr = s.RTPAddr().String() },
		"UDP port odd":      func(c *Config) { c.RTPAddr = fmt.Sprintf("127.0.0.1:%d", rtcp) },
		"no address":        func(c *Config) { c.Addr = "nonsense" },
		"no address either": func(c *Config) { c.RTPAddr = "nonsense" },
	} {
		broken := cfg
		change(&broken)
		if s, err := Listen(broken); err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

// FuzzAnnounce goes from a session description to tracks.
func FuzzAnnounce(f *testing.F) {
	f.Add([]byte(sdpH264))
	f.Add([]byte(sdpG711))
	f.Add([]byte(strings.ReplaceAll(sdpG711, "0\r\na=control", "97\r\na=rtpmap:97 mpeg4-generic/48000/2\r\na=fmtp:97 mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190\r\na=control")))
	f.Add([]byte(strings.ReplaceAll(sdpH264, "H264/90000\r\na=fmtp:96 packetization-mode=1", "H265/90000\r\na=fmtp:96 sprop-max-don-diff=2")))
	f.Add([]byte(strings.ReplaceAll(sdpH264, "H264/90000\r\na=fmtp:96 packetization-mode=1", "AV1/90000")))
	f.Fuzz(func(t *testing.T, body []byte) {
		parsed, err := sdpunmarshaler.Unmarshal(body)
		if err != nil {
			return
		}
		var d description.Session
		if d.Unmarshal2(parsed) != nil {
			return
		}
		streams, err := streamsOf(&d, nil)
		if err == nil && (len(streams) == 0 || len(streams) > maxTracks) {
			t.Errorf("%d tracks", len(streams))
		}
		for _, s := range streams {
			if _, err := rtpmedia.NewTrack(s.config); err != nil {
				t.Errorf("a track was announced that cannot be made: %v", err)
			}
		}
	})
}
