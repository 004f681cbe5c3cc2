package receipt

import (
	"cmp"
	"slices"
	"time"
)

// The kinds of facts.
const (
	Delivered = "delivered" // the phone has the message
	Displayed = "displayed" // it was on the screen
	Opened    = "opened"    // tapped
	Action    = "action"    // a button of it was tapped
	Dismissed = "dismissed" // swiped away
	Converted = "converted" // what the campaign is for, such as a purchase
)

// MaxAhead is how far ahead of the gateway's clock a phone's may be.
const MaxAhead = 5 * time.Minute

// Fact is one thing that became of a message. Times are Unix milliseconds.
type Fact struct {
	Ev string `json:"ev"`
	// Ref tells several of one Ev apart: the sender's own id, such as an order, or the button.
	Ref        string  `json:"ref,omitempty"`
	At         int64   `json:"at"`          // when, by the phone's clock within its bounds
	ReceivedAt int64   `json:"received_at"` // when the gateway heard of it
	Action     string  `json:"action,omitempty"`
	Value      float64 `json:"value,omitzero"` // in whole units of Currency
	Currency   string  `json:"currency,omitempty"`
	// Via is "code" when the message was found by its code, "" when the phone itself has said so.
	Via string `json:"via,omitempty"`
}

// Clamp returns a reported time (0: none was given) within its bounds: not before the message was made, not more than
// MaxAhead after the report was received. All Unix ms.
func Clamp(at, madeAt, receivedAt int64) int64 {
	if at == 0 {
		at = receivedAt
	}
	return max(min(at, receivedAt+MaxAhead.Milliseconds()), madeAt)
}

// compare orders facts by name and then by which of two with the same name counts: the first that happened. The rest
// only makes the order total, so that it does not matter in which order facts are added.
func compare(a, b Fact) int {
	return cmp.Or(
		compareName(a, b),
		cmp.Compare(a.At, b.At), cmp.Compare(a.ReceivedAt, b.ReceivedAt), cmp.Compare(a.Value, b.Value),
		cmp.Compare(a.Currency, b.Currency), cmp.Compare(a.Action, b.Action), cmp.Compare(a.Via, b.Via),
	)
}

func compareName(a, b Fact) int { return cmp.Or(cmp.Compare(a.Ev, b.Ev), cmp.Compare(a.Ref, b.Ref)) }

// add puts f among facts, which are ordered by name. isNew: there was none of its name. changed: the result differs.
func add(facts []Fact, f Fact) (out []Fact, isNew, changed bool) {
	i, found := slices.BinarySearchFunc(facts, f, compareName)
	if !found {
		return slices.Insert(facts, i, f), true, true
	}
	if compare(f, facts[i]) >= 0 {
		return facts, false, false
	}
	facts[i] = f
	return facts, false, true
}

// Merge adds the facts about one copy of a message to those about others, so that each is there once. Both are ordered as
// Facts returns them, and so is the result; facts may be changed.
func Merge(facts, more []Fact) []Fact {
	for _, f := range more {
		facts, _, _ = add(facts, f)
	}
	return facts
}

// Stages are what a funnel counts messages by, in their order.
func Stages() []string { return []string{Delivered, Displayed, Opened, Action, Dismissed, Converted} }

// Reached returns the stages that facts prove, in the order of Stages. Whatever a phone reports proves that it has the
// message, and a button that the message was opened, so delivered is never less than opened. A conversion proves
// nothing but itself: who only remembers the offer buys too.
func Reached(facts []Fact) []string {
	has := map[string]bool{}
	for _, f := range facts {
		has[f.Ev] = true
		has[Opened] = has[Opened] || f.Ev == Action
		has[Delivered] = has[Delivered] || f.Ev != Converted
	}
	var out []string
	for _, s := range Stages() {
		if has[s] {
			out = append(out, s)
		}
	}
	return out
}
