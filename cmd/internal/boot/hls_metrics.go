package boot

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet-live/freshet/media/hls"
)

// hlsCollector reads the counts of LL-HLS when Prometheus asks.
type hlsCollector struct{ server *hls.Server }

var (
	hlsRequestsDesc = prometheus.NewDesc("freshet_hls_requests_total", "LL-HLS requests answered, by what was asked for and the status; 0 is a client that left before.", []string{"kind", "status"}, nil)
	hlsWaitingDesc  = prometheus.NewDesc("freshet_hls_waiting", "LL-HLS requests being answered now, nearly all of which wait for what comes next.", nil, nil)
	hlsRefusedDesc  = prometheus.NewDesc("freshet_hls_refused_total", "LL-HLS requests turned away by a limit: of the node, of one client, or of rooms.", []string{"limit"}, nil)
	hlsBytesDesc    = prometheus.NewDesc("freshet_hls_bytes_total", "Bytes of LL-HLS answers, without headers.", nil, nil)
	hlsRoomsDesc    = prometheus.NewDesc("freshet_hls_rooms", "Broadcasts muxed for LL-HLS now, or kept for those who watched.", nil, nil)
)

func (c *hlsCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{hlsRequestsDesc, hlsWaitingDesc, hlsRefusedDesc, hlsBytesDesc, hlsRoomsDesc} {
		ch <- d
	}
}

func (c *hlsCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.server.Stats()
	for _, r := range s.Requests {
		ch <- prometheus.MustNewConstMetric(hlsRequestsDesc, prometheus.CounterValue, float64(r.Count), r.Kind, strconv.Itoa(r.Status))
	}
	for reason, n := range s.Refused {
		ch <- prometheus.MustNewConstMetric(hlsRefusedDesc, prometheus.CounterValue, float64(n), reason)
	}
	ch <- prometheus.MustNewConstMetric(hlsWaitingDesc, prometheus.GaugeValue, float64(s.Open))
	ch <- prometheus.MustNewConstMetric(hlsBytesDesc, prometheus.CounterValue, float64(s.Bytes))
	ch <- prometheus.MustNewConstMetric(hlsRoomsDesc, prometheus.GaugeValue, float64(s.Rooms))
}
