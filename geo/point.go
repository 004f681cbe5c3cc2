package geo

import (
	"errors"
	"fmt"
	"math"
)

// The WGS84 ellipsoid (NIMA TR8350.2, 2000). Every length of this package is
// measured on it, in metres.
const (
	semiMajorM  = 6378137.0         // equatorial radius, defining constant
	flattening  = 1 / 298.257223563 // defining constant
	semiMinorM  = semiMajorM * (1 - flattening)
	eccSq       = flattening * (2 - flattening)   // first eccentricity squared
	secondEccSq = eccSq / (1 - eccSq)             // second eccentricity squared
	meanRadiusM = (2*semiMajorM + semiMinorM) / 3 // mean radius of the three axes
	minRadiusM  = semiMajorM * (1 - eccSq)        // smallest radius of curvature, along a meridian at the equator
	degree      = math.Pi / 180
)

// ErrPosition is wrapped by every error about a position that is not one.
var ErrPosition = errors.New("geo: bad position")

// Point is a position in degrees, WGS84. Longitudes -180 and 180 are the same
// meridian, and at latitude ±90 every longitude is the same point.
type Point struct{ Lat, Lng float64 }

// Validate reports whether p is finite with a latitude in [-90, 90] and a longitude
// in [-180, 180]. The error wraps ErrPosition and names the fault.
func (p Point) Validate() error {
	switch {
	case p.Lat-p.Lat != 0 || p.Lng-p.Lng != 0:
		return fmt.Errorf("%w: (%v, %v) is not finite", ErrPosition, p.Lat, p.Lng)
	case p.Lat < -90 || p.Lat > 90:
		return fmt.Errorf("%w: latitude %v is outside -90..90", ErrPosition, p.Lat)
	case p.Lng < -180 || p.Lng > 180:
		return fmt.Errorf("%w: longitude %v is outside -180..180", ErrPosition, p.Lng)
	}
	return nil
}

// ECEF is a position in metres from the centre of the Earth: X towards (0, 0),
// Y towards (0, 90 E), Z towards the north pole.
type ECEF struct{ X, Y, Z float64 }

// ECEF is p on the surface of the ellipsoid.
func (p Point) ECEF() ECEF { return ellipsoidECEF(sphereVec(p)) }

// ellipsoidECEF is ECEF for a caller that has the sines and cosines: sphereVec(p) is
// the surface normal at p.
func ellipsoidECEF(normal vec) ECEF {
	n := semiMajorM / math.Sqrt(1-eccSq*normal.z*normal.z)
	return ECEF{X: n * normal.x, Y: n * normal.y, Z: n * (1 - eccSq) * normal.z}
}

// chordSq is the square of the straight distance through the Earth.
func chordSq(a, b ECEF) float64 {
	x, y, z := a.X-b.X, a.Y-b.Y, a.Z-b.Z
	return x*x + y*y + z*z
}

// metresPerDegree are the lengths of a degree of latitude and of longitude at the
// given latitude: the radii of curvature along and across the meridian.
func metresPerDegree(lat float64) (perLat, perLng float64) {
	sin, cos := math.Sincos(lat * degree)
	w := 1 / math.Sqrt(1-eccSq*sin*sin)
	n := semiMajorM * w
	return n * (1 - eccSq) * w * w * degree, n * cos * degree
}

// Offset is the point m metres from p in a direction, clockwise from north, on the plane that touches the ellipsoid at p. It is for
// places near p and away from the poles: over a kilometre the distance is m to within 0.5 m up to latitude 60.
func Offset(p Point, bearingDeg, m float64) Point {
	perLat, perLng := metresPerDegree(p.Lat)
	sin, cos := math.Sincos(bearingDeg * degree)
	return Point{Lat: p.Lat + m*cos/perLat, Lng: wrapLng(p.Lng + m*sin/perLng)}
}

// wrapLng brings a difference of longitudes into [-180, 180].
func wrapLng(d float64) float64 {
	if d < -180 || d > 180 {
		return math.Remainder(d, 360)
	}
	return d
}
