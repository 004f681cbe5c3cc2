// Package campaign says who gets which push, where and when: the model, its
// YAML form, schedule windows, templates, and [Campaign.Decide], the one pure
// function that both the hot path and explain use. It reads no clock and no
// disk except in [Load].
package campaign

import (
	"time"

	"footfall/dedupe"
	"footfall/fences"
	"footfall/track"
)

// A Campaign is one loaded, valid campaign. It is immutable after [Parse] and
// safe for concurrent use.
type Campaign struct {
	ID      string
	Name    string
	Enabled bool
	Paused  bool
	Zone    string // IANA; the zone of "day: campaign"; "" when not set
	Trigger Trigger
	Window  Window
	Once    dedupe.Period
	Scope   Scope
	MaxAge  time.Duration
	Push    PushStep
	File    string
	Line    int
	Col     int
}

// Scope says across what a claim counts.
type Scope string

const (
	ScopeCampaign Scope = "campaign" // one claim for the whole campaign (default)
	ScopeFence    Scope = "fence"    // one claim per fence
)

// Trigger selects transitions.
type Trigger struct {
	Kind          track.Kind
	Fences        Selector
	Initial       *bool // nil: the fence's own setting, else true
	Edits         bool
	Crossed       bool
	MinConfidence uint8
}

// Selector names fences.
type Selector struct {
	All  bool
	IDs  []fences.ID
	Tags []string
}

// PushStep is the push that a campaign sends.
type PushStep struct {
	Template string // "" for an inline template
	TTL      time.Duration
}

// Parse reads every campaign of a YAML file.
func Parse(file string, data []byte) ([]*Campaign, error) { return nil, nil }

// Load reads a file or every *.yaml and *.yml of a folder.
func Load(path string) ([]*Campaign, error) { return nil, nil }

// Revision is a hash of the content.
func (c *Campaign) Revision() string { return "" }

// Window is when a campaign may send.
type Window struct{}
