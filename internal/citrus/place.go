package citrus

import (
	"math"
	"math/rand/v2"

	"footfall/geo"
)

// WGS84: semi-major axis in metres and the square of the first eccentricity (NIMA TR8350.2).
const (
	semiMajorM = 6378137.0
	eccSquared = 0.00669437999014
)

// offset is the point so many metres from p in a direction (degrees, clockwise from north), on the plane that
// touches WGS84 at p, rounded to the seven decimals that phones send. Within a kilometre the geodesic distance
// from p is metres to within 5 cm at these latitudes.
func offset(p geo.Point, bearingDeg, metres float64) geo.Point {
	sin, cos := math.Sincos(bearingDeg * math.Pi / 180)
	return shift(p, metres*sin, metres*cos)
}

// shift moves p by metres to the east and to the north; see offset.
func shift(p geo.Point, eastM, northM float64) geo.Point {
	lat := p.Lat * math.Pi / 180
	w := math.Sqrt(1 - eccSquared*math.Sin(lat)*math.Sin(lat))
	meridian := semiMajorM * (1 - eccSquared) / (w * w * w)
	normal := semiMajorM / w
	return geo.Point{
		Lat: round7(p.Lat + northM/meridian*180/math.Pi),
		Lng: round7(p.Lng + eastM/(normal*math.Cos(lat))*180/math.Pi),
	}
}

func round7(x float64) float64 { return math.Round(x*1e7) / 1e7 }

// bearing is the direction from a to b on the plane, in degrees.
func bearing(a, b geo.Point) float64 {
	east := (b.Lng - a.Lng) * math.Cos(a.Lat*math.Pi/180)
	return math.Atan2(east, b.Lat-a.Lat) * 180 / math.Pi
}

// clearM is how far a place has to be from the centre of every store that it has nothing to do with: beyond the
// edge, the margin of an exit and the accuracy of a good fix.
const clearM = 275

// apart reports whether p is clear of all stores but those named by index.
func apart(p geo.Point, but ...int) bool {
next:
	for i := range stores {
		for _, b := range but {
			if i == b {
				continue next
			}
		}
		if geo.DistanceM(p, stores[i].Center) < clearM {
			return false
		}
	}
	return true
}

// someBearing draws a direction from a store along which the places at these distances are clear of all other
// stores.
func someBearing(rng *rand.Rand, store int, distancesM ...float64) float64 {
	for range 1000 {
		b := rng.Float64() * 360
		ok := true
		for _, d := range distancesM {
			ok = ok && apart(offset(stores[store].Center, b, d), store)
		}
		if ok {
			return b
		}
	}
	panic("citrus: no free direction from store " + stores[store].ID) // the stores are fixed: a test would have seen it
}
