package fences

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"runtime"
	"slices"
	"strings"
	"time"

	"footfall/geo"
)

// ErrDuplicateID comes back, wrapped with the id, when two fences of a set have
// the same one.
var ErrDuplicateID = errors.New("fences: duplicate id")

// Set is an immutable set of fences with their spatial index. All methods are
// safe for concurrent use; an edit builds a new Set and swaps it in.
type Set struct {
	fences   []Fence
	byID     map[ID]int32
	byHandle []int32 // handle -> index + 1; handles are dense, see Catalogue
	crossed  []int32 // see Crossed
	index    *geo.Index
	gen      uint32
	revision string
	nearest  nearestTree // made when somebody asks
}

// NewSet indexes the fences in the order given; that order is the index used by
// At and Match. The slice is copied, the fences' strings, tags and properties
// are retained and must not be modified. Every fence needs an ID, unique in the
// set (ErrDuplicateID), and a Shape.
//
// The catalogue is advanced to the new set: see Catalogue. A nil catalogue
// stands for an empty one. When NewSet fails the catalogue is as it was. NewSet
// must not be called concurrently with the same catalogue.
func NewSet(fs []Fence, cat *Catalogue) (*Set, error) {
	if cat == nil {
		cat = new(Catalogue)
	}
	s := &Set{
		fences: slices.Clone(fs),
		byID:   make(map[ID]int32, len(fs)),
	}
	shapes := make([]*geo.Shape, len(fs))
	hashes := make([]uint64, len(fs))
	for i := range s.fences {
		letOthersRun(i)
		f := &s.fences[i]
		if f.ID == "" {
			return nil, fmt.Errorf("fences: fence %d of the set has no id", i)
		}
		if f.Location == nil {
			f.Location = time.UTC
		}
		if j, dup := s.byID[f.ID]; dup {
			return nil, fmt.Errorf("%w %q: %s and %s", ErrDuplicateID, f.ID, s.fences[j].where(), f.where())
		}
		s.byID[f.ID] = int32(i)
		if f.Crossed {
			s.crossed = append(s.crossed, int32(i))
		}
		shapes[i] = &f.Shape
		hashes[i] = f.Shape.Hash()
	}
	s.index = geo.NewIndex(shapes)
	s.revision = revisionOf(s.fences, hashes)
	s.gen = cat.advance(s.fences, hashes, s.revision)
	s.byHandle = make([]int32, cat.last+1)
	for i := range s.fences {
		s.byHandle[s.fences[i].Handle] = int32(i) + 1
	}
	return s, nil
}

// Len returns the number of fences.
func (s *Set) Len() int { return len(s.fences) }

// At returns fence i, 0 <= i < Len. The caller must not modify it.
func (s *Set) At(i int32) *Fence { return &s.fences[i] }

// Crossed returns the fences whose Crossed is set, ascending. The caller must not
// modify it.
func (s *Set) Crossed() []int32 { return s.crossed }

// Lookup finds a fence by its id. The caller must not modify it.
func (s *Set) Lookup(id ID) (*Fence, bool) {
	i, ok := s.byID[id]
	if !ok {
		return nil, false
	}
	return &s.fences[i], true
}

// ByHandle finds a fence by its catalogue handle in constant time, without
// hashing. A handle of a fence that is no longer in the set is not found.
func (s *Set) ByHandle(h uint32) (*Fence, bool) {
	if int64(h) >= int64(len(s.byHandle)) || s.byHandle[h] == 0 {
		return nil, false
	}
	return &s.fences[s.byHandle[h]-1], true
}

// Match appends the indexes of the fences that contain p, boundary included, in
// ascending order. It does not allocate when dst has room.
func (s *Set) Match(dst []int32, p geo.Point) []int32 { return s.index.Match(dst, p) }

// Candidates appends the indexes of the fences that the index cannot rule out
// for p, ascending and distinct: a superset of Match.
func (s *Set) Candidates(dst []int32, p geo.Point) []int32 { return s.index.Candidates(dst, p) }

// Index returns the spatial index; its shapes have the set's order.
func (s *Set) Index() *geo.Index { return s.index }

// Gen returns the catalogue's generation of this content, from 1.
func (s *Set) Gen() uint32 { return s.gen }

// Revision returns a hash of the content: every fence's id, rules, geometry and
// properties, whatever their order, file or line. Equal content has equal
// revisions in every process.
func (s *Set) Revision() string { return s.revision }

// letOthersRun is called for each fence in the loops that build a set. Every few hundred it offers the processor to
// whatever waits for one: a decision then waits for a fraction of a millisecond while a set of a million fences is
// built, where the runtime alone would take the processor from this goroutine only after 10 ms.
func letOthersRun(i int) {
	if i&255 == 255 {
		runtime.Gosched()
	}
}

func (f *Fence) where() string {
	if f.Line == 0 {
		return fmt.Sprintf("%q", f.ID)
	}
	return fmt.Sprintf("%s:%d:%d", f.File, f.Line, f.Col)
}

// revisionOf hashes the fences sorted by id. Each field is preceded by its
// length so that no two contents share an encoding.
func revisionOf(fs []Fence, hashes []uint64) string {
	order := make([]int32, len(fs))
	sorted := true
	for i := range order {
		order[i] = int32(i)
		sorted = sorted && (i == 0 || fs[i-1].ID < fs[i].ID)
	}
	if !sorted {
		compared := 0
		slices.SortFunc(order, func(a, b int32) int {
			letOthersRun(compared)
			compared++
			return strings.Compare(string(fs[a].ID), string(fs[b].ID))
		})
	}
	h := sha256.New()
	var buf []byte
	for n, i := range order {
		letOthersRun(n)
		buf = appendContent(buf[:0], &fs[i], hashes[i])
		writeField(h, buf)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func writeField(h hash.Hash, b []byte) {
	var n [binary.MaxVarintLen64]byte
	h.Write(n[:binary.PutUvarint(n[:], uint64(len(b)))])
	h.Write(b)
}

func appendContent(b []byte, f *Fence, shape uint64) []byte {
	str := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	num := func(n int64) { b = binary.AppendVarint(b, n) }
	str(string(f.ID))
	str(f.Name)
	str(string(f.Store))
	str(f.Zone)
	num(int64(len(f.Tags)))
	for _, t := range f.Tags {
		str(t)
	}
	num(int64(f.Priority))
	num(int64(f.MinStay))
	num(int64(f.MinAway))
	num(int64(f.Dwell))
	initial := int64(-1)
	if f.Initial != nil {
		initial = b2i(*f.Initial)
	}
	num(b2i(f.Crossed))
	num(initial)
	b = appendFloat(b, f.ExitMarginM)
	b = appendFloat(b, f.MaxAccuracyM)
	b = binary.LittleEndian.AppendUint64(b, shape)
	str(string(f.Properties))
	return b
}
