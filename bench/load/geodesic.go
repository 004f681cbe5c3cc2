package load

import "math"

// WGS84.
const (
	semiMajorM = 6_378_137.0
	flattening = 1 / 298.257223563
	semiMinorM = semiMajorM * (1 - flattening)
	radian     = math.Pi / 180
)

// geodesicM is the length of the WGS84 geodesic between two points in degrees, by Vincenty's inverse formula
// (Survey Review XXIII 176, 1975), good to 0.1 mm. It does not converge for nearly opposite points of the Earth,
// which no fence reaches; there it returns half the Earth's circumference.
func geodesicM(lat1, lng1, lat2, lng2 float64) float64 {
	u1, u2 := math.Atan((1-flattening)*math.Tan(lat1*radian)), math.Atan((1-flattening)*math.Tan(lat2*radian))
	sinU1, cosU1 := math.Sincos(u1)
	sinU2, cosU2 := math.Sincos(u2)
	l := math.Remainder(lng2-lng1, 360) * radian
	lambda := l
	for range 50 {
		sinL, cosL := math.Sincos(lambda)
		a, b := cosU2*sinL, cosU1*sinU2-sinU1*cosU2*cosL
		sinS := math.Sqrt(a*a + b*b)
		if sinS == 0 {
			return 0
		}
		cosS := sinU1*sinU2 + cosU1*cosU2*cosL
		sigma := math.Atan2(sinS, cosS)
		sinA := cosU1 * cosU2 * sinL / sinS
		cos2A := 1 - sinA*sinA
		cos2M := 0.0 // both on the equator
		if cos2A != 0 {
			cos2M = cosS - 2*sinU1*sinU2/cos2A
		}
		c := flattening / 16 * cos2A * (4 + flattening*(4-3*cos2A))
		next := l + (1-c)*flattening*sinA*(sigma+c*sinS*(cos2M+c*cosS*(2*cos2M*cos2M-1)))
		if math.Abs(next-lambda) > 1e-13 {
			lambda = next
			continue
		}
		k := cos2A * (semiMajorM*semiMajorM - semiMinorM*semiMinorM) / (semiMinorM * semiMinorM)
		ka := 1 + k/16384*(4096+k*(-768+k*(320-175*k)))
		kb := k / 1024 * (256 + k*(-128+k*(74-47*k)))
		d := kb * sinS * (cos2M + kb/4*(cosS*(2*cos2M*cos2M-1)-kb/6*cos2M*(4*sinS*sinS-3)*(4*cos2M*cos2M-3)))
		return semiMinorM * ka * (sigma - d)
	}
	return math.Pi * semiMajorM
}

// degreesPerM are the sizes of a metre at a latitude, in degrees, from the ellipsoid's radii of curvature there.
func degreesPerM(lat float64) (north, east float64) {
	const e2 = flattening * (2 - flattening)
	sin, cos := math.Sincos(lat * radian)
	w := 1 - e2*sin*sin
	return 1 / (semiMajorM * (1 - e2) / (w * math.Sqrt(w)) * radian), 1 / (semiMajorM / math.Sqrt(w) * cos * radian)
}

// round7 rounds to what a payload carries: seven decimals, a centimetre.
func round7(x float64) float64 { return math.Round(x*1e7) / 1e7 }
