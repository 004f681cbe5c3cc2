package audience

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"footfall/internal/db"
)

// visitSpace holds the visits to fences: (device, time of the enter, fence).
var visitSpace = db.Register(0x31, "visits", 1)

// KeepVisits is how long a visit is remembered at most, and when nobody says
// otherwise, counted from when it began.
const KeepVisits = 365 * 24 * time.Hour

// maxVisits bounds what is read of one device: the newest.
const maxVisits = 2_000

// Visit is one stay of a device in a fence. Times are event times in Unix ms.
type Visit struct {
	Device string
	Fence  string
	Tags   []string // of the fence when the visit began
	At     int64    // of the enter
	Until  int64    // of the exit; 0 while it goes on, or when no exit was seen
}

type visitRow struct {
	Tags  []string `json:"t,omitempty"`
	Until int64    `json:"e,omitempty"`
}

func visitKey(device string, at int64, fence string) []byte {
	return visitSpace.Key([]byte(device), binary.BigEndian.AppendUint64(nil, uint64(at)), []byte(fence))
}

// PutVisit records that a visit began, or how it ended, for keep from its
// beginning on. Repeating it changes nothing.
func PutVisit(tx *db.Tx, v *Visit, keep time.Duration) error {
	row, err := json.Marshal(visitRow{v.Tags, v.Until})
	if err != nil {
		return fmt.Errorf("audience: visit: %w", err)
	}
	if err := tx.SetUntil(visitKey(v.Device, v.At, v.Fence), row, time.UnixMilli(v.At).Add(keep)); err != nil {
		return fmt.Errorf("audience: write visit: %w", err)
	}
	return nil
}

// EndVisit notes when a visit ended; one that is not known is left alone.
func EndVisit(tx *db.Tx, device, fence string, at, until int64, keep time.Duration) error {
	key := visitKey(device, at, fence)
	val, err := tx.Get(key)
	if errors.Is(err, db.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("audience: read visit: %w", err)
	}
	var row visitRow
	if err := json.Unmarshal(val, &row); err != nil {
		return fmt.Errorf("audience: visit of %s is damaged: %w", device, err)
	}
	return PutVisit(tx, &Visit{Device: device, Fence: fence, Tags: row.Tags, At: at, Until: until}, keep)
}

// VisitsOf lists the visits of a profile's subject, oldest first: those of all
// the person's devices, else those of the device. Two phones of one person in
// one fence at the same time are one visit, the longer of the two. Visits made
// before the person signed in on the device are among them.
func VisitsOf(tx *db.Tx, p *Profile) ([]Visit, error) {
	devices, err := devicesOf(tx, p)
	if err != nil {
		return nil, err
	}
	var out []Visit
	for _, device := range devices {
		from := len(out)
		err := tx.Scan(visitSpace.Key([]byte(device)), nil, func(key, val []byte) (bool, error) {
			parts, ok := visitSpace.Split(key)
			if !ok || len(parts) != 3 || len(parts[1]) != 8 {
				return false, fmt.Errorf("damaged key % x", key)
			}
			var row visitRow
			if err := json.Unmarshal(val, &row); err != nil {
				return false, fmt.Errorf("damaged: %w", err)
			}
			out = append(out, Visit{Device: device, Fence: string(parts[2]), Tags: row.Tags, At: int64(binary.BigEndian.Uint64(parts[1])), Until: row.Until})
			if len(out)-from > 2*maxVisits {
				out = slices.Delete(out, from, from+maxVisits)
			}
			return true, nil
		})
		if err != nil {
			return nil, fmt.Errorf("audience: visits of %s: %w", device, err)
		}
	}
	if len(devices) > 1 {
		out = mergeVisits(out)
	}
	return out, nil
}

// EraseVisits removes visits of a device that began at until (Unix ms) or before, most at most, the oldest first, and returns
// how many.
func EraseVisits(tx *db.Tx, device string, until int64, most int) (n int, err error) {
	err = tx.Scan(visitSpace.Key([]byte(device)), nil, func(key, _ []byte) (bool, error) {
		parts, ok := visitSpace.Split(key)
		if !ok || len(parts) != 3 || len(parts[1]) != 8 {
			return false, fmt.Errorf("damaged key % x", key)
		}
		if n == most || int64(binary.BigEndian.Uint64(parts[1])) > until {
			return false, nil
		}
		n++
		return true, tx.Delete(bytes.Clone(key))
	})
	if err != nil {
		return n, fmt.Errorf("audience: erase visits of %s: %w", device, err)
	}
	return n, nil
}

// eraseHistory removes the visits and events of a device.
func eraseHistory(tx *db.Tx, device string) error {
	for _, space := range []db.Space{visitSpace, customerSpace} {
		err := tx.Scan(space.Key([]byte(device)), nil, func(key, _ []byte) (bool, error) {
			return true, tx.Delete(bytes.Clone(key))
		})
		if err != nil {
			return fmt.Errorf("audience: erase the history of %s: %w", device, err)
		}
	}
	return nil
}

// openVisit is how long a visit is taken to go on when its end was not seen.
const openVisit = 12 * time.Hour

// mergeVisits sorts the visits of several devices and makes one of those that
// overlap in one fence.
func mergeVisits(vs []Visit) []Visit {
	slices.SortStableFunc(vs, func(a, b Visit) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Fence, b.Fence), cmp.Compare(a.Device, b.Device))
	})
	last := map[string]int{} // fence -> index in out
	out := vs[:0]
	for _, v := range vs {
		if i, ok := last[v.Fence]; ok {
			u := &out[i]
			end := u.Until
			if end == 0 {
				end = u.At + openVisit.Milliseconds()
			}
			if u.Device != v.Device && v.At < end {
				if u.Until != 0 && (v.Until == 0 || v.Until > u.Until) {
					u.Until = v.Until
				}
				continue
			}
		}
		last[v.Fence] = len(out)
		out = append(out, v)
	}
	return out
}
