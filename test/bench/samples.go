package main

import (
	"math"
	"slices"
)

// samples are the results of repeated runs.
type samples []float64

func (s samples) min() float64 { return slices.Min(s) }

// median returns the mean of the two in the middle when there is no single
// one.
func (s samples) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// round3 keeps three decimals.
func round3(v float64) float64 { return math.Round(v*1000) / 1000 }
