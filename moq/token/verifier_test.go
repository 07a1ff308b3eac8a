package token_test

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet-live/freshet/moq"
	"github.com/freshet-live/freshet/moq/token"
)

// forge makes a token of a header and a payload as they are, signed by sign.
func forge(header, payload string, sign func(input string) []byte) string {
	input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload))
	return input + "." + base64.RawURLEncoding.EncodeToString(sign(input))
}

// signEd signs with the key of RFC 8037.
func signEd(input string) []byte {
	seed, err := base64.RawURLEncoding.DecodeString("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
	if err != nil {
		panic(err)
	}
	return ed25519.Sign(ed25519.NewKeyFromSeed(seed), []byte(input))
}

// signHMAC signs with HS256 and a secret.
func signHMAC(secret []byte) func(string) []byte {
	return func(input string) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	}
}

func unsigned(string) []byte { return nil }

const (
	goodHeader  = `{"alg":"EdDSA"}`
	goodPayload = `{"get":"live"}`
)

// Tokens that npm @moq/token made with its own keys are understood.
func TestMoqTokenVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/moq-token.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Cases []struct {
			Key    json.RawMessage
			Tokens []struct {
				Token  string
				Claims struct {
					Root string
					Put  any
					Get  any
					Exp  int64
				}
			}
		}
	}
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	list := func(v any) (l []string) {
		switch v := v.(type) {
		case string:
			return []string{v}
		case []any:
			for _, s := range v {
				l = append(l, s.(string))
			}
		}
		return l
	}
	tokens := 0
	for _, c := range vectors.Cases {
		keys := mustKeys(t, c.Key)
		for _, tok := range c.Tokens {
			tokens++
			got, err := token.NewVerifier(keys...).Verify(t.Context(), tok.Token)
			if err != nil {
				t.Errorf("%v: %v", keys, err)
				continue
			}
			want := token.Grant{Root: tok.Claims.Root, Put: list(tok.Claims.Put), Get: list(tok.Claims.Get), KeyID: keys[0].ID()}
			if tok.Claims.Exp != 0 {
				want.Expires = time.Unix(tok.Claims.Exp, 0)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%v: %+v, want %+v", keys, got, want)
			}
		}
	}
	if tokens != 6 {
		t.Errorf("%d tokens, want 6", tokens)
	}
}

// The signatures of RFC 7515, appendices A.1 and A.3, are good; the tokens
// expired in 2011. In a bubble it is the year 2000, and then it is their lack of
// grants that speaks against them.
func TestRFC7515Vectors(t *testing.T) {
	const payload = ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
	for _, test := range []struct{ name, key, token string }{
		{"A.1", rfc7515Secret, "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" + payload + "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"},
		{"A.3", rfc7515P256, "eyJhbGciOiJFUzI1NiJ9" + payload + "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"},
	} {
		v := token.NewVerifier(mustKeys(t, []byte(test.key))...)
		if _, err := v.Verify(t.Context(), test.token); !errors.Is(err, token.ErrExpired) {
			t.Errorf("%s: %v", test.name, err)
		}
		synctest.Test(t, func(t *testing.T) {
			if _, err := v.Verify(t.Context(), test.token); !errors.Is(err, token.ErrNothingGranted) {
				t.Errorf("%s in 2000: %v", test.name, err)
			}
		})
		if _, err := v.Verify(t.Context(), strings.Replace(test.token, "eyJpc3Mi", "eyJpc3Nj", 1)); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s changed: %v", test.name, err)
		}
	}
}

func TestMintVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := token.GenerateKey()
		expires := time.Now().Add(time.Hour)
		g := token.Grant{Root: "live", Put: []string{"demo"}, Get: []string{"", "other"}, Expires: expires.Add(700 * time.Millisecond)}
		tok := mustMint(t, k, g)
		v := token.NewVerifier(token.GenerateKey().Key(), k.Key())
		got, err := v.Verify(t.Context(), tok)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Expires.Equal(expires) {
			t.Errorf("expires %v, want %v: rounded down to a second", got.Expires, expires)
		}
		g.Expires, g.KeyID = got.Expires, k.ID()
		if !reflect.DeepEqual(got, g) {
			t.Errorf("%+v, want %+v", got, g)
		}
		if !got.AllowPut(moq.Namespace{"live", "demo"}) || got.AllowPut(moq.Namespace{"live"}) {
			t.Error("the grant came back as another")
		}

		time.Sleep(time.Hour - time.Nanosecond)
		if _, err := v.Verify(t.Context(), tok); err != nil {
			t.Errorf("just before it expires: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := v.Verify(t.Context(), tok); !errors.Is(err, token.ErrExpired) {
			t.Errorf("when it expires: %v", err)
		}
	})
}

func TestMintForEver(t *testing.T) {
	k := token.GenerateKey()
	got, err := token.NewVerifier(k.Key()).Verify(t.Context(), mustMint(t, k, token.Grant{Get: []string{""}}))
	if err != nil || !got.Expires.IsZero() {
		t.Errorf("expires %v: %v", got.Expires, err)
	}
}

