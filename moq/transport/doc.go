// Package transport carries MoQ sessions over QUIC: natively, one ALPN per
// draft, or as WebTransport over HTTP/3, where the draft is a subprotocol. For
// networks without UDP there is also QMux over a WebSocket. All look the same to
// a session: a [Conn] with streams, datagrams, and error codes.
//
// A [Listener] serves everything on one UDP socket: WebTransport sessions,
// native QUIC connections, and any other HTTP/3 request, which goes to an
// http.Handler. [Listener.WebSocket] adds connections from HTTP servers over
// TCP. [Dial] is the other end. [Certificates] holds the certificate
// of a listener, self-made or read from files, and replaces it while the
// listener runs.
//
// # Semantics
//
// They are those of QUIC (RFC 9000), with what differs between libraries made
// equal:
//
//   - The peer learns of a stream with the first byte, FIN, reset or
//     STOP_SENDING on it, not when it is opened.
//   - A reset stream loses what its reader has not read yet.
//   - When a connection ends, every call that waits on it, and every later one,
//     returns the reason, and bytes not yet read are lost.
//   - A code is never an error by itself: [StreamError] and [CloseError] say
//     which end sent it.
//
// Writes wait for flow and congestion control; that is the back-pressure that a
// sender is meant to feel. Neither end may call Write or Close of one stream
// from two goroutines at once; Reset and Stop may come from any goroutine, also
// while Write or Read waits.
package transport
