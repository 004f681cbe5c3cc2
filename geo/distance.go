package geo

import "math"

// DistanceM is the length in metres of the shortest path between a and b on the
// WGS84 ellipsoid. It is right to 0.02 mm up to 10 km, to 0.1 mm anywhere but near
// the antipode and to 1 mm there. Not finite input gives NaN.
//
// Up to 10 km it is the chord through the Earth, lengthened for the curvature;
// beyond, Vincenty's iteration (Survey Review 23, 1975), and where that converges
// badly or not at all, close to the antipode, a bracketed search for the azimuth.
func DistanceM(a, b Point) float64 {
	const short = 10_000.0
	sq := chordSq(a.ECEF(), b.ECEF())
	if sq < short*short {
		// s = c (1 + c²/24R²): R is a mean, its 0.7% spread is 0.02 mm at 10 km.
		return math.Sqrt(sq) * (1 + sq/(24*meanRadiusM*meanRadiusM))
	}
	if s, ok := vincenty(a, b); ok {
		return s
	}
	if sq-sq != 0 {
		return math.NaN()
	}
	return geodesicByAzimuth(a, b)
}

// reducedLat is the sine and cosine of the reduced latitude, from degrees.
func reducedLat(lat float64) (sin, cos float64) {
	s, c := math.Sincos(lat * degree)
	s *= 1 - flattening
	h := math.Hypot(s, c)
	return s / h, c / h
}

// vincenty is Vincenty's inverse solution. ok is false near the antipode.
func vincenty(a, b Point) (s float64, ok bool) {
	sin1, cos1 := reducedLat(a.Lat)
	sin2, cos2 := reducedLat(b.Lat)
	diff := wrapLng(b.Lng-a.Lng) * degree
	lambda := diff
	for range 30 {
		sinL, cosL := math.Sincos(lambda)
		sinSigma := math.Hypot(cos2*sinL, cos1*sin2-sin1*cos2*cosL)
		cosSigma := sin1*sin2 + cos1*cos2*cosL
		if cosSigma < -0.995 { // within 6 degrees of the antipode
			return 0, false
		}
		sigma := math.Atan2(sinSigma, cosSigma)
		sinAlpha, cos2Mid := 0.0, 0.0
		if sinSigma != 0 {
			sinAlpha = cos1 * cos2 * sinL / sinSigma
		}
		cosSqAlpha := 1 - sinAlpha*sinAlpha
		if cosSqAlpha > 1e-15 { // else along the equator, where the middle does not matter
			cos2Mid = cosSigma - 2*sin1*sin2/cosSqAlpha
		}
		c := flattening / 16 * cosSqAlpha * (4 + flattening*(4-3*cosSqAlpha))
		t := 2*cos2Mid*cos2Mid - 1
		next := diff + (1-c)*flattening*sinAlpha*(sigma+c*sinSigma*(cos2Mid+c*cosSigma*t))
		if math.Abs(next-lambda) > 1e-14 {
			lambda = next
			continue
		}
		u := cosSqAlpha * secondEccSq
		k1 := (math.Sqrt(1+u) - 1) / (math.Sqrt(1+u) + 1)
		aa := (1 + k1*k1/4) / (1 - k1)
		bb := k1 * (1 - 3*k1*k1/8)
		d := bb * sinSigma * (cos2Mid + bb/4*(cosSigma*t-bb/6*cos2Mid*(4*sinSigma*sinSigma-3)*(4*cos2Mid*cos2Mid-3)))
		return semiMinorM * aa * (sigma - d), true
	}
	return 0, false
}

