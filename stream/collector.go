package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"footfall/audience"
	"footfall/receipt"
	"footfall/stream/wire"
	"footfall/track"
)

const (
	// arrivals is the room between the client library and the door. The library drops what finds it full, unseen
	// and unanswered, so it covers the time in which the door, which only looks at subjects and sizes, may not
	// get a processor: some 30 ms of small messages at full speed.
	arrivals = 1 << 15
	// inboxMessages and inboxBytes bound what waits to be decoded; past them the door answers busy.
	inboxMessages = 1 << 16
	inboxBytes    = 64 << 20
	// busyRetry is the delay a busy answer asks for.
	busyRetry = 500 * time.Millisecond
	// queueGroup shares the input between the gateways of one cluster.
	queueGroup = "footfall"
)

// IngestConfig says what the collector accepts.
type IngestConfig struct {
	// DeviceRecords is how many records one device may send in ten seconds, counted as messages or as 100 bytes
	// of payload, whichever is more; the rest is refused as "flood". Default 5,000: a phone that comes back from
	// a day offline is well within it. feed.<app> is a trusted feeder and has no such limit.
	DeviceRecords int
	// OwnTracksApp is the app whose devices OwnTracks phones become. Default "owntracks"; "-" refuses OwnTracks.
	OwnTracksApp string
}

// collector is the one door. Every transport and encoding ends here in the compact record; what it refuses
// never reaches the log.
//
// Two goroutines share the work, and the order of one device's messages survives both: a registration that was
// sent before a ping is applied before it, although they arrive on different subjects. All subscriptions feed one
// channel; the door takes from it, turns away what is over a limit without looking into it, and passes the rest on
// to the decoder.
type collector struct {
	cfg      IngestConfig
	nc       *nats.Conn
	rules    track.Rules
	now      func() time.Time
	log      *slog.Logger
	count    *counters
	refusals *refusalBook
	arrived  chan *nats.Msg
	inbox    chan arrival
	waiting  atomic.Int64 // bytes in the inbox
	subs     []*nats.Subscription
	appends  [Partitions]*appender
	flood    *floodGuard   // of the door
	full     func() string // why nothing can be stored now, or ""
	names    *wire.Interner
	keys     *receipt.Keyring

	fixes   []track.Fix // reused between messages
	records []wire.Record
	touched []int // partitions of the current message
	dropped int   // client-library drops already counted

	taking atomic.Int64 // messages let in and not yet handed to a log; for Gateway.Settle
}

func newCollector(cfg IngestConfig, nc *nats.Conn, js jetstream.JetStream, rules track.Rules, now func() time.Time, log *slog.Logger, count *counters) *collector {
	cfg.DeviceRecords = cmp.Or(cfg.DeviceRecords, 5_000)
	cfg.OwnTracksApp = cmp.Or(cfg.OwnTracksApp, "owntracks")
	c := &collector{
		cfg: cfg, nc: nc, rules: rules, now: now, log: log, count: count,
		refusals: newRefusalBook(1 << 14),
		arrived:  make(chan *nats.Msg, arrivals),
		inbox:    make(chan arrival, inboxMessages),
		full:     func() string { return "" },
		flood:    newFloodGuard(cfg.DeviceRecords, 10_000),
		names:    wire.NewInterner(1 << 16),
	}
	warn := rateLimited(time.Second, func(err error) { log.Warn("log append failed, trying again", "err", err) })
	slots := make(chan struct{}, appendsAtOnce)
	for p := range c.appends {
		c.appends[p] = newAppender(js, p, count, slots, warn)
	}
	return c
}

// subscribe opens the door. Messages wait in the inbox until run takes them.
func (c *collector) subscribe() error {
	subjects := []string{wire.PingAll, wire.EventAll, wire.DeviceAll, wire.ReceiptAll, wire.FeedAll}
	if c.cfg.OwnTracksApp != "-" {
		subjects = append(subjects, wire.OwnTracksAll, wire.OwnTracksEventsAll)
	}
	for _, s := range subjects {
		sub, err := c.nc.ChanQueueSubscribe(s, queueGroup, c.arrived)
		if err != nil {
			return fmt.Errorf("stream: subscribe to %s: %w", s, err)
		}
		c.subs = append(c.subs, sub)
	}
	return c.nc.Flush()
}

