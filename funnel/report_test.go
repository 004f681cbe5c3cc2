package funnel

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"footfall/internal/db"
	"footfall/internal/dice"
	"footfall/receipt"
)

const hourMS = 3_600_000

// world is a random history, as the ledger gets it and as the oracle reads it.
type world struct {
	entries  []Entry
	outcomes map[string]Outcome
	facts    map[string][]receipt.Fact
	goals    map[string][]Goal
	visits   map[string][]int64
	changes  []Change
	now      int64
}

func randomWorld(rng *rand.Rand) *world {
	w := &world{outcomes: map[string]Outcome{}, facts: map[string][]receipt.Fact{}, goals: map[string][]Goal{}, visits: map[string][]int64{}}
	begin := time.Date(2026, 10, 23, 0, 0, 0, 0, time.UTC).UnixMilli()
	w.now = begin + 9*dayMS
	at := func() int64 { return begin + rng.Int64N(6*dayMS) }
	one := func(names ...string) string { return names[rng.IntN(len(names))] }
	for i := range 40 + rng.IntN(200) {
		person := rng.IntN(25)
		e := Entry{
			Campaign: one("a", "b", "c"), At: at(), ID: fmt.Sprintf("id%03d", i), Kind: one("enter", "exit"), Fence: one("k1", "k2", "k3"),
			OffsetMin: []int{-720, 0, 120, 180, 840}[rng.IntN(5)], Device: fmt.Sprintf("shop.d%d", person), Subject: fmt.Sprintf("p:u%d", person),
			Platform: one("ios", "android"), Source: one("stream", "os_enter"), Variant: one("", "A", "B"), Lead: rng.IntN(4) > 0,
		}
		e.FixedAt = e.At
		e.ReceivedAt = e.At + rng.Int64N(100_000)
		e.DecidedAt = e.ReceivedAt + rng.Int64N(1000)
		if rng.IntN(8) == 0 {
			e.Campaign, e.Lead = "", true
			w.entries = append(w.entries, e)
			continue
		}
		if rng.IntN(3) == 0 {
			e.Reason = one("already_claimed", "opted_out", "no_token", HeldOut, "stale")
			w.entries = append(w.entries, e)
			continue
		}
		e.MID = fmt.Sprintf("mid%03d", i)
		w.entries = append(w.entries, e)
		if rng.IntN(6) > 0 {
			o := Outcome{State: one("accepted", "accepted", "accepted", "failed", "expired", "cancelled"), At: e.DecidedAt + rng.Int64N(5000)}
			o.Asked = o.State == Accepted || o.State == "failed"
			o.Leased = e.DecidedAt + rng.Int64N(o.At-e.DecidedAt+1)
			w.outcomes[e.MID] = o
		}
		for range rng.IntN(4) {
			ref := ""
			ev := receipt.Stages()[rng.IntN(6)]
			if ev == receipt.Converted {
				ref = fmt.Sprintf("order%d", rng.IntN(30))
			}
			if slices.ContainsFunc(w.facts[e.MID], func(f receipt.Fact) bool { return f.Ev == ev && f.Ref == ref }) {
				continue
			}
			w.facts[e.MID] = append(w.facts[e.MID], receipt.Fact{Ev: ev, Ref: ref, At: e.DecidedAt + rng.Int64N(3*dayMS), Value: float64(rng.IntN(3)), Currency: "UAH"})
		}
	}
	for i := range 40 {
		subject := fmt.Sprintf("p:u%d", rng.IntN(25))
		id := fmt.Sprintf("goal%d", i)
		if rng.IntN(2) == 0 {
			id = fmt.Sprintf("shop.d%s/order%d", strings.TrimPrefix(subject, "p:u"), rng.IntN(30))
		}
		if !slices.ContainsFunc(w.goals[subject], func(g Goal) bool { return g.ID == id }) {
			w.goals[subject] = append(w.goals[subject], Goal{ID: id, At: at() + dayMS, Value: 5, Currency: "UAH"})
		}
		w.visits[subject] = append(w.visits[subject], at())
		w.changes = append(w.changes, Change{At: at(), Device: fmt.Sprintf("shop.d%d", rng.IntN(25)), Joined: rng.IntN(2) == 0, Why: one("opted_out", "token_dead")})
	}
	return w
}

