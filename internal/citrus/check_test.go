package citrus

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"testing"
	"time"

	"footfall/campaign"
	"footfall/outbox"
	"footfall/push/fake"
	"footfall/stream"
	"footfall/track"
)

// tolerance says what a variant may do differently from the plain day.
type tolerance struct {
	// restarted: what a gateway keeps in memory only is gone (the last refusal of a device, the counters), and a
	// push may have taken more than one attempt.
	restarted bool
	// replayed: the input went into the log directly, so the door has seen none of it.
	replayed bool
}

// check compares the result with what has to come of every single person, and then the sums with the table.
func (r *result) check(t *testing.T, tol tolerance) {
	t.Helper()
	problems := 0
	for i := range r.day.People {
		for _, problem := range r.person(i, tol) {
			if problems++; problems <= 20 {
				t.Errorf("%s %s: %s", r.day.People[i].Group, r.day.People[i].Device, problem)
			}
		}
	}
	if problems > 20 {
		t.Errorf("and %d more", problems-20)
	}
	r.sums(t, tol)
}

// person returns what is wrong with what came of one person.
func (r *result) person(i int, tol tolerance) (problems []string) {
	p, shown, stored := &r.day.People[i], r.shown[i], &r.stored[i]
	w := &p.Want
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }

	entries, begun, initial := 0, 0, false
	held, kinds := map[string]int{}, map[string]int{}
	var pushed *stream.Decision
	for k := range stored.Decisions {
		d := &stored.Decisions[k]
		kinds[d.Kind]++
		asked := 0
		switch d.Kind {
		case track.Enter.String():
			entries++
			asked = 1
			initial = initial || d.Reason.Has(track.Initial)
			most := w.Late + r.step + 2*time.Second
			if tol.restarted {
				most += time.Minute // the gateway was away
			}
			if late := time.Duration(d.ReceivedAt-d.At) * time.Millisecond; late < w.Late || late > most {
				bad("the entry arrived %v after its fix, want %v", late, w.Late)
			}
			if stale := w.Late > 10*time.Minute; d.Reason.Has(track.Stale) != stale {
				bad("the entry is marked %v", d.Reason.Names())
			}
		case "campaign_began":
			begun++
			asked = 1
		}
		if len(d.Campaigns) != asked {
			bad("%d campaigns were asked about %s at %s, want %d", len(d.Campaigns), d.Kind, d.Fence, asked)
			continue
		}
		for _, c := range d.Campaigns {
			if c.Outcome == campaign.Held {
				held[string(c.Reason)]++
				continue
			}
			if pushed != nil {
				bad("a second push: %s at %s", d.Kind, d.Fence)
			}
			pushed = d
		}
	}
	if entries != w.Entries || begun != w.Begun || initial != w.Initial {
		bad("%d entries, %d campaigns begun during a visit, initial %v; want %d, %d, %v", entries, begun, initial, w.Entries, w.Begun, w.Initial)
	}
	if len(held) != len(w.Held) || !maps.Equal(held, orEmpty(w.Held)) {
		bad("held %v, want %v", held, w.Held)
	}
	for _, note := range []track.NoteKind{track.AccuracyTooPoor, track.PendingMinStay, track.InsideMargin, track.ExitAccuracyTooPoor, track.InitialOff, track.UnknownFence} {
		want := 0
		if note.String() == w.Note {
			want = 1
		}
		if n := kinds[note.String()]; n != want {
			bad("%d notes %s, want %d", n, note, want)
		}
	}
	problems = append(problems, notice(p, pushed, stored, shown, tol)...)
	if r.live != nil {
		problems = append(problems, whereabouts(p, &r.live[i], tol)...)
	}
	if p.Group == G3 && held["overlap"] == 1 {
		problems = append(problems, overlap(stored)...)
	}
	return problems
}

func orEmpty(m map[string]int) map[string]int {
	if m == nil {
		return map[string]int{}
	}
	return m
}

