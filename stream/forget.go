package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"footfall/audience"
	"footfall/besttime"
	"footfall/dedupe"
	"footfall/fences"
	"footfall/funnel"
	"footfall/internal/db"
	"footfall/journey"
	"footfall/outbox"
	"footfall/receipt"
	"footfall/stream/wire"
	"footfall/track"
	"footfall/voucher"
)

// Erasing a device goes with the stream of things, so that nothing writes again what was erased:
//
//  1. The owner of the device commits what has arrived, erases presence, profile, visits, events and decisions, lets go
//     of the device, and writes a checkpoint: nothing reads the log behind it again, after a crash neither.
//  2. Its runs of journeys go, and its deliveries. What is being sent is waited for, because its outcome would write it anew.
//  3. Claims, sends, receipts, codes, and the facts of reports.
//  4. Events that EVENTS does not have yet, while nothing is being published; then those that it has.
//  5. The log of the partition up to the checkpoint. It holds the positions of others too, which nobody needs any more.
//
// Of a person, the decisions of devices that they have signed out of go as well, found by the entries of reports, and the log of
// every partition in which they are named.
//
// A crash in between leaves a part; the same order again erases the rest. What the device sends afterwards is new.

// Someone names a device, or a person with all devices.
type Someone struct {
	App    string `json:"app,omitempty"`
	Device string `json:"device,omitempty"`
	Person string `json:"person,omitempty"` // instead of App and Device
}

// Forgotten is the receipt of an erasure: what was erased, by kind. Times are Unix ms.
type Forgotten struct {
	Devices []string `json:"devices"`
	Person  string   `json:"person,omitempty"`
	At      int64    `json:"at"`
	// Erased counts rows of the ledger and messages of the streams by kind.
	Erased map[string]int64 `json:"erased"`
	// Note says what was left, and why; "" for nothing.
	Note string `json:"note,omitempty"`
}

// target is whom an erasure or an export is about.
type target struct {
	devices  []track.DeviceID
	person   string
	subjects map[string]bool // what claims are kept under
	note     string
	// elsewhere are the decisions about the person on other devices, which they have signed out of: device -> ids.
	elsewhere map[track.DeviceID]map[string]bool
}

// decisionsElsewhere reads every entry of reports, when the target is a person.
func (t *target) decisionsElsewhere(tx *db.Tx) (map[track.DeviceID]map[string]bool, error) {
	if t.person == "" {
		return nil, nil
	}
	out := map[track.DeviceID]map[string]bool{}
	err := funnel.EntriesOf(tx, func(e *funnel.Entry) bool { return e.Subject == "p:"+t.person }, func(_ []byte, e *funnel.Entry) {
		id := track.DeviceID(e.Device)
		if slices.Contains(t.devices, id) {
			return
		}
		if out[id] == nil {
			out[id] = map[string]bool{}
		}
		out[id][e.ID] = true
	})
	return out, err
}

