package track

// index finds records by the hash of their key. It is many small tables of slots: each has its own moment to
// grow, by a sixth, and when there are too few for all devices one after the other is split (linear hashing). So an insert
// never waits for more than a table of some thousand slots to be made anew: 0.1 to 0.5 ms. Smaller tables would be more
// pieces for the collector to mark and to sweep: with 768 devices in each instead of 6,144 it took twice the time (5.0 ms
// against 2.5 with 10,000,000 devices). The load of a table is 0.65 to 0.875, that of
// all 0.73 to 0.79.
//
//	hash bits 0-25   which table, as many as it takes
//	hash bits 26-31  in the slot, above the number of the record plus 1: 63 of 64 other devices are passed by without a look at them
//	hash bits 32-63  where in the table the search begins, as a share of its length
//
// A slot takes 4 bytes, and with the empty ones each device 5.1 to 5.5. In one table that doubles at 7/8, as a plain hash table has
// it, each device takes 4.6 to 9.1, and while it grows 14, and one insert waits for all of it.
type index struct {
	subs []subtable
	mask uint32 // of the table's number: the next power of two above len(subs), less 1
	n    int    // devices
	most int    // subDevices; fewer in tests

	hashes []uint64 // scratch of grow and split
}

type subtable struct {
	slots []uint32 // 0 for empty
	n     int
}

const (
	recordBits = 26
	recordMask = 1<<recordBits - 1
	subDevices = 6144 // on average, above which a table is split: each expects 3,072 (just split) to 12,288 (the next in turn)
	minSlots   = 8
)

func newIndex() index {
	return index{subs: []subtable{{slots: make([]uint32, minSlots)}}, mask: 1, most: subDevices}
}

// sub is the table that a hash belongs to.
func (x *index) sub(h uint64) *subtable {
	i := uint32(h) & x.mask
	if int(i) >= len(x.subs) {
		i &= x.mask >> 1
	}
	return &x.subs[i]
}

// home is where the search for a hash begins.
func home(h uint64, slots int) int { return int(h >> 32 * uint64(slots) >> 32) }

// add puts in a record that is not there.
func (x *index) add(t *table, h uint64, i uint32) {
	x.n++
	if x.n > len(x.subs)*x.most && len(x.subs) < 1<<(recordBits-1) {
		x.split(t)
	}
	s := x.sub(h)
	if (s.n+1)*8 > len(s.slots)*7 {
		x.grow(t, s)
	}
	s.put(h, i)
}

func (s *subtable) put(h uint64, i uint32) {
	p := home(h, len(s.slots))
	for s.slots[p] != 0 {
		if p++; p == len(s.slots) {
			p = 0
		}
	}
	s.slots[p] = uint32(h)&^recordMask | (i + 1)
	s.n++
}

// grow makes the slots of s anew, with room for one more device.
func (x *index) grow(t *table, s *subtable) {
	old := s.slots
	x.readHashes(t, old)
	s.renew(s.n + 1)
	n := 0
	for _, slot := range old {
		if slot != 0 {
			s.put(x.hashes[n], slot&recordMask-1)
			n++
		}
	}
}

// renew gives s empty slots for n devices.
func (s *subtable) renew(n int) {
	// append rounds up to what the allocator would give anyway.
	s.slots = append([]uint32(nil), make([]uint32, max(minSlots, n*4/3+1))...)
	s.slots = s.slots[:cap(s.slots)]
	s.n = 0
}

// readHashes sets x.hashes to those of the devices in some slots. Each needs a record that is somewhere in memory: in a loop
// that does nothing else these loads do not wait for one another.
func (x *index) readHashes(t *table, slots []uint32) {
	x.hashes = x.hashes[:0]
	for _, slot := range slots {
		if slot != 0 {
			x.hashes = append(x.hashes, t.hashOf(slot&recordMask-1))
		}
	}
}

// split divides the next table in turn in two.
func (x *index) split(t *table) {
	half := (x.mask + 1) / 2
	from, to := uint32(len(x.subs))-half, uint32(len(x.subs))
	stay := &x.subs[from]
	old := stay.slots
	x.readHashes(t, old)
	going := 0
	for _, h := range x.hashes {
		if uint32(h)&x.mask == to {
			going++
		}
	}
	var goes subtable
	goes.renew(going)
	stay.renew(len(x.hashes) - going)
	n := 0
	for _, slot := range old {
		if slot == 0 {
			continue
		}
		h := x.hashes[n]
		n++
		if uint32(h)&x.mask == to {
			goes.put(h, slot&recordMask-1)
		} else {
			stay.put(h, slot&recordMask-1)
		}
	}
	x.subs = append(x.subs, goes)
	if len(x.subs) == int(x.mask)+1 {
		x.mask = x.mask<<1 | 1
	}
}

// drop takes out a record that is there.
func (x *index) drop(t *table, h uint64, i uint32) {
	s := x.sub(h)
	size := len(s.slots)
	at := home(h, size)
	for s.slots[at]&recordMask != i+1 {
		if at++; at == size {
			at = 0
		}
	}
	// Close the gap: move back every later entry of the run that may not sit
	// after an empty slot.
	for next := at; ; {
		if next++; next == size {
			next = 0
		}
		slot := s.slots[next]
		if slot == 0 {
			break
		}
		from := home(t.hashOf(slot&recordMask-1), size)
		if (next-from+size)%size >= (next-at+size)%size {
			s.slots[at] = slot
			at = next
		}
	}
	s.slots[at] = 0
	s.n--
	x.n--
}
