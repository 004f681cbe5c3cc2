package main

import (
	"fmt"

	"footfall/bench/load"
	"footfall/bench/report"
)

// findMax raises the rate until a run is not VALID, narrows the gap once it has found it, and finishes with the
// highest rate that was VALID. Every step is a run of its own, against a gateway of its own unless --url names one.
func (c *benchRunCmd) findMax(e *env, cfg load.Config, thresholds []report.Threshold) error {
	out := newScreen(e.err)
	var best *report.Result
	search := rateSearch{start: cfg.Rate, most: c.MaxRate}
	for step := 0; ; step++ {
		rate, ok := search.next()
		if !ok {
			break
		}
		next := cfg
		next.Rate = rate
		next.Devices = max(cfg.Devices, int(rate/200)) // as many as a gateway takes so much from
		if c.URL != "" {
			next.RunID = fmt.Sprintf("%s-%d", cfg.RunID, step)
		}
		next, err := next.WithDefaults()
		if err != nil {
			return err
		}
		plan, err := c.plan(e, next)
		if err != nil {
			return err
		}
		res, err := c.measure(e, plan, false)
		if err != nil {
			return err
		}
		claim := "no entry measured"
		if l := res.Stages["claim"]; l != nil {
			claim = fmt.Sprintf("claim p50 %.2f ms, p99 %.2f ms", l.P50US/1000, l.P99US/1000)
		}
		why := ""
		if len(res.Reasons) > 0 {
			why = "  " + res.Reasons[0]
		}
		if res.Correctness.Judged && !res.Correct {
			why += "  WRONG entries or pushes"
		}
		out.printf("%10.0f pings/s  %-10s  %s%s", rate, res.Verdict, claim, why)
		if res.Verdict == report.Valid && (res.Correct || !res.Correctness.Judged) {
			best = res
			search.good = rate
		} else {
			search.bad = rate
		}
	}
	if best == nil {
		return fmt.Errorf("no rate was VALID, down to %.0f pings a second", search.bad)
	}
	fmt.Fprintf(e.out, "sustainable: %.0f pings/s\n\n", search.good)
	return c.finish(e, best, thresholds)
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
