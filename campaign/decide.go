package campaign

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
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
	// To is the profile of the device that the push would go to, when it is another one of the person; nil: Profile.
	To *audience.Profile
	// Now is the receive time of the ping that settled Tr: when the push would
	// leave. Freshness and quiet hours are measured against it.
	Now time.Time
	// Sends, Visits and Events are what the ledger remembers of the subject, oldest
	// first; read them when [Campaign.Needs] says so. What happened at Tr itself
	// may be among them and is left out, so that a decision that is made again
	// comes out the same.
	Sends  []dedupe.Send
	Visits []audience.Visit
	Events []audience.Event
	// Caps are the gateway's own, over all campaigns ([ParseCaps]).
	Caps []Cap
}

// Needs says what of a subject's history Decide looks at.
type Needs struct{ Sends, Visits, Events bool }

// Needs says what to read before Decide under the gateway's caps; most campaigns
// need nothing.
func (c *Campaign) Needs(caps []Cap) Needs {
	return Needs{
		Sends:  len(c.Caps) > 0 || len(caps) > 0 && !c.Exempt,
		Visits: !c.Trigger.Visits.any() || c.Audience != nil && c.Audience.NeedsVisits(),
		Events: c.Audience != nil && c.Audience.NeedsEvents(),
	}
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
	// SendAt is when the push may go out at the earliest; zero is at once. It
	// waits for the window or for the end of the quiet hours.
	SendAt time.Time
	// IfInside: when its time has come, only if the device is still in the fence.
	IfInside bool
	// ExpiresAt is when the push is no longer worth showing: the fix that
	// settled the transition, or SendAt, plus ttl.
	ExpiresAt time.Time
	// HeldOut: once the claim is won nothing is sent; the subject is one of the
	// holdout. Variant is the arm it is in, "" without variants. Both are set
	// for Propose, and when asked to explain.
	HeldOut bool
	Variant string
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
	ruleVisits
	ruleAudience
	ruleConsent
	ruleToken
	ruleQuiet
	ruleCaps
	ruleGatewayCaps
	ruleCount
)

var ruleNames = [ruleCount]string{
	"trigger", "enabled", "paused", "trusted", "fence_edit", "initial", "confidence", "window", "fresh", "ttl", "visits", "audience", "consent", "token", "quiet", "caps", "gateway_caps",
}

// facts are what the rules look at, worked out once.
type facts struct {
	Input
	at      time.Time      // event time
	settled time.Time      // fix time of the fix that settled the transition
	store   *time.Location // of the fence; UTC when it is gone
	expires time.Time

	// Filled by the rules as they are tested.
	closed   Reason    // why the window is closed at the time; "" when it is open
	sendAt   time.Time // zero: at once
	ifInside bool
	visit    int    // number of the visit
	problem  string // why the audience could not be evaluated
	capped   *Cap   // the one that is reached
	used     int    // pushes that it counts
}

// wait puts the push off until t. The time to live counts from then.
func (f *facts) wait(c *Campaign, t time.Time, how Closed) {
	f.sendAt, f.expires = t, t.Add(c.ttl(f.Profile))
	f.ifInside = f.ifInside || how == NotifyIfInside
}

// due is when the push would leave.
func (f *facts) due() time.Time {
	if f.sendAt.After(f.Now) {
		return f.sendAt
	}
	return f.Now
}

// person is who the audience is asked about, before this visit.
func (f *facts) person() audience.Person {
	if f.Tr.Kind == 0 { // an announcement is no visit
		return audience.Person{Profile: f.Profile, Events: f.Events, Visits: f.Visits}
	}
	began := cmp.Or(f.Tr.EnteredAt, f.Tr.At)
	n, _ := slices.BinarySearchFunc(f.Visits, began, func(v audience.Visit, at int64) int { return cmp.Compare(v.At, at) })
	return audience.Person{Profile: f.Profile, Events: f.Events, Visits: f.Visits[:n]}
}

