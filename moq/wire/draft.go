package wire

import (
	"fmt"
	"strconv"
)

// Draft is a version of draft-ietf-moq-transport by its number. Its methods
// encode and decode as that version does. A Draft for which Supported is
// false returns ErrDraft from all of them.
type Draft uint16

// The drafts this package implements.
const (
	Draft14 Draft = 14
	Draft16 Draft = 16
	Draft18 Draft = 18
	Draft19 Draft = 19
	Draft20 Draft = 20
	Draft21 Draft = 21 // the same bytes as draft 20
	Draft22 Draft = 22
)

// Drafts returns the drafts that package session speaks, in the order in
// which an endpoint should offer them: what most peers speak comes first.
// Codecs returns those that can be encoded and decoded.
func Drafts() []Draft { return []Draft{Draft18, Draft19, Draft22, Draft21, Draft20} }

// Codecs returns every draft that is Supported, in ascending order.
func Codecs() []Draft { return []Draft{Draft14, Draft16, Draft18, Draft19, Draft20, Draft21, Draft22} }

// ALPN returns the protocol identifier of the draft, "moqt-18": the ALPN of
// native QUIC and the subprotocol of WebTransport
// (draft-ietf-moq-transport-18, section "Session establishment"). That of
// draft 14 is "moq-00", which it shares with the drafts before it: Setup
// tells its version, and over WebTransport it names no subprotocol.
func (d Draft) ALPN() string {
	if d == Draft14 {
		return "moq-00"
	}
	return d.String()
}

// Version returns the version number of the draft, as Setup carries it in
// draft 14 (draft-ietf-moq-transport-14, section "Versions").
func (d Draft) Version() uint64 { return 0xff000000 + uint64(d) }

// String returns "moqt-" and the number.
func (d Draft) String() string { return "moqt-" + strconv.Itoa(int(d)) }

// Supported reports whether the package implements the draft.
func (d Draft) Supported() bool { return d.rules() != nil }

// ParseDraft finds the draft of Drafts with the given protocol identifier.
// Any other string gives an error that wraps ErrDraft.
func ParseDraft(alpn string) (Draft, error) {
	for _, d := range Drafts() {
		if d.ALPN() == alpn {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%w: %q", ErrDraft, alpn)
}
