package dedupe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"footfall/internal/db"
)

// Conditions that a caller branches on. Nothing has been written when one of
// them comes back.
var (
	// ErrKeyBytes: the bytes are not a claim key.
	ErrKeyBytes = errors.New("dedupe: not a claim key")
	// ErrNoClaim: there is no claim under the key, or its time is over.
	ErrNoClaim = errors.New("dedupe: no such claim")
	// ErrNotHolder: the claim belongs to another message id.
	ErrNotHolder = errors.New("dedupe: claim held by another message")
	// ErrCommitted: a committed claim cannot be released.
	ErrCommitted = errors.New("dedupe: claim is committed")
	// ErrUnreadable: a stored claim that cannot be decoded. The store has
	// checksums, so this is a mistake of ours, not of the disk.
	ErrUnreadable = errors.New("dedupe: unreadable claim")
)

// KeepAfterEnd is how long a claim outlives its period, so that late replays
// and questions still find it.
const KeepAfterEnd = 48 * time.Hour

// State of a claim. The zero value is no state.
type State uint8

const (
	// Reserved: a delivery for it is on its way.
	Reserved State = iota + 1
	// Committed: the provider has taken the message.
	Committed
	// Released: the delivery has failed for certain; the slot is free again.
	Released
)

// String returns "reserved", "committed" or "released".
func (s State) String() string {
	switch s {
	case Reserved:
		return "reserved"
	case Committed:
		return "committed"
	case Released:
		return "released"
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// Claim is the stored record. Times have millisecond precision.
type Claim struct {
	State State
	// MID is the message id, see Key.MessageID. Reserve fills it.
	MID string
	// At is when the slot was taken: the event time of the entry.
	At time.Time
	// PeriodEnds is when the slot becomes free by itself; zero: never.
	PeriodEnds time.Time
	// Fence is where it happened; part of the message id.
	Fence string
	// Releases counts how often the slot was released before this claim.
	Releases int
	// Reason is why it was released.
	Reason string
}

// Reserve tries to take the slot k under rule p, with At, PeriodEnds and Fence
// from c (the rest of c is ignored). When won, got is the new claim with its
// message id; else nothing changes and got is the standing claim.
//
// It is won when there is no claim, when the standing one was released, when p
// is rolling and the standing claim's At + p.Rolling is not after c.At, and
// always under PeriodNone. A rolling claim that is older than the standing one
// loses: arrival order decides.
func Reserve(tx *db.Tx, k Key, p Period, c Claim) (got Claim, won bool, err error) {
	if old := recent(tx, &k); old != nil && !old.gone(p, c.At) {
		return *old, false, nil // the usual case
	}
	return reserveStored(tx, k, p, c)
}

// reserveStored is Reserve when the front does not have the answer.
func reserveStored(tx *db.Tx, k Key, p Period, c Claim) (got Claim, won bool, err error) {
	c.State, c.Releases, c.Reason = Reserved, 0, ""
	if p.Kind == PeriodNone {
		return reserveNone(tx, k, c)
	}
	if p.Kind == PeriodRolling && c.PeriodEnds.IsZero() {
		c.PeriodEnds = c.At.Add(p.Rolling)
	}
	old, found, err := loadKey(tx, &k)
	if err != nil {
		return Claim{}, false, err
	}
	if found {
		if !old.gone(p, c.At) {
			return old, false, nil
		}
		c.Releases = old.Releases
		if old.State == Released {
			c.Releases++
		}
	}
	named := k
	if p.Kind == PeriodRolling {
		// One key serves all the windows of a rolling period, and the row of an
		// earlier one may be gone: only the time tells its messages apart.
		named.Period += "@" + strconv.FormatInt(c.At.UnixMilli(), 10)
	}
	c.MID = named.MessageID(c.Fence, c.Releases)
	return c, true, store(tx, &k, k.Bytes(), c)
}

// reserveNone adds a claim beside those that stand. Two of the same
// millisecond and fence are told apart by the counter.
func reserveNone(tx *db.Tx, k Key, c Claim) (Claim, bool, error) {
	for ; ; c.Releases++ {
		c.MID = k.MessageID(c.Fence, c.Releases)
		row := rowKey(k, c.MID)
		_, found, err := read(tx, row)
		if err != nil {
			return Claim{}, false, err
		}
		if !found {
			return c, true, store(tx, &k, row, c)
		}
	}
}

// Commit makes the claim of message mid final. Repeating it changes nothing.
// A claim that the same message had released is taken back, because the
// provider's acceptance is the stronger word. ErrNoClaim and ErrNotHolder.
func Commit(tx *db.Tx, k Key, mid string) error {
	row, c, err := held(tx, &k, mid)
	if err != nil || c.State == Committed {
		return err
	}
	released := c.State == Released
	c.State, c.Reason = Committed, ""
	if err := store(tx, &k, row, c); err != nil || !released {
		return err
	}
	return RecordSend(tx, k, c, false, KeepSends)
}

// KeepSends is how long a send is remembered at least: longer than any cap that
// is not for ever.
const KeepSends = 32 * 24 * time.Hour

// Release frees the slot that message mid holds and notes why. Repeating it
// changes nothing and keeps the first reason. ErrNoClaim, ErrNotHolder, and
// ErrCommitted: what the provider took is never given back.
func Release(tx *db.Tx, k Key, mid, reason string) error {
	row, c, err := held(tx, &k, mid)
	switch {
	case err != nil:
		return err
	case c.State == Committed:
		return fmt.Errorf("%w: %s", ErrCommitted, mid)
	case c.State == Released:
		return nil
	}
	c.State, c.Reason = Released, reason
	if err := tx.Delete(sendKey(k.Subject, c.At, mid)); err != nil {
		return fmt.Errorf("dedupe: take back a send: %w", err)
	}
	return store(tx, &k, row, c)
}

// Standing returns the claim because of which Reserve would not win under
// rule p at the time at; false when it would.
func Standing(tx *db.Tx, k Key, p Period, at time.Time) (Claim, bool, error) {
	if p.Kind == PeriodNone {
		return Claim{}, false, nil
	}
	c, found, err := loadKey(tx, &k)
	if err != nil || !found || c.gone(p, at) {
		return Claim{}, false, err
	}
	return c, true, nil
}

// gone reports whether a claim under rule p no longer stands in the way of one
// at the time at.
func (c *Claim) gone(p Period, at time.Time) bool {
	return c.State == Released || p.Kind == PeriodRolling && !at.Before(c.At.Add(p.Rolling))
}

// Retake makes the claim of message mid reserved again after it was released,
// because the message is to be sent once more. A claim that is reserved stays
// so. ErrNoClaim, ErrNotHolder when another message has the slot, and
// ErrCommitted.
func Retake(tx *db.Tx, k Key, mid string) error {
	row, c, err := held(tx, &k, mid)
	switch {
	case err != nil:
		return err
	case c.State == Committed:
		return fmt.Errorf("%w: %s", ErrCommitted, mid)
	case c.State == Reserved:
		return nil
	}
	c.State, c.Reason = Reserved, ""
	return store(tx, &k, row, c)
}

// Get returns the claim under k. Under PeriodNone there may be several; then
// it is one of them, and Scan lists all.
func Get(tx *db.Tx, k Key) (Claim, bool, error) {
	if !isNone(k.Period) {
		return loadKey(tx, &k)
	}
	var got Claim
	var found bool
	err := tx.Scan(k.Bytes(), nil, func(_, val []byte) (bool, error) {
		var err error
		got, err = decode(val)
		found = err == nil
		return false, err
	})
	return got, found, err
}

// Scan calls fn for every claim of a campaign, in the order of period, scope
// and subject, until fn returns false. period "" is all of them. It is the
// proof that nobody was told twice: one line per subject and period, none
// twice.
func Scan(tx *db.Tx, campaign, period string, fn func(Key, Claim) bool) error {
	prefix := claims.Key([]byte(campaign))
	if period != "" {
		prefix = claims.Key([]byte(campaign), []byte(period))
	}
	return tx.Scan(prefix, nil, func(key, val []byte) (bool, error) {
		k, err := ParseKey(key)
		if err != nil {
			return false, err
		}
		c, err := decode(val)
		if err != nil {
			return false, fmt.Errorf("%w (campaign %q, period %q, subject %q)", err, k.Campaign, k.Period, k.Subject)
		}
		return fn(k, c), nil
	})
}

// rowKey is where the claim of message mid is stored.
func rowKey(k Key, mid string) []byte {
	if !isNone(k.Period) {
		return k.Bytes()
	}
	return claims.Key([]byte(k.Campaign), []byte(k.Period), []byte(k.Scope), []byte(k.Subject), []byte(mid))
}

// held loads the claim of k that message mid must be the holder of, and says where it is stored.
func held(tx *db.Tx, k *Key, mid string) (row []byte, c Claim, err error) {
	row = rowKey(*k, mid)
	var found bool
	if isNone(k.Period) {
		c, found, err = read(tx, row)
	} else {
		c, found, err = loadKey(tx, k)
	}
	switch {
	case err != nil:
		return nil, Claim{}, err
	case !found:
		return nil, Claim{}, fmt.Errorf("%w: for message %s", ErrNoClaim, mid)
	case c.MID != mid:
		return nil, Claim{}, fmt.Errorf("%w: %s, not %s", ErrNotHolder, c.MID, mid)
	}
	return row, c, nil
}

// recent is what the front knows of k: the standing claim, or nil. It is good until the next change of a claim.
func recent(tx *db.Tx, k *Key) *Claim {
	f := frontOf(tx)
	if f == nil {
		return nil
	}
	return f.get(k, tx.NowMS())
}

// loadKey reads the claim of k, which must not be of PeriodNone: from the front, which remembers the last ones, or from the
// disk.
func loadKey(tx *db.Tx, k *Key) (Claim, bool, error) {
	if c := recent(tx, k); c != nil {
		return *c, true, nil
	}
	c, found, err := read(tx, k.Bytes())
	if f := frontOf(tx); found && f != nil {
		k := *k
		tx.AfterCommit(func() { f.learn(k, c) })
	}
	return c, found, err
}

// read reads the claim of a row from the disk.
func read(tx *db.Tx, row []byte) (Claim, bool, error) {
	val, err := tx.Get(row)
	if errors.Is(err, db.ErrNotFound) {
		return Claim{}, false, nil
	}
	if err != nil {
		return Claim{}, false, fmt.Errorf("dedupe: read claim: %w", err)
	}
	c, err := decode(val)
	return c, err == nil, err
}

// store writes the claim of k to its row.
func store(tx *db.Tx, k *Key, row []byte, c Claim) error {
	val := encode(c)
	if err := tx.SetUntil(row, val, goneAt(c)); err != nil {
		return fmt.Errorf("dedupe: write claim: %w", err)
	}
	if f := frontOf(tx); f != nil && !isNone(k.Period) {
		k := *k
		f.forget(&k)
		tx.AfterCommit(func() {
			if c, err := decode(val); err == nil { // as a reader of the disk would see it
				f.learn(k, c)
			}
		})
	}
	return nil
}

// codecVersion begins every stored claim.
const codecVersion = 1

// encode writes version, state, the times (Unix ms; PeriodEnds 0 for never),
// the counter and the texts, each with its length in front.
func encode(c Claim) []byte {
	b := make([]byte, 0, 32+len(c.MID)+len(c.Fence)+len(c.Reason))
	b = append(b, codecVersion, byte(c.State))
	b = binary.AppendVarint(b, c.At.UnixMilli())
	var ends int64
	if !c.PeriodEnds.IsZero() {
		ends = c.PeriodEnds.UnixMilli()
	}
	b = binary.AppendVarint(b, ends)
	b = binary.AppendUvarint(b, uint64(c.Releases))
	for _, s := range []string{c.MID, c.Fence, c.Reason} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func decode(b []byte) (Claim, error) {
	if len(b) < 2 || b[0] != codecVersion || b[1] < byte(Reserved) || b[1] > byte(Released) {
		return Claim{}, ErrUnreadable
	}
	c := Claim{State: State(b[1])}
	b = b[2:]
	at, n := binary.Varint(b)
	if n <= 0 {
		return Claim{}, ErrUnreadable
	}
	b = b[n:]
	ends, n := binary.Varint(b)
	if n <= 0 {
		return Claim{}, ErrUnreadable
	}
	b = b[n:]
	releases, n := binary.Uvarint(b)
	if n <= 0 || releases > 1<<31 {
		return Claim{}, ErrUnreadable
	}
	b = b[n:]
	c.At, c.Releases = time.UnixMilli(at).UTC(), int(releases)
	if ends != 0 {
		c.PeriodEnds = time.UnixMilli(ends).UTC()
	}
	for _, dst := range []*string{&c.MID, &c.Fence, &c.Reason} {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return Claim{}, ErrUnreadable
		}
		*dst = string(b[n : n+int(size)])
		b = b[n+int(size):]
	}
	if len(b) != 0 {
		return Claim{}, ErrUnreadable
	}
	return c, nil
}