// geodesicByAzimuth solves the inverse problem for points near each other's
// antipode. The longitude reached at the second latitude grows with the azimuth at
// the first point, from 0 for north to 180 degrees for south, once the points are
// put so that the first is the further from the equator and south of it (Karney,
// "Algorithms for geodesics", 2013, section 4). A bisection over the azimuth cannot
// fail; the integrals are done by Gauss-Legendre quadrature. Costs about 50 us.
func geodesicByAzimuth(a, b Point) float64 {
	lat1, lat2 := a.Lat, b.Lat
	if math.Abs(lat1) < math.Abs(lat2) {
		lat1, lat2 = lat2, lat1
	}
	if lat1 > 0 {
		lat1, lat2 = -lat1, -lat2
	}
	sin1, cos1 := reducedLat(lat1)
	sin2, cos2 := reducedLat(lat2)
	cos1, cos2 = max(cos1, 1e-16), max(cos2, 1e-16) // poles: keep the azimuth defined
	if sin1 > -1e-100 {
		sin1 = -1e-100 // the equator counts as south
	}
	want := math.Abs(wrapLng(b.Lng-a.Lng)) * degree
	if -lat1 < 1e-9 && want <= math.Pi*(1-flattening) {
		return semiMajorM * want // along the equator every azimuth but east gives 0 or half a turn
	}

	lo, hi := 0.0, math.Pi
	var s float64
	for range 60 {
		az := (lo + hi) / 2
		var lambda float64
		lambda, s = geodesicFrom(az, sin1, cos1, sin2, cos2)
		if lambda < want {
			lo = az
		} else {
			hi = az
		}
	}
	return s
}

// geodesicFrom follows the geodesic that leaves the first reduced latitude at
// azimuth az to where it meets the second one heading north, and returns the change
// of longitude in radians and the length in metres.
func geodesicFrom(az, sin1, cos1, sin2, cos2 float64) (lambda, s float64) {
	sinAz, cosAz := math.Sincos(az)
	sin0 := sinAz * cos1 // sine of the azimuth at the equator
	cos0Sq := cosAz*cosAz + sinAz*sinAz*sin1*sin1
	cosAz2Cos2 := math.Sqrt(max(0, cosAz*cosAz*cos1*cos1+(cos2-cos1)*(cos2+cos1)))
	sigma1 := math.Atan2(sin1, cosAz*cos1)
	sigma2 := math.Atan2(sin2, cosAz2Cos2)
	omega1 := math.Atan2(sin0*sin1, cosAz*cos1)
	omega2 := math.Atan2(sin0*sin2, cosAz2Cos2)
	omega := omega2 - omega1
	if omega < 0 {
		omega += 2 * math.Pi
	}
	if sigma2 < sigma1 {
		sigma2 += 2 * math.Pi
	}
	kSq := secondEccSq * cos0Sq
	half, mid := (sigma2-sigma1)/2, (sigma2+sigma1)/2
	var length, slip float64
	for i, x := range gaussX {
		for _, t := range [2]float64{mid - half*x, mid + half*x} {
			sin := math.Sin(t)
			w := math.Sqrt(1 + kSq*sin*sin)
			length += gaussW[i] * w
			slip += gaussW[i] * (2 - flattening) / (1 + (1-flattening)*w)
		}
	}
	return omega - flattening*sin0*slip*half, semiMinorM * length * half
}

// gaussX and gaussW are the nodes and weights of the 16-point Gauss-Legendre rule,
// positive half, found by Newton's method on the Legendre polynomial.
var gaussX, gaussW = gaussLegendre16()

func gaussLegendre16() (xs, ws [8]float64) {
	const n = 16
	for i := range xs {
		x := math.Cos(math.Pi * (float64(i) + 0.75) / (n + 0.5))
		for range 20 {
			p0, p1 := 1.0, x
			for k := 2.0; k <= n; k++ {
				p0, p1 = p1, ((2*k-1)*x*p1-(k-1)*p0)/k
			}
			slope := n * (x*p1 - p0) / (x*x - 1)
			ws[i] = 2 / ((1 - x*x) * slope * slope)
			x -= p1 / slope
		}
		xs[i] = x
	}
	return xs, ws
}
