package moq

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of names (draft-ietf-moq-transport-18, section "Track Naming").
const (
	// MaxNamespaceFields is the largest number of fields of a Namespace.
	MaxNamespaceFields = 32
	// MaxFullNameLength is the largest sum of the lengths of all Namespace
	// fields and the Track Name, in bytes.
	MaxFullNameLength = 4096
)

// ErrName is wrapped by the errors of Validate.
var ErrName = errors.New("moq: invalid name")

// Namespace is a Track Namespace: 0 to 32 fields of arbitrary bytes, compared
// byte for byte. Treat it as immutable: methods that extend it copy.
type Namespace []string

// ParseNamespace splits s at "/", the form used in tokens and on command
// lines. The empty string is the Namespace without fields.
func ParseNamespace(s string) Namespace {
	if s = strings.Trim(s, "/"); s == "" {
		return nil
	}
	return strings.Split(s, "/")
}

// String joins the fields with "/". It is for people and for tokens; two
// different Namespaces can have the same String. Use Key in maps.
func (n Namespace) String() string { return strings.Join(n, "/") }

// Key returns a string that is equal for equal Namespaces only.
func (n Namespace) Key() string {
	var b strings.Builder
	for _, f := range n {
		fmt.Fprintf(&b, "%d:%s", len(f), f)
	}
	return b.String()
}

// Equal reports whether n and o have the same fields.
func (n Namespace) Equal(o Namespace) bool { return len(n) == len(o) && n.HasPrefix(o) }

// HasPrefix reports whether the first fields of n are the fields of p.
func (n Namespace) HasPrefix(p Namespace) bool {
	if len(p) > len(n) {
		return false
	}
	for i, f := range p {
		if n[i] != f {
			return false
		}
	}
	return true
}

// Append returns a new Namespace with fields added at the end.
func (n Namespace) Append(fields ...string) Namespace {
	return append(append(make(Namespace, 0, len(n)+len(fields)), n...), fields...)
}

func (n Namespace) length() int {
	sum := 0
	for _, f := range n {
		sum += len(f)
	}
	return sum
}

// Validate checks the draft's limits. A field must not be empty.
func (n Namespace) Validate() error {
	if len(n) > MaxNamespaceFields {
		return fmt.Errorf("%w: namespace of %d fields, at most %d are allowed", ErrName, len(n), MaxNamespaceFields)
	}
	for i, f := range n {
		if f == "" {
			return fmt.Errorf("%w: namespace field %d is empty", ErrName, i)
		}
	}
	if l := n.length(); l > MaxFullNameLength {
		return fmt.Errorf("%w: namespace of %d bytes, at most %d are allowed", ErrName, l, MaxFullNameLength)
	}
	return nil
}

// FullTrackName names one Track within a scope.
type FullTrackName struct {
	Namespace Namespace
	Track     string
}

// String is for people: namespace fields and track name joined with "/".
func (f FullTrackName) String() string { return f.Namespace.String() + "/" + f.Track }

// Key returns a string that is equal for equal names only.
func (f FullTrackName) Key() string { return f.Namespace.Key() + "|" + f.Track }

// Validate checks the draft's limits.
func (f FullTrackName) Validate() error {
	if err := f.Namespace.Validate(); err != nil {
		return err
	}
	if l := f.Namespace.length() + len(f.Track); l > MaxFullNameLength {
		return fmt.Errorf("%w: full track name of %d bytes, at most %d are allowed", ErrName, l, MaxFullNameLength)
	}
	return nil
}
