//go:build !race

package hls

// raceDetector tells that the tests run under the race detector.
const raceDetector = false
