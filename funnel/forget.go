package funnel

import (
	"bytes"
	"time"

	"footfall/internal/db"
)

// EntriesOf calls fn with the entries that match selects and their keys. It reads every entry.
func EntriesOf(tx *db.Tx, match func(*Entry) bool, fn func(key []byte, e *Entry)) error {
	return tx.Scan(entrySpace.Prefix(), nil, func(key, val []byte) (bool, error) {
		e, err := decodeEntry(key, val)
		if err == nil && match(&e) {
			fn(bytes.Clone(key), &e)
		}
		return true, err
	})
}

// OutcomeKeys returns the keys of how some pushes ended.
func OutcomeKeys(mids map[string]bool) (keys [][]byte) {
	for mid := range mids {
		keys = append(keys, outcomeSpace.Key([]byte(mid)))
	}
	return keys
}

// ChangesOf lists when some devices could be pushed to, by time.
func ChangesOf(tx *db.Tx, devices map[string]bool) (out []Change, err error) {
	err = eachChange(tx, 0, func(c *Change) error {
		if devices[c.Device] {
			out = append(out, *c)
		}
		return nil
	})
	return out, err
}

// Unname takes the device's name off a change, so that the number of subscribers of past days stays what it was.
func Unname(tx *db.Tx, c *Change, keep time.Duration) error {
	if err := tx.Delete(c.key()); err != nil {
		return err
	}
	bare := *c
	bare.Device = ""
	for { // two devices may have changed in the same millisecond
		if _, err := tx.Get(bare.key()); err != nil {
			break
		}
		bare.At++
	}
	return PutChange(tx, &bare, keep)
}

func (c *Change) key() []byte { return changeSpace.Key(ms(c.At), []byte(c.Device), []byte(c.Why)) }
