package webpush

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// verify is the push service's side of RFC 8292.
func verify(token, public string) (map[string]any, error) {
	parts := strings.Split(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(public)
	if err != nil || len(parts) != 3 {
		return nil, errors.New("form")
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw)
	if err != nil {
		return nil, err
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(sig) != 64 {
		return nil, errors.New("signature")
	}
	hash := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(key, hash[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])) {
		return nil, errors.New("the signature does not match")
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, err
	}
	var m map[string]any
	return m, json.Unmarshal(claims, &m)
}

// RFC 8292 section 2.4: the same input byte for byte, and a verifier that
// takes the RFC's signature (ECDSA's own is different each time).
func TestRFC8292(t *testing.T) {
	const input = "eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJhdWQiOiJodHRwczovL3B1c2guZXhhbXBsZS5uZXQiLCJleHAiOjE0NTM1MjM3NjgsInN1YiI6Im1haWx0bzpwdXNoQGV4YW1wbGUuY29tIn0"
	const sig = "i3CYb7t4xfxCDquptFOepC9GAu_HLGkMlMuCGSK2rpiUfnK9ojFwDXb1JrErtmysazNjjvW2L9OkSSHzvoD1oA"
	const public = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs"
	if got := signingInput("https://push.example.net", "mailto:push@example.com", time.Unix(1453523768, 0)); got != input {
		t.Errorf("got %s", got)
	}
	if _, err := verify(input+"."+sig, public); err != nil {
		t.Errorf("the RFC's own token: %v", err)
	}
	if _, err := verify(input+"."+"A"+sig[1:], public); err == nil {
		t.Error("a changed signature is accepted")
	}
}

func TestTokensAreKeptPerOrigin(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1795859999, 0)
	v := newVAPID(key, "mailto:ops@shop.example", func() time.Time { return now })
	const a, b = "https://a.example", "https://b.example:8443"
	first := v.token(a)
	claims, err := verify(first, v.public)
	if err != nil || claims["aud"] != a || claims["sub"] != "mailto:ops@shop.example" || claims["exp"] != float64(now.Add(12*time.Hour).Unix()) {
		t.Errorf("%v, %v", claims, err)
	}
	if claims, err := verify(v.token(b), v.public); err != nil || claims["aud"] != b {
		t.Errorf("%v, %v", claims, err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if v.token(a) != first {
				t.Error("signed again")
			}
		})
	}
	wg.Wait()
	if v.refused(a, first) {
		t.Error("a token just made is given up")
	}
	now = now.Add(11*time.Hour - time.Second)
	if v.token(a) != first {
		t.Error("signed again before it is time")
	}
	if !v.refused(a, first) || v.token(a) == first {
		t.Error("a refused token is kept")
	}
	if second := v.token(a); v.refused(a, second) || !v.refused(a, first) || v.token(a) != second {
		t.Error("a late refusal of the old token costs the new one")
	}
	now = now.Add(11 * time.Hour)
	if claims, err := verify(v.token(a), v.public); err != nil || claims["exp"] != float64(now.Add(12*time.Hour).Unix()) {
		t.Errorf("not renewed in time: %v, %v", claims, err)
	}
	now = now.Add(-48 * time.Hour) // the clock was set right
	if claims, err := verify(v.token(a), v.public); err != nil || claims["exp"] != float64(now.Add(12*time.Hour).Unix()) {
		t.Errorf("a token from the future is kept: %v, %v", claims, err)
	}
	for i := range 2 * maxTokens {
		v.tokens[fmt.Sprint(i)] = signed{}
	}
	if v.token("https://c.example"); len(v.tokens) > maxTokens {
		t.Errorf("%d tokens are kept", len(v.tokens))
	}
}

