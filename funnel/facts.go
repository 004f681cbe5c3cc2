package funnel

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"footfall/dedupe"
	"footfall/internal/db"
)

var (
	entrySpace   = db.Register(0x60, "report entries", 1)  // campaign, time, id -> Entry
	outcomeSpace = db.Register(0x61, "report outcomes", 1) // mid -> Outcome
	changeSpace  = db.Register(0x62, "subscriptions", 1)   // time, device, why -> Change
)

// KeepFacts is how long the rows of this package are kept when nobody says otherwise.
const KeepFacts = 90 * 24 * time.Hour

// Entry is one transition as one campaign saw it. Times are Unix ms. An entry of Campaign "" is an enter that no
// campaign was asked about.
type Entry struct {
	Campaign string `json:"-"`
	At       int64  `json:"-"` // event time
	ID       string `json:"-"` // of the decision: the same in every replay
	Kind     string `json:"k"` // enter, exit, dwell, crossed, campaign_began
	Fence    string `json:"f"`
	// OffsetMin is how far the store's clock was ahead of UTC, in minutes.
	OffsetMin int    `json:"z,omitempty"`
	Device    string `json:"d"`
	Subject   string `json:"u"` // who claims count against: "p:" and the person, or "d:" and the device
	Platform  string `json:"p,omitempty"`
	Source    string `json:"s,omitempty"` // of the fix: stream, os_enter, ...
	Variant   string `json:"v,omitempty"`
	// Reason is why it was held; "" for one that claimed. The one that stands for the holdout is HeldOut.
	Reason string `json:"r,omitempty"`
	MID    string `json:"m,omitempty"` // of the push; "" for a held one
	// Devices is how many devices of the person the push goes to, when these are several.
	Devices int `json:"n,omitempty"`
	// Lead marks one of the entries that a transition made, so that transitions can be counted.
	Lead bool `json:"l,omitempty"`
	// When the position was measured that settled it, when it arrived, when it was decided, and when the push may go
	// out at the earliest (0: at once).
	FixedAt    int64 `json:"tf,omitempty"`
	ReceivedAt int64 `json:"tr,omitempty"`
	DecidedAt  int64 `json:"td,omitempty"`
	SendAt     int64 `json:"ts,omitempty"`
}

// MIDs are the ids of the entry's push, one for each device that it goes to; none of a held one.
func (e *Entry) MIDs() (mids []string) {
	if e.MID == "" {
		return nil
	}
	for n := range max(1, e.Devices) {
		mids = append(mids, dedupe.CopyID(e.MID, n))
	}
	return mids
}

// HeldOut is the Reason of an entry whose subject is in the holdout and has won the claim.
const HeldOut = "holdout"

// Outcome is how the way of a push ended. Times are Unix ms.
type Outcome struct {
	State  string `json:"s"` // accepted, failed, expired, cancelled, dead, suppressed
	Reason string `json:"r,omitempty"`
	Asked  bool   `json:"a,omitempty"` // a provider may have seen it
	// First is when the first try began and Leased when the last one did, 0 when there was none; At is the end. First is left
	// out when it was the last, too.
	First  int64 `json:"f,omitempty"`
	Leased int64 `json:"l,omitempty"`
	At     int64 `json:"t"`
	// Took is how many of several devices a provider has taken it for.
	Took int `json:"n,omitempty"`
}

// Accepted is the State of a push that a provider has taken.
const Accepted = "accepted"

// Change says that a device can be pushed to from now on, or no longer. A device that was erased leaves its changes
// behind without its name.
type Change struct {
	At     int64  `json:"-"` // Unix ms
	Device string `json:"-"` // "" of one that was erased
	Joined bool   `json:"j,omitempty"`
	Why    string `json:"-"` // registered, opted_in; opted_out, token_dead, token_removed, erased
}

func ms(t int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(max(t, 0))) }

func (e *Entry) key() []byte { return entrySpace.Key([]byte(e.Campaign), ms(e.At), []byte(e.ID)) }

// PutEntry keeps e for keep after it happened. Putting it again changes nothing.
func PutEntry(tx *db.Tx, e *Entry, keep time.Duration) error {
	return put(tx, e.key(), e, time.UnixMilli(e.At).Add(keep))
}

