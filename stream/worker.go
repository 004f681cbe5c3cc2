package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"footfall/fences"
	"footfall/geo"
	"footfall/internal/db"
	"footfall/stream/wire"
	"footfall/track"
)

const (
	// offsetEvery is how often the position of effectless input is committed, by all partitions in the same moment: they
	// share one commit then, which claims would have to wait for sixteen times.
	offsetEvery = time.Second
	// checkpointRows is how many presence rows one checkpoint transaction writes.
	checkpointRows = 2_000
)

// worker owns the devices of one partition: one goroutine reads their records in log order, runs the tracker,
// and hands what has an effect to the ledger writer. It takes no locks and reads no clock for decisions; while
// one group of effects is being committed the next one grows, and when that is large enough the worker stops
// reading, so the backlog stays in the log.
type worker struct {
	partition  int
	tracker    *track.Tracker
	fences     func() *fences.Set
	settler    *settler
	db         *db.DB
	log        *slog.Logger
	now        func() time.Time // for measurements, never for decisions
	count      *counters
	checkpoint time.Duration
	maxAgeMS   int64

	in      chan logMessage
	queries chan query
	done    chan error // result of the group in flight

	reader *wire.BatchReader
	pings  track.Batch   // of the log's batch at hand, up to track.BatchSize at a time
	others []wire.Record // the records of other kinds before and between them
	taken  int           // of others
	res    track.Result

	mark      progress   // committed, plus the checkpoint to be committed next
	through   position   // last record processed
	next      uint64     // sequence expected next
	gen       uint32     // generation of the fences the last batch was applied with
	group     *effects   // growing
	ready     []*effects // full ones, waiting for their turn; the input stops while there are any
	flying    *effects   // submitted, nil when none
	storedUS  int64      // when the log had the batch at hand
	decidedUS int64      // when its first effect was found; 0: none yet
	retry     *time.Timer
	backoff   time.Duration
	nextCheck time.Time

	verdicts track.Counts // of the batch at hand

	settledSeq atomic.Uint64 // sequence up to which nothing is owed to the ledger; for Gateway.Settle
}

// query asks the owner of a device what it knows; fn runs on the worker's goroutine.
type query struct {
	fn   func(t *track.Tracker, set *fences.Set)
	done chan struct{}
}

func newWorker(partition int, rules track.Rules, mark progress, from uint64) *worker {
	w := &worker{
		partition: partition,
		tracker:   track.New(rules),
		in:        make(chan logMessage, 8),
		queries:   make(chan query),
		done:      make(chan error, 1),
		reader:    wire.NewBatchReader(wire.NewInterner(1 << 14)),
		mark:      mark,
		through:   mark.Committed,
		next:      from,
		gen:       mark.Gen,
		retry:     time.NewTimer(time.Hour),
		maxAgeMS:  rules.MaxAge.Milliseconds(),
	}
	w.retry.Stop()
	w.group = w.newGroup()
	return w
}

func (w *worker) newGroup() *effects {
	return &effects{partition: w.partition}
}

// run processes until ctx ends, then commits what it has and writes a last checkpoint, so that the next start
// has nothing to read again.
func (w *worker) run(ctx context.Context) error {
	tick := time.NewTimer(untilNext(offsetEvery))
	defer tick.Stop()
	ticking := true // not while there is nothing to write: a partition without input wakes nobody
	// Checkpoints of the partitions are spread over the interval.
	w.nextCheck = time.Now().Add(w.checkpoint * time.Duration(w.partition+1) / Partitions)
	for {
		if w.flying == nil && !w.owing() {
			w.settledSeq.Store(w.through.seq())
		}
		if !ticking && w.unwritten() {
			ticking = true
			tick.Reset(untilNext(offsetEvery))
			if missed := time.Since(w.nextCheck); missed > 0 { // while there was nothing to check
				w.nextCheck = w.nextCheck.Add((missed/w.checkpoint + 1) * w.checkpoint)
			}
		}
		in := w.in
		if len(w.ready) > 0 {
			in = nil
		}
		select {
		case m := <-in:
			if m.anew != nil {
				if err := w.begin(ctx, m.anew); err != nil && ctx.Err() == nil {
					return err
				}
				continue
			}
			w.process(m)
			if m.release != nil {
				m.release()
			}
			if w.owing() {
				w.submit(ctx)
			}
		case err := <-w.done:
			w.landed(ctx, err)
		case <-w.retry.C:
			w.send(ctx)
		case now := <-tick.C:
			w.submit(ctx)
			if now.After(w.nextCheck) {
				w.nextCheck = now.Add(w.checkpoint)
				if err := w.writeCheckpoint(ctx); err != nil && ctx.Err() == nil {
					w.log.Warn("checkpoint failed, trying again later", "partition", w.partition, "err", err)
				}
			}
			if ticking = w.unwritten(); ticking {
				tick.Reset(untilNext(offsetEvery))
			}
		case q := <-w.queries:
			q.fn(w.tracker, w.fences())
			close(q.done)
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopPatience)
			defer cancel()
			if err := w.writeCheckpoint(end); err != nil {
				return fmt.Errorf("stream: partition %d: last checkpoint: %w", w.partition, err)
			}
			return nil
		}
	}
}