// run decodes until ctx ends, then stops the intake, takes what had already arrived, and returns when the log
// has it or drain has passed.
func (c *collector) run(ctx context.Context, drain time.Duration) {
	flushBy, cancelFlush := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelFlush()
	stopAppends, cancelAppends := context.WithCancel(flushBy)
	defer cancelAppends()
	var appends sync.WaitGroup
	for _, a := range c.appends {
		appends.Go(func() { a.run(stopAppends, flushBy) })
	}
	var decoding sync.WaitGroup
	decoding.Go(func() {
		for a := range c.inbox {
			c.take(a)
		}
	})
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
loop:
	for {
		select {
		case m := <-c.arrived:
			c.admit(m)
		case <-tick.C:
			c.countDrops()
		case <-ctx.Done():
			break loop
		}
	}
	for _, s := range c.subs {
		_ = s.Unsubscribe()
	}
	_ = c.nc.FlushTimeout(time.Second)
	for len(c.arrived) > 0 {
		c.admit(<-c.arrived)
	}
	close(c.inbox)
	decoding.Wait() // bounded by the inbox, and nothing it calls blocks
	c.countDrops()
	cancelAppends()
	timer := time.AfterFunc(drain, cancelFlush)
	appends.Wait()
	timer.Stop()
}

// countDrops adds what the client library had to throw away because the inbox was full.
func (c *collector) countDrops() {
	total := 0
	for _, s := range c.subs {
		if n, err := s.Dropped(); err == nil {
			total += n
		}
	}
	if n := total - c.dropped; n > 0 {
		c.count.dropped.add("inbox_full", int64(n))
		c.log.Warn("input dropped: the collector's queue was full", "messages", n)
	}
	c.dropped = max(total, c.dropped)
}

// arrival is a message that the door has let in.
type arrival struct {
	msg     *nats.Msg
	subject wire.Subject
}

// admit is the door: it looks at a message's subject and size and lets it in, or answers at once.
func (c *collector) admit(m *nats.Msg) {
	c.taking.Add(1)
	c.count.messages.Add(1)
	if !c.enter(m) {
		c.taking.Add(-1)
	}
}

func (c *collector) enter(m *nats.Msg) bool {
	s, err := wire.ParseSubject(m.Subject)
	if err != nil {
		c.refuse(m, "", &wire.PayloadError{Code: wire.CodeBadSubject, Reason: "app and device are 1 to 64 of A-Z a-z 0-9 _ -"})
		return false
	}
	if reason := c.full(); reason != "" {
		c.busy(m, reason, busyRetry)
		return false
	}
	if s.Class != wire.ClassFeed {
		now := c.now().UnixMilli()
		id := subjectDevice(m.Subject)
		if ok, retryMS := c.flood.allow(string(id), len(m.Data), now); !ok {
			c.refusals.add(string(id), "flood", now)
			c.busy(m, "flood", time.Duration(retryMS)*time.Millisecond)
			return false
		}
	}
	size := int64(len(m.Data))
	if c.waiting.Add(size) > inboxBytes {
		c.waiting.Add(-size)
		c.busy(m, "overload", busyRetry)
		return false
	}
	select {
	case c.inbox <- arrival{m, s}:
		return true
	default:
		c.waiting.Add(-size)
		c.busy(m, "overload", busyRetry)
		return false
	}
}

// take handles one message. A panic costs that message, never the collector.
func (c *collector) take(a arrival) {
	defer c.taking.Add(-1)
	defer c.waiting.Add(-int64(len(a.msg.Data)))
	defer func() {
		if r := recover(); r != nil {
			c.count.poison.add("collector_panic", 1)
			c.log.Error("a message could not be handled", "subject", a.msg.Subject, "panic", r, "stack", string(debug.Stack()))
			c.answer(a.msg, wire.AppendError(nil, errors.New("internal")))
		}
	}()
	c.collect(a.msg, a.subject)
}

