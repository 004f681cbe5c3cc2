package bench

import (
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"footfall/geo"
)

// fenceM is the radius of every fence here.
const fenceM = 200

// earthM is the mean radius that peers measure distances with.
const earthM = 6_371_008.8

// stores are n circles spread over Europe.
func stores(n int) []*geo.Shape {
	rng := rand.New(rand.NewPCG(6, 6))
	at := make([]geo.Point, n)
	for i := range at {
		at[i] = geo.Point{Lat: 36 + 24*rng.Float64(), Lng: -9 + 50*rng.Float64()}
	}
	return circles(at)
}

func circles(at []geo.Point) []*geo.Shape {
	out := make([]*geo.Shape, len(at))
	for i, p := range at {
		s, err := geo.NewCircle(p, fenceM)
		if err != nil {
			panic(err)
		}
		out[i] = &s
	}
	return out
}

// walkers are positions of devices that each walk within 3 km of some store, 40 m at a
// time: rounds of one position of each device.
func walkers(shapes []*geo.Shape, devices, rounds int) []geo.Point {
	rng := rand.New(rand.NewPCG(7, uint64(devices)))
	home := make([]geo.Point, devices)
	at := make([]geo.Point, devices)
	for i := range at {
		home[i] = shapes[rng.IntN(len(shapes))].Center()
		at[i] = move(home[i], 3000*math.Sqrt(rng.Float64()), rng.Float64()*2*math.Pi)
	}
	out := make([]geo.Point, 0, devices*rounds)
	for range rounds {
		for i := range at {
			next := move(at[i], 40, rng.Float64()*2*math.Pi)
			if haversineM(next, home[i]) < 3000 {
				at[i] = next
			}
			out = append(out, at[i])
		}
	}
	return out
}

func move(p geo.Point, m, bearing float64) geo.Point {
	sin, cos := math.Sincos(bearing)
	return geo.Point{Lat: p.Lat + m*cos/111_200, Lng: p.Lng + m*sin/(111_200*math.Cos(p.Lat*math.Pi/180))}
}

func haversineM(a, b geo.Point) float64 {
	const rad = math.Pi / 180
	s, t := math.Sin((b.Lat-a.Lat)/2*rad), math.Sin((b.Lng-a.Lng)/2*rad)
	return 2 * earthM * math.Asin(math.Sqrt(s*s+math.Cos(a.Lat*rad)*math.Cos(b.Lat*rad)*t*t))
}

// clearOfEdges leaves out the positions that the ellipsoid and a sphere may put on different
// sides of an edge: then every peer must give the same answer.
func clearOfEdges(ps []geo.Point, shapes []*geo.Shape) []geo.Point {
	x := geo.NewIndex(shapes)
	kept := ps[:0]
	var near []int32
	for _, p := range ps {
		ok := true
		near = x.Candidates(near[:0], p)
		for _, i := range near {
			ok = ok && math.Abs(haversineM(p, shapes[i].Center())-fenceM) > 1.5
		}
		if ok {
			kept = append(kept, p)
		}
	}
	return kept
}

// cabs are the positions of 503 taxis on one day in the order of time, from the
// recordings that lie beside the repository; the benchmark is skipped without them.
func cabs(b *testing.B) []geo.Point {
	rows := dataRows(b, "traces/sf_cabs_2008-06-06.csv.gz")
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
			b.Fatalf("row %d: %v", i+2, row)
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
			return readAll(tb, z)
		}
		up := filepath.Dir(dir)
		if up == dir {
			tb.Skipf("no test data: shared/data/%s is not in a folder above", name)
		}
		dir = up
	}
}

func readAll(tb testing.TB, r io.Reader) [][]string {
	tb.Helper()
	rows, err := csv.NewReader(r).ReadAll()
	if err != nil {
		tb.Fatal(err)
	}
	return rows[1:]
}
