package campaign

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"footfall/audience"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/track"
)

// Defaults and limits of the model.
const (
	DefaultMaxAge = 10 * time.Minute
	DefaultTTL    = 15 * time.Minute

	MaxIDLen = 64
	maxName  = 200
	minAge   = time.Second
	maxAge   = 7 * 24 * time.Hour
	minTTL   = 10 * time.Second
	maxTTL   = 28 * 24 * time.Hour // the longest that FCM keeps a message
)

// A Campaign is one loaded, valid campaign. [Parse] makes it; it is not changed
// afterwards and is safe for concurrent use.
type Campaign struct {
	ID      string
	Name    string // for people; ID when the file gives none
	Enabled bool
	Paused  bool
	Zone    string // IANA; "" when not given
	Trigger Trigger
	Window  Window
	// Audience is who may get it; nil is everybody.
	Audience *audience.Rule
	Quiet    Quiet
	Once     dedupe.Period
	Scope    Scope
	Groups   []string // of ScopeGroup: fence tags, the first that a fence has is its group
	Caps     []Cap
	// Exempt: the gateway's own caps do not hold its pushes, and these do not count to them.
	Exempt  bool          `json:",omitzero"`
	Holdout Share         // of the subjects, who get nothing and are counted
	MaxAge  time.Duration // of a fix on arrival
	Push    PushStep

	File      string // where it was read, for messages
	Line, Col int

	zone     *time.Location // of "day: campaign"; nil otherwise
	revision string
	said     said
}

// Scope says across what one claim counts.
type Scope string

// The scopes.
const (
	ScopeCampaign Scope = "campaign" // all fences of the campaign together (default)
	ScopeFence    Scope = "fence"    // each fence by itself
	ScopeStore    Scope = "store"    // the fences of one store together
	ScopeGroup    Scope = "group"    // the fences with the same one of Groups together
)

// ScopeOf names what the claims of entries at the fence are limited to; fences with the same share their claims.
func (c *Campaign) ScopeOf(f *fences.Fence) string { return c.scopeOf(f.ID, f) }

// scopeOf is what the claim of an entry at this fence is limited to. A fence
// that has no store, or none of the groups, stands for itself.
func (c *Campaign) scopeOf(id fences.ID, f *fences.Fence) string {
	switch {
	case c.Scope == ScopeCampaign:
		return ""
	case c.Scope == ScopeStore && f != nil && f.Store != "":
		return "store:" + string(f.Store)
	case c.Scope == ScopeGroup && f != nil:
		if i := slices.IndexFunc(c.Groups, f.HasTag); i >= 0 {
			return "group:" + c.Groups[i]
		}
	}
	return string(id)
}

// Quiet is when a push must not make a sound. The zero Quiet is never.
type Quiet struct {
	Hours  []Span
	Device bool // read in the zone that the device names, else (and without one) the store's
	Closed Closed
}

// Has reports whether t is in the quiet hours by the clock of loc.
func (q *Quiet) Has(t time.Time, loc *time.Location) bool {
	_, quiet := q.at(t, loc)
	return quiet
}

// at reports whether t is in the quiet hours of the zone, and when they end.
// Hours that are quiet for ever cannot be written (every span has an end).
func (q *Quiet) at(t time.Time, loc *time.Location) (end time.Time, quiet bool) {
	for range 2 * len(q.Hours) { // spans may follow each other
		local := t.In(loc)
		minute := local.Hour()*60 + local.Minute()
		i := slices.IndexFunc(q.Hours, func(s Span) bool { return s.has(minute) })
		if i < 0 {
			break
		}
		quiet = true
		year, month, day := local.Date()
		if s := q.Hours[i]; s.Close <= s.Open && minute >= s.Open {
			day++
		}
		next := dedupe.FirstAt(year, month, day, time.Duration(q.Hours[i].Close)*time.Minute, loc)
		if !next.After(t) { // the second reading of a repeated hour
			next = t.Truncate(time.Minute).Add(time.Duration((q.Hours[i].Close-minute+24*60)%(24*60)) * time.Minute)
		}
		t = next
	}
	return t, quiet
}

