package audience

import (
	"context"
	"fmt"
	"strings"
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
	err := scanProfiles(ctx, tx, nil, func(p *Profile) (bool, error) {
		c.Devices++
		person, err := personOf(tx, p, r)
		if err != nil {
			return false, err
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
			people[strings.Clone(p.Person)] = struct{}{} // not the whole row with it
			c.People++
		}
		if len(c.Sample) < sample {
			c.Sample = append(c.Sample, p.Device)
		}
		return true, nil
	})
	return c, err
}

// A Page is a part of a sweep over all profiles, in order of device.
type Page struct {
	Devices []string // those who fit
	Last    string   // where the next page goes on
	Looked  int
	End     bool // there are no more
}

// Sweep reads the profiles behind the device after ("": from the first) until it has fit of them that fit the rule
// (nil: all), or has looked at so many as look says. Of a person's devices that fit in one app and could be pushed to,
// it lists the one heard of last.
func Sweep(ctx context.Context, tx *db.Tx, r *Rule, now time.Time, after string, fit, look int) (Page, error) {
	page := Page{Last: after, End: true}
	var from []byte
	if after != "" {
		from = db.After(profileSpace.Key([]byte(after)))
	}
	err := scanProfiles(ctx, tx, from, func(p *Profile) (bool, error) {
		page.Last = p.Device
		page.Looked++
		fits, err := fitsRule(tx, p, r, now)
		if err != nil {
			return false, err
		}
		if fits && p.Person != "" {
			other, err := heardLater(tx, p, r, now)
			if err != nil {
				return false, err
			}
			fits = !other
		}
		if fits {
			page.Devices = append(page.Devices, p.Device)
		}
		page.End = len(page.Devices) < fit && page.Looked < look
		return page.End, nil
	})
	return page, err
}

func fitsRule(tx *db.Tx, p *Profile, r *Rule, now time.Time) (bool, error) {
	if r == nil {
		return true, nil
	}
	person, err := personOf(tx, p, r)
	if err != nil {
		return false, err
	}
	fits, _ := r.Match(person, now.UnixMilli())
	return fits, nil
}

// heardLater reports whether another device of the person is the better one to push to.
func heardLater(tx *db.Tx, p *Profile, r *Rule, now time.Time) (bool, error) {
	devices, err := DevicesOf(tx, p.Person)
	if err != nil {
		return false, err
	}
	app, _, _ := strings.Cut(p.Device, ".")
	could := p.Reachable() && p.MayPush()
	for _, id := range devices {
		if of, _, _ := strings.Cut(id, "."); id == p.Device || of != app {
			continue
		}
		q, found, err := Get(tx, id)
		if err != nil {
			return false, err
		}
		if !found || !q.Reachable() || !q.MayPush() {
			continue
		}
		if later := q.UpdatedAt > p.UpdatedAt || q.UpdatedAt == p.UpdatedAt && q.Device < p.Device; could && !later {
			continue
		}
		if fits, err := fitsRule(tx, &q, r, now); err != nil || fits {
			return fits, err
		}
	}
	return false, nil
}

// Each calls fn for every profile, in order of device, until it returns an
// error or ctx ends. The profile is good until fn returns.
func Each(ctx context.Context, tx *db.Tx, fn func(*Profile) error) error {
	return scanProfiles(ctx, tx, nil, func(p *Profile) (bool, error) { return true, fn(p) })
}

// List returns the profiles of one app that fit the rule (nil: all), in order
// of device. They are in memory together.
func List(ctx context.Context, tx *db.Tx, app string, r *Rule, now time.Time) ([]Profile, error) {
	var out []Profile
	err := scanProfiles(ctx, tx, nil, func(p *Profile) (bool, error) {
		if of, _, _ := strings.Cut(p.Device, "."); of != app {
			return true, nil
		}
		fits, err := fitsRule(tx, p, r, now)
		if fits {
			out = append(out, *p)
		}
		return err == nil, err
	})
	return out, err
}

// personOf reads what the rule looks at.
func personOf(tx *db.Tx, p *Profile, r *Rule) (person Person, err error) {
	person.Profile = p
	if r.NeedsEvents() {
		if person.Events, err = EventsOf(tx, p); err != nil {
			return person, err
		}
	}
	if r.NeedsVisits() {
		person.Visits, err = VisitsOf(tx, p)
	}
	return person, err
}

// scanProfiles calls fn for every profile from a key on, in order of device.
func scanProfiles(ctx context.Context, tx *db.Tx, from []byte, fn func(*Profile) (bool, error)) error {
	n := 0
	tagged := false // most ledgers have no tags of persons: one look instead of one for each profile
	err := tx.Scan(tagSpace.Prefix(), nil, func(_, _ []byte) (bool, error) { tagged = true; return false, nil })
	if err != nil {
		return fmt.Errorf("audience: read the tags of persons: %w", err)
	}
	err = tx.Scan(profileSpace.Prefix(), from, func(key, val []byte) (bool, error) {
		if n++; n%1024 == 0 && ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		parts, ok := profileSpace.Split(key)
		if !ok || len(parts) != 1 {
			return false, fmt.Errorf("damaged key % x", key)
		}
		p, err := decode(string(parts[0]), val)
		if err == nil && tagged {
			p.UserTags, err = UserTags(tx, p.Subject())
		}
		if err != nil {
			return false, err
		}
		return fn(&p)
	})
	if err != nil {
		return fmt.Errorf("audience: read profiles: %w", err)
	}
	return nil
}
