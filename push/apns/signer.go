package apns

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/sideshow/apns2/token"
)

// Apple refuses a provider token older than an hour, and more than one new
// token in 20 minutes.
const (
	tokenLife  = 50 * time.Minute
	tokenFloor = 20 * time.Minute
	// changeover is how long after a renewal a refusal of the new token says
	// nothing about it: it may have gone down a connection that the old one had
	// spoilt a moment before.
	changeover = 10 * time.Second
)

// signer makes the provider token that all connections share. It is safe for
// concurrent use.
type signer struct {
	teamID string
	file   string // where the token outlives the process; "" is nowhere
	now    func() time.Time
	log    *slog.Logger

	mu     sync.Mutex
	key    *ecdsa.PrivateKey
	keyID  string
	bearer string
	issued time.Time
	// renewed is when Apple's refusal last led to a new token.
	renewed time.Time
}

// bearerNow returns the current token, a new one when the old is too old or
// comes from the future (the clock was set back).
func (s *signer) bearerNow() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := s.now().Sub(s.issued)
	if s.bearer == "" || age >= tokenLife || age < -time.Minute {
		if err := s.issueLocked(); err != nil {
			return "", err
		}
	}
	return s.bearer, nil
}

// renew answers Apple's ExpiredProviderToken for the token rejected. It
// reports whether a retry has better chances: another token is in use, or
// other connections. A token younger than 20 minutes is kept: then the clock
// is wrong, and another token would not be better.
func (s *signer) renew(rejected string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bearer != rejected {
		return true // somebody else was faster
	}
	now := s.now()
	if age := now.Sub(s.issued); age >= 0 && age < tokenFloor {
		return now.Sub(s.renewed) < changeover
	}
	if s.issueLocked() != nil {
		return false
	}
	s.renewed = now
	return true
}

// replace signs with another key from now on. It reports whether it is another
// one.
func (s *signer) replace(key *ecdsa.PrivateKey, keyID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keyID == keyID && s.key.Equal(key) {
		return false
	}
	s.key, s.keyID, s.bearer = key, keyID, ""
	return true
}

// replaced reports whether bearer is no longer the token in use.
func (s *signer) replaced(bearer string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bearer != bearer
}

func (s *signer) issueLocked() error {
	t := token.Token{AuthKey: s.key, KeyID: s.keyID, TeamID: s.teamID}
	if _, err := t.Generate(); err != nil {
		return fmt.Errorf("apns: sign the provider token: %w", err)
	}
	s.bearer, s.issued = t.Bearer, s.now()
	s.save()
	return nil
}

// savedToken is the content of the token file.
type savedToken struct {
	KeyID    string    `json:"key_id"`
	TeamID   string    `json:"team_id"`
	KeyHash  string    `json:"key_hash"` // of the public key
	IssuedAt time.Time `json:"issued_at"`
	Bearer   string    `json:"bearer"`
}

// restore takes over the token of the previous process, if it is ours and
// still good. A crash loop must not make a token per start.
func (s *signer) restore() {
	if s.file == "" {
		return
	}
	data, err := os.ReadFile(s.file)
	var t savedToken
	if err != nil || json.Unmarshal(data, &t) != nil || t.Bearer == "" ||
		t.KeyID != s.keyID || t.TeamID != s.teamID || t.KeyHash != s.keyHash() {
		return
	}
	s.bearer, s.issued = t.Bearer, t.IssuedAt
}

// save is best effort: without the file a restart makes a new token, which
// matters only in a crash loop.
func (s *signer) save() {
	if s.file == "" {
		return
	}
	data, err := json.Marshal(savedToken{s.keyID, s.teamID, s.keyHash(), s.issued, s.bearer})
	if err == nil {
		err = replaceFile(s.file, data)
	}
	if err != nil {
		s.log.Warn("apns: the provider token could not be kept for the next start", "file", s.file, "err", err)
	}
}

// replaceFile writes a file that only its owner can read, in one step.
func replaceFile(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".token-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func (s *signer) keyHash() string {
	der, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:8])
}