// stopPatience is how long a stopping worker tries to commit what it has; the log still holds it otherwise.
const stopPatience = 10 * time.Second

// begin goes over to a log that is not the one read so far, in a new epoch.
func (w *worker) begin(ctx context.Context, now *logState) error {
	if err := w.flush(ctx); err != nil {
		return err
	}
	mark, from := resumeAt(w.mark, *now, w.partition, w.log, w.count)
	if mark.Epoch == w.mark.Epoch { // shorter only by what was already read
		return nil
	}
	if err := w.db.Update(ctx, func(tx *db.Tx) error { return tx.Set(progressKey(w.partition), mark.encode()) }); err != nil {
		return fmt.Errorf("stream: partition %d: begin a new log: %w", w.partition, err)
	}
	w.mark, w.through, w.next = mark, mark.Committed, from
	return nil
}

// process applies one batch with one set of fences.
func (w *worker) process(m logMessage) {
	if gone := int64(m.seq) - int64(max(w.next, w.mark.Committed.seq()+1)); gone > 0 {
		w.count.agedOut.Add(gone)
		w.log.Warn("batches left the log before they were processed", "partition", w.partition, "batches", gone)
	}
	w.next = m.seq + 1
	set := w.fences()
	w.gen = set.Gen()
	w.storedUS, w.decidedUS = m.storedUS, 0
	last := at(w.mark.Epoch, m.seq, recordMask)
	if err := w.reader.Reset(m.data); err != nil {
		w.poison("bad_batch", m.seq, err)
		w.through = max(w.through, last)
		return
	}
	first := at(w.mark.Epoch, m.seq, 0)
	records := 0
	for more := true; more; {
		var err error
		if w.others, more, err = w.reader.Fill(&w.pings, w.others[:0], uint64(first)); err != nil {
			w.poison("bad_record", m.seq, err)
		}
		w.taken = 0
		records += w.pings.Len() + len(w.others)
		w.apply(set, first)
	}
	w.through = max(w.through, last)
	w.count.processed.Add(int64(records))
	for v, n := range w.verdicts {
		if n > 0 {
			w.count.verdicts.add(track.Verdict(v).String(), int64(n))
		}
	}
	clear(w.verdicts[:])
}

// apply takes the pings and the other records that were read, in the order of the log. A panic costs the one record that
// it is about: it is counted, logged with its place, and the next one is taken.
func (w *worker) apply(set *fences.Set, first position) {
	for !w.applySome(set, first) {
	}
}

