package load

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/bench/report"
)

// Target is the gateway that a run loads.
type Target struct {
	URL     string
	Options []nats.Option
	// SameClock says that the gateway runs on this machine, so that its times can be compared with ours.
	SameClock bool
	// Accepted, when set, follows the pushes that a fake provider accepts until ctx ends; it calls fn for each, one
	// at a time. Otherwise acceptance is what the gateway's events say of it.
	Accepted func(ctx context.Context, fn func(Accept)) error
	// Usage, when set, is what the gateway's process has used.
	Usage func() (Usage, error)
}

// Accept is one push that a fake provider has put on a phone's screen.
type Accept struct {
	Token, MID string
	Replaced   bool // it took the place of an earlier one, so that the person sees one
	At         time.Time
}

// Options of a run.
type Options struct {
	Limits report.Limits
	// Drain is how long to wait for what is owed after the last send. Default 20 s.
	Drain time.Duration
	// Progress, when set, is called once a second from a goroutine that has nothing to do with sending.
	Progress func(Progress)
	// Slow, for tests, makes the generator late by that much for every message.
	Slow time.Duration
}

// Progress is how far a run is.
type Progress struct {
	Elapsed, Total    time.Duration
	Sent              int64 // pings
	Rate              float64
	Entered, Expected int64 // entries that have come back, and that should have by now
	LagMS             float64
}

// runner is one run.
type runner struct {
	plan    *Plan
	target  Target
	opt     Options
	startAt time.Time // of the plan; a whole millisecond
	startMS int64
	lines   []*line
	control *nats.Conn
	tracker *tracker
	acks    *acks // nil for plain publishes

	// lagUS is when the kernel had each message, in microseconds after its planned time; -1 where it has not happened.
	lagUS    []int32
	realTime bool

	sentPings  atomic.Int64
	sentByEnd  int64 // pings sent by the planned end
	unsent     int64
	sendErr    error
	lastSent   time.Time
	reconnects atomic.Int64
	statErrors atomic.Int64
}

// Run sends a plan and returns what came of it. The error is for a run that could not be made; a run that went badly
// is a result.
func Run(ctx context.Context, plan *Plan, target Target, opt Options) (*report.Result, error) {
	if opt.Drain == 0 {
		opt.Drain = 20 * time.Second
	}
	r := &runner{plan: plan, target: target, opt: opt, lagUS: make([]int32, len(plan.Messages))}
	for i := range r.lagUS {
		r.lagUS[i] = -1
	}
	defer r.close()
	if err := r.connect(); err != nil {
		return nil, err
	}
	if err := r.register(ctx); err != nil {
		return nil, err
	}
	r.tracker = newTracker(plan)
	r.tracker.fake = target.Accepted != nil
	stop, err := r.tracker.follow(ctx, r.control)
	if err != nil {
		return nil, err
	}
	defer stop()
	watch, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	acceptErr := make(chan error, 1)
	if target.Accepted != nil {
		watching.Go(func() { acceptErr <- target.Accepted(watch, r.tracker.accepted) })
	}
	before, err := r.stats(ctx)
	if err != nil {
		return nil, fmt.Errorf("load: the gateway at %s does not answer: %w", redactURL(target.URL), err)
	}

	// The clock starts after everything above has come to rest.
	r.startAt = time.Now().Add(300 * time.Millisecond)
	r.startMS = r.startAt.UnixMilli()
	r.startAt = r.startAt.Add(-time.Duration(r.startAt.Nanosecond()) % time.Millisecond)
	r.tracker.start(r.startAt)
	sampler := newSampler(r, before)
	sampling, stopSampling := context.WithCancel(ctx)
	defer stopSampling()
	sampler.run(sampling)

	if r.acks != nil {
		watching.Go(func() { r.acks.run(watch) })
	}
	err = r.send(ctx)
	stopSampling()
	if err != nil {
		return nil, err
	}
	usage := sampler.stop()
	drained, after, err := r.settle(ctx, before)
	if err != nil {
		return nil, err
	}
	cancel()
	watching.Wait()
	stop()
	if target.Accepted != nil {
		if err := <-acceptErr; err != nil && !errors.Is(err, context.Canceled) {
			return nil, fmt.Errorf("load: the fake providers: %w", err)
		}
	}
	return r.result(sampler, usage, before, after, drained)
}

