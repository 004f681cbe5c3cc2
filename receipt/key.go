package receipt

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// minSecret is the least length of a secret in bytes, the size of what HMAC-SHA256 puts out.
const minSecret = 32

// ErrSecrets wraps every reason why a text holds no usable secrets. No error of this package shows a secret.
var ErrSecrets = errors.New("receipt: no usable secrets")

// Secrets are one or two secrets, the newest first. They print as their number.
type Secrets [][]byte

// String says how many there are, never what they are.
func (s Secrets) String() string { return fmt.Sprintf("%d receipt secrets", len(s)) }

// GoString is String, for %#v.
func (s Secrets) GoString() string { return s.String() }

// ParseSecrets reads secrets as a file holds them: one a line in base64 of either alphabet, the newest first, two at
// most. Empty lines and lines that begin with # are passed over. The error is an ErrSecrets.
func ParseSecrets(text string) (Secrets, error) {
	var out Secrets
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		plain := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(line, "="))
		secret, err := base64.RawURLEncoding.DecodeString(plain)
		if err != nil || len(secret) < minSecret {
			return nil, fmt.Errorf("%w: line %d is not base64 of at least %d bytes, such as `openssl rand -base64 32` prints", ErrSecrets, n, minSecret)
		}
		out = append(out, secret)
	}
	switch {
	case len(out) == 0:
		return nil, fmt.Errorf("%w: there is none", ErrSecrets)
	case len(out) > 2:
		return nil, fmt.Errorf("%w: %d are too many; two are accepted, the newest first, while one replaces the other", ErrSecrets, len(out))
	case len(out) == 2 && slices.Equal(out[0], out[1]):
		return nil, fmt.Errorf("%w: both are the same", ErrSecrets)
	}
	return out, nil
}

// Format writes secrets as ParseSecrets reads them. It is the one way in which they leave the process.
func (s Secrets) Format() string {
	var b strings.Builder
	b.WriteString("# Footfall signs receipts with the first secret and accepts both. Keep this file to yourself.\n")
	for _, secret := range s {
		b.WriteString(base64.RawURLEncoding.EncodeToString(secret) + "\n")
	}
	return b.String()
}

// Keyring makes and checks the keys of messages. Safe for concurrent use; Set takes effect for what comes after it.
type Keyring struct{ secrets atomic.Pointer[Secrets] }

// NewKeyring makes a keyring of one secret, or of two with the newest first. It keeps them.
func NewKeyring(s Secrets) (*Keyring, error) {
	k := new(Keyring)
	return k, k.Set(s)
}

// Set replaces the secrets. On error the old ones stay.
func (k *Keyring) Set(s Secrets) error {
	if len(s) == 0 || len(s) > 2 {
		return fmt.Errorf("%w: %d of them, want one or two", ErrSecrets, len(s))
	}
	for _, secret := range s {
		if len(secret) < minSecret {
			return fmt.Errorf("%w: one has %d bytes, want at least %d", ErrSecrets, len(secret), minSecret)
		}
	}
	k.secrets.Store(&s)
	return nil
}

// Uses reports whether these are the secrets in use, in that order.
func (k *Keyring) Uses(s Secrets) bool {
	return slices.EqualFunc(*k.secrets.Load(), s, func(a, b []byte) bool { return hmac.Equal(a, b) })
}

// Key returns the k of a message to a device, 22 characters. app and device are as in the subject.
func (k *Keyring) Key(app, device, mid string) string {
	return keyOf(appSecret((*k.secrets.Load())[0], app), device, mid)
}

// Valid reports whether key is the one of the message, by the newest secret or by the one before. It takes about
// three microseconds whatever the answer.
func (k *Keyring) Valid(app, device, mid, key string) bool {
	ok := false
	for _, secret := range *k.secrets.Load() {
		want := keyOf(appSecret(secret, app), device, mid)
		ok = hmac.Equal([]byte(want), []byte(key)) || ok
	}
	return ok
}

// Code returns the code of a message, which a person can show at the till: ten characters that are not mistaken for
// one another. Nobody can guess one. Two messages may share one, see PutCode.
func (k *Keyring) Code(app, mid string) string {
	sum := sign(appSecret((*k.secrets.Load())[0], app), "code|"+mid)
	bits := binary.BigEndian.Uint64(sum)
	code := make([]byte, codeLength)
	for i := range code {
		code[i] = codeAlphabet[bits>>(64-5)]
		bits <<= 5
	}
	return string(code)
}

// Crockford's base 32: no I, L, O and U, which are misread or make words.
const (
	codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	codeLength   = 10
)

// CleanCode returns a code as it was made from how somebody has typed it: any case, with spaces and hyphens, and with
// the letters that look like digits. ok is false when it is none.
func CleanCode(typed string) (code string, ok bool) {
	if len(typed) > 4*codeLength {
		return "", false
	}
	code = strings.NewReplacer(" ", "", "-", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(typed))
	if len(code) != codeLength || strings.Trim(code, codeAlphabet) != "" {
		return "", false
	}
	return code, true
}

func appSecret(secret []byte, app string) []byte { return sign(secret, "footfall receipt v1|"+app) }

func keyOf(secret []byte, device, mid string) string {
	return base64.RawURLEncoding.EncodeToString(sign(secret, mid+"|"+device)[:16])
}

func sign(secret []byte, text string) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(text))
	return h.Sum(nil)
}
