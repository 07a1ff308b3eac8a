package moqtest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPipe(t *testing.T) {
	moqtest.TestConn(t, func(t *testing.T) (client, server transport.Conn) {
		client, server = moqtest.NewPipe(moqtest.PipeConfig{})
		t.Cleanup(func() { client.CloseWithError(0, "") })
		return client, server
	})
}

// Everything that waits does so in a way that synctest understands: the bubble's
// clock moves on, and its goroutines count as idle.
func TestPipeInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := moqtest.NewPipe(moqtest.PipeConfig{StreamWindow: 4, MaxUniStreams: 1})
		defer client.CloseWithError(0, "")

		s, err := client.OpenUniStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		opened := make(chan error, 1)
		go func() {
			_, err := client.OpenUniStream(t.Context())
			opened <- err
		}()
		wrote := make(chan int, 1)
		go func() {
			n, _ := s.Write([]byte("sixteen bytes ..."))
			wrote <- n
		}()
		synctest.Wait()
		select {
		case n := <-wrote:
			t.Fatalf("%d bytes fitted into a window of 4", n)
		case err := <-opened:
			t.Fatalf("a second stream was opened: %v", err)
		default:
		}

		r, err := server.AcceptUniStream(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		for read := 0; read < 17; {
			n, err := r.Read(make([]byte, 16))
			if err != nil {
				t.Fatal(err)
			}
			if n > 4 {
				t.Fatalf("%d bytes were waiting in a window of 4", n)
			}
			read += n
		}
		if n := <-wrote; n != 17 {
			t.Fatalf("wrote %d bytes", n)
		}
		r.SetReadDeadline(start.Add(time.Hour))
		if _, err := r.Read(make([]byte, 1)); err == nil || time.Since(start) != time.Hour {
			t.Fatalf("read ended after %v with %v", time.Since(start), err)
		}
		s.Close()
		r.SetReadDeadline(time.Time{})
		r.Read(make([]byte, 1))
		if err := <-opened; err != nil {
			t.Fatalf("the finished stream's credit did not come back: %v", err)
		}

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := server.AcceptStream(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("accept: %v", err)
		}
	})
}

func TestPipeDropsDatagrams(t *testing.T) {
	client, server := moqtest.NewPipe(moqtest.PipeConfig{})
	defer client.CloseWithError(0, "")
	for i := range 1000 {
		if err := client.SendDatagram([]byte{byte(i)}); err != nil {
			t.Fatal(err)
		}
	}
	received := 0
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		live, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
		b, err := server.ReceiveDatagram(live)
		stop()
		if err != nil {
			break
		}
		if int(b[0]) != received {
			t.Fatalf("datagram %d came in place of %d", b[0], received)
		}
		received++
	}
	if received != 128 {
		t.Errorf("%d datagrams were kept", received)
	}
	if _, err := server.ReceiveDatagram(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("receive: %v", err)
	}
}