// collect decodes one message into c.records and hands them to their partitions.
func (c *collector) collect(m *nats.Msg, s wire.Subject) {
	nowUS := c.now().UnixMicro()
	now := nowUS / 1000
	device := ""
	var refused []wire.PingError
	var err error
	c.records = c.records[:0]
	switch s.Class {
	case wire.ClassPing, wire.ClassOwnTracks:
		var id track.DeviceID
		if id, err = c.deviceOf(m.Subject, s); err != nil {
			break
		}
		device = string(id)
		decode := wire.DecodePings
		if s.Class == wire.ClassOwnTracks {
			decode = wire.DecodeOwnTracks
		}
		if c.fixes, refused, err = decode(c.fixes[:0], m.Data, now); err == nil {
			for i := range c.fixes {
				c.records = append(c.records, wire.Record{Kind: wire.KindPing, Device: id, Fix: c.fixes[i], ReceivedAt: now})
			}
		}
	case wire.ClassFeed:
		c.records, refused, err = wire.DecodeFeed(c.records, c.names, s.App, m.Data, now)
	case wire.ClassEvent, wire.ClassDevice, wire.ClassReceipt:
		kind := payloadKind[s.Class]
		switch s.Class {
		case wire.ClassReceipt:
			err = c.checkReceipt(s, m.Data)
		case wire.ClassDevice:
			if err = wire.CheckPayload(kind, m.Data); err == nil {
				err = checkRegistration(m.Data)
			}
		default:
			err = wire.CheckPayload(kind, m.Data)
		}
		if err == nil {
			id := subjectDevice(m.Subject)
			device = string(id)
			c.records = append(c.records, wire.Record{Kind: kind, Device: id, ReceivedAt: now, Payload: m.Data})
		}
	default: // down.> is the gateway's own voice
		err = &wire.PayloadError{Code: wire.CodeBadSubject, Reason: "nothing is accepted on this subject"}
	}
	if err != nil {
		c.refuse(m, cmp.Or(device, s.App+"."+s.Device), err)
		return
	}
	refused = c.gate(refused)
	for i := range refused {
		reason := string(refused[i].Code)
		if reason == string(wire.CodeIgnored) {
			continue
		}
		c.count.refused.add(reason, 1)
		if device != "" {
			c.refusals.add(device, reason, now)
		}
	}
	c.append(m, nowUS, refused)
}

// checkRegistration refuses at the door what the profile could never take, so that the app learns of it.
func checkRegistration(payload []byte) error {
	if _, err := audience.Check(payload); err != nil {
		return &wire.PayloadError{Code: wire.CodeBadValue, Reason: strings.TrimPrefix(err.Error(), "audience: ")}
	}
	return nil
}

// checkReceipt refuses a receipt from who does not have the message.
func (c *collector) checkReceipt(s wire.Subject, payload []byte) error {
	r, err := wire.ParseReceipt(payload)
	if err == nil && !c.keys.Valid(s.App, s.Device, r.MID, r.Key) {
		err = &wire.PayloadError{Code: wire.CodeBadKey, Reason: "k is not the one that came with this mid to this device"}
	}
	return err
}

// refusalText tells a sender what the gate means.
var refusalText = map[track.Refusal]string{
	track.RefusalMalformed:        "the position or its source makes no sense",
	track.RefusalOutOfRange:       "lat must be within -90..90 and lon within -180..180",
	track.RefusalNullIsland:       "0,0 is what a broken receiver reports",
	track.RefusalMock:             "the position is simulated",
	track.RefusalNegativeAccuracy: "a negative accuracy marks an invalid position",
	track.RefusalFuture:           "the fix time is more than a day ahead of the gateway's clock",
	track.RefusalAncient:          "the fix time is before the year 2000: is it in milliseconds?",
}

var payloadKind = map[wire.Class]wire.Kind{
	wire.ClassEvent: wire.KindEvent, wire.ClassDevice: wire.KindDevice, wire.ClassReceipt: wire.KindReceipt,
}

