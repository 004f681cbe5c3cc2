package wire

import (
	"errors"
	"strings"

	"footfall/track"
)

// MaxToken is the longest app or device token, in bytes.
const MaxToken = 64

// ErrToken is returned for an app, device or user that is not [A-Za-z0-9_-]{1,64}.
var ErrToken = errors.New("wire: an app and a device are 1 to 64 of A-Z a-z 0-9 _ -")

// errEncodedID is returned by DecodeID for text that EncodeID never writes.
var errEncodedID = errors.New("wire: not an encoded id")

// tokenByte marks the bytes of [A-Za-z0-9_-].
var tokenByte = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-'
	}
	return t
}()

// ValidToken reports whether s is an app or device token: [A-Za-z0-9_-]{1,64}.
func ValidToken(s string) bool { return validToken(s) }

func validToken[T string | []byte](s T) bool {
	if len(s) == 0 || len(s) > MaxToken {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return true
}

// EncodeID makes a subject token of any fence or campaign id, reversibly. A non-empty id of
// [A-Za-z0-9_-] is its own encoding (of any length); in others each byte outside that set becomes "=XX" with
// upper-case hex, so "node/123" is "node=2F123". The empty id becomes "=". Different ids have
// different encodings, and each is one token of a NATS subject. It allocates only when it has to encode.
func EncodeID(id string) string {
	extra := 0
	for i := 0; i < len(id); i++ {
		if !tokenByte[id[i]] {
			extra += 2
		}
	}
	if id == "" {
		return "="
	}
	if extra == 0 {
		return id
	}
	var b strings.Builder
	b.Grow(len(id) + extra)
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(id); i++ {
		if c := id[i]; tokenByte[c] {
			b.WriteByte(c)
		} else {
			b.WriteByte('=')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// DecodeID is the inverse of EncodeID; text that EncodeID never writes is an error. It allocates only
// when something was encoded.
func DecodeID(token string) (string, error) {
	if token == "=" {
		return "", nil
	}
	if token == "" {
		return "", errEncodedID
	}
	plain := 0
	for plain < len(token) && tokenByte[token[plain]] {
		plain++
	}
	if plain == len(token) {
		return token, nil
	}
	b := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		c := token[i]
		if tokenByte[c] {
			b = append(b, c)
			continue
		}
		if c != '=' || i+2 >= len(token) {
			return "", errEncodedID
		}
		hi, lo := upperHex(token[i+1]), upperHex(token[i+2])
		if hi > 15 || lo > 15 || tokenByte[hi<<4|lo] {
			// One encoding per id: a byte that needs none must not have one.
			return "", errEncodedID
		}
		b = append(b, hi<<4|lo)
		i += 2
	}
	return string(b), nil
}

// upperHex is the value of an upper-case hex digit, or 255.
func upperHex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// JoinDevice makes a device id of two tokens, or returns ErrToken.
func JoinDevice(app, device string) (track.DeviceID, error) {
	if !ValidToken(app) || !ValidToken(device) {
		return "", ErrToken
	}
	return track.DeviceID(app + "." + device), nil
}

// SplitDevice takes a device id apart without allocating; ok is false unless both parts are tokens.
func SplitDevice(id track.DeviceID) (app, device string, ok bool) {
	app, device, ok = strings.Cut(string(id), ".")
	if !ok || !ValidToken(app) || !ValidToken(device) {
		return "", "", false
	}
	return app, device, true
}

// OwnTracksDevice is the device id, in app, of an OwnTracks user's device. The two names become one
// token that is read back in one way only, so that two users never share a device: every "_" of the
// user is doubled, then comes "_-", then the device: bob and phone make "bob_-phone". It returns
// ErrToken when a part is not a token or the result is longer than MaxToken.
func OwnTracksDevice(app, user, device string) (track.DeviceID, error) {
	if !ValidToken(user) || !ValidToken(device) {
		return "", ErrToken
	}
	return JoinDevice(app, strings.ReplaceAll(user, "_", "__")+"_-"+device)
}

// SplitOwnTracks is the inverse of OwnTracksDevice, of a device id's second token; ok is false unless some user and
// device give it.
func SplitOwnTracks(token string) (user, device string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(token); i++ {
		if c := token[i]; c != '_' {
			b.WriteByte(c)
			continue
		}
		i++ // "_" begins a pair
		if i < len(token) && token[i] == '-' {
			user, device = b.String(), token[i+1:]
			return user, device, ValidToken(user) && ValidToken(device)
		}
		if i == len(token) || token[i] != '_' {
			return "", "", false
		}
		b.WriteByte('_')
	}
	return "", "", false
}

// FNV-1a, 32 bit: http://www.isthe.com/chongo/tech/comp/fnv/ (draft-eastlake-fnv).
const (
	fnvOffset32 = 2166136261
	fnvPrime32  = 16777619
)

// Partition is the log partition of a device: FNV-1a 32 over app then device, without the separator,
// modulo n (which must be positive). It equals partition(n,1,2) of a NATS subject mapping over the
// same two tokens. An id without a separator is hashed as it is. It does not allocate.
func Partition(id track.DeviceID, n int) int {
	h := uint32(fnvOffset32)
	dot := false
	for i := 0; i < len(id); i++ {
		c := id[i]
		if c == '.' && !dot {
			dot = true
			continue
		}
		h = (h ^ uint32(c)) * fnvPrime32
	}
	return int(h % uint32(n))
}
