package boot

import (
	"errors"
	"flag"
	"testing"
	"time"

	"github.com/freshet-live/freshet/media/hls"
)

func TestParseBytes(t *testing.T) {
	for s, want := range map[string]int64{
		"20GiB": 20 << 30, "1.5GiB": 3 << 29, "1048576": 1 << 20, "2 TiB": 2 << 40,
		"": 0, "GiB": 0, "-1GiB": 0, "20GB": 0, "1KiB": 0, "NaN": 0, "Inf": 0, "1e99": 0, "9999999TiB": 0,
	} {
		if got, err := parseBytes(s); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}

func TestHLSWindow(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"30m": 30 * time.Minute, "30s": 30 * time.Second, "all": hls.WholeBroadcast, "10s": 0, "": 0, "-1h": 0, "30": 0,
	} {
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		c := Flags(fs, Up)
		if err := fs.Parse([]string{"--hls-window", s}); err != nil {
			t.Fatal(err)
		}
		if got, err := c.hlsWindow(); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
		if err := c.check(); errors.Is(err, ErrUsage) != (want == 0) {
			t.Errorf("%q: %v", s, err)
		}
	}
}