func TestNewExplainsWhatIsWrong(t *testing.T) {
	private, public, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	_, otherPublic, _ := GenerateKey()
	dir := t.TempDir()
	file := func(name string, data string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	toPEM := func(typ string, der []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}))
	}
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	der8, err8 := x509.MarshalPKCS8PrivateKey(p256)
	pkcs8 := toPEM("PRIVATE KEY", der8, err8)
	der1, err1 := x509.MarshalECPrivateKey(p256)
	sec1 := toPEM("EC PRIVATE KEY", der1, err1)
	params := toPEM("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}, nil)
	der384, err384 := x509.MarshalPKCS8PrivateKey(p384)
	derEd, errEd := x509.MarshalPKCS8PrivateKey(ed)
	good := Config{PrivateKey: private, Subject: "mailto:ops@shop.example"}
	for _, tt := range []struct {
		name string
		mod  func(*Config)
		want []string
	}{
		{"nothing", func(c *Config) { *c = Config{} }, []string{"key_file is not set", "openssl", "subject is not set", "mailto:"}},
		{"both", func(c *Config) { c.KeyFile = "x" }, []string{"keep one"}},
		{"missing file", func(c *Config) { c.PrivateKey, c.KeyFile = "", filepath.Join(dir, "none") }, []string{"none", "no such file"}},
		{"empty file", func(c *Config) { c.PrivateKey, c.KeyFile = "", file("empty", " \n") }, []string{"empty", "is empty"}},
		{"public key", func(c *Config) { c.PrivateKey = public }, []string{"is the public key"}},
		{"short", func(c *Config) { c.PrivateKey = private[:20] }, []string{"bytes long, not 32"}},
		{"zero", func(c *Config) { c.PrivateKey = strings.Repeat("A", 43) }, []string{"P-256"}},
		{"text", func(c *Config) { c.PrivateKey = "my key!" }, []string{"neither base64url nor PEM"}},
		{"damaged PEM", func(c *Config) { c.PrivateKey = pkcs8[:80] }, []string{"damaged"}},
		{"certificate", func(c *Config) { c.PrivateKey = toPEM("CERTIFICATE", []byte{1}, nil) }, []string{"no private key"}},
		{"P-384", func(c *Config) { c.PrivateKey = toPEM("PRIVATE KEY", der384, err384) }, []string{"not a P-256"}},
		{"Ed25519", func(c *Config) { c.PrivateKey = toPEM("PRIVATE KEY", derEd, errEd) }, []string{"not a P-256"}},
		{"other public key", func(c *Config) { c.PublicKey = otherPublic }, []string{"public_key", public}},
		{"bare address", func(c *Config) { c.Subject = "ops@shop.example" }, []string{"subject", "mailto:"}},
		{"address in brackets", func(c *Config) { c.Subject = "mailto:<ops@shop.example>" }, []string{"subject"}},
		{"http", func(c *Config) { c.Subject = "http://shop.example" }, []string{"subject"}},
		{"negative", func(c *Config) { c.Timeout = -1 }, []string{"negative"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := good
			tt.mod(&cfg)
			p, err := New(cfg)
			if err == nil {
				p.Close()
				t.Fatal("accepted")
			}
			for _, w := range append(tt.want, "webpush: ") {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q lacks %q", err, w)
				}
			}
			if strings.Contains(err.Error(), private) || strings.Contains(err.Error(), "MI") {
				t.Errorf("%q shows the key", err)
			}
		})
	}
	for name, mod := range map[string]func(*Config){
		"text":      func(c *Config) { c.PublicKey = public },
		"padded":    func(c *Config) { c.PrivateKey += "=" },
		"text file": func(c *Config) { c.PrivateKey, c.KeyFile = "", file("key.txt", private+"\n") },
		"PKCS 8":    func(c *Config) { c.PrivateKey, c.PublicKey = pkcs8, publicText(p256) },
		"openssl": func(c *Config) {
			c.PrivateKey, c.KeyFile, c.PublicKey = "", file("key.pem", params+sec1), publicText(p256)
		},
		"https": func(c *Config) { c.Subject = "https://shop.example/contact" },
	} {
		cfg := good
		mod(&cfg)
		p, err := New(cfg)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		p.Close()
	}
}
