package boot

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// Main runs one process with the command line's settings and returns its exit
// status: 2 for settings that cannot be used, 1 for a failure. The first
// SIGINT or SIGTERM stops it in order, the second at once.
func Main(role Role, args []string) int {
	fs := flag.NewFlagSet(role.Name, flag.ContinueOnError)
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "Usage: %s [flags]\n\nEach flag is also a variable, such as FRESHET_QUIC_ADDR, and a key of the file named by --config.\n\n", role.Name)
		fs.PrintDefaults()
	}
	cfg := Flags(fs, role)
	err := Load(fs, args, os.Environ())
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("%w: unexpected argument %q", ErrUsage, fs.Arg(0))
	}
	if err == nil {
		ctx, stop := Interruptible()
		defer stop()
		err = Run(ctx, cfg, os.Stdout, os.Stderr)
	}
	return Exit(role.Name, err)
}

// Interruptible returns a context that ends with the first SIGINT or SIGTERM.
// The next one kills the process.
func Interruptible() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// Exit tells an error to the user and returns the exit status for it.
func Exit(name string, err error) int {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, ErrUsage):
		told := strings.TrimPrefix(err.Error(), ErrUsage.Error()+": ")
		fmt.Fprintf(os.Stderr, "%s: %s\nTry %s --help.\n", name, told, name)
		return 2
	}
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	return 1
}
