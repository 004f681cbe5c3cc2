package load

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// tracker compares what comes out of a gateway with what a plan expects.
type tracker struct {
	plan    *Plan
	startMS int64
	startUS int64
	prefix  string           // of our devices' names
	fences  map[string]int32 // id as it stands in events -> circle
	tokens  map[string]int32 // push token -> device
	byKey   map[eventKey]int32
	pushOf  []int32 // by device: the expectation that pushes, -1 for none
	fake    bool    // pushes are counted where they are accepted

	entered atomic.Int64
	came    atomic.Int64 // events and accepted pushes of ours, for knowing when all is quiet

	mu     sync.Mutex
	states []progress      // by expectation
	ids    map[string]bool // of unexpected transitions and of pushes: to tell an extra one from a repeat
	extra  []extra
	held   map[string]int
	open   int // expectations that have not come
	fails  map[int32]string
}

type eventKey struct {
	device, circle int32
	kind           Kind
	t              int64
}

// progress of one expectation. Times are Unix microseconds; 0: unknown.
type progress struct {
	came, pushed                                          uint8 // times
	collectUS, storeUS, decideUS, claimUS, acceptUS, here int64
	mid                                                   string
}

// extra is something that came and was not expected.
type extra struct {
	device int32
	kind   string // "enter", "exit" or "push"
	again  bool   // it repeats something
	text   string
}

func newTracker(plan *Plan) *tracker {
	t := &tracker{
		plan: plan, prefix: plan.Config.RunID + "-", fences: map[string]int32{}, tokens: map[string]int32{},
		byKey: make(map[eventKey]int32, len(plan.Expect)), pushOf: make([]int32, len(plan.Devices)),
		states: make([]progress, len(plan.Expect)), ids: map[string]bool{}, held: map[string]int{}, fails: map[int32]string{},
	}
	for i, c := range plan.World.Circles {
		t.fences[c.ID] = int32(i)
	}
	for i := range t.pushOf {
		t.pushOf[i] = -1
		if d := &plan.Devices[i]; d.Enters {
			t.tokens[d.Token] = int32(i)
		}
	}
	for i := range plan.Expect {
		e := &plan.Expect[i]
		t.byKey[eventKey{e.Device, e.Circle, e.Kind, e.T}] = int32(i)
		t.open++
		if e.Push == Sent {
			t.pushOf[e.Device] = int32(i)
			t.open++
		}
	}
	return t
}

func (t *tracker) start(at time.Time) { t.startMS, t.startUS = at.UnixMilli(), at.UnixMicro() }

// complete reports whether everything expected has come.
func (t *tracker) complete() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.open == 0
}

// follow reads EVENTS from now on, in order and without gaps. stop ends it and may be called twice.
func (t *tracker) follow(ctx context.Context, nc *nats.Conn) (stop func(), err error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("load: JetStream: %w", err)
	}
	stream, err := js.Stream(ctx, "EVENTS")
	if err != nil {
		return nil, fmt.Errorf("load: the gateway's stream EVENTS: %w", err)
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("load: the gateway's stream EVENTS: %w", err)
	}
	c, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"ev." + t.plan.Config.App + ".>"}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: info.State.LastSeq + 1,
	})
	if err != nil {
		return nil, fmt.Errorf("load: read the gateway's stream EVENTS: %w", err)
	}
	cc, err := c.Consume(func(m jetstream.Msg) { t.event(m.Subject(), m.Data(), time.Now()) })
	if err != nil {
		return nil, fmt.Errorf("load: read the gateway's stream EVENTS: %w", err)
	}
	return func() {
		cc.Stop()
		<-cc.Closed()
	}, nil
}

