package outbox

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"footfall/push"
)

// A receiver that refuses one call after the other pauses its lane with an
// alarm: what waits is not failed, and goes out when it is mended. One that
// says of each call that the call is at fault is heard, and pauses nothing.
func TestRefusedCallsPauseTheLane(t *testing.T) {
	inRig(t, func(c *Config) { c.Workers = 1 }, func(r *rig) {
		broken, proven := true, true
		r.prov.fallback = func(*push.Notification) push.Outcome {
			if broken {
				return push.Outcome{Class: push.Refused, Status: 400, Reason: "no field tier", Sent: true, Unproven: !proven}
			}
			return push.Outcome{Class: push.Accepted, Status: 200, Sent: true}
		}
		enter := func(name string, n int) {
			for i := range n {
				r.enter(fmt.Sprint(name, i), expires(time.Hour))
			}
			time.Sleep(time.Minute + time.Second)
		}
		finals := func(s State) int { return int(r.out.Stats().Finals[s]) }
		enter("proven", 2*callRefusals)
		if n := finals(StateFailed); n != 2*callRefusals {
			t.Fatalf("%d calls failed by themselves, want %d", n, 2*callRefusals)
		}
		if s := r.out.Stats().Lanes[testLane]; len(s.Alarms) > 0 {
			t.Fatalf("alarms %v", s.Alarms)
		}
		proven = false
		enter("x", 3*callRefusals)
		time.Sleep(5 * time.Minute)
		failed := finals(StateFailed) - 2*callRefusals
		if failed < callRefusals || failed > callRefusals+8 { // one a minute probes
			t.Errorf("%d calls failed before the lane paused and while it probed, want about %d", failed, callRefusals)
		}
		s := r.out.Stats()
		if a := s.Lanes[testLane].Alarms; len(a) != 1 || a[0].Kind != AlarmCalls || !strings.HasSuffix(a[0].Text, "calls in a row were refused, the last with: no field tier (400)") {
			t.Errorf("alarms %v", a)
		}
		if len(s.Suppressed) > 0 {
			t.Errorf("suppressed %v", s.Suppressed)
		}
		r.out.Resume(testLane) // too early
		time.Sleep(20 * time.Second)
		if n := finals(StateFailed) - 2*callRefusals - failed; n != 1 {
			t.Errorf("%d calls failed after a resume that came too early, want one", n)
		}
		r.prov.mu.Lock()
		broken = false
		r.prov.mu.Unlock()
		time.Sleep(90 * time.Second)
		if n := finals(StateAccepted); n != 3*callRefusals-failed-1 {
			t.Errorf("%d calls accepted once the receiver is mended, want %d", n, 3*callRefusals-failed-1)
		}
		if a := r.out.Stats().Lanes[testLane].Alarms; len(a) > 0 {
			t.Errorf("alarms stay: %v", a)
		}
	})
}
