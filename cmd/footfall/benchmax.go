package main

import (
	"fmt"

	"footfall/bench/load"
	"footfall/bench/report"
)

// invalidTries is how often a rate is tried at which the generator was the limit: on a machine with other work that may
// pass, and it says nothing of the gateway.
const invalidTries = 3

// findMax raises the rate until a run is not VALID, narrows the gap once it has found it, and finishes with the
// highest rate that was VALID. Every run is against a gateway of its own unless --url names one. A rate that the gateway
// did not sustain is its limit; one at which three runs were INVALID is the generator's, and the answer says so.
func (c *benchRunCmd) findMax(e *env, cfg load.Config, thresholds []report.Threshold) error {
	out := newScreen(e.err)
	var best, worst *report.Result // of the highest rate that was good and the lowest that was not
	search := rateSearch{start: cfg.Rate, most: c.MaxRate}
	runs := 0
	for {
		rate, ok := search.next()
		if !ok {
			break
		}
		var res *report.Result
		for range invalidTries {
			next := cfg
			next.Rate = rate
			next.Devices = max(cfg.Devices, int(rate/200)) // as many as a gateway takes so much from
			if c.URL != "" {
				next.RunID = fmt.Sprintf("%s-%d", cfg.RunID, runs)
			}
			runs++
			next, err := next.WithDefaults()
			if err != nil {
				return err
			}
			plan, err := c.plan(e, next)
			if err != nil {
				return err
			}
			if res, err = c.measure(e, plan, false); err != nil {
				return err
			}
			out.printf("%10.0f pings/s  %s", rate, stepLine(res))
			if res.Verdict != report.Invalid || wrong(res) {
				break
			}
		}
		if res.Verdict == report.Valid && !wrong(res) {
			best, search.good = res, rate
		} else {
			worst, search.bad = res, rate
		}
	}
	if best == nil {
		return fmt.Errorf("no rate was VALID, down to %.0f pings a second", search.bad)
	}
	fmt.Fprintf(e.out, "%s\n\n", sustainable(search, worst))
	return c.finish(e, best, thresholds)
}

// wrong reports whether a run's entries or pushes were not those that were owed.
func wrong(res *report.Result) bool { return res.Correctness.Judged && !res.Correct }

// stepLine says how one run went.
func stepLine(res *report.Result) string {
	claim := "no entry measured"
	if l := res.Stages["claim"]; l != nil {
		claim = fmt.Sprintf("claim p50 %.2f ms, p99 %.2f ms", l.P50US/1000, l.P99US/1000)
	}
	line := fmt.Sprintf("%-10s  %s", res.Verdict, claim)
	if len(res.Reasons) > 0 {
		line += "  " + res.Reasons[0]
	}
	if wrong(res) {
		line += "  WRONG entries or pushes"
	}
	return line
}

// sustainable is the answer of a search: worst is the run at search.bad, nil when there was none.
func sustainable(search rateSearch, worst *report.Result) string {
	switch {
	case worst == nil:
		return fmt.Sprintf("sustainable: at least %.0f pings/s, where --max-rate ended the search", search.good)
	case worst.Verdict == report.Invalid && !wrong(worst):
		return fmt.Sprintf("sustainable: at least %.0f pings/s; at %.0f the generator was the limit in %d runs, so this is not what the gateway can take", search.good, search.bad, invalidTries)
	default:
		return fmt.Sprintf("sustainable: %.0f pings/s", search.good)
	}
}

// rateSearch looks for the highest good rate: by steps of 1.5 upwards, or halves downwards, until it is between two
// rates, and then by four halvings of what lies between, to some 3 %.
type rateSearch struct {
	start, most float64
	good, bad   float64 // highest and lowest so far; 0: none
	narrowed    int
}

// next is the rate to try; false when the search is over.
func (s *rateSearch) next() (float64, bool) {
	rate := s.start
	switch {
	case s.good > 0 && s.bad > 0:
		if s.narrowed++; s.narrowed > 4 {
			return 0, false
		}
		rate = (s.good + s.bad) / 2
	case s.good > 0:
		rate = s.good * 1.5
	case s.bad > 0:
		rate = s.bad / 2
	}
	// A sixteenth of the start is far from what was asked about: something else is wrong.
	return rate, rate <= s.most && rate >= s.start/16
}
