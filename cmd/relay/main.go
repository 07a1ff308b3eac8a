// Command freshet-relay runs the parts of freshet that its name says; see
// boot.Relay and --help.
package main

import (
	"os"

	"github.com/freshet-live/freshet/cmd/internal/boot"
)

func main() { os.Exit(boot.Main(boot.Relay, os.Args[1:])) }
