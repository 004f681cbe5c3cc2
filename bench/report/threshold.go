package report

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Threshold is a condition that a result has to meet, such as claim.p99<10ms.
type Threshold struct {
	text       string
	what, stat string
	op         string
	limit      float64 // µs for times
}

var (
	thresholdForm = regexp.MustCompile(`^([a-z]+)(?:\.([a-z0-9]+))?\s*(<=|>=|==|<|>)\s*(\S+)$`)
	stats         = map[string]func(*Latency) float64{
		"p50": func(l *Latency) float64 { return l.P50US }, "p90": func(l *Latency) float64 { return l.P90US },
		"p99": func(l *Latency) float64 { return l.P99US }, "p999": func(l *Latency) float64 { return l.P999US },
		"max": func(l *Latency) float64 { return l.MaxUS }, "mean": func(l *Latency) float64 { return l.MeanUS },
	}
	counts = map[string]func(*Result) float64{
		"lost": func(r *Result) float64 {
			return float64(r.Correctness.Enters.Lost + r.Correctness.Exits.Lost + r.Correctness.Pushes.Lost)
		},
		"extra": func(r *Result) float64 {
			return float64(r.Correctness.Enters.Extra + r.Correctness.Exits.Extra + r.Correctness.Pushes.Extra)
		},
		"duplicate": func(r *Result) float64 {
			return float64(r.Correctness.Enters.Duplicate + r.Correctness.Exits.Duplicate + r.Correctness.Pushes.Duplicate)
		},
		"rate":    func(r *Result) float64 { return r.Load.AchievedRate },
		"dropped": func(r *Result) float64 { return float64(total(r.Gateway.Dropped)) },
		"busy":    func(r *Result) float64 { return float64(r.Load.Busy) },
	}
)

// ParseThreshold reads stage.stat<time (stages as in Stages, and lag; stats p50, p90, p99, p999, max, mean), or
// one of lost, extra, duplicate, dropped, busy, rate with a number. Comparisons are < <= == >= >.
func ParseThreshold(text string) (Threshold, error) {
	t := Threshold{text: text}
	m := thresholdForm.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return t, fmt.Errorf("threshold %q is not like claim.p99<10ms or lost==0", text)
	}
	t.what, t.stat, t.op = m[1], m[2], m[3]
	if t.stat == "" {
		if counts[t.what] == nil {
			return t, fmt.Errorf("threshold %q: %s is none of lost, extra, duplicate, dropped, busy, rate; a latency is written like claim.p99<10ms", text, t.what)
		}
		var err error
		if t.limit, err = strconv.ParseFloat(m[4], 64); err != nil {
			return t, fmt.Errorf("threshold %q: %q is not a number", text, m[4])
		}
		return t, nil
	}
	known := t.what == "lag"
	names := []string{"lag"}
	for _, s := range Stages {
		known = known || s.Name == t.what
		names = append(names, s.Name)
	}
	if !known {
		return t, fmt.Errorf("threshold %q: there is no stage %q; there are %s", text, t.what, strings.Join(names, ", "))
	}
	if stats[t.stat] == nil {
		return t, fmt.Errorf("threshold %q: %s is none of p50, p90, p99, p999, max, mean", text, t.stat)
	}
	d, err := time.ParseDuration(m[4])
	if err != nil {
		return t, fmt.Errorf("threshold %q: %q is not a time such as 10ms or 800us", text, m[4])
	}
	t.limit = micros(int64(d))
	return t, nil
}

// UnmarshalText reads a threshold.
func (t *Threshold) UnmarshalText(text []byte) (err error) {
	*t, err = ParseThreshold(string(text))
	return err
}

// Check says how a result misses the threshold; "" when it meets it. A latency that was not measured misses.
func (t *Threshold) Check(r *Result) string {
	var is float64
	show := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	if t.stat == "" {
		is = counts[t.what](r)
	} else {
		l := r.Stages[t.what]
		if t.what == "lag" {
			l = r.Generator.Lag
		}
		if l == nil {
			return fmt.Sprintf("%s: %s was not measured", t.text, t.what)
		}
		is, show = stats[t.stat](l), us
	}
	ok := false
	switch t.op {
	case "<":
		ok = is < t.limit
	case "<=":
		ok = is <= t.limit
	case ">":
		ok = is > t.limit
	case ">=":
		ok = is >= t.limit
	case "==":
		ok = is == t.limit
	}
	if ok {
		return ""
	}
	return fmt.Sprintf("%s: it is %s", t.text, show(is))
}
