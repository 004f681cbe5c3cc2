package dedupe

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"footfall/internal/db"
)

// sends remembers who was sent what and when, for frequency caps: (subject,
// time of the claim, message id) -> campaign, and a NUL after it when the push is
// outside the gateway's own caps. A claim cannot answer that: its key begins with
// the campaign.
var sends = db.Register(0x30, "sends", 1)

// Send is one push that counts against a subject's caps. Times have
// millisecond precision.
type Send struct {
	At       time.Time // of the claim: the event time of the entry
	Campaign string
	Exempt   bool `json:",omitzero"` // does not count to the gateway's own caps
}

// exemptMark ends the row of a send that is exempt; no campaign id has it.
const exemptMark = "\x00"

func readSend(at []byte, val []byte) Send {
	id, exempt := strings.CutSuffix(string(val), exemptMark)
	return Send{At: time.UnixMilli(int64(binary.BigEndian.Uint64(at))), Campaign: id, Exempt: exempt}
}

// maxSends bounds what Sends reads for one subject: more pushes than that in
// the longest time that a cap counts are not a campaign but a fault.
const maxSends = 10_000

func sendKey(subject string, at time.Time, mid string) []byte {
	return sends.Key([]byte(subject), binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())), []byte(mid))
}

// RecordSend notes that the claim c of k, which has been won, sends a push. It
// belongs in the transaction that enqueues the delivery; repeating it changes
// nothing. Release takes it back. keep is how long it counts; 0 is for ever.
// exempt is [Send.Exempt]; a send whose release was a mistake ([Commit]) counts.
func RecordSend(tx *db.Tx, k Key, c Claim, exempt bool, keep time.Duration) error {
	var until time.Time
	if keep > 0 {
		until = c.At.Add(keep)
	}
	val := k.Campaign
	if exempt {
		val += exemptMark
	}
	if err := tx.SetUntil(sendKey(k.Subject, c.At, c.MID), []byte(val), until); err != nil {
		return fmt.Errorf("dedupe: note a send: %w", err)
	}
	return nil
}

// EachSend calls fn for every send that is kept, those of a subject together and oldest first. It reads all of them.
func EachSend(tx *db.Tx, fn func(subject string, s Send)) error {
	err := tx.Scan(sends.Prefix(), nil, func(key, val []byte) (bool, error) {
		parts, ok := sends.Split(key)
		if !ok || len(parts) != 3 || len(parts[1]) != 8 {
			return false, fmt.Errorf("%w: % x", ErrUnreadable, key)
		}
		fn(string(parts[0]), readSend(parts[1], val))
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("dedupe: read sends: %w", err)
	}
	return nil
}

// Sends returns what a subject was sent, reserved claims included and released
// ones not, oldest first, at most the oldest 10,000. Its cost grows with what
// it returns.
func Sends(tx *db.Tx, subject string) ([]Send, error) {
	var out []Send
	err := tx.Scan(sends.Key([]byte(subject)), nil, func(key, val []byte) (bool, error) {
		parts, ok := sends.Split(key)
		if !ok || len(parts) != 3 || len(parts[1]) != 8 {
			return false, fmt.Errorf("%w: % x", ErrUnreadable, key)
		}
		out = append(out, readSend(parts[1], val))
		return len(out) < maxSends, nil
	})
	if err != nil {
		return nil, fmt.Errorf("dedupe: read sends: %w", err)
	}
	return out, nil
}
