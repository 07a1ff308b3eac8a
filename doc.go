// Package freshet is the root of a live-streaming server that is native to
// Media over QUIC. It holds no code: see README.md for what it does and
// ARCHITECTURE.md for where to look.
package freshet
