package citrus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"footfall/funnel"
	"footfall/internal/db"
	"footfall/push/fake"
	"footfall/stream"
	"footfall/stream/wire"
	"footfall/track"
)

// result is what came of a day, read from the gateway while it runs, from its ledger after it has stopped, and from
// the phones.
type result struct {
	day    *Day
	step   time.Duration // of the clock
	resent int           // messages that the phones sent a second time
	stats  stream.Status
	live   []stream.Explanation // by person, from the running gateway; nil when it was not asked
	stored []stream.Explanation // by person; from the ledger
	funnel map[string]map[string]int64
	report *funnel.Report // of the event's day, from the ledger
	events map[string]int // subject and message id of EVENTS -> how many messages
	shown  [][]fake.Shown // by person
}

// askAll asks the running gateway about every person, over NATS as `footfall explain` does.
func askAll(nc *nats.Conn, day *Day) ([]stream.Explanation, error) {
	live := make([]stream.Explanation, len(day.People))
	const askers = 8
	errs := make([]error, askers)
	var wg sync.WaitGroup
	for a := range askers {
		wg.Go(func() {
			for i := a; i < len(live) && errs[a] == nil; i += askers {
				live[i], errs[a] = explain(nc, day.People[i].Device)
			}
		})
	}
	wg.Wait()
	return live, errors.Join(errs...)
}

func explain(nc *nats.Conn, device string) (e stream.Explanation, err error) {
	q, err := json.Marshal(stream.ExplainRequest{App: App, Device: device})
	if err != nil {
		return e, err
	}
	m, err := nc.Request(stream.ExplainSubject, q, 30*time.Second)
	if err != nil {
		return e, fmt.Errorf("explain %s: %w", device, err)
	}
	if text := m.Header.Get("Nats-Service-Error"); text != "" {
		return e, fmt.Errorf("explain %s: %s", device, text)
	}
	return e, json.Unmarshal(m.Data, &e)
}

// readEvents waits until the relay owes nothing and reads the EVENTS stream.
func readEvents(nc *nats.Conn) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()
	for owed := int64(1); owed > 0; {
		m, err := nc.RequestWithContext(ctx, stream.StatsSubject, nil)
		if err != nil {
			return nil, err
		}
		var s stream.Status
		if err := json.Unmarshal(m.Data, &s); err != nil {
			return nil, err
		}
		if owed = s.Stats.EventsOwed; owed > 0 {
			time.Sleep(20 * time.Millisecond)
		}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	events := map[string]int{}
	err = readStream(ctx, js, wire.EventsStream, func(m jetstream.Msg) error {
		events[m.Subject()+" "+m.Headers().Get(nats.MsgIdHdr)]++
		return nil
	})
	return events, err
}

// readStream calls fn for every message that a stream holds now, in order.
func readStream(ctx context.Context, js jetstream.JetStream, name string, fn func(jetstream.Msg) error) error {
	s, err := js.Stream(ctx, name)
	if err != nil {
		return err
	}
	left := s.CachedInfo().State.Msgs
	if left == 0 {
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
	for ; left > 0; left-- {
		m, err := it.Next()
		if err != nil {
			return fmt.Errorf("%s, %d messages from its end: %w", name, left, err)
		}
		if err := fn(m); err != nil {
			return err
		}
	}
	return nil
}

// readStored opens the ledger of the stopped gateway and reads everybody's decisions, and the phones' screens.
func (r *result) readStored(dir string, book *fake.PhoneBook, now func() time.Time) error {
	d, err := db.Open(db.Config{Dir: filepath.Join(dir, "ledger"), Now: now})
	if err != nil {
		return err
	}
	err = d.View(func(tx *db.Tx) (err error) {
		if r.funnel, err = stream.Funnel(tx); err != nil {
			return err
		}
		for i := range r.day.People {
			e, err := stream.ExplainStored(tx, track.DeviceID(App+"."+r.day.People[i].Device), 0, 0)
			if err != nil {
				return err
			}
			r.stored = append(r.stored, e)
			r.shown = append(r.shown, book.Shown(r.day.People[i].Token))
		}
		return nil
	})
	if err == nil {
		on := funnel.DayOf(Opens.UnixMilli(), 0)
		r.report, err = stream.Report(context.Background(), d, funnel.Query{Campaign: CampaignID, From: on, To: on}, now())
	}
	return errors.Join(err, d.Close())
}

// identities lists every decision by its id, with what was decided and under which message id: all that must not
// depend on when, in what order and in what company the input was processed.
func (r *result) identities() map[string]string {
	out := map[string]string{}
	for i := range r.stored {
		for _, d := range r.stored[i].Decisions {
			var b strings.Builder
			fmt.Fprintf(&b, "%s %s %s at %d (entered %d) %v", d.Device, d.Kind, d.Fence, d.At, d.EnteredAt, d.Reason.Names())
			for _, c := range d.Campaigns {
				fmt.Fprintf(&b, "; %s %s %s %s", c.Campaign, c.Outcome, c.Reason, c.MID)
			}
			out[d.ID] = b.String()
		}
	}
	return out
}

// notified lists the people whose phones show a notice, with its message id.
func (r *result) notified() map[string]string {
	out := map[string]string{}
	for i, shown := range r.shown {
		if len(shown) > 0 {
			out[r.day.People[i].User] = shown[0].MID
		}
	}
	return out
}

// log prints the day's funnel.
func (r *result) log(t *testing.T) {
	t.Helper()
	f := r.funnel[CampaignID]
	people := len(r.day.People)
	t.Logf("%6d people with location on", people)
	t.Logf("%6d entries", r.funnel[""]["entered"])
	for _, reason := range stream.Reasons(f) {
		if held, ok := strings.CutPrefix(reason, "held."); ok {
			t.Logf("%6d   held: %s", f[reason], held)
		}
	}
	t.Logf("%6d notices claimed, %d accepted, %d on the phones: %.2f %% of the %d people of this run",
		f["claimed"], f["push.accepted"], len(r.notified()), 100*float64(len(r.notified()))/float64(people), people)
}
