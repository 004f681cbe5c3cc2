package track

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// TestTableAgainstMap does random things to the device table and to a map of
// structs. Every device must keep its own record through growth, removal, reuse
// of records and repacking of ids.
func TestTableAgainstMap(t *testing.T) {
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	table := newTable()
	want := map[DeviceID]uint64{}
	var ids []DeviceID
	name := func() DeviceID {
		n := rng.IntN(20_000)
		// Ids that are prefixes of each other, and of every length.
		return DeviceID(fmt.Sprintf("app.%0*d", n%200, n))
	}
	for range 100_000 {
		id := name()
		i, ok := table.find(id)
		if v, known := want[id]; known != ok || ok && table.recs[i].pos != v {
			t.Fatalf("seed %d: device %q: found %v, want %v %v", seed, id, ok, known, v)
		}
		switch {
		case ok && rng.IntN(2) == 0:
			table.remove(id)
			delete(want, id)
		case ok:
			v := rng.Uint64()
			table.recs[i].pos, want[id] = v, v
			table.markDirty(i)
		default:
			v := rng.Uint64()
			i = table.insert(id)
			if r := table.recs[i]; r.pos != 0 || r.extra != 0 || r.flags&(recSeen|recDirty) != 0 {
				t.Fatalf("seed %d: new device %q has %+v", seed, id, r)
			}
			table.recs[i].pos, want[id] = v, v
			x := table.extraOf(&table.recs[i], true)
			if !x.empty() {
				t.Fatalf("seed %d: new device %q has %+v", seed, id, *x)
			}
			x.visits = append(x.visits, visit{since: int64(v)})
			ids = append(ids, id)
		}
		if table.n != len(want) {
			t.Fatalf("seed %d: %d devices, want %d", seed, table.n, len(want))
		}
	}
	for id, v := range want {
		i, ok := table.find(id)
		if !ok || table.recs[i].pos != v || table.id(i) != id {
			t.Fatalf("seed %d: device %q: %v", seed, id, ok)
		}
	}
	if table.keyTotal > 2*table.keyBytes+2*chunkSize {
		t.Errorf("ids of erased devices pile up: %d bytes for %d", table.keyTotal, table.keyBytes)
	}
	for _, id := range ids {
		table.remove(id)
	}
	if table.n != 0 || len(table.appendDirty(nil)) != 0 {
		t.Errorf("emptied table: %d devices, %d dirty", table.n, len(table.appendDirty(nil)))
	}
}

func TestRecordSize(t *testing.T) {
	if n := unsafe.Sizeof(record{}); n != 48 {
		t.Errorf("a record takes %d bytes, the documentation says 48", n)
	}
}

// TestEqualHashes puts two devices on one hash: the ids must tell them apart.
func TestEqualHashes(t *testing.T) {
	table := newTable()
	a := table.insert("app.a")
	h := table.hash("app.b")
	// Pretend that app.a hashes like app.b.
	clear(table.slots)
	table.place(uint64(h)<<32 | uint64(a+1))
	if _, ok := table.find("app.b"); ok {
		t.Fatal("app.b was taken for app.a")
	}
	b := table.insert("app.b")
	if i, ok := table.find("app.b"); !ok || i != b || b == a {
		t.Fatalf("app.b: record %d, %v; app.a has %d", i, ok, a)
	}
}
