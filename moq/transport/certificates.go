package transport

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// selfMadeValidity and clockSkew add up to less than the 14 days that
	// browsers allow a certificate which a page names by its hash
	// (serverCertificateHashes of the WebTransport API).
	selfMadeValidity = 13 * 24 * time.Hour
	maxValidity      = 14 * 24 * time.Hour
	// clockSkew is how far a client's clock may be behind.
	clockSkew = time.Hour
	// renewBefore is how long before its end a self-made certificate is
	// replaced. It leaves time to repair a folder that cannot be written.
	renewBefore = 3 * 24 * time.Hour
	// renewCheck is how often the wall clock is looked at. Timers do not count
	// the time a machine sleeps.
	renewCheck = time.Hour
	// reloadCheck is how often certificate files are looked at.
	reloadCheck = 10 * time.Second
)

// Names of the files of a self-made certificate.
const (
	selfMadeCert = "tls.crt"
	selfMadeKey  = "tls.key"
)

// CertificateConfig says where a certificate comes from: from CertFile and
// KeyFile when these are set, else it is self-made.
type CertificateConfig struct {
	// CertFile holds the chain, leaf first, and KeyFile the key, both in PEM.
	// They are loaded again when they change.
	CertFile, KeyFile string
	// Dir is where a self-made certificate and its key are kept over restarts.
	// It is created when missing. When empty they are only in memory.
	Dir string
	// Hosts are further names and addresses for a self-made certificate. It
	// always has localhost, 127.0.0.1, ::1 and the name of the machine.
	Hosts []string
	// Logger gets renewals and failures. The default discards them.
	Logger *slog.Logger
}

// Certificates is the certificate of a server. It can change while TLS
// configurations made from it are in use: handshakes take the current one.
type Certificates struct {
	cfg     CertificateConfig
	log     *slog.Logger
	current atomic.Pointer[certificate]
	// loaded and failed are the states of the files that were loaded, and that
	// were last found unusable. Only load and Run touch them.
	loaded, failed fileState
}

// certificate is one certificate with what is told of it.
type certificate struct {
	tls         tls.Certificate
	leaf        *x509.Certificate
	fingerprint string
}

// NewCertificates loads or makes the certificate. Renewal and reloading need
// Run.
func NewCertificates(cfg CertificateConfig) (*Certificates, error) {
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return nil, errors.New("transport: a certificate file needs a key file, and the reverse")
	}
	c := &Certificates{cfg: cfg, log: cfg.Logger}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if cfg.CertFile != "" {
		if err := c.load(c.statFiles()); err != nil {
			return nil, err
		}
		return c, nil
	}
	if cfg.Dir != "" {
		cert, err := loadFiles(c.selfMadeFiles())
		switch {
		case err == nil && c.suits(cert):
			c.current.Store(cert)
			return c, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			c.log.Warn("self-made certificate is unusable, making another", "error", err)
		}
	}
	if err := c.renew(); err != nil {
		return nil, err
	}
	return c, nil
}

// TLSConfig makes a server configuration that uses the current certificate at
// each handshake. ALPN is left to the caller.
func (c *Certificates) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return &c.current.Load().tls, nil
		},
	}
}

// Fingerprint is the SHA-256 of the current leaf certificate in lower-case hex:
// what Trust.FingerprintSHA256 and, as bytes, serverCertificateHashes pin.
func (c *Certificates) Fingerprint() string { return c.current.Load().fingerprint }

// NotAfter is when the current leaf certificate expires.
func (c *Certificates) NotAfter() time.Time { return c.current.Load().leaf.NotAfter }

// SelfMade says that no authority vouches for the certificate, so that clients
// have to pin it.
func (c *Certificates) SelfMade() bool { return c.cfg.CertFile == "" }

// Run renews a self-made certificate three days before it expires, and reloads
// one from files within ten seconds of a change, until ctx is done. Files that
// are unusable, such as a new certificate beside an old key, leave the current
// one in use. Run starts no goroutines and its error is always nil.
func (c *Certificates) Run(ctx context.Context) error {
	interval := reloadCheck
	if c.SelfMade() {
		interval = renewCheck
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if c.SelfMade() {
			c.checkRenewal()
		} else {
			c.checkFiles()
		}
	}
}

func (c *Certificates) checkRenewal() {
	if c.suits(c.current.Load()) {
		return
	}
	if err := c.renew(); err != nil {
		c.log.Error("cannot renew certificate", "expires", c.NotAfter(), "error", err)
		return
	}
	c.log.Info("certificate renewed", "expires", c.NotAfter(), "sha256", c.Fingerprint())
}

