// Package session is one endpoint of Media over QUIC on one connection, in
// either role: control streams with SETUP and GOAWAY, requests on their own
// bidirectional streams, and Objects on unidirectional ones
// (draft-ietf-moq-transport-18 to -22).
//
// A [Session] joins Tracks of package moq to the network. What the peer asks
// for is served from the *moq.Track that the [Handler] names; what this end
// asks for arrives in a *moq.Track. Objects pass byte by byte: the first byte
// of an Object goes out before its last has come in.
//
// # Sending
//
// A subscription of the peer has one goroutine that waits for Subgroups and
// one per open Subgroup, each with a stream of its own. They all read the same
// Track, and they write the same bytes: the header of an Object is encoded
// once and kept in front of its payload, so that one Write of shared memory
// sends a whole Object. Only small Objects that wait together are copied, to
// leave in one Write. A Subgroup that its Track has evicted, or that is later
// than its delivery timeout, is reset, and the subscription goes on with newer
// Groups.
//
// # Receiving
//
// A unidirectional stream finds its subscription by Track Alias and copies its
// payload into the Track as it comes. A stream that overtakes the message with
// its alias waits, for a bounded time and in bounded number.
//
// # Rules
//
// A peer that breaks the protocol ends the session with the code that the
// draft names; one that asks for too much has its request refused, or its
// stream stopped. Everything that a peer can make an endpoint remember is
// bounded by [Limits]. No lock is held while waiting for the network; where
// several goroutines write to one stream they hand on a token.
//
// # Not spoken
//
// SUBSCRIBE_TRACKS is answered with NOT_SUPPORTED. Range Filters are not
// offered (MAX_FILTER_RANGES is 0). Objects in datagrams are checked and
// dropped: package moq has only Subgroups. REDIRECT is reported as an error
// and never sent. PUBLISH_STATE_NOTIFY is accepted and never sent.
package session