// notice compares the phone's screen with the decision that pushed.
func notice(p *Person, pushed *stream.Decision, stored *stream.Explanation, shown []fake.Shown, tol tolerance) (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if len(shown) != p.Want.Notices() {
		bad("the phone shows %d notices, want %d", len(shown), p.Want.Notices())
	}
	if (pushed != nil) != (p.Want.Notices() == 1) {
		bad("pushed: %v, want %d notices", pushed != nil, p.Want.Notices())
	}
	if pushed == nil || len(shown) == 0 {
		return problems
	}
	s, mid := shown[0], pushed.Campaigns[0].MID
	service := map[string]string{"ios": "apns", "android": "fcm"}[p.Platform]
	if s.MID != mid || s.Service != service || !strings.HasPrefix(s.Link, "citrus://store/"+string(pushed.Fence)+"?code=") || s.Image != "https://cdn.citrus.example/18/"+string(pushed.Fence)+".jpg" {
		bad("the phone shows %+v, want message %s about %s through %s", s, mid, pushed.Fence, service)
	}
	if s.Title != "Нам 18! Святкуйте з нами" && s.Title != "We are 18! Come and celebrate" {
		bad("the title is %q", s.Title)
	}
	if s.Replaced > 0 && !tol.restarted {
		bad("the notice was sent %d times", s.Replaced+1)
	}
	d := stored.Deliveries[mid]
	if d.State != outbox.StateAccepted || d.Attempts != 1 && !tol.restarted {
		bad("the delivery is %+v", d)
	}
	// The replay runs ahead of the recorded time, and a gateway in a process of its own ahead of the phones.
	at := s.At
	if early := at.UnixMilli() < pushed.ReceivedAt && !tol.restarted; !tol.replayed && (early || at.UnixMilli() >= d.ExpiresAt || at.Before(Opens)) {
		bad("shown at %s; received at %d, worth showing until %d", at, pushed.ReceivedAt, d.ExpiresAt)
	}
	return problems
}

// whereabouts compares what the running gateway says of a device: for most groups that is the whole explanation of
// why nothing happened.
func whereabouts(p *Person, live *stream.Explanation, tol tolerance) (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	w := &p.Want
	if !live.Registered || !live.Reachable || live.Person != p.User || live.MayPush != (p.Group != N6) {
		bad("registered %v, reachable %v, may push %v, person %q", live.Registered, live.Reachable, live.MayPush, live.Person)
	}
	switch {
	case tol.restarted: // refusals are kept in memory
	case w.Refused == "":
		if live.Refusal != nil {
			bad("refused: %+v", live.Refusal)
		}
	case live.Refusal == nil || live.Refusal.Reason != w.Refused || live.Refusal.Count != len(walkIn):
		bad("the last refusal is %+v, want %d for %q", live.Refusal, len(walkIn), w.Refused)
	}
	if w.Nearest == "" {
		if live.Live != nil {
			bad("the gateway has a position: %+v", live.Live)
		}
		return problems
	}
	if live.Live == nil || len(live.Live.Nearest) == 0 {
		bad("the gateway knows no fence near the last position")
		return problems
	}
	n := live.Live.Nearest[0]
	if string(n.Fence) != w.Nearest && p.Group != G3 || math.Abs(n.CenterM-w.NearestM) > 0.01 {
		bad("nearest is %s at %.2f m, want %s at %.2f m", n.Fence, n.CenterM, w.Nearest, w.NearestM)
	}
	switch p.Group {
	case N1:
		if n.CenterM < 205-0.01 || n.CenterM > 260+0.01 || n.EdgeM < 5-0.01 || n.EdgeM > 60+0.01 {
			bad("shown %.2f m from the centre and %.2f m from the edge", n.CenterM, n.EdgeM)
		}
		fallthrough
	case N5, Far:
		if len(live.Decisions) > 0 || len(live.Live.Inside) > 0 {
			bad("%d decisions, inside %v, want neither", len(live.Decisions), live.Live.Inside)
		}
	}
	return problems
}

// overlap: of two stores entered with one fix, the one whose centre is nearer has the notice.
func overlap(stored *stream.Explanation) (problems []string) {
	var won, lost *stream.Decision
	for k := range stored.Decisions {
		d := &stored.Decisions[k]
		if d.Kind != track.Enter.String() {
			continue
		}
		if d.Campaigns[0].Outcome == campaign.Propose {
			won = d
		} else {
			lost = d
		}
	}
	if won == nil || lost == nil || won.At != lost.At || won.CenterM >= lost.CenterM {
		problems = append(problems, fmt.Sprintf("overlap: %+v has the notice, %+v not", won, lost))
	}
	return problems
}

