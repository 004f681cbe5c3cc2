package exchange

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"

	"footfall/push"
)

// MaxCollapseID is Apple's limit in bytes; Android tags keep to it as well, so
// that one message has one id everywhere.
const MaxCollapseID = 64

// CollapseID is what replaces an earlier copy of n on the phone: its own
// CollapseID, else the message id in 22 characters. An id that is too long or
// is not plain ASCII is replaced by its hash: the same input, the same id.
func CollapseID(n *push.Notification) string {
	if n.CollapseID != "" {
		if len(n.CollapseID) <= MaxCollapseID && plain(n.CollapseID) {
			return n.CollapseID
		}
		return hashed(n.CollapseID)
	}
	if b, ok := uuidBytes(n.MID); ok {
		return base64.RawURLEncoding.EncodeToString(b[:])
	}
	return hashed(n.MID)
}

// UUID reports whether s is a UUID in its canonical text form, which is the
// only form APNs takes as an apns-id.
func UUID(s string) bool {
	_, ok := uuidBytes(s)
	return ok
}

func uuidBytes(s string) (b [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return b, false
	}
	digits := s[:8] + s[9:13] + s[14:18] + s[19:23] + s[24:]
	_, err := hex.Decode(b[:], []byte(digits))
	return b, err == nil
}

func plain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func hashed(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
