package token

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Types of PEM blocks.
const (
	pemPublic  = "PUBLIC KEY"     // PKIX
	pemPrivate = "PRIVATE KEY"    // PKCS #8
	pemEC      = "EC PRIVATE KEY" // SEC 1
	pemParams  = "EC PARAMETERS"  // written by openssl beside the former
)

// parsedKey is a key from a file: signing is nil when only the public part is
// there, or the key must not sign.
type parsedKey struct {
	key     Key
	signing *SigningKey
}

func parsedSigning(k *SigningKey, err error) (parsedKey, error) {
	if err != nil {
		return parsedKey{}, err
	}
	return parsedKey{key: k.key, signing: k}, nil
}

func parsedPublic(k Key, err error) (parsedKey, error) {
	if err != nil {
		return parsedKey{}, err
	}
	return parsedKey{key: k}, nil
}

// limit sets what the key may grant at most.
func (k *parsedKey) limit(scope *Grant) {
	k.key.scope = scope
	if k.signing != nil {
		k.signing.key.scope = scope
	}
}

// ParseKeys reads the contents of a key file, which can be
//
//   - a JSON Web Key Set or JSON Web Key, private or public, also as base64url,
//     the way moq-token writes it,
//   - PEM blocks of private (PKCS #8, SEC 1) or public (PKIX) keys,
//   - a shared secret: the decoded bytes if the text is base64 or base64url of
//     at least MinSecret bytes, else the bytes of the file, without the white
//     space around them if it is text.
//
// It fails when there is no usable key, or two have the same ID.
func ParseKeys(data []byte) ([]Key, error) {
	parsed, err := parseKeys(data)
	if err != nil {
		return nil, err
	}
	if len(parsed) == 0 {
		return nil, fmt.Errorf("%w: no key of a kind that is supported", ErrKeyType)
	}
	return verifyingKeys(parsed)
}

// verifyingKeys returns the keys, whose IDs must differ: a token names one.
func verifyingKeys(parsed []parsedKey) ([]Key, error) {
	keys := make([]Key, 0, len(parsed))
	ids := make(map[string]bool, len(parsed))
	for _, p := range parsed {
		if ids[p.key.id] {
			return nil, fmt.Errorf("%w: two keys with the ID %q", ErrKeyFormat, p.key.id)
		}
		ids[p.key.id] = true
		keys = append(keys, p.key)
	}
	return keys, nil
}

// ParseSigningKey reads a key that can sign, in one of the forms that ParseKeys
// takes. If there are several keys it takes the first that can sign.
func ParseSigningKey(data []byte) (*SigningKey, error) {
	parsed, err := parseKeys(data)
	if err != nil {
		return nil, err
	}
	for _, p := range parsed {
		if p.signing != nil {
			return p.signing, nil
		}
	}
	return nil, fmt.Errorf("%w: no key that can sign", ErrKeyType)
}

func parseKeys(data []byte) ([]parsedKey, error) {
	text := bytes.TrimSpace(data)
	switch {
	case len(text) == 0:
		return nil, fmt.Errorf("%w: empty", ErrKeyFormat)
	case text[0] == '{':
		return parseJSON(text)
	case bytes.HasPrefix(text, []byte("-----BEGIN ")):
		return parsePEM(text)
	}
	if decoded, err := decodeBase64(string(text)); err == nil && len(decoded) > 0 {
		switch {
		case decoded[0] == '{' && bytes.IndexByte(decoded, '"') > 0:
			return parseJSON(decoded)
		case len(decoded) >= MinSecret:
			return secretKey(decoded)
		}
	}
	if !isText(text) {
		text = data // white space may be part of the secret
	}
	return secretKey(text)
}

func isText(b []byte) bool {
	return utf8.Valid(b) && !bytes.ContainsFunc(b, func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) })
}

func secretKey(secret []byte) ([]parsedKey, error) {
	k, err := parsedSigning(NewSharedKey("", secret))
	if err != nil {
		return nil, err
	}
	return []parsedKey{k}, nil
}

// parseJSON reads a set or a single key.
func parseJSON(data []byte) ([]parsedKey, error) {
	var set struct {
		Keys json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("%w: broken JSON", ErrKeyFormat)
	}
	if set.Keys != nil {
		return parseJWKSet(data)
	}
	k, err := parseJWK(data)
	if err != nil {
		return nil, err
	}
	return []parsedKey{k}, nil
}

func parsePEM(data []byte) ([]parsedKey, error) {
	var keys []parsedKey
	for len(bytes.TrimSpace(data)) > 0 {
		block, rest := pem.Decode(data)
		if block == nil {
			return nil, fmt.Errorf("%w: broken PEM", ErrKeyFormat)
		}
		data = rest
		if block.Type == pemParams {
			continue
		}
		k, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func parseBlock(block *pem.Block) (parsedKey, error) {
	var private any
	var err error
	switch block.Type {
	case pemPublic:
		public, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return parsedKey{}, errPEM
		}
		return parsedPublic(newPublicKey("", public))
	case pemPrivate:
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case pemEC:
		private, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return parsedKey{}, fmt.Errorf("%w: PEM block %q", ErrKeyType, block.Type)
	}
	if err != nil {
		return parsedKey{}, errPEM
	}
	return parsedSigning(newSigningKey("", private))
}

// errPEM does not wrap the error of crypto/x509, which is not known never to
// quote what it read.
var errPEM = fmt.Errorf("%w: broken PEM block", ErrKeyFormat)