// sums compares the funnel, the counters and EVENTS with the sums of the table.
func (r *result) sums(t *testing.T, tol tolerance) {
	t.Helper()
	want := r.day.Totals()
	if want.Notices != 2600 || want.Entries != 3850 || want.Entered != 3100 {
		t.Errorf("the day itself has %+v", want)
	}
	notices := 0
	for _, shown := range r.shown {
		notices += len(shown)
	}
	if n := len(r.notified()); n != 2600 || notices != 2600 {
		t.Errorf("%d people are notified with %d notices, want 2,600 of each", n, notices)
	}
	funnel := map[string]int64{"claimed": 2600, "sent": 2600, "push.accepted": 2600, "delivered": 2600, "opened": Opened, "converted": Purchased}
	for reason, n := range want.Held {
		funnel["held."+reason] = int64(n)
	}
	if got := r.funnel[CampaignID]; !maps.Equal(got, funnel) {
		t.Errorf("the campaign's funnel is %v, want %v", got, funnel)
	}
	if got := r.funnel[""]; !maps.Equal(got, map[string]int64{"entered": int64(want.Entries)}) {
		t.Errorf("the funnel of entries is %v, want %d entered", got, want.Entries)
	}
	if !tol.restarted && !tol.replayed {
		s := &r.stats.Stats
		if r.resent == 0 && (s.Verdicts["duplicate"] != int64(want.Duplicates) || len(s.Verdicts) != 2) {
			t.Errorf("verdicts %v, want accepted ones and %d duplicates", s.Verdicts, want.Duplicates)
		}
		if r.resent == 0 && s.Refused["mock"] != int64(want.Refused) || len(s.Refused) != 1 {
			t.Errorf("refused %v, want %d for mock", s.Refused, want.Refused)
		}
	}
	if s := &r.stats.Stats; len(s.Poison) > 0 || len(s.Dropped) > 0 || s.LostTail > 0 || s.AgedOut > 0 {
		t.Errorf("poison %v, dropped %v, %d lost tails, %d batches aged out", s.Poison, s.Dropped, s.LostTail, s.AgedOut)
	}
	if s := &r.stats.Stats; !tol.restarted && (s.Receipts["stored"] != 2600+Opened+Purchased || s.Receipts["repeated"] == 0 || len(s.Receipts) != 2) {
		t.Errorf("receipts %v", s.Receipts)
	}
	r.checkReports(t)
	r.checkReport(t)
	r.checkEvents(t)
}

// checkEvents: EVENTS has every transition, every held push and every outcome, once.
func (r *result) checkEvents(t *testing.T) {
	t.Helper()
	transitions, held := 0, 0
	ids := map[string]bool{}
	for subject, n := range r.events {
		if n != 1 {
			t.Errorf("%s is on EVENTS %d times", subject, n)
		}
		var sub, id string
		if _, err := fmt.Sscan(subject, &sub, &id); err != nil {
			t.Fatalf("%q: %v", subject, err)
		}
		ids[id] = true
	}
	for i := range r.stored {
		for _, d := range r.stored[i].Decisions {
			if d.Kind == "enter" || d.Kind == "exit" {
				if transitions++; !ids[d.ID] {
					t.Errorf("%s of %s is not on EVENTS", d.Kind, d.Device)
				}
			}
			for _, c := range d.Campaigns {
				id := d.ID + "." + c.Campaign
				if c.Outcome == campaign.Propose {
					id = c.MID + ".accepted"
				} else {
					held++
				}
				if !ids[id] {
					t.Errorf("the outcome of %s of %s is not on EVENTS", d.Kind, d.Device)
				}
			}
		}
	}
	reports := 2600 + Opened + 2*Purchased // a purchase is an event and a receipt
	if want := transitions + held + 2600 + reports; len(r.events) != want {
		t.Errorf("EVENTS has %d events, want %d transitions, %d held, 2,600 outcomes and %d reports", len(r.events), transitions, held, reports)
	}
}
