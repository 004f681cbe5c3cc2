package audience

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"footfall/internal/db"
)

// BenchmarkTerms asks rules of 1, 5 and 20 terms about one person, of whom every term but the last of "or" has to be
// looked at: over tags alone, and over tags, events and visits in turn.
func BenchmarkTerms(b *testing.B) {
	now := time.UnixMilli(1_800_000_000_000)
	person := olena(now)
	tags := []string{`tags.loyalty == "gold"`, `!("staff" in tags.groups)`}
	mixed := append([]string{`events("purchase", {within: "30d", where: {category: "cases"}}) >= 1`, `visits({tag: "kyiv"}) >= 2`}, tags...)
	for _, of := range []struct {
		name  string
		terms []string
	}{{"tags", tags}, {"mixed", mixed}} {
		for _, n := range []int{1, 5, 20} {
			terms := make([]string, n)
			for i := range terms {
				terms[i] = of.terms[i%len(of.terms)]
			}
			r, err := ParseRule(strings.Join(terms, " && "))
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("of=%s/terms=%d", of.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if ok, _ := r.Match(person, now.UnixMilli()); !ok {
						b.Fatal("does not fit")
					}
				}
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "evaluations/s")
			})
		}
	}
}

// TestMillionProfiles prints what a profile costs on disk and in memory and how long a live count over all of them
// takes, and checks the counts. It is long: FOOTFALL_LONG=1, half a gigabyte of disk.
func TestMillionProfiles(t *testing.T) {
	n := 2_000
	if os.Getenv("FOOTFALL_LONG") == "1" {
		n = 1_000_000
	}
	dir := t.TempDir()
	d, err := db.Open(db.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	const at = 1_800_000_000_000
	for from := 0; from < n; from += 500 {
		err := d.Update(t.Context(), func(tx *db.Tx) error {
			for i := from; i < min(from+500, n); i++ {
				if err := Put(tx, shopper(i, at)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d profiles written in %s", n, time.Since(began).Round(time.Millisecond))
	if err := d.Close(); err != nil { // flushes what is in memory tables
		t.Fatal(err)
	}
	heap := heapInUse()
	if d, err = db.Open(db.Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, c := range []struct {
		rule         string
		want, people int
	}{
		{`tags.loyalty == "gold"`, n / 4, n / 4},
		{`tags.loyalty == "gold" && tags.age >= 40 && !("staff" in tags.groups)`, n / 8, n / 8},
		{`device.platform == "ios"`, n / 2, n / 2},
	} {
		r, err := ParseRule(c.rule)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		var got Count
		err = d.View(func(tx *db.Tx) (err error) {
			got, err = CountRule(t.Context(), tx, r, time.UnixMilli(at), 5)
			return err
		})
		if err != nil || got.Devices != n || got.Fitting != c.want || got.People != c.people {
			t.Errorf("%s: %+v, %v; want %d fitting", c.rule, got, err, c.want)
		}
		took := time.Since(began)
		t.Logf("%s: %d of %d in %s, %.2f µs each", c.rule, got.Fitting, n, took.Round(time.Millisecond), float64(took.Nanoseconds())/1e3/float64(n))
	}
	after := heapInUse()
	var disk int64
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".sst" { // write-ahead files have a fixed size, and are reused
			return err
		}
		info, err := e.Info()
		disk += info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.0f bytes of table on disk a profile, %.1f bytes of heap (%.0f MiB, the ledger's caches among them)", float64(disk)/float64(n), float64(max(after-heap, 0))/float64(n), float64(after-heap)/(1<<20))
}

// shopper is a profile as apps send it, with six tags; every fourth is gold, every second an iPhone.
func shopper(i int, at int64) *Profile {
	yes := true
	return &Profile{
		Device: fmt.Sprintf("shop.%016x", uint64(i)*0x9e3779b97f4a7c15), Person: fmt.Sprintf("u%09d", i), Platform: []string{"ios", "android"}[i%2],
		Token: strings.Repeat(fmt.Sprintf("%08x", uint32(i)*2654435761), 8), Locale: "uk-UA", Zone: "Europe/Kyiv",
		Tags: map[string]any{"loyalty": []string{"gold", "silver", "none", "none"}[i%4], "age": float64(20 + i%8/4*25), "city": "Kyiv",
			"spent": float64(i % 10_000), "vip": i%50 == 0, "groups": []string{"press", "app"}},
		ConsentLocation: &yes, ConsentPush: &yes, SDK: "footfall/1.2", OS: "iOS 19.1", TokenAt: at, UpdatedAt: at,
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
