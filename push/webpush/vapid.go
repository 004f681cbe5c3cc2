package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"sync"
	"time"
)

const (
	// tokenLife is under the 24 hours that RFC 8292 section 2 allows, by enough
	// for a clock that is hours wrong.
	tokenLife = 12 * time.Hour
	// renewBefore is how long before its end a token is replaced.
	renewBefore = time.Hour
	// freshFor is how long a refused token must have been in use for a new one
	// to be worth trying.
	freshFor = time.Minute
	// maxTokens bounds the cache. Browsers have a handful of push services; who
	// invents more makes us sign, not remember.
	maxTokens = 256
)

// vapid signs one token for each push service and keeps it: signing is the
// dearest step of a message. It is safe for concurrent use.
type vapid struct {
	key     *ecdsa.PrivateKey
	public  string // base64url
	subject string
	now     func() time.Time

	mu     sync.Mutex
	tokens map[string]signed // by origin
}

type signed struct {
	text string
	at   time.Time
}

func newVAPID(key *ecdsa.PrivateKey, subject string, now func() time.Time) *vapid {
	return &vapid{key: key, public: publicText(key), subject: subject, now: now, tokens: make(map[string]signed)}
}

func publicText(key *ecdsa.PrivateKey) string {
	b, err := key.PublicKey.Bytes()
	if err != nil {
		panic("webpush: a checked P-256 key has no encoding: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// token returns the token for origin.
func (v *vapid) token(origin string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	if t, ok := v.tokens[origin]; ok && !now.Before(t.at) && now.Sub(t.at) < tokenLife-renewBefore {
		return t.text
	}
	if len(v.tokens) >= maxTokens {
		clear(v.tokens)
	}
	t := signed{v.sign(origin, now.Add(tokenLife)), now}
	v.tokens[origin] = t
	return t.text
}

// refused tells that origin did not take token. It reports whether a retry
// will use another one.
func (v *vapid) refused(origin, token string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	t, ok := v.tokens[origin]
	switch {
	case !ok || t.text != token:
		return true
	case v.now().Sub(t.at) < freshFor:
		return false // a token just made is refused: the key or the clock is at fault
	}
	delete(v.tokens, origin)
	return true
}

// signingInput is the part of a JWT that is signed.
func signingInput(origin, subject string, expires time.Time) string {
	claims, err := json.Marshal(struct {
		Aud string `json:"aud"`
		Exp int64  `json:"exp"`
		Sub string `json:"sub"`
	}{origin, expires.Unix(), subject})
	if err != nil {
		panic("webpush: strings and a number have no JSON: " + err.Error())
	}
	return base64.RawURLEncoding.EncodeToString([]byte(`{"typ":"JWT","alg":"ES256"}`)) + "." +
		base64.RawURLEncoding.EncodeToString(claims)
}

func (v *vapid) sign(origin string, expires time.Time) string {
	input := signingInput(origin, v.subject, expires)
	hash := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, v.key, hash[:])
	if err != nil {
		panic("webpush: a checked P-256 key cannot sign: " + err.Error())
	}
	sig := make([]byte, 64) // r and s side by side, not DER: RFC 7518 section 3.4
	r.FillBytes(sig[:32])
	s.FillBytes(sig[32:])
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// GenerateKey makes a VAPID key pair in the form of Config and of the
// browser's applicationServerKey.
func GenerateKey() (private, public string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	raw, err := key.Bytes()
	if err != nil {
		return "", "", err
	}
	return base64.RawURLEncoding.EncodeToString(raw), publicText(key), nil
}
