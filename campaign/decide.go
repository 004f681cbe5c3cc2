package campaign

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"footfall/audience"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/track"
)

// Input is everything that a decision depends on.
type Input struct {
	Tr *track.Transition
	// Profile is never nil. For a device that has not registered it is the zero
	// profile with its Device.
	Profile *audience.Profile
	// Now is the receive time of the ping that settled Tr. It is used for
	// freshness only.
	Now time.Time
}

// Check is one rung of the ladder that explain prints.
type Check struct {
	Rule   string `json:"rule"`   // "window"
	OK     bool   `json:"ok"`     // whether it lets the push pass
	Detail string `json:"detail"` // with the numbers and times that were compared
}

// Decision is what one campaign says about one transition.
type Decision struct {
	Campaign string
	Fence    fences.ID
	Outcome  Outcome
	Reason   Reason
	Checks   []Check // only when asked to explain: every rule, not only up to the first that fails
	// Key and Period are the claim to reserve; set for Propose, and when asked
	// to explain.
	Key    dedupe.Key
	Period dedupe.Period
	// PeriodEnds is when the claim's period ends; zero for never.
	PeriodEnds time.Time
	// ExpiresAt is when the push is no longer worth showing: the fix that
	// settled the transition, plus ttl.
	ExpiresAt time.Time
}

// rule is one test of the ladder.
type rule uint8

const (
	ruleTrigger rule = iota
	ruleEnabled
	rulePaused
	ruleTrusted
	ruleEdit
	ruleInitial
	ruleConfidence
	ruleWindow
	ruleFresh
	ruleTTL
	ruleConsent
	ruleToken
	ruleCount
)

var ruleNames = [ruleCount]string{
	"trigger", "enabled", "paused", "trusted", "fence_edit", "initial", "confidence", "window", "fresh", "ttl", "consent", "token",
}

// facts are what the rules look at, worked out once.
type facts struct {
	Input
	at      time.Time      // event time
	settled time.Time      // fix time of the fix that settled the transition
	store   *time.Location // of the fence; UTC when it is gone
	expires time.Time
}

// Decide says whether the transition leads to a push of this campaign. It is
// pure: it depends on the campaign and in alone, reads no clock and changes
// nothing, so the hot path, a replay and explain get the same answer.
//
// Which claim is won is not decided here: a proposal still has to be reserved
// in the ledger, in commit order.
//
// Without explain a held decision allocates nothing, and a proposal only its
// key. With explain every rule is tried and described.
func (c *Campaign) Decide(in Input, explain bool) Decision {
	f := facts{Input: in, at: time.UnixMilli(in.Tr.At), settled: time.UnixMilli(in.Tr.At), store: time.UTC}
	if in.Tr.ConfirmedAt > in.Tr.At {
		f.settled = time.UnixMilli(in.Tr.ConfirmedAt)
	}
	if in.Tr.Fence != nil && in.Tr.Fence.Location != nil {
		f.store = in.Tr.Fence.Location
	}
	f.expires = f.settled.Add(c.Push.TTL)

	d := Decision{Campaign: c.ID, Fence: in.Tr.FenceID, Outcome: Propose, Reason: Eligible, Period: c.Once, ExpiresAt: f.expires}
	for r := range ruleCount {
		reason := c.test(r, &f)
		if reason != "" && d.Outcome == Propose {
			d.Outcome, d.Reason = Held, reason
		}
		if explain {
			d.Checks = append(d.Checks, Check{Rule: ruleNames[r], OK: reason == "", Detail: c.describe(r, &f)})
		} else if reason != "" {
			return d
		}
	}
	d.Key, d.PeriodEnds = c.claim(&f)
	if explain {
		d.Checks = append(d.Checks, Check{Rule: "claim", OK: d.Outcome == Propose, Detail: c.describeClaim(&d)})
	}
	return d
}

