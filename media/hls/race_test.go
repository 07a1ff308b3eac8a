//go:build race

package hls

// raceDetector tells that the tests run under the race detector, which makes
// them five to ten times as slow.
const raceDetector = true
