package boot

import (
	"flag"
	"fmt"
	"net/url"
	"strings"

	"github.com/freshet-live/freshet/control"
	"github.com/freshet-live/freshet/moq/transport"
	"github.com/freshet-live/freshet/relay"
)

// Role says which parts a process has.
type Role struct {
	// Name is the name of the command.
	Name string
	// Ingest takes broadcasts by WHIP and RTSP.
	Ingest bool
	// HLS muxes LL-HLS.
	HLS bool
	// API serves the control API and the web app.
	API bool
}

// The processes. Each of them has a relay node.
var (
	Up     = Role{Name: "freshet up", Ingest: true, HLS: true, API: true}
	Origin = Role{Name: "freshet-origin", Ingest: true, HLS: true}
	Relay  = Role{Name: "freshet-relay", HLS: true}
	API    = Role{Name: "freshet-api", API: true}
)

// Config are the settings of a process, see Flags.
type Config struct {
	Role Role

	QUICAddr, HTTPSAddr, HTTPAddr string
	WebRTCAddr, RTSPAddr          string
	MetricsAddr                   string
	DataDir, ReadyFile            string
	TLSCert, TLSKey               string
	AllowedOrigins                *[]string
	Drafts                        *[]string
	Upstreams                     *[]string
	Trust                         transport.Trust
	TokenKey                      string
	StreamKeys                    *[]string
	AdmissionURL                  string
	PublicHosts                   *[]string
	MoQURLs                       *[]string
	HLSURL                        string
	HLSWindow, HLSDir, HLSLimit   string
	HLSSecret                     string
	HLSTrickle, HLSAlways         bool
	hlsLimits                     hlsLimits
	Bench                         bool
	ladder                        ladderConfig
	LogLevel, LogFormat           string
}

// Flags defines the settings of a role on a flag set; the defaults are those
// of the README.
func Flags(fs *flag.FlagSet, role Role) *Config {
	c := &Config{Role: role}
	fs.StringVar(&c.QUICAddr, "quic-addr", ":4443", "UDP `address` for MoQ over WebTransport and native QUIC, and HTTP/3")
	fs.StringVar(&c.HTTPSAddr, "https-addr", ":4443", "TCP `address` for HTTPS; empty for none")
	fs.StringVar(&c.HTTPAddr, "http-addr", "127.0.0.1:8080", "TCP `address` for plain HTTP, for this machine's browser or a proxy; empty for none")
	fs.StringVar(&c.MetricsAddr, "metrics-addr", "127.0.0.1:9464", "TCP `address` for /metrics /healthz /readyz /debug/pprof; empty for none")
	fs.StringVar(&c.DataDir, "data-dir", "./data", "`folder` for the database, keys and the self-made certificate")
	fs.StringVar(&c.ReadyFile, "ready-file", "", "`file` that is written with the addresses, as JSON, once the node serves")
	fs.StringVar(&c.TLSCert, "tls-cert", "", "certificate chain, PEM `file`; without it one is made")
	fs.StringVar(&c.TLSKey, "tls-key", "", "private key of --tls-cert, PEM `file`")
	c.AllowedOrigins = list(fs, "allowed-origins", "web `origin` whose pages may play here (repeatable; default all)")
	c.Drafts = list(fs, "drafts", "MoQ `drafts` to speak, best first, separated by commas (repeatable; default "+strings.Join(spoken, ",")+")")
	c.Upstreams = list(fs, "upstream", "`URL` of a node nearer to the publishers, https://, moqt:// or wss://, with ;sha256=HEX and ;token=T as needed (repeatable)")
	fs.StringVar(&c.Trust.FingerprintSHA256, "tls-fingerprint", "", "SHA-256 `hex` of the certificate of upstreams that name none")
	fs.StringVar(&c.Trust.CAFile, "tls-ca", "", "PEM `file` of the authorities to believe for upstreams")
	fs.BoolVar(&c.Trust.Insecure, "tls-insecure", false, "believe any certificate of an upstream")
	fs.StringVar(&c.TokenKey, "token-key", "", "`file` or JWKS URL with the keys that tokens are verified with; default those of this process's control API; where there are none anybody may watch")
	fs.BoolVar(&c.Bench, "bench", false, "open the Namespace (bench, …) to the bench_token of the ready file")
	fs.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&c.LogFormat, "log-format", "text", "text or json")
	if role.Ingest {
		fs.StringVar(&c.WebRTCAddr, "webrtc-addr", ":8189", "UDP and TCP `address` for WebRTC media of WHIP")
		fs.StringVar(&c.RTSPAddr, "rtsp-addr", ":8554", "TCP `address` for RTSP publishers; empty for none")
		c.PublicHosts = list(fs, "public-host", "`IP address` that WebRTC publishers reach this node at, when it is not one of its interfaces' (repeatable)")
	}
	if role.Ingest {
		c.ladder.flags(fs)
	}
	if role.Ingest && role.HLS {
		fs.BoolVar(&c.HLSAlways, "hls-always", false, "have LL-HLS mux every live broadcast from its start, not from its first viewer, so that --hls-window holds all of it")
	}
	if role.Ingest && !role.API {
		c.StreamKeys = list(fs, "stream-key", "`ROOM=KEY` that may publish (repeatable)")
		fs.StringVar(&c.AdmissionURL, "admission-url", "", "`URL` that is asked whether a stream key may publish, such as https://api:4443/v1/admission")
	}
	if role.HLS {
		fs.StringVar(&c.HLSWindow, "hls-window", "30m", "how much of the past LL-HLS lists, and for how long a broadcast that is over stays playable, a `duration` such as 2h; or all")
		fs.StringVar(&c.HLSDir, "hls-dir", "", "`folder` for the past of LL-HLS; none keeps a minute or two in memory; default hls in the data folder")
		fs.StringVar(&c.HLSLimit, "hls-disk-limit", "20GiB", "`bytes` that the past of LL-HLS may take on disk, with MiB, GiB or TiB; the oldest goes first")
		fs.StringVar(&c.HLSSecret, "hls-secret", "", "`file` with the secret behind the passes of LL-HLS viewers and the names of media; edges behind one balancer share it; default hls.secret in the data folder, made when missing")
		fs.BoolVar(&c.HLSTrickle, "hls-trickle", false, "send a part that a player asks for ahead of time as it is made, not at once when it is whole: 0.4 s earlier, against rfc8216bis, and players that measure the line by it measure wrong")
		c.hlsLimits.flags(fs)
	}
	if role.API {
		c.MoQURLs = list(fs, "moq-url", "`URL` of a node that pages connect to, with ;sha256=HEX as needed (repeatable; default this one)")
		fs.StringVar(&c.HLSURL, "hls-url", "", "`URL` below which pages find LL-HLS; default this node's, if it has LL-HLS")
	}
	return c
}

