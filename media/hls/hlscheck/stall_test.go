package hlscheck

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestStalls: a checker that is held up does not blame the server.
func TestStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &run{sink: newCollector()}
		begun := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		go r.stalls.watch(ctx)
		time.Sleep(time.Second)
		if r.stalls.during(begun) {
			t.Error("held up without a reason")
		}
		// A tick that comes a second late.
		r.stalls.spans = append(r.stalls.spans, span{time.Now().Add(-time.Second), time.Now()})
		r.stalls.count++
		r.late(rulePartLate, time.Now().Add(-2*time.Second), site{}, "late")
		if len(r.sink.order) != 0 {
			t.Errorf("%v", r.sink.order[0])
		}
		time.Sleep(time.Minute)
		r.late(rulePartLate, time.Now().Add(-2*time.Second), site{}, "late")
		if len(r.sink.order) != 1 {
			t.Error("a violation long after the stall is not found")
		}
		r.stalled("http://127.0.0.1/")
		if len(r.sink.order) != 2 || r.sink.order[1].Severity != Note {
			t.Error("the stall is not noted")
		}
		cancel()
		synctest.Wait()
	})
}