// subjectDevice is the device id of ping.<app>.<device> and its like: the subject's own bytes, so that it costs
// nothing.
func subjectDevice(subject string) track.DeviceID {
	_, id, _ := strings.Cut(subject, ".")
	return track.DeviceID(id)
}

func (c *collector) deviceOf(subject string, s wire.Subject) (track.DeviceID, error) {
	if s.Class == wire.ClassPing {
		return subjectDevice(subject), nil
	}
	id, err := wire.OwnTracksDevice(c.cfg.OwnTracksApp, s.App, s.Device)
	if err != nil {
		return "", &wire.PayloadError{Code: wire.CodeBadSubject, Reason: "the OwnTracks user and device do not fit in a device id of 64"}
	}
	return id, nil
}

// gate runs the stateless part of the fix gate, so that what can never count is not stored, and lists what it
// refused together with what the decoder refused.
func (c *collector) gate(refused []wire.PingError) []wire.PingError {
	kept, decoded := c.records[:0], refused
	for i := range c.records {
		r := &c.records[i]
		if r.Kind == wire.KindPing {
			if why := track.CheckFix(&r.Fix, &c.rules); why != "" {
				refused = append(refused, wire.PingError{Index: wire.IndexOf(decoded, i), Code: wire.Code(why), Reason: refusalText[why]})
				continue
			}
		}
		kept = append(kept, *r)
	}
	c.records = kept
	return refused
}

// append puts the records of one message into their partitions' batches, all of them or, when one partition
// has no room, none.
func (c *collector) append(m *nats.Msg, nowUS int64, refused []wire.PingError) {
	c.touched = c.touched[:0]
	for i := range c.records {
		if i > 0 && c.records[i].Device == c.records[i-1].Device {
			c.touched = append(c.touched, c.touched[i-1])
			continue
		}
		p := wire.Partition(c.records[i].Device, Partitions)
		c.touched = append(c.touched, p)
		if c.appends[p].full() {
			c.busy(m, "log_slow", busyRetry)
			return
		}
	}
	var reply []byte
	if m.Reply != "" {
		if len(refused) == 0 {
			reply = wire.AppendOK(nil, len(c.records))
		} else {
			reply = wire.AppendRefused(nil, len(c.records), refused)
		}
	}
	if len(c.records) == 0 {
		c.answer(m, reply)
		return
	}
	var req *request
	if m.Reply != "" {
		req = &request{msg: m, reply: reply}
		req.waiting.Store(1) // held by this function, so that an early store cannot answer before all is added
	}
	// The records of one device go in one stretch; a feed's are cut where the partition changes.
	for from := 0; from < len(c.records); {
		to := from + 1
		for to < len(c.records) && c.touched[to] == c.touched[from] {
			to++
		}
		c.appends[c.touched[from]].add(c.records[from:to], nowUS, req)
		c.appends[c.touched[from]].wakeUp()
		from = to
	}
	if req != nil {
		req.settle(true)
	}
}

func (c *collector) refuse(m *nats.Msg, device string, err error) {
	reason := string(wire.CodeMalformed)
	if pe, ok := errors.AsType[*wire.PayloadError](err); ok {
		reason = string(pe.Code)
	}
	c.count.refused.add(reason, 1)
	if device != "" {
		c.refusals.add(device, reason, c.now().UnixMilli())
	}
	if m.Reply != "" {
		c.answer(m, wire.AppendError(nil, err))
	}
}

func (c *collector) busy(m *nats.Msg, reason string, retry time.Duration) {
	c.count.dropped.add(reason, 1)
	if m.Reply != "" {
		c.answer(m, wire.AppendBusy(nil, retry))
	}
}

func (c *collector) answer(m *nats.Msg, reply []byte) {
	if m.Reply != "" {
		_ = m.Respond(reply)
	}
}

// rateLimited calls fn at most once per interval; the calls between are not kept. Safe for concurrent use.
func rateLimited(every time.Duration, fn func(error)) func(error) {
	var mu sync.Mutex
	var last time.Time
	return func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); now.Sub(last) >= every {
			last = now
			fn(err)
		}
	}
}
