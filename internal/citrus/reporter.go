package citrus

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"footfall/internal/stage"
	"footfall/receipt"
)

// Reporter is what phones and tills do about the notices: a phone reports its notice when it shows it, some people open
// it a little later, and some of these buy an hour or more after that, at a till that sends the code of the notice.
type Reporter struct {
	day     *Day
	phones  *stage.Phones
	reports map[int]Report
	waiting []int // people whose notice has not been seen yet
	due     []Message
	sales   int
}

// NewReporter is for everybody who has a notice coming.
func NewReporter(day *Day, ph *stage.Phones) *Reporter {
	r := &Reporter{day: day, phones: ph, reports: day.Reports()}
	for i := range day.People {
		if _, ok := r.reports[i]; ok {
			r.waiting = append(r.waiting, i)
		}
	}
	return r
}

// Look finds the notices that have come up and plans what is said of them; now is the time of the day.
func (r *Reporter) Look(now time.Time) {
	r.waiting = slices.DeleteFunc(r.waiting, func(i int) bool {
		p := &r.day.People[i]
		shown := r.phones.Book.Shown(p.Token)
		if len(shown) == 0 {
			return false
		}
		s := &shown[0]
		say := func(after time.Duration, ev string) {
			r.due = append(r.due, Message{SendAt: now.Add(after), Person: i, Subject: "receipt." + App + "." + p.Device, Payload: encode(map[string]any{
				"mid": s.MID, "k": s.Key, "ev": ev, "t": s.At.Add(after).UnixMilli(),
			})})
		}
		say(0, receipt.Delivered)
		if r.reports[i].Opens {
			say(4*time.Minute, receipt.Opened)
			if i%5 == 0 { // the answer was lost
				say(7*time.Minute, receipt.Opened)
			}
		}
		if r.reports[i].Buys {
			_, code, _ := strings.Cut(s.Link, "?code=")
			at := now.Add(time.Hour + time.Duration(i%40)*time.Minute)
			till := i % len(stores)
			r.sales++
			r.due = append(r.due, Message{SendAt: at, Person: -100 - till, Subject: fmt.Sprintf("event.%s.till-%d", App, till), Payload: encode(map[string]any{
				"name": "purchase", "t": at.UnixMilli(), "id": fmt.Sprint("sale-", i),
				"props": map[string]any{"code": strings.ToLower(code), "value": 100 + i%900, "currency": "UAH"},
			})})
		}
		return true
	})
}

// Ready takes out what is to be said by now.
func (r *Reporter) Ready(now time.Time) (out []Message) {
	r.due = slices.DeleteFunc(r.due, func(m Message) bool {
		if m.SendAt.After(now) {
			return false
		}
		out = append(out, m)
		return true
	})
	return out
}

// Due reports whether there is something left to be said.
func (r *Reporter) Due() bool { return len(r.due) > 0 }

// Waiting is how many notices have not come up.
func (r *Reporter) Waiting() int { return len(r.waiting) }
