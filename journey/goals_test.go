package journey

import (
	"slices"
	"strings"
	"testing"
)

// TestSeveralGoals: each goal is counted once a run, whichever comes first; one that is to stay leaves the person in the
// journey, and what reaches it still triggers the wait that waits for it.
func TestSeveralGoals(t *testing.T) {
	j := mustParse(t, `journey: j
entry: {event: product_view}
window: {to: never}
goal: {event: purchase}
goals:
  basket: {event: add_to_basket, stay: true}
  call: {event: call, where: {kind: sales}}
steps:
  - wait_for: {up_to: 2h, branches: {filled: {event: add_to_basket, then: [{wait: 1h}, {exit: filled}]}}}
`)
	f := Facts{Profile: phone()}
	counts := map[string]int{}
	step := func(r Run, in Input, now int64) (Run, bool) {
		t.Helper()
		next, effects, changed := j.Step(r, in, f, now)
		for _, e := range effects {
			counts[e.Name]++
		}
		return next, changed
	}
	at := func(id, name string, props map[string]any, now int64) Input {
		in := event(id, name, props)
		in.At = now
		return in
	}
	r, _ := step(Run{}, Input{Kind: Enter, ID: "e", At: t0}, t0)
	r, ok := step(r, at("1", "add_to_basket", nil, t0+1), t0+1)
	if !ok || !r.Active() || r.At != "1.filled.1" || !slices.Equal(r.Goals, []string{"basket"}) || counts["reached.basket"] != 1 {
		t.Fatalf("filled the basket: %+v %v", r, counts)
	}
	if _, ok := step(r, at("2", "add_to_basket", nil, t0+2), t0+2); ok || counts["reached.basket"] != 1 {
		t.Errorf("once more: %v %v", ok, counts)
	}
	if _, ok := step(r, at("3", "call", map[string]any{"kind": "support"}, t0+3), t0+3); ok {
		t.Error("another call counts")
	}
	if c, _ := step(r, at("4", "call", map[string]any{"kind": "sales"}, t0+4), t0+4); c.Active() || c.Why != WhyGoal || c.Goal || counts["reached.call"] != 1 {
		t.Errorf("called: %+v %v", c, counts)
	}
	if b, _ := step(r, at("5", "purchase", nil, t0+5), t0+5); b.Active() || b.Why != WhyGoal || !b.Goal || counts["goal"] != 1 {
		t.Errorf("bought: %+v %v", b, counts)
	}
	if _, err := Parse("j.yaml", []byte("journey: j\nentry: {event: x}\nwindow: {to: never}\ngoals: {a b: {event: y}}\nsteps: [{wait: 1h}]\n")); err == nil || !strings.Contains(err.Error(), "cannot be the name of a goal") {
		t.Errorf("a bad name: %v", err)
	}
}
