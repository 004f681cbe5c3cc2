package outbox

import (
	"slices"
	"strings"
	"time"
)

// AlarmKind says what kind of help a lane needs. docs/operations.md explains
// each.
type AlarmKind string

const (
	// AlarmCredentials: the provider refuses ours; the lane is paused and
	// probes.
	AlarmCredentials AlarmKind = "credentials"
	// AlarmConfiguration: the provider says that what we ask for is set up
	// wrongly (topic, project). The lane goes on.
	AlarmConfiguration AlarmKind = "configuration"
	// AlarmProvider: the breaker is open; the provider or the way to it fails.
	AlarmProvider AlarmKind = "provider"
	// AlarmTokens: so many tokens are called dead that it is not believed; none
	// is deleted.
	AlarmTokens AlarmKind = "tokens"
	// AlarmForeign: more than one token in a hundred belongs to another sender.
	AlarmForeign AlarmKind = "foreign_tokens"
	// AlarmText: the provider refuses what a campaign says; its deliveries are
	// suppressed.
	AlarmText AlarmKind = "text"
	// AlarmCalls: a system that journeys call refuses one call after the other;
	// the lane is paused and probes.
	AlarmCalls AlarmKind = "calls"
	// AlarmUnknown: the provider answers in a way that it does not document; what
	// follows is judged by the status alone.
	AlarmUnknown AlarmKind = "unknown_answers"
)

// AlarmKinds lists every kind, for metrics. The slice is fresh.
func AlarmKinds() []AlarmKind {
	return []AlarmKind{AlarmCredentials, AlarmConfiguration, AlarmProvider, AlarmTokens, AlarmForeign, AlarmText, AlarmCalls, AlarmUnknown}
}

// Alarm is something that an operator should look at.
type Alarm struct {
	Lane  string    `json:"lane"`
	Kind  AlarmKind `json:"kind"`
	Text  string    `json:"text"`
	Since time.Time `json:"since"`
}

// alarms are those of one lane, guarded by lane.mu.
type alarms map[AlarmKind]Alarm

// raise reports whether the alarm is new.
func (a alarms) raise(lane string, kind AlarmKind, text string, now time.Time) bool {
	old, was := a[kind]
	since := now
	if was {
		since = old.Since
	}
	a[kind] = Alarm{lane, kind, text, since}
	return !was
}

// end reports whether there was such an alarm.
func (a alarms) end(kind AlarmKind) bool {
	_, was := a[kind]
	delete(a, kind)
	return was
}

func (a alarms) list() (out []Alarm) {
	for _, alarm := range a {
		out = append(out, alarm)
	}
	slices.SortFunc(out, func(x, y Alarm) int { return strings.Compare(string(x.Kind), string(y.Kind)) })
	return out
}
