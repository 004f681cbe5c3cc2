package stream

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"footfall/internal/db"
	"footfall/outbox"
	"footfall/stream/wire"
	"footfall/track"
)

// TransitionEvent is the payload of ev.<app>.<kind>.<fence>. Times are Unix ms.
type TransitionEvent struct {
	ID          string       `json:"id"`
	Kind        string       `json:"kind"`
	App         string       `json:"app"`
	Device      string       `json:"device"`
	Fence       string       `json:"fence"`
	FenceName   string       `json:"fence_name,omitempty"`
	Store       string       `json:"store,omitempty"`
	At          int64        `json:"at"`
	ConfirmedAt int64        `json:"confirmed_at"`
	ReceivedAt  int64        `json:"received_at"`
	EnteredAt   int64        `json:"entered_at"`
	Reason      track.Reason `json:"reason"`
	Confidence  uint8        `json:"confidence"`
	DistanceM   float64      `json:"distance_m"` // of the fix from the centre
	AccuracyM   float32      `json:"accuracy_m,omitzero"`
	Source      string       `json:"source"`
	Stages
}

// Stages says when an event passed the stages of the gateway, in Unix microseconds by the gateway's clock, for
// measurements. A stage that is not known is left out: an event that was still owed when a gateway ended has lost its
// DurableUS, and so may one that waited while EVENTS could not be reached.
type Stages struct {
	CollectedUS int64 `json:"collected_us,omitzero"` // the collector took the message
	StoredUS    int64 `json:"stored_us,omitzero"`    // the input log had it
	DecidedUS   int64 `json:"decided_us,omitzero"`   // the tracker had found the transition
	DurableUS   int64 `json:"durable_us,omitzero"`   // the ledger had it on disk, with its claims
}

// PushEvent is the payload of ev.<app>.push.<campaign>.<outcome>: what a campaign decided about an entry, or what
// became of the push it caused. Outcome is "held" or a final state of the delivery; Reason says why.
type PushEvent struct {
	ID       string `json:"id"`
	App      string `json:"app"`
	Device   string `json:"device"`
	Person   string `json:"person,omitempty"`
	Campaign string `json:"campaign"`
	Fence    string `json:"fence"`
	Outcome  string `json:"outcome"`
	Reason   string `json:"reason,omitempty"`
	MID      string `json:"mid,omitempty"`
	Lead     string `json:"lead,omitempty"`  // of a message to several devices: what they have in common; see docs/protocol.md
	At       int64  `json:"at"`              // of the entry
	Cause    string `json:"cause,omitempty"` // id of the transition
	// OutcomeAt is when the provider answered, or when it was known that it will not be asked. Unix ms; 0 for held.
	OutcomeAt int64 `json:"outcome_at,omitzero"`
	Stages
}

// eventRow is an event that the EVENTS stream does not have yet. Rows are written in the transaction of the
// change they tell of and removed when JetStream has acknowledged them.
type eventRow struct {
	ID      string          `json:"id"` // Nats-Msg-Id
	Subject string          `json:"subject"`
	Data    json.RawMessage `json:"data"`

	n         uint64 // its number
	durableUS int64  // when it was on disk, Unix microseconds; 0: not known
}

// eventLog hands out the order of event rows and brings them to the relay: in memory as soon as they are committed, or by reading the ledger
// what an earlier run left and what was too much to remember while EVENTS could not be reached. Safe for concurrent use.
type eventLog struct {
	next  atomic.Uint64 // of the last row
	low   atomic.Uint64 // every row below it has been relayed: looks begin here, behind the deleted ones
	wake  chan struct{}
	count *counters
	now   func() time.Time
	room  int // how many rows are handed over in memory; 0: nobody relays them. Set before the first append

	// Of the writer goroutine: the transaction at hand, its rows, and room for one of them.
	tx   *db.Tx
	rows *[]eventRow
	row  []byte

	publishing sync.Mutex // held while rows are read and published

	mu     sync.Mutex
	fresh  []eventRow // committed and not relayed, ascending; at most room
	reread uint64     // rows up to here that were not relayed are read from the ledger; those after it are in fresh
	last   uint64     // the last row that was committed
	kept   [][]byte   // relayed rows that the ledger would not remove
}

