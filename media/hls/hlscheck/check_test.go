package hlscheck

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// TestEnd: a broadcast that ends in order has no findings either.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOrigin()
		o.end = o.epoch.Add(1806 * segmentLength)
		rep := watchOrigin(t, o, Config{Duration: time.Minute})
		for _, f := range rep.Findings {
			t.Error(f)
		}
		if rep.Seconds > 20 {
			t.Errorf("watched for %v s", rep.Seconds)
		}
	})
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestClean: a stream that keeps all rules has no findings, through a
// discontinuity, delta updates and parts that are hinted.
func TestClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rep := watchOrigin(t, newOrigin(), Config{Duration: 70 * time.Second})
		for _, f := range append(rep.Findings, rep.Ignored...) {
			t.Error(f)
		}
		if rep.Kind != "low-latency" || len(rep.Streams) != 3 {
			t.Errorf("%s", rep.JSON())
		}
		for _, s := range rep.Streams {
			if s.Versions < 300 || s.Deltas < 150 || s.Parts < 300 || s.Hints < 200 || s.Segments < 30 {
				t.Errorf("hardly looked at: %+v", s)
			}
		}
	})
}
