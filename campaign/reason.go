package campaign

import "footfall/track"

// Outcome is what became of a transition for one campaign.
type Outcome string

// The outcomes.
const (
	Propose Outcome = "propose" // reserve the claim Key, and send when it is won
	Held    Outcome = "held"    // no push; Reason says why
)

// Reason says why. The set is closed and the names are stable: they label
// metrics and stand in records.
type Reason string

// The reasons that Decide gives, in the order in which it tests. The first one
// that applies is the reason; the rest of the ladder is shown by explain.
const (
	NotSelected   Reason = "not_selected"    // the trigger is for other fences or another kind
	Disabled      Reason = "disabled"        // enabled: false
	Paused        Reason = "paused"          // paused: true
	Untrusted     Reason = "untrusted"       // the phone says that the position was simulated
	FenceEdit     Reason = "fence_edit"      // an edit of the fence made the transition, not the person
	InitialOff    Reason = "initial_off"     // already inside at the first position, and initial: false
	LowConfidence Reason = "low_confidence"  // below min_confidence
	NotStarted    Reason = "not_started"     // before window.from
	Ended         Reason = "ended"           // at or after window.to
	WindowClosed  Reason = "window_closed"   // outside days or hours
	Stale         Reason = "stale"           // the fix was older than max_age on arrival
	Expired       Reason = "expired"         // the push would be past its ttl
	OtherVisit    Reason = "other_visit"     // not the visit that the trigger asks for
	NotInAudience Reason = "not_in_audience" // the audience is for others
	OptedOut      Reason = "opted_out"       // consent refused
	NoToken       Reason = "no_token"        // nothing to send to, or the provider has refused it
	QuietHours    Reason = "quiet_hours"     // it would be shown in the quiet hours
	Capped        Reason = "capped"          // the subject has had as many pushes as a cap allows
	GatewayCap    Reason = "gateway_cap"     // the subject has had as many pushes of all campaigns as the gateway's own caps allow
	Eligible      Reason = "eligible"        // nothing is against it: Propose
)

// The reasons that others give to what Decide proposed.
const (
	// Overlap: another fence of the same fix got this campaign's push ([Set.Decide]).
	Overlap Reason = "overlap"
	// AlreadyClaimed: the subject has used the period's claim (the ledger).
	AlreadyClaimed Reason = "already_claimed"
	// NoVoucher: the pool that the push takes its code from is empty.
	NoVoucher Reason = "no_voucher"
	// HeldOut: the subject is in the holdout. It has won the claim, and would
	// have got the push.
	HeldOut Reason = "holdout"
	// MissingValue: a value that the template requires is not there (Render).
	MissingValue Reason = "missing_value"
	// TemplateError: the template could not be filled (Render).
	TemplateError Reason = "template_error"
)

// Reasons lists the closed set, in the order of the ladder.
func Reasons() []Reason {
	return []Reason{
		NotSelected, Disabled, Paused, Untrusted, FenceEdit, InitialOff, LowConfidence, NotStarted, Ended, WindowClosed,
		Stale, Expired, OtherVisit, NotInAudience, OptedOut, NoToken, QuietHours, Capped, GatewayCap, Eligible, Overlap, AlreadyClaimed, NoVoucher, HeldOut, MissingValue, TemplateError,
	}
}

// isInitial: the device was not seen to come in. A device that was silent for
// long (Resumed) is not initial: it was known, and it is back.
func isInitial(tr *track.Transition) bool { return tr.Reason.Has(track.Initial) }

// isEdit: the fence moved, not the device.
func isEdit(tr *track.Transition) bool {
	return tr.Reason&(track.FenceCreated|track.FenceChanged|track.FenceDeleted) != 0
}
