package hlsload

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// How much the benchmarks do; tests do less.
var (
	flagViewers = flag.Int("viewers", 1000, "how many `players` the benchmarks have")
	flagWatch   = flag.Duration("watch", 30*time.Second, "how `long` players of the benchmarks watch")
)

func TestMain(m *testing.M) {
	if order := os.Getenv(apartVariable); order != "" {
		if err := viewersApart(order); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if *flagViewers < 1 || *flagWatch < 5*time.Second {
		fmt.Fprintln(os.Stderr, "hlsload: -viewers is 1 at least, -watch 5s at least")
		os.Exit(2)
	}
	// Nothing is encoded for -short, and nothing can be without ffmpeg.
	if _, err := exec.LookPath("ffmpeg"); err != nil && !testing.Short() {
		if os.Getenv("CI") == "true" {
			fmt.Fprintln(os.Stderr, errors.New("ffmpeg is missing, and must not be under CI=true"))
			os.Exit(1)
		}
		fmt.Println("skipping test/hlsload: ffmpeg is missing")
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
