// Package qmux holds the bytes of QMux (draft-ietf-quic-qmux): the frames of
// QUIC version 1 (RFC 9000, section 19) on a reliable, ordered transport, which
// here is a WebSocket. It knows no I/O, no goroutines and no clock.
//
// On a WebSocket each binary message is one QMux Record without its Size field,
// because the message has a length of its own; in draft 00, which has no
// records, each message is one frame. The subprotocol names the draft of QMux
// and the protocol above it, such as "qmux-02.moqt-18". That is what the npm
// package @moq/qmux speaks; the draft that describes it (draft-lcurley-qmux-
// websocket) would have the plain ALPN there.
package qmux
