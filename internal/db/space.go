package db

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// A key is the prefix byte of its space and then its parts. Each part is
// written with 0x00 as 0x00 0xFF and ends with 0x00 0x01, so that
//
//   - no two different part lists give the same key,
//   - keys sort as their part lists do, part by part, byte-wise,
//   - Key(a) is a prefix of exactly the keys whose first part is a.
//
// The scheme is the tuple encoding of FoundationDB's layers.
const (
	partEscape = 0x00
	partZero   = 0xFF
	partEnd    = 0x01
)

// Space is a registered range of keys with one owner and one version. The zero
// Space is not usable. Safe for concurrent use.
type Space struct {
	prefix  byte
	name    string
	version int
	oldest  int // the oldest version that this binary can read
}

// registry holds the spaces of this binary. Spaces are registered by package
// variables, so it is complete before main starts.
var registry struct {
	sync.Mutex
	spaces map[byte]Space
}

// Register claims the keys that begin with prefix for the calling package,
// which keeps the result in a package variable. The version belongs to the
// encoding of the values (from 1): raise it when an older binary could no
// longer read what is written. A newer binary must read every older encoding,
// because Open records the new version and leaves the rows as they are; one that
// does not says so with RegisterSince.
//
// A duplicate prefix, the reserved prefix 0, an empty name or a version below
// 1 panics: it is a mistake in the program, found at its first start.
func Register(prefix byte, name string, version int) Space {
	return RegisterSince(prefix, name, version, 1)
}

// RegisterSince is Register for an encoding that cannot read versions before
// oldest: Open refuses a database that has one.
func RegisterSince(prefix byte, name string, version, oldest int) Space {
	if prefix == metaPrefix || name == "" || version < 1 || oldest < 1 || oldest > version {
		panic(fmt.Sprintf("db: bad space %#02x %q version %d since %d", prefix, name, version, oldest))
	}
	return register(Space{prefix, name, version, oldest})
}

func register(s Space) Space {
	registry.Lock()
	defer registry.Unlock()
	if old, dup := registry.spaces[s.prefix]; dup {
		panic(fmt.Sprintf("db: prefix %#02x is registered for %q and for %q", s.prefix, old.name, s.name))
	}
	if registry.spaces == nil {
		registry.spaces = make(map[byte]Space)
	}
	registry.spaces[s.prefix] = s
	return s
}

// registered returns a copy of the registered spaces by prefix.
func registered() map[byte]Space {
	registry.Lock()
	defer registry.Unlock()
	m := make(map[byte]Space, len(registry.spaces))
	for p, s := range registry.spaces {
		m[p] = s
	}
	return m
}

// Spaces lists the registered spaces in the order of their prefixes, without that of the registry itself.
func Spaces() (list []Space) {
	all := registered()
	for _, prefix := range slices.Sorted(maps.Keys(all)) {
		if prefix != metaPrefix {
			list = append(list, all[prefix])
		}
	}
	return list
}

// Name is the name given to Register.
func (s Space) Name() string { return s.name }

// Prefix returns the bytes that every key of the space begins with, for Scan.
func (s Space) Prefix() []byte { return []byte{s.prefix} }

// Key returns the key for parts, in a new slice. See the package comment of
// this file for its order; big-endian integers as parts sort by value.
func (s Space) Key(parts ...[]byte) []byte {
	n := 1
	for _, p := range parts {
		n += len(p) + 4
	}
	k := append(make([]byte, 0, n), s.prefix)
	for _, p := range parts {
		k = endPart(append(k, p...), len(k))
	}
	return k
}

// AppendKey appends to dst what Key returns for the same parts.
func (s Space) AppendKey(dst []byte, parts ...string) []byte {
	dst = append(dst, s.prefix)
	for _, p := range parts {
		dst = endPart(append(dst, p...), len(dst))
	}
	return dst
}

// endPart escapes and ends the part of k that begins at from.
func endPart(k []byte, from int) []byte {
	if bytes.IndexByte(k[from:], partEscape) >= 0 { // rare
		raw := bytes.Clone(k[from:])
		k = k[:from]
		for _, b := range raw {
			k = append(k, b)
			if b == partEscape {
				k = append(k, partZero)
			}
		}
	}
	return append(k, partEscape, partEnd)
}

// Split undoes Key. It reports false for a key of another space and for bytes
// that Key cannot have made. The parts are new slices, of one piece of memory.
func (s Space) Split(key []byte) (parts [][]byte, ok bool) {
	if len(key) == 0 || key[0] != s.prefix {
		return nil, false
	}
	parts = make([][]byte, 0, 5) // most keys have no more
	text := make([]byte, 0, len(key))
	begin := 0 // of the present part, in text
	for i := 1; i < len(key); i++ {
		n := bytes.IndexByte(key[i:], partEscape)
		if n < 0 {
			return parts, false // the last part has no end
		}
		text = append(text, key[i:i+n]...)
		i += n + 1
		if i == len(key) {
			return nil, false
		}
		switch key[i] {
		case partZero:
			text = append(text, partEscape)
		case partEnd:
			parts = append(parts, text[begin:len(text):len(text)])
			begin = len(text)
		default:
			return nil, false
		}
	}
	return parts, begin == len(text)
}

// After returns the smallest key greater than key, for Scan's from when a scan
// goes on behind the last key it has seen. It is a new slice.
func After(key []byte) []byte {
	return append(append(make([]byte, 0, len(key)+1), key...), 0)
}
