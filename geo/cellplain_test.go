package geo

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// The plain twins of what cellat.go and sincos.go do with tables and bit tricks.

// digitTurned[n][d] is digit d turned n·60 degrees counter-clockwise.
var digitTurned = buildDigitTurned()

func buildDigitTurned() (t [6][8]uint8) {
	ring := [6]uint8{1, 5, 4, 6, 2, 3} // counter-clockwise
	for n := range t {
		t[n][7] = 7
		for i, d := range ring {
			t[n][d] = ring[(i+n)%6]
		}
	}
	return t
}

// roundLatticePlain rounds the three coordinates, which sum to zero, and puts right
// the one that moved furthest.
func roundLatticePlain(p, r float64) (a, b int32) {
	x, y := (2*p+r)/3, (p+2*r)/3
	ra, rb, rc := math.Round(x), math.Round(y), math.Round(x-y)
	if ra != rb+rc {
		da, db, dc := math.Abs(ra-x), math.Abs(rb-y), math.Abs(rc-(x-y))
		switch {
		case da >= db && da >= dc:
			ra = rb + rc
		case db >= dc:
			rb = ra - rc
		}
	}
	return int32(ra), int32(rb)
}

func TestRoundLattice(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 1))
	for _, scale := range []float64{3, 100, 1e4, 1e7} {
		for range 200_000 {
			p, r := (2*rng.Float64()-1)*scale, (2*rng.Float64()-1)*scale
			near := func(x float64) bool { return math.Abs(x-math.Round(x)) < 1e-8 }
			if near(p) || near(r) || near(p+r) {
				continue // on a border, where either cell is right
			}
			a, b := roundLattice(p, r)
			if wa, wb := roundLatticePlain(p, r); a != wa || b != wb {
				t.Fatalf("roundLattice(%v, %v) = %d, %d, want %d, %d", p, r, a, b, wa, wb)
			}
		}
	}
}

func TestBy49(t *testing.T) {
	var codes [quad]uint32
	for r := range codes {
		_, codes[r] = by49(uint32(r))
		if r > 0 && codes[r] <= codes[r-1] {
			t.Fatalf("remainders %d and %d have the codes %d and %d", r-1, r, codes[r-1], codes[r])
		}
	}
	for x := uint32(0); x < 1<<28; x += 4099 {
		for _, y := range []uint32{x, x / 49 * 49, x/49*49 + 48} {
			if q, code := by49(y); q != y/49 || code != codes[y%49] {
				t.Fatalf("by49(%d) = %d, %d", y, q, code)
			}
		}
	}
}

func TestTurnDigits(t *testing.T) {
	rng := rand.New(rand.NewPCG(22, 1))
	for range 20_000 {
		var d uint64
		for range 15 {
			d = d<<3 | rng.Uint64N(7)
		}
		for n := range uint8(6) {
			var want uint64
			for i := range 15 {
				want |= uint64(digitTurned[n][d>>(3*i)&7]) << (3 * i)
			}
			if got := turnDigits(d, n); got != want {
				t.Fatalf("turnDigits(%o, %d) = %o, want %o", d, n, got, want)
			}
		}
	}
}

// TestTiles compares CellAt, by tiles, with its plain twin, which asks all faces.
func TestTiles(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 1))
	for range 300_000 {
		p := hardPoint(rng)
		if rng.IntN(4) == 0 { // on the border of tiles
			const half = 180.0 / sinCount
			p = Point{float64(rng.IntN(255)-127)*2*half + half, float64(rng.IntN(511)-255)*2*half + half}
			p.Lat += 1e-9 * rng.NormFloat64()
			p.Lng += 1e-9 * rng.NormFloat64()
		}
		res := rng.IntN(MaxResolution + 1)
		if got, want := CellAt(p, res), cellAtAny(p, res); got != want {
			t.Fatalf("CellAt(%.17g, %.17g, %d) = %v, its plain twin says %v", p.Lat, p.Lng, res, got, want)
		}
	}
	for _, l := range faceLists {
		if len(l) < 1 || len(l) > 5 {
			t.Errorf("a tile with the faces %v", l)
		}
	}
	spots, used := 0, map[uint16]bool{}
	for i, tile := range tiles {
		if row := i >> tileBits; row > sinHalf/2 && row < sinCount-sinHalf/2 {
			continue // no latitude
		}
		if tile < maxSpots {
			spots++
			used[tile] = true
		}
	}
	all := (sinHalf + 1) * sinCount
	t.Logf("%d of %d tiles are of one base cell, %d spots", spots, all, len(used))
	if spots < all*8/10 {
		t.Errorf("only %d of %d tiles are of one base cell", spots, all)
	}
}

// TestSphereVec bounds the error of the sines against ones in extended precision.
func TestSphereVec(t *testing.T) {
	if testing.Short() {
		t.Skip("one goroutine that computes")
	}
	rng := rand.New(rand.NewPCG(24, 1))
	worst := 0.0
	for i := range 40_000 {
		deg := (2*rng.Float64() - 1) * 90
		if i < 1441 {
			deg = float64(i)/8 - 90
		}
		x := deg * degree
		want, _ := bigSin(x).Float64()
		got := sphereVec(Point{Lat: min(deg, 90), Lng: 12}).z
		if deg > 90 {
			got = sphereVec(Point{Lat: 0, Lng: deg}).y
		}
		worst = max(worst, math.Abs(got-want))
	}
	t.Logf("largest error %.3g", worst)
	if worst > 2.3e-16 {
		t.Errorf("largest error %.3g", worst)
	}
	for _, p := range []Point{{0, 0}, {0, 90}, {0, 180}, {0, -180}, {0, -90}, {90, 0}, {-90, 77}} {
		a, b := sphereVec(p), sphereVecAny(p)
		if d := a.sub(b).norm(); d > 1e-15 {
			t.Errorf("sphereVec(%v) = %v, want %v", p, a, b)
		}
	}
}

// bigSin is the sine of x by its series.
func bigSin(x float64) *big.Float {
	const prec = 200
	num := func(v float64) *big.Float { return new(big.Float).SetPrec(prec).SetFloat64(v) }
	term, sum, sq := num(x), num(x), num(x)
	sq.Mul(sq, sq)
	for k := 1.0; k < 30; k++ {
		term.Mul(term, sq)
		term.Quo(term, num(-(2*k)*(2*k+1)))
		sum.Add(sum, term)
	}
	return sum
}
