package geo

import (
	"math/bits"
	"slices"
)

// cellTable finds the shapes of a cell. Open addressing over slots of 8 bytes, so a
// miss costs one cache line: the upper half is a part of the cell's hash, the lower
// half is where its list starts in postings. A list begins with the cell itself,
// which settles the rare case of two cells with equal hash parts:
//
//	cell (low half), cell (high half), n, n entries
//
// An entry is shape<<1 | full. Shapes of one list ascend.
type cellTable struct {
	slots    []uint64
	shift    uint8
	postings []uint32
}

// posting is one cell of one shape's cover, while a table is built.
type posting struct {
	cell  Cell
	entry uint32
}

func hashCell(c Cell) uint64 {
	h := uint64(c) * 0x9e3779b97f4a7c15
	h ^= h >> 32
	return h * 0xd6e8feb86659fd93
}

// newCellTable sorts and takes what it needs of all.
func newCellTable(all []posting) (t cellTable, cells int) {
	slices.SortFunc(all, func(a, b posting) int {
		switch {
		case a.cell != b.cell:
			if a.cell < b.cell {
				return -1
			}
			return 1
		case a.entry < b.entry:
			return -1
		}
		return 1
	})
	for i := range all {
		if i == 0 || all[i].cell != all[i-1].cell {
			cells++
		}
	}
	if cells == 0 {
		return t, 0
	}
	size := 1 << bits.Len(uint(cells)*2-1) // at most half full
	t.slots = make([]uint64, size)
	t.shift = uint8(64 - bits.Len(uint(size-1)))
	if size == 1 {
		t.shift = 63
		t.slots = make([]uint64, 2)
	}
	t.postings = make([]uint32, 0, len(all)+3*cells+1)
	t.postings = append(t.postings, 0) // so that no list starts at 0, the empty slot
	for i := 0; i < len(all); {
		cell, start := all[i].cell, len(t.postings)
		t.postings = append(t.postings, uint32(cell), uint32(cell>>32), 0)
		for ; i < len(all) && all[i].cell == cell; i++ {
			t.postings = append(t.postings, all[i].entry)
		}
		t.postings[start+2] = uint32(len(t.postings) - start - 3)
		h := hashCell(cell)
		at := h >> t.shift
		for t.slots[at] != 0 {
			at = (at + 1) & uint64(len(t.slots)-1)
		}
		t.slots[at] = h<<32 | uint64(start)
	}
	return t, cells
}

// entries is the list of a cell, nil when it has none.
func (t *cellTable) entries(c Cell) []uint32 {
	if len(t.slots) == 0 {
		return nil
	}
	h := hashCell(c)
	mask := uint64(len(t.slots) - 1)
	for at := h >> t.shift; ; at++ {
		slot := t.slots[at&mask]
		if slot == 0 {
			return nil
		}
		if uint32(slot>>32) != uint32(h) {
			continue
		}
		list := t.postings[uint32(slot):]
		if Cell(list[0])|Cell(list[1])<<32 == c {
			return list[3 : 3+list[2]]
		}
	}
}

func (t *cellTable) bytes() int { return len(t.slots)*8 + len(t.postings)*4 }
