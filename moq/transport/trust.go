package transport

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// TLSConfig makes the client configuration for t. It fails when more than one
// field is set, the fingerprint is malformed, or the file holds no certificate.
func (t Trust) TLSConfig() (*tls.Config, error) {
	set := 0
	for _, is := range []bool{t.FingerprintSHA256 != "", t.CAFile != "", t.Insecure} {
		if is {
			set++
		}
	}
	if set > 1 {
		return nil, errors.New("transport: a fingerprint, an authorities' file and insecure exclude one another")
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS13}
	switch {
	case t.FingerprintSHA256 != "":
		want, err := parseFingerprint(t.FingerprintSHA256)
		if err != nil {
			return nil, err
		}
		// crypto/tls skips its own check of chain and name, and makes ours,
		// also when a session is resumed.
		cfg.InsecureSkipVerify = true
		cfg.VerifyConnection = func(state tls.ConnectionState) error {
			return verifyPinned(state.PeerCertificates, want, time.Now())
		}
	case t.CAFile != "":
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("transport: read authorities: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("transport: no certificate in %s", t.CAFile)
		}
	case t.Insecure:
		cfg.InsecureSkipVerify = true
	}
	return cfg, nil
}

// verifyPinned accepts a leaf certificate with the SHA-256 want, within its
// validity.
func verifyPinned(chain []*x509.Certificate, want [sha256.Size]byte, now time.Time) error {
	if len(chain) == 0 || sha256.Sum256(chain[0].Raw) != want {
		return ErrFingerprint
	}
	if now.Before(chain[0].NotBefore) || now.After(chain[0].NotAfter) {
		return x509.CertificateInvalidError{Cert: chain[0], Reason: x509.Expired}
	}
	return nil
}

// parseFingerprint reads a SHA-256 in hex, with or without colons.
func parseFingerprint(s string) (sum [sha256.Size]byte, err error) {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(s), ":", ""))
	if err != nil || len(b) != len(sum) {
		return sum, fmt.Errorf("transport: %q is not a SHA-256 fingerprint in hex", s)
	}
	return [sha256.Size]byte(b), nil
}
