package track

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"footfall/internal/dice"
)

// nameOf is device n of a population with names of every form and length, many of them prefixes of each other.
func nameOf(n int) DeviceID {
	switch n % 7 {
	case 0:
		return DeviceID(fmt.Sprintf("shop.%016x", uint64(n)*0x9e3779b97f4a7c15))
	case 1:
		return DeviceID(fmt.Sprintf("shop.%08x-0000-4000-8000-%012x", n, n))
	case 2:
		return DeviceID(fmt.Sprintf("app%d.%0*d", n%300, n%60, n))
	case 3:
		return DeviceID(strings.Repeat("x", n%200) + fmt.Sprint(n))
	case 4:
		return DeviceID(fmt.Sprintf("cafe.%X", n))
	case 5:
		return DeviceID(fmt.Sprintf("cafe.%x", n-1))
	}
	return DeviceID(fmt.Sprintf("shop.Phone-%d", n))
}

// randomState is anything that a state can be.
func randomState(rng *rand.Rand, visits []visit) state {
	d := state{pos: rng.Uint64() >> rng.IntN(64), posLag: noPosition, visits: visits[:0]}
	if rng.IntN(8) > 0 {
		d.seen, d.lastAt = true, 1_764_324_000_000+rng.Int64N(1e9)
		if rng.IntN(50) == 0 {
			d.lastAt = int64(rng.Uint64())
		}
		if rng.IntN(1000) == 0 {
			d.lastAt = rng.Int64N(1 << (sinceBits + 1)) // years from the others
		}
	}
	if d.seen && rng.IntN(8) > 0 {
		d.posLag, d.gen = 0, rng.Uint32N(3000)
		if rng.IntN(1000) == 0 {
			d.gen = rng.Uint32() >> rng.IntN(16)
		}
		d.place = place{int32(rng.Uint32()), int32(rng.Uint32()), rng.Float32()}
		if rng.IntN(8) == 0 {
			d.posLag = rng.Uint32N(noPosition)
		}
	}
	if rng.IntN(10) == 0 {
		d.hasQ, d.q = true, quarantine{int64(rng.Uint64()), place{int32(rng.Uint32()), int32(rng.Uint32()), rng.Float32()}}
	}
	for range max(0, rng.IntN(8)-4) {
		v := visit{rng.Int64N(1 << sinceBits), 0, rng.Uint32(), rng.Uint32() >> 10,
			Reason(rng.IntN(int(reasonEnd))), visitState(1 + rng.IntN(4)), visitFlags(rng.IntN(int(visitFlagsEnd)))}
		switch rng.IntN(8) {
		case 0:
			v.since = int64(rng.Uint64())
		case 1:
			v.seenAt = int64(rng.Uint64())
		case 2:
			v.shapeGen = rng.Uint32()
		}
		d.visits = append(d.visits, v)
	}
	return d
}

func sameState(a, b *state) bool {
	x, y := *a, *b
	if len(x.visits) == 0 && len(y.visits) == 0 {
		x.visits, y.visits = nil, nil
	}
	return reflect.DeepEqual(x, y)
}

