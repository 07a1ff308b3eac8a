package transport_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq/transport"
)

// Browsers accept a certificate by its hash only if it is valid for less than
// two weeks and has an ECDSA key on P-256 (WebTransport API, "custom certificate
// requirements").
func TestSelfMade(t *testing.T) {
	certs, err := transport.NewCertificates(transport.CertificateConfig{Hosts: []string{"relay.example", "192.0.2.7", "[2001:db8::1]"}})
	if err != nil {
		t.Fatal(err)
	}
	leaf := leafOf(t, certs)
	if d := leaf.NotAfter.Sub(leaf.NotBefore); d >= 14*24*time.Hour || d < 10*24*time.Hour {
		t.Errorf("valid for %v", d)
	}
	if key, ok := leaf.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("key %T", leaf.PublicKey)
	}
	sum := sha256.Sum256(leaf.Raw)
	if certs.Fingerprint() != hex.EncodeToString(sum[:]) || !certs.NotAfter().Equal(leaf.NotAfter) || !certs.SelfMade() {
		t.Error("it is described as another")
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "relay.example", "192.0.2.7", "2001:db8::1"} {
		if err := leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
}

func TestSelfMadeIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	open := func(hosts ...string) string {
		t.Helper()
		certs, err := transport.NewCertificates(transport.CertificateConfig{Dir: dir, Hosts: hosts})
		if err != nil {
			t.Fatal(err)
		}
		return certs.Fingerprint()
	}
	first := open()
	if open() != first {
		t.Error("another certificate after a restart")
	}
	info, err := os.Stat(filepath.Join(dir, "tls.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v", info.Mode(), err)
	}
	second := open("relay.example")
	if second == first {
		t.Error("the certificate does not have the name it was asked to have")
	}
	// A crash while it was written leaves a pair that does not match.
	if err := os.WriteFile(filepath.Join(dir, "tls.key"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if open("relay.example") == second {
		t.Error("a broken pair was taken")
	}
	// A folder that cannot be made is an error at the start.
	file := filepath.Join(dir, "tls.crt")
	if _, err := transport.NewCertificates(transport.CertificateConfig{Dir: file}); err == nil {
		t.Error("a file was taken for a folder")
	}
}

// run runs the renewal inside a bubble until the returned function is called.
func run(t *testing.T, certs *transport.Certificates) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- certs.Run(ctx) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestSelfMadeIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		certs, err := transport.NewCertificates(transport.CertificateConfig{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer run(t, certs)()
		// A configuration made before the renewal has the new one afterwards.
		first := leafOf(t, certs)
		time.Sleep(time.Until(first.NotAfter) - 3*24*time.Hour - time.Second)
		synctest.Wait()
		if !leafOf(t, certs).Equal(first) {
			t.Error("renewed more than three days before its end")
		}
		time.Sleep(time.Hour + 2*time.Second)
		synctest.Wait()
		second := leafOf(t, certs)
		if second.Equal(first) {
			t.Fatal("not renewed three days before its end")
		}
		if !leafIn(t, filepath.Join(dir, "tls.crt")).Equal(second) {
			t.Error("the new one is not in the folder")
		}
		// Years later it still is a good one.
		time.Sleep(3 * 365 * 24 * time.Hour)
		synctest.Wait()
		if leaf := leafOf(t, certs); time.Until(leaf.NotAfter) < 2*24*time.Hour || time.Now().Before(leaf.NotBefore) {
			t.Errorf("valid from %v to %v, now is %v", leaf.NotBefore, leaf.NotAfter, time.Now())
		}
	})
}

func TestFilesAreReloaded(t *testing.T) {
	// The makers of certificates write into folders of their own; the files are
	// moved over those in use, as certbot and its like do.
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	put := func(from, to string) {
		t.Helper()
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		// The times of files are real ones, and two writes may fall on one tick.
		if err := os.WriteFile(to+".new", append(data, '\n'), fs.FileMode(0o600)); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(to+".new", to); err != nil {
			t.Fatal(err)
		}
		modified = modified.Add(time.Second)
		if err := os.Chtimes(to, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		made := make([]string, 2)
		fingerprints := make([]string, 2)
		for i := range made {
			made[i] = t.TempDir()
			certs, err := transport.NewCertificates(transport.CertificateConfig{Dir: made[i]})
			if err != nil {
				t.Fatal(err)
			}
			fingerprints[i] = certs.Fingerprint()
		}
		put(filepath.Join(made[0], "tls.crt"), certFile)
		put(filepath.Join(made[0], "tls.key"), keyFile)
		certs, err := transport.NewCertificates(transport.CertificateConfig{CertFile: certFile, KeyFile: keyFile})
		if err != nil {
			t.Fatal(err)
		}
		defer run(t, certs)()
		want := func(what, fingerprint string) {
			t.Helper()
			time.Sleep(10*time.Second + time.Millisecond)
			synctest.Wait()
			if certs.Fingerprint() != fingerprint {
				t.Errorf("%s: another certificate is in use", what)
			}
		}
		want("unchanged", fingerprints[0])
		put(filepath.Join(made[1], "tls.crt"), certFile)
		want("new certificate beside the old key", fingerprints[0])
		put(filepath.Join(made[1], "tls.key"), keyFile)
		want("both new", fingerprints[1])
		if err := os.Remove(certFile); err != nil {
			t.Fatal(err)
		}
		want("certificate removed", fingerprints[1])
		put(filepath.Join(made[0], "tls.crt"), certFile)
		put(filepath.Join(made[0], "tls.key"), keyFile)
		want("back again", fingerprints[0])
		if certs.SelfMade() {
			t.Error("files are not self-made")
		}
	})
}

// modified is the time given to the file that was changed last.
var modified = time.Now().Add(-time.Hour)

func TestCertificateFilesRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := transport.NewCertificates(transport.CertificateConfig{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for name, cfg := range map[string]transport.CertificateConfig{
		"no key file":         {CertFile: cert},
		"no certificate file": {KeyFile: key},
		"missing":             {CertFile: cert, KeyFile: key + "x"},
		"taken for another":   {CertFile: key, KeyFile: cert},
	} {
		if _, err := transport.NewCertificates(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
