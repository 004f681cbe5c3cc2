package load

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"runtime/debug"
	"time"

	"footfall/bench/report"
)

// result puts together what a run has found.
func (r *runner) result(s *sampler, u usage, before, after gatewayStats, drained time.Duration) (*report.Result, error) {
	plan, cfg := r.plan, &r.plan.Config
	sum := plan.Sum()
	config, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	total := cfg.Duration.Seconds()
	res := &report.Result{
		Schema: report.Schema, Started: r.startAt.UTC().Format(time.RFC3339), Commit: commit(), Config: config, Target: redactURL(r.target.URL),
		Machine: report.ThisMachine(), Stages: map[string]*report.Latency{}, Raw: map[string]*report.Latency{}, Timeline: s.series,
		Load: report.Load{
			Messages: int64(sum.Messages), Pings: int64(sum.Pings), OfferedRate: float64(sum.Pings) / total,
			AchievedRate:  float64(r.sentPings.Load()) / max(total, r.lastSent.Sub(r.startAt).Seconds()),
			AchievedShare: float64(r.sentByEnd) / float64(sum.Pings),
			DrainMS:       float64(drained.Microseconds()) / 1000,
		},
		Generator: report.Generator{
			RealTime: r.realTime, CPUShare: u.cpuShare, GCShare: u.gcShare, GCPauseMS: u.pauseMS, HeapMB: u.heapMB,
			Reconnects: r.reconnects.Load(), Unsent: r.unsent, StatErrors: r.statErrors.Load(),
		},
		Gateway: report.Gateway{
			Pings: after.Stats.Pings - before.Stats.Pings, Processed: after.Stats.Processed - before.Stats.Processed,
			Dropped: minus(after.Stats.Dropped, before.Stats.Dropped), Refused: minus(after.Stats.Refused, before.Stats.Refused),
			CPUShare: u.peerCPU, RSSMB: u.peerMB,
		},
	}
	if r.sendErr != nil {
		res.Generator.SendError = r.sendErr.Error()
	}
	if r.opt.Limits == (report.Limits{}) {
		r.opt.Limits = report.DefaultLimits()
	}
	if n := len(s.series); n > 0 { // in a run of less than a second the gateway is not asked
		res.Load.CollectedRate = float64(took(s.last.stats)-took(before)) / s.last.statedAt.Sub(s.began).Seconds()
		res.Load.BehindMS = max(0, float64(s.last.sent-done(s.last.stats)+done(before))/res.Load.OfferedRate*1000)
	}
	if drained == 0 {
		res.Load.DrainMS = float64(r.opt.Drain.Milliseconds())
		res.Notes = append(res.Notes, fmt.Sprintf("the gateway was not done %s after the last send", r.opt.Drain))
	}
	if a := r.acks; a != nil {
		a.mu.Lock()
		res.Load.Acked, res.Load.Busy, res.Load.Unanswered, res.Load.Retried, res.Load.Refused = a.acked, a.busy, a.silent+int64(a.waiting), a.retried, a.refused
		a.mu.Unlock()
	}
	if err := r.latencies(res); err != nil {
		return nil, err
	}
	r.compare(res)
	for _, stage := range []string{"store", "decide", "claim", "accept"} { // collect is cut to a millisecond
		if l := res.Stages[stage]; l != nil && l.Below > 0 {
			res.Notes = append(res.Notes, fmt.Sprintf("%d entries reached %s before they were sent: the gateway's clock is behind this machine's", l.Below, stage))
		}
	}
	if !r.target.SameClock {
		res.Notes = append(res.Notes, "the gateway's clock is not this machine's: of its stages only the time between them is told, and latencies end with the event that comes back")
	}
	if r.target.Accepted == nil {
		res.Notes = append(res.Notes, "pushes are counted by the gateway's own events; the time of their acceptance is exact to a millisecond")
	}
	res.Judge(r.opt.Limits)
	return res, nil
}

// commit is the revision this program was built from, with a + when files had been changed; else what is known of its
// build. It is never empty: go run and go test leave the revision out.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = "+"
		}
	}
	if revision == "" {
		return cmp.Or(info.Main.Version, "unknown")
	}
	return revision + modified
}

func minus(after, before map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for k, v := range after {
		if d := v - before[k]; d != 0 {
			out[k] = d
		}
	}
	return out
}

