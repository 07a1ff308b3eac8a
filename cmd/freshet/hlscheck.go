package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/freshet-live/freshet/cmd/internal/boot"
	"github.com/freshet-live/freshet/media/hls/hlscheck"
	"github.com/freshet-live/freshet/moq/transport"
)

// errFindings tells that a stream breaks rules: exit status 1.
var errFindings = errors.New("the stream breaks rules")

func hlsCheck(args []string) int {
	const name = "freshet hlscheck"
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	var trust transport.Trust
	fs.StringVar(&trust.FingerprintSHA256, "tls-fingerprint", "", "SHA-256 `hex` of the server's certificate")
	fs.StringVar(&trust.CAFile, "tls-ca", "", "PEM `file` of the authorities to believe")
	fs.BoolVar(&trust.Insecure, "tls-insecure", false, "believe any certificate")
	token := fs.String("token", "", "bearer `token` to send with every request")
	duration := fs.Duration("duration", time.Minute, "how long to watch a live stream, or to load a VOD")
	ignore := fs.String("ignore", "", "`rules`, separated by commas, whose findings are expected")
	asJSON := fs.Bool("json", false, "print the report as JSON")
	rules := fs.Bool("rules", false, "list the rules and end")
	quiet := fs.Bool("quiet", false, "no progress on stderr")
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "Usage: %s URL [flags]\n\n"+
			"URL is a multivariant or media playlist, of HLS or Low-Latency HLS, live or not.\n"+
			"Exit status: 0 without findings, 1 with, 2 when nothing could be checked.\n\n", name)
		fs.PrintDefaults()
	}
	urls, err := arguments(fs, args)
	if err == nil && *rules {
		printRules(os.Stdout)
		return 0
	}
	if err == nil && len(urls) != 1 {
		err = fmt.Errorf("%w: one URL is wanted", boot.ErrUsage)
	}
	if err == nil {
		err = checkStreamURL(urls[0])
	}
	if err == nil && *duration <= 0 {
		err = fmt.Errorf("%w: --duration must be above 0", boot.ErrUsage)
	}
	cfg := hlscheck.Config{Duration: *duration, Token: *token}
	if err == nil && *ignore != "" {
		if cfg.Ignore, err = ruleList(*ignore); err != nil {
			err = fmt.Errorf("%w: %w", boot.ErrUsage, err)
		}
	}
	if err == nil && trust != (transport.Trust{}) {
		cfg.TLS, err = trust.TLSConfig()
	}
	if err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitUnchecked(name, err)
	}
	if !*quiet {
		cfg.Progress = progressOn(os.Stderr)
	}
	ctx, stop := boot.Interruptible()
	defer stop()
	switch err := checkStream(ctx, urls[0], cfg, *asJSON, os.Stdout); {
	case errors.Is(err, errFindings):
		return 1
	case err != nil:
		return exitUnchecked(name, err)
	}
	return 0
}

// exitUnchecked says why nothing was checked.
func exitUnchecked(name string, err error) int {
	boot.Exit(name, err) // prints it
	return 2
}

func checkStreamURL(raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("%w: %q is not an https:// or http:// URL", boot.ErrUsage, raw)
	}
	return nil
}

// ruleList splits a list of rules and refuses unknown ones.
func ruleList(s string) ([]string, error) {
	ids := strings.Split(s, ",")
	for _, id := range ids {
		if !slices.ContainsFunc(hlscheck.Rules(), func(r hlscheck.Rule) bool { return r.ID == id }) {
			return nil, fmt.Errorf("there is no rule %q; --rules lists them", id)
		}
	}
	return ids, nil
}

func printRules(w io.Writer) {
	for _, r := range hlscheck.Rules() {
		fmt.Fprintf(w, "%-26s %-7s %s: %s\n", r.ID, r.Severity, r.Source, r.Summary)
	}
}

// progressOn prints where a run is, a line every ten seconds.
func progressOn(w io.Writer) func(hlscheck.Progress) {
	var last time.Duration
	return func(p hlscheck.Progress) {
		if p.Elapsed-last < 10*time.Second && last > 0 {
			return
		}
		last = p.Elapsed
		fmt.Fprintf(w, "%3.0f of %.0f s: %d playlists, %d requests, %.1f MB, %d segments, %d parts, %d findings\n",
			p.Elapsed.Seconds(), p.Duration.Seconds(), p.Streams, p.Requests, float64(p.Bytes)/1e6, p.Segments, p.Parts, p.Findings)
	}
}

// checkStream checks and prints. The error is errFindings when there are any.
func checkStream(ctx context.Context, rawURL string, cfg hlscheck.Config, asJSON bool, w io.Writer) error {
	rep, err := hlscheck.Run(ctx, rawURL, cfg)
	if rep == nil {
		return err
	}
	// One who interrupts wants to see what there is.
	if asJSON {
		if _, err := w.Write(rep.JSON()); err != nil {
			return err
		}
	} else {
		printReport(w, rep)
	}
	if len(rep.Findings) > 0 {
		return errFindings
	}
	return nil
}

func printReport(w io.Writer, rep *hlscheck.Report) {
	for _, f := range rep.Findings {
		fmt.Fprintln(w, f)
	}
	for _, f := range rep.Ignored {
		fmt.Fprintln(w, "ignored:", f)
	}
	for _, f := range rep.Notes {
		fmt.Fprintln(w, f)
	}
	for _, s := range rep.Streams {
		fmt.Fprintf(w, "%s: %s, %d versions (%d by delta update), %d segments (%.0f s, peak %d kbit/s), %d parts (%d by hint) %s\n",
			s.URL, s.Kind, s.Versions, s.Deltas, s.Segments, s.Seconds, s.PeakBits/1000, s.Parts, s.Hints, s.Codecs)
	}
	errors, warnings := 0, 0
	for _, f := range rep.Findings {
		if f.Severity == hlscheck.Error {
			errors++
		} else {
			warnings++
		}
	}
	fmt.Fprintf(w, "%s, %s, %.0f s, %d requests, %.1f MB: %d errors, %d warnings, %d notes\n",
		rep.Kind, rep.Protocol, rep.Seconds, rep.Requests, float64(rep.Bytes)/1e6, errors, warnings, len(rep.Notes))
	if rep.Unkept > 0 {
		fmt.Fprintf(w, "%d violations beyond those were not kept\n", rep.Unkept)
	}
}
