package stream

import (
	"errors"
	"strings"
	"time"

	"footfall/internal/db"
	"footfall/stream/wire"
	"footfall/track"
)

// CanaryApp is the app of canary walkers: devices of the operator that cross every fence now and then, so that a gateway which no
// longer sees people come is noticed before the people notice (see `footfall canary`). It is reserved, with every app that
// begins with it and a hyphen.
//
// Their positions take the way of everybody's: the door, the input log, the rules, presence, the ledger's transaction and EVENTS.
// Their transitions are asked about by nobody: no campaign, no journey; and nothing that counts people has them: no
// visit, no report, no funnel, no forecast, no recorded input (see Recording). The decision is kept for explain, for a day.
const CanaryApp = "canary"

// IsCanaryApp reports whether an app is of canary walkers.
func IsCanaryApp(app string) bool {
	rest, ok := strings.CutPrefix(app, CanaryApp)
	return ok && (rest == "" || rest[0] == '-')
}

// isCanary is IsCanaryApp of the device's app.
func isCanary(id track.DeviceID) bool {
	rest, ok := strings.CutPrefix(string(id), CanaryApp)
	return ok && rest != "" && (rest[0] == '.' || rest[0] == '-')
}

// errCanaryWalks refuses whatever would make somebody of a canary walker.
var errCanaryWalks = &wire.PayloadError{
	Code: wire.CodeBadSubject, Reason: "the app " + CanaryApp + " and those that begin with " + CanaryApp + "- are of canary walkers, which send positions alone",
}

// keepCanary is how long the decisions about canary walkers are kept: there are two for each fence and hour.
const keepCanary = 24 * time.Hour

// settleCanary writes what became of a canary walker's position: its transitions as events, and why there were or were none.
func (s *settler) settleCanary(tx *db.Tx, in *input) error {
	for i := range in.transitions {
		tr := &in.transitions[i]
		d := decisionOf(in, tr, tr.Kind.String())
		if err := errors.Join(appendTransition(tx, s.events, &d, in.at), s.putDecisionFor(tx, &d, min(keepCanary, s.keep))); err != nil {
			return err
		}
	}
	for i := range in.notes {
		d := noteDecision(in, &in.notes[i])
		if err := s.putDecisionFor(tx, &d, min(keepCanary, s.keep)); err != nil {
			return err
		}
	}
	return nil
}