func TestMintRefused(t *testing.T) {
	k := token.GenerateKey()
	now := time.Now()
	for _, test := range []struct {
		name string
		g    token.Grant
		want error
	}{
		{"nothing", token.Grant{Root: "live"}, token.ErrNothingGranted},
		{"expired", token.Grant{Get: []string{""}, Expires: now.Add(-time.Hour)}, token.ErrExpired},
		{"expires at once", token.Grant{Get: []string{""}, Expires: now.Truncate(time.Second)}, token.ErrExpired},
		{"expires in another age", token.Grant{Get: []string{""}, Expires: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, token.ErrClaims},
		{"too large", token.Grant{Get: []string{strings.Repeat("x", token.MaxSize)}}, token.ErrTooLarge},
	} {
		if tok, err := k.Mint(test.g, now); !errors.Is(err, test.want) || tok != "" {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

func TestNotYetValid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := token.NewVerifier(mustKeys(t, []byte(rfc8037Public))...)
		tok := forge(goodHeader, fmt.Sprintf(`{"get":"live","nbf":%d}`, time.Now().Add(time.Minute).Unix()), signEd)
		if _, err := v.Verify(t.Context(), tok); !errors.Is(err, token.ErrNotYetValid) {
			t.Errorf("a minute early: %v", err)
		}
		time.Sleep(time.Minute)
		if _, err := v.Verify(t.Context(), tok); err != nil {
			t.Errorf("in time: %v", err)
		}
	})
}

func TestRefused(t *testing.T) {
	public := mustKeys(t, []byte(rfc8037Public))
	x, err := base64.RawURLEncoding.DecodeString("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
	if err != nil {
		t.Fatal(err)
	}
	good := forge(goodHeader, goodPayload, signEd)
	parts := strings.Split(good, ".")
	kid := func(id string) string { return `{"alg":"EdDSA","kid":` + id + `}` }

	for _, test := range []struct {
		name, token string
		want        error
	}{
		{"empty", "", token.ErrMalformed},
		{"no token", "hello", token.ErrMalformed},
		{"two parts", parts[0] + "." + parts[1], token.ErrMalformed},
		{"four parts", good + ".AAAA", token.ErrMalformed},
		{"encrypted (five parts)", good + ".AAAA.AAAA", token.ErrMalformed},
		{"header that is not base64", "!." + parts[1] + "." + parts[2], token.ErrMalformed},
		{"header that is not JSON", "AAAA." + parts[1] + "." + parts[2], token.ErrMalformed},
		{"signature that is not base64", parts[0] + "." + parts[1] + ".!", token.ErrMalformed},
		// 64 bytes leave four bits of the last character unused.
		{"another spelling of the signature", good[:len(good)-1] + string(good[len(good)-1]+1), token.ErrMalformed},
		{"space at the end", good + " ", token.ErrMalformed},
		{"8 KiB and a byte", good + strings.Repeat("A", token.MaxSize+1-len(good)), token.ErrTooLarge},
		{"8 KiB that are no token", strings.Repeat("A", token.MaxSize), token.ErrMalformed},

		{"alg none", forge(`{"alg":"none"}`, goodPayload, unsigned), token.ErrAlgorithm},
		{"alg none in capitals", forge(`{"alg":"NONE"}`, goodPayload, unsigned), token.ErrAlgorithm},
		{"alg none with the signature", forge(`{"alg":"none"}`, goodPayload, signEd), token.ErrAlgorithm},
		{"alg empty", forge(`{"alg":""}`, goodPayload, unsigned), token.ErrAlgorithm},
		{"alg missing", forge(`{}`, goodPayload, signEd), token.ErrAlgorithm},
		{"alg of another type", forge(`{"alg":7}`, goodPayload, signEd), token.ErrAlgorithm},
		{"alg in another case", forge(`{"alg":"eddsa"}`, goodPayload, signEd), token.ErrAlgorithm},
		{"alg under a name in another case", forge(`{"ALG":"EdDSA"}`, goodPayload, signEd), token.ErrAlgorithm},
		{"alg that does not exist", forge(`{"alg":"XS256"}`, goodPayload, signEd), token.ErrAlgorithm},
		{"alg that is not spoken", forge(`{"alg":"HS512"}`, goodPayload, signEd), token.ErrAlgorithm},
		{"alg of another key", forge(`{"alg":"ES256"}`, goodPayload, signEd), token.ErrAlgorithm},
		{"HS256 with the public key", forge(`{"alg":"HS256"}`, goodPayload, signHMAC(x)), token.ErrAlgorithm},
		{"HS256 with the public JWK", forge(`{"alg":"HS256"}`, goodPayload, signHMAC([]byte(rfc8037Public))), token.ErrAlgorithm},
		{"HS256 with the public key, by its ID", forge(`{"alg":"HS256","kid":"`+rfc8037Thumbprint+`"}`, goodPayload, signHMAC(x)), token.ErrAlgorithm},
		{"key inside the header", forge(`{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}`, goodPayload, signHMAC([]byte{0, 0, 0})), token.ErrAlgorithm},

		{"unknown key", forge(kid(`"stranger"`), goodPayload, signEd), token.ErrUnknownKey},
		{"key ID of another type", forge(kid(`7`), goodPayload, signEd), token.ErrMalformed},
		{"key ID null", forge(kid(`null`), goodPayload, signEd), token.ErrMalformed},
		{"key ID empty", forge(kid(`""`), goodPayload, signEd), token.ErrMalformed},
		{"critical extension", forge(`{"alg":"EdDSA","crit":["b64"],"b64":true}`, goodPayload, signEd), token.ErrMalformed},

		{"no signature", parts[0] + "." + parts[1] + ".", token.ErrSignature},
		{"signature cut", parts[0] + "." + parts[1] + "." + parts[2][:40], token.ErrSignature},
		{"signature of another payload", strings.Split(forge(goodHeader, `{"put":""}`, unsigned), ".")[0] + "." +
			strings.Split(forge(goodHeader, `{"put":""}`, unsigned), ".")[1] + "." + parts[2], token.ErrSignature},
		{"another header", strings.Split(forge(kid(`"`+rfc8037Thumbprint+`"`), "", unsigned), ".")[0] + "." + parts[1] + "." + parts[2], token.ErrSignature},
		{"bad claims of a stranger", forge(goodHeader, `{"put":7}`, unsigned), token.ErrSignature},

		{"payload that is not JSON", forge(goodHeader, `{`, signEd), token.ErrMalformed},
		{"payload empty", forge(goodHeader, ``, signEd), token.ErrMalformed},
		{"payload null", forge(goodHeader, `null`, signEd), token.ErrClaims},
		{"payload a list", forge(goodHeader, `[]`, signEd), token.ErrClaims},
		{"payload a string", forge(goodHeader, `"live"`, signEd), token.ErrClaims},
		{"two objects", forge(goodHeader, `{"get":"a"}{"put":"b"}`, signEd), token.ErrMalformed},
		{"root a number", forge(goodHeader, `{"root":7,"get":"live"}`, signEd), token.ErrClaims},
		{"root null", forge(goodHeader, `{"root":null,"get":"live"}`, signEd), token.ErrClaims},
		{"root a list", forge(goodHeader, `{"root":["live"],"get":"live"}`, signEd), token.ErrClaims},
		{"put a number", forge(goodHeader, `{"put":7}`, signEd), token.ErrClaims},
		{"put true", forge(goodHeader, `{"put":true}`, signEd), token.ErrClaims},
		{"put null", forge(goodHeader, `{"put":null,"get":"live"}`, signEd), token.ErrClaims},
		{"put an object", forge(goodHeader, `{"put":{"live":true}}`, signEd), token.ErrClaims},
		{"put with null inside", forge(goodHeader, `{"put":[null]}`, signEd), token.ErrClaims},
		{"get with a number inside", forge(goodHeader, `{"get":["live",7]}`, signEd), token.ErrClaims},
		{"get with a list inside", forge(goodHeader, `{"get":[["live"]]}`, signEd), token.ErrClaims},
		{"exp a string", forge(goodHeader, `{"get":"live","exp":"4102444800"}`, signEd), token.ErrClaims},
		{"exp null", forge(goodHeader, `{"get":"live","exp":null}`, signEd), token.ErrClaims},
		{"exp huge", forge(goodHeader, `{"get":"live","exp":1e300}`, signEd), token.ErrClaims},
		{"exp beyond all numbers", forge(goodHeader, `{"get":"live","exp":1e999}`, signEd), token.ErrClaims},
		{"exp in milliseconds", forge(goodHeader, `{"get":"live","exp":4102444800000}`, signEd), token.ErrClaims},
		{"exp negative", forge(goodHeader, `{"get":"live","exp":-1}`, signEd), token.ErrClaims},
		{"nbf a string", forge(goodHeader, `{"get":"live","nbf":"0"}`, signEd), token.ErrClaims},
		{"iat a string", forge(goodHeader, `{"get":"live","iat":"0"}`, signEd), token.ErrClaims},
		{"exp zero", forge(goodHeader, `{"get":"live","exp":0}`, signEd), token.ErrExpired},
		{"exp past", forge(goodHeader, `{"get":"live","exp":1000000000}`, signEd), token.ErrExpired},
		{"nbf far", forge(goodHeader, `{"get":"live","nbf":4102444800}`, signEd), token.ErrNotYetValid},
		{"nothing granted", forge(goodHeader, `{"root":"live"}`, signEd), token.ErrNothingGranted},
		{"empty lists", forge(goodHeader, `{"put":[],"get":[]}`, signEd), token.ErrNothingGranted},
		{"claims in another case", forge(goodHeader, `{"Put":"live","GET":"live"}`, signEd), token.ErrNothingGranted},
		{"for somebody else", forge(goodHeader, `{"get":"live","aud":"mail"}`, signEd), token.ErrAudience},
	} {
		got, err := token.NewVerifier(public...).Verify(t.Context(), test.token)
		if !errors.Is(err, test.want) || !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
			continue
		}
		if !reflect.DeepEqual(got, token.Grant{}) {
			t.Errorf("%s: refused, and yet it grants %+v", test.name, got)
		}
		// The texts are fixed ones: nothing of the token is in them.
		for _, part := range strings.Split(test.token, ".") {
			if len(part) > 3 && part != "hello" && strings.Contains(err.Error(), part) {
				t.Errorf("%s: the error quotes the token: %v", test.name, err)
			}
		}
		for _, word := range []string{"live", "stranger", "mail", "XS256", "HS512", "b64"} {
			if strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error quotes the token: %v", test.name, err)
			}
		}
	}
	// The same signature is accepted where nothing was changed.
	if _, err := token.NewVerifier(public...).Verify(t.Context(), good); err != nil {
		t.Errorf("good: %v", err)
	}
}