func (w *worker) applySome(set *fences.Set, first position) (done bool) {
	at := first // of the record at hand
	defer func() {
		if r := recover(); r != nil {
			if n := w.pings.Begun(); n > 0 {
				at = max(at, position(w.pings.Pos(n-1)))
			}
			w.count.poison.add("record_panic", 1)
			w.log.Error("a record could not be processed", "partition", w.partition, "seq", at.seq(), "panic", r, "stack", string(debug.Stack()))
			done = false
		}
	}()
	// The records before position before.
	pass := func(before position) {
		for w.taken < len(w.others) && first+position(w.others[w.taken].Index) < before {
			rec := &w.others[w.taken]
			w.taken++
			at = first + position(rec.Index)
			w.other(rec, at)
			w.passed(at)
		}
	}
	w.tracker.ApplyBatch(set, &w.pings, &w.verdicts, &w.res, func(i int, _ *track.Result) {
		at = position(w.pings.Pos(i))
		pass(at)
		w.ping(i, set, at <= w.mark.Committed)
		w.passed(at)
	})
	pass(first + recordMask + 1)
	return true
}

// other takes up a record that is no ping. What it says about the use of positions counts from here on: for presence also when
// the log is read again.
func (w *worker) other(rec *wire.Record, at position) {
	in := input{kind: rec.Kind, device: rec.Device, pos: at, receivedAt: rec.ReceivedAt}
	if rec.Kind == wire.KindDevice {
		w.consent(&in, rec.Payload)
	}
	if at > w.mark.Committed { // else its effects are in the ledger
		in.payload = slices.Clone(rec.Payload)
		w.add(in)
	}
}

// passed notes that every record up to pos has been processed, and ends a group of effects that has become large.
func (w *worker) passed(pos position) {
	w.through = max(w.through, pos)
	if w.group.heavy() {
		w.group.through = w.through
		w.ready, w.group = append(w.ready, w.group), w.newGroup()
	}
}

// ping takes up what ping i of the batch made; replay says that its effects are in the ledger, and only presence is
// rebuilt.
func (w *worker) ping(i int, set *fences.Set, replay bool) {
	if replay {
		w.keepUnseen()
		if len(w.res.Transitions) == 0 {
			return
		}
	}
	fix := w.pings.Fix(i)
	begins := w.res.Visiting && !replay && w.settler.campaigns().StartsBetween(time.UnixMilli(w.res.PrevFixedAt), time.UnixMilli(fix.FixedAt))
	if len(w.res.Transitions) == 0 && len(w.res.Notes) == 0 && !begins {
		return // a device that stands in a fence: the usual case, which makes no garbage
	}
	device := w.pings.Device(i)
	var begun []track.Transition
	if begins {
		begun = w.begunDuringVisit(set, device, &fix)
		if len(w.res.Transitions) == 0 && len(w.res.Notes) == 0 && len(begun) == 0 {
			return
		}
	}
	in := input{
		kind: wire.KindPing, device: device, pos: position(w.pings.Pos(i)), receivedAt: fix.ReceivedAt,
		set: set, fix: fix, verdict: w.res.Verdict,
		transitions: slices.Clone(w.res.Transitions), notes: slices.Clone(w.res.Notes),
		begun: begun, prevFixedAt: w.res.PrevFixedAt, near: candidatesAt(set, &fix),
	}
	var ok bool
	if in.row, ok = w.tracker.Encode(nil, device); ok {
		w.tracker.MarkClean(device)
	}
	w.add(in)
}

// keepUnseen leaves in w.res, read again after a crash, only what the first reading could not have seen:
// transitions of fences that were drawn or changed since. They are edits, not arrivals.
func (w *worker) keepUnseen() {
	w.res.Notes = w.res.Notes[:0]
	w.res.Transitions = slices.DeleteFunc(w.res.Transitions, func(tr track.Transition) bool {
		return tr.Fence == nil || tr.Fence.ShapeGen <= w.mark.Gen
	})
	for i := range w.res.Transitions {
		tr := &w.res.Transitions[i]
		if tr.Fence.CreatedGen > w.mark.Gen {
			tr.Reason |= track.FenceCreated
		} else {
			tr.Reason |= track.FenceChanged
		}
	}
}

