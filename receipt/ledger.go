package receipt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"footfall/internal/db"
)

var (
	factSpace = db.Register(0x20, "receipts", 1)      // mid -> []Fact
	codeSpace = db.Register(0x21, "receipt codes", 1) // app, code -> mid
)

// maxFacts bounds what is kept about one message: six kinds, and room for some orders.
const maxFacts = 64

// ErrTooMany: the message has so many facts that no more are kept.
var ErrTooMany = errors.New("receipt: too many facts about one message")

// Change is what adding a fact has changed.
type Change struct {
	// New: there was no fact of this name. Not so for a repeat.
	New bool
	// Reached are the stages that the message has come to by it, in the order of Stages.
	Reached []string
}

// Add puts a fact to those about a message, for keep from now on. Adding one again, or several in another order, comes
// to the same row. ErrTooMany: it was not added.
func Add(tx *db.Tx, mid string, f Fact, keep time.Duration) (Change, error) {
	facts, err := Facts(tx, mid)
	if err != nil {
		return Change{}, err
	}
	before := Reached(facts)
	full := len(facts) >= maxFacts
	facts, isNew, changed := add(facts, f)
	if !changed {
		return Change{}, nil
	}
	if isNew && full {
		return Change{}, ErrTooMany
	}
	row, err := json.Marshal(facts)
	if err != nil {
		return Change{}, fmt.Errorf("receipt: facts of %s: %w", mid, err)
	}
	if err := tx.SetUntil(factSpace.Key([]byte(mid)), row, tx.Now().Add(keep)); err != nil {
		return Change{}, err
	}
	reached := slices.DeleteFunc(Reached(facts), func(s string) bool { return slices.Contains(before, s) })
	return Change{New: isNew, Reached: reached}, nil
}

// Facts returns what is known about a message, ordered by kind and ref; none is no error.
func Facts(tx *db.Tx, mid string) ([]Fact, error) {
	row, err := tx.Get(factSpace.Key([]byte(mid)))
	if errors.Is(err, db.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var facts []Fact
	if err := json.Unmarshal(row, &facts); err != nil {
		return nil, fmt.Errorf("receipt: facts of %s: %w", mid, err)
	}
	return facts, nil
}

// PutCode remembers which message a code stands for, for keep. A code that stands for another message already goes on
// doing so. Among a million messages of an app that are kept at a time, the chance that any two share a code is one
// in two thousand.
func PutCode(tx *db.Tx, app, code, mid string, keep time.Duration) error {
	key := codeSpace.Key([]byte(app), []byte(code))
	if _, err := tx.Get(key); !errors.Is(err, db.ErrNotFound) {
		return err
	}
	return tx.SetUntil(key, []byte(mid), tx.Now().Add(keep))
}

// ByCode returns the message that a code, as CleanCode returns it, stands for.
func ByCode(tx *db.Tx, app, code string) (mid string, ok bool, err error) {
	v, err := tx.Get(codeSpace.Key([]byte(app), []byte(code)))
	if errors.Is(err, db.ErrNotFound) {
		return "", false, nil
	}
	return string(v), err == nil, err
}

// RowsOf returns the keys of what is known about some messages, and of their codes. It reads every code of the app.
func RowsOf(tx *db.Tx, app string, mids map[string]bool) (keys [][]byte, err error) {
	for mid := range mids {
		keys = append(keys, factSpace.Key([]byte(mid)))
	}
	err = tx.Scan(codeSpace.Key([]byte(app)), nil, func(key, mid []byte) (bool, error) {
		if mids[string(mid)] {
			keys = append(keys, bytes.Clone(key))
		}
		return true, nil
	})
	if err != nil {
		return nil, fmt.Errorf("receipt: read codes: %w", err)
	}
	return keys, nil
}
