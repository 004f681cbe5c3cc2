package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"footfall/internal/db"
)

// Key spaces. A row that is not final has one entry by due time, in one of the
// two queues, and is due before it expires. A final one has one entry in the
// finished space, and both live for Config.KeepFinished; those that were
// accepted, nearly all, have none. Leasing a row moves nothing.
var (
	rows     = db.RegisterSince(0x05, "deliveries", 3, 3)           // mid
	ready    = db.RegisterSince(0x06, "delivery ready index", 3, 3) // "q" or "b", lane, next_at, mid -> expires_at, campaign
	finished = db.Register(0x07, "finished deliveries", 1)          // state, updated_at, mid
	byDue    = []byte("q")
	bulkDue  = []byte("b")
)

// queues are the parts of the ready index that are ordered by due time.
var queues = [...][]byte{byDue, bulkDue}

func (d *Delivery) queue() []byte {
	if d.Bulk {
		return bulkDue
	}
	return byDue
}

// ms writes a time so that byte order is time order. Times before 1970 are 0.
func ms(t int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(max(t, 0))) }

func rowKey(mid string) []byte { return rows.Key([]byte(mid)) }
func dueKey(d *Delivery) []byte {
	return ready.Key(d.queue(), []byte(d.Lane), ms(d.NextAt), []byte(d.MID))
}

// dueValue is what the ready index says of d, so that its row need not be read
// to see whether it has expired or its campaign has ended.
func dueValue(d *Delivery) []byte { return append(ms(d.ExpiresAt), d.Campaign...) }

// parseDueValue returns zeros for what dueValue has not written: such a row has
// expired.
func parseDueValue(val []byte) (expiresAt int64, campaign string) {
	if len(val) < 8 {
		return 0, ""
	}
	return int64(binary.BigEndian.Uint64(val)), string(val[8:])
}

func finishedKey(d *Delivery) []byte {
	return finished.Key([]byte(d.State), ms(d.UpdatedAt), []byte(d.MID))
}

// parseDue reads a key of one of the queues.
func parseDue(key []byte) (lane string, at int64, mid string, err error) {
	parts, ok := ready.Split(key)
	if !ok || len(parts) != 4 || len(parts[2]) != 8 {
		return "", 0, "", fmt.Errorf("outbox: bad ready key % x", key)
	}
	return string(parts[1]), int64(binary.BigEndian.Uint64(parts[2])), string(parts[3]), nil
}

// ErrIncomplete: a delivery lacks what it cannot be sent without.
var ErrIncomplete = errors.New("outbox: incomplete delivery")

// Enqueue writes d as pending, due at NextAt (0: CreatedAt). It is idempotent:
// when a delivery with this MID exists, in whatever state, nothing changes.
// MID, Lane, CreatedAt and ExpiresAt are required. Call it in the transaction
// that reserves the claim, and Outbox.Notify once that has committed.
func Enqueue(tx *db.Tx, d *Delivery) error {
	if d.MID == "" || d.Lane == "" || d.CreatedAt <= 0 || d.ExpiresAt <= 0 {
		return fmt.Errorf("%w: mid %q, lane %q, created %d, expires %d", ErrIncomplete, d.MID, d.Lane, d.CreatedAt, d.ExpiresAt)
	}
	switch _, err := tx.Get(rowKey(d.MID)); {
	case err == nil:
		return nil
	case !errors.Is(err, db.ErrNotFound):
		return fmt.Errorf("outbox: read delivery: %w", err)
	}
	if err := follow(none, StatePending); err != nil {
		return err
	}
	row := *d
	row.State, row.UpdatedAt = StatePending, row.CreatedAt
	if row.NextAt <= 0 {
		row.NextAt = row.CreatedAt
	}
	row.NextAt = min(row.NextAt, row.ExpiresAt)
	return put(tx, nil, &row, 0)
}

// Get returns the delivery with this message id.
func Get(tx *db.Tx, mid string) (Delivery, bool, error) {
	d, found, err := read(tx, mid)
	if err != nil || !found || d.State.Final() {
		return d, found, err
	}
	leased, err := readLeases(tx)
	return leased.seen(d), err == nil, err
}

// read is Get without the leases: a row that is being sent is as it was before.
func read(tx *db.Tx, mid string) (Delivery, bool, error) {
	val, err := tx.Get(rowKey(mid))
	if errors.Is(err, db.ErrNotFound) {
		return Delivery{}, false, nil
	}
	if err != nil {
		return Delivery{}, false, fmt.Errorf("outbox: read delivery: %w", err)
	}
	d, err := decode(val)
	return d, err == nil, err
}

// Filter selects deliveries for List. Empty fields select all.
type Filter struct {
	State                  State
	Lane, Campaign, Device string
	Limit                  int // 0: no limit
}

