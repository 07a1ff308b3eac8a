package token_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq/token"
)

// keyServer serves keys to a client without sockets, so that it works inside a
// bubble.
type keyServer struct {
	mu       sync.Mutex
	keys     []token.Key
	down     bool
	hanging  chan struct{} // requests wait until it is closed, or their context is done
	requests int
}

func (s *keyServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	s.requests++
	hanging := s.hanging
	s.mu.Unlock()
	if hanging != nil {
		select {
		case <-hanging:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, errors.New("connection refused")
	}
	data, err := token.MarshalJWKS(s.keys...)
	if err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	w.Write(data)
	return w.Result(), nil
}

// set changes the server.
func (s *keyServer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// wantRequests checks how often the server was asked since the last check.
func (s *keyServer) wantRequests(t *testing.T, want int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests != want {
		t.Errorf("%d requests, want %d", s.requests, want)
	}
	s.requests = 0
}

func (s *keyServer) verifier(t *testing.T) *token.Verifier {
	t.Helper()
	v, err := token.OpenVerifier(t.Context(), "https://api.example/keys?secret=hush", &http.Client{Transport: s})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func wantVerify(t *testing.T, v *token.Verifier, tok string, want error) {
	t.Helper()
	_, err := v.Verify(t.Context(), tok)
	if want == nil && err != nil || !errors.Is(err, want) {
		t.Errorf("verify: %v, want %v", err, want)
	}
	if err != nil && strings.Contains(err.Error(), "hush") {
		t.Errorf("the error quotes the URL: %v", err)
	}
}

func TestRemoteKeysAreCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second := token.GenerateKey(), token.GenerateKey()
		tok := mustMint(t, first, token.Grant{Get: []string{"live"}})
		server := &keyServer{keys: []token.Key{first.Key()}}
		v := server.verifier(t)
		server.wantRequests(t, 0)
		for range 3 {
			wantVerify(t, v, tok, nil)
		}
		server.wantRequests(t, 1)

		time.Sleep(5*time.Minute - time.Second)
		wantVerify(t, v, tok, nil)
		server.wantRequests(t, 0)
		// A key that was withdrawn is good for five minutes at most.
		server.set(func() { server.keys = []token.Key{second.Key()} })
		time.Sleep(time.Second)
		wantVerify(t, v, tok, token.ErrUnknownKey)
		server.wantRequests(t, 1)
	})
}

func TestRemoteUnknownKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, stranger := token.GenerateKey(), token.GenerateKey(), token.GenerateKey()
		g := token.Grant{Get: []string{"live"}}
		server := &keyServer{keys: []token.Key{first.Key()}}
		v := server.verifier(t)
		wantVerify(t, v, mustMint(t, first, g), nil)
		server.wantRequests(t, 1)

		// A new key is found at once, if the last attempt was not just now.
		server.set(func() { server.keys = append(server.keys, second.Key()) })
		time.Sleep(10 * time.Second)
		wantVerify(t, v, mustMint(t, second, g), nil)
		server.wantRequests(t, 1)

		// Keys that nobody knows cost a request each ten seconds, the first ten
		// seconds from now.
		for range 100 {
			wantVerify(t, v, mustMint(t, stranger, g), token.ErrUnknownKey)
			time.Sleep(time.Second)
		}
		server.wantRequests(t, 9)
		wantVerify(t, v, mustMint(t, first, g), nil)
	})
}

func TestRemoteStaleWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := token.GenerateKey()
		tok := mustMint(t, k, token.Grant{Get: []string{"live"}})
		server := &keyServer{keys: []token.Key{k.Key()}, down: true}
		v := server.verifier(t)
		wantVerify(t, v, tok, token.ErrKeys)
		wantVerify(t, v, tok, token.ErrKeys)
		server.wantRequests(t, 1)
		if _, err := v.Verify(t.Context(), tok); errors.Is(err, token.ErrInvalid) {
			t.Errorf("the token is blamed: %v", err)
		}

		server.set(func() { server.down = false })
		time.Sleep(10 * time.Second)
		wantVerify(t, v, tok, nil)
		server.wantRequests(t, 1)

		server.set(func() { server.down = true })
		time.Sleep(24 * time.Hour)
		for range 100 {
			wantVerify(t, v, tok, nil)
			time.Sleep(time.Second)
		}
		server.wantRequests(t, 10)

		// An empty set is an answer, not a failure.
		server.set(func() { server.down, server.keys = false, nil })
		time.Sleep(10 * time.Second)
		wantVerify(t, v, tok, token.ErrUnknownKey)
	})
}

