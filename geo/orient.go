package geo

import (
	"math"
	"math/big"
)

// orient is the exact side of c seen from a towards b: 1 left, -1 right, 0 on the
// line. The plain determinant decides when it is clear of its rounding error
// (Shewchuk, "Adaptive Precision Floating-Point Arithmetic", 1997, section 4);
// otherwise it is computed with enough digits.
func orient(a, b, c xy) int {
	l := (a.x - c.x) * (b.y - c.y)
	r := (a.y - c.y) * (b.x - c.x)
	det := l - r
	const bound = 3.3306690738754716e-16
	if limit := bound * (math.Abs(l) + math.Abs(r)); det > limit {
		return 1
	} else if -det > limit {
		return -1
	}
	if (a.x == c.x || b.y == c.y) && (a.y == c.y || b.x == c.x) {
		return 0 // both products are exactly zero: common, since real edges line up with the axes
	}
	return orientExact(a, b, c)
}

func orientExact(a, b, c xy) int {
	const prec = 2200 // any difference of two float64 is exact, and a product of two
	f := func(v float64) *big.Float { return new(big.Float).SetPrec(prec).SetFloat64(v) }
	sub := func(u, v float64) *big.Float { return f(0).Sub(f(u), f(v)) }
	l := f(0).Mul(sub(a.x, c.x), sub(b.y, c.y))
	r := f(0).Mul(sub(a.y, c.y), sub(b.x, c.x))
	return l.Cmp(r)
}
