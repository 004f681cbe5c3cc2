package geo

import "math"

// disc is what a circle test needs: the centre and the square of the longest chord,
// through the Earth, to a point that is inside.
//
// A chord of an arc s on a sphere of radius R is s - s³/24R². With R from the
// curvature at the centre this holds on the ellipsoid too, at every latitude and
// azimuth, to 0.1 mm at 20 km and 2 cm at 100 km (the curvature differs between
// azimuths by up to 0.7%, the correction is 1 m at 100 km). So a test needs no
// trigonometry beyond the point's own ECEF position, and has no special places.
type disc struct {
	at      ECEF
	limitSq float64
}

// boundaryM widens circles so that a point computed to lie on the edge is inside,
// whatever its rounding.
const boundaryM = 1e-3

func newDisc(center Point, radiusM float64) disc {
	sin := math.Sin(center.Lat * degree)
	w := 1 - eccSq*sin*sin
	curvature := semiMajorM * math.Sqrt(1-eccSq) / w // geometric mean of the two radii
	r := radiusM + boundaryM
	chord := 2 * curvature * math.Sin(r/(2*curvature))
	return disc{center.ECEF(), chord * chord}
}

func (d *disc) contains(p ECEF) bool { return chordSq(d.at, p) <= d.limitSq }