// A Cap is how many pushes a person gets at most.
type Cap struct {
	Max int
	// Per is the length of time in which they count, any such length: no stretch
	// of it holds more than Max. 0 with Day or Ever.
	Per  time.Duration
	Day  bool // the store's calendar day instead
	Ever bool // for as long as the campaign is there
	// All counts the pushes of every campaign, not only of this one.
	All bool
}

// Share is a part of all subjects in basis points: 10 % is 1000.
type Share int

// String is the share as it is written: "12.5%".
func (s Share) String() string {
	return strconv.FormatFloat(float64(s)/100, 'f', -1, 64) + "%"
}

// Variant is one arm of an experiment.
type Variant struct {
	Name     string
	Share    Share
	Template *Template // nil: the push's own
}

// Trigger selects transitions, or is a schedule.
type Trigger struct {
	// Schedule: an announcement to the whole audience; the other members are then zero.
	Schedule *Schedule `json:",omitzero"`
	// Journey: the push step of a journey, which decides when; see Field.JourneyPush. Never read from a file.
	Journey bool `json:",omitzero"`

	Kind   track.Kind // Enter, Exit or Dwell
	Fences Selector
	// Initial: a first known position that is already inside counts. (A fence
	// whose own initial is false never reports one.)
	Initial bool
	// Edits: a transition that an edit of the fence caused counts. A deleted
	// fence never leads to a push.
	Edits bool
	// Crossed: for Enter, passing through between two fixes counts as well.
	Crossed bool
	// MinConfidence is the least track.Transition.Confidence that counts.
	MinConfidence uint8
	// Visits says which visit it has to be; the zero value is any.
	Visits Visits
}

// Visits selects the n-th visits of a subject to the trigger's fences, the one
// at hand included: from Min to Max (0: no end), and of these every Every-th
// (0: each). Only visits that began within Within before this one count; 0 is
// as long as visits are kept.
type Visits struct {
	Min, Max, Every int
	Within          time.Duration
}

// any reports whether every visit will do.
func (v Visits) any() bool { return v == Visits{} }

// has reports whether the n-th visit is selected.
func (v Visits) has(n int) bool {
	return n >= v.Min && (v.Max == 0 || n <= v.Max) && (v.Every == 0 || n%v.Every == 0)
}

// String is "visit 3", "visits 3 to 5", "every 10th visit".
func (v Visits) String() string {
	var s string
	switch {
	case v.Every > 0:
		s = fmt.Sprintf("every %d. visit", v.Every)
	case v.Max == 0:
		s = fmt.Sprintf("visit %d or later", v.Min)
	case v.Min == v.Max:
		s = fmt.Sprintf("visit %d", v.Min)
	default:
		s = fmt.Sprintf("visits %d to %d", v.Min, v.Max)
	}
	if v.Within > 0 {
		s += " within " + formatDuration(v.Within)
	}
	return s
}

// remote reports whether pushes have another cause than a transition of the person's own.
func (t *Trigger) remote() bool { return t.Schedule != nil || t.Journey }

// Selector names fences: all of them, or those with one of the ids or one of
// the tags. Tags are compared exactly.
type Selector struct {
	All  bool
	IDs  []fences.ID // ascending; there may be thousands
	Tags []string    // ascending

	at pos // where it was read
}

// PushStep is the push of a campaign.
type PushStep struct {
	Template *Template
	// TTL is how long the push is worth showing, counted from the fix that
	// settled the transition, or from the opening that it waited for. A template
	// with one of its own overrides it.
	TTL time.Duration
	// Variants share out the subjects among them; none: everybody gets Template.
	Variants []Variant
	// Voucher is where the code of a template's voucher comes from; nil: there is none.
	Voucher *Voucher `json:",omitzero"`
	// AllDevices sends to every device of the person rather than to one of them. It is one claim all the same.
	AllDevices bool `json:",omitzero"`
	// InApp is what the app itself gets.
	InApp InApp `json:",omitzero"`
}

