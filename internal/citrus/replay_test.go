package citrus

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"footfall/internal/stage"
	"footfall/stream"
	"footfall/stream/wire"
	"footfall/track"
)

// recording is the input log of a day: the records of each partition in order.
type recording [stream.Partitions][]wire.Record

// record reads the log of a running gateway.
func record(nc *nats.Conn) (rec recording, err error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return rec, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()
	reader := wire.NewBatchReader(nil)
	for p := range rec {
		err := readStream(ctx, js, wire.LogStream(p), func(m jetstream.Msg) error {
			if err := reader.Reset(m.Data()); err != nil {
				return err
			}
			for {
				var r wire.Record
				more, err := reader.Next(&r)
				if err != nil || !more {
					return err
				}
				r.Payload = slices.Clone(r.Payload)
				rec[p] = append(rec[p], r)
			}
		})
		if err != nil {
			return rec, err
		}
	}
	return rec, nil
}

// shuffle puts the records of one partition into another order: those of one device keep theirs.
func shuffle(rng *rand.Rand, rs []wire.Record) []wire.Record {
	queues := map[track.DeviceID][]wire.Record{}
	turns := make([]track.DeviceID, len(rs))
	for i, r := range rs {
		queues[r.Device] = append(queues[r.Device], r)
		turns[i] = r.Device
	}
	rng.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	out := make([]wire.Record, len(rs))
	for i, id := range turns {
		out[i], queues[id] = queues[id][0], queues[id][1:]
	}
	return out
}

// replayedDay is one half of variant v2: the recorded log again, into a new gateway's log, one hour of the day at a
// time. Within the hour the records of a partition are shuffled between its devices and cut into batches of random
// sizes, and the batches of the partitions are shuffled among each other. The log holds the receive times, so ages
// are those of the day; the clock stands at the beginning of the hour, so that every push of it is still worth
// showing.
func replayedDay(t *testing.T, day *Day, rec *recording) *result {
	t.Helper()
	rng := rand.New(rand.NewPCG(2, 2))
	var clock stage.Clock
	clock.Forward(day.Begins)
	ph, dir := newPhones(t, clock.Now), t.TempDir()
	set := settings(ph, dir)
	set.LogInJetStream = true
	g, err := stage.Open(set, &clock)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayer(t, inProcess{g}, 3*time.Minute)
	js, err := jetstream.New(p.nc)
	if err != nil {
		t.Fatal(err)
	}
	hours := map[int64]*recording{}
	for part, rs := range rec {
		for _, r := range rs {
			h := r.ReceivedAt / time.Hour.Milliseconds()
			if hours[h] == nil {
				hours[h] = new(recording)
			}
			hours[h][part] = append(hours[h][part], r)
		}
	}
	batches := 0
	for _, h := range slices.Sorted(maps.Keys(hours)) {
		p.clockTo(time.UnixMilli(h * time.Hour.Milliseconds()))
		// Receipts are told last: to the new gateway one of a push that is still owed says that the phone has it.
		rest, receipts := new(recording), new(recording)
		for part, rs := range hours[h] {
			for _, r := range rs {
				to := rest
				if r.Kind == wire.KindReceipt {
					to = receipts
				}
				to[part] = append(to[part], r)
			}
		}
		for i, some := range []*recording{rest, receipts} {
			n, err := writeLog(t.Context(), js, rng, some)
			if err != nil {
				t.Fatal(err)
			}
			batches += n
			// Settle knows of what came through the door. One marker behind the batches of each partition makes it
			// wait for them.
			p.send(markers(2*h + int64(i)))
			p.drain(0)
		}
	}
	t.Logf("%d hours in %d batches", len(hours), batches)
	return p.finish(day, ph, dir, false)
}

