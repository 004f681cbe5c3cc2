package outbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"footfall/internal/db"
)

// Key spaces. A row that is not final is stored in one of the two queues, by
// due time, and is due before it expires: so what is due is read in one go. Its
// message id leads to its place there. A final one is stored under its message
// id and has one entry in the finished space; both live for Config.KeepFinished.
// Those that were accepted, nearly all, have no entry. Leasing a row moves
// nothing.
var (
	rows     = db.RegisterSince(0x05, "deliveries", 4, 4)           // mid -> row, or its place
	ready    = db.RegisterSince(0x06, "delivery ready index", 4, 4) // "q" or "b", lane, next_at, mid -> row
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

// placeVersion begins what is stored under the message id of a row that is not
// final: the key of its entry in the ready index follows.
const placeVersion = 0xFF

func placeOf(dueKey []byte) []byte { return append([]byte{placeVersion}, dueKey...) }

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
	val, err := stored(tx, mid)
	if err != nil || val == nil {
		return Delivery{}, false, err
	}
	d, err := decode(val)
	return d, err == nil, err
}

// stored is the row of a message id as it is stored, nil: there is none.
func stored(tx *db.Tx, mid string) ([]byte, error) {
	val, err := tx.Get(rowKey(mid))
	if err == nil && len(val) > 0 && val[0] == placeVersion {
		if val, err = tx.Get(val[1:]); errors.Is(err, db.ErrNotFound) {
			return nil, fmt.Errorf("%w: %s", errNoEntry, mid)
		}
	}
	if errors.Is(err, db.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("outbox: read delivery: %w", err)
	}
	return val, nil
}

// readDue reads a row from its entry in the ready index.
func readDue(key, val []byte) (Delivery, error) {
	d, err := decode(val)
	if err == nil && (d.State.Final() || !bytes.Equal(key, dueKey(&d))) {
		err = errMisplaced
	}
	return d, err
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
			if len(val) > 0 && val[0] == placeVersion {
				if f.State == StateAccepted {
					return true, nil
				}
				if val, err = tx.Get(val[1:]); err != nil {
					return false, fmt.Errorf("outbox: read delivery: %w", err)
				}
			}
			d, err := decode(val)
			if err != nil {
				return false, err
			}
			return visit(&d), nil
		})
	}
	if f.State.Final() {
		return tx.Scan(finished.Key([]byte(f.State)), nil, func(key, _ []byte) (bool, error) {
			parts, ok := finished.Split(key)
			if !ok || len(parts) != 3 {
				return false, fmt.Errorf("outbox: bad index key % x", key)
			}
			d, found, err := read(tx, string(parts[2]))
			if err != nil || !found {
				return err == nil, err
			}
			return visit(&d), nil
		})
	}
	for _, queue := range queues {
		more := true
		err := tx.Scan(duePrefix(queue, f.Lane), nil, func(key, val []byte) (bool, error) {
			d, err := decode(val)
			if err != nil {
				return false, fmt.Errorf("%w, in the ready index at % x", err, key)
			}
			more = visit(&d)
			return more, nil
		})
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// memory is what the package remembers of a database as long as it is open. It
// belongs to the database, because rows are also changed without an Outbox.
type memory struct {
	// touches counts the changes of rows that are not the end of an attempt of this
	// process. As long as it stands still, rows that were due at a look and are not
	// in flight are as they were, and need not be read again to be leased.
	touches atomic.Uint64

	mu     sync.Mutex
	fronts map[queueName]*front
}

// queueName names one of the two queues of a lane.
type queueName struct {
	lane string
	bulk bool
}

type memoryKey struct{}

// memoryOf is nil in a transaction that only reads.
func memoryOf(tx *db.Tx) *memory {
	m, _ := tx.Local(memoryKey{}, func() any { return &memory{fronts: map[queueName]*front{}} }).(*memory)
	return m
}

// touch counts a change that tx makes: now, for looks that have begun before, and
// when it is durable, for those that begin until then and do not see it.
func touch(tx *db.Tx) {
	if m := memoryOf(tx); m != nil {
		m.touches.Add(1)
		tx.AfterCommit(func() { m.touches.Add(1) })
	}
}

func (m *memory) front(of queueName) *front {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, ok := m.fronts[of]
	if !ok {
		f = new(front)
		m.fronts[of] = f
	}
	return f
}

// front is where a lane's queue begins: no row of it is due before that time, in
// Unix ms. The zero front knows nothing. One goroutine looks at a queue; any may
// place rows in it.
type front struct {
	mu     sync.Mutex
	at     int64
	placed int64 // the least since the look at hand began
}

// look begins one and returns from which time on it has to read.
func (f *front) look() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.placed = math.MaxInt64
	return f.at
}

// saw ends a look: it began after look, and the first row that it saw is due at that time.
func (f *front) saw(first int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at = min(first, f.placed)
}

// place says that a row which is due at that time is visible to those who look from now on.
func (f *front) place(at int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.placed = min(f.at, at), min(f.placed, at)
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

// put writes the row, its place and its index entry; old is the stored row, nil
// for a new one. MID, Bulk and ExpiresAt never change. A final row lives for keep.
func put(tx *db.Tx, old, d *Delivery, keep time.Duration) error {
	d.step = 1
	if old != nil {
		d.step = old.step + 1
	}
	val, err := d.encode()
	if err != nil {
		return err
	}
	if err := putWaiting(tx, old, d); err != nil {
		return err
	}
	was := old != nil && !old.State.Final() // the old row is in the ready index
	if old != nil && !was {
		if err := tx.Delete(finishedKey(old)); err != nil {
			return err
		}
	}
	moved := was && (d.State.Final() || d.NextAt != old.NextAt || d.Lane != old.Lane)
	if moved {
		if err := tx.Delete(dueKey(old)); err != nil {
			return err
		}
	}
	if d.State.Final() {
		until := time.UnixMilli(d.UpdatedAt).Add(keep)
		if d.State != StateAccepted {
			if err := tx.SetUntil(finishedKey(d), nil, until); err != nil {
				return err
			}
		}
		return tx.SetUntil(rowKey(d.MID), val, until)
	}
	place := dueKey(d)
	if !was || moved {
		if m, at := memoryOf(tx), d.NextAt; m != nil {
			front := m.front(queueName{d.Lane, d.Bulk})
			tx.AfterCommit(func() { front.place(at) })
		}
		if err := tx.Set(rowKey(d.MID), placeOf(place)); err != nil {
			return err
		}
	}
	return tx.Set(place, val)
}
