package world

import (
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"footfall/geo"
)

// Cabs are the positions of 503 taxis on one day in the order of time, from the
// recordings that lie beside the repository; tb is skipped without them.
func Cabs(tb testing.TB) []geo.Point {
	tb.Helper()
	rows := dataRows(tb, "traces/sf_cabs_2008-06-06.csv.gz")
	type fix struct {
		ts int64
		p  geo.Point
	}
	fixes := make([]fix, len(rows))
	for i, row := range rows {
		ts, err1 := strconv.ParseInt(row[1], 10, 64)
		lat, err2 := strconv.ParseFloat(row[2], 64)
		lng, err3 := strconv.ParseFloat(row[3], 64)
		if err1 != nil || err2 != nil || err3 != nil {
			tb.Fatalf("row %d: %v", i+2, row)
		}
		fixes[i] = fix{ts, geo.Point{Lat: lat, Lng: lng}}
	}
	slices.SortStableFunc(fixes, func(a, b fix) int { return cmp.Compare(a.ts, b.ts) })
	out := make([]geo.Point, len(fixes))
	for i := range fixes {
		out[i] = fixes[i].p
	}
	return out
}

// dataRows are the rows of a compressed table in shared/data of a folder above, without
// the heading.
func dataRows(tb testing.TB, name string) [][]string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		f, err := os.Open(filepath.Join(dir, "shared/data", name))
		if err == nil {
			defer f.Close()
			z, err := gzip.NewReader(f)
			if err != nil {
				tb.Fatal(err)
			}
			rows, err := csv.NewReader(z).ReadAll()
			if err != nil {
				tb.Fatal(err)
			}
			return rows[1:]
		}
		up := filepath.Dir(dir)
		if up == dir {
			tb.Skipf("no test data: shared/data/%s is not in a folder above", name)
		}
		dir = up
	}
}