// While the server hangs, tokens of known keys wait for it in one place only, and
// no longer than five seconds there.
func TestRemoteHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := token.GenerateKey()
		tok := mustMint(t, k, token.Grant{Get: []string{"live"}})
		server := &keyServer{keys: []token.Key{k.Key()}}
		v := server.verifier(t)
		wantVerify(t, v, tok, nil)

		time.Sleep(time.Hour)
		server.set(func() { server.hanging = make(chan struct{}) })
		start := time.Now()
		var waited sync.WaitGroup
		waited.Go(func() { wantVerify(t, v, tok, nil) })
		synctest.Wait()
		for range 10 {
			wantVerify(t, v, tok, nil)
		}
		if time.Since(start) != 0 {
			t.Errorf("others waited %v", time.Since(start))
		}
		waited.Wait()
		if time.Since(start) != 5*time.Second {
			t.Errorf("one waited %v", time.Since(start))
		}
		server.wantRequests(t, 2)
	})
}

// Before there are any keys all wait for one request, each as long as it wants.
func TestRemoteFirstKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := token.GenerateKey()
		tok := mustMint(t, k, token.Grant{Get: []string{"live"}})
		server := &keyServer{keys: []token.Key{k.Key()}, hanging: make(chan struct{})}
		v := server.verifier(t)
		var verifying sync.WaitGroup
		for range 10 {
			verifying.Go(func() { wantVerify(t, v, tok, nil) })
		}
		synctest.Wait()
		gone := errors.New("the client went away")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, gone)
		defer cancel()
		if _, err := v.Verify(ctx, tok); !errors.Is(err, gone) {
			t.Errorf("verify: %v", err)
		}
		close(server.hanging)
		verifying.Wait()
		server.wantRequests(t, 1)
	})
}

// A client that goes away does not spoil the request on which others rely.
func TestRemoteFirstClientGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := token.GenerateKey()
		tok := mustMint(t, k, token.Grant{Get: []string{"live"}})
		server := &keyServer{keys: []token.Key{k.Key()}, hanging: make(chan struct{})}
		v := server.verifier(t)
		ctx, cancel := context.WithCancel(t.Context())
		var verifying sync.WaitGroup
		verifying.Go(func() { v.Verify(ctx, tok) })
		synctest.Wait()
		verifying.Go(func() { wantVerify(t, v, tok, nil) })
		cancel()
		synctest.Wait()
		close(server.hanging)
		verifying.Wait()
		server.wantRequests(t, 1)
	})
}

// What a real server may answer.
func TestRemoteAnswers(t *testing.T) {
	k := token.GenerateKey()
	tok := mustMint(t, k, token.Grant{Get: []string{"live"}})
	good, err := k.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	var answer http.HandlerFunc
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w, r) }))
	defer server.Close()
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) }
	}
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   error
	}{
		{"good", text(string(good)), nil},
		{"not found", http.NotFound, token.ErrKeys},
		{"good text with a bad status", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			w.Write(good)
		}, token.ErrKeys},
		{"web page", text("<html>"), token.ErrKeyFormat},
		{"nothing", text(""), token.ErrKeyFormat},
		{"object without keys", text("{}"), token.ErrKeyFormat},
		{"one key instead of a set", text(rfc8037Public), token.ErrKeyFormat},
		{"broken key", text(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`), token.ErrKeyFormat},
		{"same ID twice", text(`{"keys":[` + rfc8037Public + `,` + rfc8037Public + `]}`), token.ErrKeyFormat},
		{"shared secret", text(`{"keys":[` + rfc7515Secret + `]}`), token.ErrKeys},
		{"private key", text(`{"keys":[` + rfc8037Private + `]}`), token.ErrUnknownKey},
		{"too large", text(string(good) + strings.Repeat(" ", 256<<10)), token.ErrKeys},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10000")
			w.Write(good)
		}, token.ErrKeys},
	} {
		answer = test.answer
		v, err := token.OpenVerifier(t.Context(), server.URL, server.Client())
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Verify(t.Context(), tok)
		if test.want == nil && err != nil || !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
		if test.want == token.ErrKeyFormat && !errors.Is(err, token.ErrKeys) {
			t.Errorf("%s: %v does not say that the keys are missing", test.name, err)
		}
	}
}
