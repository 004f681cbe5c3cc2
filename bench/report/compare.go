package report

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
)

// Comparison is how the latencies of one run differ from those of another.
type Comparison struct {
	A       string   `json:"a"` // verdict and time
	B       string   `json:"b"`
	Notes   []string `json:"notes,omitempty"`
	Changes []Change `json:"changes"`
}

// Change is one figure of both runs. Shares are relative to A: 0.05 is 5 % more.
type Change struct {
	Stage  string  `json:"stage"`
	Stat   string  `json:"stat"`
	AUS    float64 `json:"a_us"`
	BUS    float64 `json:"b_us"`
	Change float64 `json:"change"`
	// Lo and Hi bound the change with some 95 % confidence, as far as the samples of these two runs tell.
	Lo float64 `json:"lo"`
	Hi float64 `json:"hi"`
}

var compared = []struct {
	name string
	q    float64
}{{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}

// Compare holds b against a. Stages that one of them has not are left out.
func Compare(a, b *Result) (*Comparison, error) {
	c := &Comparison{A: fmt.Sprintf("%s %s %s", a.Started, a.Verdict, short(a.Commit)), B: fmt.Sprintf("%s %s %s", b.Started, b.Verdict, short(b.Commit))}
	for _, r := range []*Result{a, b} {
		if r.Verdict != Valid {
			c.Notes = append(c.Notes, fmt.Sprintf("the run of %s is %s: its latencies say nothing", r.Started, r.Verdict))
		}
		if !r.Correct {
			c.Notes = append(c.Notes, fmt.Sprintf("the run of %s did not give what it had to", r.Started))
		}
	}
	if string(a.Config) != string(b.Config) {
		c.Notes = append(c.Notes, "the two runs had different loads")
	}
	if a.Machine.sameAs(b.Machine) {
		if x, y := a.Machine.SyncP50US, b.Machine.SyncP50US; max(x, y) > 1.3*min(x, y) && min(x, y) > 0 {
			c.Notes = append(c.Notes, fmt.Sprintf("the disk took %s for a synced write before A and %s before B: what follows it is not the gateway's doing alone", us(x), us(y)))
		}
	} else {
		c.Notes = append(c.Notes, "the two runs were on different machines")
	}
	for _, stage := range a.stageNames() {
		if b.Stages[stage] == nil {
			continue
		}
		ha, err := a.Stages[stage].Histogram()
		if err != nil {
			return nil, err
		}
		hb, err := b.Stages[stage].Histogram()
		if err != nil {
			return nil, err
		}
		for _, s := range compared {
			alo, ahi := ha.Between(s.q)
			blo, bhi := hb.Between(s.q)
			was, is := ha.Quantile(s.q), hb.Quantile(s.q)
			c.Changes = append(c.Changes, Change{
				Stage: stage, Stat: s.name, AUS: micros(int64(was)), BUS: micros(int64(is)),
				Change: ratio(float64(is), float64(was)), Lo: ratio(float64(blo), float64(ahi)), Hi: ratio(float64(bhi), float64(alo)),
			})
		}
	}
	if len(c.Changes) == 0 {
		return nil, fmt.Errorf("report: the two results have no stage in common")
	}
	return c, nil
}

// sameAs compares what does not change from run to run.
func (m Machine) sameAs(o Machine) bool {
	m.SyncP50US, m.SyncP99US, o.SyncP50US, o.SyncP99US = 0, 0, 0, 0
	return m == o
}

func ratio(is, was float64) float64 {
	if was == 0 {
		return math.Inf(1)
	}
	return is/was - 1
}

func short(commit string) string { return commit[:min(len(commit), 12)] }

// Worse lists the figures that are worse by more than a share, and certainly worse at all: a change whose interval
// holds no change is not one. p99.9 is shown and not judged: a short run has too few samples for it.
func (c *Comparison) Worse(share float64) []string {
	var out []string
	for _, ch := range c.Changes {
		if ch.Stat != "p99.9" && ch.Change > share && ch.Lo > 0 {
			out = append(out, fmt.Sprintf("%s %s: %s, was %s (%+.1f %%)", ch.Stage, ch.Stat, us(ch.BUS), us(ch.AUS), 100*ch.Change))
		}
	}
	return out
}

// WriteText prints the comparison as a table.
func (c *Comparison) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "A  %s\nB  %s\n", c.A, c.B)
	for _, n := range c.Notes {
		fmt.Fprintf(&b, "note: %s\n", n)
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\nstage\tstat\tA\tB\tchange\tinterval\t")
	for _, ch := range c.Changes {
		mark := ""
		switch {
		case ch.Lo > 0:
			mark = "  worse"
		case ch.Hi < 0:
			mark = "  better"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%+.1f %%\t%+.1f .. %+.1f %%%s\t\n", ch.Stage, ch.Stat, us(ch.AUS), us(ch.BUS), 100*ch.Change, 100*ch.Lo, 100*ch.Hi, mark)
	}
	t.Flush()
	_, err := io.WriteString(w, b.String())
	return err
}
