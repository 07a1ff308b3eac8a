// Package token makes and checks the tokens that say what a MoQ session may
// publish and subscribe to.
//
// A token is a JSON Web Token (RFC 7519) with the claims of moq-token, so that
// tools which make those serve here as well:
//
//	root  string             the Namespace that put and get are relative to
//	put   string or strings  prefixes of Namespaces that may be published
//	get   string or strings  prefixes of Namespaces that may be subscribed to
//	exp   number             when it expires, in seconds since the Unix epoch
//	iat   number             when it was made
//
// A [SigningKey] mints tokens, a [Verifier] checks them, and a [Grant] is what a
// good one allows. The API of a cluster holds the signing key; its nodes know
// only the public part, from a file or from the URL where the API serves it.
//
// Three algorithms are spoken: EdDSA with Ed25519, which [GenerateKey] makes,
// HS256 with a shared secret, and ES256 with P-256. The key decides which one a
// token has to use, never the token.
//
// No error and no formatted value of this package holds a token or the private
// part of a key.
package token