// maxHanded bounds the events that are remembered for the relay, some 4 MB of them. Past it they are read from the ledger and
// published without the time of their commit.
const maxHanded = 1 << 13

// openEventLog finds the end of the rows that an earlier run left.
func openEventLog(d *db.DB, count *counters, now func() time.Time) (*eventLog, error) {
	l := &eventLog{wake: make(chan struct{}, 1), count: count, now: now}
	err := d.View(func(tx *db.Tx) error {
		return tx.Scan(eventSpace.Prefix(), nil, func(key, _ []byte) (bool, error) {
			n := rowNumber(key)
			if n == 0 {
				return false, fmt.Errorf("stream: event key %x", key)
			}
			if l.next.Load() == 0 {
				l.low.Store(n)
			}
			l.next.Store(n)
			return true, nil
		})
	})
	l.last = l.next.Load()
	l.reread = l.last
	return l, err
}

// append writes an event row. It is called on the ledger's writer goroutine, so rows are committed in their order;
// a transaction that runs again only leaves a gap.
func (l *eventLog) append(tx *db.Tx, id, subject string, payload any) error {
	w := jsonWriter{buf: l.row[:0]} // an eventRow, whose Data is encoded in place
	w.open('{')
	w.text("id", id)
	w.text("subject", subject)
	w.name("data")
	begin := len(w.buf)
	row, err := appendPayload(w.buf, payload)
	if err = cmp.Or(w.err, err); err != nil {
		return fmt.Errorf("stream: event %s: %w", id, err)
	}
	data := row[begin:]
	l.row = append(row, '}')
	if l.tx != tx {
		rows := new([]eventRow)
		l.tx, l.rows = tx, rows
		tx.AfterCommit(func() { l.committed(*rows) })
	}
	n := l.next.Add(1)
	r := eventRow{ID: id, Subject: subject, n: n}
	if l.room > 0 {
		r.Data = bytes.Clone(data)
	}
	*l.rows = append(*l.rows, r)
	return tx.Set(eventKey(n), l.row)
}

