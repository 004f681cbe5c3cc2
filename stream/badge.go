package stream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"footfall/audience"
	"footfall/internal/db"
	"footfall/outbox"
	"footfall/receipt"
)

// badgeSpace holds what a template's badge: inc counts: device -> when each push that counts was accepted, Unix ms as
// varints, ascending. A push leaves it when a later one, or itself, is opened, and when the app says that it was opened.
var badgeSpace = db.Register(0x18, "stream.badges", 1)

const (
	// maxUnread is the highest number that is shown, and the most that is kept of a device.
	maxUnread = 99
	// keepUnread is how long after its last push a device's count is kept.
	keepUnread = 90 * 24 * time.Hour
)

// appOpened is the customer event by which an app says that the person has it open, so that its badge is gone.
const appOpened = "app_open"

func badgeKey(device string) []byte { return badgeSpace.Key([]byte(device)) }

// unread are the times of a device's pushes that count.
func unread(tx *db.Tx, device string) (times []int64, err error) {
	row, err := tx.Get(badgeKey(device))
	if errors.Is(err, db.ErrNotFound) {
		return nil, nil
	}
	for at := int64(0); err == nil && len(row) > 0; {
		step, n := binary.Varint(row)
		if n <= 0 {
			return nil, fmt.Errorf("stream: the count of unread pushes of a device is damaged")
		}
		at += step
		times, row = append(times, at), row[n:]
	}
	return times, err
}

func putUnread(tx *db.Tx, device string, times []int64) error {
	if len(times) == 0 {
		return tx.Delete(badgeKey(device))
	}
	var row []byte
	last := int64(0)
	for _, at := range times {
		row = binary.AppendVarint(row, at-last)
		last = at
	}
	return tx.SetUntil(badgeKey(device), row, tx.Now().Add(keepUnread))
}

// nextBadge is the number that a counted push shows: itself and what is unread. A re-send shows the number of its own time.
func nextBadge(tx *db.Tx, device string) (*int, error) {
	times, err := unread(tx, device)
	return new(min(len(times)+1, maxUnread)), err
}

// countBadge adds an accepted push to its device's count, when it counts and has not been opened already. A device that was
// forgotten meanwhile gets no row.
func countBadge(tx *db.Tx, d *outbox.Delivery) error {
	if !bytes.Contains(d.Context, []byte(`"counted":true`)) { // as deliveryContext is written
		return nil
	}
	if _, known, err := audience.Get(tx, d.Device); err != nil || !known {
		return err
	}
	facts, err := receipt.Facts(tx, d.MID)
	if err != nil || slices.ContainsFunc(facts, opens) {
		return err
	}
	times, err := unread(tx, d.Device)
	if err != nil {
		return err
	}
	times = append(times, d.UpdatedAt)
	slices.Sort(times) // the clock may have been set back
	return putUnread(tx, d.Device, times[max(0, len(times)-maxUnread):])
}

// opens reports whether a fact says that the person has opened the app from the push.
func opens(f receipt.Fact) bool { return f.Ev == receipt.Opened || f.Ev == receipt.Action }

// readUpTo takes what was accepted until at out of a device's count.
func readUpTo(tx *db.Tx, device string, at int64) error {
	times, err := unread(tx, device)
	if err != nil || len(times) == 0 || times[0] > at {
		return err
	}
	return putUnread(tx, device, slices.DeleteFunc(times, func(t int64) bool { return t <= at }))
}

// unread is what an export says of badges.
func (t *target) unread(tx *db.Tx) (all map[string][]int64, err error) {
	for _, id := range t.devices {
		times, err := unread(tx, string(id))
		if err != nil {
			return nil, err
		}
		if len(times) > 0 {
			if all == nil {
				all = map[string][]int64{}
			}
			all[string(id)] = times
		}
	}
	return all, nil
}
