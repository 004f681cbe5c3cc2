package journey

import (
	"testing"
	"time"

	"footfall/track"
)

// TestStanding: a branch for being in a place, or in none, is taken at once when it is so, else by the transition that makes it so;
// of two fences that a person is in, leaving one is not being out.
func TestStanding(t *testing.T) {
	const text = `journey: j
entry: {event: ordered}
window: {to: never}
steps:
  - wait_for:
      up_to: 4h
      branches: {here: {any: [{event: phoned}, {inside: {tag: kyiv}}], then: [{emit: here}]}}
      not_triggered: [{exit: never_came}]
  - wait_for:
      up_to: 4h
      branches: {gone: {outside: {tag: kyiv}, then: [{emit: gone}]}}
`
	for _, tt := range []struct {
		name  string
		story []string // happenings, each a minute after the one before
		want  []string // where the run is after each: a step, or why it ended
	}{
		{"comes and goes", []string{"order", "enter k01", "exit k01"}, []string{"1", "2", WhyFinished}},
		{"is there", []string{"enter k01", "order", "exit k01"}, []string{"", "2", WhyFinished}},
		{"is in two", []string{"enter k01", "enter k02", "order", "exit k01", "exit k02"}, []string{"", "", "2", "2", WhyFinished}},
		{"is elsewhere", []string{"enter l01", "order", "exit l01", "enter l01"}, []string{"", "1", "1", "1"}},
		{"was there yesterday", []string{"enter k01", "+13h", "order", "enter k02"}, []string{"", "", "1", "2"}},
		{"never comes", []string{"order", "+4h"}, []string{"1", WhyExit}},
	} {
		j := mustParse(t, text)
		if !j.Needs().Visits || !j.Transitions() {
			t.Fatal("it does not hear of transitions")
		}
		at := time.UnixMilli(t0)
		s := NewSimulation(j, *phone(), at)
		for i, what := range tt.story {
			if d, err := time.ParseDuration(what); err == nil {
				at = at.Add(d)
				s.Wait(at)
			} else {
				at = at.Add(time.Minute)
				s.Wait(at)
				happenHere(s, what)
			}
			run := s.Run()
			got := run.At
			if run.Ended != 0 {
				got = run.Why
			}
			if got != tt.want[i] {
				t.Errorf("%s: after %q at %q, want %q", tt.name, what, got, tt.want[i])
			}
		}
	}
}

func happenHere(s *Simulation, what string) {
	if what == "order" {
		s.Happen(Input{Kind: Event, Name: "ordered"})
		return
	}
	kind, fence := track.Enter, what[len(what)-3:]
	if what[:4] == "exit" {
		kind = track.Exit
	}
	tag := "kyiv"
	if fence[0] == 'l' {
		tag = "lviv"
	}
	s.Happen(Input{Kind: Transition, Transition: kind, Fence: fence, Tags: []string{tag}})
}
