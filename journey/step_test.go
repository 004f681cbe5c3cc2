package journey

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"footfall/audience"
	"footfall/internal/dice"
	"footfall/track"
)

// t0 is a Saturday noon in Kyiv.
var t0 = time.Date(2026, 11, 28, 10, 0, 0, 0, time.UTC).UnixMilli()

const (
	minute = int64(60_000)
	hour   = 60 * minute
	day    = 24 * hour
)

func phone() *audience.Profile {
	return &audience.Profile{Device: "shop.d1", Person: "u1", Platform: "ios", Token: "t", Zone: "Europe/Kyiv", Tags: map[string]any{"vip": true, "birthday": "1984-03-05"}}
}

// happening is one input of a story, and what is to come of it.
type happening struct {
	after int64 // since the input before
	in    Input
	hold  bool
	want  string // "step until …; effects", "-" when nothing changes
}

func event(id, name string, props map[string]any) Input {
	return Input{Kind: Event, ID: id, Name: name, Props: props}
}

func category(c string) map[string]any { return map[string]any{"category": c} }

// TestStories walks single people through journeys.
func TestStories(t *testing.T) {
	enter := Input{Kind: Enter, ID: "view1", Props: map[string]any{"category": "phones", "list": []any{1.0}, "price": 9.5}}
	come := func(id string) Input {
		return Input{Kind: Transition, ID: id, Transition: track.Enter, Fence: "k01", Tags: []string{"kyiv"}}
	}
	small := func(steps string) string {
		return "journey: j\nzone: Europe/Kyiv\nentry: {event: product_view}\nwindow: {to: never}\ngoal: {event: win}\nsteps:\n" + steps
	}
	for _, tt := range []struct {
		name, text string
		story      []happening
	}{
		{"not bought, reminded at lunch", lunch, []happening{
			{0, enter, false, "1 +24h; entered"},
			{hour, event("p0", "purchase", category("cases")), false, "-"}, // of another category
			{hour, event("v2", "product_view", nil), false, "-"},
			{0, Input{Kind: Timer}, false, "-"}, // not due
			{22 * hour, Input{Kind: Timer}, false, "3 +1h; step.1.not_triggered tag:abandoned=phones"},
			{hour, Input{Kind: Timer}, false, "finished; ARM"},
		}},
		{"bought", lunch, []happening{
			{0, enter, false, "1 +24h; entered"},
			{hour, event("p1", "purchase", category("phones")), false, "exit; step.1.bought ended.exit"},
			{0, event("p1", "purchase", category("phones")), false, "-"},
			{day, Input{Kind: Timer}, false, "-"},
			{day, event("v3", "product_view", nil), false, "-"},
		}},
		{"bought before it was viewed", lunch, []happening{
			{0, enter, false, "1 +24h; entered"},
			{hour, Input{Kind: Event, ID: "late", At: t0 - hour, Name: "purchase", Props: category("phones")}, false, "-"},
		}},
		{"both came late, in one go", lunch, []happening{
			{0, Input{Kind: Enter, ID: "view1", At: t0 - 2*hour, Props: category("phones")}, false, "1 +24h; entered"},
			{0, Input{Kind: Event, ID: "before", At: t0 - 2*hour - 1, Name: "purchase", Props: category("phones")}, false, "-"},
			{0, Input{Kind: Event, ID: "after", At: t0 - hour, Name: "purchase", Props: category("phones")}, false, "exit; step.1.bought ended.exit"},
		}},
		{"goal while waiting", lunch, []happening{
			{0, enter, false, "1 +24h; entered"},
			{hour, event("g", "add_to_basket", nil), false, "goal; goal ended.goal"},
		}},
		{"bought while paused", lunch, []happening{
			{0, enter, false, "1 +24h; entered"},
			{hour, event("p1", "purchase", category("phones")), true, "1 +0s; "},
			{hour, event("p2", "purchase", category("phones")), true, "-"},
			{hour, Input{Kind: Timer}, false, "exit; step.1.bought ended.exit"},
		}},
		{"the whole time", small("  - wait_for: {up_to: 2h, full: true, branches: {came: {enter: {tag: kyiv}, then: [{emit: came}]}}, not_triggered: [{emit: not}]}\n  - emit: end\n"), []happening{
			{0, enter, false, "1 +2h; entered"},
			{hour, Input{Kind: Transition, ID: "x", Transition: track.Exit, Fence: "k01", Tags: []string{"kyiv"}}, false, "-"},
			{0, Input{Kind: Transition, ID: "l", Transition: track.Enter, Fence: "l01", Tags: []string{"lviv"}}, false, "-"},
			{0, come("c1"), false, "1 +1h; "},
			{0, come("c2"), false, "-"},
			{hour, Input{Kind: Timer}, false, "finished; step.1.came emit:came emit:end ended.finished"},
		}},
		{"conditions on properties", small("  - wait_for: {up_to: 1d, branches: {big: {event: purchase, where: {total: {\">=\": 100, \"<\": 500}, shop: {\"!=\": online}, category: {in: [phones, cases]}}}}}\n"), []happening{
			{0, enter, false, "1 +24h; entered"},
			{0, event("p1", "purchase", map[string]any{"total": 99.0, "category": "phones"}), false, "-"},
			{0, event("p2", "purchase", map[string]any{"total": 500.0, "category": "phones"}), false, "-"},
			{0, event("p3", "purchase", map[string]any{"total": "200", "category": "phones"}), false, "-"},
			{0, event("p4", "purchase", map[string]any{"total": 200.0, "category": "phones", "shop": "online"}), false, "-"},
			{0, event("p5", "purchase", map[string]any{"total": 200.0, "category": "tablets"}), false, "-"},
			{0, event("p6", "purchase", map[string]any{"total": 100.0, "category": "cases"}), false, "finished; step.1.big ended.finished"},
		}},
		{"one of several happenings", small("  - wait_for: {up_to: 1d, branches: {here: {any: [{event: purchase, same: [category]}, {event: order, where: {total: {\">\": 5}}}, {enter: {tag: kyiv}}]}}}\n"), []happening{
			{0, enter, false, "1 +24h; entered"},
			{0, event("p1", "purchase", category("cases")), false, "-"},
			{0, event("o1", "order", map[string]any{"total": 5.0}), false, "-"},
			{0, Input{Kind: Transition, ID: "l", Transition: track.Enter, Fence: "l01", Tags: []string{"lviv"}}, false, "-"},
			{hour, Input{Kind: Timer}, false, "-"},
			{0, come("c1"), false, "finished; step.1.here ended.finished"},
		}},
		{"splits and who can be reached", small("  - split: [{if: 'tags.old'}, {name: vip, if: 'tags.vip', then: [{reachable: {yes: [{tag: {r: true, gone: null}}]}}]}, {else: [{exit: true}]}]\n  - wait: 1m\n"), []happening{
			{0, enter, false, "2 +1m; entered step.1.vip step.1.vip.1.yes tag:r=true tag:gone=<nil>"},
			{minute, Input{Kind: Timer}, false, "finished; ended.finished"},
		}},
		{"a split asks for tags that were set just before", small("  - tag: {vip: null, tier: gold}\n  - split: [{if: 'tags.vip', then: [{exit: old}]}, {name: gold, if: 'tags.tier == \"gold\"', then: [{exit: new}]}]\n"), []happening{
			{0, enter, false, "exit; entered tag:vip=<nil> tag:tier=gold step.2.gold ended.exit"},
		}},
		{"until a day", small("  - wait: {tag: birthday, offset: -3, at: \"10:00\", yearly: true, zone: device, fallback: UTC}\n"), []happening{
			{0, enter, false, "1 +" + (time.Date(2027, 3, 2, 8, 0, 0, 0, time.UTC).Sub(time.UnixMilli(t0))).String() + "; entered"},
		}},
		{"until a day that is over", small("  - wait: {tag: birthday, at: \"10:00\", zone: UTC}\n  - emit: x\n"), []happening{
			{0, enter, false, "finished; entered emit:x ended.finished"},
		}},
		{"until a day that is not known", small("  - wait: {tag: wedding, at: \"10:00\", zone: UTC}\n  - emit: x\n"), []happening{
			{0, enter, false, "no_date; entered ended.no_date"},
		}},
		{"until a time on a weekday", small("  - wait: {at: \"09:00\", days: [mon], zone: Europe/Kyiv}\n  - wait: {at: 2026-11-01T10:00, zone: UTC}\n"), []happening{
			{0, enter, false, "1 +45h; entered"},
			{45 * hour, Input{Kind: Timer}, false, "finished; ended.finished"},
		}},
		{"a call that nobody waits for", small("  - webhook: crm\n  - emit: x\n"), []happening{
			{0, enter, false, "finished; entered step.1.called call:1 emit:x ended.finished"},
			{0, Input{Kind: Answered, ID: "a", Step: "1", SentAt: t0, OK: true}, false, "-"},
		}},
		{"a call that is delivered", small(answered), []happening{
			{0, enter, false, "ask +1h5m; entered step.ask.called call:ask"},
			{0, Input{Kind: Answered, ID: "old", Step: "ask", SentAt: t0 - 1, OK: true}, false, "-"},
			{0, Input{Kind: Answered, ID: "other", Step: "2", SentAt: t0, OK: true}, false, "-"},
			{minute, Input{Kind: Answered, ID: "a", Step: "ask", SentAt: t0, OK: true}, false, "finished; step.ask.delivered emit:yes emit:end ended.finished"},
		}},
		{"a call that fails while paused", small(answered), []happening{
			{0, enter, false, "ask +1h5m; entered step.ask.called call:ask"},
			{minute, Input{Kind: Answered, ID: "a", Step: "ask", SentAt: t0}, true, "ask +0s; "},
			{0, Input{Kind: Answered, ID: "b", Step: "ask", SentAt: t0, OK: true}, false, "-"},
			{minute, Input{Kind: Timer}, false, "finished; step.ask.failed emit:no emit:end ended.finished"},
		}},
		{"a call that nothing was heard of", small(answered), []happening{
			{0, enter, false, "ask +1h5m; entered step.ask.called call:ask"},
			{65 * minute, Input{Kind: Timer}, false, "finished; step.ask.failed emit:no emit:end ended.finished"},
		}},
		{"scheduled for later", small("  - emit: x\n"), []happening{
			{0, Input{Kind: Enter, ID: "s", At: t0 + hour}, false, "start +1h; entered"},
			{0, come("c"), false, "-"},
			{hour, Input{Kind: Timer}, false, "finished; emit:x ended.finished"},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := mustParse(t, tt.text)
			var run Run
			now := t0
			for i, h := range tt.story {
				now += h.after
				if h.in.At == 0 {
					h.in.At = now
				}
				next, effects, changed := j.Step(run, h.in, Facts{Profile: phone(), Hold: h.hold}, now)
				got := "-"
				if changed {
					got = describe(next, effects, now)
				} else if len(effects) > 0 || !reflect.DeepEqual(next, run) {
					t.Errorf("%d: nothing changed, yet %+v %v", i, next, effects)
				}
				want := h.want
				if strings.HasSuffix(want, "ARM") {
					want = "finished; " + armOf(j, run)
				}
				if got != want {
					t.Fatalf("%d: %s\nwant %s", i, got, want)
				}
				run = next
			}
		})
	}
}