// redactURL leaves out what may be a password.
func redactURL(url string) string {
	if scheme, rest, ok := strings.Cut(url, "://"); ok {
		if _, host, ok := strings.Cut(rest, "@"); ok {
			return scheme + "://" + host
		}
	}
	return url
}

func (r *runner) connect() error {
	cfg := &r.plan.Config
	options := func(name string, more ...nats.Option) []nats.Option {
		return append(append(slices.Clone(r.target.Options), nats.Name(name), nats.PingInterval(time.Hour), nats.MaxReconnects(-1),
			nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
				if err != nil {
					r.reconnects.Add(1)
				}
			})), more...)
	}
	var err error
	if r.control, err = nats.Connect(r.target.URL, options("footfall bench")...); err != nil {
		return fmt.Errorf("load: connect to %s: %w", redactURL(r.target.URL), err)
	}
	if cfg.Ack {
		r.acks = newAcks(r)
	}
	for i := range cfg.Connections {
		// With a buffer of one byte the library writes at once, should it have to write messages itself.
		l, err := dial(r.target.URL, options(fmt.Sprintf("footfall bench phones %d", i), nats.WriteBufferSize(1)))
		if err != nil {
			return fmt.Errorf("load: connection %d of %d to %s: %w", i+1, cfg.Connections, redactURL(r.target.URL), err)
		}
		r.lines = append(r.lines, l)
		if r.acks != nil {
			if _, err := l.nc.Subscribe(r.acks.inbox(i)+"*", r.acks.answer); err != nil {
				return fmt.Errorf("load: subscribe to answers: %w", err)
			}
		}
		if err := l.nc.Flush(); err != nil {
			return fmt.Errorf("load: connection %d of %d: %w", i+1, cfg.Connections, err)
		}
	}
	return nil
}

func (r *runner) close() {
	for _, l := range r.lines {
		l.nc.Close()
	}
	if r.control != nil {
		r.control.Close()
	}
}

// late is how long after its planned time a moment is, in microseconds.
func (r *runner) late(message int32, at time.Time) int32 {
	return int32(min(at.Sub(r.startAt)-r.plan.Messages[message].At, time.Hour) / time.Microsecond)
}

// registerAtOnce is how many registrations wait for their answer at a time.
const registerAtOnce = 128

