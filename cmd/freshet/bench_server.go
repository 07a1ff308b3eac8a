package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// serverCost is what the relay's process used; 0 and left out without
// --server-pid.
type serverCost struct {
	CPUSeconds      float64 `json:"server_cpu_s,omitempty"`
	CPUPerGbit      float64 `json:"server_cpu_s_per_gbit,omitempty"`
	RSSMiB          float64 `json:"server_rss_mib,omitempty"`
	RSSKiBPerViewer float64 `json:"server_rss_kib_per_viewer,omitempty"`
}

// serverUse is read from /proc.
type serverUse struct {
	cpu float64 // seconds, user and system
	rss float64 // KiB
}

// ticksPerSecond is USER_HZ, which Linux fixes for user space.
const ticksPerSecond = 100

// readServer reads what a process has used so far (proc(5)).
func readServer(pid int) (serverUse, error) {
	if pid == 0 {
		return serverUse{}, nil
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return serverUse{}, fmt.Errorf("--server-pid: %w", err)
	}
	// The name, in parentheses, may hold spaces.
	_, rest, ok := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 22 {
		return serverUse{}, fmt.Errorf("--server-pid: /proc/%d/stat has too few fields", pid)
	}
	number := func(i int) float64 {
		v, err := strconv.ParseFloat(fields[i-3], 64)
		if err != nil {
			return 0
		}
		return v
	}
	pages := number(24)
	return serverUse{cpu: (number(14) + number(15)) / ticksPerSecond, rss: pages * float64(os.Getpagesize()) / 1024}, nil
}

func costOf(before, begin, end serverUse, gbit float64, viewers int) serverCost {
	c := serverCost{CPUSeconds: end.cpu - begin.cpu, RSSMiB: end.rss / 1024}
	c.RSSKiBPerViewer = (end.rss - before.rss) / float64(viewers)
	if gbit > 0 {
		c.CPUPerGbit = c.CPUSeconds / gbit
	}
	return c
}
