package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// curveP256 is the name of the curve both to crypto/elliptic and in JWKs.
const curveP256 = "P-256"

// jwkSet is a JSON Web Key Set (RFC 7517, section 5).
type jwkSet struct {
	Keys []json.RawMessage `json:"keys"`
}

// jwk is a JSON Web Key (RFC 7517, section 4; RFC 7518, section 6; RFC 8037,
// section 2), with the scope of moq-token.
type jwk struct {
	Kty    string    `json:"kty,omitempty"`
	Crv    string    `json:"crv,omitempty"`
	X      string    `json:"x,omitempty"`
	Y      string    `json:"y,omitempty"`
	D      string    `json:"d,omitempty"`
	K      string    `json:"k,omitempty"`
	Kid    string    `json:"kid,omitempty"`
	Alg    string    `json:"alg,omitempty"`
	Use    string    `json:"use,omitempty"`
	KeyOps []string  `json:"key_ops,omitempty"`
	Scope  *jwkScope `json:"scope,omitempty"`
}

// jwkScope bounds what a key may grant.
type jwkScope struct {
	Root string   `json:"root,omitempty"`
	Put  []string `json:"put,omitempty"`
	Get  []string `json:"get,omitempty"`
}

// publicJWK describes a public key; ok is false for a shared one.
func publicJWK(k Key) (j jwk, ok bool) {
	switch p := k.verify.(type) {
	case ed25519.PublicKey:
		j = jwk{Kty: "OKP", Crv: "Ed25519", X: base64.RawURLEncoding.EncodeToString(p)}
	case *ecdsa.PublicKey:
		point, err := p.Bytes() // 4, then x and y of 32 bytes each
		if err != nil {
			return jwk{}, false
		}
		j = jwk{
			Kty: "EC", Crv: curveP256,
			X: base64.RawURLEncoding.EncodeToString(point[1:33]),
			Y: base64.RawURLEncoding.EncodeToString(point[33:]),
		}
	default:
		return jwk{}, false
	}
	j.Kid, j.Alg, j.Use, j.KeyOps = k.id, string(k.alg), "sig", []string{"verify"}
	if k.scope != nil {
		j.Scope = &jwkScope{Root: k.scope.Root, Put: k.scope.Put, Get: k.scope.Get}
	}
	return j, true
}

// parseJWKSet reads the keys of a set. Those of other kinds or for other uses are
// passed over: "Implementations SHOULD ignore JWKs within a JWK Set that use
// "kty" (key type) values that are not understood by them" (RFC 7517, section 5).
func parseJWKSet(data []byte) ([]parsedKey, error) {
	var set jwkSet
	if err := json.Unmarshal(data, &set); err != nil || set.Keys == nil {
		return nil, fmt.Errorf("%w: not a JSON Web Key Set", ErrKeyFormat)
	}
	keys := make([]parsedKey, 0, len(set.Keys))
	for i, raw := range set.Keys {
		k, err := parseJWK(raw)
		switch {
		case errors.Is(err, ErrKeyType):
			continue
		case err != nil:
			return nil, fmt.Errorf("key %d of the set: %w", i, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// parseJWK reads one key, private or public.
func parseJWK(data []byte) (parsedKey, error) {
	var j jwk
	if err := json.Unmarshal(data, &j); err != nil {
		// The error of encoding/json can quote what it read.
		return parsedKey{}, fmt.Errorf("%w: not a JSON Web Key", ErrKeyFormat)
	}
	if j.Use != "" && j.Use != "sig" ||
		j.KeyOps != nil && !slices.Contains(j.KeyOps, "verify") && !slices.Contains(j.KeyOps, "sign") {
		return parsedKey{}, fmt.Errorf("%w: it is not for signatures", ErrKeyType)
	}
	k, err := j.parse()
	if err != nil {
		return parsedKey{}, err
	}
	if j.KeyOps != nil && !slices.Contains(j.KeyOps, "sign") {
		k.signing = nil
	}
	if j.Scope != nil {
		k.limit(&Grant{Root: j.Scope.Root, Put: j.Scope.Put, Get: j.Scope.Get})
	}
	return k, nil
}

func (j jwk) parse() (parsedKey, error) {
	kind := j.Kty + " " + j.Crv
	if j.Kty == "oct" || j.Kty == "" && j.K != "" {
		// Old keys of moq-token do not state their type.
		kind = "oct"
	}
	switch kind {
	case "oct":
		if j.Alg != "" && j.Alg != string(HS256) {
			return parsedKey{}, fmt.Errorf("%w: a secret, but not for HS256", ErrKeyType)
		}
		secret, err := decodeBase64(j.K)
		if err != nil {
			return parsedKey{}, fmt.Errorf("%w: member k", ErrKeyFormat)
		}
		return parsedSigning(NewSharedKey(j.Kid, secret))
	case "OKP Ed25519":
		// RFC 9864 gives the algorithm the name of the curve as well.
		if j.Alg != "" && j.Alg != string(EdDSA) && j.Alg != "Ed25519" {
			return parsedKey{}, fmt.Errorf("%w: an Ed25519 key, but not for EdDSA", ErrKeyType)
		}
		x, err := decodeBase64(j.X)
		if err != nil || len(x) != ed25519.PublicKeySize {
			return parsedKey{}, fmt.Errorf("%w: member x", ErrKeyFormat)
		}
		if j.D == "" {
			return parsedPublic(newPublicKey(j.Kid, ed25519.PublicKey(x)))
		}
		d, err := decodeBase64(j.D)
		if err != nil || len(d) != ed25519.SeedSize {
			return parsedKey{}, fmt.Errorf("%w: member d", ErrKeyFormat)
		}
		private := ed25519.NewKeyFromSeed(d)
		if !ed25519.PublicKey(x).Equal(private.Public()) {
			return parsedKey{}, fmt.Errorf("%w: the members x and d do not match", ErrKeyFormat)
		}
		return parsedSigning(newSigningKey(j.Kid, private))
	case "EC " + curveP256:
		if j.Alg != "" && j.Alg != string(ES256) {
			return parsedKey{}, fmt.Errorf("%w: a P-256 key, but not for ES256", ErrKeyType)
		}
		return j.parseP256()
	}
	return parsedKey{}, ErrKeyType
}

func (j jwk) parseP256() (parsedKey, error) {
	x, errX := decodeBase64(j.X)
	y, errY := decodeBase64(j.Y)
	if errX != nil || errY != nil || len(x) != 32 || len(y) != 32 {
		return parsedKey{}, fmt.Errorf("%w: members x and y", ErrKeyFormat)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	if err != nil {
		return parsedKey{}, fmt.Errorf("%w: not a point of the curve", ErrKeyFormat)
	}
	if j.D == "" {
		return parsedPublic(newPublicKey(j.Kid, public))
	}
	d, err := decodeBase64(j.D)
	if err != nil {
		return parsedKey{}, fmt.Errorf("%w: member d", ErrKeyFormat)
	}
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	if err != nil {
		return parsedKey{}, fmt.Errorf("%w: member d", ErrKeyFormat)
	}
	if !public.Equal(&private.PublicKey) {
		return parsedKey{}, fmt.Errorf("%w: the members x, y and d do not match", ErrKeyFormat)
	}
	return parsedSigning(newSigningKey(j.Kid, private))
}

// decodeBase64 decodes base64url or base64, with or without padding: makers of
// keys differ.
func decodeBase64(s string) ([]byte, error) {
	s = strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(s), "=")
	return base64.RawURLEncoding.DecodeString(s)
}