// register tells the gateway the push token of every device that is going to enter somewhere, and returns when all
// are stored.
func (r *runner) register(ctx context.Context) error {
	var todo []*Device
	for i := range r.plan.Devices {
		if d := &r.plan.Devices[i]; d.Enters {
			todo = append(todo, d)
		}
	}
	work := make(chan *Device)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	for range min(registerAtOnce, len(todo)) {
		workers.Go(func() {
			for d := range work {
				if err := r.registerOne(ctx, d); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
feed:
	for _, d := range todo {
		select {
		case work <- d:
		case <-ctx.Done():
			break feed
		}
	}
	close(work)
	workers.Wait()
	return context.Cause(ctx)
}

func (r *runner) registerOne(ctx context.Context, d *Device) error {
	reg := map[string]any{"platform": "android", "token": d.Token, "locale": "en", "sdk": "bench", "consent": map[string]bool{"location": true, "push": !d.OptOut}}
	if d.IOS {
		reg["platform"] = "ios"
	}
	payload, err := json.Marshal(reg)
	if err != nil {
		return err
	}
	subject := "device." + r.plan.Config.App + "." + d.Name
	var last string
	for range 20 {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		m, err := r.control.RequestWithContext(try, subject, payload)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var a answer
		switch {
		case err != nil:
			last = err.Error()
		case json.Unmarshal(m.Data, &a) != nil:
			last = string(m.Data)
		case a.OK:
			return nil
		case !a.Busy:
			return fmt.Errorf("load: the gateway refused the registration of %s: %s", d.Name, m.Data)
		default:
			last = "busy"
		}
		select {
		case <-time.After(max(a.retry(), 100*time.Millisecond)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("load: %s could not be registered: %s", d.Name, last)
}

// answer is what a gateway says to a request.
type answer struct {
	OK      bool  `json:"ok"`
	Busy    bool  `json:"busy"`
	RetryMS int64 `json:"retry_ms"`
}

func (a *answer) retry() time.Duration { return time.Duration(a.RetryMS) * time.Millisecond }

// gatewayStats is what a run needs of footfall.v1.stats.
type gatewayStats struct {
	Stats struct {
		Pings      int64            `json:"pings"`
		Processed  int64            `json:"processed"`
		Refused    map[string]int64 `json:"refused"`
		Dropped    map[string]int64 `json:"dropped"`
		EventsOwed int64            `json:"events_owed"`
	} `json:"stats"`
	Fences    int    `json:"fences"`
	FencesRev string `json:"fences_revision"`
	Campaigns int    `json:"campaigns"`
	Settled   bool   `json:"settled"`
}

const statsSubject = "footfall.v1.stats"

func (r *runner) stats(ctx context.Context) (s gatewayStats, err error) {
	try, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	m, err := r.control.RequestWithContext(try, statsSubject, nil)
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(m.Data, &s)
}

// chunk is a stretch of messages with their payloads, made before they are due.
type chunk struct {
	first int
	ends  []int // of each payload in data
	data  []byte
}

// chunkMessages bounds the size of a chunk; with four of them the encoder is some thousand messages ahead.
const chunkMessages = 1024

// uncrowd gives the sender what it would otherwise have to wait for: a place in the scheduler when it comes back from a nap
// or a write while the other goroutines have theirs, and a collector that stops it less often. It returns what undoes it.
func uncrowd() (undo func()) {
	procs := runtime.GOMAXPROCS(runtime.NumCPU() + 2)
	percent := debug.SetGCPercent(400)
	return func() {
		debug.SetGCPercent(percent)
		runtime.GOMAXPROCS(procs)
	}
}

// send publishes every message at its time, from one goroutine on a thread of its own that does nothing else.
func (r *runner) send(ctx context.Context) error {
	defer uncrowd()()
	ready, free := make(chan *chunk, 4), make(chan *chunk, 4)
	for range cap(free) {
		free <- new(chunk)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var encoding sync.WaitGroup
	defer encoding.Wait()
	encoding.Go(func() {
		defer close(ready)
		for first := 0; first < len(r.plan.Messages); first += chunkMessages {
			var c *chunk
			select {
			case c = <-free:
			case <-ctx.Done():
				return
			}
			c.first, c.data, c.ends = first, c.data[:0], c.ends[:0]
			for i := first; i < min(first+chunkMessages, len(r.plan.Messages)); i++ {
				c.data = r.plan.appendMessage(c.data, &r.plan.Messages[i], r.startMS)
				c.ends = append(c.ends, len(c.data))
			}
			ready <- c
		}
	})
	subjects := make([]string, len(r.plan.Devices))
	for i := range subjects {
		subjects[i] = "ping." + r.plan.Config.App + "." + r.plan.Devices[i].Name
	}
	defer context.AfterFunc(ctx, func() {
		for _, l := range r.lines {
			l.hangUp()
		}
	})()
	var sent sync.WaitGroup
	sent.Go(func() { r.pace(ctx, ready, free, subjects) })
	sent.Wait()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	for _, l := range r.lines {
		if err := l.nc.FlushTimeout(10 * time.Second); err != nil {
			r.sendErr = cmp.Or(r.sendErr, err)
		}
	}
	r.lastSent = time.Now()
	return nil
}

// quantum is the shortest sleep between two sends: messages that are due within it go together. It bounds the
// wake-ups, and with them what pacing costs, and is well below the lag that a run may have.
const quantum = 100 * time.Microsecond

func (r *runner) pace(ctx context.Context, ready <-chan *chunk, free chan<- *chunk, subjects []string) {
	r.realTime = steadyThread()
	end := r.plan.Config.Duration
	for c := range ready {
		from := 0
		for i, to := range c.ends {
			message := int32(c.first + i)
			m := &r.plan.Messages[message]
			for {
				wait := m.At + r.opt.Slow - time.Since(r.startAt)
				if wait <= 0 {
					break
				}
				nap(min(max(wait, quantum), 50*time.Millisecond))
				if ctx.Err() != nil {
					return
				}
			}
			l := r.lines[int(m.Device)%len(r.lines)]
			reply := ""
			if r.acks != nil {
				reply = r.acks.sending(message, int(m.Device)%len(r.lines))
			}
			if err := l.publish(subjects[m.Device], reply, c.data[from:to]); err != nil {
				r.unsent++
				r.sendErr = err
			} else {
				now := time.Now()
				// Readers look after the last message, or at a value whose age does not matter.
				atomic.StoreInt32(&r.lagUS[message], r.late(message, now))
				r.sentPings.Add(int64(m.N))
				if now.Sub(r.startAt) <= end+time.Millisecond {
					r.sentByEnd += int64(m.N)
				}
			}
			from = to
		}
		select {
		case free <- c:
		default:
		}
	}
}

// settle waits until the gateway has done all that it owes, or the time for that is over. It returns how long the
// gateway had something left to do, 0 when it never said that it was done.
func (r *runner) settle(ctx context.Context, before gatewayStats) (drained time.Duration, s gatewayStats, err error) {
	deadline := r.lastSent.Add(r.opt.Drain)
	last := time.Now() // something came
	seen := r.tracker.came.Load()
	for {
		now, err := r.stats(ctx)
		if ctx.Err() != nil {
			return 0, s, ctx.Err()
		}
		if err != nil {
			r.statErrors.Add(1)
		} else {
			s = now
		}
		if n := r.tracker.came.Load(); n != seen {
			seen, last = n, time.Now()
		}
		idle := err == nil && s.Settled && s.Stats.EventsOwed == 0 && (r.acks == nil || r.acks.open() == 0)
		if idle && drained == 0 {
			drained = max(time.Since(r.lastSent), time.Millisecond)
		}
		// What should not come is waited for as well, a moment longer than what should.
		quiet := time.Since(last)
		if idle && (quiet > 500*time.Millisecond && r.tracker.complete() || quiet > 4*time.Second) || time.Now().After(deadline) {
			return drained, s, nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return 0, s, ctx.Err()
		}
	}
}

// Has is what a gateway says it has.
type Has struct {
	Fences    int
	FencesRev string
	Campaigns int
}

// Ask asks a gateway what it has.
func Ask(t Target) (Has, error) {
	nc, err := nats.Connect(t.URL, append(slices.Clone(t.Options), nats.Name("footfall bench"))...)
	if err != nil {
		return Has{}, fmt.Errorf("load: connect to %s: %w", redactURL(t.URL), err)
	}
	defer nc.Close()
	m, err := nc.Request(statsSubject, nil, 5*time.Second)
	if err != nil {
		return Has{}, fmt.Errorf("load: no gateway answers at %s: %w", redactURL(t.URL), err)
	}
	var s gatewayStats
	err = json.Unmarshal(m.Data, &s)
	return Has{s.Fences, s.FencesRev, s.Campaigns}, err
}
