package fake

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strings"
)

// maxJWT bounds a token that we are ready to look at; real ones are under 1 KB.
const maxJWT = 8 << 10

var errJWT = errors.New("fake: not a JSON web token")

// webToken is a parsed, not yet verified token (RFC 7519, compact form).
type webToken struct {
	Alg, Kid string
	claims   []byte // JSON
	signed   []byte // what the signature covers
	sig      []byte
}

// parseJWT takes a token apart. It accepts any input and verifies nothing.
func parseJWT(s string) (*webToken, error) {
	if len(s) > maxJWT {
		return nil, errJWT
	}
	head, rest, ok := strings.Cut(s, ".")
	body, sig, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 {
		return nil, errJWT
	}
	// Strict refuses stray bits after the last byte: one token, one spelling.
	enc := base64.RawURLEncoding.Strict()
	h, errH := enc.DecodeString(head)
	c, errC := enc.DecodeString(body)
	g, errG := enc.DecodeString(sig)
	if errH != nil || errC != nil || errG != nil {
		return nil, errJWT
	}
	var hdr struct {
		Alg string `json:"alg"`
		Kid string `json:"kid"`
	}
	if json.Unmarshal(h, &hdr) != nil || !json.Valid(c) {
		return nil, errJWT
	}
	return &webToken{Alg: hdr.Alg, Kid: hdr.Kid, claims: c, signed: []byte(s[:len(head)+1+len(body)]), sig: g}, nil
}

// verifyES256 reports whether the token is signed by the P-256 key (RFC 7518,
// section 3.4: the signature is r and s, 32 bytes each).
func (t *webToken) verifyES256(pub *ecdsa.PublicKey) bool {
	if t.Alg != "ES256" || len(t.sig) != 64 {
		return false
	}
	sum := sha256.Sum256(t.signed)
	return ecdsa.Verify(pub, sum[:], new(big.Int).SetBytes(t.sig[:32]), new(big.Int).SetBytes(t.sig[32:]))
}

// verifyRS256 reports whether the token is signed by the RSA key (RFC 7518,
// section 3.3).
func (t *webToken) verifyRS256(pub *rsa.PublicKey) bool {
	sum := sha256.Sum256(t.signed)
	return t.Alg == "RS256" && rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], t.sig) == nil
}
