// Command freshet-origin runs the parts of freshet that its name says; see
// boot.Origin and --help.
package main

import (
	"os"

	"github.com/freshet-live/freshet/cmd/internal/boot"
)

func main() { os.Exit(boot.Main(boot.Origin, os.Args[1:])) }
