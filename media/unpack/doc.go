// Package unpack turns the Tracks of a MoQ Broadcast back into frames, for the
// LL-HLS muxer, the recorder and every other consumer that wants media rather
// than Objects. It is a subscriber like any other and works at any node.
//
// It reads MSF catalogs and, where a publisher has none that it understands,
// hang's. Frames come out in the form that media.Frame promises whatever the
// publisher sent: parameter sets in band or apart, Annex B or lengths, LOC
// metadata in Properties or in front of the data.
//
// What cannot be had is skipped: after lost, evicted, reset or stalled Objects
// of video reading goes on with the next Group, and the first frame behind the
// hole says so. When a publisher is lost, Tracks are subscribed to again for
// a while. The package starts no goroutines.
package unpack
