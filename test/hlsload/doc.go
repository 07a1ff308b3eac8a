// Package hlsload holds freshet's LL-HLS under many viewers: its tests and
// benchmarks feed a node one broadcast of three pictures and a sound, serve it
// over real sockets, and have hundreds of players follow it, each over a
// connection of its own: blocking playlist requests, delta updates, and each
// part as it is hinted. One has them come straight to the node, over HTTP/2
// and TLS, beside clients that read nothing; the other has them come to an
// nginx with the configuration of docs/hls.md in front, and counts what is
// left for the node.
//
// Tests assert counts. Times are printed, by `make bench-hls-load`: they are
// the machine's as much as freshet's.
package hlsload
