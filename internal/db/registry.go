package db

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// The meta space is the registry that is stored in the database itself: one row
// that says this is Footfall's, and one per key space with its version.
const (
	metaPrefix    = 0x00
	formatVersion = 1 // of the layout as a whole: key encoding, value header
)

var (
	metaSpace = register(Space{metaPrefix, "registry", formatVersion, formatVersion})
	formatKey = metaSpace.Key([]byte("footfall"))
)

func spaceKey(prefix byte) []byte { return metaSpace.Key([]byte("space"), []byte{prefix}) }

// spaceRow is the stored form of a registered space.
type spaceRow struct {
	Name    string `json:"name"`
	Version int    `json:"version"`
}

// checkFormat compares what the database says about itself with this binary
// and, when that is fine and the handle can write, records what is new.
func (d *DB) checkFormat() error {
	writes := map[string][]byte{}
	err := d.bdb.View(func(txn *badger.Txn) error {
		stored, fresh, err := readFormat(txn)
		switch {
		case err != nil:
			return err
		case fresh && d.readOnly:
			return nil // an empty database; there is nothing to misread
		case fresh:
			writes[string(formatKey)] = binary.AppendUvarint(nil, formatVersion)
		case stored > formatVersion:
			return d.newer("layout", int(stored), formatVersion)
		}
		for prefix, s := range registered() {
			if prefix == metaPrefix {
				continue
			}
			var row spaceRow
			switch val, err := getRaw(txn, spaceKey(prefix)); {
			case errors.Is(err, badger.ErrKeyNotFound):
			case err != nil:
				return err
			default:
				if err := json.Unmarshal(val, &row); err != nil {
					return fmt.Errorf("%w: %s has an unreadable registry: %v", ErrForeign, d.cfg.Dir, err)
				}
				if row.Name != s.name {
					return fmt.Errorf("%w: in %s the keys 0x%02x belong to %q, here to %q; use the binary that made it, or another directory",
						ErrForeign, d.cfg.Dir, prefix, row.Name, s.name)
				}
				if row.Version > s.version {
					return d.newer(s.name, row.Version, s.version)
				}
				if row.Version < s.oldest {
					return fmt.Errorf("%w: %s was written by an older Footfall: %s has version %d, this binary reads %d and later; use the binary that made it, or another directory",
						ErrOlderFormat, d.cfg.Dir, s.name, row.Version, s.oldest)
				}
			}
			if row.Version < s.version {
				val, err := json.Marshal(spaceRow{s.name, s.version})
				if err != nil {
					return err
				}
				writes[string(spaceKey(prefix))] = val
			}
		}
		return nil
	})
	if err != nil || d.readOnly || len(writes) == 0 {
		return err
	}
	txn := d.bdb.NewTransactionAt(d.version, true)
	defer txn.Discard()
	for k, v := range writes {
		if err = txn.Set([]byte(k), v); err != nil {
			break
		}
	}
	if err == nil {
		d.version++
		err = d.commitTxn(txn, d.version)
	}
	if err != nil {
		return fmt.Errorf("db: record key spaces: %w", classify(err, d.cfg.Dir))
	}
	return nil
}

func (d *DB) newer(what string, stored, known int) error {
	return fmt.Errorf("%w: %s was written by a newer Footfall: %s has version %d, this binary knows up to %d; start the newer version again, or restore a backup made before the upgrade",
		ErrNewerFormat, d.cfg.Dir, what, stored, known)
}

// readFormat returns the layout version, or fresh for an empty database. One
// that has rows but no version was made by something else.
func readFormat(txn *badger.Txn) (version uint64, fresh bool, err error) {
	val, err := getRaw(txn, formatKey)
	if errors.Is(err, badger.ErrKeyNotFound) {
		opts := badger.DefaultIteratorOptions
		opts.PrefetchValues = false
		it := txn.NewIterator(opts)
		defer it.Close()
		if it.Rewind(); it.Valid() {
			return 0, false, fmt.Errorf("%w: the directory holds another program's Badger database; choose another one", ErrForeign)
		}
		return 0, true, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("db: read format: %w", err)
	}
	version, n := binary.Uvarint(val)
	if n <= 0 {
		return 0, false, fmt.Errorf("%w: unreadable layout version", ErrForeign)
	}
	return version, false, nil
}

func getRaw(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}