// InApp is whom a push reaches in the app instead of through a push service. The
// zero value is nobody without a push token; those who have one get it in the app
// first when the gateway is set up so.
type InApp string

const (
	InAppAlso InApp = "also" // devices without a usable push token as well
	InAppOnly InApp = "only" // everybody, and nothing goes through a push service
)

// InsideApp reports whether the push goes to the app of p and nowhere else.
func (s *PushStep) InsideApp(p *audience.Profile) bool {
	return s.InApp == InAppOnly || s.InApp == InAppAlso && !p.Reachable()
}

// Voucher says which pool each push gets a code of its own from.
type Voucher struct {
	Pool string
	// Optional: when the pool is empty, the push goes out without a code rather than not at all.
	Optional bool `json:",omitzero"`
}

// TakesVoucher reports whether what the variant sends ("" without variants) needs a code.
func (c *Campaign) TakesVoucher(variant string) bool {
	return c.Push.Voucher != nil && c.TemplateOf(variant).reads("voucher")
}

// selects reports whether the trigger is for this transition.
func (t *Trigger) selects(tr *track.Transition) bool {
	if tr.Kind != t.Kind && !(t.Crossed && tr.Kind == track.Crossed) {
		return false
	}
	var tags []string
	if tr.Fence != nil { // deleted: its tags are gone with it
		tags = tr.Fence.Tags
	}
	return t.Fences.has(tr.FenceID, tags)
}

// Has reports whether the selector names a fence with this id and these tags.
func (s *Selector) Has(id fences.ID, tags []string) bool { return s.has(id, tags) }

// has reports whether the selector names a fence with this id and these tags.
func (s *Selector) has(id fences.ID, tags []string) bool {
	if s.All {
		return true
	}
	if _, ok := slices.BinarySearch(s.IDs, id); ok {
		return true
	}
	return slices.ContainsFunc(tags, func(tag string) bool {
		_, ok := slices.BinarySearch(s.Tags, tag)
		return ok
	})
}

// whole is the share of everybody.
const whole Share = 10_000

// lot draws a number below whole for a subject: the same on every machine and
// for as long as the campaign keeps its id, and another one for each purpose,
// so that who is in the holdout says nothing about the variant.
func (c *Campaign) lot(purpose, subject string) Share {
	sum := sha256.Sum256([]byte(purpose + "\x00" + c.ID + "\x00" + subject))
	// 2^64 is not a multiple of whole; the bias is below 1e-15.
	return Share(binary.BigEndian.Uint64(sum[:8]) % uint64(whole))
}

// HeldOut reports whether the subject is one of those who get nothing, so that
// the others can be compared with them. Raising the share adds subjects and
// keeps those who are in it.
func (c *Campaign) HeldOut(subject string) bool {
	return c.Holdout > 0 && c.lot("holdout", subject) < c.Holdout
}

// VariantFor is the arm that the subject is in; nil without variants.
func (c *Campaign) VariantFor(subject string) *Variant {
	if len(c.Push.Variants) == 0 {
		return nil
	}
	lot := c.lot("variant", subject)
	for i := range c.Push.Variants {
		v := &c.Push.Variants[i]
		if lot < v.Share {
			return v
		}
		lot -= v.Share
	}
	return &c.Push.Variants[len(c.Push.Variants)-1]
}

// ttl is how long the push is worth showing to p: as the template of p's
// variant says, else the push. The variant is drawn only if templates differ.
func (c *Campaign) ttl(p *audience.Profile) time.Duration {
	own := c.Push.Template != nil && c.Push.Template.TTL != 0
	for i := range c.Push.Variants {
		t := c.Push.Variants[i].Template
		own = own || t != nil && t.TTL != 0
	}
	if !own {
		return c.Push.TTL
	}
	variant := ""
	if v := c.VariantFor(p.Subject()); v != nil {
		variant = v.Name
	}
	return cmp.Or(c.TemplateOf(variant).TTL, c.Push.TTL)
}

