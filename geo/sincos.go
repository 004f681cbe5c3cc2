package geo

import "math"

// sphereVec is the unit vector H3 gives a position: it reads the geodetic latitude
// as if the Earth were a sphere. Not finite input gives NaN.
//
// The sines and cosines come from a table of 512 directions (8 kB) and short series
// from there; they are within 2.3e-16 of the true ones (1.5 nm on the ground). This takes
// 6.8 ns where two calls of math.Sincos, its plain twin sphereVecAny, take 21.6.
func sphereVec(p Point) vec {
	if !plain(p) {
		return sphereVecAny(p)
	}
	return sphereVecPlain(p)
}

// sphereVecPlain is sphereVec for what is plain.
func sphereVecPlain(p Point) vec {
	// Rounded to radians first, as H3 does, so that both see the same angle.
	sinLat, cosLat := sincosAt(direction(p.Lat * degree))
	sinLng, cosLng := sincosAt(direction(p.Lng * degree))
	return vec{cosLng * cosLat, sinLng * cosLat, sinLat}
}

// direction finds the direction of sinTable nearest to x radians, -2π <= x <= 2π, and how
// far x is beyond it. It and sincosAt are short enough to be inlined.
func direction(x float64) (k uint, d float64) {
	t := x*(1/sinStep) + roundMagic
	k = uint(math.Float64bits(t)) % sinCount
	t -= roundMagic
	return k, x - t*sinStepHigh - t*sinStepLow
}

// sincosAt is the sine and cosine of d beyond direction k.
func sincosAt(k uint, d float64) (sin, cos float64) {
	d2 := d * d
	s, c := d+d*d2*(sin3+d2*sin5), d2*(cos2+d2*cos4)
	e := &sinTable[k%sinCount]
	return e.sin + (e.cos*s + e.sin*c), e.cos + (e.cos*c - e.sin*s)
}

// sphereVecAny is sphereVec for any angles.
func sphereVecAny(p Point) vec {
	sinLat, cosLat := math.Sincos(p.Lat * degree)
	sinLng, cosLng := math.Sincos(p.Lng * degree)
	return vec{cosLng * cosLat, sinLng * cosLat, sinLat}
}

// plain reports whether p is in the usual ranges; NaN is not.
func plain(p Point) bool { return math.Abs(p.Lat) <= 90 && math.Abs(p.Lng) <= 180 }

const (
	sinCount = 512
	sinStep  = 2 * math.Pi / sinCount
	// The step in two parts, the first so short that k·sinStepHigh is exact.
	sinStepHigh = 13816870609430.0 / (1 << 50)
	sinStepLow  = sinStep - sinStepHigh

	// Series for half a step: sin d = d + sin3·d³ + ..., cos d = 1 + cos2·d² + ...
	// The last coefficient of each makes up for the first one left out.
	sinReach = sinStep * sinStep / 4
	sin3     = -1.0 / 6
	sin5     = 1.0/120 - sinReach*0.8/5040
	cos2     = -1.0 / 2
	cos4     = 1.0/24 - sinReach*0.8/720
)

type sincos struct{ sin, cos float64 }

// sinTable holds the directions of k steps. The first eighth of a turn is computed, the rest
// are its mirror images, so that whole quarters are exact.
var sinTable = buildSinTable()

func buildSinTable() (t [sinCount]sincos) {
	const quarter = sinCount / 4
	for k := range sinCount {
		i := k % quarter
		mirror := i > quarter/2
		if mirror {
			i = quarter - i
		}
		x := float64(i) * sinStepHigh
		rest := float64(i) * sinStepLow
		d := sincos{math.Sin(x), math.Cos(x)}
		d.sin, d.cos = d.sin+d.cos*rest, d.cos-d.sin*rest
		if mirror {
			d.sin, d.cos = d.cos, d.sin
		}
		for range k / quarter {
			d.sin, d.cos = d.cos, -d.sin
		}
		t[k] = d
	}
	return t
}