func (f *Filter) match(d *Delivery) bool {
	return (f.State == "" || d.State == f.State) && (f.Lane == "" || d.Lane == f.Lane) &&
		(f.Campaign == "" || d.Campaign == f.Campaign) && (f.Device == "" || d.Device == f.Device)
}

// List calls fn for the deliveries that f selects until fn returns false. With
// a State the matching index is read: final ones come oldest first, others by
// lane and due time. Without one, and for StateAccepted, which nearly all are,
// every row is read, in the order of the message ids. Nothing is loaded ahead.
func List(tx *db.Tx, f Filter, fn func(*Delivery) bool) error {
	leased, err := readLeases(tx)
	if err != nil {
		return err
	}
	n := 0
	visit := func(d *Delivery) bool {
		if !d.State.Final() {
			*d = leased.seen(*d)
		}
		if !f.match(d) {
			return true
		}
		n++
		return fn(d) && (f.Limit <= 0 || n < f.Limit)
	}
	if f.State == "" || f.State == StateAccepted {
		return tx.Scan(rows.Prefix(), nil, func(_, val []byte) (bool, error) {
			d, err := decode(val)
			if err != nil {
				return false, err
			}
			return visit(&d), nil
		})
	}
	scan := func(space db.Space, prefix []byte) (more bool, err error) {
		more = true
		err = tx.Scan(prefix, nil, func(key, _ []byte) (bool, error) {
			parts, ok := space.Split(key)
			if !ok || len(parts) < 2 {
				return false, fmt.Errorf("outbox: bad index key % x", key)
			}
			d, found, err := read(tx, string(parts[len(parts)-1])) // the message id comes last
			if err != nil || !found {
				return err == nil, err
			}
			more = visit(&d)
			return more, nil
		})
		return more, err
	}
	if f.State.Final() {
		_, err := scan(finished, finished.Key([]byte(f.State)))
		return err
	}
	for _, queue := range queues {
		if more, err := scan(ready, duePrefix(queue, f.Lane)); err != nil || !more {
			return err
		}
	}
	return nil
}

// duePrefix begins the keys of one queue, of one lane or ("") of all.
func duePrefix(queue []byte, lane string) []byte {
	if lane == "" {
		return ready.Key(queue)
	}
	return ready.Key(queue, []byte(lane))
}

// Backlog counts the rows of a lane ("": of all) that are not final, up to
// limit. Its cost grows with what it counts.
func Backlog(tx *db.Tx, lane string, limit int) (int, error) {
	n := 0
	for _, queue := range queues {
		err := tx.Scan(duePrefix(queue, lane), nil, func(_, _ []byte) (bool, error) {
			n++
			return n < limit, nil
		})
		if err != nil || n >= limit {
			return n, err
		}
	}
	return n, nil
}

// OldestDue returns when the row of a lane that is due first became or becomes
// due, in Unix ms; false when nothing waits there.
func OldestDue(tx *db.Tx, lane string) (at int64, found bool, err error) {
	for _, queue := range queues {
		err := tx.Scan(duePrefix(queue, lane), nil, func(key, _ []byte) (bool, error) {
			_, due, _, err := parseDue(key)
			if err != nil {
				return true, nil // its lane takes it out
			}
			if !found || due < at {
				at, found = due, true
			}
			return false, nil
		})
		if err != nil {
			return 0, false, err
		}
	}
	return at, found, nil
}

// put writes the row and its index entries; old is the stored row, nil for a
// new one. MID, Bulk and ExpiresAt never change. A final row lives for keep.
func put(tx *db.Tx, old, d *Delivery, keep time.Duration) error {
	d.step = 1
	if old != nil {
		d.step = old.step + 1
	}
	val, err := d.encode()
	if err != nil {
		return err
	}
	final := d.State.Final()
	was := old != nil && !old.State.Final() // the old row is in the ready index
	if old != nil && !was {
		if err := tx.Delete(finishedKey(old)); err != nil {
			return err
		}
	}
	moved := was && (final || d.NextAt != old.NextAt || d.Lane != old.Lane)
	if moved {
		if err := tx.Delete(dueKey(old)); err != nil {
			return err
		}
	}
	if final {
		until := time.UnixMilli(d.UpdatedAt).Add(keep)
		if d.State != StateAccepted {
			if err := tx.SetUntil(finishedKey(d), nil, until); err != nil {
				return err
			}
		}
		return tx.SetUntil(rowKey(d.MID), val, until)
	}
	if !was || moved {
		if err := tx.Set(dueKey(d), dueValue(d)); err != nil {
			return err
		}
	}
	return tx.Set(rowKey(d.MID), val)
}
