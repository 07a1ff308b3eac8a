package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// Draft is a version of draft-ietf-moq-transport by its number. Its methods
// encode and decode as that version does. A Draft for which Supported is
// false returns ErrDraft from all of them.
type Draft uint16

// The drafts this package implements.
const (
	Draft18 Draft = 18
	Draft19 Draft = 19
)

// Drafts returns the implemented drafts in the order in which an endpoint
// should offer them: what most peers speak comes first.
func Drafts() []Draft { return []Draft{Draft18, Draft19} }

// ALPN returns the protocol identifier of the draft, "moqt-18": the ALPN of
// native QUIC and the subprotocol of WebTransport
// (draft-ietf-moq-transport-18, section "Session establishment").
func (d Draft) ALPN() string { return "moqt-" + strconv.Itoa(int(d)) }

// String returns the protocol identifier.
func (d Draft) String() string { return d.ALPN() }

// Supported reports whether the package implements the draft.
func (d Draft) Supported() bool { return d.rules() != nil }

// ParseDraft finds the implemented draft with the given protocol identifier.
// Any other string gives an error that wraps ErrDraft.
func ParseDraft(alpn string) (Draft, error) {
	if s, ok := strings.CutPrefix(alpn, "moqt-"); ok {
		if n, err := strconv.ParseUint(s, 10, 16); err == nil {
			if d := Draft(n); d.Supported() && d.ALPN() == alpn {
				return d, nil
			}
		}
	}
	return 0, fmt.Errorf("%w: %q", ErrDraft, alpn)
}
