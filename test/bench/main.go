// Command bench measures the relay on this machine and prints one JSON line,
// as docs/bench.md explains. `make bench` builds the binaries and runs it.
//
// Costs of the relay are told as ratios to programs that do less: a floor that
// only writes the same bytes to the same number of QUIC connections, and an
// ideal that only seals packets and gives them to the kernel in batches. Both
// are modes of this command, run as processes of their own beside clients of
// the same shape, in the same minutes as the relay. Each short run is repeated
// and the cheapest one taken for the cost: on a machine that does something
// else too, everything but the minimum measures the other thing.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// modes are the programs that measurements start as processes of their own.
var modes = map[string]func(ctx context.Context, args []string, out io.Writer) error{
	"serve-floor": serveFloor,
	"watch-floor": watchFloor,
	"serve-ideal": serveIdeal,
	"watch-ideal": watchIdeal,
	"idle":        idle,
}

func run(ctx context.Context, args []string, out io.Writer) error {
	if len(args) > 0 {
		if mode := modes[args[0]]; mode != nil {
			return mode(ctx, args[1:], out)
		}
	}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	bin := fs.String("bin", "bin", "`folder` of the binaries that make build has made")
	rounds := fs.Int("rounds", 4, "how often each short run is repeated")
	length := fs.Duration("duration", 4*time.Second, "how long one short run measures")
	only := fs.String("only", "", "run only one `part`: costs, hop, idle or crowd")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	ctx, cancel := context.WithTimeout(ctx, wholeTimeout)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	dir, err := os.MkdirTemp("", "freshet-bench-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	b := &bench{
		self: self, dir: dir, rounds: *rounds, length: *length,
		relayBin: filepath.Join(*bin, "freshet-relay"), toolBin: filepath.Join(*bin, "freshet"),
		minimum: make(map[string]any), median: make(map[string]any),
	}
	parts := []struct {
		name string
		run  func(context.Context) error
	}{{"costs", b.costs}, {"hop", b.hop}, {"idle", b.idle}, {"crowd", b.crowd}}
	known := *only == ""
	for _, p := range parts {
		if *only != "" && p.name != *only {
			continue
		}
		known = true
		if err := p.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if !known {
		return fmt.Errorf("there is no part %q", *only)
	}
	b.minimum["objects_lost"] = b.lost
	b.minimum["medians"] = b.median
	return json.NewEncoder(out).Encode(b.minimum)
}

// wholeTimeout bounds everything; a run on a quiet machine takes less than
// four minutes.
const wholeTimeout = 8 * time.Minute

func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
