// Command freshet runs everything in one process (freshet up) and has the
// tools that go with it: publish, subscribe, token and bench.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/freshet-live/freshet/cmd/internal/boot"
)

// command is one subcommand; run returns the exit status.
type command struct {
	name, summary string
	run           func(args []string) int
}

var commands = []command{
	{"up", "run origin, relay, API and web app in this process", func(args []string) int { return boot.Main(boot.Up, args) }},
	{"publish", "publish a file or a test source by WHIP, RTSP or MoQ", publish},
	{"subscribe", "watch a room: print statistics or write fragmented MP4", subscribe},
	{"hlscheck", "watch an HLS or Low-Latency HLS stream and tell which rules it breaks", hlsCheck},
	{"token", "mint and verify the tokens that nodes accept", tokenCommand},
	{"bench", "measure a relay with publishers and viewers made here", bench},
}

func usage(w io.Writer) {
	fmt.Fprintf(w, "freshet %s: live streaming over Media over QUIC\n\nUsage: freshet COMMAND [flags]\n\n", boot.Version)
	for _, c := range commands {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	fmt.Fprintf(w, "\nfreshet COMMAND --help tells the flags of a command.\n")
}

func main() {
	if len(os.Args) < 2 {
		usage(os.Stderr)
		os.Exit(2)
	}
	switch name := os.Args[1]; name {
	case "help", "-h", "--help":
		usage(os.Stdout)
		return
	case "version", "--version":
		fmt.Println(boot.Version)
		return
	default:
		for _, c := range commands {
			if c.name == name {
				os.Exit(c.run(os.Args[2:]))
			}
		}
		fmt.Fprintf(os.Stderr, "freshet: there is no command %q\n\n", name)
		usage(os.Stderr)
		os.Exit(2)
	}
}
