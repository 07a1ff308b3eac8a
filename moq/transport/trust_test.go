package transport_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet-live/freshet/moq/transport"
)

func TestTrust(t *testing.T) {
	dir := t.TempDir()
	certs, err := transport.NewCertificates(transport.CertificateConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t, transport.ListenConfig{TLS: certs.TLSConfig()})
	mine := certs.Fingerprint()
	others := certificates(t).Fingerprint()
	var colons []string
	for i := 0; i < len(mine); i += 2 {
		colons = append(colons, mine[i:i+2])
	}
	// A certificate that signs itself is its own authority.
	ca := filepath.Join(dir, "tls.crt")
	otherCA := filepath.Join(t.TempDir(), "tls.crt")
	if _, err := transport.NewCertificates(transport.CertificateConfig{Dir: filepath.Dir(otherCA)}); err != nil {
		t.Fatal(err)
	}

	unknownAuthority := func(err error) bool {
		_, ok := errors.AsType[x509.UnknownAuthorityError](err)
		return ok
	}
	for _, test := range []struct {
		name  string
		trust transport.Trust
		bad   func(error) bool // nil: it must work
	}{
		{"fingerprint", transport.Trust{FingerprintSHA256: mine}, nil},
		{"fingerprint in capitals", transport.Trust{FingerprintSHA256: strings.ToUpper(mine)}, nil},
		{"fingerprint with colons", transport.Trust{FingerprintSHA256: strings.ToUpper(strings.Join(colons, ":"))}, nil},
		{"another fingerprint", transport.Trust{FingerprintSHA256: others}, func(err error) bool { return errors.Is(err, transport.ErrFingerprint) }},
		{"authority", transport.Trust{CAFile: ca}, nil},
		{"another authority", transport.Trust{CAFile: otherCA}, unknownAuthority},
		{"insecure", transport.Trust{Insecure: true}, nil},
		{"the system's authorities", transport.Trust{}, unknownAuthority},
	} {
		for scheme, kind := range schemes {
			c, err := transport.Dial(patient(t), scheme+"://"+l.Addr().String(), transport.DialConfig{
				Trust: test.trust, Protocols: []string{"moqt-18"},
			})
			if err == nil {
				c.CloseWithError(0, "")
			}
			if test.bad == nil && err != nil || test.bad != nil && (err == nil || !test.bad(err)) {
				t.Errorf("%s, %v: %v", test.name, kind, err)
			}
		}
	}
}

func TestTrustRefusesConfigs(t *testing.T) {
	certs := certificates(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, trust := range map[string]transport.Trust{
		"short fingerprint":             {FingerprintSHA256: certs.Fingerprint()[2:]},
		"fingerprint that is not hex":   {FingerprintSHA256: "x" + certs.Fingerprint()[1:]},
		"missing file":                  {CAFile: empty + "x"},
		"file without certificate":      {CAFile: empty},
		"fingerprint and insecure":      {FingerprintSHA256: certs.Fingerprint(), Insecure: true},
		"authority's file and insecure": {CAFile: empty, Insecure: true},
	} {
		if _, err := trust.TLSConfig(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// leafOf returns the certificate that a handshake would get.
func leafOf(t *testing.T, certs *transport.Certificates) *x509.Certificate {
	t.Helper()
	pair, err := certs.TLSConfig().GetCertificate(&tls.ClientHelloInfo{})
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// leafIn returns the certificate in a file.
func leafIn(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatalf("no PEM block in %s", name)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}
