package geo

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestDistanceVectors(t *testing.T) {
	worst := 0.0
	check := func(a, b Point, want float64, file string, i int) {
		got := DistanceM(a, b)
		d := math.Abs(got - want)
		worst = max(worst, d)
		if !(d <= 1e-3) || math.Abs(got-DistanceM(b, a)) > 1e-6 {
			t.Errorf("%s row %d: DistanceM(%v, %v) = %.6f, want %.6f", file, i+2, a, b, got, want)
		}
	}
	const long, edge = "geodesic/long_distances.csv.gz", "geodesic/circle_edge_200m.csv.gz"
	for i, r := range dataRows(t, long) {
		check(Point{num(t, r[0]), num(t, r[1])}, Point{num(t, r[2]), num(t, r[3])}, num(t, r[4]), long, i)
	}
	t.Logf("long distances: worst error %.2g m", worst)
	worst = 0
	for i, r := range dataRows(t, edge) {
		check(Point{num(t, r[1]), num(t, r[2])}, Point{num(t, r[4]), num(t, r[5])}, num(t, r[6]), edge, i)
	}
	t.Logf("200 m: worst error %.2g m", worst)
	if worst > 2e-5 {
		t.Errorf("200 m: worst error %.2g m", worst)
	}
}

// The three methods must agree where they meet: no step at 10 km, none where
// Vincenty gives up.
func TestDistanceMethodsAgree(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine that computes")
	}
	rng := rand.New(rand.NewPCG(9, 9))
	for range 20_000 {
		a := randomUnit(rng).point()
		b := randomUnit(rng).point()
		switch rng.IntN(3) {
		case 0: // 6 to 14 km
			b = a.ECEF().vec().unit().add(randomUnit(rng).mul((6 + 8*rng.Float64()) / 6371)).unit().point()
		case 1: // around 6 degrees from the antipode
			b = sphereVec(a).mul(-1).add(randomUnit(rng).mul(0.09 + 0.04*rng.Float64())).unit().point()
		}
		chord := math.Sqrt(chordSq(a.ECEF(), b.ECEF()))
		v, ok := vincenty(a, b)
		g := geodesicByAzimuth(a, b)
		if ok && math.Abs(v-g) > 2e-4 {
			t.Fatalf("%v %v: Vincenty %.6f, by azimuth %.6f", a, b, v, g)
		}
		if s := chord * (1 + chord*chord/(24*meanRadiusM*meanRadiusM)); chord < 10_000 && math.Abs(s-v) > 5e-5 {
			t.Fatalf("%v %v: chord %.6f, Vincenty %.6f", a, b, s, v)
		}
	}
}

func TestDistanceSpecialPairs(t *testing.T) {
	const quarter = 10001965.729 // pole to equator along a meridian, NIMA TR8350.2
	tests := []struct {
		name string
		a, b Point
		want float64
	}{
		{"same", Point{10, 20}, Point{10, 20}, 0},
		{"same meridian written twice", Point{10, 180}, Point{10, -180}, 0},
		{"pole has one longitude", Point{90, 0}, Point{90, 135}, 0},
		{"pole to equator", Point{90, 0}, Point{0, 77}, quarter},
		{"pole to pole", Point{90, 0}, Point{-90, 90}, 2 * quarter},
		{"antipode on the equator goes over a pole", Point{0, 0}, Point{0, 180}, 2 * quarter},
		{"quarter of the equator", Point{0, -45}, Point{0, 45}, semiMajorM * math.Pi / 2},
		{"along the equator, almost antipodal", Point{0, 0}, Point{0, 179.3}, semiMajorM * 179.3 * degree},
		{"antipode", Point{30, 0}, Point{-30, 180}, 2 * quarter},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := DistanceM(tt.a, tt.b); math.Abs(got-tt.want) > 1e-3 {
				t.Errorf("got %.4f, want %.4f", got, tt.want)
			}
		})
	}
	if got := DistanceM(Point{math.NaN(), 0}, Point{0, 0}); !math.IsNaN(got) {
		t.Errorf("NaN gives %v", got)
	}
	if got := DistanceM(Point{0, math.Inf(1)}, Point{0, 0}); !math.IsNaN(got) {
		t.Errorf("infinity gives %v", got)
	}
}

func BenchmarkDistanceM(b *testing.B) {
	for _, bb := range []struct {
		name string
		to   Point
	}{{"km=1", Point{55.76, 37.63}}, {"km=600", Point{59.9, 30.3}}, {"near=antipode", Point{-55.7, -142.3}}} {
		b.Run(bb.name, func(b *testing.B) {
			from, sum := Point{55.7558, 37.6173}, 0.0
			for b.Loop() {
				sum += DistanceM(from, bb.to)
			}
			if sum == 0 {
				b.Fatal()
			}
		})
	}
}