// answered are steps that wait for what becomes of a call.
const answered = "  - id: ask\n    webhook: {to: crm, ttl: 1h, delivered: [{emit: yes}], failed: [{emit: no}]}\n  - emit: end\n"

// armOf is what the experiment of lunch does with u1.
func armOf(j *Journey, run Run) string {
	_, effects, _ := j.Step(Run{Device: run.Device, Revision: j.Revision, Entered: 1, At: "3", Due: 1}, Input{Kind: Timer}, Facts{Profile: phone()}, 2)
	return strings.SplitN(describe(Run{Ended: 1, Why: "x"}, effects, 0), "; ", 2)[1]
}

func describe(r Run, effects []Effect, now int64) string {
	where := r.Why
	if r.Ended == 0 {
		where = fmt.Sprint(r.At, " +", strings.TrimSuffix(strings.TrimSuffix((time.Duration(r.Due-now)*time.Millisecond).String(), "0s"), "0m"))
		if r.Due == now {
			where = r.At + " +0s"
		}
		if d := time.Duration(r.Due-now) * time.Millisecond; d > 100*time.Hour {
			where = r.At + " +" + d.String()
		}
	}
	var list []string
	for _, e := range effects {
		switch e.Kind {
		case Push:
			list = append(list, "push:"+e.Step)
		case SetTag:
			list = append(list, fmt.Sprintf("tag:%s=%v", e.Name, e.Value))
		case Emit:
			list = append(list, "emit:"+e.Name)
		case Webhook:
			list = append(list, "call:"+e.Step)
		case Count:
			list = append(list, e.Name)
		}
	}
	return where + "; " + strings.Join(list, " ")
}

