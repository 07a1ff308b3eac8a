package token

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// MaxSize is the largest token in bytes. It bounds what a stranger can make a
// node decode. A token travels in a URL or in SETUP, where longer ones would
// often not arrive.
const MaxSize = 8 << 10

// Mint makes a token that grants g, issued at now. It is good until g.Expires,
// rounded down to a second, or for ever if that is zero.
//
// It refuses, with the errors of Verify, what would not be accepted: a Grant of
// nothing, one that has expired, or one beyond the scope of the key, and names
// that make it too large.
func (k *SigningKey) Mint(g Grant, now time.Time) (string, error) {
	if len(g.Put) == 0 && len(g.Get) == 0 {
		return "", ErrNothingGranted
	}
	if k.key.scope != nil && !g.within(*k.key.scope) {
		return "", ErrScope
	}
	claims := jwt.MapClaims{"iat": now.Unix()}
	if !g.Expires.IsZero() {
		expires := g.Expires.Truncate(time.Second)
		if !expires.After(now) {
			return "", ErrExpired
		}
		if expires.Unix() > maxTime {
			return "", fmt.Errorf("%w: exp", ErrClaims)
		}
		claims["exp"] = expires.Unix()
	}
	if g.Root != "" {
		claims["root"] = g.Root
	}
	if len(g.Put) > 0 {
		claims["put"] = g.Put
	}
	if len(g.Get) > 0 {
		claims["get"] = g.Get
	}
	t := jwt.NewWithClaims(k.key.alg.method(), claims)
	if k.key.id != "" {
		t.Header["kid"] = k.key.id
	}
	token, err := t.SignedString(k.sign())
	if err != nil {
		return "", fmt.Errorf("token: sign with %v: %w", k.key, err)
	}
	if len(token) > MaxSize {
		return "", ErrTooLarge
	}
	return token, nil
}