// TestTableAgainstMap does random things to the device table and to a map of states. Every device must keep its
// own through growth, removal, reuse of records and nodes and repacking of names.
func TestTableAgainstMap(t *testing.T) {
	ops, population := 150_000, 30_000
	if testing.Short() {
		ops = 40_000
	}
	if os.Getenv("FOOTFALL_LONG") != "" {
		ops, population = 6_000_000, 400_000
	}
	seed := dice.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 0))
	table := newTable()
	table.most = 768 // so that tables are split often
	type known struct {
		state
		dirty bool
	}
	want := map[DeviceID]known{}
	var got state
	check := func(id DeviceID) (uint32, bool) {
		i, ok := table.findID(id)
		w, exists := want[id]
		if exists != ok {
			t.Fatalf("seed %d: device %q: found %v, want %v", seed, id, ok, exists)
		}
		if ok {
			if table.load(i, &got); !sameState(&got, &w.state) || table.id(i) != id {
				t.Fatalf("seed %d: device %q is %q:\n got %+v\nwant %+v", seed, id, table.id(i), got, w.state)
			}
			if dirty := table.rec(i).what&recDirty != 0; dirty != w.dirty {
				t.Fatalf("seed %d: device %q: dirty %v", seed, id, dirty)
			}
		}
		return i, ok
	}
	for op := range ops {
		// The population grows, shrinks and grows again.
		n := rng.IntN(population)
		id := nameOf(n)
		i, ok := check(id)
		shrink := op/(ops/4)%2 == 1
		switch {
		case ok && (shrink && rng.IntN(8) > 0 || rng.IntN(4) == 0):
			table.remove(id)
			delete(want, id)
		case ok && rng.IntN(4) == 0:
			table.markClean(i)
			want[id] = known{want[id].state, false}
		case ok && rng.IntN(3) == 0:
			w := want[id]
			w.pos++
			table.load(i, &got)
			got.pos++
			table.save(i, &got, true)
			want[id] = known{w.state, true}
		case ok || !shrink || rng.IntN(8) == 0:
			if !ok {
				i = table.insert(id)
			}
			d := randomState(rng, nil)
			table.save(i, &d, true)
			want[id] = known{d, true}
		}
		if table.n != len(want) {
			t.Fatalf("seed %d: %d devices, want %d", seed, table.n, len(want))
		}
	}
	dirty := map[DeviceID]bool{}
	for _, id := range table.appendDirty(nil) {
		dirty[id] = true
	}
	for id, w := range want {
		check(id)
		if dirty[id] != w.dirty {
			t.Errorf("seed %d: device %q: dirty %v in the list", seed, id, dirty[id])
		}
	}
	if len(table.subs) < 8 || len(want) < 1000 {
		t.Errorf("%d tables, %d devices: too few to prove anything", len(table.subs), len(want))
	}
	if table.long.total > 2*table.long.live+2*chunkSize {
		t.Errorf("names of erased devices pile up: %d bytes for %d", table.long.total, table.long.live)
	}
	for id := range want {
		table.remove(id)
	}
	free := 0
	for n := table.freeNode; n != 0; n = table.node(n).next {
		free++
	}
	if table.n != 0 || len(table.appendDirty(nil)) != 0 || free != int(table.nodeUsed) || table.long.live != 0 {
		t.Errorf("emptied table: %d devices, %d dirty, %d of %d nodes free, %d bytes of names",
			table.n, len(table.appendDirty(nil)), free, table.nodeUsed, table.long.live)
	}
	for _, s := range table.subs {
		for _, slot := range s.slots {
			if slot != 0 {
				t.Fatal("a slot is left in the index")
			}
		}
	}
}

// TestIndexLoad: a table is never so full that searches get long, nor so empty that it wastes memory.
func TestIndexLoad(t *testing.T) {
	table := newTable()
	slots := func() (n int) {
		for _, s := range table.subs {
			n += len(s.slots)
		}
		return n
	}
	table.most = 768
	for n := 1; n <= 100_000; n++ {
		table.insert(DeviceID(fmt.Sprintf("shop.%016x", n)))
		if n%1000 != 0 {
			continue
		}
		if load := float64(n) / float64(slots()); load < 0.65 || load > 0.88 {
			t.Fatalf("load %.2f with %d devices", load, n)
		}
		for _, s := range table.subs {
			if s.n*8 > len(s.slots)*7 {
				t.Fatalf("%d devices in %d slots", s.n, len(s.slots))
			}
			// Seven standard deviations about what a table expects: the seed of the hash is another in each run.
			if n > 10_000 && (s.n < table.most/2-7*20 || s.n > 2*table.most+7*40) {
				t.Fatalf("%d devices in one of %d tables of %d", s.n, len(table.subs), n)
			}
		}
	}
}

// TestHashSpreads: names that count up, as installations and test devices do, spread over the tables, and in a table, as
// chance would have it, whatever the seed is.
func TestHashSpreads(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine that computes")
	}
	const devices, parts = 4_000, 64
	for _, format := range []string{"shop.%d", "shop.d-%d", "shop.%016x", "shop.%x00000000", "shop.00000000-0000-4000-8000-%012x"} {
		for range 20 {
			table := newTable()
			var which, home [parts]float64
			for n := range devices {
				id := DeviceID(fmt.Sprintf(format, n))
				table.insert(id)
				var k key
				table.keyOf(&k, id, nil)
				h := k.hash
				which[h%parts]++
				home[h>>58]++
			}
			for what, counts := range map[string]*[parts]float64{"tables": &which, "places in a table": &home} {
				chi := 0.0
				for _, n := range counts {
					chi += (n - devices/parts) * (n - devices/parts) / (devices / parts)
				}
				// Chance gives parts-1, with a standard deviation of 11.
				if chi > parts-1+8*11.2 {
					t.Errorf("%s: %d devices over %d %s have a chi-square of %.0f", format, devices, parts, what, chi)
				}
			}
		}
	}
}

