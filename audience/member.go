package audience

import (
	"context"
	"maps"
	"slices"

	"footfall/internal/db"
)

// Fits reports whether the rule fits a profile's subject at a time (Unix ms):
// the device itself or, of a person, any of their devices. fitting is the
// profile that fits: p when it does, else the first in order of device. The
// tags of the person are p's for all of them: p may be from before a change
// that the ledger has already.
func Fits(tx *db.Tx, r *Rule, p *Profile, now int64) (fitting Profile, fits bool, err error) {
	one := func(p *Profile) (bool, error) {
		person, err := personOf(tx, p, r)
		if err != nil {
			return false, err
		}
		fits, _ := r.Match(person, now)
		return fits, nil
	}
	if fits, err = one(p); err != nil || fits || p.Person == "" {
		return *p, fits, err
	}
	devices, err := DevicesOf(tx, p.Person)
	if err != nil {
		return *p, false, err
	}
	for _, id := range devices {
		if id == p.Device {
			continue
		}
		q, found, err := get(tx, id)
		if err != nil {
			return *p, false, err
		}
		if !found {
			continue
		}
		q.UserTags = p.UserTags
		if fits, err := one(&q); err != nil || fits {
			return q, fits, err
		}
	}
	return *p, false, nil
}

// EventNames lists the names of the events that the rule asks about, those of
// its segments included, sorted; all says that it makes names up while it is
// asked, so that they may be any.
func (r *Rule) EventNames() (names []string, all bool) {
	seen := map[string]bool{}
	all = r.eventNames(seen)
	return slices.Sorted(maps.Keys(seen)), all
}

func (r *Rule) eventNames(seen map[string]bool) (all bool) {
	for _, name := range r.names {
		seen[name] = true
	}
	all = r.anyName
	for _, s := range r.uses {
		all = s.eventNames(seen) || all
	}
	return all
}

// SweepProfiles calls fn for up to most profiles behind the device after ("":
// from the first), in order of device, and returns the last one; end says that
// there are no more.
func SweepProfiles(ctx context.Context, tx *db.Tx, after string, most int, fn func(*Profile) error) (last string, end bool, err error) {
	var from []byte
	if after != "" {
		from = db.After(profileSpace.Key([]byte(after)))
	}
	last, end = after, true
	n := 0
	err = scanProfiles(ctx, tx, from, func(p *Profile) (bool, error) {
		last = p.Device
		if err := fn(p); err != nil {
			return false, err
		}
		n++
		end = n < most
		return end, nil
	})
	return last, end, err
}