// writeLog stores one hour of input.
func writeLog(ctx context.Context, js jetstream.JetStream, rng *rand.Rand, hour *recording) (batches int, err error) {
	type cut struct {
		partition int
		data      []byte
	}
	var queues [stream.Partitions][]cut
	var turns []int
	for part, rs := range hour {
		for rs = shuffle(rng, rs); len(rs) > 0; {
			n := min(1+rng.IntN(400), len(rs))
			var data []byte
			for i := range rs[:n] {
				data = wire.AppendRecord(data, &rs[i])
			}
			rs = rs[n:]
			queues[part] = append(queues[part], cut{part, wire.SealBatch(data)})
			turns = append(turns, part)
		}
	}
	rng.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	var acks []jetstream.PubAckFuture
	for _, part := range turns {
		c := queues[part][0]
		queues[part] = queues[part][1:]
		f, err := js.PublishAsync(wire.LogSubject(c.partition), c.data)
		if err != nil {
			return 0, err
		}
		acks = append(acks, f)
	}
	for _, f := range acks {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return 0, err
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return len(turns), nil
}

// markers are registrations of devices that do nothing else, one in each partition.
func markers(hour int64) (ms []Message) {
	have := map[int]bool{}
	for i := 0; len(have) < stream.Partitions; i++ {
		id := track.DeviceID(fmt.Sprintf("marker.m%d", i))
		if part := wire.Partition(id, stream.Partitions); !have[part] {
			have[part] = true
			ms = append(ms, Message{
				Person: -1 - part, Subject: wire.DeviceSubject(wire.ClassDevice, id),
				Payload: fmt.Appendf(nil, `{"os":"%d"}`, hour),
			})
		}
	}
	return ms
}

// repackedDay is the other half of variant v2: the day through the door again, in steps of another length, with the
// phones of a step in another order and their pings in other packages: single ones joined into arrays, arrays taken
// apart, and some handed over by the retailer's own backend on feed.<app>, several phones in a message.
func repackedDay(t *testing.T, day *Day) *result {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 3))
	var clock stage.Clock
	clock.Forward(day.Begins)
	ph, dir := newPhones(t, clock.Now), t.TempDir()
	g, err := stage.Open(settings(ph, dir), &clock)
	if err != nil {
		t.Fatal(err)
	}
	p := newPlayer(t, inProcess{g}, 150*time.Second)
	p.reporter = NewReporter(day, ph)
	for _, ms := range stage.Steps(day.Messages, p.step) {
		p.play(repack(rng, day, ms))
	}
	t.Logf("%d messages instead of %d", p.s.Sent, len(day.Messages))
	return p.finish(day, ph, dir, false)
}

// repack returns the messages of a step in other packages; those of one phone keep their order, and play sends
// them in it, because a package of several phones goes in a round behind all that its phones have sent before.
func repack(rng *rand.Rand, day *Day, ms []Message) []Message {
	byPhone := map[int][]Message{}
	var order []int
	for _, m := range ms {
		if byPhone[m.Person] == nil {
			order = append(order, m.Person)
		}
		byPhone[m.Person] = append(byPhone[m.Person], m)
	}
	rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var out []Message
	var feed []json.RawMessage
	for _, person := range order {
		q := byPhone[person]
		onlyPings := !slices.ContainsFunc(q, func(m Message) bool { return !strings.HasPrefix(m.Subject, "ping.") })
		if onlyPings && q[0].Refused == "" && rng.IntN(8) == 0 { // the whole step of this phone through the backend
			for _, m := range q {
				for _, ping := range pingsOf(m.Payload) {
					feed = append(feed, json.RawMessage(fmt.Sprintf(`{"device":%q,%s`, day.People[person].Device, ping[1:])))
				}
			}
			continue
		}
		for len(q) > 0 {
			n := 1
			for n < len(q) && strings.HasPrefix(q[0].Subject, "ping.") && q[n].Subject == q[0].Subject && rng.IntN(2) == 0 {
				n++
			}
			m := q[0]
			switch {
			case n > 1:
				var pings []json.RawMessage
				for _, part := range q[:n] {
					pings = append(pings, pingsOf(part.Payload)...)
				}
				m.Payload = encode(pings)
				out = append(out, m)
			case m.Payload[0] == '[' && rng.IntN(2) == 0:
				for _, ping := range pingsOf(m.Payload) {
					m.Payload = ping
					out = append(out, m)
				}
			default:
				out = append(out, m)
			}
			q = q[n:]
		}
	}
	for len(feed) > 0 {
		n := min(1+rng.IntN(20), len(feed))
		// All packages of the feed are one sender's, who waits for each answer, as the backend has to.
		out = append(out, Message{SendAt: ms[0].SendAt, Person: -1, Subject: wire.FeedSubject(App), Payload: encode(feed[:n])})
		feed = feed[n:]
	}
	return out
}

// pingsOf takes a ping payload apart.
func pingsOf(payload []byte) []json.RawMessage {
	if payload[0] != '[' {
		return []json.RawMessage{payload}
	}
	var out []json.RawMessage
	if err := json.Unmarshal(payload, &out); err != nil {
		panic(err) // our own encoding
	}
	return out
}
