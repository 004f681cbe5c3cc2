package dedupe

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"

	"footfall/internal/db"
)

// claims is the key space of this package: (campaign, period, scope, subject),
// and for PeriodNone the message id as a fifth part. Campaign and period come
// first so that the proof for one campaign and day is one range.
var claims = db.Register(0x04, "claims", 1)

// Key names one slot: a campaign, who it is for, what it is limited to, and
// the period (an id from Period.At). Any text is allowed in each part.
type Key struct {
	Campaign string `json:"campaign"`
	// Subject is who must not be told twice: "p:" and a person or "d:" and a device.
	Subject string `json:"subject"`
	// Scope is "" for the whole campaign, else the fence or fence group.
	Scope  string `json:"scope,omitempty"`
	Period string `json:"period"`
}

// Bytes returns the key as stored. Different keys have different bytes.
func (k Key) Bytes() []byte {
	return k.append(make([]byte, 0, 16+len(k.Campaign)+len(k.Period)+len(k.Scope)+len(k.Subject)))
}

func (k *Key) append(dst []byte) []byte {
	return claims.AppendKey(dst, k.Campaign, k.Period, k.Scope, k.Subject)
}

// ParseKey undoes Bytes.
func ParseKey(b []byte) (Key, error) {
	parts, ok := claims.Split(b)
	if !ok || len(parts) < 4 || len(parts) > 5 {
		return Key{}, fmt.Errorf("%w: % x", ErrKeyBytes, b)
	}
	return Key{Campaign: string(parts[0]), Period: string(parts[1]), Scope: string(parts[2]), Subject: string(parts[3])}, nil
}

// MessageID returns the id of the message that a claim of k stands for, as
// UUID text in lower case (RFC 9562 version 8). It is the same on every
// machine and in every replay: the first 16 bytes of SHA-256 over the parts,
// each with its length in front. releases is Claim.Releases.
//
// A rolling period has one key for all time; Reserve puts the time of the
// claim into the period before it asks for the id.
func (k Key) MessageID(fence string, releases int) string {
	var buf []byte
	for _, part := range []string{"footfall message 1", k.Campaign, k.Subject, k.Scope, k.Period, fence, strconv.Itoa(releases)} {
		buf = binary.AppendUvarint(buf, uint64(len(part)))
		buf = append(buf, part...)
	}
	return uuid8(sha256.Sum256(buf))
}

// CopyID is the id of the n-th copy of a message, for one that goes to several
// devices: the message's own for 0, else another that is the same on every
// machine and in every replay.
func CopyID(mid string, n int) string {
	if n == 0 {
		return mid
	}
	return uuid8(sha256.Sum256(fmt.Appendf(nil, "footfall copy 1|%s|%d", mid, n)))
}

func uuid8(sum [sha256.Size]byte) string {
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x80 // version 8: custom
	u[8] = u[8]&0x3f | 0x80 // variant
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
