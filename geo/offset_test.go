package geo

import (
	"math"
	"testing"
)

// TestOffset: the distance to where it leads is that asked for, and the direction too, over the antimeridian as elsewhere.
func TestOffset(t *testing.T) {
	for _, p := range []Point{{0, 0}, {50.45, 30.52}, {-33.9, 151.2}, {60, -150}, {-17, 179.9999}} {
		for _, m := range []float64{0, 1, 200, 1000} {
			for bearing := 0.0; bearing < 360; bearing += 22.5 {
				at := Offset(p, bearing, m)
				if err := at.Validate(); err != nil {
					t.Fatal(err)
				}
				if got := DistanceM(p, at); math.Abs(got-m) > 0.5*m/1000+1e-6 {
					t.Errorf("%v: %v m at %v degrees leads %v m away", p, m, bearing, got)
				}
				north, east := at.Lat-p.Lat, wrapLng(at.Lng-p.Lng)
				sin, cos := math.Sincos(bearing * degree)
				if north*cos < 0 && math.Abs(cos) > 1e-9 || east*sin < 0 && math.Abs(sin) > 1e-9 {
					t.Errorf("%v: %v degrees leads to %v", p, bearing, at)
				}
			}
		}
	}
}
