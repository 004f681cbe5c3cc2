package journey

import (
	"cmp"
	"math"
	"time"

	"footfall/campaign"
)

// winnerRule says when an experiment has been decided.
type winnerRule struct {
	confidence float64 // 0.95
	atLeast    int64   // people in each arm
}

func (r *reader) winner(f campaign.Field) *winnerRule {
	w := &winnerRule{confidence: 0.95, atLeast: 1000}
	f.Keys("winner", []string{"confidence", "at_least"}, nil, func(k campaign.Field) {
		switch k.Name() {
		case "confidence":
			if share, ok := k.Share(); ok && (share < 8000 || share > 9999) {
				k.Fail(campaign.CodeRange, "", "confidence is %s; allowed: 80%% to 99.99%%", share)
			} else if ok {
				w.confidence = float64(share) / 10_000
			}
		case "at_least":
			v, ok := k.Scalar()
			n, isNumber := v.(float64)
			if ok && (!isNumber || n < 10 || n > 1e9 || n != math.Trunc(n)) {
				k.Fail(campaign.CodeRange, "", "at_least is %v; allowed: 10 to 1000000000", v)
				return
			}
			w.atLeast = int64(n)
		}
	})
	if r.j.Goal == nil {
		f.FailKey(campaign.CodeMissing, "goal: {event: purchase}", "a winner is the arm that reaches the goal most often, and the journey has no goal")
	}
	return w
}

// Arm is how one arm of an experiment does.
type Arm struct {
	Name   string `json:"name"`
	People int64  `json:"people"`
	Goals  int64  `json:"goals"`
	// Better is how sure it is that the arm does better than the first one, the control; 0 for the control itself, 0.5
	// while nothing tells them apart. 0.95 means that an arm which does no better looks so good in 5 of 100 cases, in one look:
	// whoever looks every day and stops when it pleases sees it more often. Winner counts all looks.
	Better float64 `json:"better,omitempty"`
}

// Rate is the share of the arm's people who reached the goal.
func (a *Arm) Rate() float64 {
	if a.People == 0 {
		return 0
	}
	return float64(a.Goals) / float64(a.People)
}

// Compare fills in Better for all arms but the first: one-sided, by the test of two proportions with the pooled
// variance, for one look.
func Compare(arms []Arm) {
	for i := 1; i < len(arms); i++ {
		arms[i].Better = 0.5 * math.Erfc(-zScore(&arms[i], &arms[0])/math.Sqrt2)
	}
}

// zScore is by how many standard errors a's rate is above b's, with the pooled variance; 0 while nothing tells them apart.
func zScore(a, b *Arm) float64 {
	if a.People == 0 || b.People == 0 {
		return 0
	}
	n, m := float64(a.People), float64(b.People)
	pooled := float64(a.Goals+b.Goals) / (n + m)
	variance := pooled * (1 - pooled) * (1/n + 1/m)
	if variance <= 0 {
		return 0
	}
	return (a.Rate() - b.Rate()) / math.Sqrt(variance)
}

// Winner is the arm that a step's experiment has been decided for, given how the arms do, in their order: the best one
// when it beats the first with the confidence that is asked for, divided among those that are compared with it
// (Bonferroni), or the first when it beats all others so. "" while that is open, and without a rule.
//
// It is asked again with every newcomer, until one stands. A test of one look, as Compare makes it, would then find a winner
// among equals far more often than its confidence says; beats holds it however often it is asked.
func (j *Journey) Winner(id string, arms []Arm) string {
	i, ok := j.byID[id]
	if !ok || j.steps[i].winner == nil || len(arms) < 2 {
		return ""
	}
	rule := j.steps[i].winner
	for k := range arms {
		if arms[k].People < rule.atLeast {
			return ""
		}
	}
	alpha := (1 - rule.confidence) / float64(len(arms)-1)
	best, worse := 0, 0
	for k := 1; k < len(arms); k++ {
		if beats(&arms[k], &arms[0], rule.atLeast, alpha) && (best == 0 || arms[k].Rate() > arms[best].Rate()) {
			best = k
		}
		if beats(&arms[0], &arms[k], rule.atLeast, alpha) {
			worse++
		}
	}
	if best == 0 && worse < len(arms)-1 {
		return ""
	}
	return arms[best].Name
}

// beats reports whether a does better than b: of arms that do not, with a chance of alpha at most that it ever does
// so, in any number of looks. It is the mixture sequential probability ratio test with a half-normal mixture over the difference
// of two proportions (Robbins 1970; Johari, Koomen, Pekelis and Walsh, "Peeking at A/B tests", KDD 2017). The width of the
// mixture is that of the difference which atLeast people in each arm leave to chance; a test for any width holds its
// level, and this one is sharpest after some eight times as many people.
func beats(a, b *Arm, atLeast int64, alpha float64) bool {
	z := zScore(a, b)
	if z <= 0 {
		return false
	}
	r := 2 / (1/float64(a.People) + 1/float64(b.People)) / float64(atLeast) // information in units of the mixture's
	s := r / (1 + r)
	logRatio := math.Log(math.Erfc(-z*math.Sqrt(s/2))) - math.Log1p(r)/2 + z*z*s/2
	return logRatio >= -math.Log(alpha)
}

// Experiments lists the steps that divide people by chance, each with its arms in order, the control first; the figures
// are those that count gives for a name.
func (j *Journey) Experiments(count func(name string) int64) map[string][]Arm {
	out := map[string][]Arm{}
	for i := range j.steps {
		if s := &j.steps[i]; s.kind == stepExperiment {
			out[s.id] = j.Arms(s.id, count)
		}
	}
	return out
}

// Arms are the arms of one experiment.
func (j *Journey) Arms(id string, count func(name string) int64) []Arm {
	i, ok := j.byID[id]
	if !ok {
		return nil
	}
	var arms []Arm
	for _, b := range j.steps[i].branches {
		arms = append(arms, Arm{Name: b.name, People: count(armCount("arm", id, b.name)), Goals: count(armCount("goal", id, b.name))})
	}
	Compare(arms)
	return arms
}

// Admit says why somebody may not enter the journey by what happens at a time; "" when they may. run is what is known of
// them.
func (j *Journey) Admit(run *Run, f *Facts, now time.Time) string {
	if reason := j.Window.Check(now, cmp.Or(f.Store, j.zone)); reason != "" {
		return string(reason)
	}
	if f.Hold {
		return "paused"
	}
	if why := j.MayEnter(run, now.UnixMilli(), f.Store); why != "" {
		return why
	}
	if j.Audience != nil {
		fits, _ := j.Audience.Match(person(f), now.UnixMilli())
		if !fits {
			return "not_in_audience"
		}
	}
	return ""
}
