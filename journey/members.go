package journey

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"footfall/audience"
	"footfall/internal/db"
)

// Who is in the segments that journeys watch is remembered, so that joining and leaving are events of which each happens
// once: the row changes in the transaction that moves the journeys on.
var (
	memberSpace = db.Register(0x47, "segment members", 1) // watch, subject -> in or out, since when
	watchSpace  = db.Register(0x48, "segment watches", 1) // watch -> WatchState
	checkSpace  = db.Register(0x49, "segment checks", 1)  // device -> what has changed: Changed, and a stamp
)

// A Watch is a segment as some journey waits for people to join or leave it. An edit of the segment, or of one that it
// uses, makes another: nobody joins by an edit.
type Watch struct {
	ID      string // the segment's name and a hash of all that it says
	Segment string
	Rule    *audience.Rule

	names map[string]bool // of the events that it asks about
	any   bool            // it may ask about any
}

func newWatch(segment string, rule *audience.Rule) *Watch {
	text, _ := rule.MarshalText() // does not fail
	sum := sha256.Sum256(text)
	w := &Watch{ID: segment + "@" + hex.EncodeToString(sum[:8]), Segment: segment, Rule: rule, names: map[string]bool{}}
	names, all := rule.EventNames()
	for _, name := range names {
		w.names[name] = true
	}
	w.any = all
	return w
}

// Timed reports whether membership changes as time passes, without anything happening.
func (w *Watch) Timed() bool { return w.Rule.NeedsEvents() || w.Rule.NeedsVisits() }

// Concerns reports whether something of the kinds in c may have changed who is in the segment. event names the customer
// event, if it is known which.
func (w *Watch) Concerns(c Changed, event string) bool {
	return c&ChangedProfile != 0 || c&ChangedVisits != 0 && w.Rule.NeedsVisits() ||
		c&ChangedEvents != 0 && w.Rule.NeedsEvents() && (event == "" || w.any || w.names[event])
}

// Changed says what has changed of a person.
type Changed uint8

// Kinds of changes.
const (
	ChangedProfile Changed = 1 << iota // tags, fields of the device, who is signed in
	ChangedEvents
	ChangedVisits
)

// Watches lists what the journey waits for: as its steps and goals do, and with entries also as those who may enter do.
func (j *Journey) Watches(entries bool) (list []*Watch) {
	seen := map[string]bool{}
	skip := len(j.Entries)
	if entries {
		skip = 0
	}
	for m := range j.matches {
		if skip > 0 { // matches yields the entries first
			skip--
			continue
		}
		if m.Watch != nil && !seen[m.Watch.ID] {
			seen[m.Watch.ID] = true
			list = append(list, m.Watch)
		}
	}
	return list
}

// A Membership is what is known of a subject and a watch.
type Membership struct {
	Known bool // false: nothing has been noted
	In    bool
	Since int64 // Unix ms
}

func memberKey(watch, subject string) []byte { return memberSpace.Key([]byte(watch), []byte(subject)) }

// Member reads what is known of a subject.
func Member(tx *db.Tx, watch, subject string) (m Membership, err error) {
	val, err := tx.Get(memberKey(watch, subject))
	switch {
	case errors.Is(err, db.ErrNotFound):
		return m, nil
	case err != nil:
		return m, fmt.Errorf("journey: member of %s: %w", watch, err)
	}
	return parseMember(watch, val)
}

func parseMember(watch string, val []byte) (m Membership, err error) {
	if len(val) != 9 {
		return m, fmt.Errorf("journey: a member of %s is damaged: % x", watch, val)
	}
	return Membership{Known: true, In: val[0] == 1, Since: int64(binary.BigEndian.Uint64(val[1:]))}, nil
}

// PutMember notes that a subject is in or out.
func PutMember(tx *db.Tx, watch, subject string, in bool, since int64) error {
	val := make([]byte, 1, 9)
	if in {
		val[0] = 1
	}
	return tx.Set(memberKey(watch, subject), binary.BigEndian.AppendUint64(val, uint64(since)))
}

// DropMember forgets what is known of a subject.
func DropMember(tx *db.Tx, watch, subject string) error { return tx.Delete(memberKey(watch, subject)) }

// DropMembers removes up to most members of a watch, and returns how many.
func DropMembers(tx *db.Tx, watch string, most int) (n int, err error) {
	err = tx.Scan(memberSpace.Key([]byte(watch)), nil, func(key, _ []byte) (bool, error) {
		n++
		return n < most, tx.Delete(bytes.Clone(key))
	})
	return n, err
}

// WatchState is how far the first look at a watch has come, which notes who is in it already. Until it is over, who has not
// been noted may be in or out; after it, they are out. Times are Unix ms.
type WatchState struct {
	After string `json:"after,omitempty"` // the last device that was looked at
	Ready int64  `json:"ready,omitempty"` // when it was over
}

// WatchStates reads the state of every watch that there has been, by id.
func WatchStates(tx *db.Tx) (map[string]WatchState, error) {
	out := map[string]WatchState{}
	err := tx.Scan(watchSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
		parts, ok := watchSpace.Split(key)
		var st WatchState
		if err := json.Unmarshal(val, &st); !ok || len(parts) != 1 || err != nil {
			return false, fmt.Errorf("journey: damaged watch % x", key)
		}
		out[string(parts[0])] = st
		return true, nil
	})
	return out, err
}

// PutWatch writes the state of a watch.
func PutWatch(tx *db.Tx, watch string, st WatchState) error {
	val, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return tx.Set(watchSpace.Key([]byte(watch)), val)
}

// DropWatch removes a watch whose members are gone.
func DropWatch(tx *db.Tx, watch string) error { return tx.Delete(watchSpace.Key([]byte(watch))) }

// A Check is a device of which something has changed that its person's membership may depend on.
type Check struct {
	Device string
	Kinds  Changed
	stamp  uint64
}

// PutCheck asks for a look at a device. stamp is another for every change, so that a look does not remove what has been
// written since.
func PutCheck(tx *db.Tx, device string, kinds Changed, stamp uint64) error {
	key := checkSpace.Key([]byte(device))
	old, err := tx.Get(key)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		return err
	}
	if len(old) == 9 {
		kinds |= Changed(old[0])
	}
	return tx.Set(key, binary.BigEndian.AppendUint64([]byte{byte(kinds)}, stamp))
}

// Checks reads up to most of the looks that are asked for.
func Checks(tx *db.Tx, most int) (list []Check, err error) {
	err = tx.Scan(checkSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
		parts, ok := checkSpace.Split(key)
		if !ok || len(parts) != 1 || len(val) != 9 {
			return false, fmt.Errorf("journey: damaged check % x", key)
		}
		list = append(list, Check{string(parts[0]), Changed(val[0]), binary.BigEndian.Uint64(val[1:])})
		return len(list) < most, nil
	})
	return list, err
}

// Done removes a check unless something has changed since it was read.
func (c *Check) Done(tx *db.Tx) error {
	key := checkSpace.Key([]byte(c.Device))
	val, err := tx.Get(key)
	if errors.Is(err, db.ErrNotFound) || err == nil && (len(val) != 9 || binary.BigEndian.Uint64(val[1:]) != c.stamp) {
		return nil
	}
	if err != nil {
		return err
	}
	return tx.Delete(key)
}
