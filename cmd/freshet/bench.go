package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/freshet-live/freshet/cmd/internal/boot"
	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/transport"
)

// benchConfig is one measurement.
type benchConfig struct {
	client     client
	target     string
	publishTo  string // target, unless publishers go to another node
	pubToken   string
	viewers    int
	broadcasts int
	profile    string
	duration   time.Duration
	serverPID  int
	transport  string
}

func bench(args []string) int {
	const name = "freshet bench"
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	var c benchConfig
	c.client.flags(fs)
	fs.StringVar(&c.target, "target", "", "`URL` of a relay that was started with --bench: https://host:4443, moqt://host:4443 or wss://host:4443")
	fs.StringVar(&c.publishTo, "publish-to", "", "`URL` of another relay, above the target, to publish to; default the target")
	fs.StringVar(&c.pubToken, "publish-token", "", "`token` to present there; default that of --token")
	fs.IntVar(&c.viewers, "viewers", 100, "how many viewers to make, over all broadcasts")
	fs.IntVar(&c.broadcasts, "broadcasts", 1, "how many broadcasts to make")
	fs.StringVar(&c.profile, "profile", "av", "video (30 fps, 16 KiB mean, a key frame of 5 times that each second), audio (50 x 200 B/s), av (both), chat (10 x 200 B/s, a Group each) or small (10 x 1 KiB/s)")
	fs.DurationVar(&c.duration, "duration", 10*time.Second, "how long to measure, after all viewers have joined")
	fs.IntVar(&c.serverPID, "server-pid", 0, "`pid` of the relay, to measure its CPU and memory")
	fs.StringVar(&c.transport, "transport", "", "quic, webtransport or websocket; default what the URL says")
	asJSON := fs.Bool("json", false, "print one JSON object and no progress")
	rest, err := arguments(fs, args)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%w: unexpected argument %q", boot.ErrUsage, rest[0])
	}
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return boot.Exit(name, err)
	}
	log, err := c.client.logger()
	if err != nil {
		return boot.Exit(name, err)
	}
	ctx, stop := boot.Interruptible()
	defer stop()
	progress := func(format string, args ...any) {
		if !*asJSON {
			fmt.Fprintf(os.Stderr, format+"\n", args...)
		}
	}
	r, err := runBench(ctx, &c, log, progress)
	if err != nil {
		return boot.Exit(name, err)
	}
	if *asJSON {
		err = json.NewEncoder(os.Stdout).Encode(r)
	} else {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	}
	return boot.Exit(name, err)
}

func (c *benchConfig) check() error {
	u, err := url.Parse(c.target)
	if err != nil || u.Host == "" || !transport.Dialable(u.Scheme) {
		return fmt.Errorf("%w: --target is an https://, moqt:// or wss:// URL", boot.ErrUsage)
	}
	switch c.transport {
	case "":
	case "quic":
		u.Scheme = "moqt"
	case "webtransport":
		u.Scheme = "https"
	case "websocket":
		u.Scheme = "wss"
	default:
		return fmt.Errorf("%w: --transport is quic, webtransport or websocket", boot.ErrUsage)
	}
	c.target = u.String()
	c.publishTo = cmp.Or(c.publishTo, c.target)
	c.pubToken = cmp.Or(c.pubToken, c.client.token)
	if _, ok := profiles[c.profile]; !ok {
		return fmt.Errorf("%w: --profile is video, audio, av, chat or small", boot.ErrUsage)
	}
	if c.viewers < 1 || c.broadcasts < 1 || c.duration <= 0 {
		return fmt.Errorf("%w: --viewers, --broadcasts and --duration must be positive", boot.ErrUsage)
	}
	return nil
}

// flow is one Track of a profile.
type flow struct {
	name     string
	rate     int // Objects a second
	size     int // bytes of an Object that begins no second
	keySize  int // bytes of the first Object of each second
	perGroup int // Objects in a Group
}

// The profiles of draft-evens-moq-bench. A video frame is 16 KiB on average,
// with a key frame of five times the others' size each second: 5P + 29P is 30
// times 16 KiB.
var (
	videoFlow = flow{name: "video", rate: 30, size: 16 << 10 * 30 / 34, keySize: 16 << 10 * 150 / 34, perGroup: 30}
	audioFlow = flow{name: "audio", rate: 50, size: 200, keySize: 200, perGroup: 50}
	chatFlow  = flow{name: "chat", rate: 10, size: 200, keySize: 200, perGroup: 1}
	// smallFlow is not of the draft: it is little enough for two cores to
	// serve, and to play, a thousand viewers.
	smallFlow = flow{name: "small", rate: 10, size: 1 << 10, keySize: 1 << 10, perGroup: 10}

	profiles = map[string][]flow{
		"video": {videoFlow}, "audio": {audioFlow}, "av": {videoFlow, audioFlow}, "chat": {chatFlow}, "small": {smallFlow},
	}
)