func (c *Certificates) checkFiles() {
	state := c.statFiles()
	if state == c.loaded || state == c.failed {
		return
	}
	if err := c.load(state); err != nil {
		c.failed = state
		c.log.Error("cannot reload certificate", "expires", c.NotAfter(), "error", err)
		return
	}
	c.log.Info("certificate reloaded", "expires", c.NotAfter(), "sha256", c.Fingerprint())
}

// fileState tells a pair of files from their later versions.
type fileState struct{ cert, key fileVersion }

type fileVersion struct {
	modified time.Time
	size     int64
}

func (c *Certificates) statFiles() fileState {
	version := func(name string) fileVersion {
		info, err := os.Stat(name)
		if err != nil {
			return fileVersion{}
		}
		return fileVersion{info.ModTime(), info.Size()}
	}
	return fileState{version(c.cfg.CertFile), version(c.cfg.KeyFile)}
}

// load makes the files, seen in the given state, the current certificate.
func (c *Certificates) load(state fileState) error {
	cert, err := loadFiles(c.cfg.CertFile, c.cfg.KeyFile)
	if err != nil {
		return err
	}
	c.loaded = state
	c.current.Store(cert)
	return nil
}

func loadFiles(certFile, keyFile string) (*certificate, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("transport: load certificate: %w", err)
	}
	return newCertificate(pair)
}

func newCertificate(pair tls.Certificate) (*certificate, error) {
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("transport: parse certificate: %w", err)
	}
	pair.Leaf = leaf
	sum := sha256.Sum256(leaf.Raw)
	return &certificate{tls: pair, leaf: leaf, fingerprint: hex.EncodeToString(sum[:])}, nil
}

func (c *Certificates) selfMadeFiles() (cert, key string) {
	return filepath.Join(c.cfg.Dir, selfMadeCert), filepath.Join(c.cfg.Dir, selfMadeKey)
}

// hosts are the names and addresses of a self-made certificate.
func (c *Certificates) hosts() (names []string, ips []net.IP) {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil && name != "" {
		hosts = append(hosts, name)
	}
	for _, h := range append(hosts, c.cfg.Hosts...) {
		if ip := net.ParseIP(strings.Trim(h, "[]")); ip != nil {
			if !slices.ContainsFunc(ips, ip.Equal) {
				ips = append(ips, ip)
			}
		} else if h != "" && !slices.Contains(names, h) {
			names = append(names, h)
		}
	}
	return names, ips
}

// suits says whether a self-made certificate can remain in use.
func (c *Certificates) suits(cert *certificate) bool {
	leaf, now := cert.leaf, time.Now()
	if now.Before(leaf.NotBefore) || now.Add(renewBefore).After(leaf.NotAfter) ||
		leaf.NotAfter.Sub(leaf.NotBefore) >= maxValidity {
		return false
	}
	names, ips := c.hosts()
	for _, name := range names {
		if !slices.Contains(leaf.DNSNames, name) {
			return false
		}
	}
	for _, ip := range ips {
		if !slices.ContainsFunc(leaf.IPAddresses, ip.Equal) {
			return false
		}
	}
	return true
}

// renew makes a certificate with a new key, keeps both in the folder if there is
// one, and makes it the current one.
func (c *Certificates) renew() error {
	names, ips := c.hosts()
	certPEM, keyPEM, err := makeSelfMade(names, ips, time.Now())
	if err != nil {
		return fmt.Errorf("transport: make certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("transport: make certificate: %w", err)
	}
	cert, err := newCertificate(pair)
	if err != nil {
		return err
	}
	if c.cfg.Dir != "" {
		if err := c.keep(certPEM, keyPEM); err != nil {
			return fmt.Errorf("transport: keep certificate: %w", err)
		}
	}
	c.current.Store(cert)
	return nil
}

// keep writes both files. A crash between the two leaves a pair that does not
// match, which the next start replaces.
func (c *Certificates) keep(certPEM, keyPEM []byte) error {
	if err := os.MkdirAll(c.cfg.Dir, 0o700); err != nil {
		return err
	}
	certFile, keyFile := c.selfMadeFiles()
	if err := replaceFile(keyFile, keyPEM, 0o600); err != nil {
		return err
	}
	return replaceFile(certFile, certPEM, 0o644)
}

// replaceFile puts a file in place at once, as a whole.
func replaceFile(name string, data []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

// makeSelfMade makes an ECDSA P-256 certificate, which is what browsers demand
// of one pinned by its hash, and signs it with its own key.
func makeSelfMade(names []string, ips []net.IP, now time.Time) (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "freshet"},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(selfMadeValidity),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              names,
		IPAddresses:           ips,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}
