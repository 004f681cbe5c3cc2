package geo

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestFlatBand: outside its band the flat test says what the chord says, and its error
// is well within the band, for every size and latitude for which it is used.
func TestFlatBand(t *testing.T) {
	rng := rand.New(rand.NewPCG(61, 1))
	worst, used, within := 0.0, 0, 0
	for used < 6000 {
		c := Point{180*rng.Float64() - 90, 360*rng.Float64() - 180}
		if rng.IntN(2) == 0 {
			c.Lat = math.Copysign(89.99-40*rng.Float64()*rng.Float64(), c.Lat)
		}
		s := mustCircle(t, c, 10*math.Exp(rng.Float64()*math.Log(2000)))
		f := newFlat(s)
		if f == askExactly {
			continue
		}
		used++
		in, out := math.Sqrt(float64(f.inSq)), math.Sqrt(float64(f.outSq))
		r := s.radiusM + boundaryM
		for range 20 {
			p := around(rng, c, r+(out-in)*(2*rng.Float64()-1)).normal()
			d := f.distSq(p.Lat, p.Lng)
			if d > float64(f.outSq) && s.Contains(p) || d < float64(f.inSq) && !s.Contains(p) {
				t.Fatalf("%v m around %v: %v is %v m away, %v in the plane, band %v to %v", s.radiusM, c, p, DistanceM(c, p), math.Sqrt(d), in, out)
			}
			if d >= float64(f.inSq) && d <= float64(f.outSq) {
				within++
			}
			if near := DistanceM(c, p); near <= r {
				worst = max(worst, math.Abs(math.Sqrt(d)-near)/(out-r))
			}
		}
	}
	t.Logf("the error reaches %.2f of the band; %d points in the band", worst, within)
	if worst > 0.6 || within < 1000 {
		t.Errorf("the error reaches %.2f of the band; %d points in the band", worst, within)
	}
}

// TestFlatUse: the flat test serves ordinary fences, and not those it cannot.
func TestFlatUse(t *testing.T) {
	for _, tt := range []struct {
		at     Point
		radius float64
		used   bool
	}{
		{Point{55.7558, 37.6173}, 200, true}, {Point{-33.8688, 151.2093}, 1000, true}, {Point{78.2, 15.6}, 200, true},
		{Point{0, 0}, 10, true}, {Point{89, 10}, 200, true}, {Point{89.9, 10}, 200, false}, {Point{90, 0}, 200, false},
		{Point{50, 10}, 20_000, false}, {Point{-16.8, 179.9995}, 200, false}, {Point{-16.8, -179.9995}, 200, false},
		{Point{0, 180}, 10, false}, {Point{0, -180}, 10, false},
	} {
		if got := newFlat(mustCircle(t, tt.at, tt.radius)) != askExactly; got != tt.used {
			t.Errorf("%v m around %v: used = %v", tt.radius, tt.at, got)
		}
	}
}

// TestPatchMapEqualsMap compares the packed map with a plain one from patch to shapes.
func TestPatchMapEqualsMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(62, 1))
	for round := range 30 {
		var all []uint64
		plain := map[uint32][]uint32{}
		type patch struct{ row, col int }
		var used []patch
		for i := range 1 + rng.IntN(400) {
			at := patch{rng.IntN(180 * patchesPerDeg), rng.IntN(patchCols)}
			if i > 0 && rng.IntN(3) > 0 { // near another
				at = used[rng.IntN(len(used))]
				at.row = min(at.row+rng.IntN(12), 180*patchesPerDeg-1)
				at.col = min(at.col+rng.IntN(12), patchCols-1)
			}
			for range 1 + rng.IntN(2) {
				key := patchKey(at.row, at.col)
				all = append(all, uint64(key)<<31|uint64(i))
				if l := plain[key]; len(l) == 0 || l[len(l)-1] != uint32(i) {
					plain[key] = append(l, uint32(i))
				}
			}
			used = append(used, at)
		}
		m := newPatchMap(all)
		for range 20_000 {
			at := used[rng.IntN(len(used))]
			at.row = min(max(at.row+rng.IntN(5)-2, 0), 180*patchesPerDeg-1)
			at.col = min(max(at.col+rng.IntN(5)-2, 0), patchCols-1)
			if rng.IntN(8) == 0 {
				at = patch{rng.IntN(180 * patchesPerDeg), rng.IntN(patchCols)}
			}
			ref := m.find((float64(at.row)+rng.Float64())/patchesPerDeg-90, (float64(at.col)+rng.Float64())/patchesPerDeg-180)
			var got []uint32
			switch {
			case ref >= refList:
				got = m.list(ref)
			case ref > 0:
				got = []uint32{ref - 1}
			}
			if want := plain[patchKey(at.row, at.col)]; !slices.Equal(got, want) {
				t.Fatalf("round %d: patch %v has %v, want %v", round, at, got, want)
			}
		}
		if len(m.refs) != len(plain) || cap(m.lists) < len(m.lists) {
			t.Fatalf("round %d: %d patches, want %d", round, len(m.refs), len(plain))
		}
	}
}

// TestIndexMemory holds the figure that operators size machines by.
func TestIndexMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("a matter of memory")
	}
	for n, most := range map[int]float64{10_000: 220, 200_000: 110} {
		x := NewIndex(stores(n))
		per := float64(x.stats.Bytes) / float64(n)
		t.Logf("%d fences of 200 m: %.0f bytes each, %.2f patches", n, per, float64(x.stats.Patches)/float64(n))
		if per > most || x.stats.Small != n {
			t.Errorf("%d fences of 200 m: %.0f bytes each, %d small", n, per, x.stats.Small)
		}
	}
}

// TestIndexManyShapesInOnePlace: lists of more than one shape, in a patch and across
// small and large shapes.
func TestIndexManyShapesInOnePlace(t *testing.T) {
	rng := rand.New(rand.NewPCG(63, 1))
	for _, c := range []Point{{50, 30}, {-16.8, 180}, {60, -179.999}, {0, 0}, {89.99, 5}} {
		var shapes []*Shape
		for range 60 {
			shapes = append(shapes, mustCircle(t, around(rng, c, 800*rng.Float64()).normal(), 30*math.Exp(7*rng.Float64())))
			if s, ok := randomStar(rng, around(rng, c, 800*rng.Float64()).normal(), 300, 12); ok {
				shapes = append(shapes, &s)
			}
		}
		x := NewIndex(shapes)
		if c.Lat < 80 && (x.stats.Small == 0 || x.stats.Small == len(shapes)) {
			t.Fatalf("%d of %d shapes are small: nothing is mixed", x.stats.Small, len(shapes))
		}
		for range 4000 {
			p := probe(rng, shapes[rng.IntN(len(shapes))])
			if got, want := x.Match(nil, p), scan(shapes, p); !slices.Equal(got, want) {
				t.Fatalf("Match(%v) = %v, want %v", p, got, want)
			}
		}
	}
}
