// Package hls holds freshet's LL-HLS against the checker: its tests publish
// real encodes to a real `freshet up`, in all the ways that upset a muxer, and
// watch each with hlscheck for a minute; FRESHET_SOAK=10m for longer.
package hls
