package token_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/freshet-live/freshet/moq/token"
)

// The key of RFC 8037, appendix A.1, and its thumbprint, A.3.
const (
	rfc8037Private    = `{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	rfc8037Public     = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	rfc8037Thumbprint = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
)

// The keys of RFC 7515, appendices A.1.1 and A.3.1.
const (
	rfc7515Secret = `{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}`
	rfc7515P256   = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`
)

var testSecret = []byte("0123456789abcdefghijklmnopqrst-~") // not base64

func mustSigningKey(t testing.TB, data string) *token.SigningKey {
	t.Helper()
	k, err := token.ParseSigningKey([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mustKeys(t testing.TB, data []byte) []token.Key {
	t.Helper()
	keys, err := token.ParseKeys(data)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func mustMint(t testing.TB, k *token.SigningKey, g token.Grant) string {
	t.Helper()
	tok, err := k.Mint(g, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// pemOf is a key in PEM.
func pemOf(t testing.TB, blockType string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}

func TestThumbprint(t *testing.T) {
	for _, data := range []string{rfc8037Private, rfc8037Public} {
		if got := mustKeys(t, []byte(data))[0].ID(); got != rfc8037Thumbprint {
			t.Errorf("thumbprint %s, want %s", got, rfc8037Thumbprint)
		}
	}
}

// Every form of a key verifies what the key signed.
func TestKeyForms(t *testing.T) {
	ed := token.GenerateKey()
	edPEM, err := ed.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := ed.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	rawEd, err := x509.ParsePKCS8PrivateKey(mustBlock(t, edPEM))
	if err != nil {
		t.Fatal(err)
	}
	pkix, err := x509.MarshalPKIXPublicKey(rawEd.(crypto.Signer).Public())
	edPublicPEM := pemOf(t, "PUBLIC KEY", pkix, err)

	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(p256)
	p256PEM := pemOf(t, "EC PRIVATE KEY", sec1, err)
	es := mustSigningKey(t, string(p256PEM))
	esJWKS, err := es.JWKS()
	if err != nil {
		t.Fatal(err)
	}
	pkix, err = x509.MarshalPKIXPublicKey(&p256.PublicKey)
	p256PublicPEM := pemOf(t, "PUBLIC KEY", pkix, err)
	pkcs8, err := es.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}

	shared, err := token.NewSharedKey("", testSecret)
	if err != nil {
		t.Fatal(err)
	}
	binary := append(bytes.Repeat([]byte{0xfe}, 31), '\n')
	sharedBinary, err := token.NewSharedKey("", binary)
	if err != nil {
		t.Fatal(err)
	}
	oct := `{"kty":"oct","alg":"HS256","kid":"k1","k":"` + base64.StdEncoding.EncodeToString(testSecret) + `"}`
	sharedNamed, err := token.NewSharedKey("k1", testSecret)
	if err != nil {
		t.Fatal(err)
	}

	for _, test := range []struct {
		name   string
		signer *token.SigningKey
		data   []byte
	}{
		{"Ed25519 PEM, private", ed, edPEM},
		{"Ed25519 PEM, public", ed, edPublicPEM},
		{"Ed25519 JWKS", ed, jwks},
		{"Ed25519 JWK, private", mustSigningKey(t, rfc8037Private), []byte(rfc8037Private)},
		{"Ed25519 JWK, public", mustSigningKey(t, rfc8037Private), []byte(" \n" + rfc8037Public + "\n")},
		{"Ed25519 JWK as base64url", mustSigningKey(t, rfc8037Private), []byte(base64.RawURLEncoding.EncodeToString([]byte(rfc8037Public)) + "\n")},
		{"P-256 PEM, SEC 1", es, p256PEM},
		{"P-256 PEM, SEC 1 with parameters", es, append([]byte("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"), p256PEM...)},
		{"P-256 PEM, PKCS #8", es, pkcs8},
		{"P-256 PEM, public", es, p256PublicPEM},
		{"P-256 JWKS", es, esJWKS},
		{"P-256 JWK, private", mustSigningKey(t, rfc7515P256), []byte(rfc7515P256)},
		{"two PEM blocks, second", es, append(append([]byte{}, edPublicPEM...), p256PublicPEM...)},
		{"secret as text", shared, append(append([]byte("\n "), testSecret...), '\n')},
		{"secret as base64url", shared, []byte(base64.RawURLEncoding.EncodeToString(testSecret) + "\n")},
		{"secret as base64", shared, []byte(base64.StdEncoding.EncodeToString(testSecret))},
		{"secret as bytes that end with a line feed", sharedBinary, binary},
		{"secret as JWK", sharedNamed, []byte(oct)},
		{"secret as JWK without type", sharedNamed, []byte(strings.Replace(oct, `"kty":"oct",`, "", 1))},
		{"secret as JWK in base64url", sharedNamed, []byte(base64.RawURLEncoding.EncodeToString([]byte(oct)))},
		{"JWK among unknown kinds", ed, bytes.Replace(jwks, []byte(`[`), []byte(`[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"AKP","alg":"ML-DSA-44"},{"kty":"oct","use":"enc","k":"AA"},`), 1)},
	} {
		g := token.Grant{Get: []string{"live"}}
		got, err := token.NewVerifier(mustKeys(t, test.data)...).Verify(t.Context(), mustMint(t, test.signer, g))
		if err != nil || len(got.Get) != 1 || got.Get[0] != "live" {
			t.Errorf("%s: %+v, %v", test.name, got, err)
		}
		if got.KeyID != test.signer.ID() {
			t.Errorf("%s: key ID %q, want %q", test.name, got.KeyID, test.signer.ID())
		}
		// A key that can sign makes the same kind of tokens after it was read.
		again, err := token.ParseSigningKey(test.data)
		if errors.Is(err, token.ErrKeyType) {
			continue // public
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if _, err := token.NewVerifier(test.signer.Key()).Verify(t.Context(), mustMint(t, again, g)); err != nil {
			t.Errorf("%s: signed after reading: %v", test.name, err)
		}
	}
}

func mustBlock(t testing.TB, data []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(data)
	if block == nil {
		t.Fatal("no PEM block")
	}
	return block.Bytes
}

func TestPublicFormsDoNotSign(t *testing.T) {
	jwks, err := token.GenerateKey().JWKS()
	if err != nil {
		t.Fatal(err)
	}
	verifyOnly := strings.Replace(rfc8037Private, "{", `{"key_ops":["verify"],`, 1)
	for name, data := range map[string]string{
		"JWKS": string(jwks), "JWK": rfc8037Public, "a key that must only verify": verifyOnly,
	} {
		if _, err := token.ParseSigningKey([]byte(data)); !errors.Is(err, token.ErrKeyType) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestJWKSIsPublic(t *testing.T) {
	ed := mustSigningKey(t, rfc8037Private)
	shared, err := token.NewSharedKey("s", testSecret)
	if err != nil {
		t.Fatal(err)
	}
	data, err := token.MarshalJWKS(ed.Key(), shared.Key(), mustSigningKey(t, rfc7515P256).Key())
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 2 {
		t.Fatalf("%d keys, want the two that have a public part", len(set.Keys))
	}
	for _, k := range set.Keys {
		if k["d"] != nil || k["k"] != nil || k["use"] != "sig" || k["kid"] == "" || k["alg"] == "" {
			t.Errorf("published: %v", k)
		}
	}
	if data, err := shared.JWKS(); err != nil || string(data) != `{"keys":[]}` {
		t.Errorf("set of a shared key: %s, %v", data, err)
	}
	if _, err := shared.MarshalPEM(); !errors.Is(err, token.ErrKeyType) {
		t.Errorf("PEM of a shared key: %v", err)
	}
}

func TestKeysRefused(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(rsaKey)
	rsaPEM := pemOf(t, "PRIVATE KEY", der, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err = x509.MarshalECPrivateKey(p384)
	p384PEM := pemOf(t, "EC PRIVATE KEY", der, err)
	edPEM, err := token.GenerateKey().MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	const x = `"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`

	for _, test := range []struct {
		name, data string
		want       error
	}{
		{"nothing", "", token.ErrKeyFormat},
		{"white space", " \n", token.ErrKeyFormat},
		{"short secret", "secret", token.ErrWeakKey},
		{"padding alone", "====", token.ErrWeakKey},
		{"short secret in JWK", `{"kty":"oct","k":"c2VjcmV0"}`, token.ErrWeakKey},
		{"no secret in JWK", `{"kty":"oct"}`, token.ErrWeakKey},
		{"secret that is not base64", `{"kty":"oct","k":"!"}`, token.ErrKeyFormat},
		{"broken JSON", `{"kty":`, token.ErrKeyFormat},
		{"JSON of another type", `{"kty":7}`, token.ErrKeyFormat},
		{"set of another type", `{"keys":7}`, token.ErrKeyFormat},
		{"empty set", `{"keys":[]}`, token.ErrKeyType},
		{"set without a usable key", `{"keys":[{"kty":"RSA"}]}`, token.ErrKeyType},
		{"set with a broken key", `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"}]}`, token.ErrKeyFormat},
		{"same ID twice", `{"keys":[` + rfc8037Public + `,` + rfc8037Public + `]}`, token.ErrKeyFormat},
		{"RSA JWK", `{"kty":"RSA","n":"AQAB","e":"AQAB"}`, token.ErrKeyType},
		{"RSA PEM", string(rsaPEM), token.ErrKeyType},
		{"P-384 PEM", string(p384PEM), token.ErrKeyType},
		{"certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", token.ErrKeyType},
		{"PEM with broken contents", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", token.ErrKeyFormat},
		{"PEM cut off", string(edPEM[:60]), token.ErrKeyFormat},
		{"PEM and rubbish", string(edPEM) + "rubbish", token.ErrKeyFormat},
		{"for encryption", `{"kty":"OKP","crv":"Ed25519","use":"enc",` + x + `}`, token.ErrKeyType},
		{"for other operations", `{"kty":"OKP","crv":"Ed25519","key_ops":["encrypt"],` + x + `}`, token.ErrKeyType},
		{"Ed25519 key for HS256", `{"kty":"OKP","crv":"Ed25519","alg":"HS256",` + x + `}`, token.ErrKeyType},
		{"secret for EdDSA", `{"kty":"oct","alg":"EdDSA","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"}`, token.ErrKeyType},
		{"P-256 key for ES384", strings.Replace(rfc7515P256, "{", `{"alg":"ES384",`, 1), token.ErrKeyType},
		{"X25519", `{"kty":"OKP","crv":"X25519",` + x + `}`, token.ErrKeyType},
		{"d of another key", `{"kty":"OKP","crv":"Ed25519","d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",` + x + `}`, token.ErrKeyFormat},
		{"d too short", `{"kty":"OKP","crv":"Ed25519","d":"AAAA",` + x + `}`, token.ErrKeyFormat},
		{"P-256 point off the curve", `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"}`, token.ErrKeyFormat},
		{"P-256 coordinate too short", `{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}`, token.ErrKeyFormat},
		{"P-256 d of another key", strings.Replace(rfc7515P256, "jpsQ", "jpsR", 1), token.ErrKeyFormat},
		{"P-256 d too large", strings.Replace(rfc7515P256, "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI", "__________________________________________8", 1), token.ErrKeyFormat},
	} {
		_, err := token.ParseKeys([]byte(test.data))
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	if _, err := token.NewSharedKey("", testSecret[:31]); !errors.Is(err, token.ErrWeakKey) {
		t.Errorf("secret of 31 bytes: %v", err)
	}
}

// Whatever prints a key, alone or inside something else, shows no secret.
func TestSecretsAreNotPrinted(t *testing.T) {
	shared, err := token.NewSharedKey("shared", testSecret)
	if err != nil {
		t.Fatal(err)
	}
	ed := mustSigningKey(t, rfc8037Private)
	type hidden struct {
		key      token.Key
		signing  *token.SigningKey
		verifier *token.Verifier
	}
	d, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{
		shared, shared.Key(), ed, token.NewVerifier(shared.Key()), (*token.SigningKey)(nil),
		hidden{shared.Key(), shared, token.NewVerifier(shared.Key())},
		&hidden{ed.Key(), ed, token.NewVerifier(ed.Key())},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			got := fmt.Sprintf(verb, v)
			for _, secret := range [][]byte{testSecret, d} {
				for _, form := range []string{"%s", "%x", "%d", "%v", "%#v"} {
					written := strings.Trim(fmt.Sprintf(form, secret), "[]")
					if strings.Contains(got, written[:16]) {
						t.Errorf("%s of %T shows the secret: %s", verb, v, got)
					}
				}
			}
		}
	}
	if got := fmt.Sprint(shared); got != `signing HS256 key "shared"` {
		t.Errorf("printed as %s", got)
	}
}

func FuzzParseKeys(f *testing.F) {
	for _, seed := range []string{rfc8037Private, rfc8037Public, rfc7515Secret, rfc7515P256, `{"keys":[` + rfc8037Public + `]}`, string(testSecret)} {
		f.Add([]byte(seed))
	}
	edPEM, err := mustSigningKey(f, rfc8037Private).MarshalPEM()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(edPEM)
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := token.ParseKeys(data)
		if err != nil {
			if !errors.Is(err, token.ErrKeyFormat) && !errors.Is(err, token.ErrKeyType) && !errors.Is(err, token.ErrWeakKey) {
				t.Fatalf("an error without a name: %v", err)
			}
			return
		}
		set, err := token.MarshalJWKS(keys...)
		if err != nil {
			t.Fatal(err)
		}
		public := 0
		for _, k := range keys {
			if k.Algorithm() != token.HS256 {
				public++
			}
		}
		if public == 0 {
			return
		}
		if again := mustKeys(t, set); len(again) != public {
			t.Fatalf("%d of %d public keys came back", len(again), public)
		}
	})
}
