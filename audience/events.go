package audience

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"footfall/internal/db"
)

// customerSpace holds what apps and tills report: (device, time, id).
var customerSpace = db.Register(0x32, "customer events", 1)

// KeepEvents is how long a customer event is remembered when nobody says
// otherwise, counted from when it happened.
const KeepEvents = 90 * 24 * time.Hour

// Limits of what is kept of a person: the newest events, and properties up to a
// size. Larger ones are forwarded, and remembered without their properties.
const (
	maxEvents     = 1_000
	maxPropsBytes = 2 << 10
)

// Event is something that a person did: viewed, ordered, paid. At is the event
// time in Unix ms. The values of Props are what JSON holds.
type Event struct {
	Device string
	ID     string // as given to PutEvent
	Name   string
	At     int64
	Props  map[string]any
}

type eventRow struct {
	Name  string          `json:"n"`
	Props json.RawMessage `json:"p,omitempty"`
}

// PutEvent records an event under an id that is the same for each repeat of
// it, for keep after it happened. props is a JSON object or nil. One that is
// older than that is not kept.
func PutEvent(tx *db.Tx, device, id, name string, at int64, props json.RawMessage, keep time.Duration) error {
	until := time.UnixMilli(at).Add(keep)
	if !until.After(tx.Now()) {
		return nil
	}
	if len(props) > maxPropsBytes || !bytes.HasPrefix(bytes.TrimSpace(props), []byte("{")) {
		props = nil
	}
	row, err := json.Marshal(eventRow{name, props})
	if err != nil {
		return fmt.Errorf("audience: event: %w", err)
	}
	key := customerSpace.Key([]byte(device), binary.BigEndian.AppendUint64(nil, uint64(max(at, 0))), []byte(id))
	if err := tx.SetUntil(key, row, until); err != nil {
		return fmt.Errorf("audience: write event: %w", err)
	}
	return nil
}

// EventsOf lists the events of a profile's subject, oldest first, the newest
// 1,000 of each of the person's devices.
func EventsOf(tx *db.Tx, p *Profile) ([]Event, error) {
	devices, err := devicesOf(tx, p)
	if err != nil {
		return nil, err
	}
	var out []Event
	for _, device := range devices {
		from := len(out)
		err := tx.Scan(customerSpace.Key([]byte(device)), nil, func(key, val []byte) (bool, error) {
			parts, ok := customerSpace.Split(key)
			if !ok || len(parts) != 3 || len(parts[1]) != 8 {
				return false, fmt.Errorf("damaged key % x", key)
			}
			var row eventRow
			if err := json.Unmarshal(val, &row); err != nil {
				return false, fmt.Errorf("damaged: %w", err)
			}
			e := Event{Device: device, ID: string(parts[2]), Name: row.Name, At: int64(binary.BigEndian.Uint64(parts[1]))}
			if row.Props != nil {
				if err := json.Unmarshal(row.Props, &e.Props); err != nil {
					return false, fmt.Errorf("damaged: %w", err)
				}
			}
			out = append(out, e)
			if len(out)-from > 2*maxEvents {
				out = slices.Delete(out, from, from+maxEvents)
			}
			return true, nil
		})
		if err != nil {
			return nil, fmt.Errorf("audience: events of %s: %w", device, err)
		}
		if n := len(out) - from; n > maxEvents {
			out = slices.Delete(out, from, from+n-maxEvents)
		}
	}
	if len(devices) > 1 {
		slices.SortStableFunc(out, func(a, b Event) int { return cmp.Compare(a.At, b.At) })
	}
	return out, nil
}

// devicesOf are the devices of a profile's subject.
func devicesOf(tx *db.Tx, p *Profile) ([]string, error) {
	if p.Person == "" {
		return []string{p.Device}, nil
	}
	devices, err := DevicesOf(tx, p.Person)
	if err == nil && !slices.Contains(devices, p.Device) {
		devices = append(devices, p.Device)
	}
	return devices, err
}
