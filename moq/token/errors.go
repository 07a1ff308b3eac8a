package token

import (
	"errors"
	"fmt"
)

// ErrInvalid is wrapped by all errors that say a token is no good, as opposed to
// those that say it could not be checked (ErrKeys).
var ErrInvalid = errors.New("token refused")

// Reasons to refuse a token. Each wraps ErrInvalid.
var (
	// ErrTooLarge: the token is longer than MaxSize.
	ErrTooLarge = fmt.Errorf("%w: too large", ErrInvalid)
	// ErrMalformed: it is not a signed JSON Web Token, or demands an extension
	// that is not known here.
	ErrMalformed = fmt.Errorf("%w: malformed", ErrInvalid)
	// ErrAlgorithm: its algorithm is not the one of the key, or is none.
	ErrAlgorithm = fmt.Errorf("%w: wrong algorithm", ErrInvalid)
	// ErrUnknownKey: it names a key that is not among the keys.
	ErrUnknownKey = fmt.Errorf("%w: unknown key", ErrInvalid)
	// ErrNoKeyID: it names no key, and there is not exactly one.
	ErrNoKeyID = fmt.Errorf("%w: no key ID", ErrInvalid)
	// ErrSignature: the signature is not the key's.
	ErrSignature = fmt.Errorf("%w: bad signature", ErrInvalid)
	// ErrClaims: a claim has the wrong type, or is out of range.
	ErrClaims = fmt.Errorf("%w: bad claims", ErrInvalid)
	// ErrExpired: its time is over.
	ErrExpired = fmt.Errorf("%w: expired", ErrInvalid)
	// ErrNotYetValid: its time has not come.
	ErrNotYetValid = fmt.Errorf("%w: not valid yet", ErrInvalid)
	// ErrAudience: it is meant for somebody else.
	ErrAudience = fmt.Errorf("%w: another audience", ErrInvalid)
	// ErrNothingGranted: it allows nothing, which is a mistake of its maker.
	ErrNothingGranted = fmt.Errorf("%w: nothing granted", ErrInvalid)
	// ErrScope: it allows more than its key may grant.
	ErrScope = fmt.Errorf("%w: beyond the scope of the key", ErrInvalid)
)

// Errors about keys.
var (
	// ErrKeys: the keys could not be fetched, so that nothing can be said about
	// the token.
	ErrKeys = errors.New("token: keys not available")
	// ErrKeyFormat: what should be a key is none.
	ErrKeyFormat = errors.New("token: malformed key")
	// ErrKeyType: it is a key, but of no use here, such as one for RSA.
	ErrKeyType = errors.New("token: unsupported kind of key")
	// ErrWeakKey: a shared secret is shorter than MinSecret.
	ErrWeakKey = errors.New("token: shared secret too short")
)
