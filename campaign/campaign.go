package campaign

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

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
	Once    dedupe.Period
	Scope   Scope
	MaxAge  time.Duration // of a fix on arrival
	Push    PushStep

	File      string // where it was read, for messages
	Line, Col int

	zone     *time.Location // of "day: campaign"; nil otherwise
	revision string
}

// Scope says across what one claim counts.
type Scope string

// The scopes.
const (
	ScopeCampaign Scope = "campaign" // all fences of the campaign together (default)
	ScopeFence    Scope = "fence"    // each fence by itself
)

// Trigger selects transitions.
type Trigger struct {
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
}

// Selector names fences: all of them, or those with one of the ids or one of
// the tags. Tags are compared exactly.
type Selector struct {
	All  bool
	IDs  []fences.ID
	Tags []string
}

// PushStep is the push of a campaign.
type PushStep struct {
	Template *Template
	// TTL is how long the push is worth showing, counted from the fix that
	// settled the transition.
	TTL time.Duration
}

// selects reports whether the trigger is for this transition.
func (t *Trigger) selects(tr *track.Transition) bool {
	if tr.Kind != t.Kind && !(t.Crossed && tr.Kind == track.Crossed) {
		return false
	}
	s := &t.Fences
	if s.All || slices.Contains(s.IDs, tr.FenceID) {
		return true
	}
	if tr.Fence == nil { // deleted: its tags are gone with it
		return false
	}
	return slices.ContainsFunc(s.Tags, tr.Fence.HasTag)
}

// Revision is a hash of everything that decides or renders: equal campaigns
// have equal revisions, on every machine, wherever in a file they stand. 16
// hexadecimal digits.
func (c *Campaign) Revision() string { return c.revision }

// seal computes the revision. The JSON of the exported model is its canonical
// form: struct fields in order, maps sorted.
func (c *Campaign) seal() {
	view := *c
	view.File, view.Line, view.Col = "", 0, 0
	body, err := json.Marshal(view)
	if err != nil {
		panic("campaign: model does not marshal: " + err.Error()) // a field of a kind that JSON cannot hold
	}
	sum := sha256.Sum256(body)
	c.revision = hex.EncodeToString(sum[:8])
}

// Unmatched lists the ids and tags of the selector that no fence of the set
// has, for a check that tells a typo from a choice: "tag kyiw", "id k99".
func (c *Campaign) Unmatched(set *fences.Set) []string {
	var missing []string
	for _, id := range c.Trigger.Fences.IDs {
		if _, ok := set.Lookup(id); !ok {
			missing = append(missing, "id "+string(id))
		}
	}
	for _, tag := range c.Trigger.Fences.Tags {
		found := false
		for i := range set.Len() {
			if found = set.At(int32(i)).HasTag(tag); found {
				break
			}
		}
		if !found {
			missing = append(missing, "tag "+tag)
		}
	}
	return missing
}