// annotated is a URL with settings behind it: URL;sha256=HEX;token=T.
type annotated struct {
	url, sha256, token string
}

func parseAnnotated(s string) (annotated, error) {
	raw, rest, _ := strings.Cut(s, ";")
	a := annotated{url: raw}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || !transport.Dialable(u.Scheme) {
		return a, fmt.Errorf("%w: %q is not an https://, moqt:// or wss:// URL", ErrUsage, raw)
	}
	for rest != "" {
		var setting string
		setting, rest, _ = strings.Cut(rest, ";")
		key, value, _ := strings.Cut(setting, "=")
		switch key {
		case "sha256":
			a.sha256 = value
		case "token":
			a.token = value
		default:
			return a, fmt.Errorf("%w: %s: unknown setting %q, known are sha256 and token", ErrUsage, raw, key)
		}
	}
	return a, nil
}

// upstreams parses --upstream.
func (c *Config) upstreams() ([]relay.Upstream, error) {
	var ups []relay.Upstream
	for _, s := range *c.Upstreams {
		a, err := parseAnnotated(s)
		if err != nil {
			return nil, err
		}
		u := relay.Upstream{URL: a.url, Trust: c.Trust, Token: a.token, Protocols: c.protocols()}
		if a.sha256 != "" {
			u.Trust = transport.Trust{FingerprintSHA256: a.sha256}
		}
		ups = append(ups, u)
	}
	return ups, nil
}

// streamKeys parses --stream-key.
func (c *Config) streamKeys() (map[string]control.KeyDigest, error) {
	keys := make(map[string]control.KeyDigest)
	for _, s := range *c.StreamKeys {
		room, key, ok := strings.Cut(s, "=")
		if !ok || !control.ValidName(room) || key == "" {
			return nil, fmt.Errorf("%w: --stream-key is ROOM=KEY", ErrUsage)
		}
		keys[room] = control.DigestKey(key)
	}
	return keys, nil
}

// spoken are the drafts that this build speaks, best first.
var spoken = []string{"moqt-19", "moqt-18", "moqt-22", "moqt-21", "moqt-20"}

func (c *Config) protocols() []string {
	if len(*c.Drafts) == 0 {
		return spoken
	}
	var drafts []string
	for _, s := range *c.Drafts {
		drafts = append(drafts, strings.Split(s, ",")...)
	}
	return drafts
}

// check refuses settings that cannot work, before anything is opened.
func (c *Config) check() error {
	for _, d := range c.protocols() {
		known := false
		for _, s := range spoken {
			known = known || s == d
		}
		if !known {
			return fmt.Errorf("%w: --drafts %s: this build speaks %s", ErrUsage, d, strings.Join(spoken, ", "))
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return fmt.Errorf("%w: --tls-cert and --tls-key belong together", ErrUsage)
	}
	if c.Role.HLS {
		if _, err := c.hlsWindow(); err != nil {
			return err
		}
		if _, err := parseBytes(c.HLSLimit); err != nil {
			return fmt.Errorf("%w: --hls-disk-limit: %w", ErrUsage, err)
		}
		if _, err := c.hlsLimits.parse(); err != nil {
			return err
		}
	}
	if c.LogFormat != "text" && c.LogFormat != "json" {
		return fmt.Errorf("%w: --log-format is text or json", ErrUsage)
	}
	return nil
}
