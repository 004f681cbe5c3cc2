package fake

import (
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Limits of Apple's provider tokens.
const (
	providerTokenLife   = time.Hour
	defaultTokenUpdates = 20 * time.Minute
	maxProviderTokens   = 1000
)

// providerTokens checks the authorization header and remembers the tokens it
// has accepted, both to spare the signature check and to see how often the
// sender changes them. Safe for concurrent use.
type providerTokens struct {
	teamID   string
	interval time.Duration // at least this between two new tokens of one key

	mu    sync.Mutex
	keys  map[string]*providerKey // by key id
	known map[string]*providerToken
	count int64 // tokens ever accepted
}

type providerKey struct {
	pub     *ecdsa.PublicKey
	changed time.Time // when its newest token was first accepted
}

type providerToken struct {
	keyID   string
	issued  time.Time
	revoked bool // by ExpireProviderTokens
}

// check returns "" for a good authorization header, else the reason to refuse.
//
// A token issued more than an hour ago, or more than an hour ahead of our
// clock, is ExpiredProviderToken; a changed token less than the interval after
// the previous change is TooManyProviderTokenUpdates, while the previous one
// goes on being good.
func (p *providerTokens) check(authorization string, now time.Time) string {
	if authorization == "" {
		return "MissingProviderToken"
	}
	scheme, bearer, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "bearer") {
		return "InvalidProviderToken"
	}
	if bearer == "" {
		return "MissingProviderToken"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.known[bearer]
	if t == nil {
		var ok bool
		if t, ok = p.verify(bearer); !ok {
			return "InvalidProviderToken"
		}
		if t.expired(now) {
			return "ExpiredProviderToken"
		}
		if changed := p.keys[t.keyID].changed; !changed.IsZero() && now.Sub(changed) < p.interval {
			return "TooManyProviderTokenUpdates"
		}
		p.remember(bearer, t, now)
	}
	if p.keys[t.keyID] == nil {
		return "InvalidProviderToken" // the key was revoked
	}
	if t.revoked || t.expired(now) {
		return "ExpiredProviderToken"
	}
	return ""
}

func (t *providerToken) expired(now time.Time) bool {
	return now.Sub(t.issued).Abs() > providerTokenLife
}

// verify checks signature, key id and team. Callers hold mu.
func (p *providerTokens) verify(bearer string) (*providerToken, bool) {
	t, err := parseJWT(bearer)
	if err != nil {
		return nil, false
	}
	key := p.keys[t.Kid]
	if key == nil || !t.verifyES256(key.pub) {
		return nil, false
	}
	var c struct {
		Iss string `json:"iss"`
		// A pointer tells a missing claim from the epoch.
		Iat *int64 `json:"iat"`
	}
	if json.Unmarshal(t.claims, &c) != nil || c.Iss != p.teamID || c.Iat == nil {
		return nil, false
	}
	return &providerToken{keyID: t.Kid, issued: time.Unix(*c.Iat, 0)}, true
}

// maxProviderKeys is more than Apple gives a team, which is two.
const maxProviderKeys = 16

func (p *providerTokens) addKey(id string, pub *ecdsa.PublicKey) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.keys) >= maxProviderKeys {
		return fmt.Errorf("fake: more than %d signing keys", maxProviderKeys)
	}
	p.keys[id] = &providerKey{pub: pub}
	return nil
}

func (p *providerTokens) revokeKey(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.keys, id)
}

func (p *providerTokens) remember(bearer string, t *providerToken, now time.Time) {
	if len(p.known) >= maxProviderTokens {
		// Only a sender with a key and a tiny interval comes here; a forgotten
		// token that is still in use is merely verified again.
		clear(p.known)
	}
	p.known[bearer] = t
	p.keys[t.keyID].changed = now
	p.count++
}

// expireAll makes every token accepted so far an expired one, as if an hour
// had passed, so the next new token is not one too many.
func (p *providerTokens) expireAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.known {
		t.revoked = true
	}
	for _, k := range p.keys {
		k.changed = time.Time{}
	}
}

func (p *providerTokens) accepted() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}
