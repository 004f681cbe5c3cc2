package track

import (
	"errors"
	"fmt"
	"time"

	"footfall/fences"
)

// Rules are the thresholds by which fixes become transitions. The zero value
// is not useful; start from DefaultRules. A fence overrides the fields named
// after it: MinStay, MinAway, Dwell, Crossed, Initial, ExitMarginM and MaxAccuracyM.
type Rules struct {
	// Plain switches every rule below off: a device is inside a fence when its
	// position is, every device starts outside, fixes count in the order in
	// which they are applied. It exists to compare with other engines.
	Plain bool

	// FutureTolerance is how far the device's clock may run ahead before the
	// receive time is used instead. Default 2 min.
	FutureTolerance time.Duration
	// FutureLimit is how far ahead a fix time is so wrong that the fix is
	// refused. Default 24 h.
	FutureLimit time.Duration
	// AllowNullIsland accepts the position 0, 0. Default off.
	AllowNullIsland bool
	// AllowMock accepts simulated positions. Default off.
	AllowMock bool

	// MaxAge is the age at arrival beyond which a transition is marked Stale.
	// Default 10 min.
	MaxAge time.Duration
	// PresenceTTL is the silence after which a device's presence is unknown, so
	// that its next fix inside is an enter again, marked Resumed. Default 12 h.
	PresenceTTL time.Duration
	// InferExit closes the visit of a device that comes back from such a
	// silence outside the fence with an exit at the last time it was seen,
	// marked Inferred. Default off: the visit ends without a transition.
	InferExit bool

	// MaxSpeedMPS is the speed, in metres a second, above which a move is not
	// believed until the next fix agrees. It is the slowest speed that explains
	// both fixes within their accuracies, each counted up to ExitAccuracyCapM.
	// Default 90; 0 switches the rule off.
	MaxSpeedMPS float64

	// EnterAccuracyM and EnterAccuracyRatio bound the accuracy of a fix that
	// may enter a fence of size r: max(EnterAccuracyM, EnterAccuracyRatio*r)
	// metres. Defaults 50 and 0.5. An unknown accuracy passes.
	EnterAccuracyM     float64
	EnterAccuracyRatio float64
	// BufferEntries lets a fix enter whose accuracy circle touches the fence
	// although its position is outside (confidence 1). The circle counts up to
	// ExitAccuracyCapM. Default off.
	BufferEntries bool

	// ExitMarginM and ExitMarginRatio are the distance beyond the edge of a
	// fence of size r that counts as clearly outside: max(ExitMarginM,
	// ExitMarginRatio*r) metres. Defaults 20 and 0.1.
	ExitMarginM     float64
	ExitMarginRatio float64
	// ExitAccuracyCapM is how much of a fix's accuracy is added to that margin.
	// Default 150.
	ExitAccuracyCapM float64
	// ExitBlindM is the accuracy beyond which a fix exits only when its whole
	// accuracy circle is outside: a position known to 17 km says nothing about a
	// shop 5 km away, cap or no cap. Default 500; 0 switches the rule off. Eight
	// phones that lay still for days, with fences about them, made 346 false
	// transitions without it, 237 at 1,000 and 53 at 500 and below (1,388 by
	// plain rules): most were cell-tower fixes of 600 to 1,000 m.
	ExitBlindM float64

	// MinStay is how long a device must stay before its enter is believed.
	// Default 0: at once.
	MinStay time.Duration
	// MinAway is how long a device must stay clearly outside before its exit is
	// believed: the first such fix waits for a second one, that much later at
	// least and with none inside between them. Default 0: at once.
	MinAway time.Duration
	// Dwell is the stay after which a dwell transition is made. Default 0: none.
	Dwell time.Duration
	// Crossed makes a transition for a fence passed between two fixes that both
	// lie outside. Default off.
	Crossed bool
	// CrossedMaxGap is the longest time between those two fixes. Default 2 min.
	CrossedMaxGap time.Duration
	// Initial says whether a device first seen inside a fence enters it.
	// Default on; when off it is inside without a transition.
	Initial bool
}

// DefaultRules returns the rules a deployment has unless it says otherwise.
func DefaultRules() Rules {
	return Rules{
		FutureTolerance:    2 * time.Minute,
		FutureLimit:        24 * time.Hour,
		MaxAge:             10 * time.Minute,
		PresenceTTL:        12 * time.Hour,
		MaxSpeedMPS:        90,
		EnterAccuracyM:     50,
		EnterAccuracyRatio: 0.5,
		ExitMarginM:        20,
		ExitMarginRatio:    0.1,
		ExitAccuracyCapM:   150,
		ExitBlindM:         500,
		CrossedMaxGap:      2 * time.Minute,
		Initial:            true,
	}
}

