package boot

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Ready is the content of the ready file. What the process does not have is
// left out.
type Ready struct {
	QUIC       string `json:"quic,omitempty"`
	HTTPS      string `json:"https,omitempty"`
	HTTP       string `json:"http,omitempty"`
	WebRTC     string `json:"webrtc,omitempty"`
	RTSP       string `json:"rtsp,omitempty"`
	Metrics    string `json:"metrics,omitempty"`
	PID        int    `json:"pid"`
	Room       string `json:"room,omitempty"`
	StreamKey  string `json:"stream_key,omitempty"`
	BenchToken string `json:"bench_token,omitempty"`
	// CertificateSHA256 pins the certificate, in hex.
	CertificateSHA256 string `json:"certificate_sha256,omitempty"`
}

// write renames the file into place, so that a reader never sees half of it.
// It holds secrets: only the owner may read it.
func (r Ready) write(path string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing the ready file: %w", err)
	}
	return writeSecret(path, append(b, '\n'))
}

// writeSecret replaces a file that only the owner may read.
func writeSecret(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// keepSecret reads a secret from a file, or makes it and keeps it there.
func keepSecret(path string, make func() []byte) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err == nil && len(b) > 0 {
		return b, nil
	}
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	b = make()
	return b, writeSecret(path, b)
}