// A token without a key ID is good for the only key, and for none of several.
func TestChoiceOfKey(t *testing.T) {
	ed := mustKeys(t, []byte(rfc8037Public))[0]
	other := token.GenerateKey().Key()
	shared, err := token.NewSharedKey("", testSecret)
	if err != nil {
		t.Fatal(err)
	}
	anonymous := forge(goodHeader, goodPayload, signEd)
	named := forge(`{"alg":"EdDSA","kid":"`+rfc8037Thumbprint+`"}`, goodPayload, signEd)
	namesOther := forge(`{"alg":"EdDSA","kid":"`+other.ID()+`"}`, goodPayload, signEd)
	byShared := mustMint(t, shared, token.Grant{Get: []string{""}})
	for _, test := range []struct {
		name  string
		keys  []token.Key
		token string
		want  error
	}{
		{"no ID, one key", []token.Key{ed}, anonymous, nil},
		{"no ID, two keys", []token.Key{ed, other}, anonymous, token.ErrNoKeyID},
		{"no ID, no key", nil, anonymous, token.ErrNoKeyID},
		{"ID, one key", []token.Key{ed}, named, nil},
		{"ID, two keys", []token.Key{other, ed}, named, nil},
		{"ID, not among them", []token.Key{other}, named, token.ErrUnknownKey},
		{"ID, no key", nil, named, token.ErrUnknownKey},
		{"ID of a key that did not sign", []token.Key{ed, other}, namesOther, token.ErrSignature},
		{"secret without a name", []token.Key{shared.Key()}, byShared, nil},
		{"secret without a name among others", []token.Key{shared.Key(), ed}, byShared, token.ErrNoKeyID},
	} {
		_, err := token.NewVerifier(test.keys...).Verify(t.Context(), test.token)
		if test.want == nil && err != nil || !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}

// A key of moq-token may bound what it grants.
func TestScope(t *testing.T) {
	scoped := strings.Replace(rfc8037Private, "{", `{"scope":{"root":"live","put":["demo"],"get":[""]},`, 1)
	k := mustSigningKey(t, scoped)
	jwks, err := k.JWKS() // the scope is not lost on the way
	if err != nil {
		t.Fatal(err)
	}
	verifier := token.NewVerifier(mustKeys(t, jwks)...)
	free := mustSigningKey(t, rfc8037Private)
	for _, test := range []struct {
		name string
		g    token.Grant
		want error
	}{
		{"all of it", token.Grant{Root: "live", Put: []string{"demo"}, Get: []string{""}}, nil},
		{"part of it", token.Grant{Root: "live/demo", Put: []string{"cohost"}}, nil},
		{"without root", token.Grant{Get: []string{"live/other"}}, nil},
		{"another room", token.Grant{Root: "live", Put: []string{"other"}}, token.ErrScope},
		{"one of two is beyond", token.Grant{Root: "live", Put: []string{"demo", "other"}}, token.ErrScope},
		{"the whole root", token.Grant{Put: []string{"live"}}, token.ErrScope},
		{"everything", token.Grant{Get: []string{""}}, token.ErrScope},
		{"outside", token.Grant{Root: "room", Get: []string{""}}, token.ErrScope},
		{"part of a field", token.Grant{Put: []string{"live/demo2"}}, token.ErrScope},
	} {
		if _, err := k.Mint(test.g, time.Now()); test.want == nil && err != nil || !errors.Is(err, test.want) {
			t.Errorf("%s: minted with %v, want %v", test.name, err, test.want)
		}
		// The same key without its scope can sign more, which is refused.
		if _, err := verifier.Verify(t.Context(), mustMint(t, free, test.g)); test.want == nil && err != nil || !errors.Is(err, test.want) {
			t.Errorf("%s: verified with %v, want %v", test.name, err, test.want)
		}
	}
}

func TestOpenVerifierFile(t *testing.T) {
	dir := t.TempDir()
	k := token.GenerateKey()
	data, err := k.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	v, err := token.OpenVerifier(t.Context(), write("key.pem", data), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), mustMint(t, k, token.Grant{Get: []string{"live"}})); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]error{
		filepath.Join(dir, "missing"):                           os.ErrNotExist,
		write("short", []byte("secret-7")):                      token.ErrWeakKey,
		write("large", []byte(strings.Repeat("secret-7", 1e5))): token.ErrKeyFormat,
	} {
		_, err := token.OpenVerifier(t.Context(), name, nil)
		if !errors.Is(err, want) || strings.Contains(fmt.Sprint(err), "secret-7") {
			t.Errorf("%v, want %v", err, want)
		}
	}
	if _, err := token.OpenVerifier(t.Context(), "https://", nil); err == nil {
		t.Error("a URL without host was taken")
	}
}

