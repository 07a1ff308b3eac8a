package session

import (
	"testing"
)

// The window of Request IDs knows every one once, in whatever order.
func TestIDWindow(t *testing.T) {
	var w idWindow
	for _, tc := range []struct {
		n   uint64
		new bool
	}{
		{0, true}, {0, false}, {5, true}, {3, true}, {3, false}, {5, false}, {4, true},
		{1000, true}, {1, true}, {1023, true}, {1024, true}, {0, false},
		{1 << 40, true}, {1024, false}, {1<<40 - 1023, true}, {1<<40 - 1024, false},
	} {
		if seen := w.seen(tc.n); seen == tc.new {
			t.Errorf("seen(%d) = %t", tc.n, seen)
		}
		if got := w.add(tc.n); got != tc.new {
			t.Errorf("add(%d) = %t, want %t", tc.n, got, tc.new)
		}
	}
}
