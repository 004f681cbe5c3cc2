package fences

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrBadCatalogue comes back when stored catalogue bytes cannot be read. The
// catalogue is then unchanged.
var ErrBadCatalogue = errors.New("fences: stored catalogue cannot be read")

// Catalogue remembers what a fence's history is, across edits and restarts, so
// that a restart is not an edit and a removed fence's number never comes to
// mean another fence.
//
// For every id that was ever part of a set it holds a handle (from 1, never
// reused for another id), the generation in which the fence was created, the
// generation in which its geometry last changed, and the geometry's hash. NewSet
// advances it: when the content differs from the last set's the generation
// rises by one; a new id, or one that had been removed and came back, gets
// CreatedGen = ShapeGen = the new generation; a changed geometry gets a new
// ShapeGen; any other edit changes neither.
//
// The zero value is an empty catalogue. It is not safe for concurrent use; its
// owner is whoever publishes sets. It grows by about 100 bytes for each id ever
// used and never shrinks.
type Catalogue struct {
	gen      uint32
	last     uint32        // highest handle given out
	revision string        // of the set that gen stands for
	places   map[ID]uint32 // in entries
	entries  []entry       // ascending by handle
	sets     uint64        // how many it has seen
}

// entry is what is known of an id.
type entry struct {
	id                           ID
	handle, createdGen, shapeGen uint32
	shape                        uint64 // geo.Shape.Hash
	set                          uint64 // the last that it was part of; live in that whose number is Catalogue.sets
}

// Gen returns the generation of the last set, 0 before the first.
func (c *Catalogue) Gen() uint32 { return c.gen }

// Len returns the number of ids the catalogue knows, removed ones included.
func (c *Catalogue) Len() int { return len(c.entries) }

// HandleOf returns the handle of an id, also of one that has been removed.
func (c *Catalogue) HandleOf(id ID) (uint32, bool) {
	i, ok := c.places[id]
	if !ok {
		return 0, false
	}
	return c.entries[i].handle, true
}

// IDs calls fn with every handle and id, removed ones included, in ascending
// order of handle, until fn returns false.
func (c *Catalogue) IDs(fn func(handle uint32, id ID, live bool) bool) {
	for i := range c.entries {
		if e := &c.entries[i]; !fn(e.handle, e.id, e.set == c.sets) {
			return
		}
	}
}

// advance makes fs the last set and fills their handles and generations. The
// ids are known to be distinct; hashes are those of the shapes. An id costs one look into the map: with the
// entries in the map, and a second map of what had been live, advance took three times as long.
func (c *Catalogue) advance(fs []Fence, hashes []uint64, revision string) uint32 {
	if c.places == nil {
		c.places = make(map[ID]uint32, len(fs))
		c.entries = make([]entry, 0, len(fs))
	}
	if c.gen == 0 || revision != c.revision {
		c.gen++
		c.revision = revision
	}
	before := c.sets
	c.sets++
	for i := range fs {
		letOthersRun(i)
		f := &fs[i]
		at, known := c.places[f.ID]
		if !known {
			at = uint32(len(c.entries))
			c.last++
			c.places[f.ID] = at
			c.entries = append(c.entries, entry{id: f.ID, handle: c.last, createdGen: c.gen, shapeGen: c.gen})
		}
		e := &c.entries[at]
		switch {
		case !known:
		case e.set != before:
			e.createdGen, e.shapeGen = c.gen, c.gen
		case e.shape != hashes[i]:
			e.shapeGen = c.gen
		}
		e.shape, e.set = hashes[i], c.sets
		f.Handle, f.CreatedGen, f.ShapeGen = e.handle, e.createdGen, e.shapeGen
	}
	return c.gen
}

const catalogueVersion = 1

// MarshalBinary encodes the catalogue for the ledger. Equal catalogues have
// equal bytes.
func (c *Catalogue) MarshalBinary() ([]byte, error) {
	b := []byte{catalogueVersion}
	b = binary.AppendUvarint(b, uint64(c.gen))
	b = binary.AppendUvarint(b, uint64(c.last))
	b = binary.AppendUvarint(b, uint64(len(c.revision)))
	b = append(b, c.revision...)
	b = binary.AppendUvarint(b, uint64(len(c.entries)))
	for i := range c.entries {
		e := &c.entries[i]
		b = binary.AppendUvarint(b, uint64(len(e.id)))
		b = append(b, e.id...)
		b = binary.AppendUvarint(b, uint64(e.handle))
		b = binary.AppendUvarint(b, uint64(e.createdGen))
		b = binary.AppendUvarint(b, uint64(e.shapeGen))
		b = binary.LittleEndian.AppendUint64(b, e.shape)
		b = append(b, byte(b2i(e.set == c.sets)))
	}
	return b, nil
}

// UnmarshalBinary replaces the catalogue by a stored one. It returns
// ErrBadCatalogue, wrapped with the reason, for bytes that MarshalBinary did not
// write or that a newer version wrote. The bytes are not retained.
func (c *Catalogue) UnmarshalBinary(data []byte) error {
	if len(data) == 0 || data[0] != catalogueVersion {
		return fmt.Errorf("%w: not version %d", ErrBadCatalogue, catalogueVersion)
	}
	r := reader{b: data[1:]}
	n := Catalogue{gen: r.uint32(), last: r.uint32(), revision: string(r.bytes()), sets: 1}
	count := r.uvarint()
	// Every entry takes more than 12 bytes: a false count must not size the map.
	if count > uint64(len(r.b))/12+1 {
		r.bad = true
	} else {
		n.entries = make([]entry, 0, count)
		n.places = make(map[ID]uint32, count)
	}
	for i := uint64(0); i < count && !r.bad; i++ {
		e := entry{id: ID(r.bytes()), handle: r.uint32(), createdGen: r.uint32(), shapeGen: r.uint32(), shape: r.uint64(), set: uint64(r.byte())}
		if e.handle == 0 || e.handle > n.last {
			r.bad = true
		}
		n.entries = append(n.entries, e)
	}
	slices.SortFunc(n.entries, func(a, b entry) int { return cmp.Compare(a.handle, b.handle) }) // they are, unless damaged
	for i, e := range n.entries {
		if i > 0 && n.entries[i-1].handle == e.handle {
			r.bad = true
		}
		n.places[e.id] = uint32(i)
	}
	if r.bad || len(r.b) != 0 || uint64(len(n.places)) != count {
		return fmt.Errorf("%w: the bytes are damaged", ErrBadCatalogue)
	}
	*c = n
	return nil
}

// reader takes values off the front of b; once something does not fit, bad is
// set and every further value is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) uint32() uint32 {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.bad = true
		return 0
	}
	return uint32(v)
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) bytes() []byte { return r.take(r.uvarint()) }

func b2i(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func appendFloat(b []byte, f float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
}