// PlainRules returns the rules for comparing with other engines; see
// Rules.Plain.
func PlainRules() Rules { return Rules{Plain: true, Initial: true} }

// Validate reports every field that makes no sense, joined.
func (r *Rules) Validate() error {
	var errs []error
	nonNegative := func(name string, ok bool) {
		if !ok {
			errs = append(errs, fmt.Errorf("track: rules: %s must be finite and not negative", name))
		}
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"future_tolerance", r.FutureTolerance}, {"future_limit", r.FutureLimit}, {"max_age", r.MaxAge},
		{"presence_ttl", r.PresenceTTL}, {"min_stay", r.MinStay}, {"min_away", r.MinAway}, {"dwell", r.Dwell}, {"crossed_max_gap", r.CrossedMaxGap},
	} {
		nonNegative(d.name, d.d >= 0)
	}
	for _, m := range []struct {
		name string
		v    float64
	}{
		{"max_speed", r.MaxSpeedMPS}, {"enter_accuracy", r.EnterAccuracyM}, {"enter_accuracy_ratio", r.EnterAccuracyRatio},
		{"exit_margin", r.ExitMarginM}, {"exit_margin_ratio", r.ExitMarginRatio},
		{"exit_accuracy_cap", r.ExitAccuracyCapM}, {"exit_blind", r.ExitBlindM},
	} {
		nonNegative(m.name, m.v >= 0 && finite(m.v))
	}
	if !r.Plain {
		if r.FutureLimit < r.FutureTolerance {
			errs = append(errs, errors.New("track: rules: future_limit must not be less than future_tolerance"))
		}
		if r.PresenceTTL == 0 {
			errs = append(errs, errors.New("track: rules: presence_ttl must be positive"))
		}
	}
	return errors.Join(errs...)
}

// maxAccuracyM is the worst accuracy with which f may be entered.
func (r *Rules) maxAccuracyM(f *fences.Fence) float64 {
	if f.MaxAccuracyM > 0 {
		return f.MaxAccuracyM
	}
	return max(r.EnterAccuracyM, r.EnterAccuracyRatio*f.Shape.SizeM())
}

// exitMarginM is the distance from f's edge that is clearly outside for a fix
// of perfect accuracy.
func (r *Rules) exitMarginM(f *fences.Fence) float64 {
	if f.ExitMarginM > 0 {
		return f.ExitMarginM
	}
	return max(r.ExitMarginM, r.ExitMarginRatio*f.Shape.SizeM())
}

// exits reports whether a fix edgeM metres outside f's edge, known to
// accuracyM, has clearly left f.
func (r *Rules) exits(f *fences.Fence, edgeM, accuracyM float64) bool {
	if edgeM <= r.exitMarginM(f)+min(accuracyM, r.ExitAccuracyCapM) {
		return false
	}
	return !r.blind(edgeM, accuracyM)
}

// blind reports whether a fix is too vague to say that a device has left.
func (r *Rules) blind(edgeM, accuracyM float64) bool {
	return r.ExitBlindM > 0 && accuracyM > r.ExitBlindM && edgeM <= accuracyM
}

func (r *Rules) minStayMS(f *fences.Fence) int64 { return r.lengthMS(f.MinStay, r.MinStay) }
func (r *Rules) minAwayMS(f *fences.Fence) int64 { return r.lengthMS(f.MinAway, r.MinAway) }
func (r *Rules) dwellMS(f *fences.Fence) int64   { return r.lengthMS(f.Dwell, r.Dwell) }

// lengthMS is what a fence says of a length of time, or, when it says nothing, the rule.
func (r *Rules) lengthMS(own, rule time.Duration) int64 {
	switch {
	case r.Plain:
		return 0
	case own > 0:
		return own.Milliseconds()
	}
	return rule.Milliseconds()
}

func (r *Rules) crossed(f *fences.Fence) bool { return !r.Plain && (f.Crossed || r.Crossed) }

func (r *Rules) initial(f *fences.Fence) bool {
	if f.Initial != nil {
		return *f.Initial
	}
	return r.Initial
}
