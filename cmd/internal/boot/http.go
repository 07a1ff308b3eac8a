package boot

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/freshet-live/freshet/media/hls"
	"github.com/freshet-live/freshet/media/ingest"
	"github.com/freshet-live/freshet/relay"
)

// webServer is one TCP listener with its handler.
type webServer struct {
	ln  net.Listener
	srv *http.Server
}

const (
	// A client must finish its header in headerTimeout and its body in
	// bodyTimeout; the size of bodies is bounded by their handlers. Responses
	// have no bound of their own: LL-HLS blocks and events stream.
	headerTimeout = 10 * time.Second
	bodyTimeout   = 10 * time.Second
	httpIdle      = 2 * time.Minute
	// maxStreams is how many requests an HTTP/2 connection may have at a time:
	// a page and its player have a dozen, a proxy opens another connection.
	maxStreams = 256
	// drainTimeout is how long running requests may take at the end.
	drainTimeout = 2 * time.Second
)

// listenWeb opens a listener; tlsConfig is nil for plain HTTP.
func listenWeb(addr string, tlsConfig *tls.Config, h http.Handler, log *slog.Logger) (*webServer, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	srv := &http.Server{
		Handler: timelyBody(h, bodyTimeout), TLSConfig: tlsConfig,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: httpIdle, MaxHeaderBytes: 64 << 10,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return &webServer{ln: ln, srv: srv}, nil
}

// timelyBody bounds how long a request's body may take to arrive.
func timelyBody(h http.Handler, limit time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 && r.Method != http.MethodConnect {
			// What cannot have a deadline is bounded by its transport.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(limit))
		}
		h.ServeHTTP(w, r)
	})
}

// run serves until ctx ends.
func (w *webServer) run(ctx context.Context) error {
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(stopped)
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		if w.srv.Shutdown(drain) != nil {
			w.srv.Close()
		}
	})()
	var err error
	if w.srv.TLSConfig != nil {
		err = w.srv.ServeTLS(w.ln, "", "")
	} else {
		err = w.srv.Serve(w.ln)
	}
	if errors.Is(err, http.ErrServerClosed) {
		<-stopped
		return nil
	}
	return err
}

// operations serves /metrics, /healthz, /readyz and /debug/pprof.
func operations(node *relay.Node, drops *ingest.Drops, lowLatency *hls.Server, ready func() error) http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &nodeCollector{node, drops})
	if lowLatency != nil {
		reg.MustRegister(&hlsCollector{lowLatency})
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// nodeCollector reads the counts of a node and its ingest when Prometheus
// asks.
type nodeCollector struct {
	node  *relay.Node
	drops *ingest.Drops // nil without ingest
}

var (
	sessionsDesc  = prometheus.NewDesc("freshet_sessions", "MoQ sessions now, without those to upstreams.", nil, nil)
	sessionsTotal = prometheus.NewDesc("freshet_sessions_total", "MoQ sessions since the start.", nil, nil)
	refusedTotal  = prometheus.NewDesc("freshet_sessions_refused_total", "MoQ sessions refused since the start.", nil, nil)
	upstreamsDesc = prometheus.NewDesc("freshet_upstreams", "Upstream nodes connected now.", nil, nil)
	pullsDesc     = prometheus.NewDesc("freshet_pulled_tracks", "Tracks pulled from other nodes and publishers now.", nil, nil)
	viewersDesc   = prometheus.NewDesc("freshet_viewers", "Sessions from below that subscribe now, counted in each Namespace that they subscribe in; a relay counts as one.", nil, nil)
	dropsDesc     = prometheus.NewDesc("freshet_ingest_dropped_total", "Packets and frames of publishers that were not passed on.", []string{"reason"}, nil)
	cacheDesc     = prometheus.NewDesc("freshet_cache_bytes", "Bytes retained of pulled Tracks.", nil, nil)
)

func (c *nodeCollector) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

func (c *nodeCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.node.Stats()
	ch <- prometheus.MustNewConstMetric(sessionsDesc, prometheus.GaugeValue, float64(s.Sessions))
	ch <- prometheus.MustNewConstMetric(sessionsTotal, prometheus.CounterValue, float64(s.SessionsTotal))
	ch <- prometheus.MustNewConstMetric(refusedTotal, prometheus.CounterValue, float64(s.Refused))
	ch <- prometheus.MustNewConstMetric(upstreamsDesc, prometheus.GaugeValue, float64(s.Upstreams))
	ch <- prometheus.MustNewConstMetric(pullsDesc, prometheus.GaugeValue, float64(s.Pulls))
	ch <- prometheus.MustNewConstMetric(cacheDesc, prometheus.GaugeValue, float64(s.CacheBytes))
	ch <- prometheus.MustNewConstMetric(viewersDesc, prometheus.GaugeValue, float64(s.Viewers))
	if c.drops == nil {
		return
	}
	for _, reason := range ingest.Reasons() {
		ch <- prometheus.MustNewConstMetric(dropsDesc, prometheus.CounterValue, float64(c.drops.Count(reason)), reason.String())
	}
}
