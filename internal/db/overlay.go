package db

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// write is one uncommitted change.
type write struct {
	val       []byte
	expires   int64 // Unix ms, when hasExpiry
	hasExpiry bool
	del       bool
}

// dead reports whether a reader at nowMS sees no row.
func (w write) dead(nowMS int64) bool { return w.del || w.hasExpiry && w.expires <= nowMS }

// overlay holds uncommitted writes, the last one per key. It is kept by space
// so that a scan of one space does not wade through the writes to the others.
type overlay struct {
	spaces map[byte]map[string]write
	count  int64
	size   int64
}

func (o *overlay) get(key []byte) (write, bool) {
	if o.count == 0 || len(key) == 0 {
		return write{}, false
	}
	w, ok := o.spaces[key[0]][string(key)]
	return w, ok
}

func (o *overlay) put(key string, w write) {
	if o.spaces == nil {
		o.spaces = make(map[byte]map[string]write)
	}
	m := o.spaces[key[0]]
	if m == nil {
		m = make(map[string]write)
		o.spaces[key[0]] = m
	}
	if old, ok := m[key]; ok {
		o.size -= entrySize(key, old)
		o.count--
	}
	m[key] = w
	o.size += entrySize(key, w)
	o.count++
}

// keys appends to dst the keys with prefix that are not below from.
func (o *overlay) keys(dst []string, prefix, from []byte) []string {
	if o.count == 0 {
		return dst
	}
	p, f := string(prefix), string(from)
	for b, m := range o.spaces {
		if len(prefix) > 0 && b != prefix[0] {
			continue
		}
		for k := range m {
			if strings.HasPrefix(k, p) && k >= f {
				dst = append(dst, k)
			}
		}
	}
	return dst
}

// merge lays the writes of src over o and takes src over.
func (o *overlay) merge(src *overlay) {
	if o.count == 0 { // most groups begin with their largest part
		*o = *src
		return
	}
	for _, m := range src.spaces {
		for k, w := range m {
			o.put(k, w)
		}
	}
}

// entrySize bounds from above what Badger counts for one entry (key, value or
// value pointer, meta bytes, expiry, version) plus our own expiry header.
func entrySize(key string, w write) int64 { return int64(len(key)+len(w.val)) + 48 }

// apply writes o into a Badger transaction. now is the configured clock.
func (o *overlay) apply(txn *badger.Txn, now, real time.Time) error {
	for _, m := range o.spaces {
		for k, w := range m {
			key := []byte(k)
			if w.dead(now.UnixMilli()) {
				if err := txn.Delete(key); err != nil {
					return err
				}
				continue
			}
			e := badger.NewEntry(key, w.val)
			if w.hasExpiry {
				val := make([]byte, 0, 8+len(w.val))
				val = binary.BigEndian.AppendUint64(val, uint64(w.expires))
				e = badger.NewEntry(key, append(val, w.val...)).WithMeta(metaExpires)
				left := time.Duration(w.expires-now.UnixMilli()) * time.Millisecond
				e.ExpiresAt = uint64(real.Add(left + ttlSlack).Unix())
			}
			if err := txn.SetEntry(e); err != nil {
				return err
			}
		}
	}
	return nil
}
