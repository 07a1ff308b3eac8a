package wire

import (
	"net/url"
	"strings"

	"github.com/freshet-live/freshet/moq"
)

// OptionType identifies a Setup Option
// (draft-ietf-moq-transport-18, section "Setup Options").
type OptionType uint64

// The Setup Options.
const (
	OptionPath                  OptionType = 0x01
	OptionMaxRequestID          OptionType = 0x02 // up to draft 16
	OptionAuthorizationToken    OptionType = 0x03
	OptionMaxAuthTokenCacheSize OptionType = 0x04
	OptionAuthority             OptionType = 0x05
	OptionMaxFilterRanges       OptionType = 0x06 // since draft 19
	OptionImplementation        OptionType = 0x07
	OptionMaxRequestUpdates     OptionType = 0x08 // since draft 19
)

// Setup is SETUP, the first message of each endpoint on its control stream
// (draft-ietf-moq-transport-18, section "SETUP"). In drafts before 17 it is
// CLIENT_SETUP or SERVER_SETUP.
//
// An option that the draft does not have is not sent. A numeric option that is 0 is not sent: 0 is what its absence means.
type Setup struct {
	// Path and Authority come from a client over native QUIC, and only from
	// there; nil when absent.
	Path, Authority *string
	// Tokens authorise the session, most of them with TokenUseValue.
	Tokens []Token
	// MaxAuthTokenCacheSize bounds the Tokens that the peer may register, in
	// bytes as Token.CacheSize counts them.
	MaxAuthTokenCacheSize uint64
	// Implementation is the name and version of the sender's software.
	Implementation string
	// Server tells SERVER_SETUP from CLIENT_SETUP, up to draft 16. Since then
	// there is one SETUP and it is always false.
	Server bool
	// Versions are those that a client offers, or the one that a server
	// selected, in draft 14. Without any, that draft's own is sent. A SETUP of
	// a client without any gives VERSION_NEGOTIATION_FAILED. See
	// Draft.Version.
	Versions []uint64
	// MaxRequestID is one more than the largest Request ID that the peer may
	// use until a MaxRequestID message, up to draft 16; nil counts as 0, which
	// allows no request.
	MaxRequestID *uint64
	// MaxFilterRanges is the largest number of ranges in all RangeFilters of
	// one request. Sent since draft 19; an earlier draft ignores it.
	MaxFilterRanges uint64
	// MaxRequestUpdates is the largest number of unanswered REQUEST_UPDATEs
	// on one request stream; 0 means no limit. Sent since draft 19.
	MaxRequestUpdates uint64
	// Unknown holds options that the draft does not define, as they came. A
	// receiver ignores them; a sender may use it for greasing.
	Unknown moq.Properties
}

// Type returns TypeSetup.
func (*Setup) Type() MessageType { return TypeSetup }

// CheckClient checks what a server must check in the SETUP of a client, which
// came over WebTransport or over native QUIC.
//
// Over WebTransport PATH gives INVALID_PATH and AUTHORITY INVALID_AUTHORITY.
// Otherwise a PATH that is not a URI's path-abempty with an optional query
// gives MALFORMED_PATH, an AUTHORITY that is not a URI's authority
// MALFORMED_AUTHORITY. Whether the server knows that path and that authority
// is for its owner to decide. Tokens that delete or use an alias give
// PROTOCOL_VIOLATION.
func (m *Setup) CheckClient(webTransport bool) error {
	for i := range m.Tokens {
		if a := m.Tokens[i].AliasType; a == TokenDelete || a == TokenUseAlias {
			return violation("SETUP: token with alias type %v", a)
		}
	}
	if webTransport {
		return m.refuseURI("over WebTransport")
	}
	if m.Path != nil && !validPath(*m.Path) {
		return &Error{Code: MalformedPath, Reason: "SETUP: PATH is not a path with an optional query"}
	}
	if m.Authority != nil && !validAuthority(*m.Authority) {
		return &Error{Code: MalformedAuthority, Reason: "SETUP: AUTHORITY is not the authority of a URI"}
	}
	return nil
}

// CheckSetup checks a SETUP as CheckClient and CheckServer do, and that it is
// the message of that end. fromServer tells which end sent it.
func (d Draft) CheckSetup(m *Setup, fromServer, webTransport bool) error {
	r := d.rules()
	if r == nil {
		return ErrDraft
	}
	if m.Server != (fromServer && r.dialect.ControlStream) {
		return violation("SETUP of the other end")
	}
	if fromServer {
		return m.CheckServer()
	}
	return m.CheckClient(webTransport)
}

// CheckServer checks what a client must check in the SETUP of a server: PATH
// gives INVALID_PATH and AUTHORITY INVALID_AUTHORITY.
func (m *Setup) CheckServer() error { return m.refuseURI("from a server") }

func (m *Setup) refuseURI(where string) error {
	switch {
	case m.Path != nil:
		return &Error{Code: InvalidPath, Reason: "SETUP: PATH " + where}
	case m.Authority != nil:
		return &Error{Code: InvalidAuthority, Reason: "SETUP: AUTHORITY " + where}
	}
	return nil
}

// validPath reports whether s is path-abempty [ "?" query ] of RFC 3986.
func validPath(s string) bool {
	path, query, _ := strings.Cut(s, "?")
	if path != "" && path[0] != '/' {
		return false
	}
	const pchar = "-._~!$&'()*+,;=:@"
	return uriChars(path, pchar+"/") && uriChars(query, pchar+"/?")
}

// validAuthority reports whether s is [ userinfo "@" ] host [ ":" port ] of
// RFC 3986 with a host that is not empty.
func validAuthority(s string) bool {
	if !uriChars(s, "-._~!$&'()*+,;=:@[]") {
		return false
	}
	u, err := url.Parse("moqt://" + s)
	return err == nil && u.Hostname() != "" && u.Path == ""
}

// uriChars reports whether s consists of letters, digits, percent-encoded
// bytes and the bytes of extra.
func uriChars(s, extra string) bool {
	hex := func(c byte) bool {
		return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case '0' <= c && c <= '9', 'a' <= c|0x20 && c|0x20 <= 'z':
		case c == '%':
			if i+2 >= len(s) || !hex(s[i+1]) || !hex(s[i+2]) {
				return false
			}
			i += 2
		case strings.IndexByte(extra, c) < 0:
			return false
		}
	}
	return true
}
