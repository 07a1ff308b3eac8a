package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/freshet-live/freshet/cmd/internal/boot"
	"github.com/freshet-live/freshet/moq/token"
)

const tokenName = "freshet token"

func tokenCommand(args []string) int {
	if len(args) > 0 {
		switch args[0] {
		case "mint":
			return boot.Exit(tokenName+" mint", mint(args[1:], os.Stdout))
		case "verify":
			return boot.Exit(tokenName+" verify", verify(args[1:], os.Stdin, os.Stdout))
		case "-h", "--help", "help":
			fmt.Println("Usage: freshet token mint|verify --key FILE [flags]")
			return 0
		}
	}
	return boot.Exit(tokenName, fmt.Errorf("%w: mint or verify is wanted", boot.ErrUsage))
}

// paths is a repeatable flag of Namespaces.
type paths []string

func (p *paths) String() string     { return strings.Join(*p, ",") }
func (p *paths) Set(s string) error { *p = append(*p, s); return nil }

func mint(args []string, out io.Writer) error {
	fs := flag.NewFlagSet(tokenName+" mint", flag.ContinueOnError)
	key := fs.String("key", "", "`file` with the signing key, such as data/token.key of freshet up")
	root := fs.String("root", "", "`namespace` that put and get are relative to")
	lifetime := fs.Duration("lifetime", time.Hour, "how long the token is good")
	var put, get paths
	fs.Var(&put, "put", "`namespace` that may be published under, such as live/demo (repeatable)")
	fs.Var(&get, "get", "`namespace` that may be watched (repeatable)")
	if err := boot.Parse(fs, args); err != nil {
		return err
	}
	if *key == "" || len(put)+len(get) == 0 {
		return fmt.Errorf("%w: --key and at least one --put or --get are wanted", boot.ErrUsage)
	}
	data, err := os.ReadFile(*key)
	if err != nil {
		return err
	}
	k, err := token.ParseSigningKey(data)
	if err != nil {
		return fmt.Errorf("%s: %w", *key, err)
	}
	now := time.Now()
	tok, err := k.Mint(token.Grant{Root: *root, Put: put, Get: get, Expires: now.Add(*lifetime)}, now)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, tok)
	return err
}

func verify(args []string, in io.Reader, out io.Writer) error {
	fs := flag.NewFlagSet(tokenName+" verify", flag.ContinueOnError)
	key := fs.String("key", "", "`file` or JWKS URL with the keys")
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "Usage: %s verify --key FILE|URL < TOKEN\n\nThe token is read from stdin, so that it does not show in the list of processes.\n\n", tokenName)
		fs.PrintDefaults()
	}
	if err := boot.Parse(fs, args); err != nil {
		return err
	}
	if *key == "" {
		return fmt.Errorf("%w: --key is wanted", boot.ErrUsage)
	}
	ctx, stop := boot.Interruptible()
	defer stop()
	tok, err := io.ReadAll(io.LimitReader(in, token.MaxSize+1))
	if err != nil {
		return err
	}
	v, err := token.OpenVerifier(ctx, *key, &http.Client{Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	g, err := v.Verify(ctx, strings.TrimSpace(string(tok)))
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(map[string]any{"root": g.Root, "put": g.Put, "get": g.Get, "expires": g.Expires, "kid": g.KeyID})
}
