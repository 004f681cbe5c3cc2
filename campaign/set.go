package campaign

import "footfall/track"

// Set is an immutable set of campaigns, indexed by what triggers them.
type Set struct{ all []*Campaign }

// NewSet builds a set.
func NewSet(cs []*Campaign) (*Set, error) { return &Set{all: cs}, nil }

// Len is the number of campaigns.
func (s *Set) Len() int { return len(s.all) }

// Find returns the campaign with the id; false when there is none.
func (s *Set) Find(id string) (*Campaign, bool) { return nil, false }

// For appends the campaigns whose trigger selects tr, in order of id.
func (s *Set) For(dst []*Campaign, tr *track.Transition) []*Campaign { return dst }