// eachElsewhere calls fn with those decisions.
func (t *target) eachElsewhere(tx *db.Tx, fn func(key, val []byte, d *Decision)) error {
	for _, id := range slices.Sorted(maps.Keys(t.elsewhere)) {
		err := tx.Scan(decisionSpace.Key([]byte(id)), nil, func(key, val []byte) (bool, error) {
			d, err := unpackDecision(val)
			if err != nil {
				return false, fmt.Errorf("stream: decision of %s: %w", id, err)
			}
			if t.elsewhere[id][d.ID] {
				fn(key, val, &d)
			}
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// resolve finds the devices; a person whom no profile names has none.
func resolve(tx *db.Tx, who Someone) (t target, err error) {
	t.subjects = map[string]bool{}
	switch {
	case who.Person != "" && who.Device != "", who.Person == "" && who.Device == "":
		return t, fmt.Errorf("%w: name a device or a person", ErrQuery)
	case who.Person != "":
		ids, err := audience.DevicesOf(tx, who.Person)
		if err != nil {
			return t, err
		}
		for _, id := range ids {
			t.devices = append(t.devices, track.DeviceID(id))
		}
		t.person = who.Person
		t.subjects["p:"+who.Person] = true
	default:
		id, err := wire.JoinDevice(who.App, who.Device)
		if err != nil {
			return t, fmt.Errorf("%w: %w", ErrQuery, err)
		}
		t.devices = []track.DeviceID{id}
		p, _, err := audience.Get(tx, string(id))
		if err != nil {
			return t, err
		}
		if p.Person != "" {
			t.note = fmt.Sprintf("what is kept under the person %q (claims, and pushes sent) was left; forget the person to erase it, with all devices", p.Person)
		}
	}
	for _, id := range t.devices {
		t.subjects["d:"+string(id)] = true
	}
	return t, nil
}

// has reports whether a row is about the target: about one of its devices, or kept under the person.
func (t *target) has(device, subject string) bool {
	return slices.Contains(t.devices, track.DeviceID(device)) || t.person != "" && subject == "p:"+t.person
}

func (t *target) hasRun(subject, device string) bool { return t.subjects[subject] || t.has(device, "") }

func (t *target) hasDelivery(d *outbox.Delivery) bool {
	return t.has(d.Device, "p:"+d.Person) || t.has(cameBy(d), "") || slices.ContainsFunc(d.Tried, func(r outbox.Route) bool { return t.has(r.Device, "") })
}

// cameBy is the device that a delivery came from, when that is another than its own; "" else.
func cameBy(d *outbox.Delivery) string {
	if !bytes.Contains(d.Context, []byte(`"by":`)) { // nearly all
		return ""
	}
	var cause deliveryContext
	if json.Unmarshal(d.Context, &cause) != nil {
		return ""
	}
	return cause.By
}

// Forget erases a device or a person everywhere, and says what was erased. It is idempotent, and a second call erases
// what one that was cut off has left. It reads the whole ledger and EVENTS: minutes, when there are millions of rows.
func (g *Gateway) Forget(ctx context.Context, who Someone) (Forgotten, error) {
	if !g.restored.Load() {
		return Forgotten{}, ErrNotRunning
	}
	if !g.forgetting.TryLock() {
		return Forgotten{}, fmt.Errorf("%w: somebody is being forgotten", ErrBusy)
	}
	defer g.forgetting.Unlock()
	var t target
	if err := g.cfg.DB.View(func(tx *db.Tx) (err error) { t, err = resolve(tx, who); return err }); err != nil {
		return Forgotten{}, err
	}
	f := Forgotten{Person: t.person, At: g.cfg.Now().UnixMilli(), Erased: map[string]int64{}, Note: t.note, Devices: []string{}}
	for _, id := range t.devices {
		f.Devices = append(f.Devices, string(id))
	}
	if err := g.cfg.DB.View(func(tx *db.Tx) (err error) { t.elsewhere, err = t.decisionsElsewhere(tx); return err }); err != nil {
		return f, err
	}
	through := map[int]uint64{} // partition -> sequence
	for _, id := range t.devices {
		p := wire.Partition(id, Partitions)
		seq, err := g.forgetDevice(ctx, id, f.Erased)
		if err != nil {
			return f, fmt.Errorf("stream: forget %s: %w", id, err)
		}
		through[p] = max(through[p], seq)
		g.collector.refusals.forget(string(id))
		g.settler.consents.forget(id)
	}
	if err := g.forgetFacts(ctx, &t, &f); err != nil {
		return f, err
	}
	if err := g.forgetEvents(ctx, &t, f.Erased); err != nil {
		return f, fmt.Errorf("stream: forget events: %w", err)
	}
	if err := g.namedInLogs(ctx, t.person, through); err != nil {
		return f, fmt.Errorf("stream: look for the person in the log: %w", err)
	}
	for p, seq := range through {
		n, err := g.logs[p].purge(ctx, seq)
		if err != nil {
			return f, fmt.Errorf("stream: forget the log: %w", err)
		}
		f.Erased["log batches"] += n
	}
	for what, n := range f.Erased {
		if n == 0 {
			delete(f.Erased, what)
		}
	}
	return f, nil
}

// forgetDevice has the owner of the device erase what is kept under it.
func (g *Gateway) forgetDevice(ctx context.Context, id track.DeviceID, erased map[string]int64) (through uint64, err error) {
	p := wire.Partition(id, Partitions)
	w := g.workers[p]
	erase := func(tx *db.Tx) error {
		prof, known, err := audience.Get(tx, string(id))
		if err != nil {
			return err
		}
		counts := map[string]int64{}
		if known {
			counts["profiles"]++
		}
		if known && prof.Reachable() && prof.MayPush() {
			c := funnel.Change{At: tx.Now().UnixMilli(), Device: string(id), Why: "erased"}
			if err := funnel.PutChange(tx, &c, g.cfg.Reports); err != nil {
				return err
			}
		}
		visits, err := audience.VisitsOf(tx, &audience.Profile{Device: string(id)})
		if err != nil {
			return err
		}
		events, err := audience.EventsOf(tx, &audience.Profile{Device: string(id)})
		if err != nil {
			return err
		}
		counts["visits"], counts["customer events"] = int64(len(visits)), int64(len(events))
		if err := audience.Erase(tx, string(id)); err != nil {
			return err
		}
		if _, err := tx.Get(presenceKey(id)); err == nil {
			counts["presence"]++
		}
		if err := errors.Join(tx.Delete(presenceKey(id)), tx.Delete(withdrawnKey(id)), tx.Delete(erasureSpace.Key([]byte(id)))); err != nil {
			return err
		}
		err = tx.Scan(decisionSpace.Key([]byte(id)), nil, func(key, _ []byte) (bool, error) {
			counts["decisions"]++
			return true, tx.Delete(bytes.Clone(key))
		})
		if err != nil {
			return err
		}
		if err := errors.Join(unnamePlans(tx, string(id)), g.members.unname(tx, string(id))); err != nil {
			return err
		}
		tx.AfterCommit(func() { addAll(erased, counts) })
		return nil
	}
	return through, g.atRest(ctx, p, func() (err error) {
		through, err = w.forget(ctx, id, erase)
		return err
	})
}

// atRest runs fn on the goroutine of a partition's worker when all that was stored before is through.
func (g *Gateway) atRest(ctx context.Context, p int, fn func() error) (err error) {
	w := g.workers[p]
	if err := g.collector.intake.sync(ctx); err != nil {
		return err
	}
	stored, _ := g.collector.appends[p].state()
	for {
		done := false
		ask := w.ask(ctx, func(*track.Tracker, *fences.Set) {
			if done = w.through.seq() >= stored; done {
				err = fn()
			}
		})
		if ask != nil || done {
			return errors.Join(ask, err)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// namedInLogs adds the partitions in whose log a person is named to those that are emptied: somebody who has signed out of a device
// is in its registrations, and nothing else need say so.
func (g *Gateway) namedInLogs(ctx context.Context, person string, through map[int]uint64) error {
	if person == "" {
		return nil
	}
	name, _ := json.Marshal(person) // a string always marshals
	named := func(data []byte) bool {
		return bytes.Contains(data, name) || bytes.Contains(data, []byte(`"`+person+`"`))
	}
	for p, l := range g.logs {
		if _, known := through[p]; known {
			continue
		}
		now, err := l.state(ctx)
		if err != nil {
			return err
		}
		if now.last < now.first {
			continue
		}
		found := false
		err = l.read(ctx, now.first, func(m logMessage, caughtUp bool) (bool, error) {
			found = found || named(m.data)
			if m.release != nil {
				m.release()
			}
			return !found && !caughtUp && m.seq < now.last, nil
		})
		if err == nil && found {
			err = g.atRest(ctx, p, func() (err error) { through[p], err = g.workers[p].checkpointed(ctx); return err })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// unnamePlans takes a device out of how far an announcement has come: the plan goes on a little before it, and whom it
// meets again has a claim.
func unnamePlans(tx *db.Tx, device string) error {
	return tx.Scan(planSpace.Prefix(), nil, func(key, val []byte) (bool, error) {
		var p plan
		if err := json.Unmarshal(val, &p); err != nil {
			return false, fmt.Errorf("stream: plan %x: %w", key, err)
		}
		if p.After != device {
			return true, nil
		}
		parts, ok := planSpace.Split(key)
		if !ok || len(parts) != 2 {
			return false, fmt.Errorf("stream: plan key %x", key)
		}
		p.After = device[:len(device)-1]
		return true, putPlan(tx, string(parts[0]), string(parts[1]), p)
	})
}

// eraseChunk is how many rows one transaction erases.
const eraseChunk = 1000

// forgetFacts erases what is kept by message, by claim and by campaign.
func (g *Gateway) forgetFacts(ctx context.Context, t *target, f *Forgotten) error {
	var rows [][]byte
	mids, reported := map[string]bool{}, map[string]bool{} // reported: those whose entries are erased, and so their outcomes
	erase := func(what string) error {
		for chunk := range slices.Chunk(rows, eraseChunk) {
			err := g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
				n := int64(0)
				for _, key := range chunk {
					if _, err := tx.Get(key); err == nil {
						n++
					}
					if err := tx.Delete(key); err != nil {
						return err
					}
				}
				tx.AfterCommit(func() { f.Erased[what] += n })
				return nil
			})
			if err != nil {
				return fmt.Errorf("stream: forget %s: %w", what, err)
			}
		}
		rows = nil
		return nil
	}
	// Runs of journeys, so that no timer of theirs pushes any more.
	err := g.cfg.DB.View(func(tx *db.Tx) (err error) {
		rows, err = journey.RowsOf(tx, t.hasRun)
		return err
	})
	if err == nil {
		err = erase("journey runs and their timers")
	}
	if err != nil {
		return err
	}
	if err := g.forgetDeliveries(ctx, t, mids, f.Erased); err != nil {
		return fmt.Errorf("stream: forget deliveries: %w", err)
	}
	err = g.cfg.DB.View(func(tx *db.Tx) error {
		return t.eachElsewhere(tx, func(key, _ []byte, _ *Decision) { rows = append(rows, bytes.Clone(key)) })
	})
	if err == nil {
		err = erase("decisions")
	}
	if err != nil {
		return err
	}
	err = g.cfg.DB.View(func(tx *db.Tx) error {
		return funnel.EntriesOf(tx, func(e *funnel.Entry) bool { return t.has(e.Device, e.Subject) }, func(key []byte, e *funnel.Entry) {
			rows = append(rows, key)
			for _, mid := range e.MIDs() {
				mids[mid], reported[mid] = true, true
			}
		})
	})
	if err == nil {
		err = erase("entries of reports")
	}
	if err != nil {
		return err
	}
	for chunk := range slices.Chunk(slices.Sorted(maps.Keys(mids)), eraseChunk) {
		n := 0
		if err := g.cfg.DB.Update(ctx, func(tx *db.Tx) (err error) { n, err = voucher.Forget(tx, chunk); return err }); err != nil {
			return fmt.Errorf("stream: forget vouchers: %w", err)
		}
		f.Erased["vouchers, which lose their push"] += int64(n)
	}
	rows = funnel.OutcomeKeys(reported)
	if err := erase("outcomes of reports"); err != nil {
		return err
	}
	apps := map[string]bool{}
	for _, id := range slices.Concat(t.devices, slices.Collect(maps.Keys(t.elsewhere))) {
		apps[appOf(id)] = true
	}
	var claims [][]byte
	var changes []funnel.Change
	err = g.cfg.DB.View(func(tx *db.Tx) (err error) {
		for app := range apps {
			keys, err := receipt.RowsOf(tx, app, mids)
			if err != nil {
				return err
			}
			rows = append(rows, keys...)
		}
		if claims, _, err = dedupe.ClaimsOf(tx, t.subjects); err != nil {
			return err
		}
		changes, err = funnel.ChangesOf(tx, deviceNames(t.devices))
		return err
	})
	if err == nil {
		err = erase("receipts and codes")
	}
	if err != nil {
		return err
	}
	if t.person != "" {
		rows = append(rows, audience.UserTagsKey("p:"+t.person))
	}
	if err := erase("tags of the person"); err != nil {
		return err
	}
	for subject := range t.subjects {
		rows = append(rows, besttime.Key(besttime.Person, subject))
	}
	if err := erase("hours of opens"); err != nil {
		return err
	}
	for _, id := range t.devices {
		rows = append(rows, badgeKey(string(id)))
	}
	if err := erase("counts of unread pushes"); err != nil {
		return err
	}
	for subject := range t.subjects {
		err := g.cfg.DB.View(func(tx *db.Tx) error {
			keys, err := dedupe.SendsOf(tx, subject)
			rows = append(rows, keys...)
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := erase("pushes sent, for caps"); err != nil {
		return err
	}
	for chunk := range slices.Chunk(claims, eraseChunk) {
		if err := g.cfg.DB.Update(ctx, func(tx *db.Tx) error { return dedupe.Forget(tx, chunk) }); err != nil {
			return fmt.Errorf("stream: forget claims: %w", err)
		}
		f.Erased["claims"] += int64(len(chunk))
	}
	for chunk := range slices.Chunk(changes, eraseChunk) {
		err := g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
			for i := range chunk {
				if err := funnel.Unname(tx, &chunk[i], g.cfg.Reports); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("stream: forget subscriptions: %w", err)
		}
		f.Erased["subscriptions, which lose their name"] += int64(len(chunk))
	}
	return nil
}

// forgetDeliveries erases deliveries and notes their message ids. Without a profile nothing more of them is sent; what is
// being sent is waited for.
func (g *Gateway) forgetDeliveries(ctx context.Context, t *target, mids map[string]bool, erased map[string]int64) error {
	for {
		var owed []string
		err := g.cfg.DB.View(func(tx *db.Tx) error {
			return outbox.List(tx, outbox.Filter{}, func(d *outbox.Delivery) bool {
				if t.hasDelivery(d) {
					owed = append(owed, d.MID)
					mids[d.MID] = true
				}
				return true
			})
		})
		if err != nil || len(owed) == 0 {
			return err
		}
		var flying []string
		for chunk := range slices.Chunk(owed, eraseChunk) {
			var left []string
			rows := 0
			err := g.cfg.DB.Update(ctx, func(tx *db.Tx) error {
				left, rows = nil, 0
				for _, mid := range chunk {
					n, busy, err := outbox.Erase(tx, mid)
					if err != nil {
						return err
					}
					if rows += n; busy {
						left = append(left, mid)
					}
				}
				return nil
			})
			if err != nil {
				return err
			}
			flying = append(flying, left...)
			erased["deliveries and their indexes"] += int64(rows)
		}
		if len(flying) == 0 {
			return nil
		}
		if err := g.outbox.Landed(ctx, flying); err != nil {
			return err
		}
		select { // its outcome may still be on its way to the ledger
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func deviceNames(ids []track.DeviceID) map[string]bool {
	out := map[string]bool{}
	for _, id := range ids {
		out[string(id)] = true
	}
	return out
}

func addAll(to, from map[string]int64) {
	for k, n := range from {
		to[k] += n
	}
}

// about returns what tells an event's payload that it is about the target: members of its outer object.
func (t *target) about() func(data []byte) bool {
	type names struct{ App, Device, Person string }
	likely := [][]byte{}
	for _, id := range t.devices {
		_, device, _ := wire.SplitDevice(id)
		likely = append(likely, fmt.Appendf(nil, `"device":%q`, device))
	}
	if t.person != "" {
		text, _ := json.Marshal(t.person) // a string always marshals
		likely = append(likely, append([]byte(`"person":`), text...))
	}
	return func(data []byte) bool {
		if !slices.ContainsFunc(likely, func(s []byte) bool { return bytes.Contains(data, s) }) {
			return false // nearly all: without taking them apart
		}
		var n names
		if json.Unmarshal(data, &n) != nil {
			return false
		}
		id, err := wire.JoinDevice(n.App, n.Device)
		return err == nil && slices.Contains(t.devices, id) || t.person != "" && n.Person == t.person
	}
}

// forgetEvents erases events: rows that EVENTS does not have yet, while none is being published, then messages.
func (g *Gateway) forgetEvents(ctx context.Context, t *target, erased map[string]int64) error {
	about := t.about()
	owed, err := g.events.erase(ctx, g.cfg.DB, about)
	if err != nil {
		return err
	}
	erased["events not yet published"] += int64(owed)
	s, err := g.js.Stream(ctx, wire.EventsStream)
	if err != nil {
		return err
	}
	left := s.CachedInfo().State.LastSeq
	if s.CachedInfo().State.Msgs == 0 {
		return nil
	}
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	it, err := c.Messages()
	if err != nil {
		return err
	}
	defer it.Stop()
	stop := context.AfterFunc(ctx, it.Stop)
	defer stop()
	for {
		m, err := it.Next()
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if about(m.Data()) {
			if err := s.SecureDeleteMsg(ctx, meta.Sequence.Stream); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
				return err
			}
			erased["events"]++
		}
		if meta.Sequence.Stream >= left || meta.NumPending == 0 {
			return nil
		}
	}
}

// Summary lists what was erased, the largest first.
func (f *Forgotten) Summary() []string {
	kinds := slices.SortedFunc(maps.Keys(f.Erased), func(a, b string) int {
		if f.Erased[a] != f.Erased[b] {
			return int(f.Erased[b] - f.Erased[a])
		}
		return bytes.Compare([]byte(a), []byte(b))
	})
	for i, kind := range kinds {
		kinds[i] = fmt.Sprintf("%d %s", f.Erased[kind], kind)
	}
	return kinds
}
