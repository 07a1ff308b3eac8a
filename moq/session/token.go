package session

import (
	"github.com/freshet-live/freshet/moq/wire"
)

// tokenCache holds the authorization tokens that the peer has registered
// (draft-ietf-moq-transport-18, section "AUTHORIZATION TOKEN Parameter").
type tokenCache struct {
	limit uint64 // the MAX_AUTH_TOKEN_CACHE_SIZE of this end, in bytes
	used  uint64
	byID  map[uint64]string
}

// resolve applies the tokens of one message and returns the value of the
// first that has one. Errors end the session. setup tells that the message is
// SETUP, where a token that does not fit is used and not kept.
func (c *tokenCache) resolve(tokens []wire.Token, setup bool) (value string, err error) {
	found := false
	use := func(v string) {
		if !found {
			value, found = v, true
		}
	}
	for _, t := range tokens {
		switch t.AliasType {
		case wire.TokenUseValue:
			use(string(t.Value))
		case wire.TokenRegister:
			if _, ok := c.byID[t.Alias]; ok {
				return "", &LocalError{Code: wire.DuplicateAuthTokenAlias, Reason: "token alias is in use"}
			}
			if size := t.CacheSize(); size <= c.limit-c.used {
				if c.byID == nil {
					c.byID = make(map[uint64]string)
				}
				c.byID[t.Alias] = string(t.Value)
				c.used += size
			} else if !setup {
				return "", &LocalError{Code: wire.AuthTokenCacheOverflow, Reason: "token cache is full"}
			}
			use(string(t.Value))
		case wire.TokenUseAlias:
			v, ok := c.byID[t.Alias]
			if !ok {
				return "", &LocalError{Code: wire.UnknownAuthTokenAlias, Reason: "unknown token alias"}
			}
			use(v)
		case wire.TokenDelete:
			v, ok := c.byID[t.Alias]
			if !ok {
				return "", &LocalError{Code: wire.UnknownAuthTokenAlias, Reason: "unknown token alias"}
			}
			c.used -= wire.Token{Value: []byte(v)}.CacheSize()
			delete(c.byID, t.Alias)
		}
	}
	return value, nil
}
