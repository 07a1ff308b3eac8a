// Command freshet-api runs the parts of freshet that its name says; see
// boot.API and --help.
package main

import (
	"os"

	"github.com/freshet-live/freshet/cmd/internal/boot"
)

func main() { os.Exit(boot.Main(boot.API, os.Args[1:])) }