// Nothing but a token that the key signed is accepted.
func FuzzVerify(f *testing.F) {
	good := forge(goodHeader, goodPayload, signEd)
	named := forge(`{"alg":"EdDSA","kid":"`+rfc8037Thumbprint+`"}`, `{"root":"live","put":["demo"],"exp":4102444800}`, signEd)
	for _, seed := range []string{
		good, named, "", "..", good + ".", forge(`{"alg":"none"}`, goodPayload, unsigned),
		forge(`{"alg":"HS256"}`, goodPayload, signHMAC([]byte(rfc8037Public))),
		forge(`{"alg":"EdDSA","kid":7}`, `null`, signEd),
	} {
		f.Add(seed)
	}
	keys := mustKeys(f, []byte(rfc8037Public))
	f.Fuzz(func(t *testing.T, tok string) {
		got, err := token.NewVerifier(keys...).Verify(context.Background(), tok)
		if err == nil && tok != good && tok != named {
			t.Fatalf("forged: %+v", got)
		}
		if err != nil && !errors.Is(err, token.ErrInvalid) {
			t.Fatalf("an error without a name: %v", err)
		}
	})
}

// Whatever a payload says, it is refused by name, or grants what can be minted
// again.
func FuzzClaims(f *testing.F) {
	for _, seed := range []string{
		goodPayload, `{}`, `null`, `{"put":[null]}`, `{"root":"live","put":["demo",""],"get":"x","exp":4102444800,"nbf":1.5}`,
		`{"get":"","get":7}`, `{"get":"\ud800"}`, `{"exp":1e17}`,
	} {
		f.Add(seed)
	}
	k := mustSigningKey(f, rfc8037Private)
	v := token.NewVerifier(k.Key())
	f.Fuzz(func(t *testing.T, payload string) {
		got, err := v.Verify(context.Background(), forge(goodHeader, payload, signEd))
		if err != nil {
			if !errors.Is(err, token.ErrInvalid) {
				t.Fatalf("an error without a name: %v", err)
			}
			return
		}
		if len(got.Put)+len(got.Get) == 0 {
			t.Fatal("nothing is granted")
		}
		tok, err := k.Mint(got, time.Now())
		if errors.Is(err, token.ErrTooLarge) || errors.Is(err, token.ErrExpired) {
			return // written longer, or good for less than a second
		}
		if err != nil {
			t.Fatal(err)
		}
		again, err := v.Verify(context.Background(), tok)
		if err != nil {
			t.Fatal(err)
		}
		got.Expires, again.Expires = got.Expires.Truncate(time.Second), again.Expires.Truncate(time.Second)
		if fmt.Sprint(again) != fmt.Sprint(got) {
			t.Fatalf("%+v became %+v", got, again)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	shared, err := token.NewSharedKey("", testSecret)
	if err != nil {
		b.Fatal(err)
	}
	for _, k := range []*token.SigningKey{token.GenerateKey(), mustSigningKey(b, rfc7515P256), shared} {
		b.Run(string(k.Key().Algorithm()), func(b *testing.B) {
			v := token.NewVerifier(k.Key())
			tok := mustMint(b, k, token.Grant{Root: "live", Get: []string{"demo"}, Expires: time.Now().Add(time.Hour)})
			for b.Loop() {
				if _, err := v.Verify(b.Context(), tok); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
