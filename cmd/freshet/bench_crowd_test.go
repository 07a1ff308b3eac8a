package main

import (
	"testing"
	"time"
)

// What lies between a viewer's first Object and the last one that anybody got
// is expected of him; a duplicate makes up for no loss.
func TestCrowdCountsLosses(t *testing.T) {
	c := newCrowd(&benchConfig{viewers: 3, broadcasts: 1, profile: "video"}, "run", nil)
	asked := time.Now()
	for _, numbers := range [][]uint64{
		{5, 6, 7, 8, 9},    // all of them
		{7, 6, 9, 9},       // 8 is lost, 9 came twice, and the first came second
		{5, 6, 70, 71, 72}, // so the others miss 63 more at the end, and he 63 between
	} {
		f := new(followed)
		for i, n := range numbers {
			if first := f.count(stamp{sent: asked.UnixNano(), number: n}, 1000, true, asked); first != (i == 0) {
				t.Errorf("object %d of %v: first is %t", i, numbers, first)
			}
		}
		c.viewers = append(c.viewers, &viewer{tracks: []*followed{f}})
	}
	r := c.result()
	const expected = (72 - 5 + 1) + (72 - 6 + 1) + (72 - 5 + 1)
	const received = 5 + 3 + 5
	if r.ObjectsExpected != expected || r.ObjectsReceived != received || r.ObjectsLost != expected-received {
		t.Errorf("expected %d, received %d, lost %d; want %d, %d, %d",
			r.ObjectsExpected, r.ObjectsReceived, r.ObjectsLost, expected, received, expected-received)
	}
	if want := 14 * 1000 * 8 / 1e9; r.DeliveredGbit != want {
		t.Errorf("delivered %v Gbit, want %v", r.DeliveredGbit, want)
	}
}

func TestQuantiles(t *testing.T) {
	sorted := []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	for q, want := range map[float64]float64{0: 1, 0.5: 6, 0.9: 10, 1: 10} {
		if got := quantile(sorted, q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing it is %v", got)
	}
}

// A target may be given with either scheme and be measured by the other
// transport; publishers go there too unless told otherwise.
func TestBenchConfig(t *testing.T) {
	c := benchConfig{target: "https://h:4443", transport: "quic", profile: "av", viewers: 1, broadcasts: 1, duration: time.Second}
	c.client.token = "t"
	if err := c.check(); err != nil {
		t.Fatal(err)
	}
	if c.target != "moqt://h:4443" || c.publishTo != c.target || c.pubToken != "t" {
		t.Errorf("target %q, publishers at %q with %q", c.target, c.publishTo, c.pubToken)
	}
	for name, breakIt := range map[string]func(*benchConfig){
		"scheme": func(c *benchConfig) { c.target = "ftp://h" }, "profile": func(c *benchConfig) { c.profile = "film" },
		"transport": func(c *benchConfig) { c.transport = "pigeon" }, "viewers": func(c *benchConfig) { c.viewers = 0 },
		"duration": func(c *benchConfig) { c.duration = 0 },
	} {
		bad := c
		breakIt(&bad)
		if bad.check() == nil {
			t.Errorf("a wrong %s is accepted", name)
		}
	}
}
