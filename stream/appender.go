package stream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/internal/failpoint"
	"footfall/stream/inputlog"
	"footfall/stream/wire"
	"footfall/track"
)

const (
	// batchRecords and batchBytes end a batch; the position type has room for 1,024 records.
	batchRecords = 1000
	batchBytes   = 256 << 10
	// queueBatches bounds what one partition may hold in memory while its log is slow: 32,000 records, 8 MiB.
	// Past it the collector answers busy.
	queueBatches = 32
	// appendsAtOnce bounds the appends under way in all partitions together. The log takes no more of them than it
	// has processors, and what waits for its turn makes larger batches: a batch costs as much as 50 of its records.
	appendsAtOnce = 4
	// appendPatience is how long one attempt to append may take.
	appendPatience = 5 * time.Second
)

// A request is a publish that wants an answer. It may have records in several partitions; the answer goes out
// when the last of them is stored.
type request struct {
	nc      *nats.Conn
	to      string
	reply   []byte // what to answer when everything is stored
	waiting atomic.Int32
	failed  atomic.Bool
}

// settle notes that one partition has stored its share, or could not, and answers when it was the last.
func (r *request) settle(stored bool) {
	if !stored {
		r.failed.Store(true)
	}
	if r.waiting.Add(-1) > 0 {
		return
	}
	reply := r.reply
	if r.failed.Load() {
		reply = wire.AppendBusy(nil, busyRetry)
	}
	_ = r.nc.Publish(r.to, reply) // a client that has gone away needs no answer
}

// batch is what becomes one message of the log.
type batch struct {
	data     []byte
	sealed   []byte // data with its checksum, from when it is stored
	records  int
	pings    int
	requests []*request
}

// answer settles the batch's requests. Those of a batch whose first attempt failed are answered busy at once: the
// sender repeats, which has no effect should the batch be stored after all.
func (b *batch) answer(stored bool) {
	for _, r := range b.requests {
		r.settle(stored)
	}
	clear(b.requests)
	b.requests = b.requests[:0]
}

// appender stores one partition's records in its log. Batching is natural: while one append is under way the
// next batch fills, so a quiet gateway stores every ping at once and a busy one stores hundreds together.
type appender struct {
	log     inputLog // set before run
	count   *counters
	onError func(error)
	slots   chan struct{} // appends under way in all partitions: see appendsAtOnce
	feed    *feed         // of the partition's worker; set before run

	mu    sync.Mutex
	queue []*batch // the last one is being filled
	busy  bool     // an append is under way
	last  uint64   // sequence of the last stored batch
	free  []*batch // at most freeBatches, so that filling does not allocate
	wake  chan struct{}
}

func newAppender(count *counters, slots chan struct{}, onError func(error)) *appender {
	return &appender{count: count, slots: slots, onError: onError, wake: make(chan struct{}, 1)}
}

// full reports whether the partition has no room for another payload.
func (a *appender) full() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.queue) >= queueBatches
}

// add puts records in the current batch, and in more when they do not fit; req is nil for a plain publish. A
// request is counted once in each batch that holds records of it. They are stored after wakeUp.
//
// nowUS is when the records came, in Unix microseconds.
func (a *appender) add(records []wire.Record, nowUS int64, req *request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range records {
		b := a.current(req)
		b.data = wire.AppendRecord(b.data, &records[i])
		pings := 0
		if records[i].Kind == wire.KindPing {
			pings = 1
		}
		b.added(1, pings, nowUS)
	}
}

// pingsAtOnce bounds how many pings are added to a batch before it is looked whether that has become too large.
const pingsAtOnce = 100

// addPings is add for pings of one device.
func (a *appender) addPings(id track.DeviceID, fixes []track.Fix, nowUS int64, req *request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(fixes) > 0 {
		b := a.current(req)
		n := min(len(fixes), batchRecords-b.records, pingsAtOnce)
		b.data = wire.AppendPings(b.data, id, fixes[:n])
		b.added(n, n, nowUS)
		fixes = fixes[n:]
	}
}

