package load

import (
	"container/heap"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// acks follows the answers to requests. A request that is answered busy, or not at all, is sent again until it is
// answered, as an SDK does.
type acks struct {
	r      *runner
	prefix string

	mu       sync.Mutex
	state    []ackState
	ackUS    []int32 // by message: from the planned time until the answer; -1 for none yet
	again    retries
	wake     chan struct{}
	waiting  int // requests without a final answer
	acked    int64
	pings    int64 // in acked messages
	busy     int64
	silent   int64
	retried  int64
	refused  int64
	troubled map[int32]bool // devices with a request that had to be repeated: what came of their order is not known
}

type ackState struct {
	sent bool
	done bool
	busy bool  // the gateway has asked to come again at due
	due  int64 // ms after the start at which it is sent again
}

// patience is how long an SDK waits for an answer.
const patience = 5 * time.Second

func newAcks(r *runner) *acks {
	a := &acks{
		r: r, prefix: nats.NewInbox() + ".", state: make([]ackState, len(r.plan.Messages)), ackUS: make([]int32, len(r.plan.Messages)),
		wake: make(chan struct{}, 1), troubled: map[int32]bool{},
	}
	for i := range a.ackUS {
		a.ackUS[i] = -1
	}
	return a
}

// inbox begins the reply subjects of one connection.
func (a *acks) inbox(line int) string { return a.prefix + strconv.Itoa(line) + "." }

// sending notes that a message is about to be sent and returns the subject for its answer.
func (a *acks) sending(message int32, line int) string {
	a.mu.Lock()
	s := &a.state[message]
	if !s.sent {
		s.sent = true
		a.waiting++
	}
	s.due, s.busy = time.Since(a.r.startAt).Milliseconds()+patience.Milliseconds(), false
	heap.Push(&a.again, retry{at: s.due, message: message})
	a.mu.Unlock()
	return a.inbox(line) + strconv.Itoa(int(message))
}

// answer takes one reply.
func (a *acks) answer(m *nats.Msg) {
	now := time.Now()
	i := strings.LastIndexByte(m.Subject, '.')
	n, err := strconv.Atoi(m.Subject[i+1:])
	if err != nil || n < 0 || n >= len(a.state) {
		return
	}
	var ans answer
	if json.Unmarshal(m.Data, &ans) != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &a.state[n]
	if s.done {
		return
	}
	message := &a.r.plan.Messages[n]
	if ans.Busy || !ans.OK && len(m.Data) == 0 { // empty: no responders
		a.busy++
		a.troubled[message.Device] = true
		s.due, s.busy = time.Since(a.r.startAt).Milliseconds()+max(ans.RetryMS, 100), true
		heap.Push(&a.again, retry{at: s.due, message: int32(n)})
		a.poke()
		return
	}
	s.done = true
	a.waiting--
	if !ans.OK {
		a.refused++
		return
	}
	a.acked++
	a.pings += int64(message.N)
	a.ackUS[n] = a.r.late(int32(n), now)
}

func (a *acks) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// open is how many requests have no final answer.
func (a *acks) open() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waiting
}

// run sends again what has to be, until ctx ends.
func (a *acks) run(ctx context.Context) {
	var buf []byte
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-a.wake:
		case <-ctx.Done():
			return
		}
		for {
			n, ok := a.next()
			if !ok {
				break
			}
			m := &a.r.plan.Messages[n]
			line := int(m.Device) % len(a.r.lines)
			buf = a.r.plan.appendMessage(buf[:0], m, a.r.startMS)
			reply := a.sending(n, line)
			subject := fmt.Sprintf("ping.%s.%s", a.r.plan.Config.App, a.r.plan.Devices[m.Device].Name)
			// On a connection of its own, so that the lines know what they have sent; unanswered it comes again.
			_ = a.r.control.PublishRequest(subject, reply, buf)
		}
	}
}

// next takes a message whose time to be sent again has come.
func (a *acks) next() (int32, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Since(a.r.startAt).Milliseconds()
	for len(a.again) > 0 && a.again[0].at <= now {
		at := heap.Pop(&a.again).(retry)
		s := &a.state[at.message]
		if s.done || s.due != at.at { // answered, or postponed since
			continue
		}
		a.retried++
		if !s.busy {
			a.silent++
			a.troubled[a.r.plan.Messages[at.message].Device] = true
		}
		return at.message, true
	}
	return 0, false
}

type retry struct {
	at      int64 // ms after the start
	message int32
}

// retries is a heap by time.
type retries []retry

func (h retries) Len() int           { return len(h) }
func (h retries) Less(i, j int) bool { return h[i].at < h[j].at }
func (h retries) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *retries) Push(x any)        { *h = append(*h, x.(retry)) }
func (h *retries) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
