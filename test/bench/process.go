package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	startTimeout = 20 * time.Second
	// clientTimeout bounds one client: it joins, measures and drains.
	clientTimeout = 2 * time.Minute
	stopTimeout   = 5 * time.Second
)

// child is a process that runs until its standard input is closed or it is
// interrupted.
type child struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
	errs  bytes.Buffer
	ended chan struct{}
}

func start(ctx context.Context, name string, args ...string) (*child, error) {
	c := &child{cmd: exec.CommandContext(ctx, name, args...), ended: make(chan struct{})}
	c.cmd.Stderr = &c.errs
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	c.stdin = in
	// A pipe of our own: Wait closes the one of StdoutPipe while line reads.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c.cmd.Stdout = w
	c.out = bufio.NewReader(r)
	err = c.cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		return nil, fmt.Errorf("starting %s: %w", filepath.Base(name), err)
	}
	go func() {
		defer close(c.ended)
		_ = c.cmd.Wait() // it is stopped; why it ended early is in errs
		r.Close()
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// line returns the next line that the process prints.
func (c *child) line(ctx context.Context) (string, error) {
	type result struct {
		s   string
		err error
	}
	got := make(chan result, 1)
	go func() {
		s, err := c.out.ReadString('\n')
		got <- result{strings.TrimSpace(s), err}
	}()
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case r := <-got:
		if r.err != nil {
			<-c.ended
			return "", fmt.Errorf("%s ended: %s", c.cmd.Args, c.errs.String())
		}
		return r.s, nil
	case <-timer.C:
		return "", fmt.Errorf("%s says nothing", c.cmd.Args)
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// stop ends the process and waits for it.
func (c *child) stop() {
	c.stdin.Close()
	_ = c.cmd.Process.Signal(os.Interrupt)
	select {
	case <-c.ended:
	case <-time.After(stopTimeout):
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

// runJSON runs a client to its end and decodes what it prints.
func runJSON(ctx context.Context, into any, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", filepath.Base(name), args[0], errors.Join(err, context.Cause(ctx)), stderr.String())
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("%s %s printed %q: %w", filepath.Base(name), args[0], out, err)
	}
	return nil
}

// relayProcess is a freshet-relay with ports and a data folder of its own.
type relayProcess struct {
	*child
	dir   string
	ready struct {
		QUIC              string `json:"quic"`
		Metrics           string `json:"metrics"`
		BenchToken        string `json:"bench_token"`
		CertificateSHA256 string `json:"certificate_sha256"`
	}
}

func (b *bench) startRelay(ctx context.Context, args ...string) (*relayProcess, error) {
	dir, err := os.MkdirTemp(b.dir, "relay-")
	if err != nil {
		return nil, fmt.Errorf("making a folder: %w", err)
	}
	file := filepath.Join(dir, "ready.json")
	c, err := start(ctx, b.relayBin, append([]string{"--bench", "--quic-addr", "127.0.0.1:0", "--https-addr", "", "--http-addr", "",
		"--metrics-addr", "127.0.0.1:0", "--data-dir", dir, "--ready-file", file, "--log-level", "error"}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("%w (make build makes it)", err)
	}
	r := &relayProcess{child: c, dir: dir}
	if err := r.awaitReady(ctx, file); err != nil {
		r.stop()
		return nil, err
	}
	return r, nil
}

func (r *relayProcess) awaitReady(ctx context.Context, file string) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	for {
		// It is renamed into place, so what there is, is whole.
		b, err := os.ReadFile(file)
		if err == nil {
			return json.Unmarshal(b, &r.ready)
		}
		select {
		case <-tick.C:
		case <-r.ended:
			return fmt.Errorf("the relay ended: %s", r.errs.String())
		case <-timer.C:
			return errors.New("the relay does not get ready")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *relayProcess) url(transport string) string {
	if transport == "webtransport" {
		return "https://" + r.ready.QUIC
	}
	return "moqt://" + r.ready.QUIC
}

// settleTime is how long a relay gets to collect garbage and to give it back.
const settleTime = 3 * time.Second

// settledRSS returns the resident memory of the relay, in KiB, once it is at
// rest.
func (r *relayProcess) settledRSS(ctx context.Context) (float64, error) {
	for range 2 { // the second collection frees what the first one finalised
		select {
		case <-time.After(settleTime / 2):
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.ready.Metrics+"/debug/pprof/heap?gc=1", nil)
		if err != nil {
			return 0, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return 0, fmt.Errorf("asking the relay to collect garbage: %w", err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil {
			return 0, fmt.Errorf("asking the relay to collect garbage: %w", err)
		}
	}
	return residentKiB(r.pid())
}

// residentKiB reads VmRSS (proc(5)).
func residentKiB(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of a process: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no VmRSS", pid)
}

// cpuSeconds reads what a process has used, user and system time (proc(5)).
func cpuSeconds(pid int) (float64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the CPU time of a process: %w", err)
	}
	// The name, in parentheses, may hold spaces; after it comes field 3.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const utime, stime, ticksPerSecond = 14 - 3, 15 - 3, 100 // USER_HZ is fixed
	if len(fields) <= stime {
		return 0, fmt.Errorf("/proc/%d/stat has too few fields", pid)
	}
	var sum float64
	for _, f := range []string{fields[utime], fields[stime]} {
		ticks, err := strconv.ParseFloat(f, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
		}
		sum += ticks
	}
	return sum / ticksPerSecond, nil
}