// committed takes over the rows of a transaction, which have just come on disk, and wakes the relay.
func (l *eventLog) committed(rows []eventRow) {
	l.tx, l.rows = nil, nil
	us := l.now().UnixMicro()
	for i := range rows {
		rows[i].durableUS = us
	}
	l.mu.Lock()
	l.last = rows[len(rows)-1].n
	if len(l.fresh)+len(rows) <= l.room {
		l.fresh = append(l.fresh, rows...)
	} else {
		l.forgetFresh()
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// forgetFresh has every row read from the ledger that is not relayed yet. mu is held.
func (l *eventLog) forgetFresh() { l.fresh, l.reread = nil, l.last }

// relayed lets go of rows up to n.
func (l *eventLog) relayed(n uint64) {
	l.low.Store(n + 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	i, _ := slices.BinarySearchFunc(l.fresh, n+1, func(r eventRow, n uint64) int { return cmp.Compare(r.n, n) })
	l.fresh = slices.Delete(l.fresh, 0, i)
}

// owing returns the oldest rows that are not relayed, up to relayBatch. publishing is held.
func (l *eventLog) owing(d *db.DB) (rows []eventRow, err error) {
	l.mu.Lock()
	reread := l.reread
	if l.low.Load() > reread {
		rows = slices.Clone(l.fresh[:min(len(l.fresh), relayBatch)])
	}
	l.mu.Unlock()
	if l.low.Load() > reread {
		return rows, nil
	}
	err = d.View(func(tx *db.Tx) error {
		return tx.Scan(eventSpace.Prefix(), eventKey(l.low.Load()), func(key, val []byte) (bool, error) {
			row := eventRow{n: rowNumber(key)}
			if row.n > reread {
				return false, nil // it is handed over
			}
			if err := json.Unmarshal(val, &row); err != nil {
				return false, fmt.Errorf("stream: event row %x: %w", key, err)
			}
			rows = append(rows, row)
			return len(rows) < relayBatch, nil
		})
	})
	if err != nil || len(rows) > 0 {
		return rows, err
	}
	l.low.Store(reread + 1) // all of them have been relayed
	return l.owing(d)
}

func eventKey(n uint64) []byte { return eventSpace.Key(binary.BigEndian.AppendUint64(nil, n)) }

// rowNumber is the n of an eventKey, 0 for a key that is none.
func rowNumber(key []byte) uint64 {
	parts, ok := eventSpace.Split(key)
	if !ok || len(parts) != 1 || len(parts[0]) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(parts[0])
}

func appendTransition(tx *db.Tx, l *eventLog, d *Decision, at Stages) error {
	app, device, _ := wire.SplitDevice(track.DeviceID(d.Device))
	return l.append(tx, d.ID, wire.TransitionSubject(app, d.Kind, string(d.Fence)), TransitionEvent{
		ID: d.ID, Kind: d.Kind, App: app, Device: device, Fence: string(d.Fence), FenceName: d.FenceName, Store: string(d.Store),
		At: d.At, ConfirmedAt: d.ConfirmedAt, ReceivedAt: d.ReceivedAt, EnteredAt: d.EnteredAt, Reason: d.Reason,
		Confidence: d.Confidence, DistanceM: d.CenterM, AccuracyM: d.Fix.AccuracyM, Source: d.Fix.Source, Stages: at,
	})
}

func appendHeld(tx *db.Tx, l *eventLog, d *Decision, c *CampaignDecision, person string, at Stages) error {
	app, device, _ := wire.SplitDevice(track.DeviceID(d.Device))
	id := d.ID + "." + c.Campaign
	return l.append(tx, id, wire.PushSubject(app, c.Campaign, "held"), PushEvent{
		ID: id, App: app, Device: device, Person: person, Campaign: c.Campaign, Fence: string(d.Fence),
		Outcome: "held", Reason: string(c.Reason), At: d.At, Cause: d.ID, Stages: at,
	})
}

func appendOutcome(tx *db.Tx, l *eventLog, d *outbox.Delivery) error {
	id := d.MID + "." + string(d.State)
	if d.Redrives > 0 { // sent again by hand, and so with a second outcome
		id += "." + strconv.Itoa(d.Redrives)
	}
	_, device, _ := wire.SplitDevice(track.DeviceID(d.Device))
	return l.append(tx, id, wire.PushSubject(d.App, d.Campaign, string(d.State)), PushEvent{
		ID: id, App: d.App, Device: device, Person: d.Person, Campaign: d.Campaign, Fence: d.Fence,
		Outcome: string(d.State), Reason: d.Reason, MID: d.MID, Lead: d.Lead, At: d.FixedAt, OutcomeAt: d.UpdatedAt,
	})
}

const (
	// relayBatch is how many events are on the way to JetStream at a time.
	relayBatch = 256
	// relayPoll is how often the relay looks without having been woken, which should never find anything.
	relayPoll = 5 * time.Second
	// owedShown is up to where owed events are counted exactly.
	owedShown = 100_000
)

// owed counts the events that EVENTS does not have yet, up to owedShown.
func (l *eventLog) owed(tx *db.Tx) (n int64, err error) {
	err = tx.Scan(eventSpace.Prefix(), eventKey(l.low.Load()), func(_, _ []byte) (bool, error) {
		n++
		return n < owedShown, nil
	})
	return n, err
}

// erase removes the rows that about says yes to and that EVENTS does not have yet, while none is being published. It returns how many
// there were.
func (l *eventLog) erase(ctx context.Context, d *db.DB, about func(data []byte) bool) (int, error) {
	l.publishing.Lock()
	defer l.publishing.Unlock()
	var keys [][]byte
	err := d.View(func(tx *db.Tx) error {
		return tx.Scan(eventSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
			var row eventRow
			if err := json.Unmarshal(val, &row); err != nil {
				return false, fmt.Errorf("stream: event row %x: %w", key, err)
			}
			if about(row.Data) {
				keys = append(keys, bytes.Clone(key))
			}
			return true, nil
		})
	})
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	err = d.Update(ctx, func(tx *db.Tx) error {
		for _, key := range keys {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetFresh() // they are in there, too
	return len(keys), nil
}

// relay moves event rows to the EVENTS stream: publish with the event's id, wait for the acknowledgements, have them
// removed. What was acknowledged is not published again as long as the process lives, however long the ledger takes
// to forget it; after a crash in between, the stream's duplicate window drops the copy. It returns when ctx ends.
func (l *eventLog) relay(ctx context.Context, d *db.DB, js jetstream.JetStream, log *slog.Logger) {
	wait := 50 * time.Millisecond
	for ctx.Err() == nil {
		l.publishing.Lock()
		rows, err := l.publish(ctx, d, js)
		l.publishing.Unlock()
		switch {
		case err != nil && ctx.Err() == nil:
			log.Warn("events could not be published, trying again", "err", err)
			select {
			case <-time.After(wait):
				wait = min(2*wait, 5*time.Second)
			case <-ctx.Done():
			}
		case err == nil && len(rows) == 0:
			select {
			case <-l.wake:
			case <-time.After(relayPoll):
				for keys := range slices.Chunk(l.takeKept(), relayBatch) {
					l.forget(ctx, d, keys, log)
				}
			case <-ctx.Done():
			}
		case err == nil:
			wait = 50 * time.Millisecond
			l.count.relayed.Add(int64(len(rows)))
			l.relayed(rows[len(rows)-1].n)
			keys := make([][]byte, len(rows))
			for i := range rows {
				keys[i] = eventKey(rows[i].n)
			}
			l.forget(ctx, d, keys, log)
		}
	}
}

// publish sends the oldest rows and returns those that EVENTS has acknowledged: all that were sent, or none with an error.
func (l *eventLog) publish(ctx context.Context, d *db.DB, js jetstream.JetStream) ([]eventRow, error) {
	rows, err := l.owing(d)
	if err != nil {
		return nil, err
	}
	acks := make([]jetstream.PubAckFuture, len(rows))
	for i := range rows {
		m := nats.NewMsg(rows[i].Subject)
		m.Data = rows[i].Data
		if us := rows[i].durableUS; us != 0 {
			m.Data = appendMember(m.Data, "durable_us", us)
		}
		if acks[i], err = js.PublishMsgAsync(m, jetstream.WithMsgID(rows[i].ID), jetstream.WithStallWait(5*time.Second)); err != nil {
			return nil, err
		}
	}
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	for i := range acks {
		select {
		case <-acks[i].Ok():
		case err := <-acks[i].Err():
			return nil, fmt.Errorf("%s: %w", rows[i].Subject, err)
		case <-deadline.C:
			return nil, fmt.Errorf("%s: no acknowledgement from JetStream within 10 s", rows[i].Subject)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return rows, nil
}

// appendMember adds a number to a JSON object that has members: what is known only after the row was written.
func appendMember(object []byte, name string, v int64) []byte {
	body, ok := bytes.CutSuffix(object, []byte("}"))
	if !ok {
		return object
	}
	body = append(bytes.Clone(body), `,"`...)
	body = append(append(body, name...), `":`...)
	return append(strconv.AppendInt(body, v, 10), '}')
}

// forget has published rows removed, without a commit of their own: nobody waits for it. Rows that the ledger does not
// remove are kept in mind and tried again later.
func (l *eventLog) forget(ctx context.Context, d *db.DB, keys [][]byte, log *slog.Logger) {
	kept := func(err error) {
		if err == nil {
			return
		}
		log.Warn("published events could not be removed from the ledger, trying again later", "events", len(keys), "err", err)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.kept = append(l.kept, keys...)
	}
	err := d.Ride(context.WithoutCancel(ctx), func(tx *db.Tx) error {
		for _, key := range keys {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	}, kept)
	kept(err)
}

func (l *eventLog) takeKept() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := l.kept
	l.kept = nil
	return kept
}
