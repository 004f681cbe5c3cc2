package stream

import (
	"cmp"
	"encoding/json"
	"errors"
	"time"

	"footfall/audience"
	"footfall/fences"
	"footfall/internal/db"
	"footfall/journey"
	"footfall/receipt"
	"footfall/stream/wire"
	"footfall/track"
)

// What devices report of themselves and their owners, registrations and customer events, is settled in the order in
// which the log has it among their pings.

// settleDevice merges a registration into the profile. The collector has checked the payload; what still fails
// here (a limit of the merged profile) is counted and changes nothing but consent, which the worker has acted on.
func (s *settler) settleDevice(tx *db.Tx, in *input, t *tally) error {
	p, err := profileOf(tx, in.device)
	if err != nil {
		return err
	}
	before := p
	made, err := audience.Update(tx, &p, in.payload, in.receivedAt)
	if errors.Is(err, audience.ErrPatch) {
		t.refused["device_profile"]++
		if in.consent == audience.ConsentUnsaid {
			return nil
		}
		made, err = p.ApplyConsent(in.payload, in.receivedAt)
	}
	if err != nil {
		return err
	}
	if err := noteSubscription(tx, &before, &p, in.receivedAt, s.reports); err != nil {
		return err
	}
	if made.Changed {
		if err := s.changing(tx, &before, journey.ChangedProfile, ""); err != nil {
			return err
		}
	}
	if err := s.settleConsent(tx, in, &before, t); err != nil {
		return err
	}
	if err := s.memberSignedIn(tx, &before, &p); err != nil {
		return err
	}
	if err := s.journeySignedIn(tx, &before, &p, t); err != nil {
		return err
	}
	return audience.Put(tx, &p)
}

// settleEvent publishes a customer event on EVENTS as it came, with who sent it, and credits the message whose code it
// names.
func (s *settler) settleEvent(tx *db.Tx, in *input, t *tally) error {
	app, device, _ := wire.SplitDevice(in.device)
	var ev struct {
		Name, ID string
		T        float64
		Props    map[string]json.RawMessage
	}
	if err := json.Unmarshal(in.payload, &ev); err != nil {
		return nil // checked by the collector; a foreign writer of the log is not worth stopping for
	}
	// A repeat has no effect: it is known by the sender's id, or without one by being the same to the letter.
	id := eventID(in.device, ev.Name, cmp.Or(ev.ID, string(in.payload)))
	seen := seenSpace.Key([]byte(id))
	if _, err := tx.Get(seen); !errors.Is(err, db.ErrNotFound) {
		return err
	}
	if err := tx.SetUntil(seen, nil, tx.Now().Add(seenFor)); err != nil {
		return err
	}
	err := s.events.append(tx, id, wire.TransitionSubject(app, "event", ev.Name), map[string]any{
		"id": id, "app": app, "device": device, "received_at": in.receivedAt, "event": json.RawMessage(in.payload),
	})
	if err != nil {
		return err
	}
	if ev.Name == appOpened {
		tx.AfterCommit(func() { s.here(string(in.device)) }) // not heard: it is asked in some minutes
		if err := readUpTo(tx, string(in.device), min(cmp.Or(int64(ev.T), in.receivedAt), in.receivedAt)); err != nil {
			return err
		}
	}
	if err := s.eventChanges(tx, in.device, ev.Name); err != nil {
		return err
	}
	if err := s.keepEvent(tx, in, id, ev.Name, int64(ev.T), ev.Props); err != nil {
		return err
	}
	if err := s.journeyEvent(tx, in, id, ev.Name, min(cmp.Or(int64(ev.T), in.receivedAt), in.receivedAt), ev.Props, t); err != nil {
		return err
	}
	fact := receipt.Fact{
		Ev: receipt.Converted, Ref: cmp.Or(ev.ID, id), At: int64(ev.T), Value: numberOf(ev.Props["value"]), Currency: textOf(ev.Props["currency"]), Via: "code",
	}
	if redeems(ev.Name) {
		if done, err := s.redeem(tx, in, ev.Name, fact, textOf(ev.Props["code"]), t); done || err != nil {
			return err
		}
	}
	return s.creditCode(tx, app, in, fact, textOf(ev.Props["code"]), t)
}

// eventChanges is [settler.changing] for a customer event that is about to be kept.
func (s *settler) eventChanges(tx *db.Tx, device track.DeviceID, name string) error {
	if len(s.journeys().watches) == 0 {
		return nil
	}
	p, err := profileOf(tx, device)
	if err != nil {
		return err
	}
	return s.changing(tx, &p, journey.ChangedEvents, name)
}

// eventID names a customer event by who sent it and the sender's own id of it.
func eventID(device track.DeviceID, name, own string) string {
	return decisionID(device, "event."+name, fences.ID(own), 0)
}

// seenFor is how long an event is known again: longer than an SDK keeps what it could not send.
const seenFor = 8 * 24 * time.Hour

func profileOf(tx *db.Tx, id track.DeviceID) (audience.Profile, error) {
	p, ok, err := audience.Get(tx, string(id))
	if err == nil && !ok {
		p = audience.Profile{Device: string(id)}
	}
	return p, err
}

// keepEvent remembers what a person did, for audiences. A time ahead of the gateway's is taken for now.
func (s *settler) keepEvent(tx *db.Tx, in *input, id, name string, at int64, props map[string]json.RawMessage) error {
	var body []byte
	if len(props) > 0 {
		var err error
		if body, err = json.Marshal(props); err != nil {
			return err
		}
	}
	return audience.PutEvent(tx, string(in.device), id, name, min(cmp.Or(at, in.receivedAt), in.receivedAt), body, s.keepEvents)
}
