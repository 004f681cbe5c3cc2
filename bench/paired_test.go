package bench

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// impl is one of several ways to do the same: run does its work ops times, going on
// where the last call stopped.
type impl struct {
	name string
	run  func(ops int)
}

// paired times the first impl, the subject, against the others in rounds: each round
// runs every impl once, in an order that changes from round to round. It reports the
// subject's median time per operation and, for each peer, the median over the rounds
// of the quotient subject / peer.
func paired(b *testing.B, ops int, impls ...impl) {
	b.Helper()
	for _, im := range impls {
		im.run(ops) // caches and branch predictors
	}
	times := make([][]float64, len(impls))
	round := 0
	b.ResetTimer()
	for b.Loop() {
		for k := range impls {
			i := (k + round) % len(impls)
			start := time.Now()
			impls[i].run(ops)
			times[i] = append(times[i], float64(time.Since(start))/float64(ops))
		}
		round++
	}
	b.ReportMetric(0, "ns/op") // of a whole round: says nothing
	b.ReportMetric(median(times[0]), "ns/"+impls[0].name)
	for i := 1; i < len(impls); i++ {
		quotients := make([]float64, len(times[i]))
		for r := range quotients {
			quotients[r] = times[0][r] / times[i][r]
		}
		name := strings.ReplaceAll(impls[i].name, " ", "_")
		b.ReportMetric(median(times[i]), "ns/"+name)
		b.ReportMetric(median(quotients), "x/"+name)
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s) == 0 {
		return 0
	}
	return s[len(s)/2]
}
