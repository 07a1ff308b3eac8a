package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"

	"github.com/freshet-live/freshet/moq/session"
	"github.com/freshet-live/freshet/moq/transport"
)

// idle opens sessions that ask for nothing, says so, and keeps them until its
// standard input ends. Its arguments are URL TOKEN FINGERPRINT NUMBER.
func idle(ctx context.Context, args []string, out io.Writer) error {
	ctx, cancel := untilClosed(ctx, os.Stdin)
	defer cancel()
	if len(args) != 4 {
		return fmt.Errorf("idle wants URL TOKEN FINGERPRINT NUMBER, not %q", args)
	}
	n, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	cfg := transport.DialConfig{Trust: transport.Trust{FingerprintSHA256: args[2]}, Protocols: []string{"moqt-18"}}
	ready := make(chan error, n)
	tickets := make(chan struct{}, joinsAtOnce)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for range n {
		tickets <- struct{}{}
		wg.Go(func() { rest(ctx, args[0], args[1], cfg, func(err error) { <-tickets; ready <- err }) })
	}
	for range n {
		if err := <-ready; err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintln(out, "ready"); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// rest keeps one session until ctx ends and calls ready once.
func rest(ctx context.Context, url, token string, cfg transport.DialConfig, ready func(error)) {
	conn, err := transport.Dial(ctx, url, cfg)
	if err != nil {
		ready(err)
		return
	}
	s := session.New(conn, session.RoleClient, session.Config{Token: token})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _ = s.Run(ctx) })
	select {
	case <-s.Ready():
		ready(nil)
	case <-s.Done():
		ready(s.Err())
	}
}
