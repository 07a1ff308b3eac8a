package boot

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func load(t *testing.T, yaml string, environ []string, args ...string) (*Config, error) {
	t.Helper()
	fs := flag.NewFlagSet("freshet up", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	c := Flags(fs, Up)
	if yaml != "" {
		path := filepath.Join(t.TempDir(), "freshet.yaml")
		if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	return c, Load(fs, args, environ)
}

func TestLoadPrecedence(t *testing.T) {
	const yaml = "quic-addr: ':1'\nhttps-addr: ':1'\nhttp-addr: ':1'\nupstream: ['moqt://a:1', 'moqt://b:1']\nbench: true\n"
	c, err := load(t, yaml, []string{"FRESHET_QUIC_ADDR=:2", "FRESHET_HTTPS_ADDR=:2", "HOME=/nowhere"}, "--quic-addr", ":3")
	if err != nil {
		t.Fatal(err)
	}
	if c.QUICAddr != ":3" || c.HTTPSAddr != ":2" || c.HTTPAddr != ":1" || c.RTSPAddr != ":8554" {
		t.Errorf("flag %s, variable %s, file %s, default %s", c.QUICAddr, c.HTTPSAddr, c.HTTPAddr, c.RTSPAddr)
	}
	if got := strings.Join(*c.Upstreams, " "); got != "moqt://a:1 moqt://b:1" || !c.Bench {
		t.Errorf("upstreams %q, bench %v", got, c.Bench)
	}
	c, err = load(t, yaml, []string{"FRESHET_UPSTREAM=moqt://c:1,moqt://d:1"})
	if err != nil || strings.Join(*c.Upstreams, " ") != "moqt://c:1 moqt://d:1" {
		t.Errorf("upstreams of the variable: %q, %v", *c.Upstreams, err)
	}
}

func TestLoadRefusesWhatItDoesNotKnow(t *testing.T) {
	for name, f := range map[string]func() error{
		"flag":     func() error { _, err := load(t, "", nil, "--quik-addr", ":3"); return err },
		"variable": func() error { _, err := load(t, "", []string{"FRESHET_QUIK_ADDR=:2"}); return err },
		"key":      func() error { _, err := load(t, "quik-addr: ':1'\n", nil); return err },
		"value":    func() error { _, err := load(t, "bench: perhaps\n", nil); return err },
	} {
		if err := f(); !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := load(t, "quic-addr: [", nil); err == nil {
		t.Error("broken YAML was accepted")
	}
}

func TestAnnotatedURL(t *testing.T) {
	a, err := parseAnnotated("moqt://origin:4443/;sha256=ab;token=t=1")
	if err != nil || a.url != "moqt://origin:4443/" || a.sha256 != "ab" || a.token != "t=1" {
		t.Errorf("%+v, %v", a, err)
	}
	for _, bad := range []string{"", "origin:4443", "http://origin", "moqt://origin;sha=1"} {
		if _, err := parseAnnotated(bad); !errors.Is(err, ErrUsage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestDraftsAreAList(t *testing.T) {
	for _, args := range [][]string{{"--drafts", "moqt-18,moqt-19"}, {"--drafts", "moqt-18", "--drafts", "moqt-19"}} {
		c, err := load(t, "", nil, args...)
		if err == nil {
			err = c.check()
		}
		if got := strings.Join(c.protocols(), " "); err != nil || got != "moqt-18 moqt-19" {
			t.Errorf("%v: %s, %v", args, got, err)
		}
	}
	if c, err := load(t, "", nil, "--drafts", "moqt-99"); err != nil || !errors.Is(c.check(), ErrUsage) {
		t.Errorf("a draft that nobody speaks: %v", err)
	}
}
