package stream

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// counter is a set of counts by reason. Reasons come from closed lists, never from input, so the set is small.
// Safe for concurrent use; adding to a known reason takes no lock.
type counter struct {
	mu sync.RWMutex
	m  map[string]*atomic.Int64
}

func (c *counter) add(reason string, n int64) {
	c.mu.RLock()
	v := c.m[reason]
	c.mu.RUnlock()
	if v == nil {
		c.mu.Lock()
		if c.m == nil {
			c.m = map[string]*atomic.Int64{}
		}
		if v = c.m[reason]; v == nil {
			v = new(atomic.Int64)
			c.m[reason] = v
		}
		c.mu.Unlock()
	}
	v.Add(n)
}

func (c *counter) snapshot() map[string]int64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make(map[string]int64, len(c.m))
	for reason, v := range c.m {
		out[reason] = v.Load()
	}
	return out
}

// counters is everything the gateway counts from input to event. One instance per gateway.
type counters struct {
	messages  atomic.Int64 // NATS messages received
	pings     atomic.Int64 // pings accepted into the log
	others    atomic.Int64 // device, event and receipt records accepted into the log
	refused   counter      // records refused, by reason
	dropped   counter      // records or messages not taken because of load, by reason
	batches   atomic.Int64 // batches stored in the log
	processed atomic.Int64 // records read back from the log
	verdicts  counter      // what the tracker said of each ping
	kinds     counter      // transitions by kind
	lostTail  atomic.Int64 // times a log came back shorter than the ledger remembered
	agedOut   atomic.Int64 // batches that left the log before they were processed
	poison    counter      // batches or records that could not be processed, by reason
	relayed   atomic.Int64 // events published
	fired     atomic.Int64 // timers of journeys that ended a wait
	kept      atomic.Int64 // tokens called dead and kept, because that was not believed
	returned  atomic.Int64 // tokens taken out of use and put back, because their lane is not believed any more
	receipts  counter      // what became of receipts and of events that name a code
	consents  counter      // consents to positions that were "withdrawn" and "given"
	collapses counter      // pushes without the collapse of their template, by reason
}

// Stats is a snapshot of the gateway's counters since it started.
type Stats struct {
	Messages   int64            `json:"messages"`
	Pings      int64            `json:"pings"`
	Others     int64            `json:"others"`
	Refused    map[string]int64 `json:"refused"`
	Dropped    map[string]int64 `json:"dropped"`
	Batches    int64            `json:"batches"`
	Processed  int64            `json:"processed"`
	Verdicts   map[string]int64 `json:"verdicts"`
	Kinds      map[string]int64 `json:"transitions"`
	LostTail   int64            `json:"lost_tail"`
	AgedOut    int64            `json:"aged_out"`
	Poison     map[string]int64 `json:"poison"`
	Relayed    int64            `json:"relayed"`
	TokensKept int64            `json:"tokens_kept"` // called dead, and not believed
	// TokensReturned were taken out of use and put back, when their lane turned out not to be believed.
	TokensReturned int64            `json:"tokens_returned"`
	Receipts       map[string]int64 `json:"receipts"`
	// CollapseFaults counts pushes that replace no other though their template asks for it, by campaign.CollapseFault.
	CollapseFaults map[string]int64 `json:"collapse_faults"`
	// Consents counts devices whose consent to positions was "withdrawn", and "given" again. Withdrawn is how many are withdrawn now.
	Consents   map[string]int64 `json:"consents"`
	Withdrawn  int64            `json:"withdrawn_devices"`
	EventsOwed int64            `json:"events_owed"`
}

func (c *counters) snapshot() Stats {
	return Stats{
		Messages: c.messages.Load(), Pings: c.pings.Load(), Others: c.others.Load(),
		Refused: c.refused.snapshot(), Dropped: c.dropped.snapshot(), Batches: c.batches.Load(),
		Processed: c.processed.Load(), Verdicts: c.verdicts.snapshot(), Kinds: c.kinds.snapshot(),
		LostTail: c.lostTail.Load(), AgedOut: c.agedOut.Load(), Poison: c.poison.snapshot(), Relayed: c.relayed.Load(), TokensKept: c.kept.Load(), TokensReturned: c.returned.Load(),
		Receipts: c.receipts.snapshot(), CollapseFaults: c.collapses.snapshot(), Consents: c.consents.snapshot(),
	}
}

// Total adds up a set of counts.
func Total(counts map[string]int64) int64 {
	var n int64
	for _, v := range counts {
		n += v
	}
	return n
}

// Reasons lists the reasons of a set of counts, the most frequent first, ties by name.
func Reasons(counts map[string]int64) []string {
	keys := slices.Collect(maps.Keys(counts))
	slices.SortFunc(keys, func(a, b string) int {
		if counts[a] != counts[b] {
			return int(counts[b] - counts[a])
		}
		if a < b {
			return -1
		}
		return 1
	})
	return keys
}
