package fake

import (
	"crypto/ecdsa"
	"encoding/json"
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
	pub           *ecdsa.PublicKey
	keyID, teamID string
	interval      time.Duration // at least this between two new tokens

	mu      sync.Mutex
	known   map[string]*providerToken
	changed time.Time // when the newest token was first accepted
	count   int64     // tokens ever accepted
}

type providerToken struct {
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
		issued, ok := p.verify(bearer)
		if !ok {
			return "InvalidProviderToken"
		}
		t = &providerToken{issued: issued}
		if t.expired(now) {
			return "ExpiredProviderToken"
		}
		if !p.changed.IsZero() && now.Sub(p.changed) < p.interval {
			return "TooManyProviderTokenUpdates"
		}
		p.remember(bearer, t, now)
	}
	if t.revoked || t.expired(now) {
		return "ExpiredProviderToken"
	}
	return ""
}

func (t *providerToken) expired(now time.Time) bool {
	return now.Sub(t.issued).Abs() > providerTokenLife
}

// verify checks signature, key id and team, and returns the time of issue.
func (p *providerTokens) verify(bearer string) (time.Time, bool) {
	t, err := parseJWT(bearer)
	if err != nil || t.Kid != p.keyID || !t.verifyES256(p.pub) {
		return time.Time{}, false
	}
	var c struct {
		Iss string `json:"iss"`
		// A pointer tells a missing claim from the epoch.
		Iat *int64 `json:"iat"`
	}
	if json.Unmarshal(t.claims, &c) != nil || c.Iss != p.teamID || c.Iat == nil {
		return time.Time{}, false
	}
	return time.Unix(*c.Iat, 0), true
}

func (p *providerTokens) remember(bearer string, t *providerToken, now time.Time) {
	if len(p.known) >= maxProviderTokens {
		// Only a sender with a key and a tiny interval comes here; a forgotten
		// token that is still in use is merely verified again.
		clear(p.known)
	}
	p.known[bearer] = t
	p.changed = now
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
	p.changed = time.Time{}
}

func (p *providerTokens) accepted() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}