// Of People.
func (w *world) Goals(subject, _ string, from int64) (out []Goal, _ error) {
	for _, g := range w.goals[subject] {
		if g.At >= from {
			out = append(out, g)
		}
	}
	return out, nil
}
func (w *world) GoalIDs(subject, _, own string) ([]string, error) {
	return []string{"shop.d" + strings.TrimPrefix(subject, "p:u") + "/" + own}, nil
}
func (w *world) Visits(subject string, from int64) (out []int64, _ error) {
	for _, at := range w.visits[subject] {
		if at >= from {
			out = append(out, at)
		}
	}
	return out, nil
}
func (w *world) Subscribers(context.Context) (int64, error) { return 1000, nil }

// store writes the history in random order, parts of it twice.
func (w *world) store(t testing.TB, rng *rand.Rand) *db.DB {
	t.Helper()
	d, err := db.Open(db.Config{InMemory: true, Now: func() time.Time { return time.UnixMilli(w.now) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	var writes []func(tx *db.Tx) error
	for i := range w.entries {
		writes = append(writes, func(tx *db.Tx) error { return PutEntry(tx, &w.entries[i], KeepFacts) })
	}
	for mid, o := range w.outcomes {
		writes = append(writes, func(tx *db.Tx) error { return PutOutcome(tx, mid, &o, KeepFacts) })
	}
	for mid, facts := range w.facts {
		for _, f := range facts {
			writes = append(writes, func(tx *db.Tx) error { _, err := receipt.Add(tx, mid, f, KeepFacts); return err })
		}
	}
	for i := range w.changes {
		writes = append(writes, func(tx *db.Tx) error { return PutChange(tx, &w.changes[i], KeepFacts) })
	}
	for range min(20, len(writes)) {
		writes = append(writes, writes[rng.IntN(len(writes))])
	}
	rng.Shuffle(len(writes), func(i, j int) { writes[i], writes[j] = writes[j], writes[i] })
	for batch := range slices.Chunk(writes, 50) {
		err := d.Update(t.Context(), func(tx *db.Tx) error {
			for _, write := range batch {
				if err := write(tx); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func (w *world) report(t *testing.T, d *db.DB, q Query) *Report {
	t.Helper()
	var r *Report
	err := d.View(func(tx *db.Tx) (err error) { r, err = Make(t.Context(), tx, w, q, w.now); return err })
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The oracle: every figure by a scan of the whole history with one question. local is the store's clock as time sees it.
func local(at int64, offsetMin int) time.Time {
	return time.UnixMilli(at).In(time.FixedZone("", offsetMin*60))
}

func (w *world) count(keep func(*Entry) bool) (n int64) {
	for i := range w.entries {
		if keep(&w.entries[i]) {
			n++
		}
	}
	return n
}

func (w *world) has(e *Entry, ev ...string) bool {
	return slices.ContainsFunc(w.facts[e.MID], func(f receipt.Fact) bool { return e.MID != "" && slices.Contains(ev, f.Ev) })
}

// checkGroup compares a group with the entries that belong to it.
func (w *world) checkGroup(t *testing.T, name string, g *Group, in func(*Entry) bool) {
	t.Helper()
	state := func(e *Entry) string {
		if e.MID == "" {
			return ""
		}
		return cmp.Or(w.outcomes[e.MID].State, "owed")
	}
	delivered := func(e *Entry) bool {
		return w.has(e, receipt.Delivered, receipt.Displayed, receipt.Opened, receipt.Action, receipt.Dismissed)
	}
	opened := func(e *Entry) bool { return w.has(e, receipt.Opened, receipt.Action) }
	people := map[string]bool{}
	w.count(func(e *Entry) bool { people[e.Subject] = people[e.Subject] || in(e); return false })
	entered := int64(0)
	for _, is := range people {
		if is {
			entered++
		}
	}
	for what, tt := range map[string]struct {
		got  int64
		want func(*Entry) bool
	}{
		"entered":   {g.Entered, func(*Entry) bool { return true }},
		"claimed":   {g.Claimed, func(e *Entry) bool { return e.MID != "" }},
		"stale":     {g.Held["stale"], func(e *Entry) bool { return e.Reason == "stale" }},
		"holdout":   {g.Held[HeldOut], func(e *Entry) bool { return e.Reason == HeldOut }},
		"owed":      {g.Owed, func(e *Entry) bool { return state(e) == "owed" }},
		"accepted":  {g.Accepted, func(e *Entry) bool { return state(e) == Accepted }},
		"expired":   {g.NotSent["expired"], func(e *Entry) bool { return state(e) == "expired" }},
		"failed":    {g.NotSent["failed"], func(e *Entry) bool { return state(e) == "failed" }},
		"sent":      {g.Sent, func(e *Entry) bool { return state(e) == Accepted || state(e) == "failed" }},
		"delivered": {g.Delivered, delivered},
		"displayed": {g.Displayed, func(e *Entry) bool { return w.has(e, receipt.Displayed) }},
		"opened":    {g.Opened, opened},
		"converted": {g.Converted, func(e *Entry) bool { return w.has(e, receipt.Converted) }},
		"furthest delivered": {g.Outcomes["delivered"], func(e *Entry) bool {
			return delivered(e) && !opened(e) && !w.has(e, receipt.Converted)
		}},
		"furthest opened": {g.Outcomes["opened"], func(e *Entry) bool { return opened(e) && !w.has(e, receipt.Converted) }},
		"furthest accepted": {g.Outcomes["accepted"], func(e *Entry) bool {
			return state(e) == Accepted && !delivered(e) && !w.has(e, receipt.Converted)
		}},
	} {
		if want := w.count(func(e *Entry) bool { return in(e) && tt.want(e) }); tt.got != want {
			t.Errorf("%s: %s is %d, want %d", name, what, tt.got, want)
		}
	}
	if g.People != entered {
		t.Errorf("%s: %d people, want %d", name, g.People, entered)
	}
	if err := g.check(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// TestFunnelEqualsOracle: every stage of every breakdown is what a naive reading of the history says, every entry has
// one outcome, and the groups add up; whatever the order in which the facts came and however often.
func TestFunnelEqualsOracle(t *testing.T) {
	seed := dice.Seed(t)
	for round := range 15 {
		rng := rand.New(rand.NewPCG(seed, uint64(round)))
		w := randomWorld(rng)
		d := w.store(t, rng)
		from := DayOf(w.entries[0].At, 0) - Day(rng.IntN(3))
		q := Query{From: from, To: from + Day(rng.IntN(4))}
		r := w.report(t, d, q)
		days := func(e *Entry) bool {
			day := local(e.At, e.OffsetMin).Format(time.DateOnly)
			return day >= q.From.String() && day <= q.To.String()
		}
		if want := w.count(func(e *Entry) bool { return days(e) && e.Lead }); r.Transitions != want {
			t.Errorf("%d transitions, want %d", r.Transitions, want)
		}
		if want := w.count(func(e *Entry) bool { return days(e) && e.Campaign == "" }); r.NoCampaign != want {
			t.Errorf("%d entries without a campaign, want %d", r.NoCampaign, want)
		}
		for _, id := range []string{"a", "b", "c"} {
			in := func(e *Entry) bool { return days(e) && e.Campaign == id }
			i := slices.IndexFunc(r.Campaigns, func(c *Campaign) bool { return c.ID == id })
			if i < 0 {
				if n := w.count(in); n > 0 {
					t.Errorf("campaign %s with %d entries is missing", id, n)
				}
				continue
			}
			c := r.Campaigns[i]
			w.checkGroup(t, id, &c.Total, in)
			for name, part := range map[string]struct {
				groups []Group
				key    func(*Entry) string
			}{
				"fence":   {c.ByFence, func(e *Entry) string { return e.Fence }},
				"variant": {c.ByVariant, func(e *Entry) string { return e.Variant }},
				"hour":    {c.ByHour, func(e *Entry) string { return local(e.At, e.OffsetMin).Format("15") }},
				"day":     {c.ByDay, func(e *Entry) string { return local(e.At, e.OffsetMin).Format(time.DateOnly) }},
			} {
				var sum int64
				for i := range part.groups {
					g := &part.groups[i]
					sum += g.Entered
					w.checkGroup(t, id+" by "+name+" "+g.Key, g, func(e *Entry) bool { return in(e) && part.key(e) == g.Key })
				}
				if sum != c.Total.Entered {
					t.Errorf("%s by %s: %d, the total is %d", id, name, sum, c.Total.Entered)
				}
			}
			for i := range c.WhereWhen {
				for h, n := range c.WhereWhen[i].Hours {
					want := w.count(func(e *Entry) bool {
						return in(e) && e.Fence == c.WhereWhen[i].Fence && local(e.At, e.OffsetMin).Hour() == h
					})
					if n.Entered != want {
						t.Errorf("%s at %s at %d: %d entered, want %d", id, c.WhereWhen[i].Fence, h, n.Entered, want)
					}
				}
			}
			w.checkCredit(t, c, q)
			w.checkLift(t, c, in)
			// Asked about alone, it says the same.
			q := q
			q.Campaign = id
			if d := gocmp.Diff(c, w.report(t, d, q).Campaigns[0], ignoreSets); d != "" {
				t.Errorf("%s alone (-in the report of all +alone)\n%s", id, d)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d, round %d", seed, round)
		}
	}
}

// ignoreSets compares what is reported, not what it was gathered in.
var ignoreSets = gocmp.FilterPath(func(p gocmp.Path) bool {
	f, ok := p.Last().(gocmp.StructField)
	return ok && (f.Name() == "people" || f.Name() == "reached" || f.Name() == "last")
}, gocmp.Ignore())

// checkLift counts the sides of the comparison anew.
func (w *world) checkLift(t *testing.T, c *Campaign, in func(*Entry) bool) {
	t.Helper()
	var arms [2]Arm
	for person := range 25 {
		subject := fmt.Sprintf("p:u%d", person)
		var first *Entry
		for i := range w.entries {
			e := &w.entries[i]
			if in(e) && e.Subject == subject && (e.MID != "" || e.Reason == HeldOut) && (first == nil || e.At < first.At) {
				first = e
			}
		}
		if first == nil {
			continue
		}
		side := &arms[0]
		if first.MID == "" {
			side = &arms[1]
		}
		side.People++
		if slices.ContainsFunc(w.goals[subject], func(g Goal) bool { return g.At >= first.At && g.At-first.At <= 48*hourMS }) {
			side.Converted++
		}
	}
	switch {
	case arms[1].People == 0:
		if c.Lift != nil {
			t.Errorf("%s: a lift without a holdout", c.ID)
		}
	case c.Lift == nil:
		t.Errorf("%s: no lift", c.ID)
	case c.Lift.Notified.People != arms[0].People || c.Lift.Notified.Converted != arms[0].Converted ||
		c.Lift.Holdout.People != arms[1].People || c.Lift.Holdout.Converted != arms[1].Converted:
		t.Errorf("%s: lift of %+v and %+v, want %+v", c.ID, c.Lift.Notified, c.Lift.Holdout, arms)
	}
}

// checkCredit goes through every conversion of every person and asks of each push whether it has earned it.
func (w *world) checkCredit(t *testing.T, c *Campaign, q Query) {
	t.Helper()
	type done struct {
		at    int64
		value float64
		names string // mid of the push that it names
	}
	want := map[string]int64{}
	value := map[string]float64{}
	for person := range 25 {
		subject := fmt.Sprintf("p:u%d", person)
		things := map[string]done{} // by the order's id, or the event's
		for _, g := range w.goals[subject] {
			if g.At >= q.From.begins() {
				_, order, _ := strings.Cut(g.ID, "/")
				things[cmp.Or(order, g.ID)] = done{g.At, g.Value, ""}
			}
		}
		var pushes []Entry
		for _, e := range w.entries {
			if e.Subject == subject && e.MID != "" && e.At >= q.From.begins()-DefaultWithinMS && e.At < q.To.ends() {
				pushes = append(pushes, e)
			}
		}
		// In the order in which the report reads them: by campaign and time. What two pushes name is the later one's.
		slices.SortFunc(pushes, func(a, b Entry) int {
			return cmp.Or(cmp.Compare(a.Campaign, b.Campaign), cmp.Compare(a.At, b.At), cmp.Compare(a.ID, b.ID))
		})
		for _, e := range pushes {
			facts := slices.Clone(w.facts[e.MID])
			slices.SortFunc(facts, func(a, b receipt.Fact) int { return cmp.Compare(a.Ref, b.Ref) })
			for _, f := range facts {
				if f.Ev != receipt.Converted {
					continue
				}
				thing, ok := things[f.Ref]
				if !ok {
					thing = done{at: f.At, value: f.Value}
				}
				thing.names = e.MID
				things[f.Ref] = thing
			}
		}
		for _, thing := range things {
			credit := func(model string, e *Entry) {
				day := local(thing.at, e.OffsetMin).Format(time.DateOnly)
				if e.Campaign == c.ID && day >= q.From.String() && day <= q.To.String() {
					want[model]++
					value[model] += thing.value
				}
			}
			since := func(at int64) bool { return at <= thing.at && thing.at <= at+48*hourMS }
			var sent, opened *Entry
			var sentAt, openedAt int64
			last := map[string]*Entry{}
			lastAt := map[string]int64{}
			for i := range pushes {
				e := &pushes[i]
				if o := w.outcomes[e.MID]; o.State == Accepted && since(o.At) {
					if sent == nil || o.At >= sentAt {
						sent, sentAt = e, o.At
					}
					if o.At >= lastAt[e.Campaign] {
						last[e.Campaign], lastAt[e.Campaign] = e, o.At
					}
				}
				var first int64
				for _, f := range w.facts[e.MID] {
					if (f.Ev == receipt.Opened || f.Ev == receipt.Action) && (first == 0 || f.At < first) {
						first = f.At
					}
				}
				if first > 0 && since(first) && (opened == nil || first >= openedAt) {
					opened, openedAt = e, first
				}
				if e.MID == thing.names && since(e.DecidedAt) {
					credit("code", e)
				}
			}
			if sent != nil {
				credit("last_sent", sent)
			}
			if opened != nil {
				credit("last_opened", opened)
			}
			for _, e := range last {
				credit("influenced", e)
			}
		}
	}
	for _, k := range c.Attribution {
		if k.Conversions != want[k.Model] || k.Value["UAH"] != value[k.Model] {
			t.Errorf("%s, %s: %d conversions of %v, want %d of %v", c.ID, k.Model, k.Conversions, k.Value["UAH"], want[k.Model], value[k.Model])
		}
	}
}

// TestCohortAndGrowth: who came again and who left, and that people whose time is not over are in no divisor.
func TestCohortAndGrowth(t *testing.T) {
	begin := time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC).UnixMilli()
	w := &world{outcomes: map[string]Outcome{}, facts: map[string][]receipt.Fact{}, visits: map[string][]int64{}}
	for i, at := range []int64{0, hourMS, 13 * hourMS, 13*hourMS + 1, 5 * dayMS} { // on a clock two hours ahead the fourth is of the next day
		e := Entry{Campaign: "a", ID: fmt.Sprint(i), At: begin + at, OffsetMin: 120, Subject: fmt.Sprintf("p:u%d", i), Device: fmt.Sprintf("shop.d%d", i), MID: fmt.Sprint(i), Fence: "k1"}
		if i == 3 {
			e.At = begin + 12*hourMS
		}
		if i == 2 {
			e.At = begin + 12*hourMS - 1
		}
		w.entries = append(w.entries, e)
		w.outcomes[e.MID] = Outcome{State: Accepted, At: e.At + 1000}
	}
	w.visits = map[string][]int64{
		"p:u0": {begin, begin + 6*hourMS},           // the same day only
		"p:u1": {begin + hourMS, begin + 20*hourMS}, // the next day
		"p:u2": {begin + 12*hourMS},                 // a millisecond later, and so the next day
		"p:u3": {begin + 3*dayMS},                   // within seven days
	}
	w.changes = []Change{
		{At: begin + 2000, Device: "shop.d0", Why: "opted_out"},
		{At: begin + hourMS + 1000 + dayMS + 1, Device: "shop.d1", Why: "token_dead"}, // a millisecond after its day
		{At: begin - 1, Device: "shop.d3", Why: "opted_out"},
		{At: begin + dayMS, Device: "shop.d9", Joined: true, Why: "registered"},
	}
	w.now = begin + 5*dayMS + 12*hourMS
	d := w.store(t, rand.New(rand.NewPCG(1, 1)))
	day, err := ParseDay("2026-11-28")
	if err != nil {
		t.Fatal(err)
	}
	r := w.report(t, d, Query{From: day, To: day + 6})
	got := map[string]string{}
	for _, k := range r.Campaigns[0].Cohort {
		got[k.Name] = fmt.Sprintf("%d/%d", k.Part, k.Whole)
	}
	want := map[string]string{"D1 retention": "2/4", "D7 retention": "0/0", "D1 churn": "1/4", "D7 churn": "0/0"}
	if d := gocmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	w.now += 7 * dayMS
	r = w.report(t, d, Query{From: day, To: day + 6})
	clear(got)
	for _, k := range r.Campaigns[0].Cohort {
		got[k.Name] = fmt.Sprintf("%d/%d", k.Part, k.Whole)
	}
	if d := gocmp.Diff(map[string]string{"D1 retention": "2/5", "D7 retention": "3/5", "D1 churn": "1/5", "D7 churn": "2/5"}, got); d != "" {
		t.Errorf("later (-want +got)\n%s", d)
	}
	// 1,000 at the end; one joined, three left.
	if g := r.Growth; g.End != 1000 || g.Start != 1002 || g.Days[0].End != 1000 || g.Days[1].Joined != 1 || g.Days[0].Left["opted_out"] != 2 || len(g.Days) != 7 {
		t.Errorf("%+v", r.Growth)
	}
}

// TestLateness: whose delay it was, and that a wait that was meant is nobody's.
func TestLateness(t *testing.T) {
	const begin = int64(1_795_000_000_000)
	w := &world{outcomes: map[string]Outcome{}, facts: map[string][]receipt.Fact{}, now: begin + dayMS}
	push := func(id, source string, phone, gateway, wait, queue, provider, shown int64) {
		e := Entry{Campaign: "a", ID: id, At: begin, FixedAt: begin, Subject: "p:" + id, MID: id, Source: source, Platform: "ios"}
		e.ReceivedAt = e.At + phone
		e.DecidedAt = e.ReceivedAt + gateway
		from := e.DecidedAt
		if wait > 0 {
			e.SendAt = e.DecidedAt + wait
			from = e.SendAt
		}
		o := Outcome{State: Accepted, Leased: from + queue, At: from + queue + provider}
		w.entries, w.outcomes[id] = append(w.entries, e), o
		if shown >= 0 {
			w.facts[id] = []receipt.Fact{{Ev: receipt.Opened, At: o.At + shown + 5000}, {Ev: receipt.Delivered, At: o.At + shown}}
		}
	}
	push("1", "stream", 1000, 10, 0, 20, 300, 700)
	push("2", "stream", 400_000, 12, 0, 20, 300, 700)
	push("3", "stream", 2000, 10, 0, 90_000, 300, -1)
	push("4", "stream", 2000, 10, hourMS, 30, 300, 100)
	push("5", "os_enter", 2000, 10, 0, 30, 300, 70_000)
	push("6", "foreground", 2000, 10, 0, 95_000, 300, 700)
	o := w.outcomes["6"]
	o.First = o.Leased - 94_000 // the provider did not take it at once
	w.outcomes["6"] = o
	d := w.store(t, rand.New(rand.NewPCG(1, 1)))
	day := DayOf(begin, 0)
	rows := w.report(t, d, Query{From: day, To: day}).Campaigns[0].Lateness
	if retried := rows[1]; len(rows) != 3 || retried.Source != "foreground" || retried.LateBy != [6]int64{0, 0, 0, 1, 0, 0} ||
		retried.Stages[2].Max != 1000 || retried.Stages[3].Max != 94_000 || retried.Total.Max != 98_010 {
		t.Fatalf("%+v", rows)
	}
	rows = slices.Delete(rows, 1, 2)
	if len(rows) != 2 || rows[0].Source != "stream" || rows[0].Pushes != 4 || rows[0].Late != 2 || rows[0].LateBy != [6]int64{1, 0, 1, 0, 0, 0} ||
		rows[1].Late != 1 || rows[1].LateBy != [6]int64{0, 0, 0, 0, 0, 1} {
		t.Fatalf("%+v", rows)
	}
	s := rows[0]
	want := [6]Times{{4, 2000, 400_000, 400_000}, {4, 10, 12, 12}, {4, 20, 90_000, 90_000}, {4, 0, 0, 0}, {4, 300, 300, 300}, {3, 700, 700, 700}}
	if d := gocmp.Diff(want, s.Stages); d != "" || s.Total != (Times{4, 2440, 401_032, 401_032}) {
		t.Errorf("total %+v; stages (-want +got)\n%s", s.Total, d)
	}
}

func TestQueryCheck(t *testing.T) {
	for _, q := range []Query{{From: 2, To: 1}, {To: 400}, {WithinMS: -1}, {WithinMS: 91 * dayMS}, {LateMS: -1}} {
		if err := q.Check(); err == nil {
			t.Errorf("%+v is accepted", q)
		}
	}
	if _, err := ParseDay("28.11.2026"); err == nil || !strings.Contains(err.Error(), "2026-11-28") {
		t.Errorf("a date of another kind: %v", err)
	}
}

// Many fences are one group, and the sums still hold.
func TestOtherFences(t *testing.T) {
	w := &world{now: 10 * dayMS}
	for i := range maxFences + 50 {
		w.entries = append(w.entries, Entry{Campaign: "a", ID: fmt.Sprint(i), At: 5*dayMS + int64(i), Fence: fmt.Sprintf("k%03d", i), Subject: fmt.Sprintf("p:u%d", i%7), Reason: "stale"})
	}
	d := w.store(t, rand.New(rand.NewPCG(1, 1)))
	c := w.report(t, d, Query{Campaign: "a", From: 5, To: 5}).Campaigns[0]
	last := c.ByFence[len(c.ByFence)-1]
	if len(c.ByFence) != maxFences+1 || last.Key != OtherFences || last.Entered != 50 || last.Held["stale"] != 50 || last.People != 7 || c.Total.People != 7 {
		t.Errorf("%d groups, the last %+v; %d people", len(c.ByFence), last.Counts, c.Total.People)
	}
}
