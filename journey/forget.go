package journey

import (
	"bytes"
	"fmt"

	"footfall/internal/db"
)

// RowsOf returns the keys of the runs that match selects, of the timers of their subjects, and of what is known of them in
// segments. It reads every row of each. A timer that is due without its run is dropped, so it does not matter in which order they are deleted.
func RowsOf(tx *db.Tx, match func(subject, device string) bool) (keys [][]byte, err error) {
	subjects := map[string]bool{}
	err = eachRun(tx, func(key []byte, _, subject string, r *Run) {
		if match(subject, r.Device) {
			keys, subjects[subject] = append(keys, bytes.Clone(key)), true
		}
	})
	for _, space := range []db.Space{timerSpace, parkedSpace} {
		if err != nil {
			break
		}
		err = tx.Scan(space.Prefix(), nil, func(key, _ []byte) (bool, error) {
			parts, ok := space.Split(key)
			if !ok || len(parts) < 2 {
				return false, fmt.Errorf("journey: damaged timer % x", key)
			}
			if subject := string(parts[len(parts)-1]); subjects[subject] || match(subject, "") {
				keys = append(keys, bytes.Clone(key))
			}
			return true, nil
		})
	}
	if err == nil {
		err = eachMember(tx, func(key, _ []byte, _, subject string) error {
			if match(subject, "") {
				keys = append(keys, bytes.Clone(key))
			}
			return nil
		})
	}
	if err == nil {
		err = tx.Scan(checkSpace.Prefix(), nil, func(key, _ []byte) (bool, error) {
			parts, ok := checkSpace.Split(key)
			if !ok || len(parts) != 1 {
				return false, fmt.Errorf("journey: damaged check % x", key)
			}
			if match("", string(parts[0])) {
				keys = append(keys, bytes.Clone(key))
			}
			return true, nil
		})
	}
	return keys, err
}

// RunsOf calls fn for the runs that match selects, ended ones that are still kept as well. It reads every run.
func RunsOf(tx *db.Tx, match func(subject, device string) bool, fn func(journey, subject string, r *Run)) error {
	return eachRun(tx, func(_ []byte, journey, subject string, r *Run) {
		if match(subject, r.Device) {
			fn(journey, subject, r)
		}
	})
}

// MembersOf calls fn for what is known of subjects in the segments that journeys watch. It reads every membership.
func MembersOf(tx *db.Tx, match func(subject string) bool, fn func(watch, subject string, m Membership)) error {
	return eachMember(tx, func(_, val []byte, watch, subject string) error {
		if !match(subject) {
			return nil
		}
		m, err := parseMember(watch, val)
		if err == nil {
			fn(watch, subject, m)
		}
		return err
	})
}

// eachRun reads every run. key is valid until fn returns.
func eachRun(tx *db.Tx, fn func(key []byte, journey, subject string, r *Run)) error {
	return tx.Scan(runSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
		parts, ok := runSpace.Split(key)
		if !ok || len(parts) != 2 {
			return false, fmt.Errorf("journey: damaged run key % x", key)
		}
		r, err := decodeRun(string(parts[0]), val)
		if err == nil {
			fn(key, string(parts[0]), string(parts[1]), &r)
		}
		return true, err
	})
}

// eachMember reads every membership. key and val are valid until fn returns.
func eachMember(tx *db.Tx, fn func(key, val []byte, watch, subject string) error) error {
	return tx.Scan(memberSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
		parts, ok := memberSpace.Split(key)
		if !ok || len(parts) != 2 {
			return false, fmt.Errorf("journey: damaged member % x", key)
		}
		return true, fn(key, val, string(parts[0]), string(parts[1]))
	})
}
