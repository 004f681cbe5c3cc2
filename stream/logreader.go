package stream

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// logMessage is one stored batch, or the news that the log is not the one that was read so far.
type logMessage struct {
	seq      uint64
	storedUS int64 // when the log took it, Unix microseconds of the NATS server's clock
	data     []byte
	release  func()    // gives data back when the batch has been processed; may be nil
	anew     *logState // the log as it is now; seq and data mean nothing then
}

// resumeAt compares the ledger's progress with the state of the log and says where reading begins. The ledger is
// the consumer's memory, so that is after the last checkpoint. A log that is shorter than the ledger remembers has
// lost its tail (a power cut may take the last second), and a log that was created anew has nothing to do with the
// old sequence numbers: both start a new epoch, so that new input is never taken for old. The mark returned must be
// stored before input under the new epoch is acknowledged, or a second crash would forget the first.
func resumeAt(p progress, now logState, partition int, log *slog.Logger, count *counters) (mark progress, from uint64) {
	created, first, last := now.created, now.first, now.last
	epochAt := func(pos position) progress {
		return progress{Created: created, Epoch: pos.epoch(), Committed: pos, Checkpoint: pos, Gen: p.Gen}
	}
	switch {
	case p.Created == 0: // never read
		return epochAt(at(1, 0, 0)), first
	case p.Created != created:
		log.Warn("the input log was created anew; reading it from its beginning", "partition", partition, "remembered", p.Committed.seq(), "last", last)
		count.lostTail.Add(1)
		return epochAt(at(p.Epoch+1, 0, 0)), first
	case last < p.Committed.seq():
		log.Warn("the input log lost its tail; going on from its end", "partition", partition, "remembered", p.Committed.seq(), "last", last)
		count.lostTail.Add(1)
		return epochAt(at(p.Epoch+1, last, recordMask)), last + 1
	}
	// The message of the checkpoint itself is read again: the checkpoint may stand in the middle of it.
	return p, max(p.Checkpoint.seq(), 1)
}

// feed delivers the batches of one partition to its worker, in the order of the log and each one once.
//
// It works in one of two ways. Reading, a consumer of the log delivers what is stored from a sequence on: after a start,
// and whenever the worker has fallen behind, so that a backlog stays in the log and not in memory. Following, the
// appender hands over each batch itself once the log has it: the usual case, which saves the way out of the log and back
// through the client library. It makes no difference to the worker: a batch is stored before it is processed, and
// offsets live in the ledger.
//
// Following begins when the worker has been given everything that the log holds. It ends when a sequence is not the
// next one (somebody else wrote, or an append was repeated) and when the worker has had no room for handPatience.
type feed struct {
	source inputLog
	out    chan logMessage
	stored func() uint64    // sequence of the last batch that this gateway has stored; 0: none yet
	now    func() time.Time // for measurements
	log    *slog.Logger
	// suspect says that the log may have been replaced, which the client library does not notice.
	suspect chan struct{}

	mu        sync.Mutex
	next      uint64 // sequence to be delivered next
	following bool
	lost      chan struct{} // following has ended
}

const (
	// handPatience is how long a worker may have no room before its batches are left in the log. It covers the
	// time in which the worker gets no processor; meanwhile the next batch grows.
	handPatience = 20 * time.Millisecond
	// lookEvery is how often a follower looks whether the log holds something that it was not handed.
	lookEvery = 5 * time.Second
	lookAgain = 100 * time.Millisecond // handPatience and the acknowledgement of an append
	// pullBatches is how many batches a reader has on the way: up to 64 x 1,000 records ahead of the worker's.
	pullBatches = 64
)

// newFeed returns the feed of a log whose next batch for the worker is next.
func newFeed(source inputLog, next uint64, out chan logMessage, stored func() uint64, now func() time.Time, log *slog.Logger) *feed {
	return &feed{
		source: source, out: out, stored: stored, now: now, log: log, next: next,
		suspect: make(chan struct{}, 1), lost: make(chan struct{}, 1),
	}
}

// hand offers a batch that the log has just stored. It reports whether the worker has taken it, and with it data, until
// it calls release; otherwise the worker gets the batch from the log, or has it already. It is for the partition's
// appender alone, after stored tells of the batch.
func (f *feed) hand(seq uint64, data []byte, release func()) bool {
	f.mu.Lock() // also while waiting for room: nobody else may deliver meanwhile
	defer f.mu.Unlock()
	if !f.following || seq < f.next {
		return false
	}
	if seq > f.next || !f.give(logMessage{seq: seq, storedUS: f.now().UnixMicro(), data: data, release: release}) {
		f.leave()
		return false
	}
	f.next = seq + 1
	return true
}

