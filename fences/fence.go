package fences

import (
	"encoding/json"
	"slices"
	"time"

	"footfall/geo"
)

// ID names a fence. It is the feature's id in GeoJSON, between 1 and MaxIDLen
// bytes of UTF-8 without control characters, and unique within a Set. Presence,
// claims and campaigns refer to a fence by its ID, so an edit that keeps the ID
// keeps them.
type ID string

// StoreID names a shop of the retailer. Several fences may belong to one store.
type StoreID string

// MaxIDLen is the longest ID accepted, in bytes.
const MaxIDLen = 256

// Fence is a named area with the rules of its own that a document gave it.
// A Fence is not changed once it is part of a Set.
type Fence struct {
	ID    ID
	Name  string // for people; empty when the document gives none
	Store StoreID

	// Zone is the IANA name of the store's time zone, and Location the same
	// loaded. Parse fills both: with Options.DefaultZone, else UTC, when the
	// document gives none. Location is never nil after Parse.
	Zone     string
	Location *time.Location

	Tags     []string // sorted, distinct
	Priority int      // among overlapping fences the highest wins; 0 when not given

	// MinStay is how long a device must stay before its enter counts; 0 is at once.
	MinStay time.Duration
	// MinAway is how long a device must be clearly outside before its exit
	// counts; 0 is at once.
	MinAway time.Duration
	// Dwell is the loitering delay of the dwell transition; 0 means none.
	Dwell time.Duration
	// Crossed asks for a crossed transition when a device passes between two fixes.
	Crossed bool
	// Initial says whether a first fix inside counts as an enter; nil is the
	// deployment's default.
	Initial *bool

	// ExitMarginM and MaxAccuracyM override the deployment's rules, in metres;
	// 0 keeps the default rule.
	ExitMarginM  float64
	MaxAccuracyM float64

	// Shape is the area, boundary included.
	Shape geo.Shape

	// Properties is the feature's "properties" object byte for byte as it was
	// written, or nil when it was null or missing. It must not be modified.
	Properties json.RawMessage

	// File, Line and Col say where the feature starts in its document, counted
	// from 1; Col counts Unicode code points. Line is 0 for a fence that was
	// not parsed.
	File      string
	Line, Col int

	// Handle, CreatedGen and ShapeGen are set by NewSet from its Catalogue: the
	// number that stands for the ID in compact state, and the generations in
	// which the fence came to be and in which its geometry last changed.
	Handle     uint32
	CreatedGen uint32
	ShapeGen   uint32
}

// HasTag reports whether the fence carries the tag, compared exactly.
func (f *Fence) HasTag(tag string) bool {
	_, ok := slices.BinarySearch(f.Tags, tag)
	return ok
}