// TestReentry: who may enter again, and when.
func TestReentry(t *testing.T) {
	for _, tt := range []struct {
		rule string
		run  Run
		want string
	}{
		{"", Run{}, ""},
		{"", Run{Entered: t0 - day}, "active"},
		{"", Run{Entered: t0 - day, Ended: t0 - hour}, ""},
		{"reentry: after_exit", Run{Entered: t0 - day, Ended: t0 - hour}, ""},
		{"reentry: never", Run{}, ""},
		{"reentry: never", Run{Entered: 1, Ended: 2}, "once"},
		{"reentry: {after: 24h}", Run{Entered: t0 - day, Ended: t0 - hour}, ""},
		{"reentry: {after: 24h}", Run{Entered: t0 - day + 1, Ended: t0 - hour}, "too_soon"},
		{"reentry: {day: store}", Run{Entered: t0 - 12*hour, Ended: t0 - hour}, "today"}, // midnight in Kyiv
		{"reentry: {day: store}", Run{Entered: t0 - 12*hour - 1, Ended: t0 - hour}, ""},
		{"reentry: {day: store, after: 24h}", Run{Entered: t0 - 12*hour - 1, Ended: t0 - hour}, "too_soon"},
		{"reentry: {max: 3, per: 30d}", Run{Entered: t0 - day, Ended: t0 - hour, Earlier: []int64{t0 - 30*day, t0 - 29*day}}, ""},
		{"reentry: {max: 3, per: 30d}", Run{Entered: t0 - day, Ended: t0 - hour, Earlier: []int64{t0 - 30*day + 1, t0 - 29*day}}, "too_often"},
		{"reentry: {max: 1, per: 2h}", Run{Entered: t0 - 2*hour + 1, Ended: t0 - hour}, "too_often"},
	} {
		j := mustParse(t, "journey: j\nzone: Europe/Kyiv\nentry: {api: true}\nwindow: {to: never}\n"+tt.rule+"\nsteps: [{wait: 1h}]\n")
		if got := j.MayEnter(&tt.run, t0, nil); got != tt.want {
			t.Errorf("%s, %+v: %q, want %q", tt.rule, tt.run, got, tt.want)
		}
		_, _, changed := j.Step(tt.run, Input{Kind: Enter}, Facts{Profile: phone()}, t0)
		if changed != (tt.want == "") {
			t.Errorf("%s: Step and MayEnter disagree", tt.rule)
		}
	}
	newYork, err := time.LoadLocation("America/New_York") // where it is 5 in the morning
	if err != nil {
		t.Fatal(err)
	}
	j := mustParse(t, "journey: j\nzone: Europe/Kyiv\nentry: {api: true}\nwindow: {to: never}\nreentry: {day: store}\nsteps: [{wait: 1h}]\n")
	if why := j.MayEnter(&Run{Entered: t0 - 6*hour, Ended: t0 - hour}, t0, newYork); why != "" {
		t.Errorf("the day of the journey counts at a store: %s", why)
	}
}

