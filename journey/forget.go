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
	err = tx.Scan(runSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
		parts, ok := runSpace.Split(key)
		if !ok || len(parts) != 2 {
			return false, fmt.Errorf("journey: damaged run key % x", key)
		}
		r, err := decodeRun(string(parts[0]), val)
		if subject := string(parts[1]); err == nil && match(subject, r.Device) {
			keys, subjects[subject] = append(keys, bytes.Clone(key)), true
		}
		return true, err
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
		err = tx.Scan(memberSpace.Prefix(), nil, func(key, _ []byte) (bool, error) {
			parts, ok := memberSpace.Split(key)
			if !ok || len(parts) != 2 {
				return false, fmt.Errorf("journey: damaged member % x", key)
			}
			if match(string(parts[1]), "") {
				keys = append(keys, bytes.Clone(key))
			}
			return true, nil
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