// PutOutcome notes how the push mid ended, for keep from then on.
func PutOutcome(tx *db.Tx, mid string, o *Outcome, keep time.Duration) error {
	return put(tx, outcomeSpace.Key([]byte(mid)), o, time.UnixMilli(o.At).Add(keep))
}

// DropOutcome takes back what PutOutcome noted: the push is on its way again.
func DropOutcome(tx *db.Tx, mid string) error { return tx.Delete(outcomeSpace.Key([]byte(mid))) }

// PutChange keeps c for keep. Putting it again changes nothing.
func PutChange(tx *db.Tx, c *Change, keep time.Duration) error {
	return put(tx, c.key(), c, time.UnixMilli(c.At).Add(keep))
}

func put(tx *db.Tx, key []byte, v any, until time.Time) error {
	row, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("funnel: %w", err)
	}
	if err := tx.SetUntil(key, row, until); err != nil {
		return fmt.Errorf("funnel: %w", err)
	}
	return nil
}

// OutcomeOf reads how a push ended; ok is false while it is owed.
func OutcomeOf(tx *db.Tx, mid string) (o Outcome, ok bool, err error) {
	row, err := tx.Get(outcomeSpace.Key([]byte(mid)))
	if errors.Is(err, db.ErrNotFound) {
		return o, false, nil
	}
	if err == nil {
		err = json.Unmarshal(row, &o)
	}
	if err != nil {
		return o, false, fmt.Errorf("funnel: outcome of %s: %w", mid, err)
	}
	return o, true, nil
}

// Campaigns lists the campaigns that have entries.
func Campaigns(tx *db.Tx) ([]string, error) {
	ids, err := campaignsIn(tx)
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" }), err
}

// campaignsIn lists the campaigns that have entries, "" among them.
func campaignsIn(tx *db.Tx) (ids []string, err error) {
	from := entrySpace.Prefix()
	for more := true; more && err == nil; {
		more = false
		err = tx.Scan(entrySpace.Prefix(), from, func(key, _ []byte) (bool, error) {
			parts, ok := entrySpace.Split(key)
			if !ok || len(parts) != 3 {
				return false, fmt.Errorf("funnel: entry key %x", key)
			}
			ids = append(ids, string(parts[0]))
			// Behind every key of this campaign: no time is that large.
			from, more = entrySpace.Key(parts[0], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), true
			return false, nil
		})
	}
	return ids, err
}

// eachEntry calls fn for the entries of a campaign between two times in Unix ms, by time. The entry is good until fn
// returns.
func eachEntry(tx *db.Tx, campaign string, from, to int64, fn func(*Entry) error) error {
	return tx.Scan(entrySpace.Key([]byte(campaign)), entrySpace.Key([]byte(campaign), ms(from)), func(key, val []byte) (bool, error) {
		e, err := decodeEntry(key, val)
		if err != nil || e.At >= to {
			return false, err
		}
		return true, fn(&e)
	})
}

func decodeEntry(key, val []byte) (e Entry, err error) {
	parts, ok := entrySpace.Split(key)
	if !ok || len(parts) != 3 || len(parts[1]) != 8 {
		return e, fmt.Errorf("funnel: entry key %x", key)
	}
	if err := json.Unmarshal(val, &e); err != nil {
		return e, fmt.Errorf("funnel: entry %x: %w", key, err)
	}
	e.Campaign, e.At, e.ID = string(parts[0]), int64(binary.BigEndian.Uint64(parts[1])), string(parts[2])
	return e, nil
}

// eachChange calls fn for the changes from a time in Unix ms on.
func eachChange(tx *db.Tx, from int64, fn func(*Change) error) error {
	return tx.Scan(changeSpace.Prefix(), changeSpace.Key(ms(from)), func(key, val []byte) (bool, error) {
		var c Change
		parts, ok := changeSpace.Split(key)
		if !ok || len(parts) != 3 || len(parts[0]) != 8 {
			return false, fmt.Errorf("funnel: change key %x", key)
		}
		if err := json.Unmarshal(val, &c); err != nil {
			return false, fmt.Errorf("funnel: change %x: %w", key, err)
		}
		c.At, c.Device, c.Why = int64(binary.BigEndian.Uint64(parts[0])), string(parts[1]), string(parts[2])
		return true, fn(&c)
	})
}