// begunDuringVisit lists, as enters marked initial, the fences the device stands in and for which some campaign
// began since its last fix: such a campaign owes everybody who is already there one entry.
func (w *worker) begunDuringVisit(set *fences.Set, device track.DeviceID, fix *track.Fix) []track.Transition {
	cs := w.settler.campaigns()
	prev, now := time.UnixMilli(w.res.PrevFixedAt), time.UnixMilli(fix.FixedAt)
	p, ok := w.tracker.Presence(device)
	if !ok {
		return nil
	}
	var out []track.Transition
	for _, in := range p.Inside {
		f, ok := set.Lookup(in.FenceID)
		if !ok || in.Unknown || in.Since > w.res.PrevFixedAt || len(cs.Starting(nil, f, prev, now)) == 0 {
			continue
		}
		tr := track.Transition{
			Kind: track.Enter, Fence: f, FenceID: f.ID, Reason: track.Initial, At: fix.FixedAt, ConfirmedAt: fix.FixedAt,
			Fix: *fix, Confidence: 2, EnteredAt: in.Since,
		}
		if fix.ReceivedAt-fix.FixedAt > w.maxAgeMS {
			tr.Reason |= track.Stale
		}
		if fix.HasPosition {
			at := geo.Point{Lat: fix.Lat, Lng: fix.Lng}
			tr.EdgeDistanceM, tr.CenterDistanceM = f.Shape.EdgeDistanceM(at), f.Shape.CenterDistanceM(at)
			if tr.EdgeDistanceM+float64(fix.AccuracyM) <= 0 {
				tr.Confidence = 3
			}
		}
		out = append(out, tr)
	}
	return out
}

func (w *worker) add(in input) {
	if w.decidedUS == 0 { // once a batch, and never for input without an effect
		w.decidedUS = w.now().UnixMicro()
	}
	in.at = Stages{CollectedUS: w.reader.CollectedUS(in.receivedAt), StoredUS: w.storedUS, DecidedUS: w.decidedUS}
	w.group.inputs = append(w.group.inputs, in)
	w.group.bytes += 64 + len(in.payload) + len(in.row) + 2048*(len(in.transitions)+len(in.begun)) + 512*len(in.notes)
}

func (w *worker) poison(reason string, seq uint64, err error) {
	w.count.poison.add(reason, 1)
	w.log.Error("a stored batch could not be read; it is skipped", "partition", w.partition, "seq", seq, "err", err)
}

// owing reports whether there are effects that nobody has submitted yet.
func (w *worker) owing() bool { return len(w.ready) > 0 || len(w.group.inputs) > 0 }

// unwritten reports whether anything has been processed that is not in the ledger, offset and checkpoint included.
func (w *worker) unwritten() bool {
	return w.owing() || w.flying != nil || w.through > w.mark.Committed || w.through != w.mark.Checkpoint
}

// submit sends the oldest group to the ledger unless one is under way or there is nothing new.
func (w *worker) submit(ctx context.Context) {
	if w.flying != nil || w.through <= w.mark.Committed && !w.owing() {
		return
	}
	if len(w.ready) > 0 {
		w.flying, w.ready = w.ready[0], w.ready[1:]
	} else {
		w.flying, w.group = w.group, w.newGroup()
		w.flying.through = w.through
	}
	w.flying.mark = w.mark
	if w.flying.through > w.mark.Committed { // not so for effects of a second reading
		w.flying.mark.Committed, w.flying.mark.Gen = w.flying.through, w.gen
	}
	w.send(ctx)
}

func (w *worker) send(ctx context.Context) {
	e := w.flying
	err := w.db.Submit(ctx, func(tx *db.Tx) error { return w.settler.settle(tx, e) }, func(err error) { w.done <- err })
	if err != nil { // not queued: done is not called
		w.landed(ctx, err)
	}
}

// landed handles the result of the group in flight. A group that the ledger cannot take now (no room, closed) is
// sent again until it holds, in order and before anything later: nothing after it may be committed first. A group
// that it can never take as it is (too big, or with an input that cannot be settled) is cut in two, down to the one
// input, which in the end is given up so that its partition goes on.
func (w *worker) landed(ctx context.Context, err error) {
	switch {
	case err == nil:
		w.backoff = 0
		w.mark = w.flying.mark
		w.settler.settled(w.flying)
		w.flying = nil
		if w.owing() {
			w.submit(ctx)
		}
		return
	case errors.Is(err, db.ErrTooBig), errors.As(err, new(*settleError)) && w.flying.tries >= settleTries:
		if a, b, ok := w.flying.split(); ok {
			a.tries, b.tries = w.flying.tries, w.flying.tries
			w.ready = append([]*effects{a, b}, w.ready...)
			w.flying = nil
			w.submit(ctx)
			return
		}
		w.giveUp(err)
	case errors.As(err, new(*settleError)):
		w.flying.tries++
	}
	w.backoff = min(max(2*w.backoff, 50*time.Millisecond), 5*time.Second)
	if ctx.Err() == nil {
		w.log.Error("the ledger did not take a group of effects; input waits in the log", "partition", w.partition, "err", err, "retry", w.backoff)
	}
	w.retry.Reset(w.backoff)
}

