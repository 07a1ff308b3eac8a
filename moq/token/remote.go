package token

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"
)

const (
	// keysFresh is how old keys from a URL may become. It bounds how long a key
	// that was withdrawn remains good.
	keysFresh = 5 * time.Minute
	// fetchPause is the shortest time between two attempts: tokens that name
	// keys at random must not make a node flood the one that serves them.
	fetchPause = 10 * time.Second
	// firstPause is the same before there are any keys: nodes start in any
	// order, and until then every session is refused.
	firstPause = time.Second
	// fetchTimeout bounds an attempt, and so what a token waits for.
	fetchTimeout = 5 * time.Second
)

// remoteKeys are the keys that a URL serves.
type remoteKeys struct {
	url    string // may hold a secret: not for errors
	host   string
	client *http.Client
	// fetching holds a token while nobody fetches.
	fetching chan struct{}

	mu        sync.Mutex
	set       keySet // nil before the first success
	fetched   time.Time
	attempted time.Time
	err       error // of the last attempt
}

func newRemoteKeys(u *url.URL, client *http.Client) *remoteKeys {
	if client == nil {
		client = http.DefaultClient
	}
	r := &remoteKeys{url: u.String(), host: u.Host, client: client, fetching: make(chan struct{}, 1)}
	r.fetching <- struct{}{}
	return r
}

// keys implements keySource. With good keys at hand, at most one caller waits for
// newer ones.
func (r *remoteKeys) keys(ctx context.Context, id string) (keySet, error) {
	set, need := r.state(id)
	if need == fetchNone {
		return set, nil
	}
	if need == fetchStale {
		select {
		case <-r.fetching:
		default:
			return set, nil // somebody is at it
		}
	} else {
		select {
		case <-r.fetching:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	defer func() { r.fetching <- struct{}{} }()
	// Meanwhile somebody else may have been successful, or not.
	if _, need := r.state(id); need != fetchNone && r.mayFetch() {
		r.store(r.fetch(ctx))
	}
	return r.result(ctx)
}

// need is how much a token needs a fetch.
type need int

const (
	fetchNone    need = iota // not at all
	fetchStale               // the keys are old, but may do
	fetchMissing             // there is no key to choose
)

// state returns the keys and whether a token with a key ID needs newer ones.
func (r *remoteKeys) state(id string) (keySet, need) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.set.choose(id)
	switch {
	case r.set == nil || err != nil:
		return r.set, fetchMissing
	case time.Since(r.fetched) >= keysFresh:
		return r.set, fetchStale
	}
	return r.set, fetchNone
}

// mayFetch says whether the last attempt is long enough ago.
func (r *remoteKeys) mayFetch() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	pause := fetchPause
	if r.set == nil {
		pause = firstPause
	}
	return r.attempted.IsZero() || time.Since(r.attempted) >= pause
}

// store keeps the outcome of an attempt.
func (r *remoteKeys) store(set keySet, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempted, r.err = time.Now(), err
	if err == nil {
		r.set, r.fetched = set, r.attempted
	}
}

// result returns the keys there are, or why there are none.
func (r *remoteKeys) result(ctx context.Context) (keySet, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.set != nil {
		return r.set, nil
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return nil, r.err
}

// fetch asks the server once. The attempt does not end with the ctx of the
// caller, who may be a client that went away: others need the keys as well.
func (r *remoteKeys) fetch(ctx context.Context) (keySet, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: from %s", ErrKeys, r.host)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	rsp, err := r.client.Do(req)
	if err != nil {
		// The error quotes the URL.
		if urlErr, ok := err.(*url.Error); ok {
			err = urlErr.Err
		}
		return nil, fmt.Errorf("%w: from %s: %w", ErrKeys, r.host, err)
	}
	defer rsp.Body.Close()
	if rsp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: from %s: status %d", ErrKeys, r.host, rsp.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(rsp.Body, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("%w: from %s: %w", ErrKeys, r.host, err)
	}
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("%w: from %s: more than %d bytes", ErrKeys, r.host, maxKeyFile)
	}
	parsed, err := parseJWKSet(data)
	if err != nil {
		return nil, fmt.Errorf("%w: from %s: %w", ErrKeys, r.host, err)
	}
	keys, err := verifyingKeys(parsed)
	if err != nil {
		return nil, fmt.Errorf("%w: from %s: %w", ErrKeys, r.host, err)
	}
	for _, k := range keys {
		if k.alg == HS256 {
			// A secret that a URL gives away is none.
			return nil, fmt.Errorf("%w: from %s: a shared secret among them", ErrKeys, r.host)
		}
	}
	return keys, nil
}