// test returns "" when the rule lets the push pass.
func (c *Campaign) test(r rule, f *facts) Reason {
	tr := f.Tr
	switch r {
	case ruleTrigger:
		if !c.Trigger.selects(tr) {
			return NotSelected
		}
	case ruleEnabled:
		if !c.Enabled {
			return Disabled
		}
	case rulePaused:
		if c.Paused {
			return Paused
		}
	case ruleTrusted:
		if tr.Fix.Mock {
			return Untrusted
		}
	case ruleEdit:
		// A deleted fence has no zone and no name any more: nothing to send about.
		if isEdit(tr) && (!c.Trigger.Edits || tr.Fence == nil) {
			return FenceEdit
		}
	case ruleInitial:
		if isInitial(tr) && !c.Trigger.Initial {
			return InitialOff
		}
	case ruleConfidence:
		if tr.Confidence < c.Trigger.MinConfidence {
			return LowConfidence
		}
	case ruleWindow:
		return c.Window.Check(f.at, f.store)
	case ruleFresh:
		// The tracker's own mark counts as well: its max_age may be the shorter.
		if f.age() > c.MaxAge || tr.Reason.Has(track.Stale) {
			return Stale
		}
	case ruleTTL:
		if !f.Now.Before(f.expires) {
			return Expired
		}
	case ruleConsent:
		if !f.Profile.MayPush() {
			return OptedOut
		}
	case ruleToken:
		if !f.Profile.Reachable() {
			return NoToken
		}
	}
	return ""
}

// age is how old the fix was when it arrived.
func (f *facts) age() time.Duration {
	return f.Now.Sub(time.UnixMilli(f.Tr.Fix.FixedAt))
}

// claim is the slot that the push would take. The event time decides the
// period, so that a late upload counts for the day of the visit.
func (c *Campaign) claim(f *facts) (dedupe.Key, time.Time) {
	loc := f.store
	switch c.Once.Zone {
	case dedupe.DayUser:
		// Without a zone of their own people live on the store's day.
		if z, ok := loadZone(f.Profile.Zone); ok {
			loc = z
		}
	case dedupe.DayCampaign:
		loc = c.zone
	}
	id, ends := c.Once.At(f.at, loc)
	key := dedupe.Key{Campaign: c.ID, Subject: f.Profile.Subject(), Period: id}
	if c.Scope == ScopeFence {
		key.Scope = string(f.Tr.FenceID)
	}
	return key, ends
}

// describe says what the rule compared.
func (c *Campaign) describe(r rule, f *facts) string {
	tr, p := f.Tr, f.Profile
	yesNo := func(cond bool, yes, no string) string {
		if cond {
			return yes
		}
		return no
	}
	switch r {
	case ruleTrigger:
		return fmt.Sprintf("%s at %s; the campaign waits for %s", tr.Kind, tr.FenceID, c.Trigger.String())
	case ruleEnabled:
		return yesNo(c.Enabled, "the campaign is enabled", "the campaign is disabled")
	case rulePaused:
		return yesNo(c.Paused, "the campaign is paused", "the campaign is running")
	case ruleTrusted:
		return yesNo(tr.Fix.Mock, "the phone marks the position as simulated", "the position is not marked as simulated")
	case ruleEdit:
		if !isEdit(tr) {
			return "the device moved, not the fence"
		}
		return fmt.Sprintf("caused by an edit of the fence (%s); edits: %v", tr.Reason, c.Trigger.Edits)
	case ruleInitial:
		if !isInitial(tr) {
			return "not the first position"
		}
		return fmt.Sprintf("already inside at the first position; initial: %v", c.Trigger.Initial)
	case ruleConfidence:
		accuracy := "unknown"
		if tr.Fix.AccuracyM > 0 {
			accuracy = fmt.Sprintf("%.0f m", tr.Fix.AccuracyM)
		}
		return fmt.Sprintf("confidence %d of 3, at least %d is asked for; %.0f m from the edge, accuracy %s", tr.Confidence, c.Trigger.MinConfidence, tr.EdgeDistanceM, accuracy)
	case ruleWindow:
		loc := c.Window.location(f.store)
		return fmt.Sprintf("it was %s (%s); open %s", f.at.In(loc).Format("Mon 2006-01-02 15:04:05 -07:00"), loc, c.Window.String())
	case ruleFresh:
		s := fmt.Sprintf("the fix was %s old on arrival; at most %s", f.age().Round(time.Second), c.MaxAge)
		return s + yesNo(tr.Reason.Has(track.Stale) && f.age() <= c.MaxAge, "; the deployment's max_age is shorter", "")
	case ruleTTL:
		return fmt.Sprintf("worth showing for %s, until %s; arrived %s", c.Push.TTL, f.expires.In(f.store).Format(time.RFC3339), f.Now.In(f.store).Format(time.RFC3339))
	case ruleConsent:
		return fmt.Sprintf("push: %s, location: %s", consent(p.ConsentPush), consent(p.ConsentLocation))
	case ruleToken:
		switch {
		case p.Token == "":
			return "the device has no push token"
		case p.TokenDead:
			return "the provider has refused the token for good"
		case p.Platform == "":
			return "the device has not said its platform"
		case p.TokenAt == 0:
			return "a token for " + p.Platform
		default:
			return "a token for " + p.Platform + " since " + time.UnixMilli(p.TokenAt).UTC().Format(time.RFC3339)
		}
	}
	return ""
}

