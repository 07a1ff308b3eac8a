package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// bench collects what the parts have measured.
type bench struct {
	self, dir         string
	relayBin, toolBin string
	rounds            int
	length            time.Duration

	minimum map[string]any // the result, by the names of the JSON line
	median  map[string]any
	lost    uint64
}

// load is what one run of a client reports: `freshet bench` and the watchers
// of this command print it as JSON. The relay's client has more to say.
type load struct {
	DeliveredGbit float64 `json:"delivered_gbit"`
	Seconds       float64 `json:"seconds"`
	CPUSeconds    float64 `json:"server_cpu_s"`
	CPUPerGbit    float64 `json:"server_cpu_s_per_gbit"`
	ObjectsLost   uint64  `json:"objects_lost"`
	LatencyMS     struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	} `json:"latency_ms"`
	JoinMS struct {
		P99 float64 `json:"p99"`
	} `json:"join_ms"`
}

// costViewers is the size of the audience of which costs are measured: 0.4
// Gbit/s of video, which leaves two cores time for the viewers themselves.
const costViewers = 100

// costs compares the CPU that a delivered Gbit takes.
func (b *bench) costs(ctx context.Context) error {
	kinds := []struct {
		name string
		run  func(context.Context) (*load, error)
	}{
		{"floor over quic", func(ctx context.Context) (*load, error) { return b.twin(ctx, "floor") }},
		{"relay over quic", func(ctx context.Context) (*load, error) { return b.relay(ctx, "quic", "video", costViewers) }},
		{"relay over webtransport", func(ctx context.Context) (*load, error) {
			return b.relay(ctx, "webtransport", "video", costViewers)
		}},
		{"relay over quic, with audio", func(ctx context.Context) (*load, error) { return b.relay(ctx, "quic", "av", costViewers) }},
		{"ideal", func(ctx context.Context) (*load, error) { return b.twin(ctx, "ideal") }},
	}
	const floor, quic, webTransport, withAudio, ideal = 0, 1, 2, 3, 4
	cost := make([]samples, len(kinds))
	var join samples
	for round := range b.rounds {
		for i, k := range kinds {
			r, err := k.run(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", k.name, err)
			}
			cost[i] = append(cost[i], r.CPUPerGbit)
			if i == quic || i == webTransport || i == withAudio {
				join = append(join, r.JoinMS.P99)
				b.lost += r.ObjectsLost
			}
			progress("%d of %d, %s: %.3f CPU s per Gbit", round+1, b.rounds, k.name, r.CPUPerGbit)
		}
	}
	for name, pair := range map[string][2]int{
		"relay_over_floor_quic":  {quic, floor},
		"webtransport_over_quic": {webTransport, quic},
		"av_over_video":          {withAudio, quic},
		"relay_over_ideal":       {quic, ideal},
	} {
		b.minimum[name] = round3(cost[pair[0]].min() / cost[pair[1]].min())
		b.median[name] = round3(cost[pair[0]].median() / cost[pair[1]].median())
	}
	seconds := make(map[string]float64)
	medians := make(map[string]float64)
	for i, name := range []string{"floor", "relay", "relay_webtransport", "relay_av", "ideal"} {
		seconds[name], medians[name] = round3(cost[i].min()), round3(cost[i].median())
	}
	b.minimum["cpu_s_per_gbit"], b.median["cpu_s_per_gbit"] = seconds, medians
	b.minimum["join_p99_ms"], b.median["join_p99_ms"] = round3(join.min()), round3(join.median())
	return nil
}

// relay measures one relay with new viewers.
func (b *bench) relay(ctx context.Context, transport, profile string, viewers int) (*load, error) {
	r, err := b.startRelay(ctx)
	if err != nil {
		return nil, err
	}
	defer r.stop()
	return b.watch(ctx, r.url(transport), r, nil, profile, viewers, b.length)
}

// watch runs the relay's own client. Publishers go to above, if that is not
// nil; CPU is measured of at.
func (b *bench) watch(ctx context.Context, url string, at, above *relayProcess, profile string, viewers int, length time.Duration) (*load, error) {
	args := []string{"bench", "--target", url, "--token", at.ready.BenchToken, "--tls-insecure",
		"--viewers", strconv.Itoa(viewers), "--profile", profile, "--duration", length.String(),
		"--server-pid", strconv.Itoa(at.pid()), "--json", "--log-level", "error"}
	if above != nil {
		args = append(args, "--publish-to", above.url("quic"), "--publish-token", above.ready.BenchToken)
	}
	r := new(load)
	return r, runJSON(ctx, r, b.toolBin, args...)
}

