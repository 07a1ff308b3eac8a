package moq_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/freshet-live/freshet/moq"
	"pgregory.net/rapid"
)

func TestNamespaceValidate(t *testing.T) {
	for _, tt := range []struct {
		name string
		ns   moq.Namespace
		ok   bool
	}{
		{"none", nil, true},
		{"two", moq.Namespace{"live", "demo"}, true},
		{"32 fields", moq.Namespace(strings.Split(strings.Repeat("a/", 31)+"a", "/")), true},
		{"33 fields", moq.Namespace(strings.Split(strings.Repeat("a/", 32)+"a", "/")), false},
		{"empty field", moq.Namespace{"live", ""}, false},
		{"4096 bytes", moq.Namespace{strings.Repeat("x", 4096)}, true},
		{"4097 bytes", moq.Namespace{strings.Repeat("x", 4097)}, false},
	} {
		if err := tt.ns.Validate(); (err == nil) != tt.ok || err != nil && !errors.Is(err, moq.ErrName) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	long := moq.FullTrackName{Namespace: moq.Namespace{strings.Repeat("x", 4090)}, Track: "1234567"}
	if long.Validate() == nil {
		t.Error("a full track name of 4097 bytes is accepted")
	}
}

func TestKeyIsInjective(t *testing.T) {
	field := rapid.StringMatching(`[a:|0-9/]{1,4}`)
	ns := rapid.Custom(func(t *rapid.T) moq.Namespace { return rapid.SliceOfN(field, 0, 3).Draw(t, "fields") })
	rapid.Check(t, func(t *rapid.T) {
		a, b := ns.Draw(t, "a"), ns.Draw(t, "b")
		if (a.Key() == b.Key()) != a.Equal(b) {
			t.Fatalf("%q and %q", a, b)
		}
		x := moq.FullTrackName{Namespace: a, Track: field.Draw(t, "x")}
		y := moq.FullTrackName{Namespace: b, Track: field.Draw(t, "y")}
		if (x.Key() == y.Key()) != (a.Equal(b) && x.Track == y.Track) {
			t.Fatalf("%q and %q", x, y)
		}
	})
}
