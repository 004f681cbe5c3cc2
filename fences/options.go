package fences

import (
	"cmp"
	"time"
)

// IDKeyIndex as Options.IDKey makes the feature's position in its file, counted
// from 0, the id of a feature that has none.
const IDKeyIndex = "@index"

// Defaults of the limits in Options.
const (
	// DefaultMinRadiusM: below it the accuracy of the best fixes is worse than the circle.
	DefaultMinRadiusM = 10
	// DefaultMaxRadiusM: above it a circle is no longer a place.
	DefaultMaxRadiusM = 100_000
	// DefaultMaxAreaKM2 admits the largest real area, Russia with 17.1 million
	// km², and refuses a fence around a hemisphere or the world.
	DefaultMaxAreaKM2 = 20_000_000
	// DefaultMaxVertices per fence admits the most detailed real outline we
	// know, Canada at 1:10 million with 68,099, and refuses a runaway export.
	DefaultMaxVertices = 80_000
	// DefaultMaxFeatures per load, ten times the largest set we test with.
	DefaultMaxFeatures = 1_000_000
	// DefaultMaxBytes of one document after decompression.
	DefaultMaxBytes = 256 << 20
	// DefaultMaxFindings listed of one load; the rest is counted.
	DefaultMaxFindings = 1_000
	// DefaultMaxOverlaps is how many W03 findings are listed of one load.
	DefaultMaxOverlaps = 100
)

// Options say how a document is read. The zero value is usable: every field's
// zero means the default named beside it.
type Options struct {
	// DefaultRadiusM is the radius in metres of a Point without one. 0: such a
	// Point is finding E08.
	DefaultRadiusM float64
	// IDKey names the property that identifies a feature without an id of its
	// own, or is IDKeyIndex. "": such a feature is finding E03.
	IDKey string
	// SkipInvalid leaves out the fences that have an error and keeps the
	// others: the finding becomes a warning with Skipped set. Errors that
	// concern the document as a whole (syntax, not GeoJSON) remain errors.
	SkipInvalid bool
	// OGC judges areas as the OGC Simple Features rule does: a ring that
	// touches itself (W10) is then an error. With SkipInvalid such a fence is
	// left out. Replaying against an oracle built on GEOS needs both.
	OGC bool
	// DefaultZone is the IANA time zone of a fence without a zone. "": UTC.
	DefaultZone string

	MinRadiusM  float64 // DefaultMinRadiusM
	MaxRadiusM  float64 // DefaultMaxRadiusM
	MaxAreaKM2  float64 // DefaultMaxAreaKM2
	MaxVertices int     // DefaultMaxVertices, per fence
	MaxFeatures int     // DefaultMaxFeatures, per load
	MaxBytes    int64   // DefaultMaxBytes, per document, decompressed
	MaxFindings int     // DefaultMaxFindings; errors are listed before warnings before notes
	MaxOverlaps int     // DefaultMaxOverlaps; negative: overlaps are not looked for

	// Poll is how often Watch looks at the files itself, for file systems that
	// send no events (network mounts). 0: 5 s; negative: never.
	Poll time.Duration
	// Debounce is how long Watch waits for writing to end. 0: 100 ms.
	Debounce time.Duration
}

func (o Options) withDefaults() Options {
	o.MinRadiusM = cmp.Or(o.MinRadiusM, DefaultMinRadiusM)
	o.MaxRadiusM = cmp.Or(o.MaxRadiusM, DefaultMaxRadiusM)
	o.MaxAreaKM2 = cmp.Or(o.MaxAreaKM2, DefaultMaxAreaKM2)
	o.MaxVertices = cmp.Or(o.MaxVertices, DefaultMaxVertices)
	o.MaxFeatures = cmp.Or(o.MaxFeatures, DefaultMaxFeatures)
	o.MaxBytes = cmp.Or(o.MaxBytes, DefaultMaxBytes)
	if o.MaxFindings <= 0 {
		o.MaxFindings = DefaultMaxFindings
	}
	o.MaxOverlaps = cmp.Or(o.MaxOverlaps, DefaultMaxOverlaps)
	o.DefaultZone = cmp.Or(o.DefaultZone, "UTC")
	o.Poll = cmp.Or(o.Poll, 5*time.Second)
	o.Debounce = cmp.Or(o.Debounce, 100*time.Millisecond)
	return o
}