// latencies fills the stages, their parts, the lag and the timeline.
func (r *runner) latencies(res *report.Result) error {
	plan, t := r.plan, r.tracker
	warm := plan.Config.Warmup
	stages, raw := map[string]*report.Histogram{}, map[string]*report.Histogram{}
	for _, s := range report.Stages {
		stages[s.Name], raw[s.Name] = report.NewHistogram(), report.NewHistogram()
	}
	parts := make([]*report.Histogram, report.Chain)
	for i := range parts {
		parts[i] = report.NewHistogram()
	}
	lag := report.NewHistogram()
	line := newTimeline(res.Timeline, plan)
	record := func(stage string, message int32, us int64) {
		stages[stage].Record(time.Duration(us) * time.Microsecond)
		raw[stage].Record(time.Duration(us-int64(max(r.lagUS[message], 0))) * time.Microsecond)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range plan.Expect {
		e, s := &plan.Expect[i], &t.states[i]
		if e.Kind != Enter || s.came == 0 {
			continue
		}
		at := plan.Messages[e.Message].At
		planned := t.startUS + at.Microseconds()
		chain := [report.Chain]int64{s.collectUS, s.storeUS, s.decideUS, s.claimUS, s.acceptUS}
		if r.target.SameClock {
			line.add(at, &line.claims, s.claimUS-planned, s.claimUS > 0)
			line.add(at, &line.accepts, s.acceptUS-planned, s.acceptUS > 0)
		}
		if at < warm {
			continue
		}
		record("event", e.Message, s.here-planned)
		before := planned
		for n, us := range chain {
			if us == 0 {
				before = 0
				continue
			}
			if r.target.SameClock {
				record(report.Stages[n].Name, e.Message, us-planned)
			}
			if before > 0 && (n > 0 || r.target.SameClock) && !(n == report.Chain-1 && !t.fake && !r.target.SameClock) {
				parts[n].Record(time.Duration(us-before) * time.Microsecond)
			}
			before = us
		}
	}
	for i := range plan.Messages {
		at := plan.Messages[i].At
		if v := r.lagUS[i]; v >= 0 {
			line.add(at, &line.lags, int64(v), true)
			if at >= warm {
				lag.Record(time.Duration(v) * time.Microsecond)
			}
		}
		if r.acks != nil && at >= warm && r.acks.ackUS[i] >= 0 {
			record("ack", int32(i), int64(r.acks.ackUS[i]))
		}
	}
	var err error
	for _, s := range report.Stages {
		if res.Stages[s.Name], err = stages[s.Name].Summary(); err != nil {
			return err
		}
		if res.Raw[s.Name], err = raw[s.Name].Summary(); err != nil {
			return err
		}
		if res.Stages[s.Name] == nil {
			delete(res.Stages, s.Name)
			delete(res.Raw, s.Name)
		}
	}
	previous := "sent"
	for n, h := range parts {
		name := report.Stages[n].Name
		l, err := h.Summary()
		if err != nil {
			return err
		}
		if l != nil {
			res.Parts = append(res.Parts, report.Part{Name: previous + " → " + name, Time: l})
		}
		previous = name
	}
	res.Generator.Lag, err = lag.Summary()
	line.fill()
	return err
}

// timeline sorts samples into the seconds of a run, by the planned time of their message.
type timeline struct {
	seconds               []report.Second
	claims, accepts, lags []*report.Histogram
}

func newTimeline(seconds []report.Second, plan *Plan) *timeline {
	n := len(seconds)
	t := &timeline{seconds: seconds, claims: make([]*report.Histogram, n), accepts: make([]*report.Histogram, n), lags: make([]*report.Histogram, n)}
	for i := range plan.Messages {
		if s := t.second(plan.Messages[i].At); s >= 0 {
			seconds[s].Offered += float64(plan.Messages[i].N)
		}
	}
	return t
}

func (t *timeline) second(at time.Duration) int {
	if s := int(at / time.Second); s < len(t.seconds) {
		return s
	}
	return -1
}

// heatRows are the rows of the heat map: from 10 µs, four a decade, up to 10 s and more.
const heatRows = 25

func heatRow(us int64) int {
	if us < 10 {
		return 0
	}
	return min(heatRows-1, int(4*math.Log10(float64(us)/10)))
}

func (t *timeline) add(at time.Duration, to *[]*report.Histogram, us int64, known bool) {
	s := t.second(at)
	if !known || s < 0 {
		return
	}
	if (*to)[s] == nil {
		(*to)[s] = report.NewHistogram()
	}
	(*to)[s].Record(time.Duration(us) * time.Microsecond)
	if &(*to)[0] == &t.claims[0] {
		sec := &t.seconds[s]
		if sec.Heat == nil {
			sec.Heat = make([]int, heatRows)
		}
		sec.Heat[heatRow(us)]++
		sec.Claims++
	}
}

func (t *timeline) fill() {
	us := func(h *report.Histogram, q float64) float64 {
		if h == nil {
			return 0
		}
		return float64(h.Quantile(q).Microseconds())
	}
	for i := range t.seconds {
		s := &t.seconds[i]
		s.ClaimP50, s.ClaimP99, s.ClaimMax = us(t.claims[i], 0.5), us(t.claims[i], 0.99), us(t.claims[i], 1)
		s.AcceptP50, s.AcceptP99 = us(t.accepts[i], 0.5), us(t.accepts[i], 0.99)
		s.LagP50, s.LagP99, s.LagMax = us(t.lags[i], 0.5), us(t.lags[i], 0.99), us(t.lags[i], 1)
	}
}

// compare holds what came against what had to come.
func (r *runner) compare(res *report.Result) {
	plan, t, c := r.plan, r.tracker, &res.Correctness
	c.Judged = true
	excused := map[int32]bool{}
	if r.acks != nil {
		r.acks.mu.Lock()
		excused = r.acks.troubled
		acked := r.acks.pings
		r.acks.mu.Unlock()
		c.AckedLost = max(0, acked-res.Gateway.Pings)
		if len(excused) > 0 {
			c.Why = fmt.Sprintf("%d devices had to repeat requests, so that their order is not known; they are left out", len(excused))
		}
	} else if n := dropped(res); n > 0 {
		c.Judged, c.Why = false, fmt.Sprintf("the gateway turned %d messages away, and nobody knows which", n)
	}
	if r.unsent > 0 || r.reconnects.Load() > 0 {
		c.Judged, c.Why = false, "not everything was sent"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	tally := func(kind string) *report.Tally {
		switch kind {
		case "enter":
			return &c.Enters
		case "exit":
			return &c.Exits
		}
		return &c.Pushes
	}
	want := map[string]int{}
	for i := range plan.Expect {
		e, s := &plan.Expect[i], &t.states[i]
		if excused[e.Device] {
			continue
		}
		d, fence := &plan.Devices[e.Device], plan.World.Circles[e.Circle].ID
		n := tally(e.Kind.String())
		n.Expected++
		if s.came > 0 {
			n.Got++
		} else {
			n.Lost++
			n.Wrong("lost: %s %s %s at %d ms of the run", d.Name, e.Kind, fence, e.T)
		}
		switch e.Push {
		case NoPush:
		case Sent:
			c.Pushes.Expected++
			if s.pushed > 0 {
				c.Pushes.Got++
			} else {
				c.Pushes.Lost++
				c.Pushes.Wrong("lost: the push to %s for %s at %d ms of the run; %s", d.Name, fence, e.T, cmp.Or(t.fails[e.Device], "no outcome came"))
			}
		default:
			want[e.Push.String()]++
			c.HeldOf++
		}
	}
	for _, x := range t.extra {
		if excused[x.device] {
			continue
		}
		n := tally(x.kind)
		if x.again {
			n.Duplicate++
			n.Wrong("duplicate: %s", x.text)
		} else {
			n.Extra++
			n.Wrong("extra: %s", x.text)
		}
	}
	if len(excused) > 0 {
		return // the reasons are counted over all devices
	}
	for reason := range t.held {
		want[reason] += 0
	}
	for reason, n := range want {
		if diff := t.held[reason] - n; diff != 0 {
			if c.Held == nil {
				c.Held = map[string]int{}
			}
			c.Held[reason] = diff
		}
	}
}

func dropped(res *report.Result) (n int64) {
	for _, v := range res.Gateway.Dropped {
		n += v
	}
	return n
}
