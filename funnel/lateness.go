package funnel

import (
	"cmp"
	"slices"

	"footfall/receipt"
)

// Stages of the way from a fix to the screen, and whose time it is.
var LatenessStages = []struct{ Name, Says string }{
	{"phone", "from the fix until it arrived: the phone, its operating system and the network"},
	{"gateway", "from its arrival until the decision was made: ours"},
	{"queue", "from the decision, or the hour that it waited for, until the first try began: the outbox"},
	{"retries", "from the beginning of the first try until that of the last: a provider that did not take it, and the waits between"},
	{"provider", "from the beginning of the last try until the provider had taken it"},
	{"shown", "from then until the phone reports it: the provider and the phone, by the phone's clock"},
}

// Lateness is how long the accepted pushes of one kind of phone took.
type Lateness struct {
	Source   string `json:"source"`
	Platform string `json:"platform"`
	Pushes   int64  `json:"pushes"`
	Total    Times  `json:"total"` // until the last that is known of it
	// Stages is as LatenessStages. That of shown counts only those that were reported.
	Stages [6]Times `json:"stages"`
	// Late is how many took longer than the report asks for, LateBy to which stage most of the time went.
	Late   int64    `json:"late"`
	LateBy [6]int64 `json:"late_by"`
}

// Times are percentiles in milliseconds: the smallest value that so many do not exceed.
type Times struct {
	Count int64 `json:"count"`
	P50   int64 `json:"p50"`
	P90   int64 `json:"p90"`
	Max   int64 `json:"max"`
}

type lateKey struct{ source, platform string }

// lateness gathers times; the zero value is ready.
type lateness struct{ kinds map[lateKey]*lateKind }

type lateKind struct {
	total  []int64
	stages [6][]int64
	late   int64
	by     [6]int64
}

func (l *lateness) add(e *Entry, o *Outcome, facts []receipt.Fact, lateMS int64) {
	if e.ReceivedAt == 0 || e.DecidedAt == 0 {
		return
	}
	if l.kinds == nil {
		l.kinds = map[lateKey]*lateKind{}
	}
	k := l.kinds[lateKey{e.Source, e.Platform}]
	if k == nil {
		k = &lateKind{}
		l.kinds[lateKey{e.Source, e.Platform}] = k
	}
	begin := max(e.DecidedAt, e.SendAt) // the wait for an hour is meant, and nobody's delay
	leased := cmp.Or(o.Leased, o.At)
	first := cmp.Or(o.First, leased)
	parts := [6]int64{e.ReceivedAt - cmp.Or(e.FixedAt, e.At), e.DecidedAt - e.ReceivedAt, first - begin, leased - first, o.At - leased, -1}
	const shown = len(parts) - 1
	for i := range facts {
		if f := &facts[i]; f.Ev != receipt.Converted {
			if d := max(f.At-o.At, 0); parts[shown] < 0 || d < parts[shown] {
				parts[shown] = d
			}
		}
	}
	var total int64
	worst := 0
	for i, d := range parts {
		if d < 0 && i == shown {
			continue
		}
		d = max(d, 0) // clocks
		total += d
		k.stages[i] = append(k.stages[i], d)
		if d > parts[worst] {
			worst = i
		}
	}
	k.total = append(k.total, total)
	if total > lateMS {
		k.late++
		k.by[worst]++
	}
}

func (l *lateness) finish() (out []Lateness) {
	for key, k := range l.kinds {
		row := Lateness{Source: key.source, Platform: key.platform, Pushes: int64(len(k.total)), Total: timesOf(k.total), Late: k.late, LateBy: k.by}
		for i := range k.stages {
			row.Stages[i] = timesOf(k.stages[i])
		}
		out = append(out, row)
	}
	slices.SortFunc(out, func(a, b Lateness) int {
		return cmp.Or(cmp.Compare(b.Pushes, a.Pushes), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Platform, b.Platform))
	})
	return out
}

// timesOf sorts its argument.
func timesOf(v []int64) Times {
	n := len(v)
	if n == 0 {
		return Times{}
	}
	slices.Sort(v)
	at := func(percent int) int64 { return v[(n*percent+99)/100-1] }
	return Times{Count: int64(n), P50: at(50), P90: at(90), Max: v[n-1]}
}
