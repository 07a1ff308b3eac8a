package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// modeVariable makes the test binary one of the programs of this command.
const modeVariable = "FRESHET_BENCH_TEST_MODE"

func TestMain(m *testing.M) {
	if os.Getenv(modeVariable) != "" {
		if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
			println(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// The floor and the ideal deliver the video that `freshet bench` sends, to
// every viewer, and cost something.
func TestTwins(t *testing.T) {
	t.Setenv(modeVariable, "1")
	for _, kind := range []string{"floor", "ideal"} {
		t.Run(kind, func(t *testing.T) {
			s, err := start(t.Context(), os.Args[0], "serve-"+kind)
			if err != nil {
				t.Fatal(err)
			}
			defer s.stop()
			addr, err := s.line(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			const viewers = 3
			out, err := exec.Command(os.Args[0], "watch-"+kind, addr, strconv.Itoa(viewers), "1s", strconv.Itoa(s.pid())).Output()
			if err != nil {
				t.Fatal(err)
			}
			var r load
			if err := json.Unmarshal(out, &r); err != nil {
				t.Fatalf("%q: %v", out, err)
			}
			perSecond := float64(keySize+(frameRate-1)*frameSize) * 8 / 1e9 * viewers
			// The window cuts a second anywhere, and a busy machine is late.
			if rate := r.DeliveredGbit / r.Seconds; rate < perSecond/3 || rate > perSecond*2 {
				t.Errorf("delivered %.4f Gbit/s, want about %.4f", rate, perSecond)
			}
		})
	}
}

func TestUnknownPart(t *testing.T) {
	if err := run(t.Context(), []string{"-only", "nothing"}, new(bytes.Buffer)); err == nil {
		t.Error("a part that does not exist was run")
	}
}

func TestSamples(t *testing.T) {
	for _, test := range []struct {
		s           samples
		min, median float64
	}{
		{samples{3}, 3, 3},
		{samples{3, 1}, 1, 2},
		{samples{9, 1, 2}, 1, 2},
		{samples{4, 8, 1, 2}, 1, 3},
	} {
		if got := test.s.min(); got != test.min {
			t.Errorf("min(%v) = %v, want %v", test.s, got, test.min)
		}
		if got := test.s.median(); got != test.median {
			t.Errorf("median(%v) = %v, want %v", test.s, got, test.median)
		}
	}
}

// A process that has computed for a while has used that much, and more memory
// than nothing.
func TestOwnUse(t *testing.T) {
	before, err := cpuSeconds(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for end, sum := time.Now().Add(200*time.Millisecond), 0; time.Now().Before(end); sum++ {
	}
	after, err := cpuSeconds(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after <= before {
		t.Errorf("CPU time went from %v to %v s", before, after)
	}
	if kib, err := residentKiB(os.Getpid()); err != nil || kib < 1024 {
		t.Errorf("resident memory %v KiB, %v", kib, err)
	}
}