// event is the part of docs/protocol.md's transitions and pushes that a run looks at.
type event struct {
	ID          string `json:"id"`
	Kind        string `json:"kind"`
	Device      string `json:"device"`
	Fence       string `json:"fence"`
	At          int64  `json:"at"`
	Outcome     string `json:"outcome"`
	Reason      any    `json:"reason"`
	MID         string `json:"mid"`
	OutcomeAt   int64  `json:"outcome_at"`
	CollectedUS int64  `json:"collected_us"`
	StoredUS    int64  `json:"stored_us"`
	DecidedUS   int64  `json:"decided_us"`
	DurableUS   int64  `json:"durable_us"`
}

// event takes one message of the EVENTS stream.
func (t *tracker) event(subject string, data []byte, now time.Time) {
	part := strings.SplitN(subject, ".", 4) // ev.<app>.<kind>.…
	if len(part) < 4 {
		return
	}
	var e event
	if json.Unmarshal(data, &e) != nil {
		return
	}
	number, ours := strings.CutPrefix(e.Device, t.prefix)
	device, err := strconv.Atoi(number)
	if !ours || err != nil || device < 0 || device >= len(t.plan.Devices) {
		return // of somebody else
	}
	t.came.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch part[2] {
	case "enter", "exit":
		kind := Enter
		if part[2] == "exit" {
			kind = Exit
		}
		t.transition(kind, int32(device), &e, now)
	case "push":
		t.push(int32(device), &e)
	}
}

func (t *tracker) transition(kind Kind, device int32, e *event, now time.Time) {
	circle, known := t.fences[e.Fence]
	i, expected := t.byKey[eventKey{device, circle, kind, e.At - t.startMS}]
	if !known || !expected {
		what := fmt.Sprintf("%s %s %s at %d ms of the run (%v)", e.Device, kind, e.Fence, e.At-t.startMS, e.Reason)
		t.extra = append(t.extra, extra{device, kind.String(), t.again(e.ID), what})
		return
	}
	s := &t.states[i]
	if s.came++; s.came > 1 {
		t.extra = append(t.extra, extra{device, kind.String(), true, fmt.Sprintf("%s %s %s at %d ms of the run", e.Device, kind, e.Fence, e.At-t.startMS)})
		return
	}
	t.open--
	if kind == Enter {
		t.entered.Add(1)
	}
	s.collectUS, s.storeUS, s.decideUS, s.claimUS, s.here = e.CollectedUS, e.StoredUS, e.DecidedUS, e.DurableUS, now.UnixMicro()
}

// again reports whether an id was seen before.
func (t *tracker) again(id string) bool {
	was := t.ids[id]
	t.ids[id] = true
	return was
}

func (t *tracker) push(device int32, e *event) {
	reason, _ := e.Reason.(string)
	switch e.Outcome {
	case "held":
		if !t.again(e.ID) {
			t.held[reason]++
		}
	case "accepted":
		if t.fake {
			return
		}
		t.pushed(device, e.MID, false, e.OutcomeAt*1000)
	default:
		t.fails[device] = strings.TrimSpace(e.Outcome + " " + reason)
	}
}

// accepted takes one push that a fake provider has accepted.
func (t *tracker) accepted(a Accept) {
	t.came.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	device, ok := t.tokens[a.Token]
	if !ok {
		return // of somebody else
	}
	t.pushed(device, a.MID, a.Replaced, a.At.UnixMicro())
}

func (t *tracker) pushed(device int32, mid string, replaced bool, atUS int64) {
	name := t.plan.Devices[device].Name
	i := t.pushOf[device]
	if i < 0 {
		t.extra = append(t.extra, extra{device, "push", t.again(mid), name + " got a push that it has no claim to"})
		return
	}
	s := &t.states[i]
	if s.pushed == 0 {
		s.pushed, s.acceptUS, s.mid = 1, atUS, mid
		t.open--
		return
	}
	if replaced && mid == s.mid {
		return // sent again after a doubt: the phone shows one
	}
	s.pushed++
	t.extra = append(t.extra, extra{device, "push", true, name + " got a second push"})
}