func consent(b *bool) string {
	switch {
	case b == nil:
		return "not said, so allowed"
	case *b:
		return "allowed"
	default:
		return "refused"
	}
}

func (c *Campaign) describeClaim(d *Decision) string {
	var once string
	switch c.Once.Kind {
	case dedupe.PeriodDay:
		once = fmt.Sprintf("once a day of the %s", c.Once.Zone)
		if c.Once.DayStart > 0 {
			once += fmt.Sprintf(" from %02d:%02d", int(c.Once.DayStart.Hours()), int(c.Once.DayStart.Minutes())%60)
		}
	case dedupe.PeriodRolling:
		once = fmt.Sprintf("once in %s", c.Once.Rolling)
	case dedupe.PeriodEver:
		once = "once for ever"
	default:
		once = "every time"
	}
	s := fmt.Sprintf("%s, period %s, for %s", once, d.Key.Period, d.Key.Subject)
	if d.Key.Scope != "" {
		s += " at " + d.Key.Scope
	}
	if d.Outcome == Held {
		return s + "; not asked for"
	}
	return s + "; the ledger settles who gets it"
}

// String describes what a trigger waits for: "enter of tag kyiv".
func (t *Trigger) String() string {
	var parts []string
	if t.Fences.All {
		parts = append(parts, "any fence")
	}
	for _, id := range t.Fences.IDs {
		parts = append(parts, string(id))
	}
	for _, tag := range t.Fences.Tags {
		parts = append(parts, "tag "+tag)
	}
	const most = 5 // a campaign may name thousands of ids
	if more := len(parts) - most; more > 0 {
		parts = append(parts[:most], fmt.Sprintf("%d more", more))
	}
	kind := t.Kind.String()
	if t.Crossed {
		kind += " or crossing"
	}
	return kind + " of " + strings.Join(parts, ", ")
}

// String is one line for a log or a test: "kyiv-18: held (stale)".
func (d *Decision) String() string {
	if d.Outcome == Propose {
		return fmt.Sprintf("%s: propose %s at %s until %s", d.Campaign, d.Key.Period, d.Fence, d.ExpiresAt.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%s: held (%s)", d.Campaign, d.Reason)
}

// decisionJSON is the recorded form of a Decision.
type decisionJSON struct {
	Campaign   string     `json:"campaign"`
	Fence      string     `json:"fence"`
	Outcome    Outcome    `json:"outcome"`
	Reason     Reason     `json:"reason"`
	Checks     []Check    `json:"checks,omitempty"`
	Claim      *claimJSON `json:"claim,omitempty"`
	PeriodEnds time.Time  `json:"period_ends,omitzero"`
	ExpiresAt  time.Time  `json:"expires_at,omitzero"`
}

type claimJSON struct {
	Subject string `json:"subject"`
	Scope   string `json:"scope,omitempty"`
	Period  string `json:"period"`
}

// MarshalJSON writes the decision for a record. Times are UTC.
func (d Decision) MarshalJSON() ([]byte, error) {
	j := decisionJSON{
		Campaign: d.Campaign, Fence: string(d.Fence), Outcome: d.Outcome, Reason: d.Reason, Checks: d.Checks,
		PeriodEnds: d.PeriodEnds.UTC(), ExpiresAt: d.ExpiresAt.UTC(),
	}
	if d.Key != (dedupe.Key{}) {
		j.Claim = &claimJSON{Subject: d.Key.Subject, Scope: d.Key.Scope, Period: d.Key.Period}
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads a recorded decision. Period is not part of the record: it
// belongs to the campaign.
func (d *Decision) UnmarshalJSON(data []byte) error {
	var j decisionJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*d = Decision{
		Campaign: j.Campaign, Fence: fences.ID(j.Fence), Outcome: j.Outcome, Reason: j.Reason, Checks: j.Checks,
		PeriodEnds: j.PeriodEnds, ExpiresAt: j.ExpiresAt,
	}
	if j.Claim != nil {
		d.Key = dedupe.Key{Campaign: j.Campaign, Subject: j.Claim.Subject, Scope: j.Claim.Scope, Period: j.Claim.Period}
	}
	return nil
}
