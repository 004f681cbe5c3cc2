package journey

import (
	"strings"
	"testing"

	"footfall/audience"
)

// TestSplitByOpen: who opens the push takes the branch, at once or, when they opened it before they came to the step, as
// soon as they come there; an open of an earlier run's push, and one that is told twice, do nothing.
func TestSplitByOpen(t *testing.T) {
	j := mustParse(t, `journey: j
entry: {event: product_view}
window: {to: never}
steps:
  - id: offer
    push: {template: {locales: {en: {body: Hi}}}}
  - id: pause
    wait: 1h
  - id: look
    wait_for:
      up_to: 2h
      branches: {seen: {opened: offer, then: [{exit: opened}]}}
      not_triggered: [{exit: closed}]
`)
	f := Facts{Profile: phone()}
	enter := func() Run {
		r, _, _ := j.Step(Run{}, Input{Kind: Enter, ID: "e", At: t0}, f, t0)
		return r
	}
	step := func(r Run, in Input, now int64) (Run, bool) {
		t.Helper()
		next, _, changed := j.Step(r, in, f, now)
		return next, changed
	}
	opened := func(at int64) Input { return Input{Kind: Opened, ID: "o", At: at, Step: "offer", SentAt: t0} }

	early, ok := step(enter(), opened(t0+1000), t0+1000)
	if !ok || early.At != "pause" || len(early.Opened) != 1 {
		t.Fatalf("opened while it waits: %+v", early)
	}
	if _, again := step(early, Input{Kind: Opened, ID: "o2", At: t0 + 2000, Step: "offer", SentAt: t0}, t0+2000); again {
		t.Error("an open that is told twice changes something")
	}
	early, _ = step(early, Input{Kind: Timer}, t0+hour)
	if early.Active() || early.Path[len(early.Path)-1].Note != "opened" {
		t.Errorf("came to the step with the push opened: %+v", early)
	}

	late, _ := step(enter(), Input{Kind: Timer}, t0+hour)
	if late.At != "look" {
		t.Fatalf("waits at %+v", late)
	}
	seen, ok := step(late, opened(t0+hour+1000), t0+hour+1000)
	if !ok || seen.Active() || seen.Path[len(seen.Path)-1].Note != "opened" {
		t.Errorf("opened at the step: %+v", seen)
	}
	if _, ok := step(late, Input{Kind: Opened, ID: "o", At: t0 + hour + 1000, Step: "offer", SentAt: t0 - 1}, t0+hour+1000); ok {
		t.Error("an earlier run's push counts")
	}
	held, _, _ := j.Step(late, opened(t0+hour+1000), Facts{Profile: phone(), Hold: true}, t0+hour+1000)
	if held.At != "look" || held.Got != "seen" {
		t.Errorf("opened while the journey is paused: %+v", held)
	}
	closed, _ := step(late, Input{Kind: Timer}, t0+3*hour)
	if closed.Active() || closed.Path[len(closed.Path)-1].Note != "closed" {
		t.Errorf("not opened: %+v", closed)
	}

	_, err := Parse("j.yaml", []byte("journey: j\nentry: {event: x}\nwindow: {to: never}\nsteps: [{wait_for: {up_to: 1h, branches: {a: {opened: offer}}}}]\n"))
	if err == nil || !strings.Contains(err.Error(), `"offer" is no push step`) {
		t.Errorf("a push that is not there: %v", err)
	}
}

// TestJoin: a run that is under way goes along with who signs in, unless the person is in the journey already or may not
// enter it again.
func TestJoin(t *testing.T) {
	j := mustParse(t, "journey: j\nentry: {event: x}\nwindow: {to: never}\nreentry: never\nsteps: [{wait: 1h}]\n")
	f := Facts{Profile: &audience.Profile{Device: "shop.d"}}
	run, _, _ := j.Step(Run{}, Input{Kind: Enter, ID: "e", At: t0}, f, t0)
	if r, _, carried := j.Join(run, Run{}, t0+1000); !carried || r.At != run.At || r.Due != run.Due || r.N != 1 {
		t.Errorf("carried %v: %+v", carried, r)
	}
	for _, was := range []Run{run, {N: 1, Entered: t0 - hour, Ended: t0 - 1}} {
		if r, _, carried := j.Join(run, was, t0+1000); carried || r.Active() || r.Why != WhySignedIn {
			t.Errorf("carried %v to one who had %+v: %+v", carried, was, r)
		}
	}
}