// TestEntriesInAPeriod: entries are counted over any stretch of the period, through runs, a sign-in, and an edit.
func TestEntriesInAPeriod(t *testing.T) {
	text := "journey: j\nentry: {api: true}\nwindow: {to: never}\nreentry: {max: 2, per: 3h}\nsteps: [{wait: 1m}]\n"
	j := mustParse(t, text)
	f := Facts{Profile: phone()}
	enter := func(r *Run, at int64) (entered bool) {
		*r, _, entered = j.Step(*r, Input{Kind: Enter, ID: fmt.Sprint(at), At: at}, f, at)
		if entered {
			*r, _, _ = j.Step(*r, Input{Kind: Timer, At: at + minute}, f, at+minute)
		}
		return entered
	}
	var run Run
	for _, at := range []int64{0, 1, 2, 3, 4, 5, 6, 7, 8} { // hours
		if got, want := enter(&run, t0+at*hour), at%3 < 2; got != want {
			t.Errorf("after %d h: let in %v", at, got)
		}
	}
	if len(run.Earlier) != 1 {
		t.Errorf("%d earlier entries are kept", len(run.Earlier))
	}
	now := t0 + 9*hour
	underway, _, _ := j.Step(Run{}, Input{Kind: Enter, ID: "device", At: now}, f, now)
	if joined, _, ok := j.Join(underway, run, now); !ok || len(joined.Earlier) != 1 {
		t.Errorf("signed in: %v %v", ok, joined.Earlier) // the entry of 7 h counts, that of 6 h no more
	}
	j = mustParse(t, strings.Replace(text, "max: 2", "max: 1", 1))
	if why := j.MayEnter(&Run{Entered: t0, Ended: t0 + 1, Earlier: []int64{t0 - hour, t0 - 1}}, t0+hour, nil); why != "too_often" {
		t.Errorf("after an edit: %q", why)
	}
}

