package boot

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/relay"
)

func TestABodyThatNeverComesEnds(t *testing.T) {
	result := make(chan error, 1)
	s := httptest.NewServer(timelyBody(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		result <- err
	}), 20*time.Millisecond))
	defer s.Close()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the body ended with %v", err)
	}
}

// A connection may have so many requests waiting, and no more (RFC 9113,
// section 5.1.2).
func TestStreamsOfAConnectionAreBounded(t *testing.T) {
	certs, err := transport.NewCertificates(transport.CertificateConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	web, err := listenWeb("127.0.0.1:0", certs.TLSConfig(), http.NotFoundHandler(), log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- web.run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	conf, err := transport.Trust{FingerprintSHA256: certs.Fingerprint()}.TLSConfig()
	if err != nil {
		t.Fatal(err)
	}
	conf.NextProtos = []string{"h2"}
	conn, err := tls.Dial("tcp", web.ln.Addr().String(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const empty = "\x00\x00\x00\x04\x00\x00\x00\x00\x00" // SETTINGS
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+empty); err != nil {
		t.Fatal(err)
	}
	var head [9]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil || head[3] != 4 {
		t.Fatalf("the connection begins with %x, %v", head, err)
	}
	settings := make([]byte, int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(conn, settings); err != nil {
		t.Fatal(err)
	}
	for s := settings; len(s) >= 6; s = s[6:] {
		if id, n := binary.BigEndian.Uint16(s), binary.BigEndian.Uint32(s[2:]); id == 3 {
			if n != maxStreams {
				t.Errorf("SETTINGS_MAX_CONCURRENT_STREAMS is %d", n)
			}
			return
		}
	}
	t.Errorf("streams are not bounded: %x", settings)
}

func TestMetrics(t *testing.T) {
	drops := new(ingest.Drops)
	drops.Add(ingest.FrameDamaged, 3)
	get := func(drops *ingest.Drops) string {
		w := httptest.NewRecorder()
		operations(relay.New(relay.Config{}), drops, nil, func() error { return nil }).
			ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if w.Code != http.StatusOK {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
		return w.Body.String()
	}
	with := get(drops)
	for _, want := range []string{"freshet_viewers 0", "freshet_sessions 0", `freshet_ingest_dropped_total{reason="frame_damaged"} 3`} {
		if !strings.Contains(with, want+"\n") {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if strings.Contains(get(nil), "freshet_ingest") {
		t.Error("a node without ingest counts what ingest drops")
	}
}
