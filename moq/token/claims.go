package token

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxTime is the largest value of exp and nbf: the end of the year 9999, which
// is as far as times can be written down.
const maxTime = 253402300799

// payload keeps the claims as they came until the signature has been checked.
type payload struct {
	jwt.Claims // of no use: Verify looks at the claims itself
	raw        []byte
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *payload) UnmarshalJSON(b []byte) error {
	p.raw = bytes.Clone(b)
	return nil
}

// claims are the decoded claims that count here. Others are of no concern.
type claims struct {
	grant     Grant
	notBefore time.Time
}

// parseClaims decodes with strict types. A claim that is null is one of the wrong
// type: taken for absent, or in a list for "", it would mean something else than
// its maker had in mind.
func parseClaims(raw []byte) (c claims, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil || m == nil {
		return claims{}, fmt.Errorf("%w: not an object", ErrClaims)
	}
	if _, err := dec.Token(); err != io.EOF {
		return claims{}, fmt.Errorf("%w: not one object", ErrClaims)
	}
	// "If the principal processing the claim does not identify itself with a
	// value in the "aud" claim when this claim is present, then the JWT MUST be
	// rejected." (RFC 7519, section 4.1.3) There is no such value here.
	if _, ok := m["aud"]; ok {
		return claims{}, ErrAudience
	}
	if v, ok := m["root"]; ok {
		if c.grant.Root, ok = v.(string); !ok {
			return claims{}, fmt.Errorf("%w: root", ErrClaims)
		}
	}
	for name, into := range map[string]*[]string{"put": &c.grant.Put, "get": &c.grant.Get} {
		if v, ok := m[name]; ok {
			if *into, ok = stringList(v); !ok {
				return claims{}, fmt.Errorf("%w: %s", ErrClaims, name)
			}
		}
	}
	for name, into := range map[string]*time.Time{"exp": &c.grant.Expires, "nbf": &c.notBefore, "iat": new(time.Time)} {
		if v, ok := m[name]; ok {
			if *into, ok = numericDate(v); !ok {
				return claims{}, fmt.Errorf("%w: %s", ErrClaims, name)
			}
		}
	}
	return c, nil
}

// stringList reads one string or a list of strings.
func stringList(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return []string{v}, true
	case []any:
		list := make([]string, len(v))
		for i := range v {
			s, ok := v[i].(string)
			if !ok {
				return nil, false
			}
			list[i] = s
		}
		return list, true
	}
	return nil, false
}

// numericDate reads seconds since the Unix epoch, which may have a fraction
// (RFC 7519, section 2, "NumericDate").
func numericDate(v any) (time.Time, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := n.Float64()
	if err != nil || seconds < 0 || seconds > maxTime {
		return time.Time{}, false
	}
	// Whole milliseconds are exact in a float64 up to maxTime.
	return time.UnixMilli(int64(seconds * 1000)), true
}

// check decides on verified claims at a time.
func (c claims) check(now time.Time) error {
	switch {
	case !c.grant.Expires.IsZero() && !now.Before(c.grant.Expires):
		// "The "exp" claim identifies the expiration time on or after which the
		// JWT MUST NOT be accepted" (RFC 7519, section 4.1.4).
		return ErrExpired
	case now.Before(c.notBefore):
		return ErrNotYetValid
	case len(c.grant.Put) == 0 && len(c.grant.Get) == 0:
		return ErrNothingGranted
	}
	return nil
}
