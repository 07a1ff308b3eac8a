package token_test

import (
	"testing"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/token"
)

func TestGrantAllows(t *testing.T) {
	ns := func(fields ...string) moq.Namespace { return fields }
	for _, test := range []struct {
		name     string
		root     string
		prefixes []string
		ns       moq.Namespace
		want     bool
	}{
		{"zero", "", nil, ns("live"), false},
		{"zero, empty namespace", "", nil, ns(), false},
		{"root alone allows nothing", "live", nil, ns("live"), false},
		{"everything", "", []string{""}, ns("live", "demo"), true},
		{"everything, empty namespace", "", []string{""}, ns(), true},
		{"itself", "", []string{"live/demo"}, ns("live", "demo"), true},
		{"below", "", []string{"live/demo"}, ns("live", "demo", "cohost"), true},
		{"above", "", []string{"live/demo"}, ns("live"), false},
		{"beside", "", []string{"live/demo"}, ns("live", "other"), false},
		{"part of a field", "", []string{"live/demo"}, ns("live", "demo2"), false},
		{"part of the first field", "", []string{"live"}, ns("liver"), false},
		{"a slash inside a field", "", []string{"live/demo"}, ns("live/demo"), false},
		{"a slash inside the last field", "", []string{"live/demo"}, ns("live", "demo/x"), false},
		{"a field above the prefix has a slash", "", []string{"live/demo/x"}, ns("live", "demo/x"), false},
		{"case", "", []string{"live"}, ns("Live"), false},
		{"dots are fields like others", "", []string{"live/.."}, ns("room"), false},
		{"slashes around", "/live/", []string{"//demo/"}, ns("live", "demo"), true},
		{"one of several", "", []string{"room/demo", "live/demo"}, ns("live", "demo"), true},
		{"root: itself", "live", []string{""}, ns("live"), true},
		{"root: below", "live", []string{""}, ns("live", "demo"), true},
		{"root: relative", "live", []string{"demo"}, ns("live", "demo", "x"), true},
		{"root: not absolute", "live", []string{"live"}, ns("live"), false},
		{"root: outside", "live", []string{"", "room"}, ns("room"), false},
		{"root: above", "live/demo", []string{""}, ns("live"), false},
		{"root: part of a field", "live", []string{""}, ns("lives", "demo"), false},
		{"root does not join with the prefix", "live", []string{"demo"}, ns("livedemo"), false},
	} {
		put := token.Grant{Root: test.root, Put: test.prefixes}
		get := token.Grant{Root: test.root, Get: test.prefixes}
		if got := put.AllowPut(test.ns); got != test.want {
			t.Errorf("%s: AllowPut is %v", test.name, got)
		}
		if got := get.AllowGet(test.ns); got != test.want {
			t.Errorf("%s: AllowGet is %v", test.name, got)
		}
		if put.AllowGet(test.ns) || get.AllowPut(test.ns) {
			t.Errorf("%s: one right gives the other", test.name)
		}
	}
}

func TestGrantAllowsWithoutAllocation(t *testing.T) {
	g := token.Grant{Root: "live", Get: []string{"other", "demo/x"}}
	ns := moq.Namespace{"live", "demo", "x", "y"}
	if n := testing.AllocsPerRun(100, func() {
		if !g.AllowGet(ns) {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
