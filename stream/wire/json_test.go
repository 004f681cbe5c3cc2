package wire

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// Every number is the float64 that strconv makes of it, around the edges of the fast path above all.
func TestNumbersEqualStrconv(t *testing.T) {
	numbers := []string{"0", "-0", "0.0", "1", "-1.5e-3", "9007199254740991", "9007199254740992", "9007199254740993", "18014398509481985",
		"18446744073709551615", "18446744073709551616", "18446744073709551617", // wraps around to 1 in 64 bits
		"0.18446744073709551617", "184467440737095516170e-1", "340282366920938463463374607431768211457",
		"00.5"[1:], "0.00000000000000000000000000000000000001", "1e22", "1e23", "1e-22", "1e-23", "9007199254740991e22",
		"1.7976931348623157e308", "1.7976931348623159e308", "-1e400", "5e-324", "2e-324", "1e-99999999999999999999", "1e99999999999999999999",
		"0e99999999999999999999", "50.450100000000000477", "2.2250738585072011e-308"}
	r := rand.New(rand.NewPCG(13, 13))
	for range 20000 {
		digits := fmt.Sprint(r.Uint64N(math.MaxUint64>>r.IntN(60))) + strings.Repeat("0", r.IntN(3)) + fmt.Sprint(r.Uint64N(1+math.MaxUint64>>(1+r.IntN(62))))
		digits = strings.TrimLeft(digits[:1+r.IntN(len(digits))], "0") + "7"
		if at := r.IntN(len(digits) + 1); at > 0 && at < len(digits) {
			digits = digits[:at] + "." + digits[at:]
		}
		numbers = append(numbers, digits, fmt.Sprintf("-%se%d", digits, r.IntN(60)-30))
	}
	for _, n := range numbers {
		if !json.Valid([]byte(n)) {
			t.Fatalf("%s is not JSON", n)
		}
		s := scanner{b: []byte(n)}
		got, ok := s.num()
		want, _ := strconv.ParseFloat(n, 64)
		if !ok || s.i != len(n) || math.Float64bits(got) != math.Float64bits(want) {
			t.Errorf("%s: got %v (ok %v, %d bytes), want %v", n, got, ok, s.i, want)
		}
	}
	for _, n := range []string{"-", "-a", "1.", "1.e5", "1e", "1e+", "-.5"} {
		if s := (scanner{b: []byte(n)}); json.Valid([]byte(n)) {
			t.Errorf("%s is JSON", n)
		} else if _, ok := s.num(); ok {
			t.Errorf("accepted %s", n)
		}
	}
}

// TestUsualNumber: the quick way reads what strconv reads, and nothing that is no JSON number, whatever stands behind it.
func TestUsualNumber(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	of := func(chars string, n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = chars[rng.IntN(len(chars))]
		}
		return string(b)
	}
	read := 0
	for range 200_000 {
		text := []string{"", "-"}[rng.IntN(2)] + of("0123456789", rng.IntN(11))
		if rng.IntN(2) == 0 {
			text += "." + of("0123456789", rng.IntN(11))
		}
		if rng.IntN(8) == 0 {
			text = of("0123456789.-", 1+rng.IntN(19))
		}
		behind := of(",}e: \x00/:\xff.", 1) + of("0123456789,}\":\xff", rng.IntN(25))
		var p [numberLen]byte
		copy(p[:], text+behind)
		v, n := usualNumber(&p)
		if n == 0 {
			continue
		}
		read++
		got := string(p[:n])
		want, err := strconv.ParseFloat(got, 64)
		if err != nil || !json.Valid(p[:n]) || math.Float64bits(v) != math.Float64bits(want) {
			t.Fatalf("%q reads as %v, want %v, %v", got, v, want, err)
		}
		if next := p[n]; next-'0' <= 9 || next == '.' && !strings.Contains(got, ".") {
			t.Fatalf("%q is only part of the number in %q", got, p)
		}
	}
	if read < 80_000 {
		t.Errorf("%d numbers read: too few to prove anything", read)
	}
}
