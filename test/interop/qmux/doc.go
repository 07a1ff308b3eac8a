// Package qmux runs the npm package @moq/qmux, in Node, against a listener: MoQ
// over WebSocket has to work with code that nobody here wrote.
package qmux
