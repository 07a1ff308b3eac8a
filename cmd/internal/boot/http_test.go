package boot

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media/ingest"
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