// settleTries is how often settling may fail before the input at fault is looked for: with the back-off, about
// half a minute, in which a passing fault of the disk mends itself.
const settleTries = 10

// giveUp drops the effects of the one input in flight, counted and logged, and keeps the device's presence.
func (w *worker) giveUp(err error) {
	for i := range w.flying.inputs {
		in := &w.flying.inputs[i]
		w.count.poison.add("settle_failed", 1)
		w.log.Error("an input could not be settled; its effects are given up", "device", in.device, "seq", in.pos.seq(), "transitions", len(in.transitions), "err", err)
		in.transitions, in.notes, in.begun, in.payload = nil, nil, nil, nil
		if in.kind != wire.KindPing {
			in.kind = 0
		}
	}
	w.flying.tries = 0
}

// flush commits everything processed so far and waits for it.
func (w *worker) flush(ctx context.Context) error {
	for w.flying != nil || w.owing() || w.through > w.mark.Committed {
		w.submit(ctx)
		select {
		case err := <-w.done:
			w.landed(ctx, err)
		case <-w.retry.C:
			w.send(ctx)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// writeCheckpoint puts the presence of every changed device into the ledger. It commits all effects first: a
// presence row must never tell of a transition whose effects could still be lost.
func (w *worker) writeCheckpoint(ctx context.Context) error {
	if err := w.flush(ctx); err != nil {
		return err
	}
	if w.mark.Checkpoint == w.through {
		return nil
	}
	for chunk := range slices.Chunk(w.tracker.Dirty(nil), checkpointRows) {
		rows := make(map[track.DeviceID][]byte, len(chunk))
		for _, id := range chunk {
			if row, ok := w.tracker.Encode(nil, id); ok {
				rows[id] = row
			}
		}
		err := w.db.Update(ctx, func(tx *db.Tx) error {
			for id, row := range rows {
				if err := tx.Set(presenceKey(id), row); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, id := range chunk {
			w.tracker.MarkClean(id)
		}
	}
	mark := w.mark
	mark.Checkpoint = w.through
	if err := w.db.Update(ctx, func(tx *db.Tx) error { return tx.Set(progressKey(w.partition), mark.encode()) }); err != nil {
		return err
	}
	w.mark = mark
	return nil
}

// forget commits what is processed, erases rows of a device in one transaction, lets go of its presence, and writes a
// checkpoint, so that no start reads the log behind it again. It runs on the worker's goroutine. It returns up to which
// sequence of the log nobody needs anything any more.
func (w *worker) forget(ctx context.Context, id track.DeviceID, erase func(tx *db.Tx) error) (through uint64, err error) {
	if err := w.flush(ctx); err != nil {
		return 0, err
	}
	if err := w.db.Update(ctx, erase); err != nil {
		return 0, err
	}
	w.tracker.Forget(id)
	return w.checkpointed(ctx)
}

// checkpointed commits what has been processed, and returns the sequence behind which nothing is read again.
func (w *worker) checkpointed(ctx context.Context) (through uint64, err error) {
	if err := w.flush(ctx); err != nil {
		return 0, err
	}
	if err := w.writeCheckpoint(ctx); err != nil {
		return 0, err
	}
	return w.mark.Checkpoint.seq(), nil
}

// ask runs fn on the goroutine that owns the partition's devices.
func (w *worker) ask(ctx context.Context, fn func(*track.Tracker, *fences.Set)) error {
	q := query{fn: fn, done: make(chan struct{})}
	select {
	case w.queries <- q:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-q.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
