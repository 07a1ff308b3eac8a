package moqtest_test

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq/moqtest"
	"github.com/freshet-live/freshet/moq/transport"
)

// transfer sends a number of bytes and returns how long that took.
func transfer(t *testing.T, from, to transport.Conn, size int) time.Duration {
	t.Helper()
	start := time.Now()
	s, err := from.OpenUniStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		s.Write(make([]byte, size))
		s.Close()
	}()
	r, err := to.AcceptUniStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r); err != nil || n != int64(size) {
		t.Fatalf("%d of %d bytes came: %v", n, size, err)
	}
	return time.Since(start)
}

func TestSim(t *testing.T) {
	const mib = 1 << 20
	for _, kind := range []transport.Kind{transport.QUIC, transport.WebTransport} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Run("delay", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client, server := moqtest.NewSim(t, moqtest.SimConfig{
						Kind: kind, Up: moqtest.SimLink{Delay: 30 * time.Millisecond}, Down: moqtest.SimLink{Delay: 70 * time.Millisecond},
					})
					if client.Kind() != kind || server.Kind() != kind {
						t.Errorf("kinds %v and %v", client.Kind(), server.Kind())
					}
					// A byte takes the time of its direction and no other.
					if d := transfer(t, client, server, 1); d != 30*time.Millisecond {
						t.Errorf("up: %v", d)
					}
					if d := transfer(t, server, client, 1); d != 70*time.Millisecond {
						t.Errorf("down: %v", d)
					}
					if rtt := client.Stats().MinRTT; rtt != 100*time.Millisecond {
						t.Errorf("round trip %v", rtt)
					}
				})
			})
			t.Run("loss", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client, server := moqtest.NewSim(t, moqtest.SimConfig{
						Kind: kind, Seed: 7,
						Up:   moqtest.SimLink{Delay: 10 * time.Millisecond, Loss: 0.05},
						Down: moqtest.SimLink{Delay: 10 * time.Millisecond},
					})
					transfer(t, client, server, mib)
					stats := client.Stats()
					if share := float64(stats.PacketsLost) / float64(stats.PacketsSent); share < 0.02 || share > 0.1 {
						t.Errorf("%d of %d packets were lost", stats.PacketsLost, stats.PacketsSent)
					}
				})
			})
			t.Run("bandwidth", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					client, server := moqtest.NewSim(t, moqtest.SimConfig{
						Kind: kind,
						Up:   moqtest.SimLink{Delay: 10 * time.Millisecond, BitsPerSecond: 8 * mib},
						Down: moqtest.SimLink{Delay: 10 * time.Millisecond},
					})
					// 4 MiB at 1 MiB/s; headers and what congestion control
					// leaves unused come on top.
					if d := transfer(t, client, server, 4*mib); d < 4*time.Second || d > 6*time.Second {
						t.Errorf("4 MiB took %v", d)
					}
					if d := transfer(t, server, client, 4*mib); d > time.Second {
						t.Errorf("4 MiB took %v on the way without a limit", d)
					}
				})
			})
		})
	}
}
