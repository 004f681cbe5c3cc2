package stream

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/audience"
	"footfall/internal/failpoint"
	"footfall/receipt"
	"footfall/stream/natsd"
	"footfall/stream/wire"
	"footfall/track"
)

const (
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
	// Positions says how exactly positions are taken in, of all transports.
	Positions Positions
}

// collector is the one door. Every transport and encoding ends here in the compact record; what it refuses
// never reaches the log.
//
// Two goroutines share the work, and the order of one device's messages survives both: a registration that was
// sent before a ping is applied before it, although they arrive on different subjects. One reads what comes on all
// subjects and is the door (see let); the other decodes.
type collector struct {
	cfg      IngestConfig
	nc       *nats.Conn // for answers
	rules    track.Rules
	now      func() time.Time
	log      *slog.Logger
	count    *counters
	refusals *refusalBook
	intake   intake
	door     door
	full     func() string // why nothing can be stored now, or ""
	closed   string        // what full said when the door last looked
	appends  [Partitions]*appender
	ready    chan struct{} // closed when messages are taken in
	names    *wire.Interner
	keys     *receipt.Keyring
	consents *consents // of this goroutine to change, but for what is loaded at the start

	// The message at hand is fixes of one device, or records; reused between messages.
	fixes   []track.Fix
	records []wire.Record
	touched []int            // partitions of the records
	woken   [Partitions]bool // partitions with something new since the last wake-up
}

// intake brings messages to the door.
type intake interface {
	// run passes messages to c until ctx ends and what had arrived by then is passed on. It calls ready when it has begun.
	run(ctx context.Context, c *collector, ready func()) error
	// sync returns when everything that the server had for us when it was called has been passed on.
	sync(ctx context.Context) error
}

func newCollector(cfg IngestConfig, srv *natsd.Server, nc *nats.Conn, rules track.Rules, now func() time.Time, log *slog.Logger, count *counters) *collector {
	cfg.DeviceRecords = cmp.Or(cfg.DeviceRecords, 5_000)
	cfg.OwnTracksApp = cmp.Or(cfg.OwnTracksApp, "owntracks")
	c := &collector{
		cfg: cfg, nc: nc, rules: rules, now: now, log: log, count: count,
		refusals: newRefusalBook(1 << 14),
		door:     newDoor(cfg.DeviceRecords),
		full:     func() string { return "" },
		ready:    make(chan struct{}),
		names:    wire.NewInterner(1 << 16),
	}
	subjects := []string{wire.PingAll, wire.EventAll, wire.DeviceAll, wire.ReceiptAll, wire.FeedAll}
	if cfg.OwnTracksApp != "-" {
		subjects = append(subjects, wire.OwnTracksAll, wire.OwnTracksEventsAll)
	}
	if srv.Embedded() {
		c.intake = &natsPipe{dial: srv.Dial, token: srv.Config().Token, subjects: subjects, queue: queueGroup, now: now}
	} else {
		c.intake = &library{nc: nc, subjects: subjects, queue: queueGroup, now: now, arrived: make(chan *nats.Msg, libraryRoom)}
	}
	slots := make(chan struct{}, appendsAtOnce)
	warn := rateLimited(time.Second, func(err error) { log.Warn("log append failed, trying again", "err", err) })
	for p := range c.appends {
		c.appends[p] = newAppender(count, slots, warn)
	}
	return c
}

// run takes in messages until ctx ends, then decodes what had already arrived, and returns when the log has it or drain
// has passed.
func (c *collector) run(ctx context.Context, drain time.Duration) error {
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
		for a := c.door.take(); a != nil; a = c.door.take() {
			failpoint.Here(failpoint.Received)
			c.decode(a)
			c.door.give(a)
		}
	})
	err := c.intake.run(ctx, c, sync.OnceFunc(func() { close(c.ready) }))
	c.door.close()
	decoding.Wait() // bounded by the room, and nothing it calls blocks
	cancelAppends()
	timer := time.AfterFunc(drain, cancelFlush)
	appends.Wait()
	timer.Stop()
	return err
}

// look asks whether there is room to store anything.
func (c *collector) look() { c.closed = c.full() }

// decode handles the messages of a and has the logs store them.
func (c *collector) decode(a *arrivals) {
	from := 0
	for i := range a.msgs {
		m := &a.msgs[i]
		subject, rest := a.buf[from:from+int(m.subject)], a.buf[from+int(m.subject):m.end:m.end]
		from = m.end
		c.handle(m, view(subject), view(rest[:m.reply]), rest[m.reply:])
	}
	for p := range c.woken {
		if c.woken[p] {
			c.woken[p] = false
			c.appends[p].wakeUp()
		}
	}
}