// benchResult is what a measurement gives. Times are in milliseconds.
type benchResult struct {
	Profile         string    `json:"profile"`
	Transport       string    `json:"transport"`
	Viewers         int       `json:"viewers"`
	Broadcasts      int       `json:"broadcasts"`
	Seconds         float64   `json:"seconds"`
	DeliveredGbit   float64   `json:"delivered_gbit"`
	ObjectsExpected uint64    `json:"objects_expected"`
	ObjectsReceived uint64    `json:"objects_received"`
	ObjectsLost     uint64    `json:"objects_lost"`
	LatencyMS       quantiles `json:"latency_ms"`
	JoinMS          joinMS    `json:"join_ms"`
	serverCost
}

type quantiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

type joinMS struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// drain is how long viewers may take for what was sent at the end.
const drain = 3 * time.Second

// runBench publishes, watches and measures. It owns a goroutine for each
// broadcast and each viewer.
func runBench(ctx context.Context, c *benchConfig, log *slog.Logger, progress func(string, ...any)) (*benchResult, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	publisher := c.client
	publisher.token = c.pubToken
	node, stop, err := publisher.connect(ctx, c.publishTo, log)
	if err != nil {
		return nil, err
	}
	defer stop()
	run := fmt.Sprintf("%x", time.Now().UnixNano())
	var publishing sync.WaitGroup
	stopPublishing := make(chan struct{})
	for i := range c.broadcasts {
		b := moq.NewBroadcast(moq.Namespace{"bench", run, fmt.Sprint(i)})
		defer b.Close(nil)
		defer node.Publish(b)()
		for _, f := range profiles[c.profile] {
			w, err := b.CreateTrack(f.name, moq.TrackConfig{})
			if err != nil {
				return nil, err
			}
			publishing.Go(func() {
				if err := f.publish(w, stopPublishing); err != nil {
					cancel(err)
				}
			})
		}
	}
	before, err := readServer(c.serverPID)
	if err != nil {
		return nil, err
	}
	progress("%d viewers join", c.viewers)
	crowd := newCrowd(c, run, log)
	var watching sync.WaitGroup
	watching.Go(func() { crowd.run(ctx) })
	if err := crowd.awaitJoined(ctx); err != nil {
		close(stopPublishing)
		cancel(err)
		watching.Wait()
		publishing.Wait()
		return nil, err
	}
	progress("measuring for %v", c.duration)
	begin, err := readServer(c.serverPID)
	if err != nil {
		return nil, err
	}
	crowd.measure()
	started := time.Now()
	select {
	case <-time.After(c.duration):
	case <-ctx.Done():
	}
	crowd.rest()
	seconds := time.Since(started).Seconds()
	end, err := readServer(c.serverPID)
	close(stopPublishing)
	publishing.Wait()
	crowd.drain(ctx, drain)
	cancel(errBenchOver)
	watching.Wait()
	if err == nil && !errors.Is(context.Cause(ctx), errBenchOver) {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	r := crowd.result()
	r.Profile, r.Transport, r.Viewers, r.Broadcasts, r.Seconds = c.profile, transportOf(c.target), c.viewers, c.broadcasts, seconds
	if c.serverPID != 0 {
		r.serverCost = costOf(before, begin, end, r.DeliveredGbit, c.viewers)
	}
	return r, nil
}

var errBenchOver = errors.New("the measurement is over")

func transportOf(target string) string {
	switch scheme, _, _ := strings.Cut(target, ":"); scheme {
	case "https":
		return "webtransport"
	case "wss", "ws":
		return "websocket"
	}
	return "quic"
}

// publish writes Objects at the flow's rate until stop is closed. Each
// begins with the time at which it was written and its number.
func (f flow) publish(w *moq.TrackWriter, stop <-chan struct{}) error {
	defer w.End(nil)
	begun := time.Now()
	group := uint64(begun.UnixMilli())
	payload := make([]byte, max(f.size, f.keySize))
	var sub *moq.SubgroupWriter
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := uint64(0); ; n++ {
		timer.Reset(time.Until(begun.Add(time.Duration(n) * time.Second / time.Duration(f.rate))))
		select {
		case <-timer.C:
		case <-stop:
			if sub != nil {
				return sub.Close()
			}
			return nil
		}
		id := n % uint64(f.perGroup)
		size := f.size
		if id == 0 {
			size = f.keySize
			if sub != nil {
				if err := sub.Close(); err != nil {
					return err
				}
			}
			g, err := w.Group(group + n/uint64(f.perGroup))
			if err != nil {
				return err
			}
			if sub, err = g.Subgroup(0, moq.SubgroupConfig{InheritPriority: true, EndOfGroup: true}); err != nil {
				return err
			}
		}
		stamp{sent: time.Now().UnixNano(), number: n}.put(payload)
		if err := sub.WriteObject(id, nil, payload[:size]); err != nil {
			return err
		}
	}
}
