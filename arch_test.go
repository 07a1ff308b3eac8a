package freshet_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/freshet-live/freshet"

// allowed is the import table of ARCHITECTURE.md: what the packages below a
// folder may import of freshet. A folder includes those below it unless they
// have a row of their own. Packages without a row may import anything.
var allowed = map[string][]string{
	"moq":                  {},
	"moq/wire":             {"moq"},
	"moq/token":            {"moq"},
	"moq/transport":        {"moq/transport/qmux"},
	"moq/session":          {"moq", "moq/wire", "moq/transport"},
	"relay":                {"moq", "moq/session", "moq/token", "moq/transport", "moq/wire", "relay/cluster"},
	"media":                {},
	"media/codec":          {"media"},
	"media/loc":            {"media", "moq"},
	"media/catalog":        {"media", "media/codec", "moq"},
	"media/cmaf":           {"media", "media/codec"},
	"media/packager":       {"media", "media/codec", "media/cmaf", "media/loc", "media/catalog", "moq"},
	"media/ladder":         {"media", "media/codec", "media/catalog", "media/packager", "media/unpack", "moq"},
	"media/unpack":         {"media", "media/codec", "media/loc", "media/catalog", "moq"},
	"media/hls":            {"media", "media/codec", "media/cmaf", "media/catalog", "media/unpack", "media/hls", "moq"},
	"media/ingest":         {"media", "media/codec", "media/ingest"},
	"control":              {},
	"control/store":        {"control"},
	"control/api":          {"control"},
	"web":                  {},
	"cmd/internal/boot":    nil,
	"cmd/freshet":          nil,
	"cmd/internal/mediaio": nil,
}

// owners are the packages that may import a third party, by the beginning of
// the import path.
var owners = map[string][]string{
	"github.com/quic-go/":             {"moq/transport"},
	"github.com/pion/":                {"media/ingest"},
	"github.com/bluenviron/gortsplib": {"media/ingest"},
	"modernc.org/sqlite":              {"control/store"},
	"github.com/pressly/goose":        {"control/store"},
	"github.com/knadh/koanf":          {"cmd/internal/boot"},
	"github.com/golang-jwt/":          {"moq/token"},
	"github.com/prometheus/":          {"cmd/internal/boot"},
	"github.com/coder/websocket":      {"moq/transport"},
}

// exempt may import whatever they test with.
var exempt = []string{"moq/moqtest", "test"}

type listedPackage struct {
	ImportPath   string
	Doc          string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func listPackages(t *testing.T) []listedPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,TestImports,XTestImports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []listedPackage
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

func below(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// row returns the longest folder of the table that pkg lies in.
func row(pkg string) (folder string, ok bool) {
	for f := range allowed {
		if below(pkg, f) && len(f) > len(folder) {
			folder, ok = f, true
		}
	}
	return folder, ok
}

func TestImports(t *testing.T) {
	for _, p := range listPackages(t) {
		pkg := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		if slices.ContainsFunc(exempt, func(f string) bool { return below(pkg, f) }) {
			continue
		}
		folder, listed := row(pkg)
		for _, imp := range p.Imports {
			if ours, ok := strings.CutPrefix(imp, module+"/"); ok {
				if !listed || allowed[folder] == nil || below(ours, folder) && below(pkg, folder) && pkg != folder {
					continue
				}
				if !slices.ContainsFunc(allowed[folder], func(f string) bool {
					return ours == f || f == "media/ingest" && below(ours, f) || f == "media/hls" && below(ours, f)
				}) {
					t.Errorf("%s imports %s: the import table of ARCHITECTURE.md does not allow it", pkg, ours)
				}
				continue
			}
			for third, owner := range owners {
				if strings.HasPrefix(imp, third) && !slices.ContainsFunc(owner, func(f string) bool { return below(pkg, f) }) {
					t.Errorf("%s imports %s, whose owner is %s", pkg, imp, strings.Join(owner, ", "))
				}
			}
		}
	}
}

func TestRelayIsMediaBlind(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./relay", "./moq/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for _, dep := range strings.Fields(string(out)) {
		ours, _ := strings.CutPrefix(dep, module+"/")
		if dep != ours && (below(ours, "media") || below(ours, "control")) {
			t.Errorf("relay or moq depends on %s", ours)
		}
	}
}

func TestPackagesAreDocumented(t *testing.T) {
	for _, p := range listPackages(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}