// twin measures a server of this command, floor or ideal, with its watchers.
func (b *bench) twin(ctx context.Context, kind string) (*load, error) {
	s, err := start(ctx, b.self, "serve-"+kind)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	addr, err := s.line(ctx)
	if err != nil {
		return nil, err
	}
	r := new(load)
	return r, runJSON(ctx, r, b.self, "watch-"+kind, addr, strconv.Itoa(costViewers), b.length.String(), strconv.Itoa(s.pid()))
}

// hopViewers are few: what is measured is the way of an Object through one
// more relay, not the queue before a core.
const hopViewers = 10

// hop measures what one more relay in a chain adds to the latency.
func (b *bench) hop(ctx context.Context) error {
	var one, two struct{ p50, p99 samples }
	for round := range b.rounds {
		first, err := b.startRelay(ctx)
		if err != nil {
			return err
		}
		second, err := b.startRelay(ctx, "--upstream", fmt.Sprintf("%s;token=%s;sha256=%s",
			first.url("quic"), first.ready.BenchToken, first.ready.CertificateSHA256))
		if err != nil {
			first.stop()
			return err
		}
		short, err := b.watch(ctx, first.url("quic"), first, nil, "av", hopViewers, b.length)
		var long *load
		if err == nil {
			long, err = b.watch(ctx, second.url("quic"), second, first, "av", hopViewers, b.length)
		}
		second.stop()
		first.stop()
		if err != nil {
			return err
		}
		b.lost += short.ObjectsLost + long.ObjectsLost
		one.p50, one.p99 = append(one.p50, short.LatencyMS.P50), append(one.p99, short.LatencyMS.P99)
		two.p50, two.p99 = append(two.p50, long.LatencyMS.P50), append(two.p99, long.LatencyMS.P99)
		progress("%d of %d, latency: %.2f ms (p99 %.2f) by one relay, %.2f ms (p99 %.2f) by two",
			round+1, b.rounds, short.LatencyMS.P50, short.LatencyMS.P99, long.LatencyMS.P50, long.LatencyMS.P99)
	}
	type quantiles struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	}
	b.minimum["hop_ms"] = quantiles{round3(two.p50.min() - one.p50.min()), round3(two.p99.min() - one.p99.min())}
	b.median["hop_ms"] = quantiles{round3(two.p50.median() - one.p50.median()), round3(two.p99.median() - one.p99.median())}
	return nil
}

// idleSessions is how many sessions without a subscription share the memory
// that is measured.
const idleSessions = 500

// idle measures the memory of sessions that do nothing.
func (b *bench) idle(ctx context.Context) error {
	result := make(map[string]float64)
	for _, transport := range []string{"quic", "webtransport"} {
		kib, err := b.idleRSS(ctx, transport)
		if err != nil {
			return err
		}
		result[transport] = round3(kib)
		progress("an idle session over %s: %.1f KiB", transport, kib)
	}
	b.minimum["idle_rss_kib"] = result
	return nil
}

func (b *bench) idleRSS(ctx context.Context, transport string) (float64, error) {
	r, err := b.startRelay(ctx)
	if err != nil {
		return 0, err
	}
	defer r.stop()
	// The first sessions pay for what all share.
	begin := 0.0
	for _, n := range []int{idleSessions / 10, idleSessions} {
		s, err := start(ctx, b.self, "idle", r.url(transport), r.ready.BenchToken, r.ready.CertificateSHA256, strconv.Itoa(n))
		if err != nil {
			return 0, err
		}
		if _, err := s.line(ctx); err != nil {
			s.stop()
			return 0, err
		}
		rss, err := r.settledRSS(ctx)
		s.stop()
		if err != nil {
			return 0, err
		}
		if n == idleSessions {
			return (rss - begin) / float64(idleSessions-idleSessions/10), nil
		}
		begin = rss
	}
	return 0, nil
}

// The audiences that crowd compares. They watch the profile small, 10 Objects
// of 1 KiB a second: of that, two cores can serve and play a thousand.
const (
	smallCrowd = 100
	largeCrowd = 1000
)

// crowd measures whether a viewer costs more among many.
func (b *bench) crowd(ctx context.Context) error {
	var small, large samples
	for round := range max(b.rounds/2, 1) {
		for _, n := range []int{smallCrowd, largeCrowd} {
			r, err := b.relay(ctx, "quic", "small", n)
			if err != nil {
				return err
			}
			b.lost += r.ObjectsLost
			cost := r.CPUSeconds / r.Seconds / float64(n)
			if n == smallCrowd {
				small = append(small, cost)
			} else {
				large = append(large, cost)
			}
			progress("%d of %d, a viewer among %d: %.3f ms CPU a second", round+1, max(b.rounds/2, 1), n, cost*1000)
		}
	}
	b.minimum["cpu_per_viewer_1000_over_100"] = round3(large.min() / small.min())
	b.median["cpu_per_viewer_1000_over_100"] = round3(large.median() / small.median())
	return nil
}
