// Package world makes the fences and the devices that benchmarks run over: the same
// from the same numbers, and larger than the caches. It is for tests and benchmarks
// alone.
package world

import (
	"math"
	"math/rand/v2"

	"footfall/geo"
)

// FenceM is the radius of every fence here, in metres.
const FenceM = 200

// EarthM is the mean radius in metres that peers measure distances with.
const EarthM = 6_371_008.8

// Europe is a point drawn evenly in degrees from what most benchmarks use.
func Europe(rng *rand.Rand) geo.Point {
	return geo.Point{Lat: 36 + 24*rng.Float64(), Lng: -9 + 50*rng.Float64()}
}

// Anywhere is a point drawn evenly in degrees.
func Anywhere(rng *rand.Rand) geo.Point {
	return geo.Point{Lat: 180*rng.Float64() - 90, Lng: 360*rng.Float64() - 180}
}

// Points are n points drawn by next.
func Points(n int, next func(*rand.Rand) geo.Point) []geo.Point {
	rng := rand.New(rand.NewPCG(1, 1))
	ps := make([]geo.Point, n)
	for i := range ps {
		ps[i] = next(rng)
	}
	return ps
}

// Stores are n circles spread over Europe.
func Stores(n int) []*geo.Shape {
	rng := rand.New(rand.NewPCG(6, 6))
	at := make([]geo.Point, n)
	for i := range at {
		at[i] = Europe(rng)
	}
	return Circles(at)
}

// Circles are fences of FenceM round each point.
func Circles(at []geo.Point) []*geo.Shape {
	out := make([]*geo.Shape, len(at))
	for i, p := range at {
		s, err := geo.NewCircle(p, FenceM)
		if err != nil {
			panic(err)
		}
		out[i] = &s
	}
	return out
}

// Walkers are positions of devices that each walk within 3 km of some store, 40 m at a
// time: rounds of one position of each device.
func Walkers(shapes []*geo.Shape, devices, rounds int) []geo.Point {
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
			if HaversineM(next, home[i]) < 3000 {
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

// HaversineM is the distance on a sphere of radius EarthM, in metres.
func HaversineM(a, b geo.Point) float64 {
	const rad = math.Pi / 180
	s, t := math.Sin((b.Lat-a.Lat)/2*rad), math.Sin((b.Lng-a.Lng)/2*rad)
	return 2 * EarthM * math.Asin(math.Sqrt(s*s+math.Cos(a.Lat*rad)*math.Cos(b.Lat*rad)*t*t))
}

// ClearOfEdges leaves out the positions that the ellipsoid and a sphere may put on
// different sides of an edge: then every peer must give the same answer. It reuses ps.
func ClearOfEdges(ps []geo.Point, shapes []*geo.Shape) []geo.Point {
	x := geo.NewIndex(shapes)
	kept := ps[:0]
	var near []int32
	for _, p := range ps {
		ok := true
		near = x.Candidates(near[:0], p)
		for _, i := range near {
			ok = ok && math.Abs(HaversineM(p, shapes[i].Center())-FenceM) > 1.5
		}
		if ok {
			kept = append(kept, p)
		}
	}
	return kept
}
