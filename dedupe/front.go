package dedupe

import (
	"time"

	"footfall/internal/db"
)

// front remembers recent claims in memory, so that a repeat, of which a busy shop makes many for each first, is answered
// without a look at the disk and without allocating (BenchmarkRepeatClaim). It is a cache of committed rows and nothing
// else: what it does not know is looked up, and it is empty after a start.
//
// It belongs to the ledger's writer goroutine, like every transaction that may claim. A row that a transaction writes
// is forgotten at once and learned when it is on disk; in between, also when the transaction fails, the plain path
// answers. TestFrontAgreesWithTheDisk compares the two.
type front struct {
	half     int // of the capacity
	new, old map[string]known
	row      []byte // where standing builds a key
}

type known struct {
	claim Claim
	until int64 // Unix ms, when the row vanishes; 0: never
}

// frontClaims bounds the front, at about 300 bytes a claim.
const frontClaims = 1 << 16

type frontKey struct{}

// frontOf is the front of tx's database; nil in a transaction that only reads.
func frontOf(tx *db.Tx) *front {
	f, _ := tx.Local(frontKey{}, newFront).(*front)
	return f
}

func newFront() any {
	return &front{half: frontClaims / 2, new: map[string]known{}, old: map[string]known{}}
}

// standing is get for the row of k, without allocating.
func (f *front) standing(k *Key, nowMS int64) (Claim, bool) {
	f.row = k.append(f.row[:0])
	return f.get(f.row, nowMS)
}

func (f *front) get(row []byte, nowMS int64) (Claim, bool) {
	k, ok := f.new[string(row)]
	if !ok {
		if k, ok = f.old[string(row)]; !ok {
			return Claim{}, false
		}
	}
	return k.claim, k.until == 0 || k.until > nowMS
}

func (f *front) forget(row []byte) {
	delete(f.new, string(row))
	delete(f.old, string(row))
}

func (f *front) learn(row string, c Claim) {
	delete(f.old, row)
	if len(f.new) >= f.half {
		f.old, f.new = f.new, make(map[string]known, f.half)
	}
	k := known{claim: c}
	if until := goneAt(c); !until.IsZero() {
		k.until = until.UnixMilli()
	}
	f.new[row] = k
}

// goneAt is when the row of c vanishes; zero: never.
func goneAt(c Claim) time.Time {
	if c.PeriodEnds.IsZero() {
		return time.Time{}
	}
	return c.PeriodEnds.Add(KeepAfterEnd)
}