// current is the batch that is being filled, with room for a record, and with req among those that wait for it. mu is held.
func (a *appender) current(req *request) *batch {
	var b *batch
	if n := len(a.queue); n > 0 {
		b = a.queue[n-1]
	}
	if b == nil || b.records >= batchRecords || len(b.data) >= batchBytes {
		b = a.open()
	}
	if req != nil && (len(b.requests) == 0 || b.requests[len(b.requests)-1] != req) {
		req.waiting.Add(1)
		b.requests = append(b.requests, req)
	}
	return b
}

// added notes that records have come.
func (b *batch) added(records, pings int, nowUS int64) {
	if b.records == 0 {
		wire.SetMicros(b.data, int(nowUS%1000))
	}
	b.records += records
	b.pings += pings
}

// wakeUp has what was added stored. It is called after a run of adds and not after each, so that a burst
// becomes one batch.
func (a *appender) wakeUp() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// open begins a batch at the end of the queue.
func (a *appender) open() *batch {
	var b *batch
	if n := len(a.free); n > 0 {
		b, a.free = a.free[n-1], a.free[:n-1]
	} else {
		b = &batch{data: make([]byte, 0, 4<<10)}
	}
	a.queue = append(a.queue, b)
	return b
}

// run stores batches until ctx ends and the queue is empty, or flushBy passes. A batch whose append failed is
// tried again: it may then be stored twice, which has no effect, whereas giving it up would lose input.
func (a *appender) run(ctx context.Context, flushBy context.Context) {
	for {
		if a.empty() {
			select {
			case <-a.wake:
				continue
			case <-ctx.Done():
				if a.empty() {
					return
				}
			}
		}
		a.slots <- struct{}{}
		b := a.next() // as late as possible: it has grown while waiting
		b.sealed = wire.SealBatch(b.data)
		seq, stored := a.store(flushBy, b.sealed, b)
		if stored {
			a.count.batches.Add(1)
			a.count.pings.Add(int64(b.pings))
			a.count.others.Add(int64(b.records - b.pings))
		} else {
			a.count.dropped.add("not_stored", int64(b.records))
		}
		<-a.slots
		failpoint.Here(failpoint.Stored)
		b.answer(stored)
		replaced := a.stored(seq)
		if replaced {
			a.feed.suspectLog()
		}
		if !stored || replaced || !a.feed.hand(seq, b.sealed, func() { a.recycle(b) }) {
			a.recycle(b)
		}
	}
}

func (a *appender) empty() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.queue) == 0
}

// next takes the oldest batch of a queue that is not empty; from here on nothing is added to it.
func (a *appender) next() *batch {
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.queue[0]
	a.queue = append(a.queue[:0], a.queue[1:]...)
	a.busy = true
	return b
}

// lastStored is the sequence of the last stored batch.
func (a *appender) lastStored() uint64 {
	last, _ := a.state()
	return last
}

// state reports the sequence of the last stored batch, and whether nothing is waiting to be stored.
func (a *appender) state() (last uint64, idle bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last, !a.busy && len(a.queue) == 0
}

// stored notes the end of an append; seq is 0 when it failed. It reports whether the log has handed out a sequence
// that it had handed out before: it is another log.
func (a *appender) stored(seq uint64) (replaced bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy = false
	if seq != 0 {
		replaced = seq <= a.last
		a.last = seq
	}
	return replaced
}

// freeBatches bounds the empty batches that are kept: enough for those that a worker has before it.
const freeBatches = 8

// recycle takes back a batch that nobody reads any more.
func (a *appender) recycle(b *batch) {
	b.data, b.sealed, b.records, b.pings = b.sealed[:0], nil, 0, 0
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.free) < freeBatches {
		a.free = append(a.free, b)
	}
}

// store appends one sealed batch, and reports its sequence and whether the log has it. It gives up only when
// ctx ends.
func (a *appender) store(ctx context.Context, data []byte, b *batch) (seq uint64, stored bool) {
	wait := 50 * time.Millisecond
	for {
		seq, err := a.log.append(ctx, data)
		if err == nil {
			return seq, true
		}
		if ctx.Err() != nil || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, inputlog.ErrClosed) {
			return 0, false
		}
		a.onError(err)
		b.answer(false)
		<-a.slots // one log in trouble must not keep the others from theirs
		select {
		case <-time.After(wait):
			wait = min(2*wait, 2*time.Second)
		case <-ctx.Done():
		}
		a.slots <- struct{}{}
		if ctx.Err() != nil {
			return 0, false
		}
	}
}