// TestMakeRoom: times and generations move on beyond what a record has room for. Every device keeps its own; those of the last year and
// of the last 2,000 edits have no nodes, and a new one has none again.
func TestMakeRoom(t *testing.T) {
	const day = int64(24 * 60 * 60 * 1000)
	table := newTable()
	want := map[uint32]state{}
	var got state
	for n := range 2000 {
		d := state{pos: uint64(n), seen: true, lastAt: 1_764_324_000_000 + int64(n)*day, gen: uint32(1 + 5*n), place: place{1, 2, 3}}
		if n%3 == 0 {
			d.posLag, d.gen = noPosition, 0
		}
		i := table.insert(nameOf(n))
		table.save(i, &d, n%2 == 0)
		want[i] = d
		if table.rec(i).what&recMore != 0 {
			t.Fatalf("device %d has a node although it is the newest", n)
		}
		if n%100 != 0 {
			continue
		}
		for i, w := range want {
			if table.load(i, &got); !sameState(&got, &w) {
				t.Fatalf("after %d: got %+v, want %+v", n, got, w)
			}
			r := table.rec(i)
			if r.what&recMore != 0 && w.lastAt > d.lastAt-365*day && w.gen > d.gen-2000 {
				t.Errorf("after %d: a device of %d days before, generation %d, has a node", n, (d.lastAt-w.lastAt)/day, w.gen)
			}
			if dirty := w.pos%2 == 0; dirty != (r.what&recDirty != 0) {
				t.Errorf("after %d: device %d: dirty is not %v", n, w.pos, dirty)
			}
		}
	}
	if table.nodeUsed == 0 || table.nodeUsed > 2*2000 {
		t.Errorf("%d nodes for 2,000 devices", table.nodeUsed)
	}
}

func TestRecordSize(t *testing.T) {
	if n := unsafe.Sizeof(record{}); n != 32 {
		t.Errorf("a record takes %d bytes, the documentation says 32", n)
	}
	if n := unsafe.Sizeof(node{}); n != 24 {
		t.Errorf("a node takes %d bytes, the documentation says 24", n)
	}
}

// TestEqualHashes puts devices on one hash: their names must tell them apart.
func TestEqualHashes(t *testing.T) {
	for _, pair := range [][2]DeviceID{
		{"app.a", "app.b"}, {"app.phone-0001-of-some-length", "app.phone-0002-of-some-length"}, {"a.a", "b.a"}, {"app.a", "app.phone-0002-of-some-length"},
		{"app.0123456789abcdef0", "app.0123456789abcdef1"}, {"app.0123456789abcdef", "app.0123456789abcdef0"},
		{"app.01234567-89ab-cdef-0123-456789abcdef", "app.01234567-89ab-cdef-0123-456789abcdee"},
		{"app.01234567-89ab-cdef-0123-456789abcdef", "app.0123456789abcdef0123456789abcdef"},
	} {
		table := newTable()
		a, b := table.insert(pair[0]), table.insert(pair[1])
		table.save(a, &state{pos: 1, posLag: noPosition}, false)
		table.save(b, &state{pos: 2, posLag: noPosition}, false)
		var k key
		table.keyOf(&k, pair[1], nil)
		// Pretend that the first hashes like the second, and is met first.
		s := &table.subs[0]
		clear(s.slots)
		s.n = 0
		s.put(k.hash, a)
		if k.family == familyLong {
			r := table.rec(a)
			r.word = uint64(uint32(r.word)) | k.hash<<32 // the fingerprint too
		}
		if _, ok := table.find(&k); ok {
			t.Fatalf("%s was taken for %s", pair[1], pair[0])
		}
		s.put(k.hash, b)
		if i, ok := table.find(&k); !ok || i != b || b == a {
			t.Fatalf("%s: record %d, %v; %s has %d", pair[1], i, ok, pair[0], a)
		}
	}
}

// TestEpochs: log positions of more epochs than a record has numbers for.
func TestEpochs(t *testing.T) {
	table := newTable()
	for n := range uint64(100) {
		i := table.insert(DeviceID(fmt.Sprint("a.", n)))
		table.save(i, &state{pos: n<<posBits | n, posLag: noPosition, lastAt: math.MinInt64 + int64(n)}, false)
	}
	var d state
	for n := range uint64(100) {
		i, _ := table.findID(DeviceID(fmt.Sprint("a.", n)))
		if table.load(i, &d); d.pos != n<<posBits|n || d.lastAt != math.MinInt64+int64(n) {
			t.Errorf("device %d: %x, %d", n, d.pos, d.lastAt)
		}
	}
}