// own is the zone of the device, else the store's.
func (f *facts) own() *time.Location {
	if z, ok := loadZone(f.Profile.Zone); ok {
		return z
	}
	return f.store
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
	f.expires = f.settled.Add(c.ttl(in.Profile))
	if s := c.Trigger.Schedule; s != nil {
		// It is fresh when it leaves, however long the gateway takes to come to this person.
		f.store = s.loc
		if own, ok := loadZone(in.Profile.Zone); ok && s.Device {
			f.store = own
		}
		f.expires = in.Now.Add(c.ttl(in.Profile))
		if f.at.After(in.Now) {
			f.sendAt, f.expires = f.at, f.at.Add(c.ttl(in.Profile))
		}
	}
	if c.Trigger.Journey && in.Tr.Fence == nil && c.zone != nil {
		f.store = c.zone
	}

	d := Decision{Campaign: c.ID, Fence: in.Tr.FenceID, Outcome: Propose, Reason: Eligible, Period: c.Once, ExpiresAt: f.expires}
	if explain {
		d.Checks = make([]Check, 0, ruleCount+4) // claim, holdout, variant, and what became of the claim
	}
	for r := range ruleCount {
		if !c.has(r, &f) {
			continue
		}
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
	d.ExpiresAt, d.SendAt, d.IfInside = f.expires, f.sendAt, f.ifInside
	d.Key, d.PeriodEnds = c.claim(&f)
	d.HeldOut = c.HeldOut(d.Key.Subject)
	if v := c.VariantFor(d.Key.Subject); v != nil {
		d.Variant = v.Name
	}
	if explain {
		d.Checks = append(d.Checks, Check{Rule: "claim", OK: d.Outcome == Propose, Detail: c.describeClaim(&d)})
		if c.Holdout > 0 {
			d.Checks = append(d.Checks, Check{Rule: "holdout", OK: !d.HeldOut, Detail: c.describeLot("holdout", d.Key.Subject, d.HeldOut)})
		}
		if d.Variant != "" {
			d.Checks = append(d.Checks, Check{Rule: "variant", OK: true, Detail: fmt.Sprintf("%s, drawn from the person's id", d.Variant)})
		}
	}
	return d
}

// has reports whether the campaign has the rule at all; those that a file
// leaves out are not in the ladder.
func (c *Campaign) has(r rule, f *facts) bool {
	if c.Trigger.remote() {
		switch r {
		case ruleTrusted, ruleEdit, ruleInitial, ruleConfidence, ruleFresh, ruleVisits:
			return false
		}
	}
	switch r {
	case ruleVisits:
		return !c.Trigger.Visits.any()
	case ruleAudience:
		return c.Audience != nil
	case ruleQuiet:
		return len(c.Quiet.Hours) > 0
	case ruleCaps:
		return len(c.Caps) > 0
	case ruleGatewayCaps:
		return len(f.Caps) > 0
	default:
		return true
	}
}

// test returns "" when the rule lets the push pass.
func (c *Campaign) test(r rule, f *facts) Reason {
	tr := f.Tr
	switch r {
	case ruleTrigger:
		if s := c.Trigger.Schedule; s != nil && s.tooLate(f.at, time.UnixMilli(tr.ConfirmedAt), f.Now, f.store) {
			return Expired
		}
		if c.Trigger.remote() {
			return ""
		}
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
		reason := c.Window.Check(f.at, f.store)
		f.closed = reason
		if reason == "" || reason == Ended || c.Window.HoldFor == 0 {
			return reason
		}
		open, ok := c.Window.NextOpen(f.at, f.store)
		if !ok || open.Sub(f.at) > c.Window.HoldFor {
			return reason
		}
		if open.After(f.settled) { // else it opened while a min stay or min away was running
			f.wait(c, open, c.Window.Closed)
		}
	case ruleFresh:
		// The tracker's own mark counts as well: its max_age may be the shorter.
		if f.age() > c.MaxAge || tr.Reason.Has(track.Stale) {
			return Stale
		}
	case ruleTTL:
		if !f.Now.Before(f.expires) {
			return Expired
		}
	case ruleVisits:
		f.visit = c.visitNumber(f)
		if !c.Trigger.Visits.has(f.visit) {
			return OtherVisit
		}
	case ruleAudience:
		at := f.at
		if c.Trigger.remote() {
			at = f.Now
		}
		fits, problem := c.Audience.Match(f.person(), at.UnixMilli())
		if f.problem = problem; !fits {
			return NotInAudience
		}
	case ruleConsent:
		if !f.Profile.MayPush() || f.Profile.Withdrawn() && !c.Trigger.remote() {
			return OptedOut
		}
	case ruleToken:
		if to := cmp.Or(f.To, f.Profile); !to.Reachable() && !c.Push.InsideApp(to) {
			return NoToken
		}
	case ruleQuiet:
		return c.quiet(f)
	case ruleCaps:
		if f.capped, f.used = c.reached(f); f.capped != nil {
			return Capped
		}
	case ruleGatewayCaps:
		if f.capped, f.used = c.gatewayReached(f); f.capped != nil {
			return GatewayCap
		}
	}
	return ""
}

// quiet tests the quiet hours at the time at which the push would leave, and
// puts it off to their end when it may wait and the window is open then.
func (c *Campaign) quiet(f *facts) Reason {
	loc := f.store
	if c.Quiet.Device {
		loc = f.own()
	}
	due := f.due()
	// Window and quiet hours may take turns; each turn is later than the last.
	for range 8 {
		end, quiet := c.Quiet.at(due, loc)
		if !quiet {
			return ""
		}
		if c.Quiet.Closed == Drop {
			return QuietHours
		}
		if due = end; c.Window.Check(due, f.store) != "" {
			open, ok := c.Window.NextOpen(due, f.store)
			if !ok || c.Window.HoldFor == 0 {
				return QuietHours
			}
			due = open
		}
		if due.Sub(f.at) > maxHoldFor {
			return QuietHours
		}
		f.wait(c, due, c.Quiet.Closed)
	}
	return QuietHours
}

// visitNumber counts the subject's visits to the trigger's fences up to this
// one.
func (c *Campaign) visitNumber(f *facts) int {
	began := cmp.Or(f.Tr.EnteredAt, f.Tr.At)
	n := 1
	for i := range f.Visits {
		v := &f.Visits[i]
		if v.At < began && (c.Trigger.Visits.Within == 0 || began-v.At <= c.Trigger.Visits.Within.Milliseconds()) &&
			c.Trigger.Fences.has(fences.ID(v.Fence), v.Tags) {
			n++
		}
	}
	return n
}

// reached returns the first of the campaign's caps that does not let this push
// through, and how many it has counted.
func (c *Campaign) reached(f *facts) (*Cap, int) {
	return c.firstReached(f, c.Caps, func(*dedupe.Send) bool { return true })
}

// gatewayReached is reached for the gateway's own caps.
func (c *Campaign) gatewayReached(f *facts) (*Cap, int) {
	if c.Exempt {
		return nil, 0
	}
	return c.firstReached(f, f.Caps, func(s *dedupe.Send) bool { return !s.Exempt })
}

func (c *Campaign) firstReached(f *facts, caps []Cap, counts func(*dedupe.Send) bool) (*Cap, int) {
	at := f.at.UnixMilli()
	for i := range caps {
		limit := &caps[i]
		var times []int64 // of what counts, ascending
		var begin, end int64
		if limit.Day {
			_, ends := dedupe.Period{}.At(f.at, f.store)
			year, month, day := ends.In(f.store).Add(-time.Minute).Date()
			begin, end = dedupe.FirstAt(year, month, day, 0, f.store).UnixMilli(), ends.UnixMilli()
		}
		for k := range f.Sends {
			s := &f.Sends[k]
			own := s.Campaign == c.ID
			t := s.At.UnixMilli()
			switch {
			case own && t == at, !own && !limit.All, limit.Day && (t < begin || t >= end), !counts(s):
			default:
				times = append(times, t)
			}
		}
		used := len(times)
		if limit.Per > 0 {
			used = fullest(times, at, limit.Per.Milliseconds())
		}
		if used >= limit.Max {
			return limit, used
		}
	}
	return nil, 0
}

// fullest is how many of the times lie in the fullest stretch of length per
// that a push at t would be in. A late entry may lie before pushes that have
// gone out, so both sides of t matter.
func fullest(times []int64, t, per int64) int {
	from := func(begin int64) (n int) {
		for _, u := range times {
			if u >= begin && u-begin < per {
				n++
			}
		}
		return n
	}
	most := from(t) // the fullest stretch begins at t, or at one of the times before it
	for _, begin := range times {
		if begin <= t && t-begin < per {
			most = max(most, from(begin))
		}
	}
	return most
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
		loc = f.own() // without a zone of their own people live on the store's day
	case dedupe.DayCampaign:
		loc = c.zone
	}
	id, ends := c.Once.At(f.at, loc)
	return dedupe.Key{Campaign: c.ID, Subject: f.Profile.Subject(), Scope: c.scopeOf(f.Tr.FenceID, f.Tr.Fence), Period: id}, ends
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
		if s := c.Trigger.Schedule; s != nil {
			text := fmt.Sprintf("due %s, %s; the gateway began %s", f.at.In(f.store).Format(stampForm), s, time.UnixMilli(tr.ConfirmedAt).In(f.store).Format(stampForm))
			late := fmt.Sprintf(", more than %s late", Late)
			if s.Best != nil {
				late = ", after the last hour that it may be"
			}
			return text + yesNo(s.tooLate(f.at, time.UnixMilli(tr.ConfirmedAt), f.Now, f.store), late, "")
		}
		if c.Trigger.Journey {
			return "a step of a journey"
		}
		return tr.Kind.String() + " at " + string(tr.FenceID) + "; the campaign waits for " + c.said.trigger
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
			accuracy = metres(float64(tr.Fix.AccuracyM))
		}
		s := "confidence " + strconv.Itoa(int(tr.Confidence)) + " of 3, at least " + strconv.Itoa(int(c.Trigger.MinConfidence)) + " is asked for; "
		if tr.Reason.Has(track.Device) && tr.EdgeDistanceM == 0 && tr.CenterDistanceM == 0 {
			return s + "it is the phone's own word, without a position"
		}
		return s + metres(tr.EdgeDistanceM) + " from the edge, accuracy " + accuracy
	case ruleWindow:
		loc := c.Window.location(f.store)
		text := "it was " + f.at.In(loc).Format(stampForm) + " (" + loc.String() + "); " + c.said.window
		if f.closed == "" {
			return text
		}
		open, ok := c.Window.NextOpen(f.at, f.store)
		switch {
		case !ok:
			return text + "; it does not open again"
		case c.Window.HoldFor == 0:
			return text + "; it opens " + open.In(loc).Format(stampForm) + ", and closed: drop does not wait"
		case open.Sub(f.at) > c.Window.HoldFor:
			return text + fmt.Sprintf("; it opens %s, later than hold_for %s allows", open.In(loc).Format(stampForm), formatDuration(c.Window.HoldFor))
		default:
			return text + "; waits until it opens " + open.In(loc).Format(stampForm) + yesNo(c.Window.Closed == NotifyIfInside, ", and goes out if the device is still inside", "")
		}
	case ruleFresh:
		s := "the fix was " + f.age().Round(time.Second).String() + " old on arrival; at most " + c.MaxAge.String()
		return s + yesNo(tr.Reason.Has(track.Stale) && f.age() <= c.MaxAge, "; the deployment's max_age is shorter", "")
	case ruleTTL:
		return "worth showing for " + c.ttl(f.Profile).String() + ", until " + f.expires.In(f.store).Format(time.RFC3339) + "; arrived " + f.Now.In(f.store).Format(time.RFC3339)
	case ruleConsent:
		return "push: " + consent(p.ConsentPush) + ", location: " + consent(p.ConsentLocation)
	case ruleVisits:
		return fmt.Sprintf("this is visit %d of %s; the campaign waits for %s", f.visit, p.Subject(), c.Trigger.Visits)
	case ruleAudience:
		text := c.Audience.Source + "; " + c.Audience.Describe(f.person())
		return text + yesNo(f.problem != "", "; it could not be evaluated: "+f.problem, "")
	case ruleQuiet:
		return c.describeQuiet(f)
	case ruleCaps:
		return describeCaps(f, c.Caps)
	case ruleGatewayCaps:
		if c.Exempt {
			return "the campaign is exempt"
		}
		return describeCaps(f, f.Caps)
	case ruleToken:
		p = cmp.Or(f.To, p)
		switch {
		case c.Push.InsideApp(p):
			return "in the app, for as long as it is worth showing"
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

// metres is a distance in whole metres.
func metres(m float64) string { return strconv.FormatFloat(m, 'f', 0, 64) + " m" }

const stampForm = "Mon 2006-01-02 15:04:05 -07:00"

func (c *Campaign) describeQuiet(f *facts) string {
	loc, whose := f.store, "the store's"
	if c.Quiet.Device {
		loc, whose = f.own(), "the device's"
	}
	var spans []string
	for _, s := range c.Quiet.Hours {
		spans = append(spans, s.String())
	}
	text := fmt.Sprintf("quiet %s in %s zone (%s)", strings.Join(spans, ", "), whose, loc)
	end, quiet := c.Quiet.at(f.Now, loc)
	if !quiet {
		return text + "; it was " + f.Now.In(loc).Format(stampForm)
	}
	text += fmt.Sprintf("; it was %s, they end %s", f.Now.In(loc).Format(stampForm), end.In(loc).Format(stampForm))
	if c.Quiet.Closed == Drop {
		return text + ", and closed: drop does not wait"
	}
	if f.sendAt.Before(end) {
		return text + ", when the window is closed or nobody would be waiting any more"
	}
	return text + "; waits until " + f.sendAt.In(loc).Format(stampForm)
}

func describeCaps(f *facts, caps []Cap) string {
	if f.capped != nil {
		return fmt.Sprintf("%s; %d already", f.capped, f.used)
	}
	all := make([]string, len(caps))
	for i, limit := range caps {
		all[i] = limit.String()
	}
	return "below " + strings.Join(all, " and ")
}

// String is "at most 2 in 7d", "at most 5 a day of all campaigns".
func (l Cap) String() string {
	s := fmt.Sprintf("at most %d ", l.Max)
	switch {
	case l.Day:
		s += "a day of the store"
	case l.Ever:
		s += "ever"
	default:
		s += "in " + formatDuration(l.Per)
	}
	if l.All {
		s += ", of all campaigns"
	}
	return s
}

func (c *Campaign) describeLot(purpose, subject string, in bool) string {
	side := "outside"
	if in {
		side = "in"
	}
	return fmt.Sprintf("the lot of %s is %s, %s the %s that get nothing", subject, c.lot(purpose, subject), side, c.Holdout)
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
	if c.Trigger.Journey {
		return "one for each step of each way through the journey, for " + d.Key.Subject
	}
	s := c.said.once + ", period " + d.Key.Period + ", for " + d.Key.Subject
	if d.Key.Scope != "" {
		s += " within " + d.Key.Scope
	}
	if d.Outcome == Held {
		return s + "; not asked for"
	}
	return s + "; the ledger settles who gets it"
}

// said is what explanations say of a campaign whoever comes: put into words when it is read, not for every entry.
type said struct{ trigger, window, once string }

func (c *Campaign) say() said {
	s := said{trigger: c.Trigger.String(), window: c.Window.String()}
	if s.window != alwaysOpen {
		s.window = "open " + s.window
	}
	switch c.Once.Kind {
	case dedupe.PeriodDay:
		s.once = fmt.Sprintf("once a day of the %s", c.Once.Zone)
		if c.Once.DayStart > 0 {
			s.once += fmt.Sprintf(" from %02d:%02d", int(c.Once.DayStart.Hours()), int(c.Once.DayStart.Minutes())%60)
		}
	case dedupe.PeriodRolling:
		s.once = fmt.Sprintf("once in %s", c.Once.Rolling)
	case dedupe.PeriodEver:
		s.once = "once for ever"
	default:
		s.once = "every time"
	}
	return s
}

// String describes what a trigger waits for: "enter of tag kyiv".
func (t *Trigger) String() string {
	if t.Schedule != nil {
		return t.Schedule.String()
	}
	if t.Journey {
		return "a step of a journey"
	}
	var parts []string
	if t.Fences.All {
		parts = append(parts, "any fence")
	}
	const most = 5 // a campaign may name thousands of ids
	for _, id := range t.Fences.IDs[:min(most, len(t.Fences.IDs))] {
		parts = append(parts, string(id))
	}
	for _, tag := range t.Fences.Tags[:min(most-len(parts), len(t.Fences.Tags))] {
		parts = append(parts, "tag "+tag)
	}
	if more := len(t.Fences.IDs) + len(t.Fences.Tags) - len(parts); more > 0 && !t.Fences.All {
		parts = append(parts, fmt.Sprintf("%d more", more))
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
