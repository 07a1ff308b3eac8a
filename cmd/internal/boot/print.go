package boot

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// print tells a person where everything is, one line per URL.
func (p *process) print(out io.Writer) {
	r := p.ready
	line := func(what, format string, args ...any) {
		fmt.Fprintf(out, "  %-18s %s\n", what, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(out, "%s %s\n", p.cfg.Role.Name, Version)
	base := "https://" + local(r.HTTPS)
	if r.HTTP != "" {
		base = "http://" + local(r.HTTP)
	}
	room := cmp.Or(r.Room, "{room}")
	if p.cfg.Role.API {
		line("Lobby", "%s/", base)
		line("Watch", "%s/r/%s", base, room)
		line("Studio", "%s/studio/%s", base, room)
	}
	if p.cfg.Role.Ingest {
		line("Publish by WHIP", "%s/whip/%s", base, room)
		if r.RTSP != "" {
			line("Publish by RTSP", "rtsp://%s/%s", local(r.RTSP), room)
		}
	}
	if p.cfg.Role.HLS {
		line("LL-HLS", "%s/hls/%s/index.m3u8", base, room)
	}
	line("MoQ", "https://%s/ and moqt://%s/", local(r.QUIC), local(r.QUIC))
	if r.HTTPS != "" {
		line("MoQ without UDP", "wss://%s/", local(r.HTTPS))
		line("HTTPS", "https://%s/", local(r.HTTPS))
	}
	if r.Metrics != "" {
		line("Metrics", "http://%s/metrics", local(r.Metrics))
	}
	if r.StreamKey != "" {
		line("Stream key", "%s", r.StreamKey)
	}
	if r.BenchToken != "" {
		line("Bench token", "%s", r.BenchToken)
	}
	if p.certs.SelfMade() {
		line("Certificate", "self-made, SHA-256 %s", r.CertificateSHA256)
	}
	fmt.Fprintln(out)
}

// local turns an address that listens everywhere into one that can be
// opened here.
func local(addr string) string {
	a, err := netip.ParseAddrPort(addr)
	if err != nil || !a.Addr().IsUnspecified() {
		return addr
	}
	return net.JoinHostPort("localhost", fmt.Sprint(a.Port()))
}
