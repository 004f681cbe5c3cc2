package track

import (
	"fmt"
	"math"
)

// DeviceID names a device: its app, a dot and its own name, as in
// "shop.4f2a". Both parts are 1 to 64 characters of [A-Za-z0-9_-] on the wire;
// a Tracker takes any of 1 to MaxDeviceIDLen bytes and never confuses two.
type DeviceID string

// Source says what made the device send a fix.
type Source uint8

// The sources a fix can have. The three OS sources are transitions that the
// phone's operating system detected by itself; they name the fence.
const (
	SourceStream      Source = iota // continuous tracking
	SourceForeground                // the app is open
	SourceSignificant               // the OS woke the app after a significant move
	SourceOSEnter                   // the OS reports entering Fix.Fence
	SourceOSExit                    // the OS reports leaving Fix.Fence
	SourceOSDwell                   // the OS reports loitering in Fix.Fence
)

var sourceNames = [...]string{"stream", "foreground", "significant", "os_enter", "os_exit", "os_dwell"}

// String returns the wire name, such as "os_enter".
func (s Source) String() string {
	if int(s) < len(sourceNames) {
		return sourceNames[s]
	}
	return fmt.Sprintf("source(%d)", uint8(s))
}

// ParseSource reads a wire name. The empty string is SourceStream.
func ParseSource(name string) (Source, error) {
	if name == "" {
		return SourceStream, nil
	}
	for i, n := range sourceNames {
		if n == name {
			return Source(i), nil
		}
	}
	return 0, fmt.Errorf("track: unknown source %q", name)
}

// OS reports whether the source is a transition detected by the phone.
func (s Source) OS() bool { return s >= SourceOSEnter && s <= SourceOSDwell }

// Fix is one measured position, or one transition the device reports itself.
//
// Times are Unix milliseconds. Coordinates are degrees WGS84. AccuracyM is the
// radius in metres within which the device believes to be (68 % on both phone
// platforms); 0 means unknown. SpeedMPS is metres a second, negative when
// unknown; it is carried along and takes part in no rule.
type Fix struct {
	FixedAt     int64 // when the device measured it
	ReceivedAt  int64 // when the gateway accepted it
	Lat, Lng    float64
	HasPosition bool // false only for the OS sources, which then name a fence
	AccuracyM   float32
	SpeedMPS    float32
	Source      Source
	Fence       string // the fence an OS source names; "" otherwise
	Skewed      bool   // FixedAt was in the future and was replaced by ReceivedAt
	Mock        bool   // the OS says that the position was simulated
}

// Refusal says why a fix was not even looked at. The empty Refusal means that
// nothing is wrong. The set is closed, so it can label a metric.
type Refusal string

// The reasons for which CheckFix refuses a fix.
const (
	RefusalMalformed        Refusal = "malformed"         // no position and no fence, not a number, unknown source, no receive time
	RefusalOutOfRange       Refusal = "out_of_range"      // |lat| > 90 or |lng| > 180
	RefusalNullIsland       Refusal = "null_island"       // exactly 0, 0: a broken receiver
	RefusalMock             Refusal = "mock"              // simulated position
	RefusalNegativeAccuracy Refusal = "negative_accuracy" // how iOS marks an invalid position
	RefusalFuture           Refusal = "future"            // measured more than FutureLimit after it was received
	RefusalAncient          Refusal = "ancient"           // measured before the year 2000: an unset clock
)

// ancientBefore is 2000-01-01T00:00:00Z in Unix milliseconds. No phone that
// can run an app was made before; a clock that says so was never set.
const ancientBefore = 946_684_800_000

// CheckFix decides from the fix alone whether it can be used, and corrects a
// small error of the device's clock: a FixedAt more than FutureTolerance ahead
// of ReceivedAt is replaced by ReceivedAt and f.Skewed is set. Running it twice
// gives the same fix. It returns "" when f is fine and leaves f alone when not.
//
// With r.Plain only unusable coordinates are refused. It allocates nothing.
func CheckFix(f *Fix, r *Rules) Refusal {
	switch {
	case f.Source > SourceOSDwell:
		return RefusalMalformed
	case !f.HasPosition:
		if !f.Source.OS() || f.Fence == "" {
			return RefusalMalformed
		}
	default:
		// Written so that NaN fails: every comparison with NaN is false.
		if !finite(f.Lat) || !finite(f.Lng) {
			return RefusalMalformed
		}
		if !(math.Abs(f.Lat) <= 90 && math.Abs(f.Lng) <= 180) {
			return RefusalOutOfRange
		}
	}
	if acc := float64(f.AccuracyM); acc < 0 && !r.Plain {
		return RefusalNegativeAccuracy
	} else if !finite(acc) || !finite(float64(f.SpeedMPS)) {
		return RefusalMalformed
	}
	if r.Plain {
		return ""
	}
	if f.HasPosition && f.Lat == 0 && f.Lng == 0 && !r.AllowNullIsland {
		return RefusalNullIsland
	}
	if f.Mock && !r.AllowMock {
		return RefusalMock
	}
	if f.ReceivedAt < ancientBefore {
		return RefusalMalformed // a caller that forgot to say when it received the fix
	}
	if f.FixedAt < ancientBefore {
		return RefusalAncient
	}
	switch ahead := f.FixedAt - f.ReceivedAt; {
	case ahead > r.FutureLimit.Milliseconds():
		return RefusalFuture
	case ahead > r.FutureTolerance.Milliseconds():
		f.FixedAt = f.ReceivedAt
		f.Skewed = true
	}
	return ""
}

// finite: a difference of infinities, or with NaN, is NaN. Half the instructions of asking for each.
func finite(x float64) bool { return x-x == 0 }
