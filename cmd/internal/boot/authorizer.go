package boot

import (
	"context"
	"crypto/subtle"
	"errors"

	"github.com/freshet-live/freshet/control"
	"github.com/freshet-live/freshet/moq/token"
)

// verifier checks a token and returns what it allows.
type verifier interface {
	Verify(ctx context.Context, tok string) (token.Grant, error)
}

// authorizer decides what a MoQ session may do.
type authorizer struct {
	// verifier is nil for a node that was given no key.
	verifier verifier
	// access tells what a session without a token may watch; nil on a node
	// without the control plane.
	access *control.Access
	// bench is the bench token; empty without --bench.
	bench string
}

var errNoToken = errors.New("this node wants a token")

// benchNamespace is where `freshet bench` publishes.
const benchNamespace = "bench"

// Authorize implements relay.Authorizer.
func (a *authorizer) Authorize(ctx context.Context, tok string) (token.Grant, error) {
	switch {
	case tok == "":
		return a.anonymous(ctx)
	case a.bench != "" && subtle.ConstantTimeCompare([]byte(tok), []byte(a.bench)) == 1:
		return token.Grant{Put: []string{benchNamespace}, Get: []string{benchNamespace}}, nil
	case a.verifier == nil:
		return token.Grant{}, errors.New("this node has no key to verify tokens with")
	}
	return a.verifier.Verify(ctx, tok)
}

func (a *authorizer) anonymous(ctx context.Context) (token.Grant, error) {
	switch {
	case a.access != nil:
		p, err := a.access.Anonymous(ctx)
		return token.Grant{Get: p.Get}, err
	case a.verifier == nil:
		// Without any key there is nobody who could be told from anybody
		// else: all may watch, nobody may publish.
		return token.Grant{Get: []string{"live", "room"}}, nil
	}
	return token.Grant{}, errNoToken
}
