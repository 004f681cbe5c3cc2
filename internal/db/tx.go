package db

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// metaExpires marks, in Badger's user meta byte, a value that begins with its
// logical expiry (Unix ms, 8 bytes big endian).
const metaExpires = 1

// ttlSlack is added to the lifetime given to Badger, whose clock is the real
// one. The logical expiry is exact; the slack only keeps Badger from dropping
// a row early when the configured clock runs slower than the real one.
const ttlSlack = 10 * time.Minute

// errReadTx: a write in View.
var errReadTx = fmt.Errorf("%w transaction: writes need Update", ErrReadOnly)

// Tx is the view of one fn: a snapshot of the database, below it (in Update)
// the writes of earlier fns of the same group and its own writes. Valid only
// until fn returns; single goroutine. Time, for expiries, stands still in it.
type Tx struct {
	db    *DB
	txn   *badger.Txn
	nowMS int64
	group *overlay // writes of earlier fns; nil in View
	own   *overlay // writes of this fn; nil in View
	after []func()

	locals          map[any]any // of Local
	localKey, local any         // of the last Local
}

// Now is the configured clock's time at the start of the transaction.
func (t *Tx) Now() time.Time { return time.UnixMilli(t.nowMS) }

// NowMS is Now in Unix milliseconds.
func (t *Tx) NowMS() int64 { return t.nowMS }

// Get returns the value of key, or ErrNotFound. The value belongs to the
// caller.
func (t *Tx) Get(key []byte) ([]byte, error) {
	if w, ok := t.written(key); ok {
		if w.dead(t.nowMS) {
			return nil, ErrNotFound
		}
		return bytes.Clone(w.val), nil
	}
	item, err := t.txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("db: get: %w", err)
	}
	val, err := item.ValueCopy(nil)
	if err != nil {
		return nil, fmt.Errorf("db: get: %w", err)
	}
	val, live := t.unwrap(item.UserMeta(), val)
	if !live {
		return nil, ErrNotFound
	}
	return val, nil
}

// Set stores val under key, without expiry. Both are copied. A value of a MiB or more is ErrTooBig.
func (t *Tx) Set(key, val []byte) error { return t.put(key, write{val: bytes.Clone(val)}) }

// SetUntil stores val under key until expires by the configured clock: from
// that millisecond on the row is absent for every reader, and some time later
// Badger takes its space back. A zero time means no expiry.
func (t *Tx) SetUntil(key, val []byte, expires time.Time) error {
	if expires.IsZero() {
		return t.Set(key, val)
	}
	return t.put(key, write{val: bytes.Clone(val), expires: expires.UnixMilli(), hasExpiry: true})
}

// Delete removes key. An absent key is no error.
func (t *Tx) Delete(key []byte) error { return t.put(key, write{del: true}) }

// AfterCommit has fn called when the writes of this transaction are on disk, on the writer goroutine, before the
// caller of Update or Submit hears of it. fn must be quick and must not block. It is not called when the
// transaction fails, and once at most when it runs again.
func (t *Tx) AfterCommit(fn func()) { t.after = append(t.after, fn) }

// Local returns a value that lives as long as the open database and belongs to the writer goroutine: what init returned
// when key was first asked for. A package keeps there what it remembers between transactions, under a key of a type of
// its own, without a lock. What it says must be true whether or not earlier transactions were committed; see
// AfterCommit. In View it returns nil.
func (t *Tx) Local(key any, init func() any) any {
	if t.own == nil {
		return nil
	}
	if t.localKey == key { // the usual case, and a tenth of the map's cost
		return t.local
	}
	v, ok := t.locals[key]
	if !ok {
		v = init()
		t.locals[key] = v
	}
	t.localKey, t.local = key, v
	return v
}

func (t *Tx) put(key []byte, w write) error {
	if t.own == nil {
		return errReadTx
	}
	if len(key) < 2 || !t.db.owned[key[0]] {
		return fmt.Errorf("%w: % x", ErrKey, key[:min(len(key), 8)])
	}
	if len(w.val) > maxValue {
		return fmt.Errorf("%w: a value of %d bytes", ErrTooBig, len(w.val))
	}
	t.own.put(string(key), w)
	return nil
}