// TemplateOf is what a variant sends; "" and a variant that is gone get the
// push's own template.
func (c *Campaign) TemplateOf(variant string) *Template {
	for i := range c.Push.Variants {
		if v := &c.Push.Variants[i]; v.Name == variant && v.Template != nil {
			return v.Template
		}
	}
	if c.Push.Template == nil { // every variant has its own
		return c.Push.Variants[0].Template
	}
	return c.Push.Template
}

// KeepSends is how long a push of this campaign has to be remembered for caps,
// its own and those of others; 0 is for ever.
func (c *Campaign) KeepSends() time.Duration {
	for _, cap := range c.Caps {
		if cap.Ever {
			return 0
		}
	}
	return dedupe.KeepSends
}

// maxCapPer is the longest time that a cap may count: a day less than sends are remembered, because days have up to 25 hours.
const maxCapPer = dedupe.KeepSends - 24*time.Hour

// Revision is a hash of everything that decides or renders: equal campaigns
// have equal revisions, on every machine, wherever in a file they stand. 16
// hexadecimal digits.
func (c *Campaign) Revision() string { return c.revision }

// seal computes the revision and the words of explanations, after which the campaign is not
// changed. The JSON of the exported model is its canonical form: struct fields in order, maps sorted.
func (c *Campaign) seal() {
	view := *c
	view.File, view.Line, view.Col = "", 0, 0
	body, err := json.Marshal(view)
	if err != nil {
		panic("campaign: model does not marshal: " + err.Error()) // a field of a kind that JSON cannot hold
	}
	sum := sha256.Sum256(body)
	c.revision = hex.EncodeToString(sum[:8])
	c.said = c.say()
}

// Warnings are what a check asks about although the campaign runs without it.
func (c *Campaign) Warnings() []*Error {
	var list []*Error
	once := c.Trigger.Schedule != nil && !c.Trigger.Schedule.Once.IsZero()
	if c.Window.To.IsZero() && !c.Window.Endless && !once {
		list = append(list, &Error{File: c.File, Line: c.Line, Col: c.Col, Code: CodeNoEnd, Warning: true,
			Msg: fmt.Sprintf("campaign %s has no end", c.ID), Hint: "window: {to: 2026-12-31T21:00}, or to: never when it is to run until it is stopped"})
	}
	return list
}

// Unmatched warns of the ids and tags of the trigger that no fence of the set
// has: a check tells a typo from a choice.
func (c *Campaign) Unmatched(set *fences.Set) []*Error {
	return c.Trigger.Fences.Unmatched(set, c.File, "campaign "+c.ID)
}

// Unmatched is [Campaign.Unmatched] for one selector of a file; whose is what
// it belongs to, for the message.
func (s *Selector) Unmatched(set *fences.Set, file, whose string) []*Error {
	var missing []*Error
	warn := func(kind, name string, known []string) {
		hint := "there is none in those fences: see footfall fence check"
		if n := nearest(name, known); n != "" {
			hint = fmt.Sprintf("did you mean %q?", n)
		}
		missing = append(missing, &Error{File: file, Line: s.at.line, Col: s.at.col, Code: CodeNoFence, Warning: true,
			Msg: fmt.Sprintf("%s: no fence has the %s %q", whose, kind, name), Hint: hint})
	}
	var ids, tags []string // of the set, read when something is missing
	read := func() {
		for i := range set.Len() {
			f := set.At(int32(i))
			ids, tags = append(ids, string(f.ID)), append(tags, f.Tags...)
		}
	}
	for _, id := range s.IDs {
		if _, ok := set.Lookup(id); ok {
			continue
		}
		if ids == nil {
			read()
		}
		warn("id", string(id), ids)
	}
	for _, tag := range s.Tags {
		found := false
		for i := range set.Len() {
			if found = set.At(int32(i)).HasTag(tag); found {
				break
			}
		}
		if found {
			continue
		}
		if ids == nil {
			read()
		}
		warn("tag", tag, tags)
	}
	return missing
}
