// Package wire turns values of the MoQ protocol into bytes and back:
// control messages, stream headers, Object headers and datagrams of
// draft-ietf-moq-transport. It has no I/O, no goroutines and no clock.
//
// The values know no version. A [Draft] does: its methods encode and decode
// with that draft's tables, so that one [Subscribe] goes out in whatever form
// the peer of a session speaks. Where drafts differ in meaning and not only
// in bytes, the value holds the meaning ([Fetch].Last, for example, is always
// the last Object asked for, although draft 18 sends one more). What a draft
// has in another place, such as the Request ID in an answer, is a field that
// others do not send; what only it has is a message of its own; what it cannot
// say at all, [Draft.Fit] takes out. [Draft.Dialect] tells what a session has
// to do differently.
//
// Parsers take what has arrived so far. They return [ErrShort] when more
// bytes are needed, and an [*Error] when the peer broke a rule; its code is
// the one with which the draft wants the session closed. Every length is
// compared with a limit, or with the bytes that are really there, before
// anything is allocated for it. Values returned by parsers share no memory
// with the bytes they were parsed from, with one exception that says so:
// [Datagram].Payload.
//
// Append functions add to a slice in the manner of the append built-in. They
// fail only for values that the draft cannot express, which is a mistake of
// the caller; the error wraps [ErrInvalid] and the slice is returned as it
// was.
package wire