// Scan calls fn for each key that begins with prefix and is not below from (nil:
// from the first), ascending, until fn says no more or fails; Scan returns
// fn's error. It sees what this Tx has written before it. fn may write, also
// to keys under prefix: a key ahead that it deletes or changes is seen so, a
// key that it adds may or may not be visited. Scans may be nested. key and val
// are valid until fn returns; nothing is loaded ahead, so memory does not grow
// with the range.
func (t *Tx) Scan(prefix, from []byte, fn func(key, val []byte) (more bool, err error)) error {
	return t.scan(prefix, from, nil, fn)
}

// ScanRange is Scan up to, and without, the key to. It does not look past to: where a Scan that stops at a key
// first wades through all deleted rows before it, this one costs what lies in the range.
func (t *Tx) ScanRange(prefix, from, to []byte, fn func(key, val []byte) (more bool, err error)) error {
	return t.scan(prefix, from, to, fn)
}

// scan is ScanRange; to is nil: no bound.
func (t *Tx) scan(prefix, from, to []byte, fn func(key, val []byte) (more bool, err error)) error {
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	opts := badger.DefaultIteratorOptions
	opts.PrefetchValues = false // values live in the tree; prefetching starts a goroutine per item
	opts.Prefix = prefix
	opts.AllVersions = to != nil // else Badger looks for a live row, however far that is
	it := t.txn.NewIterator(opts)
	defer it.Close()
	it.Seek(from)

	var seen []byte // with AllVersions: the key whose older versions are passed over
	atRow := func() bool {
		for ; it.ValidForPrefix(prefix); it.Next() {
			item := it.Item()
			switch {
			case to == nil:
				return true
			case bytes.Compare(item.Key(), to) >= 0:
				return false
			case bytes.Equal(item.Key(), seen):
				continue
			}
			seen = append(seen[:0], item.Key()...)
			if !item.IsDeletedOrExpired() {
				return true
			}
		}
		return false
	}

	pending := t.pendingKeys(prefix, from)
	if to != nil {
		end, _ := slices.BinarySearch(pending, string(to))
		pending = pending[:end]
	}
	for stored := atRow(); ; {
		if !stored && len(pending) == 0 {
			return nil
		}
		var order int // < 0: the stored key comes first; 0: a write hides it
		switch {
		case !stored:
			order = 1
		case len(pending) == 0:
			order = -1
		default:
			order = bytes.Compare(it.Item().Key(), []byte(pending[0]))
		}
		var key, val []byte
		live := false
		if order < 0 {
			key = it.Item().Key()
			if w, ok := t.written(key); ok { // written by fn during this scan
				val, live = w.val, !w.dead(t.nowMS)
			} else {
				err := it.Item().Value(func(v []byte) error {
					val, live = t.unwrap(it.Item().UserMeta(), v)
					return nil
				})
				if err != nil {
					return fmt.Errorf("db: scan: %w", err)
				}
			}
		} else {
			key = []byte(pending[0])
			w, _ := t.written(key)
			val, live = w.val, !w.dead(t.nowMS)
			pending = pending[1:]
		}
		if live {
			more, err := fn(key, val)
			if err != nil || !more {
				return err
			}
		}
		if stored && order <= 0 {
			it.Next()
			stored = atRow()
		}
	}
}

// written returns the latest write to key that is not in the snapshot.
func (t *Tx) written(key []byte) (write, bool) {
	if t.own == nil {
		return write{}, false
	}
	if w, ok := t.own.get(key); ok {
		return w, true
	}
	return t.group.get(key)
}

// pendingKeys lists, ascending and distinct, the keys with prefix, from on,
// that were written but are not in the snapshot.
func (t *Tx) pendingKeys(prefix, from []byte) []string {
	if t.own == nil {
		return nil
	}
	keys := t.own.keys(t.group.keys(nil, prefix, from), prefix, from)
	slices.Sort(keys)
	return slices.Compact(keys)
}

// unwrap takes the logical expiry off a stored value and says whether the row
// is still there.
func (t *Tx) unwrap(meta byte, val []byte) ([]byte, bool) {
	if meta&metaExpires == 0 {
		return val, true
	}
	if len(val) < 8 {
		return nil, false
	}
	return val[8:], int64(binary.BigEndian.Uint64(val)) > t.nowMS
}
