package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Verdict says whether a run's latencies mean anything.
type Verdict string

// The verdicts. Only a VALID run has a headline.
const (
	Valid      Verdict = "VALID"
	Invalid    Verdict = "INVALID"    // the generator was the limit, or the run itself failed
	Overloaded Verdict = "OVERLOADED" // the gateway was
)

// Limits are the thresholds of the verdict.
type Limits struct {
	LagP99US      float64 `json:"lag_p99_us"`     // of the generator
	AchievedShare float64 `json:"achieved_share"` // of the plan that was sent in time
	CPUShare      float64 `json:"cpu_share"`      // of all cores, used by the generator
	GCShare       float64 `json:"gc_share"`       // of the generator's CPU time
	GCPauseMS     float64 `json:"gc_pause_ms"`    // longest pause of the generator
	BehindMS      float64 `json:"behind_ms"`      // how far behind the gateway may be when the last second ends
	DrainMS       float64 `json:"drain_ms"`       // longest time to work off what was left at the end
}

// DefaultLimits are the documented ones.
func DefaultLimits() Limits {
	return Limits{LagP99US: 1000, AchievedShare: 0.995, CPUShare: 0.5, GCShare: 0.1, GCPauseMS: 10, BehindMS: 500, DrainMS: 2000}
}

// Judge gives the verdict from what was measured, by rule. A generator that was at its limit makes a run INVALID
// whatever the gateway did: how late the input came, the gateway cannot help. Without such a reason, one sign that
// the gateway did not keep up makes it OVERLOADED.
func (r *Result) Judge(l Limits) {
	g := &r.Generator
	g.Limits = &l
	var invalid, over []string
	add := func(list *[]string, when bool, format string, v ...any) {
		if when {
			*list = append(*list, fmt.Sprintf(format, v...))
		}
	}
	if g.Lag == nil {
		invalid = append(invalid, "nothing was sent")
	} else {
		add(&invalid, g.Lag.P99US > l.LagP99US, "generator: lag p99 %s, limit %s", us(g.Lag.P99US), us(l.LagP99US))
	}
	add(&invalid, r.Load.AchievedShare < l.AchievedShare, "generator: sent %.2f %% of the plan in time, limit %.1f %%", 100*r.Load.AchievedShare, 100*l.AchievedShare)
	add(&invalid, g.CPUShare > l.CPUShare, "generator: used %.0f %% of all cores, limit %.0f %%", 100*g.CPUShare, 100*l.CPUShare)
	add(&invalid, g.GCShare > l.GCShare, "generator: %.1f %% of its CPU time was garbage collection, limit %.0f %%", 100*g.GCShare, 100*l.GCShare)
	add(&invalid, g.GCPauseMS > l.GCPauseMS, "generator: garbage collection stopped it for %.2f ms, limit %.0f ms", g.GCPauseMS, l.GCPauseMS)
	add(&invalid, g.Unsent > 0, "generator: %d messages could not be sent: %s", g.Unsent, g.SendError)
	add(&invalid, g.Reconnects > 0, "generator: its connections broke %d times", g.Reconnects)

	add(&over, total(r.Gateway.Dropped) > 0, "gateway: turned away %s", list(r.Gateway.Dropped))
	add(&over, r.Load.Busy > 0, "gateway: answered busy %d times", r.Load.Busy)
	add(&over, r.Load.Unanswered > 0, "gateway: left %d requests unanswered", r.Load.Unanswered)
	add(&over, r.Load.BehindMS > l.BehindMS, "gateway: was %.2f s behind at the end, limit %.1f s", r.Load.BehindMS/1000, l.BehindMS/1000)
	add(&over, r.Load.DrainMS > l.DrainMS, "gateway: needed %.1f s to work off what was left at the end, limit %.0f s", r.Load.DrainMS/1000, l.DrainMS/1000)

	switch {
	case len(invalid) > 0:
		r.Verdict = Invalid
	case len(over) > 0:
		r.Verdict = Overloaded
	default:
		r.Verdict = Valid
	}
	r.Reasons = append(invalid, over...)
	c := &r.Correctness
	r.Correct = c.Judged && c.Enters.Clean() && c.Exits.Clean() && c.Pushes.Clean() && len(c.Held) == 0 && c.AckedLost == 0
}

func total(counts map[string]int64) (n int64) {
	for _, v := range counts {
		n += v
	}
	return n
}

func list(counts map[string]int64) string {
	var parts []string
	for reason, n := range counts {
		if n != 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, reason))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}

// us prints microseconds as a person reads them.
func us(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 1000:
		return fmt.Sprintf("%.0f µs", v)
	case v < 10_000:
		return fmt.Sprintf("%.2f ms", v/1000)
	case v < 1_000_000:
		return fmt.Sprintf("%.1f ms", v/1000)
	}
	return time.Duration(v * 1000).Round(10 * time.Millisecond).String()
}
