package boot

import "testing"

// TestTokenID has one token with the two signatures that ES256 allows: it has
// to be one viewer, or a revocation is gone round.
func TestTokenID(t *testing.T) {
	id := tokenID("header.claims.signature")
	if tokenID("header.claims.another") != id {
		t.Error("another signature is another viewer")
	}
	if tokenID("header.others.signature") == id {
		t.Error("other claims are the same viewer")
	}
}
