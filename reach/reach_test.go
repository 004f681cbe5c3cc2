package reach

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"footfall/internal/db"
)

// TestSketchCounts counts crowds of all sizes, each with many hashes, and checks the mean error and the spread against what
// the type promises.
func TestSketchCounts(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 8))
	for _, n := range []int{0, 1, 2, 10, 100, 500, 1000, 2600, 10_000, 100_000} {
		rounds := 200
		if n >= 10_000 {
			rounds = 40
		}
		var sum, squares float64
		for range rounds {
			var s Sketch
			for range n {
				h := rnd.Uint64()
				s.Add(h)
				if s.Add(h) {
					t.Fatal("the same person changed the sketch twice")
				}
			}
			e := s.Count() - float64(n)
			sum += e
			squares += e * e
		}
		bias, spread := sum/float64(rounds), math.Sqrt(squares/float64(rounds))
		limit := 0.045*float64(n) + 0.5
		if math.Abs(bias) > 0.015*float64(n)+0.2 || spread > limit {
			t.Errorf("%d people: off by %.2f on average, spread %.2f; at most %.2f", n, bias, spread, limit)
		}
	}
}

// TestSketchUnion: merging in memory and through rows, in any order, gives the sketch of everybody.
func TestSketchUnion(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 3, 400, 511, 700, 5000} {
		var a, b, both, read Sketch
		for i := range n {
			h := rnd.Uint64()
			both.Add(h)
			if i%2 == 0 || i%3 == 0 {
				a.Add(h)
			}
			if i%2 == 1 || i%3 == 0 {
				b.Add(h)
			}
		}
		for _, s := range []*Sketch{&a, &b} {
			row := s.append(nil)
			if len(row) > registers+1 {
				t.Errorf("%d people take %d bytes", n, len(row))
			}
			if err := read.mergeRow(row); err != nil {
				t.Fatal(err)
			}
		}
		b.Merge(&a)
		if b != both || read != both {
			t.Errorf("%d people: the union differs", n)
		}
	}
	for _, row := range [][]byte{nil, {}, {2}, {sparse, 1}, {dense, 1, 2}, {sparse, 0, 63}} {
		if new(Sketch).mergeRow(row) == nil {
			t.Errorf("row %v is taken", row)
		}
	}
}

func TestLedger(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	d, err := db.Open(db.Config{InMemory: true, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	const day = 20785                                   // 2026-11-28
	err = d.Update(t.Context(), func(tx *db.Tx) error { // one of a thousand keys would put two people into one register
		return tx.Set(keySpace.Key([]byte("hash")), []byte("0123456789abcdef"))
	})
	if err != nil {
		t.Fatal(err)
	}
	put := func(e ...Entry) {
		t.Helper()
		if err := d.Update(t.Context(), func(tx *db.Tx) error { return Put(tx, e, 24*time.Hour) }); err != nil {
			t.Fatal(err)
		}
	}
	put(Entry{"k01", day, 10, "p:olena"}, Entry{"k01", day, 10, "p:olena"}, Entry{"k01", day, 11, "p:taras"}, Entry{"k02", day, 10, "p:olena"})
	put(Entry{"k01", day, 10, "p:taras"}, Entry{"k01", day - 1, 23, "p:taras"}, Entry{"k01x", day, 10, "p:nobody"}, Entry{"k01", day + 1, 0, "p:olena"})
	var got []string
	var all Sketch
	err = d.View(func(tx *db.Tx) error {
		return Each(tx, "k01", day, day, func(day int32, hour int, n uint64, s *Sketch) {
			got = append(got, fmt.Sprintf("%d %02d: %d entries, %.0f people", day, hour, n, s.Count()))
			all.Merge(s)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"20785 10: 3 entries, 2 people", "20785 11: 1 entries, 1 people"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := math.Round(all.Count()); n != 2 {
		t.Errorf("%v people over the day", n)
	}
	days := func() (list []int32) {
		if err := d.View(func(tx *db.Tx) (err error) { list, err = Days(tx); return err }); err != nil {
			t.Fatal(err)
		}
		return list
	}
	if got := days(); !slices.Equal(got, []int32{day - 1, day, day + 1}) {
		t.Errorf("days %v", got)
	}
	now = now.Add(3 * 24 * time.Hour) // the sketches of a day go a day after it has ended everywhere
	if got := days(); !slices.Equal(got, []int32{day + 1}) {
		t.Errorf("days after three more: %v", got)
	}
}

// TestExpect: of Saturdays that vary like each other, the next is in the interval 95 times out of 100.
func TestExpect(t *testing.T) {
	for n := range LeastPast {
		if e := Expect(make([]float64, n), 1); e.Enough || e.High != 0 {
			t.Errorf("%d past times are enough: %+v", n, e)
		}
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{3, 5, 12, 30} {
		for _, share := range []float64{1, 0.3} {
			inside := 0
			const rounds = 4000
			for range rounds {
				past := make([]float64, n)
				for i := range past {
					past[i] = math.Round(500 + 60*rnd.NormFloat64())
				}
				next := 0.0
				for range int(math.Round(500 + 60*rnd.NormFloat64())) {
					if rnd.Float64() < share {
						next++
					}
				}
				if e := Expect(past, share); e.Low <= next && next <= e.High {
					inside++
				}
			}
			if part := float64(inside) / rounds; part < 0.935 || part > 0.97 {
				t.Errorf("%d past times, share %v: the next is inside %.3f of the time", n, share, part)
			}
		}
	}
}

// BenchmarkPut adds 64 entries of one group of effects, at 10 fences, to sketches that hold a busy hour.
func BenchmarkPut(b *testing.B) {
	d, err := db.Open(db.Config{InMemory: true})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	entries := make([]Entry, 64)
	day := int32(time.Now().Unix() / 86_400)
	n := 0
	for b.Loop() {
		for i := range entries {
			n++
			entries[i] = Entry{Fence: fmt.Sprintf("k%02d", i%10), Day: day, Hour: 12, Subject: fmt.Sprintf("d:shop.%d", n%20_000)}
		}
		if err := d.Update(b.Context(), func(tx *db.Tx) error { return Put(tx, entries, Keep) }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/float64(len(entries)), "µs/entry")
}
