package wire

import (
	"fmt"
	"log/slog"
)

// AliasType says how a Token is carried and what the receiver does with its
// alias (draft-ietf-moq-transport-18, section "AUTHORIZATION TOKEN
// Parameter").
type AliasType uint64

// The alias types.
const (
	TokenDelete   AliasType = 0x0 // retire an alias
	TokenRegister AliasType = 0x1 // use type and value, and keep them under an alias
	TokenUseAlias AliasType = 0x2 // use what was registered under an alias
	TokenUseValue AliasType = 0x3 // use type and value
)

// String returns the draft's name of the alias type.
func (a AliasType) String() string {
	switch a {
	case TokenDelete:
		return "DELETE"
	case TokenRegister:
		return "REGISTER"
	case TokenUseAlias:
		return "USE_ALIAS"
	case TokenUseValue:
		return "USE_VALUE"
	}
	return fmt.Sprintf("AliasType(%#x)", uint64(a))
}

// Token is an authorization token. Printing or logging one shows everything
// but its Value.
type Token struct {
	AliasType AliasType
	// Alias is present in DELETE, REGISTER and USE_ALIAS.
	Alias uint64
	// Type says what Value is; 0 when both sides know. Present in REGISTER
	// and USE_VALUE, as is Value.
	Type  uint64
	Value []byte
}

// CacheSize is what a registered Token costs of MAX_AUTH_TOKEN_CACHE_SIZE, in
// bytes (draft-ietf-moq-transport-18, section "MAX_AUTH_TOKEN_CACHE_SIZE").
func (t Token) CacheSize() uint64 { return 16 + uint64(len(t.Value)) }

// String hides the value.
func (t Token) String() string {
	return fmt.Sprintf("{%v alias=%d type=%d value=(%d bytes)}", t.AliasType, t.Alias, t.Type, len(t.Value))
}

// GoString hides the value.
func (t Token) GoString() string { return t.String() }

// LogValue hides the value.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText hides the value. It is what encoding/json calls, and thus what
// a JSON log handler shows of a message.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }
