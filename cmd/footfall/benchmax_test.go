package main

import (
	"strings"
	"testing"

	"footfall/bench/report"
)

// TestSustainableSaysWhoseLimitItIs: what ended a search decides what its answer means.
func TestSustainableSaysWhoseLimitItIs(t *testing.T) {
	run := func(v report.Verdict, judged, correct bool) *report.Result {
		r := &report.Result{Verdict: v, Correct: correct}
		r.Correctness.Judged = judged
		return r
	}
	for _, tt := range []struct {
		name  string
		worst *report.Result
		want  string
	}{
		{"the gateway's", run(report.Overloaded, false, false), "sustainable: 1000 pings/s"},
		{"wrong entries are the gateway's", run(report.Invalid, true, false), "sustainable: 1000 pings/s"},
		{"the generator's", run(report.Invalid, true, true), "sustainable: at least 1000 pings/s; at 1500 the generator was the limit"},
		{"nobody's", nil, "sustainable: at least 1000 pings/s, where --max-rate ended"},
	} {
		got := sustainable(rateSearch{good: 1000, bad: 1500}, tt.worst)
		if !strings.HasPrefix(got, tt.want) || tt.want == "sustainable: 1000 pings/s" && got != tt.want {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}
