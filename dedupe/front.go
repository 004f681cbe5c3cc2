package dedupe

import (
	"time"

	"footfall/internal/db"
)

// front remembers recent claims in memory, so that a repeat, of which a busy shop makes many for each first, is answered
// without a look at the disk, without building its row's key and without allocating (BenchmarkRepeatClaim). It is a cache of
// committed rows and nothing else: what it does not know is looked up, and it is empty after a start. Claims of
// PeriodNone, which nobody repeats, are not in it.
//
// It belongs to the ledger's writer goroutine, like every transaction that may claim. A row that a transaction writes
// is forgotten at once and learned when it is on disk; in between, also when the transaction fails, the plain path
// answers. TestFrontAgreesWithTheDisk compares the two.
type front struct {
	half     int // of the capacity
	new, old map[Key]*known
}

type known struct {
	claim Claim
	until int64 // Unix ms, when the row vanishes; 0: never
}

// frontClaims bounds the front, at about 400 bytes a claim.
const frontClaims = 1 << 16

type frontKey struct{}

// frontOf is the front of tx's database; nil in a transaction that only reads.
func frontOf(tx *db.Tx) *front {
	f, _ := tx.Local(frontKey{}, newFront).(*front)
	return f
}

func newFront() any {
	return &front{half: frontClaims / 2, new: map[Key]*known{}, old: map[Key]*known{}}
}

// get returns the standing claim of k, nil when it is not known. It belongs to the front.
func (f *front) get(k *Key, nowMS int64) *Claim {
	e := f.new[*k]
	if e == nil {
		e = f.old[*k]
	}
	if e == nil || e.until != 0 && e.until <= nowMS {
		return nil
	}
	return &e.claim
}

func (f *front) forget(k *Key) {
	delete(f.new, *k)
	delete(f.old, *k)
}

// learn remembers the claim of k. Nothing is kept of the memory behind k, which may be part of something larger.
func (f *front) learn(k Key, c Claim) {
	delete(f.old, k)
	if len(f.new) >= f.half {
		f.old, f.new = f.new, make(map[Key]*known, f.half)
	}
	e := &known{claim: c}
	if until := goneAt(c); !until.IsZero() {
		e.until = until.UnixMilli()
	}
	own := k.Campaign + k.Subject + k.Scope + k.Period
	for _, part := range []*string{&k.Campaign, &k.Subject, &k.Scope, &k.Period} {
		*part, own = own[:len(*part)], own[len(*part):]
	}
	f.new[k] = e
}

// goneAt is when the row of c vanishes; zero: never.
func goneAt(c Claim) time.Time {
	if c.PeriodEnds.IsZero() {
		return time.Time{}
	}
	return c.PeriodEnds.Add(KeepAfterEnd)
}
