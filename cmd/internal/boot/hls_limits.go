package boot

import (
	"flag"
	"fmt"
	"net/netip"

	"github.com/freshet-live/freshet/media/hls"
)

// hlsLimits are the settings that bound LL-HLS.
type hlsLimits struct {
	rooms, requests, clientRequests int
	proxies                         *[]string
}

func (c *hlsLimits) flags(fs *flag.FlagSet) {
	fs.IntVar(&c.rooms, "hls-rooms", 64, "`number` of broadcasts that LL-HLS muxes at a time")
	fs.IntVar(&c.requests, "hls-requests", 65536, "`number` of LL-HLS requests answered at a time, most of which wait for the next part; further ones get 503")
	fs.IntVar(&c.clientRequests, "hls-client-requests", 2000, "`number` of those for one IPv4 address, or one IPv6 /64")
	c.proxies = list(fs, "trusted-proxy", "`network`, such as 10.0.0.0/8, or address of proxies whose X-Forwarded-For is believed (repeatable; this machine always is)")
}

// parse returns the limits of the server.
func (c *hlsLimits) parse() (hls.Limits, error) {
	for name, n := range map[string]int{"hls-rooms": c.rooms, "hls-requests": c.requests, "hls-client-requests": c.clientRequests} {
		if n < 1 {
			return hls.Limits{}, fmt.Errorf("%w: --%s is 1 or more", ErrUsage, name)
		}
	}
	l := hls.Limits{Requests: c.requests, ClientRequests: c.clientRequests}
	for _, s := range *c.proxies {
		network, err := netip.ParsePrefix(s)
		if addr, addrErr := netip.ParseAddr(s); addrErr == nil {
			network, err = addr.Unmap().WithZone("").Prefix(addr.Unmap().BitLen())
		}
		if err != nil {
			return hls.Limits{}, fmt.Errorf("%w: --trusted-proxy: %q is neither an address nor a network such as 10.0.0.0/8", ErrUsage, s)
		}
		l.Proxies = append(l.Proxies, network.Masked())
	}
	return l, nil
}
