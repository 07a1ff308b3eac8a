package transport

import (
	"errors"
	"fmt"
)

// Errors that end a connection without a code of the application.
var (
	// ErrIdleTimeout: nothing came from the peer within the idle timeout.
	ErrIdleTimeout = errors.New("transport: the peer is silent")
	// ErrHandshakeTimeout: the handshake did not finish in time.
	ErrHandshakeTimeout = errors.New("transport: handshake took too long")
	// ErrStatelessReset: the peer no longer knows the connection, as after a
	// restart.
	ErrStatelessReset = errors.New("transport: the peer has forgotten the connection")
	// ErrNoProtocol: the peer speaks none of our protocols, or negotiated none.
	ErrNoProtocol = errors.New("transport: no common protocol")
	// ErrRefused: the server takes no more connections at present.
	ErrRefused = errors.New("transport: connection refused by the server")
	// ErrFingerprint: the server's certificate is not the pinned one.
	ErrFingerprint = errors.New("transport: certificate does not match the pinned fingerprint")
	// ErrListenerClosed is returned by Accept after Close.
	ErrListenerClosed = errors.New("transport: listener closed")
	// ErrStreamClosed is returned by Write after Close.
	ErrStreamClosed = errors.New("transport: write on a closed stream")
)

// StreamError is the end of one direction of a stream by an application error
// code: RESET_STREAM or STOP_SENDING.
type StreamError struct {
	// Code is the application error code. A code of the peer that is not one of
	// WebTransport reads as 0.
	Code uint64
	// Remote says that the peer sent the code, by its reset to our Read or by
	// its STOP_SENDING to our Write. Otherwise our own Reset or Stop did.
	Remote bool
}

// Error implements error.
func (e *StreamError) Error() string {
	if e.Remote {
		return fmt.Sprintf("transport: stream ended by the peer with code %#x", e.Code)
	}
	return fmt.Sprintf("transport: stream ended with code %#x", e.Code)
}

// CloseError is the end of a connection by an application error code:
// CONNECTION_CLOSE of QUIC, WT_CLOSE_SESSION of WebTransport.
type CloseError struct {
	// Code is the application error code.
	Code uint64
	// Reason is meant for people and comes from the end that closed; the peer
	// may write anything into it.
	Reason string
	// Remote says that the peer closed the connection.
	Remote bool
}

// Error implements error.
func (e *CloseError) Error() string {
	who := "closed"
	if e.Remote {
		who = "closed by the peer"
	}
	if e.Reason == "" {
		return fmt.Sprintf("transport: connection %s with code %#x", who, e.Code)
	}
	return fmt.Sprintf("transport: connection %s with code %#x: %q", who, e.Code, e.Reason)
}

// DatagramTooLargeError refuses a datagram that does not fit into one packet.
type DatagramTooLargeError struct {
	// Max is the largest payload, in bytes, that can be sent at present.
	Max int
}

// Error implements error.
func (e *DatagramTooLargeError) Error() string {
	return fmt.Sprintf("transport: datagram is larger than %d bytes", e.Max)
}

// RefusedError is an HTTP answer to a request for WebTransport or WebSocket that
// grants none.
type RefusedError struct {
	// Status is the HTTP status code.
	Status int
	// Reason is the first line of the answer's body, cut to 256 bytes.
	Reason string
}

// Error implements error.
func (e *RefusedError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("transport: refused with HTTP status %d", e.Status)
	}
	return fmt.Sprintf("transport: refused with HTTP status %d: %q", e.Status, e.Reason)
}
