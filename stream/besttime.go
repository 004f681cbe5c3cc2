package stream

import (
	"errors"
	"time"

	"footfall/audience"
	"footfall/besttime"
	"footfall/campaign"
	"footfall/internal/db"
	"footfall/outbox"
	"footfall/receipt"
	"footfall/track"
)

// learnHour counts an open for the best time to send, in the transaction that stores its receipt.
func (s *settler) learnHour(tx *db.Tx, d *outbox.Delivery, in *input, f *receipt.Fact) error {
	p, known, err := audience.Get(tx, string(in.device))
	if err != nil || !known {
		return err
	}
	loc, _ := campaign.Zone(p.Zone) // nil: the phone names none
	return besttime.Learn(tx, p.Subject(), d.Campaign, appOf(in.device), time.UnixMilli(f.At), loc)
}

// bestOn picks the time of an announcement's occurrence for one person. Once its window is over that is its begin, and the
// campaign says that it is too late.
func (s *settler) bestOn(tx *db.Tx, c *campaign.Campaign, date string, p *audience.Profile) (at time.Time, check campaign.Check, err error) {
	from, to, otherwise, loc, _ := c.Trigger.Schedule.Span(date, p.Zone)
	now := tx.Now()
	if !now.Before(to) {
		return from, campaign.Check{Rule: "best_time", Detail: "the last hour that it may be is over"}, nil
	}
	if from.Before(now) {
		from = now
	}
	choice, err := pickTime(tx, c.ID, p, from, to, otherwise, loc)
	return choice.At, campaign.Check{Rule: "best_time", OK: true, Detail: choice.At.In(loc).Format("15:04") + ": " + choice.Why}, err
}

// bestNext picks the time at which the wait of a journey ends.
func (s *settler) bestNext(tx *db.Tx, sched *campaign.Schedule, journey string, p *audience.Profile) (time.Time, string) {
	from, to, otherwise, loc := sched.NextSpan(tx.Now(), p.Zone)
	choice, err := pickTime(tx, journey, p, from, to, otherwise, loc)
	if err != nil {
		s.log.Error("the hours of opens cannot be read", "journey", journey, "err", err)
		return from, "the hours of opens cannot be read"
	}
	return choice.At, choice.At.In(loc).Format("2006-01-02 15:04 MST") + ": " + choice.Why
}

func pickTime(tx *db.Tx, id string, p *audience.Profile, from, to, otherwise time.Time, loc *time.Location) (besttime.Choice, error) {
	var l besttime.Learned
	var err, err2, err3 error
	l.Person, err = besttime.Load(tx, besttime.Person, p.Subject())
	l.Campaign, err2 = besttime.Load(tx, besttime.Campaign, id)
	l.App, err3 = besttime.Load(tx, besttime.App, appOf(track.DeviceID(p.Device)))
	if err := errors.Join(err, err2, err3); err != nil {
		return besttime.Choice{}, err
	}
	return l.Pick(from, to, otherwise, loc, p.Subject(), id, tx.Now()), nil
}

// OpenHours is when somebody opens pushes, as export shows it. Times are Unix ms.
type OpenHours struct {
	Subject string `json:"subject"`
	At      int64  `json:"at"`   // of the last open
	Zone    string `json:"zone"` // local: the phone's wall clock; else UTC
	// Opens by hour of the day; what is older counts less.
	Opens [24]float64 `json:"opens"`
}

// openHours lists what is kept under the target's names.
func (t *target) openHours(tx *db.Tx) (out []OpenHours, err error) {
	for subject := range t.subjects {
		h, err := besttime.Load(tx, besttime.Person, subject)
		if err != nil {
			return nil, err
		}
		if h.At.IsZero() {
			continue
		}
		v := OpenHours{Subject: subject, At: h.At.UnixMilli(), Zone: "UTC", Opens: h.N}
		if h.Local {
			v.Zone = "local"
		}
		out = append(out, v)
	}
	return out, nil
}
