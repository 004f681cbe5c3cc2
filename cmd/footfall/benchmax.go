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
	good, bad := 0.0, 0.0
	// Steps of 1.5 find the order, four halvings the rate to some 3 %.
	for step, narrow := 0, 0; narrow < 4; step++ {
		rate := cfg.Rate
		switch {
		case good > 0 && bad > 0:
			rate = (good + bad) / 2
			narrow++
		case good > 0:
			rate = good * 1.5
		case bad > 0:
			rate = bad / 2
		}
		if rate > c.MaxRate || rate < 1 {
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
			best, good = res, rate
		} else {
			bad = rate
		}
	}
	if best == nil {
		return fmt.Errorf("no rate was VALID, down to %.0f pings a second", bad)
	}
	fmt.Fprintf(e.out, "sustainable: %.0f pings/s\n\n", good)
	return c.finish(e, best, thresholds)
}