// TestStepIsAFunction: random journeys' worth of random input, with repeats, late and early timers and pauses. A step
// never writes to what it is given, is the same when it is made again, knows a repeat, only ever waits with an end, moves
// only forward, and each run is counted in and out once.
func TestStepIsAFunction(t *testing.T) {
	j := mustParse(t, `journey: j
zone: Europe/Kyiv
entry: {event: product_view}
window: {to: never}
goal: {event: win}
steps:
  - wait: 1h
  - wait_for:
      up_to: 2h
      branches:
        a: {event: a, same: [category], then: [{wait: 10m}, {split: [{if: 'tags.vip', then: [{wait_for: {up_to: 1h, branches: {b: {event: b, then: [{exit: b}]}}}}]}]}]}
        came: {enter: {all: true}, then: [{tag: {came: true}}]}
      not_triggered: [{push: {template: {locales: {en: {body: "{{ entry.category }}"}}}}}]
  - experiment: {arms: {x: {share: 30%, then: [{wait: 1h}]}, y: {share: 70%}}}
  - wait_for: {up_to: 1h, full: true, branches: {a: {event: a, then: [{emit: a}]}}}
`)
	order := map[string]int{start: -1}
	for i := range j.steps {
		order[j.steps[i].id] = i
	}
	seed := dice.Seed(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	ends := map[string]int{}
	for person := range 400 {
		p := phone()
		p.Person = fmt.Sprint("u", person)
		p.Tags = map[string]any{"vip": rng.IntN(2) == 0}
		var run Run
		now := t0
		in, out := 0, 0
		var last Input
		for n := range 60 {
			now += rng.Int64N(hour)
			next := Input{ID: fmt.Sprint(n), At: now - rng.Int64N(2)*rng.Int64N(3*hour)}
			switch rng.IntN(6) {
			case 0:
				next.Kind, next.Props = Enter, category([]string{"x", "y"}[rng.IntN(2)])
				next.At = now + rng.Int64N(2)*hour
			case 1, 2:
				next.Kind = Timer
				if rng.IntN(2) == 0 && run.Due != 0 {
					now = max(now, run.Due)
				}
			case 3, 4:
				next.Kind, next.Name, next.Props = Event, []string{"a", "b", "win", "other"}[rng.IntN(4)], category([]string{"x", "y"}[rng.IntN(2)])
			case 5:
				next.Kind, next.Transition, next.Fence = Transition, track.Enter, "k01"
			}
			if last.ID != "" && rng.IntN(5) == 0 {
				next = last
			}
			f := Facts{Profile: p, Hold: rng.IntN(8) == 0}
			before := fmt.Sprintf("%+v", run)
			got, effects, changed := j.Step(run, next, f, now)
			again, effects2, changed2 := j.Step(run, next, f, now)
			fail := func(what string) {
				t.Helper()
				t.Fatalf("seed %d, person %d, input %d (%+v): %s\nbefore %s\nafter %+v %v", seed, person, n, next, what, before, got, effects)
			}
			switch {
			case fmt.Sprintf("%+v", run) != before:
				fail("the run that was given has changed")
			case changed != changed2 || !reflect.DeepEqual(got, again) || !reflect.DeepEqual(effects, effects2):
				fail("not the same again")
			case got.Active() && got.Due == 0:
				fail("it waits for ever")
			case got.Active() && got.At == "" || !got.Active() && (got.At != "" || got.Due != 0):
				fail("neither waiting nor ended")
			case changed && got.N == run.N && got.Active() && order[got.At] < order[run.At]:
				fail("it went back")
			case got.N < run.N || got.N > run.N+1 || got.N > run.N && next.Kind != Enter:
				fail("another run")
			case len(got.Path) > maxPath:
				fail("its path grows")
			}
			for _, e := range effects {
				if e.Kind == Count && e.Name == "entered" {
					in++
				}
				if e.Kind == Count && strings.HasPrefix(e.Name, "ended.") {
					out++
					ends[e.Name]++
				}
			}
			if active := in - out; active < 0 || active > 1 || (active == 1) != got.Active() {
				fail("counted in and out wrongly")
			}
			if changed && next.ID != "" && next.Kind != Enter {
				if _, _, twice := j.Step(got, next, f, now); twice && next.Kind != Timer {
					fail("a repeat has an effect")
				}
			}
			run, last = got, next
		}
	}
	for _, why := range []string{"ended.goal", "ended.exit", "ended.finished"} {
		if ends[why] == 0 {
			t.Errorf("nobody %s: %v", why, ends)
		}
	}
}

// TestExperimentIsStable: arms have their shares, depend on the ids alone, and a winner takes everybody who comes later
// without being counted.
func TestExperimentIsStable(t *testing.T) {
	j := mustParse(t, "journey: j\nentry: {event: e}\nwindow: {to: never}\ngoal: {event: g}\nsteps: [{experiment: {arms: {c: {share: 20%}, x: {share: 80%}}, winner: {at_least: 100}}}, {wait: 1h}]\n")
	counts := map[string]int{}
	for i := range 10_000 {
		p := phone()
		p.Person = fmt.Sprint("p", i)
		run, _, _ := j.Step(Run{}, Input{Kind: Enter, ID: "x"}, Facts{Profile: p}, t0)
		counts[run.Arms["1"]]++
	}
	if c := counts["c"]; c < 1_850 || c > 2_150 || counts["x"] != 10_000-c {
		t.Errorf("arms %v", counts)
	}
	run, effects, _ := j.Step(Run{}, Input{Kind: Enter, ID: "x"}, Facts{Profile: phone(), Winner: func(string) string { return "c" }}, t0)
	if len(run.Arms) != 0 || slices.ContainsFunc(effects, func(e Effect) bool { return strings.HasPrefix(e.Name, "arm.") }) || run.Path[0].Note != "c" {
		t.Errorf("a winner: %+v %v", run, effects)
	}
}

// TestMigrate: a run moves to a version that has its step, and stays where it is when it has not.
func TestMigrate(t *testing.T) {
	parse := func(steps string) *Journey {
		return mustParse(t, "journey: j\nentry: {event: e}\nwindow: {to: never}\nsteps: "+steps+"\n")
	}
	old := parse("[{id: a, wait: 1h}, {tag: {x: 1}}]")
	run, _, _ := old.Step(Run{}, Input{Kind: Enter, ID: "x"}, Facts{Profile: phone()}, t0)
	for steps, want := range map[string]bool{
		"[{emit: new}, {id: a, wait: 9h}, {tag: {x: 2}}]":             true,
		"[{wait: 1h}, {tag: {x: 1}}]":                                 false, // no step of that name
		"[{id: a, wait_for: {up_to: 1h, branches: {b: {event: b}}}}]": false, // another kind
	} {
		j := parse(steps)
		moved, ok := j.Migrate(run, old)
		if ok != want || ok && (moved.Revision != j.Revision || moved.Due != run.Due) {
			t.Errorf("%s: %v %+v", steps, ok, moved)
		}
	}
	if _, effects := old.Stop(run, WhyStopped, t0+1); len(effects) != 1 || effects[0].Name != "ended.stopped" {
		t.Errorf("stop: %v", effects)
	}
	gone, _, changed := parse("[{wait: 3h}]").Step(run, Input{Kind: Timer}, Facts{Profile: phone()}, t0+hour)
	if !changed || gone.Why != WhyNoStep {
		t.Errorf("a step that is gone: %+v", gone)
	}
}
