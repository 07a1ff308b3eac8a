package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// Algorithm is a signature algorithm by its JSON Web Algorithms name.
type Algorithm string

// The algorithms spoken.
const (
	EdDSA Algorithm = "EdDSA" // with Ed25519 (RFC 8037)
	ES256 Algorithm = "ES256" // ECDSA with P-256 and SHA-256 (RFC 7518, section 3.4)
	HS256 Algorithm = "HS256" // HMAC with SHA-256 (RFC 7518, section 3.2)
)

// MinSecret is the smallest size of a shared secret in bytes: "A key of the same
// size as the hash output [...] or larger MUST be used" (RFC 7518, section 3.2).
const MinSecret = 32

// Key checks the signatures of tokens. Formatting it shows only its ID and
// algorithm.
type Key struct {
	id  string
	alg Algorithm
	// verify is an ed25519.PublicKey, an *ecdsa.PublicKey, or a secret.
	verify any
	scope  *Grant // what it may grant at most; nil is no limit
}

// secret returns what must not be printed: the bytes of a shared key, or a
// private key. Unlike pointers and slices, functions are never followed by fmt,
// which does not call Format on unexported fields of others' structs.
type secret func() any

func keep(v any) secret { return func() any { return v } }

// ID is the name of the key: what its source says, or else the thumbprint of a
// public key (RFC 7638). It is empty for a secret without a name.
func (k Key) ID() string { return k.id }

// Algorithm is the only algorithm that the key is good for.
func (k Key) Algorithm() Algorithm { return k.alg }

// Format implements fmt.Formatter for all verbs, so that no secret is printed.
func (k Key) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "%s key %q", k.alg, k.id)
}

// SigningKey makes tokens. Formatting it shows only its ID and algorithm.
type SigningKey struct {
	key Key
	// sign is an ed25519.PrivateKey, an *ecdsa.PrivateKey, or the []byte of a
	// shared key.
	sign secret
}

// GenerateKey makes an Ed25519 key. Its ID is its thumbprint.
func GenerateKey() *SigningKey {
	var seed [ed25519.SeedSize]byte
	rand.Read(seed[:])
	k, err := newSigningKey("", ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		panic("token: " + err.Error()) // there is no other kind of Ed25519 key
	}
	return k
}

// NewSharedKey makes an HS256 key of a secret that those who mint and those who
// verify share. The ID may be empty if there is only one key. It fails with
// ErrWeakKey when b, the secret, has fewer than MinSecret bytes.
func NewSharedKey(id string, b []byte) (*SigningKey, error) {
	if len(b) < MinSecret {
		return nil, ErrWeakKey
	}
	shared := keep(slices.Clone(b))
	return &SigningKey{key: Key{id: id, alg: HS256, verify: shared}, sign: shared}, nil
}

// newSigningKey makes a key of an asymmetric private key.
func newSigningKey(id string, private any) (*SigningKey, error) {
	var public any
	switch p := private.(type) {
	case ed25519.PrivateKey:
		public = p.Public()
	case *ecdsa.PrivateKey:
		public = &p.PublicKey
	default:
		return nil, ErrKeyType
	}
	k, err := newPublicKey(id, public)
	if err != nil {
		return nil, err
	}
	return &SigningKey{key: k, sign: keep(private)}, nil
}

// Key returns the key that checks what k signs. Of a shared key it holds the
// secret.
func (k *SigningKey) Key() Key { return k.key }

// ID is the name of the key, which its tokens bear.
func (k *SigningKey) ID() string { return k.key.id }

// Format implements fmt.Formatter for all verbs, so that no secret is printed.
func (k *SigningKey) Format(s fmt.State, _ rune) {
	if k == nil {
		io.WriteString(s, "no key")
		return
	}
	fmt.Fprintf(s, "signing %v", k.key)
}

// MarshalPEM returns the private key as a PKCS #8 block. An ID that is not the
// thumbprint, and a scope, are not in it. It fails with ErrKeyType for a shared
// key.
func (k *SigningKey) MarshalPEM() ([]byte, error) {
	if k.key.alg == HS256 {
		return nil, fmt.Errorf("%w: a shared secret has no PEM form", ErrKeyType)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.sign())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyType, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: der}), nil
}

// JWKS returns the public part as a JSON Web Key Set (RFC 7517), to be served to
// those who verify. The set of a shared key is empty.
func (k *SigningKey) JWKS() ([]byte, error) { return MarshalJWKS(k.key) }

// MarshalJWKS returns the public keys among the given ones as a JSON Web Key Set
// (RFC 7517, section 5). To rotate keys, publish the new one beside the old
// before signing with it, and keep the old until its last token has expired.
func MarshalJWKS(keys ...Key) ([]byte, error) {
	set := jwkSet{Keys: []json.RawMessage{}}
	for _, k := range keys {
		j, ok := publicJWK(k)
		if !ok {
			continue
		}
		raw, err := json.Marshal(j)
		if err != nil {
			return nil, fmt.Errorf("token: marshal key: %w", err)
		}
		set.Keys = append(set.Keys, raw)
	}
	return json.Marshal(set)
}

// newPublicKey makes a key of an asymmetric public key. Without an ID it gets
// its thumbprint.
func newPublicKey(id string, public any) (Key, error) {
	k := Key{id: id, verify: public}
	switch p := public.(type) {
	case ed25519.PublicKey:
		if len(p) != ed25519.PublicKeySize {
			return Key{}, ErrKeyFormat
		}
		k.alg = EdDSA
	case *ecdsa.PublicKey:
		if p.Curve.Params().Name != curveP256 {
			return Key{}, fmt.Errorf("%w: only P-256 of the NIST curves", ErrKeyType)
		}
		k.alg = ES256
	default:
		return Key{}, ErrKeyType
	}
	if k.id == "" {
		k.id = thumbprint(k)
	}
	return k, nil
}

// thumbprint computes the JWK thumbprint of a public key: the SHA-256 of its
// required members in the order of their names, without white space (RFC 7638,
// section 3).
func thumbprint(k Key) string {
	j, _ := publicJWK(k)
	var canonical string
	if j.Y != "" {
		canonical = fmt.Sprintf(`{"crv":%q,"kty":%q,"x":%q,"y":%q}`, j.Crv, j.Kty, j.X, j.Y)
	} else {
		canonical = fmt.Sprintf(`{"crv":%q,"kty":%q,"x":%q}`, j.Crv, j.Kty, j.X)
	}
	sum := sha256.Sum256([]byte(canonical))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// method is the implementation of an algorithm.
func (a Algorithm) method() jwt.SigningMethod { return jwt.GetSigningMethod(string(a)) }

// material is the key in the form that the method takes.
func (k Key) material() any {
	if s, ok := k.verify.(secret); ok {
		return s()
	}
	return k.verify
}
