package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of Standard Webhooks.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// Tolerance is how far the timestamp of a request may be from the receiver's
// clock, either way. It bounds how long a recorded request can be replayed;
// within it, the receiver's memory of ids does.
const Tolerance = 5 * time.Minute

const (
	secretPrefix = "whsec_"
	versionOne   = "v1,"
	// maxSignatures bounds the work that a forged header can cause.
	maxSignatures = 16
)

// Errors of Verify. A receiver answers 401 to each.
var (
	// ErrHeaders: one of the three headers is missing, double or malformed.
	ErrHeaders = errors.New("webhook: webhook-id, webhook-timestamp or webhook-signature is missing or malformed")
	// ErrTimestamp: older or newer than Tolerance. Replayed, or a clock is wrong.
	ErrTimestamp = errors.New("webhook: timestamp is outside the tolerance")
	// ErrSignature: none of the signatures is made with one of the secrets.
	ErrSignature = errors.New("webhook: no signature matches")
)

// Secret is a signing key. It does not show itself in logs.
type Secret struct{ key []byte }

// ParseSecret reads "whsec_" and 24 to 64 bytes in base64, padded or not.
func ParseSecret(s string) (Secret, error) {
	text, ok := strings.CutPrefix(s, secretPrefix)
	if !ok {
		return Secret{}, errors.New(`does not begin with "whsec_"`)
	}
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	switch {
	case err != nil:
		return Secret{}, errors.New(`is not base64 after "whsec_"`)
	case len(key) < 24 || len(key) > 64:
		return Secret{}, errors.New(`is not 24 to 64 bytes long: make one with "whsec_" and the output of: openssl rand -base64 32`)
	}
	return Secret{key}, nil
}

// NewSecret returns a fresh one in text form.
func NewSecret() string {
	key := make([]byte, 32)
	rand.Read(key) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

// String hides the key.
func (Secret) String() string { return "whsec_…" }

// GoString hides the key.
func (Secret) GoString() string { return "webhook.Secret{…}" }

// LogValue hides the key.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

func (s Secret) mac(id, timestamp string, body []byte) []byte {
	m := hmac.New(sha256.New, s.key)
	m.Write([]byte(id + "." + timestamp + "."))
	m.Write(body)
	return m.Sum(nil)
}

// sign is the value of the signature header, an entry for each secret.
func sign(secrets []Secret, id, timestamp string, body []byte) string {
	var b strings.Builder
	for i, s := range secrets {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(versionOne)
		b.WriteString(base64.StdEncoding.EncodeToString(s.mac(id, timestamp, body)))
	}
	return b.String()
}

// Verify proves that a request comes from the gateway and is of now: one of
// its signatures is made with one of secrets over exactly this body, and its
// timestamp is within Tolerance of now. body is the raw one, before any
// parsing. Signatures are compared in constant time. It returns the id of the
// message; a receiver that has seen the id answers 2xx and does nothing.
func Verify(secrets []Secret, h http.Header, body []byte, now time.Time) (id string, err error) {
	one := func(name string) string {
		if v := h.Values(name); len(v) == 1 {
			return v[0]
		}
		return ""
	}
	id, stamp, sigs := one(headerID), one(headerTimestamp), one(headerSignature)
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	// The canonical form only: what is signed is the text.
	if err != nil || strconv.FormatInt(seconds, 10) != stamp || !idOK(id) || sigs == "" {
		return "", ErrHeaders
	}
	if limit := int64(Tolerance / time.Second); seconds < now.Unix()-limit || seconds > now.Unix()+limit {
		return "", ErrTimestamp
	}
	want := make([][]byte, 0, len(secrets))
	for _, s := range secrets {
		if len(s.key) > 0 { // the zero Secret signs nothing
			want = append(want, s.mac(id, stamp, body))
		}
	}
	ok := false
	for i, entry := range strings.Fields(sigs) {
		if i == maxSignatures {
			break
		}
		text, found := strings.CutPrefix(entry, versionOne)
		if !found {
			continue // another version of the scheme
		}
		got, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			continue
		}
		for _, w := range want {
			if hmac.Equal(got, w) {
				ok = true
			}
		}
	}
	if !ok {
		return "", ErrSignature
	}
	return id, nil
}
