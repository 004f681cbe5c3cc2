package stage

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"footfall/stream/wire"
)

// Sender publishes for all phones over one connection, as requests. A phone sends its next message when the last
// one is answered, as an SDK does; the phones do not wait for each other, so thousands of requests are on the way
// at a time.
type Sender struct {
	nc      *nats.Conn
	inbox   string
	answers chan *nats.Msg
	serial  int

	Sent, Resent, Refused int // messages
}

// inFlight bounds the requests without an answer: below what makes the collector answer busy.
const inFlight = 16_384

// NewSender speaks over nc, which stays the caller's.
func NewSender(nc *nats.Conn) (*Sender, error) {
	s := &Sender{nc: nc, inbox: nats.NewInbox(), answers: make(chan *nats.Msg, 2*inFlight)}
	_, err := nc.ChanSubscribe(s.inbox+".*", s.answers)
	return s, err
}

// Rounds splits messages into groups of at most one message a person, each person's in order.
func Rounds(ms []Message) [][]Message {
	var out [][]Message
	next := map[int]int{}
	for _, m := range ms {
		n := next[m.Person]
		next[m.Person]++
		if n == len(out) {
			out = append(out, nil)
		}
		out[n] = append(out[n], m)
	}
	return out
}

// Send publishes a round and waits until every message is answered as it has to be. A message that is answered
// busy, or not at all within patience, is sent again. With enough answers in, stop is asked whether to go on; if
// not, the messages without an answer are returned.
func (s *Sender) Send(round []Message, stop func(answered int) bool) (unanswered []Message, err error) {
	for chunk := range chunks(round, inFlight) {
		left, err := s.sendChunk(chunk, stop)
		if err != nil || len(left) > 0 {
			return left, err
		}
	}
	return nil, nil
}

func chunks(ms []Message, n int) func(func([]Message) bool) {
	return func(yield func([]Message) bool) {
		for len(ms) > 0 {
			k := min(n, len(ms))
			if !yield(ms[:k]) {
				return
			}
			ms = ms[k:]
		}
	}
}

// patience is far above what an answer takes, so that a message is sent again only when its answer is lost.
const patience = 20 * time.Second

func (s *Sender) sendChunk(ms []Message, stop func(answered int) bool) (unanswered []Message, err error) {
	waiting := make(map[int]Message, len(ms))
	publish := func(id int, m Message) error {
		s.Sent++
		return s.nc.PublishRequest(m.Subject, s.inbox+"."+strconv.Itoa(id), m.Payload)
	}
	var ids []int
	for _, m := range ms {
		s.serial++
		waiting[s.serial] = m
		ids = append(ids, s.serial)
		if err := publish(s.serial, m); err != nil {
			return nil, err
		}
	}
	if err := s.nc.Flush(); err != nil && stop == nil {
		return nil, err
	}
	deadline := time.Now().Add(3 * patience)
	for len(waiting) > 0 {
		if stop != nil && stop(len(ms)-len(waiting)) {
			break
		}
		select {
		case a := <-s.answers:
			id, err := strconv.Atoi(a.Subject[strings.LastIndexByte(a.Subject, '.')+1:])
			m, ok := waiting[id]
			if err != nil || !ok {
				continue // the answer to the first copy of a message that was sent twice
			}
			r, err := wire.ParseReply(a.Data)
			if err != nil {
				return nil, fmt.Errorf("%s is answered %q: %w", m.Subject, a.Data, err)
			}
			switch {
			case r.Busy:
				s.Resent++
				time.Sleep(20 * time.Millisecond)
				if err := publish(id, m); err != nil {
					return nil, err
				}
				continue
			case m.Refused == "" && !r.OK:
				return nil, fmt.Errorf("%s is answered %s, want ok", m.Subject, a.Data)
			case m.Refused != "" && (r.OK || r.Error == nil || string(r.Error.Code) != m.Refused || r.Accepted != 0):
				return nil, fmt.Errorf("%s is answered %s, want a refusal with %q", m.Subject, a.Data, m.Refused)
			case m.Refused != "":
				s.Refused++
			}
			delete(waiting, id)
		case <-time.After(patience):
			if time.Now().After(deadline) {
				return nil, fmt.Errorf("%d messages are not answered", len(waiting))
			}
			for _, id := range ids {
				if m, ok := waiting[id]; ok {
					s.Resent++
					if err := publish(id, m); err != nil {
						return nil, err
					}
				}
			}
		}
	}
	for _, id := range ids {
		if m, ok := waiting[id]; ok {
			unanswered = append(unanswered, m)
		}
	}
	return unanswered, nil
}

// Player plays steps to one gateway.
type Player struct {
	G *Gateway
	S *Sender
}

// Attach connects the phones to a gateway in this process.
func Attach(g *Gateway) (*Player, error) {
	nc, err := g.Server.Connect("phones")
	if err != nil {
		return nil, err
	}
	s, err := NewSender(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &Player{g, s}, nil
}

// Close disconnects the phones.
func (p *Player) Close() { p.S.nc.Close() }

// Send publishes messages, of each person in order, and waits until all are answered as they have to be.
func (p *Player) Send(ms []Message) error {
	for _, round := range Rounds(ms) {
		if _, err := p.S.Send(round, nil); err != nil {
			return err
		}
	}
	return nil
}

// Play plays one step, which ends at now.
func (p *Player) Play(now time.Time, ms []Message) error {
	p.G.Clock.Forward(now)
	if len(ms) == 0 { // nothing can have arrived: only waits can be over
		ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
		defer cancel()
		return p.G.finish(ctx, 0)
	}
	if err := p.Send(ms); err != nil {
		return err
	}
	return p.G.Drain(0)
}