// give waits a moment for room.
func (f *feed) give(m logMessage) bool {
	select {
	case f.out <- m:
		return true
	default:
	}
	patience := time.NewTimer(handPatience)
	defer patience.Stop()
	select {
	case f.out <- m:
		return true
	case <-patience.C:
		return false
	}
}

// leave ends following. mu is held.
func (f *feed) leave() {
	f.following = false
	select {
	case f.lost <- struct{}{}:
	default:
	}
}

// caughtUp begins following, unless the appender has stored something that the worker was not given.
func (f *feed) caughtUp() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.following = f.stored() < f.next
	return f.following
}

func (f *feed) nextSeq() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.next
}

// suspectLog has the log looked at: it handed out a sequence that it had handed out before.
func (f *feed) suspectLog() {
	select {
	case f.suspect <- struct{}{}:
	default:
	}
}

// run delivers until ctx ends. created is that of the log whose next batch is f.next.
func (f *feed) run(ctx context.Context, created int64) {
	wait := 100 * time.Millisecond
	for ctx.Err() == nil {
		from := f.nextSeq()
		now, err := f.source.state(ctx)
		if err == nil && (now.created != created || now.last+1 < from) {
			created = now.created
			select {
			case f.out <- logMessage{anew: &now}:
				f.mu.Lock()
				f.next = 1
				f.mu.Unlock()
				continue
			case <-ctx.Done():
				return
			}
		}
		if err == nil {
			select {
			case <-f.suspect: // looked at
			default:
			}
			if from > now.last && f.caughtUp() {
				f.follow(ctx, created)
				continue
			}
			if err = f.read(ctx, from); err == nil {
				wait = 100 * time.Millisecond
				f.follow(ctx, created)
				continue
			}
		}
		if ctx.Err() != nil {
			return
		}
		if f.nextSeq() > from {
			wait = 100 * time.Millisecond
		}
		f.log.Warn("reading the input log was interrupted, starting again", "log", f.source.name(), "from", f.nextSeq(), "err", err)
		select {
		case <-time.After(wait):
			wait = min(2*wait, 5*time.Second)
		case <-ctx.Done():
			return
		}
	}
}

// untilNext is the time to the next whole multiple of every. What all partitions do that often they do in the same moment, so that
// the gateway wakes up once for them.
func untilNext(every time.Duration) time.Duration {
	now := time.Now()
	return now.Truncate(every).Add(every).Sub(now)
}

// follow returns when following has ended, or has to because the log holds something else than it was handed.
func (f *feed) follow(ctx context.Context, created int64) {
	look := time.NewTimer(untilNext(lookEvery))
	defer look.Stop()
	if !f.source.shared() { // nobody else writes
		look.Stop()
	}
	owed := uint64(0)
	for going := true; going; {
		select {
		case <-f.lost:
			going = false
		case <-f.suspect:
			going = false
		case <-ctx.Done():
			going = false
		case <-look.C:
			now, err := f.source.state(ctx)
			if err != nil {
				look.Reset(untilNext(lookEvery))
				break
			}
			next := f.nextSeq()
			switch {
			case now.created != created, now.last+1 < next, next <= owed:
				going = false
			case now.last >= next: // most likely on its way: it is looked at again
				owed = now.last
				look.Reset(lookAgain)
			default:
				look.Reset(untilNext(lookEvery))
			}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.following = false
	select {
	case <-f.lost: // of what has just been ended
	default:
	}
}

// read delivers from the log until the worker has caught up with it (nil), or reading breaks. When the log may have been replaced
// under it, it returns errSuspect.
func (f *feed) read(ctx context.Context, from uint64) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-f.suspect:
			cancel(errSuspect)
		case <-ctx.Done():
		}
	}()
	err := f.source.read(ctx, from, func(m logMessage, caughtUp bool) (more bool, err error) {
		if m.seq != 0 {
			select {
			case f.out <- m:
			case <-ctx.Done():
				return false, ctx.Err()
			}
			f.mu.Lock()
			f.next = m.seq + 1
			f.mu.Unlock()
		}
		return !caughtUp || !f.caughtUp(), nil
	})
	if cause := context.Cause(ctx); errors.Is(cause, errSuspect) {
		return cause
	}
	return err
}

var errSuspect = errors.New("the log may have been replaced")
