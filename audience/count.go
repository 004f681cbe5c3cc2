package audience

import (
	"context"
	"fmt"
	"time"

	"footfall/internal/db"
)

// Count says how many fit a rule at one time.
type Count struct {
	Devices   int      `json:"devices"`   // that have registered
	Fitting   int      `json:"fitting"`   // of these, the ones that fit
	Reachable int      `json:"reachable"` // of these, the ones that a push may go to
	People    int      `json:"people"`    // of the fitting: persons, and devices that name none
	Failed    int      `json:"failed"`    // for which the rule could not be evaluated
	Problem   string   `json:"problem,omitempty"`
	Sample    []string `json:"sample,omitempty"` // the first fitting devices, in order of id
}

// CountRule asks the rule about every profile, and lists up to sample of those
// who fit. Its cost is one read of all profiles and, for a rule that looks at
// events or visits, of their history; memory grows with the number of persons
// who fit. It ends with ctx's error when that ends before.
func CountRule(ctx context.Context, tx *db.Tx, r *Rule, now time.Time, sample int) (Count, error) {
	var c Count
	people := map[string]struct{}{}
	err := tx.Scan(profileSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
		if c.Devices%1024 == 0 && ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		parts, ok := profileSpace.Split(key)
		if !ok || len(parts) != 1 {
			return false, fmt.Errorf("damaged key % x", key)
		}
		p, err := decode(string(parts[0]), val)
		if err != nil {
			return false, err
		}
		c.Devices++
		person := Person{Profile: &p}
		if r.NeedsEvents() {
			if person.Events, err = EventsOf(tx, &p); err != nil {
				return false, err
			}
		}
		if r.NeedsVisits() {
			if person.Visits, err = VisitsOf(tx, &p); err != nil {
				return false, err
			}
		}
		fits, problem := r.Match(person, now.UnixMilli())
		if problem != "" {
			c.Failed++
			c.Problem = problem
		}
		if !fits {
			return true, nil
		}
		c.Fitting++
		if p.MayPush() && p.Reachable() {
			c.Reachable++
		}
		if p.Person == "" {
			c.People++
		} else if _, seen := people[p.Person]; !seen {
			people[p.Person] = struct{}{}
			c.People++
		}
		if len(c.Sample) < sample {
			c.Sample = append(c.Sample, p.Device)
		}
		return true, nil
	})
	if err != nil {
		return c, fmt.Errorf("audience: count: %w", err)
	}
	return c, nil
}
