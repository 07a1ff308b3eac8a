package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/freshet-live/freshet/cmd/internal/boot"
	"github.com/freshet-live/freshet/moq/token"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/relay"
)

// client are the flags that every tool which talks to a node has.
type client struct {
	trust  transport.Trust
	token  string
	drafts string
	level  string
}

func (c *client) flags(fs *flag.FlagSet) {
	fs.StringVar(&c.trust.FingerprintSHA256, "tls-fingerprint", "", "SHA-256 `hex` of the server's certificate")
	fs.StringVar(&c.trust.CAFile, "tls-ca", "", "PEM `file` of the authorities to believe")
	fs.BoolVar(&c.trust.Insecure, "tls-insecure", false, "believe any certificate")
	fs.StringVar(&c.token, "token", "", "`token` to present; a stream key for WHIP and RTSP")
	fs.StringVar(&c.drafts, "drafts", "moqt-19,moqt-18,moqt-22,moqt-21,moqt-20", "MoQ drafts to offer, best first, separated by commas")
	fs.StringVar(&c.level, "log-level", "warn", "debug, info, warn or error")
}

func (c *client) protocols() []string { return strings.Split(c.drafts, ",") }

func (c *client) logger() (*slog.Logger, error) { return boot.NewLogger(os.Stderr, c.level, "text") }

// nobody refuses all sessions: a tool's node is nobody's server.
type nobody struct{}

func (nobody) Authorize(context.Context, string) (token.Grant, error) {
	return token.Grant{}, errors.New("this is not a server")
}

// connect makes a node of this process whose only upstream is the given one.
// A tool publishes to and reads from it as a relay would, reconnecting
// included. The node runs until stop has returned.
func (c *client) connect(ctx context.Context, rawURL string, log *slog.Logger) (node *relay.Node, stop func(), err error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" || !transport.Dialable(u.Scheme) {
		return nil, nil, fmt.Errorf("%w: %q is not an https://, moqt:// or wss:// URL", boot.ErrUsage, rawURL)
	}
	node = relay.New(relay.Config{
		Authorizer: nobody{}, Implementation: "freshet/" + boot.Version, Logger: log,
		Upstreams: []relay.Upstream{{URL: rawURL, Trust: c.trust, Token: c.token, Protocols: c.protocols()}},
	})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = node.Run(ctx) // it ends with ctx only
	}()
	return node, func() { cancel(); <-ended }, nil
}

// arguments parses flags and the positional arguments among them.
func arguments(fs *flag.FlagSet, args []string) ([]string, error) {
	var positional []string
	for {
		if err := boot.Parse(fs, args); err != nil {
			return nil, err
		}
		if args = fs.Args(); len(args) == 0 {
			return positional, nil
		}
		positional, args = append(positional, args[0]), args[1:]
	}
}