// handle handles one message. A panic costs that message, never the collector.
func (c *collector) handle(m *arrival, subject, reply string, data []byte) {
	defer func() {
		if r := recover(); r != nil {
			c.count.poison.add("collector_panic", 1)
			c.log.Error("a message could not be handled", "subject", subject, "panic", r, "stack", string(debug.Stack()))
			c.answer(reply, wire.AppendError(nil, errors.New("internal")))
		}
	}()
	c.collect(m, subject, reply, data)
}

// collect decodes one message and hands its records to their partitions. Nothing is kept of what it is given.
func (c *collector) collect(m *arrival, subject, reply string, data []byte) {
	now := m.atUS / 1000
	device := ""
	var refused []wire.PingError
	var err error
	c.records, c.fixes = c.records[:0], c.fixes[:0]
	switch m.class {
	case wire.ClassPing, wire.ClassOwnTracks:
		var id track.DeviceID
		if id, err = c.deviceOf(subject, m.class); err != nil {
			break
		}
		device = string(id)
		if c.consents.refuses(id) { // its positions are not even read
			err = noConsent
			break
		}
		decode := wire.DecodePings
		if m.class == wire.ClassOwnTracks {
			decode = wire.DecodeOwnTracks
		}
		c.fixes, refused, err = decode(c.fixes, data, now)
	case wire.ClassFeed:
		c.records, refused, err = wire.DecodeFeed(c.records, c.names, string(subjectDevice(subject)), data, now)
	case wire.ClassEvent, wire.ClassDevice, wire.ClassReceipt:
		kind := payloadKind[m.class]
		if isCanary(subjectDevice(subject)) {
			err = errCanaryWalks
			break
		}
		switch m.class {
		case wire.ClassReceipt:
			err = c.checkReceipt(subjectDevice(subject), data)
		case wire.ClassDevice:
			if err = wire.CheckPayload(kind, data); err == nil {
				err = checkRegistration(data)
			}
		default:
			err = wire.CheckPayload(kind, data)
		}
		if err == nil {
			id := subjectDevice(subject)
			device = string(id)
			c.records = append(c.records, wire.Record{Kind: kind, Device: id, ReceivedAt: now, Payload: data})
		}
	default: // down.> is the gateway's own voice
		err = &wire.PayloadError{Code: wire.CodeBadSubject, Reason: "nothing is accepted on this subject"}
	}
	if err != nil {
		c.refuse(reply, cmp.Or(device, string(subjectDevice(subject))), err, now)
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
	c.append(reply, track.DeviceID(device), m.atUS, refused)
}

// checkRegistration refuses at the door what the profile could never take, so that the app learns of it.
func checkRegistration(payload []byte) error {
	if _, err := audience.Check(payload); err != nil {
		return &wire.PayloadError{Code: wire.CodeBadValue, Reason: strings.TrimPrefix(err.Error(), "audience: ")}
	}
	return nil
}

// checkReceipt refuses a receipt from who does not have the message.
func (c *collector) checkReceipt(id track.DeviceID, payload []byte) error {
	app, device, _ := wire.SplitDevice(id)
	r, err := wire.ParseReceipt(payload)
	if err == nil && !c.keys.Valid(app, device, r.MID, r.Key) {
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

func (c *collector) deviceOf(subject string, class wire.Class) (track.DeviceID, error) {
	if class == wire.ClassPing {
		return subjectDevice(subject), nil
	}
	s, err := wire.ParseSubject(subject)
	if err != nil {
		return "", err
	}
	id, err := wire.OwnTracksDevice(c.cfg.OwnTracksApp, s.App, s.Device)
	if err != nil {
		return "", &wire.PayloadError{Code: wire.CodeBadSubject, Reason: "the OwnTracks user and device do not fit in a device id of 64"}
	}
	return id, nil
}

// gate runs the stateless part of the fix gate, so that what can never count is not stored, takes from positions what is not
// to be known, and lists what it refused together with what the decoder refused.
func (c *collector) gate(refused []wire.PingError) []wire.PingError {
	decoded := refused
	n := 0
	for i := range c.fixes {
		if code, why := c.gateFix(&c.fixes[i]); code != "" {
			refused = append(refused, wire.PingError{Index: wire.IndexOf(decoded, i), Code: code, Reason: why})
			continue
		}
		if n < i {
			c.fixes[n] = c.fixes[i]
		}
		n++
	}
	c.fixes = c.fixes[:n]
	n = 0
	for i := range c.records {
		r := &c.records[i]
		if r.Kind == wire.KindPing {
			code, why := c.gateFix(&r.Fix)
			if c.consents.refuses(r.Device) {
				code, why = noConsent.Code, noConsent.Reason
			}
			if code != "" {
				refused = append(refused, wire.PingError{Index: wire.IndexOf(decoded, i), Code: code, Reason: why})
				continue
			}
		}
		if n < i {
			c.records[n] = *r
		}
		n++
	}
	c.records = c.records[:n]
	return refused
}

// gateFix returns why a fix is refused, in two forms, or "" when it is to be stored.
func (c *collector) gateFix(f *track.Fix) (code wire.Code, why string) {
	if refusal := track.CheckFix(f, &c.rules); refusal != "" {
		return wire.Code(refusal), refusalText[refusal]
	}
	if code := c.cfg.Positions.Reduce(f); code != "" {
		return code, "this gateway takes no positions; send what the phone has found, src os_enter, os_exit or os_dwell with its fence"
	}
	return "", ""
}

// append puts what one message has brought into its partitions' batches, all of it or, when one partition has no room, nothing. id is
// the device of the fixes.
func (c *collector) append(reply string, id track.DeviceID, atUS int64, refused []wire.PingError) {
	n := len(c.fixes) + len(c.records)
	var answer []byte
	if reply != "" {
		if len(refused) == 0 {
			answer = wire.AppendOK(nil, n)
		} else {
			answer = wire.AppendRefused(nil, n, refused)
		}
	}
	if n == 0 {
		c.answer(reply, answer)
		return
	}
	c.touched = c.touched[:0]
	for i := range c.records {
		if i > 0 && c.records[i].Device == c.records[i-1].Device {
			c.touched = append(c.touched, c.touched[i-1])
			continue
		}
		c.touched = append(c.touched, wire.Partition(c.records[i].Device, Partitions))
	}
	if len(c.fixes) > 0 {
		c.touched = append(c.touched, wire.Partition(id, Partitions))
	}
	// Only this goroutine adds, so what has room now has room below.
	for i, p := range c.touched {
		if (i == 0 || p != c.touched[i-1]) && c.appends[p].full() {
			c.busy(reply, "log_slow", busyRetry)
			return
		}
	}
	var req *request
	if reply != "" {
		req = &request{nc: c.nc, to: strings.Clone(reply), reply: answer}
		req.waiting.Store(1) // held by this function, so that an early store cannot answer before all is added
	}
	if len(c.fixes) > 0 {
		p := c.touched[len(c.touched)-1]
		c.appends[p].addPings(id, c.fixes, atUS, req)
		c.woken[p] = true
	}
	// The records of one device go in one stretch; a feed's are cut where the partition changes.
	for from := 0; from < len(c.records); {
		to := from + 1
		for to < len(c.records) && c.touched[to] == c.touched[from] {
			to++
		}
		c.appends[c.touched[from]].add(c.records[from:to], atUS, req)
		c.woken[c.touched[from]] = true
		from = to
	}
	if len(c.records) == 1 && c.records[0].Kind == wire.KindDevice { // only now that it is on its way to the log
		c.consents.say(c.records[0].Device, c.records[0].Payload)
	}
	if req != nil {
		req.settle(true)
	}
}

func (c *collector) refuse(reply, device string, err error, nowMS int64) {
	reason := string(wire.CodeMalformed)
	if pe, ok := errors.AsType[*wire.PayloadError](err); ok {
		reason = string(pe.Code)
	}
	c.count.refused.add(reason, 1)
	if device != "" {
		c.refusals.add(device, reason, nowMS)
	}
	if reply != "" {
		c.answer(reply, wire.AppendError(nil, err))
	}
}

func (c *collector) busy(reply, reason string, retry time.Duration) {
	c.count.dropped.add(reason, 1)
	if reply != "" {
		c.answer(reply, wire.AppendBusy(nil, retry))
	}
}

// answer sends an answer to who asked for one; a client that has gone away needs none.
func (c *collector) answer(reply string, data []byte) {
	if reply != "" {
		_ = c.nc.Publish(reply, data)
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
