package token

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxKeyFile is how many bytes of a key file or of the answer of a JWKS URL are
// read. A key takes some 200.
const maxKeyFile = 256 << 10

// Verifier checks tokens. Its methods may be called from any goroutine, and it
// starts none.
type Verifier struct {
	source keySource
}

// Format implements fmt.Formatter for all verbs, so that no secret is printed.
func (v *Verifier) Format(s fmt.State, _ rune) { io.WriteString(s, "token verifier") }

// keySource finds the key for a token.
type keySource interface {
	// keys returns the keys to choose from for a token that names a key, or
	// none with the empty ID.
	keys(ctx context.Context, id string) (keySet, error)
}

// keySet are keys with different IDs. It implements keySource. It is never
// changed.
type keySet []Key

func (s keySet) keys(context.Context, string) (keySet, error) { return s, nil }

// choose finds the key for a token that names a key, or none with the empty ID.
func (s keySet) choose(id string) (Key, error) {
	if id == "" {
		if len(s) != 1 {
			return Key{}, ErrNoKeyID
		}
		return s[0], nil
	}
	i := slices.IndexFunc(s, func(k Key) bool { return k.id == id })
	if i < 0 {
		return Key{}, ErrUnknownKey
	}
	return s[i], nil
}

// NewVerifier makes a Verifier of given keys. If several have the same ID the
// first counts.
func NewVerifier(keys ...Key) *Verifier {
	return &Verifier{source: keySet(slices.Clone(keys))}
}

// OpenVerifier makes a Verifier of a file, read once in one of the forms of
// ParseKeys, or of the http or https URL of a JSON Web Key Set.
//
// Keys from a URL are fetched by the first Verify that needs them, so that a
// node can start before what serves them, and again when they are older than
// five minutes, or when a token names an unknown key, but ten seconds after the
// last attempt at the earliest. If that fails, the keys at hand remain good.
// Whoever controls the URL decides what is allowed: plain http is for trusted
// networks. The client, http.DefaultClient if nil, is only used for that.
func OpenVerifier(ctx context.Context, fileOrURL string, client *http.Client) (*Verifier, error) {
	if strings.HasPrefix(fileOrURL, "http://") || strings.HasPrefix(fileOrURL, "https://") {
		u, err := url.Parse(fileOrURL)
		if err != nil || u.Host == "" {
			return nil, errors.New("token: malformed URL of keys")
		}
		return &Verifier{source: newRemoteKeys(u, client)}, nil
	}
	data, err := readFile(fileOrURL)
	if err != nil {
		return nil, err
	}
	keys, err := ParseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fileOrURL, err)
	}
	return NewVerifier(keys...), nil
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("%s: %w: larger than %d bytes", name, ErrKeyFormat, maxKeyFile)
	}
	return data, nil
}

// Verify checks a token and returns what it allows until the Grant's Expires. A
// token that is no good is refused with an error that wraps ErrInvalid. ErrKeys
// means that the keys could not be had, and the cause of ctx that it was done
// before they were there. An attempt to fetch them goes on when ctx is done, for
// five seconds at most.
func (v *Verifier) Verify(ctx context.Context, token string) (Grant, error) {
	if len(token) > MaxSize {
		return Grant{}, ErrTooLarge
	}
	var key Key
	var refusal error // of findKey
	findKey := func(t *jwt.Token) (any, error) {
		key, refusal = v.findKey(ctx, t)
		return key.material(), refusal
	}
	var p payload
	_, err := parser.ParseWithClaims(token, &p, findKey)
	switch {
	case refusal != nil:
		return Grant{}, refusal
	// The library's errors are not passed on: they may quote the token.
	case errors.Is(err, jwt.ErrTokenMalformed):
		return Grant{}, ErrMalformed
	case err != nil && key.verify == nil:
		return Grant{}, ErrAlgorithm // one that was not even worth a key
	case err != nil:
		return Grant{}, ErrSignature
	}
	c, err := parseClaims(p.raw)
	if err != nil {
		return Grant{}, err
	}
	if err := c.check(time.Now()); err != nil {
		return Grant{}, err
	}
	if key.scope != nil && !c.grant.within(*key.scope) {
		return Grant{}, ErrScope
	}
	c.grant.KeyID = key.id
	return c.grant, nil
}

// parser leaves the claims to us.
var parser = jwt.NewParser(
	jwt.WithValidMethods([]string{string(EdDSA), string(ES256), string(HS256)}),
	jwt.WithStrictDecoding(),
	jwt.WithoutClaimsValidation(),
)

// findKey finds the key of a token whose header has been decoded.
func (v *Verifier) findKey(ctx context.Context, t *jwt.Token) (Key, error) {
	// "If any of the listed extension Header Parameters are not understood and
	// supported by the recipient, then the JWS is invalid" (RFC 7515, section
	// 4.1.11). None are here.
	if _, ok := t.Header["crit"]; ok {
		return Key{}, fmt.Errorf("%w: unknown extension", ErrMalformed)
	}
	id := ""
	if v, ok := t.Header["kid"]; ok {
		if id, ok = v.(string); !ok || id == "" {
			return Key{}, fmt.Errorf("%w: kid", ErrMalformed)
		}
	}
	keys, err := v.source.keys(ctx, id)
	if err != nil {
		return Key{}, err
	}
	k, err := keys.choose(id)
	if err != nil {
		return Key{}, err
	}
	// A public key must not become the secret of an HMAC, which the holder of a
	// token could make as well.
	if t.Method.Alg() != string(k.alg) {
		return Key{}, ErrAlgorithm
	}
	return k, nil
}
